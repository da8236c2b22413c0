"""`__torch_function__`: subclasses of Tensor, foreign classes, modes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.op import overrides as asked
from tritorch.overrides import (
    DisableTorchFunctionSubclass,
    TorchFunctionMode,
    get_overridable_functions,
    handle_torch_function,
    has_torch_function,
    is_tensor_like,
    is_tensor_method_or_property,
    resolve_name,
    wrap_torch_function,
)

F = torch.nn.functional


class Plain(torch.Tensor):
    pass


class Deeper(Plain):
    pass


class Logging(torch.Tensor):
    seen: list = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs)


class Scaled:
    """Not a tensor: a multiple of the identity."""

    handled: dict = {}

    def __init__(self, n: int, value: float) -> None:
        self.n, self.value = n, value

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func not in cls.handled:
            return NotImplemented
        return cls.handled[func](*args, **(kwargs or {}))


Scaled.handled = {
    torch.mean: lambda x: x.value / x.n,
    torch.add: lambda x, y, alpha=1: ("add", alpha),
    torch.exp: lambda x, out=None: ("exp", out),
    torch.mul: lambda x, y: "mul",
    F.linear: lambda x, w, b=None: "linear",
    torch.stack: lambda xs, dim=0: len(xs),
}


@pytest.fixture
def x() -> Plain:
    return torch.arange(6.0).reshape(2, 3).as_subclass(Plain)


RESULTS = {
    "operator": lambda x: x + 1,
    "reflected": lambda x: 1 - x,
    "with a plain one first": lambda x: torch.ones(3) * x,
    "method": lambda x: x.relu(),
    "method of a composite": lambda x: x.softmax(-1),
    "item": lambda x: x[0, 1:],
    "unary function": torch.exp,
    "binary function": lambda x: torch.add(torch.ones(3), x, alpha=2),
    "composite": lambda x: F.cross_entropy(x, torch.tensor([0, 1])),
    "of a list": lambda x: torch.cat([torch.ones(1, 3), x]),
    "einsum": lambda x: torch.einsum("ij,ij->i", x, x),
    "transposed": lambda x: x.T,
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "in place": lambda x: x.mul_(2),
    "copied": copy.deepcopy,
    "pickled": lambda x: pickle.loads(pickle.dumps(x)),
    "cast": lambda x: x.double(),
    "linear": lambda x: F.linear(torch.ones(1, 3), x),
}


@pytest.mark.parametrize("f", RESULTS.values(), ids=RESULTS)
def test_results_have_the_subclass(f: Any, x: Plain) -> None:
    plain = torch.Tensor(x.tolist())
    out = f(x)
    assert type(out) is Plain
    assert np.allclose(out.numpy(), f(plain).numpy())


def test_results_in_tuples_and_deeper_subclasses(x: Plain) -> None:
    top = x.max(1)
    assert type(top.values) is Plain and type(top.indices) is Plain and type(top).__name__ == "max"
    assert [type(p) for p in x.split(1)] == [Plain, Plain]
    deep = torch.ones(2, 3).as_subclass(Deeper)
    assert type(x + deep) is type(deep + x) is type(torch.mul(x, deep)) is Deeper
    assert isinstance(x.shape, torch.Size) and type(x.sum().item()) is float
    with DisableTorchFunctionSubclass():
        assert type(x + 1) is torch.Tensor


def test_gradients_through_a_subclass(x: Plain) -> None:
    x.requires_grad_()
    (x * x).sum().backward()
    assert x.grad.tolist() == (2 * x).tolist() and type(x.grad) is torch.Tensor
    layer = torch.nn.Linear(3, 2)
    layer(x.detach()).sum().backward()
    assert type(layer.weight + 1) is torch.Tensor and layer.weight.grad is not None


def test_a_subclass_sees_the_outermost_call() -> None:
    x, Logging.seen = torch.ones(2, 2).as_subclass(Logging), []
    y = torch.softmax(x, 0) + x.exp().T
    F.mse_loss(torch.ones(2, 2), y)
    assert Logging.seen == ["softmax", "exp", "__get__", "add", "mse_loss"]
    assert type(y) is Logging


def test_foreign_classes_answer_functions() -> None:
    s, one = Scaled(5, 2.0), torch.ones(1)
    assert torch.mean(s) == 0.4
    assert torch.add(s, one) == torch.add(one, s) == ("add", 1)
    assert torch.add(s, s, alpha=3) == ("add", 3)
    assert torch.exp(s) == ("exp", None) and torch.exp(s, out=one) == ("exp", one)
    assert torch.mul(2, s) == "mul"
    assert F.linear(s, one) == "linear" and torch.stack([one, s]) == 2
    with pytest.raises(TypeError, match=r"no implementation found for 'tritorch\.sub' on types"):
        torch.sub(s, one)
    with pytest.raises(TypeError, match="must be Tensor"):
        torch.exp("x")


def test_modes_see_calls_on_plain_tensors() -> None:
    class Log(TorchFunctionMode):
        def __init__(self, name: str) -> None:
            self.name = name

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            seen.append((self.name, func.__name__))
            return func(*args, **(kwargs or {}))

    seen: list = []
    before, plain = len(asked.asking), torch.Tensor.exp
    with Log("outer"), Log("inner"):
        y = torch.ones(2).exp() + 1
        F.softmax(y, dim=0)
    assert [name for who, name in seen if who == "inner"] == ["ones", "exp", "add", "softmax"]
    assert seen[:2] == [("inner", "ones"), ("outer", "ones")]
    assert len(asked.asking) == before and torch.Tensor.exp is plain
    count = len(seen)
    torch.ones(2).exp()
    assert len(seen) == count
    with pytest.raises(NotImplementedError, match="define __torch_function__"), TorchFunctionMode():
        torch.exp(torch.ones(1))


def test_helpers_for_own_functions() -> None:
    def double(x: Any) -> Any:
        if has_torch_function((x,)):
            return handle_torch_function(double, (x,), x)
        return x * 2

    Scaled.handled[double] = lambda x: "doubled"
    assert double(Scaled(1, 1.0)) == "doubled" and double(3) == 6

    @wrap_torch_function(lambda x, y: (x, y))
    def both(x: Any, y: Any) -> Any:
        return "plain"

    Scaled.handled[both] = lambda x, y: "asked"
    assert both(1, Scaled(1, 1.0)) == "asked" and both(1, 2) == "plain"
    assert is_tensor_like(Scaled(1, 1.0)) and is_tensor_like(torch.ones(1))
    assert not is_tensor_like(torch.Tensor.exp) and not is_tensor_like(3)
    assert torch.exp in get_overridable_functions()[torch]
    assert resolve_name(torch.exp) == "torch.exp" and resolve_name(print) is None
    assert is_tensor_method_or_property(torch.Tensor.exp)
    assert not is_tensor_method_or_property(torch.exp)


def test_what_has_no_counterpart_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="__torch_dispatch__"):

        class Wrapper(torch.Tensor):
            @classmethod
            def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None):
                return func(*args)
