"""Scaled dot-product attention, forward: a block of queries walks the keys and keeps no weights.

The softmax is online in base 2 (`scale` carries log2 e); every query's log-sum-exp is stored for
the backward. Only blocks that the causal diagonal or the end of the keys cuts are masked. Where
queries are few, the heads that share keys are one block, the keys are split over programs, and a
second kernel merges the parts in order.

Sources: Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning",
2023; for the split, Dao et al., "Flash-Decoding for long-context inference", 2023.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._attention import (
    FORWARD,
    INF,
    LOG2_E,
    LOG2E,
    PACKED,
    Blocks,
    Sizes,
    blocks_of,
    is_served,
    kept,
    key_splits,
    load_block,
    number,
    options,
    place,
    positions,
    sizes,
    stream,
    strides,
)
from ._dense import cdiv, clip, dot, pow2
from .random import start as stream_start

LN2 = tl.constexpr(0.6931471805599453)
PARAMETERS = ("seed", "offset", "limit", "factor")
MERGED = 64  # elements of values that a program of the merge takes


@triton.jit
def attend(
    acc, total, top, b_q, p_k, p_v, p_mask, o_m, m_m, r_mask, start, end, o_d, o_v,
    s_kn, s_kd, s_vn, s_vd, s_mn, n, d, dv, scale, seed, first, r_random, limit, factor,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr,
    CUT: tl.constexpr, CAUSAL: tl.constexpr, MASK: tl.constexpr, FOLD: tl.constexpr,
    DROPOUT: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Walk keys [start, end): the weighted sum of values, the sum of weights, the top score.

    With FOLD the scores are scaled inside the exponent, by one multiply-add.
    """
    for i_n in range(start, end, BN):
        o_n = positions(i_n, BN, WIDE)
        m_n = o_n < n
        b_k = load_block(p_k, o_n * s_kn, o_d, s_kd, m_n, d, CUT, not EVEN_D)
        s = dot(b_q, tl.trans(b_k), tl.zeros((BM, BN), acc.dtype), True, PRECISION, UPCAST)
        if not FOLD:
            s *= scale
        if MASK != "none":
            q_mask = p_mask + r_mask[:, None] + (o_n * s_mn)[None, :]
            if CUT:
                b_mask = tl.load(q_mask, mask=m_m[:, None] & m_n[None, :], other=0)
            else:
                b_mask = tl.load(q_mask, mask=m_m[:, None], other=0)
            if MASK == "bool":
                s = tl.where(b_mask != 0, s, -INF)
            else:
                s += b_mask.to(s.dtype) * LOG2_E
        if CUT:
            if CAUSAL:
                s = tl.where(m_n[None, :] & (o_m[:, None] >= o_n[None, :]), s, -INF)
            else:
                s = tl.where(m_n[None, :], s, -INF)
        new = tl.maximum(top, tl.max(s, 1) * scale if FOLD else tl.max(s, 1))
        shift = new
        if CUT or MASK != "none":
            shift = tl.where(new == -INF, 0.0, new)  # no key seen so far: -inf - -inf is NaN
        p = tl.exp2(s * scale - shift[:, None] if FOLD else s - shift[:, None])
        decay = tl.exp2(top - shift)
        total = total * decay + tl.sum(p, 1)
        if DROPOUT:
            p = tl.where(kept(seed, first, r_random, i_n, limit, BM, BN), p * factor, 0.0)
        b_v = load_block(p_v, o_n * s_vn, o_v, s_vd, m_n, dv, CUT, not EVEN_V)
        acc = dot(p.to(b_v.dtype), b_v, acc * decay[:, None], True, PRECISION, UPCAST)
        top = new
    return acc, total, top


