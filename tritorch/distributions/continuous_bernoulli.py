"""`ContinuousBernoulli`."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from ._probs import ProbsOrLogits, exactly_one
from .exp_family import ExponentialFamily
from .utils import broadcast_all, clamp_probs

__all__ = ["ContinuousBernoulli"]

cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """Density proportional to `probs^x (1 - probs)^(1 - x)` for x in [0, 1].

    Where `probs` lies within `lims`, around 1/2, closed forms are 0 / 0 and Taylor series stand in.

    Source: Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", NeurIPS 2019.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}  # type: ignore
    support = constraints.unit_interval  # type: ignore[assignment]
    _mean_carrier_measure = 0  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        exactly_one(probs, logits)
        (given,) = broadcast_all(logits if probs is None else probs)
        if probs is not None:
            if validate_args and not self.arg_constraints["probs"].check(given).all():
                raise ValueError("The parameter probs has invalid values")
            given = clamp_probs(given)
        self._keep(None if probs is None else given, given)
        self._lims = lims
        super().__init__(given.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(ContinuousBernoulli, batch_shape, _instance, probs=0, logits=0)
        new._lims = self._lims
        return new

    def _away(self) -> Tensor:
        """Where closed forms hold."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Tensor:
        """Probabilities of which closed forms can be computed."""
        return torch.where(self._away(), self.probs, self._lims[0])

    def _log_norm(self) -> Tensor:
        """`log of 2 atanh(1 - 2 p) / (1 - 2 p)`, by which the density integrates to one."""
        p, d = self._cut(), (self.probs - 0.5).pow(2)
        closed = torch.log((torch.log1p(-p) - torch.log(p)).abs()) - torch.log((2 * p - 1).abs())
        taylor = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * d) * d
        return torch.where(self._away(), closed, taylor)

    @property
    def mean(self) -> Tensor:
        p, d = self._cut(), self.probs - 0.5
        closed = p / (2.0 * p - 1.0) + 1.0 / (torch.log1p(-p) - torch.log(p))
        taylor = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * d.pow(2)) * d
        return torch.where(self._away(), closed, taylor)

    @property
    def stddev(self) -> Tensor:
        return torch.sqrt(self.variance)

    @property
    def variance(self) -> Tensor:
        p, d = self._cut(), (self.probs - 0.5).pow(2)
        log_odds = torch.log1p(-p) - torch.log(p)
        closed = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + 1.0 / log_odds.pow(2)
        taylor = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * d) * d
        return torch.where(self._away(), closed, taylor)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = tuple(self._extended_shape(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return self._log_norm() - cross_entropy(logits, value, reduction="none")

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut()
        closed = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = torch.where(self._away(), closed, value)
        return torch.where(value <= 0, 0.0, torch.where(value >= 1, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut()
        below = torch.log1p(-p)
        rise = torch.log1p(-p + value * (2.0 * p - 1.0)) - below
        return torch.where(self._away(), rise / (torch.log(p) - below), value)

    def entropy(self) -> Tensor:
        at_zero, at_one = torch.log1p(-self.probs), torch.log(self.probs)
        return self.mean * (at_zero - at_one) - self._log_norm() - at_zero

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`log((exp(x) - 1) / x)`."""
        low, high = self._lims[0] - 0.5, self._lims[1] - 0.5
        away = (x <= low) | (x > high)
        cut = torch.where(away, x, low)
        closed = torch.log(torch.expm1(cut).abs()) - torch.log(cut.abs())
        taylor = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return torch.where(away, closed, taylor)
