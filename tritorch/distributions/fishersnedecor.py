"""`FisherSnedecor`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .gamma import Gamma
from .utils import as_size, broadcast_all

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """The ratio of two `Chi2` over their degrees of freedom, `df1` above `df2`."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}  # type: ignore
    support = constraints.positive  # type: ignore[assignment]
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(FisherSnedecor, batch_shape, _instance, df1=0, df2=0)
        new._gamma1 = self._gamma1.expand(as_size(batch_shape))
        new._gamma2 = self._gamma2.expand(as_size(batch_shape))
        return new

    @property
    def mean(self) -> Tensor:
        """NaN where df2 <= 2."""
        df2 = torch.where(self.df2 > 2, self.df2, torch.nan)
        return df2 / (df2 - 2)

    @property
    def mode(self) -> Tensor:
        """NaN where df1 <= 2."""
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return torch.where(self.df1 > 2, mode, torch.nan)

    @property
    def variance(self) -> Tensor:
        """NaN where df2 <= 4."""
        df1, df2 = self.df1, torch.where(self.df2 > 4, self.df2, torch.nan)
        return 2 * df2.pow(2) * (df1 + df2 - 2) / (df1 * (df2 - 2).pow(2) * (df2 - 4))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        tiny = torch.finfo(self.df1.dtype).tiny
        above, below = self._gamma1.rsample(sample_shape), self._gamma2.rsample(sample_shape)
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        ratio = self.df1 / self.df2
        half, other = self.df1 * 0.5, self.df2 * 0.5
        constant = (half + other).lgamma() - half.lgamma() - other.lgamma()
        powers = half * ratio.log() + (half - 1) * torch.log(value)
        return constant + powers - (half + other) * torch.log1p(ratio * value)
