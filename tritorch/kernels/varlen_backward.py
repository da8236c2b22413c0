"""Attention over packed sequences of varying lengths, backward.

As in `attention_backward.py` the weights come again from the log-sum-exp; one kernel walks the
queries for a block of keys of one sequence, one walks the keys for a block of queries. No sum is
atomic, so results are the same from run to run.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._attention import (
    INF,
    KEYS,
    LOG2E,
    QUERIES,
    Blocks,
    is_served,
    load_block,
    number,
    place,
    positions,
)
from ._dense import cdiv, clip, dot, scratch
from .attention_backward import attention_delta_kernel
from .copy import copy
from .varlen import WINDOW, packed_blocks, reach, shared, sizes, span, window, within


@triton.jit
def walk_packed_queries(
    dk, dv, b_k, b_v, p_q, p_grad, p_last, p_delta, o_n, start, end, o_d,
    s_qt, s_qd, s_gt, s_gd, m, d, scale, shift, left, right,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, CUT: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, PARTS: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add what queries [start, end) of one head give to the gradients of a block of keys."""
    zeros = tl.zeros((BN, BM), dk.dtype)
    for i_m in range(start, end, BM):
        o_m = positions(i_m, BM, WIDE)
        m_m = o_m < m
        b_q = load_block(p_q, o_m * s_qt, o_d, s_qd, m_m, d, True, not EVEN_D)
        b_g = load_block(p_grad, o_m * s_gt, o_d, s_gd, m_m, d, True, not EVEN_D)
        last = tl.load(p_last + o_m, mask=m_m, other=INF)
        delta = tl.load(p_delta + o_m, mask=m_m, other=0)
        s = dot(b_k, tl.trans(b_q), zeros, True, PRECISION, UPCAST)
        p = tl.exp2(s * scale - last[None, :])
        if CUT:
            seen = within(o_m[None, :], o_n[:, None], shift, left, right, m_m[None, :], LEFT, RIGHT)
            p = tl.where(seen, p, 0.0)
        if PARTS != "k":
            dv = dot(p.to(b_g.dtype), b_g, dv, True, PRECISION, UPCAST)
        if PARTS != "v":
            ds = dot(b_v, tl.trans(b_g), zeros, True, PRECISION, UPCAST)
            ds = p * (ds - delta[None, :])
            dk = dot(ds.to(b_q.dtype), b_q, dk, True, PRECISION, UPCAST)
    return dk, dv


