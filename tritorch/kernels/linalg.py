"""Linear algebra on batches of matrices, by the factors of `factor.py`.

Arrays of 16 bits are computed with in float32; other dtypes than real floats are not served.
"""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from .. import dtypes
from ._dense import FLOATS, cdiv, clip, pow2
from .copy import copy, fill, tril
from .factor import SIZES, cholesky_, exchange_, lu_, solve_

MOST_ROWS = 8192  # of a permutation, which a program holds in registers


@triton.jit
def product_of(a, b):
    return a * b


@triton.jit(do_not_specialize=SIZES)
def determinant_kernel(
    p_out,  # (programs,): the determinant, or its sign where LOG
    p_log,  # (programs,): the logarithm of its size; written where LOG
    p_a,  # (programs, n, n)
    p_pivots,  # (programs, n)
    n, s_ab, s_am,
    LOG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The product of the diagonal, s_am apart, negated for each exchange of rows."""
    i_b = tl.program_id(0).to(tl.int64)
    ACC: tl.constexpr = p_a.dtype.element_ty
    total = tl.full((BLOCK,), 0 if LOG else 1, ACC)
    sign = tl.full((BLOCK,), 1, ACC)
    for start in range(0, n, BLOCK):
        o = start + tl.arange(0, BLOCK)
        x = tl.load(p_a + i_b * s_ab + o.to(tl.int64) * s_am, mask=o < n, other=1)
        j = tl.load(p_pivots + i_b * n + o, mask=o < n, other=0)
        sign = tl.where((o < n) & (j != o + 1), -sign, sign)
        if LOG:
            sign = tl.where(x < 0, -sign, tl.where(x == 0, sign * 0, tl.where(x > 0, sign, x)))
            size = tl.log(tl.where(x == 0, 1, tl.abs(x)).to(ACC))
            total += tl.where(x == 0, float("-inf"), size)
        else:
            total *= x
    sign = tl.reduce(sign, 0, product_of)
    if LOG:
        tl.store(p_out + i_b, sign)
        tl.store(p_log + i_b, tl.sum(total, 0))
    else:
        tl.store(p_out + i_b, sign * tl.reduce(total, 0, product_of))


@triton.jit(do_not_specialize=SIZES)
def permutation_kernel(
    p_out,  # (programs, m), or (programs, m, m) where MATRIX
    p_pivots,  # (programs, k)
    m, k,
    INVERSE: tl.constexpr, MATRIX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Where rows come from after exchanges of row i with row pivots[i] - 1; or where they go."""
    i_b = tl.program_id(0).to(tl.int64)
    o = tl.arange(0, BLOCK)
    order = o
    for i in range(0, k):
        j = tl.load(p_pivots + i_b * k + i) - 1
        at_i = tl.sum(tl.where(o == i, order, 0), 0)
        at_j = tl.sum(tl.where(o == j, order, 0), 0)
        order = tl.where(o == i, at_j, tl.where(o == j, at_i, order))
    TYPE: tl.constexpr = p_out.dtype.element_ty
    if MATRIX:
        tl.store(p_out + (i_b * m + order) * m + o, tl.full((BLOCK,), 1, TYPE), mask=o < m)
    elif INVERSE:
        tl.store(p_out + i_b * m + order, o.to(TYPE), mask=o < m)
    else:
        tl.store(p_out + i_b * m + o, order.to(TYPE), mask=o < m)


# -- arrays ----------------------------------------------------------------------------------------


def served(*arrays: Any) -> bool:
    return all(x.dtype.name in FLOATS for x in arrays)


def working(dtype: Any) -> Any:
    """The dtype of the arithmetic."""
    return dtypes.float64 if dtype.name == "float64" else dtypes.float32


def batch(x: Any, rank: int = 2) -> Any:
    """`x` with its batch in one dimension, before the last `rank`; ValueError where it is none."""
    at = x.ndim - rank
    return x.reshape((math.prod(x.shape[:at]), *x.shape[at:]))


def copied(launch: Any, x: Any) -> Any:
    """A contiguous copy to compute in."""
    new = launch.empty(x.shape, working(x.dtype))
    copy(launch, new, x)
    return batch(new)


def read(launch: Any, x: Any) -> Any:
    """Matrices to read: as they are, or a copy where their batch has no single stride."""
    if x.dtype is working(x.dtype):
        try:
            return batch(x)
        except ValueError:
            pass
    return copied(launch, x)


def room(launch: Any, out: Any) -> Any:
    """Where to compute a result: `out`, or scratch of a wider dtype."""
    kind = working(out.dtype)
    return batch(out if out.dtype is kind else launch.empty(out.shape, kind))


def deliver(launch: Any, out: Any, x: Any) -> None:
    """`out = x` where the result was computed elsewhere."""
    if out.size and out.dtype is not x.dtype:
        copy(launch, out, x.reshape(out.shape))


def factored(launch: Any, a: Any, info: Any = None) -> tuple[Any, Any]:
    """The LU decomposition of square matrices, and its pivots."""
    lu = copied(launch, a)
    pivots = launch.empty(lu.shape[:2], dtypes.int32)
    info = launch.empty(lu.shape[:1], dtypes.int32) if info is None else info.reshape(lu.shape[:1])
    lu_(launch, lu, pivots, info)
    return lu, pivots


# -- launchers -------------------------------------------------------------------------------------


def cholesky(launch: Any, out: tuple[Any, Any], a: Any) -> Any:
    """out = the lower L of a = L L^T, (..., n, n), whose lower triangle is read; (...) infos."""
    out, info = out
    if not served(a):
        return NotImplemented
    if not a.size:
        return fill(launch, info, value=0)
    x = room(launch, out)
    copy(launch, x.reshape(a.shape), a)
    cholesky_(launch, x, batch(info, 0))
    tril(launch, x, x)
    return deliver(launch, out, x)


def lu(launch: Any, out: tuple[Any, Any, Any], a: Any) -> Any:
    """out = L and U of a, (..., m, n), in one; pivots (..., min(m, n)) and infos (...)."""
    out, pivots, info = out
    if not served(a):
        return NotImplemented
    if not a.size:
        return fill(launch, info, value=0) if info.size else None
    x = room(launch, out)
    copy(launch, x.reshape(a.shape), a)
    lu_(launch, x, batch(pivots, 1), batch(info, 0))
    return deliver(launch, out, x)


def solve_triangular(launch: Any, out: Any, a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
    """out = a^-1 b for a triangle of a, (..., n, n), and b, (..., n, k)."""
    if not served(a, b):
        return NotImplemented
    x = room(launch, out)
    copy(launch, x.reshape(b.shape), b)
    solve_(launch, read(launch, a), x, upper=upper, unit=unit)
    return deliver(launch, out, x)


def solve(launch: Any, out: tuple[Any, Any], a: Any, b: Any) -> Any:
    """out = a^-1 b for a, (..., n, n), and b, (..., n, k); infos (...)."""
    out, info = out
    if not served(a, b):
        return NotImplemented
    if not a.size:
        return fill(launch, info, value=0) if info.size else None
    lu, pivots = factored(launch, a, info)
    if out.size:
        x = room(launch, out)
        copy(launch, x.reshape(b.shape), b)
        _by_factors(launch, lu, pivots, x)
        deliver(launch, out, x)
    return None


def _by_factors(launch: Any, lu: Any, pivots: Any, x: Any) -> None:
    exchange_(launch, x, pivots)
    solve_(launch, lu, x, upper=False, unit=True)
    solve_(launch, lu, x, upper=True, unit=False)


def _identity(launch: Any, x: Any) -> None:
    """x = the identity, for x (batch, n, n) and contiguous."""
    fill(launch, x, value=0)
    count, n, _ = x.shape
    fill(launch, x.strided((count, n), (n * n, n + 1)), value=1)


def inv(launch: Any, out: tuple[Any, Any], a: Any) -> Any:
    """out = a^-1, (..., n, n), and infos (...)."""
    out, info = out
    if not served(a):
        return NotImplemented
    if not a.size:
        return fill(launch, info, value=0)
    x = room(launch, out)
    lu, pivots = factored(launch, a, info)
    _identity(launch, x)
    _by_factors(launch, lu, pivots, x)
    return deliver(launch, out, x)


def det(launch: Any, out: Any, a: Any) -> Any:
    """out = the determinants, (...), of a, (..., n, n)."""
    if not served(a):
        return NotImplemented
    if not a.size:
        return fill(launch, out, value=1)
    x = launch.empty((out.size,), working(a.dtype))
    _determinants(launch, x, x, a, log=False)
    return copy(launch, out, x.reshape(out.shape))


def slogdet(launch: Any, out: tuple[Any, Any], a: Any) -> Any:
    """Signs and logarithms of the sizes of the determinants of a, (..., n, n)."""
    if not served(a):
        return NotImplemented
    if not a.size:
        for x, value in zip(out, (1, 0)):
            fill(launch, x, value=value)
        return None
    found = [launch.empty((x.size,), working(a.dtype)) for x in out]
    _determinants(launch, *found, a, log=True)
    for x, y in zip(out, found):
        copy(launch, x, y.reshape(x.shape))
    return None


def _determinants(launch: Any, out: Any, size: Any, a: Any, *, log: bool) -> None:
    x, pivots = factored(launch, a)
    n = x.shape[1]
    block = clip(pow2(n), 32, 256)
    args = [out, size, x, pivots, n, n * n, n + 1]
    launch(determinant_kernel, (len(x),), args, {"LOG": log, "BLOCK": block}, num_warps=block // 32)


def cholesky_solve(launch: Any, out: Any, b: Any, factor: Any, *, upper: bool) -> Any:
    """out = (L L^T)^-1 b for L, (..., n, n), or U = L^T, and b, (..., n, k)."""
    if not served(b, factor):
        return NotImplemented
    x = room(launch, out)
    copy(launch, x.reshape(b.shape), b)
    _by_cholesky(launch, read(launch, factor), x, upper)
    return deliver(launch, out, x)


def cholesky_inverse(launch: Any, out: Any, factor: Any, *, upper: bool) -> Any:
    """out = (L L^T)^-1 for L, (..., n, n), or U = L^T."""
    if not served(factor):
        return NotImplemented
    x = room(launch, out)
    _identity(launch, x)
    _by_cholesky(launch, read(launch, factor), x, upper)
    return deliver(launch, out, x)


def _by_cholesky(launch: Any, factor: Any, x: Any, upper: bool) -> None:
    turned = factor.transpose((0, 2, 1))
    low, high = (turned, factor) if upper else (factor, turned)
    solve_(launch, low, x, upper=False, unit=False)
    solve_(launch, high, x, upper=True, unit=False)


def row_order(launch: Any, out: Any, pivots: Any, *, inverse: bool) -> Any:
    """out (..., m) = where the rows of P^T b come from, or of P b."""
    return _permuted(launch, out, pivots, out.shape[-1], INVERSE=inverse, MATRIX=False)


def permutation(launch: Any, out: Any, pivots: Any, *, m: int) -> Any:
    """out (..., m, m) = the P of a = P L U."""
    if m > MOST_ROWS:
        return NotImplemented
    fill(launch, out, value=0)
    return _permuted(launch, out, pivots, m, INVERSE=False, MATRIX=True)


def _permuted(launch: Any, out: Any, pivots: Any, m: int, **constants: bool) -> Any:
    if m > MOST_ROWS or not out.is_contiguous():
        return NotImplemented
    k = pivots.shape[-1]
    dense = launch.empty(pivots.shape, pivots.dtype)
    if dense.size:
        copy(launch, dense, pivots)
    block = max(pow2(m), 32)
    used = clip(cdiv(block, 512), 1, 8)
    grid = (math.prod(pivots.shape[:-1]),)
    launch(permutation_kernel, grid, [out, dense, m, k], constants | {"BLOCK": block}, used)
    return None
