"""Padding with a value, and cutting off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from ._rows import (
    INTEGERS,
    MAX_DIMS,
    PLANS,
    Plan,
    Shape,
    Table,
    bits,
    column_offset,
    convert,
    digits,
    real_view,
    row_offset,
    run,
    scalar,
    tile,
    tile_size,
    units,
    vector,
)
from .copy import served


@triton.jit(do_not_specialize=INTEGERS)
def pad_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    p_x,  # (m0, m1, m2, m3, m4 * X_VEC), from (b0, b1, b2, b3, b4 * X_VEC) of out on
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    b0, b1, b2, b3, b4,
    m0, m1, m2, m3, m4,
    value: tl.int64,
    FLOAT: tl.constexpr, VEC: tl.constexpr, X_VEC: tl.constexpr, O_STEP: tl.constexpr,
    X_STEP: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """out = x where out lies over it, else value."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    m = (o_r < n_rows) & (o_c < n_cols)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    p_out += row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    o_c_x = o_c - b4 * X_VEC
    i3 -= b3
    inside = m & (i3 >= 0) & (i3 < m3) & (o_c_x >= 0) & (o_c_x < m4 * X_VEC)
    if DIMS > 1:
        i2 -= b2
        inside = inside & (i2 >= 0) & (i2 < m2)
    if DIMS > 2:
        i1 -= b1
        inside = inside & (i1 >= 0) & (i1 < m1)
    if DIMS > 3:
        i0 -= b0
        inside = inside & (i0 >= 0) & (i0 < m0)
    p_x += row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, X_VEC, DIMS)
    x = tl.load(p_x + column_offset(o_c_x, sx4, X_STEP), mask=inside, other=0)
    x = convert(x, p_out.dtype.element_ty)
    x = tl.where(inside, x, convert(scalar(value, FLOAT), p_out.dtype.element_ty))
    tl.store(p_out + column_offset(o_c, so4, O_STEP), x, mask=m)


def pad_constant(
    launch: Any, out: Any, x: Any, *, pad: Sequence[tuple[int, int]], value: float = 0
) -> Any:
    """out = x with (before, after) elements of `value` added along each dimension, or cut off."""
    if not served(out, x) or out.dtype.is_complex != x.dtype.is_complex:
        return NotImplemented
    if out.dtype.is_complex:
        parts = real_view(out), real_view(x)
        for part, v in enumerate((complex(value).real, complex(value).imag)):
            pad_constant(launch, *(a[..., part] for a in parts), pad=pad, value=v)
        return None
    if out.size == 0:
        return None
    is_float, pads = out.dtype.is_floating_point, tuple(map(tuple, pad))
    sides = [(a.shape, a.strides, a.itemsize) for a in (out, x)]
    plan = _pad_plan(*sides, pads, is_float)
    if plan is None:
        return NotImplemented
    run(launch, [plan], (out, x), bits(value, is_float))
    return None


@lru_cache(PLANS)
def _pad_plan(
    out: tuple[Shape, Shape, int], x: tuple[Shape, Shape, int], pad: tuple, is_float: bool
) -> Plan | None:
    """The launch of a padding from (shape, strides, element size) of out and x."""
    runs = _merge_padded(out, x, pad)
    if len(runs) > MAX_DIMS:
        return None
    dims = max(len(runs) - 1, 1)
    runs = [(1, 0, 0, 0, 1)] * (MAX_DIMS - len(runs)) + runs
    n, so, sx, before, inner = zip(*runs)
    t = Table(math.prod(n[:4]), n[4], n[1:4], dims, [so, sx], [0, 0])
    vec, x_vec = vector(out[2], n[4], *so[:4]), vector(x[2], before[4], inner[4], *sx[:4])
    o_step, x_step = t.steps()
    grid, constants = t.tiles(tile_size(out[2], x[2]))
    constants |= {
        "FLOAT": is_float, "VEC": vec, "X_VEC": x_vec, "O_STEP": o_step, "X_STEP": x_step,
    }  # fmt: skip
    ints = (
        t.rows, t.cols // vec, *t.sizes, *units(so, vec), *units(sx, x_vec),
        *before[:4], before[4] // x_vec, *inner[:4], inner[4] // x_vec,
    )  # fmt: skip
    return Plan(pad_kernel, grid, ints, constants, t.at)


def _merge_padded(
    out: tuple[Shape, Shape, int], x: tuple[Shape, Shape, int], pad: tuple
) -> list[tuple[int, ...]]:
    """(size of out, its stride, the stride of x, padding before, size of x) of merged dimensions.

    A dimension that is not padded merges into the one before it, padded or not.
    """
    runs: list[tuple[int, ...]] = []
    for n, so, sx, (before, after), m in zip(*out[:2], x[1], pad, x[0]):
        if n == m == 1 and before == after == 0:
            continue
        whole = before == after == 0
        if runs and whole and runs[-1][1] == n * so and runs[-1][2] == n * sx:
            size, _, _, b, inner = runs[-1]
            runs[-1] = (size * n, so, sx, b * n, inner * n)
        else:
            runs.append((n, so, sx, before, m))
    return runs or [(1, 1, 1, 0, 1)]
