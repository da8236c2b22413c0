"""`ExponentialFamily`: densities `h(x) exp(theta . t(x) - F(theta))`."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Distributions with natural parameters `theta` and the log-normaliser `F`.

    A subclass gives `_natural_params`, `_log_normalizer` and `_mean_carrier_measure`; entropy and
    divergence of two of a kind follow by automatic differentiation of F.

    Source: Nielsen and Nock, "Entropies and cross-entropies of exponential families", 2010.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        """The expected value of `log h(x)`."""
        raise NotImplementedError

    def _normalizer_and_moments(self) -> tuple[tuple, Tensor, tuple]:
        """theta, F and the derivatives of F, which are the expected values of `t(x)`."""
        given = self._natural_params
        tracked = any(p.requires_grad for p in given)
        with torch.enable_grad():
            theta = [p if p.requires_grad else p.detach().requires_grad_() for p in given]
            normalizer = self._log_normalizer(*theta)
            moments = torch.autograd.grad(normalizer.sum(), theta, create_graph=tracked)
        return given, normalizer if tracked else normalizer.detach(), moments

    def entropy(self) -> Tensor:
        """`F - theta . F'(theta) - E log h`, of shape `batch_shape`."""
        theta, normalizer, moments = self._normalizer_and_moments()
        result = -self._mean_carrier_measure + normalizer
        for p, m in zip(theta, moments, strict=True):
            result = result - (p * m).reshape((*self._batch_shape, -1)).sum(-1)
        return result
