"""Writing by index: scatter, index_add, index_put.

Indices are int64 or int32, negative ones count from the end. One out of range writes nothing. Where
several indices meet in an accumulation, values are added in the order of the index, so results are
the same from run to run. Few values a line are added by a program that walks along the line; else
targets are sorted (`_segments.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from ..dtypes import float32
from . import _segments
from ._indices import (
    as_array,
    broadcast,
    constant,
    key_pass,
    layout,
    linear,
    merged,
    takes,
    without,
    wrap,
)
from ._rows import (
    INTEGERS,
    PLANS,
    Plan,
    Shape,
    cdiv,
    column_offset,
    convert,
    dense_strides,
    digits,
    real_view,
    row_offset,
    run,
    shift,
    tables,
    tile,
    tile_shape,
    tile_size,
    units,
    vector,
)
from ._segments import REDUCTIONS, accumulation, combine, identity
from .copy import copy

WALK_LENGTH = 16  # indices a line up to which a program walks along it, however few lines there are
WALK_LINES = 2048  # lines from which walking keeps a GPU busy
LINES = 128


@triton.jit(do_not_specialize=INTEGERS)
def scatter_forward_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols), without the dimension of size n
    p_index,  # (n0, n1, n2, n3, n_cols)
    p_src,  # the same
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    si0, si1, si2, si3, si4,
    sv0, sv1, sv2, sv3, sv4,
    n, k,
    O_STEP: tl.constexpr, I_STEP: tl.constexpr, V_STEP: tl.constexpr, VEC: tl.constexpr,
    O_VEC: tl.constexpr, I_VEC: tl.constexpr, V_VEC: tl.constexpr, DIMS: tl.constexpr,
    WIDE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out at the index along one dimension = src; of equal indices one wins."""
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
    o_src = row_offset(i0, i1, i2, i3, sv0, sv1, sv2, sv3, V_VEC, DIMS)
    src = tl.load(p_src + o_src + column_offset(o_c, sv4, V_STEP), mask=m & m_i, other=0)
    o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, O_VEC, DIMS) + index * k * O_VEC
    src = convert(src, p_out.dtype.element_ty)
    tl.store(p_out + o_out + column_offset(o_c, so4, O_STEP), src, mask=m & m_i)


