"""Gathering and adding rows of NumPy arrays by index: what the indexing operators stand on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime import host


def check_bounds(i: np.ndarray, n: int, dim: int, wrap: bool) -> None:
    """IndexError where an index lies outside `[-n, n)`, or `[0, n)`."""
    if not i.size:
        return
    low, high = int(i.min()), int(i.max())
    if low < (-n if wrap else 0) or high >= n:
        if not n:
            raise IndexError("index is out of bounds for dimension with size 0")
        bad = high if high >= n else low
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {n}")


def copy_of(x: np.ndarray) -> np.ndarray:
    """A contiguous copy, in memory of the pool."""
    out = host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def take(x: np.ndarray, i: np.ndarray, dim: int) -> np.ndarray:
    """`x` at the positions `i` of one dimension; `x` is contiguous, negative positions wrap."""
    check_bounds(i, x.shape[dim], dim, wrap=True)
    out = host.empty((*x.shape[:dim], *i.shape, *x.shape[dim + 1 :]), x.dtype)
    if not out.size:
        return out
    np.take(x, i, axis=dim, out=out, mode="wrap")
    return out


def add_at(
    out: np.ndarray, indices: Sequence[np.ndarray], dims: tuple[int, ...], values: np.ndarray
) -> None:
    """Add `values` to `out` at index arrays for `dims`; positions may repeat."""
    key: list = [slice(None)] * out.ndim
    for d, i in zip(dims, indices, strict=True):
        key[d] = i
    np.add.at(out, tuple(key), values)
