"""Steps scaled by past gradients: Adadelta, Adagrad, RMSprop and Rprop."""

from __future__ import annotations

from typing import Any

from ..ops import create
from ..tensor import Tensor
from .stepper import (
    Counted,
    check_fused,
    check_lr,
    check_range,
    multiply_add,
    number,
    prepared,
)

__all__ = ["Adadelta", "Adagrad", "RMSprop", "Rprop"]


class Adadelta(Counted):
    """`p = p - lr * sqrt(d + eps) / sqrt(v + eps) * g`, with running means of `g^2` (v) and of the
    squares of the steps before lr (d), both with weight `rho` on the past.

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_range("rho value", rho, 0.0 <= rho <= 1.0)
        check_range("epsilon value", eps, eps >= 0.0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "square_avg", "acc_delta"

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        options = (group[k] for k in ("rho", "eps", "weight_decay", "maximize"))
        return -self.rate(group), *options

    @staticmethod
    def update(p: Any, g: Any, v: Any, d: Any, constants: tuple) -> None:
        rate, rho, eps, decay, maximize = constants
        g = prepared(p, g, decay, maximize)
        s = g * g
        s -= v
        s *= 1 - rho
        v += s
        step = ((d + eps) / (v + eps)) ** 0.5
        step *= g
        s = step * step
        s -= d
        s *= 1 - rho
        d += s
        p += step * rate


class Adagrad(Counted):
    """`p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum of g^2) + eps)`.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_range("lr_decay value", lr_decay, lr_decay >= 0.0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        check_range(
            "initial_accumulator_value value",
            initial_accumulator_value,
            initial_accumulator_value >= 0.0,
        )
        check_range("epsilon value", eps, eps >= 0.0)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self.begin(p, self.state[p], group)

    def share_memory(self) -> None:
        """Move the sums of squares into memory that processes share."""
        for own in self.state.values():
            own["sum"].share_memory_()

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def begin(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """The sum begins with `initial_accumulator_value`."""
        first = self.defaults["initial_accumulator_value"]
        own["step"] = self.number_of(p, group, 0)
        own["sum"] = create.full_like(p, complex(first, first) if p.dtype.is_complex else first)

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        rate = -self.rate(group) / (1 + (step - 1) * group["lr_decay"])
        return rate, group["eps"], group["weight_decay"], group["maximize"]

    @staticmethod
    def update(p: Any, g: Any, v: Any, constants: tuple) -> None:
        rate, eps, decay, maximize = constants
        g = prepared(p, g, decay, maximize)
        v += g * g
        d = v**0.5
        d += eps
        d = g / d
        d *= rate
        p += d


class RMSprop(Counted):
    """`p = p - lr * g / (sqrt(v) + eps)` with the running mean v of `g^2`.

    `centered` takes the square of the running mean of g from v; `momentum` sums up the steps.
    Source: Hinton, "Neural networks for machine learning", lecture 6, 2012; Graves, "Generating
    sequences with recurrent neural networks", 2013 (centered).
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_range("epsilon value", eps, eps >= 0.0)
        check_range("momentum value", momentum, momentum >= 0.0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        check_range("alpha value", alpha, alpha >= 0.0)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0)
            group.setdefault("centered", False)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        names: tuple[str, ...] = ("square_avg",)
        names += ("momentum_buffer",) if group["momentum"] > 0 else ()
        return (*names, "grad_avg") if group["centered"] else names

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        names = ("alpha", "eps", "weight_decay", "momentum", "centered", "maximize")
        return -self.rate(group), *(group[k] for k in names)

    @staticmethod
    def update(p: Any, g: Any, v: Any, *rest: Any) -> None:
        """The sum of steps where there is momentum, the mean of g if centered, the constants."""
        if rest[-1][-2]:
            RMSprop._centered(p, g, v, *rest)
            return
        rate, alpha, eps, decay, momentum, _, maximize = rest[-1]
        g = prepared(p, g, decay, maximize)
        v *= alpha
        d = g * (1 - alpha)
        d *= g
        v += d
        d = v**0.5
        d += eps
        if momentum:
            sums = rest[0]
            sums *= momentum
            sums += g / d
            d = sums * rate
        else:
            d = (g * rate) / d
        p += d

    @staticmethod
    def _centered(p: Any, g: Any, v: Any, *rest: Any) -> None:
        """The same with `v - mean^2`, of two numbers that may be almost equal, in place of v.

        The difference magnifies what rounding did to both, so that products are added to sums with
        one rounding, as processors with a fused multiply-add do.
        """
        mean, (rate, alpha, eps, decay, momentum, _, maximize) = rest[-2:]
        g = -g if maximize else g
        g = multiply_add(p, decay, g) if decay else g
        v *= alpha
        multiply_add(g * (1 - alpha), g, v, out=v)
        if alpha > 0.5:
            multiply_add(g - mean, 1 - alpha, mean, out=mean)
        else:
            multiply_add(mean - g, alpha, g, out=mean)
        d = multiply_add(-mean, mean, v) ** 0.5
        d += eps
        if momentum:
            sums = rest[0]
            sums *= momentum
            sums += g / d
            multiply_add(sums, rate, p, out=p)
        else:
            p += (g * rate) / d


class Rprop(Counted):
    """A step size for each element, which grows while its gradient keeps its sign.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning",
    1993.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def arrays_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "prev", "step_size"

    def begin(self, p: Tensor, own: dict[str, Any], group: dict[str, Any]) -> None:
        """Step sizes begin with the learning rate."""
        lr = number(group["lr"])
        own["step"], own["prev"] = self.number_of(p, group, 0), create.zeros_like(p)
        own["step_size"] = create.full_like(p, complex(lr, lr) if p.dtype.is_complex else lr)

    def constants(self, group: dict[str, Any], step: float) -> tuple:
        return *group["etas"], *group["step_sizes"], group["maximize"]

    @staticmethod
    def update(p: Any, g: Any, before: Any, size: Any, constants: tuple) -> None:
        shrink, grow, least, most, maximize = constants
        if maximize:
            g = -g
        both = g * before
        same, turned = both > 0, both < 0
        more, less = size * (grow - 1), size * (1 - shrink)
        more *= same
        less *= turned
        size += more
        size -= less
        size[...] = size.clip(least, most)
        kept = g * 1
        kept *= ~turned
        step = size * (kept < 0)
        step -= size * (kept > 0)
        p += step
        before[...] = kept
