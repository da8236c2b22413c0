"""Activation functions: elementwise operators with their derivatives as operators of their own.

A derivative's operator takes the gradient first, then what it needs: `out` for relu, the input for
the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.mode import state
from ..dtypes import float32, float64
from ..runtime.quiet import enter, leave
from ..tensor import Tensor, wrap
from . import activation_loops as loops, lines
from .activation_loops import CUBIC, INV_SQRT_2PI, SQRT_2_OVER_PI
from .api import FUNCTIONAL, PUBLIC, unary
from .arithmetic import where
from .elementwise import NO_PARAMS, Elementwise
from .elementwise_forms import into, unary_call

REAL = ("bool", "complex")
_DIRECT = {float32, float64}
FLOAT = ("bool", "integral", "complex")
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# -- records --------------------------------------------------------------------------------------


def _nothing(g: Tensor) -> None:
    """The derivative of a step, where it has one."""


def _derivative(
    name: str,
    inputs: tuple[str, ...],
    loop: Callable,
    first: Callable,
    second: Callable | None,
    params: tuple = (),
    deny: tuple[str, ...] = REAL,
) -> Elementwise:
    """The operator `name`: linear in the gradient, by `first`; `second` is its other derivative."""
    return Elementwise(
        name,
        inputs,
        loop,
        promote=slice(0, 2),
        deny=deny,
        vjp=(first, second or _nothing),
        samples=lambda s: [s(shape, shape, *params) for shape in ((3, 4), (), (0,), (131,))],
    )


def _activation(
    name: str,
    inputs: tuple[str, ...],
    loop: Callable,
    vjp: Callable,
    params: tuple = (),
    deny: tuple[str, ...] = FLOAT,
) -> Elementwise:
    return Elementwise(
        name,
        inputs,
        loop,
        promote=slice(0, 1),
        deny=deny,
        vjp=vjp,
        samples=lambda s: [
            s(s.reals(shape, -4, 4), *params) for shape in ((3, 4), (), (0,), (2, 3, 5), (131,))
        ],
    )


relu_backward = _derivative(
    "relu_backward",
    ("g", "y"),
    loops.relu_backward,
    lambda g, y: relu_backward(g, y),
    None,
)
relu = unary("relu", loops.relu, deny=REAL, vjp=lambda g, out: relu_backward(g, out))
relu.op.single_pass = True  # type: ignore[attr-defined]


def _pdf(x: Any) -> Any:
    return (x * x * -0.5).exp() * INV_SQRT_2PI


gelu_backward = _derivative(
    "gelu_backward",
    ("grad", "x"),
    loops.gelu_backward,
    lambda g, x: gelu_backward(g, x),
    lambda g, grad, x: g * grad * _pdf(x) * (2 - x * x),
)
gelu_op = _activation("gelu", ("x",), loops.gelu, lambda g, x: gelu_backward(g, x))


def _gelu_tanh_second(g: Any, grad: Any, x: Any) -> Any:
    t = ((SQRT_2_OVER_PI * x) * (1 + CUBIC * x * x)).tanh()
    slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
    curve = 6 * SQRT_2_OVER_PI * CUBIC * x
    return g * grad * (1 - t * t) * (slope + 0.5 * x * (curve - 2 * t * slope * slope))


gelu_tanh_backward = _derivative(
    "gelu_tanh_backward",
    ("grad", "x"),
    loops.gelu_tanh_backward,
    lambda g, x: gelu_tanh_backward(g, x),
    _gelu_tanh_second,
)
gelu_tanh_op = _activation(
    "gelu_tanh", ("x",), loops.gelu_tanh, lambda g, x: gelu_tanh_backward(g, x)
)


def _silu_second(g: Any, grad: Any, x: Any) -> Any:
    s = x.sigmoid()
    return g * grad * (s * (1 - s)) * (2 + x * (1 - 2 * s))


silu_backward = _derivative(
    "silu_backward",
    ("grad", "x"),
    loops.silu_backward,
    lambda g, x: silu_backward(g, x),
    _silu_second,
    deny=("bool",),
)
silu_op = _activation(
    "silu", ("x",), loops.silu, lambda g, x: silu_backward(g, x), deny=("bool", "integral")
)


def _mish_second(g: Any, grad: Any, x: Any) -> Any:
    s, t = x.sigmoid(), softplus(x).tanh()  # type: ignore[attr-defined]
    d = (1 - t * t) * s
    return g * grad * (2 * d + x * d * (1 - s - 2 * t * s))


mish_backward = _derivative(
    "mish_backward",
    ("grad", "x"),
    loops.mish_backward,
    lambda g, x: mish_backward(g, x),
    _mish_second,
)
mish_op = _activation("mish", ("x",), loops.mish, lambda g, x: mish_backward(g, x))


def _softplus_second(g: Any, grad: Any, x: Any, beta: Any, threshold: Any) -> Any:
    s = (x * beta).sigmoid()
    return where(x * beta > threshold, 0, g * grad * s * (1 - s) * beta)


softplus_backward = _derivative(
    "softplus_backward",
    ("grad", "x", "beta", "threshold"),
    loops.softplus_backward,
    lambda g, x, beta, threshold: softplus_backward(g, x, beta, threshold),
    _softplus_second,
    params=(2.0, 3.0),
)
softplus_op = _activation(
    "softplus",
    ("x", "beta", "threshold"),
    loops.softplus,
    lambda g, x, beta, threshold: softplus_backward(g, x, beta, threshold),
    params=(2.0, 3.0),
)


def _log_sigmoid_second(g: Any, grad: Any, x: Any) -> Any:
    s = x.sigmoid()
    return -g * grad * s * (1 - s)


log_sigmoid_backward = _derivative(
    "log_sigmoid_backward",
    ("grad", "x"),
    loops.log_sigmoid_backward,
    lambda g, x: log_sigmoid_backward(g, x),
    _log_sigmoid_second,
)
log_sigmoid_op = _activation(
    "log_sigmoid", ("x",), loops.log_sigmoid, lambda g, x: log_sigmoid_backward(g, x)
)
leaky_relu_backward = _derivative(
    "leaky_relu_backward",
    ("grad", "x", "slope"),
    loops.leaky_relu_backward,
    lambda g, x, slope: leaky_relu_backward(g, x, slope),
    None,
    params=(0.1,),
)
leaky_relu_op = _activation(
    "leaky_relu",
    ("x", "slope"),
    loops.leaky_relu,
    lambda g, x, slope: leaky_relu_backward(g, x, slope),
    params=(0.1,),
)


def _elu_second(g: Any, grad: Any, x: Any, alpha: Any, scale: Any, input_scale: Any) -> Any:
    curve = (x * input_scale).exp() * (alpha * scale * input_scale * input_scale)
    return where(x >= 0, 0, g * grad * curve)


elu_backward = _derivative(
    "elu_backward",
    ("grad", "x", "alpha", "scale", "input_scale"),
    loops.elu_backward,
    lambda g, x, alpha, scale, input_scale: elu_backward(g, x, alpha, scale, input_scale),
    _elu_second,
    params=(1.5, 1.2, 0.8),
)
elu_op = _activation(
    "elu",
    ("x", "alpha", "scale", "input_scale"),
    loops.elu,
    lambda g, x, alpha, scale, input_scale: elu_backward(g, x, alpha, scale, input_scale),
    params=(1.5, 1.2, 0.8),
)
hardtanh_backward = _derivative(
    "hardtanh_backward",
    ("grad", "x", "low", "high"),
    loops.hardtanh_backward,
    lambda g, x, low, high: hardtanh_backward(g, x, low, high),
    None,
    params=(-0.5, 0.7),
)
hardtanh_op = _activation(
    "hardtanh",
    ("x", "low", "high"),
    loops.hardtanh,
    lambda g, x, low, high: hardtanh_backward(g, x, low, high),
    deny=REAL,
    params=(-0.5, 0.7),
)
hardsigmoid_backward = _derivative(
    "hardsigmoid_backward",
    ("grad", "x"),
    loops.hardsigmoid_backward,
    lambda g, x: hardsigmoid_backward(g, x),
    None,
)
hardsigmoid_op = _activation(
    "hardsigmoid", ("x",), loops.hardsigmoid, lambda g, x: hardsigmoid_backward(g, x)
)
hardswish_backward = _derivative(
    "hardswish_backward",
    ("grad", "x"),
    loops.hardswish_backward,
    lambda g, x: hardswish_backward(g, x),
    lambda g, grad, x: where((x > -3) & (x < 3), g * grad / 3, 0),
)
hardswish_op = _activation(
    "hardswish", ("x",), loops.hardswish, lambda g, x: hardswish_backward(g, x)
)
threshold_backward = _derivative(
    "threshold_backward",
    ("grad", "x", "limit"),
    loops.threshold_backward,
    lambda g, x, limit: threshold_backward(g, x, limit),
    None,
    params=(0.3,),
)
threshold_op = _activation(
    "threshold",
    ("x", "limit", "value"),
    loops.threshold,
    lambda g, x, limit: threshold_backward(g, x, limit),
    deny=REAL,
    params=(0.3, 2.0),
)


# -- public ---------------------------------------------------------------------------------------

_gelu, _gelu_tanh, _silu, _mish, _logsigmoid, _hardsigmoid, _hardswish = map(
    unary_call,
    (
        gelu_op,
        gelu_tanh_op,
        silu_op,
        mish_op,
        log_sigmoid_op,
        hardsigmoid_op,
        hardswish_op,
    ),
)
_relu = relu.call  # type: ignore[attr-defined]


def _relu_f(input: Tensor, inplace: bool = False) -> Tensor:
    """`max(input, 0)`; NaN stays."""
    return relu.op.inplace(input) if inplace else _relu(input)  # type: ignore[attr-defined]


def gelu(input: Tensor, approximate: str = "none", *, out: Tensor | None = None) -> Tensor:
    """`input * Phi(input)` with the cumulative distribution of the normal one.

    `approximate="tanh"` is `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. Source: Hendrycks and
    Gimpel, "Gaussian Error Linear Units", 2016.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.functional.gelu(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8413])
    """
    if approximate == "none":
        return _gelu(input) if out is None else into(gelu_op, out, input)
    if approximate == "tanh":
        return _gelu_tanh(input) if out is None else into(gelu_tanh_op, out, input)
    raise RuntimeError(
        f"gelu: approximate argument must be either none or tanh, got {approximate!r}"
    )


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * sigmoid(input)`, also called swish. Source: Elfwing et al., 2017, section 2."""
    return silu_op.inplace(input) if inplace else _silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * tanh(softplus(input))`. Source: Misra, "Mish", 2019."""
    return mish_op.inplace(input) if inplace else _mish(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`min(max(input, 0), 6)`."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """`input` limited to `[min_val, max_val]`."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} cannot be greater than max_val {max_val}")
    return _run(hardtanh_op, inplace, input, min_val, max_val)


