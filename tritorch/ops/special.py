"""Rounding to decimals, the gamma functions, and entropy's products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import finfo
from ..op import primitive
from ..tensor import Tensor
from .api import binary, public, unary
from .arithmetic import where
from .copy import clone
from .elementwise import loop, zero


def _scipy(name: str) -> Any:
    """A function of `scipy.special`, imported at its first call."""

    def run(*xs: Any, out: np.ndarray | None = None) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*xs, out=out)

    return run


@loop
def _xlogy(x: Any, y: Any) -> Any:
    return np.where(np.equal(x, 0) & ~np.isnan(y), 0, x * np.log(y)).astype(np.result_type(x, y))


_COMPLEX = ("complex",)
_round = unary("round", np.rint, deny=("complex", "bool"), vjp=zero)
lgamma = unary(
    "lgamma",
    _scipy("gammaln"),
    result="float",
    deny=_COMPLEX,
    domain=(0.3, 4.0),
    vjp=lambda g, x: g * digamma(x),
)
digamma = unary(
    "digamma",
    _scipy("psi"),
    result="float",
    deny=_COMPLEX,
    domain=(0.3, 4.0),
    vjp=lambda g, x: g * polygamma_op(x, n=1),
)


@primitive(
    name="polygamma",
    meta=lambda x, *, n: (tuple(x._data.shape), x.dtype),
    vjp=lambda g, x, n: g * polygamma_op(x, n=n + 1),
    samples=lambda s: [s(s.reals((2, 3), 0.3, 4.0), n=n) for n in (1, 2)],
)
def polygamma_op(x: Any, *, n: int) -> Any:
    import scipy.special

    return scipy.special.polygamma(n, x).astype(x.dtype)


xlogy = binary(
    "xlogy",
    _xlogy,
    result="float",
    deny=_COMPLEX,
    domain=((0.2, 2.0), (0.2, 2.0)),
    vjp=(
        lambda g, x, y: where((x == 0) & (y <= 0), 0, g * y.log()),
        lambda g, x, y: g * (x / y),
    ),
)


@public(out=True, inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to the even one; or to so many `decimals`.

    Example:
        >>> import tritorch as torch
        >>> torch.round(torch.tensor([0.5, 1.5, -2.7]))
        tensor([ 0.,  2., -3.])
    """
    if decimals == 0:
        return _round.call(input)
    if input.dtype.category < 2:
        raise RuntimeError(f"round: decimals is for floating-point tensors, got {input.dtype}")
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return _round.call(input * scale) / scale
    return _round.call(input / scale) * scale


@public(out=True, inplace=True)
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """NaN replaced by `nan` (0), infinities by `posinf` and `neginf` (the dtype's limits)."""
    if input.dtype.category < 2:
        return clone(input)
    high = finfo(input.dtype).max if posinf is None else posinf
    low = finfo(input.dtype).min if neginf is None else neginf
    out = where(input.isnan(), 0.0 if nan is None else nan, input)
    out = where(input.isinf() & (input > 0), high, out)
    return where(input.isinf() & (input < 0), low, out)


@public()
def positive(input: Tensor) -> Tensor:
    """The tensor itself; not of bools."""
    if input.dtype.category == 0:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


@public(out=True, inplace=True)
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`; n is not negative."""
    if isinstance(n, Tensor):  # as a method: x.polygamma(n)
        n, input = input, n  # type: ignore[assignment]
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    x = input if input.dtype.category > 1 else input.float()
    return digamma(x) if n == 0 else polygamma_op(x, n=n)
