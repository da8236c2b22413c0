"""The scalar bodies of activation functions and of their derivatives.

A derivative's body takes the gradient first, then what it needs: `out` for relu, sigmoid and tanh,
the input `x` for the rest.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import _math as m
from .elementwise_bodies import INV_SQRT_2PI, SQRT_2_OVER_PI, SQRT_HALF, maximum, minimum

GELU_CUBIC = tl.constexpr(0.044715)


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + m.exp(-x))


@triton.jit
def log_sigmoid(x):
    return tl.where(x < 0, x, 0.0) - m.log1p(m.exp(-tl.abs(x)))


@triton.jit
def silu(x):
    return x / (1.0 + m.exp(-x))


@triton.jit
def relu(x):
    return maximum(x, 0)


@triton.jit
def leaky_relu(x, slope=0.01):
    return tl.where(x > 0, x, x * slope)


@triton.jit
def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    return tl.where(x > 0, x, alpha * m.expm1(x * input_scale)) * scale


@triton.jit
def softplus(x, beta=1.0, threshold=20.0):
    z = x * beta
    y = tl.where(z > 0, z, 0.0) + m.log1p(m.exp(-tl.abs(z)))
    return tl.where(z > threshold, x, y / beta)


@triton.jit
def mish(x):
    # tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2)
    e = m.exp(tl.where(x > 20.0, 20.0, x))
    n = e * (e + 2.0)
    return tl.where(x > 20.0, x, x * (n / (n + 2.0)))


@triton.jit
def hardtanh(x, low=-1.0, high=1.0):
    return minimum(maximum(x, low), high)


@triton.jit
def hardsigmoid(x):
    return minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0


@triton.jit
def hardswish(x):
    return x * hardsigmoid(x)


@triton.jit
def threshold(x, limit, value):
    return tl.where(x <= limit, value, x)


@triton.jit
def gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * SQRT_HALF))


@triton.jit
def gelu_tanh(x):
    z = SQRT_2_OVER_PI * x * (1.0 + GELU_CUBIC * x * x)
    # 0.5 (1 + tanh(z)) = sigmoid(2z)
    return x / (1.0 + m.exp(-2.0 * z))


@triton.jit
def relu_backward(g, out):
    return tl.where(out <= 0, 0.0, g)


@triton.jit
def threshold_backward(g, x, limit):
    return tl.where(x <= limit, 0.0, g)


@triton.jit
def sigmoid_backward(g, out):
    return g * (out * (1.0 - out))


@triton.jit
def tanh_backward(g, out):
    return g * (1.0 - out * out)


@triton.jit
def silu_backward(g, x):
    s = sigmoid(x)
    return g * (s * (1.0 + x * (1.0 - s)))


@triton.jit
def gelu_backward(g, x):
    below = 0.5 * (1.0 + tl.erf(x * SQRT_HALF))
    return g * (below + x * (INV_SQRT_2PI * m.exp(-0.5 * x * x)))


@triton.jit
def gelu_tanh_backward(g, x):
    z = SQRT_2_OVER_PI * x * (1.0 + GELU_CUBIC * x * x)
    s = sigmoid(2.0 * z)
    slope = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x)
    return g * (s + 2.0 * x * s * (1.0 - s) * slope)


@triton.jit
def leaky_relu_backward(g, x, slope=0.01):
    return tl.where(x > 0, g, g * slope)


@triton.jit
def elu_backward(g, x, alpha=1.0, scale=1.0, input_scale=1.0):
    below = alpha * input_scale * m.exp(x * input_scale)
    return g * scale * tl.where(x > 0, 1.0, below)


@triton.jit
def softplus_backward(g, x, beta=1.0, threshold=20.0):
    z = x * beta
    return tl.where(z > threshold, g, g * sigmoid(z))


@triton.jit
def log_sigmoid_backward(g, x):
    return g * sigmoid(-x)


@triton.jit
def hardtanh_backward(g, x, low=-1.0, high=1.0):
    return tl.where((x > low) & (x < high), g, 0.0)


@triton.jit
def hardsigmoid_backward(g, x):
    return tl.where((x > -3.0) & (x < 3.0), g / 6.0, 0.0)


@triton.jit
def hardswish_backward(g, x):
    inner = tl.where(x >= 3.0, g, g * (x / 3.0 + 0.5))
    return tl.where(x <= -3.0, 0.0, inner)


@triton.jit
def mish_backward(g, x):
    e = m.exp(tl.where(x > 20.0, 20.0, x))
    n = e * (e + 2.0)
    t = n / (n + 2.0)
    slope = t + x * (1.0 - t * t) * (e / (1.0 + e))
    return tl.where(x > 20.0, g, g * slope)


# -- losses ------------------------------------------------------------------------------------


@triton.jit
def binary_cross_entropy(x, y):
    absent = maximum(m.log1p(-x), tl.full(x.shape, -100.0, x.dtype))
    present = maximum(tl.log(x), tl.full(x.shape, -100.0, x.dtype))
    return (y - 1.0) * absent - y * present
