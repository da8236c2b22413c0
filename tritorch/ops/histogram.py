"""Histograms over one or several dimensions, with the edges of their bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import return_types
from ..tensor import Tensor, from_data
from .api import PUBLIC, attach, write_out
from .copy import to_array


def _check(name: str, input: Tensor, weight: Tensor | None, shape: tuple) -> None:
    if input.dtype.name not in ("float32", "float64"):
        raise NotImplementedError(f'"{name}" not implemented for {input.dtype}')
    if weight is None:
        return
    if weight.dtype is not input.dtype:
        raise TypeError(
            f"{name}(): if weight tensor is provided, input tensor and weight tensor should have "
            f"the same dtype, but got input {input.dtype} and weight {weight.dtype}"
        )
    if tuple(weight._data.shape) != shape:
        raise RuntimeError(
            f"{name}(): if weight tensor is provided it should have the same shape as the input "
            f"tensor excluding its innermost dimension, but got input {tuple(input.shape)} and "
            f"weight {tuple(weight.shape)}"
        )


def _limits(name: str, columns: np.ndarray, range_: Any, d: int) -> tuple[float, float]:
    """The outer edges along a dimension: those given, else the extremes of the data."""
    if range_ is not None:
        low, high = float(range_[2 * d]), float(range_[2 * d + 1])
    elif columns.size:
        low, high = float(columns[:, d].min()), float(columns[:, d].max())
    else:
        low, high = 0.0, 1.0
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}(): dimension {d}'s range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}(): min should not exceed max, but got min {low} max {high}")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _edges(name: str, columns: np.ndarray, bins: Any, range_: Any) -> list[np.ndarray]:
    """The edges of the bins along each dimension, in the dtype of the data."""
    n = columns.shape[1]
    if range_ is not None and len(range_) != 2 * n:
        raise RuntimeError(
            f"{name}(): for a {n}-dimensional histogram range should have {2 * n} elements, but "
            f"got {len(range_)}"
        )
    if len(bins) != n:
        raise RuntimeError(
            f"{name}(): expected {n} sequences of bin edges for a {n}-dimensional histogram but "
            f"got {len(bins)}"
        )
    found = []
    for d, b in enumerate(bins):
        if isinstance(b, Tensor):
            found.append(_given_edges(name, b, columns.dtype, d))
            continue
        if b <= 0:
            raise RuntimeError(f"{name}(): bins must be > 0, but got {b} for dimension {d}")
        low, high = _limits(name, columns, range_, d)
        found.append(np.linspace(low, high, int(b) + 1, dtype=columns.dtype))
    return found


def _given_edges(name: str, edges: Tensor, dtype: np.dtype, d: int) -> np.ndarray:
    if edges._data.ndim != 1 or not edges._data.size:
        raise RuntimeError(
            f"{name}(): bins tensor should have one dimension and at least one element, but got "
            f"{tuple(edges.shape)} in the bins tensor for dimension {d}"
        )
    if edges.dtype.np != dtype:
        raise RuntimeError(
            f"{name}(): input tensor and bins tensors should have the same dtype, but got {dtype} "
            f"and {edges.dtype}"
        )
    return to_array(edges.detach())


def _count(
    columns: np.ndarray, edges: list[np.ndarray], weight: np.ndarray | None, density: bool
) -> np.ndarray:
    """How many rows, or what weight of them, lie in each bin; the last bins include their ends."""
    shape = tuple(max(len(e) - 1, 0) for e in edges)
    inside, flat = np.ones(len(columns), bool), np.zeros(len(columns), np.int64)
    for d, e in enumerate(edges):
        x = columns[:, d]
        at = np.searchsorted(e, x, side="right") - 1
        at[x == e[-1]] = shape[d] - 1
        inside &= (x >= e[0]) & (x <= e[-1])
        flat = flat * shape[d] + at
    kept = None if weight is None else weight.reshape(-1)[inside].astype(np.float64)
    n = math.prod(shape)
    found = np.bincount(flat[inside], kept, n) if n else np.zeros(0)
    hist = found.reshape(shape).astype(columns.dtype)
    if density:
        with np.errstate(all="ignore"):
            hist = hist / hist.sum()
            for d, e in enumerate(edges):
                hist = hist / np.diff(e).reshape([-1 if k == d else 1 for k in range(hist.ndim)])
    return hist


def _histogram(
    name: str, input: Tensor, columns: np.ndarray, bins: Any, range_: Any, weight: Any, density: Any
) -> tuple[Tensor, list[Tensor]]:
    edges = _edges(name, columns, bins, range_)
    w = None if weight is None else to_array(weight.detach())
    arrays = (_count(columns, edges, w, density), *(e.copy() for e in edges))
    hist, *lines = (from_data(a).to(input.device) for a in arrays)  # type: ignore[attr-defined]
    return hist, lines


def histogram(
    input: Tensor,
    bins: Any = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """How many elements lie in each bin, and the bins' edges, named `hist` and `bin_edges`.

    `bins` is how many equal ones the range (that of the elements) has, or the increasing edges.
    `weight`, of the input's shape, counts instead of 1; with `density` the integral is 1.
    float32 and float64.

    Example:
        >>> import tritorch as torch
        >>> torch.histogram(torch.tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 3.0)).hist
        tensor([2., 1.])
    """
    _check("histogram", input, weight, tuple(input._data.shape))
    columns = to_array(input.detach()).reshape(-1, 1)
    found, edges = _histogram("histogram", input, columns, [bins], range, weight, density)
    if out is None:
        return return_types.histogram(found, edges[0])
    written = [write_out("histogram", o, r) for o, r in zip(out, (found, edges[0]), strict=True)]
    return return_types.histogram(*written)


def histogramdd(
    input: Tensor,
    bins: Any,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """The histogram of points (..., N) over N dimensions, and the edges along each.

    `bins` is how many there are, for all dimensions or for each, or the edges along each;
    `range` is `(low, high)` for each dimension in turn; `weight` has the shape (...).
    """
    if not input._data.ndim:
        raise RuntimeError("histogramdd(): input tensor should have at least 2 dimensions")
    shape = tuple(input._data.shape)
    _check("histogramdd", input, weight, shape[:-1])
    columns = to_array(input.detach()).reshape(math.prod(shape[:-1]), shape[-1])
    bins = [bins] * shape[-1] if isinstance(bins, int) else bins
    found, edges = _histogram("histogramdd", input, columns, bins, range, weight, density)
    return return_types.histogramdd(found, tuple(edges))


PUBLIC["histogram"], PUBLIC["histogramdd"] = histogram, histogramdd
attach("histogram", histogram)
