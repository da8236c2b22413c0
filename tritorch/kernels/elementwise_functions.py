"""Scalar bodies: exponentials, logarithms, powers, trigonometry and special functions."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from .elementwise_bodies import maximum

# -- exponentials, logarithms, powers ----------------------------------------------------------


@triton.jit
def exp(x):
    return m.exp(x)


@triton.jit
def exp2(x):
    return tl.exp2(x)


@triton.jit
def expm1(x):
    return m.expm1(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def log2(x):
    return tl.log2(x)


@triton.jit
def log10(x):
    return m.log10(x)


@triton.jit
def log1p(x):
    return m.log1p(x)


@triton.jit
def logaddexp(x, y):
    a = maximum(x, y)
    s = a + m.log1p(m.exp(-tl.abs(x - y)))
    return tl.where(x == y, a + m.LN2, s)


@triton.jit
def logaddexp2(x, y):
    a = maximum(x, y)
    s = a + m.log1p(tl.exp2(-tl.abs(x - y))) * m.LOG2E
    return tl.where(x == y, a + 1.0, s)


@triton.jit
def xlogy(x, y):
    return tl.where((x == 0) & (y == y), 0.0, x * tl.log(y))


# -- trigonometry ------------------------------------------------------------------------------


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def tan(x):
    return m.divide(tl.sin(x), tl.cos(x))


@triton.jit
def asin(x):
    return m.asin(x)


@triton.jit
def acos(x):
    return m.acos(x)


@triton.jit
def atan(x):
    return m.atan(x)


@triton.jit
def atan2(y, x):
    return m.atan2(y, x)


@triton.jit
def hypot(x, y):
    return m.hypot(x, y)


@triton.jit
def copysign(x, y):
    return m.copysign(x, y)


@triton.jit
def sinh(x):
    return m.sinh(x)


@triton.jit
def cosh(x):
    return m.cosh(x)


@triton.jit
def tanh(x):
    return m.tanh(x)


@triton.jit
def asinh(x):
    return m.asinh(x)


@triton.jit
def acosh(x):
    return m.acosh(x)


@triton.jit
def atanh(x):
    return m.atanh(x)


# -- special functions -------------------------------------------------------------------------


@triton.jit
def erf(x):
    return tl.erf(x)


@triton.jit
def erfc(x):
    return m.erfc(x)


@triton.jit
def erfinv(x):
    return m.erfinv(x)


@triton.jit
def lgamma(x):
    return m.lgamma(x)


@triton.jit
def digamma(x):
    return m.digamma(x)
