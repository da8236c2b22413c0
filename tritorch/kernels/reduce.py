"""Reductions: sum, mean, prod, norm, amax, amin, any, all, moments, argmax and argmin.

Every reduction sees its input as (M, N): M elements kept, N reduced over, each index unravelled
over up to four strided dimensions. A program walks N in strips and combines them lane by lane; the
lanes are folded once, at the end. Where M is small, N is cut in parts, and a second launch folds
the parts: no atomics, so that results do not change from run to run. Outputs are contiguous; what
`keepdim` would add to their shape makes no difference.

Maxima and minima work on integers that sort as the values do, with NaN the largest: these need no
special cases, and warps fold integers in one instruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ..dtypes import DType, float32, float64, int32, int64
from ._index import REAL, both, convert, of_cols, of_rows, offset, run, spread, upcast
from ._math import pow, sqrt
from ._reduction import Plan, load_block, plan_of, whole
from .moments import moments as moments

LOWEST_32 = tl.constexpr(-0x80000000)
LOWEST_64 = tl.constexpr(-0x8000000000000000)
LARGEST_32 = tl.constexpr(0x7FFFFFFF)
LARGEST_64 = tl.constexpr(0x7FFFFFFFFFFFFFFF)


# -- device ------------------------------------------------------------------------------------


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def encode(x, FLIP: tl.constexpr, KEY: tl.constexpr):
    """A KEY, an integer that sorts as x does, the other way round with FLIP; NaN is largest."""
    if x.dtype.is_floating():
        i = from_bits(x.to(KEY, bitcast=True))
    elif x.dtype == tl.uint64:
        i = x.to(tl.int64, bitcast=True) ^ LOWEST_64
    else:
        i = x.to(KEY)
    if FLIP:
        i = ~i
    if x.dtype.is_floating():
        i = tl.where(x == x, i, LARGEST_64 if x.dtype == tl.float64 else LARGEST_32)
    return i


@triton.jit
def decode(i, FLIP: tl.constexpr, DTYPE: tl.constexpr):
    """The value that `encode` made `i` of, DTYPE or what converts to it."""
    if FLIP:
        i = ~i
    if DTYPE.is_fp64():
        return from_bits(i).to(tl.float64, bitcast=True)
    elif DTYPE.is_floating():
        return from_bits(i).to(tl.float32, bitcast=True)
    elif DTYPE.is_uint64():
        return (i ^ LOWEST_64).to(tl.uint64, bitcast=True)
    else:
        return i


@triton.jit
def from_bits(i):
    """The bits of a float as an integer that sorts as it does, and back."""
    if i.dtype == tl.int64:
        return i ^ ((i >> 63) & LARGEST_64)
    else:
        return i ^ ((i >> 31) & LARGEST_32)


@triton.jit
def term(x, order, OP: tl.constexpr, ACC: tl.constexpr):
    """What an element contributes."""
    x = upcast(x)
    if OP == "amax" or OP == "amin":
        return encode(x, OP == "amin", ACC)
    elif OP == "absmax" or OP == "absmin":
        return encode(tl.abs(x), OP == "absmin", ACC)
    elif OP == "any":
        return (x != 0).to(ACC)
    elif OP == "all":
        return (x == 0).to(ACC)
    elif OP == "norm0":
        return (x != 0).to(ACC)
    elif OP == "norm1":
        return tl.abs(x.to(ACC))
    elif OP == "norm2":
        return x.to(ACC) * x.to(ACC)
    elif OP == "norm":
        return pow(tl.abs(x.to(ACC)), tl.full(x.shape, order, ACC))
    else:
        return convert(x, ACC)


@triton.jit
def combine(a, b, BY: tl.constexpr):
    if BY == "product":
        return a * b
    elif BY == "sum":
        return a + b
    else:
        return tl.maximum(a, b)


@triton.jit
def fold(acc, BY: tl.constexpr, AXIS: tl.constexpr):
    if BY == "product":
        return tl.reduce(acc, AXIS, multiply)
    elif BY == "sum":
        return tl.sum(acc, AXIS)
    else:
        return tl.max(acc, AXIS)


@triton.jit
def result(r, n, order, OP: tl.constexpr, DTYPE: tl.constexpr):
    """The output of what `n` elements came to."""
    if OP == "mean":
        r = r / tl.full((1,), n, r.dtype)
    elif OP == "amax" or OP == "amin" or OP == "absmax" or OP == "absmin":
        r = decode(r, OP == "amin" or OP == "absmin", DTYPE)
    elif OP == "any":
        r = r != 0
    elif OP == "all":
        r = r == 0
    elif OP == "norm2":
        r = sqrt(r)
    elif OP == "norm":
        r = pow(r, 1.0 / tl.full(r.shape, order, r.dtype))
    return convert(r, DTYPE)


# fmt: off
@triton.jit
def reduce_kernel(
    p_x,  # (M, N), each of up to four strided dimensions
    p_out,  # (parts, M)
    m, n, chunk, total, order,  # a mean divides by `total`; `order` is that of a norm, or None
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3,  # the dimensions kept
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3,  # those reduced
    OP: tl.constexpr, BY: tl.constexpr, ACC: tl.constexpr, IDENTITY: tl.constexpr,
    FIRST: tl.constexpr, LAST: tl.constexpr,
    KD: tl.constexpr, RD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, MASK_M: tl.constexpr, FULL: tl.constexpr,
    TAIL: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    i_part = tl.program_id(1)
    if WIDE:
        i_m = i_m.to(tl.int64)
        i_part = i_part.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    cols = tl.arange(0, BLOCK_N)
    lo = i_part * chunk
    hi = tl.minimum(lo + chunk, n)
    whole = lo + (hi - lo) // BLOCK_N * BLOCK_N
    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    acc = tl.full(shape, IDENTITY, ACC)
    if FULL:
        for start in range(lo, whole, BLOCK_N):
            x = load_block(p_x, row, m_m, start + cols, hi, r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
                           RD, OUTER, MASK_M, False)
            acc = combine(acc, term(x, order, OP, ACC) if FIRST else x, BY)
    if TAIL:
        for start in range(whole, hi, BLOCK_N):
            x = load_block(p_x, row, m_m, start + cols, hi, r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
                           RD, OUTER, MASK_M, True)
            x = term(x, order, OP, ACC) if FIRST else x
            inside = of_cols(start + cols < hi, OUTER)
            acc = combine(acc, tl.where(inside, x, IDENTITY), BY)
    r = fold(acc, BY, 0 if OUTER else 1)
    if LAST:
        r = result(r, total, order, OP, p_out.dtype.element_ty)
    tl.store(p_out + (i_part * m + o_m), r, mask=m_m)


@triton.jit
def arg_kernel(
    p_x,  # (M, N); with FIRST the input, else the largest keys of parts
    p_index,  # (M, N), the places of those keys
    p_key,  # (parts, M), the largest keys, or None
    p_out,  # (parts, M), their places
    m, n, chunk,
    k1, k2, k3, k_x0, k_x1, k_x2, k_x3,
    r1, r2, r3, r_x0, r_x1, r_x2, r_x3,
    FLIP: tl.constexpr, KEY: tl.constexpr, FIRST: tl.constexpr,
    KD: tl.constexpr, RD: tl.constexpr, OUTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WIDE: tl.constexpr,
):
    i_m = tl.program_id(0)
    i_part = tl.program_id(1)
    if WIDE:
        i_m = i_m.to(tl.int64)
        i_part = i_part.to(tl.int64)
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M)
    m_m = o_m < m
    row = offset(o_m, k1, k2, k3, k_x0, k_x1, k_x2, k_x3, KD)
    cols = tl.arange(0, BLOCK_N)
    lo = i_part * chunk
    hi = tl.minimum(lo + chunk, n)
    axis: tl.constexpr = 0 if OUTER else 1
    lowest: tl.constexpr = LOWEST_64 if KEY.is_int64() else LOWEST_32
    INDEX: tl.constexpr = tl.int64 if WIDE else tl.int32
    unset: tl.constexpr = LARGEST_64 if WIDE else LARGEST_32

    shape: tl.constexpr = (BLOCK_N, BLOCK_M) if OUTER else (BLOCK_M, BLOCK_N)
    best = tl.full(shape, lowest, KEY)
    place = tl.full(shape, unset, INDEX)
    for start in range(lo, hi, BLOCK_N):
        o_n = start + cols
        inside = both(m_m, o_n < hi, OUTER)
        o = spread(row, offset(o_n, r1, r2, r3, r_x0, r_x1, r_x2, r_x3, RD), OUTER)
        x = tl.load(p_x + o, mask=inside, other=0)
        if FIRST:
            x = upcast(x)
            if x.dtype.is_floating():
                x += 0.0  # -0.0 is no smaller than 0.0
            key = encode(x, FLIP, KEY)
            index = of_cols(o_n.to(INDEX), OUTER)
        else:
            key = x
            index = tl.load(p_index + o, mask=inside, other=0).to(INDEX)
        # Strips and parts come in order, so an equal key later is never the first.
        better = inside & ((key > best) | (place == unset))
        best = tl.where(better, key, best)
        place = tl.where(better, index, place)
    top = tl.max(best, axis)
    first = tl.min(tl.where(best == of_rows(top, OUTER), place, unset), axis)
    if p_key is not None:
        tl.store(p_key + (i_part * m + o_m), top, mask=m_m)
    tl.store(p_out + (i_part * m + o_m), first.to(tl.int64), mask=m_m)


# fmt: on


# -- host --------------------------------------------------------------------------------------


def key_type(dtype: DType) -> DType:
    """The integers that sort as a dtype does."""
    wide = dtype.itemsize == 8 or dtype.name == "uint32"
    return int64 if wide else int32


class Operation(NamedTuple):
    """What the kernel does with the elements, in which dtype."""

    name: str
    acc: DType
    order: Any = None  # of a norm

    def constants(self) -> dict[str, Any]:
        maximum = self.name in ("amax", "amin", "absmax", "absmin", "any", "all")
        by = "maximum" if maximum else "product" if self.name == "prod" else "sum"
        return {
            "OP": self.name,
            "BY": by,
            "ACC": getattr(tl, self.acc.name),
            "IDENTITY": self.identity(),
        }

    def identity(self) -> int:
        """What no elements come to; for a norm of order -inf the key of infinity."""
        if self.name in ("amax", "amin"):
            return -1 << (8 * self.acc.itemsize - 1)
        if self.name == "absmin":
            return ~(0x7FF0000000000000 if self.acc is int64 else 0x7F800000)
        return int(self.name == "prod")


def _accumulator(out: DType, x: DType, name: str) -> DType:
    if name in ("amax", "amin", "absmax", "absmin"):
        return key_type(x)
    if name in ("any", "all"):
        return int32
    if out.category < 2:
        return int64
    return float64 if float64 in (x, out) else float32


def _reduce(launch: Any, out: Any, x: Any, dims: Sequence[int], name: str, p: Any = None) -> Any:
    # A power takes many registers for each element.
    plan = plan_of(launch, x, dims, itemsize=8 if name == "norm" else 0)
    if plan is None or out.dtype.name not in REAL:
        return NotImplemented
    acc = _accumulator(out.dtype, x.dtype, name)
    operation = Operation(name, acc, np.float64(p) if p and acc is float64 else p)
    if plan.parts == 1:
        _run(launch, out, x, plan, operation, plan.n)
    else:
        part = launch.empty((plan.parts, plan.m), acc)
        _run(launch, part, x, plan, operation, plan.n, last=False)
        fold_parts(launch, out, part, operation, plan.n)
    return None


def _run(
    launch: Any,
    out: Any,
    x: Any,
    plan: Plan,
    operation: Operation,
    total: int,
    first: bool = True,
    last: bool = True,
) -> None:
    args = [x, out, plan.m, plan.n, plan.chunk, total, operation.order, *plan.ints]
    constants = {**plan.constants, **plan.masks, **operation.constants()}
    constants |= {"FIRST": first, "LAST": last}
    run(launch, reduce_kernel, plan.grid, args, constants, plan.warps)


def fold_parts(launch: Any, out: Any, part: Any, operation: Operation, total: int = 1) -> None:
    """Reduce the (parts, M) results of a first pass to M; a mean divides by `total`."""
    _run(launch, out, part, whole(part), operation, total, first=False)


def partial_sums(launch: Any, x: Any) -> Any:
    """Sums of parts of a contiguous float array, at most 1024; `x` itself where it is short."""
    plan = plan_of(launch, x, range(len(x.shape)))
    if plan is None or plan.parts == 1:
        return x
    part = launch.empty((plan.parts,), float64 if x.dtype is float64 else float32)
    _run(launch, part, x, plan, Operation("sum", part.dtype), plan.n, last=False)
    return part


def sum(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """The sum over `dims`; integers and bool in int64, 16-bit floats in float32."""
    return _reduce(launch, out, x, dims, "sum")


def mean(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    return _reduce(launch, out, x, dims, "mean")


def prod(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    return _reduce(launch, out, x, dims, "prod")


def amax(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """The largest element; NaN where there is one."""
    return _reduce(launch, out, x, dims, "amax")


def amin(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """The smallest element; NaN where there is one."""
    return _reduce(launch, out, x, dims, "amin")


def any(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    return _reduce(launch, out, x, dims, "any")


def all(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    return _reduce(launch, out, x, dims, "all")


_NORMS = {0.0: "norm0", 1.0: "norm1", 2.0: "norm2", math.inf: "absmax", -math.inf: "absmin"}


def norm(
    launch: Any, out: Any, x: Any, *, p: float, dims: Sequence[int], keepdim: bool = False
) -> Any:
    """sum(|x|^p)^(1/p); the number of non-zeros for p = 0, the extremes of |x| for infinite p."""
    if x.dtype.category != 2:
        return NotImplemented
    name = _NORMS.get(p, "norm")
    return _reduce(launch, out, x, dims, name, float(p) if name == "norm" else None)


def logsumexp(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over `dims`."""
    from .softmax import logsumexp as reduce_logsumexp  # it is built on this module

    return reduce_logsumexp(launch, out, x, dims=dims, keepdim=keepdim)