def _run(op: Elementwise, inplace: bool, input: Tensor, *params: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{op.name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    if inplace:
        return op.inplace(input, *params)
    d = input._data
    if input.dtype not in _DIRECT or d.__class__ is not np.ndarray or d.size > lines.SMALL:
        return op(input, *params)
    if state.transforms or not d.flags.c_contiguous:
        return op(input, *params)
    token = enter()
    data = op.loop(d, *params)
    leave(token)
    out = wrap(np.asarray(data), input.dtype)
    if state.grad and (input._edge is not None or input._view is not None):
        op.record((input, *params), NO_PARAMS, out)
    return out


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `negative_slope * input`."""
    return _run(leaky_relu_op, inplace, input, negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `alpha (exp(input) - 1)`. Source: Clevert et al., 2015."""
    return _run(elu_op, inplace, input, alpha, 1.0, 1.0)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`scale * elu(input, alpha)` with the constants that keep mean 0 and variance 1.

    Source: Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    return _run(elu_op, inplace, input, _SELU_ALPHA, _SELU_SCALE, 1.0)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`max(0, x) + min(0, alpha (exp(x / alpha) - 1))`. Source: Barron, 2017."""
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return _run(elu_op, inplace, input, alpha, 1.0, 1.0 / alpha)


def softplus(
    input: Tensor, beta: float = 1, threshold: float = 20, *, out: Tensor | None = None
) -> Tensor:
    """`log(1 + exp(beta x)) / beta`; `x` itself where `beta x > threshold`."""
    if out is not None:
        return into(softplus_op, out, input, beta, threshold)
    return _run(softplus_op, False, input, beta, threshold)


def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`log(1 / (1 + exp(-input)))`, in the ordinary order of dimensions."""
    x = input.contiguous()  # type: ignore[attr-defined]
    return _logsigmoid(x) if out is None else into(log_sigmoid_op, out, x)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """`min(max(input + 3, 0), 6) / 6`."""
    return hardsigmoid_op.inplace(input) if inplace else _hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * hardsigmoid(input)`. Source: Howard et al., "MobileNetV3", 2019, section 5.2."""
    return hardswish_op.inplace(input) if inplace else _hardswish(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`input` where it is greater than `threshold`, else `value`."""
    return _run(threshold_op, inplace, input, threshold, value)


def in_place(f: Callable) -> Callable:
    """`f_` of a function with a parameter `inplace`."""

    def change(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return f(input, *args, inplace=True, **kwargs)

    change.__name__ = change.__qualname__ = f"{f.__name__}_"
    change.__doc__ = f"`{f.__name__}` written into `input`."
    return change


_relu_f.__name__ = "relu"
_WITH_INPLACE = (_relu_f, elu, selu, celu, leaky_relu, hardtanh, threshold)
for _f in (*_WITH_INPLACE, gelu, silu, mish, relu6, softplus, logsigmoid, hardsigmoid, hardswish):
    FUNCTIONAL[_f.__name__] = _f
for _f in _WITH_INPLACE:
    FUNCTIONAL[f"{_f.__name__}_"] = in_place(_f)
PUBLIC["relu_"] = FUNCTIONAL["relu_"]
for _f in (selu, celu, threshold):
    PUBLIC[_f.__name__], PUBLIC[f"{_f.__name__}_"] = _f, FUNCTIONAL[f"{_f.__name__}_"]
