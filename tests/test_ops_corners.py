"""Corners of operators: scalars, nothing at all, mixed dtypes, the origin, NumPy's keywords."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn import functional as F


def test_searches_compare_in_the_dtype_both_promote_to() -> None:
    whole = torch.tensor([1, 2, 3])
    assert torch.searchsorted(whole, 2.5).item() == 2
    assert torch.searchsorted(whole, torch.tensor([2.5, 0.0])).tolist() == [2, 0]
    assert torch.searchsorted(whole.float(), torch.tensor([2])).tolist() == [1]
    assert torch.bucketize(2.5, whole).item() == 2
    order = torch.tensor([2, 0, 1])
    assert torch.searchsorted(torch.tensor([2, 3, 1]), torch.tensor([2.5]), sorter=order) == 2


@pytest.mark.parametrize("f", [torch.unique, torch.unique_consecutive])
def test_unique_of_a_scalar_and_of_nothing(f: Callable) -> None:
    values, back, counts = f(torch.tensor(5.0), return_inverse=True, return_counts=True)
    assert (values.tolist(), back.shape, counts.tolist()) == ([5.0], (), [1])
    with pytest.raises(IndexError, match="tensor has no dimensions"):
        f(torch.tensor(5.0), dim=0)
    found = f(torch.zeros(0, 3), dim=0, return_inverse=True, return_counts=True)
    assert [tuple(x.shape) for x in found] == [(0, 3), (0,), (0,)]
    for shape in ((2, 0), (0, 0)):
        with pytest.raises(RuntimeError, match="0 sized dimensions"):
            f(torch.zeros(shape), dim=0)


def test_powers_of_bools() -> None:
    x = torch.tensor([True, False])
    assert (x**True).tolist() == [True, False] and (x**False).tolist() == [True, True]
    with pytest.raises(NotImplementedError, match="pow: not implemented for two tensors of dtype"):
        x**x


def test_reductions_over_no_dimensions() -> None:
    x = torch.tensor([[0, 2], [3, 1]], dtype=torch.uint8)
    for f in (torch.all, torch.any):
        assert f(x, dim=()).tolist() == [[0, 1], [1, 1]] and f(x, ()).dtype is torch.uint8
        assert f(x.float(), []).dtype is torch.bool


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda: torch.gather(torch.tensor(5), 0, torch.tensor(1)), "out of bounds"),
        (lambda: F.group_norm(torch.ones(2, 2), 1, torch.ones(1, 2)), "should contain 2 elements"),
        (
            lambda: torch.gru_cell(*[torch.ones(2, 2)] * 4),
            "hidden_size = 6, but got 2",
        ),
        (lambda: torch.lstm_cell(X, [X, X], X, X), "hidden_size = 8, but got 2"),
    ],
)
def test_shapes_that_are_refused(f: Callable, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        f()


def test_angles_have_no_gradient_at_the_origin() -> None:
    y, x = (torch.tensor([0.0, 1.0], requires_grad=True) for _ in range(2))
    for g in torch.autograd.grad(torch.atan2(y, x).sum(), (y, x)):
        assert g[0] == 0 and abs(g[1].item()) == 0.5
    z = torch.tensor([0j, 1 + 1j], requires_grad=True)
    (g,) = torch.autograd.grad(z.angle().sum(), z)
    assert g.tolist() == [0, -0.5 + 0.5j]


def test_elu_is_straight_at_zero() -> None:
    for f in (F.elu, F.celu, F.selu):
        x = torch.zeros((), requires_grad=True)
        (g,) = torch.autograd.grad(f(x), x, create_graph=True)
        assert torch.autograd.grad(g, x)[0] == 0


def test_group_norm_of_single_values() -> None:
    with pytest.raises(ValueError, match="group_norm: Expected more than 1 value per channel"):
        F.group_norm(torch.ones(1, 4), 4)
    assert torch.group_norm(torch.ones(1, 4), 4).tolist() == [[0.0] * 4]
    assert F.group_norm(torch.ones(2, 4), 4).shape == (2, 4)


def test_dropout_of_nothing_takes_integers() -> None:
    x = torch.tensor([1, 2])
    assert F.dropout(x, 0.0).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="result type Float"):
        F.dropout(x, 0.5)


def test_transposed_convolutions_take_no_padding_string() -> None:
    with pytest.raises(TypeError, match="'padding' must be tuple of ints, not str"):
        F.conv_transpose1d(torch.ones(1, 2, 7), torch.ones(2, 3, 3), padding="same")  # type: ignore


@pytest.mark.parametrize("name", ["softmax", "sort", "unbind", "squeeze", "argsort", "mode"])
def test_the_dimension_may_be_called_axis(name: str) -> None:
    x = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    for f in (getattr(torch, name), getattr(torch.Tensor, name)):
        got, want = f(x, axis=0), f(x, dim=0)
        got, want = ((p,) if isinstance(p, torch.Tensor) else p for p in (got, want))
        assert [p.tolist() for p in got] == [p.tolist() for p in want]


def test_keywords_of_numpy() -> None:
    x = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    assert torch.kthvalue(x, 1, axis=0, keepdims=True).values.tolist() == [[2.0, 1.0]]
    assert torch.stack([x, x], axis=2).shape == (2, 2, 2)
    assert torch.sum(a=x) == 10 and torch.max(x=x) == 4
    assert x.clone().scatter_(axis=0, index=torch.tensor([[1]]), value=9.0).tolist()[1] == [9, 4]
    for wrong in ({"axis": 0, "dim": 0}, {"axes": 0}):
        with pytest.raises(TypeError, match="unexpected keyword argument 'ax"):
            torch.unbind(x, **wrong)


def test_transposing_a_vector_in_place() -> None:
    assert torch.tensor([1, 2]).t_().tolist() == [1, 2] and torch.tensor(3).t_() == 3
    with pytest.raises(RuntimeError, match="<= 2 dimensions"):
        torch.zeros(1, 2, 3).t_()


X = torch.tensor([[3.0, 1.0], [2.0, 4.0]])


@pytest.mark.parametrize(
    ("f", "out"),
    [
        (lambda out: torch.mm(X, X, out=out), torch.empty(2, 2).double()),
        (lambda out: torch.linalg.inv(X, out=out), torch.empty(2, 2).double()),
        (lambda out: torch.gather(X, 0, torch.tensor([[0]]), out=out), torch.empty(1, 1).double()),
        (lambda out: torch.softmax(X, 0, out=out), torch.empty(2, 2).double()),
        (lambda out: torch.tril(X, out=out), torch.empty(2, 2).double()),
        (lambda out: torch.argmax(X, out=out), torch.empty(()).int()),
        (lambda out: torch.nonzero(X, out=out), torch.empty(4, 2).int()),
        (lambda out: torch.sort(X, out=(torch.empty(2, 2), out)), torch.empty(2, 2).int()),
    ],
)
def test_results_are_not_written_to_another_dtype(f: Callable, out: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype"):
        f(out)
    right = torch.int64 if out.dtype is torch.int32 else torch.float32
    f(torch.empty(out.shape, dtype=right))
    assert torch.add(X, X, out=torch.empty(2, 2).double())[0, 0] == 6


FLOATS = [0.6, 0.6, 1.6]
# Calls with `out`; which dtypes it may have is PyTorch's rule of the function.
WITH_OUT: dict[str, Callable] = {
    "abs": lambda m, x, out: m.abs(x, out=out),
    "add": lambda m, x, out: m.add(x, x, out=out),
    "all": lambda m, x, out: m.all(x > 0, 0, out=out),
    "arange": lambda m, x, out: m.arange(3, out=out),
    "arange, dtype": lambda m, x, out: m.arange(3, dtype=m.float32, out=out),
    "cat": lambda m, x, out: m.cat([x, x], out=out),
    "clamp": lambda m, x, out: m.clamp(x, 0, out=out),
    "clamp, tensor": lambda m, x, out: m.clamp(x, x, out=out),
    "cumprod": lambda m, x, out: m.cumprod(x, 0, out=out),
    "cumsum": lambda m, x, out: m.cumsum(x, 0, out=out),
    "cumsum, dtype": lambda m, x, out: m.cumsum(x, 0, dtype=m.float64, out=out),
    "exp": lambda m, x, out: m.exp(x, out=out),
    "float_power": lambda m, x, out: m.float_power(x, 2, out=out),
    "floor": lambda m, x, out: m.floor(x, out=out),
    "gelu": lambda m, x, out: m.nn.functional.softshrink(x, out=out),
    "irfft": lambda m, x, out: m.fft.irfft(x, out=out),
    "isin": lambda m, x, out: m.isin(x, x, out=out),
    "isposinf": lambda m, x, out: m.isposinf(x, out=out),
    "max": lambda m, x, out: m.max(x, 0, out=(out, m.empty((), dtype=m.int64))),
    "max, other": lambda m, x, out: m.max(x, x, out=out),
    "mean": lambda m, x, out: m.mean(x, 0, out=out),
    "nan_to_num": lambda m, x, out: m.nan_to_num(x, out=out),
    "prod": lambda m, x, out: m.prod(x, 0, out=out),
    "qr": lambda m, x, out: m.linalg.qr(x[None], out=(out, m.empty(1, 3))),
    "sum": lambda m, x, out: m.sum(x, 0, out=out),
    "sum, dtype": lambda m, x, out: m.sum(x, 0, dtype=m.float64, out=out),
    "view_copy": lambda m, x, out: m.view_copy(x, (3, 1), out=out),
    "where": lambda m, x, out: m.where(x > 1, x, x, out=out),
    "zeros, dtype": lambda m, x, out: m.zeros(3, dtype=m.float32, out=out),
}


@pytest.mark.oracle
@pytest.mark.parametrize(
    "out", ["bool", "uint8", "int32", "int64", "float32", "float64", "complex64"]
)
@pytest.mark.parametrize("name", WITH_OUT)
def test_dtypes_of_out_are_pytorchs(name: str, out: str) -> None:
    theirs = pytest.importorskip("torch")
    found = []
    for lib in (theirs, torch):
        x, into = lib.tensor(FLOATS), lib.empty(0, dtype=getattr(lib, out))
        try:
            WITH_OUT[name](lib, x, into)
            found.append([complex(v) for v in into.flatten().tolist()])
        except (RuntimeError, TypeError) as error:
            found.append(type(error))
    want, got = found
    if isinstance(want, list) and isinstance(got, list):
        assert got == pytest.approx(want, rel=1e-5)
    else:
        assert got == want


def test_values_that_every_dtype_holds() -> None:
    out = torch.bernoulli(torch.tensor([0.0, 1.0]), out=torch.empty(2, dtype=torch.int32))
    assert out.tolist() == [0, 1] and out.dtype is torch.int32


def test_dtypes_of_lerp() -> None:
    x, y = torch.zeros(2), torch.ones(2)
    for end, weight in ((y.double(), 0.5), (y, y.double()), (torch.tensor(1.0).double(), 0.5)):
        with pytest.raises(RuntimeError, match="lerp: expected dtype float32"):
            torch.lerp(x, end, weight)
        with pytest.raises(RuntimeError, match="lerp: expected dtype float32"):
            x.lerp_(end, weight)
    with pytest.raises(NotImplementedError, match="int64"):
        torch.lerp(x.long(), y.long(), 0.5)
    with pytest.raises(RuntimeError, match="cannot be converted"):
        torch.lerp(x, y, 0.5j)
    with pytest.raises(TypeError, match="'end'"):
        torch.lerp(x, 1.0, 0.5)
    assert torch.lerp(x, y, torch.tensor(0.25, dtype=torch.float64)).dtype is torch.float32


def test_positions_that_index_select_refuses() -> None:
    for dim, kind in ((0, IndexError), (1, RuntimeError)):
        with pytest.raises(kind, match="index 7, size 2"):
            torch.index_select(X, dim, torch.tensor([7]))
    with pytest.raises(RuntimeError, match="no elements to select"):
        torch.index_select(torch.empty(0, 3), 0, torch.tensor([0]))
    y = X.clone()
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.index_select(y, 0, torch.tensor([0, 1]), out=y)


def test_keywords_of_numpy_where_pytorch_takes_them() -> None:
    assert torch.sum(X, axis=0, keepdims=True).shape == (1, 2)
    assert torch.equal(torch.softmax(x=X, axis=1), torch.softmax(X, 1))
    for f in (
        lambda: torch.nn.functional.softmax(X, axis=1),
        lambda: torch.nn.functional.relu(x=X),
        lambda: torch.norm(X, axis=0),
        lambda: X.norm(axis=0),
        lambda: torch.split(X, 1, axis=0),
        lambda: torch.unique_consecutive(X, axis=0),
        lambda: torch.sum(X, dim=0, axis=0),
        lambda: torch.cat([X, X], dim=1, axis=0),
    ):
        with pytest.raises(TypeError):
            f()


def test_operands_may_have_the_names_of_numpy() -> None:
    out = torch.empty(2, 2)
    assert torch.equal(torch.exp(x=X), X.exp()) and torch.equal(torch.abs(a=X), X)
    assert torch.equal(torch.mul(x1=X, x2=2, out=out), 2 * X) and torch.equal(out, 2 * X)
    assert torch.equal(torch.add(X, x2=X, alpha=2), 3 * X) and torch.equal(X.add(x2=X), 2 * X)
    assert torch.equal(torch.pow(x1=2, exponent=X), 2**X)
    assert torch.equal(torch.squeeze_copy(x=X[None], axis=0), X)
    for f, wrong in (
        (lambda: torch.exp(X, x=X), "exp.. got an unexpected keyword argument 'x'"),
        (lambda: torch.pow(X, x2=X), "pow.. got an unexpected keyword argument 'x2'"),
        (lambda: torch.mul(X, x3=X), "mul.. got an unexpected keyword argument 'x3'"),
        (lambda: torch.mul(x2=X), "mul.. missing 1 required positional argument: 'input'"),
        (lambda: torch.add(), "add.. missing 2 required positional arguments: 'input' and 'other'"),
        (lambda: torch.exp(x=2), "argument 'input' .position 1. must be Tensor, not int"),
    ):
        with pytest.raises(TypeError, match=wrong):
            f()


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes_of_factories(name: str) -> None:
    f = getattr(torch, name)
    for made in (f(2, 3), f((2, 3)), f(size=(2, 3)), f(torch.Size([2, 3]))):
        assert made.shape == (2, 3)
    assert f(()).shape == ()
    for wrong in (f, lambda: f(2, axes=1)):
        with pytest.raises(TypeError, match=rf"{name}\(\)"):
            wrong()


def test_numbers_in_the_places_of_tensors() -> None:
    assert torch.equal(torch.add(X, 3, 2), X + 6) and torch.equal(torch.sub(X, 3, 1.5), X - 4.5)
    assert torch.equal(X.clone().add_(3, 2), X + 6) and torch.equal(
        torch.rsub(X, 3, 0.5), 3 - X / 2
    )
    assert X.clone().copy_(1.5).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    with pytest.raises(TypeError, match="copy_"):
        X.clone().copy_([1.0])


def test_classes_see_operands_in_the_names_of_numpy() -> None:
    class Seen(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, len(args), kwargs

    x = X.as_subclass(Seen)
    assert torch.mul(x1=X, x2=x) == (torch.mul, 2, {})
    assert torch.add(X, x, alpha=2) == (torch.add, 2, {"alpha": 2})
    assert torch.equal(torch.mul(x1=X, x2=X), X * X)


BOOLS, WHOLE, COMPLEX = torch.tensor([[True, False]]), torch.tensor([[3, 1]]), X + 1j


def test_factors_of_bools_and_tensors_without_elements() -> None:
    one = torch.tensor([True])
    assert torch.addr(one, torch.tensor([1]), torch.tensor([1.5]), beta=2, alpha=3) == 6.5
    assert torch.ldexp(X.half(), torch.tensor(1)).dtype is torch.float16
    assert F.pairwise_distance(WHOLE, WHOLE, eps=2).tolist() == pytest.approx([8**0.5])
    for f in (torch.floor_divide, torch.remainder):
        assert f(WHOLE[:0], 0).shape == (0, 2)
    assert torch.cat([torch.empty(0), torch.empty(0)], 1).shape == (0,)
    assert torch.diff(X, 0, append=X) is X


def test_targets_of_losses() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    for f in (F.mse_loss, F.smooth_l1_loss, F.huber_loss):
        assert f(X, mask) == f(X, mask.float())
    row, one = X[0], torch.tensor([1])
    for f in (F.nll_loss, F.cross_entropy):
        assert f(row, one) == f(row, one[0]) and f(row, one, reduction="none").shape == ()
    assert F.margin_ranking_loss(WHOLE, WHOLE, WHOLE, 1) == 1.0
    for f in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        with pytest.raises(RuntimeError, match="int64"):
            f(X / 9, X.long())


def test_integers_that_an_operator_takes() -> None:
    whole = WHOLE.to(torch.uint8)
    assert torch.index_add(whole, 0, torch.tensor([0]), whole, alpha=-1).tolist() == [[0, 0]]
    mask = torch.index_add(BOOLS, 0, torch.tensor([0]), ~BOOLS, alpha=-1)
    assert mask.tolist() == [[True, True]]
    one = WHOLE.int()
    assert torch.tensordot(one, one.expand(2, 2), ([0], [0])).dtype is torch.int32
    assert torch.equal(F.dropout2d(WHOLE[None, None], 0.0), WHOLE[None, None])


COMPLEXES: dict[str, Callable] = {
    "logaddexp": lambda m, z: m.logaddexp(z, z.flip(0)),
    "logaddexp, far": lambda m, z: m.logaddexp(z * 9, z.flip(0)),
    "logsumexp": lambda m, z: m.logsumexp(z * 900, 1),
    "logsumexp, all": lambda m, z: m.logsumexp(z, (0, 1), True),
    "rms_norm": lambda m, z: m.nn.functional.rms_norm(z, (2,)),
    "rms_norm, weight": lambda m, z: m.nn.functional.rms_norm(z, (2,), z[0], 1e-3),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", COMPLEXES)
def test_complex_numbers(name: str) -> None:
    theirs, found = pytest.importorskip("torch"), []
    for lib in (theirs, torch):
        z = lib.tensor([[0.5 + 1j, 1.25 - 2j], [-0.25j, 0.75 + 0j]]).requires_grad_()
        out = COMPLEXES[name](lib, z)
        out.abs().sum().backward()
        found.append([x.detach().numpy() for x in (out, z.grad)])
    for want, got in zip(*found, strict=True):
        assert got.dtype == want.dtype and np.allclose(got, want, rtol=1e-4, atol=1e-5)


def test_equal_infinities_add_up() -> None:
    z = torch.tensor([complex("inf"), complex("-inf")])
    assert torch.equal(torch.logaddexp(z, z), z)
    assert abs(torch.logsumexp(torch.tensor([complex("-inf"), 2j]), 0).item() - 2j) < 1e-6


def test_nan_to_num_of_complex_numbers() -> None:
    x = torch.tensor([complex(float("nan"), 1.0), complex(2.0, float("-inf"))])
    assert torch.nan_to_num(x, neginf=-3.0).tolist() == [1j, 2 - 3j]


@pytest.mark.parametrize("shape", [(1 << 20,), (3, 100003), (100, 10007)])
def test_products_of_lanes(shape: tuple[int, ...]) -> None:
    values = 1 + np.random.default_rng(0).standard_normal(shape) * 1e-3
    got = torch.tensor(values, dtype=torch.float32).prod(-1).numpy()
    want = values.astype(np.float32).astype(np.float64).prod(-1)
    assert np.allclose(got, want, rtol=3e-4)
