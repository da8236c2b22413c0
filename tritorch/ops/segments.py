"""Reductions of consecutive segments of a dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .api import public
from .arithmetic import where
from .copy import to_array

REDUCTIONS = {"sum": "sum", "mean": "sum", "max": "amax", "min": "amin", "prod": "prod"}
NEUTRAL = {"sum": 0.0, "mean": 0.0, "max": -math.inf, "min": math.inf, "prod": 1.0}


def _lengths(lengths: Any, offsets: Any, shape: tuple, axis: int, unsafe: bool) -> np.ndarray:
    """The lengths of the segments (..., S), whose leading dimensions are those of the data."""
    given = lengths if lengths is not None else offsets
    if given is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if given.dtype.name not in ("int32", "int64"):
        raise RuntimeError(f"segment_reduce(): lengths must be int32 or int64, got {given.dtype}")
    if given.ndim != axis + 1 or tuple(given.shape[:-1]) != shape[:axis]:
        raise RuntimeError(
            f"segment_reduce(): Expected lengths or offsets of shape {shape[:axis]} and one more "
            f"dimension for axis {axis} of data {shape}, got {tuple(given.shape)}"
        )
    found = to_array(given.detach()).astype(np.int64)
    found = np.diff(found, axis=-1) if lengths is None else found
    if (found < 0).any():
        raise RuntimeError("segment_reduce(): lengths contains negative value!")
    if not unsafe and (found.sum(-1) != shape[axis]).any():
        raise RuntimeError(
            f"segment_reduce(): Expected all rows of lengths along axis to sum to data.size(axis) "
            f"= {shape[axis]}, got {found.sum(-1).tolist()}"
        )
    return found


def _reduced(data: Any, segment: Any, count: int, axis: int, reduce: str, start: float) -> Any:
    """Each element of `data` taken into the result at its segment; the one behind them is cut."""
    shape = (*data.shape[:axis], count + 1, *data.shape[axis + 1 :])
    at = segment.reshape(*segment.shape, *(1,) * (data.ndim - axis - 1)).expand(data.shape)
    out = data.new_full(shape, start).scatter_reduce(axis, at, data, REDUCTIONS[reduce])
    return out.narrow(axis, 0, count)


@public(method=False)
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """The `sum`, `mean`, `max`, `min` or `prod` of consecutive segments of a dimension.

    `lengths` (..., S) says how long they are, or `offsets` (..., S + 1) where they begin and end;
    leading dimensions are those of `data` before `axis`. Each begins with `initial`; an empty one
    without gives 0, NaN, -inf, inf or 1. Floating-point dtypes.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([1.0, 2.0, 3.0])
        >>> torch.segment_reduce(x, "sum", lengths=torch.tensor([1, 2]))
        tensor([1., 5.])
    """
    x: Any = data
    if reduce not in REDUCTIONS:
        raise RuntimeError(
            f"segment_reduce(): reduce is one of {', '.join(REDUCTIONS)}, got {reduce!r}"
        )
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if x.dtype.category != 2:
        raise NotImplementedError(f'"segment_reduce" not implemented for {x.dtype}')
    axis = axis + x.ndim if axis < 0 else axis
    sizes = _lengths(lengths, offsets, tuple(x.shape), axis, unsafe)
    count = sizes.shape[-1]
    n, behind = x.shape[axis], np.full(x.shape[axis], count)
    rows = [np.append(np.repeat(np.arange(count), r), behind) for r in sizes.reshape(-1, count)]
    ids = np.array([r[:n] for r in rows], np.int64)
    segment = x.new_tensor(ids.reshape(*sizes.shape[:-1], n), dtype=dtypes.int64)
    start = NEUTRAL[reduce] if initial is None else float(initial)
    out = _reduced(x, segment, count, axis, reduce, start)
    if reduce != "mean":
        return out
    shape = (*sizes.shape, *(1,) * (x.ndim - axis - 1))
    many = x.new_tensor(sizes.reshape(shape))
    if initial is None:
        return out / many
    return where(many == 0, out, out / many.clamp(min=1))
