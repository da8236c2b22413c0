"""Images and volumes read at any points, and the gradients, without atomics.

A program covers BP points and BC channels; a point reads some elements (taps) along each dimension,
with weights. For the gradient of the image the pairs of points and taps are sorted by the element
that they read, so that each element sums its own; the sums are the same from run to run.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ..dtypes import float32, float64, int32, int64
from ._dense import FLOATS, accumulator, cdiv, clip, is_wide, pow2
from ._math import round
from ._segments import sort
from .copy import fill

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
BLOCK_C = {"nearest": 8, "bilinear": 8, "bicubic": 4}  # channels of a block
POINTS = 3  # dimensions of points and of elements that kernels count


@triton.jit
def as_number(n, x):
    """The size `n`, in the dtype of `x` and of its shape."""
    return tl.zeros(x.shape, x.dtype) + n


@triton.jit
def source(c, size, ALIGN: tl.constexpr):
    """From [-1, 1] to the positions of elements."""
    n = as_number(size, c)
    if ALIGN:
        return (c + 1.0) * ((n - 1.0) * 0.5)
    else:
        return ((c + 1.0) * n - 1.0) * 0.5


@triton.jit
def folds(x, size, ALIGN: tl.constexpr):
    """The position from the lower end on, the length to fold, and how often that goes into it."""
    n = as_number(size, x)
    span = n - 1.0 if ALIGN else n
    x = tl.abs(x if ALIGN else x + 0.5)
    return x, span, tl.floor(x / tl.where(span == 0, 1.0, span))


@triton.jit
def is_odd(n):
    return n - 2.0 * tl.floor(n * 0.5) != 0


@triton.jit
def padded(x, size, PADDING: tl.constexpr, ALIGN: tl.constexpr):
    """The position folded back at both ends, or at the nearest end; NaN counts as 0 there."""
    if PADDING == "reflection":
        a, span, n = folds(x, size, ALIGN)
        rest = tl.fma(-n, span, a)
        low = 0.0 if ALIGN else -0.5
        x = tl.where(span == 0, x * 0.0, tl.where(is_odd(n), span - rest, rest) + low)
    if PADDING != "zeros":
        last = as_number(size, x) - 1.0
        x = tl.where(x > 0, x, 0.0)
        x = tl.where(x < last, x, last)
    return x


@triton.jit
def slope(c, size, MODE: tl.constexpr, PADDING: tl.constexpr, ALIGN: tl.constexpr):
    """The derivative of a point's position by its coordinate."""
    n = as_number(size, c)
    r = (n - 1.0) * 0.5 if ALIGN else n * 0.5
    if MODE != "bicubic" and PADDING != "zeros":
        x = source(c, size, ALIGN)
        if PADDING == "reflection":
            _, span, times = folds(x, size, ALIGN)
            low = 0.0 if ALIGN else -0.5
            r = tl.where((x < low) != is_odd(times), -r, r)
            r = tl.where(span == 0, 0.0, r)
            a, span, times = folds(x, size, ALIGN)
            rest = tl.fma(-times, span, a)
            x = tl.where(is_odd(times), span - rest, rest) + low
        r = tl.where((x > 0) & (x < n - 1.0), r, 0.0)
    return r


@triton.jit
def cell(c, size, MODE: tl.constexpr, PADDING: tl.constexpr, ALIGN: tl.constexpr):
    """The element before a point, or the nearest, and the point's place behind it."""
    x = source(c, size, ALIGN)
    if MODE != "bicubic":
        x = padded(x, size, PADDING, ALIGN)
    low = round(x) if MODE == "nearest" else tl.floor(x)
    return low, x - low


@triton.jit
def near(x):
    """The cubic convolution kernel for 0 <= x < 1. Source: Keys, 1981, with a = -0.75."""
    return (1.25 * x - 2.25) * x * x + 1.0


@triton.jit
def far(x):
    """The same for 1 <= x < 2."""
    return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0


@triton.jit
def near_slope(x):
    return (3.75 * x - 4.5) * x


