"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.mode import enable_grad, no_grad
from ..ops import create
from ..tensor import Tensor
from .optimizer import Optimizer
from .stepper import number

__all__ = ["Muon"]

RULES = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    """Steps along the momentum with its singular values brought to about one; for matrices only.

    `b = momentum * b + (1 - momentum) * g`, with `nesterov` mixed with g once more; `ns_steps`
    quintic Newton-Schulz iterations in bfloat16 with `ns_coefficients` make it orthogonal; and
    `p = p - lr * weight_decay * p - lr * r * o`. For (A, B) the factor r is `sqrt(max(1, A / B))`
    ("original", the default) or `0.2 * sqrt(max(A, B))` ("match_rms_adamw").
    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Liu et
    al., "Muon is scalable for LLM training", 2025.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.eye(3))
        >>> optimizer = torch.optim.Muon([p], lr=0.1)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> list(optimizer.state[p])
        ['momentum_buffer']
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr._data.size != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (
            ("Learning rate", number(lr)),
            ("momentum", momentum),
            ("weight decay", weight_decay),
        ):
            if not value >= 0.0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in RULES:
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{p.shape}"
                    )

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by their gradients; `closure` computes them, and the loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    self._update(p, p._grad, group)
        return loss

    def _update(self, p: Any, g: Any, group: dict[str, Any]) -> None:
        if p.dtype.is_complex:
            raise RuntimeError("Muon does not support complex parameters")
        own, lr = self.state[p], number(group["lr"])
        if "momentum_buffer" not in own:
            own["momentum_buffer"] = create.zeros_like(g)
        b = own["momentum_buffer"].lerp_(g, 1 - group["momentum"])
        step = g.lerp(b, group["momentum"]) if group["nesterov"] else b
        o = orthogonal(step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(o, alpha=-lr * _ratio(group["adjust_lr_fn"], *p.shape))


def orthogonal(g: Any, coefficients: Sequence[float], steps: int, eps: float) -> Any:
    """The orthogonal factor of a matrix, roughly: each step is `x = a x + (b s + c s^2) x` with
    `s = x x'`, on the smaller side, from x of norm one at most."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if g.ndim != 2:
        raise ValueError("Input tensor gradient must be a 2D matrix")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = g.shape[0] > g.shape[1]
    x = g.bfloat16()
    x = x.t() if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        s = x @ x.t()
        x = x.addmm(s.addmm(s, s, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


def _ratio(rule: str | None, rows: int, columns: int) -> float:
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
