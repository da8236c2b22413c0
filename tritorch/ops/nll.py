"""nll_loss: the negative of the log-probability of each target class."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..op import fused, joint, through_ref
from ..tensor import Tensor
from . import lines
from .api import FUNCTIONAL
from .arithmetic import where
from .cross_entropy import (
    checked,
    class_dim,
    coefficient,
    distribution,
    entropy_samples,
    line_factors,
    line_weights,
    lines_of,
    one_target,
    picked,
    reduced,
    reduction_of,
    subtract_at,
)


def _nll_meta(x: Tensor, target: Tensor, weight: Any, *, reduction: str, **params: Any) -> list:
    shape = tuple(target._data.shape) if reduction == "none" else ()
    return [(shape, x.dtype), ((), dtypes.accumulation(x.dtype))]


def _nll(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    *,
    dim: int,
    ignore_index: int,
    reduction: str,
) -> tuple:
    x = lines.canonical(x, dim)
    t, valid = checked(lines_of(target, x), x.shape[1], ignore_index)
    loss = -picked(x, t)
    w = line_weights(t, valid, weight, x.dtype)
    if w is not None:
        loss = loss * w if valid is None else np.where(valid, loss * w, x.dtype.type(0))
    return reduced(loss, w, target.shape, reduction)


def _nll_backward(
    grad: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    total: np.ndarray,
    *,
    shape: tuple[int, ...],
    dim: int,
    ignore_index: int,
    reduction: str,
) -> np.ndarray:
    out = np.zeros(shape, grad.dtype)
    result = lines.canonical(out, dim)
    t, valid = checked(lines_of(target, result), result.shape[1], ignore_index)
    a = line_factors(grad, total, t, valid, reduction)
    if t.size:
        subtract_at(result, t, a if weight is None else a * weight[t])
    return out


def _nll_samples(s: Any) -> list:
    return [
        s(sample.inputs[0], *sample.inputs[1:], **params)
        for sample in entropy_samples(s)
        for params in [{k: v for k, v in sample.params.items() if k != "smoothing"}]
    ]


def _nll_backward_samples(s: Any) -> list:
    weight, t = s.reals((5,), 0.5, 1.5), s.ints(5, (3,))
    more = {"shape": (3, 5), "dim": 1, "ignore_index": -100}
    return [
        s(s.reals(()), t, weight, np.asarray(weight[t].sum()), reduction="mean", **more),
        s(s.reals((3,)), t, None, np.asarray(3.0), reduction="none", **more),
        s((0,), t[:0], None, np.asarray(0.0), reduction="none", **more | {"shape": (0, 5)}),
    ]


@fused(
    meta=lambda grad, *rest, shape, **params: (shape, grad.dtype),
    cpu=_nll_backward,
    triton="loss.nll_loss_backward",
    samples=_nll_backward_samples,
)
def nll_loss_backward(
    grad: Any,
    target: Any,
    weight: Any,
    total: Any,
    *,
    shape: tuple[int, ...],
    dim: int,
    ignore_index: int,
    reduction: str,
) -> Any:
    """`-a q` with a factor `a` a line."""
    q, _, valid = distribution(grad.new_empty(shape), target, weight, dim, ignore_index, 0.0)
    return -coefficient(grad, total, valid, dim, reduction) * q


def _nll_vjp(
    g: Any,
    g_total: Any,
    x: Any,
    x_shape: tuple,
    target: Any,
    weight: Any,
    total: Any,
    dim: int,
    ignore_index: int,
    reduction: str,
    needs: Any,
) -> Any:
    if g is None or g_total is not None or needs[2]:
        rule = through_ref(nll_loss_op)
        return rule(g, g_total, x, target, weight, dim, ignore_index, reduction, needs)
    more = {"dim": dim, "ignore_index": ignore_index, "reduction": reduction}
    return nll_loss_backward(g, target, weight, total, shape=tuple(x_shape), **more), None, None


@fused(
    name="nll_loss",
    outputs=("out", "total"),
    meta=_nll_meta,
    cpu=_nll,
    triton="loss.nll_loss_forward",
    vjp=joint(_nll_vjp),
    samples=_nll_samples,
)
def nll_loss_op(
    x: Any, target: Any, weight: Any, *, dim: int, ignore_index: int, reduction: str
) -> Any:
    """The loss and the sum of the lines' weights."""
    q, w, valid = distribution(x, target, weight, dim, ignore_index, 0.0)
    loss, total = where(valid, where(q == 0, 0, -q * x).sum(dim), 0), w.sum()
    if reduction != "none":
        loss = loss.sum() / total if reduction == "mean" else loss.sum()
    return loss, total


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`-weight[t] * input[t]` for each target class `t`, reduced.

    Shapes: input `(C,)` or `(N, C, ...)` of log-probabilities, target `()` or `(N, ...)` of class
    indices; the mean divides by the sum of the targets' weights.
    """
    reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    target = one_target(input, target)
    dim = class_dim("nll_loss", input, target, weight)
    return nll_loss_op(
        input, target, weight, dim=dim, ignore_index=ignore_index, reduction=reduction
    )[0]


FUNCTIONAL["nll_loss"] = nll_loss
