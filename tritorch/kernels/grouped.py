"""Products of groups of matrices, whose bounds are read on the device alone.

Groups cut the rows of the left operand, each with a matrix of its own on the right, or the inner
dimension, which gives a matrix a group; where they cut columns, the transposed product has rows in
groups. The grid is that of the most blocks there can be: each program looks for its group among the
ends of all, and those behind the last block return at once. Every sum is one program's, in order.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._choice import chosen, remembered
from ._dense import (
    FLOATS,
    accumulator,
    cdiv,
    dot,
    is_wide,
    multiple,
    multiples,
    pow2,
    swizzle,
)
from ._product import Tiles, first_tiles, is_aligned

FEWEST = 64  # ends that a program reads at least, so that few groups share a kernel


# -- device ----------------------------------------------------------------------------------------


@triton.jit
def block_of_rows(
    p_ends, s_end, groups, m, i_m, BM: tl.constexpr, ALIGN: tl.constexpr, GROUPS: tl.constexpr
):
    """The group of the i_m-th block of rows, the group's bounds, and where the block begins.

    What is behind the last group counts as one more; a greater number is that of no block. Blocks
    begin at a multiple of ALIGN, up to as many rows before their group.
    """
    o_g = tl.arange(0, GROUPS)
    start = tl.load(p_ends + (o_g - 1) * s_end, mask=(o_g > 0) & (o_g <= groups), other=0)
    end = tl.load(p_ends + o_g * s_end, mask=o_g < groups, other=0)
    start = tl.minimum(tl.maximum(tl.where(o_g <= groups, start, m), 0), m).to(i_m.dtype)
    end = tl.minimum(tl.maximum(tl.where(o_g < groups, end, m), 0), m).to(i_m.dtype)
    first = start // ALIGN * ALIGN
    blocks = tl.where(end > start, tl.cdiv(end - first, BM), 0)
    behind = tl.cumsum(blocks, 0)
    i_g = tl.sum((behind <= i_m).to(i_m.dtype), 0)
    here = o_g == i_g
    nth = i_m - tl.sum(tl.where(here, behind - blocks, 0), 0)
    start = tl.sum(tl.where(here, start, 0), 0)
    end = tl.sum(tl.where(here, end, 0), 0)
    return i_g, start, end, start // ALIGN * ALIGN + nth * BM


@triton.jit
def grouped_rows_kernel(
    p_a,  # (M, K)
    p_b,  # (groups, K, N)
    p_ends,  # (groups,)
    p_out,  # (M, N)
    m, n, k, groups, blocks, s_end, s_am, s_ak, s_bg, s_bk, s_bn, s_om, s_on,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    GROUPS: tl.constexpr, ALIGN: tl.constexpr, EVEN_K: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, VEC: tl.constexpr,
    MULTIPLES: tl.constexpr,
):  # fmt: skip
    """out = a @ b[group of the row], a tile of BM x BN a program; 0 behind the last group."""
    m = multiple(m, VEC, MULTIPLES, 0)
    n = multiple(n, VEC, MULTIPLES, 1)
    k = multiple(k, VEC, MULTIPLES, 2)
    s_am = multiple(s_am, VEC, MULTIPLES, 3)
    s_ak = multiple(s_ak, VEC, MULTIPLES, 4)
    s_bk = multiple(s_bk, VEC, MULTIPLES, 5)
    s_bn = multiple(s_bn, VEC, MULTIPLES, 6)
    s_om = multiple(s_om, VEC, MULTIPLES, 7)
    s_on = multiple(s_on, VEC, MULTIPLES, 8)
    s_bg = multiple(s_bg, VEC, MULTIPLES, 9)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    i_m, i_n = swizzle(i, blocks, tl.cdiv(n, BN), GROUP_M)
    i_g, start, end, row = block_of_rows(p_ends, s_end, groups, m, i_m, BM, ALIGN, GROUPS)
    if i_g > groups:
        return
    k = tl.where(i_g < groups, k, 0)
    p_b += tl.where(i_g < groups, i_g, 0) * s_bg
    o_m = row + tl.arange(0, BM)
    o_n = i_n * BN + tl.arange(0, BN)
    o_k = tl.arange(0, BK)
    k_full = k // BK * BK
    # Rows and columns past the end wrap around instead of being masked, as in `matmul.py`.
    q_a = p_a + (o_m % m)[:, None] * s_am + o_k[None, :] * s_ak
    q_b = p_b + o_k[:, None] * s_bk + (o_n % n)[None, :] * s_bn
    acc = tl.zeros((BM, BN), dtype=ACC)
    for _ in range(0, k_full, BK):
        acc = dot(tl.load(q_a), tl.load(q_b), acc, True, PRECISION, UPCAST)
        q_a += BK * s_ak
        q_b += BK * s_bk
    if not EVEN_K:
        m_k = o_k + k_full < k
        b_a = tl.load(q_a, mask=m_k[None, :], other=0)
        b_b = tl.load(q_b, mask=m_k[:, None], other=0)
        acc = dot(b_a, b_b, acc, True, PRECISION, UPCAST)
    q_out = p_out + o_m[:, None] * s_om + o_n[None, :] * s_on
    b_out = acc.to(p_out.dtype.element_ty)
    m_n = (o_n < n)[None, :]
    if (ALIGN > 1) & (row >= start) & (row + BM <= end):  # without masks, stores along M are wide
        tl.store(q_out, b_out, mask=m_n)
    else:
        tl.store(q_out, b_out, mask=((o_m >= start) & (o_m < end))[:, None] & m_n)


@triton.jit
def grouped_inner_kernel(
    p_a,  # (M, K)
    p_b,  # (K, N)
    p_ends,  # (groups,)
    p_out,  # (groups, M, N)
    m, n, k, s_end, s_am, s_ak, s_bk, s_bn, s_og, s_om, s_on,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    ALIGN: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, VEC: tl.constexpr, MULTIPLES: tl.constexpr,
):  # fmt: skip
    """out = a[:, group] @ b[group], a tile of BM x BN of one group a program."""
    m = multiple(m, VEC, MULTIPLES, 0)
    n = multiple(n, VEC, MULTIPLES, 1)
    s_am = multiple(s_am, VEC, MULTIPLES, 2)
    s_ak = multiple(s_ak, VEC, MULTIPLES, 3)
    s_bk = multiple(s_bk, VEC, MULTIPLES, 4)
    s_bn = multiple(s_bn, VEC, MULTIPLES, 5)
    s_om = multiple(s_om, VEC, MULTIPLES, 6)
    s_on = multiple(s_on, VEC, MULTIPLES, 7)
    s_og = multiple(s_og, VEC, MULTIPLES, 8)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_m = tl.cdiv(m, BM)
    n_n = tl.cdiv(n, BN)
    i_g = i // (n_m * n_n)
    i_m, i_n = swizzle(i % (n_m * n_n), n_m, n_n, GROUP_M)
    start = tl.load(p_ends + (i_g - 1) * s_end, mask=i_g > 0, other=0)
    end = tl.load(p_ends + i_g * s_end)
    start = tl.minimum(tl.maximum(start, 0), k).to(i.dtype)
    end = tl.minimum(tl.maximum(end, 0), k).to(i.dtype)
    o_m = i_m * BM + tl.arange(0, BM)
    o_n = i_n * BN + tl.arange(0, BN)
    o_k = start // ALIGN * ALIGN + tl.arange(0, BK)
    q_a = p_a + (o_m % m)[:, None] * s_am + o_k[None, :] * s_ak
    q_b = p_b + o_k[:, None] * s_bk + (o_n % n)[None, :] * s_bn
    acc = tl.zeros((BM, BN), dtype=ACC)
    if ALIGN > 1:  # what precedes the group in its first block
        m_k = (o_k >= start) & (o_k < end)
        b_a = tl.load(q_a, mask=m_k[None, :], other=0)
        b_b = tl.load(q_b, mask=m_k[:, None], other=0)
        acc = dot(b_a, b_b, acc, True, PRECISION, UPCAST)
        q_a += BK * s_ak
        q_b += BK * s_bk
        start = start // ALIGN * ALIGN + BK
    k_full = tl.maximum(end - start, 0) // BK * BK
    for _ in range(0, k_full, BK):
        acc = dot(tl.load(q_a), tl.load(q_b), acc, True, PRECISION, UPCAST)
        q_a += BK * s_ak
        q_b += BK * s_bk
    m_k = tl.arange(0, BK) + start + k_full < end
    b_a = tl.load(q_a, mask=m_k[None, :], other=0)
    b_b = tl.load(q_b, mask=m_k[:, None], other=0)
    acc = dot(b_a, b_b, acc, True, PRECISION, UPCAST)
    m_out = (o_m < m)[:, None] & (o_n < n)[None, :]
    q_out = p_out + i_g * s_og + o_m[:, None] * s_om + o_n[None, :] * s_on
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_out)


# -- launchers -------------------------------------------------------------------------------------


@remembered(4096)
def tiles(
    m: int, n: int, groups: int, dtype: str, precision: str, target: Any, aligned: bool
) -> Tiles:
    """The blocks of `groups` products with M x N results: found by a search, or those of a batch
    of such products. Where sums of 128 x 256 fill all registers, the group's bounds do not fit."""
    first = first_tiles(m, n, groups, dtype, precision, target, aligned, target.arch == 80)
    kind = f"grouped {dtype} {precision}{'' if aligned else ' unaligned'}"
    return chosen(target, kind, (m, n, groups), first)


