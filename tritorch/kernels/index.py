"""Reading by index: gather, rows picked, advanced indexing, masked fill, positions of non-zeros.

Indices are int64 or int32, negative ones count from the end. One out of range reads as 0: no memory
beside the array is touched. What writes by index lies in `scatter.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from ._indices import broadcast, layout, linear, takes, wrap
from ._rows import (
    INTEGERS,
    PLANS,
    Plan,
    Shape,
    bits,
    cdiv,
    column_offset,
    convert,
    dense_strides,
    digits,
    flat_offset,
    real_view,
    row_offset,
    run,
    scalar,
    tables,
    tile,
    tile_size,
    units,
    vector,
)
from ._segments import SCAN_BLOCK, sort_scan_kernel
from .copy import copy, served
from .scatter import index_add, index_put, scatter

__all__ = ["gather", "index", "index_add", "index_put", "index_select", "masked_fill", "nonzero",
           "pick", "scatter"]  # fmt: skip

NONZERO_BLOCK = 1024


@triton.jit(do_not_specialize=INTEGERS)
def gather_forward_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    p_x,  # the same, without the dimension of size n along which the index goes
    p_index,  # the same as out
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    si0, si1, si2, si3, si4,
    n, k,  # size and stride of the dimension, the latter in units of X_VEC
    O_STEP: tl.constexpr, X_STEP: tl.constexpr, I_STEP: tl.constexpr, VEC: tl.constexpr,
    X_VEC: tl.constexpr, I_VEC: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = x at the index along one dimension; the index is read once a row where it can be."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    m_r = o_r < n_rows
    m = m_r & (o_c < n_cols)
    p_index += row_offset(i0, i1, i2, i3, si0, si1, si2, si3, I_VEC, DIMS)
    if I_STEP == 0:
        index = tl.load(p_index, mask=m_r, other=0)
    else:
        index = tl.load(p_index + column_offset(o_c, si4, I_STEP), mask=m, other=0)
    index, m_i = wrap(index, n, WIDE)
    o_x = row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, X_VEC, DIMS) + index * k * X_VEC
    x = tl.load(p_x + o_x + column_offset(o_c, sx4, X_STEP), mask=m & m_i, other=0)
    o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    tl.store(p_out + o_out + column_offset(o_c, so4, O_STEP), x, mask=m)


@triton.jit(do_not_specialize=INTEGERS)
def masked_fill_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    p_x,  # the same
    p_mask,  # the same
    p_value,  # one element, where not SCALAR
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    si0, si1, si2, si3, si4,
    value: tl.int64,
    SCALAR: tl.constexpr, FLOAT: tl.constexpr, O_STEP: tl.constexpr, X_STEP: tl.constexpr,
    I_STEP: tl.constexpr, VEC: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = value where mask, else x."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    m = (o_r < n_rows) & (o_c < n_cols)
    p_x += row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, VEC, DIMS)
    p_mask += row_offset(i0, i1, i2, i3, si0, si1, si2, si3, VEC, DIMS)
    p_out += row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    x = convert(tl.load(p_x + column_offset(o_c, sx4, X_STEP), mask=m, other=0),
                p_out.dtype.element_ty)  # fmt: skip
    m_fill = tl.load(p_mask + column_offset(o_c, si4, I_STEP), mask=m, other=0) != 0
    value = convert(scalar(value, FLOAT) if SCALAR else tl.load(p_value), p_out.dtype.element_ty)
    tl.store(p_out + column_offset(o_c, so4, O_STEP), tl.where(m_fill, value, x), mask=m)


@triton.jit
def nonzero_hits(
    p_x, o, n, n1, n2, n3, n4, s0, s1, s2, s3, s4, DENSE: tl.constexpr, DIMS: tl.constexpr
):
    """Which elements of a block are not zero, as ones."""
    o_x = flat_offset(o, n1, n2, n3, n4, s0, s1, s2, s3, s4, DENSE, DIMS)
    return convert(tl.load(p_x + o_x, mask=o < n, other=0), tl.int1).to(tl.int32)


@triton.jit(do_not_specialize=INTEGERS)
def nonzero_count_kernel(
    p_count,  # (programs,)
    p_x,  # (n0, n1, n2, n3, n4) of n elements
    n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4,
    DENSE: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """How many elements of each block are not zero."""
    i = tl.program_id(0)
    o = (i.to(tl.int64) if WIDE else i) * BLOCK + tl.arange(0, BLOCK)
    hit = nonzero_hits(p_x, o, n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4, DENSE, DIMS)
    tl.store(p_count + i, tl.sum(hit, 0).to(tl.int64))


@triton.jit(do_not_specialize=INTEGERS)
def nonzero_find_kernel(
    p_found,  # (k,)
    p_start,  # (programs,): how many come before each block
    p_x,  # (n0, n1, n2, n3, n4) of n elements
    k, n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4,
    DENSE: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The flat positions of the elements that are not zero, in order."""
    i = tl.program_id(0)
    o = (i.to(tl.int64) if WIDE else i) * BLOCK + tl.arange(0, BLOCK)
    hit = nonzero_hits(p_x, o, n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4, DENSE, DIMS)
    place = tl.load(p_start + i) + tl.cumsum(hit, 0) - hit
    tl.store(p_found + place, o.to(tl.int64), mask=(hit != 0) & (place < k))


