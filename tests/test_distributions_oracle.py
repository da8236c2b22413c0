"""`torch.distributions` against PyTorch: values, gradients, shapes and divergences."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from distribution_rows import (
    BETTER,
    DIGITS,
    IDS,
    MEASURES,
    TABLE,
    build,
    outcome,
    plain,
    same,
    same_attribute,
    tensor,
)

import tritorch
import tritorch.distributions

pytorch = pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:Singular sample detected")]
every_row = pytest.mark.parametrize("row", range(len(TABLE)), ids=IDS)


def both(row: int) -> tuple[Any, Any]:
    return build(tritorch, row)[0], build(pytorch, row)[0]


def draws(row: int, shape: tuple[int, ...] = (5,)) -> np.ndarray:
    """Values of the distribution, drawn by PyTorch."""
    pytorch.manual_seed(row)
    d = build(pytorch, row)[0]
    if TABLE[row][0] == "Wishart":  # PyTorch's own samples are singular now and then
        x = pytorch.randn(*shape, *d.batch_shape, 3, 5, dtype=pytorch.float64)
        return (x @ x.mT).numpy()
    return d.sample(shape).numpy()


@every_row
@pytest.mark.parametrize("measure", MEASURES)
def test_measure(row: int, measure: str) -> None:
    if (TABLE[row][0], measure) in BETTER:
        pytest.skip("the true value is given")
    ours, theirs = both(row)
    same_attribute(ours, theirs, measure, DIGITS.get(TABLE[row][0], 1e-6))


@every_row
def test_flags_constraints_and_repr(row: int) -> None:
    ours, theirs = both(row)
    for name in ("has_rsample", "has_enumerate_support", "support", "arg_constraints"):
        same_attribute(ours, theirs, name)
    same(plain(ours), plain(theirs))


@every_row
@pytest.mark.parametrize("function", ["log_prob", "cdf"])
def test_function_of_values_and_its_gradients(row: int, function: str) -> None:
    x, results = draws(row), []
    for lib in (tritorch, pytorch):
        d, made = build(lib, row, grad=True)
        value = lib.tensor(x)
        if value.is_floating_point() and function == "log_prob":
            value.requires_grad_()
        result = outcome(lambda d=d, v=value: getattr(d, function)(v))
        grads = []
        if isinstance(result, np.ndarray):
            total = getattr(d, function)(value).sum()
            wanted = [t for t in (value, *made.values()) if getattr(t, "requires_grad", False)]
            if total.requires_grad:
                grads = outcome(lambda t=total, w=wanted, lib=lib: gradients(lib, t, w))
        results.append((result, grads))
    (ours, our_grads), (theirs, their_grads) = results
    same(ours, theirs, rtol=DIGITS.get(TABLE[row][0], 1e-6))
    if isinstance(their_grads, type) or TABLE[row][1].get("concentration") == [0.0]:
        return  # PyTorch lacks the derivative
    for a, b in zip(our_grads, their_grads, strict=True):
        same(a, b, rtol=DIGITS.get(TABLE[row][0], 1e-5))


def gradients(lib: Any, total: Any, wanted: list) -> tuple:
    found = lib.autograd.grad(total, wanted, allow_unused=True)
    return tuple(
        np.zeros(tuple(t.shape)) if g is None else plain(g)
        for g, t in zip(found, wanted, strict=True)
    )


@every_row
def test_entropy_and_its_gradients(row: int) -> None:
    results = []
    for lib in (tritorch, pytorch):
        d, made = build(lib, row, grad=True)
        result = outcome(d.entropy)
        grads: Any = ()
        wanted = [t for t in made.values() if getattr(t, "requires_grad", False)]
        if isinstance(result, np.ndarray) and d.entropy().requires_grad:
            grads = gradients(lib, d.entropy().sum(), wanted)
        results.append((result, grads))
    (ours, our_grads), (theirs, their_grads) = results
    same(ours, theirs)
    if np.isfinite(np.asarray(theirs if isinstance(theirs, np.ndarray) else 0.0)).all():
        for a, b in zip(our_grads, their_grads, strict=bool(their_grads)):
            same(a, b, rtol=1e-5)


@every_row
def test_inverse_distribution_function(row: int) -> None:
    ours, theirs = both(row)
    p = np.linspace(0.1, 0.9, 4).reshape((4,) + (1,) * len(theirs.batch_shape))
    same(
        outcome(lambda: ours.icdf(tritorch.tensor(p))),
        outcome(lambda: theirs.icdf(pytorch.tensor(p))),
    )


@every_row
@pytest.mark.parametrize("expand", [True, False])
def test_enumerated_support(row: int, expand: bool) -> None:
    ours, theirs = both(row)
    same(
        outcome(lambda: ours.enumerate_support(expand)),
        outcome(lambda: theirs.enumerate_support(expand)),
    )


@every_row
def test_expanded(row: int) -> None:
    ours, theirs = both(row)
    shape = (3, *theirs.batch_shape)
    ours, theirs = ours.expand(shape), theirs.expand(shape)
    same(plain(ours), plain(theirs))
    x = draws(row, (2, 3))
    same(
        outcome(lambda: ours.log_prob(tritorch.tensor(x))),
        plain(theirs.log_prob(pytorch.tensor(x))),
    )
    for measure in MEASURES:
        if (TABLE[row][0], measure) not in BETTER:
            same_attribute(ours, theirs, measure, DIGITS.get(TABLE[row][0], 1e-6))
    assert ours.sample((2,)).shape == tuple(theirs.sample((2,)).shape)


@every_row
def test_samples_have_the_shape_dtype_and_gradients(row: int) -> None:
    (ours, made), (theirs, _) = build(tritorch, row, grad=True), build(pytorch, row, grad=True)
    assert tuple(ours.sample().shape) == tuple(theirs.sample().shape)
    a, b = ours.sample((4, 2)), theirs.sample((4, 2))
    assert (
        tuple(a.shape) == tuple(b.shape)
        and str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
    )
    assert not a.requires_grad
    if theirs.has_rsample:
        r = ours.rsample((4,))
        wanted = [t for t in made.values() if getattr(t, "requires_grad", False)]
        assert r.requires_grad == bool(wanted)
        assert all(
            g is None or np.isfinite(g.numpy()).all()
            for g in (tritorch.autograd.grad(r.sum(), wanted, allow_unused=True) if wanted else ())
        )


# -- divergences ---------------------------------------------------------------------------------

FIRST = {name: i for i, (name, _) in reversed(list(enumerate(TABLE)))}
SCALARS: dict[str, dict[str, float]] = {
    "Bernoulli": {"probs": 0.3},
    "Beta": {"concentration1": 1.5, "concentration0": 0.8},
    "Binomial": {"total_count": 3, "probs": 0.4},
    "Cauchy": {"loc": 0.3, "scale": 1.2},
    "Chi2": {"df": 3.0},
    "ContinuousBernoulli": {"probs": 0.2},
    "Exponential": {"rate": 1.7},
    "Gamma": {"concentration": 2.2, "rate": 0.7},
    "Geometric": {"probs": 0.3},
    "Gumbel": {"loc": 0.5, "scale": 2.0},
    "HalfNormal": {"scale": 1.4},
    "Laplace": {"loc": -0.2, "scale": 0.9},
    "LogNormal": {"loc": 0.1, "scale": 0.5},
    "Normal": {"loc": 0.4, "scale": 1.1},
    "Pareto": {"scale": 1.1, "alpha": 2.7},
    "Poisson": {"rate": 2.0},
    "StudentT": {"df": 3.0},
    "Uniform": {"low": 0.1, "high": 0.9},
    "Weibull": {"scale": 1.2, "concentration": 1.5},
    "InverseGamma": {"concentration": 2.0, "rate": 1.0},
}


def scalar(lib: Any, name: str, factor: float = 1.0) -> Any:
    p = {k: v if k == "total_count" else tensor(lib, v * factor) for k, v in SCALARS[name].items()}
    return getattr(lib.distributions, name)(**p)


@pytest.mark.parametrize("p", SCALARS)
def test_divergence_of_every_pair(p: str) -> None:
    for q in SCALARS:
        for factor in (1.0, 1.3):
            args = [(scalar(lib, p), scalar(lib, q, factor)) for lib in (tritorch, pytorch)]
            ours = outcome(lambda a=args: tritorch.distributions.kl_divergence(*a[0]))
            theirs = outcome(lambda a=args: pytorch.distributions.kl_divergence(*a[1]))
            same(ours, theirs)


# PyTorch's divergence of batches of Wishart distributions sums over the batch.
OF_ONE_KIND = [
    i
    for i, (n, _) in enumerate(TABLE)
    if n not in ("Normal", "Wishart") and "MultivariateNormal" not in n
]


@pytest.mark.parametrize("row", OF_ONE_KIND, ids=[IDS[i] for i in OF_ONE_KIND])
def test_divergence_of_one_kind(row: int) -> None:
    name, _ = TABLE[row]
    first = FIRST[name]
    if first == row:
        first = next((i for i, (n, _) in enumerate(TABLE) if n == name and i != row), row)
    ours, theirs = [
        outcome(
            lambda lib=lib: lib.distributions.kl_divergence(
                *(build(lib, i)[0] for i in (row, first))
            )
        )
        for lib in (tritorch, pytorch)
    ]
    if isinstance(theirs, type):
        assert isinstance(ours, type)
    else:
        same(ours, theirs)


NORMALS = [
    i
    for i, (n, p) in enumerate(TABLE)
    if "MultivariateNormal" in n and len(np.atleast_2d(p["loc"])[0]) == 3
]


@pytest.mark.parametrize("p", NORMALS)
@pytest.mark.parametrize("q", NORMALS)
def test_divergence_of_multivariate_normals(p: int, q: int) -> None:
    ours, theirs = [
        outcome(lambda lib=lib: lib.distributions.kl_divergence(build(lib, p)[0], build(lib, q)[0]))
        for lib in (tritorch, pytorch)
    ]
    same(ours, theirs)


def test_table_of_divergences_is_pytorchs() -> None:
    def pairs(lib: str) -> set:
        registry = importlib.import_module(f"{lib}.distributions.kl")._KL_REGISTRY
        return {(p.__name__, q.__name__) for p, q in registry}

    assert pairs("tritorch") == pairs("torch")


# -- compounds -----------------------------------------------------------------------------------


def mixture(lib: Any, t: Callable) -> Any:
    D = lib.distributions
    return D.MixtureSameFamily(
        D.Categorical(t([[0.2, 0.8], [0.5, 0.5]])),
        D.Normal(t([[0.0, 1.0], [2.0, 3.0]]), t([1.0, 0.5])),
    )


def vector_mixture(lib: Any, t: Callable) -> Any:
    D = lib.distributions
    parts = D.Independent(D.Normal(t([[0.0, 1.0], [2.0, 3.0]]), t([1.0, 0.5])), 1)
    return D.MixtureSameFamily(D.Categorical(logits=t([0.2, 0.8])), parts)


def chain(lib: Any, t: Callable) -> Any:
    D = lib.distributions
    parts = [D.AffineTransform(t([1.0, 2.0]), t([2.0, -1.0])), D.TanhTransform()]
    return D.TransformedDistribution(D.Normal(t([0.0, 0.5]), t([1.0, 0.2])), parts)


COMPOUNDS: dict[str, Callable] = {
    "mixture": mixture,
    "mixture of vectors": vector_mixture,
    "chain": chain,
    "independent": lambda lib, t: lib.distributions.Independent(
        lib.distributions.Gamma(t([[1.0, 2.0], [3.0, 4.0]]), t([1.0])), 1
    ),
    "independent of nothing": lambda lib, t: lib.distributions.Independent(
        lib.distributions.Bernoulli(t([0.2, 0.3])), 0
    ),
    "reshaped": lambda lib, t: lib.distributions.TransformedDistribution(
        lib.distributions.Independent(
            lib.distributions.Normal(t([0.0, 1.0, 2.0, 3.0]), t([1.0])), 1
        ),
        [lib.distributions.ReshapeTransform((4,), (2, 2)), lib.distributions.ExpTransform()],
    ),
    "stick breaking": lambda lib, t: lib.distributions.TransformedDistribution(
        lib.distributions.Normal(t([[0.0, 1.0], [1.0, 2.0]]), t([1.0])),
        lib.distributions.StickBreakingTransform(),
    ),
    "no transform": lambda lib, t: lib.distributions.TransformedDistribution(
        lib.distributions.Normal(t([0.0]), t([1.0])), []
    ),
}


def same_values(ours: Any, theirs: Any, x: np.ndarray) -> None:
    for f in ("log_prob", "cdf"):
        same(
            outcome(lambda f=f: getattr(ours, f)(tritorch.tensor(x))),
            outcome(lambda f=f: getattr(theirs, f)(pytorch.tensor(x))),
        )
    assert tuple(ours.sample((2, 1)).shape) == tuple(theirs.sample((2, 1)).shape)


@pytest.mark.parametrize("name", COMPOUNDS)
def test_compound(name: str) -> None:
    ours, theirs = [
        COMPOUNDS[name](lib, lambda x, lib=lib: tensor(lib, x)) for lib in (tritorch, pytorch)
    ]
    for measure in (*MEASURES, "support", "has_rsample", "has_enumerate_support"):
        same_attribute(ours, theirs, measure)
    same(plain(ours), plain(theirs))
    pytorch.manual_seed(0)
    x = theirs.sample((5,)).numpy()
    same_values(ours, theirs, x)
    wide = [d.expand((3, *d.batch_shape)) for d in (ours, theirs)]
    same_values(*wide, np.stack([x] * 3, 1))
    same(outcome(ours.entropy), outcome(theirs.entropy))
    half = np.full(tuple(theirs.batch_shape), 0.3)
    same(
        outcome(lambda: ours.icdf(tritorch.tensor(half))),
        outcome(lambda: theirs.icdf(pytorch.tensor(half))),
    )
