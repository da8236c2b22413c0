"""`LKJCholesky`."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Size, Tensor
from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import as_size, broadcast_all

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Cholesky factors of `dim x dim` correlation matrices M, `p(M) ~ det(M)^(concentration - 1)`.

    Concentration 1 makes all correlation matrices equally likely. Samples come from the onion
    method.

    Source: Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines
    and extended onion method", 2009, sections 3.2 and 3.3.
    """

    arg_constraints: Any = {"concentration": constraints.positive}
    support = constraints.corr_cholesky  # type: ignore[assignment]

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # The squared length of what stands left of the diagonal in rows 1, 2, ..., dim.
        first = torch.zeros(1, dtype=self.concentration.dtype, device=self.concentration.device)
        offset = torch.cat([first, torch.arange(dim - 1, device=first.device).to(first.dtype)])
        freedom = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1)
        self._beta = Beta(0.5 * offset + 0.5, freedom - 0.5 * offset)
        super().__init__(self.concentration.shape, Size((dim, dim)), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(LKJCholesky, batch_shape, _instance, concentration=0)
        new.dim = self.dim
        new._beta = self._beta.expand(as_size(batch_shape) + (self.dim,))
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Directions uniform on spheres, lengths of beta variables, a diagonal that completes."""
        with torch.no_grad():
            squared = self._beta.sample(sample_shape).unsqueeze(-1)
            shape, like = self._extended_shape(sample_shape), self.concentration
            direction = torch.randn(tuple(shape), dtype=like.dtype, device=like.device).tril(-1)
            length = direction.norm(dim=-1, keepdim=True)
            direction = direction / torch.where(length > 0, length, 1)  # the first row is zero
            left = squared.sqrt() * direction
            remaining = (1 - (left**2).sum(-1)).clamp(min=torch.finfo(like.dtype).tiny)
            return left + remaining.sqrt().diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.dim - 1
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        rows = torch.arange(2, self.dim + 1, device=value.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - rows
        alpha = self.concentration + 0.5 * n
        normalizer = (
            0.5 * n * math.log(math.pi)
            + torch.special.multigammaln(alpha - 0.5, n)
            - torch.lgamma(alpha) * n
        )
        return (order * diagonal.log()).sum(-1) - normalizer
