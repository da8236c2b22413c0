"""Gradients of samples and densities of `tritorch.distributions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tritorch as torch
from tritorch import distributions as D
from tritorch.autograd import gradcheck

F64 = torch.float64


def t(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=F64)


# -- gradients of samples ------------------------------------------------------------------------


def moved(dist: Callable, x: np.ndarray, a: np.ndarray, h: float = 1e-4) -> np.ndarray:
    """How the quantile that `x` is moves with `a`: differences of SciPy's."""
    p, q = dist(a).cdf(x), dist(a).sf(x)
    step = h * a
    up = np.where(p < q, dist(a + step).ppf(p), dist(a + step).isf(q))
    down = np.where(p < q, dist(a - step).ppf(p), dist(a - step).isf(q))
    return (up - down) / (2 * step)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gamma_samples_move_as_quantiles(dtype: torch.dtype) -> None:
    a = np.repeat([0.05, 0.4, 1.0, 2.5, 9.0, 80.0, 3000.0], 40)
    torch.manual_seed(6)
    concentration = torch.tensor(a, dtype=dtype, requires_grad=True)
    x = D.Gamma(concentration, torch.ones((), dtype=dtype)).rsample()
    (grad,) = torch.autograd.grad(x.sum(), concentration)
    assert x.dtype is dtype and grad.dtype is dtype
    z = x.detach().numpy().astype(np.float64)
    keep = z > 1e-30  # SciPy's quantiles of smaller values do not resolve the step
    np.testing.assert_allclose(
        grad.numpy()[keep], moved(stats.gamma, z, a)[keep], rtol=2e-4, atol=1e-8
    )


def test_derivative_of_gamma_samples_at_known_points() -> None:
    """At a = 1 the derivative of the upper incomplete gamma function is an exponential integral."""
    from scipy.special import exp1

    z = np.array([1e-6, 0.3, 1.0, 2.5, 9.0, 20.0])
    expected = np.exp(z) * exp1(z) + np.log(z) + np.euler_gamma
    got = torch._standard_gamma_grad(torch.ones(6, dtype=F64), t(z)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("b", [0.3, 1.0, 4.0, 200.0])
def test_beta_samples_move_as_quantiles(b: float) -> None:
    a = np.repeat([0.3, 1.0, 3.0, 50.0], 50)
    torch.manual_seed(7)
    c1 = t(a).requires_grad_()
    x = D.Beta(c1, t(b)).rsample()
    (grad,) = torch.autograd.grad(x.sum(), c1)
    z = x.detach().numpy()
    keep = (z > 1e-12) & (z < 1 - 1e-9)
    expected = moved(lambda v: stats.beta(v, b), z, a)
    np.testing.assert_allclose(grad.numpy()[keep], expected[keep], rtol=5e-4, atol=1e-8)


def test_dirichlet_samples_stay_on_the_simplex_as_they_move() -> None:
    a = t([[0.5, 2.0, 7.0], [30.0, 1.0, 0.2]]).requires_grad_()
    torch.manual_seed(8)
    x = D.Dirichlet(a).rsample()
    for row in range(2):
        (grad,) = torch.autograd.grad(x[row].sum(), a, retain_graph=True)
        np.testing.assert_allclose(grad.numpy(), 0, atol=1e-7)


EXPECTED = {
    "x": (lambda x: x, 1.0),
    "squared": (lambda x: x**2, 2 * 2.3 + 1),
    "log": (lambda x: x.log(), float(torch.polygamma(1, t(2.3)))),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_gradients_of_expected_values(name: str) -> None:
    """The mean of the gradients of gamma samples is the gradient of the mean."""
    f, exact = EXPECTED[name]
    torch.manual_seed(9)
    a = t(2.3).requires_grad_()
    x = D.Gamma(a.expand(200_000), t(1.0)).rsample()
    (grad,) = torch.autograd.grad(f(x).mean(), a)
    assert abs(float(grad) / exact - 1) < 0.02


RSAMPLED: dict[str, tuple[Callable, list]] = {
    "cauchy": (D.Cauchy, [0.3, 1.2]),
    "continuous bernoulli": (D.ContinuousBernoulli, [0.3]),
    "exponential": (D.Exponential, [0.7]),
    "excesses": (D.GeneralizedPareto, [0.1, 1.2, 0.3]),
    "gumbel": (D.Gumbel, [0.3, 1.2]),
    "half normal": (D.HalfNormal, [1.2]),
    "kumaraswamy": (D.Kumaraswamy, [1.2, 2.0]),
    "laplace": (D.Laplace, [0.3, 1.2]),
    "log normal": (D.LogNormal, [0.3, 0.6]),
    "normal": (D.Normal, [0.3, 1.2]),
    "pareto": (D.Pareto, [0.3, 2.2]),
    "relaxed": (D.RelaxedBernoulli, [0.7, 0.4]),
    "uniform": (D.Uniform, [0.3, 1.2]),
    "weibull": (D.Weibull, [0.3, 1.2]),
}


@pytest.mark.parametrize("name", RSAMPLED)
def test_samples_of_one_seed_are_differentiable(name: str) -> None:
    make, values = RSAMPLED[name]

    def sample(*parameters: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(10)
        return make(*parameters).rsample((5,))

    assert make(*map(t, values)).has_rsample or name == "relaxed"
    assert gradcheck(sample, [t(v).requires_grad_() for v in values])
