"""The NumPy loops of the activation functions and of their derivatives.

Each writes `out` last, so that it may be the input's own memory. Without `out` the result is a new
array: never scratch memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arithmetic_loops import INTEGERS, clamp, mask_bits, select
from .lines import scratch

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
CUBIC = 0.044715  # of the tanh form of gelu


def keep(mask: Any, g: Any, out: Any = None) -> Any:
    """`g` where `mask` holds, 0 elsewhere: on the bits, as a branch an element costs ten times."""
    if mask.size < 2048 or g.dtype.kind == "c":
        r = np.where(mask, g, g.dtype.type(0))
        if out is None:
            return r
        np.copyto(out, r)
        return out
    kind = INTEGERS[g.itemsize]
    target = None if out is None else out.view(kind)
    return np.bitwise_and(g.view(kind), mask_bits(mask, kind), out=target).view(g.dtype)


def relu(x: Any, out: Any = None) -> Any:
    if out is None or out.dtype.kind != "f":
        return np.maximum(0, x, out=out)  # of equal operands it is the second: -0.0 stays
    return np.clip(x, 0, np.inf, out=out)  # as the same of a number is slow; -0.0 stays too


def relu_backward(g: Any, y: Any, out: Any = None) -> Any:
    return keep(~(y <= 0), g, out)


# erf(z) = tanh(z q(z^2)) with a polynomial q, to 1.5e-7 of erf; fitted on 0 <= z <= 4 by Lawson's
# method, its leading coefficient positive so that large arguments saturate.
_ERF = (
    1.5146165730191418e-07,
    -5.845651332820059e-06,
    8.87847970449e-05,
    -0.0006230110904237394,
    -0.0001878973738402847,
    0.10276726577545117,
    1.128379465515705,
)
_ERF_HALF = tuple(c / math.sqrt(2) / 2 ** (6 - i) for i, c in enumerate(_ERF))  # of x = z sqrt(2)


def _odd_polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """x q(x^2), highest power first, in scratch memory."""
    s = np.multiply(x, x, out=scratch(x, 1))
    t = np.multiply(s, coefficients[0], out=scratch(x))
    for c in coefficients[1:-1]:
        t += c
        t *= s
    t += coefficients[-1]
    t *= x
    return t


def _tanh_polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """tanh(x q(x^2)), highest power first, in scratch memory."""
    t = _odd_polynomial(x, coefficients)
    return np.tanh(t, out=t)


def erf(x: Any, out: Any = None) -> Any:
    """The error function; in float32 twenty times as fast as SciPy's."""
    if x.dtype == np.float32:
        return np.tanh(_odd_polynomial(x, _ERF), out=out)
    from scipy import special

    return special.erf(x, out=out)


def _normal_cdf(x: Any) -> Any:
    """(1 + erf(x / sqrt(2))) / 2."""
    if x.dtype == np.float32:
        t = _tanh_polynomial(x, _ERF_HALF)
    else:
        t = np.asarray(erf(x * math.sqrt(0.5)))
    t += 1
    t *= 0.5
    return t


def gelu(x: Any, out: Any = None) -> Any:
    return np.multiply(x, _normal_cdf(x), out=out)


def gelu_backward(g: Any, x: Any, out: Any = None) -> Any:
    t = _normal_cdf(x)
    e = np.multiply(x, x, out=scratch(x, 1))
    e *= -0.5
    e = np.exp(e, out=e)
    e *= x
    e *= INV_SQRT_2PI
    t += e
    return np.multiply(g, t, out=out)


_TANH = SQRT_2_OVER_PI * CUBIC, SQRT_2_OVER_PI


def gelu_tanh(x: Any, out: Any = None) -> Any:
    t = _tanh_polynomial(x, _TANH)
    t += 1
    t *= 0.5
    return np.multiply(x, t, out=out)


def gelu_tanh_backward(g: Any, x: Any, out: Any = None) -> Any:
    t = _tanh_polynomial(x, _TANH)
    slope = np.multiply(x, x, out=scratch(x, 1))
    slope *= 3 * _TANH[0]
    slope += _TANH[1]
    slope *= x
    rest = np.multiply(t, t, out=scratch(x, 2))
    np.subtract(1, rest, out=rest)
    slope *= rest
    slope += t
    slope += 1
    slope *= 0.5
    return np.multiply(g, slope, out=out)


