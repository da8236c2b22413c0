"""`GeneralizedPareto`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """What exceeds a threshold `loc`: survival `(1 + concentration z)^(-1 / concentration)`.

    `z = (x - loc) / scale`. With concentration 0 it is exponential, with a negative one bounded.
    Near 0 formulas are the first two terms of their series, so that they have derivatives there.
    """

    arg_constraints = {  # type: ignore[assignment]
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        names = {"loc": 0, "scale": 0, "concentration": 0}
        return self._expanded(GeneralizedPareto, batch_shape, _instance, **names)

    def _z(self, x: Tensor) -> Tensor:
        return (x - self.loc) / self.scale

    def _by_shape(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is 0, and one by which to divide."""
        exponential = torch.isclose(self.concentration, torch.zeros_like(self.concentration))
        return exponential, torch.where(exponential, 1.0, self.concentration)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = tuple(self._extended_shape(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = self._z(value)
        exponential, c = self._by_shape()
        power = -(1 / c + 1) * torch.log1p(c * z)
        near = self.concentration * (z * z / 2 - z) - z
        return torch.where(exponential, near, power) - self.scale.log()

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of values above `value`."""
        if self._validate_args:
            self._validate_sample(value)
        z = self._z(value)
        exponential, c = self._by_shape()
        near = self.concentration * z * z / 2 - z
        return torch.where(exponential, near, -torch.log1p(c * z) / c)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of `cdf`."""
        if self._validate_args:
            self._validate_sample(value)
        return torch.log1p(-torch.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return torch.exp(self.log_cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        exponential, c = self._by_shape()
        depth = -torch.log1p(-value)
        near = depth + self.concentration * depth * depth / 2
        return self.loc + self.scale * torch.where(exponential, near, torch.expm1(c * depth) / c)

    @property
    def mean(self) -> Tensor:
        """NaN where concentration >= 1."""
        mean = self.loc + self.scale / (1 - self.concentration)
        return torch.where(self.concentration < 1, mean, torch.nan)

    @property
    def variance(self) -> Tensor:
        """NaN where concentration >= 1/2."""
        c = self.concentration
        variance = self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c))
        return torch.where(c < 0.5, variance, torch.nan)

    def entropy(self) -> Tensor:
        return torch.log(self.scale) + self.concentration + 1

    @property
    def mode(self) -> Tensor:
        return self.loc

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:  # type: ignore[override]
        bounded = self.loc - self.scale / self.concentration
        upper = torch.where(self.concentration < 0, bounded, torch.inf)
        return constraints.interval(self.loc, upper)
