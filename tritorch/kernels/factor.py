"""Factors of matrices in place: Cholesky, LU with pivots, and triangular systems.

Matrices up to `BASE` rows are held in registers, one a program. Larger ones are cut in halves,
whose products are those of `matmul.py`; the columns of an LU decomposition are cut down to `PANEL`,
which one program eliminates in memory. Arithmetic is in the dtype of the arrays, float32 or
float64, and sums are taken in one order. Sources: Toledo, "Locality of reference in LU
decomposition with partial pivoting", 1997; Gustavson, "Recursion leads to automatic variable
blocking for dense linear-algebra algorithms", 1997.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._dense import cdiv, clip, pow2
from .matmul import multiply

BASE = 64  # rows of what a program holds in registers
PANEL = 16  # columns that a program eliminates in memory
SIZES = ("m", "n", "k", "first", "count", "s_ab", "s_am", "s_an", "s_xb", "s_xm", "s_xn", "s_p")


@triton.jit
def row_of(x, o_m, i):
    """Row i of a block."""
    return tl.sum(tl.where((o_m == i)[:, None], x, 0), 0)


@triton.jit
def column_of(x, o_n, i):
    """Column i of a block."""
    return tl.sum(tl.where((o_n == i)[None, :], x, 0), 1)


@triton.jit
def element_of(x, o, i):
    """Element i of a vector."""
    return tl.sum(tl.where(o == i, x, 0), 0)


@triton.jit
def noted(p_info, FIRST: tl.constexpr):
    """The first pivot that failed so far, counted from 1, or 0."""
    return tl.full((), 0, tl.int32) if FIRST else tl.load(p_info)


@triton.jit(do_not_specialize=SIZES)
def cholesky_kernel(
    p_a,  # (programs, n, n), read below and on the diagonal
    p_info,  # (programs,)
    n, first, s_ab, s_am, s_an,
    FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """a = the L of a = L L^T, with zeros above; where a pivot is not positive, 1 stands for it."""
    i_b = tl.program_id(0).to(tl.int64)
    o = tl.arange(0, BLOCK)
    m = (o < n)[:, None] & (o < n)[None, :]
    p_a += i_b * s_ab
    high, low = tl.maximum(o[:, None], o[None, :]), tl.minimum(o[:, None], o[None, :])
    a = tl.load(p_a + high * s_am + low * s_an, mask=m, other=0)
    info = noted(p_info + i_b, FIRST)
    for k in range(0, n):
        row = row_of(a, o, k)
        column = column_of(a, o, k)
        pivot = element_of(row, o, k)
        failed = (pivot > 0) == 0
        info = tl.where((info == 0) & failed, first + k + 1, info)
        root = tl.sqrt(tl.where(failed, 1.0, pivot).to(pivot.dtype))
        row = row / root
        column = column / root
        later = o > k
        a = tl.where(later[:, None] & later[None, :], a - column[:, None] * row[None, :], a)
        a = tl.where((o == k)[None, :], column[:, None], a)
    q_a = p_a + o[:, None] * s_am + o[None, :] * s_an
    tl.store(q_a, tl.where(o[:, None] >= o[None, :], a, 0), mask=m)
    tl.store(p_info + i_b, info)


@triton.jit(do_not_specialize=SIZES)
def triangular_kernel(
    p_a,  # (batch, n, n)
    p_x,  # (batch, n, k)
    n, k, s_ab, s_am, s_an, s_xb, s_xm, s_xn,
    UPPER: tl.constexpr, UNIT: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """x = a^-1 x by substitution, reading one triangle of a; BK columns of x a program."""
    i = tl.program_id(0).to(tl.int64)
    n_k = tl.cdiv(k, BK)
    o_n = tl.arange(0, BN)
    o_k = i % n_k * BK + tl.arange(0, BK)
    p_a += i // n_k * s_ab
    q_x = p_x + i // n_k * s_xb + o_n[:, None] * s_xm + o_k[None, :] * s_xn
    m_x = (o_n < n)[:, None] & (o_k < k)[None, :]
    x = tl.load(q_x, mask=m_x, other=0)
    for t in range(0, n):
        j = n - 1 - t if UPPER else t
        rest = (o_n < j) if UPPER else (o_n > j) & (o_n < n)
        column = tl.load(p_a + o_n * s_am + j * s_an, mask=rest, other=0)
        found = row_of(x, o_n, j)
        if not UNIT:
            found = found / tl.load(p_a + j * s_am + j * s_an)
        left = x - column[:, None] * found[None, :]
        x = tl.where(rest[:, None], left, tl.where((o_n == j)[:, None], found[None, :], x))
    tl.store(q_x, x, mask=m_x)


@triton.jit(do_not_specialize=SIZES)
def lu_kernel(
    p_a,  # (programs, m, n)
    p_pivots,  # (programs, min(m, n))
    p_info,  # (programs,)
    m, n, k, s_ab, s_am, s_an,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """a = L and U in one, its rows exchanged; 1 divides where a pivot is 0."""
    i_b = tl.program_id(0).to(tl.int64)
    o_m = tl.arange(0, BM)
    o_n = tl.arange(0, BN)
    q_a = p_a + i_b * s_ab + o_m[:, None] * s_am + o_n[None, :] * s_an
    m_a = (o_m < m)[:, None] & (o_n < n)[None, :]
    a = tl.load(q_a, mask=m_a, other=0)
    info = tl.full((), 0, tl.int32)
    for i in range(0, k):
        column = column_of(a, o_n, i)
        size = tl.where(column != column, float("inf"), tl.abs(column))
        size = tl.where((o_m >= i) & (o_m < m), size, -1)
        j = tl.min(tl.where(size == tl.max(size, 0), o_m, BM), 0)
        tl.store(p_pivots + i_b * k + i, j + 1)
        upper = row_of(a, o_m, j)
        a = tl.where((o_m == j)[:, None], row_of(a, o_m, i)[None, :], a)
        a = tl.where((o_m == i)[:, None], upper[None, :], a)
        column = tl.where(o_m == j, element_of(column, o_m, i), column)
        pivot = element_of(upper, o_n, i)
        info = tl.where((info == 0) & (pivot == 0), i + 1, info)
        lower = column / tl.where(pivot == 0, 1.0, pivot).to(pivot.dtype)
        left = tl.where((o_n > i)[None, :], a - lower[:, None] * upper[None, :], a)
        left = tl.where((o_n == i)[None, :], lower[:, None], left)
        a = tl.where((o_m > i)[:, None], left, a)
    tl.store(q_a, a, mask=m_a)
    tl.store(p_info + i_b, info)


@triton.jit
def largest(p_column, i, m, s_am, BM: tl.constexpr):
    """The first row of the largest size from row i on."""
    o = tl.arange(0, BM)
    most = tl.full((BM,), -1, p_column.dtype.element_ty)
    found = tl.zeros((BM,), tl.int32)
    for start in range(i, m, BM):
        o_m = start + o
        x = tl.load(p_column + o_m.to(tl.int64) * s_am, mask=o_m < m, other=0)
        size = tl.where(x != x, float("inf"), tl.abs(x))
        better = (o_m < m) & (size > most)
        found = tl.where(better, o_m, found)
        most = tl.where(better, size, most)
    return tl.min(tl.where(most == tl.max(most, 0), found, m), 0)


@triton.jit(do_not_specialize=SIZES)
def lu_panel_kernel(
    p_a,  # (programs, m, n)
    p_pivots,  # (programs, s_p), of which those from `first` on are written
    p_info,  # (programs,)
    m, n, first, s_ab, s_am, s_an, s_p,
    FIRST: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The same in memory, of few columns: row 0 is row `first` of a matrix."""
    i_b = tl.program_id(0).to(tl.int64)
    p_a += i_b * s_ab
    o_n = tl.arange(0, BN)
    m_n = o_n < n
    info = noted(p_info + i_b, FIRST)
    for i in range(0, n):
        j = largest(p_a + i * s_an, i, m, s_am, BM)
        tl.store(p_pivots + i_b * s_p + first + i, first + j + 1)
        q_i = p_a + (o_n * 0 + i).to(tl.int64) * s_am + o_n * s_an
        q_j = p_a + j.to(tl.int64) * s_am + o_n * s_an
        upper = tl.load(q_j, mask=m_n, other=0)
        other = tl.load(q_i, mask=m_n, other=0)
        tl.debug_barrier()  # all threads have read both rows
        tl.store(q_j, other, mask=m_n)
        tl.store(q_i, upper, mask=m_n)
        tl.debug_barrier()  # and see both exchanged
        pivot = element_of(upper, o_n, i)
        info = tl.where((info == 0) & (pivot == 0), first + i + 1, info)
        pivot = tl.where(pivot == 0, 1.0, pivot).to(pivot.dtype)
        for start in range(i + 1, m, BM):
            o_m = start + tl.arange(0, BM)
            q_a = p_a + o_m.to(tl.int64)[:, None] * s_am + o_n[None, :] * s_an
            m_a = (o_m < m)[:, None] & (m_n & (o_n >= i))[None, :]
            a = tl.load(q_a, mask=m_a, other=0)
            lower = column_of(a, o_n, i) / pivot
            a = tl.where((o_n == i)[None, :], lower[:, None], a - lower[:, None] * upper[None, :])
            tl.store(q_a, a, mask=m_a)
        tl.debug_barrier()  # the next column is read by other threads
    tl.store(p_info + i_b, info)


