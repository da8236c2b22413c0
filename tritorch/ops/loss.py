"""Losses between values, and between probabilities: composites of elementwise operators."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import errors
from ..autograd.mode import no_grad
from ..op import users_level
from ..tensor import Tensor
from .activation import logsigmoid
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import where
from .autocast import listed
from .copy import to
from .cross_entropy import reduction_name, reduction_of
from .elementwise import Elementwise, loop, promoted


def reduced(loss: Any, reduction: str) -> Any:
    """The mean, the sum, or the elements themselves."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def functional(f: Callable) -> Callable:
    """Publish `f` in `nn.functional`."""
    f = listed(f)
    FUNCTIONAL[f.__name__] = f
    return f


def by_number(*names: str, required: bool = False) -> Callable:
    """Publish `f` at the top level, where PyTorch's form takes these parameters in this order and
    the reduction as a number: 1 for mean, 2 for sum, 0, the default, for none."""

    def publish(f: Callable) -> Callable:
        name, own = f.__name__.removeprefix("_"), inspect.signature(f).parameters
        defaults = {n: own[n].default for n in names} | {"reduction": 0}
        kinds = {"reduction": "int"}
        form = inspect.Signature(
            [
                own[n].replace(
                    default=inspect.Parameter.empty if required else defaults[n],
                    annotation=kinds.get(n, own[n].annotation),
                )
                for n in names
            ]
        )

        def function(*args: Any, **kwargs: Any) -> Any:
            try:
                bound = form.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name}(): {error}") from None
            given = bound.arguments
            return applied(**given | {"reduction": reduction_name(name, given.get("reduction", 0))})

        applied = listed(f)
        function.__name__ = function.__qualname__ = name
        function.__doc__, function.__signature__ = f.__doc__, form  # type: ignore[attr-defined]
        function.__annotations__ = {k: p.annotation for k, p in form.parameters.items()}
        PUBLIC[name] = function
        return f

    return publish


# -- between values -------------------------------------------------------------------------------


def _pair(name: str, input: Any, target: Any) -> None:
    for what, t in (("input", input), ("target", target)):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(t).__name__}")
    if input._data.shape != target._data.shape:
        warnings.warn(
            f"{name}: Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=users_level(),
        )


def _difference(name: str, input: Any, target: Any) -> Any:
    """`input - target` in the floating-point dtype that both promote to, of a mask too."""
    dtype = input.dtype
    if dtype is not target.dtype:
        dtype = promoted((input, target))
        input, target = to(input, dtype), to(target, dtype)
    if dtype.category != 2:
        errors.check_dtype(name, dtype, "floating")
    return input - target


