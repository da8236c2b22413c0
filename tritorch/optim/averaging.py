"""Relatives of Adam, Adamax, NAdam and RAdam; and averaged gradient descent."""

from __future__ import annotations

from typing import Any

from ..ops.arithmetic import where
from ..tensor import Tensor
from .stepper import (
    ON_DEVICE,
    Counted,
    check_betas,
    check_lr,
    check_range,
    moments,
    number,
    prepared,
    raise_to,
)

__all__ = ["ASGD", "Adamax", "NAdam", "RAdam"]


def _check(lr: Any, betas: tuple, eps: float, weight_decay: float) -> None:
    check_lr(lr)
    check_range("epsilon value", eps, eps >= 0.0)
    check_betas(betas)
    check_range("weight_decay value", weight_decay, weight_decay >= 0.0)


class Adamax(Counted):
    """Adam with the largest `|g|` so far, which fades by beta2, in place of the root of v.

    Source: Kingma and Ba, "Adam", 2015, section 7.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_inf"

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        beta1, beta2 = group["betas"]
        rate = self.rate(group) / (beta1**step - 1)
        return rate, 1 - beta1, beta2, group["eps"], group["weight_decay"], group["maximize"]

    @staticmethod
    def update(p: Any, g: Any, m: Any, top: Any, constants: tuple) -> None:
        rate, new, beta2, eps, decay, maximize = constants
        g = prepared(p, g, decay, maximize)
        d = g - m
        d *= new
        m += d
        d = abs(g)
        d += eps
        top *= beta2
        raise_to(top, d)
        d = m / top
        d *= rate
        p += d


class _Rectified(Counted):
    """What NAdam and RAdam share: the moments of Adam and its weight decays."""

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def common(self, group: dict[str, Any]) -> tuple:
        """How much of p is kept, the decay that goes into g, and what weighs new gradients."""
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        keep = 1 - self.rate(group) * decay if decoupled and decay else None
        beta1, beta2 = group["betas"]
        return keep, 0 if decoupled else decay, group["maximize"], 1 - beta1, 1 - beta2


class NAdam(_Rectified):
    """Adam with Nesterov's momentum.

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        check_range("momentum_decay value", momentum_decay, momentum_decay >= 0.0)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def begin(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """The product of momenta begins with 1."""
        super().begin(p, own, group)
        moments = [(k, own.pop(k)) for k in self.arrays_of(group)]
        own["mu_product"] = self.number_of(p, group, 1)
        own.update(moments)

    def _momentum(self, group: dict[str, Any], step: float) -> float:
        return group["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))

    def advance(self, p: Tensor, state: Any, group: dict[str, Any]) -> tuple[float, float]:
        step = super().advance(p, state, group)
        if step is ON_DEVICE:
            return step
        product = state[p]["mu_product"]
        product.mul_(self._momentum(group, step))
        return step, product.item()

    def counted(self, p: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        step, product = super().counted(p, group), self.state[p]["mu_product"]
        product.mul_(self._momentum(group, step))
        return step, product.double()

    def constants(self, group: dict[str, Any], step: tuple[float, float]) -> tuple:
        n, product = step
        now, after = self._momentum(group, n), self._momentum(group, n + 1)
        lr = self.rate(group)
        return (
            self.common(group),
            group["eps"],
            1 - group["betas"][1] ** n,
            -lr * (1.0 - now) / (1.0 - product),
            -lr * after / (1.0 - product * after),
        )

    @staticmethod
    def update(p: Any, g: Any, m: Any, v: Any, constants: tuple) -> None:
        common, eps, second, of_gradient, of_mean = constants
        g = moments(p, g, m, v, common)
        d = (v / second) ** 0.5
        d += eps
        step = g * of_gradient
        step += m * of_mean
        p += step / d


class RAdam(_Rectified):
    """Adam whose steps are not scaled before v is known well enough, and then rectified.

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        beta1, beta2 = group["betas"]
        second = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / second
        rate = self.rate(group) / (beta1**step - 1)
        known = length > 5.0
        if not isinstance(known, Tensor) and not known:
            return self.common(group), group["eps"], rate, None, known
        part = (length - 4) * (length - 2) * longest
        rectified = (second * part / ((longest - 4) * (longest - 2) * length)) ** 0.5
        return self.common(group), group["eps"], rate, rectified, known

    @staticmethod
    def update(p: Any, g: Any, m: Any, v: Any, constants: tuple) -> None:
        common, eps, rate, rectified, known = constants
        moments(p, g, m, v, common)
        step = m * rate
        if rectified is not None:
            d = v**0.5
            d += eps
            if isinstance(known, Tensor):  # the host does not know
                step *= where(known, rectified / d, 1.0)
            else:
                step *= rectified
                step = step / d
        p += step


class ASGD(Counted):
    """Gradient descent whose running mean of p, `state["ax"]`, is the result.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax",)

    def begin(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """The first rate is lr, and the mean begins anew at every step."""
        super().begin(p, own, group)
        mean = own.pop("ax")
        rate = number(group["lr"])
        own["eta"], own["mu"] = (self.number_of(p, group, value) for value in (rate, 1))
        own["ax"] = mean

    def advance(self, p: Tensor, state: Any, group: dict[str, Any]) -> tuple[float, float]:
        """The rate and the weight of the mean for this step; those of the next are stored."""
        step = super().advance(p, state, group)
        if step is ON_DEVICE:
            return step
        own = state[p]
        now = own["eta"].item(), own["mu"].item()
        own["eta"].fill_(self._later(group, number(group["lr"]), step))
        own["mu"].fill_(1 / max(1, step - group["t0"]))
        return now

    def counted(self, p: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        own, step = self.state[p], super().counted(p, group)
        now = own["eta"].double(), own["mu"].double()
        own["eta"].copy_(self._later(group, self.rate(group), step))
        own["mu"].copy_(1 / (step - group["t0"]).clamp(min=1))
        return now

    def _later(self, group: dict[str, Any], lr: Any, step: Any) -> Any:
        return lr / (1 + group["lambd"] * lr * step) ** group["alpha"]

    def constants(self, group: dict[str, Any], step: tuple[float, float]) -> tuple:
        eta, mu = step
        return -eta, 1 - group["lambd"] * eta, mu, group["weight_decay"], group["maximize"]

    @staticmethod
    def update(p: Any, g: Any, mean: Any, constants: tuple) -> None:
        rate, keep, weight, decay, maximize = constants
        g = prepared(p, g, decay, maximize)
        p *= keep
        p += g * rate
        d = p - mean
        d *= weight
        mean += d
