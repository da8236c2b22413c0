"""The order of dimensions in memory of results: where PyTorch keeps it, and where it does not."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch.runtime import layout

# shape and strides of operands, and the strides of a result of the first one's shape
RULES = [
    ([((2, 3), (3, 1))], (3, 1)),
    ([((2, 3), (1, 2))], (1, 2)),
    ([((2, 3), (1, 2)), ((2, 3), (3, 1))], (1, 2)),  # the first operand decides
    ([((2, 3), (3, 1)), ((2, 3), (1, 2))], (3, 1)),
    ([((2, 2, 2), (0, 1, 2))], (4, 1, 2)),  # what is repeated tells nothing
    ([((2, 3), (0, 0)), ((2, 3), (1, 2))], (1, 2)),
    ([((3, 2), (1, 1))], (2, 1)),  # overlapping windows: the larger dimension is the slower
    ([((2, 3), (1, 1))], (1, 2)),
    ([((4, 2, 3), (1, 12, 4))], (1, 12, 4)),
    ([((2, 3), (6, 2))], (3, 1)),  # gaps are closed
]


@pytest.mark.parametrize(("operands", "want"), RULES, ids=str)
def test_the_order_of_a_result(operands: list, want: tuple[int, ...]) -> None:
    shape = operands[0][0]
    order = layout.order_of(shape, tuple(operands)) or tuple(range(len(shape)))
    found, step = [0] * len(shape), 1
    for d in reversed(order):
        found[d], step = step, step * shape[d]
    assert tuple(found) == want


def geometry(rng: random.Random) -> tuple[tuple[int, ...], list[tuple[str, int]]]:
    shape = rng.choice([(2, 3), (3, 3), (2, 3, 2), (4, 2), (6, 2, 1), (1, 2, 6), (2, 3, 1, 2)])
    kinds = ["permute", "windows", "expand", "narrow", "steps", "diagonal", "select"]
    return shape, [(rng.choice(kinds), rng.randrange(100)) for _ in range(rng.randint(0, 4))]


def built(lib: Any, shape: tuple[int, ...], steps: list[tuple[str, int]]) -> Any:
    x = lib.tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape) / 20)
    for kind, k in steps:
        d = k % max(x.dim(), 1)
        order = list(range(x.dim()))
        random.Random(k).shuffle(order)
        view: Callable[[Any], Any] = {
            "permute": lambda x, order=order: x.permute(order),
            "windows": lambda x, d=d: x.unfold(d, 2, 1),
            "expand": lambda x: x.expand(2, *x.shape),
            "narrow": lambda x, d=d: x.narrow(d, 0, min(2, x.shape[d])),
            "steps": lambda x: x[..., ::2],
            "diagonal": lambda x: x.diagonal(),
            "select": lambda x, d=d: x.select(d, 0),
        }[kind]
        try:
            x = view(x)
        except (IndexError, RuntimeError):
            continue
    return x


KEPT: dict[str, Callable] = {
    "sin": lambda lib, x, y, d: x.sin(),
    "sigmoid": lambda lib, x, y, d: x.sigmoid(),
    "number": lambda lib, x, y, d: x * 2 + 1,
    "add": lambda lib, x, y, d: x + y,
    "where": lambda lib, x, y, d: lib.where(x > 0.2, x, y),
    "lerp": lambda lib, x, y, d: x.lerp(y, x),
    "cast": lambda lib, x, y, d: x.to(lib.float32),
    "mixed": lambda lib, x, y, d: x.to(lib.float32) + y,
    "clone": lambda lib, x, y, d: x.clone(),
    "like": lambda lib, x, y, d: lib.zeros_like(x),
    "random": lambda lib, x, y, d: lib.rand_like(x) * 0,
    "flip": lambda lib, x, y, d: x.flip(d),
    "sort": lambda lib, x, y, d: x.sort(d)[0],
    "index_fill": lambda lib, x, y, d: x.index_fill(d, lib.tensor([0]), 1.0),
    "index": lambda lib, x, y, d: x[:, lib.tensor([0, 0])],
    "elu": lambda lib, x, y, d: lib.nn.functional.elu(x),
}
ORDINARY: dict[str, Callable] = {
    "sum": lambda lib, x, y, d: x.sum(d),
    "prod": lambda lib, x, y, d: x.prod(d),
    "amax": lambda lib, x, y, d: x.amax(d, keepdim=True),
    "argmax": lambda lib, x, y, d: x.argmax(d),
    "var": lambda lib, x, y, d: x.var(d, correction=0),
    "norm": lambda lib, x, y, d: x.norm(2, d),
    "cumsum": lambda lib, x, y, d: x.cumsum(d),
    "cumprod": lambda lib, x, y, d: x.cumprod(d),
    "softmax": lambda lib, x, y, d: x.softmax(d),
    "cat": lambda lib, x, y, d: lib.cat([x, x], d),
    "stack": lambda lib, x, y, d: lib.stack([x, x], d),
    "repeat": lambda lib, x, y, d: x.repeat([2] * x.dim()),
    "masked_fill": lambda lib, x, y, d: x.masked_fill(x > 0.2, 0.0),
    "gather": lambda lib, x, y, d: x.gather(d, lib.zeros_like(x).long()),
    "tril": lambda lib, x, y, d: x.tril(),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_results_in_the_ordinary_order(name: str) -> None:
    x = built(tritorch, (2, 3, 4), []).permute(2, 0, 1)
    out = ORDINARY[name](tritorch, x, x, 1)
    assert out.is_contiguous()
    assert np.allclose(out.numpy(), ORDINARY[name](tritorch, x.contiguous(), x, 1).numpy())


@pytest.mark.parametrize("name", KEPT)
def test_results_in_the_order_of_their_input(name: str) -> None:
    x = built(tritorch, (2, 3, 4), []).permute(2, 0, 1)
    out = KEPT[name](tritorch, x, x, 1)
    # indexing keeps the order but of what is indexed
    assert out.stride() == ((1, 4, 8) if name == "index" else x.stride())
    plain = x.contiguous()
    assert np.allclose(out.numpy(), KEPT[name](tritorch, plain, plain, 1).numpy())


def test_a_gradient_of_running_sums_lies_forwards() -> None:
    x = tritorch.ones(3, requires_grad=True)
    x.cumsum(0).sum().backward()
    assert x.grad.stride() == (1,) and x.grad.numpy().strides == (4,)


def test_one_element_repeated_is_a_copy() -> None:
    x = tritorch.ones(1)
    assert x.repeat(3).add_(tritorch.arange(3)).tolist() == [1, 2, 3] and x.tolist() == [1]


def test_a_copy_of_an_order_keeps_it() -> None:
    x = tritorch.zeros(2, 3).t()
    assert copy.deepcopy(x).stride() == x.stride() == (1, 3)


def sizes(x: Any) -> list[int]:
    """The strides that say something: of dimensions with more than one element."""
    return [s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1]


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(200))
def test_strides_are_pytorchs(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = random.Random(seed)
    first, d = geometry(rng), rng.randrange(10)
    second = first if rng.random() < 0.5 else (first[0], geometry(rng)[1])
    theirs, ours = ([built(lib, *g) for g in (first, second)] for lib in (torch, tritorch))
    for name, f in {**KEPT, **ORDINARY}.items():
        dim = d % max(theirs[0].dim(), 1)
        try:
            want = f(torch, *theirs, dim)
        except (IndexError, RuntimeError):
            continue
        assert sizes(f(tritorch, *ours, dim)) == sizes(want), (name, first, second)
