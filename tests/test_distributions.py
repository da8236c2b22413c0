"""`tritorch.distributions` against SciPy and by sampling: densities, moments, entropies."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tritorch as torch
from tritorch import distributions as D
from tritorch.autograd import gradcheck
from tritorch.distributions import constraints

F64 = torch.float64


def t(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=F64)


def vonmises(loc: float, kappa: float) -> Any:
    return stats.vonmises(kappa, loc)


# A distribution of one variable, and SciPy's.
CONTINUOUS: dict[str, tuple[Any, Any]] = {
    "beta": (D.Beta(t(0.7), t(3.0)), stats.beta(0.7, 3.0)),
    "cauchy": (D.Cauchy(t(1.0), t(0.5)), stats.cauchy(1.0, 0.5)),
    "chi2": (D.Chi2(t(3.0)), stats.chi2(3.0)),
    "exponential": (D.Exponential(t(2.0)), stats.expon(scale=0.5)),
    "f": (D.FisherSnedecor(t(5.0), t(7.0)), stats.f(5.0, 7.0)),
    "gamma": (D.Gamma(t(0.4), t(2.0)), stats.gamma(0.4, scale=0.5)),
    "large gamma": (D.Gamma(t(50.0), t(2.0)), stats.gamma(50.0, scale=0.5)),
    "pareto of excesses": (
        D.GeneralizedPareto(t(1.0), t(2.0), t(0.3)),
        stats.genpareto(0.3, 1.0, 2.0),
    ),
    "bounded excesses": (
        D.GeneralizedPareto(t(1.0), t(2.0), t(-0.3)),
        stats.genpareto(-0.3, 1.0, 2.0),
    ),
    "gumbel": (D.Gumbel(t(1.0), t(2.0)), stats.gumbel_r(1.0, 2.0)),
    "half cauchy": (D.HalfCauchy(t(2.0)), stats.halfcauchy(scale=2.0)),
    "half normal": (D.HalfNormal(t(2.0)), stats.halfnorm(scale=2.0)),
    "inverse gamma": (D.InverseGamma(t(3.5), t(2.0)), stats.invgamma(3.5, scale=2.0)),
    "laplace": (D.Laplace(t(1.0), t(2.0)), stats.laplace(1.0, 2.0)),
    "log normal": (D.LogNormal(t(0.3), t(0.5)), stats.lognorm(0.5, scale=math.exp(0.3))),
    "normal": (D.Normal(t(1.0), t(2.0)), stats.norm(1.0, 2.0)),
    "pareto": (D.Pareto(t(1.5), t(3.0)), stats.pareto(3.0, scale=1.5)),
    "t": (D.StudentT(t(4.0), t(1.0), t(2.0)), stats.t(4.0, 1.0, 2.0)),
    "uniform": (D.Uniform(t(-1.0), t(2.0)), stats.uniform(-1.0, 3.0)),
    "von mises": (D.VonMises(t(0.5), t(2.0)), vonmises(0.5, 2.0)),
    "weibull": (D.Weibull(t(2.0), t(1.5)), stats.weibull_min(1.5, scale=2.0)),
}
DISCRETE: dict[str, tuple[Any, Any]] = {
    "bernoulli": (D.Bernoulli(t(0.3)), stats.bernoulli(0.3)),
    "binomial": (D.Binomial(7, t(0.3)), stats.binom(7, 0.3)),
    "categorical": (
        D.Categorical(t([1.0, 2.0, 5.0])),
        stats.rv_discrete(values=([0, 1, 2], [0.125, 0.25, 0.625])),
    ),
    "geometric": (D.Geometric(t(0.3)), stats.geom(0.3, loc=-1)),
    "negative binomial": (D.NegativeBinomial(t(4.0), t(0.3)), stats.nbinom(4.0, 0.7)),
    "poisson": (D.Poisson(t(3.5)), stats.poisson(3.5)),
}
continuous = pytest.mark.parametrize("name", CONTINUOUS)
discrete = pytest.mark.parametrize("name", DISCRETE)
PROBABILITIES = np.array([0.01, 0.2, 0.5, 0.7, 0.99])
CIRCULAR = ("von mises",)


@continuous
def test_density_and_distribution_function_are_scipys(name: str) -> None:
    ours, theirs = CONTINUOUS[name]
    x = theirs.ppf(PROBABILITIES)
    np.testing.assert_allclose(ours.log_prob(t(x)).numpy(), theirs.logpdf(x), rtol=1e-9, atol=1e-9)
    if type(ours).cdf is not D.Distribution.cdf and name not in ("inverse gamma", "large gamma"):
        np.testing.assert_allclose(ours.cdf(t(x)).numpy(), theirs.cdf(x), rtol=1e-8, atol=1e-12)


@continuous
def test_inverse_distribution_function_inverts(name: str) -> None:
    ours, theirs = CONTINUOUS[name]
    try:
        x = ours.icdf(t(PROBABILITIES))
    except NotImplementedError:
        assert name in (
            "beta",
            "chi2",
            "f",
            "gamma",
            "large gamma",
            "inverse gamma",
            "t",
            "von mises",
        )
        return
    np.testing.assert_allclose(x.numpy(), theirs.ppf(PROBABILITIES), rtol=1e-7, atol=1e-9)


@continuous
def test_moments_and_entropy_are_scipys(name: str) -> None:
    ours, theirs = CONTINUOUS[name]
    if name not in (*CIRCULAR, "cauchy", "half cauchy"):
        np.testing.assert_allclose(float(ours.mean), theirs.mean(), rtol=1e-8)
        np.testing.assert_allclose(float(ours.variance), theirs.var(), rtol=1e-8)
        np.testing.assert_allclose(float(ours.stddev), theirs.std(), rtol=1e-8)
    if type(ours).entropy is not D.Distribution.entropy:
        np.testing.assert_allclose(float(ours.entropy()), theirs.entropy(), rtol=1e-6)


@continuous
def test_mode_is_the_likeliest_value(name: str) -> None:
    ours, _ = CONTINUOUS[name]
    mode = ours.mode
    if name in ("uniform", "gamma", "beta"):  # flat, or without a bound at the edge
        return
    at_mode = float(ours.log_prob(mode.clamp(min=1e-12) if float(mode) == 0 else mode))
    assert at_mode >= float(ours.log_prob(ours.sample((500,))).max()) - 1e-9


@continuous
def test_samples_pass_kolmogorov_and_smirnov(name: str) -> None:
    ours, theirs = CONTINUOUS[name]
    torch.manual_seed(1)
    for dtype_of in (ours, ours.expand((2,))):
        x = dtype_of.sample((4000,)).reshape(-1).numpy()
        assert stats.kstest(x, theirs.cdf).pvalue > 1e-3
    assert bool(ours.support.check(ours.sample((1000,))).all())


@discrete
def test_probabilities_moments_and_samples_of_counts(name: str) -> None:
    ours, theirs = DISCRETE[name]
    k = np.arange(3 if name == "categorical" else 2 if name == "bernoulli" else 8)
    np.testing.assert_allclose(ours.log_prob(t(k)).numpy(), theirs.logpmf(k), rtol=1e-9)
    if name != "categorical":
        np.testing.assert_allclose(float(ours.mean), theirs.mean(), rtol=1e-9)
        np.testing.assert_allclose(float(ours.variance), theirs.var(), rtol=1e-9)
    if type(ours).entropy not in (D.Distribution.entropy, D.ExponentialFamily.entropy):
        np.testing.assert_allclose(float(ours.entropy()), theirs.entropy(), rtol=1e-6)
    torch.manual_seed(2)
    drawn = ours.sample((20000,)).numpy()
    found = np.array([(drawn == i).sum() for i in k])
    expected = theirs.pmf(k) * len(drawn)
    rest = len(drawn) - expected.sum()
    if rest > 1:
        found, expected = np.append(found, len(drawn) - found.sum()), np.append(expected, rest)
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("name", ["Kumaraswamy", "ContinuousBernoulli"])
def test_distributions_that_scipy_lacks_integrate(name: str) -> None:
    d = {
        "Kumaraswamy": lambda: D.Kumaraswamy(t(2.0), t(3.0)),
        "ContinuousBernoulli": lambda: D.ContinuousBernoulli(t(0.2)),
    }[name]()
    x = torch.linspace(0, 1, 20001, dtype=F64)[1:-1]
    density = d.log_prob(x).exp()
    for expected, values in (
        (1.0, density),
        (float(d.mean), density * x),
        (float(d.variance), density * (x - d.mean) ** 2),
        (float(d.entropy()), -density * d.log_prob(x)),
    ):
        assert abs(float(torch.trapezoid(values, x)) - expected) < 2e-3
    torch.manual_seed(3)
    assert stats.kstest(d.sample((4000,)).numpy(), lambda v: d.cdf(t(v)).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n not in ("uniform", "pareto")])
def test_log_density_is_differentiable_in_values(name: str) -> None:
    ours, theirs = CONTINUOUS[name]
    x = t(theirs.ppf(PROBABILITIES[1:4] + 0.013)).requires_grad_()
    assert gradcheck(ours.log_prob, [x])


# -- several variables ---------------------------------------------------------------------------

SPD = [[2.0, 0.6, 0.1], [0.6, 1.5, -0.3], [0.1, -0.3, 0.8]]


def test_multivariate_normal_is_scipys_in_all_forms() -> None:
    loc, cov = np.array([0.5, -1.0, 2.0]), np.array(SPD)
    x = np.random.default_rng(0).normal(size=(4, 3))
    theirs = stats.multivariate_normal(loc, cov)
    L = np.linalg.cholesky(cov)
    forms = [
        D.MultivariateNormal(t(loc), t(cov)),
        D.MultivariateNormal(t(loc), precision_matrix=t(np.linalg.inv(cov))),
        D.MultivariateNormal(t(loc), scale_tril=t(L)),
        D.LowRankMultivariateNormal(t(loc), t(L), t([1e-12] * 3)),
    ]
    for d in forms:
        exact = 1e-8 if isinstance(d, D.MultivariateNormal) else 1e-3
        np.testing.assert_allclose(d.log_prob(t(x)).numpy(), theirs.logpdf(x), rtol=exact)
        np.testing.assert_allclose(float(d.entropy()), theirs.entropy(), rtol=exact)
        np.testing.assert_allclose(d.covariance_matrix.numpy(), cov, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(d.variance.numpy(), np.diag(cov), rtol=1e-8)
        np.testing.assert_allclose(
            (d.scale_tril @ d.scale_tril.mT).numpy(), cov, rtol=1e-8, atol=1e-9
        )
        if exact == 1e-8:
            inverse = np.linalg.inv(cov)
            np.testing.assert_allclose(d.precision_matrix.numpy(), inverse, rtol=1e-8, atol=1e-9)


def test_low_rank_normal_is_the_normal_of_its_covariance() -> None:
    W, diagonal = t([[1.0, 0.2], [0.5, -1.0], [0.3, 0.4]]), t([0.3, 1.0, 2.0])
    low = D.LowRankMultivariateNormal(t([0.0, 1.0, 2.0]), W, diagonal)
    full = D.MultivariateNormal(low.loc, low.covariance_matrix)
    x = torch.randn(5, 3, dtype=F64)
    for a, b in (
        (low.log_prob(x), full.log_prob(x)),
        (low.entropy(), full.entropy()),
        (low.precision_matrix, full.precision_matrix),
        (low.scale_tril, full.scale_tril),
    ):
        torch.testing.assert_close(a, b)


def test_batches_of_normals_broadcast_against_samples() -> None:
    loc, L = torch.randn(2, 1, 3, dtype=F64), torch.linalg.cholesky(t(SPD)).expand(4, 3, 3)
    d = D.MultivariateNormal(loc, scale_tril=L)
    assert d.batch_shape == (2, 4)
    x = d.sample((5, 6))
    assert x.shape == (5, 6, 2, 4, 3)
    one = d.log_prob(x)
    for i, j in itertools.product(range(2), range(4)):
        single = D.MultivariateNormal(loc[i, 0], scale_tril=L[j])
        torch.testing.assert_close(one[:, :, i, j], single.log_prob(x[:, :, i, j]))


VECTORS: dict[str, Callable[[], Any]] = {
    "dirichlet": lambda: D.Dirichlet(t([0.5, 1.5, 3.0])),
    "multinomial": lambda: D.Multinomial(6, t([0.2, 0.3, 0.5])),
    "one hot": lambda: D.OneHotCategorical(t([0.2, 0.3, 0.5])),
    "normal": lambda: D.MultivariateNormal(t([1.0, 2.0, 3.0]), t(SPD)),
    "low rank": lambda: D.LowRankMultivariateNormal(
        t([1.0, 2.0]), t([[1.0], [0.5]]), t([0.3, 1.0])
    ),
    "wishart": lambda: D.Wishart(t(5.0), t(SPD)),
    "mixture": lambda: D.MixtureSameFamily(
        D.Categorical(t([0.3, 0.7])),
        D.Independent(D.Normal(t([[0.0, 1.0], [3.0, 4.0]]), t(1.0)), 1),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_moments_of_samples(name: str) -> None:
    d, n = VECTORS[name](), 40000
    torch.manual_seed(4)
    x = d.sample((n,))
    spread = d.variance.sqrt()
    assert bool(((x.mean(0) - d.mean).abs() < 5 * spread / n**0.5).all())
    assert bool(((x.var(0) / d.variance - 1).abs() < 0.1).all())
    assert bool(d.support.check(x).all())
    if type(d).entropy is not D.Distribution.entropy:
        surprise = -d.log_prob(x)
        assert abs(float(surprise.mean() - d.entropy())) < 5 * float(surprise.std()) / n**0.5


def test_wishart_density_is_scipys() -> None:
    d = D.Wishart(t(5.0), t(SPD))
    x = d.sample((3,)).numpy()
    theirs = [stats.wishart(5, np.array(SPD)).logpdf(v) for v in x]
    np.testing.assert_allclose(d.log_prob(t(x)).numpy(), theirs, rtol=1e-8)
    np.testing.assert_allclose(float(d.entropy()), stats.wishart(5, np.array(SPD)).entropy())


def test_dirichlet_and_multinomial_densities_are_scipys() -> None:
    a = np.array([0.5, 1.5, 3.0])
    x = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        float(D.Dirichlet(t(a)).log_prob(t(x))), stats.dirichlet(a).logpdf(x)
    )
    np.testing.assert_allclose(float(D.Dirichlet(t(a)).entropy()), stats.dirichlet(a).entropy())
    theirs = stats.multinomial(6, x)
    np.testing.assert_allclose(
        float(D.Multinomial(6, t(x)).log_prob(t([1, 2, 3]))), theirs.logpmf([1, 2, 3])
    )
    np.testing.assert_allclose(float(D.Multinomial(6, t(x)).entropy()), theirs.entropy())


@pytest.mark.parametrize("eta", [0.6, 1.0, 3.0])
def test_correlations_of_lkj_are_beta(eta: float) -> None:
    """Each correlation of `n` variables is `2 Beta(eta + n/2 - 1, same) - 1`."""
    torch.manual_seed(5)
    L = D.LKJCholesky(4, t(eta)).sample((3000,))
    assert bool(constraints.corr_cholesky.check(L).all())
    M = (L @ L.mT).numpy()
    for i, j in ((1, 0), (3, 1), (3, 2)):
        u = (M[:, i, j] + 1) / 2
        assert stats.kstest(u, stats.beta(eta + 1, eta + 1).cdf).pvalue > 1e-3


def test_density_of_lkj_integrates() -> None:
    r = torch.linspace(-1, 1, 4001, dtype=F64)[1:-1]
    L = torch.zeros(len(r), 2, 2, dtype=F64)
    L[:, 0, 0], L[:, 1, 0], L[:, 1, 1] = 1.0, r, (1 - r**2).sqrt()
    density = D.LKJCholesky(2, t(2.0)).log_prob(L).exp()
    # over the factor's free element, which is the correlation itself
    assert abs(float(torch.trapezoid(density, r)) - 1) < 1e-3


# -- the rest ------------------------------------------------------------------------------------


def test_names_that_are_not_there_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        torch.nonsense  # noqa: B018
    assert "distributions" in dir(torch)


def test_one_seed_gives_the_same_samples() -> None:
    for name, (d, _) in {**CONTINUOUS, **DISCRETE}.items():
        torch.manual_seed(12)
        a = d.sample((7,))
        torch.manual_seed(12)
        assert bool((d.sample((7,)) == a).all()), name
        assert not bool((d.sample((7,)) == a).all()), name


def test_lines_of_categories_are_drawn_by_their_own_probabilities() -> None:
    probs = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
    torch.manual_seed(13)
    drawn = D.Categorical(probs.repeat(50, 1)).sample((400,)).reshape(400, 50, 4)
    counts = np.array(
        [[float((drawn[..., i] == k).float().mean()) for k in range(3)] for i in range(4)]
    )
    np.testing.assert_allclose(counts, probs.numpy(), atol=0.02)
    assert (counts[probs.numpy() == 0] == 0).all()


def test_small_concentrations_give_corners_and_not_nan() -> None:
    a = torch.full((500, 3), 1e-3, requires_grad=True)
    x = D.Dirichlet(a).rsample()
    assert bool(torch.isfinite(x).all()) and bool(((x.sum(-1) - 1).abs() < 1e-5).all())
    (grad,) = torch.autograd.grad((x * torch.tensor([1.0, 2.0, 3.0])).sum(), a)
    assert bool(torch.isfinite(grad).all())
    z = D.Gamma(torch.full((500,), 1e-3), 1.0).rsample()
    assert bool((z > 0).all())


def test_parameters_and_samples_keep_their_dtype() -> None:
    for dtype in (torch.float32, F64):
        one = torch.ones(3, dtype=dtype)
        for d in (
            D.Normal(one, one),
            D.Gamma(one, one),
            D.Beta(one, one),
            D.Dirichlet(one),
            D.StudentT(one),
            D.VonMises(one, one),
        ):
            assert d.sample((2,)).dtype is dtype and d.log_prob(d.sample()).dtype is dtype


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_copies_and_pickles(name: str) -> None:
    d = {**CONTINUOUS, **DISCRETE}[name][0]
    x = d.sample((3,))
    for other in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        torch.testing.assert_close(other.log_prob(x), d.log_prob(x))


def test_custom_distribution_follows_the_protocol() -> None:
    class Triangle(D.Distribution):
        arg_constraints = {"width": constraints.positive}
        has_rsample = True

        def __init__(self, width: Any, validate_args: bool | None = None) -> None:
            (self.width,) = D.utils.broadcast_all(width)
            super().__init__(self.width.shape, validate_args=validate_args)

        @constraints.dependent_property(is_discrete=False, event_dim=0)
        def support(self) -> Any:
            return constraints.interval(-self.width, self.width)

        def rsample(self, sample_shape: Any = ()) -> Any:
            u = torch.rand((2, *self._extended_shape(sample_shape)))
            return self.width * (u[0] - u[1])

    d = Triangle(2.0)
    assert repr(d) == "Triangle(width: 2.0)" and d.sample((3,)).shape == (3,)
    assert constraints.is_dependent(Triangle.support)
    with pytest.raises(ValueError, match="within the support"):
        d._validate_sample(torch.tensor(3.0))
    with pytest.raises(ValueError, match="Expected parameter width"):
        Triangle(-1.0)
    with pytest.raises(NotImplementedError, match=r"custom \.expand"):

        class Named(D.Normal):
            def __init__(self) -> None:
                super().__init__(0.0, 1.0)

        Named().expand((2,))
