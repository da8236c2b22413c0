"""The incomplete gamma functions and Hurwitz' zeta function."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from ._gamma_tables import (
    BERNOULLI,
    PHI,
    TEMME_0,
    TEMME_1,
    TEMME_2,
    TEMME_3,
    TEMME_4,
    TEMME_5,
    TEMME_6,
    TEMME_7,
    TEMME_8,
    TEMME_9,
)

EPS = tl.constexpr(1.1102230246251565e-16)
STEPS = tl.constexpr(2000)  # more than any argument needs
SQRT_HALF = tl.constexpr(0.7071067811865476)
INV_SQRT_2PI = tl.constexpr(0.3989422804014327)


# -- incomplete gamma functions, in float64 ----------------------------------------------------


@triton.jit
def log_gamma_1(a):
    """lgamma(1 + a) for a > 0, to its last digits near 0."""
    near = m.lgamma_near_two(tl.minimum(a, 0.5)) - m.log1p(a)
    return tl.where(a < 0.5, near, m.lgamma_positive(1.0 + a))


@triton.jit
def factor(a, x):
    """x^a exp(-x) / gamma(1 + a)."""
    small = m.exp(a * tl.log(x) - x - log_gamma_1(tl.minimum(a, 10.0)))
    b = tl.maximum(a, 10.0)
    r = 1.0 / b
    z = r * r
    stirling = (-z * (691.0 / 360360) + 1.0 / 1188) * z - 1.0 / 1680
    stirling = ((stirling * z + 1.0 / 1260) * z - 1.0 / 360) * z + 1.0 / 12
    ratio = x * r
    large = m.exp(b * (tl.log(ratio) - (ratio - 1.0)) - stirling * r)
    return tl.where(a < 10.0, small, large * tl.rsqrt(b) * INV_SQRT_2PI)


@triton.jit
def lower_series(a, x, active):
    """The sum of x^n / ((a + 1) ... (a + n)) (DLMF 8.11.4); where not `active` anything."""
    term = tl.zeros_like(x) + 1.0
    total = term
    n = a
    k = tl.full((), 0, tl.int32)
    while (tl.max(active.to(tl.int32)) > 0) & (k < STEPS):
        n += 1.0
        term = term * (x / n)
        total += term
        active = active & (term > total * EPS)
        k += 1
    return total


@triton.jit
def upper_series(a, x):
    """1 - x^a / gamma(a) sum of (-x)^n / ((a + n) n!), for x <= 1.1, without cancellation."""
    total = tl.zeros_like(x)
    term = total + 1.0
    for n in range(1, 21):
        term = term * (-x / n)
        total += term / (a + n)
    log_power = a * tl.log(x) - log_gamma_1(a)
    return -m.expm1(log_power) - a * m.exp(log_power) * total


@triton.jit
def upper_fraction(a, x, active):
    """The continued fraction of DLMF 8.9.2, by Lentz' algorithm; where not `active` anything."""
    b = x + 1.0 - a
    b = tl.where(active, b, 1.0)
    c = tl.zeros_like(x) + 1e300
    d = 1.0 / b
    h = d
    i = tl.zeros_like(x)
    k = tl.full((), 0, tl.int32)
    while (tl.max(active.to(tl.int32)) > 0) & (k < STEPS):
        i += 1.0
        above = tl.where(active, i * (a - i), 0.0)
        b += 2.0
        d = 1.0 / (above * d + b)
        c = b + above / c
        step = tl.where(active, d * c, 1.0)
        h = h * step
        active = active & (tl.abs(step - 1.0) > 2.0 * EPS)
        k += 1
    return h


@triton.jit
def uniform(a, x, UPPER: tl.constexpr):
    """Temme's expansion for a >= 30 and |x - a| < 0.3 a (DLMF 8.12)."""
    mu = (x - a) / a
    phi = m.polynomial(mu * 3.2, PHI, 21)
    eta = mu * tl.sqrt(2.0 * phi)
    r = 1.0 / a
    s = m.polynomial(eta, TEMME_8, 3) + r * TEMME_9
    s = s * r + m.polynomial(eta, TEMME_7, 5)
    s = s * r + m.polynomial(eta, TEMME_6, 7)
    s = s * r + m.polynomial(eta, TEMME_5, 9)
    s = s * r + m.polynomial(eta, TEMME_4, 10)
    s = s * r + m.polynomial(eta, TEMME_3, 12)
    s = s * r + m.polynomial(eta, TEMME_2, 13)
    s = s * r + m.polynomial(eta, TEMME_1, 15)
    s = s * r + m.polynomial(eta, TEMME_0, 15)
    rest = s * m.exp(-a * mu * mu * phi) * tl.rsqrt(a) * INV_SQRT_2PI
    z = eta * tl.sqrt(a) * SQRT_HALF
    if UPPER:
        return 0.5 * m.erfc(z) + rest
    else:
        return 0.5 * m.erfc(-z) - rest