@triton.jit(do_not_specialize=PARAMETERS)
def attention_forward_kernel(
    p_q,  # (B, H, M, D)
    p_k,  # (B, H / group, N, D)
    p_v,  # (B, H / group, N, DV)
    p_mask,  # (B, H, M, N); read unless MASK is "none"
    p_out,  # (B, H, M, DV), or (splits, B, H, M, DV) where keys are split
    p_lse,  # (B, H, M), or (splits, B, H, M)
    p_offset,  # (1,), where HAS_OFFSET
    heads, group, m, n, d, dv, keys,
    s_qb, s_qh, s_qm, s_qd, s_kb, s_kh, s_kn, s_kd, s_vb, s_vh, s_vn, s_vd,
    s_mb, s_mh, s_mm, s_mn, s_ob, s_oh, s_om, s_od, s_os, s_ls,
    scale, seed: tl.int64, offset: tl.int64, limit: tl.int64, blocks, factor,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BDV: tl.constexpr,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, FOLD: tl.constexpr, DROPOUT: tl.constexpr,
    SPLIT: tl.constexpr, PACK: tl.constexpr, EVEN_N: tl.constexpr, HAS_OFFSET: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_V: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T scale + mask) v for BM queries of one head; `keys` a split.

    With PACK a block holds the queries of `group` heads, and `heads` counts groups.
    """
    n_m = tl.cdiv(group * m if PACK else m, BM)
    i_m, i_bh = place(n_m, CAUSAL, WIDE)
    i_b = i_bh // heads
    i_h = i_bh % heads
    o_r = positions(i_m * BM, BM, WIDE)
    o_d = tl.arange(0, BD)
    o_v = tl.arange(0, BDV)
    if PACK:
        i_first, i_key, o_m = i_h * group, i_h, o_r % m
        r_q, r_out = o_r // m * s_qh + o_m * s_qm, o_r // m * s_oh + o_m * s_om
        r_mask = o_r // m * s_mh + o_m * s_mm
        rows = group * m
    else:
        i_first, i_key, o_m = i_h, i_h // group, o_r
        r_q, r_out, r_mask = o_m * s_qm, o_m * s_om, o_m * s_mm
        rows = m
    p_q += i_b * s_qb + i_first * s_qh
    p_k += i_b * s_kb + i_key * s_kh
    p_v += i_b * s_vb + i_key * s_vh
    p_mask += i_b * s_mb + i_first * s_mh
    m_m = o_r < rows
    r_random = (i_bh * rows + o_r).to(tl.int64) * blocks
    seed = tl.full((), 0, tl.int64) + seed
    first = stream_start(p_offset, offset, HAS_OFFSET)
    b_q = load_block(p_q, r_q, o_d, s_qd, m_m, d, True, not EVEN_D)

    acc = tl.zeros((BM, BDV), ACC)
    total = tl.zeros((BM,), ACC)
    top = tl.full((BM,), -INF, ACC)
    start = 0
    end = n
    if SPLIT:
        start = tl.program_id(1) * keys
        end = min(n, start + keys)
    full = end if EVEN_N else start + (end - start) // BN * BN
    if CAUSAL:
        if PACK:
            end = min(end, m)
            full = start
        else:
            end = min(end, (i_m + 1) * BM)
            full = max(min(full, i_m * BM // BN * BN), start)
    acc, total, top = attend(
        acc, total, top, b_q, p_k, p_v, p_mask, o_m, m_m, r_mask, start, full, o_d, o_v,
        s_kn, s_kd, s_vn, s_vd, s_mn, n, d, dv, scale, seed, first, r_random, limit, factor,
        BM, BN, EVEN_D, EVEN_V, False, CAUSAL, MASK, FOLD, DROPOUT, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    if CAUSAL or not EVEN_N:
        acc, total, top = attend(
            acc, total, top, b_q, p_k, p_v, p_mask, o_m, m_m, r_mask, full, end, o_d, o_v,
            s_kn, s_kd, s_vn, s_vd, s_mn, end, d, dv, scale, seed, first, r_random, limit, factor,
            BM, BN, EVEN_D, EVEN_V, True, CAUSAL, MASK, FOLD, DROPOUT, WIDE, PRECISION, UPCAST,
        )  # fmt: skip

    lse = tl.where(total == 0, -INF, (top + tl.log2(total)) * LN2)
    acc = acc / tl.where(total == 0, 1.0, total)[:, None]  # a query that sees no key gives 0
    if SPLIT:
        p_out += tl.program_id(1) * s_os
        p_lse += tl.program_id(1) * s_ls
    p_out += i_b * s_ob + i_first * s_oh
    q_out = p_out + r_out[:, None] + o_v[None, :] * s_od
    tl.store(q_out, acc.to(p_out.dtype.element_ty), m_m[:, None] & (o_v < dv)[None, :])
    tl.store(p_lse + i_bh * rows + o_r, lse, m_m)


@triton.jit
def attention_merge_kernel(
    p_part,  # (splits, B * H * M, DV)
    p_lses,  # (splits, B * H * M)
    p_out,  # (B, H, M, DV)
    p_lse,  # (B * H * M,)
    splits, rows, heads, m, dv, s_ob, s_oh, s_om, s_od,
    BDV: tl.constexpr, SPLITS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The parts of one query as one, each weighed by its share of the exponentials."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_s = positions(0, SPLITS, WIDE)
    o_v = tl.program_id(1) * BDV + tl.arange(0, BDV)
    lses = tl.load(p_lses + o_s * rows + i, mask=o_s < splits, other=-INF)
    top = tl.max(lses, 0)
    shift = tl.where(top == -INF, 0.0, top)
    weights = tl.exp(lses - shift)
    total = tl.sum(weights, 0)
    weights = weights / tl.where(total == 0, 1.0, total)
    q_part = p_part + (o_s[:, None] * rows + i) * dv + o_v[None, :]
    seen = (o_s < splits)[:, None] & (o_v < dv)[None, :]
    b_out = tl.sum(tl.load(q_part, mask=seen, other=0) * weights[:, None], 0)
    p_out += i // m // heads * s_ob + i // m % heads * s_oh + i % m * s_om
    tl.store(p_out + o_v * s_od, b_out.to(p_out.dtype.element_ty), mask=o_v < dv)
    if tl.program_id(1) == 0:
        tl.store(p_lse + i, tl.where(total == 0, -INF, top + tl.log(total)))


# -- launchers -------------------------------------------------------------------------------------


def forward(
    launch: Any, out: Any, q: Any, k: Any, v: Any, mask: Any = None, *,
    is_causal: bool, scale: float, dropout: float = 0.0, seed: int = 0, offset: Any = 0,
    precision: str = "ieee", blocks: Blocks | None = None,
) -> Any:  # fmt: skip
    """q (B, H, M, D), k (B, G, N, D), v (B, G, N, DV), mask (B, H, M, N) or None
    -> out (B, H, M, DV) and its log-sum-exp (B, H, M), dense.

    `G` divides `H`: heads share keys. `dropout` takes the numbers of the stream (seed, offset).
    """
    result, lse = out
    s = sizes(q, k, v)
    if not is_served(s, q, k, v):
        return NotImplemented
    dtype = q.dtype.name
    pack = s.group > 1 and s.group * s.m <= PACKED
    rows, heads = (s.group * s.m, s.h // s.group) if pack else (s.m, s.h)
    if blocks is None:
        special = mask is not None, dropout > 0
        blocks = blocks_of(FORWARD, s._replace(m=rows), dtype, *special, launch.target)
    programs = cdiv(rows, blocks.bm) * s.b * heads
    splits, keys = key_splits(s, blocks, programs, launch.target)
    to, lses = result, lse
    if splits > 1:
        to = launch.empty((splits, *result.shape), lse.dtype)
        lses = launch.empty((splits, *lse.shape), lse.dtype)
    ends = (to.strides[0], lses.strides[0]) if splits > 1 else (0, 0)
    random = stream(s, q, dropout, seed, offset)
    folded = scale > 0 and (mask is None or mask.dtype.name == "bool")
    launch(
        attention_forward_kernel,
        (programs, splits),
        [q, k, v, q if mask is None else mask, to, lses, random.pointer,
         heads, s.group, s.m, s.n, s.d, s.dv, keys,
         *q.strides, *k.strides, *v.strides, *strides(mask), *to.strides[-4:], *ends,
         number(dtype, scale * LOG2E), *random.numbers],
        {"BM": blocks.bm, "BN": blocks.bn, "FOLD": folded, "SPLIT": splits > 1, "PACK": pack,
         "EVEN_N": s.n % blocks.bn == 0, "PRECISION": precision if dtype == "float32" else "ieee",
         **options(launch.target, s, q, k, v, mask, is_causal, to), **random.constants},
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )  # fmt: skip
    if splits > 1:
        merge(launch, to, lses, result, lse, s)
    return None


def merge(launch: Any, part: Any, lses: Any, out: Any, lse: Any, s: Sizes) -> None:
    """out and lse from the parts of splits."""
    splits, rows = part.shape[0], s.b * s.h * s.m
    block = clip(pow2(s.dv), 16, MERGED)
    launch(
        attention_merge_kernel,
        (rows, cdiv(s.dv, block)),
        [part, lses, out, lse, splits, rows, s.h, s.m, s.dv, *out.strides],
        {"BDV": block, "SPLITS": pow2(splits), "WIDE": part.size >= 2**31},
        num_warps=4,
    )  # fmt: skip
