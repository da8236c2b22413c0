"""`Categorical`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Size, Tensor
from . import constraints
from ._probs import ProbsOrLogits, exactly_one
from .utils import as_size

__all__ = ["Categorical"]


class Categorical(ProbsOrLogits):
    """Integers 0 to n - 1 in proportion to `probs` `(..., n)`, or to the exponentials of `logits`.

    Example:
        >>> import tritorch as torch
        >>> torch.distributions.Categorical(torch.tensor([1.0, 1.0, 2.0])).probs
        tensor([0.2500, 0.2500, 0.5000])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}  # type: ignore
    has_enumerate_support = True
    _binary = False

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        exactly_one(probs, logits)
        name, given = ("logits", logits) if probs is None else ("probs", probs)
        if given.dim() < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is None:
            self._keep(None, logits - logits.logsumexp(dim=-1, keepdim=True))
        else:
            self._keep(probs / probs.sum(-1, keepdim=True), None)
        self._raw = given
        self._num_events = given.size(-1)
        super().__init__(given.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(Categorical, batch_shape, _instance, probs=1, logits=1)
        new._raw, new._num_events = new._param, self._num_events
        return new

    @property
    def param_shape(self) -> Size:
        """The shape of the given parameter."""
        return self._raw.size()

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:  # type: ignore[override]
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        """NaN: categories have no mean."""
        return self.probs.new_full(self._extended_shape(), torch.nan)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(dim=-1)

    @property
    def variance(self) -> Tensor:
        """NaN: categories have no variance."""
        return self.probs.new_full(self._extended_shape(), torch.nan)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = as_size(sample_shape)
        lines = self.probs.detach().reshape((-1, self._num_events))
        drawn = torch.multinomial(lines, sample_shape.numel(), True).T
        return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, logits = torch.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        finite = self.logits.clamp(min=torch.finfo(self.logits.dtype).min)
        return -(finite * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = torch.arange(self._num_events, dtype=torch.long, device=self._param.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values
