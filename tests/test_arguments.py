"""Arguments of a wrong kind: which calls are refused, and what the error says."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.ops.arguments import explained, fits, kind_of, renamed

X = torch.ones(2, 3)
F = torch.nn.functional


@pytest.mark.parametrize("name", ["maximum", "fmin", "atan2", "logaddexp", "logical_or", "hypot"])
def test_two_tensors_and_no_number(name: str) -> None:
    f, g = getattr(torch, name), getattr(torch.Tensor, name)
    assert f(X, X).shape == X.shape
    with pytest.raises(TypeError, match=rf"{name}\(\): argument 'other' \(position 2\)"):
        f(X, 1.0)
    with pytest.raises(TypeError, match=rf"{name}\(\): argument 'input' \(position 1\)"):
        f(1.0, X)
    with pytest.raises(TypeError, match="must be Tensor, not float"):
        g(X, 1.0)


@pytest.mark.parametrize("name", ["eq", "lt", "fmod", "copysign"])
def test_the_second_may_be_a_number(name: str) -> None:
    f = getattr(torch, name)
    assert f(X, 1.0).shape == X.shape
    with pytest.raises(TypeError, match=r"'input' .* must be Tensor, not float"):
        f(1.0, X)


@pytest.mark.parametrize("name", ["pow", "remainder", "special.zeta", "special.xlog1py"])
def test_one_may_be_a_number(name: str) -> None:
    f = torch
    for part in name.split("."):
        f = getattr(f, part)
    assert f(X, 2.0).shape == f(2.0, X).shape == X.shape
    with pytest.raises(TypeError, match=r"got \(int, int\)"):
        f(1, 2)


def test_both_may_be_numbers() -> None:
    assert torch.add(1, 2).item() == 3


def test_operators_of_python_take_numbers() -> None:
    assert ((X < 2) == (X < 2)).all() and torch.equal(2**X, X + 1) and torch.equal(5 % X, X * 0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: torch.cumsum(X, X), r"cumsum\(\): argument 'dim' \(position 2\) must be int"),
        (lambda: X.cumsum(X), r"argument 'dim' \(position 2\) must be int, not Tensor"),
        (lambda: X.take_along_dim(1), "argument 'indices' .* must be Tensor, not int"),
        (lambda: torch.stack([1, 2]), "argument 'tensors' .* tuple of Tensors, not list of int"),
        (lambda: F.linear(1, X), r"linear\(\): argument 'input' \(position 1\)"),
        (lambda: F.linear(X, weight=2), "argument 'weight' .* must be Tensor, not int"),
        (lambda: torch.special.airy_ai(1), r"airy_ai\(\): argument 'x' \(position 1\)"),
        (lambda: torch.ldexp(X, 1), r"ldexp\(\): argument 'other'"),
        (lambda: torch.polygamma(X, 1), r"polygamma\(\): argument 'n'"),
        (lambda: X.sum(dtype="float"), "argument 'dtype' must be dtype, not str"),
    ],
)
def test_says_which_argument(call: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call()  # type: ignore[operator]


def test_other_errors_stay() -> None:
    with pytest.raises(IndexError, match="cumsum: Dimension out of range"):
        torch.cumsum(X, 5)
    with pytest.raises(RuntimeError, match="step must be nonzero"):
        torch.arange(0, 2, 0)
    with pytest.raises(ValueError, match=r"0\.5 is 0 in"):
        torch.arange(0, 64, 0.5, dtype=torch.int64)
    with pytest.raises(ValueError, match="strided tensors only"):
        torch.signal.windows.hamming(3, layout=torch.sparse_coo)
    with pytest.raises(RuntimeError, match="0-dim integral Tensor"):
        X.narrow(0, torch.zeros(1, dtype=torch.int64), 1)


def test_kinds() -> None:
    for kind, good, bad in (
        ("int", [1, np.int64(2), torch.tensor(3)], [True, 1.0, "1", None, [1]]),
        ("float | None", [1, 2.0, None, True], ["1", [1.0]]),
        ("Sequence[int]", [(1, 2), [], torch.Size([1])], ["ab", 1, [1.0]]),
        ("tuple[int, bool]", [(1, True)], [(1,), (1, 2)]),
        ("tuple[int, ...]", [(1, 2, 3), ()], [(1, "a")]),
        ("Unknown | int", ["x", object()], []),
    ):
        assert all(fits(x, kind_of(kind)) for x in good), kind
        assert not any(fits(x, kind_of(kind)) for x in bad), kind


def test_a_call_that_is_right_keeps_its_error() -> None:
    @explained
    def failing(input: torch.Tensor, n: int) -> None:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        failing(X, 1)
    with pytest.raises(TypeError, match=r"'n' .* must be int, not str") as caught:
        failing(X, "1")
    assert isinstance(caught.value.__cause__, KeyError)


def test_renamed() -> None:
    offset = 10

    def f(input: int, other: int = 2) -> int:
        return (lambda: input * other + offset)()

    g = renamed(f, input="self", other="n")
    assert g(self=3) == 16 and g(3, n=4) == 22 and f(input=3) == 16
    assert str(inspect.signature(g)) == "(self: 'int', n: 'int' = 2) -> 'int'"


def test_methods_name_their_tensor_self() -> None:
    for name in ("sum", "pow", "cumsum_", "masked_fill", "mvlgamma", "polygamma"):
        method = getattr(torch.Tensor, name)
        assert next(iter(inspect.signature(method).parameters)) == "self", name
    assert torch.equal(torch.pow(X, exponent=2), X.pow(exponent=2))
    assert X.heaviside(values=X).shape == X.shape
    assert torch.special.hermite_polynomial_h(x=X, n=X).shape == X.shape


def test_documented_names_work_as_keywords() -> None:
    flat = X.reshape(shape=(6,))
    assert X.view(size=(3, 2)).shape == (3, 2) and X.view(dtype=torch.int32).dtype is torch.int32
    assert torch.reshape(X, shape=(6,)).shape == flat.shape == (6,)
    assert X.permute(dims=(1, 0)).shape == X.swapaxes(axis0=0, axis1=1).shape == (3, 2)
    assert X.expand(size=(4, 2, 3)).shape == (4, 2, 3) == X.broadcast_to(size=(4, 2, 3)).shape
    assert X.repeat(repeats=(2, 1)).shape == torch.cat([X, X], axis=0).shape == (4, 3)
    assert [p.shape[0] for p in flat.tensor_split(sections=2)] == [3, 3]
    assert [p.shape[0] for p in torch.split_with_sizes(flat, split_sizes=[2, 4])] == [2, 4]
    assert torch.isin(element=1.0, test_elements=X).item()
    assert torch.repeat_interleave(repeats=torch.tensor([1, 2])).tolist() == [0, 1, 1]
    with pytest.raises(TypeError, match="one of sections and indices, got 0"):
        X.tensor_split()


def test_asarray_shares_or_copies() -> None:
    values = np.ones(3, np.float32)
    assert torch.asarray(values)._data.base is not None
    assert not np.shares_memory(torch.asarray(values, copy=True).numpy(), values)
    assert np.shares_memory(torch.asarray(values, copy=False).numpy(), values)
    x = torch.ones(2, requires_grad=True)
    assert torch.asarray(x) is x and not torch.asarray(x, requires_grad=False).requires_grad
    assert torch.asarray([1.0], requires_grad=True).requires_grad
    for obj, dtype in (([1.0], None), (values, torch.float64)):
        with pytest.raises(ValueError, match="without a copy"):
            torch.asarray(obj, dtype=dtype, copy=False)


def test_dim_order_may_be_ambiguous() -> None:
    assert X.t().dim_order(ambiguity_check=True) == (1, 0)
    for x in (torch.ones(2, 1), torch.ones(3).expand(2, 3)):
        assert len(x.dim_order()) == 2
        with pytest.raises(RuntimeError, match="unique dim order"):
            x.dim_order(ambiguity_check=True)
    four = torch.ones(2, 1, 3, 3)
    assert four.dim_order(ambiguity_check=[torch.contiguous_format]) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.affine_grid(torch.eye(2, 3)[None], [1, 1, 2, 2]),
        lambda: F.grid_sample(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 2)),
        lambda: F.mse_loss(torch.ones(2), torch.ones(1)),
        lambda: F.mse_loss(torch.ones(2), torch.ones(2), size_average=True),
        lambda: torch.nn.MSELoss()(torch.ones(2), torch.ones(1)),
    ],
)
def test_warnings_name_the_line_of_the_caller(call: Any) -> None:
    with pytest.warns(UserWarning) as warned:
        call()
    assert warned[0].filename == __file__
