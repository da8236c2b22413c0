"""What distributions given by probabilities or by logits share."""

from __future__ import annotations

from typing import Any

from ..tensor import Size, Tensor
from .distribution import Distribution
from .utils import lazy_property, logits_to_probs, probs_to_logits


def exactly_one(probs: Any, logits: Any) -> None:
    """Raise ValueError where both or neither are given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class ProbsOrLogits(Distribution):
    """One of `probs` and `logits` is given; the other is computed when it is asked for.

    Of a `_binary` one the logits are log-odds, else unnormalised log-probabilities of a last
    dimension.
    """

    _binary = True

    @lazy_property
    def logits(self) -> Tensor:
        """Log-odds, or log-probabilities up to a constant."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self) -> Tensor:
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=self._binary)

    def _keep(self, probs: Any, logits: Any) -> None:
        """Set what is given, which `_param` remembers."""
        self._given = "logits" if probs is None else "probs"
        self.__dict__[self._given] = logits if probs is None else probs

    @property
    def _param(self) -> Tensor:
        return self.__dict__[self._given]

    @property
    def param_shape(self) -> Size:
        """The shape of the given parameter."""
        return self._param.size()

    def _new(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._param.new(*args, **kwargs)

    def _expanded(self, cls: type, batch_shape: Any, instance: Any, **event_dims: int) -> Any:
        new = super()._expanded(cls, batch_shape, instance, **event_dims)
        new._given = self._given
        return new
