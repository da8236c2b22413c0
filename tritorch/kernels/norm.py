"""Layer and RMS normalisation and their gradients; those of channels are in `channel_norm`.

Statistics are in float32 (float64 for float64). Rows stay in registers where they fit, longer ones
are walked in strips. The backward pass runs on a grid of about the number of multiprocessors, whose
programs each leave a partial gradient of weight and bias; a reduction adds these up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ..dtypes import DType
from . import _math as math_
from ._index import (
    IN_REGISTERS,
    MAX_GROUPS,
    both,
    computed,
    convert,
    group,
    is_float,
    is_wide,
    of_cols,
    of_rows,
    offset,
    row_blocks,
    run,
    spread,
)
from .channel_norm import (
    batch_norm_backward as batch_norm_backward,
    batch_norm_forward as batch_norm_forward,
    group_norm_backward as group_norm_backward,
    group_norm_forward as group_norm_forward,
)
from .reduce import Operation, fold_parts

# -- device ------------------------------------------------------------------------------------


@triton.jit
def affine(p, o_n, m_n, other, ACC: tl.constexpr, OUTER: tl.constexpr):
    """A weight or bias over the columns, `other` where there is none."""
    if p is None:
        return other
    else:
        return of_cols(tl.load(p + o_n, mask=m_n, other=0.0).to(ACC), OUTER)


@triton.jit
def statistic(p, o_m, m_m, ACC: tl.constexpr, OUTER: tl.constexpr):
    """A value a row, 0 where there is none."""
    if p is None:
        return 0.0
    else:
        return of_rows(tl.load(p + o_m, mask=m_m, other=0.0).to(ACC), OUTER)


# fmt: off
@triton.jit
def layer_norm_forward_kernel(
    p_x, p_out,  # (M, N), each of up to four strided dimensions
    p_weight, p_bias,  # (N), strided as the columns are, or None
    p_mean, p_rstd,  # (M); without CENTRE there is no mean
    m, n, eps,
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3, k_y0, k_y1, k_y2, k_y3,
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3, r_y0, r_y1, r_y2, r_y3,
    w0, w1, w2, w3, b0, b1, b2, b3,
    CENTRE: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    OUTER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    if WIDE:
        i_m = i_m.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = tl.arange(0, BLOCK_N)
    m_m = o_m < m
    m_n = o_n < n
    inside = both(m_m, m_n, OUTER)
    axis: tl.constexpr = 0 if OUTER else 1

    row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    col = offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD)
    x = tl.load(p_x + spread(row, col, OUTER), mask=inside, other=0.0).to(ACC)
    size = tl.full((1,), n, ACC)
    if CENTRE:
        mean = tl.sum(x, axis) / size
        tl.store(p_mean + o_m, convert(mean, p_mean.dtype.element_ty), mask=m_m)
        d = tl.where(inside, x - of_rows(mean, OUTER), 0.0)
    else:
        d = x
    rstd = 1.0 / math_.sqrt(tl.sum(d * d, axis) / size + eps)
    w = affine(p_weight, offset(o_n, r1, r2, r3, w0, w1, w2, w3, RD), m_n, 1.0, ACC, OUTER)
    b = affine(p_bias, offset(o_n, r1, r2, r3, b0, b1, b2, b3, RD), m_n, 0.0, ACC, OUTER)
    y = d * of_rows(rstd, OUTER) * w + b
    row = offset(o_m, k1, k2, k3, k_y0, k_y1, k_y2, k_y3, KD)
    col = offset(o_n, r1, r2, r3, r_y0, r_y1, r_y2, r_y3, RD)
    tl.store(p_out + spread(row, col, OUTER), convert(y, p_out.dtype.element_ty), mask=inside)
    tl.store(p_rstd + o_m, convert(rstd, p_rstd.dtype.element_ty), mask=m_m)


@triton.jit
def layer_norm_forward_loop_kernel(
    p_x, p_out,  # (M, N), each of up to four strided dimensions
    p_weight, p_bias,  # (N), strided as the columns are, or None
    p_mean, p_rstd,  # (M); without CENTRE there is no mean
    m, n, eps,
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3, k_y0, k_y1, k_y2, k_y3,
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3, r_y0, r_y1, r_y2, r_y3,
    w0, w1, w2, w3, b0, b1, b2, b3,
    CENTRE: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    OUTER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_m = i_m.to(tl.int64)
        cols = cols.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    axis: tl.constexpr = 0 if OUTER else 1
    x_row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    y_row = offset(o_m, k1, k2, k3, k_y0, k_y1, k_y2, k_y3, KD)

    # Welford's recurrence in every lane, then Chan's formula over the lanes.
    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    lane_mean = tl.zeros(shape, ACC)
    lane_square = tl.zeros(shape, ACC)
    count = tl.zeros((1,), ACC)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < n, OUTER)
        o = spread(x_row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        if CENTRE:
            count += 1
            d = tl.where(inside, x - lane_mean, 0.0)
            lane_mean += d * (1.0 / count)[:, None]
            lane_square += d * (x - lane_mean)
        else:
            lane_square += x * x
    size = tl.full((1,), n, ACC)
    if CENTRE:
        weight = of_cols(((n - cols + (BLOCK_N - 1)) // BLOCK_N).to(ACC), OUTER)
        mean = tl.sum(lane_mean * weight, axis) / size
        tl.store(p_mean + o_m, convert(mean, p_mean.dtype.element_ty), mask=m_m)
        d = lane_mean - of_rows(mean, OUTER)
        lane_square += weight * d * d
    else:
        mean = tl.zeros((BLOCK_M,), ACC)
    rstd = 1.0 / math_.sqrt(tl.sum(lane_square, axis) / size + eps)
    tl.store(p_rstd + o_m, convert(rstd, p_rstd.dtype.element_ty), mask=m_m)

    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        m_n = o_n < n
        inside = both(m_m, m_n, OUTER)
        o = spread(x_row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        w = affine(p_weight, offset(o_n, r1, r2, r3, w0, w1, w2, w3, RD), m_n, 1.0, ACC, OUTER)
        b = affine(p_bias, offset(o_n, r1, r2, r3, b0, b1, b2, b3, RD), m_n, 0.0, ACC, OUTER)
        y = (x - of_rows(mean, OUTER)) * of_rows(rstd, OUTER) * w + b
        o = spread(y_row, offset(o_n, r1, r2, r3, r_y0, r_y1, r_y2, r_y3, RD), OUTER)
        tl.store(p_out + o, convert(y, p_out.dtype.element_ty), mask=inside)


@triton.jit
def layer_norm_backward_kernel(
    p_g, p_x, p_dx,  # (M, N), each of up to four strided dimensions
    p_weight,  # (N), strided as the columns are, or None
    p_mean, p_rstd,  # (M); without CENTRE there is no mean
    p_dw, p_db,  # (programs, N) or None: the part of each program
    m, n,
    k1, k2, k3, k_g0, k_g1, k_g2, k_g3, k_x0, k_x1, k_x2, k_x3, k_d0, k_d1, k_d2, k_d3,
    r1, r2, r3, r_g0, r_g1, r_g2, r_g3, r_x0, r_x1, r_x2, r_x3, r_d0, r_d1, r_d2, r_d3,
    w0, w1, w2, w3,
    CENTRE: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    OUTER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i = tl.program_id(0)
    rows = tl.arange(0, BLOCK_M)
    if WIDE:
        i = i.to(tl.int64)
        rows = rows.to(tl.int64)
    o_n = tl.arange(0, BLOCK_N)
    m_n = o_n < n
    axis: tl.constexpr = 0 if OUTER else 1
    g_col = offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD)
    x_col = offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD)
    d_col = offset(o_n, r1, r2, r3, r_d0, r_d1, r_d2, r_d3, RD)
    w = affine(p_weight, offset(o_n, r1, r2, r3, w0, w1, w2, w3, RD), m_n, 1.0, ACC, OUTER)
    size = tl.full((1,), n, ACC)

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    dw = tl.zeros(shape, ACC)
    db = tl.zeros(shape, ACC)
    for start in range(i * BLOCK_M, m, tl.num_programs(0) * BLOCK_M):
        o_m = start + rows
        m_m = o_m < m
        inside = both(m_m, m_n, OUTER)
        o = spread(offset(o_m, k1, k2, k3, k_g0, k_g1, k_g2, k_g3, KD), g_col, OUTER)
        g = tl.load(p_g + o, mask=inside, other=0.0).to(ACC)
        o = spread(offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD), x_col, OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        mean = statistic(p_mean, o_m, m_m, ACC, OUTER)
        rstd = statistic(p_rstd, o_m, m_m, ACC, OUTER)
        x = tl.where(inside, (x - mean) * rstd, 0.0)
        dw += g * x
        db += g
        g = g * w
        c1 = of_rows(tl.sum(g * x, axis) / size, OUTER)
        if CENTRE:
            g -= of_rows(tl.sum(g, axis) / size, OUTER)
        dx = rstd * (g - x * c1)
        o = spread(offset(o_m, k1, k2, k3, k_d0, k_d1, k_d2, k_d3, KD), d_col, OUTER)
        tl.store(p_dx + o, convert(dx, p_dx.dtype.element_ty), mask=inside)
    if p_dw is not None:
        tl.store(p_dw + (i * n + o_n), tl.sum(dw, 1 - axis), mask=m_n)
    if p_db is not None:
        tl.store(p_db + (i * n + o_n), tl.sum(db, 1 - axis), mask=m_n)


@triton.jit
def layer_norm_backward_loop_kernel(
    p_g, p_x, p_dx,  # (M, N), each of up to four strided dimensions
    p_weight,  # (N), strided as the columns are, or None
    p_mean, p_rstd,  # (M); without CENTRE there is no mean
    m, n,
    k1, k2, k3, k_g0, k_g1, k_g2, k_g3, k_x0, k_x1, k_x2, k_x3, k_d0, k_d1, k_d2, k_d3,
    r1, r2, r3, r_g0, r_g1, r_g2, r_g3, r_x0, r_x1, r_x2, r_x3, r_d0, r_d1, r_d2, r_d3,
    w0, w1, w2, w3,
    CENTRE: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    OUTER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_m = i_m.to(tl.int64)
        cols = cols.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    axis: tl.constexpr = 0 if OUTER else 1
    g_row = offset(o_m, k1, k2, k3, k_g0, k_g1, k_g2, k_g3, KD)
    x_row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    d_row = offset(o_m, k1, k2, k3, k_d0, k_d1, k_d2, k_d3, KD)
    mean = statistic(p_mean, o_m, m_m, ACC, OUTER)
    rstd = statistic(p_rstd, o_m, m_m, ACC, OUTER)

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    c1 = tl.zeros(shape, ACC)
    c2 = tl.zeros(shape, ACC)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        m_n = o_n < n
        inside = both(m_m, m_n, OUTER)
        o = spread(g_row, offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD), OUTER)
        g = tl.load(p_g + o, mask=inside, other=0.0).to(ACC)
        o = spread(x_row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        g *= affine(p_weight, offset(o_n, r1, r2, r3, w0, w1, w2, w3, RD), m_n, 1.0, ACC, OUTER)
        c1 += g * ((x - mean) * rstd)
        c2 += g
    size = tl.full((1,), n, ACC)
    row_c1 = of_rows(tl.sum(c1, axis) / size, OUTER)
    row_c2 = of_rows(tl.sum(c2, axis) / size, OUTER) if CENTRE else 0.0
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        m_n = o_n < n
        inside = both(m_m, m_n, OUTER)
        o = spread(g_row, offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD), OUTER)
        g = tl.load(p_g + o, mask=inside, other=0.0).to(ACC)
        o = spread(x_row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        g *= affine(p_weight, offset(o_n, r1, r2, r3, w0, w1, w2, w3, RD), m_n, 1.0, ACC, OUTER)
        dx = rstd * (g - row_c2 - (x - mean) * rstd * row_c1)
        o = spread(d_row, offset(o_n, r1, r2, r3, r_d0, r_d1, r_d2, r_d3, RD), OUTER)
        tl.store(p_dx + o, convert(dx, p_dx.dtype.element_ty), mask=inside)


@triton.jit
def layer_norm_affine_kernel(
    p_g, p_x,  # (M, N), each of up to four strided dimensions
    p_mean, p_rstd,  # (M); without CENTRE there is no mean
    p_dw, p_db,  # (parts, N) or None
    m, n, chunk,
    k1, k2, k3, k_g0, k_g1, k_g2, k_g3, k_x0, k_x1, k_x2, k_x3,
    r1, r2, r3, r_g0, r_g1, r_g2, r_g3, r_x0, r_x1, r_x2, r_x3,
    ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    """Gradients of weight and bias where rows do not fit in registers: columns, over parts of M."""
    i_part = tl.program_id(1)
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    rows = tl.arange(0, BLOCK_M)
    if WIDE:
        i_part = i_part.to(tl.int64)
        o_n = o_n.to(tl.int64)
        rows = rows.to(tl.int64)
    m_n = o_n < n
    g_col = offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD)
    x_col = offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD)
    dw = tl.zeros((BLOCK_M, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_M, BLOCK_N), ACC)
    lo = i_part * chunk
    hi = tl.minimum(lo + chunk, m)
    for start in range(lo, hi, BLOCK_M):
        o_m = start + rows
        m_m = o_m < hi
        inside = m_m[:, None] & m_n[None, :]
        row = offset(o_m, k1, k2, k3, k_g0, k_g1, k_g2, k_g3, KD)
        g = tl.load(p_g + (row[:, None] + g_col[None, :]), mask=inside, other=0.0).to(ACC)
        row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
        x = tl.load(p_x + (row[:, None] + x_col[None, :]), mask=inside, other=0.0).to(ACC)
        mean = statistic(p_mean, o_m, m_m, ACC, False)
        rstd = statistic(p_rstd, o_m, m_m, ACC, False)
        dw += g * ((x - mean) * rstd)
        db += g
    if p_dw is not None:
        tl.store(p_dw + (i_part * n + o_n), tl.sum(dw, 0), mask=m_n)
    if p_db is not None:
        tl.store(p_db + (i_part * n + o_n), tl.sum(db, 0), mask=m_n)
# fmt: on


# -- host --------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """How (M, N) operands are cut in blocks of whole rows, or of strips of them."""

    m: int
    n: int
    ints: tuple[int | None, ...]  # of the operands
    affine: tuple[int | None, ...]  # the strides of weight and bias over the columns
    constants: dict[str, Any]
    warps: int
    looped: bool

    def with_(self, acc: DType, mean: Any) -> dict[str, Any]:
        """The constants, with the dtype to compute in and whether the mean counts."""
        return {**self.constants, "ACC": getattr(tl, acc.name), "CENTRE": mean is not None}


@lru_cache(maxsize=4096)
def _rows(
    shape: tuple, strides: tuple, affine: tuple, k: int, itemsize: int, operands: int
) -> Rows | None:
    """The plan for operands of `shape`, normalised over their last `k` dimensions.

    `affine` holds the strides of each weight or bias, or None; `operands` is how many blocks a
    program keeps.
    """
    cut = len(shape) - k
    pad = [(0,) * len(shape) if a is None else (0,) * cut + a for a in affine]
    rows = group(shape, strides, range(cut))
    cols = group(shape, (*strides, *pad), range(cut, len(shape)))
    if max(len(rows.sizes), len(cols.sizes)) > MAX_GROUPS:
        return None
    m, n = rows.size, cols.size
    outer = m > 1 and n > 1 and abs(rows.inner()) < abs(cols.inner())
    block_m, block_n, looped = row_blocks(m, n, IN_REGISTERS // (itemsize * operands), outer)
    constants = {
        "KD": rows.depth,
        "RD": cols.depth,
        "OUTER": outer,
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "WIDE": is_wide(m * n, rows, cols._replace(strides=cols.strides[: len(strides)])),
    }
    own = 3 + 4 * len(strides)
    ints, rest = (*rows.ints(), *cols.ints()[:own]), tuple(cols.ints()[own:])
    warps = min(max(block_m * block_n // 512, 4), 32)
    return Rows(m, n, ints, rest, constants, warps, looped)


def _strides(*arrays: Any) -> tuple:
    return tuple(None if x is None else x.strides for x in arrays)


def layer_norm_forward(
    launch: Any, out: tuple[Any, Any, Any], x: Any, weight: Any, bias: Any, *, n: int, eps: float
) -> Any:
    """(out, mean, rstd): x normalised over its last `n` dimensions, times weight plus bias."""
    return _forward(launch, *out, x, weight, bias, n, eps)


def rms_norm_forward(
    launch: Any, out: tuple[Any, Any], x: Any, weight: Any, *, n: int, eps: float
) -> Any:
    """(out, rstd): x over its root mean square in the last `n` dimensions, times weight."""
    y, rstd = out
    return _forward(launch, y, None, rstd, x, weight, None, n, eps)


def _forward(
    launch: Any, y: Any, mean: Any, rstd: Any, x: Any, weight: Any, bias: Any, n: int, eps: float
) -> Any:
    acc = computed(x, weight, bias)
    plan = _rows(x.shape, _strides(x, y), _strides(weight, bias), n, acc.itemsize, 2)
    if plan is None or not is_float(y, mean, rstd, x, weight, bias):
        return NotImplemented
    number = np.float64(eps) if acc.itemsize == 8 else float(eps)
    args = [x, y, weight, bias, mean, rstd, plan.m, plan.n, number, *plan.ints, *plan.affine]
    kernel = layer_norm_forward_loop_kernel if plan.looped else layer_norm_forward_kernel
    grid = (triton.cdiv(plan.m, plan.constants["BLOCK_M"]),)
    run(launch, kernel, grid, args, plan.with_(acc, mean), plan.warps)
    return None


def layer_norm_backward(
    launch: Any,
    out: tuple[Any, Any, Any],
    g: Any,
    x: Any,
    weight: Any,
    mean: Any,
    rstd: Any,
    *,
    n: int,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of x, weight and bias; the last two are written where `affine` says so."""
    dx, dw, db = out
    return _backward(launch, dx, _wanted(affine, dw, db), g, x, weight, mean, rstd, n)


