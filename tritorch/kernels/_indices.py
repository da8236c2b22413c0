"""What reading and writing by index share: indices wrapped, joined, and turned into sorted keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from ._rows import (
    INTEGERS,
    NARROW,
    PLANS,
    Plan,
    Shape,
    dense_strides,
    digits,
    merge,
    row_offset,
    run,
    tables,
    tile,
    tile_size,
)
from .copy import copy, fill, served


@triton.jit
def wrap(i, size, WIDE: tl.constexpr):
    """An index counted from the start, and whether it lies in range."""
    i = tl.where(i < 0, i + size, i)
    m = (i >= 0) & (i < size)
    if not WIDE:
        i = i.to(tl.int32)
    return i, m


@triton.jit(do_not_specialize=[*INTEGERS, "limit", "skip"])
def index_key_kernel(
    p_key,  # (n0, n1, n2, n3, n_cols): the position of a target
    p_index,  # the same
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,  # of the target itself, where FIRST
    si0, si1, si2, si3, si4,
    n, k, limit, skip,
    FIRST: tl.constexpr, DIMS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """key (+)= index * k; `limit` where an index is out of range or equals `skip`."""
    o_r, o_c = tile(n_cols, ROWS, COLS, True)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    m = (o_r < n_rows) & (o_c < n_cols)
    o_index = row_offset(i0, i1, i2, i3, si0, si1, si2, si3, 1, DIMS) + o_c * si4
    index, m_i = wrap(tl.load(p_index + o_index, mask=m, other=0), n, True)
    p_key += row_offset(i0, i1, i2, i3, so0, so1, so2, so3, 1, DIMS) + o_c * so4
    if FIRST:
        key = row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, 1, DIMS) + o_c * sx4
    else:
        key = tl.load(p_key, mask=m, other=0).to(tl.int64)
    valid = m_i & (index != skip) & (key < limit)
    key = tl.where(valid, key + index * k, limit)
    tl.store(p_key, key.to(p_key.dtype.element_ty), mask=m)


def takes(index: Any, *arrays: Any) -> bool:
    """Whether these dtypes are served; keys are as wide as the index."""
    narrow = index.dtype.name == "int32" and all(a.span()[1] < NARROW for a in arrays)
    return served(*arrays) and (index.dtype.name == "int64" or narrow)


def without(values: Sequence[int], dim: int) -> list[int]:
    return [v for d, v in enumerate(values) if d != dim]


def broadcast(indices: Sequence[Any]) -> tuple[int, ...]:
    n = max(i.ndim for i in indices)
    padded = [(1,) * (n - i.ndim) + i.shape for i in indices]
    return tuple(next((m for m in each if m != 1), 1) for each in zip(*padded))


def layout(ndim: int, dims: Sequence[int], n: int) -> tuple[int, list[int | None]]:
    """Where the n dimensions of the indices stand in a result, and each dimension's place in x."""
    adjacent = [*dims] == [*range(dims[0], dims[0] + len(dims))]
    at = dims[0] if adjacent else 0
    rest: list[int | None] = [d for d in range(ndim) if d not in dims]
    return at, rest[:at] + [None] * n + rest[at:]


def linear(
    launch: Any, indices: Sequence[Any], shape: tuple[int, ...], sizes: Sequence[int],
    strides: Sequence[int], fresh: bool = False,
) -> tuple[Any, int, int]:  # fmt: skip
    """Indices along several dimensions as one: (keys, their limit, the stride of a key).

    A single index is given back as it is, unless `fresh`; else negative ones are wrapped.
    """
    if len(indices) == 1 and not fresh:
        return indices[0], sizes[0], strides[0]
    unit = math.gcd(*strides) or 1
    steps = [s // unit for s in strides]
    limit = 1 + sum(max(n - 1, 0) * s for n, s in zip(sizes, steps))
    keys = launch.empty(shape, indices[0].dtype)
    for i, (index, n, k) in enumerate(zip(indices, sizes, steps)):
        base = (0,) * len(shape) if i == 0 else None
        key_pass(launch, keys, index.broadcast_to(shape), base, n, k, limit)
    return keys, limit, unit


def key_pass(
    launch: Any, keys: Any, index: Any, base: Sequence[int] | None, size: int, stride: int,
    limit: int, skip: int = -1,
) -> None:  # fmt: skip
    """keys = base + index * stride, where base is an offset by strides, or what keys hold."""
    first = base is not None
    given = (keys.shape, keys.strides, base if first else keys.strides, index.strides, first)
    run(launch, _key_plans(*given), (keys, index), size, stride, limit, skip)


@lru_cache(PLANS)
def _key_plans(shape: Shape, sk: Shape, sb: Shape, si: Shape, first: bool) -> tuple[Plan, ...]:
    plans = []
    for t in tables(shape, sk, sb, si):
        grid, constants = t.tiles(tile_size(8))
        ints = (t.rows, t.cols, *t.sizes, *(s for each in t.strides for s in each))
        del constants["WIDE"]
        at = (t.at[0], t.at[2])
        plans.append(Plan(index_key_kernel, grid, ints, constants | {"FIRST": first}, at))
    return tuple(plans)


def constant(launch: Any, dtype: Any, value: float) -> Any:
    """An Array without dimensions that holds value."""
    out = launch.empty((1,), dtype)
    fill(launch, out, value=value)
    return out.strided((), ())


def as_array(launch: Any, values: Any, out: Any) -> Any:
    scalar_given = isinstance(values, (bool, int, float, complex))
    return constant(launch, out.dtype, values) if scalar_given else values


def merged(launch: Any, x: Any, n: int) -> Any:
    """x with its first n dimensions as one; copied where no single stride runs through them."""
    shape = (math.prod(x.shape[:n]), *x.shape[n:])
    runs = merge(x.shape[:n], [dense_strides(x.shape[:n]), x.strides[:n]])
    if len(runs) == 1:
        return x.strided(shape, (runs[0][1][1], *x.strides[n:]))
    out = launch.empty(shape, x.dtype)
    copy(launch, out.reshape(x.shape), x)
    return out
