"""Softmax, log-softmax and logsumexp, and the gradients of the first two.

A block has rows, which are normalised, and columns. Rows of up to 32k float32 elements stay in
registers; longer ones are walked in strips, with the largest element and the sum of exponentials
kept lane by lane (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..dtypes import DType
from ._index import (
    IN_REGISTERS,
    MAX_GROUPS,
    both,
    computed,
    convert,
    group,
    is_float,
    is_wide,
    of_rows,
    offset,
    row_blocks,
    run,
    spread,
)
from ._reduction import Plan, plan_of, whole

INF = tl.constexpr(float("inf"))

# -- device ------------------------------------------------------------------------------------


@triton.jit
def online(top, total, x):
    """One more element a lane. `total` is the sum of exponentials in units of exp(top)."""
    new = tl.maximum(top, x, propagate_nan=tl.PropagateNan.ALL)
    shift = tl.where(new == -INF, 0.0, new)  # nothing but -inf so far: -inf - -inf would be NaN
    return new, total * tl.exp(top - shift) + tl.exp(x - shift)


@triton.jit
def merge_lanes(top, total, OUTER: tl.constexpr):
    """The lanes of every row as one. The sum is NaN where an element is NaN or infinite."""
    axis: tl.constexpr = 0 if OUTER else 1
    row_top = tl.max(tl.where(top == top, top, INF), axis)
    shift = of_rows(tl.where(row_top == -INF, 0.0, row_top), OUTER)
    return row_top, tl.sum(total * tl.exp(top - shift), axis)


@triton.jit
def log_sum(top, total, row_top, row_total, OUTER: tl.constexpr):
    """The logarithm of the sum of exponentials: infinite where an element is, unless one is NaN."""
    axis: tl.constexpr = 0 if OUTER else 1
    is_nan = tl.max((top != top).to(tl.int32), axis) > 0
    return tl.where((row_top == INF) & (is_nan == 0), INF, row_top + tl.log(row_total))


@triton.jit
def softmax_of(x, top, total, LOG: tl.constexpr):
    if LOG:
        return (x - top) - tl.log(total)
    else:
        return tl.exp(x - top) / total


# fmt: off
@triton.jit
def softmax_forward_kernel(
    p_x, p_out,  # (M, N), M of up to four strided dimensions
    m, n, k1, k2, k3, x0, x1, x2, x3, y0, y1, y2, y3, x_n, y_n,
    LOG: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    if WIDE:
        i_m = i_m.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = tl.arange(0, BLOCK_N)
    inside = both(o_m < m, o_n < n, OUTER)
    axis: tl.constexpr = 0 if OUTER else 1

    o = spread(offset(o_m, k1, k2, k3, x0, x1, x2, x3, KD), o_n * x_n, OUTER)
    x = tl.load(p_x + o, mask=inside, other=-INF).to(ACC)
    top = of_rows(tl.max(x, axis), OUTER)
    e = tl.exp(x - top)
    total = of_rows(tl.sum(e, axis), OUTER)
    y = (x - top) - tl.log(total) if LOG else e / total
    o = spread(offset(o_m, k1, k2, k3, y0, y1, y2, y3, KD), o_n * y_n, OUTER)
    tl.store(p_out + o, convert(y, p_out.dtype.element_ty), mask=inside)


@triton.jit
def softmax_forward_loop_kernel(
    p_x, p_out,  # (M, N), M of up to four strided dimensions
    m, n, k1, k2, k3, x0, x1, x2, x3, y0, y1, y2, y3, x_n, y_n,
    LOG: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_m = i_m.to(tl.int64)
        cols = cols.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    x_row = offset(o_m, k1, k2, k3, x0, x1, x2, x3, KD)
    y_row = offset(o_m, k1, k2, k3, y0, y1, y2, y3, KD)

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    top = tl.full(shape, -INF, ACC)
    total = tl.zeros(shape, ACC)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        o = spread(x_row, o_n * x_n, OUTER)
        x = tl.load(p_x + o, mask=both(m_m, o_n < n, OUTER), other=-INF).to(ACC)
        top, total = online(top, total, x)
    row_top, row_total = merge_lanes(top, total, OUTER)
    row_top = of_rows(row_top, OUTER)
    row_total = of_rows(row_total, OUTER)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < n, OUTER)
        x = tl.load(p_x + spread(x_row, o_n * x_n, OUTER), mask=inside, other=-INF).to(ACC)
        y = softmax_of(x, row_top, row_total, LOG)
        o = spread(y_row, o_n * y_n, OUTER)
        tl.store(p_out + o, convert(y, p_out.dtype.element_ty), mask=inside)


@triton.jit
def products(g, y, LOG: tl.constexpr):
    """What the gradient sums over a row."""
    if LOG:
        return g
    else:
        return g * y


@triton.jit
def softmax_gradient(g, y, total, LOG: tl.constexpr):
    if LOG:
        return g - tl.exp(y) * total
    else:
        return y * (g - total)


@triton.jit
def softmax_backward_kernel(
    p_g, p_y, p_out,  # (M, N), M of up to four strided dimensions
    m, n, k1, k2, k3,
    g0, g1, g2, g3, y0, y1, y2, y3, d0, d1, d2, d3, g_n, y_n, d_n,
    LOG: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    if WIDE:
        i_m = i_m.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = tl.arange(0, BLOCK_N)
    inside = both(o_m < m, o_n < n, OUTER)

    o = spread(offset(o_m, k1, k2, k3, g0, g1, g2, g3, KD), o_n * g_n, OUTER)
    g = tl.load(p_g + o, mask=inside, other=0.0).to(ACC)
    o = spread(offset(o_m, k1, k2, k3, y0, y1, y2, y3, KD), o_n * y_n, OUTER)
    y = tl.load(p_y + o, mask=inside, other=0.0).to(ACC)
    total = of_rows(tl.sum(products(g, y, LOG), 0 if OUTER else 1), OUTER)
    dx = softmax_gradient(g, y, total, LOG)
    o = spread(offset(o_m, k1, k2, k3, d0, d1, d2, d3, KD), o_n * d_n, OUTER)
    tl.store(p_out + o, convert(dx, p_out.dtype.element_ty), mask=inside)


@triton.jit
def softmax_backward_loop_kernel(
    p_g, p_y, p_out,  # (M, N), M of up to four strided dimensions
    m, n, k1, k2, k3,
    g0, g1, g2, g3, y0, y1, y2, y3, d0, d1, d2, d3, g_n, y_n, d_n,
    LOG: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_m = i_m.to(tl.int64)
        cols = cols.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    g_row = offset(o_m, k1, k2, k3, g0, g1, g2, g3, KD)
    y_row = offset(o_m, k1, k2, k3, y0, y1, y2, y3, KD)
    d_row = offset(o_m, k1, k2, k3, d0, d1, d2, d3, KD)

    acc = tl.zeros((BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N), ACC)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < n, OUTER)
        g = tl.load(p_g + spread(g_row, o_n * g_n, OUTER), mask=inside, other=0.0).to(ACC)
        if LOG:
            acc += g
        else:
            y = tl.load(p_y + spread(y_row, o_n * y_n, OUTER), mask=inside, other=0.0).to(ACC)
            acc += g * y
    total = of_rows(tl.sum(acc, 0 if OUTER else 1), OUTER)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < n, OUTER)
        g = tl.load(p_g + spread(g_row, o_n * g_n, OUTER), mask=inside, other=0.0).to(ACC)
        y = tl.load(p_y + spread(y_row, o_n * y_n, OUTER), mask=inside, other=0.0).to(ACC)
        dx = softmax_gradient(g, y, total, LOG)
        o = spread(d_row, o_n * d_n, OUTER)
        tl.store(p_out + o, convert(dx, p_out.dtype.element_ty), mask=inside)


@triton.jit
def logsumexp_kernel(
    p_x,  # (M, N), each of up to four strided dimensions
    p_out,  # (parts, M)
    m, n, chunk,
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3,
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
    ACC: tl.constexpr, KD: tl.constexpr, RD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    i_part = tl.program_id(1)
    if WIDE:
        i_m = i_m.to(tl.int64)
        i_part = i_part.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    cols = tl.arange(0, BLOCK_N)
    lo = i_part * chunk
    hi = tl.minimum(lo + chunk, n)

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    top = tl.full(shape, -INF, ACC)
    total = tl.zeros(shape, ACC)
    for start in range(lo, hi, BLOCK_N):
        o_n = start + cols
        o = spread(row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=both(m_m, o_n < hi, OUTER), other=-INF).to(ACC)
        top, total = online(top, total, x)
    row_top, row_total = merge_lanes(top, total, OUTER)
    lse = log_sum(top, total, row_top, row_total, OUTER)
    tl.store(p_out + (i_part * m + o_m), convert(lse, p_out.dtype.element_ty), mask=m_m)
# fmt: on


# -- host --------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """How operands of one shape are cut in blocks of whole rows, or of strips of them."""

    grid: tuple[int]
    ints: tuple[int | None, ...]
    constants: dict[str, Any]
    warps: int
    looped: bool


@lru_cache(maxsize=4096)
def _rows(shape: tuple, strides: tuple, dim: int, itemsize: int) -> Rows | None:
    """The plan for operands of these strides; `itemsize` is that of the dtype computed in."""
    if not shape:
        shape, strides = (1,), tuple((0,) for _ in strides)
    others = [d for d in range(len(shape)) if d != dim]
    others.sort(key=lambda d: -abs(strides[0][d]))
    kept = group(shape, strides, others)
    if len(kept.sizes) > MAX_GROUPS:
        return None
    m, n = kept.size, shape[dim]
    outer = m > 1 and n > 1 and abs(kept.inner()) < abs(strides[0][dim])
    limit = IN_REGISTERS // (itemsize * max(len(strides) - 1, 1))
    block_m, block_n, looped = row_blocks(m, n, limit, outer)
    constants = {
        "KD": kept.depth,
        "OUTER": outer,
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "WIDE": is_wide(m * n, kept, group(shape, strides, [dim])),
    }
    ints = (m, n, *kept.ints(), *[s[dim] for s in strides])
    warps = min(max(block_m * block_n // 512, 4), 32)
    return Rows((triton.cdiv(m, block_m),), ints, constants, warps, looped)


def _run(launch: Any, kernels: tuple, out: Any, inputs: tuple, dim: int, log: bool) -> Any:
    """Launch the kernel in registers or the looped one of `kernels`."""
    if not is_float(out, *inputs):
        return NotImplemented
    acc = computed(out, *inputs)
    arrays = (*inputs, out)
    plan = _rows(out.shape, tuple(x.strides for x in arrays), dim, acc.itemsize)
    if plan is None:
        return NotImplemented
    if out.size:
        constants = {**plan.constants, "LOG": log, "ACC": getattr(tl, acc.name)}
        run(launch, kernels[plan.looped], plan.grid, [*arrays, *plan.ints], constants, plan.warps)
    return None


_FORWARD = (softmax_forward_kernel, softmax_forward_loop_kernel)
_BACKWARD = (softmax_backward_kernel, softmax_backward_loop_kernel)


def forward(launch: Any, out: Any, x: Any, *, dim: int) -> Any:
    """exp(x) / sum(exp(x)) along `dim`."""
    return _run(launch, _FORWARD, out, (x,), dim, False)


def log_forward(launch: Any, out: Any, x: Any, *, dim: int) -> Any:
    """The logarithm of the softmax along `dim`."""
    return _run(launch, _FORWARD, out, (x,), dim, True)


def backward(launch: Any, out: Any, g: Any, y: Any, *, dim: int) -> Any:
    """The gradient of the input of a softmax whose output is `y`."""
    return _run(launch, _BACKWARD, out, (g, y), dim, False)


def log_backward(launch: Any, out: Any, g: Any, y: Any, *, dim: int) -> Any:
    """The gradient of the input of a log-softmax whose output is `y`."""
    return _run(launch, _BACKWARD, out, (g, y), dim, True)


def logsumexp(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over `dims`."""
    plan = plan_of(launch, x, dims)
    if plan is None or not is_float(out, x):
        return NotImplemented
    acc = computed(out, x)
    if plan.parts == 1:
        _run_logsumexp(launch, out, x, plan, acc)
        return None
    part = launch.empty((plan.parts, plan.m), acc)
    _run_logsumexp(launch, part, x, plan, acc)
    _run_logsumexp(launch, out, part, whole(part), acc)
    return None


def _run_logsumexp(launch: Any, out: Any, x: Any, plan: Plan, acc: DType) -> None:
    constants = {**plan.constants, "ACC": getattr(tl, acc.name)}
    args = [x, out, plan.m, plan.n, plan.chunk, *plan.ints]
    run(launch, logsumexp_kernel, plan.grid, args, constants, plan.warps)
