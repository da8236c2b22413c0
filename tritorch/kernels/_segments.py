"""Sums, products and extremes of rows with equal keys, without atomics.

Keys are sorted (stable, so that equal ones keep their order), then one program walks along each run
of equal keys. Few keys are sorted by counting for each how many go before it, many by radix: a
histogram of four bits a block, its scan, and a stable scatter.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._rows import (
    INTEGERS,
    NARROW,
    bits,
    cdiv,
    column_offset,
    convert,
    digits,
    pow2,
    real_view,
    row_offset,
    scalar,
    shift,
    tables,
    units,
    vector,
)

RANK_LIMIT = 1 << 14  # keys up to which each is compared with all others
RANK_BLOCK = 64
RANK_CHUNK = 64
RADIX_BITS = 4
RADIX_BLOCK = 512
SCAN_BLOCK = 2048
CHUNK = 16  # sources that a program reads at once
COLUMNS = 128
REDUCTIONS = {"sum": "add", "prod": "multiply"}


@triton.jit
def combine(a, b, REDUCE: tl.constexpr):
    """One step of a reduction; NaN wins over any number."""
    if REDUCE == "multiply":
        r = a * b
    elif REDUCE == "amax":
        r = tl.where((a > b) | (a != a), a, b)
    elif REDUCE == "amin":
        r = tl.where((a < b) | (a != a), a, b)
    else:
        r = a + b
    return r


@triton.jit
def reduce_rows(x, IDENTITY: tl.constexpr, REDUCE: tl.constexpr):
    """A reduction over the first dimension of a tile; a product has one row only."""
    if REDUCE == "amax" or REDUCE == "amin":
        nan = tl.max((x != x).to(tl.int32), 0) > 0
        x = tl.where(x != x, IDENTITY, x)
        r = tl.max(x, 0) if REDUCE == "amax" else tl.min(x, 0)
        if x.dtype.is_floating():
            r = tl.where(nan, float("nan"), r)
    else:
        r = tl.sum(x, 0)
    return r


@triton.jit(do_not_specialize=INTEGERS)
def sort_rank_kernel(
    p_key,  # (n,)
    p_sorted,  # (n,)
    p_order,  # (n,)
    n,
    NARROW: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """A stable sort: the place of a key is the number of keys that go before it."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(p_key + o, mask=o < n, other=0)
    mine = key.to(tl.int32)[:, None] if NARROW else key[:, None]
    rank = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, n, CHUNK):
        o_all = start + tl.arange(0, CHUNK)
        other = tl.load(p_key + o_all, mask=o_all < n, other=0)[None, :]
        other = other.to(tl.int32) if NARROW else other
        before = (other < mine) | ((other == mine) & (o_all[None, :] < o[:, None]))
        before = before & (o_all < n)[None, :]
        rank += tl.sum(before.to(tl.int32), 1)
    tl.store(p_sorted + rank, key, mask=o < n)
    tl.store(p_order + rank, o.to(p_order.dtype.element_ty), mask=o < n)


@triton.jit
def radix_digits(p_key, o, n, bit):
    """Which of the sixteen digits each key has, as a matrix of zeros and ones (BLOCK, 16)."""
    key = tl.load(p_key + o, mask=o < n, other=0)
    digit = ((key >> bit) & 15).to(tl.int32)
    hot = (digit[:, None] == tl.arange(0, 16)[None, :]) & (o < n)[:, None]
    return key, digit, hot.to(tl.int32)


