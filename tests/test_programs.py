"""Random programs of views, changes in place and arithmetic.

Each runs on tensors, and again on dual numbers: pairs of NumPy arrays, value and tangent, whose
views share memory as NumPy's do. Values must agree, and the gradient along the tangent too. Where
PyTorch is installed, the same program runs there: same values and gradients, or both raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import tritorch


class Dual:
    """A value and its tangent, changed in place together."""

    def __init__(self, v: np.ndarray, d: np.ndarray) -> None:
        self.v, self.d = np.asarray(v), np.asarray(d)

    def view(self, f: Callable) -> Dual:
        return Dual(f(self.v), f(self.d))

    def set(self, v: Any, d: Any) -> Dual:
        v, d = (
            np.array(np.broadcast_to(v, self.v.shape)),
            np.array(np.broadcast_to(d, self.v.shape)),
        )
        self.v[...], self.d[...] = v, d
        return self

    def __add__(self, o: Dual) -> Dual:
        return Dual(self.v + o.v, np.broadcast_to(self.d + o.d, (self.v + o.v).shape).copy())

    def __mul__(self, o: Dual) -> Dual:
        return Dual(self.v * o.v, self.d * o.v + self.v * o.d)


# name -> (on tensors, on duals); k is a small number
SHAPED: dict[str, tuple[Callable, Callable]] = {
    "transpose": (
        lambda x, k: x.transpose(0, -1),
        lambda a, k: np.swapaxes(a, 0, -1) if a.ndim else a,
    ),
    "flip order": (lambda x, k: x.permute(*range(x.ndim)[::-1]), lambda a, k: a.T),
    "row": (lambda x, k: x[k % max(x.shape[0], 1)], lambda a, k: a[k % a.shape[0], ...]),
    "tail": (lambda x, k: x[1:], lambda a, k: a[1:]),
    "steps": (lambda x, k: x[..., ::2], lambda a, k: a[..., ::2]),
    "unsqueeze": (lambda x, k: x.unsqueeze(0), lambda a, k: a[None]),
    "expand": (lambda x, k: x.expand(2, *x.shape), lambda a, k: repeated(a)),
    "diagonal": (lambda x, k: x.diagonal(), lambda a, k: diagonal(a)),
    "narrow": (lambda x, k: x.narrow(-1, 0, 1), lambda a, k: a[..., 0:1]),
    "windows": (lambda x, k: x.unfold(-1, 1, 1), lambda a, k: a[..., None]),
}


def repeated(a: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(a, (2, *a.shape), (0, *a.strides))


def diagonal(a: np.ndarray) -> np.ndarray:
    n, (s, t) = min(a.shape[:2]), a.strides[:2]
    shape, strides = (*a.shape[2:], n), (*a.strides[2:], s + t)
    return np.lib.stride_tricks.as_strided(a, shape, strides)


FRESH: dict[str, tuple[Callable, Callable]] = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "mul": (lambda x, y: x * y, lambda x, y: x * y),
    "sin": (lambda x, y: x.sin(), lambda x, y: Dual(np.sin(x.v), np.cos(x.v) * x.d)),
    "clone": (lambda x, y: x.clone(), lambda x, y: Dual(x.v.copy(), x.d.copy())),
    "sum": (lambda x, y: x.sum(), lambda x, y: Dual(np.asarray(x.v.sum()), np.asarray(x.d.sum()))),
}

CHANGES: dict[str, tuple[Callable, Callable]] = {
    "add_": (lambda x, y: x.add_(y), lambda x, y: x.set(x.v + y.v, x.d + y.d)),
    "mul_": (lambda x, y: x.mul_(y), lambda x, y: x.set(x.v * y.v, x.d * y.v + x.v * y.d)),
    "sin_": (lambda x, y: x.sin_(), lambda x, y: x.set(np.sin(x.v), np.cos(x.v) * x.d)),
    "copy_": (lambda x, y: x.copy_(y), lambda x, y: x.set(y.v, y.d)),
    "zero_": (lambda x, y: x.zero_(), lambda x, y: x.set(0, 0)),
    "add number": (lambda x, y: x.add_(0.5), lambda x, y: x.set(x.v + 0.5, x.d)),
    "set first": (
        lambda x, y: x.__setitem__(0, y.sum()),
        lambda x, y: Dual(x.v[0, ...], x.d[0, ...]).set(y.v.sum(), y.d.sum()),
    ),
    "scale last": (
        lambda x, y: x[..., -1].mul_(2.0),
        lambda x, y: Dual(x.v[..., -1], x.d[..., -1]).set(x.v[..., -1] * 2, x.d[..., -1] * 2),
    ),
    "mask": (
        lambda x, y: x.__setitem__(x > 0.2, -0.5),
        lambda x, y: x.set(np.where(x.v > 0.2, -0.5, x.v), np.where(x.v > 0.2, 0, x.d)),
    ),
}
KINDS = {
    **{k: "view" for k in SHAPED},
    **{k: "fresh" for k in FRESH},
    **{k: "change" for k in CHANGES},
}
ERRORS = (RuntimeError, IndexError, ValueError, TypeError)

programs = st.tuples(
    st.lists(
        st.sampled_from([(3,), (2, 3), (3, 1), (2, 2), (1,), (2, 3, 2)]), min_size=1, max_size=3
    ),
    st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 50), st.integers(0, 50)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 2**31 - 1),
)


def refuse(x: np.ndarray, y: np.ndarray) -> None:
    """What tritorch refuses and PyTorch answers by the order in which its loops happen to run."""
    if x.size and any(t == 0 and n > 1 for t, n in zip(x.strides, x.shape, strict=True)):
        raise RuntimeError("the tensor written to is expanded")
    first, second = (  # a dimension of one element has any stride
        (a.shape, [t for t, n in zip(a.strides, a.shape, strict=True) if n > 1], a.ctypes.data)
        for a in (x, y)
    )
    same = first == second
    if not same and np.shares_memory(x, y):
        raise RuntimeError("the tensors overlap in part")


def step(lib_side: int, name: str, x: Any, y: Any, k: int) -> Any:
    kind = KINDS[name]
    if kind == "view":
        f = SHAPED[name][lib_side]
        return f(x, k) if not lib_side else x.view(lambda a: f(a, k))
    f = (FRESH if kind == "fresh" else CHANGES)[name][lib_side]
    if kind == "change" and not lib_side:
        refuse(x.detach().numpy(), y.detach().numpy())
    out = f(x, y)
    return x if kind == "change" else out


def run(lib: Any, program: tuple, duals: bool) -> tuple[str | None, list, list]:
    """(error, values of all intermediate tensors, gradients of the leaves); checks the duals."""
    shapes, steps, seed = program
    rng = np.random.default_rng(seed)
    arrays = [(rng.uniform(-1, 1, s), rng.uniform(-1, 1, s)) for s in shapes]
    leaves = [lib.tensor(a).requires_grad_() for a, _ in arrays]
    pool = [x * 1 for x in leaves]
    twins = [Dual(a.copy(), d.copy()) for a, d in arrays]
    for name, a, b in steps:
        x, y = pool[a % len(pool)], pool[b % len(pool)]
        try:
            pool.append(step(0, name, x, y, a))
        except ERRORS:
            pool.append(x)
            twins.append(twins[a % len(twins)])
            continue
        if duals:
            twins.append(step(1, name, twins[a % len(twins)], twins[b % len(twins)], a))
    loss = sum((p * p).sum() for p in pool)
    try:
        loss.backward()
    except ERRORS as error:
        return type(error).__name__, [], []
    values = [p.detach().numpy().copy() for p in pool]
    grads = [
        np.zeros(s) if x.grad is None else x.grad.numpy().copy() for x, s in zip(leaves, shapes)
    ]
    if duals:
        for p, t in zip(pool, twins, strict=True):
            assert np.allclose(p.detach().numpy(), t.v), "values"
        along = sum(float((g * d).sum()) for g, (_, d) in zip(grads, arrays, strict=True))
        assert np.isclose(along, sum(2 * (t.v * t.d).sum() for t in twins)), "gradient"
    return None, values, grads


@settings(
    max_examples=2000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(programs)
def test_programs_agree_with_dual_numbers(program: tuple) -> None:
    run(tritorch, program, duals=True)


@pytest.mark.oracle
@settings(
    max_examples=2000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(programs)
def test_programs_agree_with_pytorch(program: tuple) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = run(torch, program, duals=False), run(tritorch, program, duals=False)
    assert theirs[0] == ours[0]
    for group in (1, 2):
        for a, b in zip(theirs[group], ours[group], strict=True):
            assert np.allclose(a, b)
