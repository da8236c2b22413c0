"""Divergences between distributions of two kinds: `-entropy(p) - E_p[log q(x)]`.

What `log q` needs of p is a table of expected values: of x, its square, its logarithm, `exp(-t x)`.
Infinity where p has values that q has not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .continuous_bernoulli import ContinuousBernoulli
from .exponential import Exponential
from .gamma import Gamma
from .gumbel import Gumbel
from .kl import _log_beta, register_kl
from .laplace import Laplace
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .uniform import Uniform
from .utils import euler_constant

# -- expected values of p ------------------------------------------------------------------------

MEAN_LOG: dict[type, Callable[[Any], Tensor]] = {
    Beta: lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma(),
    Exponential: lambda p: -p.rate.log() - euler_constant,
    Gamma: lambda p: p.concentration.digamma() - p.rate.log(),
    Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
    Uniform: lambda p: (_x_log_x(p.high) - _x_log_x(p.low)) / (p.high - p.low) - 1,
}

# The expected value of exp(-t x).
DECAY: dict[type, Callable[[Any, Tensor], Tensor]] = {
    Exponential: lambda p, t: p.rate / (p.rate + t),
    Gamma: lambda p, t: (1 + t / p.rate).pow(-p.concentration),
    Normal: lambda p, t: (0.5 * (t * p.scale).pow(2) - t * p.loc).exp(),
    Uniform: lambda p, t: ((-t * p.low).exp() - (-t * p.high).exp()) / (t * (p.high - p.low)),
}


def _x_log_x(x: Tensor) -> Tensor:
    return torch.xlogy(x, x)


def _mean_of(table: dict, p: Any, *args: Any) -> Tensor:
    for kind in type(p).__mro__:
        if kind in table:
            return table[kind](p, *args)
    raise NotImplementedError(f"kl_divergence: {type(p).__name__} lacks an expected value")


# -- the expected value of log q -----------------------------------------------------------------


def _under_beta(p: Any, q: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    mirrored = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    logs = (a - 1) * _mean_of(MEAN_LOG, p) + (b - 1) * _mean_of(MEAN_LOG, mirrored)
    return logs - _log_beta(a, b)


def _under_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return p.mean * q.logits + torch.log1p(-q.probs) + q._log_norm()


def _under_exponential(p: Any, q: Any) -> Tensor:
    return q.rate.log() - q.rate * p.mean


def _under_gamma(p: Any, q: Any) -> Tensor:
    a, rate = q.concentration, q.rate
    return a * rate.log() - a.lgamma() + (a - 1) * _mean_of(MEAN_LOG, p) - rate * p.mean


def _under_gumbel(p: Any, q: Any) -> Tensor:
    decay = (q.loc / q.scale).exp() * _mean_of(DECAY, p, q.scale.reciprocal())
    return -q.scale.log() - (p.mean - q.loc) / q.scale - decay


def _under_laplace(p: Any, q: Any) -> Tensor:
    """Of a normal p: the mean of a folded normal."""
    d, variance = p.loc - q.loc, p.scale.pow(2)
    near = p.scale * math.sqrt(2 / math.pi) * (-0.5 * d.pow(2) / variance).exp()
    distance = near + d * torch.erf(d / (p.scale * math.sqrt(2)))
    return -(2 * q.scale).log() - distance / q.scale


def _under_normal(p: Any, q: Any) -> Tensor:
    squared = p.variance + (p.mean - q.loc).pow(2)
    return -0.5 * math.log(2 * math.pi) - q.scale.log() - 0.5 * squared / q.scale.pow(2)


def _under_pareto(p: Any, q: Any) -> Tensor:
    return q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _mean_of(MEAN_LOG, p)


def _under_uniform(p: Any, q: Any) -> Tensor:
    return -(q.high - q.low).log()


UNDER = {
    Beta: _under_beta,
    ContinuousBernoulli: _under_continuous_bernoulli,
    Exponential: _under_exponential,
    Gamma: _under_gamma,
    Gumbel: _under_gumbel,
    Laplace: _under_laplace,
    Normal: _under_normal,
    Pareto: _under_pareto,
    Uniform: _under_uniform,
}

# -- where the divergence is infinite ------------------------------------------------------------


def _never(p: Any, q: Any) -> Any:
    return None


def _off_unit(p: Any, q: Any) -> Any:
    """A uniform p that leaves [0, 1]."""
    return (p.high > 1) | (p.low < 0)


def _off_uniform(p: Any, q: Any) -> Any:
    """A p on [0, 1] that leaves a uniform q."""
    return (q.high < 1) | (q.low > 0)


INFINITE = {
    (Beta, Uniform): _off_uniform,
    (ContinuousBernoulli, Uniform): _off_uniform,
    (Pareto, Exponential): lambda p, q: p.alpha <= 1,
    (Pareto, Gamma): lambda p, q: p.alpha <= 1,
    (Pareto, Normal): lambda p, q: p.alpha <= 2,
    (Uniform, Beta): _off_unit,
    (Uniform, ContinuousBernoulli): _off_unit,
    (Uniform, Exponential): lambda p, q: p.low < 0,
    (Uniform, Gamma): lambda p, q: p.low < 0,
    (Uniform, Pareto): lambda p, q: p.low < q.scale,
}

FINITE = {
    Beta: (ContinuousBernoulli, Exponential, Gamma, Normal, Uniform),
    ContinuousBernoulli: (Exponential, Normal, Uniform),
    Exponential: (Gamma, Gumbel, Normal),
    Gamma: (Exponential, Gumbel, Normal),
    Gumbel: (Normal,),
    Laplace: (Normal,),
    Normal: (Gumbel, Laplace),
    Pareto: (Exponential, Gamma, Normal),
    Uniform: (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Normal, Pareto),
}


def _pair(kind_p: type, kind_q: type) -> Callable[[Any, Any], Tensor]:
    under, infinite = UNDER[kind_q], INFINITE.get((kind_p, kind_q), _never)

    def kl(p: Any, q: Any) -> Tensor:
        result = -p.entropy() - under(p, q)
        mask = infinite(p, q)
        return result if mask is None else torch.where(mask, torch.inf, result)

    return kl


for _p, _kinds in FINITE.items():
    for _q in _kinds:
        register_kl(_p, _q)(_pair(_p, _q))

# Kinds of q, each of which lacks values that p has.
BOUNDED = (Beta, ContinuousBernoulli, Pareto, Uniform)
POSITIVE = (*BOUNDED, Exponential, Gamma)
ALWAYS_INFINITE: dict[type, tuple[type, ...]] = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: BOUNDED,
    Gamma: BOUNDED,
    Gumbel: POSITIVE,
    Laplace: POSITIVE,
    Normal: POSITIVE,
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}


def _infinite(p: Any, q: Any) -> Tensor:
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    return p.mean.new_full(shape, torch.inf)


for _p, _kinds in ALWAYS_INFINITE.items():
    for _q in _kinds:
        register_kl(_p, _q)(_infinite)


@register_kl(Bernoulli, Poisson)
def _kl_bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)
