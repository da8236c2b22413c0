"""Indexing, scattering, joining, rearranging, sorting, random numbers, printing, protocols.

Against NumPy where torch is not installed; the class marked `oracle` compares with PyTorch.
"""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import tritorch as torch
from tritorch.nn import functional as F

RNG = np.random.default_rng(0)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def t(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


# -- keys against NumPy --------------------------------------------------------------------------

X = reals(3, 4, 5)
MASK = np.array([True, False, True])
MASK2 = np.arange(12).reshape(3, 4) % 3 == 0
KEYS = [
    0, -1, slice(1, None), slice(None, -1), slice(None, None, 2), None, ..., (), (1, 2), (1, 2, 3),
    (Ellipsis, 0), (Ellipsis, None, 1), (slice(None), 1), (None, 1, None), (1, Ellipsis, 2),
    (slice(0, 0),), (slice(2, 1), 0), True, False, MASK, MASK2, (0, MASK[:1].repeat(4)),
    (slice(None), [0, 3]), [0, 2, 0], ([0, 1], [1, 2]), ([[0], [1]], [1, 2]),
    ([0, 1], slice(None), [1, 2]), (slice(None), [0, 1], [1, 2]), (Ellipsis, [4, -5]),
    ([0, 1], None, [1, 2]), (MASK, slice(None), 2),
    (MASK, [1, 2]), (MASK2, 0), (MASK2, [0, 0, 1, 2]), np.array([1, 0]), np.array([[1, 0], [2, 2]]),
    (np.int64(1), np.array(2)), (True, [0, 1]), (slice(None), True), np.zeros(0, np.int64), [],
]  # fmt: skip


def ours(key: Any) -> Any:
    """A key for tensors: arrays become tensors."""
    if isinstance(key, tuple):
        return tuple(ours(k) for k in key)
    return t(key) if isinstance(key, np.ndarray) else key


def theirs(key: Any) -> Any:
    if isinstance(key, list) and not key:
        return np.zeros(0, np.int64)
    return key


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_getitem(key: Any) -> None:
    want = X[theirs(key)]
    got = t(X)[ours(key)]
    assert tuple(got.shape) == want.shape
    assert np.array_equal(got.numpy(), want)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_setitem(key: Any) -> None:
    want, got = X.copy(), t(X)
    value = reals(*want[theirs(key)].shape)
    want[theirs(key)] = value
    got[ours(key)] = t(value)
    assert np.array_equal(got.numpy(), want)
    want[theirs(key)], got[ours(key)] = 7, 7
    assert np.array_equal(got.numpy(), want)
    assert got._version == (0 if key is False else 2)  # PyTorch leaves `x[False] = v` out


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_gradient_of_getitem_and_setitem(key: Any) -> None:
    x = t(X).requires_grad_()
    g = reals(*X[theirs(key)].shape)
    x[ours(key)].backward(t(g))
    want = np.zeros_like(X)
    np.add.at(want, theirs(key), g)
    assert np.allclose(x.grad.numpy(), want)
    value, y = t(reals(*g.shape)).requires_grad_(), x * 1
    y[ours(key)] = value
    weight = reals(*X.shape)
    x.grad = None
    (y * t(weight)).sum().backward()
    kept = weight.copy()
    kept[theirs(key)] = 0
    assert np.allclose(x.grad.numpy(), kept)
    if key is not False and (not isinstance(key, list) or len(set(key)) == len(key)):
        assert np.allclose(value.grad.numpy(), weight[theirs(key)])


def test_integers_before_tensors_are_selected_first() -> None:
    assert tuple(t(X)[0, :, [0, 1]].shape) == (4, 2)


def test_augmented_assignment_under_autograd() -> None:
    w = t(X).requires_grad_()
    y = w * 1
    y[..., 0] += 1
    y[0] *= 2
    y[[1, 1]] = 0.0
    y.sum().backward()
    want = np.ones_like(X)
    want[0], want[1] = 2, 0
    assert np.array_equal(w.grad.numpy(), want)
    assert y._version == 5


def test_views_share_memory() -> None:
    x = t(X)
    for key in (0, slice(1, None), (..., 0), None, ...):
        assert x[key]._base is x
    assert x[[0]]._base is None


ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x: x[5], IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[0, -5], IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
    (lambda x: x[0, 0, 0, 0], IndexError, "too many indices for tensor of dimension 3"),
    (lambda x: x[..., [0], 0, 0, 0], IndexError, "too many indices for tensor of dimension 3"),
    (lambda x: x[::-1], ValueError, "step must be greater than zero"),
    (lambda x: x[1.5], IndexError, "only integers, slices"),
    (lambda x: x[1.5:], TypeError, "slice indices must be integers"),
    (lambda x: x["a"], TypeError, "new(): invalid data type 'str'"),
    (lambda x: x[0, 0, 0][0], IndexError, "invalid index of a 0-dim tensor"),
    (lambda x: x[torch.tensor([0.5])], IndexError, "tensors used as indices must be long"),
    (lambda x: x[torch.tensor([0, 3])], IndexError, "index 3 is out of bounds for dimension 0"),
    (lambda x: x[[True, False]], IndexError, "The shape of the mask [2] at index 0 does not match"),
    (lambda x: x[[0, 1], [0, 1, 2]], IndexError, "could not be broadcast together"),
    (lambda x: x.__setitem__(0, [1.0]), TypeError, "can't assign a list to a torch.DoubleTensor"),
    (lambda x: x.__setitem__([0], torch.ones(2, dtype=x.dtype)), RuntimeError, "shape mismatch"),
    (lambda x: x.__setitem__([0], torch.ones(5)), RuntimeError, "dtypes match"),
    (lambda x: x.gather(0, torch.tensor([[[9]]])), RuntimeError, "out of bounds"),
    (lambda x: x.gather(0, torch.tensor([0])), RuntimeError, "same number of dimensions"),
    (
        lambda x: x.scatter(0, torch.tensor([[[0]]]), torch.ones(1, 1, 1)),
        RuntimeError,
        "self.dtype",
    ),
    (
        lambda x: x.scatter_reduce(0, torch.tensor([[[0]]]), x, "max"),
        RuntimeError,
        "reduce argument",
    ),
    (lambda x: x.index_select(0, torch.tensor([3])), IndexError, "index out of range"),
    (lambda x: x.index_select(0, torch.tensor([[0]])), IndexError, "supposed to be a vector"),
    (lambda x: x.index_add(0, torch.tensor([0]), x), RuntimeError, "index_add"),
    (lambda x: x.masked_fill(x, 0.0), RuntimeError, "masked_fill only supports boolean masks"),
    (lambda x: x.masked_fill(x > 0, torch.ones(2)), RuntimeError, "0-dimensional value tensor"),
    (lambda x: torch.cat([]), ValueError, "non-empty list"),
    (lambda x: torch.cat([x, x[0]]), RuntimeError, "same number of dimensions: got 3 and 2"),
    (lambda x: torch.cat([x, x[:, 1:]]), RuntimeError, "Expected size 4 but got size 3"),
    (lambda x: torch.cat(x), TypeError, "must be tuple of Tensors"),
    (lambda x: torch.stack([x, x[1:]]), RuntimeError, "each tensor to be equal size"),
    (lambda x: F.pad(x, (1,)), RuntimeError, "divisible by 2"),
    (lambda x: F.pad(x, (5, 0), mode="reflect"), RuntimeError, "less than the corresponding"),
    (lambda x: x.topk(9), RuntimeError, "selected index k out of range"),
    (lambda x: x.roll((1, 2), 0), RuntimeError, "must align"),
    (lambda x: F.one_hot(torch.tensor([3]), 2), RuntimeError, "smaller than num_classes"),
    (lambda x: F.dropout(x, 1.5), ValueError, "between 0 and 1"),
    (lambda x: torch.multinomial(torch.ones(2), 3), RuntimeError, "without replacement"),
    (lambda x: torch.randint(3, 3, (2,)), RuntimeError, "'from' to be less than 'to'"),
    (lambda x: bool(x), RuntimeError, "more than one value is ambiguous"),
    (lambda x: bool(x[:0]), RuntimeError, "no values is ambiguous"),
    (lambda x: len(x[0, 0, 0]), TypeError, "len() of a 0-d tensor"),
    (lambda x: iter(x[0, 0, 0]), TypeError, "iteration over a 0-d tensor"),
    (lambda x: range(3)[x[0, 0, 0]], TypeError, "only integer tensors of a single element"),
    (lambda x: "a" in x, RuntimeError, "Tensor.__contains__ only supports Tensor or scalar"),
    (lambda x: x.isclose(x.float()), RuntimeError, "did not match"),
]


