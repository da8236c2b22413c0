"""Resampling along dimensions, and its transpose: signals, images and volumes of any strides.

A small kernel finds for each place of the result which elements it reads and with which weights,
in float64; elements past an end are those at the end. Few taps are read in all dimensions at once,
many of them one dimension after another. The transpose turns the table: an element then sums the
places that have read it, so no two programs write the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ..dtypes import float32, float64, int32
from ._dense import FLOATS, accumulator, cdiv, clip, is_wide
from .copy import copy

TAPS = {"nearest": 1, "nearest-exact": 1, "linear": 2, "cubic": 4}
RADIUS = {"linear_aa": 1.0, "cubic_aa": 2.0, "lanczos_aa": 3.0}
TABLE_BLOCK = 128
SPATIAL = 3

# sin(pi r) / r for |r| <= 1/2 as a polynomial of r^2
SINE = tl.constexpr(
    tuple((-1.0) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(11))[::-1]
)


@triton.jit
def sinc(x):
    """sin(pi x) / (pi x) for float64 numbers of a few units."""
    whole = tl.floor(x + 0.5)
    r = x - whole
    z = r * r
    y = tl.full(x.shape, 0.0, tl.float64)
    for i in tl.static_range(11):
        y = y * z + SINE[i]
    odd = whole - 2.0 * tl.floor(whole * 0.5)
    y = tl.where(odd != 0, -r * y, r * y)
    return tl.where(x == 0, 1.0, y / (x * 3.141592653589793))


@triton.jit
def cubic_near(x, a):
    """The cubic convolution kernel for 0 <= x < 1. Source: Keys, 1981."""
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0


@triton.jit
def cubic_far(x, a):
    """The same for 1 <= x < 2."""
    return ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a


@triton.jit
def smooth(x, KIND: tl.constexpr):
    """The kernels that widen where an image shrinks."""
    x = tl.abs(x)
    if KIND == "linear_aa":
        y = tl.where(x < 1.0, 1.0 - x, 0.0)
    elif KIND == "cubic_aa":
        y = tl.where(x < 1.0, cubic_near(x, -0.5), tl.where(x < 2.0, cubic_far(x, -0.5), 0.0))
    else:
        y = tl.where(x < 3.0, sinc(x) * sinc(x / 3.0), 0.0)
    return y


@triton.jit
def resample_taps_kernel(
    p_low,  # (n_out,): the first element that each place reads, also before the first one
    p_weight,  # (n_out, taps), not written for the nearest element
    n_in, n_out, taps, scale, step,
    KIND: tl.constexpr, ALIGN: tl.constexpr, RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What each place of the result reads. `scale` and, in float32, `step` are elements a place."""
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = o < n_out
    p_weight += o * taps
    if KIND == "nearest" or KIND == "nearest-exact":
        at = o.to(tl.float32)
        if KIND == "nearest-exact":
            at += 0.5
        low = tl.minimum(tl.floor(at * step).to(tl.int32), n_in - 1)
    elif KIND == "linear" or KIND == "cubic":
        at = o.to(tl.float64) * scale if ALIGN else (o.to(tl.float64) + 0.5) * scale - 0.5
        low = tl.floor(at)
        t = at - low
        low = low.to(tl.int32)
        if KIND == "linear":
            tl.store(p_weight, (1.0 - t).to(p_weight.dtype.element_ty), mask=m)
            tl.store(p_weight + 1, t.to(p_weight.dtype.element_ty), mask=m)
        else:
            low -= 1
            w = cubic_far(t + 1.0, -0.75)
            tl.store(p_weight, w.to(p_weight.dtype.element_ty), mask=m)
            w = cubic_near(t, -0.75)
            tl.store(p_weight + 1, w.to(p_weight.dtype.element_ty), mask=m)
            w = cubic_near(1.0 - t, -0.75)
            tl.store(p_weight + 2, w.to(p_weight.dtype.element_ty), mask=m)
            w = cubic_far(2.0 - t, -0.75)
            tl.store(p_weight + 3, w.to(p_weight.dtype.element_ty), mask=m)
    else:
        centre = (o.to(tl.float64) + 0.5) * scale
        stretch = tl.maximum(tl.zeros_like(centre) + scale, 1.0)
        low = tl.floor(centre - RADIUS * stretch + 0.5).to(tl.int32)
        end = tl.minimum(tl.floor(centre + RADIUS * stretch + 0.5).to(tl.int32), n_in)
        total = tl.zeros((BLOCK,), tl.float64)
        for k in range(0, taps):
            w = smooth(((low + k).to(tl.float64) - centre + 0.5) / stretch, KIND)
            total += tl.where((low + k >= 0) & (low + k < end), w, 0.0)
        total = tl.where(total == 0, 1.0, total)
        for k in range(0, taps):
            w = smooth(((low + k).to(tl.float64) - centre + 0.5) / stretch, KIND) / total
            w = tl.where((low + k >= 0) & (low + k < end), w, 0.0)
            tl.store(p_weight + k, w.to(p_weight.dtype.element_ty), mask=m)
    tl.store(p_low + o, low, mask=m)


