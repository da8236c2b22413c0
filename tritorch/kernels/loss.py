"""Cross-entropy and negative log likelihood of integer targets, and their gradients.

A line is what one target belongs to: its scores lie along the class dimension. Cross-entropy reads
the scores once: the logarithm of the sum of exponentials is kept lane by lane, and the score of the
target is picked. Losses and weights of the lines are added up by a second launch, in a fixed order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ..dtypes import DType, float32, float64
from ._index import (
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
    run,
    spread,
)
from ._reduction import blocks
from .reduce import partial_sums, sum as sum_
from .softmax import log_sum, merge_lanes, online

TARGETS = ("int64", "int32", "uint8")

# -- device ------------------------------------------------------------------------------------


@triton.jit
def target_of(p_target, o, m_m, n):
    """The targets, and which of them are classes."""
    target = tl.load(p_target + o, mask=m_m, other=0).to(tl.int64)
    return target, m_m & (target >= 0) & (target < n)


@triton.jit
def weight_of(p_weight, target, known, s_w, ACC: tl.constexpr):
    """The weight of the target's class, 1 where there are no weights."""
    if p_weight is None:
        return tl.full(target.shape, 1.0, ACC)
    else:
        return tl.load(p_weight + target * s_w, mask=known, other=0.0).to(ACC)


