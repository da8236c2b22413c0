"""Transforms, constraints, errors and names of `torch.distributions` against PyTorch."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from distribution_rows import outcome, plain, same, same_attribute, tensor

import tritorch
import tritorch.distributions

pytorch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

# -- transforms ----------------------------------------------------------------------------------

REAL = [[-1.3, 0.2, 0.7], [2.0, -0.4, 0.1]]
MATRICES = [[[0.3, -1.0], [0.5, 1.2]], [[1.0, 0.0], [-0.7, -0.2]]]
TRANSFORMS: dict[str, tuple[Callable, list]] = {
    "abs": (lambda D, t: D.AbsTransform(), REAL),
    "affine": (lambda D, t: D.AffineTransform(1.0, -2.0), REAL),
    "affine of tensors": (
        lambda D, t: D.AffineTransform(t([1.0, 2.0, 3.0]), t([2.0, -1.0, 0.5])),
        REAL,
    ),
    "affine of events": (lambda D, t: D.AffineTransform(1.0, 3.0, event_dim=1), REAL),
    "affine of events by tensors": (
        lambda D, t: D.AffineTransform(1.0, t([2.0, -1.0, 0.5]), event_dim=1),
        REAL,
    ),
    "cat": (
        lambda D, t: D.CatTransform([D.ExpTransform(), D.TanhTransform()], dim=-1, lengths=[2, 1]),
        REAL,
    ),
    "cat by dimension": (
        lambda D, t: D.CatTransform([D.ExpTransform(), D.SigmoidTransform()], dim=0),
        REAL,
    ),
    "compose": (
        lambda D, t: D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.SigmoidTransform()]),
        REAL,
    ),
    "compose into a simplex": (
        lambda D, t: D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.StickBreakingTransform()]),
        REAL,
    ),
    "corr": (lambda D, t: D.CorrCholeskyTransform(), REAL),
    "cdf": (lambda D, t: D.CumulativeDistributionTransform(D.Normal(t([0.5]), t([2.0]))), REAL),
    "exp": (lambda D, t: D.ExpTransform(), REAL),
    "identity": (lambda D, t: D.identity_transform, REAL),
    "independent": (lambda D, t: D.IndependentTransform(D.ExpTransform(), 1), REAL),
    "inverse": (lambda D, t: D.TanhTransform().inv, [[0.3, -0.5], [0.1, 0.9]]),
    "lower": (lambda D, t: D.LowerCholeskyTransform(), MATRICES),
    "positive definite": (lambda D, t: D.PositiveDefiniteTransform(), MATRICES),
    "power": (lambda D, t: D.PowerTransform(t([2.0, -1.5])), [[0.3, 2.0], [1.0, 0.7]]),
    "reshape": (lambda D, t: D.ReshapeTransform((3,), (1, 3)), REAL),
    "sigmoid": (lambda D, t: D.SigmoidTransform(), REAL),
    "softmax": (lambda D, t: D.SoftmaxTransform(), REAL),
    "softplus": (lambda D, t: D.SoftplusTransform(), REAL),
    "stack": (
        lambda D, t: D.StackTransform(
            [D.ExpTransform(), D.SigmoidTransform(), D.AffineTransform(1.0, 2.0)], dim=-1
        ),
        REAL,
    ),
    "stick": (lambda D, t: D.StickBreakingTransform(), REAL),
    "tanh": (lambda D, t: D.TanhTransform(), REAL),
}


@pytest.mark.parametrize("cache", [0, 1])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform(name: str, cache: int) -> None:
    make, x = TRANSFORMS[name]
    found = []
    for lib in (tritorch, pytorch):
        f = make(lib.distributions, lambda v, lib=lib: tensor(lib, v)).with_cache(cache)
        a = tensor(lib, x).requires_grad_()
        y = f(a)
        results = [
            plain(y),
            outcome(lambda f=f, y=y: f.inv(y)),
            outcome(lambda f=f, y=y: f.inv(y.clone())),
        ]
        results += [outcome(lambda f=f, a=a, y=y: f.log_abs_det_jacobian(a, y))]
        for attribute in ("domain", "codomain", "bijective", "sign", "event_dim"):
            results.append(outcome(lambda f=f, n=attribute: getattr(f, n)))
        results += [
            plain(f),
            plain(f.inv),
            tuple(f.forward_shape(a.shape)),
            tuple(f.inverse_shape(y.shape)),
        ]
        results.append(plain(lib.autograd.grad(y.exp().sum(), a)[0]))
        again = make(lib.distributions, lambda v, lib=lib: tensor(lib, v))
        results += [bool(f == again), bool(f == f.inv), bool(f == lib.distributions.ExpTransform())]
        found.append(results)
        assert f.inv.inv is f
        if cache and name not in ("compose", "compose into a simplex", "identity"):
            assert f.inv(f(a)) is a
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs)


# -- constraints ---------------------------------------------------------------------------------

VALUES: list[Any] = [
    0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    math.nan,
    math.inf,
    [0.2, 0.8],
    [0.0, 1.0],
    [0.5, 0.6],
    [2.0, 1.0],
    [-1.0, 2.0],
    [0.0, 0.0],
    [[1.0, 0.0], [0.5, 2.0]],
    [[1.0, 0.5], [0.5, 2.0]],
    [[1.0, 2.0], [2.0, 1.0]],
    [[1.0, 0.0], [0.6, 0.8]],
    [[1.0, 1.0], [1.0, 1.0]],
    [[1.0, 0.3], [0.0, -2.0]],
]
CONSTRAINTS: dict[str, Callable] = {
    **{
        n: (lambda c, n=n: getattr(c, n))
        for n in (
            *("boolean", "one_hot", "nonnegative_integer", "positive_integer", "real"),
            *("real_vector", "positive", "nonnegative", "unit_interval", "simplex"),
            *("lower_triangular", "lower_cholesky", "corr_cholesky", "square", "symmetric"),
            *("positive_semidefinite", "positive_definite", "dependent"),
        )
    },
    "greater_than": lambda c: c.greater_than(0.5),
    "greater_than_eq": lambda c: c.greater_than_eq(0.5),
    "less_than": lambda c: c.less_than(0.5),
    "interval": lambda c: c.interval(0.0, 0.5),
    "half_open_interval": lambda c: c.half_open_interval(0.0, 0.5),
    "integer_interval": lambda c: c.integer_interval(0, 1),
    "integer_less_than": lambda c: c._IntegerLessThan(1),
    "multinomial": lambda c: c.multinomial(1),
    "independent": lambda c: c.independent(c.positive, 1),
    "cat": lambda c: c.cat([c.positive, c.real], dim=-1, lengths=[1, 1]),
    "stack": lambda c: c.stack([c.positive, c.real], dim=-1),
    "mixture": lambda c: c.MixtureSameFamilyConstraint(c.positive),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint(name: str) -> None:
    ours = CONSTRAINTS[name](tritorch.distributions.constraints)
    theirs = CONSTRAINTS[name](pytorch.distributions.constraints)
    for attribute in ("is_discrete", "event_dim"):
        same_attribute(ours, theirs, attribute)
    same(plain(ours), plain(theirs))
    for value in VALUES:
        if np.ndim(value) < (theirs.event_dim if name != "dependent" else 0):
            continue
        try:
            expected = outcome(lambda v=value: theirs.check(tensor(pytorch, v)))
        except (AssertionError, IndexError):
            continue
        same(outcome(lambda v=value: ours.check(tensor(tritorch, v))), expected)


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_transform_into_constraint(name: str, registry: str) -> None:
    found = []
    for lib in (tritorch, pytorch):
        constraint = CONSTRAINTS[name](lib.distributions.constraints)
        result = outcome(lambda lib=lib, c=constraint: getattr(lib.distributions, registry)(c))
        values: Any = None
        if not isinstance(result, type):
            f = getattr(lib.distributions, registry)(constraint)
            x = tensor(lib, MATRICES if f.domain.event_dim == 2 else REAL)
            if name in ("cat", "stack"):
                x = x[..., :2]
            values = plain(f(x))
            checked = f.codomain.check(f(x))
            assert checked.all()
        found.append((result, values))
    same(found[0][0], found[1][0])
    if found[1][1] is not None:
        same(found[0][1], found[1][1])


# -- errors --------------------------------------------------------------------------------------

BAD: list[tuple[str, Callable]] = [
    ("parameter", lambda lib, D: D.Normal(lib.zeros(2), -lib.ones(2))),
    ("text", lambda lib, D: D.Normal("a", 1)),
    ("value is no tensor", lambda lib, D: D.Normal(0, 1).log_prob(1.0)),
    ("value's shape", lambda lib, D: D.Normal(lib.zeros(3), 1).log_prob(lib.zeros(2))),
    ("value", lambda lib, D: D.Categorical(lib.ones(3)).log_prob(lib.tensor(5))),
    ("event", lambda lib, D: D.MultivariateNormal(lib.zeros(2), lib.eye(2)).log_prob(lib.zeros(3))),
    ("neither", lambda lib, D: D.Bernoulli()),
    ("both", lambda lib, D: D.Bernoulli(0.5, 0.5)),
    ("scalar", lambda lib, D: D.Categorical(lib.tensor(1.0))),
    ("counts", lambda lib, D: D.Multinomial(lib.tensor([1, 2]), lib.ones(3))),
    ("support", lambda lib, D: D.Binomial(lib.tensor([1, 2]), lib.tensor(0.5)).enumerate_support()),
    ("uniform", lambda lib, D: D.Uniform(1.0, 0.0)),
    ("geometric", lambda lib, D: D.Geometric(0.0)),
    ("matrix missing", lambda lib, D: D.MultivariateNormal(lib.zeros(2))),
    ("matrix", lambda lib, D: D.MultivariateNormal(lib.zeros(2), -lib.eye(2))),
    ("vector for a matrix", lambda lib, D: D.MultivariateNormal(lib.zeros(2), lib.zeros(2))),
    (
        "factor",
        lambda lib, D: D.LowRankMultivariateNormal(lib.zeros(2), lib.ones(3, 1), lib.ones(2)),
    ),
    (
        "batch",
        lambda lib, D: D.LowRankMultivariateNormal(lib.zeros(4, 2), lib.ones(3, 2, 1), lib.ones(2)),
    ),
    ("dims", lambda lib, D: D.Independent(D.Normal(0, 1), 1)),
    (
        "components",
        lambda lib, D: D.MixtureSameFamily(D.Categorical(lib.ones(2)), D.Normal(lib.zeros(3), 1)),
    ),
    ("transforms", lambda lib, D: D.TransformedDistribution(D.Normal(0, 1), [3])),
    (
        "too small",
        lambda lib, D: D.TransformedDistribution(D.Normal(0, 1), [D.StickBreakingTransform()]),
    ),
    ("divergence", lambda lib, D: D.kl_divergence(D.Normal(0, 1), D.Cauchy(0, 1))),
    ("lkj", lambda lib, D: D.LKJCholesky(1)),
    ("wishart", lambda lib, D: D.Wishart(1.0, lib.eye(2))),
    ("dependent", lambda lib, D: D.constraints.dependent.check(1)),
    ("registry", lambda lib, D: D.biject_to(D.constraints.boolean)),
    ("register", lambda lib, D: D.transform_to.register(3, 4)),
    ("cache", lambda lib, D: D.ExpTransform(cache_size=2)),
    ("reshape", lambda lib, D: D.ReshapeTransform((2,), (1, 3))),
    ("beta's value", lambda lib, D: D.Beta(1.0, 2.0).log_prob(lib.tensor(3.0))),
    ("cdf's value", lambda lib, D: D.Exponential(1.0).cdf(lib.tensor(-3.0))),
    ("no mode", lambda lib, D: D.LKJCholesky(3).mode),
]


@pytest.mark.parametrize("bad", range(len(BAD)), ids=[name for name, _ in BAD])
def test_error_is_pytorchs(bad: int) -> None:
    texts = []
    for lib in (tritorch, pytorch):
        with pytest.raises(Exception) as raised:
            BAD[bad][1](lib, lib.distributions)
        texts.append((raised.type, str(raised.value).replace("tritorch", "torch")))
    assert texts[0][0] is texts[1][0]
    assert texts[0][1].startswith(texts[1][1])


@pytest.mark.parametrize("name", ["Normal", "Gamma", "Dirichlet", "Bernoulli", "Uniform"])
def test_unvalidated(name: str) -> None:
    ours, theirs = [
        getattr(lib.distributions, name)(
            *([-lib.ones(2)] * (1 if name in ("Dirichlet", "Bernoulli") else 2)),
            validate_args=False,
        ).log_prob(lib.ones(2))
        for lib in (tritorch, pytorch)
    ]
    same(plain(ours), plain(theirs))


def test_validation_can_be_switched_off_for_all() -> None:
    try:
        tritorch.distributions.Distribution.set_default_validate_args(False)
        assert math.isnan(tritorch.distributions.Normal(0.0, -1.0).log_prob(tritorch.tensor(0.0)))
    finally:
        tritorch.distributions.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError):
        tritorch.distributions.Normal(0.0, -1.0)


# -- names ---------------------------------------------------------------------------------------

MODULES = ["", *(f".{m.name}" for m in pkgutil.iter_modules(pytorch.distributions.__path__))]


@pytest.mark.parametrize("module", MODULES, ids=[m or "distributions" for m in MODULES])
def test_public_names_and_signatures(module: str) -> None:
    theirs = importlib.import_module(f"torch.distributions{module}")
    ours = importlib.import_module(f"tritorch.distributions{module}")
    assert set(theirs.__all__) <= set(ours.__all__)
    for name in theirs.__all__:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert inspect.isclass(a) == inspect.isclass(b), name
        if callable(b) and not isinstance(b, type(pytorch.distributions.constraints.real)):
            check_signature(name, a, b)
        if inspect.isclass(b):
            for n, f in inspect.getmembers(
                b, lambda f: inspect.isfunction(f) or isinstance(f, property)
            ):
                if not n.startswith("_"):
                    assert hasattr(a, n) or n in ("sample_n",), f"{name}.{n}"
                    if inspect.isfunction(f):
                        check_signature(f"{name}.{n}", getattr(a, n), f)


def check_signature(name: str, ours: Any, theirs: Any) -> None:
    try:
        wanted = inspect.signature(theirs).parameters
    except (TypeError, ValueError):
        return
    have = inspect.signature(ours).parameters
    assert list(wanted) == list(have)[: len(wanted)], name
