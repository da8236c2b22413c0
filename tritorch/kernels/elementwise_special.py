"""The scalar bodies of `torch.special` that are no Bessel functions and no polynomials."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _gamma as gamma, _math as m, _normal as normal, _trigonometry as trigonometry

# -- products with logarithms ------------------------------------------------------------------


@triton.jit
def entr(x):
    y = tl.where(x == 0, 0.0, -x * tl.log(x))
    return tl.where(x < 0, -m.INF, y)


@triton.jit
def xlog1py(x, y):
    return tl.where((x == 0) & (y == y), 0.0, x * m.log1p(y))


@triton.jit
def logit(x):
    return tl.log(m.divide(x, 1.0 - x))


@triton.jit
def sinc(x):
    s, _ = trigonometry.sin_cos_pi(x)
    return tl.where(x == 0, 1.0, m.divide(s, x * m.PI))


# -- the normal distribution -------------------------------------------------------------------


@triton.jit
def erfcx(x):
    return normal.erfcx(x)


@triton.jit
def ndtr(x):
    return normal.ndtr(x)


@triton.jit
def log_ndtr(x):
    return normal.log_ndtr(x)


@triton.jit
def ndtri(p):
    return normal.ndtri(p)


# -- gamma and zeta ----------------------------------------------------------------------------


@triton.jit
def igamma(a, x):
    return gamma.incomplete(a, x, False)


@triton.jit
def igammac(a, x):
    return gamma.incomplete(a, x, True)


@triton.jit
def zeta(x, q):
    return gamma.zeta(x, q)


@triton.jit
def polygamma(x, order, factor):
    """`factor` zeta(order, x); the order is 2 for the first derivative."""
    y = gamma.zeta(tl.zeros_like(x) + order, x) * factor
    y = tl.where((order == 2.0) & (x == m.INF), 0.0, y)
    return tl.where((order == 2.0) & (x == -m.INF), float("nan"), y)
