"""Gradients of running products and of running logarithms of sums."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ..dtypes import float32, float64
from ._index import FLOATS, both, of_cols, of_rows, offset, spread
from ._rows import cdiv
from .scan import cumprod, logcumsumexp, plan_of
from .search import dense

BLOCK = 1024


@triton.jit
def chain(a, b, c, d):
    """The map r -> c (a r + b) + d."""
    return a * c, c * b + d


@triton.jit
def cumprod_backward_kernel(
    p_out,  # (any, r1, r2, r3, N), and so are the others
    p_g,
    p_x,
    p_y,  # the running products of x
    n_rows, n, r1, r2, r3, s0, s1, s2, s3, step,
    ROWS: tl.constexpr, COLS: tl.constexpr, OUTER: tl.constexpr, D: tl.constexpr,
    WIDE: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """out[k] = r[k] y[k - 1] with r[k] = g[k] + x[k + 1] r[k + 1], from the end."""
    AXIS: tl.constexpr = 0 if OUTER else 1
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_r = i * ROWS + tl.arange(0, ROWS)
    m_r = o_r < n_rows
    q = offset(o_r, r1, r2, r3, s0, s1, s2, s3, D)
    rest = tl.zeros((ROWS,), ACC)
    for at in range(0, n, COLS):
        # Backwards, so that the scan goes forward: this one depends on the order.
        o_c = n - 1 - at - tl.arange(0, COLS)
        m = both(m_r, o_c >= 0, OUTER)
        o = spread(q, o_c * step, OUTER)
        g = tl.load(p_g + o, mask=m, other=0).to(ACC)
        x = tl.load(p_x + o + step, mask=both(m_r, (o_c >= 0) & (o_c < n - 1), OUTER), other=0)
        before = tl.load(p_y + o - step, mask=both(m_r, o_c > 0, OUTER), other=1).to(ACC)
        # What comes from behind enters with the first column.
        x = x.to(ACC)
        first = of_cols(tl.arange(0, COLS) == 0, OUTER)
        g = tl.where(first, g + x * of_rows(rest, OUTER), g)
        _, r = tl.associative_scan((x, g), AXIS, chain)
        tl.store(p_out + o, (r * before).to(p_out.dtype.element_ty), mask=m)
        end = of_cols(tl.arange(0, COLS) == COLS - 1, OUTER)
        rest = tl.sum(tl.where(end, r, 0), AXIS).to(ACC)


@triton.jit(do_not_specialize=["n"])
def log_parts_kernel(p_plus, p_minus, p_g, p_y, n, BLOCK: tl.constexpr):
    """log(max(g, 0)) - y and log(max(-g, 0)) - y; all arrays are (n,)."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = o < n
    ACC: tl.constexpr = p_plus.dtype.element_ty
    g = tl.load(p_g + o, mask=m, other=0).to(ACC)
    y = tl.load(p_y + o, mask=m, other=0).to(ACC)
    nan = g != g
    tl.store(p_plus + o, tl.log(tl.where((g > 0) | nan, g, 0.0)) - y, mask=m)
    tl.store(p_minus + o, tl.log(tl.where((g < 0) | nan, -g, 0.0)) - y, mask=m)


@triton.jit(do_not_specialize=["n"])
def log_join_kernel(p_out, p_plus, p_minus, p_x, n, BLOCK: tl.constexpr):
    """out = exp(plus + x) - exp(minus + x); all arrays are (n,)."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = o < n
    plus = tl.load(p_plus + o, mask=m, other=0)
    minus = tl.load(p_minus + o, mask=m, other=0)
    x = tl.load(p_x + o, mask=m, other=0).to(plus.dtype)
    out = tl.exp(plus + x) - tl.exp(minus + x)
    tl.store(p_out + o, out.to(p_out.dtype.element_ty), mask=m)


# -- host --------------------------------------------------------------------------------------


def _served(out: Any, *inputs: Any) -> bool:
    return out.is_contiguous() and all(a.dtype.name in FLOATS for a in (out, *inputs))


def cumprod_backward(launch: Any, out: Any, grad: Any, x: Any, *, dim: int) -> Any:
    """The gradient of running products along `dim`; zeros among the factors are no exception."""
    if not _served(out, grad, x):
        return NotImplemented
    grad, x = dense(launch, grad), dense(launch, x)
    y = launch.empty(x.shape, float64 if x.dtype is float64 else float32)
    cumprod(launch, y, x, dim=dim)
    plan = plan_of(x, out, dim, BLOCK)
    step = x.strides[dim] if x.shape else 1
    sizes, strides = plan.ints[:3], plan.ints[3:7]
    launch(
        cumprod_backward_kernel,
        (plan.blocks,),
        [out, grad, x, y, plan.rows, plan.n, *sizes, *strides, step],
        {**plan.constants, "ACC": getattr(tl, plan.acc.name)},
    )
    return None


def logcumsumexp_backward(launch: Any, out: Any, grad: Any, x: Any, y: Any, *, dim: int) -> Any:
    """exp(x) times the sums from the end of g exp(-y), in logarithms, for each sign of g apart."""
    if not _served(out, grad, x, y):
        return NotImplemented
    grad, x, y = (dense(launch, a) for a in (grad, x, y))
    acc = float64 if float64 in (grad.dtype, x.dtype, y.dtype) else float32
    parts = [launch.empty(x.shape, acc) for _ in range(2)]
    sums = [launch.empty(x.shape, acc) for _ in range(2)]
    grid, constants = (cdiv(x.size, BLOCK),), {"BLOCK": BLOCK}
    launch(log_parts_kernel, grid, [*parts, grad, y, x.size], constants)
    for part, total in zip(parts, sums):
        logcumsumexp(launch, total, part, dim=dim, reverse=True)
    launch(log_join_kernel, grid, [out, *sums, x, x.size], constants)
    return None
