"""Adafactor: the second moments of a matrix from those of its rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.mode import enable_grad, no_grad
from ..ops import create
from ..tensor import Tensor
from .optimizer import Optimizer
from .stepper import check_lr, number, scalar

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Steps `p = p - a * u / max(1, rms(u) / d)` with `u = g / sqrt(v)`.

    For a matrix, or a stack of them, v is the outer product of the running means of `g^2` over
    columns and over rows, divided by the mean of the latter; for a vector it is the running mean
    itself. Those means forget with weight `t**beta2_decay`; `a = max(eps[1], rms(p)) * min(lr,
    1 / sqrt(t))`; `eps[0]` (default: the dtype's machine epsilon) is the least root of v.
    `weight_decay` takes `lr * weight_decay * p` from p; `maximize` takes -g.
    Source: Shazeer and Stern, "Adafactor", 2018.

    Example:
        >>> import tritorch as torch
        >>> p = torch.nn.Parameter(torch.ones(3, 4))
        >>> optimizer = torch.optim.Adafactor([p])
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> [tuple(v.shape) for v in optimizer.state[p].values()]
        [(), (3, 1), (1, 4)]
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        for name, value, valid in (
            ("beta2_decay should be <= 0", beta2_decay, beta2_decay <= 0.0),
            ("epsilon1 should be >= 0", eps[0], eps[0] is None or eps[0] >= 0.0),
            ("epsilon2 should be >= 0", eps[1], eps[1] >= 0.0),
            ("Clipping threshold d should be >= 1", d, d >= 1.0),
            ("weight_decay should be >= 0", weight_decay, weight_decay >= 0.0),
        ):
            if not valid:
                raise ValueError(f"{name} but is: {value}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            for p in group["params"]:
                own = self.state.get(p)
                if own and not isinstance(own["step"], Tensor):
                    own["step"] = scalar(own["step"])

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
                    self._update(p, -p._grad if group["maximize"] else p._grad, group)
        return loss

    def _begin(self, p: Any) -> dict[str, Any]:
        if p.dtype.is_complex:
            raise RuntimeError("Adafactor does not support complex parameters")
        own = self.state[p]
        if not own:
            own["step"] = scalar(0)
            if p.ndim > 1:
                own["row_var"] = p.new_zeros((*p.shape[:-1], 1))
                own["col_var"] = p.new_zeros((*p.shape[:-2], 1, p.shape[-1]))
            else:
                own["variance"] = create.zeros_like(p)
        return own

    def _update(self, p: Any, g: Any, group: dict[str, Any]) -> None:
        own = self._begin(p)
        own["step"] += 1
        step, lr = own["step"].item(), number(group["lr"])
        least = group["eps"][0]
        least = dtypes.finfo(p.dtype).eps if least is None else least
        scale = max(group["eps"][1], _rms(p)) * min(lr, step**-0.5)
        if group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        new = step ** group["beta2_decay"]
        if p.ndim > 1:
            rows, columns, square = own["row_var"], own["col_var"], g * g
            rows.lerp_(square.mean(-1, keepdim=True), new)
            columns.lerp_(square.mean(-2, keepdim=True), new)
            v = (rows @ columns).div_(rows.mean(-2, keepdim=True).clamp_(min=least))
        else:
            v = own["variance"].lerp_(g * g, new).clone()
        u = v.clamp_(min=least * least).rsqrt_().mul_(g)
        p.add_(u, alpha=-scale / max(1.0, _rms(u) / group["d"]))


def _rms(x: Any) -> float:
    """The root of the mean of the squares."""
    return x.norm().item() / x.numel() ** 0.5 if x.numel() else 0.0
