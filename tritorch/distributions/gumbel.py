"""`Gumbel`."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .transformed_distribution import TransformedDistribution
from .transforms import AffineTransform, ExpTransform
from .uniform import Uniform
from .utils import broadcast_all, euler_constant

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """`loc - scale log(-log(u))` of uniform u: the largest of many exponential numbers."""

    arg_constraints: Any = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real  # type: ignore[assignment]

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        info = torch.finfo(self.loc.dtype)
        base = Uniform(
            torch.full_like(self.loc, info.tiny),
            torch.full_like(self.loc, 1 - info.eps),
            validate_args=validate_args,
        )
        super().__init__(base, self._chain(), validate_args=validate_args)

    def _chain(self) -> list:
        log, minus = ExpTransform().inv, AffineTransform(0, -torch.ones_like(self.scale))
        return [log, minus, log, AffineTransform(self.loc, -self.scale)]

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(Gumbel, batch_shape, _instance, loc=0, scale=0)
        new.base_dist, new.transforms = self.base_dist.expand(batch_shape), new._chain()
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.pow(2)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
