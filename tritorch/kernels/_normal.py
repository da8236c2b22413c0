"""The scaled complementary error function, and with it the tails of the normal distribution."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from ._tables import ERFC_32, ERFC_64

INV_SQRT_PI = tl.constexpr(0.5641895835477563)
SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_2 = tl.constexpr(1.4142135623730951)
SQRT_2_OVER_PI = tl.constexpr(0.7978845608028654)


@triton.jit
def erfcx_positive(a):
    """exp(a^2) erfc(a) for a >= 0; far out by its asymptotic series (DLMF 7.12.1)."""
    if a.dtype == tl.float64:
        c = tl.minimum(a, 30.0)
        y = m.polynomial((c - 4.0) / (c + 4.0), ERFC_64, 24)
        far = a > 30.0
    else:
        c = tl.minimum(a, 10.0)
        y = m.polynomial(m.divide(c - 4.0, c + 4.0), ERFC_32, 11)
        far = a > 10.0
    z = m.divide(tl.zeros_like(a) + 0.5, a * a)
    s = ((z * 10395.0 - 945.0) * z + 105.0) * z - 15.0
    s = ((s * z + 3.0) * z - 1.0) * z + 1.0
    y = tl.where(far, m.divide(s * INV_SQRT_PI, a), m.divide(y, 2.0 * c + 1.0))
    return tl.where(a != a, a, y)


@triton.jit
def exp_square(a, FACTOR: tl.constexpr):
    """exp(FACTOR a^2), with the rounding of the square put back; FACTOR a power of two."""
    s = a * a
    e = m.exp(s * FACTOR)
    return tl.where((e > 0) & (e < m.INF), e + e * (tl.fma(a, a, -s) * FACTOR), e)


@triton.jit
def erfcx(x):
    y = erfcx_positive(tl.abs(x))
    return tl.where(x < 0, 2.0 * exp_square(x, 1.0) - y, y)


@triton.jit
def tail(a):
    """The normal distribution's part below -a, a >= 0."""
    return 0.5 * exp_square(a, -0.5) * erfcx_positive(a * SQRT_HALF)


@triton.jit
def ndtr(x):
    """The normal distribution's part below x."""
    t = tail(tl.abs(x))
    return tl.where(x < 0, t, 1.0 - t)


@triton.jit
def log_tail(a):
    """The logarithm of `tail`."""
    return tl.log(0.5 * erfcx_positive(a * SQRT_HALF)) - 0.5 * (a * a)


@triton.jit
def log_ndtr(x):
    a = tl.abs(x)
    return tl.where(x < 0, log_tail(a), m.log1p(-tail(a)))


@triton.jit
def ndtri(p):
    """The x with `ndtr(x) == p`.

    In the tails a rational guess, good to 5e-4 (Abramowitz and Stegun 26.2.23), and Halley's steps
    on the logarithm, each of which triples the digits.
    """
    middle = m.erfinv(2.0 * p - 1.0) * SQRT_2
    low = tl.where(p < 0.5, p, 1.0 - p)
    in_tail = (low > 0) & (low < 0.25)
    log_p = tl.log(tl.where(in_tail, low, 0.125))
    t = m.sqrt(-2.0 * log_p)
    above = (0.010328 * t + 0.802853) * t + 2.515517
    below = ((0.001308 * t + 0.189269) * t + 1.432788) * t + 1.0
    a = t - above / below
    for _ in tl.static_range(2):
        # d/da log tail(a) = -slope, and that of slope is slope (slope - a)
        scaled = erfcx_positive(a * SQRT_HALF)
        error = tl.log(0.5 * scaled) - 0.5 * (a * a) - log_p
        slope = m.divide(tl.zeros_like(p) + SQRT_2_OVER_PI, scaled)
        step = error / slope
        a += step / (1.0 + 0.5 * step * (slope - a))
    y = tl.where(in_tail, tl.where(p < 0.5, -a, a), middle)
    y = tl.where(p == 0, -m.INF, tl.where(p == 1.0, m.INF, y))
    return tl.where((p < 0) | (p > 1.0), float("nan"), y)
