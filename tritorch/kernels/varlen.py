"""Attention over packed sequences of varying lengths, forward.

Sequences lie one after another in (T, H, D), and (B + 1,) offsets say where each begins. A program
takes a block of queries of one sequence and one head and walks the keys of that sequence which the
window of the block reaches; only blocks at the edges of the window and at the end are masked. The
grid is that of the longest sequence: programs past the end of theirs return at once.

Row i of m sees keys j of n with i + n - m - left <= j <= i + n - m + right: the last query meets
the last key. The softmax and its log-sum-exp are those of `attention.py`.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._attention import (
    FORWARD,
    INF,
    KEYS,
    LOG2E,
    QUERIES,
    Blocks,
    Sizes,
    blocks_of,
    is_served,
    load_block,
    number,
    options,
    place,
    positions,
    table_of,
)
from ._dense import cdiv, clip, dot, pow2
from .attention import LN2

WINDOW = ("left", "right", "most")  # parameters that no code depends on


# -- device ----------------------------------------------------------------------------------------


@triton.jit
def span(p_cu, s_cu, p_used, s_used, i_b, USED: tl.constexpr):
    """Where a sequence begins, and its length: of keys that of those in use."""
    start = tl.load(p_cu + i_b * s_cu)
    count = tl.load(p_cu + (i_b + 1) * s_cu) - start
    if USED:
        count = min(count, tl.load(p_used + i_b * s_used))
    return start, count


@triton.jit
def reach(
    first, last, n, shift, before, after, B: tl.constexpr, BEFORE: tl.constexpr,
    AFTER: tl.constexpr,
):  # fmt: skip
    """Of n positions those that rows [first, last] see between them: [start, end), and [a, b) of
    whole blocks of B that each of the rows sees all of."""
    start = 0
    a = 0
    end = n
    b = n // B * B
    if AFTER:
        end = min(n, max(last + shift + after + 1, 0))
        b = min(n, max(first + shift + after + 1, 0)) // B * B
    if BEFORE:
        start = max(first + shift - before, 0) // B * B
        a = min(tl.cdiv(max(last + shift - before, 0), B) * B, end)
        b = max(a, b)
    return start, a, b, end


@triton.jit
def within(o_m, o_n, shift, left, right, seen, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """Which of the scores that are `seen` the window holds; positions have the shape of scores
    but for dimensions of one."""
    if RIGHT:
        seen = seen & (o_n <= o_m + (shift + right))
    if LEFT:
        seen = seen & (o_n >= o_m + (shift - left))
    return seen


@triton.jit
def attend_packed(
    acc, total, top, b_q, p_k, p_v, o_m, start, end, o_d, s_kt, s_kd, s_vt, s_vd, n, d, scale,
    shift, left, right,
    BM: tl.constexpr, BN: tl.constexpr, EVEN_D: tl.constexpr, CUT: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, FOLD: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Walk keys [start, end): the weighted sum of values, the sum of weights, the top score."""
    for i_n in range(start, end, BN):
        o_n = positions(i_n, BN, WIDE)
        m_n = o_n < n
        b_k = load_block(p_k, o_n * s_kt, o_d, s_kd, m_n, d, CUT, not EVEN_D)
        s = dot(b_q, tl.trans(b_k), tl.zeros((BM, BN), acc.dtype), True, PRECISION, UPCAST)
        if not FOLD:
            s *= scale
        if CUT:
            seen = within(o_m[:, None], o_n[None, :], shift, left, right, m_n[None, :], LEFT, RIGHT)
            s = tl.where(seen, s, -INF)
        new = tl.maximum(top, tl.max(s, 1) * scale if FOLD else tl.max(s, 1))
        base = tl.where(new == -INF, 0.0, new) if CUT else new  # -inf - -inf is NaN
        p = tl.exp2(s * scale - base[:, None] if FOLD else s - base[:, None])
        decay = tl.exp2(top - base)
        total = total * decay + tl.sum(p, 1)
        b_v = load_block(p_v, o_n * s_vt, o_d, s_vd, m_n, d, CUT, not EVEN_D)
        acc = dot(p.to(b_v.dtype), b_v, acc * decay[:, None], True, PRECISION, UPCAST)
        top = new
    return acc, total, top


