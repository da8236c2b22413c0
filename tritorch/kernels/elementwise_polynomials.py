"""The scalar bodies of the orthogonal polynomials.

The loops over degrees end where the highest degree of a block is reached or all is NaN. Chebyshev
polynomials of higher degrees are computed between -1 and 1 by cosines.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from ._trigonometry import sin_cos_of

# The recurrences.
CHEBYSHEV = tl.constexpr(1)
HERMITE_H = tl.constexpr(2)
HERMITE_HE = tl.constexpr(3)
LAGUERRE = tl.constexpr(4)
LEGENDRE = tl.constexpr(5)
# The kinds of Chebyshev polynomials.
T, U, V, W = tl.constexpr(1), tl.constexpr(2), tl.constexpr(3), tl.constexpr(4)


@triton.jit
def whole(n):
    """The degree, a whole number; -1 where it is NaN or too large for int64."""
    return tl.where(tl.abs(n) < 9223372036854775808.0, m.trunc(n), -1.0)


@triton.jit
def is_odd(n):
    return n - 2.0 * tl.floor(n * 0.5) == 1.0


@triton.jit
def next_value(k, x, now, before, KIND: tl.constexpr):
    """The value of degree k + 1 from those of k and k - 1 (DLMF 18.9.1)."""
    if KIND == CHEBYSHEV:
        return (x + x) * now - before
    elif KIND == HERMITE_H:
        return (x + x) * now - 2.0 * k * before
    elif KIND == HERMITE_HE:
        return x * now - k * before
    elif KIND == LAGUERRE:
        return m.divide((2.0 * k + 1.0 - x) * now - k * before, k + 1.0)
    else:
        return m.divide((2.0 * k + 1.0) * x * now - k * before, k + 1.0)


@triton.jit
def recurrence(x, n, first, KIND: tl.constexpr):
    """The value of degree n from those of 0, which is 1, and of 1."""
    before = tl.zeros_like(x) + 1.0
    now = first
    out = tl.where(n < 0, 0.0, tl.where(n == 0, before, now))
    k = tl.full((), 1, tl.int32)
    degree = tl.zeros_like(x) + 1.0
    while tl.max(((n > degree) & (now == now)).to(tl.int32)) > 0:
        after = next_value(degree, x, now, before, KIND)
        before = now
        now = after
        out = tl.where(n > degree, now, out)
        k += 1
        degree = tl.zeros_like(x) + k.to(x.dtype)
    return out


# -- Chebyshev's, and shifted from [-1, 1] to [0, 1] -------------------------------------------


@triton.jit
def by_angle(x, n, KIND: tl.constexpr):
    """cos(n a) and its like of the angle a with cos(a) = x, |x| < 1 (DLMF 18.5.1)."""
    a = m.acos(x).to(tl.float64)
    wide = n.to(tl.float64)
    if KIND == T:
        s, c = sin_cos_of(wide * a, x.dtype)
        return c
    elif KIND == U:
        s, c = sin_cos_of((wide + 1.0) * a, x.dtype)
        return m.divide(s, m.sqrt((1.0 - x) * (1.0 + x)))
    elif KIND == V:
        s, c = sin_cos_of((wide + 0.5) * a, x.dtype)
        return m.divide(c, m.sqrt(0.5 * (1.0 + x)))
    else:
        s, c = sin_cos_of((wide + 0.5) * a, x.dtype)
        return m.divide(s, m.sqrt(0.5 * (1.0 - x)))


@triton.jit
def chebyshev(x, degree, KIND: tl.constexpr):
    n = whole(degree)
    first = x + x
    right = tl.zeros_like(x) + 1.0  # the values at 1, and their sizes at -1
    left = right
    if KIND == T:
        first = x
        inside = (n > 6) & (tl.abs(x) < 1.0)
    else:
        inside = (n > 8) & (tl.abs(x) < 1.0)
    if KIND == U:
        right = n + 1.0
        left = n + 1.0
    elif KIND == V:
        first = x + x - 1.0
        left = n + n + 1.0
    elif KIND == W:
        first = x + x + 1.0
        right = n + n + 1.0
    y = recurrence(x, tl.where(inside, 0.0, n), first, CHEBYSHEV)
    y = tl.where(inside, by_angle(tl.where(inside, x, 0.0), n, KIND), y)
    edge = tl.where(x > 0, right, tl.where(is_odd(n), -left, left))
    return tl.where((tl.abs(x) == 1.0) & (n >= 0), edge, y)


@triton.jit
def chebyshev_polynomial_t(x, n):
    return chebyshev(x, n, T)


@triton.jit
def chebyshev_polynomial_u(x, n):
    return chebyshev(x, n, U)


@triton.jit
def chebyshev_polynomial_v(x, n):
    return chebyshev(x, n, V)


@triton.jit
def chebyshev_polynomial_w(x, n):
    return chebyshev(x, n, W)


@triton.jit
def shifted_chebyshev_polynomial_t(x, n):
    return chebyshev(x + x - 1.0, n, T)


@triton.jit
def shifted_chebyshev_polynomial_u(x, n):
    return chebyshev(x + x - 1.0, n, U)


@triton.jit
def shifted_chebyshev_polynomial_v(x, n):
    return chebyshev(x + x - 1.0, n, V)


@triton.jit
def shifted_chebyshev_polynomial_w(x, n):
    return chebyshev(x + x - 1.0, n, W)


# -- the others --------------------------------------------------------------------------------


@triton.jit
def hermite_polynomial_h(x, n):
    """NaN above a degree, as in PyTorch: of degree 128 in float32, 512 in float64."""
    n = whole(n)
    above = n > (512 if x.dtype == tl.float64 else 128)
    y = recurrence(x, tl.where(above, 0.0, n), x + x, HERMITE_H)
    return tl.where(above, float("nan"), y)


@triton.jit
def hermite_polynomial_he(x, n):
    return recurrence(x, whole(n), x, HERMITE_HE)


@triton.jit
def laguerre_polynomial_l(x, n):
    return recurrence(x, whole(n), 1.0 - x, LAGUERRE)


@triton.jit
def legendre_polynomial_p(x, n):
    n = whole(n)
    y = recurrence(x, n, x, LEGENDRE)
    edge = tl.where((x < 0) & is_odd(n), -1.0, 1.0)
    return tl.where((tl.abs(x) == 1.0) & (n >= 0), edge, y)