@triton.jit(do_not_specialize=SIZES)
def exchange_kernel(
    p_a,  # (batch, m, n)
    p_pivots,  # (batch, s_p), of which `count` from `first` on are read
    n, first, count, s_ab, s_am, s_an, s_p,
    BN: tl.constexpr,
):  # fmt: skip
    """Exchange row i with row pivots[i] - 1, one after the other; a thread keeps its columns."""
    i = tl.program_id(0).to(tl.int64)
    n_n = tl.cdiv(n, BN)
    o_n = i % n_n * BN + tl.arange(0, BN)
    m_n = o_n < n
    p_a += i // n_n * s_ab + o_n * s_an
    p_pivots += i // n_n * s_p
    for t in range(first, first + count):
        j = tl.load(p_pivots + t).to(tl.int64) - 1
        q_i = p_a + (o_n * 0 + t) * s_am
        x = tl.load(q_i, mask=m_n, other=0)
        y = tl.load(p_a + j * s_am, mask=m_n, other=0)
        tl.store(p_a + j * s_am, x, mask=m_n)
        tl.store(q_i, y, mask=m_n)


# -- in place, of arrays (batch, rows, columns) ---------------------------------------------------


def warps(elements: int, itemsize: int) -> int:
    """So many that a thread holds at most 32 registers of a block."""
    return clip(pow2(elements * itemsize // 4096), 1, 8)


def cholesky_(launch: Any, a: Any, info: Any, first: int = 0) -> None:
    """a = L below and on the diagonal; above it holds anything where n > `BASE`."""
    batch, n, _ = a.shape
    if n <= BASE:
        block = max(pow2(n), 2)
        constants = {"FIRST": first == 0, "BLOCK": block}
        args = [a, info, n, first, *a.strides]
        used = warps(block * block, a.itemsize)
        return launch(cholesky_kernel, (batch,), args, constants, num_warps=used)
    h = half(n, BASE)
    cholesky_(launch, a[:, :h, :h], info, first)
    below, rest = a[:, h:, :h], a[:, h:, h:]
    turned = below.transpose((0, 2, 1))
    solve_(launch, a[:, :h, :h], turned, upper=False, unit=False)
    multiply(launch, rest, below, turned, rest, -1, 1, "ieee")
    return cholesky_(launch, rest, info, first + h)


def solve_(launch: Any, a: Any, x: Any, *, upper: bool, unit: bool) -> None:
    """x = a^-1 x for a triangle of a, (batch, n, n), and x, (batch, n, k)."""
    batch, n, k = x.shape
    if n <= BASE:
        bn, bk = max(pow2(n), 2), clip(pow2(k), 1, 32)
        constants = {"UPPER": upper, "UNIT": unit, "BN": bn, "BK": bk}
        args = [a, x, n, k, *a.strides, *x.strides]
        grid = (batch * cdiv(k, bk),)
        used = warps(bn * bk, x.itemsize)
        return launch(triangular_kernel, grid, args, constants, num_warps=used)
    h = half(n, BASE)
    parts = slice(0, h), slice(h, n)
    done, rest = parts[::-1] if upper else parts
    solve_(launch, a[:, done, done], x[:, done], upper=upper, unit=unit)
    to = x[:, rest]
    multiply(launch, to, a[:, rest, done], x[:, done], to, -1, 1, "ieee")
    return solve_(launch, a[:, rest, rest], to, upper=upper, unit=unit)


def lu_(launch: Any, a: Any, pivots: Any, info: Any) -> None:
    """a = L and U of its rows exchanged; `pivots` (batch, min(m, n)) count rows from 1."""
    batch, m, n = a.shape
    k = min(m, n)
    if max(m, n) <= BASE:
        bm, bn = max(pow2(m), 2), max(pow2(n), 2)
        args = [a, pivots, info, m, n, k, *a.strides]
        used = warps(bm * bn, a.itemsize)
        return launch(lu_kernel, (batch,), args, {"BM": bm, "BN": bn}, num_warps=used)
    _columns(launch, a, pivots, info, 0, k)
    if n > k:
        exchange_(launch, a[:, :, k:], pivots)
        solve_(launch, a[:, :, :k], a[:, :, k:], upper=False, unit=True)
    return None


def _columns(launch: Any, a: Any, pivots: Any, info: Any, start: int, stop: int) -> None:
    """Eliminate columns from `start` to `stop`, those before it being done."""
    batch, m, _ = a.shape
    n = stop - start
    if n <= PANEL:
        bm, bn = clip(pow2(m - start), 16, 256), max(pow2(n), 2)
        part = a[:, start:, start:stop]
        args = [part, pivots, info, m - start, n, start, *part.strides, pivots.shape[1]]
        constants = {"FIRST": start == 0, "BM": bm, "BN": bn}
        used = warps(bm * bn, a.itemsize)
        return launch(lu_panel_kernel, (batch,), args, constants, num_warps=used)
    middle = start + half(n, PANEL)
    _columns(launch, a, pivots, info, start, middle)
    left, right = a[:, :, start:middle], a[:, :, middle:stop]
    exchange_(launch, right, pivots, start, middle - start)
    above = right[:, start:middle]
    solve_(launch, left[:, start:middle], above, upper=False, unit=True)
    rest = right[:, middle:]
    multiply(launch, rest, left[:, middle:], above, rest, -1, 1, "ieee")
    _columns(launch, a, pivots, info, middle, stop)
    return exchange_(launch, left, pivots, middle, stop - middle)


def exchange_(launch: Any, a: Any, pivots: Any, first: int = 0, count: int | None = None) -> None:
    """Exchange rows of a, (batch, m, n), as `count` of the pivots say, from `first` on."""
    batch, _, n = a.shape
    k = pivots.shape[1]
    bn = clip(pow2(n), 32, 128)
    args = [a, pivots, n, first, k if count is None else count, *a.strides, k]
    grid = (batch * cdiv(n, bn),)
    launch(exchange_kernel, grid, args, {"BN": bn}, num_warps=bn // 32)


def half(n: int, unit: int) -> int:
    """About half of n, a multiple of `unit`."""
    return cdiv(n, 2 * unit) * unit