@triton.jit
def incomplete(order, argument, UPPER: tl.constexpr):
    """The regularised incomplete gamma function: the part below the argument, or UPPER above it.

    Of the two parts the one that is computed is the smaller, as in Cephes.
    """
    a = order.to(tl.float64)
    x = argument.to(tl.float64)
    plain = (a > 0) & (x > 0) & (a < m.INF) & (x < m.INF)
    a = tl.where(plain, a, 1.0)
    x = tl.where(plain, x, 1.0)
    middle = (a >= 30.0) & (tl.abs(x - a) < 0.3 * a)
    # whether the lower part is summed
    lower = tl.where(x <= 1.1, tl.where(x <= 0.5, a * tl.log(x) < -0.4, 1.1 * x < a), x < a)
    if not UPPER:
        lower = lower | (x <= 1.0) | (x <= a)
    y = tl.zeros_like(x)
    power = factor(a, x)
    fraction = plain & (x > 1.1) & ~lower & ~middle
    if tl.max((plain & ~fraction & ~middle).to(tl.int32)) > 0:
        p = power * lower_series(a, x, plain & lower & ~middle)
        q = upper_series(tl.minimum(a, 2.0), tl.minimum(x, 1.1))
        y = tl.where(lower, 1.0 - p, q) if UPPER else tl.where(lower, p, 1.0 - q)
    if tl.max(fraction.to(tl.int32)) > 0:
        q = a * power * upper_fraction(a, x, fraction)
        y = tl.where(fraction, q if UPPER else 1.0 - q, y)
    if tl.max(middle.to(tl.int32)) > 0:
        y = tl.where(
            middle, uniform(tl.where(middle, a, 30.0), tl.where(middle, x, 30.0), UPPER), y
        )
    return tl.where(plain, y.to(order.dtype), edges(order, argument, UPPER))


@triton.jit
def edges(a, x, UPPER: tl.constexpr):
    """Where an argument is 0, infinite, below 0 or NaN, as PyTorch has it."""
    none = 1.0 if UPPER else 0.0
    y = tl.where(tl.abs(x) == m.INF, 1.0 - none, float("nan"))
    y = tl.where(a == m.INF, tl.where(x == m.INF, float("nan"), none), y)
    y = tl.where(x == 0, none, y)
    y = tl.where(a == 0, tl.where(x > 0, 1.0 - none, float("nan")), y)
    return tl.where((x < 0) | (a < 0), float("nan"), y).to(a.dtype)


# -- zeta --------------------------------------------------------------------------------------


@triton.jit
def positive_zeta(x, q):
    """The sum of (q + k)^-x for x > 1 and q > 0, by the Euler-Maclaurin formula (DLMF 25.11.5)."""
    total = tl.zeros_like(x)
    for k in range(0, 10):
        total += m.pow(q + k, -x)
    a = q + 10.0
    r = m.divide(tl.zeros_like(a) + 1.0, a)
    power = m.pow(a, 1.0 - x)  # a^-x may be too small for a number where this is not
    rest = power * (m.divide(tl.zeros_like(a) + 1.0, x - 1.0) + 0.5 * r)
    term = power * x * r * r
    for j in tl.static_range(12):
        rest += term * BERNOULLI[j]
        term = term * ((x + (2 * j + 1)) * r) * ((x + (2 * j + 2)) * r)
    return tl.where(power > 0, total + rest, total)


@triton.jit
def zeta(x, q):
    """Hurwitz' zeta function; of q < 0 for integers x only, and edges, as PyTorch has them."""
    finite = (x > 1.0) & (x < m.INF) & (tl.abs(q) < m.INF)
    inside = finite & ((q > 0) | (tl.floor(q) != q))
    s = tl.where(inside, x, 2.0)
    n = tl.where(inside, q, 1.0)
    start = tl.where(n < 0, n - tl.floor(n), n)
    y = positive_zeta(s, start)
    if tl.min(n) < 0:
        # Those below 0: their sizes are the sum from the last of them less that from q on.
        below = tl.where(n < 0, tl.floor(n) + 1.0 - n, 1.0)
        more = positive_zeta(s, below) - positive_zeta(s, tl.where(n < 0, 1.0 - n, 1.0))
        y = tl.where(n < 0, tl.where(m.is_odd(s), y - more, y + more), y)
    y = tl.where(q == m.INF, float("nan"), y)
    y = tl.where(x == m.INF, tl.where(q == 1.0, 1.0, tl.where(q < 1.0, m.INF, float("nan"))), y)
    y = tl.where((q <= 0) & (tl.floor(x) != x), float("nan"), y)
    y = tl.where((q <= 0) & (tl.floor(q) == q), m.INF, y)
    y = tl.where((x != x) & (q > 0) | (q != q), float("nan"), y)
    return tl.where(x == 1.0, m.INF, tl.where(x < 1.0, float("nan"), y))