@triton.jit
def far_slope(x):
    return (-2.25 * x + 7.5) * x - 6.0


@triton.jit
def weight(t, k: tl.constexpr, MODE: tl.constexpr):
    """The weight of the k-th tap of a point at `t` behind its cell."""
    if MODE == "nearest":
        r = tl.full(t.shape, 1.0, t.dtype)
    elif MODE == "bilinear":
        r = 1.0 - t if k == 0 else t
    elif k == 0:
        r = far(t + 1.0)
    elif k == 1:
        r = near(t)
    elif k == 2:
        r = near(1.0 - t)
    else:
        r = far(2.0 - t)
    return r


@triton.jit
def weight_slope(t, k: tl.constexpr, MODE: tl.constexpr):
    """Its derivative by `t`."""
    if MODE == "bilinear":
        r = tl.full(t.shape, -1.0 if k == 0 else 1.0, t.dtype)
    elif k == 0:
        r = far_slope(t + 1.0)
    elif k == 1:
        r = near_slope(t)
    elif k == 2:
        r = -near_slope(1.0 - t)
    else:
        r = -far_slope(2.0 - t)
    return r


@triton.jit
def element(low, k: tl.constexpr, size, MODE: tl.constexpr, PADDING: tl.constexpr,
            ALIGN: tl.constexpr):  # fmt: skip
    """The k-th element along a dimension, and whether there is one."""
    at = padded(low + (k - 1), size, PADDING, ALIGN) if MODE == "bicubic" else low + k
    inside = (at >= 0) & (at <= as_number(size, at) - 1.0)
    return tl.where(inside, at, 0.0).to(tl.int32), inside


@triton.jit
def point_of(p, n_2, n_3, s_1, s_2, s_3):
    """The offset of the p-th of (any, n_2, n_3) points."""
    return p // n_3 // n_2 * s_1 + p // n_3 % n_2 * s_2 + p % n_3 * s_3


