"""Random numbers: Philox 4x64-10 by seed, offset and position, the bits of `runtime/random.py`.

Block `b` of a stream gives four 64-bit words. Numbers of up to 32 bits take half a word each, the
low half first, wider ones and integers take a word. Bits are those of the host; floats that are
scaled, and normals, are the same up to rounding. The offset is a number, or is read from device
memory when the kernel runs, so that a captured graph stays random.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
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
    bits,
    cdiv,
    convert,
    dense_strides,
    flat_offset,
    run,
    scalar,
    tables,
)
from .copy import copy

BLOCKS = 256  # counter blocks a program: 2048 numbers of 32 bits
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
PI_2_52 = tl.constexpr(math.pi * 2.0**-52)
PI_2_31 = tl.constexpr(math.pi * 2.0**-31)
PARAMETERS = (
    *INTEGERS, "seed", "offset", "low", "high", "span", "mean", "std", "limit", "factor",
)  # fmt: skip


@triton.jit
def philox(seed, block, attempt=0):
    """The four words of blocks: ten rounds on (block, attempt, 0, 0) under the key (seed, 0)."""
    c0 = block.to(tl.uint64)
    c1 = c0 * 0 + attempt
    c2 = c0 * 0
    c3 = c0 * 0
    k0 = seed.to(tl.uint64, bitcast=True)
    k1 = k0 * 0
    for _ in tl.static_range(10):
        high0 = tl.umulhi(c0, 0xD2E7470EE14C6C93)
        high2 = tl.umulhi(c2, 0xCA5A826395121157)
        low0 = c0 * 0xD2E7470EE14C6C93
        low2 = c2 * 0xCA5A826395121157
        c0 = high2 ^ c1 ^ k0
        c1 = low2
        c2 = high0 ^ c3 ^ k1
        c3 = low0
        k0 += 0x9E3779B97F4A7C15
        k1 += 0xBB67AE8584CAA73B
    return c0, c1, c2, c3


@triton.jit
def start(p_offset, offset, HAS_OFFSET: tl.constexpr):
    """The first counter of a stream: the one behind its offset."""
    first = tl.full((), 1, tl.int64) + offset
    if HAS_OFFSET:
        first += tl.load(p_offset)
    return first


@triton.jit
def draw(seed, first, BLOCKS: tl.constexpr):
    """The words of this program as (BLOCKS, 2, 2), in the order of the stream."""
    seed = tl.full((), 0, tl.int64) + seed
    block = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    w0, w1, w2, w3 = philox(seed, first + block)
    return tl.join(tl.join(w0, w2), tl.join(w1, w3))


@triton.jit
def halves(words):
    """The low and the high 32 bits of words."""
    low = (words & 0xFFFFFFFF).to(tl.uint32)
    high = (words >> 32).to(tl.uint32)
    return low, high


@triton.jit
def flat(x, N: tl.constexpr):
    """A block of N values in the order of the stream."""
    return tl.reshape(x, (N,))


@triton.jit
def place(N: tl.constexpr, WIDE: tl.constexpr):
    """The positions of the N values of this program."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    return i * N + tl.arange(0, N)


@triton.jit
def store(p_out, o, x, n, N: tl.constexpr):
    """Store a block, without a mask where it is full."""
    if (tl.program_id(0).to(tl.int64) + 1) * N <= n:
        tl.store(p_out + o, x)
    else:
        tl.store(p_out + o, x, mask=o < n)


@triton.jit
def unit(words, DIGITS: tl.constexpr, N: tl.constexpr):
    """Uniform numbers in [0, 1) of DIGITS bits."""
    if DIGITS > 32:
        x = (flat(words, N) >> (64 - DIGITS)).to(tl.int64).to(tl.float64)
    else:
        low, high = halves(words)
        x = (flat(tl.join(low, high), N) >> (32 - DIGITS)).to(tl.int32).to(tl.float32)
    return x * (1.0 / 2**DIGITS)