def argmax(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """The first place of the largest element over one dimension, or all; NaN is largest."""
    return _arg(launch, out, x, dims, False)


def argmin(launch: Any, out: Any, x: Any, *, dims: Sequence[int], keepdim: bool = False) -> Any:
    """The first place of the smallest element over one dimension, or all; NaN is smallest."""
    return _arg(launch, out, x, dims, True)


def _arg(launch: Any, out: Any, x: Any, dims: Sequence[int], flip: bool) -> Any:
    plan = plan_of(launch, x, dims, ordered=True, itemsize=4)
    if plan is None or out.dtype is not int64:
        return NotImplemented
    key = key_type(x.dtype)
    constants = {"FLIP": flip, "KEY": getattr(tl, key.name)}
    if plan.parts == 1:
        _run_arg(launch, out, None, x, None, plan, constants)
        return None
    keys, places = (launch.empty((plan.parts, plan.m), t) for t in (key, int64))
    _run_arg(launch, places, keys, x, None, plan, constants)
    constants["WIDE"] = plan.constants["WIDE"]  # the places are those of the first pass
    _run_arg(launch, out, None, keys, places, whole(keys), constants)
    return None


def _run_arg(
    launch: Any, out: Any, keys: Any, x: Any, places: Any, plan: Plan, constants: dict
) -> None:
    args = [x, places, keys, out, plan.m, plan.n, plan.chunk, *plan.ints]
    constants = {**plan.constants, **constants, "FIRST": places is None}
    run(launch, arg_kernel, plan.grid, args, constants, plan.warps)