@triton.jit(do_not_specialize=WINDOW)
def varlen_keys_backward_kernel(
    p_q,  # (TQ, H, D)
    p_k,  # (TK, H / group, D)
    p_v,  # (TK, H / group, D)
    p_grad,  # (TQ, H, D)
    p_cuq,  # (B + 1,)
    p_cuk,  # (B + 1,)
    p_rows,  # (2, H, TQ): the log-sum-exp in base 2, and delta
    p_dk,  # (TK, H / group, D)
    p_dv,  # (TK, H / group, D)
    heads, rows, group, d, s_qt, s_qh, s_qd, s_kt, s_kh, s_kd, s_vt, s_vh, s_vd,
    s_gt, s_gh, s_gd, s_cuq, s_cuk, scale, factor, left, right, most,
    s_dkt, s_dkh, s_dkd, s_dvt, s_dvh, s_dvd,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, LEFT: tl.constexpr,
    RIGHT: tl.constexpr, PARTS: tl.constexpr, EVEN_D: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dk and dv of BN keys of one sequence, summed over the queries of all heads that share them;
    the one or the other where PARTS is "k" or "v". `heads` counts those of keys."""
    i_n, i_bh = place(most, False, WIDE)
    i_b = i_bh // heads
    i_key = i_bh % heads
    k_start, n = span(p_cuk, s_cuk, p_cuk, s_cuk, i_b, False)
    i_n *= BN
    if i_n >= n:
        return
    q_start, m = span(p_cuq, s_cuq, p_cuq, s_cuq, i_b, False)
    shift = n - m
    start, a, b, end = reach(i_n, min(i_n + BN, n) - 1, m, -shift, right, left, BM, RIGHT, LEFT)
    if WIDE:
        q_start, k_start = q_start.to(tl.int64), k_start.to(tl.int64)
    p_k += k_start * s_kt + i_key * s_kh
    p_v += k_start * s_vt + i_key * s_vh
    o_n = positions(i_n, BN, WIDE)
    o_d = tl.arange(0, BD)
    m_n = o_n < n
    b_k = load_block(p_k, o_n * s_kt, o_d, s_kd, m_n, d, True, not EVEN_D)
    b_v = load_block(p_v, o_n * s_vt, o_d, s_vd, m_n, d, True, not EVEN_D)
    a_k = tl.zeros((BN, BD), ACC)
    a_v = tl.zeros((BN, BD), ACC)
    for i_group in range(0, group):
        i_h = i_key * group + i_group
        q_q = p_q + q_start * s_qt + i_h * s_qh
        q_grad = p_grad + q_start * s_gt + i_h * s_gh
        q_last = p_rows + i_h * rows + q_start
        q_delta = q_last + heads * group * rows
        if RIGHT:
            a_k, a_v = walk_packed_queries(
                a_k, a_v, b_k, b_v, q_q, q_grad, q_last, q_delta, o_n, start, a, o_d,
                s_qt, s_qd, s_gt, s_gd, m, d, scale, shift, left, right,
                BM, BN, EVEN_D, True, LEFT, RIGHT, PARTS, WIDE, PRECISION, UPCAST,
            )  # fmt: skip
        a_k, a_v = walk_packed_queries(
            a_k, a_v, b_k, b_v, q_q, q_grad, q_last, q_delta, o_n, a, b if LEFT else end, o_d,
            s_qt, s_qd, s_gt, s_gd, m, d, scale, shift, left, right,
            BM, BN, EVEN_D, False, LEFT, RIGHT, PARTS, WIDE, PRECISION, UPCAST,
        )  # fmt: skip
        if LEFT:
            a_k, a_v = walk_packed_queries(
                a_k, a_v, b_k, b_v, q_q, q_grad, q_last, q_delta, o_n, b, end, o_d,
                s_qt, s_qd, s_gt, s_gd, m, d, scale, shift, left, right,
                BM, BN, EVEN_D, True, LEFT, RIGHT, PARTS, WIDE, PRECISION, UPCAST,
            )  # fmt: skip
    m_out = m_n[:, None] & (o_d < d)[None, :]
    if PARTS != "v":
        p_dk += k_start * s_dkt + i_key * s_dkh
        q_dk = p_dk + (o_n * s_dkt)[:, None] + o_d[None, :] * s_dkd
        tl.store(q_dk, (a_k * factor).to(p_dk.dtype.element_ty), m_out)
    if PARTS != "k":
        p_dv += k_start * s_dvt + i_key * s_dvh
        q_dv = p_dv + (o_n * s_dvt)[:, None] + o_d[None, :] * s_dvd
        tl.store(q_dv, a_v.to(p_dv.dtype.element_ty), m_out)


@triton.jit
def walk_packed_keys(
    dq, b_q, b_g, p_k, p_v, o_m, last, delta, start, end, o_d, s_kt, s_kd, s_vt, s_vd, n, d,
    scale, shift, left, right,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, CUT: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """Add what keys [start, end) give to the gradient of a block of queries."""
    zeros = tl.zeros((BM, BN), dq.dtype)
    for i_n in range(start, end, BN):
        o_n = positions(i_n, BN, WIDE)
        m_n = o_n < n
        b_k = load_block(p_k, o_n * s_kt, o_d, s_kd, m_n, d, CUT, not EVEN_D)
        b_v = load_block(p_v, o_n * s_vt, o_d, s_vd, m_n, d, CUT, not EVEN_D)
        s = dot(b_q, tl.trans(b_k), zeros, True, PRECISION, UPCAST)
        p = tl.exp2(s * scale - last[:, None])
        if CUT:
            seen = within(o_m[:, None], o_n[None, :], shift, left, right, m_n[None, :], LEFT, RIGHT)
            p = tl.where(seen, p, 0.0)
        ds = dot(b_g, tl.trans(b_v), zeros, True, PRECISION, UPCAST)
        ds = p * (ds - delta[:, None])
        dq = dot(ds.to(b_k.dtype), b_k, dq, True, PRECISION, UPCAST)
    return dq


@triton.jit(do_not_specialize=WINDOW)
def varlen_queries_backward_kernel(
    p_q,  # (TQ, H, D)
    p_k,  # (TK, H / group, D)
    p_v,  # (TK, H / group, D)
    p_grad,  # (TQ, H, D)
    p_cuq,  # (B + 1,)
    p_cuk,  # (B + 1,)
    p_rows,  # (2, H, TQ): the log-sum-exp in base 2, and delta
    p_dq,  # (TQ, H, D)
    heads, rows, group, d, s_qt, s_qh, s_qd, s_kt, s_kh, s_kd, s_vt, s_vh, s_vd,
    s_gt, s_gh, s_gd, s_cuq, s_cuk, scale, factor, left, right, most,
    s_dqt, s_dqh, s_dqd,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, LEFT: tl.constexpr,
    RIGHT: tl.constexpr, EVEN_D: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dq of BM queries of one sequence and one head; `heads` counts those of queries."""
    i_m, i_bh = place(most, True, WIDE)
    i_b = i_bh // heads
    i_h = i_bh % heads
    q_start, m = span(p_cuq, s_cuq, p_cuq, s_cuq, i_b, False)
    i_m *= BM
    if i_m >= m:
        return
    k_start, n = span(p_cuk, s_cuk, p_cuk, s_cuk, i_b, False)
    shift = n - m
    start, a, b, end = reach(i_m, min(i_m + BM, m) - 1, n, shift, left, right, BN, LEFT, RIGHT)
    if WIDE:
        q_start, k_start = q_start.to(tl.int64), k_start.to(tl.int64)
    p_k += k_start * s_kt + i_h // group * s_kh
    p_v += k_start * s_vt + i_h // group * s_vh
    p_q += q_start * s_qt + i_h * s_qh
    p_grad += q_start * s_gt + i_h * s_gh
    p_rows += i_h * rows + q_start
    o_m = positions(i_m, BM, WIDE)
    o_d = tl.arange(0, BD)
    m_m = o_m < m
    b_q = load_block(p_q, o_m * s_qt, o_d, s_qd, m_m, d, True, not EVEN_D)
    b_g = load_block(p_grad, o_m * s_gt, o_d, s_gd, m_m, d, True, not EVEN_D)
    last = tl.load(p_rows + o_m, mask=m_m, other=INF)
    delta = tl.load(p_rows + heads * rows + o_m, mask=m_m, other=0)
    acc = tl.zeros((BM, BD), ACC)
    if LEFT:
        acc = walk_packed_keys(
            acc, b_q, b_g, p_k, p_v, o_m, last, delta, start, a, o_d, s_kt, s_kd, s_vt, s_vd,
            n, d, scale, shift, left, right,
            BM, BN, EVEN_D, True, LEFT, RIGHT, WIDE, PRECISION, UPCAST,
        )  # fmt: skip
    acc = walk_packed_keys(
        acc, b_q, b_g, p_k, p_v, o_m, last, delta, a, b, o_d, s_kt, s_kd, s_vt, s_vd,
        n, d, scale, shift, left, right,
        BM, BN, EVEN_D, False, LEFT, RIGHT, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    acc = walk_packed_keys(
        acc, b_q, b_g, p_k, p_v, o_m, last, delta, b, end, o_d, s_kt, s_kd, s_vt, s_vd,
        n, d, scale, shift, left, right,
        BM, BN, EVEN_D, True, LEFT, RIGHT, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    p_dq += q_start * s_dqt + i_h * s_dqh
    q_dq = p_dq + (o_m * s_dqt)[:, None] + o_d[None, :] * s_dqd
    tl.store(
        q_dq, (acc * factor).to(p_dq.dtype.element_ty), m_m[:, None] & (o_d < d)[None, :]
    )  # fmt: skip


# -- launchers -------------------------------------------------------------------------------------


def backward(
    launch: Any, outs: Any, grad: Any, q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, out: Any,
    lse: Any, *, max_q: int, max_k: int, left: int, right: int, scale: float,
    precision: str = "ieee", blocks: tuple[Blocks, Blocks] | None = None,
) -> Any:  # fmt: skip
    """The gradients (dq, dk, dv) of what `varlen.forward` gets, from that of its `out`."""
    s = sizes(q, k, cu_q, max_q, max_k)
    if not is_served(s, grad, q, k, v, out):
        return NotImplemented
    dq, dk, dv = outs
    dtype, target, rows = q.dtype.name, launch.target, q.shape[0]
    left, right, bounds = window(s, left, right)
    if blocks is None:
        blocks = tuple(packed_blocks(w, s, dtype, bounds, target) for w in (KEYS, QUERIES))
    if not lse.is_contiguous():  # as the forward gives it, it is
        given, lse = lse, launch.empty(lse.shape, lse.dtype)
        copy(launch, lse, given)
    both = scratch(launch, (2, *lse.shape), dtype)
    constants = {
        **shared(target, s, q, k, v, grad, *outs),
        **bounds,
        "PRECISION": precision if dtype == "float32" else "ieee",
    }
    delta(launch, both, grad, out, lse, constants)
    arrays = [q, k, v, grad, cu_q, cu_k, both]
    numbers = [
        *[rows, s.group, s.d, *q.strides, *k.strides, *v.strides, *grad.strides],
        *[*cu_q.strides, *cu_k.strides, number(dtype, scale * LOG2E), number(dtype, scale)],
        *[left, right],
    ]
    heads, (of_keys, of_queries) = s.h // max(s.group, 1), blocks
    most = cdiv(s.n, of_keys.bn)
    for parts in ("kv",) if s.wide <= 128 else ("v", "k"):
        launch(
            varlen_keys_backward_kernel,
            (most * s.b * heads,),
            [*arrays, dk, dv, heads, *numbers, most, *dk.strides, *dv.strides],
            {"BM": of_keys.bm, "BN": of_keys.bn, "PARTS": parts, **constants},
            num_warps=of_keys.warps,
            num_stages=of_keys.stages,
        )
    most = cdiv(s.m, of_queries.bm)
    launch(
        varlen_queries_backward_kernel,
        (most * s.b * s.h,),
        [*arrays, dq, s.h, *numbers, most, *dq.strides],
        {"BM": of_queries.bm, "BN": of_queries.bn, **constants},
        num_warps=of_queries.warps,
        num_stages=of_queries.stages,
    )
    return None


def delta(launch: Any, both: Any, grad: Any, out: Any, lse: Any, constants: dict) -> None:
    """The logarithms in base 2 and delta, one a query: of one batch (1, H, T, D)."""
    t, h, d = out.shape
    block = clip(4096 // constants["BD"], 1, 64)
    strides = [(0, x.strides[1], x.strides[0], x.strides[2]) for x in (out, grad)]
    launch(
        attention_delta_kernel,
        (cdiv(h * t, block),),
        [out, grad, lse, both, h * t, h, t, d, *strides[0], *strides[1]],
        {"BM": block, "BDV": constants["BD"], "WIDE": constants["WIDE"], "ACC": constants["ACC"]},
        num_warps=4,
    )
