"""Batch and group normalisation of (N, C, ...), and their gradients.

A row is what shares a channel: over all samples in a batch norm, in one sample in a group norm.
Statistics and gradients of the parameters are reductions, cut in parts like every other;
normalising with known statistics is elementwise.
"""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from ..dtypes import DType
from . import elementwise
from ._index import (
    both,
    computed,
    convert,
    is_float,
    of_rows,
    offset,
    run,
    spread,
)
from ._reduction import Plan, plan_for
from .moments import moments
from .reduce import Operation, fold_parts, sum as sum_

# -- device ------------------------------------------------------------------------------------


# fmt: off
@triton.jit
def norm_sums_kernel(
    p_g, p_x,  # (M, N), each of up to four strided dimensions
    p_mean, p_rstd,  # (M)
    p_along, p_plain,  # (parts, M): the sums of g (x - mean) rstd and of g
    m, n, chunk,
    k1, k2, k3, k_g0, k_g1, k_g2, k_g3, k_x0, k_x1, k_x2, k_x3,
    a0, a1, a2, a3, s0, s1, s2, s3,
    r1, r2, r3, r_g0, r_g1, r_g2, r_g3, r_x0, r_x1, r_x2, r_x3,
    ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_part = tl.program_id(1)
    o_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_part = i_part.to(tl.int64)
        o_m = o_m.to(tl.int64)
        cols = cols.to(tl.int64)
    m_m = o_m < m
    g_row = offset(o_m, k1, k2, k3, k_g0, k_g1, k_g2, k_g3, KD)
    x_row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    a_row = offset(o_m, k1, k2, k3, a0, a1, a2, a3, KD)
    s_row = offset(o_m, k1, k2, k3, s0, s1, s2, s3, KD)
    mean = of_rows(tl.load(p_mean + a_row, mask=m_m, other=0.0).to(ACC), OUTER)
    rstd = tl.load(p_rstd + s_row, mask=m_m, other=0.0).to(ACC)
    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    along = tl.zeros(shape, ACC)
    plain = tl.zeros(shape, ACC)
    lo = i_part * chunk
    hi = tl.minimum(lo + chunk, n)
    for start in range(lo, hi, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < hi, OUTER)
        o = spread(g_row, offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD), OUTER)
        g = tl.load(p_g + o, mask=inside, other=0.0).to(ACC)
        o = spread(x_row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        along += g * (x - mean)
        plain += g
    axis: tl.constexpr = 0 if OUTER else 1
    out = i_part * m + o_m
    row_along = tl.sum(along, axis) * rstd
    row_plain = tl.sum(plain, axis)
    tl.store(p_along + out, convert(row_along, p_along.dtype.element_ty), mask=m_m)
    tl.store(p_plain + out, convert(row_plain, p_plain.dtype.element_ty), mask=m_m)


@triton.jit
def norm_gradient_kernel(
    p_g, p_x, p_dx,  # (M, N), each of up to four strided dimensions
    p_mean, p_rstd, p_weight,  # (M); the weight may be None
    p_along, p_plain,  # (M): sums of w g y and of w g, y = (x - mean) rstd; without WEIGHTED no w
    m, n, count,
    k1, k2, k3, k_g0, k_g1, k_g2, k_g3, k_x0, k_x1, k_x2, k_x3, k_d0, k_d1, k_d2, k_d3,
    a0, a1, a2, a3, s0, s1, s2, s3, w0, w1, w2, w3, u0, u1, u2, u3, v0, v1, v2, v3,
    r1, r2, r3, r_g0, r_g1, r_g2, r_g3, r_x0, r_x1, r_x2, r_x3, r_d0, r_d1, r_d2, r_d3,
    WEIGHTED: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr,
    OUTER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    """dx = rstd (w g - (plain + y along) / count)"""
    tiles = tl.cdiv(n, BLOCK_N)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_m = i // tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = i % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    m_m = o_m < m
    inside = both(m_m, o_n < n, OUTER)
    row = offset(o_m, k1, k2, k3, k_g0, k_g1, k_g2, k_g3, KD)
    col = offset(o_n, r1, r2, r3, r_g0, r_g1, r_g2, r_g3, RD)
    g = tl.load(p_g + spread(row, col, OUTER), mask=inside, other=0.0).to(ACC)
    row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    col = offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD)
    x = tl.load(p_x + spread(row, col, OUTER), mask=inside, other=0.0).to(ACC)
    o = offset(o_m, k1, k2, k3, a0, a1, a2, a3, KD)
    mean = tl.load(p_mean + o, mask=m_m, other=0.0).to(ACC)
    o = offset(o_m, k1, k2, k3, s0, s1, s2, s3, KD)
    rstd = tl.load(p_rstd + o, mask=m_m, other=0.0).to(ACC)
    size = tl.full((1,), count, ACC)
    o = offset(o_m, k1, k2, k3, u0, u1, u2, u3, KD)
    along = tl.load(p_along + o, mask=m_m, other=0.0).to(ACC) / size
    o = offset(o_m, k1, k2, k3, v0, v1, v2, v3, KD)
    plain = tl.load(p_plain + o, mask=m_m, other=0.0).to(ACC) / size
    if p_weight is not None:
        o = offset(o_m, k1, k2, k3, w0, w1, w2, w3, KD)
        w = tl.load(p_weight + o, mask=m_m, other=0.0).to(ACC)
        if not WEIGHTED:
            along *= w
            plain *= w
        g *= of_rows(w, OUTER)
    y = (x - of_rows(mean, OUTER)) * of_rows(rstd, OUTER)
    dx = of_rows(rstd, OUTER) * (g - of_rows(plain, OUTER) - y * of_rows(along, OUTER))
    row = offset(o_m, k1, k2, k3, k_d0, k_d1, k_d2, k_d3, KD)
    col = offset(o_n, r1, r2, r3, r_d0, r_d1, r_d2, r_d3, RD)
    tl.store(p_dx + spread(row, col, OUTER), convert(dx, p_dx.dtype.element_ty), mask=inside)
# fmt: on


# -- batch norm --------------------------------------------------------------------------------


def batch_norm_forward(
    launch: Any, out: tuple[Any, Any, Any], x: Any, weight: Any, bias: Any, *, eps: float
) -> Any:
    """(out, mean, variance): x (N, C, ...) normalised over all dimensions but the channels'."""
    y, mean, var = out
    acc = computed(x, mean, weight)
    if not is_float(*out, x, weight, bias):
        return NotImplemented
    if moments(launch, (var, mean), x, dims=_apart(x), correction=0.0) is NotImplemented:
        return NotImplemented
    scale = _inverse_deviation(launch, var, weight, eps, acc)
    vectors = [_along_channels(v, x) for v in (mean, scale, bias) if v is not None]
    return elementwise.apply(launch, y, x, *vectors, body="scale_shift", compute=acc)


def _apart(x: Any) -> tuple[int, ...]:
    """All dimensions but the channels'."""
    return (0, *range(2, len(x.shape)))


def _along_channels(v: Any, x: Any) -> Any:
    """(..., C) as a view that broadcasts over x (N, C, ...)."""
    after = len(x.shape) - 2
    return v.strided((*v.shape, *[1] * after), (*v.strides, *[0] * after))


def _inverse_deviation(launch: Any, var: Any, weight: Any, eps: float, acc: DType) -> Any:
    """weight / sqrt(var + eps), each (C)."""
    out = launch.empty(var.shape, acc)
    rest = () if weight is None else (weight,)
    elementwise.apply(launch, out, var, eps, *rest, body="inverse_deviation", compute=acc)
    return out


def batch_norm_backward(
    launch: Any,
    out: tuple[Any, Any, Any],
    g: Any,
    x: Any,
    weight: Any,
    mean: Any,
    var: Any,
    *,
    eps: float,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of x, weight and bias; the last two are written where `affine` says so."""
    dx, *gradients = out
    acc = computed(x, mean, weight)
    if not is_float(*out, g, x, weight, mean, var):
        return NotImplemented
    dims = _apart(x)
    if _plan(launch, acc, dims, (g, x, dx), ()) is None:
        return NotImplemented
    rstd = _inverse_deviation(launch, var, None, eps, acc)
    sums = [
        d if need and d.dtype is acc else launch.empty(mean.shape, acc)
        for d, need in zip(gradients, affine)
    ]
    statistics = [_along_channels(v, x) for v in (mean, rstd)]
    _sums(launch, sums, g, x, *statistics, dims, acc)
    for d, s, need in zip(gradients, sums, affine):
        if need and d is not s:
            elementwise.apply(launch, d, s, body="copy", compute=acc)
    rest = [None if v is None else _along_channels(v, x) for v in (weight, *sums)]
    _gradient(launch, dx, g, x, *statistics, *rest, dims, x.size // max(x.shape[1], 1), False, acc)
    return None


# -- group norm --------------------------------------------------------------------------------


def group_norm_forward(
    launch: Any,
    out: tuple[Any, Any, Any],
    x: Any,
    weight: Any,
    bias: Any,
    *,
    groups: int,
    eps: float,
) -> Any:
    """(out, mean, rstd): x (N, C, ...) normalised over each of `groups` of channels."""
    y, mean, rstd = out
    acc = computed(x, mean, weight)
    if not is_float(*out, x, weight, bias):
        return NotImplemented
    y, x = _grouped(y, groups), _grouped(x, groups)
    var = launch.empty(mean.shape, acc)
    dims = tuple(range(2, len(x.shape)))
    if moments(launch, (var, mean), x, dims=dims, correction=0.0) is NotImplemented:
        return NotImplemented
    elementwise.apply(launch, rstd, var, eps, body="inverse_deviation", compute=acc)
    scale = _over(rstd, x)
    if weight is not None:
        each = launch.empty(x.shape[:3], acc)
        elementwise.apply(
            launch, each, _over(rstd, each), _over(weight, each, groups), body="mul", compute=acc
        )
        scale = _over(each, x)
    rest = () if bias is None else (_over(bias, x, groups),)
    return elementwise.apply(
        launch, y, x, _over(mean, x), scale, *rest, body="scale_shift", compute=acc
    )


def _grouped(x: Any, groups: int) -> Any:
    """(N, C, ...) as a view (N, G, C / G, ...)."""
    n, c, *rest = x.shape
    s_n, s_c, *steps = x.strides
    each = c // groups
    return x.strided((n, groups, each, *rest), (s_n, each * s_c, s_c, *steps))


def _over(v: Any, x: Any, groups: int = 0) -> Any:
    """(N, G), (N, G, C / G), or with `groups` (C), as a view that broadcasts over a grouped x."""
    shape, strides = v.shape, v.strides
    if groups:
        each = shape[0] // groups
        shape, strides = (1, groups, each), (0, each * strides[0], strides[0])
    after = len(x.shape) - len(shape)
    return v.strided((*shape, *[1] * after), (*strides, *[0] * after))


def group_norm_backward(
    launch: Any,
    out: tuple[Any, Any, Any],
    g: Any,
    x: Any,
    weight: Any,
    mean: Any,
    rstd: Any,
    *,
    groups: int,
    affine: tuple[bool, bool],
) -> Any:
    """The gradients of x, weight and bias; the last two are written where `affine` says so."""
    dx, *gradients = out
    acc = computed(x, mean, weight)
    if not is_float(*out, g, x, weight, mean, rstd):
        return NotImplemented
    dx, g, x = (_grouped(v, groups) for v in (dx, g, x))
    dims = tuple(range(3, len(x.shape)))
    if _plan(launch, acc, dims, (g, x, dx), ()) is None:
        return NotImplemented
    statistics = _over(mean, x), _over(rstd, x)
    sums = [launch.empty(x.shape[:3], acc) for _ in range(2)]
    _sums(launch, sums, g, x, *statistics, dims, acc)
    for d, s, need in zip(gradients, sums, affine):
        if need:
            sum_(launch, d, s, dims=(0,))
    scale = None if weight is None else _over(weight, x, groups)
    totals = [_over(_of_groups(launch, s, weight, groups, acc), x) for s in sums]
    count = math.prod(x.shape[2:])
    _gradient(launch, dx, g, x, *statistics, scale, *totals, dims, count, True, acc)
    return None


def _of_groups(launch: Any, s: Any, weight: Any, groups: int, acc: DType) -> Any:
    """(N, G, C / G), times weight, added up over the last dimension."""
    if weight is not None:
        scaled = launch.empty(s.shape, acc)
        elementwise.apply(launch, scaled, s, _over(weight, s, groups), body="mul", compute=acc)
        s = scaled
    out = launch.empty(s.shape[:2], acc)
    sum_(launch, out, s, dims=(2,))
    return out


# -- what both share ---------------------------------------------------------------------------


def _plan(
    launch: Any, acc: DType, dims: tuple[int, ...], operands: tuple, per_row: tuple
) -> Plan | None:
    """The plan to reduce over `dims`; each of `per_row` broadcasts along them."""
    x = operands[1]
    strides = [o.strides for o in operands]
    for v in per_row:
        own = () if v is None else [0 if n == 1 else s for n, s in zip(v.shape, v.strides)]
        strides.append((0,) * (len(x.shape) - len(own)) + tuple(own))
    sms = launch.target.sms
    return plan_for(x.shape, tuple(strides), dims, acc.itemsize, sms, per_row=len(per_row))


def _sums(
    launch: Any, out: list, g: Any, x: Any, mean: Any, rstd: Any, dims: tuple, acc: DType
) -> None:
    """(sum of g (x - mean) rstd, sum of g) over `dims`."""
    plan = _plan(launch, acc, dims, (g, x), (mean, rstd))
    assert plan is not None
    parts = out
    if plan.parts > 1:
        parts = [launch.empty((plan.parts, plan.m), acc) for _ in out]
    args = [g, x, mean, rstd, *parts, plan.m, plan.n, plan.chunk, *plan.ints]
    constants = {**plan.constants, "ACC": getattr(tl, acc.name)}
    run(launch, norm_sums_kernel, plan.grid, args, constants, plan.warps)
    if plan.parts > 1:
        for o, p in zip(out, parts):
            fold_parts(launch, o, p, Operation("sum", acc))


def _gradient(
    launch: Any,
    dx: Any,
    g: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    along: Any,
    plain: Any,
    dims: tuple[int, ...],
    count: int,
    weighted: bool,
    acc: DType,
) -> None:
    """The gradient of the input from the sums over what a statistic covers, `count` elements."""
    vectors = (mean, rstd, weight, along, plain)
    plan = _plan(launch, acc, dims, (g, x, dx), vectors)
    assert plan is not None
    constants = {**plan.constants, "ACC": getattr(tl, acc.name), "WEIGHTED": weighted}
    tiles = triton.cdiv(plan.n, constants["BLOCK_N"]) * triton.cdiv(plan.m, constants["BLOCK_M"])
    args = [g, x, dx, *vectors, plan.m, plan.n, count, *plan.ints]
    run(launch, norm_gradient_kernel, (tiles,), args, constants, plan.warps)
