"""Divergences of normal distributions of one and of many variables."""

from __future__ import annotations

from typing import Any

import tritorch as torch

from ..tensor import Tensor
from .kl import register_kl
from .lowrank_multivariate_normal import LowRankMultivariateNormal, _batch_lowrank_mahalanobis
from .multivariate_normal import MultivariateNormal, _batch_mahalanobis, half_log_det
from .normal import Normal

Either = MultivariateNormal | LowRankMultivariateNormal


@register_kl(Normal, Normal)
def _kl_normal_normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    shift = ((p.loc - q.loc) / q.scale).pow(2)
    return 0.5 * (ratio + shift - 1 - ratio.log())


def _squares(x: Tensor) -> Tensor:
    """The trace of `x x'`."""
    return x.pow(2).sum((-2, -1))


def _solve(L: Tensor, x: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(L, x, upper=False)


def _log_det(d: Either) -> Tensor:
    return d._log_det() if isinstance(d, LowRankMultivariateNormal) else 2 * half_log_det(d._factor)


def _mahalanobis(d: Either, x: Tensor) -> Tensor:
    if isinstance(d, MultivariateNormal):
        return _batch_mahalanobis(d._factor, x)
    return _batch_lowrank_mahalanobis(
        d._unbroadcasted_cov_factor, d._unbroadcasted_cov_diag, x, d._capacitance_tril
    )


def _roots(d: Either) -> list[Tensor]:
    """Matrices R with `covariance = sum of R R'`."""
    if isinstance(d, MultivariateNormal):
        return [d._factor]
    diagonal = torch.diag_embed(d._unbroadcasted_cov_diag.sqrt())
    return [d._unbroadcasted_cov_factor, diagonal]


def _trace(q: Either, root: Tensor) -> Tensor:
    """The trace of `covariance(q)^-1 root root'`, by Woodbury's identity at low rank."""
    if isinstance(q, MultivariateNormal):
        return _squares(_solve(q._factor, root))
    scaled = q._unbroadcasted_cov_factor.mT / q._unbroadcasted_cov_diag.unsqueeze(-2)
    inner = _solve(q._capacitance_tril, scaled)
    diagonal = q._unbroadcasted_cov_diag.rsqrt().unsqueeze(-1)
    return _squares(root * diagonal) - _squares(inner @ root)


def _kl(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event "
            f"shapes cannot be computed: {p.event_shape} and {q.event_shape}"
        )
    traces = [_trace(q, root) for root in _roots(p)]
    trace = sum(traces[1:], traces[0])
    n = p.event_shape[0]
    squared = _mahalanobis(q, q.loc - p.loc)
    return 0.5 * (_log_det(q) - _log_det(p) + trace + squared - n)


for _p in (MultivariateNormal, LowRankMultivariateNormal):
    for _q in (MultivariateNormal, LowRankMultivariateNormal):
        register_kl(_p, _q)(_kl)