@triton.jit(do_not_specialize=INTEGERS)
def scatter_walk_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols), without the dimension of size n
    p_index,  # (n0, n1, n2, n3, n_cols), without the dimension of n_walk indices
    p_src,  # the same
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    si0, si1, si2, si3, si4,
    sv0, sv1, sv2, sv3, sv4,
    n, k, n_walk, k_index, k_src,
    REDUCE: tl.constexpr, ACC: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out at the index = REDUCE of it and src: each lane walks along its own line in order."""
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    m = (o_r < n_rows) & (o_c < n_cols)
    p_out += row_offset(i0, i1, i2, i3, so0, so1, so2, so3, 1, DIMS) + o_c * so4
    p_index += row_offset(i0, i1, i2, i3, si0, si1, si2, si3, 1, DIMS) + o_c * si4
    p_src += row_offset(i0, i1, i2, i3, sv0, sv1, sv2, sv3, 1, DIMS) + o_c * sv4
    for _ in range(0, n_walk):
        index, m_i = wrap(tl.load(p_index, mask=m, other=0), n, WIDE)
        q_out = p_out + index * k
        src = convert(tl.load(p_src, mask=m & m_i, other=0), ACC)
        acc = combine(convert(tl.load(q_out, mask=m & m_i, other=0), ACC), src, REDUCE)
        tl.store(q_out, convert(acc, p_out.dtype.element_ty), mask=m & m_i)
        tl.debug_barrier()  # another thread may hold the lane at the next load
        p_index += k_index
        p_src += k_src


# -- launchers ---------------------------------------------------------------------------------


def scatter(
    launch: Any, out: Any, x: Any, index: Any, src: Any, *, dim: int, reduce: str | None = None,
    include_self: bool = True,
) -> Any:  # fmt: skip
    """out = x, then out with its index along dim replaced by index[i, j, ...] takes src[i, j, ...].

    `reduce` is None (replace; of equal indices one wins), "add" or "sum", "multiply" or "prod",
    "amax", "amin", "mean"; without `include_self` the elements that are hit do not take part.
    """
    reduce = REDUCTIONS.get(reduce, reduce)
    if not takes(index, out, x) or (out.dtype.is_complex and reduce not in (None, "add")):
        return NotImplemented
    copy(launch, out, x)
    if index.size == 0:
        return None
    if not out.shape:
        out, index = out.strided((1,), (1,)), index.strided((1,), (1,))
    src = as_array(launch, src, out)
    src = src.strided(index.shape, src.strides) if src.ndim else src.broadcast_to(index.shape)
    if reduce is None:
        base = out.strided(index.shape, [0 if d == dim else s for d, s in enumerate(out.strides)])
        put(launch, base, index, src, out.shape[dim], out.strides[dim])
    else:
        _reduce_into(launch, out, index, src, dim, reduce, include_self)
    return None


def index_add(
    launch: Any, out: Any, x: Any, index: Any, src: Any, *, dim: int, alpha: float = 1
) -> Any:
    """out = x, then out[..., index[i], ...] += alpha * src[..., i, ...] along dim."""
    if not takes(index, out, x):
        return NotImplemented
    copy(launch, out, x)
    if src.size == 0:
        return None
    if not out.shape:
        out, src = out.strided((1,), (1,)), src.broadcast_to((index.size,))
    shape, n, s = (src.shape[dim],), out.shape[dim], out.strides[dim]
    keys, size, stride = linear(launch, [index.broadcast_to(shape)], shape, [n], [s], fresh=True)
    rest = [d for d in range(out.ndim) if d != dim]
    others = out.strided([out.shape[d] for d in rest], [out.strides[d] for d in rest])
    src = src.transpose([dim, *rest])
    _segments.accumulate(launch, others, src, keys, size, stride, "add", alpha=alpha)
    return None


def index_put(
    launch: Any, out: Any, x: Any, values: Any, *indices: Any, dims: Sequence[int],
    accumulate: bool = False,
) -> Any:  # fmt: skip
    """out = x, then out[..., indices, ...] = values, or += with accumulate; layout as `index`."""
    if not takes(indices[0], out, x) or len({i.dtype.name for i in indices}) > 1:
        return NotImplemented
    copy(launch, out, x)
    shape = broadcast(indices)
    at, order = layout(out.ndim, dims, len(shape))
    inner = iter(shape)
    full = [next(inner) if d is None else out.shape[d] for d in order]
    if 0 in full:
        return None
    values = as_array(launch, values, out).broadcast_to(full)
    sizes, strides = [out.shape[d] for d in dims], [out.strides[d] for d in dims]
    keys, size, stride = linear(launch, indices, shape, sizes, strides, fresh=accumulate)
    if not accumulate:
        base = out.strided(full, [0 if d is None else out.strides[d] for d in order])
        lead, rest = (0,) * at, (0,) * (len(full) - at - len(shape))
        wide = keys.strided(full, (*lead, *keys.broadcast_to(shape).strides, *rest))
        put(launch, base, wide, values, size, stride)
        return None
    rest = [d for d in order if d is not None]
    others = out.strided([out.shape[d] for d in rest], [out.strides[d] for d in rest])
    indexed = range(at, at + len(shape))
    values = values.transpose([*indexed, *(d for d in range(len(full)) if d not in indexed)])
    src = merged(launch, values, len(shape))
    keys = keys.reshape((keys.size,))
    _segments.accumulate(launch, others, src, keys, size, stride, "add")
    return None


def put(launch: Any, out: Any, index: Any, src: Any, size: int, stride: int) -> None:
    """out moved by index * stride = src, all of the shape of index; index is less than size."""
    if out.dtype.is_complex:
        last = index.strided((*index.shape, 2), (*index.strides, 0))
        put(launch, real_view(out), last, real_view(src), size, 2 * stride)
        return
    strides = out.strides, index.strides, src.strides
    plans = _put_plans(index.shape, *strides, out.itemsize, src.itemsize, size, stride)
    run(launch, plans, (out, index, src))


@lru_cache(PLANS)
def _put_plans(
    shape: Shape, so: Shape, si: Shape, sv: Shape, out_size: int, src_size: int, size: int,
    stride: int,
) -> tuple[Plan, ...]:  # fmt: skip
    plans = []
    for t in tables(shape, dense_strides(shape), so, si, sv):
        _, so, si, sv = t.strides
        by_row = si[4] == 0
        others = (*so[:4], stride) if by_row else si[:4]
        vec = vector(min(out_size, src_size), t.cols, *sv[:4], *others)
        o_vec, i_vec = (vec, 1) if by_row else (1, vec)
        _, o_step, i_step, v_step = t.steps()
        grid, constants = t.tiles(tile_size(out_size, src_size, 4))
        constants |= {
            "O_STEP": o_step, "I_STEP": i_step, "V_STEP": v_step, "VEC": vec, "O_VEC": o_vec,
            "I_VEC": i_vec, "V_VEC": vec, "WIDE": t.wide(size * stride),
        }  # fmt: skip
        strides = (*units(so, o_vec), *units(si, i_vec), *units(sv, vec))
        ints = (t.rows, t.cols // vec, *t.sizes, *strides, size, stride // o_vec)
        plans.append(Plan(scatter_forward_kernel, grid, ints, constants, t.at[1:]))
    return tuple(plans)


def _reduce_into(
    launch: Any, out: Any, index: Any, src: Any, dim: int, reduce: str, include_self: bool
) -> None:
    """out at the index = reduce of it (where include_self) and src."""
    base = out.strided(index.shape, [0 if d == dim else s for d, s in enumerate(out.strides)])
    size, stride = out.shape[dim], out.strides[dim]
    few_lines = index.size // index.shape[dim] < WALK_LINES
    if reduce == "mean" or out.dtype.is_complex or (few_lines and index.shape[dim] > WALK_LENGTH):
        keys = launch.empty((index.size,), index.dtype)
        limit = out.span()[1]
        key_pass(launch, keys.reshape(index.shape), index, base.strides, size, stride, limit)
        src = merged(launch, src, src.ndim)
        element = out.strided((), ())
        _segments.accumulate(launch, element, src, keys, limit, 1, reduce, keep=include_self)
    elif out.itemsize < 4 and out.dtype.is_floating_point:
        wide = launch.empty(out.shape, float32)
        copy(launch, wide, out)
        _reduce_into(launch, wide, index, src, dim, reduce, include_self)
        copy(launch, out, wide)
    else:
        if not include_self:
            neutral = constant(launch, out.dtype, identity(reduce, out.dtype))
            put(launch, base, index, neutral.broadcast_to(index.shape), size, stride)
        _walk(launch, base, index, src, size, stride, dim, reduce)


def _walk(
    launch: Any, out: Any, index: Any, src: Any, size: int, stride: int, dim: int, reduce: str
) -> None:
    lines = [a.strided(without(a.shape, dim), without(a.strides, dim)) for a in (out, index, src)]
    shape, n = lines[0].shape, index.shape[dim]
    for t in tables(shape, dense_strides(shape), *(a.strides for a in lines)):
        rows, cols = tile_shape(t.rows, t.cols, LINES)
        strides = [s for each in t.strides[1:] for s in each]
        wide = t.wide(size * stride, n * index.strides[dim], n * src.strides[dim])
        launch(
            scatter_walk_kernel,
            (cdiv(t.rows, rows) * cdiv(t.cols, cols),),
            [*(shift(a, o) for a, o in zip(lines, t.at[1:])), t.rows, t.cols, *t.sizes, *strides,
             size, stride, n, index.strides[dim], src.strides[dim]],
            {"REDUCE": reduce, "ACC": accumulation(out.dtype), "DIMS": t.dims, "WIDE": wide,
             "ROWS": rows, "COLS": cols},
        )  # fmt: skip
