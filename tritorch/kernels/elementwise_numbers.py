"""The scalar bodies of divisors, steps and neighbouring numbers."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m


@triton.jit
def widened(x):
    """Narrow integers as C computes with them, in int32."""
    if x.dtype.primitive_bitwidth < 32:
        return x.to(tl.int32)
    else:
        return x


@triton.jit
def gcd(x, y):
    """Euclid's algorithm."""
    a = tl.abs(widened(x))
    b = tl.abs(widened(y))
    while tl.max((a != 0).to(tl.int32)) > 0:
        r = b % tl.where(a == 0, 1, a)
        b = tl.where(a == 0, b, a)
        a = tl.where(a == 0, a, r)
    return b.to(x.dtype)


@triton.jit
def lcm(x, y):
    """|x / gcd * y|, which wraps around where it is too large."""
    g = widened(gcd(x, y))
    return tl.abs(widened(x) // tl.where(g == 0, 1, g) * widened(y)).to(x.dtype)


@triton.jit
def heaviside(x, values):
    return tl.where(x == 0, values, (x > 0).to(x.dtype))


@triton.jit
def stepped(i, x, y, STEP: tl.constexpr):
    """The bits of the number after x, whose bits are i, in the direction of y, apart from zero."""
    return tl.where((y > x) == (x > 0), i + STEP, i - STEP)


@triton.jit
def nextafter(x, y):
    """The next number after x in the direction of y: its bits as an integer, one more or less."""
    i = stepped(m.bits(x), x, y, 1)
    least = (m.bits(x) * 0 + 1).to(x.dtype, bitcast=True)
    r = tl.where(x == 0, m.copysign(least, y), i.to(x.dtype, bitcast=True))
    r = tl.where(x == y, y, r)
    return tl.where((x != x) | (y != y), x + y, r)


@triton.jit
def nextafter_bfloat16(x, y):
    """The same of bfloat16, whose bits are the upper half of float32's."""
    i = stepped(m.bits(x), x, y, 65536)
    least = (m.bits(x) * 0 + 65536).to(tl.float32, bitcast=True)
    r = tl.where(x == 0, m.copysign(least, y), i.to(tl.float32, bitcast=True))
    r = tl.where(x == y, y, r)
    return tl.where((x != x) | (y != y), x + y, r)


@triton.jit
def nextafter_float16(x, y):
    """The same of float16, from float32."""
    half = x.to(tl.float16)
    i = stepped(half.to(tl.int16, bitcast=True), x, y, 1)
    least = m.copysign(tl.zeros_like(x) + 5.960464477539063e-08, y)
    r = tl.where(x == 0, least, i.to(tl.float16, bitcast=True).to(tl.float32))
    r = tl.where(x == y, y, r)
    return tl.where((x != x) | (y != y), x + y, r)


@triton.jit
def parts(x):
    """The mantissa, in [0.5, 1) with the sign of x, and the exponent of 2."""
    # Subnormal numbers have no exponent of their own.
    if x.dtype == tl.float64:
        tiny = tl.abs(x) < 2.2250738585072014e-308
        i = m.bits(tl.where(tiny, x * 4503599627370496.0, x))
        e = ((i >> 52) & 2047).to(tl.int32) - 1022
        half = (i - (e.to(tl.int64) << 52)).to(tl.float64, bitcast=True)
        e = tl.where(tiny, e - 52, e)
    else:
        tiny = tl.abs(x) < 1.1754943508222875e-38
        i = m.bits(tl.where(tiny, x * 8388608.0, x))
        e = ((i >> 23) & 255) - 126
        half = (i - (e << 23)).to(tl.float32, bitcast=True)
        e = tl.where(tiny, e - 23, e)
    plain = (x != 0) & (tl.abs(x) < m.INF)
    return tl.where(plain, half, x), tl.where(plain, e, 0)


@triton.jit
def frexp_mantissa(x):
    mantissa, _ = parts(x)
    return mantissa


@triton.jit
def frexp_exponent(x):
    _, exponent = parts(x)
    return exponent
