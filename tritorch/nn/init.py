"""Initial values of parameters, written in place and not recorded.

Sources: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
networks", 2010 (xavier); He et al., "Delving deep into rectifiers", 2015 (kaiming); Saxe et al.,
"Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2013
(orthogonal); Martens, "Deep learning via Hessian-free optimization", 2010 (sparse).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..ops import create
from ..tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {"sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before a nonlinearity are scaled.

    `param` is the negative slope of `leaky_relu`.

    Example:
        >>> import tritorch as torch
        >>> torch.nn.init.calculate_gain("leaky_relu", 1.0)
        1.0
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


@no_grad()
def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Numbers uniform in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal numbers drawn again until they are in [a, b]: by inverting the distribution."""
    from scipy.special import ndtr, ndtri

    if tensor.is_meta:
        return tensor
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=3,
        )
    low, high = (a - mean) / std, (b - mean) / std
    flip = low > 0  # the upper tail has no digits left: take the lower one, mirrored
    p, q = (ndtr(-high), ndtr(-low)) if flip else (ndtr(low), ndtr(high))
    u = create.empty(tensor.shape).double().uniform_(p, q, generator=generator)
    x = ndtri(u.numpy()) * (-std if flip else std) + mean
    return tensor.copy_(create.from_numpy(np.clip(x, a, b)))


@no_grad()
def constant_(tensor: Any, val: float) -> Tensor:
    """One value."""
    return tensor.fill_(val)


@no_grad()
def ones_(tensor: Any) -> Tensor:
    """Ones."""
    return tensor.fill_(1.0)


@no_grad()
def zeros_(tensor: Any) -> Tensor:
    """Zeros."""
    return tensor.zero_()


@no_grad()
def eye_(tensor: Any) -> Tensor:
    """The identity matrix."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return tensor.copy_(create.eye(*tensor.shape))


@no_grad()
def dirac_(tensor: Any, groups: int = 1) -> Tensor:
    """The kernel of a convolution that copies its input channels, within each group."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    values = np.zeros(tuple(tensor.shape), np.float32)
    per_group = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for i in range(min(per_group, tensor.shape[1])):
        values[(slice(i, None, per_group), i, *middle)] = 1
    return tensor.copy_(create.from_numpy(values))


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got "
            f"shape {tuple(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [-a, a] with `a = gain * sqrt(6 / (fan_in + fan_out))`."""
    bound = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with `std = gain * sqrt(2 / (fan_in + fan_out))`."""
    std = gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float | None:
    """None for a tensor without elements, with a warning."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def _calculate_correct_fan(tensor: Any, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform in [-b, b] with `b = gain * sqrt(3 / fan)`; `a` is the slope of `leaky_relu`."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with `std = gain / sqrt(fan)`; `a` is the slope of `leaky_relu`."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


@no_grad()
def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Tensor:
    """A matrix with orthonormal rows or columns, whichever are fewer; trailing dims are one."""
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not math.prod(tensor.shape) or tensor.is_meta:
        return tensor
    rows = tensor.shape[0]
    flat = create.empty(rows, math.prod(tensor.shape[1:])).normal_(generator=generator).numpy()
    wide = rows < flat.shape[1]
    q, r = np.linalg.qr(flat.T if wide else flat)
    q = q * (np.sign(np.diag(r)) * gain).astype(q.dtype)
    q = np.ascontiguousarray(q.T if wide else q).reshape(tensor.shape)
    return tensor.copy_(create.from_numpy(q))


@no_grad()
def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, and in each column a fraction `sparsity` of zeros."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, cols = tensor.shape
    values = create.empty(rows, cols).normal_(0, std, generator=generator)
    order = create.empty(rows, cols).uniform_(generator=generator).numpy().argsort(axis=0)
    np.put_along_axis(values.numpy(), order[: math.ceil(sparsity * rows)], 0.0, axis=0)
    return tensor.copy_(values)


def _deprecated(f: Callable) -> Callable:
    old = f.__name__[:-1]

    def function(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{f.__name__}`.",
            FutureWarning,
            stacklevel=2,
        )
        return f(*args, **kwargs)

    function.__name__ = old
    function.__doc__ = f"The old name of `{f.__name__}`."
    return function


uniform, normal, constant = _deprecated(uniform_), _deprecated(normal_), _deprecated(constant_)
eye, dirac, sparse = _deprecated(eye_), _deprecated(dirac_), _deprecated(sparse_)
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
