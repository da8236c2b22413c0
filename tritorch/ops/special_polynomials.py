"""Orthogonal polynomials of any degree, by the recurrences and closed forms that PyTorch takes.

A degree is the whole part of its element; where it is below 0, NaN or too large for int64, the
value is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .api import SPACES, binary
from .arithmetic_loops import select
from .elementwise import loop

# k -> (a, b, c): the value at k + 1 is (a x + b) times that at k, plus c times that at k - 1
Step = Callable[[int], tuple[float, float, float]]


def recurrence(x: np.ndarray, n: np.ndarray, first: np.ndarray, step: Step) -> np.ndarray:
    """The value at degree n of each element, from those at 0 (which is 1) and 1.

    It ends where the highest degree is reached, or where all that change are NaN.
    """
    before, now = np.ones_like(x), first.copy()
    out = select(np.equal(n, 0), before, now, np.empty_like(x))
    if n.min(initial=0) < 0:
        out[n < 0] = 0
    degree = np.minimum(n, np.iinfo(np.int32).max, dtype=np.int64).astype(np.int32)
    term = np.empty_like(x)
    for k in range(1, int(n.max(initial=0))):
        a, b, c = step(k)
        np.multiply(x, a, out=term)
        if b:
            term += b
        term *= now
        before *= c
        before += term
        before, now = now, before
        later = np.greater(degree, k)
        out = select(later, now, out, out)
        if k % 64 == 0 and np.isnan(now[later]).all():
            break
    return out


def _chebyshev(k: int) -> tuple[float, float, float]:
    return 2, 0, -1


def _hermite(k: int) -> tuple[float, float, float]:
    return 2, 0, -2 * k


def _hermite_e(k: int) -> tuple[float, float, float]:
    return 1, 0, -k


def _laguerre(k: int) -> tuple[float, float, float]:
    return -1 / (k + 1), (2 * k + 1) / (k + 1), -k / (k + 1)


def _legendre(k: int) -> tuple[float, float, float]:
    return (2 * k + 1) / (k + 1), 0, -k / (k + 1)


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
        size = np.abs(y)
        inside = (n > by_recurrence) & (size < 1)
        out = recurrence(y, n * ~inside, start(y), _chebyshev)
        if inside.any():
            out[inside] = _angle(kind, y[inside], n[inside])
        edge = (size == 1) & (n >= 0)
        if edge.any():
            y, n = y[edge], n[edge]
            out[edge] = np.where(y > 0, right(n), np.where(n % 2 == 0, 1, -1) * left(n))
        return out

    return loop(run)


def polynomial(
    first: Callable, step: Step, fixed: tuple[float, ...] = (), highest: bool = False
) -> Callable:
    """The loop of a recurrence; at +-`fixed` the value is 1, with the sign of x to the n.

    With `highest` degrees from 129 (float32) or 513 (float64) on give NaN.
    """

    def run(x: Any, n: Any) -> np.ndarray:
        x, n = _operands(x, n)
        above = (n > (512 if x.dtype == np.float64 else 128)) & highest
        out = recurrence(x, n * ~above, first(x), step)
        if above.any():
            out[above] = np.nan
        for at in fixed:
            edge = (np.abs(x) == at) & (n >= 0)
            if edge.any():
                out[edge] = np.where((x[edge] < 0) & (n[edge] % 2 == 1), -1, 1)
        return out

    return loop(run)


def _operands(x: Any, n: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one shape, degrees in whole numbers."""
    dtype = np.result_type(x, n)
    x, n = np.broadcast_arrays(np.asarray(x, dtype), np.asarray(n, dtype))
    known = np.abs(n) < 2.0**63
    return x, (n if known.all() else np.where(known, n, -1)).astype(np.int64)


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
