"""`HalfCauchy`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from ._half import Half
from .cauchy import Cauchy

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """The absolute value of `Cauchy(0, scale)`; its mean is infinite."""

    base = Cauchy

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(HalfCauchy, _instance)
        return super().expand(batch_shape, new)

    @property
    def mean(self) -> Tensor:
        return self.scale.new_full(self._extended_shape(), torch.inf)

    @property
    def variance(self) -> Tensor:
        return self.scale.new_full(self._extended_shape(), torch.inf)
