"""Depthwise convolution: each group has one input channel. Bound by memory, so no matrix units.

A program covers BC channels by BP pixels and walks the taps; which of the two is long follows from
the strides, so that neighbouring threads read neighbouring elements.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ._dense import accumulator, cdiv, clip, is_wide, pow2, scratch
from .matmul import add_splits


@triton.jit
def depthwise_forward_kernel(
    p_x,  # (N, C * J / D, H, W)
    p_w,  # (C * J, R, S)
    p_bias,  # (C,); read where HAS_BIAS
    p_out,  # (N, C, P, Q)
    n_rows, n_c, n_h, n_w, n_p, n_q, n_r, n_j, n_d,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    s_xn, s_xc, s_xh, s_xw,
    s_wc, s_wr, s_ws,
    s_bias,
    s_on, s_oc, s_oh, s_ow,
    BC: tl.constexpr, BP: tl.constexpr, S: tl.constexpr, HAS_BIAS: tl.constexpr,
    WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """out[n, c, p, q] = bias[c] + sum of x[n, i // D, h, w] * w[i, r, s] over i = c * J + j, r, s.

    Forward, J is 1 and D the channels made of one; for the gradient of the input it is the reverse.
    """
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_rb = tl.cdiv(n_rows, BP)
    o_m = i % n_rb * BP + tl.arange(0, BP)
    o_c = i // n_rb * BC + tl.arange(0, BC)
    i_n = o_m // (n_p * n_q)
    i_p = o_m // n_q % n_p
    i_q = o_m % n_q
    o_h = i_p * stride_h - pad_h
    o_w = i_q * stride_w - pad_w
    o_x = i_n * s_xn + o_h * s_xh + o_w * s_xw
    m_m = o_m < n_rows
    m_c = o_c < n_c
    acc = tl.zeros((BC, BP), dtype=ACC)
    for i_j in range(0, n_j):
        c = o_c * n_j + i_j
        for i_r in range(0, n_r):
            h = o_h + i_r * dil_h
            m_h = (h >= 0) & (h < n_h) & m_m
            q_x = p_x + i_r * dil_h * s_xh + (c // n_d * s_xc)[:, None] + o_x[None, :]
            q_w = p_w + c * s_wc + i_r * s_wr
            for i_s in tl.static_range(S):
                w = o_w + i_s * dil_w
                m_x = (m_h & (w >= 0) & (w < n_w))[None, :] & m_c[:, None]
                b_x = tl.load(q_x + i_s * dil_w * s_xw, mask=m_x, other=0).to(ACC)
                b_w = tl.load(q_w + i_s * s_ws, mask=m_c, other=0).to(ACC)
                acc += b_x * b_w[:, None]
    if HAS_BIAS:
        acc += tl.load(p_bias + o_c * s_bias, mask=m_c, other=0).to(ACC)[:, None]
    q_out = p_out + (o_c * s_oc)[:, None] + (i_n * s_on + i_p * s_oh + i_q * s_ow)[None, :]
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_c[:, None] & m_m[None, :])


@triton.jit
def depthwise_weight_kernel(
    p_g,  # (N, C, P, Q)
    p_x,  # (N, C / D, H, W)
    p_out,  # (C, 1, R, S), or (splits, C, 1, R, S)
    n_rows, n_c, n_h, n_w, n_p, n_q, n_r, n_d, n_split,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    s_gn, s_gc, s_gh, s_gw,
    s_xn, s_xc, s_xh, s_xw,
    s_os, s_oc, s_or, s_ow,
    BC: tl.constexpr, BP: tl.constexpr, S: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """dw[c, r, s] = sum over n, p, q of g[n, c, p, q] * x[n, c // D, h, w]: BC channels of one r,
    over one split of the pixels, a program."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_cb = tl.cdiv(n_c, BC)
    i_r = i // n_cb % n_r
    i_split = i // (n_cb * n_r)
    o_c = i % n_cb * BC + tl.arange(0, BC)
    m_c = o_c < n_c
    q_g = p_g + (o_c * s_gc)[:, None]
    q_x = p_x + i_r * dil_h * s_xh + (o_c // n_d * s_xc)[:, None]
    start = i_split * n_split
    end = min(n_rows, start + n_split)
    # The first S columns hold the sums of the taps: a tile like those that are loaded, so that sums
    # over a row need no exchange between warps.
    o_s = tl.arange(0, BP)
    acc = tl.zeros((BC, BP), dtype=ACC)
    for i_row in range(start, end, BP):
        o_m = i_row + tl.arange(0, BP)
        i_n = o_m // (n_p * n_q)
        i_p = o_m // n_q % n_p
        i_q = o_m % n_q
        m_m = (o_m < end)[None, :] & m_c[:, None]
        o_g = i_n * s_gn + i_p * s_gh + i_q * s_gw
        b_g = tl.load(q_g + o_g[None, :], mask=m_m, other=0).to(ACC)
        h = i_p * stride_h - pad_h
        o_w = i_q * stride_w - pad_w
        o_x = i_n * s_xn + h * s_xh + o_w * s_xw
        h += i_r * dil_h
        for i_s in tl.static_range(S):
            w = o_w + i_s * dil_w
            m_x = m_m & ((h >= 0) & (h < n_h) & (w >= 0) & (w < n_w))[None, :]
            b_x = tl.load(q_x + o_x[None, :] + i_s * dil_w * s_xw, mask=m_x, other=0).to(ACC)
            tap = tl.sum(b_g * b_x, axis=1)
            acc += tl.where(o_s[None, :] == i_s, tap[:, None], 0)
    q_out = p_out + i_split * s_os + i_r * s_or + (o_c * s_oc)[:, None] + (o_s * s_ow)[None, :]
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_c[:, None] & (o_s < S)[None, :])


def _blocks(channels: int, pixels: int, x: Any, elements: int, most: int) -> tuple[int, int]:
    """BC and BP: channels along the threads where they lie behind each other, else pixels."""
    if x.strides[1] == 1 and channels > 1:
        bc = clip(pow2(channels), 1, most)
        return bc, clip(pow2(pixels), 1, elements // bc)
    bp = clip(pow2(pixels), 1, elements)
    return clip(pow2(channels), 1, elements // bp), bp


def forward(
    launch: Any, out: Any, x: Any, weight: Any, bias: Any, stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], transposed: bool = False,
) -> None:  # fmt: skip
    """x (N, C, H, W), weight (C * D, 1, R, S) -> out (N, C * D, P, Q); `transposed`: out and x swap
    their channels, each of `out` sums the D of `x` that were made of it."""
    n, n_c, n_p, n_q = out.shape
    many = max(weight.shape[0] // (n_c if transposed else x.shape[1]), 1)
    n_j, n_d = (many, 1) if transposed else (1, many)
    rows = n * n_p * n_q
    elements = 4 * launch.target.warp_size * 32 // max(x.itemsize, 4)
    bc, bp = _blocks(n_c, rows, x, elements, 64)
    s_k, _, s_r, s_s = weight.strides
    launch(
        depthwise_forward_kernel,
        (cdiv(rows, bp) * cdiv(n_c, bc),),
        [x, weight, out if bias is None else bias, out,
         rows, n_c, *x.shape[2:], n_p, n_q, weight.shape[2], n_j, n_d,
         *stride, *padding, *dilation, *x.strides, s_k, s_r, s_s,
         0 if bias is None else bias.strides[0], *out.strides],
        {"BC": bc, "BP": bp, "S": weight.shape[3], "HAS_BIAS": bias is not None,
         "WIDE": is_wide(x, out), "ACC": accumulator(x.dtype.name)},
        num_warps=4,
    )  # fmt: skip


def weight(
    launch: Any, dw: Any, g: Any, x: Any, stride: tuple[int, int], padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:  # fmt: skip
    """g (N, C * D, P, Q), x (N, C, H, W) -> dw (C * D, 1, R, S), in two passes."""
    n, n_c, n_p, n_q = g.shape
    n_r, n_s = dw.shape[2:]
    rows = n * n_p * n_q
    elements = launch.target.warp_size * 64 // max(x.itemsize, 4)
    bc, bp = _blocks(n_c, rows, x, elements, max(elements // pow2(n_s), 1))
    bp = max(bp, pow2(n_s))  # a column for each tap
    programs = cdiv(n_c, bc) * n_r
    splits = clip(16 * launch.target.sms // max(programs, 1), 1, max(cdiv(rows, 4 * bp), 1))
    n_split = max(cdiv(cdiv(rows, bp), splits), 1) * bp
    splits = max(cdiv(rows, n_split), 1)
    to = dw if splits == 1 else scratch(launch, (splits, *dw.shape), dw.dtype.name)
    s_c, _, s_r, s_s = to.strides[-4:]
    launch(
        depthwise_weight_kernel,
        (programs * splits,),
        [g, x, to, rows, n_c, *x.shape[2:], n_p, n_q, n_r, max(n_c // max(x.shape[1], 1), 1),
         n_split, *stride, *padding, *dilation, *g.strides, *x.strides,
         0 if splits == 1 else to.strides[0], s_c, s_r, s_s],
        {"BC": bc, "BP": bp, "S": n_s, "WIDE": is_wide(g, x, to),
         "ACC": accumulator(x.dtype.name)},
        num_warps=1,
    )  # fmt: skip
    if splits > 1:
        add_splits(launch, dw, to)
