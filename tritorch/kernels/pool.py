"""Two-dimensional pooling over (N, C, H, W) arrays of any strides, and its gradients.

A program covers BLOCK elements of the result, in the order in which they lie in memory, and walks
the window of each. Gradients gather: an element of the input sums the windows that it was part of,
so no two programs write the same place and results are the same from run to run.
"""

from __future__ import annotations

import itertools
from typing import Any

import triton
import triton.language as tl

from ..dtypes import int32, int64
from ._dense import FLOATS, INTS, accumulator, cdiv, clip, is_wide, pow2


@triton.jit
def position(o, n_c, n_h, n_w, CHANNELS_LAST: tl.constexpr):
    """(n, c, h, w) of the o-th element of a (N, C, H, W) array, in the order of its memory."""
    if CHANNELS_LAST:
        return o // n_c // n_w // n_h, o % n_c, o // n_c // n_w % n_h, o // n_c % n_w
    else:
        return o // n_w // n_h // n_c, o // n_w // n_h % n_c, o // n_w % n_h, o % n_w


@triton.jit
def clipped(low, size, padding, n, PADDED: tl.constexpr):
    """The positions that a window from `low` on covers in 0 ... n, and with PADDED in padding."""
    if PADDED:
        return tl.minimum(low + size, n + padding) - low
    else:
        return tl.minimum(low + size, n) - tl.maximum(low, 0)


@triton.jit
def first_of(i, n_in, n_out):
    """The first input position of the i-th of `n_out` adaptive windows over `n_in` positions."""
    return i * n_in // n_out


@triton.jit
def end_of(i, n_in, n_out):
    """The end of that window."""
    return ((i + 1) * n_in + n_out - 1) // n_out


