"""Dropout: elements, channels, and the form that keeps mean and variance of SELU networks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from .. import errors
from ..op import primitive, same_as, users_level
from ..runtime import random as streams
from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC
from .generator import take
from .random import Blank, bernoulli_scalar, draw


def _dropout_vjp(g: Tensor, p: float, seed: int, offset: int) -> Any:
    return dropout_op(g, p=p, seed=seed, offset=offset)


@primitive(
    name="dropout",
    meta=same_as("x"),
    triton="random.dropout",
    exact=True,
    strided=True,
    vjp=_dropout_vjp,
    samples=lambda s: [
        s((3, 4), p=0.3, seed=1, offset=3),
        s((0,), p=0.5, seed=1, offset=0),
        s((7,), p=1.0, seed=1, offset=0),
    ],
)
def dropout_op(x: Any, *, p: float, seed: int, offset: int) -> Any:
    """`x * mask / (1 - p)`; the mask comes again from seed and offset, so none is saved."""
    return streams.dropout(seed, offset, x, p)


def _check(name: str, x: Tensor, p: float, error: type[Exception] = ValueError) -> None:
    if not 0 <= p <= 1:
        raise error(f"{name}: dropout probability has to be between 0 and 1, but got {p}")
    if x.dtype.category < 2:
        raise RuntimeError(
            f"{name}: result type Float can't be cast to the desired output type {x.dtype}"
        )


def _elements(input: Tensor, p: float, inplace: bool) -> Tensor:
    if p == 0:
        return input if inplace else input.clone()  # type: ignore[attr-defined]
    if input.dtype.is_complex:
        mask = _channels_mask(input, tuple(input._data.shape), p)
        return input.mul_(mask) if inplace else input * mask  # type: ignore[attr-defined]
    stream = take(input._data.size, 32, None, input.device)
    run = dropout_op.inplace if inplace else dropout_op
    return run(input, p=float(p), **stream)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zero with probability `p`, the others divided by `1 - p`; only in training.

    Source: Srivastava et al., "Dropout", JMLR 2014.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training:
        return input
    if p:
        _check("dropout", input, p)
    return _elements(input, p, inplace)


# -- channels ------------------------------------------------------------------------------------


def _channels_mask(x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    """A mask divided by the probability to keep."""
    kind = x.dtype.to_real()
    mask = draw(bernoulli_scalar, Blank(shape, kind, x.device), None, 32, p=1.0 - p)
    return mask * streams.dropout_scale(p)


def _feature(x: Tensor, p: float, batched: bool, inplace: bool) -> Tensor:
    """Whole channels dropped: `(N, C, *)`, or `(C, *)` without a batch."""
    if p == 0:
        return x if inplace else x.clone()  # type: ignore[attr-defined]
    keep = 2 if batched else 1
    mask = _channels_mask(x, (*x._data.shape[:keep], *(1,) * (x._data.ndim - keep)), p)
    return x.mul_(mask) if inplace else x * mask  # type: ignore[attr-defined]


def _channelwise(name: str, dims: tuple[int, int]) -> Callable:
    def channel_dropout(
        input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        n = input._data.ndim
        if n not in dims:
            message = (
                f"{name}: Expected {dims[0]}D or {dims[1]}D input, but received a {n}D input of "
                f"shape {tuple(input.shape)}"
            )
            if name == "dropout1d":
                raise RuntimeError(message)
            warnings.warn(message, UserWarning, stacklevel=users_level())
        if not training:
            return input
        if p:
            _check(name, input, p)
            if n < 2:
                raise RuntimeError(
                    f"{name}: Feature dropout requires at least 2 dimensions in the input, got "
                    f"shape {tuple(input.shape)}"
                )
        batched = n != dims[0] or name == "dropout2d"
        if n == 3 and name == "dropout2d":
            errors.warn(
                "dropout2d: Received a 3D input, which is taken as (N, C, L), whose channels are "
                "dropped. Use dropout1d for that."
            )
        return _feature(input, p, batched, inplace)

    channel_dropout.__name__ = channel_dropout.__qualname__ = name
    channel_dropout.__doc__ = (
        f"Whole channels of a {dims[0]}D or {dims[1]}D tensor zero with probability `p`, the "
        "others divided by `1 - p`."
    )
    FUNCTIONAL[name] = channel_dropout
    return channel_dropout


dropout1d = _channelwise("dropout1d", (2, 3))
dropout2d = _channelwise("dropout2d", (3, 4))
dropout3d = _channelwise("dropout3d", (4, 5))

# -- alpha dropout -------------------------------------------------------------------------------

_SATURATION = -1.7580993408473766  # the limit of SELU towards minus infinity


def _alpha(x: Tensor, p: float, shape: tuple[int, ...], inplace: bool) -> Tensor:
    """Dropped elements become SELU's limit; an affine map restores mean 0 and variance 1."""
    keep = draw(bernoulli_scalar, Blank(shape, x.dtype, x.device), None, 32, p=1.0 - p)
    scale = 1 / math.sqrt((_SATURATION**2 * p + 1) * (1 - p)) if p < 1 else 0.0
    shift = (1 - keep) * (_SATURATION * scale) - _SATURATION * scale * p
    if inplace:
        return x.mul_(keep * scale).add_(shift)  # type: ignore[attr-defined]
    return x * (keep * scale) + shift


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1.

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    _check("alpha_dropout", input, p)
    return _alpha(input, p, tuple(input._data.shape), inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of `(N, C, *)`."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    _check("feature_alpha_dropout", input, p)
    if input._data.ndim < 2:
        raise RuntimeError(
            f"Feature dropout requires at least 2 dimensions in the input, got {tuple(input.shape)}"
        )
    shape = (*input._data.shape[:2], *(1,) * (input._data.ndim - 2))
    return _alpha(input, p, shape, inplace)


for _f in (dropout, alpha_dropout, feature_alpha_dropout):
    FUNCTIONAL[_f.__name__] = _f


def _positional(f: Callable, name: str) -> None:
    """`torch.dropout(input, p, train)` and its form in place."""

    def function(input: Tensor, p: float, train: bool) -> Tensor:
        _check(name, input, p, RuntimeError)
        return f(input, p, train)

    def change(input: Tensor, p: float, train: bool) -> Tensor:
        _check(name, input, p, RuntimeError)
        return f(input, p, train, True)

    function.__name__, change.__name__ = name, f"{name}_"
    function.__doc__ = f"`nn.functional.{f.__name__}` with all arguments."
    change.__doc__ = f"`{name}` in place."
    PUBLIC[name], PUBLIC[f"{name}_"] = function, change


def _feature_dropout(input: Tensor, p: float, train: bool, inplace: bool = False) -> Tensor:
    if not train:
        return input
    if input._data.ndim < 2:
        raise RuntimeError(
            f"Feature dropout requires at least 2 dimensions in the input, got {tuple(input.shape)}"
        )
    return _feature(input, p, True, inplace)


_positional(dropout, "dropout")
_positional(alpha_dropout, "alpha_dropout")
_positional(feature_alpha_dropout, "feature_alpha_dropout")
_positional(_feature_dropout, "feature_dropout")
