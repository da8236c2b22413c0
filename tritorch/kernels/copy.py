"""Copies between strided arrays with a cast, and what is made of copies: cat, flip, roll.

Three kernels copy: a flat one where both sides are dense, one over rows, and one over square tiles
where the fastest dimensions of the two sides differ: each is then read or written along memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl

from ._rows import (
    FLOATS,
    INTEGERS,
    NARROW,
    PLANS,
    REAL,
    Plan,
    Shape,
    Table,
    as_bytes,
    bits,
    cdiv,
    column_offset,
    convert,
    digits,
    pow2,
    real_view,
    row_offset,
    run,
    scalar,
    step,
    tables,
    tile,
    tile_size,
    units,
    vector,
)

SQUARE = 64
SQUARE_ELEMENTS = SQUARE * SQUARE
SMALL = 1024  # elements of two dimensions that are too few for a tile of their own


@triton.jit(do_not_specialize=INTEGERS)
def copy_flat_kernel(
    p_out,  # (n,)
    p_x,  # (n,), or one element where X_STEP is 0
    n,
    X_STEP: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = x, both dense."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    if (i + 1) * BLOCK <= n:
        tl.store(p_out + o, convert(tl.load(p_x + o * X_STEP), p_out.dtype.element_ty))
    else:
        x = tl.load(p_x + o * X_STEP, mask=o < n, other=0)
        tl.store(p_out + o, convert(x, p_out.dtype.element_ty), mask=o < n)


@triton.jit(do_not_specialize=INTEGERS)
def copy_rows_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    p_x,  # the same
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    O_STEP: tl.constexpr, X_STEP: tl.constexpr, VEC: tl.constexpr, DIMS: tl.constexpr,
    WIDE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = x, a tile of ROWS x COLS a program."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    m = (o_r < n_rows) & (o_c < n_cols)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    o_x = row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, VEC, DIMS)
    o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    x = tl.load(p_x + o_x + column_offset(o_c, sx4, X_STEP), mask=m, other=0)
    x = convert(x, p_out.dtype.element_ty)
    tl.store(p_out + o_out + column_offset(o_c, so4, O_STEP), x, mask=m)


@triton.jit(do_not_specialize=INTEGERS)
def copy_transposed_kernel(
    p_out,  # (n0, n1, n2, n_rows * X_VEC, n_cols * VEC), its columns the fastest
    p_x,  # the same, its rows the fastest
    n_rows, n_cols, n1, n2,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    O_STEP: tl.constexpr, X_STEP: tl.constexpr, VEC: tl.constexpr, X_VEC: tl.constexpr,
    DIMS: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = x through a tile that is read along the rows and written along the columns."""
    n_rows = n_rows * X_VEC
    n_cols = n_cols * VEC
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n_r = tl.cdiv(n_rows, ROWS)
    n_c = tl.cdiv(n_cols, COLS)
    o_r = i // n_c % n_r * ROWS + tl.arange(0, ROWS)[:, None]
    o_c = i % n_c * COLS + tl.arange(0, COLS)[None, :]
    m = (o_r < n_rows) & (o_c < n_cols)
    _, i1, i2, i3 = digits(i // (n_c * n_r), 1, n1, n2, DIMS)
    p_x += row_offset(0, i1, i2, i3, 0, sx0, sx1, sx2, X_VEC, DIMS)
    p_out += row_offset(0, i1, i2, i3, 0, so0, so1, so2, VEC, DIMS)
    x = tl.load(p_x + column_offset(o_r, sx3, X_STEP) + o_c * (sx4 * X_VEC), mask=m, other=0)
    x = convert(x, p_out.dtype.element_ty)
    tl.store(p_out + o_r * (so3 * VEC) + column_offset(o_c, so4, O_STEP), x, mask=m)


@triton.jit(do_not_specialize=INTEGERS)
def fill_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    value: tl.int64,
    FLOAT: tl.constexpr, O_STEP: tl.constexpr, VEC: tl.constexpr, DIMS: tl.constexpr,
    WIDE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = value."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    x = convert(scalar(value, FLOAT), p_out.dtype.element_ty)
    p_out += o_out + column_offset(o_c, so4, O_STEP)
    tl.store(p_out, x, mask=(o_r < n_rows) & (o_c < n_cols))


@triton.jit(do_not_specialize=INTEGERS)
def arange_kernel(
    p_out,  # (n,)
    n, start: tl.int64, step: tl.int64,
    FLOAT: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = start + i * step, in float64 or int64."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    x = o.to(tl.float64 if FLOAT else tl.int64) * scalar(step, FLOAT) + scalar(start, FLOAT)
    x = convert(x, p_out.dtype.element_ty)
    if (i + 1) * BLOCK <= n:
        tl.store(p_out + o, x)
    else:
        tl.store(p_out + o, x, mask=o < n)


@triton.jit(do_not_specialize=INTEGERS)
def linspace_kernel(
    p_out,  # (n,)
    n, start: tl.int64, end: tl.int64, step: tl.int64,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = start + i * step, in the second half end - (n - 1 - i) * step; in float64."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    first = scalar(start, True) + o.to(tl.float64) * scalar(step, True)
    second = scalar(end, True) - (n - 1 - o).to(tl.float64) * scalar(step, True)
    x = convert(tl.where(o < n // 2, first, second), p_out.dtype.element_ty)
    if (i + 1) * BLOCK <= n:
        tl.store(p_out + o, x)
    else:
        tl.store(p_out + o, x, mask=o < n)


@triton.jit(do_not_specialize=INTEGERS)
def triangle_kernel(
    p_out,  # (n0, n1, n2, n3, n_cols * VEC)
    p_x,  # the same
    n_rows, n_cols, n1, n2, n3,
    so0, so1, so2, so3, so4,
    sx0, sx1, sx2, sx3, sx4,
    k,
    UPPER: tl.constexpr, O_STEP: tl.constexpr, X_STEP: tl.constexpr, VEC: tl.constexpr,
    DIMS: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """out = x on one side of the k-th diagonal of the last two dimensions, else 0."""
    n_cols = n_cols * VEC
    o_r, o_c = tile(n_cols, ROWS, COLS, WIDE)
    m = (o_r < n_rows) & (o_c < n_cols)
    i0, i1, i2, i3 = digits(o_r, n1, n2, n3, DIMS)
    keep = o_c - i3 >= k if UPPER else o_c - i3 <= k
    o_x = row_offset(i0, i1, i2, i3, sx0, sx1, sx2, sx3, VEC, DIMS)
    o_out = row_offset(i0, i1, i2, i3, so0, so1, so2, so3, VEC, DIMS)
    x = tl.load(p_x + o_x + column_offset(o_c, sx4, X_STEP), mask=m, other=0)
    x = tl.where(keep, x, tl.zeros_like(x))
    tl.store(p_out + o_out + column_offset(o_c, so4, O_STEP), x, mask=m)


# -- launchers ---------------------------------------------------------------------------------


def served(*arrays: Any) -> bool:
    """Whether these dtypes are served: all but float8; complex ones as pairs of floats."""
    return all(x.dtype.is_complex or x.dtype.name in REAL for x in arrays)


def copy(launch: Any, out: Any, x: Any) -> Any:
    """out = x, cast to the dtype of out; any strides on both sides. Float8 is not cast."""
    if out.dtype is x.dtype and "float8" in x.dtype.name:
        out, x = as_bytes(out), as_bytes(x)
    if not served(out, x):
        return NotImplemented
    if out.dtype.is_complex or x.dtype.is_complex:
        _copy_complex(launch, out, x)
        return None
    plans = _copy_plans(out.shape, out.strides, x.strides, out.itemsize, x.itemsize)
    run(launch, plans, (out, x))
    return None


def _copy_complex(launch: Any, out: Any, x: Any) -> None:
    if out.dtype.is_complex and x.dtype.is_complex:
        copy(launch, real_view(out), real_view(x))
    elif out.dtype.is_complex:
        copy(launch, real_view(out)[..., 0], x)
        fill(launch, real_view(out)[..., 1], value=0)
    else:
        copy(launch, out, real_view(x)[..., 0])


def from_parts(launch: Any, out: Any, real: Any, imag: Any) -> Any:
    """out = real + imag * 1j."""
    if not served(real, imag):
        return NotImplemented
    for k, part in enumerate((real, imag)):
        copy(launch, real_view(out)[..., k], part.broadcast_to(out.shape))
    return None


def _fastest(t: Table) -> int | None:
    """The row dimension along which x moves in smaller steps than along the columns, if any."""
    step = abs(t.strides[1][4])
    if step <= 1:
        return None
    sizes = (t.rows, *t.sizes)  # the first is an upper bound: only whether it is 1 counts
    moving = [d for d in range(4 - t.dims, 4) if sizes[d] > 1 and t.strides[1][d]]
    best = min(moving, key=lambda d: abs(t.strides[1][d]), default=None)
    if best is None or abs(t.strides[1][best]) >= step:
        return None
    n = sizes[best] if best else t.rows // math.prod(t.sizes)
    return best if n * t.cols >= SMALL else None


@lru_cache(PLANS)
def _copy_plans(shape: Shape, so: Shape, sx: Shape, *sizes: int) -> tuple[Plan, ...]:
    """The launches of a copy; `sizes` are those of an element of out and of x."""
    return tuple(_copy_plan(t, *sizes) for t in tables(shape, so, sx))


def _copy_plan(t: Table, out_size: int, x_size: int) -> Plan:
    dense = t.rows == 1 and t.strides[0][4] == 1 and t.strides[1][4] in (0, 1)
    fastest = _fastest(t)
    if dense:
        block = tile_size(out_size, x_size)
        constants = {"X_STEP": t.strides[1][4], "WIDE": t.cols >= NARROW, "BLOCK": block}
        return Plan(copy_flat_kernel, (cdiv(t.cols, block),), (t.cols,), constants, t.at)
    if fastest is not None:
        return _transposed_plan(t, out_size, x_size, fastest)
    so, sx = t.strides
    vec = vector(min(out_size, x_size), t.cols, *so[:4], *sx[:4])
    o_step, x_step = t.steps()
    ints = (t.rows, t.cols // vec, *t.sizes, *units(so, vec), *units(sx, vec))
    grid, constants = t.tiles(tile_size(out_size, x_size))
    constants |= {"O_STEP": o_step, "X_STEP": x_step, "VEC": vec}
    return Plan(copy_rows_kernel, grid, ints, constants, t.at)


def _transposed_plan(t: Table, out_size: int, x_size: int, fastest: int) -> Plan:
    n = [t.rows // math.prod(t.sizes), *t.sizes]
    order = [d for d in range(4) if d != fastest] + [fastest, 4]
    so, sx = ([s[d] for d in order] for s in t.strides)
    n_rows, (n0, n1, n2) = n[fastest], (n[d] for d in order[:3])
    vec, x_vec = vector(out_size, t.cols, *so[:4]), vector(x_size, n_rows, *sx[:3], sx[4])
    rows, cols = _square(n_rows, t.cols)
    constants = {
        "O_STEP": step(so[4]), "X_STEP": step(sx[3]),
        "VEC": vec, "X_VEC": x_vec, "DIMS": 3 if n0 > 1 else 2 if n1 > 1 else 1,
        "WIDE": t.wide(), "ROWS": rows, "COLS": cols,
    }  # fmt: skip
    so = [*(s // vec for s in so[:4]), so[4]]
    sx = [*(s // x_vec for s in sx[:3]), sx[3], sx[4] // x_vec]
    grid = (n0 * n1 * n2 * cdiv(n_rows, rows) * cdiv(t.cols, cols),)
    ints = (n_rows // x_vec, t.cols // vec, n1, n2, *so, *sx)
    return Plan(copy_transposed_kernel, grid, ints, constants, t.at)


def _square(n_rows: int, n_cols: int) -> tuple[int, int]:
    """A tile as near to square as the sizes allow."""
    rows, cols = min(pow2(n_rows), SQUARE), min(pow2(n_cols), SQUARE)
    if rows < SQUARE:
        cols = min(pow2(n_cols), SQUARE_ELEMENTS // rows)
    elif cols < SQUARE:
        rows = min(pow2(n_rows), SQUARE_ELEMENTS // cols)
    return rows, cols


def fill(launch: Any, out: Any, *, value: float) -> Any:
    """out = value; any strides."""
    if not served(out):
        return NotImplemented
    if out.dtype.is_complex:
        parts = real_view(out)
        fill(launch, parts[..., 0], value=complex(value).real)
        fill(launch, parts[..., 1], value=complex(value).imag)
        return None
    is_float = out.dtype.is_floating_point
    plans = _fill_plans(out.shape, out.strides, out.itemsize, is_float)
    run(launch, plans, (out,), bits(value, is_float))
    return None


@lru_cache(PLANS)
def _fill_plans(shape: Shape, so: Shape, size: int, is_float: bool) -> tuple[Plan, ...]:
    plans = []
    for t in tables(shape, so):
        (so,) = t.strides
        vec = vector(size, t.cols, *so[:4])
        ints = (t.rows, t.cols // vec, *t.sizes, *units(so, vec))
        grid, constants = t.tiles(tile_size(size))
        constants |= {"FLOAT": is_float, "O_STEP": t.steps()[0], "VEC": vec}
        plans.append(Plan(fill_kernel, grid, ints, constants, t.at))
    return tuple(plans)


def cat(launch: Any, out: Any, *xs: Any, dim: int) -> Any:
    """out = the xs behind each other along dim."""
    if not served(out, *xs):
        return NotImplemented
    start = 0
    for x in xs:
        n = x.shape[dim]
        copy(launch, _slice(out, dim, start, start + n), x)
        start += n
    return None


def _slice(x: Any, dim: int, start: int, stop: int) -> Any:
    return x[(slice(None),) * dim + (slice(start, stop),)]


def flip(launch: Any, out: Any, x: Any, *, dims: Sequence[int]) -> Any:
    """out = x with the order along dims reversed."""
    if x.size == 0:
        return None
    index = tuple(slice(None, None, -1) if d in dims else slice(None) for d in range(x.ndim))
    return copy(launch, out, x[index])


def roll(launch: Any, out: Any, x: Any, *, shifts: Sequence[int], dims: Sequence[int]) -> Any:
    """out[i + shift] = x[i], past the end counted from the start; one copy a piece."""
    if not served(out, x):
        return NotImplemented
    totals: dict[int, int] = {}
    for s, d in zip(shifts, dims):
        totals[d] = totals.get(d, 0) + s
    for pieces in itertools.product(*(_pieces(x.shape[d], s) for d, s in totals.items())):
        to, source = out, x
        for d, (start_to, start, n) in zip(totals, pieces):
            to = _slice(to, d, start_to, start_to + n)
            source = _slice(source, d, start, start + n)
        copy(launch, to, source)
    return None


def _pieces(n: int, shift: int) -> Iterator[tuple[int, int, int]]:
    """(start in out, start in x, length) of the runs that a roll moves."""
    shift %= max(n, 1)
    yield shift, 0, n - shift
    if shift:
        yield 0, n - shift, shift


def arange(launch: Any, out: Any, *, start: float, step: float) -> Any:
    """out[i] = start + i * step; computed in float64, or in int64 for integers."""
    if not served(out) or out.dtype.is_complex or not out.is_contiguous():
        return NotImplemented
    is_float = any(isinstance(v, float) for v in (start, step)) or out.dtype.name in FLOATS
    n, block = out.size, tile_size(out.itemsize, 4)
    constants = {"FLOAT": is_float, "WIDE": n >= NARROW, "BLOCK": block}
    args = [out, n, bits(start, is_float), bits(step, is_float)]
    launch(arange_kernel, (cdiv(n, block),), args, constants)
    return None


def linspace(launch: Any, out: Any, *, start: float, end: float) -> Any:
    """Numbers at equal steps from `start` to `end`, both included."""
    if not served(out) or out.dtype.is_complex or not out.is_contiguous():
        return NotImplemented
    n, block = out.size, tile_size(out.itemsize, 4)
    step = (end - start) / (n - 1) if n > 1 else 0.0
    args = [out, n, *(bits(v, True) for v in (start, start if n == 1 else end, step))]
    launch(linspace_kernel, (cdiv(n, block),), args, {"WIDE": n >= NARROW, "BLOCK": block})
    return None


def tril(launch: Any, out: Any, x: Any, *, diagonal: int = 0) -> Any:
    """out = x on and below the diagonal, else 0."""
    return _triangle(launch, out, x, diagonal, upper=False)


def triu(launch: Any, out: Any, x: Any, *, diagonal: int = 0) -> Any:
    """out = x on and above the diagonal, else 0."""
    return _triangle(launch, out, x, diagonal, upper=True)


def _triangle(launch: Any, out: Any, x: Any, k: int, *, upper: bool) -> Any:
    if not served(out, x) or x.dtype is not out.dtype:
        return NotImplemented
    if x.dtype.is_complex:
        for part in (0, 1):
            _triangle(launch, real_view(out)[..., part], real_view(x)[..., part], k, upper=upper)
        return None
    run(launch, _triangle_plans(x.shape, out.strides, x.strides, x.itemsize, upper), (out, x), k)
    return None


@lru_cache(PLANS)
def _triangle_plans(shape: Shape, so: Shape, sx: Shape, size: int, upper: bool) -> tuple[Plan, ...]:
    plans = []
    for t in tables(shape, so, sx, keep=2):
        so, sx = t.strides
        vec = vector(size, t.cols, *so[:4], *sx[:4])
        o_step, x_step = t.steps()
        ints = (t.rows, t.cols // vec, *t.sizes, *units(so, vec), *units(sx, vec))
        grid, constants = t.tiles(tile_size(size))
        constants |= {"UPPER": upper, "O_STEP": o_step, "X_STEP": x_step, "VEC": vec}
        plans.append(Plan(triangle_kernel, grid, ints, constants, t.at))
    return tuple(plans)


def view_backward(
    launch: Any, out: Any, g: Any, *, shape: Sequence[int], view: Any, params: dict[str, Any]
) -> Any:
    """out = zeros with g where the view of it lies; a view without overlaps."""
    if view.overlaps or not served(out, g):
        return NotImplemented
    fill(launch, out, value=0)
    return copy(launch, view.cpu(out, **params), g)
