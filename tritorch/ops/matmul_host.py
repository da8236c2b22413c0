"""Products of NumPy arrays: BLAS over our own threads, without hidden copies."""

from __future__ import annotations

import math

import numpy as np

from ..runtime import blas, host, parallel

ALONE = 1 << 18  # multiplications up to which BLAS does not use its threads
THREADED = 1 << 22  # multiplications from which a second thread pays


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` for arrays of two and more dimensions, over our own threads.

    BLAS's threads spin while they wait: where others use the cores too, each product then takes as
    long as the system's time slice.
    """
    if b.ndim == 2 and a.ndim > 2:
        return _folded(a, b)
    if a.ndim > 2 or b.ndim > 2:
        return _batched(a, b)
    (m, k), n = a.shape, b.shape[1]
    if m * n * k <= ALONE:
        return np.matmul(a, b)
    out = host.empty((m, n), a.dtype)
    with blas.single:
        if m * n * k <= THREADED:
            return np.matmul(a, b, out=out)
        return _split(a, b, out)


def _split(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Rows, or columns, of a product over the threads; the pieces do not depend on their number."""
    m, n = out.shape
    columns = n >= 2 * m
    a, b = blas_ready(a), blas_ready(b)

    def body(start: int, stop: int) -> None:
        if columns:
            np.matmul(a, b[:, start:stop], out=out[:, start:stop])
        else:
            np.matmul(a[start:stop], b, out=out[start:stop])

    size = n if columns else m
    grain = max(256, size // 16) if size >= 512 else max(64, size // 2)
    parallel.run(body, size, -(-grain // 16) * 16)
    return out


def _folded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All matrices of `a` times one matrix: one product of the rows of all of them."""
    rows = rows_of(a)
    return product(rows, b).reshape(*a.shape[:-1], b.shape[1])


def rows_of(a: np.ndarray) -> np.ndarray:
    """`a` (..., K) as a matrix (rows, K); a view where the strides allow it."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _batched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    lead = a.shape[:-2]
    if lead != b.shape[:-2]:
        lead = np.broadcast_shapes(lead, b.shape[:-2])
    one, count = m * n * k, math.prod(lead)
    if count * one <= ALONE:
        return np.matmul(a, b)
    if count == 1:
        return product(a.reshape(m, k), b.reshape(k, n)).reshape(*lead, m, n)
    a, b = blas_ready(a), blas_ready(b)
    out = host.empty((*lead, m, n), a.dtype)
    axis = max(range(len(lead)), key=lambda d: lead[d])
    with blas.single:
        if count * one <= THREADED:
            return np.matmul(a, b, out=out)
        a = np.moveaxis(np.broadcast_to(a, (*lead, m, k)), axis, 0)
        b = np.moveaxis(np.broadcast_to(b, (*lead, k, n)), axis, 0)
        target = np.moveaxis(out, axis, 0)

        def body(start: int, stop: int) -> None:
            np.matmul(a[start:stop], b[start:stop], out=target[start:stop])

        parallel.run(body, lead[axis], max(1, lead[axis] // 8))
    return out


def blas_ready(x: np.ndarray) -> np.ndarray:
    """`x` with unit stride in one of its last two dimensions, which is what BLAS reads."""
    row, column = x.strides[-2:]
    item = x.itemsize
    if column == item and (row >= item * x.shape[-1] or x.shape[-2] == 1):
        return x
    if row == item and (column >= item * x.shape[-2] or x.shape[-1] == 1):
        return x
    if x.dtype.kind not in "fc":
        return x
    out = host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def sum_rows(g: np.ndarray) -> np.ndarray:
    """The sum over the rows of a matrix; by BLAS where there are many."""
    if g.shape[0] >= 128 and g.dtype.kind == "f":
        return np.ones(g.shape[0], g.dtype) @ g
    return np.add.reduce(g, 0)
