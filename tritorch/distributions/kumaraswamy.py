"""`Kumaraswamy`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .transformed_distribution import TransformedDistribution
from .transforms import AffineTransform, PowerTransform
from .uniform import Uniform
from .utils import broadcast_all, euler_constant

__all__ = ["Kumaraswamy"]


def _moment(a: Tensor, b: Tensor, n: int) -> Tensor:
    """The expected value of `x^n`: `b B(1 + n / a, b)`."""
    order = 1 + n / a
    return b * torch.exp(torch.lgamma(order) + torch.lgamma(b) - torch.lgamma(order + b))


class Kumaraswamy(TransformedDistribution):
    """`cdf(x) = 1 - (1 - x^concentration1)^concentration0` on [0, 1]: much like `Beta`."""

    arg_constraints: Any = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval  # type: ignore[assignment]
    has_rsample = True  # type: ignore[assignment]

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(
            torch.full_like(self.concentration0, 0),
            torch.full_like(self.concentration0, 1),
            validate_args=validate_args,
        )
        super().__init__(base, self._chain(), validate_args=validate_args)

    def _chain(self) -> list:
        return [
            PowerTransform(exponent=self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=self.concentration1.reciprocal()),
        ]

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        names = {"concentration1": 0, "concentration0": 0}
        new = self._expanded(Kumaraswamy, batch_shape, _instance, **names)
        new.base_dist, new.transforms = self.base_dist.expand(batch_shape), new._chain()
        return new

    @property
    def mean(self) -> Tensor:
        return _moment(self.concentration1, self.concentration0, 1)

    @property
    def mode(self) -> Tensor:
        """`((a - 1) / (a b - 1))^(1 / a)`; NaN where a or b is less than 1, or both are 1."""
        a, b = self.concentration1, self.concentration0
        mode = ((a - 1) / (a * b - 1)) ** a.reciprocal()
        return torch.where((a < 1) | (b < 1), torch.nan, mode)

    @property
    def variance(self) -> Tensor:
        return _moment(self.concentration1, self.concentration0, 2) - torch.pow(self.mean, 2)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = torch.digamma(b + 1) + euler_constant
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - torch.log(a) - torch.log(b)
