"""Orthogonal polynomials of any degree, by the recurrences and closed forms that PyTorch takes.

A degree is the whole part of its element; where it is below 0, NaN or too large for int64, the
value is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .api import SPACES, binary
from .elementwise import loop

# (k, x, value at k, value at k - 1) -> value at k + 1
Step = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def recurrence(x: np.ndarray, n: np.ndarray, first: np.ndarray, step: Step) -> np.ndarray:
    """The value at degree n of each element, from those at 0 (which is 1) and 1.

    It ends where the highest degree is reached or no element changes any more.
    """
    before, now = np.ones_like(x), first
    out = np.where(n < 0, 0, np.where(n == 0, before, now))
    for k in range(1, int(n.max(initial=0))):
        before, now = now, step(k, x, now, before)
        later = n > k
        out = np.where(later, now, out)
        if np.isnan(now[later]).all():
            break
    return out


def _chebyshev(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return (x + x) * now - before


def _hermite(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return (x + x) * now - 2 * k * before


def _hermite_e(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return x * now - k * before


def _laguerre(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return ((2 * k + 1 - x) * now - k * before) / (k + 1)


def _legendre(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return ((2 * k + 1) * x * now - k * before) / (k + 1)


def _angle(kind: str, x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Chebyshev polynomials between -1 and 1, from cos(n arccos x) and its like."""
    a = np.arccos(x)
    if kind == "t":
        return np.cos(n * a)
    if kind == "u":
        return np.sin((n + 1) * a) / np.sin(a)
    if kind == "v":
        return np.cos((n + 0.5) * a) / np.cos(a / 2)
    return np.sin((n + 0.5) * a) / np.sin(a / 2)


# kind -> (value at degree 1, value at x = 1, size of the value at x = -1, degrees by recurrence)
_CHEBYSHEV: dict[str, tuple[Callable, Callable, Callable, int]] = {
    "t": (lambda x: x, np.ones_like, np.ones_like, 6),
    "u": (lambda x: x + x, lambda n: n + 1, lambda n: n + 1, 8),
    "v": (lambda x: x + x - 1, np.ones_like, lambda n: n + n + 1, 8),
    "w": (lambda x: x + x + 1, lambda n: n + n + 1, np.ones_like, 8),
}


def chebyshev(kind: str, shifted: bool) -> Callable:
    """The loop of a kind; `shifted` from [-1, 1] to [0, 1]."""
    start, right, left, by_recurrence = _CHEBYSHEV[kind]

    def run(x: Any, n: Any) -> np.ndarray:
        x, n = _operands(x, n)
        y = x + x - 1 if shifted else x
        inside = (n > by_recurrence) & (np.abs(y) < 1)
        out = recurrence(y, np.where(inside, 0, n), start(y), _chebyshev)
        if inside.any():
            out = np.where(inside, _angle(kind, y, n), out)
        sign = np.where(n % 2 == 0, 1, -1)
        edge = np.where(y > 0, right(n), sign * left(n))
        return np.where((np.abs(y) == 1) & (n >= 0), edge, out).astype(x.dtype)

    return loop(run)


def polynomial(
    first: Callable, step: Step, fixed: tuple[float, ...] = (), highest: bool = False
) -> Callable:
    """The loop of a recurrence; at +-`fixed` the value is 1, with the sign of x to the n.

    With `highest` degrees from 129 (float32) or 513 (float64) on give NaN.
    """

    def run(x: Any, n: Any) -> np.ndarray:
        x, n = _operands(x, n)
        above = n > (512 if x.dtype == np.float64 else 128)
        out = recurrence(x, np.where(above & highest, 0, n), first(x), step)
        if highest:
            out = np.where(above, np.nan, out)
        for at in fixed:
            odd = (x < 0) & (n % 2 == 1)
            edge = (np.abs(x) == at) & (n >= 0)
            out = np.where(edge, np.where(odd, -1, 1), out)
        return out.astype(x.dtype)

    return loop(run)


def _operands(x: Any, n: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one shape, degrees in whole numbers."""
    dtype = np.result_type(x, n)
    x, n = np.broadcast_arrays(np.asarray(x, dtype), np.asarray(n, dtype))
    return x, np.where(np.abs(n) < 2.0**63, n, -1).astype(np.int64)


for _name, _loop in {
    **{f"chebyshev_polynomial_{k}": chebyshev(k, False) for k in _CHEBYSHEV},
    **{f"shifted_chebyshev_polynomial_{k}": chebyshev(k, True) for k in _CHEBYSHEV},
    "hermite_polynomial_h": polynomial(lambda x: x + x, _hermite, highest=True),
    "hermite_polynomial_he": polynomial(lambda x: x, _hermite_e),
    "laguerre_polynomial_l": polynomial(lambda x: 1 - x, _laguerre),
    "legendre_polynomial_p": polynomial(lambda x: x, _legendre, fixed=(1.0,)),
}.items():
    binary(
        _name,
        _loop,
        space="special",
        names=("x", "n"),
        result="float",
        deny=("complex", "float16", "bfloat16"),
        domain=((-1.5, 1.5), (0.0, 8.0)),
    )

POLYNOMIALS = tuple(sorted(n for n in SPACES["special"] if "_polynomial_" in n))