@triton.jit
def grid_sample_forward_kernel(
    p_x,  # (N, C, D, H, W)
    p_grid,  # (N, P1, P2, P3, dims), the fastest dimension first
    p_out,  # (N, C, P1, P2, P3)
    points, n_c, n_d, n_h, n_w, n_2, n_3,
    s_xn, s_xc, s_xd, s_xh, s_xw,
    s_gn, s_g1, s_g2, s_g3, s_gd,
    s_on, s_oc, s_o1, s_o2, s_o3,
    MODE: tl.constexpr, PADDING: tl.constexpr, ALIGN: tl.constexpr, DEEP: tl.constexpr,
    TAPS: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """out = the sum of the elements around each point, with their weights."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_blocks = tl.cdiv(n_c, BC)
    o_c = i % n_blocks * BC + tl.arange(0, BC)
    i = i // n_blocks
    p = i % tl.cdiv(points, BP) * BP + tl.arange(0, BP)
    i_n = i // tl.cdiv(points, BP)
    m_p = p < points
    m_c = (o_c < n_c)[:, None]
    q_grid = p_grid + i_n * s_gn + point_of(p, n_2, n_3, s_g1, s_g2, s_g3)
    x = tl.load(q_grid, mask=m_p, other=0).to(ACC)
    y = tl.load(q_grid + s_gd, mask=m_p, other=0).to(ACC)
    z = tl.load(q_grid + 2 * s_gd, mask=m_p, other=0).to(ACC) if DEEP else tl.zeros((BP,), ACC)
    x0, t_x = cell(x, n_w, MODE, PADDING, ALIGN)
    y0, t_y = cell(y, n_h, MODE, PADDING, ALIGN)
    z0, t_z = cell(z, n_d, MODE, PADDING, ALIGN)
    q_x = p_x + i_n * s_xn + o_c[:, None] * s_xc
    acc = tl.zeros((BC, BP), ACC)
    for k_z in tl.static_range(TAPS if DEEP else 1):
        for k_y in tl.static_range(TAPS):
            h, m_h = element(y0, k_y, n_h, MODE, PADDING, ALIGN)
            for k_x in tl.static_range(TAPS):
                w, m_w = element(x0, k_x, n_w, MODE, PADDING, ALIGN)
                at = h * s_xh + w * s_xw
                inside = m_p & m_h & m_w
                u = weight(t_y, k_y, MODE) * weight(t_x, k_x, MODE)
                if DEEP:
                    d, m_d = element(z0, k_z, n_d, MODE, PADDING, ALIGN)
                    at += d * s_xd
                    inside = inside & m_d
                    u *= weight(t_z, k_z, MODE)
                tile = tl.load(q_x + at[None, :], mask=m_c & inside[None, :], other=0).to(ACC)
                acc += u[None, :] * tile
    o_out = i_n * s_on + point_of(p, n_2, n_3, s_o1, s_o2, s_o3)
    q_out = p_out + o_c[:, None] * s_oc + o_out[None, :]
    tl.store(q_out, acc.to(p_out.dtype.element_ty), mask=m_c & m_p[None, :])


@triton.jit
def grid_points_backward_kernel(
    p_g,  # (N, C, P1, P2, P3)
    p_x,  # (N, C, D, H, W)
    p_grid,  # (N, P1, P2, P3, dims)
    p_dgrid,  # the same
    points, n_c, n_d, n_h, n_w, n_2, n_3,
    s_on, s_oc, s_o1, s_o2, s_o3,
    s_xn, s_xc, s_xd, s_xh, s_xw,
    s_gn, s_g1, s_g2, s_g3, s_gd,
    s_dn, s_d1, s_d2, s_d3, s_dd,
    MODE: tl.constexpr, PADDING: tl.constexpr, ALIGN: tl.constexpr, DEEP: tl.constexpr,
    TAPS: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """The gradient of the coordinates: the sum over channels of g times the slope of the image."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    p = i % tl.cdiv(points, BP) * BP + tl.arange(0, BP)
    i_n = i // tl.cdiv(points, BP)
    m_p = p < points
    q_grid = p_grid + i_n * s_gn + point_of(p, n_2, n_3, s_g1, s_g2, s_g3)
    x = tl.load(q_grid, mask=m_p, other=0).to(ACC)
    y = tl.load(q_grid + s_gd, mask=m_p, other=0).to(ACC)
    z = tl.load(q_grid + 2 * s_gd, mask=m_p, other=0).to(ACC) if DEEP else tl.zeros((BP,), ACC)
    x0, t_x = cell(x, n_w, MODE, PADDING, ALIGN)
    y0, t_y = cell(y, n_h, MODE, PADDING, ALIGN)
    z0, t_z = cell(z, n_d, MODE, PADDING, ALIGN)
    p_g += i_n * s_on + point_of(p, n_2, n_3, s_o1, s_o2, s_o3)[None, :]
    dx = tl.zeros((BP,), ACC)
    dy = tl.zeros((BP,), ACC)
    dz = tl.zeros((BP,), ACC)
    for c in range(0, n_c, BC):
        o_c = c + tl.arange(0, BC)[:, None]
        m = (o_c < n_c) & m_p[None, :]
        g = tl.load(p_g + o_c * s_oc, mask=m, other=0).to(ACC)
        q_x = p_x + i_n * s_xn + o_c * s_xc
        for k_z in tl.static_range(TAPS if DEEP else 1):
            for k_y in tl.static_range(TAPS):
                h, m_h = element(y0, k_y, n_h, MODE, PADDING, ALIGN)
                for k_x in tl.static_range(TAPS):
                    w, m_w = element(x0, k_x, n_w, MODE, PADDING, ALIGN)
                    at = h * s_xh + w * s_xw
                    inside = m_h & m_w
                    u_x = weight(t_x, k_x, MODE)
                    u_y = weight(t_y, k_y, MODE)
                    v_x = weight_slope(t_x, k_x, MODE) * u_y
                    v_y = weight_slope(t_y, k_y, MODE) * u_x
                    if DEEP:
                        d, m_d = element(z0, k_z, n_d, MODE, PADDING, ALIGN)
                        at += d * s_xd
                        inside = inside & m_d
                        u_z = weight(t_z, k_z, MODE)
                        v_x *= u_z
                        v_y *= u_z
                    tile = tl.load(q_x + at[None, :], mask=m & inside[None, :], other=0).to(ACC)
                    value = tl.sum(tile * g, 0)
                    dx += value * v_x
                    dy += value * v_y
                    if DEEP:
                        dz += value * (weight_slope(t_z, k_z, MODE) * (u_x * u_y))
    q_d = p_dgrid + i_n * s_dn + point_of(p, n_2, n_3, s_d1, s_d2, s_d3)
    dtype = p_dgrid.dtype.element_ty
    tl.store(q_d, (dx * slope(x, n_w, MODE, PADDING, ALIGN)).to(dtype), mask=m_p)
    tl.store(q_d + s_dd, (dy * slope(y, n_h, MODE, PADDING, ALIGN)).to(dtype), mask=m_p)
    if DEEP:
        tl.store(q_d + 2 * s_dd, (dz * slope(z, n_d, MODE, PADDING, ALIGN)).to(dtype), mask=m_p)


@triton.jit
def grid_entries_kernel(
    p_grid,  # (N, P1, P2, P3, dims)
    p_key,  # (N, P1 * P2 * P3, taps of a point)
    p_weight,  # the same
    points, n_n, n_d, n_h, n_w, n_2, n_3,
    s_gn, s_g1, s_g2, s_g3, s_gd,
    MODE: tl.constexpr, PADDING: tl.constexpr, ALIGN: tl.constexpr, DEEP: tl.constexpr,
    TAPS: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Which element of all images each tap reads, their number where none, and its weight."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    p = i % tl.cdiv(points, BP) * BP + tl.arange(0, BP)
    i_n = i // tl.cdiv(points, BP)
    m_p = p < points
    q_grid = p_grid + i_n * s_gn + point_of(p, n_2, n_3, s_g1, s_g2, s_g3)
    x = tl.load(q_grid, mask=m_p, other=0).to(ACC)
    y = tl.load(q_grid + s_gd, mask=m_p, other=0).to(ACC)
    z = tl.load(q_grid + 2 * s_gd, mask=m_p, other=0).to(ACC) if DEEP else tl.zeros((BP,), ACC)
    x0, t_x = cell(x, n_w, MODE, PADDING, ALIGN)
    y0, t_y = cell(y, n_h, MODE, PADDING, ALIGN)
    z0, t_z = cell(z, n_d, MODE, PADDING, ALIGN)
    first = (i_n * points + p) * (TAPS * TAPS * (TAPS if DEEP else 1))
    for k_z in tl.static_range(TAPS if DEEP else 1):
        for k_y in tl.static_range(TAPS):
            h, m_h = element(y0, k_y, n_h, MODE, PADDING, ALIGN)
            for k_x in tl.static_range(TAPS):
                w, m_w = element(x0, k_x, n_w, MODE, PADDING, ALIGN)
                key = i_n * n_d
                inside = m_h & m_w
                u = weight(t_y, k_y, MODE) * weight(t_x, k_x, MODE)
                if DEEP:
                    d, m_d = element(z0, k_z, n_d, MODE, PADDING, ALIGN)
                    key = key + d
                    inside = inside & m_d
                    u *= weight(t_z, k_z, MODE)
                key = (key * n_h + h) * n_w + w
                key = tl.where(inside, key, n_n * n_d * n_h * n_w)
                at = first + (k_z * TAPS + k_y) * TAPS + k_x
                tl.store(p_key + at, key.to(p_key.dtype.element_ty), mask=m_p)
                tl.store(p_weight + at, u.to(p_weight.dtype.element_ty), mask=m_p)


@triton.jit
def lower_bound(p_key, key, n, halvings):
    """How many of `n` sorted keys are smaller than `key`."""
    low = tl.zeros(key.shape, key.dtype)
    high = low + n
    for _ in range(0, halvings):
        middle = (low + high) // 2
        here = low < high
        less = tl.load(p_key + middle, mask=here, other=0).to(key.dtype) < key
        low = tl.where(here & less, middle + 1, low)
        high = tl.where(here & (less == 0), middle, high)
    return low


@triton.jit
def grid_image_backward_kernel(
    p_g,  # (N, C, P1, P2, P3)
    p_key, p_order,  # (n_entries,) sorted
    p_weight,  # (n_entries,) in the order of points
    p_dx,  # (N, C, D, H, W)
    total, n_entries, halvings, points, n_c, n_d, n_h, n_w, n_2, n_3, groups, each,
    s_on, s_oc, s_o1, s_o2, s_o3,
    s_xn, s_xc, s_xd, s_xh, s_xw,
    TAPS: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BC: tl.constexpr, BE: tl.constexpr,
):  # fmt: skip
    """dx = the sum of weighted g over the taps that read the element, `each` channels a program."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    first = i % groups * each
    e = i // groups * BE + tl.arange(0, BE)
    m_e = e < total
    start = lower_bound(p_key, e, n_entries, halvings)
    end = lower_bound(p_key, e + 1, n_entries, halvings)
    longest = tl.max(tl.where(m_e, end - start, 0), 0)
    w = e % n_w
    h = e // n_w % n_h
    d = e // n_w // n_h % n_d
    o_dx = e // n_w // n_h // n_d * s_xn + d * s_xd + h * s_xh + w * s_xw
    for c in range(first, min(first + each, n_c), BC):
        o_c = c + tl.arange(0, BC)[:, None]
        m_c = o_c < min(first + each, n_c)
        acc = tl.zeros((BC, BE), ACC)
        for j in range(0, longest):
            m = m_e & (start + j < end)
            entry = tl.load(p_order + start + j, mask=m, other=0)
            u = tl.load(p_weight + entry, mask=m, other=0.0)
            p = entry // TAPS
            o_g = p // points * s_on + point_of(p % points, n_2, n_3, s_o1, s_o2, s_o3)
            g = tl.load(p_g + o_c * s_oc + o_g[None, :], mask=m_c & m[None, :], other=0).to(ACC)
            acc += u[None, :] * g
        q_dx = p_dx + o_c * s_xc + o_dx[None, :]
        tl.store(q_dx, acc.to(p_dx.dtype.element_ty), mask=m_c & m_e[None, :])


# -- launchers ---------------------------------------------------------------------------------


def _volume(x: Any) -> Any:
    """Images (N, C, H, W) as volumes of depth one."""
    if x.ndim == 5:
        return x
    return x.strided((*x.shape[:2], 1, *x.shape[2:]), (*x.strides[:2], 0, *x.strides[2:]))


def _points(grid: Any) -> Any:
    """(N, H, W, 2) as (N, 1, H, W, 2)."""
    if grid.ndim == 5:
        return grid
    return grid.strided(
        (grid.shape[0], 1, *grid.shape[1:]), (grid.strides[0], 0, *grid.strides[1:])
    )


def _constants(mode: str, padding: str, align: bool, grid: Any, *arrays: Any) -> dict[str, Any]:
    return {
        "MODE": mode,
        "PADDING": padding,
        "ALIGN": align,
        "DEEP": grid.shape[-1] == 3,
        "TAPS": TAPS[mode],
        "WIDE": is_wide(grid, *arrays) or any(a.size >= 2**31 - 2**16 for a in arrays),
        "ACC": accumulator(grid.dtype.name),
    }


def forward(
    launch: Any, out: Any, x: Any, grid: Any, *, mode: str, padding: str, align: bool
) -> Any:
    """x (N, C, *sizes) read at grid (N, *points, dims) -> out (N, C, *points)."""
    if x.dtype.name not in FLOATS or grid.dtype is not x.dtype:
        return NotImplemented
    constants = _constants(mode, padding, align, grid, out, x)
    x, out, grid = _volume(x), _volume(out), _points(grid)
    n, c, *sizes = x.shape
    points = grid.shape[1] * grid.shape[2] * grid.shape[3]
    bc, bp = clip(pow2(c), 1, BLOCK_C[mode]), launch.target.warp_size * 4
    launch(
        grid_sample_forward_kernel,
        (n * cdiv(points, bp) * cdiv(c, bc),),
        [x, grid, out, points, c, *sizes, *grid.shape[2:4], *x.strides, *grid.strides,
         *out.strides],
        constants | {"BC": bc, "BP": bp},
    )  # fmt: skip
    return None


def backward(
    launch: Any, out: tuple[Any, Any], g: Any, x: Any, grid: Any, *,
    mode: str, padding: str, align: bool,
) -> Any:  # fmt: skip
    """The gradients of x (N, C, *sizes) and of grid (N, *points, dims)."""
    dx, dgrid = out
    if g.dtype.name not in FLOATS or not x.dtype is grid.dtype is g.dtype:
        return NotImplemented
    if g.size == 0:
        fill(launch, dx, value=0)
        fill(launch, dgrid, value=0)
        return None
    constants = _constants(mode, padding, align, grid, g, x)
    if mode == "nearest":
        fill(launch, dgrid, value=0)
    else:
        _points_backward(launch, dgrid, g, x, grid, constants)
    _image_backward(launch, dx, g, grid, constants)
    return None


def _points_backward(
    launch: Any, dgrid: Any, g: Any, x: Any, grid: Any, constants: dict[str, Any]
) -> None:
    g, x, grid, dgrid = _volume(g), _volume(x), _points(grid), _points(dgrid)
    points = grid.shape[1] * grid.shape[2] * grid.shape[3]
    # the slopes of sixteen taps take most registers: one channel at a time
    most = 1 if constants["MODE"] == "bicubic" else 4
    bc, bp = clip(pow2(x.shape[1]), 1, most), launch.target.warp_size * 4
    launch(
        grid_points_backward_kernel,
        (x.shape[0] * cdiv(points, bp),),
        [g, x, grid, dgrid, points, *x.shape[1:], *grid.shape[2:4], *g.strides, *x.strides,
         *grid.strides, *dgrid.strides],
        constants | {"BC": bc, "BP": bp},
    )  # fmt: skip


def _image_backward(launch: Any, dx: Any, g: Any, grid: Any, constants: dict[str, Any]) -> None:
    g, dx, grid = _volume(g), _volume(dx), _points(grid)
    n, c, *sizes = dx.shape
    points = grid.shape[1] * grid.shape[2] * grid.shape[3]
    taps = constants["TAPS"] ** grid.shape[-1]
    entries, elements = n * points * taps, n * sizes[0] * sizes[1] * sizes[2]
    wide = constants["WIDE"] or max(entries, elements) >= 2**31 - 2**16
    keys = launch.empty((entries,), int64 if wide else int32)
    weights = launch.empty((entries,), float64 if g.dtype.name == "float64" else float32)
    bp = launch.target.warp_size * 4
    launch(
        grid_entries_kernel,
        (n * cdiv(points, bp),),
        [grid, keys, weights, points, n, *sizes, *grid.shape[2:4], *grid.strides],
        constants | {"WIDE": wide, "BP": bp},
    )
    keys, order = sort(launch, keys, elements)
    bc, be = clip(pow2(c), 1, 8), launch.target.warp_size * 2
    programs = cdiv(elements, be)
    groups = clip(4 * launch.target.sms // programs, 1, cdiv(c, bc))
    each = cdiv(cdiv(c, bc), groups) * bc
    groups = cdiv(c, each)
    launch(
        grid_image_backward_kernel,
        (programs * groups,),
        [g, keys, order, weights, dx, elements, entries, entries.bit_length() + 1, points, c,
         *sizes, *grid.shape[2:4], groups, each, *g.strides, *dx.strides],
        {"TAPS": taps, "WIDE": wide, "ACC": constants["ACC"], "BC": bc, "BE": be},
        num_warps=2,
    )  # fmt: skip
