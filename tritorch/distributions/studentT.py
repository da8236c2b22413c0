"""`StudentT`."""
# ruff: noqa: N999  the name is PyTorch's

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .chi2 import Chi2
from .distribution import Distribution
from .utils import as_size, broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """`loc + scale x sqrt(df / y)` of a standard normal x and y of `Chi2(df)`."""

    arg_constraints: Any = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(StudentT, batch_shape, _instance, df=0, loc=0, scale=0)
        new._chi2 = self._chi2.expand(as_size(batch_shape))
        return new

    @property
    def mean(self) -> Tensor:
        """NaN where df <= 1."""
        return torch.where(self.df > 1, self.loc, torch.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Infinite where 1 < df <= 2, NaN where df <= 1."""
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        return torch.where(
            self.df > 2, finite, torch.where(self.df > 1, torch.inf, self.df * torch.nan)
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        normal = standard_normal(shape, self.df.dtype, self.df.device)
        spread = torch.rsqrt(self._chi2.rsample(sample_shape) / self.df)
        return self.loc + self.scale * normal * spread

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y, half = (value - self.loc) / self.scale, 0.5 * (self.df + 1.0)
        normalizer = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + torch.lgamma(0.5 * self.df)
            - torch.lgamma(half)
        )
        return -half * torch.log1p(y**2.0 / self.df) - normalizer

    def entropy(self) -> Tensor:
        half, whole = 0.5 * self.df, 0.5 * (self.df + 1.0)
        log_beta = torch.lgamma(half) + math.lgamma(0.5) - torch.lgamma(whole)
        spread = torch.digamma(whole) - torch.digamma(half)
        return self.scale.log() + whole * spread + 0.5 * self.df.log() + log_beta