@triton.jit(do_not_specialize=[*INTEGERS, "bit"])
def sort_histogram_kernel(
    p_key,  # (n,)
    p_count,  # (16, n_rows): for each digit and block
    n, n_rows, bit,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """How often each value of four bits occurs in a block of keys."""
    i = tl.program_id(0)
    o = (i.to(tl.int64) if WIDE else i) * BLOCK + tl.arange(0, BLOCK)
    _, _, hot = radix_digits(p_key, o, n, bit)
    count = tl.sum(hot, 0).to(p_count.dtype.element_ty)
    tl.store(p_count + tl.arange(0, 16) * n_rows + i, count)


@triton.jit(do_not_specialize=INTEGERS)
def sort_scan_kernel(
    p_count,  # (n,)
    n,
    BLOCK: tl.constexpr,
):
    """The exclusive sum of all counts, in place."""
    total = tl.zeros((), tl.int64)
    for start in range(0, n, BLOCK):
        o = start + tl.arange(0, BLOCK)
        count = tl.load(p_count + o, mask=o < n, other=0).to(tl.int64)
        before = tl.cumsum(count, 0) - count + total
        tl.store(p_count + o, before.to(p_count.dtype.element_ty), mask=o < n)
        total += tl.sum(count, 0)


@triton.jit(do_not_specialize=[*INTEGERS, "bit"])
def sort_scatter_kernel(
    p_key,  # (n,)
    p_order,  # (n,), not read where FIRST
    p_start,  # (16, n_rows): where each digit of each block begins
    p_key_out,  # (n,)
    p_order_out,  # (n,)
    n, n_rows, bit,
    FIRST: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Each key to the place of its digit, behind those of the same digit that came before it."""
    i = tl.program_id(0)
    o = (i.to(tl.int64) if WIDE else i) * BLOCK + tl.arange(0, BLOCK)
    key, digit, hot = radix_digits(p_key, o, n, bit)
    rank = tl.sum(hot * (tl.cumsum(hot, 0) - 1), 1)
    place = tl.load(p_start + digit * n_rows + i, mask=o < n, other=0) + rank
    order = o.to(key.dtype) if FIRST else tl.load(p_order + o, mask=o < n, other=0)
    tl.store(p_key_out + place, key, mask=o < n)
    tl.store(p_order_out + place, order, mask=o < n)


@triton.jit(do_not_specialize=[*INTEGERS, "limit", "unit", "alpha"])
def segment_reduce_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC) at key * unit * VEC
    p_src,  # (n, n0, n1, n2, n3, n_cols * VEC)
    p_key,  # (n,) sorted
    p_order,  # (n,)
    n, n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    k, limit, unit,  # k: the stride of src along n in units of VEC
    alpha: tl.int64,
    REDUCE: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr, KEEP: tl.constexpr,
    SCALED: tl.constexpr, FLOAT: tl.constexpr, O_STEP: tl.constexpr, X_STEP: tl.constexpr,
    VEC: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, CHUNK: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """out at a key = REDUCE of it (where KEEP) and of all sources with the key, CHUNK at a time."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_cols = n_cols * VEC
    n_c = tl.cdiv(n_cols, COLS)
    i_k = i // (n_c * n_rows)
    key = tl.load(p_key + i_k)
    if (key < limit) & (key != tl.load(p_key + i_k - 1, mask=i_k > 0, other=-1)):
        o_c = i % n_c * COLS + tl.arange(0, COLS)
        m_c = o_c < n_cols
        i0, i1, i2, i3 = digits(i // n_c % n_rows, n1, n2, n3, DIMS)
        o_src = row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, VEC, DIMS)
        o_src += column_offset(o_c[None, :], sx4, X_STEP)
        o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS) + key * unit * VEC
        o_out += column_offset(o_c, so4, O_STEP)
        acc = tl.full((COLS,), IDENTITY, ACC)
        j = i_k
        last = key
        while last == key:
            o_j = j + tl.arange(0, CHUNK)
            m = tl.load(p_key + o_j, mask=o_j < n, other=-1) == key
            at = tl.load(p_order + o_j, mask=m, other=0)
            m_src = m[:, None] & m_c[None, :]
            src = convert(tl.load(p_src + o_src + at[:, None] * k * VEC, mask=m_src, other=0), ACC)
            src = tl.where(m_src, src, tl.full((), IDENTITY, ACC))
            acc = combine(acc, reduce_rows(src, IDENTITY, REDUCE), REDUCE)
            j += CHUNK
            last = tl.load(p_key + j, mask=j < n, other=-1)
        if SCALED:
            acc = acc * scalar(alpha, FLOAT).to(ACC)
        if KEEP:
            acc = combine(acc, convert(tl.load(p_out + o_out, mask=m_c, other=0), ACC), REDUCE)
        if REDUCE == "mean":
            acc = divide(acc, count_run(p_key, key, i_k, n, CHUNK) + (1 if KEEP else 0))
        tl.store(p_out + o_out, convert(acc, p_out.dtype.element_ty), mask=m_c)


@triton.jit
def count_run(p_key, key, j, n, CHUNK: tl.constexpr):
    """How many keys from position j on are equal to `key`."""
    count = tl.zeros((), tl.int32)
    last = key
    while last == key:
        o_j = j + tl.arange(0, CHUNK)
        same = tl.load(p_key + o_j, mask=o_j < n, other=-1) == key
        count += tl.sum(same.to(tl.int32), 0)
        j += CHUNK
        last = tl.load(p_key + j, mask=j < n, other=-1)
    return count


@triton.jit
def divide(a, b):
    """a / b; of integers the floor, for b > 0."""
    if a.dtype.is_floating():
        r = a / b
    else:
        b = b.to(a.dtype)
        r = a // b
        r = r - (a < r * b).to(a.dtype)
    return r


# -- launchers ---------------------------------------------------------------------------------


def accumulation(dtype: Any) -> tl.dtype:
    """The type in which values of `dtype` are reduced."""
    if dtype.is_floating_point:
        return tl.float64 if dtype.itemsize == 8 else tl.float32
    return tl.uint64 if dtype.name == "uint64" else tl.int64


def identity(reduce: str, dtype: Any) -> float:
    """What leaves every value of `dtype` as it is."""
    if reduce not in ("amax", "amin"):
        return 1 if reduce == "multiply" else 0
    highest = reduce == "amin"
    if dtype.is_floating_point:
        return float("inf") if highest else float("-inf")
    width = 1 if dtype.name == "bool" else 8 * dtype.itemsize
    if dtype.is_signed:
        return (1 << (width - 1)) - 1 if highest else -(1 << (width - 1))
    return (1 << width) - 1 if highest else 0


def sort(launch: Any, keys: Any, limit: int) -> tuple[Any, Any]:
    """The keys, from 0 to limit, in order, and where each was; stable."""
    n = keys.size
    sorted_keys, order = launch.empty((n,), keys.dtype), launch.empty((n,), keys.dtype)
    if n <= RANK_LIMIT:
        constants = {"NARROW": limit < NARROW, "BLOCK": RANK_BLOCK, "CHUNK": RANK_CHUNK}
        args = [keys, sorted_keys, order, n]
        launch(sort_rank_kernel, (cdiv(n, RANK_BLOCK),), args, constants)
        return sorted_keys, order
    blocks = cdiv(n, RADIX_BLOCK)
    count = launch.empty((16 * blocks,), keys.dtype)
    spare = launch.empty((n,), keys.dtype), launch.empty((n,), keys.dtype)
    ends, source = [(sorted_keys, order), spare], (keys, order)
    constants = {"BLOCK": RADIX_BLOCK, "WIDE": n >= NARROW}
    for bit in range(0, max(limit.bit_length(), 1), RADIX_BITS):
        to = ends[0]
        args = [source[0], count, n, blocks, bit]
        launch(sort_histogram_kernel, (blocks,), args, constants, num_warps=8)
        launch(sort_scan_kernel, (1,), [count, 16 * blocks], {"BLOCK": SCAN_BLOCK}, num_warps=8)
        args = [*source, count, *to, n, blocks, bit]
        first = {"FIRST": bit == 0}
        launch(sort_scatter_kernel, (blocks,), args, constants | first, num_warps=8)
        source = to
        ends.reverse()
    return source


def accumulate(
    launch: Any, out: Any, src: Any, keys: Any, limit: int, unit: int, reduce: str,
    *, alpha: float = 1, keep: bool = True,
) -> None:  # fmt: skip
    """out[...] at key * unit = reduce of it (where keep) and alpha * src[i, ...] of its keys.

    `src` is (keys, *out.shape); a key of `limit` is passed over.
    """
    if src.size == 0:
        return
    if out.dtype.is_complex:
        parts = real_view(out), real_view(src)
        accumulate(launch, *parts, keys, limit, 2 * unit, reduce, alpha=alpha, keep=keep)
        return
    keys, order = sort(launch, keys, limit)
    acc, n = accumulation(out.dtype), keys.size
    is_float = acc.is_floating()
    for t in tables(out.shape, out.strides, src.strides[1:]):
        cols = min(pow2(t.cols), COLUMNS)
        chunk = 1 if reduce == "multiply" else max(CHUNK, COLUMNS // cols)
        (so, sx), k = t.strides, src.strides[0]
        vec = vector(min(out.itemsize, src.itemsize), t.cols, unit, k, *so[:4], *sx[:4])
        o_step, x_step = t.steps()
        wide = t.wide(limit * unit, n * k, n * t.rows * cdiv(t.cols, cols))
        launch(
            segment_reduce_kernel,
            (n * t.rows * cdiv(t.cols, cols),),
            [shift(out, t.at[0]), shift(src, t.at[1]), keys, order, n, t.rows, t.cols // vec,
             *t.sizes, *units(so, vec), *units(sx, vec), k // vec, limit, unit // vec,
             bits(alpha, is_float)],
            {"REDUCE": reduce, "ACC": acc, "IDENTITY": identity(reduce, out.dtype), "KEEP": keep,
             "SCALED": alpha != 1, "FLOAT": is_float, "O_STEP": o_step, "X_STEP": x_step,
             "VEC": vec, "DIMS": t.dims, "WIDE": wide, "CHUNK": chunk, "COLS": cols},
            num_warps=max(1, min(4, cols * chunk // 128)),
        )  # fmt: skip
