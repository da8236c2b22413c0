"""Limits for gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...autograd.mode import no_grad
from ...ops import create
from ...tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def _with_grad(parameters: Tensors) -> list[Any]:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    return [p._grad for p in parameters if p._grad is not None]


def _norm(g: Any, p: float) -> Any:
    """The p-norm of all elements, as a tensor without dimensions."""
    if g.is_cpu:
        x = np.ascontiguousarray(g._data).reshape(-1)
        wide = x if x.dtype.itemsize > 2 else x.astype(np.float32)
        if p == 2.0 and wide.dtype.kind == "f":
            value = math.sqrt(float(np.dot(wide, wide)))
        else:
            value = float(np.linalg.norm(wide, p)) if wide.size else 0.0
        return create.tensor(value, dtype=g.dtype.to_real())
    a = g.abs()
    if p == math.inf:
        return a.max()
    if p == -math.inf:
        return a.min()
    return (a != 0).sum().to(g.dtype) if p == 0 else (a**p).sum() ** (1 / p)


@no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all elements of all tensors together."""
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    p = float(norm_type)
    if not tensors:
        return create.tensor(0.0)
    norms = [_norm(t, p) for t in tensors]
    device = norms[0].device
    values = create.tensor([n.item() for n in norms], dtype=norms[0].dtype)
    total: Any = _norm(values, p).to(device)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it "
            "cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply all gradients by `max_norm / (total_norm + 1e-6)` where that is below 1."""
    scale = min(1.0, float(max_norm) / (float(total_norm.item()) + 1e-6))  # type: ignore[attr-defined]
    if scale != scale or scale < 1.0:
        for g in _with_grad(parameters):
            g.mul_(scale)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients so that their common p-norm is at most `max_norm`; the norm before.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> p.grad = torch.tensor([3.0, 4.0])
        >>> torch.nn.utils.clip_grad_norm_([p], 1.0)
        tensor(5.)
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_with_grad(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for g in _with_grad(parameters):
        g.clamp_(-limit, limit)


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """`clip_grad_norm_` under its older name."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
        "`torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
