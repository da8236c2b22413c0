"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .stepper import Counted, check_betas, check_fused, check_range, moments, number, raise_to

__all__ = ["Adam", "AdamW"]


class Adam(Counted):
    """Steps along the mean of gradients over the root of the mean of their squares.

    `m = beta1 * m + (1 - beta1) * g`, `v = beta2 * v + (1 - beta2) * g^2`,
    `p = p - lr * m' / (sqrt(v') + eps)` with `m' = m / (1 - beta1^t)`, `v' = v / (1 - beta2^t)`.
    `weight_decay` adds `weight_decay * p` to g, or with `decoupled_weight_decay` takes
    `lr * weight_decay * p` from p; `amsgrad` takes the largest v so far; `maximize` takes -g.
    Sources: Kingma and Ba, "Adam", 2015; Reddi et al., "On the convergence of Adam and beyond",
    2018 (amsgrad).
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        _check_tensors(lr, betas, bool(foreach) and not capturable)
        check_range("learning rate", lr, number(lr) >= 0.0)
        check_range("epsilon value", eps, eps >= 0.0)
        check_betas(betas)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("fused", None)
            group.setdefault("amsgrad", False)
            group.setdefault("decoupled_weight_decay", False)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        kept = ("exp_avg", "exp_avg_sq")
        return (*kept, "max_exp_avg_sq") if group["amsgrad"] else kept

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        lr = self.rate(group)
        beta1, beta2 = (number(b) for b in group["betas"])
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        return (
            1 - lr * decay if decoupled and decay else None,
            0 if decoupled else decay,
            group["maximize"],
            1 - beta1,
            1 - beta2,
            group["eps"],
            lr / (beta1**step - 1),
            1 / (1 - beta2**step) ** 0.5,
        )

    @staticmethod
    def update(p: Any, g: Any, m: Any, v: Any, *rest: Any) -> None:
        """With amsgrad the largest v so far, then the constants."""
        *common, eps, rate, scale = rest[-1]
        moments(p, g, m, v, common)
        if len(rest) == 2:
            raise_to(rest[0], v)
            v = rest[0]
        d = v**0.5
        d *= scale
        d += eps
        d = m / d
        d *= rate
        p += d

    def launch(
        self, kernels: Any, launch: Any, columns: list, group: dict[str, Any], step: Any
    ) -> Any:
        lr = self.rate(group) if isinstance(step, list) else number(group["lr"])
        return kernels.adam(
            launch,
            params=columns[0],
            grads=columns[1],
            exp_avg=columns[2],
            exp_avg_sq=columns[3],
            max_exp_avg_sq=columns[4] if group["amsgrad"] else None,
            step=step if isinstance(step, list) else int(step),
            lr=lr._data if isinstance(lr, Tensor) else lr,
            beta1=number(group["betas"][0]),
            beta2=number(group["betas"][1]),
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
            maximize=group["maximize"],
        )


class AdamW(Adam):
    """`Adam` with decoupled weight decay: `p = p - lr * weight_decay * p` beside its step.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def _check_tensors(lr: Any, betas: Any, plain_foreach: bool) -> None:
    """Options that are tensors have one element, and do not go with `foreach`."""
    first, second = (isinstance(b, Tensor) for b in betas)
    if first != second or any(not isinstance(b, float | Tensor) for b in betas):
        raise ValueError("betas must be either both floats or both Tensors")
    for name, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
        if not isinstance(value, Tensor):
            continue
        if plain_foreach:
            raise ValueError(
                f"{name} as a Tensor is not supported for capturable=False and foreach=True"
            )
        if value._data.size != 1:
            raise ValueError(f"Tensor {name} must be 1-element")
