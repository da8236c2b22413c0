"""Bisection in sorted rows, and what draws with it: searchsorted, multinomial."""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from ..dtypes import float64
from ._index import run
from ._order import WORDS
from ._rows import NARROW, cdiv
from .copy import copy
from .random import uniform
from .scan import cumsum
from .sort import rows_along, topk

BLOCK = 512  # values of a program
SPECIAL = ("n", "k", "size", "n_blocks", "steps")


@triton.jit
def less(a, b):
    """a < b, where NaN is the largest."""
    if a.dtype.is_floating():
        return (a < b) | ((b != b) & (a == a))
    else:
        return a < b


@triton.jit
def computed(x):
    """x in a type that is compared as it is."""
    if x.dtype.is_bool():
        return x.to(tl.int32)
    elif x.dtype.is_floating() and x.dtype.primitive_bitwidth < 32:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def bisect(p_table, value, low, high, steps, RIGHT: tl.constexpr):
    """The first position whose element is not less than the value, or with RIGHT is greater."""
    for _ in range(steps):
        middle = (low + high) // 2
        m = low < high
        at = computed(tl.load(p_table + middle, mask=m, other=0))
        on = m & ((not_(less(value, at))) if RIGHT else less(at, value))
        low = tl.where(on, middle + 1, low)
        high = tl.where(m & not_(on), middle, high)
    return low


@triton.jit
def not_(m):
    return m == 0


@triton.jit(do_not_specialize=SPECIAL)
def search_kernel(
    p_out,  # (rows, size)
    p_table,  # (rows, n), rows k apart
    p_value,  # (rows, size)
    n, k, size, n_blocks, steps,
    RIGHT: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Where values belong in a sorted row."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    row = i // n_blocks
    o = i % n_blocks * BLOCK + tl.arange(0, BLOCK)
    m = o < size
    value = computed(tl.load(p_value + row * size + o, mask=m, other=0))
    low = tl.zeros((BLOCK,), tl.int32)
    low = bisect(p_table + row * k, value, low, tl.where(m, n, 0).to(tl.int32), steps, RIGHT)
    tl.store(p_out + row * size + o, low.to(p_out.dtype.element_ty), mask=m)


@triton.jit
def step_off(p_weight, found, m, n, STEP: tl.constexpr):
    """Positions moved in one direction to the next weight that is not 0, or to the end."""
    empty = m & (tl.load(p_weight + found, mask=m, other=1) == 0)
    while tl.max(empty.to(tl.int32), 0) > 0:
        to = found + STEP
        empty = empty & (to >= 0) & (to < n)
        found = tl.where(empty, to, found)
        empty = empty & (tl.load(p_weight + found, mask=empty, other=1) == 0)
    return found


@triton.jit(do_not_specialize=SPECIAL)
def multinomial_kernel(
    p_out,  # (rows, size)
    p_total,  # (rows, n): running sums of the weights
    p_weight,  # (rows, n)
    p_uniform,  # (rows, size)
    n, size, n_blocks, steps,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The element in whose part of the sum a uniform number falls; none of weight 0."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    row = i // n_blocks
    o = i % n_blocks * BLOCK + tl.arange(0, BLOCK)
    m = o < size
    p_total += row * n
    p_weight += row * n
    whole = tl.load(p_total + n - 1)
    value = tl.load(p_uniform + row * size + o, mask=m, other=0) * whole
    low = tl.zeros((BLOCK,), tl.int32)
    high = tl.where(m, n, 0).to(tl.int32)
    found = bisect(p_total, value, low, high, steps, True)
    last = bisect(p_total, tl.zeros((BLOCK,), tl.float64) + whole, low, high, steps, False)
    found = tl.minimum(found, last)  # rounding may reach the end
    # Rounded sums may rise where a weight is 0: take the element before, or behind.
    found = step_off(p_weight, found, m, n, -1)
    found = step_off(p_weight, found, m, n, 1)
    tl.store(p_out + row * size + o, found.to(tl.int64), mask=m)


@triton.jit(do_not_specialize=SPECIAL)
def clock_kernel(
    p_out,  # (size,): when an exponential clock of each rate rings
    p_rate,  # (size,)
    p_uniform,  # (size,)
    size,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """out = -log(1 - u) / rate."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = o < size
    u = tl.load(p_uniform + o, mask=m, other=0)
    tl.store(p_out + o, -tl.log(1.0 - u) / tl.load(p_rate + o, mask=m, other=1), mask=m)


# -- host --------------------------------------------------------------------------------------


def dense(launch: Any, x: Any, dtype: Any = None) -> Any:
    """A contiguous array of these elements: x itself, or a copy."""
    if x.is_contiguous() and dtype in (None, x.dtype):
        return x
    out = launch.empty(x.shape, dtype or x.dtype)
    copy(launch, out, x)
    return out


def searchsorted(launch: Any, out: Any, table: Any, values: Any, *, right: bool) -> Any:
    """Where each value belongs in the sorted last dimension of the table."""
    if table.dtype is not values.dtype or table.dtype.name not in WORDS:
        return NotImplemented
    n = table.shape[-1] if table.ndim else 1
    if n >= NARROW:
        return NotImplemented
    rows = rows_along(launch, table, max(table.ndim - 1, 0))
    assert rows is not None
    size = values.size // max(rows.count, 1)
    to = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    blocks = cdiv(size, BLOCK)
    args = [to, rows.x, dense(launch, values), n, rows.k, size, blocks, n.bit_length()]
    wide = max(values.size, rows.count * rows.k) >= NARROW
    constants = {"RIGHT": right, "WIDE": wide, "BLOCK": BLOCK}
    run(launch, search_kernel, (rows.count * blocks,), args, constants)
    if to is not out:
        copy(launch, out, to)
    return None


def multinomial(
    launch: Any, out: Any, p: Any, *, num_samples: int, replacement: bool, seed: int, offset: Any
) -> Any:
    """Places drawn in proportion to the elements of each row of p."""
    n = p.shape[-1]
    if not p.dtype.is_floating_point or n >= NARROW or p.dtype.name not in WORDS:
        return NotImplemented
    count = math.prod(p.shape[:-1])
    weight = dense(launch, p, float64).strided((count, n), (n, 1))
    to = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    if replacement or num_samples == 1:
        _with_replacement(launch, to, weight, num_samples, seed, offset)
    else:
        u = launch.empty((count, n), float64)
        uniform(launch, u, seed=seed, offset=offset)
        clock = launch.empty((count, n), float64)
        run(launch, clock_kernel, (cdiv(u.size, BLOCK),), [clock, weight, u, u.size],
            {"BLOCK": BLOCK})  # fmt: skip
        times = launch.empty((count, num_samples), float64)
        places = to.strided((count, num_samples), (num_samples, 1))
        topk(launch, (times, places), clock, k=num_samples, dim=1, largest=False)
    if to is not out:
        copy(launch, out, to)
    return None


def _with_replacement(
    launch: Any, out: Any, weight: Any, num_samples: int, seed: int, offset: Any
) -> None:
    count, n = weight.shape
    u = launch.empty((count, num_samples), float64)
    uniform(launch, u, seed=seed, offset=offset)
    total = launch.empty((count, n), float64)
    cumsum(launch, total, weight, dim=1)
    blocks = cdiv(num_samples, BLOCK)
    constants = {"WIDE": max(u.size, weight.size) >= NARROW, "BLOCK": BLOCK}
    args = [out, total, weight, u, n, num_samples, blocks, n.bit_length()]
    run(launch, multinomial_kernel, (count * blocks,), args, constants)
