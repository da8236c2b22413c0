"""Two-dimensional convolution as an implicit matrix product, and its gradients.

Shapes are logical NCHW with any strides: channels-last memory is the fast one, for its channels lie
behind each other. The forward product has a row for each output pixel, a column for each output
channel, and sums over (r, s, block of input channels); where a group has few channels, over all of
them in one flat index. The gradient of the input is the same product with the weight transposed,
once for each phase of the stride. The gradient of the weight sums over pixels, split over programs,
with a second pass that adds in order.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import triton
import triton.language as tl

from . import depthwise
from ._choice import chosen
from ._dense import (
    FLOATS,
    accumulator,
    cdiv,
    clip,
    dot,
    is_wide,
    multiple,
    multiples,
    pow2,
    scratch,
    swizzle,
)
from ._product import Tiles, first_tiles, splits_of
from .matmul import add_splits, multiply

FLAT_CHANNELS = 16  # groups with fewer channels are summed over in a flat index


@triton.jit
def conv2d_forward_kernel(
    p_x,  # (N, groups * C, H, W)
    p_w,  # (groups, K, C, R, S)
    p_bias,  # (groups * K,); read where HAS_BIAS
    p_out,  # (N, groups * K, P, Q)
    n_rows, n_k, n_c, n_h, n_w, n_p, n_q, n_r, n_s,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    s_xn, s_xc, s_xh, s_xw,
    s_wg, s_wk, s_wc, s_wr, s_ws,
    s_bias,
    s_on, s_oc, s_oh, s_ow,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP_M: tl.constexpr,
    FLAT: tl.constexpr, EVEN_C: tl.constexpr, HAS_BIAS: tl.constexpr, WIDE: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, VEC: tl.constexpr,
    MULTIPLES: tl.constexpr,
):  # fmt: skip
    """out[n, k, p, q] = bias[k] + sum over c, r, s of x[n, c, h, w] * w[k, c, r, s],
    h = p * stride_h - pad_h + r * dil_h; BM of the N * P * Q pixels and BN channels a program."""
    n_c = multiple(n_c, VEC, MULTIPLES, 0)
    s_xn = multiple(s_xn, VEC, MULTIPLES, 1)
    s_xh = multiple(s_xh, VEC, MULTIPLES, 2)
    s_xw = multiple(s_xw, VEC, MULTIPLES, 3)
    s_wg = multiple(s_wg, VEC, MULTIPLES, 4)
    s_wk = multiple(s_wk, VEC, MULTIPLES, 5)
    s_wc = multiple(s_wc, VEC, MULTIPLES, 6)
    s_wr = multiple(s_wr, VEC, MULTIPLES, 7)
    s_ws = multiple(s_ws, VEC, MULTIPLES, 8)
    s_on = multiple(s_on, VEC, MULTIPLES, 9)
    s_oh = multiple(s_oh, VEC, MULTIPLES, 10)
    s_ow = multiple(s_ow, VEC, MULTIPLES, 11)
    n_k = multiple(n_k, VEC, MULTIPLES, 12)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_m = tl.cdiv(n_rows, BM)
    n_n = tl.cdiv(n_k, BN)
    i_m, i_n = swizzle(i % (n_m * n_n), n_m, n_n, GROUP_M)
    i_g = i // (n_m * n_n)
    o_m = i_m * BM + tl.arange(0, BM)
    o_k = i_n * BN + tl.arange(0, BN)
    o_c = tl.arange(0, BK)
    o_h = o_m // n_q % n_p * stride_h - pad_h
    o_w = o_m % n_q * stride_w - pad_w
    o_x = o_m // (n_p * n_q) * s_xn + o_h * s_xh + o_w * s_xw
    m_m = o_m < n_rows
    p_x += i_g * n_c * s_xc
    p_w += i_g * s_wg
    q_w = (o_k % n_k)[None, :] * s_wk
    # Channels are the first dimension of a tile of x: where no stride is known to be 1, the last
    # dimension, here the pixels, is the one that neighbouring threads read.
    acc = tl.zeros((BM, BN), dtype=ACC)
    if FLAT:
        for i_c in range(0, n_c * n_r * n_s, BK):
            o = i_c + o_c
            o_r = o // n_s % n_r
            o_s = o % n_s
            c = o // (n_r * n_s)
            m_c = o < n_c * n_r * n_s
            h = o_h[None, :] + (o_r * dil_h)[:, None]
            w = o_w[None, :] + (o_s * dil_w)[:, None]
            m_x = (h >= 0) & (h < n_h) & (w >= 0) & (w < n_w) & m_m[None, :] & m_c[:, None]
            o_tap = c * s_xc + o_r * dil_h * s_xh + o_s * dil_w * s_xw
            o_wc = c * s_wc + o_r * s_wr + o_s * s_ws
            b_x = tl.load(p_x + o_x[None, :] + o_tap[:, None], mask=m_x, other=0)
            b_w = tl.load(p_w + q_w + o_wc[:, None], mask=m_c[:, None], other=0)
            acc = dot(tl.trans(b_x), b_w, acc, True, PRECISION, UPCAST)
    else:
        n_block = tl.cdiv(n_c, BK)
        q_x = o_x[None, :] + (o_c * s_xc)[:, None]
        q_w += (o_c * s_wc)[:, None]
        for i_step in range(0, n_r * n_s * n_block):
            i_c = i_step % n_block * BK
            i_r = i_step // n_block // n_s
            i_s = i_step // n_block % n_s
            h = o_h + i_r * dil_h
            w = o_w + i_s * dil_w
            m_x = ((h >= 0) & (h < n_h) & (w >= 0) & (w < n_w) & m_m)[None, :]
            p_tap = p_x + (i_c * s_xc + i_r * dil_h * s_xh + i_s * dil_w * s_xw)
            p_wtap = p_w + (i_c * s_wc + i_r * s_wr + i_s * s_ws)
            if EVEN_C:
                b_x = tl.load(p_tap + q_x, mask=m_x, other=0)
                b_w = tl.load(p_wtap + q_w)
            else:
                m_c = (i_c + o_c < n_c)[:, None]
                b_x = tl.load(p_tap + q_x, mask=m_x & m_c, other=0)
                b_w = tl.load(p_wtap + q_w, mask=m_c, other=0)
            acc = dot(tl.trans(b_x), b_w, acc, True, PRECISION, UPCAST)

    m_k = o_k < n_k
    o_k += i_g * n_k
    if HAS_BIAS:
        acc += tl.load(p_bias + o_k * s_bias, mask=m_k, other=0).to(ACC)[None, :]
    o_out = o_m // (n_p * n_q) * s_on + o_m // n_q % n_p * s_oh + o_m % n_q * s_ow
    q_out = p_out + o_out[None, :] + (o_k * s_oc)[:, None]
    b_out = tl.trans(acc.to(p_out.dtype.element_ty))
    tl.store(q_out, b_out, mask=m_m[None, :] & m_k[:, None])


@triton.jit
def conv2d_weight_kernel(
    p_g,  # (N, groups * K, P, Q)
    p_x,  # (N, groups * C, H, W)
    p_out,  # (groups * K, C, R, S), or (splits, groups * K, C, R, S) where splits > 1
    n_rows, n_k, n_c, n_h, n_w, n_p, n_q, n_r, n_s, splits, n_split,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    s_gn, s_gc, s_gh, s_gw,
    s_xn, s_xc, s_xh, s_xw,
    s_os, s_ok, s_oc, s_or, s_ow,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    FLAT: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr, VEC: tl.constexpr, MULTIPLES: tl.constexpr,
):  # fmt: skip
    """dw[k, c, r, s] = sum over n, p, q of g[n, k, p, q] * x[n, c, h, w], h as in the forward
    kernel; BM output and BN input channels of a tap a program, or BN of the flat (c, r, s)."""
    n_k = multiple(n_k, VEC, MULTIPLES, 0)
    n_c = multiple(n_c, VEC, MULTIPLES, 1)
    s_gn = multiple(s_gn, VEC, MULTIPLES, 2)
    s_gh = multiple(s_gh, VEC, MULTIPLES, 3)
    s_gw = multiple(s_gw, VEC, MULTIPLES, 4)
    s_xn = multiple(s_xn, VEC, MULTIPLES, 5)
    s_xh = multiple(s_xh, VEC, MULTIPLES, 6)
    s_xw = multiple(s_xw, VEC, MULTIPLES, 7)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_m = tl.cdiv(n_k, BM)
    n_n = tl.cdiv(n_c * n_r * n_s, BN) if FLAT else tl.cdiv(n_c, BN) * n_r * n_s
    i_m = i % n_m
    i_n = i // n_m % n_n
    i_split = i // (n_m * n_n) % splits
    i_g = i // (n_m * n_n * splits)
    o_k = i_m * BM + tl.arange(0, BM)
    if FLAT:
        o = i_n * BN + tl.arange(0, BN)
        o_c = o // (n_r * n_s)
        o_r = o // n_s % n_r
        o_s = o % n_s
        m_c = o < n_c * n_r * n_s
    else:
        n_block = tl.cdiv(n_c, BN)
        o_c = i_n % n_block * BN + tl.arange(0, BN)
        o_r = i_n // n_block // n_s
        o_s = i_n // n_block % n_s
        m_c = o_c < n_c
    q_g = p_g + ((i_g * n_k + o_k % n_k) * s_gc)[:, None]
    q_x = p_x + i_g * n_c * s_xc + (o_c * s_xc + o_r * dil_h * s_xh + o_s * dil_w * s_xw)[:, None]
    start = i_split * n_split
    end = min(n_rows, start + n_split)
    acc = tl.zeros((BM, BN), dtype=ACC)
    for i_row in range(start, end, BK):
        o_m = i_row + tl.arange(0, BK)
        i_image = o_m // (n_p * n_q)
        i_p = o_m // n_q % n_p
        i_q = o_m % n_q
        m_m = o_m < end
        o_h = i_p * stride_h - pad_h
        o_w = i_q * stride_w - pad_w
        b_g = tl.load(
            q_g + (i_image * s_gn + i_p * s_gh + i_q * s_gw)[None, :], mask=m_m[None, :], other=0
        )
        o_x = i_image * s_xn + o_h * s_xh + o_w * s_xw
        if FLAT:
            h = o_h[None, :] + (o_r * dil_h)[:, None]
            w = o_w[None, :] + (o_s * dil_w)[:, None]
            m_x = (h >= 0) & (h < n_h) & (w >= 0) & (w < n_w) & m_m[None, :] & m_c[:, None]
        else:
            h = o_h + o_r * dil_h
            w = o_w + o_s * dil_w
            m_x = ((h >= 0) & (h < n_h) & (w >= 0) & (w < n_w) & m_m)[None, :] & m_c[:, None]
        b_x = tl.load(q_x + o_x[None, :], mask=m_x, other=0)
        acc = dot(b_g, tl.trans(b_x), acc, True, PRECISION, UPCAST)

    o_out = o_c * s_oc + o_r * s_or + o_s * s_ow
    q_out = p_out + i_split * s_os + ((i_g * n_k + o_k) * s_ok)[:, None] + o_out[None, :]
    m_out = (o_k < n_k)[:, None] & m_c[None, :]
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_out)


class Filter(NamedTuple):
    """A weight seen as (groups, K, C, R, S): sizes, strides, and how its taps lie on the input."""

    array: Any
    shape: tuple[int, int, int, int, int]
    strides: tuple[int, int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _serves(*arrays: Any) -> bool:
    """Whether the kernels of this family serve these arrays: one floating-point dtype."""
    return arrays[0].dtype.name in FLOATS and all(x.dtype is arrays[0].dtype for x in arrays)


def _config(
    target: Any, rows: int, columns: int, batch: int, x: Any, precision: str, aligned: bool
) -> tuple[Tiles, dict]:
    """Blocks and constants: those of a product, with more warps to hold the addresses of rows."""
    dtype = x.dtype.name
    if target.arch == 80:
        columns = min(columns, 128)
    t = first_tiles(rows, columns, batch, dtype, precision, target, aligned)
    if target.arch == 90 and aligned and x.itemsize == 2:
        t = _hopper_tiles(rows, columns, batch, target.sms)
    if target.backend == "cuda" and target.arch != 90 and t.bm * t.bn >= 1 << 13:
        small = target.shared_memory < 160 << 10 and t.bm * t.bn == 1 << 13
        t = t._replace(warps=8, bk=min(t.bk, 32) if small else t.bk)
    kind = f"convolution {dtype} {precision}{'' if aligned else ' unaligned'}"
    t = chosen(target, kind, (rows, columns, batch), t)
    constants = {
        "ACC": accumulator(dtype),
        "PRECISION": precision if dtype == "float32" else "ieee",
        "UPCAST": target.interpreted and dtype.endswith("16"),
        "VEC": 16 // x.itemsize,
    }
    return t, constants


def _hopper_tiles(rows: int, columns: int, batch: int, sms: int) -> Tiles:
    """Blocks for 16-bit floats, the fastest of a search on an H200: two thirds of the
    multiprocessors may do with large blocks, and warps are many where programs are few."""
    bm, bn = clip(pow2(rows), 16, 128), clip(pow2(columns), 16, 128)

    def programs() -> int:
        return cdiv(rows, bm) * cdiv(columns, bn) * batch

    while bn > 64 and 3 * programs() < 2 * sms:
        bn //= 2
    while bm > 64 and 3 * programs() < 2 * sms:
        bm //= 2
    warps = 8 if bm * bn == 1 << 14 and programs() < 2 * sms else 4
    return Tiles(bm, bn, 64, warps, 3)


def _is_aligned(x: Any, channels: int) -> bool:
    """Whether 16-byte loads serve a (N, C, H, W) array: channels behind each other."""
    vec = 16 // x.itemsize
    apart = gcd(channels, x.strides[0], *x.strides[2:])
    return x.ptr % 16 == 0 and x.strides[1] == 1 and apart % vec == 0


def _is_filter_aligned(f: Filter) -> bool:
    """The same of a filter, whose input or output channels may lie behind each other."""
    s_g, s_k, s_c, s_r, s_s = f.strides
    apart = gcd(s_g, s_r, s_s, *((s_k, f.shape[2]) if s_c == 1 else (s_c, f.shape[1])))
    return f.array.ptr % 16 == 0 and 1 in (s_k, s_c) and apart % (16 // f.array.itemsize) == 0


def _correlate(launch: Any, out: Any, x: Any, bias: Any, f: Filter, precision: str) -> None:
    """out = bias + x correlated with the filter; the taps may have any offset and direction."""
    groups, n_k, n_c, n_r, n_s = f.shape
    if _is_pointwise(f, x, out):
        return _pointwise(launch, out, x, bias, f, precision)
    n, _, n_p, n_q = out.shape
    rows = n * n_p * n_q
    flat = n_c < FLAT_CHANNELS and n_r * n_s > 1
    aligned = not flat and _is_aligned(x, n_c) and _is_filter_aligned(f)
    t, constants = _config(launch.target, rows, n_k, groups, x, precision, aligned)
    launch(
        conv2d_forward_kernel,
        (cdiv(rows, t.bm) * cdiv(n_k, t.bn) * groups,),
        [x, f.array, out if bias is None else bias, out,
         rows, n_k, n_c, *x.shape[2:], n_p, n_q, n_r, n_s, *f.stride, *f.padding, *f.dilation,
         *x.strides, *f.strides, 0 if bias is None else bias.strides[0], *out.strides],
        constants | {
            "BM": t.bm, "BN": t.bn, "BK": t.bk, "GROUP_M": 8, "FLAT": flat,
            "EVEN_C": n_c % t.bk == 0, "HAS_BIAS": bias is not None,
            "WIDE": is_wide(x, f.array, out),
            "MULTIPLES": multiples(
                constants["VEC"], n_c, x.strides[0], *x.strides[2:], *f.strides,
                out.strides[0], *out.strides[2:], n_k,
            ),
        },
        num_warps=t.warps,
        num_stages=t.stages,
    )  # fmt: skip


def _is_pointwise(f: Filter, x: Any, out: Any) -> bool:
    """Whether this is a product of matrices: a 1 x 1 filter, and pixels that merge."""
    if x.shape[2:] != out.shape[2:]:
        return False
    merge = all(1 in y.shape[2:] or y.strides[2] == y.shape[3] * y.strides[3] for y in (x, out))
    one = f.shape[0] == 1 and f.shape[3:] == f.stride == (1, 1)
    return merge and one and f.padding == (0, 0)


def _pointwise(launch: Any, out: Any, x: Any, bias: Any, f: Filter, precision: str) -> None:
    """A 1 x 1 convolution as a product of (N, H * W, C) and (C, K)."""
    pixels = []
    for array in (x, out):
        n, c, h, w = array.shape
        s_n, s_c, s_h, s_w = array.strides
        pixels.append(array.strided((n, h * w, c), (s_n, s_h if w == 1 else s_w, s_c)))
    weight = f.array.strided((f.shape[2], f.shape[1]), (f.strides[2], f.strides[1]))
    multiply(launch, pixels[1], pixels[0], weight, bias, 1, 1, precision)


def conv2d(
    launch: Any, out: Any, x: Any, weight: Any, bias: Any = None, *, stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], groups: int, precision: str = "ieee",
) -> Any:  # fmt: skip
    """x (N, groups * C, H, W), weight (groups * K, C, R, S), bias -> out (N, groups * K, P, Q).

    `precision` is the input precision of float32 products: "ieee", "tf32" or "tf32x3".
    """
    if not _serves(x, weight, out):
        return NotImplemented
    if groups > 1 and weight.shape[1] == 1:
        return depthwise.forward(launch, out, x, weight, bias, stride, padding, dilation)
    n_k, n_c, n_r, n_s = weight.shape
    n_k //= groups
    shape = (groups, n_k, n_c, n_r, n_s)
    f = Filter(weight, shape, (n_k * weight.strides[0], *weight.strides), stride, padding, dilation)
    return _correlate(launch, out, x, bias, f, precision)


class Phase(NamedTuple):
    """Along one axis of the input, the positions first, first + stride, ... and the taps they meet.

    The i-th of them is met by g[i - padding + j * dilation] at the tap tap + j * step.
    """

    first: int
    tap: int
    step: int
    padding: int
    dilation: int


@lru_cache(4096)
def phases(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    """The phases of an axis of `size` positions, filtered by `taps` taps."""
    common = gcd(dilation, stride)
    step = stride // common
    found = []
    for first in range(min(stride, size)):
        met = [r for r in range(step) if (first + padding - r * dilation) % stride == 0]
        tap = met[0] if met else taps
        offset = (first + padding - tap * dilation) // stride if met else 0
        found.append(Phase(first, min(tap, taps), step, -offset, -(dilation // common)))
    return found


def conv2d_input(
    launch: Any, dx: Any, g: Any, weight: Any, *, stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], groups: int, precision: str = "ieee",
) -> Any:  # fmt: skip
    """g (N, groups * K, P, Q), weight (groups * K, C, R, S) -> dx (N, groups * C, H, W)."""
    if not _serves(g, weight, dx):
        return NotImplemented
    n_k = weight.shape[0] // groups
    axes = [
        phases(dx.shape[2 + i], weight.shape[2 + i], stride[i], padding[i], dilation[i])
        for i in (0, 1)
    ]
    for a in axes[0]:
        for b in axes[1]:
            to, w = dx, weight
            if stride != (1, 1):
                to = dx[:, :, a.first :: stride[0], b.first :: stride[1]]
                w = weight[:, :, a.tap :: a.step, b.tap :: b.step]
            pads, steps = (a.padding, b.padding), (a.dilation, b.dilation)
            if groups > 1 and w.shape[1] == 1:
                depthwise.forward(launch, to, g, w, None, (1, 1), pads, steps, transposed=True)
                continue
            s_k, s_c, s_r, s_s = w.strides
            shape = (groups, w.shape[1], n_k, *w.shape[2:])
            f = Filter(w, shape, (n_k * s_k, s_c, s_k, s_r, s_s), (1, 1), pads, steps)
            _correlate(launch, to, g, None, f, precision)
    return None


def conv2d_weight(
    launch: Any, dw: Any, g: Any, x: Any, *, stride: tuple[int, int], padding: tuple[int, int],
    dilation: tuple[int, int], groups: int, precision: str = "ieee",
) -> Any:  # fmt: skip
    """g (N, groups * K, P, Q), x (N, groups * C, H, W) -> dw (groups * K, C, R, S)."""
    if not _serves(g, x, dw):
        return NotImplemented
    if groups > 1 and dw.shape[1] == 1:
        return depthwise.weight(launch, dw, g, x, stride, padding, dilation)
    n, _, n_p, n_q = g.shape
    rows = n * n_p * n_q
    _, n_c, n_r, n_s = dw.shape
    n_k = dw.shape[0] // groups
    flat = n_c < FLAT_CHANNELS and n_r * n_s > 1
    columns, taps = (n_c * n_r * n_s, 1) if flat else (n_c, n_r * n_s)
    aligned = _is_aligned(g, n_k) and _is_aligned(x, n_c) and not flat
    # Splits of the pixels fill the GPU, so that the blocks need not shrink to do it.
    sms, most = launch.target.sms, 128 if aligned else 64
    t, constants = _config(
        launch.target, min(n_k, most), min(columns, most), sms, x, precision, aligned
    )
    programs = cdiv(n_k, t.bm) * cdiv(columns, t.bn) * taps * groups
    splits, n_split = splits_of(programs, sms if t.bm * t.bn > 1 << 12 else 2 * sms, rows, t.bk)
    to = dw if splits == 1 else scratch(launch, (splits, *dw.shape), dw.dtype.name)
    launch(
        conv2d_weight_kernel,
        (programs * splits,),
        [g, x, to, rows, n_k, n_c, *x.shape[2:], n_p, n_q, n_r, n_s, splits, n_split,
         *stride, *padding, *dilation, *g.strides, *x.strides,
         0 if splits == 1 else to.strides[0], *to.strides[-4:]],
        constants | {
            "BM": t.bm, "BN": t.bn, "BK": t.bk, "FLAT": flat,
            "WIDE": is_wide(g, x, to),
            "MULTIPLES": multiples(
                constants["VEC"], n_k, n_c, g.strides[0], *g.strides[2:],
                x.strides[0], *x.strides[2:],
            ),
        },
        num_warps=t.warps,
        num_stages=t.stages,
    )  # fmt: skip
    if splits > 1:
        add_splits(launch, dw, to)
    return None
