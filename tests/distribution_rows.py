"""Distributions of all kinds with parameters, and how results of two libraries are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SPD = [[2.0, 0.6, 0.1], [0.6, 1.5, -0.3], [0.1, -0.3, 0.8]]
TRIL = [[1.2, 0.0, 0.0], [0.3, 0.7, 0.0], [-0.4, 0.2, 0.9]]
SIMPLEX = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]

# Name and parameters: lists become float64 tensors, other values stay as they are.
TABLE: list[tuple[str, dict[str, Any]]] = [
    ("Bernoulli", {"probs": [0.1, 0.5, 0.9]}),
    ("Bernoulli", {"logits": [-2.0, 0.0, 3.0]}),
    ("Beta", {"concentration1": [0.4, 1.0, 7.0], "concentration0": [2.0, 0.3, 5.0]}),
    ("Binomial", {"total_count": 5, "probs": [0.2, 0.5, 0.99]}),
    ("Binomial", {"total_count": [3.0, 6.0], "logits": [-1.0, 2.0]}),
    ("Categorical", {"probs": [[1.0, 2.0, 3.0], [0.1, 0.0, 0.9]]}),
    ("Categorical", {"logits": [[1.0, 2.0, -3.0], [0.0, 0.0, 0.0]]}),
    ("Cauchy", {"loc": [0.0, -1.0], "scale": [1.0, 0.3]}),
    ("Chi2", {"df": [1.0, 3.5]}),
    ("ContinuousBernoulli", {"probs": [0.1, 0.4995, 0.8]}),
    ("ContinuousBernoulli", {"logits": [-3.0, 0.001, 1.0]}),
    ("Dirichlet", {"concentration": [[0.5, 1.5, 3.0], [2.0, 2.0, 2.0]]}),
    ("Exponential", {"rate": [0.5, 2.0]}),
    ("FisherSnedecor", {"df1": [1.5, 4.0, 6.0], "df2": [1.0, 5.0, 9.0]}),
    ("Gamma", {"concentration": [0.3, 1.0, 9.0], "rate": [1.0, 0.5, 4.0]}),
    (
        "GeneralizedPareto",
        {"loc": [0.0, 1.0, 2.0], "scale": [1.0, 2.0, 0.5], "concentration": [1.2, 0.3, -0.4]},
    ),
    ("GeneralizedPareto", {"loc": [0.5], "scale": [2.0], "concentration": [0.0]}),
    ("Geometric", {"probs": [0.2, 0.7]}),
    ("Geometric", {"logits": [-1.0, 1.0]}),
    ("Gumbel", {"loc": [0.0, 1.0], "scale": [1.0, 2.5]}),
    ("HalfCauchy", {"scale": [1.0, 0.4]}),
    ("HalfNormal", {"scale": [1.0, 0.4]}),
    ("InverseGamma", {"concentration": [0.5, 1.5, 4.0], "rate": [1.0, 2.0, 0.3]}),
    ("Kumaraswamy", {"concentration1": [1.5, 2.0], "concentration0": [3.0, 0.8]}),
    ("LKJCholesky", {"dim": 3, "concentration": [0.7, 2.0]}),
    ("Laplace", {"loc": [0.0, 1.0], "scale": [1.0, 2.5]}),
    ("LogNormal", {"loc": [0.0, 1.0], "scale": [1.0, 0.5]}),
    ("LogisticNormal", {"loc": [[0.0, 1.0], [0.5, -1.0]], "scale": [[1.0, 0.5], [0.2, 2.0]]}),
    (
        "LowRankMultivariateNormal",
        {
            "loc": [0.0, 1.0, -1.0],
            "cov_factor": [[1.0], [0.5], [-0.3]],
            "cov_diag": [0.3, 1.0, 2.0],
        },
    ),
    (
        "LowRankMultivariateNormal",
        {
            "loc": [[0.0, 1.0], [2.0, 3.0]],
            "cov_factor": [[1.0, 0.2], [0.5, -1.0]],
            "cov_diag": [[0.3, 1.0], [2.0, 0.1]],
        },
    ),
    ("Multinomial", {"total_count": 4, "probs": SIMPLEX}),
    ("Multinomial", {"total_count": 3, "logits": [0.0, 1.0, -1.0]}),
    ("MultivariateNormal", {"loc": [0.0, 1.0, -1.0], "covariance_matrix": SPD}),
    ("MultivariateNormal", {"loc": [[0.0, 1.0, -1.0], [1.0, 2.0, 3.0]], "precision_matrix": SPD}),
    ("MultivariateNormal", {"loc": [0.0, 1.0, -1.0], "scale_tril": [TRIL, TRIL]}),
    ("NegativeBinomial", {"total_count": [1.5, 4.0], "probs": [0.2, 0.7]}),
    ("NegativeBinomial", {"total_count": 3, "logits": [-1.0, 0.5]}),
    ("Normal", {"loc": [[0.0, 1.0]], "scale": [[1.0], [2.5]]}),
    ("Normal", {"loc": 0.5, "scale": 2}),
    ("OneHotCategorical", {"probs": [[1.0, 2.0, 3.0], [0.1, 0.3, 0.6]]}),
    ("OneHotCategoricalStraightThrough", {"logits": [[1.0, 2.0, 3.0], [0.1, 0.3, 0.6]]}),
    ("Pareto", {"scale": [1.0, 0.5, 2.0], "alpha": [0.5, 1.5, 3.0]}),
    ("Poisson", {"rate": [0.3, 4.0, 0.0]}),
    ("RelaxedBernoulli", {"temperature": [0.7], "probs": [0.2, 0.6]}),
    ("RelaxedBernoulli", {"temperature": [0.7], "logits": [-0.2, 0.6]}),
    ("RelaxedOneHotCategorical", {"temperature": [0.7], "probs": SIMPLEX}),
    ("RelaxedOneHotCategorical", {"temperature": [0.7], "logits": SIMPLEX}),
    ("StudentT", {"df": [0.8, 1.5, 5.0], "loc": [0.0, 1.0, 2.0], "scale": [1.0, 0.5, 3.0]}),
    ("Uniform", {"low": [0.0, -1.0], "high": [0.7, 3.0]}),
    ("VonMises", {"loc": [0.0, 2.0, -1.0], "concentration": [0.1, 2.0, 40.0]}),
    ("Weibull", {"scale": [1.0, 2.0], "concentration": [1.3, 3.0]}),
    ("Wishart", {"df": [4.5, 6.0], "covariance_matrix": SPD}),
    ("Wishart", {"df": 5, "precision_matrix": SPD}),
    ("Wishart", {"df": [6.0], "scale_tril": [TRIL]}),
]
IDS = [f"{name}-{'-'.join(p)}" for name, p in TABLE]

# Where PyTorch gives NaN or a number that is no mode, and the true mode is given here.
BETTER = {("Kumaraswamy", "mode")}
# PyTorch's has no derivative by a concentration of 0, and compares with a zero of float32.
DTYPES = {"GeneralizedPareto": "float32"}
# PyTorch's Bessel functions are polynomials of so many digits.
DIGITS = {"VonMises": 2e-5, "GeneralizedPareto": 1e-5}
MEASURES = ("mean", "mode", "variance", "stddev", "batch_shape", "event_shape")


def tensor(lib: Any, x: Any, dtype: str = "float64") -> Any:
    return lib.tensor(x, dtype=getattr(lib, dtype))


def build(
    lib: Any, row: int, grad: bool = False, dtype: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """The distribution of a row of the table and its parameters."""
    name, parameters = TABLE[row]
    dtype = dtype or DTYPES.get(name, "float64")
    made = {k: tensor(lib, v, dtype) if isinstance(v, list) else v for k, v in parameters.items()}
    for v in made.values():
        if grad and not isinstance(v, int | float):
            v.requires_grad_()
    return getattr(lib.distributions, name)(**made), made


def outcome(f: Callable[[], Any]) -> Any:
    """The result as an array, a tuple or a text; the type of the error that was raised."""
    try:
        result = f()
    except (NotImplementedError, ValueError, AttributeError, RuntimeError) as error:
        return type(error)
    return plain(result)


def plain(x: Any) -> Any:
    if hasattr(x, "detach"):
        return x.detach().cpu().numpy()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, tuple):
        return tuple(x)
    return x if isinstance(x, bool | int | float) else repr(x).replace("tritorch", "torch")


def same(ours: Any, theirs: Any, rtol: float = 1e-6) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray), ours
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    else:
        assert ours == theirs


def same_attribute(ours: Any, theirs: Any, name: str, rtol: float = 1e-6) -> None:
    same(outcome(lambda: getattr(ours, name)), outcome(lambda: getattr(theirs, name)), rtol)
