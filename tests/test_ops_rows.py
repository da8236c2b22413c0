"""Activations, softmax, norms, losses, reductions and scans.

Against NumPy and by finite differences where torch is not installed; rows marked `oracle` compare
values, dtypes, names of results and gradients with PyTorch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.autograd import gradcheck, gradgradcheck
from tritorch.nn import functional as F
from tritorch.ops import activation_loops, lines, reduce_host
from tritorch.runtime import parallel

try:
    import torch as pytorch
except ImportError:
    pytorch = None  # type: ignore[assignment]

oracle = [pytest.mark.oracle, pytest.mark.skipif(pytorch is None, reason="torch is not installed")]
INF, NAN = math.inf, math.nan


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def ints(high: int, *shape: int) -> np.ndarray:
    return np.random.default_rng((high, *shape)).integers(0, high, shape)


def signs(*shape: int) -> np.ndarray:
    return np.sign(reals(*shape, seed=9))


def t(x: Any, grad: bool = False) -> Any:
    out = torch.from_numpy(np.array(x))
    return out.requires_grad_() if grad else out


# -- against NumPy ----------------------------------------------------------------------------

X = reals(3, 4, 5)
REDUCTIONS: dict[str, tuple[Callable, Callable]] = {
    "sum": (lambda x, d, k: x.sum(d, k), lambda x, d, k: x.sum(axis=d, keepdims=k)),
    "mean": (lambda x, d, k: x.mean(d, k), lambda x, d, k: x.mean(axis=d, keepdims=k)),
    "amax": (lambda x, d, k: x.amax(d, k), lambda x, d, k: x.max(axis=d, keepdims=k)),
    "amin": (lambda x, d, k: x.amin(d, k), lambda x, d, k: x.min(axis=d, keepdims=k)),
    "any": (lambda x, d, k: (x > 1).any(d, k), lambda x, d, k: (x > 1).any(axis=d, keepdims=k)),
    "all": (lambda x, d, k: (x > -2).all(d, k), lambda x, d, k: (x > -2).all(axis=d, keepdims=k)),
    "var": (
        lambda x, d, k: x.var(d, keepdim=k),
        lambda x, d, k: x.var(axis=d, keepdims=k, ddof=1),
    ),
    "std": (
        lambda x, d, k: x.std(d, correction=0, keepdim=k),
        lambda x, d, k: x.std(axis=d, keepdims=k),
    ),
    "logsumexp": (
        lambda x, d, k: x.logsumexp(d, k),
        lambda x, d, k: np.log(np.exp(x).sum(axis=d, keepdims=k)),
    ),
    "norm": (
        lambda x, d, k: x.norm(2, d, k),
        lambda x, d, k: np.sqrt((x * x).sum(axis=d, keepdims=k)),
    ),
}


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dims", [0, -1, (0, 1), (0, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, dims: Any, keepdim: bool) -> None:
    ours, theirs = REDUCTIONS[name]
    got, want = ours(t(X), dims, keepdim), np.asarray(theirs(X, dims, keepdim))
    assert tuple(got.shape) == want.shape
    assert np.allclose(got.numpy(), want)


SHAPES = [
    (70000,),
    (3, 70000),
    (700, 300),
    (300, 700, 1),
    (2, 300, 400),
    (40, 5, 31, 37),
    (70001, 3),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_large_reductions_do_not_depend_on_layout_or_threads(shape: tuple[int, ...]) -> None:
    x = reals(*shape).astype(np.float32)
    layouts = [x, np.ascontiguousarray(x.T).T, np.repeat(x, 2, -1)[..., ::2]]
    before = parallel.get_num_threads()
    for dims in [*range(len(shape)), tuple(range(len(shape))), (0, len(shape) - 1)]:
        if dims == (0, 0):
            continue
        want = x.astype(np.float64).sum(axis=dims)
        try:
            found = []
            for threads in (1, 3):
                parallel.set_num_threads(threads)
                found.append([t(y).sum(dims).numpy() for y in layouts])
        finally:
            parallel.set_num_threads(before)
        for got in (*found[0], *found[1]):
            assert np.allclose(got, want, rtol=1e-5, atol=2e-3)
        assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_canonical_form_of_a_transposed_array_is_no_copy() -> None:
    x = reals(4, 5, 6).transpose(2, 0, 1)
    y, order = reduce_host.canonical(x, (0,))
    assert y.shape == (20, 6, 1) and order == [1, 2]
    assert np.shares_memory(x, y)


@pytest.mark.parametrize("shape", [(3, 5), (200, 900), (2, 200, 300), (70000,)], ids=str)
def test_softmax_sums_to_one(shape: tuple[int, ...]) -> None:
    x = t(reals(*shape).astype(np.float32) * 30)
    for d in range(len(shape)):
        y = x.softmax(d)
        assert np.allclose(y.sum(d).numpy(), 1, atol=1e-5)
        assert np.allclose(x.log_softmax(d).exp().numpy(), y.numpy(), rtol=1e-4, atol=1e-6)


def test_running_sums_of_values_that_are_not_finite() -> None:
    x = reals(70, 1000).astype(np.float32)
    x[3, 500] = INF
    x[9, 10] = NAN
    got, want = t(x).cumsum(1).numpy(), np.cumsum(x, axis=1)
    assert np.allclose(got, want, rtol=1e-4, atol=1e-3, equal_nan=True)


def test_erf_in_float32() -> None:
    from scipy import special

    x = np.linspace(-6, 6, 8000, dtype=np.float32)
    assert np.abs(activation_loops.erf(x) - special.erf(x.astype(np.float64))).max() < 2e-7
    edges = np.array([1e-30, -1e-10, 0.0, INF, -INF, NAN], np.float32)
    want = special.erf(edges)
    assert np.allclose(activation_loops.erf(edges), want, rtol=5e-7, atol=0, equal_nan=True)


def test_sigmoid_has_its_limits() -> None:
    x = np.array([-INF, -200.0, -20.0, 0.0, 200.0, INF, NAN])
    with np.errstate(over="ignore"):
        got = activation_loops.sigmoid(x)
    assert np.allclose(got, [0, 0, 2.0611536e-09, 0.5, 1, 1, NAN], atol=1e-80, equal_nan=True)


def test_scratch_memory_is_not_handed_out() -> None:
    x = reals(5000).astype(np.float32)
    first = F.gelu(t(x)).numpy()
    kept = first.copy()
    F.silu(t(-x)), F.gelu(t(x * 2))
    assert np.array_equal(first, kept)
    assert lines.scratch(x) is not None and not np.shares_memory(lines.scratch(x), first)


@pytest.mark.parametrize("shape", [(4, 6), (50, 6, 31, 33), (9000, 6), (2, 6, 3, 4, 5)], ids=str)
def test_batch_norm_moves_the_running_statistics(shape: tuple[int, ...]) -> None:
    x = reals(*shape) * 3 + 50
    mean, var = t(np.zeros(6)), t(np.ones(6))
    y = F.batch_norm(t(x), mean, var, training=True, momentum=0.25).numpy()
    apart = (0, *range(2, len(shape)))
    assert np.allclose(mean.numpy(), 0.25 * x.mean(apart))
    assert np.allclose(var.numpy(), 0.75 + 0.25 * x.var(apart, ddof=1))
    assert np.allclose(y.mean(apart), 0, atol=1e-9) and np.allclose(y.var(apart), 1, atol=1e-4)
    assert mean._version == var._version == 1


def test_cross_entropy_counts_what_is_not_ignored() -> None:
    x, y = reals(6, 4), np.array([0, 1, 2, 3, 1, 1])
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    kept = y != 1
    want = -logs[np.arange(6), y][kept].mean()
    assert np.isclose(F.cross_entropy(t(x), t(y), ignore_index=1).item(), want)
    assert math.isnan(F.cross_entropy(t(x), t(np.full(6, 9)), ignore_index=9).item())


def test_named_results() -> None:
    x = t(X)
    found = x.max(1)
    assert found._fields == ("values", "indices") and type(found).__name__ == "max"
    assert np.array_equal(found.values.numpy(), X.max(1))
    assert np.array_equal(found.indices.numpy(), X.argmax(1))
    low, high = torch.aminmax(x, dim=0)
    assert np.array_equal(low.numpy(), X.min(0)) and np.array_equal(high.numpy(), X.max(0))
    assert "indices=" in repr(found)


def test_numpy_names_of_arguments() -> None:
    x = t(X)
    assert np.allclose(x.sum(axis=1, keepdims=True).numpy(), X.sum(1, keepdims=True))
    assert np.allclose(torch.cumsum(x, axis=0).numpy(), X.cumsum(0))


# -- gradients --------------------------------------------------------------------------------

ZEROS = np.array([[1.5, 0.0, -2.0], [0.0, 0.0, 3.0], [1.0, 2.0, 0.5]])
WEIGHT = np.abs(reals(4)) + 0.5
LABELS = np.array([1, 0, 3])
GRADIENTS: dict[str, tuple[Callable, list]] = {
    "prod of zeros": (lambda x: x.prod(1), [ZEROS]),
    "prod of all": (lambda x: x.prod(), [ZEROS[:, :2]]),
    "prod of one zero": (lambda x: x.prod(1), [ZEROS[:1]]),
    "cumprod of zeros": (lambda x: x.cumprod(1), [ZEROS]),
    "std": (lambda x: x.std(1), [reals(3, 4)]),
    "max full": (lambda x: x.max(), [reals(3, 4)]),
    "max dim": (lambda x: x.max(1).values, [reals(3, 4)]),
    "median": (lambda x: x.median(1).values, [reals(3, 5)]),
    "nanmean": (lambda x: x.nanmean(1), [reals(3, 4)]),
    "diff": (lambda x: x.diff(n=2, dim=1), [reals(2, 5)]),
    "normalize": (lambda x: F.normalize(x, dim=1), [reals(3, 4)]),
    "mse": (lambda x, y: F.mse_loss(x, y), [reals(3, 4), reals(3, 4, seed=1)]),
    "huber": (lambda x, y: F.huber_loss(x, y, delta=0.7), [reals(3, 4), reals(3, 4, seed=1)]),
    "bce": (
        lambda x, y: F.binary_cross_entropy(x.sigmoid(), y.sigmoid()),
        [reals(3, 4), reals(3, 4, seed=1)],
    ),
    "kl_div": (
        lambda x, y: F.kl_div(x, y, reduction="batchmean"),
        [reals(3, 4), np.abs(reals(3, 4))],
    ),
    "gaussian": (
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=True),
        [reals(3, 4), reals(3, 4, seed=1), np.abs(reals(3, 4, seed=2)) + 0.1],
    ),
    "cosine": (
        lambda x, y: F.cosine_similarity(x, y),
        [reals(3, 4), reals(3, 4, seed=1)],
    ),
    "triplet": (
        lambda a, p, n: F.triplet_margin_loss(a, p, n, swap=True),
        [reals(3, 4), reals(3, 4, seed=1), reals(3, 4, seed=2)],
    ),
    "probabilities": (
        lambda x, y: F.cross_entropy(x, y.softmax(1), label_smoothing=0.1),
        [reals(3, 4), reals(3, 4, seed=1)],
    ),
    "weights": (
        lambda x, w: F.cross_entropy(x, t(LABELS), w, label_smoothing=0.2),
        [reals(3, 4), WEIGHT],
    ),
    "instance_norm": (lambda x: F.instance_norm(x), [reals(2, 3, 4)]),
    "local_response": (lambda x: F.local_response_norm(x, 3), [reals(2, 4, 3)]),
    "batch_norm eval": (
        lambda x, w, b: F.batch_norm(x, t(reals(3)), t(np.abs(reals(3)) + 0.5), w, b),
        [reals(2, 3, 4), reals(3), reals(3, seed=1)],
    ),
    "glu": (lambda x: F.glu(x, 1), [reals(3, 4)]),
    "prelu": (lambda x, w: F.prelu(x, w), [reals(2, 4, 3), reals(4)]),
}


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck], ids=["first", "second"])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str, check: Callable) -> None:
    f, arrays = GRADIENTS[name]
    assert check(f, [t(a, grad=True) for a in arrays])


def test_gradient_of_equal_extremes_is_shared() -> None:
    x = t([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], grad=True)
    x.amax(1).sum().backward()
    assert np.allclose(x.grad.numpy(), [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])


def test_gradient_of_a_norm_of_zeros_is_zero() -> None:
    for f in (lambda x: x.norm(), lambda x: x.std(), lambda x: x.norm(3.0)):
        x = t(np.zeros(4), grad=True)
        f(x).backward()
        assert np.array_equal(x.grad.numpy(), np.zeros(4))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "celu", "hardtanh", "silu"])
def test_in_place_is_the_same_with_its_gradient(name: str) -> None:
    f = getattr(F, name)
    x, y = (t(reals(3, 4), grad=True) for _ in range(2))
    out, inside = f(x), y * 1
    assert f(inside, inplace=True) is inside
    out.sum().backward()
    inside.sum().backward()
    assert np.array_equal(out.detach().numpy(), inside.detach().numpy())
    assert np.allclose(x.grad.numpy(), y.grad.numpy())


# -- errors -----------------------------------------------------------------------------------

E23, L2 = np.zeros((2, 3)), np.zeros(2, np.int64)
ERRORS: dict[str, tuple[Callable, type[Exception], str]] = {
    "softmax dim": (lambda: t(E23).softmax(2), IndexError, "softmax"),
    "softmax ints": (lambda: t(L2).softmax(0), NotImplementedError, "softmax"),
    "mean of ints": (lambda: t(L2).mean(), RuntimeError, "mean"),
    "sum twice": (lambda: t(E23).sum((0, 0)), RuntimeError, "appears multiple times"),
    "max of nothing": (lambda: t(np.zeros(0)).max(), RuntimeError, "numel\\(\\) == 0"),
    "argmax of nothing": (lambda: t(np.zeros((2, 0))).argmax(1), IndexError, "non-zero size"),
    "var of ints": (lambda: t(L2).var(), RuntimeError, "floating point"),
    "targets": (
        lambda: F.cross_entropy(t(E23), t([0, 3])),
        IndexError,
        "Target 3 is out of bounds",
    ),
    "batch": (lambda: F.nll_loss(t(E23), t([0])), ValueError, "batch_size \\(2\\)"),
    "smoothing": (
        lambda: F.cross_entropy(t(E23), t(L2), label_smoothing=2),
        RuntimeError,
        "0.0 and",
    ),
    "reduction": (
        lambda: F.mse_loss(t(E23), t(E23), reduction="x"),
        ValueError,
        "not a valid value",
    ),
    "layer_norm": (lambda: F.layer_norm(t(E23), (2,)), RuntimeError, "normalized_shape"),
    "group_norm": (lambda: F.group_norm(t(E23), 2), RuntimeError, "divisible"),
    "batch_norm": (
        lambda: F.batch_norm(t(np.zeros((1, 3))), None, None, training=True),
        ValueError,
        "more than 1 value",
    ),
    "statistics": (lambda: F.batch_norm(t(E23), None, None), RuntimeError, "running_mean"),
    "bce": (lambda: F.binary_cross_entropy(t(E23 + 2), t(E23)), RuntimeError, "between 0 and 1"),
    "glu": (lambda: F.glu(t(E23), 1), RuntimeError, "must be even"),
    "prelu": (lambda: F.prelu(t(E23), t(np.zeros(2))), RuntimeError, "prelu"),
    "gelu": (lambda: F.gelu(t(E23), "erf"), RuntimeError, "approximate"),
    "hardtanh": (lambda: F.hardtanh(t(E23), 1, 0), ValueError, "hardtanh"),
    "not a tensor": (lambda: F.leaky_relu(3.0), TypeError, "must be Tensor"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong(name: str) -> None:
    f, error, says = ERRORS[name]
    with pytest.raises(error, match=says):
        f()


# -- against PyTorch --------------------------------------------------------------------------

P, Q = np.abs(reals(3, 4)) % 1, np.abs(reals(3, 4, seed=1)) % 1
B3, C3 = reals(4, 3, 5), reals(4, 3, 5, seed=1)
IMAGE, CLASSES = reals(2, 4, 3, 5), ints(4, 2, 3, 5)
HOLES = np.where(np.abs(X) < 0.4, NAN, X)
TIES = np.round(X)

ROWS: dict[str, tuple[Callable, list]] = {}


def row(name: str, f: Callable, *arrays: np.ndarray) -> None:
    assert name not in ROWS
    ROWS[name] = f, list(arrays)


def fun(name: str, *args: Any, fixed: int | None = None, **kwargs: Any) -> Callable:
    """A function of `nn.functional` over tensors, then `args`; without a gradient for `fixed`."""

    def call(lib: Any, *xs: Any) -> Any:
        xs = tuple(x.detach() if i == fixed else x for i, x in enumerate(xs))
        return getattr(lib.nn.functional, name)(*xs, *args, **kwargs)

    return call


def method(name: str, *args: Any, **kwargs: Any) -> Callable:
    return lambda lib, x: getattr(x, name)(*args, **kwargs)


def top(name: str, *args: Any, **kwargs: Any) -> Callable:
    return lambda lib, *xs: getattr(lib, name)(*xs, *args, **kwargs)


def _add_activations() -> None:
    names = (
        "relu relu6 gelu silu mish selu celu elu leaky_relu hardtanh hardsigmoid hardswish "
        "softplus logsigmoid hardshrink softshrink tanhshrink softsign sigmoid tanh rrelu"
    )
    for n in names.split():
        row(n, fun(n), X * 4)
    row("gelu tanh", fun("gelu", approximate="tanh"), X * 3)
    row("elu alpha", fun("elu", 0.7), X)
    row("softplus beta", fun("softplus", 2, 1.5), X)
    row("threshold", fun("threshold", 0.4, 7.0), X)
    row("hardtanh limits", fun("hardtanh", -0.2, 0.3), X)
    row("glu", fun("glu", 1), X)
    row("prelu", fun("prelu"), X, reals(4))
    row("prelu one", top("prelu"), X, reals(1))
    row("relu method", lambda lib, x: x.relu() + lib.relu(x), X)


def _add_reductions() -> None:
    for n in ["sum", "mean", "prod", "amax", "amin", "logsumexp", "nansum", "nanmean"]:
        for d in (0, -1, (0, 2), (0, 1, 2)):
            if n != "prod" or isinstance(d, int):
                row(f"{n} {d}", top(n, d), X)
                row(f"{n} {d} keep", method(n, d, keepdim=True), X)
    row("nansum holes", top("nansum", 1), HOLES)
    row("sum of ints", lambda lib, x: (x.sum(), x.sum(0), x.prod(0), x.cumsum(0)), ints(5, 3, 4))
    row("sum of bools", lambda lib, x: ((x > 0).sum(), (x > 0).cumsum(0), (x > 0).prod()), X)
    row("sum dtype", lambda lib, x: x.sum(0, dtype=lib.float32), X)
    row("logsumexp of inf", top("logsumexp", 1), np.array([[INF, 1.0], [-INF, -INF]]))
    row("any all", lambda lib, x: ((x > 0).any(1), (x > -1).all((0, 2)), x.any(), x.all(0)), X)
    row("count_nonzero", lambda lib, x: (lib.count_nonzero(x), x.count_nonzero((0, 1))), TIES)
    for p in (0, 0.5, 1, 1.5, 2, 3, INF, -INF, "fro"):
        row(f"norm {p}", top("norm", p), X)
        row(f"norm {p} dim", method("norm", p, 1, keepdim=True), X)
    row("norm of ties", method("norm", INF, 1), TIES)


def _add_moments() -> None:
    for n in ["var", "std"]:
        for d in (None, 1, (0, 2)):
            for c in (0, 1, 2):
                row(f"{n} {d} {c}", top(n, d, correction=c), X)
        row(f"{n} biased", method(n, unbiased=False), X)
        row(f"{n} flag", method(n, 1, True, True), X)
        row(f"{n} alone", method(n, False), X)
        row(f"{n}_mean", top(f"{n}_mean", 1, keepdim=True), X)
        row(f"{n} rows", method(n, 1), reals(90, 1000))
        row(f"{n} columns", method(n, 0), reals(900, 100) + 3)


def _add_extremes() -> None:
    for n in ["max", "min", "median", "nanmedian"]:
        row(n, method(n), X)
        row(f"{n} dim", top(n, 1), X)
        row(f"{n} keep", top(n, 2, keepdim=True), X)
        row(f"{n} nan", lambda lib, x, n=n: getattr(lib, n)(x, 1).values, HOLES)
    for n in ["max", "min"]:
        row(f"{n} ties", method(n), TIES)
        row(f"{n} binary", top(n), X, reals(5))
        row(f"{n} big", method(n, 1), reals(100, 900))
        row(f"arg{n}", method(f"arg{n}"), X)
        row(f"arg{n} dim", method(f"arg{n}", 1, keepdim=True), HOLES)
        row(f"arg{n} middle", method(f"arg{n}", 1), reals(9, 90, 100))
    row("amax ties", method("amax", (0, 1)), TIES)
    row("aminmax", lambda lib, x: lib.aminmax(x, dim=1, keepdim=True), TIES)


def _add_scans() -> None:
    for n in ["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"]:
        for d in (0, 1, -1):
            row(f"{n} {d}", top(n, d), X)
    row("cumprod of zeros", method("cumprod", 1), ZEROS)
    row("prod of zeros", method("prod", 1), ZEROS)
    row("cummax of ties", method("cummax", 1), TIES)
    row("cumsum long", method("cumsum", 1), reals(40, 320))
    row("cumsum odd", method("cumsum", 1), reals(90, 307))
    row("cumsum in place", lambda lib, x: (x * 1).cumsum_(1), X)
    row("diff", lambda lib, x, y: lib.diff(x, n=2, dim=1, prepend=y, append=y), X, X[:, :1] * 2)
    row("diff of bools", lambda lib, x: lib.diff(x > 0, dim=0), X)


def _add_norms() -> None:
    for n in ["layer_norm", "rms_norm"]:
        row(n, lambda lib, x, w, n=n: getattr(lib.nn.functional, n)(x, (5,), w), X, reals(5))
        row(f"{n} 2", fun(n, (4, 5)), X)
        row(f"{n} big", fun(n, (800,)), reals(90, 800))
    row(
        "layer_norm bias",
        lambda lib, x, w, b: lib.nn.functional.layer_norm(x, (5,), w, b, 0.1),
        *(X, reals(5), reals(5, seed=1)),
    )
    for shape in ((4, 6), (2, 6, 7), (3, 6, 60, 70), (2, 6, 2, 3, 2)):
        _add_channel_norms(shape)
    row("group_norm plain", fun("group_norm", 4), IMAGE)
    row("normalize", fun("normalize", 3.0, 2), X)
    more = None, None, True, 0.1, 1e-5, False
    row("top batch_norm", lambda lib, x, w: lib.batch_norm(x, w, w, *more), X, reals(4))


def _add_channel_norms(shape: tuple[int, ...]) -> None:
    arrays = reals(*shape) + 2, reals(6), reals(6, seed=1)

    def training(lib: Any, x: Any, w: Any, b: Any) -> Any:
        return lib.nn.functional.batch_norm(x, None, None, w, b, True)

    def evaluation(lib: Any, x: Any, w: Any, b: Any) -> Any:
        return lib.nn.functional.batch_norm(x, w.detach(), b.detach() ** 2, w, b)

    def groups(lib: Any, x: Any, w: Any, b: Any) -> Any:
        return lib.nn.functional.group_norm(x, 2, w, b)

    def instances(lib: Any, x: Any, w: Any, b: Any) -> Any:
        return lib.nn.functional.instance_norm(x, None, None, w, b)

    row(f"batch_norm {shape}", training, *arrays)
    row(f"batch_norm eval {shape}", evaluation, *arrays)
    row(f"group_norm {shape}", groups, *arrays)
    if len(shape) > 2:
        row(f"instance_norm {shape}", instances, *arrays)
        row(f"local_response_norm {shape}", fun("local_response_norm", 4, 0.1, 0.6, 2.0), arrays[0])


def _add_softmaxes() -> None:
    for n in ("softmax", "log_softmax", "softmin"):
        for d in (0, 1, -1):
            row(f"{n} {d}", fun(n, d), X)
    row("softmax big", method("softmax", 1), reals(120, 700))
    row("log_softmax middle", method("log_softmax", 1), reals(4, 150, 160))
    row("softmax dtype", lambda lib, x: lib.softmax(x, 0, dtype=lib.float32), X)


def _add_classification(reduction: str) -> None:
    r = reduction
    for w in (False, True):
        weight = [WEIGHT] if w else []

        def nll(lib: Any, x: Any, y: Any, *w: Any) -> Any:
            given = {"weight": w[0].detach()} if w else {}
            return lib.nn.functional.nll_loss(x, y, ignore_index=1, reduction=r, **given)

        row(f"nll_loss {r} {w}", nll, reals(3, 4), LABELS, *weight)
        row(f"nll_loss image {r} {w}", nll, IMAGE, CLASSES, *weight)
        for smoothing in (0.0, 0.2):

            def entropy(lib: Any, x: Any, y: Any, *w: Any, s: float = smoothing) -> Any:
                given = {"weight": w[0].detach()} if w else {}
                given |= {"label_smoothing": s, "ignore_index": 3, "reduction": r}
                return lib.nn.functional.cross_entropy(x, y, **given)

            row(f"cross_entropy {r} {w} {smoothing}", entropy, reals(3, 4), LABELS, *weight)
            row(f"cross_entropy image {r} {w} {smoothing}", entropy, IMAGE, CLASSES, *weight)


def _add_losses(reduction: str) -> None:
    r, more = reduction, {"reduction": reduction}
    a, b, c = (reals(3, 4, seed=k) for k in range(3))
    for n in ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]:
        row(f"{n} {r}", fun(n, **more), a, b)
    for n in ["hinge_embedding_loss", "multilabel_soft_margin_loss", "poisson_nll_loss"]:
        row(f"{n} {r}", fun(n, **more), a, signs(3, 4))
    for n in ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]:
        row(f"{n} {r}", fun(n, **more), P, Q)
    row(f"soft_margin {r}", fun("soft_margin_loss", fixed=1, **more), a, signs(3, 4))
    row(f"multi_margin {r}", fun("multi_margin_loss", **more), a, LABELS)
    targets = np.array([[2, 0, -1, 1]] * 3)
    row(f"multilabel_margin {r}", fun("multilabel_margin_loss", **more), a, targets)
    row(f"triplet {r}", fun("triplet_margin_loss", swap=True, **more), a, b, c)
    row(f"cosine {r}", fun("cosine_embedding_loss", margin=0.1, **more), a, b, signs(3))
    row(f"ranking {r}", fun("margin_ranking_loss", margin=0.3, **more), a, b, signs(3, 4))


def _add_more_losses() -> None:
    a, b = reals(3, 4), reals(3, 4, seed=1)
    row("cross_entropy row", fun("cross_entropy"), reals(5), np.array(3))
    row("cross_entropy probabilities", fun("cross_entropy", label_smoothing=0.1), a, P)
    row("nll row", fun("nll_loss"), reals(5), np.array(3))
    row("batchmean", fun("kl_div", reduction="batchmean"), a, P + 0.1)
    row("log target", fun("kl_div", reduction="sum", log_target=True), a, np.log(P))
    row("beta", fun("smooth_l1_loss", beta=0.3), a, b)
    row("delta", fun("huber_loss", delta=0.3), a, b)
    row("poisson rates", fun("poisson_nll_loss", log_input=False, full=True), P, Q * 5)
    row("gaussian full", fun("gaussian_nll_loss", full=True), a, b, P[:, :1])
    row("multi margin 2", fun("multi_margin_loss", p=2, margin=0.7), a, LABELS)
    row("multi margin row", fun("multi_margin_loss"), reals(4), np.array(2))
    row("cosine_similarity", fun("cosine_similarity", dim=0), X, reals(4, 5))
    row("pairwise", fun("pairwise_distance", p=3.0, keepdim=True), X, reals(4, 5))
    row("pdist", fun("pdist"), reals(5, 3))
    row("distance", fun("triplet_margin_with_distance_loss"), B3, C3, B3[::-1].copy())
    row("by number", top("margin_ranking_loss", 0.1, 2), B3, C3, signs(4, 3, 5))
    positive = lambda lib, x, y, w: lib.nn.functional.binary_cross_entropy_with_logits(  # noqa: E731
        x, y, pos_weight=w.detach()
    )
    row("positive weights", positive, a, Q, WEIGHT)


for _add in (
    _add_activations,
    _add_reductions,
    _add_moments,
    _add_extremes,
    _add_scans,
    _add_norms,
    _add_softmaxes,
    _add_more_losses,
):
    _add()
for _reduction in ("mean", "sum", "none"):
    _add_classification(_reduction)
    _add_losses(_reduction)


def results(x: Any) -> list:
    return [r for y in x for r in results(y)] if isinstance(x, tuple) else [x]


def run(lib: Any, name: str, dtype: type) -> tuple:
    """Results and gradients of a row in one library, as NumPy arrays."""
    f, arrays = ROWS[name]
    inputs = [
        lib.from_numpy(np.array(a.astype(dtype) if a.dtype.kind == "f" else a)) for a in arrays
    ]
    leaves = [x.requires_grad_() for x in inputs if x.dtype in (lib.float32, lib.float64)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = f(lib, *inputs)
    outs = results(found if isinstance(found, tuple) else (found,))
    total = 0
    for i, out in enumerate(outs):
        if out.requires_grad:
            c = lib.from_numpy(np.array(reals(*out.shape, seed=i))).to(out.dtype)
            total = total + (out * c).sum().to(lib.float64)
    if not isinstance(total, int):
        total.backward()
    return (
        [out.detach().numpy() for out in outs],
        [None if x.grad is None else x.grad.numpy() for x in leaves],
        type(found).__name__,
    )


def agree(got: Any, want: Any, exact: bool) -> bool:
    if got is None or want is None:
        return got is want or not np.any(want if got is None else got)
    rtol, atol = (1e-7, 1e-9) if exact else (1e-4, 2e-5)
    same = got.shape == want.shape and got.dtype == want.dtype
    return same and np.allclose(got, want, rtol, atol, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=oracle, id=n) for n in ROWS])
def test_row_is_what_pytorch_gives(name: str, dtype: type) -> None:
    ours, theirs = run(torch, name, dtype), run(pytorch, name, dtype)
    assert ours[2] == theirs[2]
    exact = all(x is None or x.dtype != np.float32 for x in theirs[0] + theirs[1])
    for got, want in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
        assert agree(got, want, exact), (got, want)