def shared(
    launch: Any, out: Any, a: Any, b: Any, rows: int, groups: int, precision: str
) -> tuple[Tiles, dict[str, Any]]:
    """The blocks, for about so many rows a group, and the constants of both kernels but for those
    that depend on what is cut."""
    dtype, target = a.dtype.name, launch.target
    vec = 16 // a.itemsize
    left = is_aligned(a.shape[-2], a.strides, vec)
    right = is_aligned(b.shape[-1], (*b.strides[:-2], b.strides[-1], b.strides[-2]), vec)
    aligned = left and right and a.ptr % 16 == 0 and b.ptr % 16 == 0
    t = tiles(rows, b.shape[-1], groups, dtype, precision, target, aligned)
    return t, {
        "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8, "WIDE": is_wide(out, a, b),
        "ALIGN": vec if aligned else 1, "ACC": accumulator(dtype),
        "PRECISION": precision if dtype == "float32" else "ieee",
        "UPCAST": target.interpreted and a.itemsize == 2, "VEC": vec,
    }  # fmt: skip


def rows_in_groups(launch: Any, out: Any, a: Any, b: Any, ends: Any, precision: str) -> None:
    """a (M, K) with rows in groups, b (G, K, N) -> out (M, N)."""
    (m, k), (groups, _, n) = a.shape, b.shape
    t, constants = shared(launch, out, a, b, cdiv(m, max(groups, 1)), groups, precision)
    if 1 not in (a.strides[0], out.strides[0]):
        constants["ALIGN"] = 1  # loads and stores run along K and N, wherever a row begins
    # of each group, and of what is behind the last, the first and the last block may be one row
    blocks = (m + (groups + 1) * (t.bm + constants["ALIGN"] - 2)) // t.bm
    strides = (*a.strides, *b.strides, *out.strides)
    s_am, s_ak, s_bg, s_bk, s_bn, s_om, s_on = strides
    constants |= {
        "EVEN_K": k % t.bk == 0, "GROUPS": max(pow2(groups + 1), FEWEST),
        "MULTIPLES": multiples(
            constants["VEC"], m, n, k, s_am, s_ak, s_bk, s_bn, s_om, s_on, s_bg
        ),
    }  # fmt: skip
    launch(
        grouped_rows_kernel,
        (blocks * cdiv(n, t.bn),),
        [a, b, ends, out, m, n, k, groups, blocks, ends.strides[0], *strides],
        constants,
        num_warps=t.warps,
        num_stages=t.stages,
    )


