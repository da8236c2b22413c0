"""The NumPy loops of the activation functions and of their derivatives.

Each writes `out` last, so that it may be the input's own memory. Without `out` the result is a new
array: never scratch memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .lines import scratch

_INTEGERS = {4: np.int32, 8: np.int64, 2: np.int16, 1: np.int8}
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
CUBIC = 0.044715  # of the tanh form of gelu


def keep(mask: Any, g: Any, out: Any = None) -> Any:
    """`g` where `mask` holds, 0 elsewhere: on the bits, as a branch an element costs ten times."""
    if mask.size < 2048 or g.dtype.kind == "c":
        r = np.where(mask, g, g.dtype.type(0))
        return r if out is None else np.positive(r, out=out)
    kind = _INTEGERS[g.itemsize]
    bits = mask.view(np.int8).astype(kind)
    bits = np.negative(bits, out=bits)
    target = bits if out is None else out.view(kind)
    return np.bitwise_and(g.view(kind), bits, out=target).view(g.dtype)


def relu(x: Any, out: Any = None) -> Any:
    return np.maximum(x, 0, out=out)


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


def _tanh_polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """tanh(x q(x^2)), highest power first, in scratch memory."""
    s = np.multiply(x, x, out=scratch(x, 1))
    t = np.multiply(s, coefficients[0], out=scratch(x))
    for c in coefficients[1:-1]:
        t += c
        t *= s
    t += coefficients[-1]
    t *= x
    return np.tanh(t, out=t)


def erf(x: Any, out: Any = None) -> Any:
    """The error function; in float32 twenty times as fast as SciPy's."""
    if x.dtype == np.float32:
        return np.positive(_tanh_polynomial(x, _ERF), out=out)
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
    e = np.exp(np.minimum(x, 20))
    n = e * (e + 2)
    return e, n / (n + 2)


def mish(x: Any, out: Any = None) -> Any:
    return np.multiply(x, _softness(x)[1], out=out)


def mish_backward(g: Any, x: Any, out: Any = None) -> Any:
    e, t = _softness(x)
    slope = t + x * (1 - t * t) * (e / (1 + e))
    return np.multiply(g, slope, out=out)


def softplus(x: Any, beta: Any, threshold: Any, out: Any = None) -> Any:
    z = x * beta
    y = (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta
    return choose(z > threshold, x, y, out)


def softplus_backward(g: Any, x: Any, beta: Any, threshold: Any, out: Any = None) -> Any:
    z = x * beta
    return choose(z > threshold, g, g * _logistic(z), out)


def choose(mask: Any, x: Any, y: Any, out: Any) -> Any:
    r = np.where(mask, x, y)
    return r if out is None else np.positive(r, out=out)


def log_sigmoid(x: Any, out: Any = None) -> Any:
    return np.subtract(np.minimum(x, 0), np.log1p(np.exp(-np.abs(x))), out=out)


def log_sigmoid_backward(g: Any, x: Any, out: Any = None) -> Any:
    return np.multiply(g, _logistic(-x), out=out)


def leaky_relu(x: Any, slope: Any, out: Any = None) -> Any:
    low = np.minimum(x, 0)
    low *= slope
    return np.add(np.maximum(x, 0), low, out=out)


def leaky_relu_backward(g: Any, x: Any, slope: Any, out: Any = None) -> Any:
    return choose(x > 0, g, g * slope, out)


def elu(x: Any, alpha: Any, scale: Any, input_scale: Any, out: Any = None) -> Any:
    low = np.minimum(x, 0)
    low *= input_scale
    low = np.expm1(low, out=low) if low.ndim else np.expm1(low)
    low *= alpha
    low += np.maximum(x, 0)
    return np.multiply(low, scale, out=out)


def elu_backward(g: Any, x: Any, alpha: Any, scale: Any, input_scale: Any, out: Any = None) -> Any:
    below = np.exp(np.minimum(x, 0) * input_scale) * (alpha * input_scale)
    factor = np.where(x <= 0, below, x.dtype.type(1))
    return np.multiply(g, factor * scale, out=out)


def hardtanh(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    return np.minimum(np.maximum(x, low), high, out=out)


def hardtanh_backward(g: Any, x: Any, low: Any, high: Any, out: Any = None) -> Any:
    return keep((x > low) & (x < high), g, out)


def hardsigmoid(x: Any, out: Any = None) -> Any:
    t = np.minimum(np.maximum(x + 3, 0), 6)
    return np.divide(t, 6, out=out)


def hardsigmoid_backward(g: Any, x: Any, out: Any = None) -> Any:
    return keep((x > -3) & (x < 3), g / 6, out)


def hardswish(x: Any, out: Any = None) -> Any:
    t = np.minimum(np.maximum(x + 3, 0), 6)
    t *= x
    return np.divide(t, 6, out=out)


def hardswish_backward(g: Any, x: Any, out: Any = None) -> Any:
    inner = np.where(x < 3, g * (x / 3 + 0.5), g)
    return keep(~(x <= -3), inner, out)


def threshold(x: Any, limit: Any, value: Any, out: Any = None) -> Any:
    return choose(x <= limit, value, x, out)


def threshold_backward(g: Any, x: Any, limit: Any, out: Any = None) -> Any:
    return keep(~(x <= limit), g, out)