@triton.jit(do_not_specialize=WINDOW)
def varlen_forward_kernel(
    p_q,  # (TQ, H, D)
    p_k,  # (TK, H / group, D)
    p_v,  # (TK, H / group, D)
    p_cuq,  # (B + 1,)
    p_cuk,  # (B + 1,)
    p_used,  # (B,), read where USED
    p_out,  # (TQ, H, D)
    p_lse,  # (H, TQ)
    rows, heads, group, most, d, s_qt, s_qh, s_qd, s_kt, s_kh, s_kd, s_vt, s_vh, s_vd,
    s_cuq, s_cuk, s_used, s_ot, s_oh, s_od, scale, left, right,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, LEFT: tl.constexpr,
    RIGHT: tl.constexpr, USED: tl.constexpr, FOLD: tl.constexpr, EVEN_D: tl.constexpr,
    WIDE: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T scale) v for BM queries of one sequence and one head."""
    i_m, i_bh = place(most, True, WIDE)
    i_b = i_bh // heads
    i_h = i_bh % heads
    q_start, m = span(p_cuq, s_cuq, p_used, s_used, i_b, False)
    i_m *= BM
    if i_m >= m:
        return
    k_start, n = span(p_cuk, s_cuk, p_used, s_used, i_b, USED)
    shift = n - m
    if WIDE:
        q_start, k_start = q_start.to(tl.int64), k_start.to(tl.int64)
    p_q += q_start * s_qt + i_h * s_qh
    p_k += k_start * s_kt + i_h // group * s_kh
    p_v += k_start * s_vt + i_h // group * s_vh
    o_m = positions(i_m, BM, WIDE)
    o_d = tl.arange(0, BD)
    m_m = o_m < m
    b_q = load_block(p_q, o_m * s_qt, o_d, s_qd, m_m, d, True, not EVEN_D)
    acc = tl.zeros((BM, BD), ACC)
    total = tl.zeros((BM,), ACC)
    top = tl.full((BM,), -INF, ACC)
    start, a, b, end = reach(i_m, min(i_m + BM, m) - 1, n, shift, left, right, BN, LEFT, RIGHT)
    if LEFT:
        acc, total, top = attend_packed(
            acc, total, top, b_q, p_k, p_v, o_m, start, a, o_d, s_kt, s_kd, s_vt, s_vd, n, d,
            scale, shift, left, right,
            BM, BN, EVEN_D, True, LEFT, RIGHT, FOLD, WIDE, PRECISION, UPCAST,
        )  # fmt: skip
    acc, total, top = attend_packed(
        acc, total, top, b_q, p_k, p_v, o_m, a, b, o_d, s_kt, s_kd, s_vt, s_vd, n, d,
        scale, shift, left, right,
        BM, BN, EVEN_D, False, LEFT, RIGHT, FOLD, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    acc, total, top = attend_packed(
        acc, total, top, b_q, p_k, p_v, o_m, b, end, o_d, s_kt, s_kd, s_vt, s_vd, n, d,
        scale, shift, left, right,
        BM, BN, EVEN_D, True, LEFT, RIGHT, FOLD, WIDE, PRECISION, UPCAST,
    )  # fmt: skip
    lse = tl.where(total == 0, -INF, (top + tl.log2(total)) * LN2)
    acc = acc / tl.where(total == 0, 1.0, total)[:, None]  # a query that sees no key gives 0
    p_out += q_start * s_ot + i_h * s_oh
    q_out = p_out + (o_m * s_ot)[:, None] + o_d[None, :] * s_od
    tl.store(q_out, acc.to(p_out.dtype.element_ty), m_m[:, None] & (o_d < d)[None, :])
    tl.store(p_lse + i_h * rows + q_start + o_m, lse, m_m)


# -- launchers -------------------------------------------------------------------------------------


def sizes(q: Any, k: Any, cu: Any, max_q: int, max_k: int) -> Sizes:
    """As of a dense batch of the longest sequences."""
    _, h, d = q.shape
    return Sizes(cu.shape[0] - 1, h, h // max(k.shape[1], 1), max_q, max_k, d, d)


def window(s: Sizes, left: int, right: int) -> tuple[int, int, dict[str, bool]]:
    """The bounds of the window, 0 where there is none, and constants that say so."""
    has_left, has_right = 0 <= left < s.n - 1, 0 <= right < s.m - 1
    constants = {"LEFT": has_left, "RIGHT": has_right}
    return left if has_left else 0, right if has_right else 0, constants


def packed_blocks(what: int, s: Sizes, dtype: str, bounds: dict[str, bool], target: Any) -> Blocks:
    """Those of a dense batch, smaller where a window's bounds and padded columns need registers."""
    uneven, table = max(pow2(s.d), 16) != s.d, table_of(dtype, target)
    blocks = blocks_of(what, s, dtype, bounds["LEFT"] or uneven, False, target)
    if what == KEYS:
        if target.backend == "hip" and dtype == "float32" and s.wide > 128:
            return blocks._replace(bm=clip(pow2(s.m), 16, 32), bn=16)
        return _of_keys(s, blocks, table, uneven, bounds["LEFT"])
    least = 32 if what == QUERIES and table == "hip" else 64  # elements that leave no room
    little = bounds["LEFT"] and s.wide > least and table in ("ampere", "small", "hip", "float32")
    if uneven:
        little |= (table == "float32" and s.wide > 64) or (bounds["LEFT"] and s.wide > 128)
    if not little:
        return blocks
    bm = min(blocks.bm, 64) if uneven else blocks.bm
    return blocks._replace(bm=bm, bn=max(blocks.bn // 2, 16))


def _of_keys(s: Sizes, blocks: Blocks, table: str, uneven: bool, left: bool) -> Blocks:
    """Queries and keys of the gradient of keys: its loop over heads needs registers."""
    bm, bn = blocks.bm, blocks.bn
    if s.wide <= 64:
        bm = min(bm, 16) if left and table == "small" else bm
    else:
        bm = 16 if (left and uneven) or (table == "hip" and s.wide > 128) else bm
        bn = min(bn, 64) if s.group > 1 or uneven else bn
    return blocks._replace(bm=bm, bn=bn)


def shared(target: Any, s: Sizes, q: Any, k: Any, v: Any, *others: Any) -> dict[str, Any]:
    """The constants that all kernels share."""
    names = "BD", "EVEN_D", "WIDE", "ACC", "UPCAST"
    found = options(target, s, q, k, v, None, False, *others)
    return {name: found[name] for name in names}


def forward(
    launch: Any, outs: Any, q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, used: Any, *,
    max_q: int, max_k: int, left: int, right: int, scale: float, precision: str = "ieee",
    blocks: Blocks | None = None,
) -> Any:  # fmt: skip
    """q (TQ, H, D), k and v (TK, G, D), offsets (B + 1,), keys in use (B,) or None -> out
    (TQ, H, D) and its log-sum-exp (H, TQ), dense."""
    out, lse = outs
    s = sizes(q, k, cu_q, max_q, max_k)
    if not is_served(s, q, k, v):
        return NotImplemented
    dtype = q.dtype.name
    left, right, bounds = window(s, left, right)
    if blocks is None:
        blocks = packed_blocks(FORWARD, s, dtype, bounds, launch.target)
    most = cdiv(s.m, blocks.bm)
    taken = cu_k if used is None else used
    launch(
        varlen_forward_kernel,
        (most * s.b * s.h,),
        [q, k, v, cu_q, cu_k, taken, out, lse, q.shape[0], s.h, s.group, most, s.d,
         *q.strides, *k.strides, *v.strides, *cu_q.strides, *cu_k.strides, *taken.strides,
         *out.strides, number(dtype, scale * LOG2E), left, right],
        {"BM": blocks.bm, "BN": blocks.bn, "USED": used is not None, "FOLD": scale > 0, **bounds,
         "PRECISION": precision if dtype == "float32" else "ieee",
         **shared(launch.target, s, q, k, v, out)},
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )  # fmt: skip
    return None
