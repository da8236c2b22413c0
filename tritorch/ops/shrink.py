"""Composite activation functions: prelu, glu, shrinkage, and the randomised leaky relu."""

from __future__ import annotations

from typing import Any

from .. import errors
from ..tensor import Tensor
from .activation import in_place, leaky_relu
from .api import FUNCTIONAL, PUBLIC, attach, with_out
from .arithmetic import where
from .autocast import listed
from .unary import sigmoid as _sigmoid, tanh as _tanh


@listed
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`input` where it is positive, else `weight * input`; one weight, or one a channel.

    Shapes: input `(N, C, ...)`, weight `(1,)` or `(C,)`. Source: He et al., 2015, section 2.
    """
    shape = input._data.shape
    n = weight._data.size
    if weight._data.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got ndim = {weight.ndim}"
        )
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}"
        )
    errors.check_dtype("prelu", input.dtype, "floating")
    if n != 1:
        if not shape:
            raise RuntimeError("prelu: Not allow zero-dim input tensor.")
        channels = shape[1] if len(shape) > 1 else 1
        if channels != n:
            raise RuntimeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                f"numbers = {n} and channel size = {channels}, shapes {tuple(shape)} and ({n},)"
            )
    weight = weight.reshape(
        (1, n, *(1,) * (len(shape) - 2)) if len(shape) > 1 else (n,) * len(shape)
    )  # type: ignore[attr-defined]
    return where(input > 0, input, weight * input)


def _floating(name: str, x: Tensor) -> None:
    if x.dtype.category != 2:
        raise NotImplementedError(f'"{name}" is not implemented for {x.dtype.name} tensors')


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` where its size is greater than `lambd`, else 0."""
    _floating("hardshrink", input)
    return where((input >= -lambd) & (input <= lambd), 0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` brought nearer to 0 by `lambd`, 0 where it is nearer already."""
    if lambd < 0:
        raise RuntimeError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}."
        )
    _floating("softshrink", input)
    near = (input >= -lambd) & (input <= lambd)
    return where(near, 0, input - input.sign() * lambd)  # type: ignore[attr-defined]


def tanhshrink(input: Tensor) -> Tensor:
    """`input - tanh(input)`."""
    return input - _tanh(input)


def softsign(input: Tensor) -> Tensor:
    """`input / (1 + |input|)`."""
    return input / (input.abs() + 1)  # type: ignore[attr-defined]


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """`a * sigmoid(b)` of the two halves of `dim`. Source: Dauphin et al., 2016, section 2."""
    shape = input._data.shape
    if not shape:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    d = errors.wrap_dim("glu", dim, shape)
    if input.dtype.category != 2:
        raise NotImplementedError(f'"glu" is not implemented for {input.dtype.name} tensors')
    if shape[d] % 2:
        raise RuntimeError(
            f"glu: Halving dimension must be even, but dimension {d} is size {shape[d]} in shape "
            f"{tuple(shape)}"
        )
    a, b = input.chunk(2, d)  # type: ignore[attr-defined]
    return a * _sigmoid(b)


def sigmoid(input: Tensor) -> Tensor:
    """`1 / (1 + exp(-input))`."""
    return _sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _tanh(input)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """`leaky_relu` with a slope drawn from `[lower, upper)` for each element.

    Outside of training the slope is their mean. The result has the ordinary order of dimensions.
    Source: Xu et al., 2015.
    """
    if lower > upper:
        raise RuntimeError(f"rrelu: lower bound {lower} should be less than upper bound {upper}")
    x: Any = input if inplace else input.contiguous()  # type: ignore[attr-defined]
    if not training:
        return leaky_relu(x, (lower + upper) / 2, inplace)
    slope = x.detach().clone().uniform_(lower, upper, generator=generator)
    out = where(x > 0, x, x * slope)
    return x.copy_(out) if inplace else out


for _f in (prelu, tanhshrink, softsign, sigmoid, tanh, rrelu):
    FUNCTIONAL[_f.__name__] = _f
for _f in (hardshrink, softshrink, glu):
    FUNCTIONAL[_f.__name__] = with_out(_f)
PUBLIC["rrelu"], PUBLIC["rrelu_"] = rrelu, in_place(rrelu)
FUNCTIONAL["rrelu_"] = PUBLIC["rrelu_"]
for _f in (prelu, hardshrink):
    PUBLIC[_f.__name__] = FUNCTIONAL[_f.__name__]
    attach(_f.__name__, _f)