def rms_norm_backward(
    launch: Any,
    out: tuple[Any, Any],
    g: Any,
    x: Any,
    weight: Any,
    rstd: Any,
    *,
    n: int,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of x and weight; the latter is written where `affine` says so."""
    dx, dw = out
    return _backward(launch, dx, _wanted(affine, dw, None), g, x, weight, None, rstd, n)


def _wanted(affine: tuple[bool, bool], *gradients: Any) -> list:
    return [d if need else None for d, need in zip(gradients, affine)]


def _backward(
    launch: Any, dx: Any, affine: list, g: Any, x: Any, weight: Any, mean: Any, rstd: Any, n: int
) -> Any:
    acc = computed(x, weight)
    plan = _rows(x.shape, _strides(g, x, dx), _strides(weight), n, acc.itemsize, 4)
    if plan is None or not is_float(dx, *affine, g, x, weight, mean, rstd):
        return NotImplemented
    constants = plan.with_(acc, mean)
    programs = triton.cdiv(plan.m, constants["BLOCK_M"])
    arrays = [g, x, dx, weight, mean, rstd]
    ints = [plan.m, plan.n, *plan.ints, *plan.affine]
    if plan.looped:
        kernel = layer_norm_backward_loop_kernel
        run(launch, kernel, (programs,), [*arrays, *ints], constants, plan.warps)
        _affine_gradients(launch, affine, g, x, mean, rstd, n, acc)
        return None
    each = min(max(8192 // (constants["BLOCK_M"] * constants["BLOCK_N"]), 1), 4)
    programs = min(programs, launch.target.sms * each)
    parts = [None if d is None else launch.empty((programs, plan.n), acc) for d in affine]
    args = [*arrays, *parts, *ints]
    run(launch, layer_norm_backward_kernel, (programs,), args, constants, plan.warps)
    _add_up(launch, affine, parts)
    return None


def _add_up(launch: Any, gradients: list, parts: list) -> None:
    for d, part in zip(gradients, parts):
        if d is not None:
            fold_parts(launch, d, part, Operation("sum", part.dtype))


def _affine_gradients(
    launch: Any, affine: list, g: Any, x: Any, mean: Any, rstd: Any, n: int, acc: DType
) -> None:
    """Gradients of weight and bias where rows are too long for registers."""
    if all(d is None for d in affine):
        return
    plan = _rows(x.shape, _strides(g, x), (), n, acc.itemsize, 4)
    assert plan is not None
    block_m, block_n = 16, 256
    columns = triton.cdiv(plan.n, block_n)
    parts = min(triton.cdiv(plan.m, block_m), triton.cdiv(4 * launch.target.sms, columns))
    chunk = triton.cdiv(triton.cdiv(plan.m, max(parts, 1)), block_m) * block_m
    parts = triton.cdiv(plan.m, max(chunk, 1))
    sums = [None if d is None else launch.empty((parts, plan.n), acc) for d in affine]
    constants = {k: plan.constants[k] for k in ("KD", "RD", "WIDE")}
    constants |= {"ACC": getattr(tl, acc.name), "BLOCK_M": block_m, "BLOCK_N": block_n}
    args = [g, x, mean, rstd, *sums, plan.m, plan.n, chunk, *plan.ints]
    run(launch, layer_norm_affine_kernel, (columns, parts), args, constants, 8)
    _add_up(launch, affine, sums)
