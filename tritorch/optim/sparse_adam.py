"""Adam that moves only the rows which a sparse gradient has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.mode import enable_grad, no_grad
from ..ops import create
from ..tensor import Tensor
from .optimizer import Optimizer
from .stepper import check_betas, check_range, number

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """`Adam` for gradients that are sparse: moments and parameters change where those have values.

    A dense gradient is refused: use `Adam`.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr._data.size != 1:
            raise ValueError("Tensor lr must be 1-element")
        check_range("learning rate", lr, number(lr) > 0.0)
        check_range("epsilon value", eps, eps > 0.0)
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, defaults)
        places = [
            ([i, j], p)
            for i, group in enumerate(self.param_groups)
            for j, p in enumerate(group["params"])
        ]
        sparse = [at for at, p in places if _is_sparse(p)]
        if sparse:
            raise ValueError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )
        complex_ = [at for at, p in places if p.dtype.is_complex]
        if complex_:
            raise ValueError(
                f"Complex params at indices {complex_}: SparseAdam does not support complex "
                "parameters"
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
                if p._grad is None:
                    continue
                if not _is_sparse(p._grad):
                    raise RuntimeError(
                        "SparseAdam does not support dense gradients, please consider Adam instead"
                    )
                self._update(p, p._grad, group)
        return loss

    def _update(self, p: Any, g: Any, group: dict[str, Any]) -> None:
        own = self.state[p]
        if not own:
            own["step"] = 0
            own["exp_avg"], own["exp_avg_sq"] = create.zeros_like(p), create.zeros_like(p)
        own["step"] += 1
        g = g.coalesce()  # the update is not linear: every index must be there once
        at, values = tuple(g._indices()), g._values()
        if not values.numel():
            return
        values = -values if group.get("maximize") else values
        (beta1, beta2), step = group["betas"], own["step"]
        m, v = own["exp_avg"], own["exp_avg_sq"]
        m_new = m[at] + (values - m[at]) * (1 - beta1)
        v_new = v[at] + (values * values - v[at]) * (1 - beta2)
        m[at], v[at] = m_new, v_new
        rate = number(group["lr"]) * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        p[at] = p[at] - rate * m_new / (v_new.sqrt() + group["eps"])


def _is_sparse(t: Any) -> bool:
    return bool(getattr(t, "is_sparse", False))
