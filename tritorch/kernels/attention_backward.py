"""Scaled dot-product attention, backward: the weights come again from the log-sum-exp.

One kernel walks the queries for a block of keys and sums the gradients of keys and values, over the
heads that share them too; one walks the keys for a block of queries; one sums the gradient of a
mask over what it was broadcast to. No sum is atomic, so results are the same from run to run.

With p the weights, s the scores and delta = sum(out * grad) of a row:
ds = p * (grad v^T - delta), dq = ds k * scale, dk = ds^T q * scale, dv = p^T grad.

Source: Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning",
2023.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._attention import (
    INF,
    KEYS,
    LOG2_E,
    LOG2E,
    QUERIES,
    Blocks,
    Sizes,
    blocks_of,
    is_served,
    kept,
    load_block,
    number,
    options,
    place,
    positions,
    sizes,
    stream,
    strides,
    table_of,
)
from ._dense import cdiv, clip, dot, scratch
from .copy import copy
from .random import start as stream_start

PARAMETERS = ("seed", "offset", "limit", "factor")


@triton.jit
def attention_delta_kernel(
    p_out,  # (B, H, M, DV)
    p_grad,  # (B, H, M, DV)
    p_lse,  # (B * H * M,)
    p_rows,  # (2, B * H * M): the log-sum-exp in base 2, and delta
    rows, heads, m, dv, s_ob, s_oh, s_om, s_od, s_gb, s_gh, s_gm, s_gd,
    BM: tl.constexpr, BDV: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """delta = sum(out * grad) of each query; one that sees no key gets the weights exp(-inf)."""
    o_r = positions(tl.program_id(0) * BM, BM, WIDE)
    o_v = tl.arange(0, BDV)
    m_r = o_r < rows
    i_b, i_h, o_m = o_r // m // heads, o_r // m % heads, o_r % m
    r_out = i_b * s_ob + i_h * s_oh + o_m * s_om
    r_grad = i_b * s_gb + i_h * s_gh + o_m * s_gm
    b_out = load_block(p_out, r_out, o_v, s_od, m_r, dv, True, True).to(ACC)
    b_grad = load_block(p_grad, r_grad, o_v, s_gd, m_r, dv, True, True).to(ACC)
    lse = tl.load(p_lse + o_r, mask=m_r, other=0).to(ACC)
    tl.store(p_rows + o_r, tl.where(lse == -INF, INF, lse * LOG2_E), m_r)
    tl.store(p_rows + rows + o_r, tl.sum(b_out * b_grad, 1), m_r)


@triton.jit
def weights(
    s, p_mask, o_m, o_n, m_m, m_n, s_mm, s_mn, last, scale,
    CUT: tl.constexpr, CAUSAL: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """exp(s) over its sum, which `last` is the logarithm of; positions have the shape of s but
    for dimensions of one."""
    if MASK == "none":
        p = tl.exp2(s * scale - last)
    else:
        b_mask = tl.load(p_mask + o_m * s_mm + o_n * s_mn, mask=m_m & m_n, other=0)
        if MASK == "bool":
            p = tl.where(b_mask != 0, tl.exp2(s * scale - last), 0.0)
        else:
            p = tl.exp2(s * scale + b_mask.to(s.dtype) * LOG2_E - last)
    if CUT:
        p = tl.where((m_n & (o_m >= o_n)) if CAUSAL else m_n, p, 0.0)
    return p


@triton.jit
def walk_queries(
    dk, dv, b_k, b_v, p_q, p_grad, p_last, p_delta, p_mask, o_n, m_n, i_n, start, end, o_d, o_v,
    s_qm, s_qd, s_gm, s_gd, s_mm, s_mn, m, d, d_v, scale, seed, first, row, blocks, limit, factor,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr,
    CUT: tl.constexpr, CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPOUT: tl.constexpr,
    PARTS: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add what queries [start, end) of one head give to the gradients of a block of keys."""
    zeros = tl.zeros((BN, BM), dk.dtype)
    for i_m in range(start, end, BM):
        o_m = positions(i_m, BM, WIDE)
        m_m = o_m < m
        b_q = load_block(p_q, o_m * s_qm, o_d, s_qd, m_m, d, True, not EVEN_D)
        b_g = load_block(p_grad, o_m * s_gm, o_v, s_gd, m_m, d_v, True, not EVEN_V)
        last = tl.load(p_last + o_m, mask=m_m, other=INF)
        delta = tl.load(p_delta + o_m, mask=m_m, other=0)
        s = dot(b_k, tl.trans(b_q), zeros, True, PRECISION, UPCAST)
        p = weights(
            s, p_mask, o_m[None, :], o_n[:, None], m_m[None, :], m_n[:, None], s_mm, s_mn,
            last[None, :], scale, CUT, CAUSAL, MASK,
        )  # fmt: skip
        if DROPOUT:
            r_random = (row + o_m).to(tl.int64) * blocks
            keep = tl.trans(kept(seed, first, r_random, i_n, limit, BM, BN))
        if PARTS != "k":
            left = tl.where(keep, p * factor, 0.0) if DROPOUT else p
            dv = dot(left.to(b_g.dtype), b_g, dv, True, PRECISION, UPCAST)
        if PARTS != "v":
            ds = dot(b_v, tl.trans(b_g), zeros, True, PRECISION, UPCAST)
            if DROPOUT:
                ds = tl.where(keep, ds * factor, 0.0)
            ds = p * (ds - delta[None, :])
            dk = dot(ds.to(b_q.dtype), b_q, dk, True, PRECISION, UPCAST)
    return dk, dv


