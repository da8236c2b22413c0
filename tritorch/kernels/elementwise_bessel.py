"""The scalar bodies of the Bessel functions and the Airy function."""

from __future__ import annotations

import triton
import triton.language as tl

from . import _bessel as bessel, _math as m
from ._trigonometry import sin_cos


@triton.jit
def i0(x):
    return bessel.i0(x)


@triton.jit
def i0e(x):
    return bessel.i0e(x)


@triton.jit
def i1(x):
    return bessel.i1(x)


@triton.jit
def i1e(x):
    return bessel.i1e(x)


@triton.jit
def modified_bessel_i0(x):
    return bessel.i0(x)


@triton.jit
def modified_bessel_i1(x):
    return bessel.i1(x)


@triton.jit
def modified_bessel_k0(x):
    return bessel.k0(x)


@triton.jit
def modified_bessel_k1(x):
    return bessel.k1(x)


@triton.jit
def scaled_modified_bessel_k0(x):
    return bessel.k0e(x)


@triton.jit
def scaled_modified_bessel_k1(x):
    return bessel.k1e(x)


@triton.jit
def bessel_j0(x):
    return bessel.j0(x)


@triton.jit
def bessel_j1(x):
    return bessel.j1(x)


@triton.jit
def bessel_y0(x):
    return bessel.y0(x)


@triton.jit
def bessel_y1(x):
    return bessel.y1(x)


@triton.jit
def airy_ai(x):
    return bessel.airy_ai(x)


@triton.jit
def spherical_bessel_j0(x):
    s, _ = sin_cos(x)
    y = m.divide(s, tl.where(x == 0, 1.0, x))
    return tl.where(x == 0, 1.0, tl.where(tl.abs(x) == m.INF, 0.0, y))
