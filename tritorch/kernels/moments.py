"""Variance and mean in one pass: Welford's recurrence in every lane, merged by Chan's formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton
import triton.language as tl

from ..dtypes import float32, float64
from ._index import of_cols, of_rows, offset, run
from ._reduction import load_block, plan_of

# -- device ------------------------------------------------------------------------------------


# fmt: off
@triton.jit
def moments_kernel(
    p_x,  # (M, N)
    p_var,  # (parts, M): the variance, or the sum of squared deviations where parts follow
    p_mean,  # (parts, M) or None
    m, n, chunk, correction,
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3,
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
    ACC: tl.constexpr, LAST: tl.constexpr,
    KD: tl.constexpr, RD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, MASK_M: tl.constexpr, FULL: tl.constexpr,
    TAIL: tl.constexpr, WIDE: tl.constexpr,
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
    whole = lo + (hi - lo) // BLOCK_N * BLOCK_N

    # Welford's recurrence in every lane.
    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    mean = tl.zeros(shape, ACC)
    square = tl.zeros(shape, ACC)
    count = tl.zeros((1,), ACC)
    if FULL:
        for start in range(lo, whole, BLOCK_N):
            x = load_block(p_x, row, m_m, start + cols, hi, r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
                           RD, OUTER, MASK_M, False).to(ACC)
            count += 1
            d = x - mean
            mean += d * (1.0 / count)[:, None]
            square += d * (x - mean)
    if TAIL:
        for start in range(whole, hi, BLOCK_N):
            x = load_block(p_x, row, m_m, start + cols, hi, r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
                           RD, OUTER, MASK_M, True).to(ACC)
            count += 1
            d = tl.where(of_cols(start + cols < hi, OUTER), x - mean, 0.0)
            mean += d * (1.0 / count)[:, None]
            square += d * (x - mean)
    weight = of_cols(((hi - lo - cols + (BLOCK_N - 1)) // BLOCK_N).to(ACC), OUTER)
    store_moments(p_var, p_mean, mean, square, weight, hi - lo, n, correction,
                  i_part * m + o_m, m_m, OUTER, LAST)


@triton.jit
def store_moments(
    p_var, p_mean, mean, square, weight, count, n, correction, o, m_m,
    OUTER: tl.constexpr, LAST: tl.constexpr,
):
    """Merge lanes of `weight` elements each, `count` in all, by Chan's formula, and store."""
    axis: tl.constexpr = 0 if OUTER else 1
    centre = tl.sum(mean * weight, axis) / tl.full((1,), count, mean.dtype)
    d = mean - of_rows(centre, OUTER)
    var = tl.sum(square + weight * d * d, axis)
    if LAST:
        var = var / tl.maximum(tl.full((1,), n, mean.dtype) - correction, 0.0)
    tl.store(p_var + o, var.to(p_var.dtype.element_ty), mask=m_m)
    if p_mean is not None:
        tl.store(p_mean + o, centre.to(p_mean.dtype.element_ty), mask=m_m)


@triton.jit
def moments_merge_kernel(
    p_square, p_centre,  # (parts, M)
    p_var, p_mean,  # (M); p_mean may be None
    m, n, chunk, parts, correction,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):
    o_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n = tl.arange(0, BLOCK_N)
    m_m = o_m < m
    o = o_n[:, None] * m + o_m[None, :]
    inside = (o_n < parts)[:, None] & m_m[None, :]
    mean = tl.load(p_centre + o, mask=inside, other=0)
    square = tl.load(p_square + o, mask=inside, other=0)
    weight = tl.minimum(n - o_n.to(tl.int64) * chunk, chunk)
    weight = tl.where(o_n < parts, weight, 0).to(mean.dtype)[:, None]
    store_moments(p_var, p_mean, mean, square, weight, n, n, correction, o_m, m_m, True, True)
# fmt: on


# -- host --------------------------------------------------------------------------------------


def moments(
    launch: Any,
    out: tuple[Any, Any],
    x: Any,
    *,
    dims: Sequence[int],
    correction: float,
    keepdim: bool = False,
) -> Any:
    """(variance, mean) over `dims`; the sum of squares is divided by N - correction.

    The mean may be None. Source of the merging of parts: Chan, Golub and LeVeque, "Updating
    formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    var, mean = out
    plan = plan_of(launch, x, dims)
    if plan is None or x.dtype.category != 2:
        return NotImplemented
    acc = float64 if x.dtype is float64 else float32
    less = np.float64(correction) if acc is float64 else float(correction)
    constants = {**plan.constants, **plan.masks, "LAST": plan.parts == 1}
    constants["ACC"] = getattr(tl, acc.name)
    numbers = [plan.m, plan.n, plan.chunk, less, *plan.ints]
    if plan.parts == 1:
        run(launch, moments_kernel, plan.grid, [x, var, mean, *numbers], constants, plan.warps)
        return None
    square, centre = (launch.empty((plan.parts, plan.m), acc) for _ in range(2))
    run(launch, moments_kernel, plan.grid, [x, square, centre, *numbers], constants, plan.warps)
    block_n = triton.next_power_of_2(plan.parts)
    block_m = min(triton.next_power_of_2(plan.m), max(4096 // block_n, 1))
    run(
        launch,
        moments_merge_kernel,
        (triton.cdiv(plan.m, block_m),),
        [square, centre, var, mean, plan.m, plan.n, plan.chunk, plan.parts, less],
        {"BLOCK_M": block_m, "BLOCK_N": block_n},
    )
    return None