# fmt: off
@triton.jit
def cross_entropy_forward_kernel(
    p_x,  # (M, C), M of up to four strided dimensions
    p_target,  # (M)
    p_weight,  # (C) or None
    p_loss, p_lse,  # (M)
    p_total,  # (M): the weight of each line
    m, n, x_n, s_w, ignore_index, smoothing,
    k1, k2, k3, x0, x1, x2, x3, t0, t1, t2, t3, l0, l1, l2, l3, s0, s1, s2, s3,
    SMOOTH: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    cols = tl.arange(0, BLOCK_N)
    if WIDE:
        i_m = i_m.to(tl.int64)
        cols = cols.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    row = offset(o_m, k1, k2, k3, x0, x1, x2, x3, KD)
    o = offset(o_m, k1, k2, k3, t0, t1, t2, t3, KD)
    target, known = target_of(p_target, o, m_m, n)
    # A target that is neither a class nor ignored gives NaN, not a read out of bounds.
    picked = tl.load(p_x + (row + target * x_n), mask=known, other=float("nan")).to(ACC)

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    axis: tl.constexpr = 0 if OUTER else 1
    top = tl.full(shape, -float("inf"), ACC)
    total = tl.zeros(shape, ACC)
    plain = tl.zeros(shape, ACC)
    weights = tl.zeros((BLOCK_N,), ACC)
    for start in range(0, n, BLOCK_N):
        o_n = start + cols
        m_n = o_n < n
        inside = both(m_m, m_n, OUTER)
        x = tl.load(p_x + spread(row, o_n * x_n, OUTER), mask=inside, other=-float("inf")).to(ACC)
        top, total = online(top, total, x)
        if SMOOTH:
            w = tl.where(m_n, weight_of(p_weight, o_n, m_n, s_w, ACC), 0.0)
            plain += tl.where(inside, x * of_cols(w, OUTER), 0.0)
            weights += w
    row_top, row_total = merge_lanes(top, total, OUTER)
    lse = log_sum(top, total, row_top, row_total, OUTER)
    w = weight_of(p_weight, target, known, s_w, ACC)
    loss = w * (lse - picked)
    if SMOOTH:
        even = (lse * tl.sum(weights, 0) - tl.sum(plain, axis)) / tl.full((1,), n, ACC)
        loss = (1.0 - smoothing) * loss + smoothing * even
    ignored = target == ignore_index
    loss = tl.where(ignored, 0.0, loss)
    o = offset(o_m, k1, k2, k3, l0, l1, l2, l3, KD)
    tl.store(p_loss + o, convert(loss, p_loss.dtype.element_ty), mask=m_m)
    o = offset(o_m, k1, k2, k3, s0, s1, s2, s3, KD)
    tl.store(p_lse + o, convert(lse, p_lse.dtype.element_ty), mask=m_m)
    tl.store(p_total + o_m, tl.where(ignored, 0.0, w), mask=m_m)


@triton.jit
def nll_forward_kernel(
    p_x,  # (M, C), M of up to four strided dimensions
    p_target,  # (M)
    p_weight,  # (C) or None
    p_loss,  # (M)
    p_total,  # (M): the weight of each line
    m, n, x_n, s_w, ignore_index,
    k1, k2, k3, x0, x1, x2, x3, t0, t1, t2, t3, l0, l1, l2, l3,
    ACC: tl.constexpr, KD: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    if WIDE:
        i_m = i_m.to(tl.int64)
    o_m = i_m * BLOCK + tl.arange(0, BLOCK)
    m_m = o_m < m
    o = offset(o_m, k1, k2, k3, t0, t1, t2, t3, KD)
    target, known = target_of(p_target, o, m_m, n)
    o = offset(o_m, k1, k2, k3, x0, x1, x2, x3, KD) + target * x_n
    picked = tl.load(p_x + o, mask=known, other=float("nan")).to(ACC)
    w = weight_of(p_weight, target, known, s_w, ACC)
    ignored = target == ignore_index
    loss = tl.where(ignored, 0.0, -w * picked)
    o = offset(o_m, k1, k2, k3, l0, l1, l2, l3, KD)
    tl.store(p_loss + o, convert(loss, p_loss.dtype.element_ty), mask=m_m)
    tl.store(p_total + o_m, tl.where(ignored, 0.0, w), mask=m_m)


@triton.jit
def finish_kernel(
    p_loss, p_weight,  # (n), (n_weight)
    p_out, p_total,  # (); p_out is None where the losses are not added up
    n, n_weight,
    MEAN: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):
    """The sum of the losses, divided by that of the weights with MEAN; and the latter."""
    cols = tl.arange(0, BLOCK)
    w = tl.zeros((BLOCK,), ACC)
    for start in range(0, n_weight, BLOCK):
        w += tl.load(p_weight + start + cols, mask=start + cols < n_weight, other=0.0).to(ACC)
    total = tl.sum(w, 0)
    tl.store(p_total, convert(total, p_total.dtype.element_ty))
    if p_out is not None:
        loss = tl.zeros((BLOCK,), ACC)
        for start in range(0, n, BLOCK):
            loss += tl.load(p_loss + start + cols, mask=start + cols < n, other=0.0).to(ACC)
        out = tl.sum(loss, 0)
        if MEAN:
            out = out / total
        tl.store(p_out, convert(out, p_out.dtype.element_ty))


@triton.jit
def loss_backward_kernel(
    p_x,  # (M, C), M of up to four strided dimensions; None for the negative log likelihood
    p_dx,  # (M, C)
    p_g,  # (M), with strides of 0 for a reduced loss
    p_lse,  # (M) or None
    p_target,  # (M)
    p_weight,  # (C) or None
    p_weights,  # (): the sum of all weights, or None
    p_total,  # (): what the mean divides by, or None
    m, n, x_n, d_n, s_w, ignore_index, smoothing,
    k1, k2, k3, x0, x1, x2, x3, d0, d1, d2, d3, g0, g1, g2, g3, s0, s1, s2, s3, t0, t1, t2, t3,
    SMOOTH: tl.constexpr, ACC: tl.constexpr, KD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    """dx = g (exp(x - lse) sum(q) - q), q = (1 - smoothing) w onehot(target) + smoothing w / C"""
    tiles = tl.cdiv(n, BLOCK_N)
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_m = i // tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = i % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    m_m = o_m < m
    m_n = o_n < n
    inside = both(m_m, m_n, OUTER)
    o = offset(o_m, k1, k2, k3, t0, t1, t2, t3, KD)
    target, known = target_of(p_target, o, m_m, n)
    ignored = target == ignore_index
    g = tl.load(p_g + offset(o_m, k1, k2, k3, g0, g1, g2, g3, KD), mask=m_m, other=0.0).to(ACC)
    if p_total is not None:
        g = g / tl.load(p_total).to(ACC)
    hot = weight_of(p_weight, target, known, s_w, ACC)
    whole = hot
    dx = tl.zeros((BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N), ACC)
    if SMOOTH:
        hot = hot * (1.0 - smoothing)
        even = tl.full((BLOCK_N,), smoothing, ACC) / tl.full((1,), n, ACC)
        whole = hot + smoothing
        if p_weight is not None:
            whole = hot + even_share(p_weights, smoothing, n, ACC)
            even = even * weight_of(p_weight, o_n, m_n, s_w, ACC)
        dx -= of_cols(even, OUTER)
    if p_x is not None:
        o = spread(offset(o_m, k1, k2, k3, x0, x1, x2, x3, KD), o_n * x_n, OUTER)
        x = tl.load(p_x + o, mask=inside, other=0.0).to(ACC)
        o = offset(o_m, k1, k2, k3, s0, s1, s2, s3, KD)
        lse = tl.load(p_lse + o, mask=m_m, other=0.0).to(ACC)
        dx += tl.exp(x - of_rows(lse, OUTER)) * of_rows(whole, OUTER)
    at = of_cols(o_n, OUTER) == of_rows(target, OUTER)
    dx = (dx - tl.where(at, of_rows(hot, OUTER), 0.0)) * of_rows(g, OUTER)
    # An ignored line gives zero even where its scores or the divisor are not finite.
    dx = tl.where(of_rows(ignored, OUTER), 0.0, dx)
    o = spread(offset(o_m, k1, k2, k3, d0, d1, d2, d3, KD), o_n * d_n, OUTER)
    tl.store(p_dx + o, convert(dx, p_dx.dtype.element_ty), mask=inside)


@triton.jit
def even_share(p_weights, smoothing, n, ACC: tl.constexpr):
    """What smoothing adds to the weight of a line."""
    return tl.load(p_weights).to(ACC) * smoothing / tl.full((1,), n, ACC)
# fmt: on


# -- host --------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """How M lines of C classes are cut in blocks."""

    m: int
    n: int
    ints: tuple[int | None, ...]
    constants: dict[str, Any]
    warps: int


@lru_cache(maxsize=4096)
def _plan(shape: tuple, dim: int, strides: tuple, itemsize: int) -> Plan | None:
    """The plan for operands of `shape`, or of it without the class dimension `dim`."""
    whole = [s if len(s) == len(shape) else (*s[:dim], 0, *s[dim:]) for s in strides]
    kept = group(shape, whole, [d for d in range(len(shape)) if d != dim])
    if len(kept.sizes) > MAX_GROUPS:
        return None
    m, n, step = kept.size, shape[dim], whole[0][dim]
    outer = m > 1 and abs(kept.inner()) < abs(step)
    block_m, block_n, warps = blocks(m, n, itemsize, outer)
    constants = {
        "KD": kept.depth,
        "OUTER": outer,
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "WIDE": is_wide(m * n, kept, group(shape, whole, [dim])),
    }
    return Plan(m, n, tuple(kept.ints()), constants, warps)


def _serves(target: Any, *floats: Any) -> bool:
    return is_float(*floats) and target.dtype.name in TARGETS


def _float(value: float, acc: DType) -> Any:
    return np.float64(value) if acc.itemsize == 8 else float(value)


def _step(weight: Any) -> int | None:
    return None if weight is None else weight.strides[0]


def cross_entropy_forward(
    launch: Any,
    out: tuple[Any, Any, Any],
    x: Any,
    target: Any,
    weight: Any,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> Any:
    """(loss, lse, total) of scores `x` with classes along `dim`.

    lse is the logarithm of the sum of exponentials of each line, total the sum of the weights of
    the lines, which "mean" divides by. A line with target `ignore_index` counts nothing.
    """
    loss, lse, total = out
    acc = computed(x, weight)
    lines = loss if reduction == "none" else launch.empty(target.shape, acc)
    plan = _plan(x.shape, dim, _strides(x, target, lines, lse), acc.itemsize)
    if plan is None or not _serves(target, *out, x, weight):
        return NotImplemented
    weights = launch.empty((plan.m,), acc)
    numbers = [plan.m, plan.n, x.strides[dim], _step(weight), ignore_index, _float(smoothing, acc)]
    constants = {**plan.constants, "SMOOTH": smoothing != 0, "ACC": getattr(tl, acc.name)}
    grid = (triton.cdiv(plan.m, constants["BLOCK_M"]),)
    args = [x, target, weight, lines, lse, weights, *numbers, *plan.ints]
    run(launch, cross_entropy_forward_kernel, grid, args, constants, plan.warps)
    _finish(launch, loss, total, lines, weights, reduction)
    return None


def _strides(*arrays: Any) -> tuple:
    return tuple(a.strides for a in arrays)


def _finish(launch: Any, loss: Any, total: Any, lines: Any, weights: Any, reduction: str) -> None:
    """The reduction of the losses of lines, and the sum of their weights."""
    weights = partial_sums(launch, weights)
    lines = weights if reduction == "none" else partial_sums(launch, lines)
    wide = float64 in (total.dtype, weights.dtype)
    constants = {
        "MEAN": reduction == "mean",
        "ACC": getattr(tl, (float64 if wide else float32).name),
        "BLOCK": 2048,
    }
    out = None if reduction == "none" else loss
    args = [lines, weights, out, total, lines.size, weights.size]
    run(launch, finish_kernel, (1,), args, constants, 8)


def cross_entropy_backward(
    launch: Any,
    out: Any,
    g: Any,
    x: Any,
    target: Any,
    weight: Any,
    lse: Any,
    total: Any,
    *,
    dim: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> Any:
    """The gradient of the scores for the gradient `g` of the loss."""
    acc = computed(x, weight)
    total = total if reduction == "mean" else None
    plan = _plan(x.shape, dim, _strides(x, out, _of_lines(g, target), lse, target), acc.itemsize)
    if plan is None or not _serves(target, out, g, x, weight, lse, total):
        return NotImplemented
    weights = None
    if smoothing and weight is not None:
        weights = launch.empty((), acc)
        sum_(launch, weights, weight, dims=(0,))
    numbers = [x.strides[dim], out.strides[dim], _step(weight), ignore_index]
    args = [x, out, g, lse, target, weight, weights, total]
    _backward(launch, plan, args, numbers, smoothing, acc)
    return None


def _of_lines(g: Any, target: Any) -> Any:
    """The gradient of a loss as one of each line."""
    return g if g.shape == target.shape else g.strided(target.shape, [0] * len(target.shape))


def _backward(
    launch: Any, plan: Plan, arrays: list, numbers: list, smoothing: float, acc: DType
) -> None:
    constants = {**plan.constants, "SMOOTH": smoothing != 0, "ACC": getattr(tl, acc.name)}
    tiles = triton.cdiv(plan.m, constants["BLOCK_M"]) * triton.cdiv(plan.n, constants["BLOCK_N"])
    args = [*arrays, plan.m, plan.n, *numbers, _float(smoothing, acc), *plan.ints]
    run(launch, loss_backward_kernel, (tiles,), args, constants, plan.warps)


def nll_loss_forward(
    launch: Any,
    out: tuple[Any, Any],
    x: Any,
    target: Any,
    weight: Any,
    *,
    dim: int,
    ignore_index: int,
    reduction: str,
) -> Any:
    """(loss, total) of logarithms of probabilities `x` with classes along `dim`."""
    loss, total = out
    acc = computed(x, weight)
    lines = loss if reduction == "none" else launch.empty(target.shape, acc)
    plan = _plan(x.shape, dim, _strides(x, target, lines), acc.itemsize)
    if plan is None or not _serves(target, *out, x, weight):
        return NotImplemented
    weights = launch.empty((plan.m,), acc)
    block = min(triton.next_power_of_2(max(plan.m, 1)), 1024)
    constants = {k: plan.constants[k] for k in ("KD", "WIDE")}
    constants |= {"ACC": getattr(tl, acc.name), "BLOCK": block}
    args = [x, target, weight, lines, weights]
    args += [plan.m, plan.n, x.strides[dim], _step(weight), ignore_index, *plan.ints]
    run(launch, nll_forward_kernel, (triton.cdiv(plan.m, block),), args, constants)
    _finish(launch, loss, total, lines, weights, reduction)
    return None


def nll_loss_backward(
    launch: Any,
    out: Any,
    g: Any,
    target: Any,
    weight: Any,
    total: Any,
    *,
    shape: tuple[int, ...],
    dim: int,
    ignore_index: int,
    reduction: str,
) -> Any:
    """The gradient of the logarithms for the gradient `g` of the loss."""
    acc = computed(out, weight)
    total = total if reduction == "mean" else None
    lines = _of_lines(g, target)
    plan = _plan(out.shape, dim, _strides(out, out, lines, target, target), acc.itemsize)
    if plan is None or not _serves(target, out, g, weight, total):
        return NotImplemented
    numbers = [out.strides[dim], out.strides[dim], _step(weight), ignore_index]
    args = [None, out, g, None, target, weight, None, total]
    _backward(launch, plan, args, numbers, 0.0, acc)
    return None