@triton.jit
def max_pool2d_forward_kernel(
    p_x,  # (N, C, H, W)
    p_out,  # (N, C, P, Q)
    p_index,  # (N, C, P, Q) or None
    total, n_c, n_h, n_w, n_p, n_q, n_r, n_s,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    s_xn, s_xc, s_xh, s_xw,
    s_on, s_oc, s_oh, s_ow,
    s_in, s_ic, s_ih, s_iw,
    BLOCK: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """The largest element of each window and its flat index in H * W; the first of equals, and NaN
    above all."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i_n, i_c, i_p, i_q = position(o, n_c, n_p, n_q, CHANNELS_LAST)
    p_x += i_n * s_xn + i_c * s_xc
    o_h = i_p * stride_h - pad_h
    o_w = i_q * stride_w - pad_w
    best = tl.zeros((BLOCK,), dtype=ACC)
    index = tl.full((BLOCK,), -1, dtype=tl.int64 if WIDE else tl.int32)
    for i_r in range(0, n_r):
        h = o_h + i_r * dil_h
        for i_s in range(0, n_s):
            w = o_w + i_s * dil_w
            m_x = m_o & (h >= 0) & (h < n_h) & (w >= 0) & (w < n_w)
            b_x = tl.load(p_x + h * s_xh + w * s_xw, mask=m_x, other=0).to(ACC)
            better = m_x & ((index < 0) | (b_x > best) | (b_x != b_x))
            best = tl.where(better, b_x, best)
            index = tl.where(better, h * n_w + w, index)
    o_out = i_n * s_on + i_c * s_oc + i_p * s_oh + i_q * s_ow
    tl.store(p_out + o_out, best.to(p_out.dtype.element_ty), mask=m_o)
    if p_index is not None:
        o_index = i_n * s_in + i_c * s_ic + i_p * s_ih + i_q * s_iw
        tl.store(p_index + o_index, index.to(p_index.dtype.element_ty), mask=m_o)


@triton.jit
def max_pool2d_backward_kernel(
    p_g,  # (N, C, P, Q)
    p_index,  # (N, C, P, Q)
    p_dx,  # (N, C, H, W)
    total, n_c, n_h, n_w, n_p, n_q, n_r, n_s,
    stride_h, stride_w, pad_h, pad_w,
    s_gn, s_gc, s_gh, s_gw,
    s_in, s_ic, s_ih, s_iw,
    s_xn, s_xc, s_xh, s_xw,
    BLOCK: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """dx[n, c, h, w] = sum of the g of the n_r x n_s windows that may reach it and point at it."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i_n, i_c, i_h, i_w = position(o, n_c, n_h, n_w, CHANNELS_LAST)
    p_g += i_n * s_gn + i_c * s_gc
    p_index += i_n * s_in + i_c * s_ic
    own = i_h * n_w + i_w
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for i_r in range(0, n_r):
        p = (i_h + pad_h) // stride_h - i_r
        for i_s in range(0, n_s):
            q = (i_w + pad_w) // stride_w - i_s
            m_g = m_o & (p >= 0) & (p < n_p) & (q >= 0) & (q < n_q)
            index = tl.load(p_index + p * s_ih + q * s_iw, mask=m_g, other=-1)
            b_g = tl.load(p_g + p * s_gh + q * s_gw, mask=m_g & (index == own), other=0)
            acc += b_g.to(ACC)
    o_dx = i_n * s_xn + i_c * s_xc + i_h * s_xh + i_w * s_xw
    tl.store(p_dx + o_dx, acc.to(p_dx.dtype.element_ty), mask=m_o)


@triton.jit
def avg_pool2d_forward_kernel(
    p_x,  # (N, C, H, W)
    p_out,  # (N, C, P, Q)
    total, n_c, n_h, n_w, n_p, n_q, n_r, n_s,
    stride_h, stride_w, pad_h, pad_w, divisor,
    s_xn, s_xc, s_xh, s_xw,
    s_on, s_oc, s_oh, s_ow,
    BLOCK: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PADDED: tl.constexpr, DIVISOR: tl.constexpr,
):  # fmt: skip
    """out = sum of the window / (divisor with DIVISOR, else the positions that it covers)."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i_n, i_c, i_p, i_q = position(o, n_c, n_p, n_q, CHANNELS_LAST)
    p_x += i_n * s_xn + i_c * s_xc
    o_h = i_p * stride_h - pad_h
    o_w = i_q * stride_w - pad_w
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for i_r in range(0, n_r):
        h = o_h + i_r
        for i_s in range(0, n_s):
            w = o_w + i_s
            m_x = m_o & (h >= 0) & (h < n_h) & (w >= 0) & (w < n_w)
            acc += tl.load(p_x + h * s_xh + w * s_xw, mask=m_x, other=0).to(ACC)
    if DIVISOR:
        acc /= divisor
    else:
        area = clipped(o_h, n_r, pad_h, n_h, PADDED) * clipped(o_w, n_s, pad_w, n_w, PADDED)
        acc /= area.to(ACC)
    o_out = i_n * s_on + i_c * s_oc + i_p * s_oh + i_q * s_ow
    tl.store(p_out + o_out, acc.to(p_out.dtype.element_ty), mask=m_o)


@triton.jit
def avg_pool2d_backward_kernel(
    p_g,  # (N, C, P, Q)
    p_dx,  # (N, C, H, W)
    total, n_c, n_h, n_w, n_p, n_q, n_r, n_s, many_h, many_w,
    stride_h, stride_w, pad_h, pad_w, divisor,
    s_gn, s_gc, s_gh, s_gw,
    s_xn, s_xc, s_xh, s_xw,
    BLOCK: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    PADDED: tl.constexpr, DIVISOR: tl.constexpr,
):  # fmt: skip
    """dx = sum of g / divisor over the windows that cover it, many_h x many_w at most."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i_n, i_c, i_h, i_w = position(o, n_c, n_h, n_w, CHANNELS_LAST)
    p_g += i_n * s_gn + i_c * s_gc
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for i_r in range(0, many_h):
        p = (i_h + pad_h) // stride_h - i_r
        h = p * stride_h - pad_h
        m_h = m_o & (p >= 0) & (p < n_p) & (i_h < h + n_r)
        for i_s in range(0, many_w):
            q = (i_w + pad_w) // stride_w - i_s
            w = q * stride_w - pad_w
            m_g = m_h & (q >= 0) & (q < n_q) & (i_w < w + n_s)
            b_g = tl.load(p_g + p * s_gh + q * s_gw, mask=m_g, other=0).to(ACC)
            if not DIVISOR:
                area = clipped(h, n_r, pad_h, n_h, PADDED) * clipped(w, n_s, pad_w, n_w, PADDED)
                b_g /= tl.where(m_g, area, 1).to(ACC)
            acc += b_g
    if DIVISOR:
        acc /= divisor
    o_dx = i_n * s_xn + i_c * s_xc + i_h * s_xh + i_w * s_xw
    tl.store(p_dx + o_dx, acc.to(p_dx.dtype.element_ty), mask=m_o)


@triton.jit
def adaptive_avg_pool2d_forward_kernel(
    p_x,  # (N, C, H, W)
    p_out,  # (N, C, P, Q)
    total, n_c, n_h, n_w, n_p, n_q, n_r, n_s,
    s_xn, s_xc, s_xh, s_xw,
    s_on, s_oc, s_oh, s_ow,
    BO: tl.constexpr, BT: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Means of the windows first_of ... end_of, n_r x n_s positions at most: BO of them a program,
    BT positions of each at a time."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BO + tl.arange(0, BO)
    m_o = o < total
    i_n, i_c, i_p, i_q = position(o, n_c, n_p, n_q, CHANNELS_LAST)
    h_0 = first_of(i_p, n_h, n_p)
    h_1 = end_of(i_p, n_h, n_p)
    w_0 = first_of(i_q, n_w, n_q)
    w_1 = end_of(i_q, n_w, n_q)
    q_x = p_x + (i_n * s_xn + i_c * s_xc + h_0 * s_xh + w_0 * s_xw)[:, None]
    acc = tl.zeros((BO, BT), dtype=ACC)
    for i_t in range(0, n_r * n_s, BT):
        o_t = i_t + tl.arange(0, BT)
        o_r = o_t // n_s
        o_s = o_t % n_s
        m_t = (o_r[None, :] < (h_1 - h_0)[:, None]) & (o_s[None, :] < (w_1 - w_0)[:, None])
        b_x = tl.load(q_x + (o_r * s_xh + o_s * s_xw)[None, :], mask=m_t & m_o[:, None], other=0)
        acc += b_x.to(ACC)
    b_out = tl.sum(acc, axis=1) / ((h_1 - h_0) * (w_1 - w_0)).to(ACC)
    o_out = i_n * s_on + i_c * s_oc + i_p * s_oh + i_q * s_ow
    tl.store(p_out + o_out, b_out.to(p_out.dtype.element_ty), mask=m_o)


@triton.jit
def adaptive_avg_pool2d_backward_kernel(
    p_g,  # (N, C, P, Q)
    p_dx,  # (N, C, H, W)
    total, n_c, n_h, n_w, n_p, n_q, many_h, many_w,
    s_gn, s_gc, s_gh, s_gw,
    s_xn, s_xc, s_xh, s_xw,
    BLOCK: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """dx = sum of g / (size of the window) over the windows around it, many_h x many_w at most."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i_n, i_c, i_h, i_w = position(o, n_c, n_h, n_w, CHANNELS_LAST)
    p_g += i_n * s_gn + i_c * s_gc
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for i_r in range(0, many_h):
        p = first_of(i_h, n_p, n_h) + i_r
        h_0 = first_of(p, n_h, n_p)
        h_1 = end_of(p, n_h, n_p)
        m_h = m_o & (p < n_p) & (h_0 <= i_h) & (i_h < h_1)
        for i_s in range(0, many_w):
            q = first_of(i_w, n_q, n_w) + i_s
            w_0 = first_of(q, n_w, n_q)
            w_1 = end_of(q, n_w, n_q)
            m_g = m_h & (q < n_q) & (w_0 <= i_w) & (i_w < w_1)
            b_g = tl.load(p_g + p * s_gh + q * s_gw, mask=m_g, other=0).to(ACC)
            acc += b_g / ((h_1 - h_0) * (w_1 - w_0)).to(ACC)
    o_dx = i_n * s_xn + i_c * s_xc + i_h * s_xh + i_w * s_xw
    tl.store(p_dx + o_dx, acc.to(p_dx.dtype.element_ty), mask=m_o)


def _common(out: Any, x: Any, *others: Any) -> dict[str, Any]:
    """The constants that all kernels of this family take, for a result `out`."""
    return {
        "CHANNELS_LAST": out.shape[1] > 1 and out.strides[1] == 1,
        "WIDE": is_wide(out, x, *others) or out.size >= 2**31 - 2**16,
        "ACC": accumulator(x.dtype.name),
    }


def _block(launch: Any, x: Any) -> int:
    """Elements of the result that a program covers: of `x`, a thread loads 16 bytes."""
    return 4 * launch.target.warp_size * 16 // max(x.itemsize, 2)


def max_pool2d(
    launch: Any, out: tuple[Any, Any], x: Any, *, kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
) -> Any:  # fmt: skip
    """x (N, C, H, W) -> (values, int64 indices into H * W), both (N, C, P, Q)."""
    values, indices = out
    return _maxima(launch, values, indices, x, kernel, stride, padding, dilation)


def max_pool2d_values(
    launch: Any, out: Any, x: Any, *, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int],
) -> Any:  # fmt: skip
    """x (N, C, H, W) -> values (N, C, P, Q); where they lie is not written."""
    return _maxima(launch, out, None, x, kernel, stride, padding, dilation)


def _maxima(launch: Any, values: Any, indices: Any, x: Any, *how: tuple[int, int]) -> Any:
    if x.dtype.name not in (*FLOATS, *INTS) or x.dtype.name == "uint64":
        return NotImplemented
    constants = _common(values, x, *([] if indices is None else [indices]))
    # Where channels do not lie behind each other loads are narrow, and offsets take more registers.
    block = _block(launch, x) if constants["CHANNELS_LAST"] else 4 * launch.target.warp_size * 4
    launch(
        max_pool2d_forward_kernel,
        (cdiv(values.size, block),),
        [x, values, indices, values.size, *x.shape[1:], *values.shape[2:], *itertools.chain(*how),
         *x.strides, *values.strides, *([None] * 4 if indices is None else indices.strides)],
        constants | {"BLOCK": block},
    )  # fmt: skip
    return None


def max_pool2d_backward(
    launch: Any, dx: Any, g: Any, indices: Any, *, kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
) -> Any:  # fmt: skip
    """g and indices (N, C, P, Q) -> dx (N, C, H, W)."""
    if g.dtype.name not in FLOATS:
        return NotImplemented
    reach = [d * (k - 1) // s + 1 for k, s, d in zip(kernel, stride, dilation)]
    launch(
        max_pool2d_backward_kernel,
        (cdiv(dx.size, _block(launch, g)),),
        [g, indices, dx, dx.size, *dx.shape[1:], *g.shape[2:], *reach, *stride, *padding,
         *g.strides, *indices.strides, *dx.strides],
        _common(dx, g, indices) | {"BLOCK": _block(launch, g)},
    )  # fmt: skip
    return None


def max_pool2d_values_backward(
    launch: Any, dx: Any, g: Any, x: Any, out: Any, *, kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
) -> Any:  # fmt: skip
    """g (N, C, P, Q) -> dx (N, C, H, W), where the maxima of x lie: they are looked for again."""
    if g.dtype.name not in FLOATS:
        return NotImplemented
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    index = int64 if dx.shape[2] * dx.shape[3] >= 2**31 else int32
    found = launch.empty(g.shape, x.dtype), launch.empty(g.shape, index)
    max_pool2d(launch, found, x, **how)
    return max_pool2d_backward(launch, dx, g, found[1], **how)


def avg_pool2d(
    launch: Any, out: Any, x: Any, *, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], count_include_pad: bool, divisor: int | None,
) -> Any:  # fmt: skip
    """x (N, C, H, W) -> out (N, C, P, Q): sums of windows over `divisor`, or over their size."""
    if x.dtype.name not in FLOATS:
        return NotImplemented
    launch(
        avg_pool2d_forward_kernel,
        (cdiv(out.size, _block(launch, x)),),
        [x, out, out.size, *x.shape[1:], *out.shape[2:], *kernel, *stride, *padding, divisor or 0,
         *x.strides, *out.strides],
        _common(out, x) | {
            "BLOCK": _block(launch, x), "PADDED": count_include_pad, "DIVISOR": divisor is not None,
        },
    )  # fmt: skip
    return None


def avg_pool2d_backward(
    launch: Any, dx: Any, g: Any, *, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], count_include_pad: bool, divisor: int | None,
) -> Any:  # fmt: skip
    """g (N, C, P, Q) -> dx (N, C, H, W)."""
    if g.dtype.name not in FLOATS:
        return NotImplemented
    many = [cdiv(k, s) for k, s in zip(kernel, stride)]
    launch(
        avg_pool2d_backward_kernel,
        (cdiv(dx.size, _block(launch, g)),),
        [g, dx, dx.size, *dx.shape[1:], *g.shape[2:], *kernel, *many, *stride, *padding,
         divisor or 0, *g.strides, *dx.strides],
        _common(dx, g) | {
            "BLOCK": _block(launch, g), "PADDED": count_include_pad, "DIVISOR": divisor is not None,
        },
    )  # fmt: skip
    return None


def _largest_window(n_in: int, n_out: int) -> int:
    """The most positions that an adaptive window over `n_in` positions covers."""
    return n_in // max(n_out, 1) if n_in % max(n_out, 1) == 0 else n_in // n_out + 2


def adaptive_avg_pool2d(launch: Any, out: Any, x: Any) -> Any:
    """x (N, C, H, W) -> out (N, C, P, Q), windows as even as they can be."""
    if x.dtype.name not in FLOATS:
        return NotImplemented
    window = [_largest_window(i, o) for i, o in zip(x.shape[2:], out.shape[2:])]
    bt = clip(pow2(window[0] * window[1]), 1, 256)
    bo = 2048 // bt
    launch(
        adaptive_avg_pool2d_forward_kernel,
        (cdiv(out.size, bo),),
        [x, out, out.size, *x.shape[1:], *out.shape[2:], *window, *x.strides, *out.strides],
        _common(out, x) | {"BO": bo, "BT": bt},
    )
    return None


def adaptive_avg_pool2d_backward(launch: Any, dx: Any, g: Any) -> Any:
    """g (N, C, P, Q) -> dx (N, C, H, W)."""
    if g.dtype.name not in FLOATS:
        return NotImplemented
    many = [_largest_window(o, i) for i, o in zip(dx.shape[2:], g.shape[2:])]
    launch(
        adaptive_avg_pool2d_backward_kernel,
        (cdiv(dx.size, _block(launch, g)),),
        [g, dx, dx.size, *dx.shape[1:], *g.shape[2:], *many, *g.strides, *dx.strides],
        _common(dx, g) | {"BLOCK": _block(launch, g)},
    )
    return None
