"""`RelaxedBernoulli` and its log-odds."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from ._probs import ProbsOrLogits, exactly_one
from .transformed_distribution import TransformedDistribution
from .transforms import SigmoidTransform
from .utils import broadcast_all, clamp_probs

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(ProbsOrLogits):
    """Log-odds of `RelaxedBernoulli`: `(logits + logistic noise) / temperature`.

    Source: Maddison, Mnih and Teh, "The concrete distribution", 2017.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}  # type: ignore
    support = constraints.real  # type: ignore[assignment]

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        exactly_one(probs, logits)
        (given,) = broadcast_all(logits if probs is None else probs)
        self._keep(None if probs is None else given, given)
        super().__init__(given.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(LogitRelaxedBernoulli, batch_shape, _instance, probs=0, logits=0)
        new.temperature = self.temperature
        return new

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(torch.rand(tuple(shape), dtype=p.dtype, device=p.device))
        noise = u.log() - (-u).log1p()
        return (noise + p.log() - (-p).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        log_temperature = torch.as_tensor(self.temperature, dtype=logits.dtype).log()
        return (
            log_temperature + difference - 2 * torch.logaddexp(difference, difference.new_zeros(()))
        )


class RelaxedBernoulli(TransformedDistribution):
    """A differentiable stand-in for `Bernoulli` on [0, 1]; small temperatures come near it."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval  # type: ignore[assignment]
    has_rsample = True  # type: ignore[assignment]
    base_dist: LogitRelaxedBernoulli

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(RelaxedBernoulli, _instance)
        return super().expand(batch_shape, new)

    @property
    def temperature(self) -> Any:
        """How far from `Bernoulli` it is."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """Log-odds at temperature 0."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """Probabilities at temperature 0."""
        return self.base_dist.probs
