"""Checkpoints of activations, hooks on saved tensors, hooks on several gradients, anomaly mode."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import nn
from tritorch.autograd import graph
from tritorch.utils import _selective
from tritorch.utils.checkpoint import (
    CheckpointError,
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)

BOTH = pytest.mark.parametrize("reentrant", [False, True])


def mlp() -> Any:
    tritorch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2)
    )


def grads(model: Any, run: Callable[[Any, Any], Any]) -> tuple[Any, list]:
    tritorch.manual_seed(1)
    model.zero_grad()
    x = tritorch.arange(12.0).reshape(3, 4).requires_grad_()
    out = run(model, x)
    tritorch.rand(3)  # what is drawn in between must not matter
    (out**2).sum().backward()
    return out, [x.grad, *(p.grad for p in model.parameters())]


@BOTH
def test_gradients_are_those_without(reentrant: bool) -> None:
    model = mlp()
    expected = grads(model, lambda m, x: m(x))
    for run in (
        lambda m, x: checkpoint(m, x, use_reentrant=reentrant),
        lambda m, x: checkpoint_sequential(m, 3, x, use_reentrant=reentrant),
    ):
        out, found = grads(model, run)
        np.testing.assert_array_equal(out.detach().numpy(), expected[0].detach().numpy())
        for a, b in zip(found, expected[1]):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@BOTH
def test_the_function_runs_again_in_backward_alone(reentrant: bool) -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(tritorch.is_grad_enabled())
        return x.exp().sin()

    x = tritorch.ones(3, requires_grad=True)
    y = checkpoint(f, x, use_reentrant=reentrant).sum()
    assert len(calls) == 1
    y.backward()
    assert calls == [not reentrant, True]


def test_nothing_is_kept_but_the_arguments() -> None:
    x = tritorch.ones(1000, requires_grad=True)
    alive = []

    def f(x: Any) -> Any:
        y = x.exp()
        alive.append(__import__("weakref").ref(y))
        return y.exp()

    plain, kept = f(x), checkpoint(f, x, use_reentrant=False)
    gc.collect()
    assert plain is not kept and alive[1]() is None


def test_autograd_grad_twice_and_keywords() -> None:
    def f(x: Any, *, scale: Any) -> dict:
        return {"out": (x * scale).exp()}

    x = tritorch.tensor([0.5, 1.0], dtype=tritorch.float64, requires_grad=True)
    s = tritorch.tensor(2.0, dtype=tritorch.float64, requires_grad=True)
    out = checkpoint(f, x, scale=s, use_reentrant=False)["out"].sum()
    a, b = tritorch.autograd.grad(out, (x, s), create_graph=True)
    (c,) = tritorch.autograd.grad(a.sum(), x)
    e = np.exp(2 * np.array([0.5, 1.0]))
    np.testing.assert_allclose(a.detach().numpy(), 2 * e)
    np.testing.assert_allclose(b.item(), (np.array([0.5, 1.0]) * e).sum())
    np.testing.assert_allclose(c.numpy(), 4 * e)


def test_checkpoints_nest() -> None:
    count = [0]

    def inner(x: Any) -> Any:
        count[0] += 1
        return x.sin().exp()

    def outer(x: Any) -> Any:
        y = checkpoint(inner, x * 2, use_reentrant=False)
        return checkpoint(inner, y.cos(), use_reentrant=False)

    x = tritorch.linspace(0, 1, 4, dtype=tritorch.float64).requires_grad_()
    checkpoint(outer, x, use_reentrant=False).sum().backward()
    nested, x.grad = x.grad, None
    outer(x).sum().backward()
    np.testing.assert_allclose(nested.numpy(), x.grad.numpy())
    assert count[0] >= 6


def test_retained_graphs_are_computed_each_time() -> None:
    calls = []
    x = tritorch.ones(2, requires_grad=True)
    y = checkpoint(lambda x: calls.append(1) or x.exp().exp(), x, use_reentrant=False).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    assert len(calls) == 3
    np.testing.assert_allclose(x.grad.numpy(), 2 * first.numpy())


@pytest.mark.parametrize("stop", [True, False])
def test_early_stop(stop: bool) -> None:
    reached = []

    def f(x: Any) -> Any:
        y = x.exp().exp()
        y = y + 1  # saves nothing
        reached.append(1)
        return y

    x = tritorch.ones(2, requires_grad=True)
    with set_checkpoint_early_stop(stop):
        out = checkpoint(f, x, use_reentrant=False)
    out.sum().backward()
    assert len(reached) == (1 if stop else 2)


def test_other_values_are_noticed() -> None:
    shapes, more = iter((2, 3)), iter((1, 2))
    x = tritorch.ones(3, requires_grad=True)

    def changes(x: Any) -> Any:
        return x[: next(shapes)].exp()

    def grows(x: Any) -> Any:
        for _ in range(3 - next(more)):
            x = x.exp()
        return x

    out = checkpoint(changes, x, use_reentrant=False, debug=True)
    with pytest.raises(CheckpointError, match=r"different metadata(.|\n)*computed again: .*exp"):
        out.sum().backward()
    out = checkpoint(grows, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="different number of tensors"):
        out.sum().backward()
    y = x * 1
    out = checkpoint(lambda t: t.exp(), y, use_reentrant=False)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        out.sum().backward()


def test_misuse() -> None:
    x = tritorch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(tritorch.exp, x)
    with pytest.raises(ValueError, match="Unexpected keyword"):
        checkpoint(tritorch.exp, x, use_reentrant=True, other=1)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(tritorch.exp, x, use_reentrant=False, determinism_check="other")
    with pytest.warns(UserWarning, match="None of the inputs"):
        checkpoint(tritorch.exp, x.detach(), use_reentrant=True)
    out = checkpoint(lambda x: x.exp(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match=r"incompatible with \.grad"):
        tritorch.autograd.grad(out.sum(), x)


def test_contexts_and_random_state() -> None:
    entered = []

    @contextlib.contextmanager
    def note(name: str) -> Any:
        entered.append(name)
        yield

    x = tritorch.ones(2, requires_grad=True)
    out = checkpoint(
        lambda x: x.exp(),
        x,
        use_reentrant=False,
        context_fn=lambda: (note("forward"), note("again")),
    )
    out.sum().backward()
    assert entered == ["forward", "again"]
    drawn = []

    def random(x: Any) -> Any:
        drawn.append(tritorch.rand(1).item())
        return x.exp().exp()

    for preserve in (True, False):
        drawn.clear()
        checkpoint(random, x, use_reentrant=False, preserve_rng_state=preserve).sum().backward()
        assert (drawn[0] == drawn[1]) is preserve


def test_autocast_is_as_in_the_forward() -> None:
    seen = []

    def product(x: Any) -> Any:
        y = x @ x
        seen.append(y.dtype)
        return y.exp()

    x = tritorch.ones(2, 2, requires_grad=True)
    for reentrant in (True, False):
        seen.clear()
        with tritorch.autocast("cpu"):
            out = checkpoint(product, x, use_reentrant=reentrant)
        with set_checkpoint_early_stop(False):
            out.float().sum().backward()
        assert set(seen) == {tritorch.bfloat16}


@pytest.mark.parametrize("listed", [True, False])
def test_selective_checkpoints_keep_some_results(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    recorded = _selective._Cached._recorded

    def noted(self: Any, op: Any, *args: Any) -> Any:
        kept.append(op.name)
        return recorded(self, op, *args)

    monkeypatch.setattr(_selective._Cached, "_recorded", noted)

    def f(x: Any, w: Any) -> Any:
        return ((x @ w).sin() @ w).exp()

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> Any:
        assert context.op_output is not None and not context.is_recompute
        keep = op.name == "matmul"
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    rng = np.random.default_rng(0)
    x, w = (tritorch.from_numpy(rng.standard_normal((3, 3))).requires_grad_() for _ in range(2))
    expected = tritorch.autograd.grad(f(x, w).sum(), (x, w))
    chosen: Any = [tritorch.matmul] if listed else policy

    def contexts() -> Any:
        return create_selective_checkpoint_contexts(chosen)

    with set_checkpoint_early_stop(False):
        out = checkpoint(f, x, w, use_reentrant=False, context_fn=contexts).sum()
    found = tritorch.autograd.grad(out, (x, w), retain_graph=True)
    assert kept == ["matmul", "matmul"]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy())
    with pytest.raises(RuntimeError, match="backward an extra time"):
        out.backward()
    with pytest.raises(ValueError, match="expected operators"):
        create_selective_checkpoint_contexts(["no such operator"])
    with pytest.raises(TypeError, match="a function or a list"):
        create_selective_checkpoint_contexts(3)


# -- hooks on saved tensors -----------------------------------------------------------------------


def test_saved_tensors_hooks_see_inputs_and_results() -> None:
    shapes = []

    def pack(t: Any) -> Any:
        shapes.append(tuple(t.shape))
        assert not t.requires_grad
        return t.numpy().copy()

    x = tritorch.tensor([1.0, 2.0], requires_grad=True)
    w = tritorch.ones(3, 2, requires_grad=True)
    with graph.saved_tensors_hooks(pack, tritorch.from_numpy):
        y = nn.functional.linear(x.exp(), w)
        z = tritorch.cat([y.sin(), x.sqrt()]).prod()
        v = x.clone()
        v.exp_()
    assert (2,) in shapes and (3, 2) in shapes
    got = tritorch.autograd.grad((z, v.sum()), (x, w), create_graph=True)
    z2 = tritorch.cat([nn.functional.linear(x.exp(), w).sin(), x.sqrt()]).prod()
    expected = tritorch.autograd.grad((z2, x.exp().sum()), (x, w), create_graph=True)
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5)
    (a,) = tritorch.autograd.grad(got[0].sum(), x)
    (b,) = tritorch.autograd.grad(expected[0].sum(), x)
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_saved_tensors_hooks_and_own_functions() -> None:
    class Square(tritorch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            out = x * x
            ctx.save_for_backward(x, out)
            return out

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, out = ctx.saved_tensors
            assert (out == 9).all()
            return 2 * x * g

    x = tritorch.full((2,), 3.0, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: (t,), lambda kept: kept[0]):
        Square.apply(x).sum().backward()
    assert x.grad.tolist() == [6, 6]


def test_misuse_of_saved_tensors_hooks() -> None:
    x = tritorch.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):  # type: ignore[return-value,arg-type]
        y = x.exp().sum()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.backward()
    with (
        pytest.raises(RuntimeError, match="modifying its input in place"),
        graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t),
    ):
        x.exp()
    with (
        pytest.raises(RuntimeError, match="not here"),
        graph.disable_saved_tensors_hooks("not here"),
        graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        pass
    x.exp().sum().backward()


def test_save_on_cpu() -> None:
    x = tritorch.ones(2, requires_grad=True)
    with graph.save_on_cpu():
        y = (x * x).exp().sum()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.e, rtol=1e-6)


def test_saved_tensors_may_be_changed_where_that_is_allowed() -> None:
    with graph.allow_mutation_on_saved_tensors():
        a = tritorch.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        b[0] *= 5
        out.backward()
        assert (a.grad == 2).all()
        y = (a * a.clone()).sum()
    with pytest.raises(RuntimeError, match="outside of the"):
        y.backward()


# -- edges, several gradients, anomalies ----------------------------------------------------------


def test_gradient_edges() -> None:
    x = tritorch.tensor([2.0], requires_grad=True)
    y = x.exp()
    edge = graph.get_gradient_edge(y)
    (g,) = tritorch.autograd.grad((y * 3).sum(), edge)
    assert g.item() == 3 and edge.node is y.grad_fn
    tritorch.autograd.backward(edge, tritorch.ones(1))
    np.testing.assert_allclose(x.grad.numpy(), np.exp([2.0]), rtol=1e-6)
    with pytest.raises(RuntimeError, match="does not require gradients"):
        graph.get_gradient_edge(x.detach())
    version = x._version
    graph.increment_version(x)
    assert x._version == version + 1


@pytest.mark.parametrize("mode", ["all", "any"])
def test_hooks_on_several_gradients(mode: str) -> None:
    a, b = (tritorch.ones(1, requires_grad=True) for _ in range(2))
    c, d = a * b, a * b
    calls: list[Any] = []
    handle = graph.register_multi_grad_hook((a, b, c, d), calls.append, mode=mode)
    c.sum().backward(retain_graph=True)
    d.sum().backward(retain_graph=True)
    (c + d).sum().backward(retain_graph=True)
    if mode == "any":
        assert [g.item() for g in calls] == [1, 1, 1]
    else:
        assert [[g is None for g in gs] for gs in calls] == [
            [False, False, False, True],
            [False, False, True, False],
            [False] * 4,
        ]
        assert calls[-1][0].item() == 2
    handle.remove()
    c.sum().backward()
    assert len(calls) == 3


def test_anomalies_name_the_line_of_the_forward() -> None:
    x = tritorch.zeros(2, requires_grad=True)
    with tritorch.autograd.set_detect_anomaly(True):
        y = x.sqrt() * 0  # the line
        with pytest.raises(
            RuntimeError, match=r"SqrtBackward0' returned nan values in its 0th"
        ) as e:
            y.sum().backward()
    assert "test_checkpoint.py" in str(e.value) and "y = x.sqrt() * 0  # the line" in str(e.value)
    (x.sqrt() * 0).sum().backward()
    assert np.isnan(x.grad.numpy()).all()


def test_anomalies_of_failing_backwards() -> None:
    class Fails(tritorch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ValueError("no")

    x = tritorch.ones(1, requires_grad=True)
    before = Fails.apply(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tritorch.autograd.detect_anomaly(check_nan=False):
            y = Fails.apply(x)  # here
            for out, note in ((y, "y = Fails.apply(x)  # here"), (before, "No forward pass")):
                with pytest.raises(ValueError, match="no") as e:
                    out.backward()
                assert any(note in text for text in e.value.__notes__)
            (x.sqrt() * 0).sum().backward()
    with pytest.raises(ValueError, match="no") as e:
        before.backward()
    assert not getattr(e.value, "__notes__", ())
