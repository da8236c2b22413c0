"""Picking and adding slices of NumPy arrays by index: what the indexing operators stand on.

Every function here gives the same result from run to run, whatever the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime import host, parallel

LARGE = 1 << 19  # bytes from which a copy is worth a second thread


def check_bounds(
    i: np.ndarray, n: int, dim: int, wrap: bool, error: type[Exception] = IndexError
) -> None:
    """Raise where an index lies outside `[-n, n)`, or `[0, n)` without `wrap`."""
    if not i.size:
        return
    low, high = int(i.min()), int(i.max())
    if low < (-n if wrap else 0) or high >= n:
        if not n:
            raise error("index is out of bounds for dimension with size 0")
        bad = high if high >= n else low
        raise error(f"index {bad} is out of bounds for dimension {dim} with size {n}")


def copy_of(x: np.ndarray, strided: bool = False) -> np.ndarray:
    """A copy in memory of the pool: contiguous, or in the order of dimensions that a clone has."""
    out = host.empty(x.shape, x.dtype, x) if strided else host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def folded(shape: Sequence[int], dim: int) -> tuple[int, int, int]:
    """A shape as (before `dim`, `dim`, after it)."""
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def in_range(i: np.ndarray, n: int, dim: int, error: type[Exception] = IndexError) -> np.ndarray:
    """The index as contiguous int64, negative ones wrapped; raises where one is out of range."""
    i = np.ascontiguousarray(i, np.int64).reshape(i.shape)
    if i.size and int(i.view(np.uint64).max()) >= n:  # a negative number is a large one
        check_bounds(i, n, dim, True, error)
        return np.where(i < 0, i + n, i)
    return i


def take(x: np.ndarray, i: np.ndarray, dim: int, checked: bool = False) -> np.ndarray:
    """`x` at the positions `i` of one dimension; negative positions count from the end."""
    if not checked:
        i = in_range(i, x.shape[dim], dim)
    out = host.empty((*x.shape[:dim], *i.shape, *x.shape[dim + 1 :]), x.dtype)
    if not out.size:
        return out
    if not x.flags.c_contiguous:
        out[...] = x[(slice(None),) * dim + (i,)]
        return out
    outer, n, inner = folded(x.shape, dim)
    source, target = x.reshape(outer, n, inner), out.reshape(outer, i.size, inner)
    i = i.reshape(-1)
    if out.nbytes < LARGE:
        np.take(source, i, axis=1, out=target, mode="clip")
    elif outer > 1:

        def rows(start: int, stop: int) -> None:
            np.take(source[start:stop], i, axis=1, out=target[start:stop], mode="clip")

        parallel.run(rows, outer, -(-outer // parallel.get_num_threads()))
    else:

        def columns(start: int, stop: int) -> None:
            np.take(source[0], i[start:stop], axis=0, out=target[0, start:stop], mode="clip")

        parallel.run(columns, i.size, -(-i.size // parallel.get_num_threads()))
    return out


# -- elements along a dimension --------------------------------------------------------------------


def element_positions(
    shape: Sequence[int], i: np.ndarray, dim: int, first: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """For each element of `i` the flat position in an array of `shape` that it names along `dim`,
    the other coordinates being its own, which in dimension `first[0]` begin at `first[1]`."""
    step, steps = 1, {}
    for d in reversed(range(len(shape))):
        steps[d], step = step, step * shape[d]
    base: Any = None
    for d, n in enumerate(i.shape):
        if d != dim and (n > 1 or d == first[0]):
            start = first[1] if d == first[0] else 0
            line = np.arange(start, start + n) * steps[d]
            line = line.reshape((-1,) + (1,) * (i.ndim - 1 - d))
            base = line if base is None else base + line
    at = i if steps[dim] == 1 else i * steps[dim]
    return at if base is None else at + base


def over_elements(
    shape: Sequence[int], i: np.ndarray, dim: int, body: Callable[[np.ndarray, tuple], None]
) -> None:
    """`body(positions, key)` for pieces `i[key]` of an index, over the threads.

    Pieces are cut across `dim`: no two of them name the same element.
    """
    n = shape[dim]

    def piece(key: tuple, first: tuple[int, int]) -> None:
        part = np.ascontiguousarray(i[key], np.int64)
        if int(part.view(np.uint64).max()) >= n:
            check_bounds(part, n, dim, False, RuntimeError)
        body(element_positions(shape, part, dim, first), key)

    across = [d for d in range(i.ndim) if d != dim and i.shape[d] > 1]
    if i.size <= parallel.BLOCK or not across:
        piece((slice(None),) * i.ndim, (-1, 0))
        return
    d = across[0] if i.shape[across[0]] >= 64 else max(across, key=lambda d: i.shape[d])

    def run(start: int, stop: int) -> None:
        piece((slice(None),) * d + (slice(start, stop),), (d, start))

    parallel.run(run, i.shape[d], max(1, parallel.BLOCK * i.shape[d] // i.size))


def take_elements(flat: np.ndarray, shape: Sequence[int], i: np.ndarray, dim: int) -> np.ndarray:
    """The elements of a flattened array of `shape` that `i` names along `dim`."""
    out = host.empty(i.shape, flat.dtype)

    def body(at: np.ndarray, key: tuple) -> None:
        part = out[key]
        if part.flags.c_contiguous:
            np.take(flat, at, out=part, mode="clip")
        else:
            part[...] = np.take(flat, at, mode="clip")

    over_elements(shape, i, dim, body)
    return out


def positions(
    shape: Sequence[int], indices: Sequence[np.ndarray], dims: Sequence[int]
) -> np.ndarray:
    """Index arrays for neighbouring dimensions as one for all of them."""
    at: Any = 0
    for d, i in zip(dims, indices, strict=True):
        at = at * shape[d] + np.where(i < 0, i + shape[d], i)
    return at


# -- adding --------------------------------------------------------------------------------------


def _matrix_times_rows() -> Callable:
    """`add(n, m, k, pointers, indices, data, x, y)`: y += sparse matrix @ x, by columns."""
    try:
        from scipy.sparse._sparsetools import csc_matvecs
    except ImportError:  # a private name of scipy: its public form costs a copy more
        from scipy.sparse import csc_matrix

        def csc_matvecs(n: int, m: int, k: int, p: Any, i: Any, d: Any, x: Any, y: Any) -> None:
            y += (csc_matrix((d, i, p), shape=(n, m)) @ x.reshape(m, k)).reshape(-1)

    return csc_matvecs


def add_rows(out: np.ndarray, i: np.ndarray, source: np.ndarray) -> None:
    """`out[i[j]] += source[j]` for matrices, in the order of j; `i` is not negative.

    It is the product of a sparse matrix with `source`, which SciPy runs without a temporary.
    """
    n, width = out.shape
    if not source.size:
        return
    served = out.dtype.kind in "fc" and out.itemsize > 2 and out.flags.c_contiguous
    if width == 1 or not served:
        np.add.at(out[:, 0] if width == 1 else out, i, source[:, 0] if width == 1 else source)
        return
    source = np.ascontiguousarray(source, out.dtype)
    m = i.size
    i = np.ascontiguousarray(i, np.int64)
    ones, pointers = np.ones(m, out.dtype), np.arange(m + 1, dtype=np.int64)
    _matrix_times_rows()(n, m, width, pointers, i, ones, source.reshape(-1), out.reshape(-1))


def add_along(out: np.ndarray, i: np.ndarray, source: np.ndarray, dim: int) -> None:
    """`out[..., i[j], ...] += source[..., j, ...]` along a dimension."""
    if not out.flags.c_contiguous:
        wide = copy_of(out)
        add_along(wide, i, source, dim)
        np.copyto(out, wide)
        return
    outer, n, inner = folded(out.shape, dim)
    if not out.size:
        return
    i = np.where(i < 0, i + n, i)
    target = out.reshape(outer, n, inner)
    source = np.broadcast_to(source, (*out.shape[:dim], i.size, *out.shape[dim + 1 :]))
    source = source.reshape(outer, i.size, inner)
    if outer == 1:
        add_rows(target[0], i, source[0])
    elif inner == 1 and outer >= i.size:
        for j, k in enumerate(i.tolist()):
            target[:, k] += source[:, j]
    else:
        rows = (np.arange(outer)[:, None] * n + i).reshape(-1)
        add_rows(target.reshape(outer * n, inner), rows, source.reshape(-1, inner))


def add_at(
    out: np.ndarray, indices: Sequence[np.ndarray], dims: tuple[int, ...], values: np.ndarray
) -> None:
    """Add `values` to `out` at index arrays for `dims`; positions may repeat."""
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    adjacent = dims[-1] - dims[0] == len(dims) - 1
    if not adjacent:  # the dimensions of the indices come first
        front = np.moveaxis(out, dims, range(len(dims)))
        add_at(front, indices, tuple(range(len(dims))), values)
        return
    first, last = dims[0], dims[-1] + 1
    i = np.broadcast_to(positions(out.shape, indices, dims), shape)
    values = np.broadcast_to(
        _without_leading_ones(values, len(shape) + out.ndim - len(dims)),
        (*out.shape[:first], *shape, *out.shape[last:]),
    )
    n = math.prod(out.shape[first:last])
    wide = out if out.flags.c_contiguous else copy_of(out)
    merged = wide.reshape(*out.shape[:first], n, *out.shape[last:])
    add_along(
        merged, i.reshape(-1), values.reshape(*out.shape[:first], i.size, *out.shape[last:]), first
    )
    if wide is not out:
        np.copyto(out, wide)


def _without_leading_ones(values: np.ndarray, n: int) -> np.ndarray:
    return values.reshape(values.shape[max(values.ndim - n, 0) :])
