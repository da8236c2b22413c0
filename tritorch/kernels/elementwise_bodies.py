"""The scalar bodies of the elementwise operators, one function an operator, named as it is.

A body gets blocks of one dtype, the one to compute in (a bool comes as int8, 16-bit floats as
float32), and returns a block, which the template casts to the output's dtype. Parameters with
defaults are scalars that a caller may leave out.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m

SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_2_OVER_PI = tl.constexpr(0.7978845608028654)
INV_SQRT_2PI = tl.constexpr(0.3989422804014327)
NAN_WINS = tl.constexpr(tl.PropagateNan.ALL)

# -- moving and choosing -----------------------------------------------------------------------


@triton.jit
def copy(x, source=None):
    """The last argument: what is overwritten may stand before it."""
    if source is None:
        return x
    else:
        return source


@triton.jit
def fill(x, value=None):
    return copy(x, value)


@triton.jit
def conj_physical(x):
    return x


@triton.jit
def where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y, propagate_nan=NAN_WINS)


@triton.jit
def minimum(x, y):
    return tl.minimum(x, y, propagate_nan=NAN_WINS)


@triton.jit
def fmax(x, y):
    return tl.maximum(x, y)


@triton.jit
def fmin(x, y):
    return tl.minimum(x, y)


@triton.jit
def clamp(x, low, high):
    return minimum(maximum(x, low), high)


@triton.jit
def clamp_min(x, low):
    return maximum(x, low)


@triton.jit
def clamp_max(x, high):
    return minimum(x, high)


# -- arithmetic --------------------------------------------------------------------------------


@triton.jit
def add(x, y, alpha=None):
    if alpha is None:
        return x + y
    else:
        return x + alpha * y


@triton.jit
def sub(x, y, alpha=None):
    if alpha is None:
        return x - y
    else:
        return x - alpha * y


@triton.jit
def mul(x, y):
    return x * y


@triton.jit
def div(x, y):
    return m.divide(x, y)


@triton.jit
def floor_divide(x, y):
    """Rounds down, as Python does."""
    if x.dtype.is_floating():
        r = m.fmod(x, y)
        q = m.divide(x - r, y)
        q = tl.where((r != 0) & ((r < 0) != (y < 0)), q - 1.0, q)
        f = tl.floor(q)
        f = tl.where(q - f > 0.5, f + 1.0, f)
        exact = m.divide(x, y)
        f = tl.where(q == 0, m.copysign(tl.zeros_like(x), exact), f)
        return tl.where(y == 0, exact, f)
    elif x.dtype.is_int_signed():
        r = x % y
        return x // y - ((r != 0) & ((r < 0) != (y < 0))).to(x.dtype)
    else:
        return x // y


@triton.jit
def trunc_divide(x, y):
    """Rounds toward zero, as C does."""
    if x.dtype.is_floating():
        return m.trunc(m.divide(x, y))
    else:
        return x // y


@triton.jit
def remainder(x, y):
    """Has the sign of y, as in Python."""
    if x.dtype.is_floating():
        r = m.fmod(x, y)
        return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)
    elif x.dtype.is_int_signed():
        r = x % y
        return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)
    else:
        return x % y


@triton.jit
def fmod(x, y):
    """Has the sign of x, as in C."""
    if x.dtype.is_floating():
        return m.fmod(x, y)
    else:
        return x % y


@triton.jit
def pow(x, y):
    if x.dtype.is_floating():
        return m.pow(x, y)
    else:
        return m.integer_pow(x, y)


@triton.jit
def neg(x):
    return m.negative(x)


@triton.jit
def abs(x):
    return tl.abs(x)


@triton.jit
def sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def sgn(x):
    return sign(x)


@triton.jit
def square(x):
    return x * x


@triton.jit
def sqrt(x):
    return m.sqrt(x)


@triton.jit
def rsqrt(x):
    return tl.rsqrt(x)


@triton.jit
def reciprocal(x):
    return m.divide(tl.zeros_like(x) + 1.0, x)


@triton.jit
def lerp(x, end, weight):
    d = end - x
    w = tl.abs(weight)
    return tl.where(w < 0.5, x + weight * d, end - d * (1.0 - weight))


@triton.jit
def addcmul(x, a, b, value=None):
    if value is None:
        return x + a * b
    else:
        return x + value * a * b


@triton.jit
def addcdiv(x, a, b, value=None):
    if value is None:
        return x + m.divide(a, b)
    else:
        return x + value * m.divide(a, b)


@triton.jit
def scale_shift(x, mean, scale, shift=None):
    """(x - mean) * scale + shift: normalisation with known statistics."""
    if shift is None:
        return (x - mean) * scale
    else:
        return (x - mean) * scale + shift


@triton.jit
def inverse_deviation(variance, eps, weight=None):
    """weight / sqrt(variance + eps)"""
    r = m.divide(tl.zeros_like(variance) + 1.0, m.sqrt(variance + eps))
    if weight is None:
        return r
    else:
        return r * weight


# -- comparison and logic ----------------------------------------------------------------------


@triton.jit
def eq(x, y):
    return x == y


@triton.jit
def ne(x, y):
    return x != y


@triton.jit
def lt(x, y):
    return x < y


@triton.jit
def le(x, y):
    return x <= y


@triton.jit
def gt(x, y):
    return x > y


@triton.jit
def ge(x, y):
    return x >= y


@triton.jit
def logical_and(x, y):
    return (x != 0) & (y != 0)


@triton.jit
def logical_or(x, y):
    return (x != 0) | (y != 0)


@triton.jit
def logical_xor(x, y):
    return (x != 0) != (y != 0)


@triton.jit
def logical_not(x):
    return x == 0


@triton.jit
def isnan(x):
    return x != x


@triton.jit
def isinf(x):
    if x.dtype.is_floating():
        return tl.abs(x) == m.INF
    else:
        return x != x


@triton.jit
def isfinite(x):
    if x.dtype.is_floating():
        return tl.abs(x) < m.INF
    else:
        return x == x


@triton.jit
def signbit(x):
    if x.dtype.is_floating():
        return m.is_negative(x)
    else:
        return x < 0


@triton.jit
def bitwise_and(x, y):
    return x & y


@triton.jit
def bitwise_or(x, y):
    return x | y


@triton.jit
def bitwise_xor(x, y):
    return x ^ y


@triton.jit
def bitwise_not(x):
    return ~x


@triton.jit
def bitwise_left_shift(x, y):
    inside = (y >= 0) & (y < x.dtype.primitive_bitwidth)
    return tl.where(inside, x << tl.where(inside, y, 0), 0)


@triton.jit
def bitwise_right_shift(x, y):
    inside = (y >= 0) & (y < x.dtype.primitive_bitwidth)
    return x >> tl.where(inside, y, x.dtype.primitive_bitwidth - 1)


# -- rounding ----------------------------------------------------------------------------------


@triton.jit
def floor(x):
    if x.dtype.is_floating():
        return tl.floor(x)
    else:
        return x


@triton.jit
def ceil(x):
    if x.dtype.is_floating():
        return tl.ceil(x)
    else:
        return x


@triton.jit
def round(x):
    """To the nearest integer, ties to even."""
    if x.dtype.is_floating():
        return m.round(x)
    else:
        return x


@triton.jit
def trunc(x):
    if x.dtype.is_floating():
        return m.trunc(x)
    else:
        return x


@triton.jit
def frac(x):
    return x - m.trunc(x)