@triton.jit(do_not_specialize=PARAMETERS)
def random_uniform_kernel(
    p_out,  # (n,)
    p_offset,  # (1,), where HAS_OFFSET
    n, seed: tl.int64, offset: tl.int64, low: tl.int64, high: tl.int64,
    SCALED: tl.constexpr, HAS_OFFSET: tl.constexpr, DIGITS: tl.constexpr, WIDE: tl.constexpr,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    """out uniform in [low, high)."""
    N: tl.constexpr = BLOCKS * (4 if DIGITS > 32 else 8)
    words = draw(seed, start(p_offset, offset, HAS_OFFSET), BLOCKS)
    x = unit(words, DIGITS, N)
    if SCALED:
        span = scalar(high, True) - scalar(low, True)
        x = x * span.to(x.dtype) + scalar(low, True).to(x.dtype)
        x = convert(x, p_out.dtype.element_ty)
        end = convert(scalar(high, True).to(tl.float64), p_out.dtype.element_ty)
        first = convert(scalar(low, True), p_out.dtype.element_ty)
        # Rounding may reach the end.
        x = tl.where(convert(x, tl.float64) >= convert(end, tl.float64), first, x)
    store(p_out, place(N, WIDE), convert(x, p_out.dtype.element_ty), n, N)


@triton.jit
def circle(turn, BITS: tl.constexpr):
    """Sine and cosine of turn * pi / 2^(BITS - 1).

    Integers reduce the angle to an eighth of a turn either way, exactly; the library's functions
    would keep a table on the stack for large angles. Polynomials of the Cephes library.
    """
    quarter = (turn + (1 << (BITS - 3))) >> (BITS - 2)
    rest = turn - (quarter << (BITS - 2))
    if BITS == 64:
        x = (rest >> 11).to(tl.float64) * PI_2_52
        z = x * x
        s = ((1.58962301576546568060e-10 * z - 2.50507477628578072866e-8) * z
             + 2.75573136213857245213e-6) * z - 1.98412698295895385996e-4  # fmt: skip
        s = (s * z + 8.33333333332211858878e-3) * z - 1.66666666666666307295e-1
        c = ((-1.13585365213876817300e-11 * z + 2.08757008419747316778e-9) * z
             - 2.75573141792967388112e-7) * z + 2.48015872888517045348e-5  # fmt: skip
        c = (c * z - 1.38888888888730564116e-3) * z + 4.16666666666665929218e-2
    else:
        x = rest.to(tl.float32) * PI_2_31
        z = x * x
        s = (-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1
        c = (2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2
    sine = s * z * x + x
    cosine = c * z * z - 0.5 * z + 1.0
    odd = (quarter & 1) != 0
    s, c = tl.where(odd, cosine, sine), tl.where(odd, sine, cosine)
    s = tl.where((quarter & 2) != 0, -s, s)
    c = tl.where(((quarter + 1) & 2) != 0, -c, c)
    return s, c


@triton.jit(do_not_specialize=PARAMETERS)
def random_normal_kernel(
    p_out,  # (n,)
    p_offset,  # (1,), where HAS_OFFSET
    n, seed: tl.int64, offset: tl.int64, mean: tl.int64, std: tl.int64,
    HAS_OFFSET: tl.constexpr, DOUBLE: tl.constexpr, WIDE: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """out normal, by Box and Muller's method: two from the halves of a word, or from two words."""
    N: tl.constexpr = BLOCKS * (4 if DOUBLE else 8)
    words = draw(seed, start(p_offset, offset, HAS_OFFSET), BLOCKS)
    if DOUBLE:
        first, second = tl.split(words)
        first = (first >> 11).to(tl.int64).to(tl.float64) * 2**-53 + 2**-54
        sine, cosine = circle(second.to(tl.int64, bitcast=True), 64)
    else:
        first, second = halves(words)
        first = first.to(tl.float32) * 2**-32 + 2**-33
        sine, cosine = circle(second.to(tl.int32, bitcast=True), 32)
    radius = tl.sqrt(-2 * tl.log(first))
    x = flat(tl.join(radius * cosine, radius * sine), N)
    x = x * scalar(std, True).to(x.dtype) + scalar(mean, True).to(x.dtype)
    store(p_out, place(N, WIDE), convert(x, p_out.dtype.element_ty), n, N)


@triton.jit(do_not_specialize=PARAMETERS)
def random_integers_kernel(
    p_out,  # (n,)
    p_offset,  # (1,), where HAS_OFFSET
    n, seed: tl.int64, offset: tl.int64, low: tl.int64, span: tl.int64,
    HAS_OFFSET: tl.constexpr, FULL: tl.constexpr, SIGNED: tl.constexpr, WIDE: tl.constexpr,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    """out = low + the high word of word * span; low + word where FULL."""
    N: tl.constexpr = BLOCKS * 4
    x = flat(draw(seed, start(p_offset, offset, HAS_OFFSET), BLOCKS), N)
    if not FULL:
        x = tl.umulhi(x, x * 0 + scalar(span, False).to(tl.uint64, bitcast=True))
    x += scalar(low, False).to(tl.uint64, bitcast=True)
    if SIGNED:
        x = x.to(tl.int64, bitcast=True)
    store(p_out, place(N, WIDE), convert(x, p_out.dtype.element_ty), n, N)


@triton.jit(do_not_specialize=PARAMETERS)
def random_bernoulli_kernel(
    p_out,  # (n,)
    p_x,  # (n0, n1, n2, n3, n4) of n elements: the probabilities, unless SCALAR
    p_offset,  # (1,), where HAS_OFFSET
    n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4,
    seed: tl.int64, offset: tl.int64, limit: tl.int64,
    SCALAR: tl.constexpr, HAS_OFFSET: tl.constexpr, DENSE: tl.constexpr, DIMS: tl.constexpr,
    WIDE: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """out = 1 where a uniform number is less than the probability, else 0."""
    N: tl.constexpr = BLOCKS * 8
    words = draw(seed, start(p_offset, offset, HAS_OFFSET), BLOCKS)
    o = place(N, WIDE)
    if SCALAR:
        low, high = halves(words)
        hit = flat(tl.join(low, high), N).to(tl.int64) < limit
    else:
        o_x = flat_offset(o, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4, DENSE, DIMS)
        if (tl.program_id(0).to(tl.int64) + 1) * N <= n:
            p = tl.load(p_x + o_x)
        else:
            p = tl.load(p_x + o_x, mask=o < n, other=0)
        p = p if p.dtype == tl.float64 else p.to(tl.float32)
        hit = unit(words, 24, N).to(p.dtype) < p
    store(p_out, o, convert(hit, p_out.dtype.element_ty), n, N)


@triton.jit(do_not_specialize=PARAMETERS)
def random_dropout_kernel(
    p_out,  # (n,)
    p_x,  # (n0, n1, n2, n3, n4) of n elements
    p_offset,  # (1,), where HAS_OFFSET
    n, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4,
    seed: tl.int64, offset: tl.int64, limit: tl.int64, factor: tl.int64,
    HAS_OFFSET: tl.constexpr, DENSE: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    """out = x * factor where the bits are below limit, else x * 0; the mask is never stored."""
    N: tl.constexpr = BLOCKS * 8
    o = place(N, WIDE)
    o_x = flat_offset(o, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4, DENSE, DIMS)
    if (tl.program_id(0).to(tl.int64) + 1) * N <= n:
        x = tl.load(p_x + o_x)
    else:
        x = tl.load(p_x + o_x, mask=o < n, other=0)
    x = x if x.dtype == tl.float64 else x.to(tl.float32)
    low, high = halves(draw(seed, start(p_offset, offset, HAS_OFFSET), BLOCKS))
    keep = flat(tl.join(low, high), N).to(tl.int64) < limit
    x = x * tl.where(keep, scalar(factor, True).to(x.dtype), 0.0)
    store(p_out, o, convert(x, p_out.dtype.element_ty), n, N)


# -- launchers ---------------------------------------------------------------------------------

Offset = Any  # an int; an Array of one int64; or (Array, int), whose sum it is


def uniform(
    launch: Any, out: Any, *, seed: int, offset: Offset, low: float = 0.0, high: float = 1.0
) -> Any:
    """out uniform in [low, high)."""
    if out.dtype.name not in FLOATS:
        return NotImplemented
    constants = {"SCALED": (low, high) != (0, 1), "DIGITS": DIGITS[out.dtype.name]}
    args = [bits(low, True), bits(high, True)]
    return _run(launch, random_uniform_kernel, out, seed, offset, args, constants, out.itemsize)


def normal(
    launch: Any, out: Any, *, seed: int, offset: Offset, mean: float = 0.0, std: float = 1.0
) -> Any:
    """out normal with this mean and standard deviation."""
    if out.dtype.name not in FLOATS:
        return NotImplemented
    args, constants = [bits(mean, True), bits(std, True)], {"DOUBLE": out.itemsize == 8}
    return _run(launch, random_normal_kernel, out, seed, offset, args, constants, out.itemsize)


def integers(launch: Any, out: Any, *, seed: int, offset: Offset, low: int, high: int) -> Any:
    """out whole numbers in [low, high)."""
    if out.dtype.name not in REAL:
        return NotImplemented
    span = high - low
    constants = {"FULL": span >= 1 << 64, "SIGNED": low < 0}
    args = [bits(low, False), bits(span, False)]
    return _run(launch, random_integers_kernel, out, seed, offset, args, constants, 8)


def raw(launch: Any, out: Any, *, seed: int, offset: Offset) -> Any:
    """out = the words of the stream, one an element."""
    return integers(launch, out, seed=seed, offset=offset, low=0, high=1 << 64)


def bernoulli(launch: Any, out: Any, p: Any, *, seed: int, offset: Offset) -> Any:
    """out = 1 with probability p, else 0; p is a number or an Array that broadcasts to out."""
    is_scalar = isinstance(p, (bool, int, float))
    if out.dtype.name not in REAL or not (is_scalar or p.dtype.name in FLOATS):
        return NotImplemented
    limit = threshold(p) if is_scalar else 0
    x = out if is_scalar else p.broadcast_to(out.shape)
    constants = {"SCALAR": is_scalar}
    return _run_on(launch, random_bernoulli_kernel, out, x, seed, offset, [limit], constants)


def dropout(launch: Any, out: Any, x: Any, *, p: float, seed: int, offset: Offset) -> Any:
    """out = x * mask / (1 - p), where mask is `bernoulli` of 1 - p; also its own backward."""
    if out.dtype.name not in FLOATS or x.dtype.name not in FLOATS:
        return NotImplemented
    args = [threshold(1.0 - p), bits(1.0 / (1.0 - p) if p < 1 else 0.0, True)]
    return _run_on(launch, random_dropout_kernel, out, x, seed, offset, args, {})


def threshold(p: float) -> int:
    """The limit below which 32 random bits are a success: `u < p` for their 24-bit fraction u."""
    return min(max(math.ceil(p * (1 << 24)), 0), 1 << 24) << 8


def from_memory(offset: Offset, out: Any) -> tuple[Any, int, bool]:
    """(the Array to read, what is added to it, whether it is read)."""
    if isinstance(offset, int):
        return out, offset, False
    return (*offset, True) if isinstance(offset, tuple) else (offset, 0, True)


def _run(
    launch: Any, kernel: Any, out: Any, seed: int, offset: Offset, args: list, constants: dict,
    width: int,
) -> None:  # fmt: skip
    target = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    n, per_program = out.size, BLOCKS * (4 if width == 8 else 8)
    p_offset, offset, has_offset = from_memory(offset, target)
    launch(
        kernel,
        (cdiv(n, per_program),),
        [target, p_offset, n, bits(seed, False), offset, *args],
        {"HAS_OFFSET": has_offset, "WIDE": n >= NARROW, "BLOCKS": BLOCKS} | constants,
    )
    if target is not out:
        copy(launch, out, target)


def _run_on(
    launch: Any, kernel: Any, out: Any, x: Any, seed: int, offset: Offset, args: list,
    constants: dict,
) -> None:  # fmt: skip
    """The same with an operand of the shape of out."""
    target = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    plans = _plans(out.shape, x.strides)
    if len(plans) > 1:
        dense = launch.empty(x.shape, x.dtype)
        copy(launch, dense, x)
        x, plans = dense, _plans(out.shape, dense.strides)
    p_offset, offset, has_offset = from_memory(offset, target)
    constants = constants | {"HAS_OFFSET": has_offset, "BLOCKS": BLOCKS}
    plans = [p._replace(kernel=kernel, constants=constants | p.constants) for p in plans]
    run(launch, plans, (target, x, p_offset), bits(seed, False), offset, *args)
    if target is not out:
        copy(launch, out, target)


@lru_cache(PLANS)
def _plans(shape: Shape, strides: Shape) -> tuple[Plan, ...]:
    """Launches without a kernel, whose hash would be that of its source."""
    n, plans = math.prod(shape), []
    for t in tables(shape, dense_strides(shape), strides):
        dense = t.rows == 1 and t.strides[1][4] == 1
        constants = {"DENSE": dense, "DIMS": t.dims, "WIDE": t.wide()}
        ints = (n, *t.sizes, t.cols, *t.strides[1])
        plans.append(Plan(None, (cdiv(n, BLOCKS * 8),), ints, constants, (0, 0, 0)))
    return tuple(plans)
