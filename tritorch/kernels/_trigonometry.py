"""Sines and cosines whose argument is reduced in registers.

CUDA's library keeps a table on the stack, by which it reduces large angles; here the multiple of
pi / 2 is taken off in float64 by fused multiply-adds, exact for angles up to 1e15.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from ._tables import COS_32, COS_64, SIN_32, SIN_64

PI = tl.constexpr(3.141592653589793)
TWO_OVER_PI = tl.constexpr(0.6366197723675814)
# pi / 2 in two parts.
HALF_PI_HIGH = tl.constexpr(1.5707963267948966)
HALF_PI_LOW = tl.constexpr(6.123233995736766e-17)


@triton.jit
def near_zero(r):
    """The sine and cosine for |r| <= pi / 4."""
    z = r * r
    if r.dtype == tl.float64:
        return r * m.polynomial(z, SIN_64, 7), m.polynomial(z, COS_64, 8)
    else:
        return r * m.polynomial(z, SIN_32, 4), m.polynomial(z, COS_32, 5)


@triton.jit
def turned(s, c, k):
    """The sine and cosine after k more quarter turns."""
    k = k - 4.0 * tl.floor(k * 0.25)
    odd = (k == 1.0) | (k == 3.0)
    sine = tl.where(odd, c, s)
    cosine = tl.where(odd, s, c)
    return (
        tl.where(k >= 2.0, -sine, sine),
        tl.where((k == 1.0) | (k == 2.0), -cosine, cosine),
    )


@triton.jit
def sin_cos(x):
    """The sine and cosine of x; NaN for infinities."""
    return sin_cos_of(x.to(tl.float64), x.dtype)


@triton.jit
def sin_cos_of(wide, DTYPE: tl.constexpr):
    """The sine and cosine, in DTYPE, of an angle in float64."""
    k = m.round(wide * TWO_OVER_PI)
    r = tl.fma(-k, HALF_PI_LOW, tl.fma(-k, HALF_PI_HIGH, wide))
    # Beyond 1e15, where neighbouring numbers are far apart, what is left may be any angle.
    r = tl.where(tl.abs(r) > 1.0, r - r, r)
    s, c = near_zero(r.to(DTYPE))
    return turned(s, c, k)


@triton.jit
def sin_cos_pi(x):
    """The sine and cosine of pi x."""
    k = m.round(2.0 * x)
    s, c = near_zero((x - 0.5 * k) * PI)
    return turned(s, c, k)
