"""Operators over lists of tensors are the operators of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.ops import foreach

rng = np.random.default_rng(0)


def tensors() -> list:
    return [torch.from_numpy(rng.uniform(0.1, 0.9, shape)) for shape in ((3,), (2, 4), ())]


def same(have: Any, want: Any) -> None:
    assert len(have) == len(want)
    for a, b in zip(have, want, strict=True):
        assert a.dtype is b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def both(name: str, xs: list, want: list, *args: Any, **kwargs: Any) -> None:
    """The function and the one in place; of both the result is that of one tensor after another."""
    have = getattr(torch, f"_foreach_{name}")(xs, *args, **kwargs)
    assert isinstance(have, tuple)
    same(have, want)
    changed = [x.clone() for x in xs]
    assert getattr(torch, f"_foreach_{name}_")(changed, *args, **kwargs) is changed
    same(changed, want)


@pytest.mark.parametrize("name", foreach.UNARY.split())
def test_functions_of_one_list(name: str) -> None:
    xs = tensors()
    both(name, xs, [getattr(torch, name)(x) for x in xs])


@pytest.mark.parametrize("name", foreach.BINARY.split())
def test_functions_of_two(name: str) -> None:
    xs, ys, f = tensors(), tensors(), getattr(torch, name)
    g = f if name not in ("maximum", "minimum") else lambda x, y: f(x, torch.tensor(y).double())
    both(name, xs, [f(x, y) for x, y in zip(xs, ys, strict=True)], ys)
    both(name, xs, [g(x, 0.5) for x in xs], 0.5)
    both(name, xs, [g(x, y) for x, y in zip(xs, (0.25, 0.5, 2.0), strict=True)], [0.25, 0.5, 2.0])
    if name in ("add", "sub"):
        both(name, xs, [f(x, y, alpha=3) for x, y in zip(xs, ys, strict=True)], ys, alpha=3)
        both(name, xs, [f(x, ys[2]) for x in xs], ys[2])
    if name == "pow":
        power: Any = torch._foreach_pow
        same(power(2.0, xs), [2.0**x for x in xs])


def test_functions_of_three_lists() -> None:
    xs, ys, zs = tensors(), tensors(), tensors()
    for name in ("addcmul", "addcdiv"):
        f = getattr(torch, name)
        lists = list(zip(xs, ys, zs, (1.0, 2.0, 3.0), strict=True))
        both(name, xs, [f(x, y, z) for x, y, z, _ in lists], ys, zs)
        both(name, xs, [f(x, y, z, value=2) for x, y, z, _ in lists], ys, zs, 2)
        want = [f(x, y, z, value=v) for x, y, z, v in lists]
        both(name, xs, want, ys, zs, [1.0, 2.0, 3.0])
        both(name, xs, want, ys, zs, torch.tensor([1.0, 2.0, 3.0]))
    weights = list(zip(xs, ys, zs, strict=True))
    both("lerp", xs, [x.lerp(y, z) for x, y, z in weights], ys, zs)
    both("lerp", xs, [x.lerp(y, 0.25) for x, y, _ in weights], ys, 0.25)


def test_numbers_and_copies_of_each() -> None:
    xs = tensors()
    same(torch._foreach_norm(xs, 1), [x.abs().sum() for x in xs])
    same(torch._foreach_max(xs), [x.max() for x in xs])
    same(torch._foreach_powsum(xs, 3), [x.pow(3).sum() for x in xs])
    copies = torch._foreach_clone(xs)
    same(copies, xs)
    torch._foreach_zero_(copies)
    assert all(not c.any() for c in copies) and xs[0].all()
    torch._foreach_copy_(copies, xs)
    same(copies, xs)
    pair = [torch.ones(2, 3)], [torch.ones(3, 4)]
    same(torch._foreach_mm(*pair), [torch.full((2, 4), 3.0)])


def test_gradients_flow_through_each() -> None:
    x: Any = torch.ones(3, requires_grad=True)
    torch._foreach_mul([x, x], [2.0, 3.0])[1].sum().backward()
    assert x.grad.tolist() == [3, 3, 3]


def test_lists_that_do_not_match_are_refused() -> None:
    one = [torch.ones(2)]
    with pytest.raises(RuntimeError, match="at least one tensor"):
        torch._foreach_add([], 1)
    with pytest.raises(RuntimeError, match="same number of tensors, got 1 and 2"):
        torch._foreach_add(one, one * 2)
    with pytest.raises(RuntimeError, match="same number of elements as scalar list"):
        torch._foreach_mul(one, [1.0, 2.0])
    with pytest.raises(TypeError, match="must be tuple of Tensors, not Tensor"):
        torch._foreach_exp(one[0])  # type: ignore[arg-type]
