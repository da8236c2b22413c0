"""The NumPy loops of `polygamma` and of Hurwitz' zeta function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import loop
from .lines import scratch

SMALL = 64  # elements up to which SciPy's zeta function costs less than many loops of NumPy
HIGHEST = 8  # order up to which the sums below are taken
# B_2j / (2 j)! with Bernoulli's numbers, from j = 1
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)


@loop
def hurwitz(x: Any, q: Any) -> Any:
    """Hurwitz' zeta function; where an argument is infinite as PyTorch has it."""
    from scipy import special

    r = np.asarray(special.zeta(x, q))
    r = np.where(np.isnan(x) & np.less_equal(q, 0), np.where(np.floor(q) == q, np.inf, np.nan), r)
    r = np.where(np.isposinf(q) | np.isposinf(x) & np.greater(q, 1), np.nan, r)
    r = np.where(np.equal(x, 1), np.inf, np.where(np.less(x, 1), np.nan, r))
    return r.astype(np.result_type(x, q))


def zeta(x: np.ndarray, s: int) -> np.ndarray:
    """The sum over k >= 0 of (x + k)^-s, for x > 0 in float64 and 2 <= s <= `HIGHEST` + 1.

    The first terms one by one, the rest by the Euler-Maclaurin formula (DLMF 25.11.5).
    """
    total = np.zeros_like(x)
    a, r, power = np.copy(x), scratch(x, 0), scratch(x, 1)
    for _ in range(8 + s):
        np.reciprocal(a, out=r)
        total += _power(r, s, power)
        a += 1
    np.reciprocal(a, out=r)
    square = np.square(r, out=scratch(x, 2))
    factors, rising = [], float(s)
    for j, b in enumerate(_BERNOULLI, 1):
        factors.append(b * rising)
        rising *= (s + 2 * j - 1) * (s + 2 * j)
    rest = np.multiply(square, factors[-1], out=scratch(x, 3))
    for factor in factors[-2:0:-1]:
        rest += factor
        rest *= square
    rest += factors[0]
    rest *= r
    rest += 0.5
    a /= s - 1
    rest += a
    rest *= _power(r, s, power)
    total += rest
    return total


def _power(x: np.ndarray, s: int, out: np.ndarray) -> np.ndarray:
    """x^s by the bits of s, from the highest."""
    np.copyto(out, x)
    for bit in f"{s:b}"[1:]:
        np.square(out, out=out)
        if bit == "1":
            out *= x
    return out


def polygamma(n: int, x: np.ndarray) -> np.ndarray:
    """(-1)^(n + 1) n! zeta(n + 1, x) (DLMF 5.15) in float64; NaN at infinity but for n = 1."""
    wide = np.asarray(x, np.float64)
    size = (math.factorial(n) if n <= 170 else math.inf) * (1.0 if n % 2 else -1.0)
    plain = (wide > 0) & np.isfinite(wide)
    if n > HIGHEST or wide.size <= SMALL or not plain.any():
        return _one_by_one(n, wide, size)
    if plain.all():
        return size * zeta(wide, n + 1)
    out = np.empty_like(wide)
    out[plain] = size * zeta(wide[plain], n + 1)
    out[~plain] = _one_by_one(n, wide[~plain], size)
    return out


def _one_by_one(n: int, x: np.ndarray, size: float) -> np.ndarray:
    y = np.asarray(size * hurwitz(float(n + 1), x))
    return np.where(np.isinf(x), np.where(x > 0, 0, np.nan), y) if n == 1 else y
