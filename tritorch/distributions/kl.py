"""`kl_divergence` and the table of pairs that it knows; users enter theirs with `register_kl`.

The pairs of one kind stand here and in `_kl_normal.py`, those of two kinds in `_kl_cross.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .cauchy import Cauchy
from .continuous_bernoulli import ContinuousBernoulli
from .dirichlet import Dirichlet
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .independent import Independent
from .laplace import Laplace
from .one_hot_categorical import OneHotCategorical
from .pareto import Pareto
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import euler_constant, sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}
_found: dict[tuple[type, type], Any] = {}
softplus = torch.nn.functional.softplus


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """A decorator that enters a function of `(p, q)` for two types and what derives from them.

    The pair of the most special types is taken; where `(p's, base)` and `(base, q's)` compete the
    first wins, with a RuntimeWarning.

    Example:
        >>> from tritorch.distributions import Normal, register_kl
        >>> class Mine(Normal): ...
        >>> @register_kl(Mine, Mine)
        ... def kl_mine(p, q):
        ...     return (p.loc - q.loc) ** 2
    """
    if not isinstance(type_p, type):
        raise TypeError(f"Expected type_p to be a Distribution subclass but got {type_p}")
    if not isinstance(type_q, type):
        raise TypeError(f"Expected type_q to be a Distribution subclass but got {type_q}")

    def enter(f: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = f
        _found.clear()
        return f

    return enter


def _dispatch_kl(type_p: type, type_q: type) -> Any:
    """The function of the most special pair, or NotImplemented."""
    p_order, q_order = type_p.__mro__, type_q.__mro__
    ranked = [
        (p_order.index(a), q_order.index(b), f)
        for (a, b), f in _KL_REGISTRY.items()
        if a in p_order and b in q_order
    ]
    if not ranked:
        return NotImplemented
    left = min(ranked, key=lambda r: (r[0], r[1]))
    right = min(ranked, key=lambda r: (r[1], r[0]))
    if left[2] is not right[2]:
        names = [p_order[left[0]], q_order[left[1]], p_order[right[0]], q_order[right[1]]]
        a, b, c, d = (t.__name__ for t in names)
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
            f"Please register_kl({a}, {d}) ({a}, {b} and {c}, {d} are registered)",
            RuntimeWarning,
            stacklevel=3,
        )
    return left[2]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """`E_p[log p(x) - log q(x)]`, of the batch shape.

    Raises NotImplementedError for types that no entry covers.

    Example:
        >>> from tritorch.distributions import Normal, kl_divergence
        >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
        tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = _dispatch_kl(*key)
    f = _found[key]
    if f is NotImplemented:
        raise NotImplementedError(
            "No KL(p || q) is implemented for p type "
            f"{p.__class__.__name__} and q type {q.__class__.__name__}"
        )
    return f(p, q)


def _log_beta(*concentrations: Tensor) -> Tensor:
    """`sum of lgamma(c) - lgamma(sum of c)`."""
    total = sum(concentrations[1:], concentrations[0])
    return (
        sum((c.lgamma() for c in concentrations[1:]), concentrations[0].lgamma()) - total.lgamma()
    )


# -- discrete ------------------------------------------------------------------------------------


