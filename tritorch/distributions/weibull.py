"""`Weibull`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .exponential import Exponential
from .transformed_distribution import TransformedDistribution
from .transforms import AffineTransform, PowerTransform
from .utils import broadcast_all, euler_constant

__all__ = ["Weibull"]


class Weibull(TransformedDistribution):
    """Values above x with probability `exp(-(x / scale)^concentration)`."""

    arg_constraints: Any = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive  # type: ignore[assignment]

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        base = Exponential(torch.ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, self._chain(), validate_args=validate_args)

    def _chain(self) -> list:
        power = PowerTransform(exponent=self.concentration.reciprocal())
        return [power, AffineTransform(loc=0, scale=self.scale)]

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(Weibull, batch_shape, _instance, scale=0, concentration=0)
        new.base_dist, new.transforms = self.base_dist.expand(batch_shape), new._chain()
        return new

    def _log_moment(self, n: int) -> Tensor:
        """The logarithm of the expected value of `(x / scale)^n`."""
        return torch.lgamma(1 + n * self.concentration.reciprocal())

    @property
    def mean(self) -> Tensor:
        return self.scale * torch.exp(self._log_moment(1))

    @property
    def mode(self) -> Tensor:
        """0 where concentration <= 1, whose density falls."""
        c = self.concentration
        return self.scale * ((c - 1).clamp(min=0) / c) ** c.reciprocal()

    @property
    def variance(self) -> Tensor:
        spread = torch.exp(self._log_moment(2)) - torch.exp(2 * self._log_moment(1))
        return self.scale.pow(2) * spread

    def entropy(self) -> Tensor:
        c = self.concentration
        return euler_constant * (1 - c.reciprocal()) + torch.log(self.scale / c) + 1
