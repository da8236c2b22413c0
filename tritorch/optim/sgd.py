"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..ops import create
from ..tensor import Tensor
from .stepper import Stepper, check_fused, check_lr, check_range, number, prepared

__all__ = ["SGD"]


class SGD(Stepper):
    """Stochastic gradient descent, with momentum where asked.

    `g = g + weight_decay * p`; `b = momentum * b + (1 - dampening) * g`, or g at the first step;
    `p = p - lr * b`, or with `nesterov` `p - lr * (g + momentum * b)`. `maximize` takes -g.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    2013, in PyTorch's form.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.5)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.item()
        0.0
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_range("momentum value", momentum, momentum >= 0.0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            for name in ("nesterov", "maximize", "differentiable", "fused"):
                group.setdefault(name, False)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def advance(self, p: Tensor, state: Any, group: dict[str, Any]) -> bool:
        """Whether this is the first step with momentum."""
        if not group["momentum"]:
            return False
        own = state[p]
        if own.get("momentum_buffer") is not None:
            return False
        own["momentum_buffer"] = create.zeros_like(p)
        return True

    def constants(self, group: dict[str, Any], step: bool) -> tuple:
        return (
            self.rate(group),
            group["weight_decay"],
            group["momentum"],
            1.0 if step else 1 - group["dampening"],
            group["nesterov"],
            group["maximize"],
        )

    @staticmethod
    def update(p: Any, g: Any, *rest: Any) -> None:
        """One buffer where there is momentum, then the constants."""
        rate, decay, momentum, new, nesterov, maximize = rest[-1]
        g = prepared(p, g, decay, maximize)
        if momentum:
            b = rest[0]
            b *= momentum
            b += g if new == 1 else g * new
            if nesterov:
                d = b * momentum
                d += g
                g = d
            else:
                g = b
        p -= g * rate

    def rate(self, group: dict[str, Any]) -> Any:
        """The learning rate as a number; a tensor where it has a gradient, or lies on a device as
        the parameters do: it is read there, so that a graph follows its changes."""
        lr = group["lr"]
        beside = isinstance(lr, Tensor) and not lr.is_cpu
        beside = beside and not any(p.is_cpu for p in group["params"])
        return lr if group["differentiable"] or beside else number(lr)

    def launch(
        self, kernels: Any, launch: Any, columns: list, group: dict[str, Any], step: bool
    ) -> Any:
        lr = self.rate(group)
        return kernels.sgd(
            launch,
            params=columns[0],
            grads=columns[1],
            buffers=columns[2] if group["momentum"] else None,
            lr=lr.to(columns[0][0].device)._data if isinstance(lr, Tensor) else lr,
            momentum=group["momentum"],
            dampening=group["dampening"],
            weight_decay=group["weight_decay"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            first=step,
        )
