"""Bessel functions of the orders 0 and 1, and the Airy function, in float32 and float64.

Near 0 they are fitted polynomials in x^2, beside what is singular there; farther out their
amplitudes and phases are fitted in 1 / x. Definitions and expansions: DLMF 9.7, 10.8, 10.17, 10.31,
10.40.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from ._bessel_tables import (
    AIRY_32,
    AIRY_64,
    AIRY_F_32,
    AIRY_F_64,
    AIRY_G_32,
    AIRY_G_64,
    AIRY_LEFT_32,
    AIRY_LEFT_64,
    AIRY_TAIL_32,
    AIRY_TAIL_64,
    I0_32,
    I0_64,
    I0_TAIL_32,
    I0_TAIL_64,
    I1_32,
    I1_64,
    I1_TAIL_32,
    I1_TAIL_64,
    J0_32,
    J0_64,
    J1_32,
    J1_64,
    K0_32,
    K0_64,
    K0_TAIL_32,
    K0_TAIL_64,
    K1_32,
    K1_64,
    K1_TAIL_32,
    K1_TAIL_64,
    P0_32,
    P0_64,
    P1_32,
    P1_64,
    Q0_32,
    Q0_64,
    Q1_32,
    Q1_64,
    Y0_32,
    Y0_64,
    Y1_32,
    Y1_64,
)
from ._trigonometry import sin_cos, sin_cos_of

TWO_OVER_PI = tl.constexpr(0.6366197723675814)
INV_SQRT_2PI = tl.constexpr(0.3989422804014327)
# The squares of the first two zeros of J0 and of J1.
J0_ZERO_1 = tl.constexpr(5.783185962946784)
J0_ZERO_2 = tl.constexpr(30.471262343662087)
J1_ZERO_1 = tl.constexpr(14.681970642123893)
J1_ZERO_2 = tl.constexpr(49.21845632169460)
WIDTH = tl.constexpr(1 / 1.625)


@triton.jit
def fitted(t, C32: tl.constexpr, N32: tl.constexpr, C64: tl.constexpr, N64: tl.constexpr):
    """The polynomial of t's dtype."""
    if t.dtype == tl.float64:
        return m.polynomial(t, C64, N64)
    else:
        return m.polynomial(t, C32, N32)


@triton.jit
def ratio(a, x):
    """a / x for a number a."""
    return m.divide(tl.zeros_like(x) + a, x)


# -- modified, growing -------------------------------------------------------------------------


@triton.jit
def i0_near(a):
    """I0 for a <= 8."""
    return fitted(a * a * 0.25, I0_32, 12, I0_64, 17)


@triton.jit
def i1_near(a):
    return a * 0.5 * fitted(a * a * 0.25, I1_32, 11, I1_64, 16)


@triton.jit
def i0_far(a):
    """exp(-a) I0(a) for a >= 8."""
    return fitted(ratio(16.0, a) - 1.0, I0_TAIL_32, 6, I0_TAIL_64, 25) * tl.rsqrt(a)


@triton.jit
def i1_far(a):
    return fitted(ratio(16.0, a) - 1.0, I1_TAIL_32, 7, I1_TAIL_64, 25) * tl.rsqrt(a)


@triton.jit
def grown(a, far):
    """exp(a) far, which may be finite where exp(a) is not; NaN at infinity, as in Cephes."""
    e = m.exp(0.5 * a)
    return e * far * e


@triton.jit
def i0(x):
    a = tl.abs(x)
    far = grown(a, i0_far(tl.where(a < 8.0, 8.0, a)))
    return tl.where(a < 8.0, i0_near(tl.minimum(a, 8.0)), far)


@triton.jit
def i0e(x):
    a = tl.abs(x)
    far = i0_far(tl.where(a < 8.0, 8.0, a))
    return tl.where(a < 8.0, i0_near(tl.minimum(a, 8.0)) * m.exp(-a), far)


@triton.jit
def i1(x):
    a = tl.abs(x)
    far = grown(a, i1_far(tl.where(a < 8.0, 8.0, a)))
    return m.copysign(tl.where(a < 8.0, i1_near(tl.minimum(a, 8.0)), far), x)


@triton.jit
def i1e(x):
    a = tl.abs(x)
    far = i1_far(tl.where(a < 8.0, 8.0, a))
    return m.copysign(tl.where(a < 8.0, i1_near(tl.minimum(a, 8.0)) * m.exp(-a), far), x)


# -- modified, decaying ------------------------------------------------------------------------


@triton.jit
def k0_near(x):
    """K0 for 0 < x <= 2."""
    return fitted(x * x * 0.25, K0_32, 6, K0_64, 10) - tl.log(0.5 * x) * i0_near(x)


@triton.jit
def k1_near(x):
    y = x * fitted(x * x * 0.25, K1_32, 6, K1_64, 10) + tl.log(0.5 * x) * i1_near(x)
    return y + ratio(1.0, x)


@triton.jit
def k0_far(x):
    """exp(x) K0(x) for x >= 2."""
    return fitted(ratio(4.0, x) - 1.0, K0_TAIL_32, 8, K0_TAIL_64, 24) * tl.rsqrt(x)


@triton.jit
def k1_far(x):
    return fitted(ratio(4.0, x) - 1.0, K1_TAIL_32, 9, K1_TAIL_64, 24) * tl.rsqrt(x)


@triton.jit
def of_positive(x, y, at_zero):
    """y, but `at_zero` for 0 and NaN for what is below."""
    return tl.where(x > 0, y, tl.where(x == 0, at_zero, float("nan")))


