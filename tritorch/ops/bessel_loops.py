"""The NumPy loops of the modified Bessel functions I: polynomials for float32, SciPy for float64.

Each writes `out` last, so that it may be the memory of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .lines import scratch

# The coefficients of the kernels, highest power first: of I0(x) and 2 I1(x) / x in x^2 / 4, below
# `FAR`; of sqrt(x) exp(-x) times I0(x) and I1(x) in 16 / x - 1, above.
FAR = 8.0
_I0 = (
    1.212325898e-15,
    4.880765084e-14,
    8.281645529e-12,
    6.042841031e-10,
    3.947926454e-08,
    1.928248924e-06,
    6.944786796e-05,
    0.001736101402,
    0.027777794,
    0.249999986,
    1.000000005,
    0.9999999997,
)
_I1 = (
    1.334503705e-14,
    4.888593822e-13,
    7.444985948e-11,
    4.837128162e-09,
    2.763054514e-07,
    1.156998907e-05,
    0.0003472363784,
    0.006944415895,
    0.08333336281,
    0.4999999881,
    1.000000001,
)
_I0_TAIL = (
    3.626670385e-07,
    1.639134872e-06,
    1.111214829e-05,
    0.0001361560321,
    0.0033605557,
    0.4021765128,
)
_I1_TAIL = (
    -1.227321724e-07,
    -4.210350155e-07,
    -1.825690732e-06,
    -1.500396547e-05,
    -0.0002192371254,
    -0.00974958137,
    0.3893984591,
)


def _horner(x: Any, coefficients: tuple[float, ...], slot: int) -> Any:
    p = np.multiply(x, coefficients[0], out=scratch(x, slot))
    for c in coefficients[1:-1]:
        p += c
        p *= x
    p += coefficients[-1]
    return p


def _modified(
    name: str, near: tuple[float, ...], tail: tuple[float, ...], odd: bool, scaled: bool
) -> Callable:
    """I0 or, `odd`, I1; `scaled` by exp(-|x|)."""

    def loop(x: Any, out: Any = None) -> Any:
        if x.dtype != np.float32:
            from scipy import special

            return getattr(special, name)(x, out=out)
        x = np.asarray(x)
        size = np.abs(x, out=scratch(x))
        far = np.flatnonzero(size > FAR)
        rest = _far(size.reshape(-1)[far], tail, scaled)
        size = np.clip(size, 0, FAR, out=size)
        half = np.multiply(size, 0.5, out=scratch(x, 1))
        p = _horner(np.square(half, out=scratch(x, 2)), near, 3)
        if odd:
            sign = np.add(x, 0, out=scratch(x, 2))  # of -0.0 it is 0.0
            p *= np.copysign(half, sign, out=half)
            rest = np.copysign(rest, x.reshape(-1)[far])
        if scaled:
            np.negative(size, out=size)
            p *= np.exp(size, out=size)
        if far.size:
            p.reshape(-1)[far] = rest
        return p.copy() if out is None else _copied(p, out)

    return loop


def _copied(p: Any, out: Any) -> Any:
    np.copyto(out, p)
    return out


def _far(x: Any, tail: tuple[float, ...], scaled: bool) -> Any:
    """Of positive numbers above `FAR`, to infinity."""
    p = _horner(16 / x - 1, tail, 4) / np.sqrt(x)
    if scaled:
        return p
    half = np.exp(x * np.float32(0.5))  # twice, as exp(x) overflows before the result does
    return p * half * half


i0 = _modified("i0", _I0, _I0_TAIL, False, False)
i0e = _modified("i0e", _I0, _I0_TAIL, False, True)
i1 = _modified("i1", _I1, _I1_TAIL, True, False)
i1e = _modified("i1e", _I1, _I1_TAIL, True, True)