@triton.jit
def resample_turn_kernel(
    p_low,  # (n_out,) increasing
    p_weight,  # (n_out, taps) or None
    p_first,  # (n_in,)
    p_turned,  # (n_in, many)
    n_in, n_out, taps, many, halvings,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The first place that reads each element, and the weights with which it and those behind it
    do."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n_in
    first = tl.zeros((BLOCK,), tl.int32)
    end = tl.zeros((BLOCK,), tl.int32) + n_out
    for _ in range(0, halvings):
        middle = (first + end) // 2
        low = tl.load(p_low + middle, mask=first < end, other=0)
        reads = low + taps - 1 >= i
        here = (first < end) & reads
        first = tl.where((first < end) & (low + taps - 1 < i), middle + 1, first)
        end = tl.where(here, middle, end)
    tl.store(p_first + i, first, mask=m)
    for j in range(0, many):
        o = first + j
        inside = m & (o < n_out)
        low = tl.load(p_low + o, mask=inside, other=0)
        total = tl.zeros((BLOCK,), p_turned.dtype.element_ty)
        for k in range(0, taps):
            same = inside & (tl.minimum(tl.maximum(low + k, 0), n_in - 1) == i)
            if p_weight is None:
                total += tl.where(same, 1.0, 0.0).to(total.dtype)
            else:
                total += tl.load(p_weight + o * taps + k, mask=same, other=0.0)
        tl.store(p_turned + i * many + j, total, mask=m)


@triton.jit
def place(o, n_c, n_d, n_h, n_w, CHANNELS_LAST: tl.constexpr):
    """(n, c, d, h, w) of the o-th element of an array, in the order of its memory."""
    if CHANNELS_LAST:
        c = o % n_c
        o = o // n_c
        w = o % n_w
        o = o // n_w
        h = o % n_h
        o = o // n_h
        return o // n_d, c, o % n_d, h, w
    else:
        w = o % n_w
        o = o // n_w
        h = o % n_h
        o = o // n_h
        d = o % n_d
        o = o // n_d
        return o // n_c, o % n_c, d, h, w


@triton.jit
def tap(p_low, p_weight, i, k, n_in, m, ACTIVE: tl.constexpr, TAPS: tl.constexpr,
        ACC: tl.constexpr):  # fmt: skip
    """The k-th element that place `i` of a dimension reads, and its weight."""
    weight = tl.full(i.shape, 1.0, ACC)
    at = i
    if ACTIVE:
        at = tl.load(p_low + i, mask=m, other=0) + k
        at = tl.minimum(tl.maximum(at, 0), n_in - 1)
        if TAPS > 1:
            weight = tl.load(p_weight + i * TAPS + k, mask=m, other=0.0)
    return at, weight


@triton.jit
def resample_forward_kernel(
    p_x,  # (N, C, *three sizes)
    p_out,  # (N, C, D, H, W)
    p_low_d, p_weight_d, p_low_h, p_weight_h, p_low_w, p_weight_w,  # tables, None where not ACTIVE
    total, n_c, n_d, n_h, n_w, m_d, m_h, m_w,
    s_xn, s_xc, s_xd, s_xh, s_xw,
    s_on, s_oc, s_od, s_oh, s_ow,
    TAPS: tl.constexpr, DEEP: tl.constexpr, HIGH: tl.constexpr, WIDTH: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = the sum of TAPS weighted elements along each dimension that is resampled."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < total
    i_n, i_c, i_d, i_h, i_w = place(o, n_c, n_d, n_h, n_w, CHANNELS_LAST)
    p_x += i_n * s_xn + i_c * s_xc
    o_out = i_n * s_on + i_c * s_oc + i_d * s_od + i_h * s_oh + i_w * s_ow
    if TAPS == 1:  # copies, also of integers
        d, _ = tap(p_low_d, p_weight_d, i_d, 0, m_d, m, DEEP, 1, tl.float32)
        h, _ = tap(p_low_h, p_weight_h, i_h, 0, m_h, m, HIGH, 1, tl.float32)
        w, _ = tap(p_low_w, p_weight_w, i_w, 0, m_w, m, WIDTH, 1, tl.float32)
        x = tl.load(p_x + d * s_xd + h * s_xh + w * s_xw, mask=m, other=0)
        tl.store(p_out + o_out, x, mask=m)
    else:
        acc = tl.zeros((BLOCK,), ACC)
        for k_d in tl.static_range(TAPS if DEEP else 1):
            d, u_d = tap(p_low_d, p_weight_d, i_d, k_d, m_d, m, DEEP, TAPS, ACC)
            for k_h in tl.static_range(TAPS if HIGH else 1):
                h, u_h = tap(p_low_h, p_weight_h, i_h, k_h, m_h, m, HIGH, TAPS, ACC)
                for k_w in tl.static_range(TAPS if WIDTH else 1):
                    w, u_w = tap(p_low_w, p_weight_w, i_w, k_w, m_w, m, WIDTH, TAPS, ACC)
                    u = u_d * u_h * u_w
                    # what has no weight is not read: it may be infinite
                    at = d * s_xd + h * s_xh + w * s_xw
                    acc += u * tl.load(p_x + at, mask=m & (u != 0), other=0).to(ACC)
        tl.store(p_out + o_out, acc.to(p_out.dtype.element_ty), mask=m)


@triton.jit
def resample_pass_kernel(
    p_x,  # (N, C, *three sizes)
    p_out,  # (N, C, D, H, W)
    p_low,  # (n,): n is D, H or W
    p_weight,  # (n, taps)
    total, n_c, n_d, n_h, n_w, n_in, taps,
    s_xn, s_xc, s_xd, s_xh, s_xw,
    s_on, s_oc, s_od, s_oh, s_ow,
    AXIS: tl.constexpr, CHANNELS_LAST: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """out = the sum of weighted elements along one of three dimensions, any number of them."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < total
    i_n, i_c, i_d, i_h, i_w = place(o, n_c, n_d, n_h, n_w, CHANNELS_LAST)
    o_x = i_n * s_xn + i_c * s_xc
    if AXIS == 0:
        here = i_d
        step = s_xd
        o_x += i_h * s_xh + i_w * s_xw
    elif AXIS == 1:
        here = i_h
        step = s_xh
        o_x += i_d * s_xd + i_w * s_xw
    else:
        here = i_w
        step = s_xw
        o_x += i_d * s_xd + i_h * s_xh
    low = tl.load(p_low + here, mask=m, other=0)
    acc = tl.zeros((BLOCK,), ACC)
    for k in range(0, taps):
        u = tl.load(p_weight + here * taps + k, mask=m, other=0.0)
        at = tl.minimum(tl.maximum(low + k, 0), n_in - 1)
        acc += u * tl.load(p_x + o_x + at * step, mask=m & (u != 0), other=0).to(ACC)
    o_out = i_n * s_on + i_c * s_oc + i_d * s_od + i_h * s_oh + i_w * s_ow
    tl.store(p_out + o_out, acc.to(p_out.dtype.element_ty), mask=m)


# -- launchers ---------------------------------------------------------------------------------


class Table(NamedTuple):
    """For each place of a dimension the first element that it reads, and the weights of `taps`."""

    low: Any
    weight: Any
    taps: int


def _scale(axis: Any) -> float:
    """Elements of the source for one of the result."""
    if axis.align:
        return (axis.source - 1) / (axis.size - 1) if axis.size > 1 else 0.0
    return 1 / axis.factor if axis.factor > 0 else axis.source / max(axis.size, 1)


def _is_same(axis: Any) -> bool:
    """Whether the elements of this dimension stay what they are."""
    plain = axis.align or axis.factor in (0, 1) or axis.kind == "nearest"
    return axis.source == axis.size and plain


def _table(launch: Any, axis: Any, wide: bool) -> Table:
    scale = _scale(axis)
    radius = RADIUS.get(axis.kind, 0.0)
    taps = TAPS.get(axis.kind) or math.ceil(2 * radius * max(scale, 1.0)) + 1
    if axis.kind == "nearest" and axis.size == 2 * axis.source:
        scale = 0.5  # whatever factor was given
    low, weight = launch.empty((axis.size,), int32), None
    if taps > 1:
        weight = launch.empty((axis.size, taps), float64 if wide else float32)
    launch(
        resample_taps_kernel,
        (cdiv(axis.size, TABLE_BLOCK),),
        [low, low if weight is None else weight, axis.source, axis.size, taps, np.float64(scale),
         float(np.float32(scale))],
        {"KIND": axis.kind, "ALIGN": bool(axis.align), "RADIUS": radius, "BLOCK": TABLE_BLOCK},
    )  # fmt: skip
    return Table(low, weight, taps)


def _turned(launch: Any, axis: Any, wide: bool) -> Table:
    """The table of the transpose: what reads each element of the source."""
    table, scale = _table(launch, axis, wide), _scale(axis)
    # places lie `scale` apart, and those that read an element within `taps` of each other
    many = math.ceil(table.taps / scale) + 1 if scale > 0 else axis.size
    many = clip(many, 1, axis.size)
    first = launch.empty((axis.source,), int32)
    weight = launch.empty((axis.source, many), float64 if wide else float32)
    launch(
        resample_turn_kernel,
        (cdiv(axis.source, TABLE_BLOCK),),
        [table.low, table.weight, first, weight, axis.source, axis.size, table.taps, many,
         axis.size.bit_length() + 1],
        {"BLOCK": TABLE_BLOCK},
    )  # fmt: skip
    return Table(first, weight, many)


def _volume(x: Any, spatial: int) -> Any:
    """`x` (..., *sizes) as (N, C, D, H, W)."""
    lead = x.ndim - spatial
    shape, strides = x.shape, x.strides
    ones = SPATIAL - spatial
    return x.strided(
        (*(1,) * (2 - lead), *shape[:lead], *(1,) * ones, *shape[lead:]),
        (*(0,) * (2 - lead), *strides[:lead], *(0,) * ones, *strides[lead:]),
    )


def forward(launch: Any, out: Any, x: Any, *, axes: Sequence[Any]) -> Any:
    """x (N, C, *sources) -> out (N, C, *sizes); each axis has source, size, kind, align, factor."""
    nearest = all(TAPS.get(a.kind) == 1 for a in axes)
    if not _serves(x, axes, nearest):
        return NotImplemented
    active = [i for i, a in enumerate(axes) if not _is_same(a)]
    if not active:
        return copy(launch, out, x)
    kinds = {axes[i].kind for i in active}
    if kinds <= RADIUS.keys():
        return _passes(launch, out, x, axes, turned=False)
    if len(kinds) > 1:
        return NotImplemented
    wide = x.dtype.name == "float64"
    tables: list = [None, None] * (SPATIAL - len(axes))
    for i, axis in enumerate(axes):
        t = _table(launch, axis, wide) if i in active else None
        tables += [None, None] if t is None else [t.low, t.weight]
    _direct(launch, _volume(out, len(axes)), _volume(x, len(axes)), tables, TAPS[kinds.pop()])
    return None


def _serves(x: Any, axes: Sequence[Any], nearest: bool = False) -> bool:
    names = (*FLOATS, "uint8") if nearest else FLOATS
    known = all(a.kind in TAPS or a.kind in RADIUS for a in axes)
    return known and len(axes) <= SPATIAL and x.ndim - len(axes) <= 2 and x.dtype.name in names


def _direct(launch: Any, out: Any, x: Any, tables: list, taps: int) -> None:
    block = launch.target.warp_size * 4 * (2 if taps == 4 else 4)
    deep, high, width = (t is not None for t in tables[::2])
    launch(
        resample_forward_kernel,
        (cdiv(out.size, block),),
        [x, out, *tables, out.size, *out.shape[1:], *x.shape[2:], *x.strides, *out.strides],
        _common(out, x) | {
            "TAPS": taps, "DEEP": deep, "HIGH": high, "WIDTH": width, "BLOCK": block,
        },
    )  # fmt: skip


def _common(out: Any, x: Any) -> dict[str, Any]:
    return {
        "CHANNELS_LAST": out.shape[1] > 1 and out.strides[1] == 1,
        "WIDE": is_wide(out, x) or out.size >= 2**31 - 2**16,
        "ACC": accumulator("float32" if x.dtype.name == "uint8" else x.dtype.name),
    }


def backward(launch: Any, dx: Any, g: Any, *, axes: Sequence[Any]) -> Any:
    """The transpose of `forward`: g (N, C, *sizes) -> dx (N, C, *sources)."""
    if not _serves(g, axes):
        return NotImplemented
    return _passes(launch, dx, g, axes, turned=True)


def _passes(launch: Any, out: Any, x: Any, axes: Sequence[Any], turned: bool) -> Any:
    """One dimension after another, those that shrink most first; sums in between are not rounded
    to 16 bits."""
    active = [i for i, a in enumerate(axes) if not _is_same(a)]
    if not active:
        return copy(launch, out, x)
    target, x, wide = _volume(out, len(axes)), _volume(x, len(axes)), x.dtype.name == "float64"
    ends = [a.source if turned else a.size for a in axes]
    first = SPATIAL - len(axes)
    active.sort(key=lambda i: (ends[i] / max(x.shape[2 + first + i], 1), -i))
    for i in active:
        table = (_turned if turned else _table)(launch, axes[i], wide)
        shape = [*x.shape]
        shape[2 + first + i] = ends[i]
        to = target if i == active[-1] else launch.empty(shape, float64 if wide else float32)
        _pass(launch, to, x, table, first + i)
        x = to
    return None


def _pass(launch: Any, out: Any, x: Any, table: Table, axis: int) -> None:
    block = launch.target.warp_size * 4 * 4
    weight = table.weight
    launch(
        resample_pass_kernel,
        (cdiv(out.size, block),),
        [x, out, table.low, weight, out.size, *out.shape[1:], x.shape[2 + axis], table.taps,
         *x.strides, *out.strides],
        _common(out, x) | {"AXIS": axis, "BLOCK": block},
    )  # fmt: skip
