"""Bessel functions, of all kinds and of the orders 0 and 1, and the Airy function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from . import bessel_loops
from .api import PUBLIC, SPACES, unary
from .arithmetic import where
from .elementwise import loop
from .special_gamma import scipy_loop


@loop
def _airy(x: Any) -> Any:
    import scipy.special

    x = np.asarray(x)
    # SciPy gives NaN far out, where the function has long underflowed to 0.
    return np.where((x > 200) & (x < np.inf), 0, scipy.special.airy(x)[0]).astype(x.dtype)


@loop
def _spherical(x: Any) -> Any:
    """sin(x) / x, 1 at 0 and 0 at infinity."""
    x = np.asarray(x)
    ratio = np.sin(x) / np.where(x == 0, 1, x)
    return np.where(x == 0, 1, np.where(np.isinf(x), 0, ratio)).astype(x.dtype)


def _i1(g: Tensor, x: Tensor, out: Tensor) -> Any:
    return g * where(x == 0, 0.5, i0(x) - out / x)


def _i1e(g: Tensor, x: Tensor, out: Tensor) -> Any:
    return g * where(x == 0, 0.5, i0e(x) - out * (x.sgn() + 1 / x))  # type: ignore[attr-defined]


i0 = unary(
    "i0",
    bessel_loops.i0,
    result="float",
    deny=("complex",),
    vjp=lambda g, x: g * i1(x),
)
i0e = unary(
    "i0e",
    bessel_loops.i0e,
    space="special",
    result="float",
    deny=("complex",),
    vjp=lambda g, x, out: g * (i1e(x) - x.sgn() * out),
)
i1 = unary("i1", bessel_loops.i1, space="special", result="float", deny=("complex",), vjp=_i1)
i1e = unary(
    "i1e",
    bessel_loops.i1e,
    space="special",
    result="float",
    deny=("complex",),
    vjp=_i1e,
)
SPACES["special"]["i0"] = PUBLIC["i0"]

_INPUTS = (
    "bessel_j0",
    "bessel_j1",
    "bessel_y0",
    "bessel_y1",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "modified_bessel_k0",
    "modified_bessel_k1",
)
# PyTorch has no derivatives of these, and no 16-bit ones.
for _name, _loop, _low in (
    ("airy_ai", _airy, -2.0),
    ("bessel_j0", scipy_loop("j0"), -2.0),
    ("bessel_j1", scipy_loop("j1"), -2.0),
    ("bessel_y0", scipy_loop("y0"), 0.1),
    ("bessel_y1", scipy_loop("y1"), 0.1),
    ("modified_bessel_i0", bessel_loops.i0, -2.0),
    ("modified_bessel_i1", bessel_loops.i1, -2.0),
    ("modified_bessel_k0", scipy_loop("k0"), 0.1),
    ("modified_bessel_k1", scipy_loop("k1"), 0.1),
    ("scaled_modified_bessel_k0", scipy_loop("k0e"), 0.1),
    ("scaled_modified_bessel_k1", scipy_loop("k1e"), 0.1),
    ("spherical_bessel_j0", _spherical, -2.0),
):
    unary(
        _name,
        _loop,
        space="special",
        names=("input",) if _name in _INPUTS else ("x",),
        result="float",
        deny=("complex", "float16", "bfloat16"),
        domain=(_low, 4.0),
    )
