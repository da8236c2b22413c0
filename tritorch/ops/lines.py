"""NumPy functions over the lines along one dimension, block by block on the threads.

A contiguous array is seen as (outer, n, inner): the lines run along the middle. A block holds about
`BLOCK` elements, so that it stays in a core's cache through several passes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime import host, parallel

BLOCK = 1 << 18  # large, as two threads whose calls are short wait for the interpreter's lock
SMALL = 1 << 13  # elements up to which the calls of NumPy cost more than what they do


class _Buffers(threading.local):
    """Scratch memory by slot and dtype, for each thread."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, np.dtype], np.ndarray] = {}


_buffers = _Buffers()


def scratch(like: Any, slot: int = 0, dtype: Any = None) -> np.ndarray:
    """Uninitialised memory in the shape and dtype of a block, until this thread asks for the slot
    again: a fresh array would cost as much as a pass over it."""
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    if not 2048 <= like.size <= 4 * BLOCK:
        return np.empty(like.shape, dtype)
    key = slot, dtype
    buffers = _buffers.found
    found = buffers.get(key)
    if found is None or found.size < like.size:
        found = buffers[key] = np.empty(max(like.size, BLOCK), dtype)
    return found[: like.size].reshape(like.shape)


def contiguous(x: np.ndarray) -> np.ndarray:
    """`x`, or a copy of it in the ordinary order of elements."""
    if x.flags.c_contiguous:
        return x
    out = host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def canonical(x: np.ndarray, dim: int) -> np.ndarray:
    """`x` as (outer, n, inner), or (outer, n) where `dim` is its last dimension."""
    shape = x.shape
    if dim >= len(shape) - 1:
        n = shape[dim] if shape else 1
        return contiguous(x).reshape(math.prod(shape[:-1]), n)
    return contiguous(x).reshape(math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]))


def blocks(f: Callable, *arrays: np.ndarray | None) -> None:
    """`f(*pieces)` over pieces of canonical arrays: cut along the first of the dims, or the last.

    Arrays with a size of 1 in the dimension that is cut are handed over whole.
    """
    first = next(a for a in arrays if a is not None)
    if first.size <= parallel.BIG:
        f(*arrays)
        return
    outer, n = first.shape[:2]
    inner = first.shape[2] if first.ndim == 3 else 1
    axis = 2 if inner > 1 and outer * 2 * n * parallel.get_num_threads() < first.size else 0
    count = first.shape[axis]
    grain = max(1, BLOCK // max(first.size // count, 1))
    if axis == 2:  # short rows would make many loops of NumPy
        grain = max(grain, 64)

    def body(start: int, stop: int) -> None:
        key = (slice(None),) * axis + (slice(start, stop),)
        f(*(a if a is None or a.shape[axis] != count else a[key] for a in arrays))

    parallel.run(body, count, grain)


def total(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """The sums along the lines of `x`, or of `x * y`, with the dimension kept."""
    if x.ndim == 2 and x.dtype.itemsize >= 4 and x.shape[1] <= 1 << 16:
        if y is not None:
            return np.vecdot(x, y)[:, None]
        if x.size > 4096:  # einsum adds in vectors, `add.reduce` half as fast
            return np.einsum("ij->i", x)[:, None]
    return np.add.reduce(x if y is None else x * y, axis=1, keepdims=True)


def across(f: np.ufunc, x: np.ndarray, column: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`f(x, column)` with one number for each line; `out` is other memory than `x`.

    A loop of NumPy over a short line with one number is half as fast as writing the number along
    the line and then taking `f` of two whole arrays.
    """
    if x.size <= SMALL or x.shape[-1] >= 8192 or column.shape[-1] != 1 or x.dtype != out.dtype:
        return f(x, column, out=out)
    np.copyto(out, column)
    return f(x, out, out=out)


def like(x: np.ndarray) -> np.ndarray:
    """An array of the same shape and dtype, contiguous."""
    return host.empty(x.shape, x.dtype)


def reduced(shape: Sequence[int], dim: int) -> tuple[int, ...]:
    """The shape without one dimension."""
    return tuple(shape[:dim]) + tuple(shape[dim + 1 :])
