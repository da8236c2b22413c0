"""Jacobians, Hessians and products with vectors: against formulas, and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
import tritorch.autograd.forward_ad as fwAD
from tritorch import autograd

FUNCTIONS: dict[str, tuple[Callable, tuple[tuple[int, ...], ...]]] = {
    "elementwise": (lambda x: x.exp() * x, ((3,),)),
    "matrix": (lambda x: (x @ x.t()).tanh(), ((2, 3),)),
    "two inputs": (lambda x, y: (x * y.sum()).sin(), ((3,), (2, 2))),
    "two outputs": (lambda x, y: (x * y, (x / y).sum()), ((3,), (3,))),
    "independent": (lambda x, y: (x * 2, y.exp()), ((2,), (2,))),
    "no elements": (lambda x: x * 2, ((0,),)),
    "scalar": (lambda x: (x**3).sum(), ((2, 2),)),
    "scalar of two": (lambda x, y: ((x * y) ** 2).sum() + x.prod(), ((2,), (2,))),
    "linear": (lambda x: (3 * x).sum(), ((3,),)),
    "quadratic in one": (lambda x, y: (x**2).sum() + y.sum(), ((2,), (2,))),
}
SCALAR = ("scalar", "scalar of two", "linear", "quadratic in one")


def inputs(lib: Any, name: str) -> Any:
    rng = np.random.default_rng(0)
    made = tuple(lib.from_numpy(rng.uniform(0.5, 1.5, s)) for s in FUNCTIONS[name][1])
    return made if len(made) > 1 else made[0]


def ones(lib: Any, values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(ones(lib, v) for v in values)
    return lib.arange(values.numel(), dtype=lib.float64).reshape(values.shape) + 1


def call(lib: Any, what: str, name: str, **options: Any) -> Any:
    f, x = FUNCTIONS[name][0], inputs(lib, name)
    F = lib.autograd.functional
    if what in ("jacobian", "hessian"):
        return getattr(F, what)(f, x, **options)
    of = f(*x) if isinstance(x, tuple) else f(x)
    return getattr(F, what)(f, x, ones(lib, of if what == "vjp" else x), **options)


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple):
        return [len(result), *(v for r in result for v in flat(r))]
    return [result.detach().numpy()]


def outcome(lib: Any, what: str, name: str, **options: Any) -> Any:
    try:
        return flat(call(lib, what, name, **options))
    except Exception as error:
        return type(error).__name__


CASES = [
    (what, name)
    for what in ("jacobian", "vjp", "jvp", "hessian", "vhp", "hvp")
    for name in FUNCTIONS
    if name in SCALAR or what in ("vjp", "jvp") or (what == "jacobian" and name != "no elements")
]


@pytest.mark.oracle
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(("what", "name"), CASES)
def test_as_in_pytorch(what: str, name: str, create: bool, strict: bool) -> None:
    torch = pytest.importorskip("torch")
    options = {"create_graph": create, "strict": strict}
    ours, theirs = (outcome(lib, what, name, **options) for lib in (tritorch, torch))
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(ours, str):
        assert ours == theirs
        return
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_products_are_those_with_the_jacobian_and_the_hessian() -> None:
    F = autograd.functional
    f, x = FUNCTIONS["matrix"][0], inputs(tritorch, "matrix")
    J = F.jacobian(f, x).reshape(4, 6).numpy()
    u, v = (tritorch.arange(float(n), dtype=tritorch.float64) for n in (4, 6))
    np.testing.assert_allclose(
        F.vjp(f, x, u.reshape(2, 2))[1].reshape(-1).numpy(), u.numpy() @ J, rtol=1e-10
    )
    np.testing.assert_allclose(
        F.jvp(f, x, v.reshape(2, 3))[1].reshape(-1).numpy(), J @ v.numpy(), rtol=1e-10
    )

    def scalar(x: Any) -> Any:
        return f(x).sum()

    H = F.hessian(scalar, x).reshape(6, 6).numpy()
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    for product in (F.hvp, F.vhp):
        got = product(scalar, x, v.reshape(2, 3))[1]
        np.testing.assert_allclose(got.reshape(-1).numpy(), H @ v.numpy(), rtol=1e-10)


def test_jacobians_without_elements() -> None:
    found = autograd.functional.jacobian(lambda x: x * 2, tritorch.ones(0, 3))
    assert tuple(found.shape) == (0, 3, 0, 3)


def test_results_with_a_graph() -> None:
    x = tritorch.tensor([1.0, 2.0], dtype=tritorch.float64, requires_grad=True)
    J = autograd.functional.jacobian(lambda x: x**3, x, create_graph=True)
    (g,) = tritorch.autograd.grad(J.sum(), x)
    np.testing.assert_allclose(g.numpy(), 6 * x.detach().numpy())
    assert not autograd.functional.jacobian(lambda x: x**3, x).requires_grad
    out, g = autograd.functional.vjp(lambda x: (x**3).sum(), x, create_graph=True)
    assert out.requires_grad and g.requires_grad


BAD: dict[str, Callable[[Any, Any], Any]] = {
    "not a tensor": lambda F, x: F.jacobian(lambda x: x, 3.0),
    "output": lambda F, x: F.jacobian(lambda x: 3.0, x),
    "vector needed": lambda F, x: F.vjp(lambda x: x * 2, x),
    "vector's shape": lambda F, x: F.jvp(lambda x: x * 2, x, x[:1]),
    "vector's length": lambda F, x: F.jvp(lambda x: x * 2, x, (x, x)),
    "not scalar": lambda F, x: F.hessian(lambda x: x * 2, x),
    "two outputs": lambda F, x: F.vhp(lambda x: (x.sum(), x.sum()), x, x),
    "strategy": lambda F, x: F.jacobian(lambda x: x, x, strategy="other"),
    "forward": lambda F, x: F.jacobian(lambda x: x, x, strategy="forward-mode"),
    "strict and vectorize": lambda F, x: F.jacobian(lambda x: x, x, strict=True, vectorize=True),
}


def refusal(lib: Any, name: str) -> Exception:
    with pytest.raises(Exception) as caught:
        BAD[name](lib.autograd.functional, lib.ones(2))
    return caught.value


@pytest.mark.parametrize("name", BAD)
def test_misuse(name: str) -> None:
    assert str(refusal(tritorch, name))


@pytest.mark.oracle
@pytest.mark.parametrize("name", BAD)
def test_misuse_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert type(refusal(tritorch, name)) is type(refusal(torch, name))


def test_variables() -> None:
    x = autograd.Variable(tritorch.ones(2), requires_grad=True)
    assert isinstance(x, tritorch.Tensor) and x.requires_grad
    assert isinstance(tritorch.ones(1), autograd.Variable)
    with pytest.raises(TypeError, match="has to be a tensor"):
        autograd.Variable(3)


# -- forward mode ----------------------------------------------------------------------------------

F = tritorch.nn.functional


@pytest.mark.parametrize(
    ("f", "expected"),  # PyTorch's tangents
    [
        (lambda v: v.exp() * v.sin(), [-1.0, -0.78363, -0.33036, 0.40683, 1.4683, 2.88155]),
        (lambda v: F.softmax(v, 1), [-0.1257, -0.01257, 0.13827, -0.1257, -0.01257, 0.13827]),
        (lambda v: F.layer_norm(v, (3,)), [-0.00252, 0.0, 0.00252, -0.00252, 0.0, 0.00252]),
        (lambda v: v @ v.t(), [-0.28571, -0.54286, -0.54286, 2.28571]),
        (F.gelu, [-0.5, -0.36793, -0.14438, 0.16437, 0.54586, 0.98327]),
        (lambda v: v.max(1)[0], [-0.2, 1.0]),
        (lambda v: tritorch.cat([v[0], v[0] * 2]), [-1.0, -0.6, -0.2, -2.0, -1.2, -0.4]),
        (
            lambda v: F.scaled_dot_product_attention(v[None], v[None], v[None]),
            [-0.38408, 0.01592, 0.41592, -0.10729, 0.29271, 0.69271],
        ),
    ],
)
def test_dual_tensors_carry_tangents(f, expected: list[float]) -> None:
    x = tritorch.arange(6.0).reshape(2, 3) / 7
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, tritorch.linspace(-1, 1, 6).reshape(2, 3))
        value, tangent = fwAD.unpack_dual(f(dual))
        assert tritorch.equal(value, f(x)) and not value.requires_grad
    assert tangent is not None and not tangent.requires_grad
    np.testing.assert_allclose(tangent.flatten().tolist(), expected, atol=1e-5)
    assert fwAD.unpack_dual(dual).tangent is None  # after its block


def test_tangents_have_gradients() -> None:
    w = tritorch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = tritorch.arange(6.0).reshape(2, 3) / 7
    t = tritorch.linspace(-1, 1, 6).reshape(2, 3)
    with fwAD.dual_level():
        value, tangent = fwAD.unpack_dual((fwAD.make_dual(x, t) * w).pow(2).sum())
        assert value.requires_grad
        tangent.backward()
    # the tangent is sum 2 w^2 x t
    np.testing.assert_allclose(w.grad.tolist(), (4 * w * x * t).sum(0).tolist(), rtol=1e-5)


def test_parameters_may_be_dual() -> None:
    net, x = tritorch.nn.Linear(3, 2, bias=False), tritorch.arange(6.0).reshape(2, 3)
    weight = net.weight
    del net.weight
    with fwAD.dual_level():
        net.weight = fwAD.make_dual(weight, tritorch.ones(2, 3))
        assert fwAD.unpack_dual(net(x)).tangent.tolist() == [[3.0, 3.0], [12.0, 12.0]]
        assert fwAD.unpack_dual(net.weight).tangent.tolist() == [[1.0] * 3] * 2
        assert fwAD.unpack_dual(x * 2).tangent is None
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            fwAD.enter_dual_level()
        with pytest.raises(RuntimeError, match=r"shape \(2, 3\) and .*float32, got \(3,\)"):
            fwAD.make_dual(x, tritorch.ones(3))
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex"):
            fwAD.make_dual(tritorch.ones(2, dtype=tritorch.int64), tritorch.ones(2))
    with pytest.raises(RuntimeError, match=r"enter_dual_level\(\) first"):
        fwAD.make_dual(x, x)
    with pytest.raises(RuntimeError, match="not the last one"):
        fwAD.exit_dual_level()