def _bernoulli_term(p: Tensor, q: Tensor, p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """`p log(p / q)`, with log p = -softplus(-logits)."""
    term = p * (softplus(-q_logits) - softplus(-p_logits))
    return torch.where(p == 0, 0.0, torch.where(q == 0, torch.inf, term))


@register_kl(Bernoulli, Bernoulli)
def _kl_bernoulli_bernoulli(p: Any, q: Any) -> Tensor:
    ones = _bernoulli_term(p.probs, q.probs, p.logits, q.logits)
    return ones + _bernoulli_term(1 - p.probs, 1 - q.probs, -p.logits, -q.logits)


@register_kl(Binomial, Binomial)
def _kl_binomial_binomial(p: Any, q: Any) -> Tensor:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return torch.where(p.total_count > q.total_count, torch.inf, kl)


@register_kl(Categorical, Categorical)
def _kl_categorical_categorical(p: Any, q: Any) -> Tensor:
    term = p.probs * (p.logits - q.logits)
    term = torch.where(q.probs == 0, torch.inf, term)
    return torch.where((p.probs == 0).expand_as(term), 0.0, term).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _kl_onehotcategorical_onehotcategorical(p: Any, q: Any) -> Tensor:
    return _kl_categorical_categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _kl_geometric_geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - torch.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _kl_poisson_poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


# -- continuous ----------------------------------------------------------------------------------


@register_kl(Beta, Beta)
def _kl_beta_beta(p: Any, q: Any) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    moved = (a - c) * a.digamma() + (b - d) * b.digamma() - (a + b - c - d) * (a + b).digamma()
    return _log_beta(c, d) - _log_beta(a, b) + moved


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _kl_continuous_bernoulli_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    norms = p._log_norm() + torch.log1p(-p.probs) - q._log_norm() - torch.log1p(-q.probs)
    return p.mean * (p.logits - q.logits) + norms


@register_kl(Dirichlet, Dirichlet)
def _kl_dirichlet_dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1, True)
    norms = total.squeeze(-1).lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    return norms + ((a - b) * (a.digamma() - total.digamma())).sum(-1)


@register_kl(Exponential, Exponential)
def _kl_exponential_exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _kl_expfamily_expfamily(p: Any, q: Any) -> Tensor:
    """The Bregman divergence of the log-normaliser."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed "
            "using Bregman divergences"
        )
    theta, normalizer, moments = p._normalizer_and_moments()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for ours, theirs, moment in zip(theta, q._natural_params, moments, strict=True):
        term = (theirs - ours) * moment
        result = result - sum_rightmost(term, term.ndim - result.ndim)
    return result


@register_kl(Gamma, Gamma)
def _kl_gamma_gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * (p.rate / q.rate).log()
        + torch.lgamma(b)
        - torch.lgamma(a)
        + (a - b) * torch.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


@register_kl(Gumbel, Gumbel)
def _kl_gumbel_gumbel(p: Any, q: Any) -> Tensor:
    ratio, shift = p.scale / q.scale, (p.loc - q.loc) / q.scale
    moment = (torch.lgamma(1 + ratio) - shift).exp()
    return -ratio.log() + shift + ratio * euler_constant + moment - (1 + euler_constant)


@register_kl(HalfNormal, HalfNormal)
def _kl_halfnormal_halfnormal(p: Any, q: Any) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _kl_laplace_laplace(p: Any, q: Any) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _kl_cauchy_cauchy(p: Any, q: Any) -> Tensor:
    """Source: Chyzak and Nielsen, "A closed-form formula for the Kullback-Leibler divergence
    between Cauchy distributions", 2019."""
    squared = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return squared.log() - (4 * p.scale * q.scale).log()


@register_kl(Pareto, Pareto)
def _kl_pareto_pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return torch.where(p.scale < q.scale, torch.inf, kl)


@register_kl(Uniform, Uniform)
def _kl_uniform_uniform(p: Any, q: Any) -> Tensor:
    kl = ((q.high - q.low) / (p.high - p.low)).log()
    return torch.where((q.low > p.low) | (q.high < p.high), torch.inf, kl)


# -- of other distributions ----------------------------------------------------------------------


@register_kl(TransformedDistribution, TransformedDistribution)
def _kl_transformed_transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError(
            "kl_divergence: transformed distributions need equal transforms and event shapes"
        )
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _kl_independent_independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            "kl_divergence: Independent distributions need equal reinterpreted_batch_ndims, got "
            f"{p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims}"
        )
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


from . import _kl_cross as _kl_cross, _kl_normal as _kl_normal  # noqa: E402  they enter their pairs
