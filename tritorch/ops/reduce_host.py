"""Reductions of NumPy arrays over any dimensions, in fixed pieces on the threads.

What is reduced is brought to (outer, n, inner), contiguous, reduced along the middle. Where few
results come of much, n is cut in parts of a fixed size, so that results do not depend on the
number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..runtime import blas, host, parallel

PART = 1 << 13  # elements of a part
CHAIN = 128  # additions one after the other, whose rounding errors then grow no further
SHORT = 512  # the longest sum in one chain
LONG = 1024  # the longest that BLAS makes, in many chains
LANES = 1 << 10  # products that advance side by side
FEW = 16  # lines, below which each is cut in parts
ROWS = 16  # BLAS takes rows by four or more, and the last ones in another order of additions
Piece = Callable[[np.ndarray], np.ndarray]  # (outer, n, inner) to (outer, inner)


def reduced_shape(shape: Sequence[int], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple([1 if d in dims else n for d, n in enumerate(shape)])
    return tuple([n for d, n in enumerate(shape) if d not in dims])


def canonical(x: np.ndarray, dims: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    """`x` as (outer, n, inner), and the order in which its kept dimensions stand there."""
    kept = [d for d in range(x.ndim) if d not in dims]
    if not x.flags.c_contiguous:
        by_stride = sorted(range(x.ndim), key=lambda d: -abs(x.strides[d]))
        if x.transpose(by_stride).flags.c_contiguous:
            y, order = canonical(
                x.transpose(by_stride), tuple(sorted(by_stride.index(d) for d in dims))
            )
            return y, [by_stride[d] for d in order]
    size = math.prod([x.shape[d] for d in dims])
    if not dims or dims[-1] - dims[0] == len(dims) - 1:
        first, last = (dims[0], dims[-1] + 1) if dims else (x.ndim, x.ndim)
        outer, inner = math.prod(x.shape[:first]), math.prod(x.shape[last:])
        if not x.flags.c_contiguous:
            x = _copy(x)
        return x.reshape(outer, size, inner), kept
    x = _copy(x.transpose(*kept, *dims))
    return x.reshape(x.size // max(size, 1) if size else 0, size, 1), kept


def _copy(x: np.ndarray) -> np.ndarray:
    out = host.empty(x.shape, x.dtype)
    np.copyto(out, x)
    return out


def reduce(
    x: np.ndarray,
    dims: tuple[int, ...],
    keepdim: bool,
    piece: Piece,
    combine: Piece,
) -> np.ndarray:
    """`piece` over blocks of `x`; `combine` joins the results of the parts of a line."""
    lines, order = canonical(x, dims)
    shape = tuple(x.shape[d] for d in order)
    out = over_lines(lines, piece, combine).reshape(shape)
    if order != sorted(order):
        out = out.transpose(np.argsort(order))
    return out.reshape(reduced_shape(x.shape, dims, True)) if keepdim else out


def over_lines(x: np.ndarray, piece: Piece, combine: Piece) -> np.ndarray:
    """(outer, n, inner) to (outer, inner)."""
    outer, n, inner = x.shape
    if x.nbytes < 2 * parallel.WORTH:
        with blas.single:
            return piece(x)
    if outer >= FEW:
        return gather(piece, x)
    part = PART if inner == 1 else max(PART // inner, 128)
    count = n // part
    if count < 2:
        return piece(x)
    found = []
    for line in x:
        parts = gather(piece, line[: count * part].reshape(count, part, inner))
        rest = [piece(line[None, count * part :])] if count * part < n else []
        found.append(combine(np.concatenate([parts, *rest])[None]))
    return np.concatenate(found)


def gather(piece: Piece, x: np.ndarray) -> np.ndarray:
    """`piece` over `x` cut along its first dimension, one call a thread."""
    parts: dict[int, np.ndarray] = {}

    def body(start: int, stop: int) -> None:
        parts[start] = piece(x[start:stop])

    each = -(-len(x) // parallel.get_num_threads())
    with blas.single:
        parallel.run(body, len(x), -(-each // ROWS) * ROWS)
    return np.concatenate([parts[k] for k in sorted(parts)])


def by_ufunc(ufunc: np.ufunc, dtype: np.dtype | None = None) -> tuple[Piece, Piece]:
    """The piece and the combination of a reduction by an associative ufunc."""

    def piece(x: np.ndarray) -> np.ndarray:
        return ufunc.reduce(x, axis=1, dtype=dtype)

    return piece, piece


def _by_blas(x: np.ndarray) -> bool:
    """Whether the sums of lines are a product with ones: BLAS adds in several vectors at once."""
    return x.shape[2] == 1 and x.shape[1] >= 64 and x.dtype.char in "fd" and x.size > CHAIN * 64


def add(x: np.ndarray) -> np.ndarray:
    """Sums along the middle, of short chains of additions."""
    outer, n, inner = x.shape
    if x.dtype.kind != "f" or n < 64:
        return np.add.reduce(x, axis=1)
    if _by_blas(x):
        if n <= LONG:
            return np.matmul(x[:, :, 0], np.ones(n, x.dtype))[:, None]
        cut = n // LONG * LONG
        head = np.matmul(x[:, :cut, 0].reshape(-1, LONG), np.ones(LONG, x.dtype))
        return add(head.reshape(outer, -1, 1)) + np.add.reduce(x[:, cut:], axis=1)
    if n <= SHORT:
        return np.einsum("oni->oi", x) if inner == 1 else np.add.reduce(x, axis=1)
    cut = n // CHAIN * CHAIN
    blocks = x[:, :cut].reshape(outer, cut // CHAIN, CHAIN, inner)
    head = np.einsum("okni->oki", blocks) if inner == 1 else np.add.reduce(blocks, axis=2)
    return add(head) + np.add.reduce(x[:, cut:], axis=1)


def multiply(x: np.ndarray) -> np.ndarray:
    """Products along the middle, of lanes side by side: NumPy's own of a line wait for one another.

    Lines that are short for that are folded in halves.
    """
    while x.shape[2] == 1 and x.shape[1] >= 32:
        outer, n, _ = x.shape
        count = max(n // LANES, 2)
        cut = n // count * count
        parts = x[:, :cut].reshape(outer, count, n // count)
        y = parts[:, 0] * parts[:, 1] if count == 2 else np.multiply.reduce(parts, axis=1)
        if cut < n:
            y[:, : n - cut] *= x[:, cut:, 0]
        x = y[:, :, None]
    return np.multiply.reduce(x, axis=1)