def _weighted(name: str, loss: Any, input: Tensor, weight: Any, reduction: str) -> Any:
    """The loss times weights; its mean divides by their sum."""
    if weight is None:
        return reduced(loss, reduction)
    if weight._data.shape != input._data.shape:
        raise ValueError(
            f"{name}: Weights and input must have the same size, got {tuple(weight.shape)} and "
            f"{tuple(input.shape)}"
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


@functional
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """`(input - target)^2`, reduced; a weighted mean divides by the sum of the weights."""
    _pair("mse_loss", input, target)
    reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    d = _difference("mse_loss", input, target)
    return _weighted("mse_loss", d.square(), input, weight, reduction)


@functional
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """`|input - target|`, reduced; a weighted mean divides by the sum of the weights."""
    _pair("l1_loss", input, target)
    reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    d: Any = input - target
    return _weighted("l1_loss", d.abs(), input, weight, reduction)


@functional
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """`0.5 d^2 / beta` where `d = |input - target| < beta`, else `d - 0.5 beta`.

    Source: Girshick, "Fast R-CNN", 2015, section 2.3.
    """
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    _pair("smooth_l1_loss", input, target)
    reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    difference = _difference("smooth_l1_loss", input, target)
    d = difference.abs()
    return reduced(where(d < beta, difference.square() * (0.5 / beta), d - 0.5 * beta), reduction)


@functional
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """`0.5 d^2` where `d = |input - target| <= delta`, else `delta (d - 0.5 delta)`.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    _pair("huber_loss", input, target)
    reduction = reduction_of("huber_loss", reduction)
    if delta <= 0:
        raise RuntimeError(
            f"huber_loss does not support non-positive values for delta, got {delta}"
        )
    difference = _difference("huber_loss", input, target)
    d = difference.abs()
    loss = where(d <= delta, difference.square() * 0.5, (d - 0.5 * delta) * delta)
    if weight is not None and weight._data.shape != input._data.shape:
        raise ValueError(
            f"huber_loss: Weights and input must have the same size, got {tuple(weight.shape)} and "
            f"{tuple(input.shape)}"
        )
    return reduced(loss if weight is None else loss * weight, reduction)


# -- between probabilities ------------------------------------------------------------------------


@loop
def _binary_cross_entropy(x: Any, y: Any) -> Any:
    return (y - 1) * np.maximum(np.log1p(-x), -100) - y * np.maximum(np.log(x), -100)


binary_cross_entropy_op = Elementwise(
    "binary_cross_entropy",
    ("x", "y"),
    _binary_cross_entropy,
    deny=("bool", "integral", "complex"),
    domain=(0.1, 0.9),
    vjp=(
        lambda g, x, y: g * (x - y) / ((1 - x) * x).clamp_min(1e-12),
        lambda g, x: g * ((1 - x).log() - x.log()),
    ),
)


def _outside(x: Any) -> bool:
    """Whether an element is no probability; not looked at where there are no values."""
    return not x.is_meta and bool(((x < 0) | (x > 1)).any())


@functional
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`-(target log(input) + (1 - target) log(1 - input))` of probabilities, times weights.

    The logarithms are held at -100.
    """
    reduction = reduction_of("binary_cross_entropy", reduction, size_average, reduce)
    if input._data.shape != target._data.shape:
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({target.shape}) that is different to the "
            f"input size ({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        raise RuntimeError(
            f"binary_cross_entropy: Found dtype {target.dtype.name} but expected {input.dtype.name}"
        )
    if _outside(input.detach()):
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    if _outside(target.detach()):
        raise RuntimeError("binary_cross_entropy: all elements of target should be between 0 and 1")
    loss: Any = binary_cross_entropy_op(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


@functional
@by_number("input", "target", "weight", "pos_weight", "reduction")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy(sigmoid(input), target)`, stable, with weights of the positive class.

    `(1 - y) x - (1 + (pos_weight - 1) y) log(sigmoid(x))`, times `weight`.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = reduction_of(name, reduction, size_average, reduce)
    if input._data.shape != target._data.shape:
        raise ValueError(
            f"{name}: Target size ({target.shape}) must be the same as input size ({input.shape})"
        )
    errors.check_dtype(name, target.dtype, "floating")
    given = (input, target, weight, pos_weight)
    kind = input.dtype
    if (
        kind.category == 2
        and kind.itemsize < 4
        and all(t is None or t.dtype is kind for t in given)
    ):  # rounded once, at the end, and its gradient too
        input, target, weight, pos_weight = (None if t is None else t.float() for t in given)  # type: ignore
        return binary_cross_entropy_with_logits(
            input, target, weight, reduction=reduction, pos_weight=pos_weight
        ).to(kind)  # type: ignore[attr-defined]
    logs: Any = logsigmoid(input)
    if pos_weight is not None:
        logs = logs * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * input - logs
    return reduced(loss if weight is None else loss * weight, reduction)


def _divergence(input: Any, target: Any, log_target: bool) -> Any:
    if log_target:
        return target.exp() * (target - input)
    positive = where(target == 0, 1, target)  # of what is negative the logarithm is NaN
    return target * positive.log() - target * input


@by_number("input", "target", "reduction", "log_target")
def _kl_div(input: Tensor, target: Tensor, reduction: str, log_target: bool = False) -> Tensor:
    """`target (log(target) - input)` with `input` in log-space, and `target` too on request."""
    loss = _divergence(input, target, log_target)
    if reduction == "batchmean":
        return loss.sum() / input._data.shape[0] if input._data.ndim else loss.sum()
    return reduced(loss, reduction)


@functional
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """`target (log(target) - input)` with `input` in log-space, and `target` too on request.

    Reduction "batchmean" is the sum divided by the size of the batch: the divergence itself.
    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    if size_average is not None or reduce is not None or reduction != "batchmean":
        reduction = reduction_of("kl_div", reduction, size_average, reduce)
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "kl_div: reduction: 'mean' divides the total loss by both the batch size and the "
            "support size. 'batchmean' divides only by the batch size, and aligns with the KL div "
            "math definition.",
            stacklevel=users_level(),
        )
    for t in (input, target):
        if t.dtype.category != 2:
            raise RuntimeError(f"kl_div: {t.dtype.name} inputs not supported")
    return _kl_div(input, target, reduction, log_target)


def raised(t: Any, least: float) -> Any:
    """`t` raised to at least `least`, with the derivative of `t` itself."""
    out = t.clone()
    with no_grad():
        out.clamp_(min=least)
    return out


def _variance(input: Tensor, var: Any) -> Any:
    """The variance in a shape that broadcasts to the input's."""
    if isinstance(var, float | int):
        if var < 0:
            raise ValueError("gaussian_nll_loss: var has negative entry/entries")
        return input.new_full(input.shape, float(var))  # type: ignore[attr-defined]
    if bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    shape, have = tuple(input._data.shape), tuple(var._data.shape)
    if have == shape:
        return var
    if have == shape[:-1]:
        return var.unsqueeze(-1)
    if len(have) == len(shape) and sum(b for a, b in zip(shape, have, strict=True) if a != b) == 1:
        return var
    raise ValueError(f"gaussian_nll_loss: var is of incorrect size {have} for input {shape}")


@functional
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """`0.5 (log(var) + (input - target)^2 / var)`, with `0.5 log(2 pi)` more where `full`.

    Source: Nix and Weigend, 1994.
    """
    spread = _variance(input, var)
    reduction_of("gaussian_nll_loss", reduction)
    spread = raised(spread, eps)
    difference: Any = input - target
    loss = 0.5 * (spread.log() + difference.square() / spread)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@functional
@by_number("input", "target", "log_input", "full", "eps", "reduction", required=True)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`exp(input) - target * input`; of rates instead of their logarithms with `log_input=False`.

    `full` adds Stirling's approximation of `log(target!)` where the target is above 1.
    """
    reduction = reduction_of("poisson_nll_loss", reduction, size_average, reduce)
    logs = input if log_input else (input + eps).log()
    loss = (input.exp() if log_input else input) - target * logs
    if full:
        big = where(target > 1, target, 1)
        stirling = big * big.log() - big + 0.5 * (big * (2 * math.pi)).log()
        loss = loss + where(target > 1, stirling, 0)
    return reduced(loss, reduction)
