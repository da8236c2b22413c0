"""softmax, log_softmax and logsumexp, fused: one pass over memory for each direction."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import errors
from ..dtypes import DType
from ..op import fused, same_as
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL, public
from .copy import to


def _largest(x: np.ndarray) -> np.ndarray:
    return np.maximum.reduce(x, axis=1, keepdims=True)


NEAR = 10  # between the maxima of rows: what a common shift takes from the range of exp


def _less_largest(x: np.ndarray, out: np.ndarray) -> None:
    """`x` less the maximum of each line; of rows, less a common one where they are near, since a
    loop with a number for each row is three times as slow."""
    top = _largest(x)
    if x.ndim == 2 and x.shape[1] < 8192 and x.size > lines.SMALL:
        common = top.max()
        if top.min() >= common - NEAR:  # neither with infinities nor with NaN
            np.subtract(x, common, out=out)
            return
    lines.across(np.subtract, x, top, out)


def _softmax_block(x: np.ndarray, out: np.ndarray) -> None:
    _less_largest(x, out)
    np.exp(out, out=out)
    np.multiply(out, 1 / lines.total(out), out=out)


def _log_softmax_block(x: np.ndarray, out: np.ndarray) -> None:
    _less_largest(x, out)
    e = np.exp(out, out=lines.scratch(out))
    np.subtract(out, np.log(lines.total(e)), out=out)


def _softmax_backward_block(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    lines.across(np.subtract, g, lines.total(g, y), out)
    np.multiply(out, y, out=out)


def _log_softmax_backward_block(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    e = np.exp(y, out=lines.scratch(y))
    e *= lines.total(g)
    np.subtract(g, e, out=out)


def _over(block: Any) -> Any:
    """The NumPy implementation that runs `block` over the lines along `dim`."""

    def cpu(*arrays: np.ndarray, dim: int) -> np.ndarray:
        x = arrays[0]
        if x.ndim == 2 and dim == 1 and 0 < x.size <= lines.SMALL:
            out = np.empty(x.shape, x.dtype)
            block(*arrays, out)
            return out
        out = lines.like(x)
        if x.size:
            whole = lines.canonical(out, dim)
            lines.blocks(block, *(lines.canonical(a, dim) for a in arrays), whole)
        return out

    return cpu


def _samples(s: Any) -> list:
    return [
        s((3, 4), dim=1),
        s((3, 4), dim=0),
        s((2, 3, 4), dim=1),
        s((), dim=0),
        s((0, 3), dim=1),
        s((3, 0), dim=0),
        s((2, 131), dim=1),
        s(s.reals((2, 5), -60, 60), dim=1, smooth=False),
    ]


def _backward_samples(s: Any) -> list:
    return [s((3, 4), (3, 4), dim=1), s((2, 3, 4), (2, 3, 4), dim=1), s((), (), dim=0)] + [
        s(shape, shape, dim=1) for shape in ((0, 3), (3, 0))
    ]


@fused(
    meta=same_as("y"),
    cpu=_over(_softmax_backward_block),
    triton="softmax.backward",
    samples=_backward_samples,
)
def softmax_backward(grad: Any, y: Any, *, dim: int) -> Any:
    """The gradient of `softmax` from that of its result `y`: `y (g - sum(g y))`."""
    return y * (grad - (grad * y).sum(dim, keepdim=True))


@fused(
    name="softmax",
    meta=same_as("x"),
    cpu=_over(_softmax_block),
    triton="softmax.forward",
    vjp=lambda g, out, dim: softmax_backward(g, out, dim=dim),
    samples=_samples,
)
def softmax_op(x: Any, *, dim: int) -> Any:
    """`exp(x - max(x)) / sum(exp(x - max(x)))` along `dim`."""
    e = (x - x.detach().amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


@fused(
    meta=same_as("y"),
    cpu=_over(_log_softmax_backward_block),
    triton="softmax.log_backward",
    samples=_backward_samples,
)
def log_softmax_backward(grad: Any, y: Any, *, dim: int) -> Any:
    """The gradient of `log_softmax` from that of its result `y`: `g - exp(y) sum(g)`."""
    return grad - y.exp() * grad.sum(dim, keepdim=True)


@fused(
    name="log_softmax",
    meta=same_as("x"),
    cpu=_over(_log_softmax_block),
    triton="softmax.log_forward",
    vjp=lambda g, out, dim: log_softmax_backward(g, out, dim=dim),
    samples=_samples,
)
def log_softmax_op(x: Any, *, dim: int) -> Any:
    """`x - max(x) - log(sum(exp(x - max(x))))` along `dim`."""
    shifted = x - x.detach().amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def _prepared(name: str, input: Tensor, dim: int, dtype: DType | None) -> tuple[Tensor, int]:
    """The input in the dtype to compute in, and `dim` counted from the front."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    d = errors.wrap_dim(name, dim, input._data.shape)
    x = input if dtype is None else to(input, dtype)
    if x.dtype.category != 2:
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype.name} tensors')
    return x, d


@public(out=True)
def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along `dim`, without overflow.

    Shape `(...)` to the same; a floating-point dtype, or cast to `dtype` first.

    Example:
        >>> import tritorch as torch
        >>> torch.softmax(torch.tensor([0.0, 0.0]), 0)
        tensor([0.5000, 0.5000])
    """
    x, d = _prepared("softmax", input, dim, dtype)
    return softmax_op(x, dim=d)


@public(out=True)
def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """`log(softmax(x))` along `dim`, accurate where the softmax is nearly 0."""
    x, d = _prepared("log_softmax", input, dim, dtype)
    return log_softmax_op(x, dim=d)


def _implicit(name: str, input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


def _softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    return softmax(input, _implicit("softmax", input, dim), dtype)


def _log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    return log_softmax(input, _implicit("log_softmax", input, dim), dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """`softmax(-input)` along `dim`."""
    return softmax(-input, _implicit("softmin", input, dim), dtype)


_softmax.__doc__, _log_softmax.__doc__ = softmax.__doc__, log_softmax.__doc__
FUNCTIONAL.update(softmax=_softmax, log_softmax=_log_softmax, softmin=softmin)
