"""The normal distribution's functions, the logit, entropy, and what `torch.special` shares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import error_loops
from .api import PUBLIC, SPACES, public, unary
from .arithmetic import conj, where
from .elementwise import Elementwise, loop
from .special_gamma import scipy_loop

_SPECIAL = SPACES["special"]
_SQRT_2, _SQRT_PI, _SQRT_2PI = math.sqrt(2), math.sqrt(math.pi), math.sqrt(2 * math.pi)


@loop
def _sinc(x: Any) -> Any:
    x = np.asarray(x)
    y = np.pi * x
    return np.where(x == 0, 1, np.sin(y) / y).astype(x.dtype)


@loop
def _logit(x: Any) -> Any:
    x = np.asarray(x)
    return np.log(x / (1 - x)).astype(x.dtype)


def _sinc_vjp(g: Tensor, x: Tensor) -> Any:
    y = x * math.pi
    slope = (y.cos() * y - y.sin()) / (y * x)  # type: ignore[attr-defined]
    return g * conj(where(x == 0, 0, slope))


def _logit_vjp(g: Tensor, x: Tensor) -> Any:
    return where((x >= 0) & (x <= 1), g / (x * (1 - x)), math.nan)


sinc = unary("sinc", _sinc, result="float", vjp=_sinc_vjp)
_SPECIAL["sinc"] = sinc
ndtr = unary(
    "ndtr",
    error_loops.ndtr,
    space="special",
    result="float",
    deny=("complex",),
    vjp=lambda g, x: g * (-0.5 * x * x).exp() / _SQRT_2PI,
)
log_ndtr = unary(
    "log_ndtr",
    scipy_loop("log_ndtr"),
    space="special",
    result="float",
    deny=("complex", "float16", "bfloat16"),
    vjp=lambda g, x: g / erfcx(x / -_SQRT_2) * (2 / _SQRT_2PI),
)
ndtri = unary(
    "ndtri",
    scipy_loop("ndtri"),
    space="special",
    result="float",
    deny=("complex", "float16", "bfloat16"),
    domain=(0.1, 0.9),
    vjp=lambda g, out: g * _SQRT_2PI * (0.5 * out * out).exp(),
)
erfcx = unary(
    "erfcx",
    scipy_loop("erfcx"),
    space="special",
    result="float",
    deny=("complex", "float16", "bfloat16"),
    vjp=lambda g, x, out: g * (2 * x * out - 2 / _SQRT_PI),
)
entr = unary(
    "entr",
    scipy_loop("entr"),
    space="special",
    result="float",
    deny=("complex",),
    domain=(0.1, 2.0),
    vjp=lambda g, x: -g * (1 + x.log()),
)
_logit_of = Elementwise(
    "logit",
    ("x",),
    _logit,
    result="float",
    deny=("complex",),
    domain=(0.1, 0.9),
    vjp=_logit_vjp,
)


@public(out=True, inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x first limited to [eps, 1 - eps] where `eps` is given; of any shape.

    Example:
        >>> import tritorch as torch
        >>> torch.logit(torch.tensor([0.5, 0.0]), eps=0.1)
        tensor([ 0.0000, -2.1972])
    """
    if eps is None or input.dtype.is_complex:
        return _logit_of(input)
    x = input if input.dtype.category > 1 else input.float()
    return _logit_of(x.clamp(eps, 1 - eps))


# what torch has under a name of its own
for _name, _own in {
    "expit": "sigmoid",
    **{
        n: n
        for n in (
            *("logit", "erf", "erfc", "erfinv", "exp2", "expm1", "log1p"),
            *("logsumexp", "softmax", "log_softmax"),
        )
    },
}.items():
    _SPECIAL[_name] = PUBLIC[_own]
