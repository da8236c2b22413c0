"""What the kernels that move data share: strided arrays as a table of rows and columns.

`tables` sorts the dimensions of some arrays of one shape by the strides of the first, merges those
that lie densely behind each other in all of them, and takes the last as the columns; the others,
at most four, are counted by one row number. Row strides and the number of columns travel in units
of VEC elements, the largest power of two that divides them, so that a kernel knows their alignment
without being compiled for their values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .. import dtypes

TILE_BYTES = 8192  # of the widest operand: four 16-byte vectors a thread at 4 warps
TILE_ELEMENTS = 2048
VECTOR_BYTES = 16
MAX_DIMS = 5
PLANS = 4096  # that a family of launches remembers
NARROW = 2**31 - 2**20  # offsets stay below, so that those of a last tile do not wrap
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")

# Sizes and strides do not specialise a kernel: new shapes run what is compiled.
INTEGERS = (
    "n", "k", "n_walk", "k_index", "k_src", "n_rows", "n_cols",
    *(f"{name}{d}" for name in ("n", "m", "b", "so", "sx", "si", "sv") for d in range(5)),
)  # fmt: skip
REAL = ("bool", *SIGNED, *UNSIGNED, *FLOATS)

Shape = tuple[int, ...]


@triton.jit
def digits(i, n1, n2, n3, DIMS: tl.constexpr):
    """The index of row `i` along each of four dimensions; DIMS of them are in use, the last."""
    i3 = i % n3 if DIMS > 1 else i
    i = i // n3 if DIMS > 1 else i * 0
    i2 = i % n2 if DIMS > 2 else i
    i = i // n2 if DIMS > 2 else i * 0
    i1 = i % n1 if DIMS > 3 else i
    i0 = i // n1 if DIMS > 3 else i * 0
    return i0, i1, i2, i3


@triton.jit
def row_offset(i0, i1, i2, i3, s0, s1, s2, s3, VEC: tl.constexpr, DIMS: tl.constexpr):
    """The offset of a row from its indices and strides in units of VEC."""
    o = i3 * s3
    if DIMS > 1:
        o += i2 * s2
    if DIMS > 2:
        o += i1 * s1
    if DIMS > 3:
        o += i0 * s0
    return o * VEC


@triton.jit
def column_offset(o_c, stride, STEP: tl.constexpr):
    """The offset of columns: STEP 0 and 1 are known to the compiler, 2 stands for any stride."""
    if STEP == 1:
        o = o_c
    elif STEP == 0:
        o = o_c * 0
    else:
        o = o_c * stride
    return o


@triton.jit
def flat_offset(o, n1, n2, n3, n4, s0, s1, s2, s3, s4, DENSE: tl.constexpr, DIMS: tl.constexpr):
    """The offset of positions o into an array of shape (n0, n1, n2, n3, n4)."""
    if DENSE:
        r = o
    else:
        i0, i1, i2, i3 = digits(o // n4, n1, n2, n3, DIMS)
        r = row_offset(i0, i1, i2, i3, s0, s1, s2, s3, 1, DIMS) + o % n4 * s4
    return r


@triton.jit
def tile(n_cols, ROWS: tl.constexpr, COLS: tl.constexpr, WIDE: tl.constexpr):
    """The rows (ROWS, 1) and columns (1, COLS) of this program."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    n = tl.cdiv(n_cols, COLS)
    o_r = i // n * ROWS + tl.arange(0, ROWS)[:, None]
    o_c = i % n * COLS + tl.arange(0, COLS)[None, :]
    return o_r, o_c


@triton.jit
def convert(x, TYPE: tl.constexpr):
    """`x` as TYPE. What is not a number compares as True, and floats wrap into small integers."""
    if x.dtype != TYPE:
        if x.dtype.is_floating() and x.dtype.primitive_bitwidth < 32:
            x = x.to(tl.float32)
        if tl.int1 == TYPE:
            x = x != 0
        elif x.dtype.is_floating() and TYPE.is_int() and TYPE.primitive_bitwidth < 32:
            x = x.to(tl.int32).to(TYPE)
        elif x.dtype.is_floating() and tl.uint32 == TYPE:
            x = x.to(tl.int64).to(TYPE)
        elif TYPE.is_floating() and TYPE.primitive_bitwidth < 32:
            x = x.to(tl.float32).to(TYPE)
        else:
            x = x.to(TYPE)
    return x


@triton.jit
def scalar(bits, FLOAT: tl.constexpr):
    """A scalar from 64 bits: of a float64 where FLOAT, else of an int64. Arguments are float32."""
    # The sum makes a tensor of an argument that was specialised to a constant.
    x = tl.full((), 0, tl.int64) + bits
    if FLOAT:
        x = x.to(tl.float64, bitcast=True)
    return x


def bits(value: float, is_float: bool) -> int:
    """The 64 bits of a float64 or an integer, as a signed integer."""
    if is_float:
        return struct.unpack("<q", struct.pack("<d", float(value)))[0]
    return (int(value) + 2**63) % 2**64 - 2**63


