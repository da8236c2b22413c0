"""Transforms of functions: by formulas, nested, over structures, and against PyTorch."""

from __future__ import annotations

import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import func
from tritorch.func import trees

Pair = namedtuple("Pair", "a b")
X, Y = np.array([0.5, 1.5, 2.0]), np.array([[1.0, 2.0, -1.0], [0.3, 0.1, 0.7]])


def values(tree: Any) -> Any:
    """The structure with lists for its tensors."""
    return trees.mapped(lambda v: v.detach().tolist() if hasattr(v, "detach") else v, tree)


def given(lib: Any) -> tuple:
    return lib.from_numpy(X.copy()), lib.from_numpy(Y.copy())


def quadratic(x: Any) -> Any:
    return (x**3).sum()


# Each makes its result from (lib, x of (3,), y of (2, 3)).
CALLS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "grad": lambda t, x, y: t.func.grad(quadratic)(x),
    "grad of the second": lambda t, x, y: t.func.grad(lambda a, b: (a * b).sum(), 1)(x, y),
    "grad of both": lambda t, x, y: t.func.grad(lambda a, b: (a * b).sin().sum(), (0, 1))(x, y),
    "grad from the end": lambda t, x, y: t.func.grad(lambda a, b: (a * b).sum(), -1)(x, y),
    "grad with aux": lambda t, x, y: t.func.grad(lambda a: (a.sum(), a * 2), has_aux=True)(x),
    "grad and value": lambda t, x, y: t.func.grad_and_value(quadratic)(x),
    "grad and value, aux": lambda t, x, y: t.func.grad_and_value(
        lambda a: (a.sum(), {"twice": a * 2}), has_aux=True
    )(x),
    "grad of a dict": lambda t, x, y: t.func.grad(lambda d: (d["x"] * d["y"].exp()).sum())(
        {"x": x, "y": y}
    ),
    "grad of grad": lambda t, x, y: t.func.grad(lambda a: t.func.grad(quadratic)(a).sum())(x),
    "grad without use": lambda t, x, y: t.func.grad(lambda a, b: b.sum())(x, y),
    "grad, keywords": lambda t, x, y: t.func.grad(lambda a, k: (a * k).sum())(x, k=y[0]),
    "perturbations apart": lambda t, x, y: t.func.grad(
        lambda a: a * t.func.grad(lambda b: a + b)(a.detach())
    )(x[0]),
    "grad with no_grad inside": lambda t, x, y: t.func.grad(
        lambda a: (a**2 - t.no_grad()(lambda b: b**2)(a)).sum()
    )(x),
    "vjp": lambda t, x, y: t.func.vjp(t.sin, x)[1](y[0]),
    "vjp of two": lambda t, x, y: t.func.vjp(lambda a, b: (a * b, {"c": b.sum()}), x, y)[1](
        (y, {"c": x[0]})
    ),
    "vjp output": lambda t, x, y: t.func.vjp(lambda a: (a, a * 2), x)[0],
    "vjp aux": lambda t, x, y: t.func.vjp(lambda a: (a.exp(), a * 3), x, has_aux=True)[2],
    "jvp": lambda t, x, y: t.func.jvp(t.sin, (x,), (y[0],)),
    "jvp of two": lambda t, x, y: t.func.jvp(lambda a, b: (a * b, b.sum()), (x, y), (x, y)),
    "jvp aux": lambda t, x, y: t.func.jvp(lambda a: (a**2, a), (x,), (x,), has_aux=True),
    "jvp of grad": lambda t, x, y: t.func.jvp(t.func.grad(quadratic), (x,), (y[0],)),
    "linearize": lambda t, x, y: t.func.linearize(t.tanh, x)[1](y[1]),
    "jacrev": lambda t, x, y: t.func.jacrev(lambda a: (a * y).cumsum(1))(x),
    "jacrev, structures": lambda t, x, y: t.func.jacrev(
        lambda a, b: {"p": a * b, "s": a.prod()}, argnums=(0, 1)
    )(x, y),
    "jacrev aux": lambda t, x, y: t.func.jacrev(lambda a: (a**2, a), has_aux=True)(x),
    "jacfwd": lambda t, x, y: t.func.jacfwd(lambda a: (a * y).cumsum(1))(x),
    "jacfwd, structures": lambda t, x, y: t.func.jacfwd(
        lambda a, b: (a * b, a.prod()), argnums=(0, 1)
    )(x, y),
    "jacfwd of jacrev": lambda t, x, y: t.func.jacfwd(t.func.jacrev(t.sin))(x),
    "hessian": lambda t, x, y: t.func.hessian(quadratic)(x),
    "hessian of both": lambda t, x, y: t.func.hessian(
        lambda a, b: (a * b.exp()).sum(), argnums=(0, 1)
    )(x, y),
    "vmap": lambda t, x, y: t.vmap(t.dot, (None, 0))(x, y),
    "vmap of columns": lambda t, x, y: t.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(y),
    "vmap, last": lambda t, x, y: t.vmap(lambda a: a.sum(), in_dims=-1)(y),
    "vmap, results": lambda t, x, y: t.vmap(lambda a: (a, {"s": a.sum()}), out_dims=(1, 0))(y),
    "vmap, a structure": lambda t, x, y: t.vmap(
        lambda d, k: d["x"] * d["y"] + k, in_dims=({"x": None, "y": 0}, None)
    )({"x": x, "y": y}, 3.0),
    "vmap of vmap": lambda t, x, y: t.vmap(t.vmap(lambda a, b: a * b), (None, 0))(x, y),
    "vmap, constant": lambda t, x, y: t.vmap(lambda a: x)(y),
    "vmap, shared result": lambda t, x, y: t.vmap(lambda a: (a, x), out_dims=(0, None))(y),
    "vmap in chunks": lambda t, x, y: t.vmap(t.sum, chunk_size=1)(y),
    "vmap over none": lambda t, x, y: t.vmap(lambda a: (a * 2, a.sum()), out_dims=(1, 0))(y[:0]),
    "gradients of examples": lambda t, x, y: t.vmap(
        t.func.grad(lambda w, row: (w * row).sum() ** 2), (None, 0)
    )(x, y),
    "vmap of vjp": lambda t, x, y: t.vmap(t.func.vjp(t.sin, x)[1])(y),
    "grad of vmap": lambda t, x, y: t.func.grad(lambda a: t.vmap(t.exp)(a).sum())(y),
}
BAD: dict[str, Callable[[Any, Any, Any], Any]] = {
    "no scalar": lambda t, x, y: t.func.grad(lambda a: a)(x),
    "no tensor": lambda t, x, y: t.func.grad(lambda a: 3)(x),
    "argnums": lambda t, x, y: t.func.grad(quadratic, argnums=2)(x),
    "argnums twice": lambda t, x, y: t.func.grad(lambda a: a.sum(), argnums=(0, 0))(x),
    "no argnums": lambda t, x, y: t.func.grad(quadratic, argnums=())(x),
    "aux": lambda t, x, y: t.func.grad(quadratic, has_aux=True)(x),
    "integers": lambda t, x, y: t.func.grad(lambda a: a.sum())(t.arange(3)),
    "cotangents": lambda t, x, y: t.func.vjp(t.sin, x)[1](y),
    "tangents": lambda t, x, y: t.func.jvp(t.sin, (x,), (y,)),
    "tangents, a list": lambda t, x, y: t.func.jvp(t.sin, (x,), [x]),
    "strict": lambda t, x, y: t.func.jvp(lambda a: y.clone(), (x,), (x,), strict=True),
    "chunks": lambda t, x, y: t.func.jacrev(t.sin, chunk_size=0)(x),
    "vmap, chunks": lambda t, x, y: t.vmap(t.sin, chunk_size=0)(x),
    "vmap, randomness": lambda t, x, y: t.vmap(t.sin, randomness="some")(x),
    "vmap, sizes": lambda t, x, y: t.vmap(lambda a, b: a)(x, y),
    "vmap, nothing mapped": lambda t, x, y: t.vmap(t.sin, in_dims=None)(x),
    "vmap, no inputs": lambda t, x, y: t.vmap(lambda: x)(),
    "vmap, a number": lambda t, x, y: t.vmap(lambda a, b: a)(x, 2),
    "vmap, dim": lambda t, x, y: t.vmap(t.sin, in_dims=1)(x),
    "vmap, dims": lambda t, x, y: t.vmap(t.sin, in_dims=(0, 0))(x),
    "vmap, no dim": lambda t, x, y: t.vmap(t.sin, in_dims=("0",))(x),
    "vmap, out_dims": lambda t, x, y: t.vmap(t.sin, out_dims=(0, 0))(x),
    "vmap, no out_dim": lambda t, x, y: t.vmap(t.sin, out_dims="a")(x),
    "vmap, result": lambda t, x, y: t.vmap(lambda a: 3)(x),
    "vmap, random": lambda t, x, y: t.vmap(lambda a: a + t.rand(()))(x),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", CALLS)
def test_transforms_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    got = CALLS[name](tritorch, *given(tritorch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's forward mode warns of torch's own parts
        want = CALLS[name](torch, *given(torch))
    assert not any(getattr(v, "requires_grad", False) for v in trees.leaves(got))
    found, expected = trees.leaves(got), trees.leaves(want)
    assert trees.rebuilt(got, iter(range(len(found)))) == trees.rebuilt(
        want, iter(range(len(expected)))
    )
    for g, w in zip(found, expected, strict=True):
        assert tuple(g.shape) == tuple(w.shape)
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_pytorchs_type(name: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as want:
        BAD[name](torch, *given(torch))
    with pytest.raises(type(want.value)):
        BAD[name](tritorch, *given(tritorch))


@pytest.mark.parametrize("make", [func.jacrev, func.jacfwd])
def test_jacobian_of_a_product(make: Callable) -> None:
    x, y = given(tritorch)
    rows = make(lambda a: y @ a)(x)
    assert values(rows) == Y.tolist()
    assert tuple(make(lambda a: a[:0])(x).shape) == (0, 3)
    assert tuple(make(lambda a: a.sum())(x[:0]).shape) == (0,)


def test_hessian_of_a_cube() -> None:
    assert values(func.hessian(quadratic)(given(tritorch)[0])) == np.diag(6 * X).tolist()


def test_history_goes_to_what_is_outside() -> None:
    """A result is recorded where it depends on a leaf of the caller, and only there."""
    x, y = given(tritorch)
    w = tritorch.ones(3, dtype=tritorch.float64, requires_grad=True)
    g = func.grad(lambda a: (a**2 * w).sum())(x)
    g.sum().backward()
    assert values(w.grad) == (2 * X).tolist() and x.grad is None
    assert not func.grad(lambda a: (a**2).sum())(x).requires_grad
    again = func.grad(lambda a: (a**2).sum())(w)
    assert again.requires_grad
    with tritorch.no_grad():
        assert not func.grad(lambda a: (a**2 * w).sum())(x).requires_grad
    out, pull = func.vjp(lambda a: a**2 * w, x)
    assert out.requires_grad and pull(x)[0].requires_grad
    assert not tritorch.vmap(lambda a: a * 2)(y).requires_grad
    assert tritorch.vmap(lambda a: a * w)(y).requires_grad


def test_structures_keep_their_kinds() -> None:
    x, y = given(tritorch)
    made = func.grad(lambda p: (p.a * p.b["k"][0]).sum())(Pair(x, {"k": [y]}))
    assert isinstance(made, Pair) and isinstance(made.b["k"], list)
    mapped = tritorch.vmap(lambda a: Pair(a.sum(), [a]))(y)
    assert values(mapped) == Pair(Y.sum(1).tolist(), [Y.tolist()])
    assert trees.spread((0, None), (1, [2, 3])) == [0, None, None]
    assert trees.spread((0, 1), (1,)) is None and trees.spread({"a": 0}, {"b": 1}) is None


def test_randomness() -> None:
    y = given(tritorch)[1]

    def noisy(a: Any) -> Any:
        return a * 0 + tritorch.rand(3)

    tritorch.manual_seed(0)
    different = tritorch.vmap(noisy, randomness="different")(y)
    same = tritorch.vmap(noisy, randomness="same")(y)
    assert (different[0] != different[1]).all() and (same[0] == same[1]).all()
    with pytest.raises(RuntimeError, match="randomness"):
        tritorch.vmap(noisy)(y)


def test_changes_in_place_reach_the_inputs() -> None:
    y = given(tritorch)[1]
    tritorch.vmap(lambda a: a.mul_(2))(y)
    assert values(y) == (2 * Y).tolist()


def test_control_flow_by_values() -> None:
    out = tritorch.vmap(lambda a: a if a.sum() > 1.5 else -a)(given(tritorch)[1])
    assert values(out) == [Y[0].tolist(), (-Y[1]).tolist()]


def test_an_ensemble_and_gradients_of_examples() -> None:
    """Modules as functions of their parameters, mapped over models and over examples."""
    tritorch.manual_seed(0)
    nets = [tritorch.nn.Linear(3, 2) for _ in range(3)]
    params, buffers = func.stack_module_state(nets)
    x = tritorch.rand(5, 3)
    out = tritorch.vmap(lambda p, b: func.functional_call(nets[0], (p, b), x))(params, buffers)
    tritorch.testing.assert_close(out, tritorch.stack([n(x) for n in nets]))
    own = {k: v.detach() for k, v in nets[0].named_parameters()}

    def loss(p: dict, row: Any) -> Any:
        return func.functional_call(nets[0], p, (row,)).square().sum()

    each = tritorch.vmap(func.grad(loss), in_dims=(None, 0))(own, x)
    nets[0](x).square().sum().backward()
    tritorch.testing.assert_close(each["weight"].sum(0), nets[0].weight.grad)
