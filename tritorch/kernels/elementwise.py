"""Elementwise operators: one template for all, which takes the scalar body as a constant.

Operands broadcast by stride 0. What collapses to one dimension runs in `flat_kernel`; everything
else in `tile_kernel`, whose blocks cover rows and columns, so that transposed operands are read
along their own rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from . import (
    complexes,
    elementwise_activations,
    elementwise_bessel,
    elementwise_bodies,
    elementwise_functions,
    elementwise_numbers,
    elementwise_polynomials,
    elementwise_special,
)
from ._index import (
    LIMIT,
    REAL,
    convert,
    merge,
    padded,
    run,
    span,
)

MAX_DIMS = 6
MAX_ARRAYS = 4  # a fifth input is a number
BLOCK = 1024

# Bodies of long loops: of fewer elements a thread, which has no more registers than for those.
LONG = {"igamma", "igammac", "zeta", "polygamma"}
LONG_BLOCK = 128

# How an operand varies over a block.
SCALAR = tl.constexpr(1)  # a number, not an array
POINT = tl.constexpr(2)  # one element for all
ROWS = tl.constexpr(3)  # one element a row
COLS = tl.constexpr(4)  # one element a column
FULL = tl.constexpr(5)

_TYPES = {name: getattr(tl, name) for name in REAL if name != "bool"} | {
    "bool": tl.int1,
    "float16": tl.float32,
    "bfloat16": tl.float32,
    "float8_e4m3fn": tl.float32,
    "float8_e5m2": tl.float32,
}
# Where the bodies of operators are looked for, by name.
BODIES = (
    elementwise_bodies,
    elementwise_functions,
    elementwise_activations,
    elementwise_bessel,
    elementwise_numbers,
    elementwise_polynomials,
    elementwise_special,
)
# Bodies for one dtype: a bool is computed with as int8, whose complement is not that of a bool,
# and 16-bit floats as float32, whose neighbours are not theirs.
_OF_DTYPE = {
    ("bitwise_not", "bool"): "logical_not",
    ("nextafter", "bfloat16"): "nextafter_bfloat16",
    ("nextafter", "float16"): "nextafter_float16",
}


# -- device ------------------------------------------------------------------------------------


@triton.jit
def prepare(x, SHAPE: tl.constexpr, COMPUTE: tl.constexpr):
    """A loaded operand in the dtype to compute in, as a whole block."""
    x = convert(x, COMPUTE)
    if COMPUTE.is_bool():
        x = x.to(tl.int8)
    return tl.broadcast_to(x, SHAPE)


@triton.jit
def number(value, SHAPE: tl.constexpr, COMPUTE: tl.constexpr):
    """A scalar argument as a block."""
    if COMPUTE.is_bool():
        return tl.full(SHAPE, value, tl.int8)
    else:
        return tl.full(SHAPE, value, COMPUTE)


@triton.jit
def run_body(a, b, c, d, e, BODY: tl.constexpr, ARITY: tl.constexpr):
    if ARITY == 1:
        return BODY(a)
    elif ARITY == 2:
        return BODY(a, b)
    elif ARITY == 3:
        return BODY(a, b, c)
    elif ARITY == 4:
        return BODY(a, b, c, d)
    else:
        return BODY(a, b, c, d, e)


@triton.jit
def flat_operand(
    p, o, m, KIND: tl.constexpr, MASKED: tl.constexpr, COMPUTE: tl.constexpr, SHAPE: tl.constexpr
):
    if KIND == 0:
        return 0
    elif KIND == SCALAR:
        return number(p, SHAPE, COMPUTE)
    elif KIND == POINT:
        return prepare(tl.load(p), SHAPE, COMPUTE)
    elif MASKED:
        return prepare(tl.load(p + o, mask=m, other=1.0), SHAPE, COMPUTE)
    else:
        return prepare(tl.load(p + o), SHAPE, COMPUTE)


@triton.jit
def flat_block(
    p_out,  # (n)
    a,
    b,
    c,
    d,
    e,
    o,
    n,
    BODY: tl.constexpr,
    ARITY: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    C: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKED: tl.constexpr,
):
    m = o < n
    a = flat_operand(a, o, m, A, MASKED, COMPUTE, (BLOCK,))
    b = flat_operand(b, o, m, B, MASKED, COMPUTE, (BLOCK,))
    c = flat_operand(c, o, m, C, MASKED, COMPUTE, (BLOCK,))
    d = flat_operand(d, o, m, D, MASKED, COMPUTE, (BLOCK,))
    e = flat_operand(e, o, m, E, MASKED, COMPUTE, (BLOCK,))
    y = convert(run_body(a, b, c, d, e, BODY, ARITY), p_out.dtype.element_ty)
    if MASKED:
        tl.store(p_out + o, y, mask=m)
    else:
        tl.store(p_out + o, y)


@triton.jit
def flat_kernel(
    p_out,  # (n)
    a,  # (n), (), a number or None; so are b, c, d
    b,
    c,
    d,
    e,  # a number or None
    n,
    BODY: tl.constexpr,
    ARITY: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    C: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK: tl.constexpr,
    SPLIT: tl.constexpr,
    WIDE: tl.constexpr,
):
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    # A mask whose bound is no multiple of 16 would make every load scalar.
    if SPLIT:
        if (i + 1) * BLOCK <= n:
            flat_block(
                p_out, a, b, c, d, e, o, n, BODY, ARITY, A, B, C, D, E, COMPUTE, BLOCK, False
            )
        else:
            flat_block(p_out, a, b, c, d, e, o, n, BODY, ARITY, A, B, C, D, E, COMPUTE, BLOCK, True)
    else:
        flat_block(p_out, a, b, c, d, e, o, n, BODY, ARITY, A, B, C, D, E, COMPUTE, BLOCK, True)


@triton.jit
def row_offset(r, outer, n1, n2, n3, s0, s1, s2, s3, s4, DIMS: tl.constexpr):
    """The offset of a row: `r` counts in dimension 4, `outer` in those before it."""
    o = r * s4
    if DIMS == 3:
        o += outer * s3
    elif DIMS > 3:
        o += (outer % n3) * s3
        outer = outer // n3
        if DIMS == 4:
            o += outer * s2
        else:
            o += (outer % n2) * s2
            outer = outer // n2
            if DIMS == 5:
                o += outer * s1
            else:
                o += (outer % n1) * s1 + (outer // n1) * s0
    return o


# fmt: off
@triton.jit
def tile_operand(
    p, o_r, outer, o_c, m_r, m_c, n1, n2, n3, s0, s1, s2, s3, s4, s5,
    KIND: tl.constexpr, COMPUTE: tl.constexpr, SHAPE: tl.constexpr, DIMS: tl.constexpr,
):
    if KIND == 0:
        return 0
    elif KIND == SCALAR:
        return number(p, SHAPE, COMPUTE)
    elif KIND == POINT:
        return prepare(tl.load(p), SHAPE, COMPUTE)
    elif KIND == COLS:
        return prepare(tl.load(p + o_c * s5, mask=m_c, other=1.0)[None, :], SHAPE, COMPUTE)
    else:
        o = row_offset(o_r, outer, n1, n2, n3, s0, s1, s2, s3, s4, DIMS)
        if KIND == ROWS:
            return prepare(tl.load(p + o, mask=m_r, other=1.0)[:, None], SHAPE, COMPUTE)
        else:
            m = m_r[:, None] & m_c[None, :]
            o = o[:, None] + (o_c * s5)[None, :]
            return prepare(tl.load(p + o, mask=m, other=1.0), SHAPE, COMPUTE)


@triton.jit
def tile_kernel(
    p_out, a, b, c, d,  # each (n0, n1, n2, n3, n4, n5), the last DIMS of them, or a number or None
    e,  # a number or None
    rows, cols, n1, n2, n3, n4,  # rows is n4, or with FOLD the product of all but n5; cols is n5
    o0, o1, o2, o3, o4, o5,  # the strides of each
    a0, a1, a2, a3, a4, a5,
    b0, b1, b2, b3, b4, b5,
    c0, c1, c2, c3, c4, c5,
    d0, d1, d2, d3, d4, d5,
    BODY: tl.constexpr, ARITY: tl.constexpr,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr, E: tl.constexpr,
    COMPUTE: tl.constexpr, DIMS: tl.constexpr, FOLD: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr,
):
    i = tl.program_id(0)
    o_c = tl.arange(0, BLOCK_C)
    o_r = tl.arange(0, BLOCK_R)
    if WIDE:
        i = i.to(tl.int64)
    tiles = tl.cdiv(cols, BLOCK_C)
    o_c += i % tiles * BLOCK_C
    i = i // tiles
    if FOLD:
        row = i * BLOCK_R + o_r
        m_r = row < rows
        o_r = row % n4
        outer = row // n4
    else:
        tiles = tl.cdiv(rows, BLOCK_R)
        o_r += i % tiles * BLOCK_R
        m_r = o_r < rows
        outer = i // tiles
    m_c = o_c < cols

    SHAPE: tl.constexpr = (BLOCK_R, BLOCK_C)
    a = tile_operand(a, o_r, outer, o_c, m_r, m_c, n1, n2, n3, a0, a1, a2, a3, a4, a5,
                     A, COMPUTE, SHAPE, DIMS)
    b = tile_operand(b, o_r, outer, o_c, m_r, m_c, n1, n2, n3, b0, b1, b2, b3, b4, b5,
                     B, COMPUTE, SHAPE, DIMS)
    c = tile_operand(c, o_r, outer, o_c, m_r, m_c, n1, n2, n3, c0, c1, c2, c3, c4, c5,
                     C, COMPUTE, SHAPE, DIMS)
    d = tile_operand(d, o_r, outer, o_c, m_r, m_c, n1, n2, n3, d0, d1, d2, d3, d4, d5,
                     D, COMPUTE, SHAPE, DIMS)
    if E == SCALAR:
        e = number(e, SHAPE, COMPUTE)
    y = convert(run_body(a, b, c, d, e, BODY, ARITY), p_out.dtype.element_ty)
    o = row_offset(o_r, outer, n1, n2, n3, o0, o1, o2, o3, o4, DIMS)
    o = o[:, None] + (o_c * o5)[None, :]
    tl.store(p_out + o, y, mask=m_r[:, None] & m_c[None, :])
# fmt: on


# -- host --------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """A launch without its arrays and numbers."""

    kernel: Any
    grid: tuple[int, ...]
    ints: tuple[int | None, ...]
    constants: dict[str, Any]
    warps: int
    float8: bool


def apply(launch: Any, out: Any, *inputs: Any, body: Any, compute: Any) -> Any:
    """out = body(*inputs): 1 to 4 Arrays that broadcast to `out`, or Python numbers.

    `body` is a jit function of scalars, or the name of one in `BODIES`; where there is none of that
    name, nothing is served. A fifth input must be a number. `compute` is the DType
    that the inputs are cast to before the body; 16-bit floats are computed in float32. Of complex
    dtypes arithmetic is served.
    """
    part = complexes.PARTS.get(compute.name)
    if part is not None:
        return complexes.apply(launch, out, inputs, body, part)
    specs = tuple(
        None if isinstance(x, (int, float)) else (x.shape, x.strides, x.dtype) for x in inputs
    )
    plan = _plan(body, compute, (out.shape, out.strides, out.dtype), specs)
    if plan is None or (plan.float8 and not _has_float8(launch.target)):
        return NotImplemented
    operands = [x if s else argument(x, compute) for x, s in zip(inputs, specs)]
    args = [out, *operands, *[None] * (MAX_ARRAYS + 1 - len(inputs)), *plan.ints]
    run(launch, plan.kernel, plan.grid, args, plan.constants, plan.warps)
    return None


def frexp(launch: Any, out: Any, x: Any) -> Any:
    """x = mantissa * 2^exponent, which are the two of `out`; exponents in int32."""
    mantissa, exponent = out
    apply(launch, exponent, x, body="frexp_exponent", compute=x.dtype)
    return apply(launch, mantissa, x, body="frexp_mantissa", compute=x.dtype)


def polygamma(launch: Any, out: Any, x: Any, *, n: int) -> Any:
    """out = the n-th derivative of digamma, n >= 1: (-1)^(n + 1) n! zeta(n + 1, x) (DLMF 5.15)."""
    size = float(math.factorial(n)) if n <= 170 else math.inf
    factor = size if n % 2 else -size
    return apply(launch, out, x, float(n + 1), factor, body="polygamma", compute=out.dtype)


def _has_float8(target: Any) -> bool:
    return target.backend == "cuda" and target.arch >= 89


def argument(value: float, compute: Any) -> Any:
    """A number as an argument: double precision travels as np.float64."""
    if compute.name == "bool":
        return int(value != 0)
    if compute.category < 2:
        return _wrapped(value, 8 * compute.itemsize) if math.isfinite(value) else 0
    if compute.itemsize == 8:
        return np.float64(value)
    value = float(value)
    return value if abs(value) <= 3.4028235e38 else math.copysign(math.inf, value) + value


def _wrapped(value: float, bits: int) -> int:
    """The signed integer of so many bits that a number wraps around to."""
    value = int(value) & ((1 << bits) - 1)
    return value - (value >> (bits - 1) << bits)


Spec = tuple[tuple[int, ...], tuple[int, ...], Any]


@lru_cache(maxsize=4096)
def _plan(body: Any, compute: Any, out: Spec, inputs: tuple[Spec | None, ...]) -> Plan | None:
    arrays = [out, *[s for s in inputs if s is not None]]
    dtypes = [compute, *[s[2] for s in arrays]]
    if any(t.name not in _TYPES for t in dtypes) or any(inputs[MAX_ARRAYS:]):
        return None
    function = body_function(body, compute)
    if function is None:
        return None
    sizes, strides = _collapse(out, arrays)
    constants = {"BODY": function, "ARITY": len(inputs), "COMPUTE": _TYPES[compute.name]}
    constants |= dict.fromkeys("ABCDE", 0)
    constants["WIDE"] = math.prod(sizes) >= LIMIT or any(span(sizes, s) >= LIMIT for s in strides)
    float8 = any("float8" in t.name for t in dtypes)
    if len(sizes) <= 1 and strides[0] in ([], [1]) and all(s in ([], [0], [1]) for s in strides):
        itemsize = max(t.itemsize for t in dtypes)
        block = LONG_BLOCK if body in LONG else {1: BLOCK * 2, 8: BLOCK // 2}.get(itemsize, BLOCK)
        plan = _flat_plan(sizes, strides, inputs, block, constants)
    elif len(sizes) <= MAX_DIMS:
        block = LONG_BLOCK if body in LONG else BLOCK
        plan = _tile_plan(sizes, strides, inputs, block, constants)
    else:
        return None
    return plan._replace(float8=float8)


def _collapse(out: Spec, arrays: Sequence[Spec]) -> tuple[list[int], list[list[int]]]:
    """Sizes, and strides of every array, of merged dimensions in the order of `out` in memory."""
    shape = out[0]
    strides = []
    for have, steps, _ in arrays:
        own = [0 if n == 1 else s for n, s in zip(have, steps)]
        strides.append([0] * (len(shape) - len(have)) + own)
    order = sorted(range(len(shape)), key=lambda i: -abs(strides[0][i]))
    return merge([shape[i] for i in order], [[s[i] for i in order] for s in strides])


def body_function(body: Any, compute: Any) -> Any:
    """The scalar body of an operator; None where there is none."""
    if not isinstance(body, str):
        return body
    name = _OF_DTYPE.get((body, compute.name), body)
    return next((vars(module)[name] for module in BODIES if name in vars(module)), None)


def _kinds(inputs: Sequence[Spec | None], strides: Sequence[Sequence[int]]) -> dict[str, int]:
    """The constants A to E: how each operand varies over a block."""
    kinds = {}
    of_array = iter(strides)
    for name, spec in zip("ABCDE", inputs):
        if spec is None:
            kinds[name] = SCALAR.value
            continue
        *rest, last = next(of_array) or [0]
        by_row = any(rest)
        kinds[name] = (FULL if last else ROWS).value if by_row else (COLS if last else POINT).value
    return kinds


def _flat_plan(
    sizes: list[int], strides: list, inputs: Sequence, block: int, constants: dict
) -> Plan:
    n = math.prod(sizes)
    constants |= _kinds(inputs, strides[1:])
    constants |= {"BLOCK": block, "SPLIT": n % 16 != 0 and block != LONG_BLOCK}
    return Plan(flat_kernel, (triton.cdiv(n, block),), (n,), constants, 4, False)


def _tile_plan(
    sizes: list[int], strides: list, inputs: Sequence, block: int, constants: dict
) -> Plan:
    if len(sizes) == 1:
        sizes, strides = [1, *sizes], [[0, *s] for s in strides]
    turned = block == BLOCK and _turn(sizes, strides)
    dims, rows, cols = len(sizes), sizes[-2], sizes[-1]
    outer = math.prod(sizes[:-2])
    block_r, block_c = _tile(rows, cols, turned, block)
    fold = dims > 2 and block_r * block_c < block // 2
    if fold:
        rows, outer = rows * outer, 1
        block_r = min(triton.next_power_of_2(max(rows, 1)), block // block_c)
    constants |= _kinds(inputs, strides[1:])
    constants |= {"DIMS": dims, "FOLD": fold, "BLOCK_R": block_r, "BLOCK_C": block_c}
    given = iter(strides[1:])
    by_operand = [strides[0], *[[] if s is None else next(given) for s in inputs[:MAX_ARRAYS]]]
    by_operand += [[]] * (MAX_ARRAYS + 1 - len(by_operand))
    ints = [rows, cols, *padded(sizes[1:-1], 4), *[i for s in by_operand for i in padded(s, 6)]]
    grid = triton.cdiv(cols, block_c) * triton.cdiv(rows, block_r) * outer
    return Plan(tile_kernel, (grid,), tuple(ints), constants, 8 if turned else 4, False)


def _turn(sizes: list[int], strides: list[list[int]]) -> bool:
    """Move the dimension along which an input is dense, if not the last, before the last."""
    for steps in strides[1:]:
        if steps[-1] > 1 and 1 in steps:
            i = steps.index(1)
            for values in (sizes, *strides):
                values.insert(len(values) - 2, values.pop(i))
            return True
    return False


def _tile(rows: int, cols: int, turned: bool, block: int) -> tuple[int, int]:
    """Rows and columns of a block; square, to read and write whole lines, where one is turned."""
    rows, cols = triton.next_power_of_2(max(rows, 1)), triton.next_power_of_2(max(cols, 1))
    if not turned:
        block_c = min(cols, block)
        return min(rows, block // block_c), block_c
    block_r = min(rows, 64 if cols >= 64 else 4096 // cols)
    return block_r, min(cols, max(64, 4096 // block_r))