class Table(NamedTuple):
    """Arrays of one shape seen as `rows` times `cols`.

    `sizes` are those of the last three of four row dimensions, of which `dims` are in use;
    `strides` has five for each array, the one of the columns last; `at` is the index of this table
    along the dimensions that did not fit, as element offsets into the arrays.
    """

    rows: int
    cols: int
    sizes: tuple[int, int, int]
    dims: int
    strides: list[tuple[int, ...]]
    at: list[int]

    def wide(self, *more: int) -> bool:
        """Whether an offset may pass 32 bits; `more` are others that occur."""
        n0 = self.rows // max(math.prod(self.sizes), 1)
        sizes = (n0, *self.sizes, self.cols)
        spans = [sum(n * abs(s) for n, s in zip(sizes, each)) for each in self.strides]
        return max(self.rows * self.cols, *spans, *map(abs, more)) >= NARROW

    def tiles(self, elements: int) -> tuple[tuple[int], dict[str, Any]]:
        """The grid of tiles of at most so many elements, and their constants."""
        rows, cols = tile_shape(self.rows, self.cols, elements)
        constants = {"DIMS": self.dims, "WIDE": self.wide(), "ROWS": rows, "COLS": cols}
        return (cdiv(self.rows, rows) * cdiv(self.cols, cols),), constants

    def steps(self) -> list[int]:
        """For each array 0 or 1 where the columns are so far apart, else 2."""
        return [step(s[4]) for s in self.strides]


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous array."""
    return tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))


def step(stride: int) -> int:
    """The STEP of `column_offset`."""
    return stride if stride in (0, 1) else 2


def merge(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, list[int]]]:
    """(size, strides) of the fewest dimensions that visit the same elements of all arrays.

    They are in the order of the first array's memory, its fastest dimension last.
    """
    dims = [d for d in range(len(shape)) if shape[d] != 1]
    dims.sort(key=lambda d: -abs(strides[0][d]))
    runs: list[tuple[int, list[int]]] = []
    for d in dims:
        n, each = shape[d], [s[d] for s in strides]
        if runs and all(a == n * b for a, b in zip(runs[-1][1], each)):
            runs[-1] = (runs[-1][0] * n, each)
        else:
            runs.append((n, each))
    return runs or [(1, [1] * len(strides))]


def tables(shape: Sequence[int], *strides: Sequence[int], keep: int = 0) -> Iterator[Table]:
    """Arrays of one shape as tables; more than one where more than five dimensions are left.

    The last `keep` dimensions are left as they are.
    """
    if 0 in shape:
        return
    n = len(shape) - keep
    runs = merge(shape[:n], [s[:n] for s in strides]) if n or not keep else []
    runs += [(shape[d], [s[d] for s in strides]) for d in range(n, len(shape))]
    outer, runs = runs[:-MAX_DIMS], runs[-MAX_DIMS:]
    cols, last = runs[-1]
    dims = max(len(runs) - 1, 1)
    rows = [(1, [0] * len(strides))] * (MAX_DIMS - len(runs)) + runs[:-1]
    sizes = tuple(n for n, _ in rows)
    each = [(*(s[k] for _, s in rows), last[k]) for k in range(len(strides))]
    for at in _offsets(outer, len(strides)):
        yield Table(math.prod(sizes), cols, sizes[1:], dims, each, at)


def _offsets(outer: list[tuple[int, list[int]]], arrays: int) -> Iterator[list[int]]:
    if not outer:
        yield [0] * arrays
        return
    n, strides = outer[0]
    for i in range(n):
        for rest in _offsets(outer[1:], arrays):
            yield [i * s + o for s, o in zip(strides, rest)]


class Plan(NamedTuple):
    """A launch but for its arrays: those come first, moved by the offsets in `at`, then `ints`."""

    kernel: Any
    grid: tuple[int, ...]
    ints: tuple[int, ...]
    constants: dict[str, Any]
    at: Sequence[int]


def run(launch: Any, plans: Iterable[Plan], arrays: Sequence[Any], *extra: Any) -> None:
    """Launch plans; `extra` are the last arguments."""
    for p in plans:
        moved = [shift(x, o) for x, o in zip(arrays, p.at)] if any(p.at) else arrays
        launch(p.kernel, p.grid, [*moved, *p.ints, *extra], p.constants)


def shift(x: Any, offset: int) -> Any:
    """The array `offset` elements further on."""
    return x.strided(x.shape, x.strides, offset) if offset else x


def vector(itemsize: int, *counts: int) -> int:
    """The largest power of two that divides the counts, up to 16 bytes of the dtype."""
    return math.gcd(max(VECTOR_BYTES // itemsize, 1), *counts)


def tile_shape(rows: int, cols: int, elements: int) -> tuple[int, int]:
    """Rows and columns of a tile, powers of two: as wide as the table, then as high."""
    width = min(pow2(cols), elements)
    return min(pow2(rows), elements // width), width


def tile_size(*itemsizes: int) -> int:
    """How many elements a program takes whose operands have these sizes."""
    return min(TILE_BYTES // max(itemsizes), TILE_ELEMENTS)


def units(strides: Sequence[int], vec: int) -> tuple[int, ...]:
    """The row strides of an array in units of `vec`, and that of its columns in elements."""
    return (*(s // vec for s in strides[:4]), strides[4])


def pow2(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def as_bytes(x: Any) -> Any:
    """The same memory, of elements of one byte, as uint8."""
    return type(x)(x.memory, x.offset, x.shape, x.strides, dtypes.uint8)


def real_view(x: Any) -> Any:
    """A complex array as a real one with a last dimension of two: real and imaginary part."""
    strides = (*(2 * s for s in x.strides), 1)
    return type(x)(x.memory, 2 * x.offset, (*x.shape, 2), strides, x.dtype.to_real())
