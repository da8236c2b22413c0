"""Rounding to decimals, the gamma functions with zeta, and entropy's products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import errors
from ..dtypes import finfo
from ..op import primitive
from ..runtime import host, parallel
from ..tensor import Tensor
from . import gamma_loops
from .api import PUBLIC, SPACES, attach, binary, called, in_place_of, public, unary
from .arithmetic import where
from .complex_view import view_as_complex, view_as_real
from .copy import clone
from .elementwise import loop, unknown, zero


def scipy_loop(name: str) -> Any:
    """A function of `scipy.special`, imported at its first call."""

    def run(*xs: Any, out: np.ndarray | None = None) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*xs, out=out)

    return run


@loop
def _xlogy(x: Any, y: Any) -> Any:
    return np.where(np.equal(x, 0) & ~np.isnan(y), 0, x * np.log(y)).astype(np.result_type(x, y))


_COMPLEX = ("complex",)
_round = unary("round", np.rint, deny=("complex", "bool", "integral"), vjp=zero)


@loop
def _log_gamma(x: Any) -> Any:
    r = np.asarray(scipy_loop("gammaln")(x))
    return np.where(np.equal(x, -np.inf), np.inf, r).astype(r.dtype)


def _incomplete(name: str, below: float) -> Any:
    """A regularised incomplete gamma function, `below` at 0.

    PyTorch looks at 0 and infinity before it looks for NaN.
    """

    @loop
    def run(a: Any, x: Any) -> Any:
        r = np.asarray(scipy_loop(name)(a, x))
        r = np.where(np.isnan(a) & np.equal(x, 0), below, r)
        r = np.where(np.isnan(a) & np.isposinf(x), 1 - below, r)
        return np.where(np.isposinf(a) & np.isnan(x), below, r).astype(r.dtype)

    return run


lgamma = unary(
    "lgamma",
    _log_gamma,
    result="float",
    deny=_COMPLEX,
    domain=(0.3, 4.0),
    vjp=lambda g, x: g * digamma(x),
)
digamma = unary(
    "digamma",
    scipy_loop("psi"),
    result="float",
    deny=_COMPLEX,
    domain=(0.3, 4.0),
    vjp=lambda g, x: g * polygamma_op(x, n=1),
)


@primitive(
    name="polygamma",
    triton="elementwise.polygamma",
    meta=lambda x, *, n: (tuple(x._data.shape), x.dtype),
    vjp=lambda g, x, n: g * polygamma_op(x, n=n + 1),  # type: ignore
    samples=lambda s: [s(s.reals((2, 3), 0.3, 4.0), n=n) for n in (1, 2)],
)
def polygamma_op(x: Any, *, n: int) -> Any:
    """(-1)^(n + 1) n! zeta(n + 1, x) (DLMF 5.15), which is NaN at infinity but for n = 1."""

    def piece(x: Any, out: Any) -> None:
        np.copyto(out, gamma_loops.polygamma(n, x), casting="unsafe")

    return parallel.elementwise(piece, host.empty(x.shape, x.dtype), x, block=parallel.BLOCK >> 1)


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

SPACES["special"]["xlogy"] = xlogy


@loop
def _xlog1py(x: Any, y: Any) -> Any:
    return np.where(np.equal(x, 0) & ~np.isnan(y), 0, x * np.log1p(y)).astype(np.result_type(x, y))


xlog1py = binary(
    "xlog1py",
    _xlog1py,
    space="special",
    result="float",
    deny=_COMPLEX,
    domain=((0.2, 2.0), (-0.5, 2.0)),
    vjp=(
        lambda g, x, y: where((x == 0) & (y <= -1), 0, g * log1p_of(y)),
        lambda g, x, y: g * (x / (y + 1)),
    ),
)


def log1p_of(y: Any) -> Any:
    return y.log1p() if isinstance(y, Tensor) else float(np.log1p(y))


def _of_order(low: float, high: float) -> Any:
    """Samples whose first input, which has no derivative, is a number."""

    def samples(s: Any) -> Iterator:
        for shape in ((3, 4), (), (0,), (2, 3, 5)):
            yield s(1.7, s.reals(shape, low, high))
        yield s(s.reals((3, 1), 1.5, 3.0), s.reals((4,), low, high), smooth=False)

    return samples


igamma = binary(
    "igamma",
    _incomplete("gammainc", 0.0),
    numbers="none",
    deny=(*_COMPLEX, "integral", "bool"),
    samples=_of_order(0.3, 4.0),
    vjp=(
        unknown("igamma", "input"),
        lambda g, x, y: g * ((x - 1) * y.log() - y - _lgamma(x)).exp(),
    ),
)
igammac = binary(
    "igammac",
    _incomplete("gammaincc", 1.0),
    numbers="none",
    deny=(*_COMPLEX, "integral", "bool"),
    samples=_of_order(0.3, 4.0),
    vjp=(
        unknown("igammac", "input"),
        lambda g, x, y: -g * ((x - 1) * y.log() - y - _lgamma(x)).exp(),
    ),
)
zeta = binary(
    "zeta",
    gamma_loops.hurwitz,
    space="special",
    result="float",
    deny=(*_COMPLEX, "float16", "bfloat16"),
    samples=_of_order(0.5, 3.0),
    vjp=(unknown("zeta", "self"), lambda g, x, y: g * -x * zeta(x + 1, y)),
)
SPACES["special"].update(
    gammaln=lgamma, digamma=digamma, psi=digamma, gammainc=igamma, gammaincc=igammac
)


def _lgamma(x: Any) -> Any:
    return lgamma(x) if isinstance(x, Tensor) else math.lgamma(x)


@public(out=True, space="special")
def multigammaln(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p.

    log pi * p (p - 1) / 4 + sum over i = 1..p of lgamma(x + (1 - i) / 2), of any shape.

    Example:
        >>> import tritorch as torch
        >>> torch.special.multigammaln(torch.tensor([3.0]), 1)
        tensor([0.6931])
    """
    if p < 1:
        raise RuntimeError(f"multigammaln: p has to be greater than or equal to 1, got {p}")
    errors.check_dtype("multigammaln", input.dtype, "integral", "floating")
    x = input if input.dtype.category > 1 else input.float()
    terms = [lgamma(x - i / 2) for i in range(p)]
    return sum(terms[1:], terms[0]) + p * (p - 1) / 4 * math.log(math.pi)


