"""`MixtureSameFamily`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .categorical import Categorical
from .distribution import Distribution
from .utils import as_size

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """Values of one of the components along the last batch dimension of a distribution.

    `mixture_distribution` is a `Categorical` over k components with a batch shape that broadcasts
    against that of `component_distribution` without its last dimension, k.
    """

    arg_constraints: Any = {}
    has_rsample = False

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        _check(mixture_distribution, component_distribution)
        self._num_component = component_distribution.batch_shape[-1]
        event_shape = component_distribution.event_shape
        self._event_ndims = len(event_shape)
        super().__init__(component_distribution.batch_shape[:-1], event_shape, validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        batch_shape = as_size(batch_shape)
        new = self._expanded(MixtureSameFamily, batch_shape, _instance)
        components = self._component_distribution
        new._component_distribution = components.expand(batch_shape + (self._num_component,))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._num_component, new._event_ndims = self._num_component, self._event_ndims
        return new

    @constraints.dependent_property
    def support(self) -> Any:  # type: ignore[override]
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution of the component's number."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    def _weights(self) -> Tensor:
        probs = self.mixture_distribution.probs
        return probs.reshape(probs.shape + (1,) * self._event_ndims)

    def _average(self, x: Tensor) -> Tensor:
        """The mean over components of `(..., k, *event_shape)`."""
        return (self._weights() * x).sum(-1 - self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return self._average(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        """The law of total variance."""
        between = self.component_distribution.mean - self.mean.unsqueeze(-1 - self._event_ndims)
        within = self._average(self.component_distribution.variance)
        return within + self._average(between.pow(2.0))

    def _beside_components(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)

    def cdf(self, x: Tensor) -> Tensor:  # type: ignore[override]
        by_component = self.component_distribution.cdf(self._beside_components(x))
        return (by_component * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if self._validate_args:
            self._validate_sample(x)
        by_component = self.component_distribution.log_prob(self._beside_components(x))
        weights = torch.log_softmax(self.mixture_distribution.logits, dim=-1)
        return torch.logsumexp(by_component + weights, dim=-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            events = self.event_shape
            dim = len(as_size(sample_shape)) + len(self.batch_shape)
            chosen = self.mixture_distribution.sample(sample_shape)
            chosen = chosen.reshape(chosen.shape + (1,) * (len(events) + 1))
            values = self.component_distribution.sample(sample_shape)
            index = chosen.expand((*values.shape[:dim], 1, *events))
            return torch.gather(values, dim, index).squeeze(dim)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )


def _check(mixture: Any, components: Any) -> None:
    if not isinstance(mixture, Categorical):
        raise ValueError(
            " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
        )
    if not isinstance(components, Distribution):
        raise ValueError(
            "The Component distribution needs to be an instance of torch.distributions.Distribution"
        )
    batch, own = components.batch_shape[:-1], mixture.batch_shape
    for i, j in zip(reversed(own), reversed(batch), strict=False):
        if i != 1 and j != 1 and i != j:
            raise ValueError(
                f"`mixture_distribution.batch_shape` ({own}) is not compatible with "
                f"`component_distribution.batch_shape`({batch})"
            )
    k, found = mixture.logits.shape[-1], components.batch_shape[-1]
    if k != found:
        raise ValueError(
            f"`mixture_distribution component` ({k}) does not equal "
            f"`component_distribution.batch_shape[-1]` ({found})"
        )
