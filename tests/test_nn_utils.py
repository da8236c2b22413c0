"""Helpers for parameters: parametrizations, norms of weights, pruning, fusion, functional calls."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import nn
from tritorch.nn.utils import parametrizations, parametrize, prune
from tritorch.nn.utils.stateless import functional_call as stateless_call


def layer(lib: Any, n: int = 4, m: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    made = lib.nn.Linear(n, m)
    with lib.no_grad():
        for p in made.parameters():
            p.copy_(lib.from_numpy(rng.standard_normal(p.shape).astype(np.float32)))
    return made


def x_for(lib: Any, n: int = 4) -> Any:
    return lib.from_numpy(np.linspace(-1, 1, 5 * n, dtype=np.float32).reshape(5, n))


# -- parametrize ----------------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.triu() + x.triu(1).t()

    def right_inverse(self, x: Any) -> Any:
        return x.triu()


class Double(nn.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def right_inverse(self, x: Any) -> Any:
        return x / 2


class Product(nn.Module):
    def forward(self, a: Any, b: Any) -> Any:
        return a.unsqueeze(1) * b

    def right_inverse(self, x: Any) -> Any:
        return x[:, 0].clone(), (x[0] / x[0, 0]).clone()


class Bad(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:1]


def test_parametrized_weights() -> None:
    module = nn.Linear(3, 3)
    before = module.weight.detach().clone()
    assert parametrize.register_parametrization(module, "weight", Symmetric()) is module
    assert (module.weight == module.weight.t()).all() and type(
        module
    ).__name__ == "ParametrizedLinear"
    assert isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight")
    assert parametrize.type_before_parametrizations(module) is nn.Linear
    assert list(module.state_dict()) == ["bias", "parametrizations.weight.original"]
    original = module.parametrizations.weight.original
    assert (original == before.triu()).all() and isinstance(original, nn.Parameter)
    parametrize.register_parametrization(module, "weight", Double())
    module.weight = tritorch.eye(3) * 4
    np.testing.assert_allclose(module.weight.detach().numpy(), np.eye(3) * 4)
    module(tritorch.ones(1, 3)).sum().backward()
    assert original.grad is not None
    twin = copy.deepcopy(module)
    twin.parametrizations.weight.original.data.zero_()
    assert (twin.weight == 0).all() and (module.weight != 0).any()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(module)
    parametrize.remove_parametrizations(module, "weight")
    assert type(module) is nn.Linear and isinstance(module.weight, nn.Parameter)
    np.testing.assert_allclose(module.weight.detach().numpy(), np.eye(3) * 4)
    assert list(module.state_dict()) == ["bias", "weight"]


def test_parametrizations_of_several_tensors_and_of_buffers() -> None:
    module = nn.Linear(3, 2)
    with tritorch.no_grad():
        module.weight.copy_(tritorch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]))
    parametrize.register_parametrization(module, "weight", Product())
    assert [n for n, _ in module.named_parameters()] == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    np.testing.assert_allclose(module.weight.detach().numpy(), [[1, 2, 3], [2, 4, 6]])
    with pytest.raises(ValueError, match="sequence of tensors"):
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(module, "weight")
    assert module.weight.shape == (2, 3)
    host = nn.Module()
    host.register_buffer("b", tritorch.ones(2, 2))
    parametrize.register_parametrization(host, "b", Double())
    assert (host.b == 1).all() and list(host.state_dict()) == ["parametrizations.b.original"]
    parametrize.remove_parametrizations(host, "b", leave_parametrized=False)
    assert (host.b == 0.5).all() and "b" in host._buffers


def test_cached_parametrizations() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, x: Any) -> Any:
            calls.append(1)
            return x * 1

    module = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counting())
    calls.clear()
    with parametrize.cached():
        assert module.weight is module.weight
    assert len(calls) == 1
    assert module.weight is not module.weight


def test_misuse_of_parametrize() -> None:
    module = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(module, "other", Double())
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(module, "weight", Bad())
    assert type(module) is nn.Linear
    parametrize.register_parametrization(module, "weight", Bad(), unsafe=True)
    assert module.weight.shape == (1, 3)
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        module.weight = tritorch.ones(3, 3)
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(module, "bias")


def test_transferred_parametrizations() -> None:
    source = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    target = parametrize.transfer_parametrizations_and_params(source, nn.Linear(3, 3))
    assert (target.weight == source.weight).all()
    assert parametrize.is_parametrized(target, "weight")


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 4)])
def test_orthogonal(shape: tuple[int, int], how: str | None, trivial: bool) -> None:
    n, m = shape
    module = parametrizations.orthogonal(
        nn.Linear(m, n), orthogonal_map=how, use_trivialization=trivial
    )

    def gap() -> float:
        w = module.weight.detach().numpy()
        product = w @ w.T if n < m else w.T @ w
        return float(np.abs(product - np.eye(min(n, m))).max())

    assert gap() < 1e-5
    optimizer = tritorch.optim.SGD(module.parameters(), lr=0.1)
    before = module.weight.detach().clone()
    module(tritorch.ones(2, m)).pow(2).sum().backward()
    optimizer.step()
    assert gap() < 1e-5 and (module.weight != before).any()
    if trivial:
        target, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((max(n, m), min(n, m))))
        target = (target.T if n < m else target).astype(np.float32)
        module.weight = tritorch.from_numpy(target.copy())
        np.testing.assert_allclose(
            np.abs(module.weight.detach().numpy()), np.abs(target), atol=1e-5
        )


def test_orthogonal_refuses() -> None:
    with pytest.raises(ValueError, match="has no parameter"):
        parametrizations.orthogonal(nn.Linear(2, 2), "other")
    with pytest.raises(ValueError, match="Expected a matrix"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    with pytest.raises(ValueError, match="orthogonal_map"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="other")
    module = parametrizations.orthogonal(
        nn.Linear(2, 2), orthogonal_map="cayley", use_trivialization=False
    )
    with pytest.raises(NotImplementedError, match="not possible to assign"):
        module.weight = tritorch.eye(2)


# -- norms of weights: the same in both libraries -------------------------------------------------


def weight_normed(lib: Any, newer: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utils = lib.nn.utils.parametrizations if newer else lib.nn.utils
        return utils.weight_norm(layer(lib), dim=0)


@pytest.mark.parametrize("newer", [True, False])
def test_weight_norm(newer: bool) -> None:
    plain, module = layer(tritorch), weight_normed(tritorch, newer)
    np.testing.assert_allclose(
        module(x_for(tritorch)).detach().numpy(), plain(x_for(tritorch)).detach().numpy(), atol=1e-5
    )
    module(x_for(tritorch)).pow(2).sum().backward()
    state = module.state_dict()
    keys = (
        ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
        if newer
        else ["bias", "weight_g", "weight_v"]
    )
    assert list(state) == keys and state[keys[1]].shape == (3, 1)
    g = module.parametrizations.weight.original0 if newer else module.weight_g
    assert g.grad is not None
    with tritorch.no_grad():
        g.mul_(2)
    np.testing.assert_allclose(
        (module(x_for(tritorch)) - module.bias).detach().numpy(),
        2 * (plain(x_for(tritorch)) - plain.bias).detach().numpy(),
        atol=1e-5,
    )
    if newer:
        parametrize.remove_parametrizations(module, "weight")
    else:
        nn.utils.remove_weight_norm(module)
    assert list(module.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(module.weight.detach().numpy(), 2 * plain.weight.detach().numpy())


def test_older_states_of_weight_norm_can_be_loaded() -> None:
    older, newer = weight_normed(tritorch, False), weight_normed(tritorch, True)
    with tritorch.no_grad():
        older.weight_g.mul_(3)
    newer.load_state_dict(older.state_dict())
    older(x_for(tritorch))
    np.testing.assert_allclose(newer.weight.detach().numpy(), older.weight.detach().numpy())


@pytest.mark.parametrize("newer", [True, False])
def test_spectral_norm(newer: bool) -> None:
    module = layer(tritorch)
    utils: Any = parametrizations if newer else nn.utils
    expected = np.linalg.svd(module.weight.detach().numpy(), compute_uv=False)[0]
    first = module.weight.detach().numpy() / expected
    utils.spectral_norm(module, n_power_iterations=20)
    for _ in range(3):
        module(x_for(tritorch))
    np.testing.assert_allclose(module.weight.detach().numpy(), first, atol=1e-4)
    module(x_for(tritorch)).sum().backward()
    module.eval()
    a, b = module(x_for(tritorch)), module(x_for(tritorch))
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    keys = (
        [
            "bias",
            "parametrizations.weight.original",
            "parametrizations.weight.0._u",
            "parametrizations.weight.0._v",
        ]
        if newer
        else ["bias", "weight_orig", "weight_u", "weight_v"]
    )
    assert list(module.state_dict()) == keys
    twin = utils.spectral_norm(layer(tritorch, seed=1), n_power_iterations=20).eval()
    twin.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(twin(x_for(tritorch)).detach().numpy(), a.detach().numpy())
    if newer:
        parametrize.remove_parametrizations(module, "weight")
    else:
        nn.utils.remove_spectral_norm(module)
        with pytest.raises(ValueError, match="not found"):
            nn.utils.remove_spectral_norm(module)
    assert list(module.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(module.weight.detach().numpy(), first, atol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("newer", [True, False])
def test_norms_of_weights_as_in_pytorch(newer: bool) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for lib in (tritorch, torch):
        module = weight_normed(lib, newer)
        module(x_for(lib)).pow(2).sum().backward()
        names = [n for n, _ in module.named_parameters()]
        results.append((names, [p.grad.numpy() for p in module.parameters()]))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    utils = (
        (parametrizations, torch.nn.utils.parametrizations) if newer else (nn.utils, torch.nn.utils)
    )
    ours, theirs = (u.spectral_norm(layer(lib)) for u, lib in zip(utils, (tritorch, torch)))
    ours.load_state_dict(
        {k: tritorch.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()}
    )
    for _ in range(2):
        a, b = ours(x_for(tritorch)), theirs(x_for(torch))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    for module in (ours, theirs):
        module.zero_grad()
        module(x_for(tritorch if module is ours else torch)).pow(2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4)


# -- pruning --------------------------------------------------------------------------------------

PRUNINGS: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda p, m: p.identity(m, "weight"),
    "l1": lambda p, m: p.l1_unstructured(m, "weight", amount=0.4),
    "l1 number": lambda p, m: p.l1_unstructured(m, "weight", amount=5),
    "ln": lambda p, m: p.ln_structured(m, "weight", amount=1, n=2, dim=0),
    "ln columns": lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=1, dim=-1),
    "twice": lambda p, m: p.l1_unstructured(
        p.l1_unstructured(m, "weight", amount=3), "weight", amount=0.5
    ),
    "both": lambda p, m: p.l1_unstructured(
        p.ln_structured(m, "weight", amount=1, n=2, dim=1), "weight", amount=3
    ),
    "mask": lambda p, m: p.custom_from_mask(m, "weight", (m.weight > 0).to(m.weight.dtype)),
    "scores": lambda p, m: p.l1_unstructured(
        m, "weight", 3, importance_scores=1 / m.weight.detach()
    ),
    "global": lambda p, m: p.global_unstructured(
        [(m, "weight"), (m, "bias")], p.L1Unstructured, amount=6
    ),
}


def pruned(lib: Any, how: Callable, name: str) -> Any:
    module = layer(lib)
    PRUNINGS[name](how, module)
    module(x_for(lib)).pow(2).sum().backward()
    return module


@pytest.mark.parametrize("name", PRUNINGS)
def test_pruning(name: str) -> None:
    module = pruned(tritorch, prune, name)
    assert prune.is_pruned(module)
    mask, original = module.weight_mask.numpy(), module.weight_orig
    np.testing.assert_array_equal(module.weight.detach().numpy(), original.detach().numpy() * mask)
    assert (original.grad.numpy()[mask == 0] == 0).all()
    values = module.weight.detach().numpy()
    prune.remove(module, "weight")
    np.testing.assert_array_equal(module.weight.detach().numpy(), values)
    assert isinstance(module.weight, nn.Parameter) and "weight_mask" not in module.state_dict()
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(module, "weight")


@pytest.mark.oracle
@pytest.mark.parametrize("name", PRUNINGS)
def test_pruning_as_in_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    import torch
    import torch.nn.utils.prune as other

    ours, theirs = pruned(tritorch, prune, name), pruned(torch, other, name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_pruning_at_random() -> None:
    module = prune.random_unstructured(nn.Linear(10, 10), "weight", amount=0.3)
    assert int((module.weight_mask == 0).sum()) == 30
    module = prune.random_structured(nn.Linear(10, 6), "weight", amount=0.5, dim=0)
    assert int((module.weight_mask.sum(1) == 0).sum()) == 3
    container = prune.L1Unstructured.apply(module, "weight", amount=10)
    assert isinstance(container, prune.PruningContainer) and len(container) == 2
    assert int((module.weight_mask == 0).sum()) == 40
    assert int((prune.RandomUnstructured(2).prune(tritorch.ones(5)) == 0).sum()) == 2


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TypeError, lambda m: prune.l1_unstructured(m, "weight", amount="x")),
        (ValueError, lambda m: prune.l1_unstructured(m, "weight", amount=1.5)),
        (ValueError, lambda m: prune.l1_unstructured(m, "weight", amount=1000)),
        (ValueError, lambda m: prune.random_structured(m, "bias", amount=1, dim=0)),
        (IndexError, lambda m: prune.ln_structured(m, "weight", amount=1, n=2, dim=2)),
        (TypeError, lambda m: prune.global_unstructured(3, prune.L1Unstructured, amount=1)),
    ],
)
def test_misuse_of_pruning(error: type, call: Callable) -> None:
    module = layer(tritorch)
    with pytest.raises(error):
        call(module)
    assert list(module.state_dict()) == ["weight", "bias"]


# -- fusion, memory, initialisation ---------------------------------------------------------------


def normalised(bn: Any) -> Any:
    rng = np.random.default_rng(1)
    for t in (bn.running_mean, bn.running_var, bn.weight.data, bn.bias.data):
        t.copy_(tritorch.from_numpy(rng.uniform(0.5, 2, t.shape).astype(np.float32)))
    return bn.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transpose", [False, True])
def test_fused_convolutions(transpose: bool, bias: bool) -> None:
    kind = nn.ConvTranspose2d if transpose else nn.Conv2d
    conv, bn = kind(3, 4, 2, bias=bias).eval(), normalised(nn.BatchNorm2d(4))
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose=transpose)
    x = tritorch.randn(2, 3, 5, 5)
    np.testing.assert_allclose(fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), atol=1e-5)
    assert isinstance(fused.weight, nn.Parameter) and (conv.bias is None) is not bias
    with pytest.raises(AssertionError, match="only for eval"):
        nn.utils.fuse_conv_bn_eval(conv.train(), bn)


def test_fused_linear_layers() -> None:
    linear, bn = nn.Linear(3, 4).eval(), normalised(nn.BatchNorm1d(4))
    x = tritorch.randn(5, 3)
    fused = nn.utils.fuse_linear_bn_eval(linear, bn)
    np.testing.assert_allclose(fused(x).detach().numpy(), bn(linear(x)).detach().numpy(), atol=1e-5)
    with pytest.raises(AssertionError, match="num_features"):
        nn.utils.fuse_linear_bn_eval(linear, normalised(nn.BatchNorm1d(3)))


def test_memory_formats_and_skipped_initialisation() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(2, 2))
    nn.utils.convert_conv2d_weight_memory_format(net, tritorch.channels_last)
    assert net[0].weight.is_contiguous(memory_format=tritorch.channels_last)
    made = nn.utils.skip_init(nn.Linear, 3, 2)
    assert made.weight.shape == (2, 3) and made.weight.is_cpu
    with pytest.raises(RuntimeError, match="Expected a Module"):
        nn.utils.skip_init(int)
    with pytest.raises(RuntimeError, match="device"):
        nn.utils.skip_init(nn.ReLU)
    p = nn.Parameter(tritorch.zeros(2))
    p.grad = tritorch.tensor([3.0, 4.0])
    with pytest.warns(FutureWarning, match="deprecated"):
        assert nn.utils.clip_grad_norm([p], 1.0).item() == 5


# -- functional calls -----------------------------------------------------------------------------


def test_functional_call() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    values = {k: tritorch.ones_like(v) for k, v in net.state_dict().items()}
    values["0.weight"].requires_grad_()
    x = tritorch.arange(6.0).reshape(3, 2)
    before = copy.deepcopy(net.state_dict())
    out = tritorch.func.functional_call(net, values, (x,))
    (out**2).sum().backward()
    assert values["0.weight"].grad is not None and net[0].weight.grad is None
    assert values["1.num_batches_tracked"].item() == 2
    for a, b in zip(net.state_dict().values(), before.values()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    one, two = {"0.weight": values["0.weight"]}, {"0.bias": values["0.bias"]}
    net.eval()
    again = tritorch.func.functional_call(net, (one, two), x)
    assert again.shape == (3, 2)
    for bad, error, strict in (
        ({"other": x}, KeyError, False),
        (one, RuntimeError, True),
        ((one, one), ValueError, False),
        (3, ValueError, False),
    ):
        with pytest.raises(error):
            tritorch.func.functional_call(net, bad, x, strict=strict)
    with pytest.warns(FutureWarning, match="deprecated"):
        stateless_call(net, one, x)


def test_tied_weights_are_replaced_together() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(1, 1, bias=False)
            self.b = nn.Linear(1, 1, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    net = Tied()
    two = {"a.weight": tritorch.tensor([[2.0]])}
    x = tritorch.ones(1, 1)
    assert tritorch.func.functional_call(net, two, x).item() == 4
    alone = tritorch.func.functional_call(net, two, x, tie_weights=False)
    np.testing.assert_allclose(alone.item(), 2 * net.a.weight.item(), rtol=1e-6)
    with pytest.raises(ValueError, match="tied"):
        tritorch.func.functional_call(net, {**two, "b.weight": tritorch.ones(1, 1)}, x)


def test_stacked_states() -> None:
    nets = [nn.BatchNorm1d(3) for _ in range(4)]
    params, buffers = tritorch.func.stack_module_state(nets)
    assert params["weight"].shape == (4, 3) and params["weight"].is_leaf
    assert params["weight"].requires_grad and buffers["running_mean"].shape == (4, 3)
    for bad in ([], [nets[0], nn.BatchNorm1d(3).eval()], [nets[0], nn.Linear(1, 1)]):
        with pytest.raises(RuntimeError, match="stack_module_state"):
            tritorch.func.stack_module_state(bad)


# -- gradients as functions of shapes -------------------------------------------------------------

CONVOLUTIONS = [  # dimensions, size, kernel, stride, padding, dilation, groups
    (1, (9,), (3,), 2, 1, 2, 1),
    (1, (8,), (2,), 3, 0, 1, 2),
    (2, (7, 8), (3, 2), (2, 3), (1, 0), (1, 2), 2),
    (2, (5, 5), (1, 1), 1, 0, 1, 4),
    (3, (4, 5, 6), (2, 3, 1), (1, 2, 2), (1, 1, 0), 1, 1),
]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("n", "size", "kernel", "stride", "padding", "dilation", "groups"), CONVOLUTIONS
)
def test_gradients_of_convolutions_are_torchs(n, size, kernel, stride, padding, dilation, groups):
    torch = pytest.importorskip("torch")

    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, 4, *size))
    w = rng.standard_normal((8, 4 // groups, *kernel))
    how = (stride, padding, dilation, groups)
    g = getattr(torch.nn.functional, f"conv{n}d")(torch.tensor(x), torch.tensor(w), None, *how)
    g = rng.standard_normal(g.shape)
    made = {}
    for lib in (torch, tritorch):
        grads = lib.nn.grad
        tx, tw, tg = (lib.tensor(a, requires_grad=True) for a in (x, w, g))
        gx = getattr(grads, f"conv{n}d_input")(x.shape, tw, tg, *how)
        gw = getattr(grads, f"conv{n}d_weight")(tx, w.shape, tg, *how)
        (gx.square().sum() + gw.square().sum()).backward()
        made[lib] = [a.detach().numpy() for a in (gx, gw, tx.grad, tw.grad, tg.grad)]
    for got, want in zip(made[tritorch], made[torch], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def test_gradients_of_convolutions_of_sizes_that_do_not_fit():
    from tritorch.nn import grad

    w, g = tritorch.ones(1, 1, 2), tritorch.ones(1, 1, 2)
    with pytest.raises(ValueError, match="an input of size 3 to 3, got 5"):
        grad.conv1d_input((1, 1, 5), w, g)
    with pytest.raises(RuntimeError, match="shape"):
        grad.conv1d_weight(tritorch.ones(1, 1, 5), (1, 1, 2), g)


def test_parts_of_nn_are_attributes():
    import subprocess
    import sys

    names = "attention.SDPBackend", "grad.conv2d_input", "common_types._size_2_t"
    use = "\n".join(["import tritorch", *(f"tritorch.nn.{name}" for name in names)])
    subprocess.run([sys.executable, "-c", use], check=True, timeout=60)