def _logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)), in scratch memory; an overflow of exp gives the right limit."""
    t = np.negative(x, out=scratch(x))
    t = np.exp(t, out=t)
    t += 1
    return np.reciprocal(t, out=t)


def sigmoid(x: Any, out: Any = None) -> Any:
    t = np.negative(x, out=scratch(x))
    t = np.exp(t, out=t)
    t += 1
    return np.reciprocal(t, out=out)


def silu(x: Any, out: Any = None) -> Any:
    t = np.negative(x, out=scratch(x))
    t = np.exp(t, out=t)
    t += 1
    return np.divide(x, t, out=out)


def silu_backward(g: Any, x: Any, out: Any = None) -> Any:
    s = _logistic(x)
    t = np.subtract(1, s, out=scratch(x, 1))
    t *= x
    t += 1
    t *= s
    return np.multiply(g, np.conj(t) if t.dtype.kind == "c" else t, out=out)


def _softness(x: Any) -> tuple[Any, Any]:
    """e = exp(x), held below overflow, and tanh(softplus(x)) = n / (n + 2) with n = e^2 + 2e."""
    e = np.minimum(x, 20, out=scratch(x))
    e = np.exp(e, out=e)
    n = np.add(e, 2, out=scratch(x, 1))
    n *= e
    below = np.add(n, 2, out=scratch(x, 2))
    return e, np.divide(n, below, out=n)


def mish(x: Any, out: Any = None) -> Any:
    return np.multiply(x, _softness(x)[1], out=out)


def mish_backward(g: Any, x: Any, out: Any = None) -> Any:
    e, t = _softness(x)
    rest = np.multiply(t, t, out=scratch(x, 2))
    np.subtract(1, rest, out=rest)
    rest *= x
    rest *= e
    rest /= np.add(e, 1, out=e)
    t += rest
    return np.multiply(g, t, out=out)


def _softness_of(z: Any) -> Any:
    """log(1 + exp(-|z|)), in scratch memory."""
    t = np.abs(z, out=scratch(z))
    t = np.negative(t, out=t)
    t = np.exp(t, out=t)
    return np.log1p(t, out=t)


def softplus(x: Any, beta: Any, threshold: Any, out: Any = None) -> Any:
    z = np.multiply(x, beta, out=scratch(x, 1))
    y = _softness_of(z)
    y += np.maximum(z, 0, out=scratch(x, 2))
    y /= beta
    return select(z > threshold, x, y, out)


def softplus_backward(g: Any, x: Any, beta: Any, threshold: Any, out: Any = None) -> Any:
    z = np.multiply(x, beta, out=scratch(x, 1))
    s = _logistic(z)
    s *= g
    return select(z > threshold, g, s, out)


def log_sigmoid(x: Any, out: Any = None) -> Any:
    low = np.minimum(x, 0, out=scratch(x, 1))
    return np.subtract(low, _softness_of(x), out=out)


def log_sigmoid_backward(g: Any, x: Any, out: Any = None) -> Any:
    t = np.exp(x, out=scratch(x))
    t += 1
    return np.divide(g, t, out=out)


def leaky_relu(x: Any, slope: Any, out: Any = None) -> Any:
    low = np.multiply(x, slope, out=scratch(x))
    if not np.ndim(slope) and 0 < slope <= 1:
        return np.maximum(x, low, out=out)
    return select(x > 0, x, low, out)


def leaky_relu_backward(g: Any, x: Any, slope: Any, out: Any = None) -> Any:
    return select(x > 0, g, np.multiply(g, slope, out=scratch(g)), out)


def elu(x: Any, alpha: Any, scale: Any, input_scale: Any, out: Any = None) -> Any:
    low = np.minimum(0, x, out=scratch(x))  # -0.0 stays
    low *= input_scale
    low = np.expm1(low, out=low)
    low *= alpha
    low += np.maximum(0, x, out=scratch(x, 1))
    return np.multiply(low, scale, out=out)


def elu_backward(g: Any, x: Any, alpha: Any, scale: Any, input_scale: Any, out: Any = None) -> Any:
    below = np.minimum(x, 0, out=scratch(x))
    below *= input_scale
    below = np.exp(below, out=below)
    below *= alpha * input_scale * scale
    below *= g
    return select(x > 0, np.multiply(g, scale, out=scratch(g, 1)), below, out)


def hardtanh(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    return clamp(x, low, high, out)


def hardtanh_backward(g: Any, x: Any, low: Any, high: Any, out: Any = None) -> Any:
    inside = np.greater(x, low)
    inside &= np.less(x, high)
    return keep(inside, g, out)


def _ramp(x: Any) -> Any:
    """x + 3, between 0 and 6; in scratch memory."""
    t = np.add(x, 3, out=scratch(x))
    return np.clip(t, 0, 6, out=t)


def hardsigmoid(x: Any, out: Any = None) -> Any:
    return np.multiply(_ramp(x), x.dtype.type(1 / 6), out=out)


def hardsigmoid_backward(g: Any, x: Any, out: Any = None) -> Any:
    return keep((x > -3) & (x < 3), np.divide(g, 6, out=scratch(g)), out)


def hardswish(x: Any, out: Any = None) -> Any:
    t = _ramp(x)
    t *= x.dtype.type(1 / 6)
    return np.multiply(t, x, out=out)


def hardswish_backward(g: Any, x: Any, out: Any = None) -> Any:
    slope = np.divide(x, 3, out=scratch(x))
    slope += 0.5
    slope *= g
    inner = select(x >= 3, g, slope, np.empty_like(g))
    return keep(~(x <= -3), inner, out)


def threshold(x: Any, limit: Any, value: Any, out: Any = None) -> Any:
    return select(x <= limit, np.asarray(value).astype(x.dtype), x, out)


def threshold_backward(g: Any, x: Any, limit: Any, out: Any = None) -> Any:
    return keep(~(x <= limit), g, out)
