"""Covariances, integrals and limited norms against NumPy's and PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.integrate

import tritorch as torch
from tritorch.autograd import gradcheck

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 6))


def test_covariance_is_numpys() -> None:
    f, a = rng.integers(1, 4, 6), rng.uniform(0.1, 1, 6)
    x = torch.from_numpy(X)
    weights = {"fweights": torch.from_numpy(f), "aweights": torch.from_numpy(a)}
    np.testing.assert_allclose(torch.cov(x).numpy(), np.cov(X))
    np.testing.assert_allclose(torch.cov(x[0]).numpy(), np.cov(X[0]))
    np.testing.assert_allclose(
        torch.cov(x, correction=0, **weights).numpy(), np.cov(X, ddof=0, fweights=f, aweights=a)
    )
    np.testing.assert_allclose(torch.cov(x, **weights).numpy(), np.cov(X, fweights=f, aweights=a))
    z = X + 1j * X[::-1]
    np.testing.assert_allclose(torch.cov(torch.from_numpy(z)).numpy(), np.cov(z))
    np.testing.assert_allclose(torch.corrcoef(x).numpy(), np.corrcoef(X))
    np.testing.assert_allclose(torch.corrcoef(torch.from_numpy(z)).numpy(), np.corrcoef(z))
    assert torch.corrcoef(x[0]).item() == 1
    assert torch.cov(torch.arange(6).reshape(2, 3)).dtype is torch.float32
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert torch.cov(x, correction=9).isinf().any()
    assert gradcheck(torch.cov, (x.clone().requires_grad_(),))
    assert gradcheck(torch.corrcoef, (x.clone().requires_grad_(),))


def test_trapezoids_are_scipys() -> None:
    y, t = torch.from_numpy(X), rng.standard_normal(6)
    at = torch.from_numpy(t)
    np.testing.assert_allclose(torch.trapezoid(y, dim=0).numpy(), np.trapezoid(X, axis=0))
    np.testing.assert_allclose(torch.trapezoid(y, at).numpy(), np.trapezoid(X, t))
    np.testing.assert_allclose(torch.trapz(y, y).numpy(), np.trapezoid(X, X))
    np.testing.assert_allclose(
        torch.cumulative_trapezoid(y, at).numpy(), scipy.integrate.cumulative_trapezoid(X, t)
    )
    np.testing.assert_allclose(
        torch.cumulative_trapezoid(y, dx=0.5, dim=0).numpy(),
        scipy.integrate.cumulative_trapezoid(X, dx=0.5, axis=0),
    )
    assert torch.trapezoid(torch.ones(2, 0)).tolist() == [0, 0]
    assert torch.cumulative_trapezoid(torch.ones(2, 0)).shape == (2, 0)
    assert torch.trapezoid(torch.arange(4)).item() == 4.5


def test_renorm_limits_norms() -> None:
    x = torch.from_numpy(X.copy())
    for p in (1, 2, float("inf")):
        out = torch.renorm(x, p, 0, 1.5)
        size = np.linalg.norm(X, p, 1, keepdims=True)
        np.testing.assert_allclose(out.numpy(), X * np.minimum(1, 1.5 / size), 1e-6)
    assert gradcheck(lambda t: torch.renorm(t, 2, 1, 0.5), (x.requires_grad_(),))
    changed = x.detach().clone()
    assert changed.renorm_(2, 0, 0.5) is changed
    np.testing.assert_allclose(changed.norm(dim=1).numpy(), 0.5, 1e-6)
    assert torch.nuclear_norm(x).item() == pytest.approx(np.linalg.norm(X, "nuc"))
    assert torch.frobenius_norm(x, (0, 1), True).shape == (1, 1)


V = torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: torch.cov(torch.ones(2, 2, 2)), RuntimeError, "two or fewer dimensions"),
        (lambda: torch.cov(V > 0), RuntimeError, "bool dtype"),
        (lambda: torch.cov(V, fweights=V), RuntimeError, "integral dtype"),
        (lambda: torch.cov(V, aweights=V.long()), RuntimeError, "floating point dtype"),
        (lambda: torch.cov(V, fweights=-V.long()), RuntimeError, "cannot be negative"),
        (lambda: torch.cov(V, aweights=V[:2]), RuntimeError, "same numel"),
        (lambda: torch.cov(V, aweights=V * 0), RuntimeError, "sum to zero"),
        (lambda: torch.trapezoid(V > 0), RuntimeError, "bool"),
        (lambda: torch.trapezoid(V, V[:2]), RuntimeError, "one `x` value"),
        (lambda: torch.trapezoid(V, dx=1j), RuntimeError, "real number"),
        (lambda: torch.cumulative_trapezoid(V[0]), IndexError, "no dimensions"),
        (lambda: torch.renorm(V, 2, 0, 1), RuntimeError, "at least 2 dimensions"),
        (lambda: torch.renorm(torch.ones(2, 2), 0, 0, 1), RuntimeError, "non-positive"),
        (lambda: torch.renorm(torch.ones(2, 2), 2, 0, -1), RuntimeError, "maxnorm"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_quantiles_are_numpys() -> None:
    x, q = torch.from_numpy(X), torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    for mode in ("linear", "lower", "higher", "midpoint", "nearest"):
        want = np.quantile(X, q.numpy(), axis=1, method=mode)
        np.testing.assert_allclose(torch.quantile(x, q, 1, interpolation=mode).numpy(), want)
        whole = np.quantile(X, 0.3, method=mode)
        np.testing.assert_allclose(x.quantile(0.3, interpolation=mode).item(), whole)
    assert torch.quantile(x, q, 0, keepdim=True).shape == (4, 1, 6)
    assert torch.quantile(x, 0.5, keepdim=True).shape == (1, 1)
    assert torch.quantile(torch.tensor(2.0), q.float()).tolist() == [2, 2, 2, 2]
    out = torch.empty(0, dtype=torch.float64)
    assert torch.quantile(x, q, 1, out=out) is out and out.shape == (4, 3)
    at = torch.tensor([0.31, 0.77], dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda t, a: torch.quantile(t, a, 1), (x.clone().requires_grad_(), at))


def test_quantiles_of_missing_numbers() -> None:
    holes = X.copy()
    holes[0, 1] = holes[2] = np.nan
    x = torch.from_numpy(holes)
    assert torch.quantile(x, 0.5, 1).isnan().tolist() == [True, False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of a line without numbers
        want = np.nanquantile(holes, [0.2, 0.5], axis=1)
    q = torch.tensor([0.2, 0.5], dtype=torch.float64)
    np.testing.assert_allclose(torch.nanquantile(x, q, 1).numpy(), want)


def test_quantiles_refuse_what_is_none() -> None:
    x = torch.ones(3)
    for call, error in (
        (lambda: torch.quantile(x, 1.5), "must be in the range"),
        (lambda: torch.quantile(x, torch.tensor([0.1, 2.0])), "must be in the range"),
        (lambda: torch.quantile(x, torch.ones(1, 1)), "scalar or 1D"),
        (lambda: torch.quantile(x, torch.ones(1, dtype=torch.float64)), "same dtype"),
        (lambda: torch.quantile(x.long(), 0.5), "float or double"),
        (lambda: torch.quantile(x, 0.5, interpolation="cubic"), "must be one of linear"),
        (lambda: torch.nanquantile(torch.ones(0), 0.5), "non-empty"),
    ):
        with pytest.raises(RuntimeError, match=error):
            call()


def test_histograms_are_numpys() -> None:
    x, w = torch.from_numpy(X), rng.uniform(0, 1, X.shape)
    for kwargs in ({}, {"range": (-1.0, 1.5)}, {"density": True}):
        hist, edges = torch.histogram(x, 7, weight=torch.from_numpy(w), **kwargs)
        want, at = np.histogram(X, 7, weights=w, **kwargs)
        np.testing.assert_allclose(hist.numpy(), want)
        np.testing.assert_allclose(edges.numpy(), at)
    bins = torch.tensor([-1.0, 0.0, 0.25, 2.0], dtype=torch.float64)
    found = x.histogram(bins)
    np.testing.assert_allclose(found.hist.numpy(), np.histogram(X, bins.numpy())[0])
    assert torch.histogram(torch.ones(3), 2).bin_edges.tolist() == [0.5, 1, 1.5]
    points = torch.from_numpy(X.reshape(-1, 2))
    hist, edges = torch.histogramdd(points, [3, 4], weight=torch.from_numpy(w.reshape(-1, 2)[:, 0]))
    want, at = np.histogramdd(points.numpy(), [3, 4], weights=w.reshape(-1, 2)[:, 0])
    np.testing.assert_allclose(hist.numpy(), want)
    assert [len(e) for e in edges] == [4, 5]
    np.testing.assert_allclose(edges[1].numpy(), at[1])
    with pytest.raises(RuntimeError, match="is not finite"):
        torch.histogram(torch.tensor([1.0, float("inf")]), 2)
    with pytest.raises(TypeError, match="same dtype"):
        torch.histogram(x, 2, weight=torch.ones(3, 6))
    with pytest.raises(NotImplementedError, match=r"not implemented for tritorch.int64"):
        torch.histogram(x.long(), 2)


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_numpys(order: int) -> None:
    x, spaced = torch.from_numpy(X), [np.array([0.0, 1, 4]), np.sort(rng.uniform(0, 9, 6))]
    for spacing in (1, 2.5, (0.5, 2.0), spaced):
        steps = spacing if isinstance(spacing, list | tuple) else [spacing, spacing]
        want = np.gradient(X, *steps, edge_order=order)
        given = [torch.from_numpy(s) for s in spaced] if spacing is spaced else spacing
        have = torch.gradient(x, spacing=given, edge_order=order)
        for a, b in zip(have, want, strict=True):
            np.testing.assert_allclose(a.numpy(), b, 1e-9, 1e-9)
    (along,) = torch.gradient(x, dim=1, edge_order=order)
    np.testing.assert_allclose(along.numpy(), np.gradient(X, axis=1, edge_order=order))
    assert gradcheck(
        lambda t: torch.gradient(t, spacing=(1.0, 0.5), edge_order=order),
        (x.clone().requires_grad_(),),
    )
    with pytest.raises(RuntimeError, match="at least edge_order"):
        torch.gradient(torch.ones(order), edge_order=order)


def test_segments_are_reduced_one_by_one() -> None:
    x, lengths = torch.from_numpy(X), torch.tensor([2, 0, 4])
    for name, f, empty in (
        ("sum", np.sum, 0),
        ("mean", np.mean, np.nan),
        ("max", np.max, -np.inf),
        ("min", np.min, np.inf),
        ("prod", np.prod, 1),
    ):
        each = lengths.expand(3, 3)
        have = torch.segment_reduce(x, name, lengths=each, axis=1).numpy()
        want = [[f(r[:2]), empty, f(r[2:])] for r in X]
        np.testing.assert_allclose(have, want)
        flat = torch.segment_reduce(x.T.contiguous(), name, offsets=torch.tensor([0, 2, 2, 6]))
        np.testing.assert_allclose(flat.T.numpy(), want)
        grad = x[0].clone().requires_grad_()
        cut = torch.tensor([2, 4])
        assert gradcheck(
            lambda t, name=name, cut=cut: torch.segment_reduce(t, name, lengths=cut), (grad,)
        )
    assert torch.segment_reduce(x[0], "sum", lengths=lengths, initial=3).tolist()[1] == 3
    assert torch.segment_reduce(x[0], "sum", lengths=torch.tensor([2]), unsafe=True).shape == (1,)
    for kwargs, says in (
        ({"lengths": torch.tensor([2])}, "sum to data.size"),
        ({"lengths": torch.tensor([-1, 7])}, "negative"),
        ({}, "Either lengths or offsets"),
        ({"lengths": torch.tensor([2.0, 4.0])}, "int32 or int64"),
    ):
        with pytest.raises(RuntimeError, match=says):
            torch.segment_reduce(x[0], "sum", **kwargs)


@pytest.mark.oracle
def test_against_pytorch() -> None:
    oracle = pytest.importorskip("torch")
    found = []
    for T in (oracle, torch):
        x = T.from_numpy(X.copy()).requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outs = [
                T.cov(x, correction=0, fweights=T.tensor([1, 2, 1, 2, 3, 0])),
                T.corrcoef(x),
                T.renorm(x, 2, 1, 1.0),
                T.renorm(x, 1, 0, 2.0),
                T.trapezoid(x, x * x, dim=0),
                T.trapezoid(x, dx=2),
                T.cumulative_trapezoid(x, x[0]),
                T.cov(T.tensor(3.0)),
                T.cov(T.ones(2, 0)),
            ]
        total = sum((o * o).sum() for o in outs[:-2])
        (g,) = T.autograd.grad(total, x)
        found.append([o.detach().numpy() for o in [*outs, g]])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, 1e-7, 1e-9)