def inner_in_groups(launch: Any, out: Any, a: Any, b: Any, ends: Any, precision: str) -> None:
    """a (M, K) and b (K, N) with K in groups -> out (G, M, N)."""
    groups, m, n = out.shape
    t, constants = shared(launch, out, a, b, m, groups, precision)
    if a.strides[1] != 1 and b.strides[0] != 1:
        constants["ALIGN"] = 1  # loads run along M and N
    strides = (*a.strides, *b.strides, *out.strides)
    s_og, s_om, s_on = out.strides
    constants["MULTIPLES"] = multiples(
        constants["VEC"], m, n, *a.strides, *b.strides, s_om, s_on, s_og
    )
    launch(
        grouped_inner_kernel,
        (groups * cdiv(m, t.bm) * cdiv(n, t.bn),),
        [a, b, ends, out, m, n, a.shape[1], ends.strides[0], *strides],
        constants,
        num_warps=t.warps,
        num_stages=t.stages,
    )


def grouped(launch: Any, out: Any, a: Any, b: Any, ends: Any, *, precision: str = "ieee") -> Any:
    """The products of groups that end at `ends` (G,), by what the operands are.

    (M, K) and (G, K, N): rows in groups, out (M, N). (G, M, K) and (K, N): columns in groups, out
    (M, N). (M, K) and (K, N): the inner dimension in groups, out (G, M, N).
    """
    if b.dtype is not a.dtype or a.dtype.name not in FLOATS:
        return NotImplemented
    if a.ndim == b.ndim:
        inner_in_groups(launch, out, a, b, ends, precision)
    elif a.ndim == 2:
        rows_in_groups(launch, out, a, b, ends, precision)
    else:
        turned = out.transpose(), b.transpose(), a.transpose((0, 2, 1))
        rows_in_groups(launch, *turned, ends, precision)
    return None
