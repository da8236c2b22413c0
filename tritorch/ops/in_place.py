"""Functions named like methods that work in place: `torch.abs_(x)` is `x.abs_()`."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from ..tensor import Tensor
from .api import PUBLIC, explained

NAMES = (
    "abs acos acosh arccos arccosh arcsin arcsinh arctan arctanh as_strided asin asinh atan atanh "
    "ceil clamp clamp_max clamp_min clip conj_physical cos cosh deg2rad detach erf erfc exp exp2 "
    "expm1 fill fix floor frac gcd i0 lcm ldexp log log10 log1p log2 logit nan_to_num neg negative "
    "rad2deg reciprocal round rsqrt sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy zero"
)


def _function(name: str) -> None:
    method = getattr(Tensor, name)

    @functools.wraps(method)
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return getattr(input, name)(*args, **kwargs)

    signature = inspect.signature(method)
    first, *rest = signature.parameters.values()
    named = [first.replace(name="input", annotation="Tensor"), *rest]
    function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = name
    PUBLIC[name] = explained(function)


def publish() -> None:
    """Make the functions, once all methods are there."""
    for name in NAMES.split():
        if f"{name}_" not in PUBLIC:
            _function(f"{name}_")
