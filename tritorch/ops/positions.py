"""Positions: nonzero and its relatives, and functions that read or write at given positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..op import primitive
from ..tensor import Tensor, wrap
from .api import PUBLIC, attach, in_place_of, public
from .index import index_op, index_put_op, put_in_place
from .keys import as_indices, checked_index, width


def _nonzero_meta(x: Tensor, *, count: int) -> tuple:
    return (count, x._data.ndim), dtypes.int64


@primitive(
    name="nonzero",
    meta=_nonzero_meta,
    triton="index.nonzero",
    exact=True,
    samples=lambda s: [s(np.array([[0, 3], [4, 0]]), count=2), s(np.array([0.0, 0.0]), count=0)],
)
def nonzero_op(x: Any, *, count: int) -> Any:
    """The positions of the elements that are not zero, a row each, in order."""
    x = x if x.dtype.kind != "V" else x != 0
    if not x.ndim:
        return np.zeros((int(x != 0), 0), np.int64)
    return np.stack(np.nonzero(x), axis=1)


@public(out=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The positions of the elements that are not zero: rows of a matrix, or a tensor a dimension.

    Example:
        >>> import tritorch as torch
        >>> torch.nonzero(torch.tensor([0, 3, 0, 4])).tolist()
        [[1], [3]]
    """
    if as_tuple and not input.ndim:
        input = input.reshape(1)  # type: ignore[attr-defined]
    if input.is_cpu:
        data = input._data if input._data.dtype.kind != "V" else input._data != 0
        if as_tuple:
            found = (np.flatnonzero(data),) if data.ndim == 1 else np.nonzero(data)
            return tuple(wrap(i, dtypes.int64) for i in found)
        return nonzero_op(input.detach(), count=0)
    count = int((input.detach() != 0).sum())
    found = nonzero_op(input.detach(), count=count)
    return tuple(found[:, d] for d in range(input.ndim)) if as_tuple else found


@public(method=False)
def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not zero, a row each."""
    return nonzero(input)


attach("argwhere", argwhere)


@public(out=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """`nonzero` with exactly `size` rows: cut off, or filled up with rows of `fill_value`."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = nonzero(input)[:size]
    out = found.new_full((size, input._data.ndim), fill_value)  # type: ignore[attr-defined]
    out[: found._data.shape[0]] = found
    return out


# -- functions -----------------------------------------------------------------------------------


def _put_arguments(self: Tensor, indices: Any, values: Tensor) -> tuple:
    if not isinstance(indices, tuple | list):
        raise TypeError(
            f"index_put(): argument 'indices' must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    found = [(d, _tensor_only(k)) for d, k in _numbered(indices)]
    if sum(max(width(k), 1) for k in indices) > self._data.ndim:
        raise IndexError(
            f"index_put: too many indices for tensor of dimension {self._data.ndim}, got "
            f"{len(indices)}"
        )
    return as_indices(self, found, merge=False)


def _numbered(indices: Sequence) -> list[tuple[int, Any]]:
    """(dimension, index tensor), without the None ones."""
    found, at = [], 0
    for k in indices:
        if k is not None:
            found.append((at, k))
        at += max(width(k), 1)
    return found


def _tensor_only(k: Any) -> Tensor:
    if not isinstance(k, Tensor):
        raise TypeError(f"index_put(): indices must be Tensors or None, got {type(k).__name__}")
    return k if checked_index(k) is k else k.reshape(-1)  # type: ignore[attr-defined]


def index_put_(
    self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`self[indices] = values`, or with `accumulate` `+=` where equal positions add up."""
    view, found, dims = _put_arguments(self, indices, values)
    if not dims:
        return self.add_(values) if accumulate else self.copy_(values)  # type: ignore
    return put_in_place(view, values, found, dims, accumulate)


@public()
def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy with `values` stored, or added, where the tensors in `indices` point."""
    return index_put_(input.clone(), indices, values, accumulate)  # type: ignore[attr-defined]


attach("index_put_", index_put_)
PUBLIC["index_put_"] = index_put_


def _flat_index(name: str, x: Tensor, index: Any) -> Tensor:
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype}")
    if not x._data.size and index._data.size:
        raise IndexError(f"{name}(): tried to take from an empty tensor")
    if x.is_cpu and index._data.size:
        data, n = index._data, x._data.size
        low, high = int(data.min()), int(data.max())
        if low < -n or high >= n:
            raise IndexError(
                f"{name}: out of range: tried to access index {high if high >= n else low} on a "
                f"tensor of {n} elements."
            )
    return index


@public(out=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions of the flattened tensor, in the shape of `index`."""
    index = _flat_index("take", input, index)
    return index_op(input.reshape(-1), index, dims=(0,))  # type: ignore[attr-defined]


@public()
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with `source` stored, or added, at positions of the flattened tensor."""
    index = _flat_index("put", input, index)
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put(): self and source expected to have the same dtype, but got self.dtype = "
            f"{input.dtype} and source.dtype = {source.dtype}"
        )
    if source._data.size != index._data.size:
        raise RuntimeError(
            f"put(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source._data.size}, index.numel() = {index._data.size}"
        )
    flat, values = input.reshape(-1), source.reshape(index.shape)  # type: ignore[attr-defined]
    out = index_put_op(flat, values, index, dims=(0,), accumulate=accumulate)
    return out.reshape(input.shape)


attach("put_", in_place_of(put, "put"))


@public()
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Flat positions in a tensor of `shape` as a tensor of coordinates for each dimension."""
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if indices.dtype.category != 1:
        raise ValueError(
            f"unravel_index: expected 'indices' to be integer dtype, but got {indices.dtype}"
        )
    if any(n < 0 for n in sizes):
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, but got {sizes}")
    found, rest = [], indices
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))
