"""Tensors that processes share: in place, across fork, spawn and queues; plain pickles copy."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import pytest

import tritorch as torch


def train(model: torch.nn.Module, queue: Any, received: Any) -> None:
    """Change parameters in place, and send one of them back; it lives until that has arrived."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
        model.count.mul_(3)
    queue.put(model.weight.detach())
    assert received.wait(120)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_processes_see_what_others_write(method: str) -> None:
    context = multiprocessing.get_context(method)
    model = torch.nn.Linear(2, 3)
    model.register_buffer("count", torch.tensor([2]))
    weight, before = model.weight, model.weight.detach().clone()
    assert model.share_memory() is model and model.weight is weight
    assert all(t.is_shared() for t in model.state_dict().values())
    queue: Any = context.Queue()
    arrived = context.Event()
    process = context.Process(target=train, args=(model, queue, arrived))
    process.start()
    received = queue.get(timeout=120)
    arrived.set()
    process.join(120)
    assert process.exitcode == 0
    assert torch.equal(model.weight, before + 1) and model.count.tolist() == [6]
    assert received.is_shared()
    with torch.no_grad():
        model.weight.zero_()
    assert received.abs().sum().item() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(6.0),
        lambda: torch.empty(0, 3),
        lambda: torch.tensor(3),
        lambda: torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).t().clone()[:, 1:].clone(),
        lambda: torch.arange(6.0).reshape(3, 2).t().clone(),
    ],
    ids=["line", "empty", "single", "bfloat16", "transposed"],
)
def test_it_is_the_same_tensor_in_other_memory(make: Any) -> None:
    x = make()
    values, strides = x.tolist(), x.stride()
    assert not x.is_shared()
    assert x.share_memory_() is x and x.share_memory_() is x
    assert x.is_shared() and x.tolist() == values and x.stride() == strides
    assert x.view_as(x).is_shared()
    for other in (x.clone(), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert not other.is_shared() and other.tolist() == values


def test_gradients_reach_shared_leaves() -> None:
    w = torch.nn.Parameter(torch.ones(3)).share_memory_()
    optimizer = torch.optim.SGD([w], lr=0.5)
    (w * torch.arange(3.0)).sum().backward()
    optimizer.step()
    assert w.tolist() == [1.0, 0.5, 0.0] and w.is_shared() and not w.grad.is_shared()


def test_a_view_would_be_left_behind() -> None:
    x = torch.zeros(4)
    view = x[1:]
    with pytest.raises(RuntimeError, match="share_memory_: another tensor shares the memory"):
        x.share_memory_()
    del view
    x.share_memory_()[1:].fill_(2.0)
    assert x.tolist() == [0.0, 2.0, 2.0, 2.0]
