"""Functions of one operand: powers, exponentials, trigonometry, rounding, tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import activation_loops, arithmetic_loops, error_loops
from .api import unary
from .arithmetic import conj, where
from .elementwise import loop, zero


def _sgn_vjp(g: Tensor, x: Tensor, out: Tensor) -> Any:
    if not x.dtype.is_complex:
        return zero(g)
    size = x.abs()
    tangent = (g - out * (g.conj() * out).real) / size  # type: ignore[attr-defined]
    return where(size == 0, 0, tangent)


_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_BOOL, _COMPLEX, _NOT_FLOAT = ("bool",), ("complex",), ("bool", "integral")

neg = unary("neg", np.negative, "negative", "__neg__", deny=_BOOL, vjp=lambda g: -g)
abs = unary(
    "abs",
    np.absolute,
    "absolute",
    "__abs__",
    result="real",
    deny=("bool",),
    vjp=lambda g, x: g * x.sgn(),
)
sign = unary("sign", arithmetic_loops.sgn, deny=_COMPLEX, vjp=zero)
sgn = unary("sgn", arithmetic_loops.sgn, vjp=_sgn_vjp)
square = unary("square", np.square, result="number", vjp=lambda g, x: g * (2 * conj(x)))
sqrt = unary(
    "sqrt", np.sqrt, result="float", domain=(0.1, 4.0), vjp=lambda g, out: g / (2 * conj(out))
)
rsqrt = unary(
    "rsqrt",
    arithmetic_loops.rsqrt,
    result="float",
    domain=(0.1, 4.0),
    vjp=lambda g, out: -0.5 * g * conj(out**3),
)
reciprocal = unary(
    "reciprocal",
    np.reciprocal,
    result="float",
    domain=(0.3, 3.0),
    vjp=lambda g, out: -g * conj(out * out),
)
exp = unary("exp", np.exp, result="float", vjp=lambda g, out: g * conj(out))
exp2 = unary("exp2", np.exp2, result="float", vjp=lambda g, out: g * conj(out * math.log(2)))
expm1 = unary("expm1", np.expm1, result="float", vjp=lambda g, out: g * conj(out + 1))
log = unary("log", np.log, result="float", domain=(0.1, 4.0), vjp=lambda g, x: g / conj(x))
log2 = unary(
    "log2", np.log2, result="float", domain=(0.1, 4.0), vjp=lambda g, x: g / conj(x * math.log(2))
)
log10 = unary(
    "log10",
    np.log10,
    result="float",
    domain=(0.1, 4.0),
    vjp=lambda g, x: g / conj(x * math.log(10)),
)
log1p = unary(
    "log1p", np.log1p, result="float", domain=(-0.9, 4.0), vjp=lambda g, x: g / conj(x + 1)
)
sin = unary("sin", np.sin, result="float", vjp=lambda g, x: g * conj(x.cos()))
cos = unary("cos", np.cos, result="float", vjp=lambda g, x: -g * conj(x.sin()))
tan = unary(
    "tan", np.tan, result="float", domain=(-1.2, 1.2), vjp=lambda g, out: g * conj(1 + out * out)
)
asin = unary(
    "asin",
    np.arcsin,
    "arcsin",
    result="float",
    domain=(-0.9, 0.9),
    vjp=lambda g, x: g * conj((1 - x * x).rsqrt()),
)
acos = unary(
    "acos",
    np.arccos,
    "arccos",
    result="float",
    domain=(-0.9, 0.9),
    vjp=lambda g, x: -g * conj((1 - x * x).rsqrt()),
)
atan = unary("atan", np.arctan, "arctan", result="float", vjp=lambda g, x: g / conj(1 + x * x))
sinh = unary("sinh", np.sinh, result="float", vjp=lambda g, x: g * conj(x.cosh()))
cosh = unary("cosh", np.cosh, result="float", vjp=lambda g, x: g * conj(x.sinh()))
tanh = unary("tanh", np.tanh, result="float", vjp=lambda g, out: g * conj(1 - out * out))
asinh = unary(
    "asinh", np.arcsinh, "arcsinh", result="float", vjp=lambda g, x: g * conj((x * x + 1).rsqrt())
)
acosh = unary(
    "acosh",
    np.arccosh,
    "arccosh",
    result="float",
    domain=(1.2, 4.0),
    vjp=lambda g, x: g * conj((x - 1).rsqrt() * (x + 1).rsqrt()),
)
atanh = unary(
    "atanh",
    np.arctanh,
    "arctanh",
    result="float",
    domain=(-0.9, 0.9),
    vjp=lambda g, x: g / conj(1 - x * x),
)
sigmoid = unary(
    "sigmoid",
    activation_loops.sigmoid,
    result="float",
    vjp=lambda g, out: g * conj((1 - out) * out),
)
erf = unary(
    "erf",
    activation_loops.erf,
    result="float",
    deny=_COMPLEX,
    vjp=lambda g, x: g * (_TWO_OVER_SQRT_PI * (-x * x).exp()),
)
erfc = unary(
    "erfc",
    error_loops.erfc,
    result="float",
    deny=_COMPLEX,
    vjp=lambda g, x: g * (-_TWO_OVER_SQRT_PI * (-x * x).exp()),
)
erfinv = unary(
    "erfinv",
    error_loops.erfinv,
    result="float",
    deny=_COMPLEX,
    domain=(-0.9, 0.9),
    vjp=lambda g, out: g * ((out * out).exp() / _TWO_OVER_SQRT_PI),
)
floor = unary("floor", np.floor, deny=("complex", "bool"), vjp=zero)
ceil = unary("ceil", np.ceil, deny=("complex", "bool"), vjp=zero)
trunc = unary("trunc", np.trunc, "fix", deny=("complex", "bool"), vjp=zero)
frac = unary("frac", arithmetic_loops.frac, deny=(*_NOT_FLOAT, "complex"), vjp=lambda g: g)

isnan = unary("isnan", loop(lambda x: x != x), result="bool", inplace=False)
isinf = unary("isinf", np.isinf, result="bool", inplace=False)
isfinite = unary("isfinite", np.isfinite, result="bool", inplace=False)
signbit = unary(
    "signbit",
    loop(lambda x: np.less(x, 0) if x.dtype.kind in "iub" else np.signbit(x)),
    result="bool",
    deny=_COMPLEX,
    inplace=False,
)
logical_not = unary("logical_not", arithmetic_loops.logical_not, result="bool")
bitwise_not = unary("bitwise_not", np.invert, "__invert__", deny=("floating", "complex"))

Tensor.__pos__ = lambda self: self  # type: ignore[attr-defined]
