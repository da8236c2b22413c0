"""Divergences, transforms and constraints of `tritorch.distributions`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import tritorch as torch
from tritorch import distributions as D
from tritorch.distributions import constraints

F64 = torch.float64


def t(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=F64)


SPD = [[2.0, 0.6, 0.1], [0.6, 1.5, -0.3], [0.1, -0.3, 0.8]]


# -- divergences ---------------------------------------------------------------------------------

PAIRS: list[tuple[Any, Any]] = [
    (D.Bernoulli(t(0.3)), D.Poisson(t(0.8))),
    (D.Beta(t(2.0), t(3.0)), D.ContinuousBernoulli(t(0.3))),
    (D.Beta(t(2.0), t(3.0)), D.Gamma(t(2.0), t(1.5))),
    (D.Beta(t(2.0), t(3.0)), D.Normal(t(0.1), t(1.5))),
    (D.Beta(t(2.0), t(3.0)), D.Beta(t(1.0), t(4.0))),
    (D.Cauchy(t(0.0), t(1.0)), D.Cauchy(t(1.0), t(2.0))),
    (D.Dirichlet(t([1.0, 2.0, 3.0])), D.Dirichlet(t([2.0, 2.0, 1.0]))),
    (D.Exponential(t(1.5)), D.Gumbel(t(0.2), t(1.1))),
    (D.Gamma(t(2.0), t(1.5)), D.Gumbel(t(0.2), t(1.1))),
    (D.Gamma(t(2.0), t(1.5)), D.Gamma(t(3.0), t(1.0))),
    (D.Geometric(t(0.3)), D.Geometric(t(0.6))),
    (D.Gumbel(t(0.3), t(1.0)), D.Gumbel(t(0.6), t(2.0))),
    (D.Gumbel(t(0.3), t(1.0)), D.Normal(t(0.6), t(2.0))),
    (D.HalfNormal(t(0.7)), D.HalfNormal(t(1.1))),
    (D.Laplace(t(0.3), t(1.0)), D.Laplace(t(0.6), t(2.0))),
    (D.Normal(t(0.3), t(1.0)), D.Laplace(t(0.6), t(2.0))),
    (D.Normal(t(0.3), t(1.0)), D.Gumbel(t(0.6), t(2.0))),
    (D.LogNormal(t(0.3), t(1.0)), D.LogNormal(t(0.6), t(2.0))),
    (D.Pareto(t(1.3), t(3.0)), D.Pareto(t(0.6), t(2.0))),
    (D.Pareto(t(1.3), t(3.0)), D.Gamma(t(0.6), t(2.0))),
    (D.Uniform(t(0.2), t(0.9)), D.Beta(t(0.6), t(2.0))),
    (D.Uniform(t(0.2), t(0.9)), D.Gumbel(t(0.6), t(2.0))),
    (D.Uniform(t(0.2), t(0.9)), D.Pareto(t(0.1), t(2.0))),
    (D.Wishart(t(5.0), t(SPD)), D.Wishart(t(6.0), precision_matrix=t(SPD))),
    (
        D.MultivariateNormal(t([0.0, 1.0, 2.0]), t(SPD)),
        D.LowRankMultivariateNormal(
            t([1.0, 1.0, 1.0]), t([[1.0], [0.2], [0.3]]), t([1.0, 2.0, 0.5])
        ),
    ),
]


@pytest.mark.parametrize(
    "pair", range(len(PAIRS)), ids=[f"{type(p).__name__}-{type(q).__name__}" for p, q in PAIRS]
)
def test_divergence_is_the_mean_of_the_log_ratio(pair: int) -> None:
    p, q = PAIRS[pair]
    torch.manual_seed(11)
    n = 40000
    x = p.sample((n,))
    ratio = p.log_prob(x) - q.log_prob(x)
    kl = float(D.kl_divergence(p, q))
    assert kl >= 0
    assert abs(float(ratio.mean()) - kl) < 5 * float(ratio.std()) / n**0.5 + 1e-9


@pytest.mark.parametrize("d", [d for d, _ in PAIRS], ids=lambda d: type(d).__name__)
def test_divergence_from_itself_is_zero(d: Any) -> None:
    assert abs(float(D.kl_divergence(d, d))) < 1e-9


def test_divergence_is_infinite_where_values_are_missing() -> None:
    for p, q in (
        (D.Normal(0.0, 1.0), D.Exponential(1.0)),
        (D.Uniform(-1.0, 1.0), D.Gamma(1.0, 1.0)),
        (D.Poisson(1.0), D.Bernoulli(0.5)),
        (D.Categorical(t([0.5, 0.5])), D.Categorical(t([1.0, 0.0]))),
        (D.Bernoulli(t(0.5)), D.Bernoulli(t(1.0))),
    ):
        assert float(D.kl_divergence(p, q)) == math.inf


def test_users_enter_divergences() -> None:
    class A(D.Normal): ...

    class B(D.Normal): ...

    @D.register_kl(A, D.Normal)
    def first(p: Any, q: Any) -> str:
        return "left"

    assert D.kl_divergence(A(0.0, 1.0), D.Normal(0.0, 1.0)) == "left"
    D.register_kl(D.Normal, B)(lambda p, q: "right")
    with pytest.warns(RuntimeWarning, match="Ambiguous"):
        assert D.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)) == "left"
    D.register_kl(A, B)(lambda p, q: "both")
    assert D.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)) == "both"
    with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\)"):
        D.kl_divergence(A(0.0, 1.0), D.Cauchy(0.0, 1.0))


@pytest.mark.parametrize(
    "name",
    [
        "gamma",
        "beta",
        "dirichlet",
        "normal",
        "exponential",
        "wishart",
        "bernoulli",
        "continuous bernoulli",
    ],
)
def test_bregman_divergence_and_entropy_are_the_closed_forms(name: str) -> None:
    """What the exponential family derives from its log-normaliser."""
    pairs = {
        "gamma": [D.Gamma(t(2.0), t(1.5)), D.Gamma(t(3.0), t(1.0))],
        "beta": [D.Beta(t(2.0), t(1.5)), D.Beta(t(3.0), t(1.0))],
        "dirichlet": [D.Dirichlet(t([[2.0, 1.5], [1.0, 2.0]])), D.Dirichlet(t([3.0, 1.0]))],
        "normal": [D.Normal(t([2.0, 1.0]), t(1.5)), D.Normal(t(3.0), t([1.0, 2.0]))],
        "exponential": [D.Exponential(t(2.0)), D.Exponential(t(3.0))],
        "bernoulli": [D.Bernoulli(t(0.3)), D.Bernoulli(t(0.6))],
        "continuous bernoulli": [D.ContinuousBernoulli(t(0.3)), D.ContinuousBernoulli(t(0.6))],
        "wishart": [D.Wishart(t([4.0, 5.0]), t(SPD)), D.Wishart(t(6.0), t(SPD))],
    }
    p, q = pairs[name]
    if name not in ("beta", "dirichlet"):  # whose measure is not constant
        torch.testing.assert_close(D.ExponentialFamily.entropy(p), p.entropy())
    from tritorch.distributions.kl import _kl_expfamily_expfamily

    torch.testing.assert_close(_kl_expfamily_expfamily(p, q), D.kl_divergence(p, q))


# -- transforms and constraints ------------------------------------------------------------------

BIJECTIONS: dict[str, tuple[Any, list]] = {
    "affine": (
        D.AffineTransform(t([1.0, 2.0, 3.0]), t([2.0, -1.0, 0.5]), event_dim=1),
        [0.1, -0.2, 0.3],
    ),
    "corr": (D.CorrCholeskyTransform(), [0.1, -0.2, 0.3]),
    "exp": (D.IndependentTransform(D.ExpTransform(), 1), [0.1, -0.2, 0.3]),
    "power": (D.IndependentTransform(D.PowerTransform(t(-1.7)), 1), [0.1, 0.2, 3.0]),
    "sigmoid": (D.IndependentTransform(D.SigmoidTransform(), 1), [0.1, -0.2, 3.0]),
    "softplus": (D.IndependentTransform(D.SoftplusTransform(), 1), [0.1, -0.2, 3.0]),
    "stick": (D.StickBreakingTransform(), [0.1, -0.2, 0.3]),
    "tanh": (D.IndependentTransform(D.TanhTransform(), 1), [0.1, -0.2, 3.0]),
    "inverse": (D.IndependentTransform(D.TanhTransform().inv, 1), [0.1, -0.2, 0.3]),
    "cdf": (
        D.IndependentTransform(D.CumulativeDistributionTransform(D.Normal(t(0.0), t(2.0))), 1),
        [0.1, -0.2, 0.3],
    ),
    "chain": (
        D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.StickBreakingTransform()]),
        [0.1, -0.2, 0.3],
    ),
}


def jacobian(f: Callable, x: torch.Tensor) -> torch.Tensor:
    """The derivatives of all elements of `f(x)` by those of a vector x."""
    x = x.detach().requires_grad_()
    y = f(x).reshape(-1)
    rows = [torch.autograd.grad(v, x, retain_graph=True, allow_unused=True)[0] for v in y]
    return torch.stack([torch.zeros_like(x) if r is None else r for r in rows])


@pytest.mark.parametrize("name", BIJECTIONS)
def test_bijection_inverts_and_its_jacobian_is_the_determinant(name: str) -> None:
    f, values = BIJECTIONS[name]
    x = t(values)
    y = f(x)
    torch.testing.assert_close(f.inv(y), x, rtol=1e-6, atol=1e-8)
    assert bool(f.domain.check(x).all()) and bool(f.codomain.check(y).all())
    J = jacobian(f, x)
    free = {"corr": [3, 6, 7], "stick": [0, 1, 2], "chain": [0, 1, 2]}.get(name)
    J = J if free is None else J[free]
    expected = torch.linalg.slogdet(J).logabsdet
    torch.testing.assert_close(f.log_abs_det_jacobian(x, y), expected, rtol=1e-8, atol=1e-8)


def test_cache_keeps_the_last_value() -> None:
    f = D.ExpTransform(cache_size=1)
    x = torch.randn(3)
    y = f(x)
    assert f(x) is y and f.inv(y) is x and f.inv.inv is f
    assert f(x.clone()) is not y
    copied = pickle.loads(pickle.dumps(f))
    assert copied == f and copied.inv.inv is copied


@pytest.mark.parametrize(
    "registry", [D.biject_to, D.transform_to], ids=["biject_to", "transform_to"]
)
def test_registry_maps_into_the_constraint(registry: Any) -> None:
    for constraint, size in (
        (constraints.positive, (4,)),
        (constraints.interval(-2.0, 3.0), (4,)),
        (constraints.less_than(-1.0), (4,)),
        (constraints.simplex, (4,)),
        (constraints.corr_cholesky, (6,)),
        (constraints.independent(constraints.unit_interval, 1), (4,)),
        (constraints.cat([constraints.positive, constraints.real], -1, [2, 2]), (4,)),
    ):
        x = torch.randn(3, *size, dtype=F64)
        assert bool(constraint.check(registry(constraint)(x)).all()), constraint


def test_matrix_constraints_are_reached() -> None:
    x = torch.randn(3, 4, 4, dtype=F64)
    for constraint in (constraints.lower_cholesky, constraints.positive_definite):
        assert bool(constraint.check(D.transform_to(constraint)(x)).all())


def test_users_register_transforms() -> None:
    class Even(constraints.Constraint):
        def check(self, value: Any) -> Any:
            return value % 2 == 0

    D.transform_to.register(Even, lambda c: D.AffineTransform(0, 2))
    assert D.transform_to(Even()) == D.AffineTransform(0, 2)