@triton.jit(do_not_specialize=[*INTEGERS, "size", "stride"])
def nonzero_place_kernel(
    p_out,  # (n,), k apart
    p_found,  # (n,)
    n, k, size, stride,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The index of flat positions along one dimension of this size and stride."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    found = tl.load(p_found + o, mask=o < n, other=0)
    tl.store(p_out + o * k, found // stride % size, mask=o < n)


# -- launchers ---------------------------------------------------------------------------------


def gather(launch: Any, out: Any, x: Any, index: Any, *, dim: int) -> Any:
    """out[i, j, ...] = x with its index along dim replaced by index[i, j, ...]."""
    if not takes(index, out, x):
        return NotImplemented
    if not x.shape:
        return copy(launch, out, x.broadcast_to(out.shape))
    base = x.strided(out.shape, [0 if d == dim else s for d, s in enumerate(x.strides)])
    return pick(launch, out, base, index, x.shape[dim], x.strides[dim])


def index_select(launch: Any, out: Any, x: Any, index: Any, *, dim: int) -> Any:
    """out[..., i, ...] = x[..., index[i], ...] along dim."""
    if not takes(index, out, x):
        return NotImplemented
    if not x.shape:
        return copy(launch, out, x.broadcast_to(out.shape))
    base = x.strided(out.shape, [0 if d == dim else s for d, s in enumerate(x.strides)])
    stride = index.strides[0] if index.ndim else 0
    wide = index.strided(out.shape, [stride if d == dim else 0 for d in range(out.ndim)])
    return pick(launch, out, base, wide, x.shape[dim], x.strides[dim])


def index(launch: Any, out: Any, x: Any, *indices: Any, dims: Sequence[int]) -> Any:
    """out = x[..., indices, ...]: x indexed along dims by arrays that broadcast to one shape.

    Where dims are adjacent, the dimensions of the indices take their place, else they come first.
    """
    if not takes(indices[0], out, x) or len({i.dtype.name for i in indices}) > 1:
        return NotImplemented
    if out.size == 0:
        return None
    shape = broadcast(indices)
    at, order = layout(x.ndim, dims, len(shape))
    base = x.strided(out.shape, [0 if d is None else x.strides[d] for d in order])
    strides = [x.strides[d] for d in dims]
    keys, size, stride = linear(launch, indices, shape, [x.shape[d] for d in dims], strides)
    lead, rest = (0,) * at, (0,) * (out.ndim - at - len(shape))
    wide = keys.strided(out.shape, (*lead, *keys.broadcast_to(shape).strides, *rest))
    return pick(launch, out, base, wide, size, stride)


def pick(launch: Any, out: Any, x: Any, index: Any, size: int, stride: int) -> None:
    """out = x moved by index * stride, all of the shape of out; index is less than size."""
    if x.dtype.is_complex:
        last = index.strided((*out.shape, 2), (*index.strides, 0))
        pick(launch, real_view(out), real_view(x), last, size, 2 * stride)
        return
    plans = _pick_plans(out.shape, out.strides, x.strides, index.strides, x.itemsize, size, stride)
    run(launch, plans, (out, x, index))


@lru_cache(PLANS)
def _pick_plans(
    shape: Shape, so: Shape, sx: Shape, si: Shape, itemsize: int, size: int, stride: int
) -> tuple[Plan, ...]:
    plans = []
    for t in tables(shape, so, sx, si):
        so, sx, si = t.strides
        by_row = si[4] == 0
        others = (*sx[:4], stride) if by_row else si[:4]
        vec = vector(itemsize, t.cols, *so[:4], *others)
        x_vec, i_vec = (vec, 1) if by_row else (1, vec)
        o_step, x_step, i_step = t.steps()
        grid, constants = t.tiles(tile_size(itemsize, 4))
        constants |= {
            "O_STEP": o_step, "X_STEP": x_step, "I_STEP": i_step, "VEC": vec, "X_VEC": x_vec,
            "I_VEC": i_vec, "WIDE": t.wide(size * stride),
        }  # fmt: skip
        strides = (*units(so, vec), *units(sx, x_vec), *units(si, i_vec))
        ints = (t.rows, t.cols // vec, *t.sizes, *strides, size, stride // x_vec)
        plans.append(Plan(gather_forward_kernel, grid, ints, constants, t.at))
    return tuple(plans)


def masked_fill(launch: Any, out: Any, x: Any, mask: Any, value: Any) -> Any:
    """out = value where mask, else x; value is a number or an Array of one element."""
    if not served(out, x) or out.dtype.is_complex:
        return NotImplemented
    x, mask = x.broadcast_to(out.shape), mask.broadcast_to(out.shape)
    is_scalar, is_float = isinstance(value, (bool, int, float)), out.dtype.is_floating_point
    given = (out.shape, out.strides, x.strides, mask.strides, out.itemsize, x.itemsize)
    plans = _fill_plans(*given, is_scalar, is_float)
    arrays = (out, x, mask, out if is_scalar else value)
    run(launch, plans, arrays, bits(value, is_float) if is_scalar else 0)
    return None


@lru_cache(PLANS)
def _fill_plans(
    shape: Shape, so: Shape, sx: Shape, si: Shape, out_size: int, x_size: int, is_scalar: bool,
    is_float: bool,
) -> tuple[Plan, ...]:  # fmt: skip
    plans = []
    for t in tables(shape, so, sx, si):
        so, sx, si = t.strides
        vec = vector(1, t.cols, *so[:4], *sx[:4], *si[:4])
        o_step, x_step, i_step = t.steps()
        grid, constants = t.tiles(tile_size(out_size, x_size))
        constants |= {
            "SCALAR": is_scalar, "FLOAT": is_float, "O_STEP": o_step, "X_STEP": x_step,
            "I_STEP": i_step, "VEC": vec,
        }  # fmt: skip
        strides = (*units(so, vec), *units(sx, vec), *units(si, vec))
        ints = (t.rows, t.cols // vec, *t.sizes, *strides)
        plans.append(Plan(masked_fill_kernel, grid, ints, constants, (*t.at, 0)))
    return tuple(plans)


def nonzero(launch: Any, out: Any, x: Any, *, count: int) -> Any:
    """out[i] = the position of the i-th element of x that is not zero; out is (count, x.ndim)."""
    if not served(x) or x.dtype.is_complex or out.dtype.name != "int64":
        return NotImplemented
    if out.size == 0:
        return None
    seen = [*tables(x.shape, dense_strides(x.shape), x.strides)]
    if len(seen) > 1:
        dense = launch.empty(x.shape, x.dtype)
        copy(launch, dense, x)
        return nonzero(launch, out, dense, count=count)
    (t,) = seen
    programs = cdiv(x.size, NONZERO_BLOCK)
    counts = launch.empty((programs,), out.dtype)
    found = launch.empty((count,), out.dtype)
    args = [x.size, *t.sizes, t.cols, *t.strides[1]]
    dense = t.rows == 1 and t.strides[1][4] == 1
    constants = {"DENSE": dense, "DIMS": t.dims, "WIDE": t.wide(), "BLOCK": NONZERO_BLOCK}
    launch(nonzero_count_kernel, (programs,), [counts, x, *args], constants)
    launch(sort_scan_kernel, (1,), [counts, programs], {"BLOCK": SCAN_BLOCK}, num_warps=8)
    launch(nonzero_find_kernel, (programs,), [found, counts, x, count, *args], constants)
    for d, (n, k) in enumerate(zip(x.shape, dense_strides(x.shape))):
        block = tile_size(out.itemsize)
        args = [out[:, d], found, count, out.strides[0], n, k]
        launch(nonzero_place_kernel, (cdiv(count, block),), args, {"BLOCK": block})
    return None