PUBLIC["mvlgamma"] = multigammaln
attach("mvlgamma", multigammaln)
attach("mvlgamma_", in_place_of(multigammaln, "mvlgamma"))


@public(out=True, inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to the even one; or to so many `decimals`.

    Example:
        >>> import tritorch as torch
        >>> torch.round(torch.tensor([0.5, 1.5, -2.7]))
        tensor([ 0.,  2., -3.])
    """
    if decimals == 0:
        return input.clone() if input.dtype.category == 1 else _round.call(input)  # type: ignore
    if input.dtype.category < 2:
        raise NotImplementedError(
            f"round: decimals is for floating-point tensors, got {input.dtype}"
        )
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
    if input.dtype.is_complex:
        parts = nan_to_num(view_as_real(input), nan, posinf, neginf)
        return view_as_complex(parts)
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


@public(out=True, method=False)
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`; n is not negative."""
    if not isinstance(n, int):
        raise TypeError(
            f"polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}"
        )
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    if input.dtype.is_complex:
        raise NotImplementedError(f'"polygamma" is not implemented for {input.dtype.name} tensors')
    x = input if input.dtype.category > 1 else input.float()
    return digamma(x) if n == 0 else polygamma_op(x, n=n)


@called("polygamma")
def _polygamma_method(input: Tensor, n: int) -> Tensor:
    """The n-th derivative of `digamma`; n is not negative."""
    return polygamma(n, input)


attach("polygamma", _polygamma_method)
attach("polygamma_", in_place_of(_polygamma_method, "polygamma"))
SPACES["special"].update(round=round, polygamma=polygamma)
