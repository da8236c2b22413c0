"""Hooks of all modules, the sampler of several processes, mixed precision under older names."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import tritorch
from tritorch.utils.data import DistributedSampler


@pytest.fixture(params=["tritorch", pytest.param("torch", marks=pytest.mark.oracle)])
def lib(request: pytest.FixtureRequest) -> ModuleType:
    """Ours, and PyTorch where it is installed: what the tests expect is so there too."""
    return pytest.importorskip(request.param)


@pytest.fixture
def hooks(lib: ModuleType) -> Iterator[Any]:
    """`hooks(name, hook)` registers one for the test."""
    module = importlib.import_module(f"{lib.__name__}.nn.modules.module")
    handles = []

    def register(name: str, hook: Any, **kwargs: Any) -> Any:
        handles.append(getattr(module, f"register_module_{name}")(hook, **kwargs))
        return handles[-1]

    yield register
    for handle in handles:
        handle.remove()


def test_forward(lib: ModuleType, hooks: Any) -> None:
    said: list = []
    net = lib.nn.Sequential(lib.nn.Identity(), lib.nn.ReLU())
    net[0].register_forward_pre_hook(lambda m, args: said.append("own before"))
    net[0].register_forward_hook(lambda m, args, out: said.append("own after"))
    before = hooks("forward_pre_hook", lambda m, args: said.append(f"before {type(m).__name__}"))
    after = hooks("forward_hook", lambda m, args, out: said.append(f"after {type(m).__name__}"))
    assert net(lib.tensor([-1.0, 2.0])).tolist() == [0, 2]
    assert said == [
        *("before Sequential", "before Identity", "own before", "after Identity", "own after"),
        *("before ReLU", "after ReLU", "after Sequential"),
    ]
    before.remove()
    after.remove()
    del said[:]
    net(lib.tensor([1.0]))
    assert said == ["own before", "own after"]


def test_arguments_and_results_are_replaced(lib: ModuleType, hooks: Any) -> None:
    net = lib.nn.Identity()
    hooks("forward_pre_hook", lambda m, args: args[0] + 1)
    hooks("forward_hook", lambda m, args, kwargs, out: out * 10 + len(kwargs), with_kwargs=True)
    net.register_forward_hook(lambda m, args, out: -out)
    assert net(lib.tensor(1.0)).item() == -20


def test_called_after_errors(lib: ModuleType, hooks: Any) -> None:
    seen = []
    hooks("forward_hook", lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(Exception, match=r"shape|mat1"):
        lib.nn.Linear(2, 3)(lib.ones(1, 5))
    assert seen == [None]


def test_backward(lib: ModuleType, hooks: Any) -> None:
    said: list = []
    net = lib.nn.Sequential(lib.nn.Identity(), lib.nn.Identity())
    net[0].register_full_backward_hook(lambda m, i, o: said.append("own"))
    hooks("full_backward_pre_hook", lambda m, o: (o[0] * 2,) if m is net[1] else None)
    hooks("full_backward_hook", lambda m, i, o: said.append((m is net, i[0].item(), o[0].item())))
    x = lib.ones((), requires_grad=True)
    (net(x) * 3).backward()
    assert x.grad.item() == 6
    assert said == [(False, 6, 6), (False, 6, 6), "own", (True, 6, 3)]


def test_registrations(lib: ModuleType, hooks: Any) -> None:
    names: list = []
    hooks("parameter_registration_hook", lambda m, name, p: names.append(name))
    hooks("buffer_registration_hook", lambda m, name, b: None if b is None else b + 1)
    hooks("module_registration_hook", lambda m, name, child: lib.nn.ReLU())
    norm = lib.nn.BatchNorm1d(2)
    assert names == ["weight", "bias"]
    outer = lib.nn.Module()
    outer.register_buffer("kept", lib.ones(2))
    outer.kept = lib.zeros(1)
    assert outer.kept.tolist() == [1]
    outer.inner = norm
    outer.add_module("other", norm)
    assert type(outer.inner) is type(outer.other) is lib.nn.ReLU


def test_names_of_layers_stay_where_programs_look_for_them() -> None:
    assert tritorch.nn.modules.Linear is tritorch.nn.Linear
    with pytest.raises(AttributeError, match="no attribute 'Linnear'"):
        _ = tritorch.nn.modules.Linnear


# -- several processes --------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "replicas"), [(7, 3), (6, 3), (2, 5), (1, 4), (10, 1), (0, 2)])
def test_parts_of_a_dataset(lib: ModuleType, n: int, replicas: int, drop_last: bool) -> None:
    kind = importlib.import_module(f"{lib.__name__}.utils.data").DistributedSampler
    parts = [
        kind(range(n), replicas, rank, shuffle=False, drop_last=drop_last)
        for rank in range(replicas)
    ]
    size = n // replicas if drop_last else -(-n // replicas)
    want = [i % n for i in range(size * replicas)] if n else []
    assert [list(p) for p in parts] == [want[rank::replicas] for rank in range(replicas)]
    assert {len(p) for p in parts} == {size}


def test_parts_in_random_order() -> None:
    parts = [DistributedSampler(range(50), 2, rank, seed=3) for rank in range(2)]
    first = [list(p) for p in parts]
    assert sorted(first[0] + first[1]) == list(range(50)) and first[0] != sorted(first[0])
    assert [list(p) for p in parts] == first
    for p in parts:
        p.set_epoch(1)
    second = [list(p) for p in parts]
    assert sorted(second[0] + second[1]) == list(range(50)) and second != first
    loader = tritorch.utils.data.DataLoader(list(range(50)), 5, sampler=parts[0])
    assert [i for batch in loader for i in batch.tolist()] == second[0]


def test_refusals_of_parts() -> None:
    with pytest.raises(ValueError, match=r"Invalid rank 3, .* \[0, 2\]"):
        DistributedSampler(range(5), 3, 3)
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        DistributedSampler(range(5))


def test_mixed_precision_on_the_cpu(lib: ModuleType) -> None:
    amp = importlib.import_module(f"{lib.__name__}.cpu.amp")
    x = lib.ones(2, 2)
    with pytest.warns(FutureWarning):
        with amp.autocast():
            assert (x @ x).dtype is lib.bfloat16
        with amp.autocast(enabled=False):
            assert (x @ x).dtype is lib.float32
        scaler = amp.GradScaler(init_scale=4.0)
    assert scaler.scale(lib.ones(())).item() == 4


def test_tensors_change_places(lib: ModuleType) -> None:
    layer = lib.nn.Linear(2, 1, bias=False)
    held, other = layer.weight, lib.full((3, 2), 5.0)
    held.note = "mine"
    y = held * 2 if lib is tritorch else None  # PyTorch refuses a backward from before
    lib.utils.swap_tensors(held, other)
    assert layer.weight is held and held.shape == (3, 2) and not held.requires_grad
    assert type(held) is lib.Tensor and type(other) is lib.nn.Parameter and other.note == "mine"
    assert not hasattr(held, "note") and (held == 5).all()
    (other * 3).sum().backward()
    assert held.grad is None and other.grad.tolist() == [[3, 3]]
    if y is not None:
        y.sum().backward()
        assert other.grad.tolist() == [[5, 5]]


def test_tensors_that_do_not_change_places() -> None:
    swap = tritorch.utils.swap_tensors
    a, b, c = tritorch.zeros(2), tritorch.ones(2), tritorch.ones(2, requires_grad=True)
    view, known = a[:1], weakref.ref(b)
    for name, t, why in (("t1", a, "views of it"), ("t1", b, "weakref")):
        with pytest.raises(RuntimeError, match=f"Cannot swap {name} because .*{why}"):
            swap(t, tritorch.zeros(1))
    assert view[0] == 0 and known() is b
    c.register_hook(lambda g: g)
    with pytest.raises(RuntimeError, match="Cannot swap t2 because there are hooks"):
        swap(tritorch.zeros(1), c)
    with pytest.raises(TypeError, match="t2 is a int"):
        swap(tritorch.zeros(1), 3)  # type: ignore[arg-type]


@pytest.mark.oracle
def test_a_prefix_is_taken_off_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")

    def keys(lib: Any) -> tuple:
        inner = lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.BatchNorm1d(1))
        state = lib.nn.ModuleDict({"module": inner}).state_dict()
        state["step"] = 3
        files = importlib.import_module(f"{lib.__name__}.nn.modules.utils")
        files.consume_prefix_in_state_dict_if_present(state, "module.")
        return list(state), list(state._metadata)

    assert keys(tritorch) == keys(torch)