@triton.jit(do_not_specialize=PARAMETERS)
def attention_keys_backward_kernel(
    p_q,  # (B, H, M, D)
    p_k,  # (B, H / group, N, D)
    p_v,  # (B, H / group, N, DV)
    p_mask,  # (B, H, M, N); read unless MASK is "none"
    p_grad,  # (B, H, M, DV)
    p_rows,  # (2, B, H, M): the log-sum-exp in base 2, and delta
    p_dk,  # (B, H / group, N, D)
    p_dv,  # (B, H / group, N, DV)
    p_offset,  # (1,), where HAS_OFFSET
    count, heads, group, m, n, d, dv,
    s_qb, s_qh, s_qm, s_qd, s_kb, s_kh, s_kn, s_kd, s_vb, s_vh, s_vn, s_vd,
    s_mb, s_mh, s_mm, s_mn, s_gb, s_gh, s_gm, s_gd,
    s_dkb, s_dkh, s_dkn, s_dkd, s_dvb, s_dvh, s_dvn, s_dvd,
    scale, factor_k, seed: tl.int64, offset: tl.int64, limit: tl.int64, blocks, factor,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BDV: tl.constexpr,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPOUT: tl.constexpr, PARTS: tl.constexpr,
    HAS_OFFSET: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dk and dv of BN keys, summed over the queries of all heads that share them; the one or the
    other where PARTS is "k" or "v"."""
    i_n, i_bh = place(tl.cdiv(n, BN), False, WIDE)
    i_n *= BN
    i_b = i_bh // heads
    i_key = i_bh % heads
    o_n = positions(i_n, BN, WIDE)
    o_d = tl.arange(0, BD)
    o_v = tl.arange(0, BDV)
    m_n = o_n < n
    p_k += i_b * s_kb + i_key * s_kh
    p_v += i_b * s_vb + i_key * s_vh
    b_k = load_block(p_k, o_n * s_kn, o_d, s_kd, m_n, d, True, not EVEN_D)
    b_v = load_block(p_v, o_n * s_vn, o_v, s_vd, m_n, dv, True, not EVEN_V)
    seed = tl.full((), 0, tl.int64) + seed
    first = stream_start(p_offset, offset, HAS_OFFSET)
    a_k = tl.zeros((BN, BD), ACC)
    a_v = tl.zeros((BN, BDV), ACC)
    start = 0
    if CAUSAL:
        start = min(i_n // BM * BM, m)
    full = min(tl.cdiv(i_n + BN, BM) * BM, m) if CAUSAL else 0
    for i_group in range(0, group):
        i_h = i_key * group + i_group
        row = (i_b * heads * group + i_h) * m
        q_q = p_q + i_b * s_qb + i_h * s_qh
        q_grad = p_grad + i_b * s_gb + i_h * s_gh
        q_mask = p_mask + i_b * s_mb + i_h * s_mh
        q_last = p_rows + row
        if CAUSAL:
            a_k, a_v = walk_queries(
                a_k, a_v, b_k, b_v, q_q, q_grad, q_last, q_last + count, q_mask, o_n, m_n, i_n,
                start, full, o_d, o_v, s_qm, s_qd, s_gm, s_gd, s_mm, s_mn, m, d, dv, scale,
                seed, first, row, blocks, limit, factor,
                BM, BN, EVEN_D, EVEN_V, True, CAUSAL, MASK, DROPOUT, PARTS, WIDE, PRECISION,
                UPCAST,
            )  # fmt: skip
        a_k, a_v = walk_queries(
            a_k, a_v, b_k, b_v, q_q, q_grad, q_last, q_last + count, q_mask, o_n, m_n, i_n,
            full, m, o_d, o_v, s_qm, s_qd, s_gm, s_gd, s_mm, s_mn, m, d, dv, scale,
            seed, first, row, blocks, limit, factor,
            BM, BN, EVEN_D, EVEN_V, False, CAUSAL, MASK, DROPOUT, PARTS, WIDE, PRECISION, UPCAST,
        )  # fmt: skip
    p_dk += i_b * s_dkb + i_key * s_dkh
    p_dv += i_b * s_dvb + i_key * s_dvh
    if PARTS != "v":
        q_dk = p_dk + (o_n * s_dkn)[:, None] + o_d[None, :] * s_dkd
        b_dk = (a_k * factor_k).to(p_dk.dtype.element_ty)
        tl.store(q_dk, b_dk, m_n[:, None] & (o_d < d)[None, :])
    if PARTS != "k":
        q_dv = p_dv + (o_n * s_dvn)[:, None] + o_v[None, :] * s_dvd
        tl.store(q_dv, a_v.to(p_dv.dtype.element_ty), m_n[:, None] & (o_v < dv)[None, :])


@triton.jit
def gradient_of_scores(
    b_q, b_g, b_k, b_v, p_mask, o_m, o_n, m_m, m_n, i_n, s_mm, s_mn, last, delta, scale,
    seed, first, r_random, limit, factor,
    BM: tl.constexpr, BN: tl.constexpr, CUT: tl.constexpr, CAUSAL: tl.constexpr,
    MASK: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """ds of BM queries and BN keys."""
    zeros = tl.zeros((BM, BN), last.dtype)
    s = dot(b_q, tl.trans(b_k), zeros, True, PRECISION, UPCAST)
    p = weights(
        s, p_mask, o_m[:, None], o_n[None, :], m_m[:, None], m_n[None, :], s_mm, s_mn,
        last[:, None], scale, CUT, CAUSAL, MASK,
    )  # fmt: skip
    ds = dot(b_g, tl.trans(b_v), zeros, True, PRECISION, UPCAST)
    if DROPOUT:
        ds = tl.where(kept(seed, first, r_random, i_n, limit, BM, BN), ds * factor, 0.0)
    return p * (ds - delta[:, None])


@triton.jit
def walk_keys(
    dq, b_q, b_g, p_k, p_v, p_mask, o_m, m_m, last, delta, start, end, o_d, o_v,
    s_kn, s_kd, s_vn, s_vd, s_mm, s_mn, n, d, dv, scale, seed, first, r_random, limit, factor,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr,
    CUT: tl.constexpr, CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPOUT: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add what keys [start, end) give to the gradient of a block of queries."""
    for i_n in range(start, end, BN):
        o_n = positions(i_n, BN, WIDE)
        m_n = o_n < n
        b_k = load_block(p_k, o_n * s_kn, o_d, s_kd, m_n, d, CUT, not EVEN_D)
        b_v = load_block(p_v, o_n * s_vn, o_v, s_vd, m_n, dv, CUT, not EVEN_V)
        ds = gradient_of_scores(
            b_q, b_g, b_k, b_v, p_mask, o_m, o_n, m_m, m_n, i_n, s_mm, s_mn, last, delta, scale,
            seed, first, r_random, limit, factor,
            BM, BN, CUT, CAUSAL, MASK, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
        dq = dot(ds.to(b_k.dtype), b_k, dq, True, PRECISION, UPCAST)
    return dq


@triton.jit(do_not_specialize=PARAMETERS)
def attention_queries_backward_kernel(
    p_q,  # (B, H, M, D)
    p_k,  # (B, H / group, N, D)
    p_v,  # (B, H / group, N, DV)
    p_mask,  # (B, H, M, N); read unless MASK is "none"
    p_grad,  # (B, H, M, DV)
    p_rows,  # (2, B, H, M): the log-sum-exp in base 2, and delta
    p_dq,  # (B, H, M, D)
    p_offset,  # (1,), where HAS_OFFSET
    count, heads, group, m, n, d, dv,
    s_qb, s_qh, s_qm, s_qd, s_kb, s_kh, s_kn, s_kd, s_vb, s_vh, s_vn, s_vd,
    s_mb, s_mh, s_mm, s_mn, s_gb, s_gh, s_gm, s_gd, s_dqb, s_dqh, s_dqm, s_dqd,
    scale, factor_q, seed: tl.int64, offset: tl.int64, limit: tl.int64, blocks, factor,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BDV: tl.constexpr,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPOUT: tl.constexpr, EVEN_N: tl.constexpr,
    HAS_OFFSET: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dq of BM queries of one head."""
    i_m, i_bh = place(tl.cdiv(m, BM), CAUSAL, WIDE)
    i_b = i_bh // heads
    i_h = i_bh % heads
    o_m = positions(i_m * BM, BM, WIDE)
    o_d = tl.arange(0, BD)
    o_v = tl.arange(0, BDV)
    m_m = o_m < m
    p_k += i_b * s_kb + i_h // group * s_kh
    p_v += i_b * s_vb + i_h // group * s_vh
    p_mask += i_b * s_mb + i_h * s_mh
    p_q += i_b * s_qb + i_h * s_qh
    p_grad += i_b * s_gb + i_h * s_gh
    b_q = load_block(p_q, o_m * s_qm, o_d, s_qd, m_m, d, True, not EVEN_D)
    b_g = load_block(p_grad, o_m * s_gm, o_v, s_gd, m_m, dv, True, not EVEN_V)
    last = tl.load(p_rows + i_bh * m + o_m, mask=m_m, other=INF)
    delta = tl.load(p_rows + count + i_bh * m + o_m, mask=m_m, other=0)
    seed = tl.full((), 0, tl.int64) + seed
    first = stream_start(p_offset, offset, HAS_OFFSET)
    r_random = (i_bh * m + o_m).to(tl.int64) * blocks
    acc = tl.zeros((BM, BD), ACC)
    end = n
    full = n if EVEN_N else n // BN * BN
    if CAUSAL:
        end = min(n, (i_m + 1) * BM)
        full = min(full, i_m * BM // BN * BN)
    acc = walk_keys(
        acc, b_q, b_g, p_k, p_v, p_mask, o_m, m_m, last, delta, 0, full, o_d, o_v,
        s_kn, s_kd, s_vn, s_vd, s_mm, s_mn, n, d, dv, scale, seed, first, r_random, limit, factor,
        BM, BN, EVEN_D, EVEN_V, False, CAUSAL, MASK, DROPOUT, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    if CAUSAL or not EVEN_N:
        acc = walk_keys(
            acc, b_q, b_g, p_k, p_v, p_mask, o_m, m_m, last, delta, full, end, o_d, o_v,
            s_kn, s_kd, s_vn, s_vd, s_mm, s_mn, n, d, dv, scale, seed, first, r_random, limit,
            factor,
            BM, BN, EVEN_D, EVEN_V, True, CAUSAL, MASK, DROPOUT, WIDE, PRECISION, UPCAST,
        )  # fmt: skip
    p_dq += i_b * s_dqb + i_h * s_dqh
    q_dq = p_dq + (o_m * s_dqm)[:, None] + o_d[None, :] * s_dqd
    b_dq = (acc * factor_q).to(p_dq.dtype.element_ty)
    tl.store(q_dq, b_dq, m_m[:, None] & (o_d < d)[None, :])


@triton.jit(do_not_specialize=PARAMETERS)
def attention_mask_backward_kernel(
    p_q,  # (B, H, M, D)
    p_k,  # (B, H / group, N, D)
    p_v,  # (B, H / group, N, DV)
    p_mask,  # (B, H, M, N)
    p_grad,  # (B, H, M, DV)
    p_rows,  # (2, B, H, M): the log-sum-exp in base 2, and delta
    p_dm,  # (B or 1, H or 1, M or 1, N or 1)
    p_offset,  # (1,), where HAS_OFFSET
    count, heads, group, m, n, d, dv, dm_heads, n_b, n_h, n_m, n_n,
    s_qb, s_qh, s_qm, s_qd, s_kb, s_kh, s_kn, s_kd, s_vb, s_vh, s_vn, s_vd,
    s_mb, s_mh, s_mm, s_mn, s_gb, s_gh, s_gm, s_gd, s_dmb, s_dmh, s_dmm, s_dmn,
    scale, seed: tl.int64, offset: tl.int64, limit: tl.int64, blocks, factor,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, BDV: tl.constexpr,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPOUT: tl.constexpr, SUM_M: tl.constexpr,
    SUM_N: tl.constexpr, HAS_OFFSET: tl.constexpr, EVEN_D: tl.constexpr, EVEN_V: tl.constexpr,
    WIDE: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of a mask: the sum of ds over the n_b batches, n_h heads, n_m blocks
    of queries and n_n of keys that the block was broadcast to."""
    i_first, i_bh = place(1 if SUM_M else tl.cdiv(m, BM), False, WIDE)
    i_second = tl.program_id(1)
    o_d = tl.arange(0, BD)
    o_v = tl.arange(0, BDV)
    seed = tl.full((), 0, tl.int64) + seed
    first = stream_start(p_offset, offset, HAS_OFFSET)
    acc = tl.zeros((BM, BN), ACC)
    for i in range(0, n_b * n_h * n_m * n_n):
        i_n = (i_second + i % n_n) * BN
        i_m = i_first + i // n_n % n_m
        i_h = i_bh % dm_heads + i // n_n // n_m % n_h
        i_b = i_bh // dm_heads + i // n_n // n_m // n_h
        o_m = positions(i_m * BM, BM, WIDE)
        o_n = positions(i_n, BN, WIDE)
        m_m, m_n = o_m < m, o_n < n
        q_q = p_q + i_b * s_qb + i_h * s_qh
        q_grad = p_grad + i_b * s_gb + i_h * s_gh
        q_k = p_k + i_b * s_kb + i_h // group * s_kh
        q_v = p_v + i_b * s_vb + i_h // group * s_vh
        row = (i_b * heads + i_h) * m
        b_q = load_block(q_q, o_m * s_qm, o_d, s_qd, m_m, d, True, not EVEN_D)
        b_g = load_block(q_grad, o_m * s_gm, o_v, s_gd, m_m, dv, True, not EVEN_V)
        b_k = load_block(q_k, o_n * s_kn, o_d, s_kd, m_n, d, True, not EVEN_D)
        b_v = load_block(q_v, o_n * s_vn, o_v, s_vd, m_n, dv, True, not EVEN_V)
        last = tl.load(p_rows + row + o_m, mask=m_m, other=INF)
        delta = tl.load(p_rows + count + row + o_m, mask=m_m, other=0)
        r_random = (row + o_m).to(tl.int64) * blocks
        acc += gradient_of_scores(
            b_q, b_g, b_k, b_v, p_mask + i_b * s_mb + i_h * s_mh, o_m, o_n, m_m, m_n, i_n,
            s_mm, s_mn, last, delta, scale, seed, first, r_random, limit, factor,
            BM, BN, True, CAUSAL, MASK, DROPOUT, PRECISION, UPCAST,
        )  # fmt: skip
    p_dm += i_bh // dm_heads * s_dmb + i_bh % dm_heads * s_dmh
    o_m = positions(i_first * BM, BM, WIDE)
    o_n = positions(i_second * BN, BN, WIDE)
    if SUM_M:
        acc = tl.sum(acc, 0)[None, :]
    if SUM_N:
        acc = tl.sum(acc, 1)[:, None]
    acc = tl.broadcast_to(acc, (BM, BN))
    m_dm = (o_m < (1 if SUM_M else m))[:, None] & (o_n < (1 if SUM_N else n))[None, :]
    q_dm = p_dm + (o_m * s_dmm)[:, None] + (o_n * s_dmn)[None, :]
    tl.store(q_dm, acc.to(p_dm.dtype.element_ty), m_dm)


# -- launchers -------------------------------------------------------------------------------------


def backward(
    launch: Any, outs: Any, grad: Any, q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, *,
    is_causal: bool, scale: float, dropout: float = 0.0, seed: int = 0, offset: Any = 0,
    mask_grad: bool = False, precision: str = "ieee", blocks: tuple[Blocks, Blocks] | None = None,
) -> Any:  # fmt: skip
    """The gradients (dq, dk, dv, dmask) of what `attention.forward` gets, from that of its `out`.

    Without `mask_grad` the last result is left alone.
    """
    s = sizes(q, k, v)
    if not is_served(s, grad, q, k, v, out):
        return NotImplemented
    dtype, target = q.dtype.name, launch.target
    if blocks is None:
        special = mask is not None, dropout > 0
        blocks = tuple(blocks_of(what, s, dtype, *special, target) for what in (KEYS, QUERIES))
    if not lse.is_contiguous():  # as the forward gives it, it is
        given, lse = lse, launch.empty(lse.shape, lse.dtype)
        copy(launch, lse, given)
    rows = scratch(launch, (2, *lse.shape), dtype)
    random = stream(s, q, dropout, seed, offset)
    constants = {
        **options(target, s, q, k, v, mask, is_causal, grad, *outs),
        **random.constants,
        "PRECISION": precision if dtype == "float32" else "ieee",
    }
    delta(launch, rows, grad, out, lse, s, constants)
    call = Call(
        [q, k, v, q if mask is None else mask, grad, rows],
        [s.group, s.m, s.n, s.d, s.dv],
        [*q.strides, *k.strides, *v.strides, *strides(mask), *grad.strides],
        number(dtype, scale * LOG2E),
        number(dtype, scale),
        random,
        constants,
    )
    keys_gradient(launch, outs[1], outs[2], call, s, blocks[0])
    queries_gradient(launch, outs[0], call, s, blocks[1])
    if mask_grad:
        mask_gradient(launch, outs[3], call, s, small(blocks[1], s, dtype, dropout > 0, target))
    return None


class Call:
    """What the kernels of one backward share."""

    def __init__(
        self, arrays: list, ints: list, strides: list, scale: Any, factor: Any, random: Any,
        constants: dict,
    ) -> None:  # fmt: skip
        self.arrays, self.ints, self.strides = arrays, ints, strides
        self.scale, self.factor, self.random, self.constants = scale, factor, random, constants


def delta(launch: Any, rows: Any, grad: Any, out: Any, lse: Any, s: Sizes, constants: dict) -> None:
    """The logarithms in base 2 and delta, one a query."""
    count = s.b * s.h * s.m
    block = clip(4096 // s.wide, 1, 64)
    launch(
        attention_delta_kernel,
        (cdiv(count, block),),
        [out, grad, lse, rows, count, s.h, s.m, s.dv, *out.strides, *grad.strides],
        {"BM": block, **{k: constants[k] for k in ("BDV", "WIDE", "ACC")}},
        num_warps=4,
    )


def keys_gradient(launch: Any, dk: Any, dv: Any, call: Call, s: Sizes, blocks: Blocks) -> None:
    """dk and dv; one after the other where registers do not hold both."""
    heads = s.h // max(s.group, 1)
    for parts in ("kv",) if s.wide <= 128 else ("v", "k"):
        launch(
            attention_keys_backward_kernel,
            (cdiv(s.n, blocks.bn) * s.b * heads,),
            [*call.arrays, dk, dv, call.random.pointer, s.b * s.h * s.m, heads, *call.ints,
             *call.strides, *dk.strides, *dv.strides, call.scale, call.factor,
             *call.random.numbers],
            {"BM": blocks.bm, "BN": blocks.bn, "PARTS": parts, **call.constants},
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )  # fmt: skip


def queries_gradient(launch: Any, dq: Any, call: Call, s: Sizes, blocks: Blocks) -> None:
    launch(
        attention_queries_backward_kernel,
        (cdiv(s.m, blocks.bm) * s.b * s.h,),
        [*call.arrays, dq, call.random.pointer, s.b * s.h * s.m, s.h, *call.ints, *call.strides,
         *dq.strides, call.scale, call.factor, *call.random.numbers],
        {"BM": blocks.bm, "BN": blocks.bn, "EVEN_N": s.n % blocks.bn == 0, **call.constants},
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )  # fmt: skip


def small(blocks: Blocks, s: Sizes, dtype: str, dropout: bool, target: Any) -> Blocks:
    """Blocks for a sum that is kept beside the scores."""
    if s.wide > 128 and table_of(dtype, target) != "hopper":
        return Blocks(16, min(blocks.bn, 32), 4, 1)
    warps = 4 if target.backend == "hip" else 8
    most = 16 if dropout and table_of(dtype, target) == "small" else 32
    return Blocks(min(blocks.bm, 64), min(blocks.bn, most), warps, 1)


def mask_gradient(launch: Any, dm: Any, call: Call, s: Sizes, blocks: Blocks) -> None:
    b, h, m, n = dm.shape
    n_m, n_n = cdiv(s.m, blocks.bm), cdiv(s.n, blocks.bn)
    grid_m, grid_n = 1 if m == 1 else n_m, 1 if n == 1 else n_n
    spread = (s.b if b == 1 else 1, s.h if h == 1 else 1, n_m if m == 1 else 1,
              n_n if n == 1 else 1)  # fmt: skip
    launch(
        attention_mask_backward_kernel,
        (grid_m * b * h, grid_n),
        [*call.arrays, dm, call.random.pointer, s.b * s.h * s.m, s.h, *call.ints, h, *spread,
         *call.strides, *dm.strides, call.scale, *call.random.numbers],
        {"BM": blocks.bm, "BN": blocks.bn, "SUM_M": m == 1, "SUM_N": n == 1, **call.constants},
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )  # fmt: skip
