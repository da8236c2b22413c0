"""The NumPy loops of `erfc`, `ndtr` and `erfinv`: polynomials for float32, SciPy for float64.

Each writes `out` last, so that it may be the memory of an input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arithmetic_loops import select
from .lines import scratch

# erfc(x) exp(x^2) = t p(t) with t = 1 / (1 + x / 2), highest power first: to 4e-8 of it on
# 0 <= x <= 10.2, beyond which float32 has no smaller numbers. Fitted by Lawson's method.
_ERFC = (
    -0.05912431690675601,
    0.28484569790769393,
    -0.4877619515770302,
    0.27871200661103057,
    -0.0270712709209914,
    0.20287605804360746,
    0.24305577389025687,
    0.2823819311888529,
    0.282086038652787,
)

# erfinv(x) = x p(w), w = -log((1 - x)(1 + x)): in w - 2.5 below 5, in sqrt(w) - 3 above. M. Giles,
# "Approximating the erfinv function", GPU Computing Gems, 2012, table 5.
_NEAR = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_FAR = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _polynomial(x: Any, coefficients: Sequence[float], slot: int) -> Any:
    p = np.multiply(x, coefficients[0], out=scratch(x, slot))
    for c in coefficients[1:-1]:
        p += c
        p *= x
    p += coefficients[-1]
    return p


def erfc(x: Any, out: Any = None) -> Any:
    """1 - erf(x), its tail to the last digits."""
    if x.dtype != np.float32:
        from scipy import special

        return special.erfc(x, out=out)
    return _complement(np.asarray(x), 1.0, out)


def ndtr(x: Any, out: Any = None) -> Any:
    """The normal distribution's function, erfc(-x / sqrt(2)) / 2."""
    if x.dtype != np.float32:
        from scipy import special

        return special.ndtr(x, out=out)
    r = _complement(np.negative(x, out=scratch(x, 4)), 0.5, out)
    return np.multiply(r, 0.5, out=out)


def _complement(x: Any, square: float, out: Any) -> Any:
    """erfc(x sqrt(square)): exp(-square x^2) as a product, as x^2 itself is rounded."""
    scale = math.sqrt(square)
    a = np.abs(x, out=scratch(x))
    a = np.clip(a, 0, 11 / scale, out=a)
    t = np.multiply(a, 0.5 * scale, out=scratch(x, 1))
    t += 1
    t = np.reciprocal(t, out=t)
    p = _polynomial(t, _ERFC, 2)
    p *= t
    high = np.bitwise_and(a.view(np.int32), -4096, out=t.view(np.int32)).view(np.float32)
    rest = np.add(a, high, out=scratch(x, 3))
    a -= high
    rest *= a
    rest *= -square
    p *= np.exp(rest, out=rest)
    high *= high
    high *= -square
    p *= np.exp(high, out=high)
    return select(x < 0, np.subtract(2, p, out=rest), p, out)


def erfinv(x: Any, out: Any = None) -> Any:
    if x.dtype != np.float32:
        from scipy import special

        r = special.erfinv(x, out=out)
        return np.copysign(r, x, out=r) if isinstance(r, np.ndarray) else np.copysign(r, x)
    x = np.asarray(x)
    w = np.subtract(1, x, out=scratch(x))
    w *= np.add(1, x, out=scratch(x, 1))
    w = np.log(w, out=w)
    np.subtract(-2.5, w, out=w)
    p = _polynomial(w, _NEAR, 1)
    far = np.flatnonzero(w >= 2.5)
    if far.size:
        root = np.sqrt(w.reshape(-1)[far] + np.float32(2.5))
        edge = np.isinf(root)
        root -= 3
        values = _polynomial(root, _FAR, 2)
        values[edge] = np.inf
        p.reshape(-1)[far] = values
    return np.multiply(p, x, out=out)