@triton.jit
def k0(x):
    far = k0_far(tl.where(x < 2.0, 2.0, x)) * m.exp(-x)
    return of_positive(x, tl.where(x < 2.0, k0_near(tl.minimum(x, 2.0)), far), m.INF)


@triton.jit
def k0e(x):
    far = k0_far(tl.where(x < 2.0, 2.0, x))
    near = k0_near(tl.minimum(x, 2.0)) * m.exp(x)
    return of_positive(x, tl.where(x < 2.0, near, far), m.INF)


@triton.jit
def k1(x):
    far = k1_far(tl.where(x < 2.0, 2.0, x)) * m.exp(-x)
    return of_positive(x, tl.where(x < 2.0, k1_near(tl.minimum(x, 2.0)), far), m.INF)


@triton.jit
def k1e(x):
    far = k1_far(tl.where(x < 2.0, 2.0, x))
    near = k1_near(tl.minimum(x, 2.0)) * m.exp(x)
    return of_positive(x, tl.where(x < 2.0, near, far), m.INF)


# -- of the first and the second kind ----------------------------------------------------------


@triton.jit
def j0_near(a):
    """J0 for a <= 5: its zeros come out exact."""
    z = a * a
    return (z - J0_ZERO_1) * (z - J0_ZERO_2) * fitted(z * 0.08 - 1.0, J0_32, 7, J0_64, 12)


@triton.jit
def j1_near(a):
    z = a * a
    r = (z - J1_ZERO_1) * (z - J1_ZERO_2) * fitted(z * 0.08 - 1.0, J1_32, 7, J1_64, 12)
    return a * r


@triton.jit
def waves(a):
    """cos(a) + sin(a), sin(a) - cos(a), both over sqrt(pi a): the angles a - pi / 4 and so on."""
    s, c = sin_cos(a)
    r = tl.rsqrt(a * m.PI)
    return (c + s) * r, (s - c) * r


@triton.jit
def part_0(a):
    """The two amplitudes of order 0 for a >= 5 (P and Q of DLMF 10.17)."""
    u = ratio(5.0, a)
    t = 2.0 * u * u - 1.0
    return fitted(t, P0_32, 5, P0_64, 18), u * fitted(t, Q0_32, 7, Q0_64, 23)


@triton.jit
def part_1(a):
    u = ratio(5.0, a)
    t = 2.0 * u * u - 1.0
    return fitted(t, P1_32, 5, P1_64, 18), u * fitted(t, Q1_32, 6, Q1_64, 21)


@triton.jit
def j0(x):
    a = tl.abs(x)
    c = tl.where(a < 5.0, 5.0, a)
    p, q = part_0(c)
    plus, minus = waves(c)
    return tl.where(a < 5.0, j0_near(tl.minimum(a, 5.0)), p * plus - q * minus)


@triton.jit
def j1(x):
    a = tl.abs(x)
    c = tl.where(a < 5.0, 5.0, a)
    p, q = part_1(c)
    plus, minus = waves(c)
    y = tl.where(a < 5.0, j1_near(tl.minimum(a, 5.0)), p * minus + q * plus)
    return tl.where(x < 0, -y, y)


@triton.jit
def y0(x):
    c = tl.where(x < 5.0, 5.0, x)
    p, q = part_0(c)
    plus, minus = waves(c)
    a = tl.minimum(x, 5.0)
    near = fitted(a * a * 0.08 - 1.0, Y0_32, 9, Y0_64, 14)
    near += tl.log(a) * j0_near(a) * TWO_OVER_PI
    y = tl.where(x < 5.0, near, p * minus + q * plus)
    return of_positive(x, y, -m.INF)


@triton.jit
def y1(x):
    c = tl.where(x < 5.0, 5.0, x)
    p, q = part_1(c)
    plus, minus = waves(c)
    a = tl.minimum(x, 5.0)
    near = a * fitted(a * a * 0.08 - 1.0, Y1_32, 9, Y1_64, 13)
    near += (tl.log(a) * j1_near(a) - ratio(1.0, a)) * TWO_OVER_PI
    y = tl.where(x < 5.0, near, q * minus - p * plus)
    return of_positive(x, y, -m.INF)


# -- Airy --------------------------------------------------------------------------------------


@triton.jit
def airy_ai(x):
    a = tl.abs(x)
    c = tl.where(x > 2.25, x, tl.where(x < -4.25, a, 4.25))
    root = m.sqrt(m.sqrt(c))
    wide = c.to(tl.float64)
    wide = wide * tl.sqrt(wide) * (2.0 / 3.0)
    zeta = wide.to(x.dtype)
    u = ratio(2.25, zeta)
    decay = m.exp(-zeta)
    decay = decay - decay * (wide - zeta.to(tl.float64)).to(x.dtype)
    right = decay * fitted(2.0 * u - 1.0, AIRY_TAIL_32, 8, AIRY_TAIL_64, 22)
    s, k = sin_cos_of(wide, x.dtype)
    u = ratio(5.75, zeta)
    t = 2.0 * u * u - 1.0
    f = fitted(t, AIRY_F_32, 4, AIRY_F_64, 16)
    g = u * fitted(t, AIRY_G_32, 6, AIRY_G_64, 20)
    left = (f * (s + k) - g * (k - s)) * INV_SQRT_2PI
    far = tl.where(x > 0, right, left) / root
    y = fitted((x - 0.625) * WIDTH, AIRY_32, 15, AIRY_64, 24)
    y = tl.where(x < -1.0, fitted((x + 2.625) * WIDTH, AIRY_LEFT_32, 14, AIRY_LEFT_64, 24), y)
    y = tl.where((x < -4.25) | (x > 2.25), far, y)
    return tl.where(tl.abs(x) == m.INF, float("nan"), tl.where(x != x, x, y))
