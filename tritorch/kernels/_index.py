"""How kernels walk strided arrays: dimensions merged on the host, offsets unravelled on GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..dtypes import DType, float32, float64

MAX_GROUPS = 4  # merged dimensions that `offset` takes
IN_REGISTERS = 32768 * 4  # bytes of a block's operands, in the dtype it is computed in
FLOATS = ("float16", "bfloat16", "float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
REAL = ("bool", *FLOATS, *SIGNED, *UNSIGNED)
LIMIT = 2**31 - 2**16  # offsets and program counts stay below it in int32, the last block included


def merge(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list]:
    """The fewest dimensions that visit the same elements in the same order.

    `strides` holds those of each operand; dimensions of size 1 go, neighbours merge where every
    operand's elements follow each other.
    """
    kept: list[int] = []
    out: list[list[int]] = [[] for _ in strides]
    for i, n in enumerate(sizes):
        if n == 1:
            continue
        if kept and all(o[-1] == n * s[i] for o, s in zip(out, strides)):
            kept[-1] *= n
            for o, s in zip(out, strides):
                o[-1] = s[i]
        else:
            kept.append(n)
            for o, s in zip(out, strides):
                o.append(s[i])
    return kept, out


def span(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """The largest offset, in elements."""
    return sum((n - 1) * abs(s) for n, s in zip(sizes, strides))


def padded(values: Sequence[Any], n: int) -> list[Any]:
    """`values` with None before them to make `n`: a kernel drops what is None."""
    return [None] * (n - len(values)) + list(values)


@triton.jit
def offset(i, n1, n2, n3, s0, s1, s2, s3, D: tl.constexpr):
    """The offset of the i-th element of D dimensions, the last D of (any, n1, n2, n3).

    Their strides are the last D of (s0, s1, s2, s3).
    """
    if D == 1:
        return i * s3
    else:
        o = (i % n3) * s3
        i = i // n3
        if D == 2:
            o += i * s2
        else:
            o += (i % n2) * s2
            i = i // n2
            if D == 3:
                o += i * s1
            else:
                o += (i % n1) * s1 + (i // n1) * s0
        return o


@triton.jit
def convert(x, DTYPE: tl.constexpr):
    """`x` cast as C does it: floats round toward zero, integers wrap, bool is `x != 0`."""
    if x.dtype.is_floating() and DTYPE.is_int() and not DTYPE.is_bool():
        if DTYPE.is_uint64():
            x = tl.where(x < 0, x.to(tl.int64).to(tl.uint64), x.to(tl.uint64))
        elif DTYPE.is_uint32():
            x = x.to(tl.int64)
        elif DTYPE.primitive_bitwidth < 32:
            x = x.to(tl.int32)
    return x.to(DTYPE)


# -- rows --------------------------------------------------------------------------------------
# A block of a reduction has rows, the elements kept, and columns, those reduced over. It lies
# (rows, cols) in registers where memory runs along the columns, else (cols, rows): Triton then
# spreads the threads along memory.


@triton.jit
def spread(rows, cols, OUTER: tl.constexpr):
    """The sums of two vectors, as a block."""
    if OUTER:
        return cols[:, None] + rows[None, :]
    else:
        return rows[:, None] + cols[None, :]


@triton.jit
def both(rows, cols, OUTER: tl.constexpr):
    """The block that is true where two vectors are."""
    if OUTER:
        return cols[:, None] & rows[None, :]
    else:
        return rows[:, None] & cols[None, :]


@triton.jit
def of_rows(v, OUTER: tl.constexpr):
    """A vector over rows, shaped to broadcast over a block."""
    if OUTER:
        return v[None, :]
    else:
        return v[:, None]


@triton.jit
def of_cols(v, OUTER: tl.constexpr):
    """A vector over columns, shaped to broadcast over a block."""
    if OUTER:
        return v[:, None]
    else:
        return v[None, :]


@triton.jit
def upcast(x):
    """16-bit floats as float32."""
    if x.dtype.is_floating() and x.dtype.primitive_bitwidth < 32:
        return x.to(tl.float32)
    else:
        return x


class Group(NamedTuple):
    """Merged dimensions, outermost first, with the strides of each operand."""

    sizes: list[int]
    strides: list[list[int]]

    @property
    def size(self) -> int:
        return math.prod(self.sizes)

    @property
    def depth(self) -> int:
        """The number of dimensions a kernel unravels: at least one."""
        return max(len(self.sizes), 1)

    def inner(self, operand: int = 0) -> int:
        """The stride of the last dimension; 0 where there is none."""
        return (self.strides[operand] or [0])[-1]

    def ints(self) -> list[int | None]:
        """What `offset` takes: three sizes, then four strides an operand."""
        return [
            *padded(self.sizes[1:], 3),
            *[i for s in self.strides for i in padded(s or [0], 4)],
        ]


def group(shape: Sequence[int], strides: Sequence, dims: Sequence[int]) -> Group:
    """These dimensions of an array, or of several of one shape, merged."""
    return Group(*merge([shape[d] for d in dims], [[s[d] for d in dims] for s in strides]))


def is_wide(count: int, *groups: Group) -> bool:
    """Whether `count`, or the sum of the largest offsets of the groups, may pass int32."""
    operands = range(len(groups[0].strides))
    return count >= LIMIT or any(
        sum(span(g.sizes, g.strides[i]) for g in groups) >= LIMIT for i in operands
    )


def row_blocks(m: int, n: int, limit: int, outer: bool) -> tuple[int, int, bool]:
    """Rows and columns of a block of up to `limit` elements, and whether it walks along rows."""
    rows, cols = triton.next_power_of_2(max(m, 1)), triton.next_power_of_2(max(n, 1))
    if outer:
        block_m = min(rows, max(2048 // cols, 16))
        if block_m * cols <= limit // 2:
            return block_m, cols, False
        block_m = min(rows, 32)
        return block_m, 2048 // block_m, True
    if cols <= limit:
        return min(rows, max(2048 // cols, 1)), cols, False
    return 1, min(8192, limit // 4), True


def computed(*arrays: Any) -> DType:
    """The dtype to compute in: float64 where an array has it."""
    return float64 if any(x is not None and x.dtype is float64 for x in arrays) else float32


def is_float(*arrays: Any) -> bool:
    return all(x is None or x.dtype.name in FLOATS for x in arrays)


def run(
    launch: Any, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int = 4
) -> None:
    """Launch with `warps` of 32 threads; those of AMD have 64."""
    launch(kernel, grid, args, constants, max(warps * 32 // launch.target.warp_size, 1))