@pytest.mark.parametrize(("call", "error", "says"), ERRORS, ids=[e[2] for e in ERRORS])
def test_errors(call: Callable, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as raised:
        call(t(X))
    assert says in str(raised.value)


# -- functions against NumPy ---------------------------------------------------------------------

I34 = np.array([[0, 2, 1, 0], [2, 2, 0, 1], [1, 0, 0, 2]])
A34, B34 = reals(3, 4), reals(3, 4)


def accumulated(x: np.ndarray, key: Any, v: np.ndarray) -> np.ndarray:
    out = x.copy()
    np.add.at(out, key, v)
    return out


FUNCTIONS: dict[str, tuple[Callable, Any]] = {
    "gather": (lambda: t(A34).gather(0, t(I34)), np.take_along_axis(A34, I34, 0)),
    "index_select": (lambda: t(A34).index_select(1, t([0, 0, 3])), A34[:, [0, 0, 3]]),
    "index_add": (
        lambda: t(A34).index_add(0, t([0, 0, 2]), t(B34), alpha=2),
        accumulated(A34, [0, 0, 2], 2 * B34),
    ),
    "scatter_add": (
        lambda: t(A34).scatter_add(0, t(I34), t(B34)),
        accumulated(A34, (I34, np.arange(4)), B34),
    ),
    "take": (lambda: t(A34).take(t([0, 11, -1])), A34.ravel()[[0, 11, -1]]),
    "put": (
        lambda: t(A34).put(t([0, 0, 5]), t([1.0, 2.0, 3.0]), accumulate=True),
        accumulated(A34.ravel(), [0, 0, 5], np.array([1.0, 2.0, 3.0])).reshape(3, 4),
    ),
    "masked_fill": (lambda: t(A34).masked_fill(t(A34 > 0), 2.5), np.where(A34 > 0, 2.5, A34)),
    "masked_select": (lambda: t(A34).masked_select(t(A34 > 0)), A34[A34 > 0]),
    "nonzero": (lambda: t(A34 > 0).nonzero(), np.argwhere(A34 > 0)),
    "cat": (lambda: torch.cat([t(A34), t(B34)], -1), np.concatenate([A34, B34], -1)),
    "cat of integers and floats": (
        lambda: torch.cat([t([1]), t([0.5])]),
        np.array([1.0, 0.5]),
    ),
    "cat leaves empty vectors out": (lambda: torch.cat([torch.empty(0).double(), t(A34)], 1), A34),
    "stack": (lambda: torch.stack([t(A34), t(B34)], 1), np.stack([A34, B34], 1)),
    "hstack": (lambda: torch.hstack([t(A34), t(B34)]), np.hstack([A34, B34])),
    "vstack": (lambda: torch.vstack([t(A34[0]), t(B34)]), np.vstack([A34[0], B34])),
    "dstack": (lambda: torch.dstack([t(A34), t(B34)]), np.dstack([A34, B34])),
    "column_stack": (
        lambda: torch.column_stack([t(A34[:, 0]), t(B34)]),
        np.column_stack([A34[:, 0], B34]),
    ),
    "pad": (
        lambda: F.pad(t(A34), (1, 2, 0, 1), value=3),
        np.pad(A34, ((0, 1), (1, 2)), constant_values=3),
    ),
    "pad by negative": (lambda: F.pad(t(A34), (-1, 0)), A34[:, 1:]),
    "reflect": (
        lambda: F.pad(t(A34), (2, 1), mode="reflect"),
        np.pad(A34, ((0, 0), (2, 1)), "reflect"),
    ),
    "replicate": (
        lambda: F.pad(t(A34), (2, 1), mode="replicate"),
        np.pad(A34, ((0, 0), (2, 1)), "edge"),
    ),
    "circular": (
        lambda: F.pad(t(A34), (2, 1), mode="circular"),
        np.pad(A34, ((0, 0), (2, 1)), "wrap"),
    ),
    "flip": (lambda: t(A34).flip(0, 1), A34[::-1, ::-1]),
    "roll": (lambda: t(A34).roll((1, -2), (0, 1)), np.roll(A34, (1, -2), (0, 1))),
    "roll flat": (lambda: t(A34).roll(3), np.roll(A34, 3)),
    "rot90": (lambda: t(A34).rot90(-1), np.rot90(A34, -1)),
    "repeat": (lambda: t(A34).repeat(2, 1, 3), np.tile(A34, (2, 1, 3))),
    "tile": (lambda: t(A34).tile(2), np.tile(A34, 2)),
    "repeat_interleave": (lambda: t(A34).repeat_interleave(2, 1), np.repeat(A34, 2, 1)),
    "repeat_interleave by tensor": (
        lambda: t(A34).repeat_interleave(t([1, 0, 2]), 0),
        np.repeat(A34, [1, 0, 2], 0),
    ),
    "meshgrid": (
        lambda: torch.stack(torch.meshgrid(t([1, 2]), t([3, 4, 5]), indexing="xy")),
        np.stack(np.meshgrid([1, 2], [3, 4, 5])),
    ),
    "vander": (lambda: torch.vander(t([1.0, 2.0, 3.0])), np.vander([1.0, 2.0, 3.0])),
    "tril": (lambda: t(A34).tril(1), np.tril(A34, 1)),
    "triu": (lambda: t(A34).triu(-1), np.triu(A34, -1)),
    "diag_embed": (lambda: torch.diag_embed(t(A34[0]), 1), np.diag(A34[0], 1)),
    "sort": (lambda: t(A34).sort(1).values, np.sort(A34, 1)),
    "argsort": (lambda: t(A34).argsort(0), np.argsort(A34, 0)),
    "topk": (lambda: t(A34).topk(2, 1).values, -np.sort(-A34, 1)[:, :2]),
    "kthvalue": (lambda: t(A34).kthvalue(2, 1).values, np.sort(A34, 1)[:, 1]),
    "kthvalue of all": (lambda: t([3.0, 1.0, 2.0]).kthvalue(3).values, np.array(3.0)),
    "mode": (lambda: t([3, 1, 3, 1, 2]).mode().values, np.array(1)),
    "unique": (lambda: t([3, 1, 3]).unique(), np.array([1, 3])),
    "bincount": (lambda: t([3, 1, 3]).bincount(), np.array([0, 1, 0, 2])),
    "isin": (lambda: torch.isin(t([3, 1, 2]), t([2, 3])), np.array([True, False, True])),
    "searchsorted": (lambda: torch.searchsorted(t([1, 3, 5]), t([3, 6])), np.array([1, 3])),
    "bucketize": (lambda: torch.bucketize(t([3, 6]), t([1, 3, 5]), right=True), np.array([2, 3])),
    "one_hot": (lambda: F.one_hot(t([2, 0])), np.array([[0, 0, 1], [1, 0, 0]])),
    "embedding": (lambda: F.embedding(t([[0, 2]]), t(A34)), A34[[[0, 2]]]),
    "complex": (lambda: torch.complex(t(A34), t(B34)), A34 + 1j * B34),
    "angle": (lambda: torch.complex(t(A34), t(B34)).angle(), np.angle(A34 + 1j * B34)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    call, want = FUNCTIONS[name]
    got = call()
    assert tuple(got.shape) == want.shape
    assert np.allclose(got.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include", [True, False])
def test_scatter_reduce(reduce: str, include: bool) -> None:
    x, src, index = A34, B34, I34
    want = x.copy()
    for i in range(3):
        for j in range(4):
            parts = [src[k, j] for k in range(3) if index[k, j] == i]
            if parts:
                f = {"sum": np.sum, "prod": np.prod, "mean": np.mean}.get(reduce)
                f = f or getattr(np, reduce)
                want[i, j] = f([x[i, j], *parts] if include else parts)
    got = t(x).scatter_reduce(0, t(index), t(src), reduce, include_self=include)
    assert np.allclose(got.numpy(), want)
    assert np.allclose(
        t(x).scatter_reduce_(0, t(index), t(src), reduce, include_self=include), want
    )


@pytest.mark.parametrize(
    "dtype", ["float32", "int32", "int64", "uint8", "bool", "float16", "float64"]
)
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable_for_every_dtype(dtype: str, descending: bool) -> None:
    x = RNG.integers(0, 2 if dtype == "bool" else 9, (5, 700)).astype(dtype)
    values, indices = t(x).sort(1, descending)
    keys = -x.astype(np.int64) if descending else x.astype(np.int64)
    order = np.argsort(keys, axis=1, kind="stable")
    assert np.array_equal(indices.numpy(), order)
    assert np.array_equal(values.numpy(), np.take_along_axis(x, order, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_the_largest_and_zeros_are_equal(dtype: str) -> None:
    x = np.array([np.nan, 1, -np.inf, 0.0, -0.0, np.inf, -np.nan, -1], dtype)
    values, indices = t(x).sort()
    assert indices.tolist() == [2, 7, 3, 4, 1, 5, 0, 6]
    assert math.copysign(1, values[3]) == -1
    assert t(x).sort(descending=True).indices.tolist() == [0, 6, 5, 1, 3, 4, 7, 2]
    assert t(x).topk(3).indices.tolist() == [0, 6, 5]
    assert t(x).topk(2, largest=False).indices.tolist() == [2, 7]


@pytest.mark.parametrize("k", [1, 3, 8, 40, 700])
@pytest.mark.parametrize("largest", [True, False])
def test_topk_of_long_lines(k: int, largest: bool) -> None:
    x = reals(7, 1024).astype(np.float32)
    values, indices = t(x).topk(k, 1, largest)
    want = np.sort(x, 1)[:, ::-1][:, :k] if largest else np.sort(x, 1)[:, :k]
    assert np.array_equal(values.numpy(), want)
    assert np.array_equal(np.take_along_axis(x, indices.numpy(), 1), want)


def test_embedding_options() -> None:
    table = t(A34 * 3).requires_grad_()
    index = t([0, 2, 2, 1])
    F.embedding(index, table, padding_idx=2).sum().backward()
    assert table.grad[:, 0].tolist() == [1, 1, 0]
    table.grad = None
    F.embedding(index, table, scale_grad_by_freq=True).sum().backward()
    assert table.grad[:, 0].tolist() == [1, 1, 1]
    F.embedding(t([0, 1]), table, max_norm=1.0)
    norms = np.linalg.norm(table.detach().numpy(), axis=1)
    assert np.allclose(norms[:2], 1.0) and norms[2] > 1


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x, index = reals(3000, 64).astype(np.float32), RNG.integers(0, 3000, 20000)
    found = []
    for n in (1, 4):
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            rows = t(x)[t(index)]
            added = torch.zeros(3000, 64).index_add_(0, t(index), rows)
            found.append((rows.numpy(), added.numpy(), t(x).sort(1).indices.numpy()))
        finally:
            torch.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


# -- random numbers ------------------------------------------------------------------------------


def test_seeds_and_states() -> None:
    torch.manual_seed(3)
    a = torch.rand(5)
    state = torch.get_rng_state()
    b = torch.randn(7)
    torch.set_rng_state(state)
    assert torch.equal(b, torch.randn(7))
    assert torch.equal(a, torch.rand(5, generator=torch.Generator().manual_seed(3)))
    assert torch.initial_seed() == 3
    with torch.random.fork_rng():
        torch.rand(3)
    torch.set_rng_state(state)
    assert torch.equal(b, torch.randn(7))
    generator = pickle.loads(pickle.dumps(torch.Generator().manual_seed(9)))
    assert generator.initial_seed() == 9


DRAWS: dict[str, tuple[Callable, float, float]] = {
    "rand": (lambda n: torch.rand(n), 0.5, 1 / 12),
    "randn": (lambda n: torch.randn(n), 0, 1),
    "uniform_": (lambda n: torch.empty(n).uniform_(-1, 3), 1, 16 / 12),
    "normal_": (lambda n: torch.empty(n).normal_(2, 0.5), 2, 0.25),
    "exponential_": (lambda n: torch.empty(n).exponential_(2), 0.5, 0.25),
    "geometric_": (lambda n: torch.empty(n).geometric_(0.25), 4, 12),
    "bernoulli_": (lambda n: torch.empty(n).bernoulli_(0.3), 0.3, 0.21),
    "bernoulli": (lambda n: torch.bernoulli(torch.full((n,), 0.3)), 0.3, 0.21),
    "randint": (lambda n: torch.randint(-2, 4, (n,)), 0.5, 35 / 12),
    "poisson": (lambda n: torch.poisson(torch.full((n,), 3.0)), 3, 3),
    "log_normal_": (lambda n: torch.empty(n).log_normal_(0, 0.5).log(), 0, 0.25),
    "normal of tensors": (lambda n: torch.normal(torch.full((n,), 2.0), 0.5), 2, 0.25),
    "dropout": (lambda n: F.dropout(torch.ones(n), 0.2), 1, 0.25),
    "alpha_dropout": (lambda n: F.alpha_dropout(torch.randn(n), 0.2, True), 0, 1),
    "multinomial": (
        lambda n: torch.multinomial(torch.tensor([1.0, 0.0, 3.0]), n, replacement=True),
        1.5, 0.75,
    ),
    "random_": (lambda n: torch.empty(n, dtype=torch.uint8).random_(), 127.5, 65535 / 12),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_moments(name: str) -> None:
    torch.manual_seed(0)
    call, mean, var = DRAWS[name]
    x = call(40000).numpy().astype(np.float64)
    assert abs(x.mean() - mean) < 5 * math.sqrt(var / 40000)
    assert abs(x.var() - var) < 0.06 * var


def test_dropout_regenerates_its_mask() -> None:
    x = torch.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.3)
    y.sum().backward()
    assert torch.equal(y.detach(), x.grad)
    assert F.dropout(x, 0.3, training=False) is x
    z = torch.ones(6)
    assert F.dropout(z, 1.0, inplace=True) is z and not z.any()
    channels = F.dropout2d(torch.ones(4, 8, 3, 3), 0.5)
    assert all(len(c.unique()) == 1 for sample in channels for c in sample)


def test_multinomial_without_replacement() -> None:
    picks = torch.multinomial(torch.ones(50, 6), 6)
    assert torch.equal(picks.sort(1).values, torch.arange(6).expand(50, 6))
    assert (torch.multinomial(torch.tensor([0.0, 1.0, 1.0]), 2).sort().values.tolist()) == [1, 2]
    assert torch.randperm(100).sort().values.tolist() == list(range(100))


# -- printing and Python -------------------------------------------------------------------------

SHOWN = {
    "tensor([1., 2.])": lambda: torch.tensor([1.0, 2.0]),
    "tensor([1, 2])": lambda: torch.tensor([1, 2]),
    "tensor(3.1416)": lambda: torch.tensor(3.14159),
    "tensor([], size=(2, 0))": lambda: torch.empty(2, 0),
    "tensor([1., 2.], requires_grad=True)": lambda: torch.tensor([1.0, 2.0], requires_grad=True),
    "tensor([2.], grad_fn=<MulBackward0>)": lambda: torch.ones(1, requires_grad=True) * 2,
    "tensor([1], dtype=tritorch.int32)": lambda: torch.tensor([1], dtype=torch.int32),
    "tensor([1.0000e+00, 1.0000e+05, 1.5000e+00])": lambda: torch.tensor([1.0, 1e5, 1.5]),
    "tensor([True])": lambda: torch.tensor([True]),
    "tensor([1.+2.j])": lambda: torch.tensor([1 + 2j]),
    "tensor([[ 1.0000,  0.5000],\n        [-2.0000,     nan]])": lambda: torch.tensor(
        [[1, 0.5], [-2, math.nan]]
    ),
    "tensor([   0,    1,    2,  ..., 1998, 1999, 2000])": lambda: torch.arange(2001),
    "tensor(..., device='meta', size=(2,))": lambda: torch.empty(2, device="meta"),
}


@pytest.mark.parametrize("text", SHOWN)
def test_repr(text: str) -> None:
    assert repr(SHOWN[text]()) == text


def test_print_options_and_format() -> None:
    torch.set_printoptions(precision=2, sci_mode=False)
    try:
        assert repr(torch.tensor([1e-6, 1.0])) == "tensor([0.00, 1.00])"
    finally:
        torch.set_printoptions(profile="default")
    assert f"{torch.tensor(2.5):.2f} {torch.tensor(3)}" == "2.50 3"
    assert f"{torch.ones(1)}" == "tensor([1.])"


def test_python_protocols() -> None:
    x = torch.tensor([3, 1, 2])
    assert len(x) == 3 and [int(v) for v in x] == [3, 1, 2] and 2 in x and 7 not in x
    assert float(x[0]) == 3.0 and complex(x[1]) == 1 and "abc"[x[1]] == "b" and bool(x[2])
    assert x.size() == (3,) and x.size(-1) == 3 and x.numel() == x.nelement() == 3
    assert x.dim() == x.ndimension() == 1 and x.element_size() == 8
    assert x.type() == "torch.LongTensor" and x.type(torch.float32).dtype is torch.float32
    assert x.untyped_storage().nbytes() == 24
    assert x[1:].untyped_storage().data_ptr() == x.data_ptr()
    assert "sum" in dir(x) and torch.is_tensor(x) and not torch.is_tensor(3)
    assert torch.result_type(x, 1.5) is torch.float32
    assert tuple(torch.broadcast_shapes((3, 1), (4,), 1)) == (3, 4)


def test_numpy_sees_tensors() -> None:
    x = torch.tensor([1.0, 2.0])
    assert isinstance(np.add(np.ones(2, np.float32), x), torch.Tensor)
    assert np.asarray(x).base is None or np.shares_memory(np.asarray(x), x.numpy())
    assert np.shares_memory(np.from_dlpack(x), x.numpy())
    array = np.arange(3.0)
    y = torch.from_dlpack(array)
    y[0] = 9
    assert array[0] == 9


def test_comparisons_of_whole_tensors() -> None:
    x = torch.tensor([1.0, math.nan])
    assert not torch.equal(x, x) and not torch.allclose(x, x)
    assert torch.allclose(x, x, equal_nan=True)
    assert torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0 + 1e-7, 2.1])).tolist() == [
        True, False,
    ]  # fmt: skip
    assert not torch.equal(torch.ones(2), torch.ones(3))


# -- PyTorch as the oracle -----------------------------------------------------------------------


@st.composite
def key_and_shape(draw: Any) -> tuple:
    """A shape and a key for it: ints, slices, None, Ellipsis, bools, integer arrays and masks."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    common = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    items: list[Any] = []
    d = 0
    while d < len(shape) and draw(st.booleans()) | (d == 0):
        n = shape[d]
        kind = draw(
            st.sampled_from(["int", "slice", "none", "array", "mask", "dots", "list", "bool"])
        )
        if kind == "dots" and not any(k is Ellipsis for k in items):
            items.append(Ellipsis)
            d += draw(st.integers(0, len(shape) - d))
            continue
        if kind == "none":
            items.append(None)
            if len(items) > 6:
                break
            continue
        if kind == "bool":
            items.append(draw(st.booleans()))
            break
        if kind == "mask":
            m = draw(st.integers(1, len(shape) - d))
            seed = draw(st.integers(0, 99))
            items.append(np.random.default_rng(seed).random(shape[d : d + m]) < 0.6)
            d += m
            continue
        if kind == "slice" or not n:
            start = draw(st.one_of(st.none(), st.integers(-5, 5)))
            stop = draw(st.one_of(st.none(), st.integers(-5, 5)))
            items.append(slice(start, stop, draw(st.sampled_from([None, 1, 2, 3]))))
        elif kind in ("array", "list"):
            seed = draw(st.integers(0, 99))
            array = np.random.default_rng(seed).integers(-n, n, common)
            items.append(array.tolist() if kind == "list" and common else array)
        else:
            items.append(draw(st.integers(-n, n - 1)))
        d += 1
    return shape, tuple(items) if len(items) != 1 or draw(st.booleans()) else items[0]


def outcome(call: Callable) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:
            return type(error)


try:
    import torch as oracle
except ImportError:
    oracle = None  # type: ignore[assignment]


def both(f: Callable, *arrays: np.ndarray, grad: bool = True) -> tuple:
    """`f(library, functional, *tensors)` for both: result arrays and gradients."""
    found = []
    for lib, functional in ((torch, F), (oracle, oracle.nn.functional if oracle else None)):
        ts = [lib.from_numpy(a.copy()) for a in arrays]
        for x in ts:
            if grad and x.dtype in (lib.float64, lib.float32):
                x.requires_grad_()
        out = f(lib, functional, *ts)
        out = list(out) if isinstance(out, tuple | list) else [out]
        loss = sum((o * o * 0.5).sum() for o in out if o.requires_grad)
        if not isinstance(loss, int):
            loss.backward()
        grads = [None if x.grad is None else x.grad.numpy() for x in ts]
        found.append(([o.detach().numpy() for o in out], grads))
    return tuple(found)


K34 = np.array([[0, 1, 2, 0], [2, 0, 1, 1], [1, 2, 0, 2]])
V3 = np.array([2, 0, 2])
CASES: dict[str, tuple] = {
    "gather 1": (lambda L, F, x, i: x.gather(1, i[:, :3]), A34, K34),
    "gather 0-d": (lambda L, F, x, i: x[0, 0].gather(0, i[0, 0] * 0), A34, K34),
    "scatter": (lambda L, F, x, s: x.scatter(1, L.tensor([[3], [0], [1]]), s), A34, B34[:, :1]),
    "scatter number": (lambda L, F, x: x.scatter(0, L.tensor([[1, 0, 2, 2]]), 5.0), A34),
    "scatter_": (
        lambda L, F, x, s: (x * 1).scatter_(1, L.tensor([[3], [0], [1]]), s), A34, B34[:, :1],
    ),
    "scatter_add": (lambda L, F, x, i, s: x.scatter_add(0, i[:2], s), A34, K34, B34[:2]),
    **{
        f"scatter_reduce {r} {inc}": (
            lambda L, F, x, i, s, r=r, inc=inc: x.scatter_reduce(0, i, s, r, include_self=inc),
            A34, K34 // 2, B34,
        )
        for r in ("sum", "prod", "mean", "amax", "amin")
        for inc in (True, False)
    },
    "scatter_reduce zeros": (
        lambda L, F, x, i, s: x.scatter_reduce(0, i, s, "prod"),
        A34 * (K34 > 0), K34 // 2, B34 * (K34.T.reshape(3, 4) > 0),
    ),
    "scatter_reduce ties": (
        lambda L, F, x, i, s: x.scatter_reduce(0, i, s, "amax"),
        np.round(A34), K34 // 2, np.round(B34),
    ),
    "index_add": (lambda L, F, x, i, s: x.index_add(0, i, s, alpha=0.5), A34, V3, B34),
    "index_add 1": (lambda L, F, x, i, s: x.index_add(1, i, s[:, :3]), A34, V3, B34),
    "index_copy": (lambda L, F, x, i, s: x.index_copy(0, i[:2], s[:2]), A34, V3, B34),
    "index_fill": (lambda L, F, x, i: x.index_fill(1, i, 3.0), A34, V3),
    "index_fill tensor": (lambda L, F, x, i, v: x.index_fill(1, i, v[0, 0]), A34, V3, B34),
    "index_put": (lambda L, F, x, i, s: x.index_put((i,), s, accumulate=True), A34, V3, B34),
    "index_select": (lambda L, F, x, i: x.index_select(0, i), A34, V3),
    "take": (lambda L, F, x, i: x.take(i), A34, K34),
    "put": (lambda L, F, x, i, s: x.put(i[0], s[0], accumulate=True), A34, K34, B34),
    "take_along_dim": (lambda L, F, x, i: L.take_along_dim(x, i[:1], 0), A34, K34),
    "masked_fill tensor": (lambda L, F, x, v: x.masked_fill(x > 0, v[0, 0]), A34, B34),
    "masked_fill_": (lambda L, F, x: (x * 1).masked_fill_(x > 0, -1.5), A34),
    "masked_scatter": (lambda L, F, x, s: x.masked_scatter(x > 0, s), A34, B34),
    "masked_select": (lambda L, F, x: x.masked_select(x > 0), A34),
    "mask": (lambda L, F, x: x[x > 0], A34),
    "embedding": (lambda L, F, x, i: F.embedding(i, x, padding_idx=1), A34, K34),
    "cat": (lambda L, F, x, y: L.cat([x, y.float(), L.empty(0)], 1), A34, B34),
    "stack": (lambda L, F, x, y: L.stack([x, y, x], -1), A34, B34),
    "block_diag": (lambda L, F, x, y: L.block_diag(x, y[0], y[0, 0]), A34, B34),
    "constant_pad_nd": (lambda L, F, x: L.constant_pad_nd(x, (1, -1, 2, 0), 3.0), A34),
    "reflect": (lambda L, F, x: F.pad(x[None], (2, 3, 1, 2), mode="reflect"), A34),
    "replicate": (lambda L, F, x: F.pad(x[None], (2, 7, -1, 2), mode="replicate"), A34),
    "circular": (lambda L, F, x: F.pad(x[None], (2, 3, 1, 2), mode="circular"), A34),
    "flip": (lambda L, F, x: L.flip(x, (0,)), A34),
    "roll": (lambda L, F, x: L.roll(x, (1, 2), (0, 1)), A34),
    "rot90": (lambda L, F, x: L.rot90(x, 3, (1, 0)), A34),
    "repeat": (lambda L, F, x: x.repeat(2, 3, 1), A34),
    "repeat_interleave": (lambda L, F, x: x.repeat_interleave(L.tensor([2, 0, 1]), 0), A34),
    "tile": (lambda L, F, x: L.tile(x, (2, 1, 2)), A34),
    "cartesian_prod": (lambda L, F, x, y: L.cartesian_prod(x[0], y[1]), A34, B34),
    "combinations": (lambda L, F, x: L.combinations(x[0], 3, with_replacement=True), A34),
    "vander": (lambda L, F, x: L.vander(x[0], 3, increasing=True).detach(), A34),
    "pixel_shuffle": (lambda L, F, x: F.pixel_shuffle(x.reshape(1, 4, 1, 3), 2), A34),
    "pixel_unshuffle": (lambda L, F, x: F.pixel_unshuffle(x.reshape(3, 2, 2), 2), A34),
    "channel_shuffle": (lambda L, F, x: F.channel_shuffle(x.reshape(1, 4, 3), 2), A34),
    "tril_": (lambda L, F, x: (x * 1).tril_(1), A34),
    "diag": (lambda L, F, x: L.diag(x, 1), A34),
    "diag of a vector": (lambda L, F, x: L.diag(x[0], -1), A34),
    "diag_embed": (lambda L, F, x: L.diag_embed(x, 1, 0, 2), A34),
    "select_scatter": (lambda L, F, x, y: L.select_scatter(x, y[0], 0, 1), A34, B34),
    "slice_scatter": (lambda L, F, x, y: L.slice_scatter(x, y[:, :2], 1, 0, 4, 2), A34, B34),
    "diagonal_scatter": (lambda L, F, x, y: L.diagonal_scatter(x, y[0, :3], 1), A34, B34),
    "as_strided_scatter": (
        lambda L, F, x, y: L.as_strided_scatter(x.detach(), y[:2, :2], (2, 2), (4, 1), 1), A34, B34,
    ),
    "sort": (lambda L, F, x: L.sort(x, 0, True), A34),
    "topk": (lambda L, F, x: L.topk(x, 2, 0, largest=False), A34),
    "kthvalue": (lambda L, F, x: L.kthvalue(x, 2, 0, keepdim=True), A34),
    "mode": (lambda L, F, x: L.mode(x, 0), np.round(A34)),
    "msort": (lambda L, F, x: L.msort(x), A34),
    "unique": (lambda L, F, x: L.unique(x, return_inverse=True, return_counts=True), K34),
    "unique rows": (lambda L, F, x: L.unique(x, True, True, True, dim=0), K34[[0, 1, 0, 2]]),
    "unique columns": (lambda L, F, x: L.unique(x, dim=1), K34),
    "unique_consecutive": (lambda L, F, x: L.unique_consecutive(x, True, True), K34 // 2),
    "unique_consecutive rows": (
        lambda L, F, x: L.unique_consecutive(x, True, True, 0), K34[[0, 0, 1]],
    ),
    "bincount": (lambda L, F, x: L.bincount(x.reshape(-1), minlength=6), K34),
    "bincount weights": (
        lambda L, F, x, w: L.bincount(x.reshape(-1), w.detach().reshape(-1)), K34, A34,
    ),
    "histc": (lambda L, F, x: L.histc(x.detach(), 7), A34),
    "histc range": (lambda L, F, x: L.histc(x.detach(), 5, -0.5, 0.5), A34),
    "isin": (lambda L, F, x: L.isin(x, 2, invert=True), K34),
    "searchsorted": (
        lambda L, F, x, y: L.searchsorted(x.detach(), y.detach(), right=True),
        np.sort(A34, 1), B34,
    ),
    "searchsorted sorter": (
        lambda L, F, x, y: L.searchsorted(
            x.detach(), y.detach(), sorter=L.argsort(x.detach(), 1)
        ),
        A34, B34,
    ),
    "tril_indices": (lambda L, F, x: L.tril_indices(3, 4, 1), A34),
    "triu_indices": (lambda L, F, x: L.triu_indices(4, 3, -1), A34),
    "unravel_index": (lambda L, F, x: L.unravel_index(x, (2, 5)), K34),
    "nonzero_static": (lambda L, F, x: L.nonzero_static(x, size=3), K34),
    "meshgrid": (lambda L, F, x, y: L.meshgrid(x[0], y[0], indexing="xy"), A34, B34),
    "angle": (lambda L, F, x: L.angle(x), A34),
    "angle of complex": (lambda L, F, x, y: L.angle(L.complex(x, y)), A34, B34),
    "polar": (lambda L, F, x, y: L.view_as_real(L.polar(x.abs(), y)), A34, B34),
    "conj": (lambda L, F, x, y: L.view_as_real(L.complex(x, y).conj().resolve_conj()), A34, B34),
}  # fmt: skip


@pytest.mark.parametrize("shape, dim", [((0, 1, 0), 2), ((3, 0), 1), ((0,), 0)])
def test_nothing_lies_in_an_empty_dimension(shape: tuple, dim: int) -> None:
    key = (*(slice(None),) * dim, torch.tensor([0]))
    with pytest.raises(IndexError, match="out of bounds for dimension with size 0"):
        torch.zeros(shape)[key]
    assert torch.zeros(0, 3)[:, torch.tensor([2])].shape == (0, 1)


@pytest.mark.oracle
@pytest.mark.skipif(oracle is None, reason="PyTorch is not installed")
class TestAgainstPyTorch:
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(key_and_shape())
    def test_getitem(self, case: tuple) -> None:
        shape, key = case
        x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
        a = outcome(lambda: torch.from_numpy(x)[key_for(torch, key)])
        b = outcome(lambda: oracle.from_numpy(x)[key_for(oracle, key)])
        if isinstance(b, type):
            assert isinstance(a, type) and issubclass(a, Exception), (case, a, b)
        else:
            assert not isinstance(a, type), (case, a, b.shape)
            assert tuple(a.shape) == tuple(b.shape)
            assert np.array_equal(a.numpy(), b.numpy())

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(key_and_shape(), st.integers(0, 2))
    def test_setitem(self, case: tuple, kind: int) -> None:
        shape, key = case
        x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
        results = []
        for lib in (torch, oracle):

            def change(lib: Any = lib) -> Any:
                w = lib.from_numpy(x.copy()).requires_grad_()
                y, k = w * 1, key_for(lib, key)
                target = y[k].shape
                value: Any = 5.5
                if kind:
                    value = lib.arange(math.prod(target), dtype=lib.float64).reshape(tuple(target))
                    value = (value[None] if kind == 2 else value).requires_grad_()
                y[k] = value
                (y * y).sum().backward()
                grad = value.grad.numpy() if kind else 0
                return y.detach().numpy(), w.grad.numpy(), grad, y._version

            results.append(outcome(change))
        a, b = results
        if isinstance(b, type):
            assert isinstance(a, type), (case, b)
        else:
            assert not isinstance(a, type), (case, a)
            assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True)), (case, a, b)

    @pytest.mark.parametrize("name", CASES)
    def test_functions(self, name: str) -> None:
        f, *arrays = CASES[name]
        (ours_out, ours_grad), (out, grad) = both(f, *arrays)
        assert len(ours_out) == len(out)
        for a, b in zip(ours_out, out, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            assert np.allclose(a, b, rtol=1e-10, atol=1e-12, equal_nan=True)
        for a, b in zip(ours_grad, grad, strict=True):
            zero = np.zeros(1)
            assert np.allclose(zero if a is None else a, zero if b is None else b, atol=1e-10)

    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1001,), (40, 50), (5, 6, 7)])
    @pytest.mark.parametrize("scale", [1.0, 1e-5, 1e6])
    def test_repr(self, shape: tuple, scale: float) -> None:
        for x in (reals(*shape) * scale, np.round(reals(*shape) * scale)):
            array = np.asarray(x, np.float32)
            a, b = repr(torch.from_numpy(array)), repr(oracle.from_numpy(array))
            assert a == b


def key_for(lib: Any, key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(key_for(lib, k) for k in key)
    return lib.from_numpy(key) if isinstance(key, np.ndarray) else key


def test_pieces_along_named_dimensions() -> None:
    x = torch.arange(48).reshape(4, 6, 2)
    for name, dim in (("hsplit", 1), ("vsplit", 0), ("dsplit", 2)):
        for cut in (2, [1]):
            have, want = getattr(torch, name)(x, cut), np.split(x.numpy(), cut, dim)
            assert all(np.array_equal(h.numpy(), w) for h, w in zip(have, want, strict=True))
            assert all(h._base is x._base for h in getattr(x, name)(cut))
    assert [p.tolist() for p in torch.hsplit(torch.arange(4), 2)] == [[0, 1], [2, 3]]
    with pytest.raises(RuntimeError, match="not divisible by the split_size 4"):
        torch.hsplit(x, 4)
    with pytest.raises(RuntimeError, match=r"torch.dsplit requires a tensor with at least 3 dim"):
        torch.dsplit(x[0], 2)


def test_unsafe_pieces_may_be_changed_under_autograd() -> None:
    x = torch.ones(4, requires_grad=True)
    for f in (
        lambda t: t.unsafe_split(2),
        lambda t: torch.unsafe_chunk(t, 2),
        lambda t: torch.unsafe_split_with_sizes(t, [1, 3]),
    ):
        parts = f(x * 1)
        parts[0].mul_(3)
        assert parts[0].tolist()[0] == 3
    with pytest.raises(RuntimeError, match="multiple views"):
        (x * 1).split(2)[0].mul_(3)


def test_indices_behind_a_mask_may_be_out_of_bounds() -> None:
    x = torch.arange(4.0)
    index, mask = torch.tensor([1, 9, -7]), torch.tensor([True, False, False])
    assert torch._unsafe_masked_index(x, mask, [index], -1).tolist() == [1, -1, -1]
    put = torch._unsafe_masked_index_put_accumulate(x, mask, [index], torch.ones(3))
    assert put.tolist() == [0, 2, 2, 3]
    assert torch.ops.aten._unsafe_masked_index.default(x, mask, [index], 5).tolist() == [1, 5, 5]
    with pytest.raises(AttributeError, match="no operator 'nothing'"):
        torch.ops.aten.nothing  # noqa: B018


def test_ranges_of_int64_are_counted_in_whole_numbers() -> None:
    assert torch.arange(-0.9, 2.1, 2.0, dtype=torch.int64).tolist() == [0]
    assert torch.arange(1.0, 5.000001, 2.0, dtype=torch.int64).tolist() == [1, 3]
    assert torch.arange(1.0, 5.000001, 2.0).tolist() == [1, 3, 5]


def test_a_safe_softmax_of_nothing_has_no_gradient() -> None:
    x = torch.tensor([[-float("inf")] * 2, [1.0, 1.0]], requires_grad=True)
    out = torch._safe_softmax(x, 1)
    out[:, 0].sum().backward()
    assert out.tolist() == [[0, 0], [0.5, 0.5]] and x.grad.tolist() == [[0, 0], [0.25, -0.25]]
