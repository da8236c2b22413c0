"""Automatic mixed precision: what autocast casts, its state, and the scaling of gradients."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import amp, nn
from tritorch.nn import functional as F
from tritorch.runtime import memory

BF16, F16, F32, F64 = tritorch.bfloat16, tritorch.float16, tritorch.float32, tritorch.float64
Make = Callable[..., Any]

# Calls with tensors of one dtype, made by `m`: their results' dtypes are compared with PyTorch's.
CALLS: dict[str, Callable[[Any, Make], Any]] = {
    "matmul": lambda lib, m: m(2, 3) @ m(3, 2),
    "mm": lambda lib, m: lib.mm(m(2, 3), m(3, 2)),
    "bmm": lambda lib, m: lib.bmm(m(2, 2, 3), m(2, 3, 2)),
    "mv": lambda lib, m: lib.mv(m(2, 3), m(3)),
    "dot": lambda lib, m: lib.dot(m(3), m(3)),
    "inner": lambda lib, m: lib.inner(m(3), m(3)),
    "outer": lambda lib, m: lib.outer(m(3), m(3)),
    "kron": lambda lib, m: lib.kron(m(2, 2), m(2, 2)),
    "addmm": lambda lib, m: lib.addmm(m(2, 2), m(2, 3), m(3, 2)),
    "addmv": lambda lib, m: lib.addmv(m(2), m(2, 3), m(3)),
    "addr": lambda lib, m: lib.addr(m(2, 3), m(2), m(3)),
    "addbmm": lambda lib, m: lib.addbmm(m(2, 2), m(5, 2, 3), m(5, 3, 2)),
    "baddbmm": lambda lib, m: lib.baddbmm(m(5, 2, 2), m(5, 2, 3), m(5, 3, 2)),
    "einsum": lambda lib, m: lib.einsum("ij,jk", m(2, 3), m(3, 2)),
    "chain_matmul": lambda lib, m: lib.linalg.multi_dot([m(2, 3), m(3, 4), m(4, 2)]),
    "vecdot": lambda lib, m: lib.linalg.vecdot(m(3), m(3)),
    "linear": lambda lib, m: lib.nn.functional.linear(m(2, 3), m(4, 3), m(4)),
    "bilinear": lambda lib, m: lib.nn.functional.bilinear(m(2, 3), m(2, 4), m(5, 3, 4)),
    "conv1d": lambda lib, m: lib.nn.functional.conv1d(m(1, 2, 3), m(2, 2, 2)),
    "conv2d": lambda lib, m: lib.nn.functional.conv2d(m(1, 2, 3, 3), m(2, 2, 2, 2), m(2)),
    "conv_transpose2d": lambda lib, m: lib.nn.functional.conv_transpose2d(
        m(1, 2, 3, 3), m(2, 3, 2, 2)
    ),
    "prelu": lambda lib, m: lib.nn.functional.prelu(m(2, 3), m(1)),
    "attention": lambda lib, m: lib.nn.functional.scaled_dot_product_attention(
        m(1, 2, 3, 4), m(1, 2, 3, 4), m(1, 2, 3, 4)
    ),
    "exp": lambda lib, m: m(3).exp(),
    "pow": lambda lib, m: m(3) ** 2,
    "softmax": lambda lib, m: lib.softmax(m(3), 0),
    "sum": lambda lib, m: m(3).sum(),
    "prod": lambda lib, m: m(3).prod(),
    "norm": lambda lib, m: m(3).norm(),
    "layer_norm": lambda lib, m: lib.nn.functional.layer_norm(m(2, 3), (3,)),
    "gelu": lambda lib, m: lib.nn.functional.gelu(m(3)),
    "add": lambda lib, m: m(3) + m(3),
    "mse_loss": lambda lib, m: lib.nn.functional.mse_loss(m(3), m(3)),
    "l1_loss": lambda lib, m: lib.nn.functional.l1_loss(m(3), m(3)),
    "huber_loss": lambda lib, m: lib.nn.functional.huber_loss(m(3), m(3)),
    "kl_div": lambda lib, m: lib.nn.functional.kl_div(m(3), m(3), reduction="sum"),
    "bce": lambda lib, m: lib.nn.functional.binary_cross_entropy(m(3), m(3)),
    "bce_logits": lambda lib, m: lib.nn.functional.binary_cross_entropy_with_logits(m(3), m(3)),
    "cross_entropy": lambda lib, m: lib.nn.functional.cross_entropy(m(3, 4), lib.tensor([1, 2, 3])),
    "triplet": lambda lib, m: lib.nn.functional.triplet_margin_loss(m(2, 3), m(2, 3), m(2, 3)),
    "cosine_similarity": lambda lib, m: lib.nn.functional.cosine_similarity(m(2, 3), m(2, 3)),
    "cdist": lambda lib, m: lib.cdist(m(2, 3), m(2, 3)),
    "grid_sample": lambda lib, m: lib.nn.functional.grid_sample(
        m(1, 2, 3, 3), m(1, 2, 2, 2), align_corners=False
    ),
    "avg_pool2d": lambda lib, m: lib.nn.functional.avg_pool2d(m(1, 2, 4, 4), 2),
    "avg_pool3d": lambda lib, m: lib.nn.functional.avg_pool3d(m(1, 2, 4, 4, 4), 2),
    "reflect": lambda lib, m: lib.nn.functional.pad(m(1, 2, 3), (1, 1), mode="reflect"),
    "constant": lambda lib, m: lib.nn.functional.pad(m(1, 2, 3), (1, 1)),
    "interpolate": lambda lib, m: lib.nn.functional.interpolate(m(1, 2, 3), scale_factor=2.0),
    "trace": lambda lib, m: m(3, 3).trace(),
    "inv": lambda lib, m: lib.linalg.inv(m(3, 3)),
    "qr": lambda lib, m: lib.linalg.qr(m(3, 3))[0],
    "rfft": lambda lib, m: lib.fft.rfft(m(4)),
    "polar": lambda lib, m: lib.polar(m(3), m(3)),
    "view_as_complex": lambda lib, m: lib.view_as_complex(m(3, 2)),
    "lstm_cell": lambda lib, m: lib.nn.LSTMCell(3, 4).to(m(1).dtype)(m(2, 3))[0],
    "gru": lambda lib, m: lib.nn.GRU(3, 4).to(m(1).dtype)(m(2, 3))[0],
    "attention_layer": lambda lib, m: lib.nn.MultiheadAttention(4, 2).to(m(1).dtype)(
        m(2, 3, 4), m(2, 3, 4), m(2, 3, 4)
    )[0],
}
MIXED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cat": lambda lib, a, b: lib.cat([a, b]),
    "stack": lambda lib, a, b: lib.stack([a, b]),
    "matmul": lambda lib, a, b: a @ b.t(),
    "add": lambda lib, a, b: a + b,
    "mse_loss": lambda lib, a, b: lib.nn.functional.mse_loss(a, b),
}


def dtype_of(lib: Any, name: str, dtype: str) -> str:
    def m(*shape: int) -> Any:
        values = np.arange(np.prod(shape)) ** 2 * 0.37 % 0.9 + 0.05
        return lib.from_numpy(values.reshape(shape)).to(getattr(lib, dtype))

    with warnings.catch_warnings(), lib.autocast("cpu"):
        warnings.simplefilter("ignore")
        return str(CALLS[name](lib, m).dtype).partition(".")[2]


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_results_have_the_dtypes_of_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    assert dtype_of(tritorch, name, dtype) == dtype_of(torch, name, dtype)


LOWER = {"matmul", "bmm", "addmm", "baddbmm", "linear", "conv2d", "prelu", "attention"}
KEPT = {"mv", "dot", "exp", "softmax", "sum", "layer_norm", "gelu", "cross_entropy", "cdist"}


@pytest.mark.parametrize("name", sorted(LOWER | KEPT))
def test_products_run_in_bfloat16_on_the_cpu(name: str) -> None:
    assert dtype_of(tritorch, name, "float32") == ("bfloat16" if name in LOWER else "float32")
    assert dtype_of(tritorch, name, "float64") == "float64"


@pytest.mark.parametrize("name", ["mse_loss", "bce", "inv", "rfft", "prod", "reflect", "trace"])
def test_some_functions_run_in_float32_on_the_cpu(name: str) -> None:
    expected = "complex64" if name == "rfft" else "float32"
    assert dtype_of(tritorch, name, "bfloat16") == expected


def mixed(lib: Any, name: str) -> str:
    a, b = lib.ones(2, 3), lib.ones(2, 3).to(lib.bfloat16)
    with lib.autocast("cpu"):
        return str(MIXED[name](lib, a, b).dtype).partition(".")[2]


@pytest.mark.parametrize("name", MIXED)
def test_mixed_inputs(name: str) -> None:
    assert mixed(tritorch, name) == ("bfloat16" if name == "matmul" else "float32")


@pytest.mark.oracle
@pytest.mark.parametrize("name", MIXED)
def test_mixed_inputs_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert mixed(tritorch, name) == mixed(torch, name)


# -- blocks ---------------------------------------------------------------------------------------


def product_dtype() -> Any:
    x = tritorch.ones(2, 2)
    return (x @ x).dtype


def test_blocks_nest_and_decorate() -> None:
    assert product_dtype() is F32 and not tritorch.is_autocast_enabled("cpu")
    with tritorch.autocast("cpu") as block:
        assert product_dtype() is BF16 and tritorch.is_autocast_enabled("cpu")
        assert not tritorch.is_autocast_enabled()
        with tritorch.autocast("cpu", enabled=False):
            assert product_dtype() is F32
            with tritorch.autocast("cpu", dtype=F16):
                assert product_dtype() is F16 and tritorch.get_autocast_dtype("cpu") is F16
            assert product_dtype() is F32
        assert product_dtype() is BF16 and tritorch.get_autocast_dtype("cpu") is BF16
        with block:
            assert product_dtype() is BF16
    assert product_dtype() is F32

    @tritorch.autocast("cpu")
    def inside() -> Any:
        return product_dtype()

    assert inside() is BF16 and product_dtype() is F32
    with pytest.raises(ZeroDivisionError), tritorch.autocast("cpu"):
        print(1 // 0)
    assert product_dtype() is F32


def test_modes_go_together() -> None:
    with tritorch.no_grad(), tritorch.autocast("cpu"), tritorch.inference_mode():
        assert product_dtype() is BF16
    seen = []

    def watch(op: Any, inputs: Any, params: dict) -> Any:
        with tritorch.autograd.mode.outside():
            seen.append((op.name, inputs[0].dtype))
            return op(*inputs, **params)

    with tritorch.autograd.mode.transform(watch), tritorch.autocast("cpu"):
        assert product_dtype() is BF16
    assert ("matmul", BF16) in seen


def test_state_functions() -> None:
    try:
        tritorch.set_autocast_enabled("cpu", True)
        tritorch.set_autocast_dtype("cpu", F16)
        assert product_dtype() is F16 and tritorch.is_autocast_cpu_enabled()
    finally:
        tritorch.set_autocast_enabled("cpu", False)
        tritorch.set_autocast_dtype("cpu", BF16)
    assert product_dtype() is F32 and tritorch.get_autocast_gpu_dtype() is F16
    assert amp.is_autocast_available("cpu") and not amp.is_autocast_available("abacus")


def test_refusals_and_warnings() -> None:
    with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
        tritorch.autocast("abacus")
    with pytest.raises(ValueError, match="of type `str`"):
        tritorch.autocast(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="requires a callable"):
        tritorch.autocast("cpu")(3)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="only supports dtypes"):
        block = tritorch.autocast("cpu", dtype=F64)
    with block:
        assert product_dtype() is F32
    if not memory.available():
        with pytest.warns(UserWarning, match="CUDA is not available"):
            tritorch.autocast("cuda")
        with pytest.warns(UserWarning, match="CUDA is not available"):
            assert not amp.GradScaler().is_enabled()


def test_in_place_operators_and_out_are_left_alone() -> None:
    x, out = tritorch.ones(2, 2), tritorch.zeros(2, 2)
    with tritorch.autocast("cpu"):
        assert x.add_(1).dtype is F32 and x.addmm_(x, x).dtype is F32
        tritorch.add(x, x, out=out)
    assert out.dtype is F32


def test_parameters_are_cast_once() -> None:
    layer = nn.Linear(2, 2)
    x = tritorch.ones(1, 2)
    cache = tritorch.ops.autocast.settings.cache
    with tritorch.autocast("cpu"):
        first = layer(x)
        kept = [entry[2] for entry in cache.values()]
        layer(x)
        assert [entry[2] for entry in cache.values()] == kept and len(kept) == 2
        with tritorch.no_grad():
            layer.weight.add_(1)
        assert (layer(x) - first).abs().max().item() > 1
        tritorch.clear_autocast_cache()
        assert not cache
        layer(x)
    assert not cache
    with tritorch.autocast("cpu", cache_enabled=False):
        layer(x)
        assert not cache


def model(lib: Any) -> Any:
    rng = np.random.default_rng(0)
    net = lib.nn.Sequential(
        lib.nn.Conv2d(2, 3, 3),
        lib.nn.BatchNorm2d(3),
        lib.nn.ReLU(),
        lib.nn.Flatten(),
        lib.nn.Linear(12, 8),
        lib.nn.LayerNorm(8),
        lib.nn.Linear(8, 3),
    )
    with lib.no_grad():
        for p in net.parameters():
            p.copy_(lib.from_numpy(rng.standard_normal(p.shape).astype(np.float32) * 0.3))
    x = lib.from_numpy(rng.standard_normal((5, 2, 4, 4)).astype(np.float32))
    return net, x, lib.tensor([0, 1, 2, 0, 1])


def trained(lib: Any, lower: bool = True) -> tuple[Any, list, Any]:
    net, x, y = model(lib)
    with lib.autocast("cpu", enabled=lower):
        out = net(x)
        loss = lib.nn.functional.cross_entropy(out, y)
    loss.backward()
    return out, [p.grad for p in net.parameters()], loss


def test_gradients_are_float32_and_close_to_those_without() -> None:
    out, grads, loss = trained(tritorch)
    _, full, expected = trained(tritorch, lower=False)
    assert out.dtype is BF16 and loss.dtype is F32
    for a, b in zip(grads, full):
        assert a.dtype is F32
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=0.05, rtol=0.1)
    assert abs(loss.item() - expected.item()) < 0.05


@pytest.mark.oracle
def test_a_model_trains_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    out, grads, loss = trained(tritorch)
    other, theirs, expected = trained(torch)
    assert abs(loss.item() - expected.item()) < 0.02
    np.testing.assert_allclose(
        out.detach().float().numpy(), other.detach().float().numpy(), atol=0.05, rtol=0.05
    )
    for a, b in zip(grads, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=0.03, rtol=0.1)


def test_custom_functions() -> None:
    seen: list[Any] = []

    class Product(tritorch.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=F32)
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            seen.append((a.dtype, (a @ b).dtype))
            return a @ b

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            a, b = ctx.saved_tensors
            seen.append((g @ b.t()).dtype)
            return g @ b.t(), a.t() @ g

    class Plain(Product):
        forward = staticmethod(
            amp.custom_fwd(
                lambda ctx, a, b: Product.forward.__wrapped__(ctx, a, b), device_type="cpu"
            )
        )

    a = tritorch.ones(2, 2, dtype=BF16, requires_grad=True)
    b = tritorch.ones(2, 2, requires_grad=True)
    with tritorch.autocast("cpu"):
        out = Product.apply(a, b)
    out.sum().backward()
    assert out.dtype is F32 and seen == [(F32, F32), F32]
    seen.clear()
    with tritorch.autocast("cpu"):
        Plain.apply(b, b).sum().backward()
    assert seen == [(F32, BF16), BF16]


# -- on a device ----------------------------------------------------------------------------------


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.available(), reason="needs a device")
def test_on_a_device() -> None:
    x, w = tritorch.ones(4, 4, device="cuda"), tritorch.ones(4, 4, device="cuda")
    with tritorch.autocast("cuda"):
        assert (x @ w).dtype is F16 and x.half().exp().dtype is F32
        assert F.softmax(x.half(), 0).dtype is F32 and (x.half() + x.half()).dtype is F16
        assert F.mse_loss(x.half(), w.half()).dtype is F32
        assert tritorch.dot(x[0].half(), w[0]).dtype is F32
        assert (x.cpu() @ w.cpu()).dtype is F32
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            F.binary_cross_entropy(x, w)
    with tritorch.amp.autocast("cuda", dtype=BF16):
        assert F.linear(x, w).dtype is BF16
    p = nn.Parameter(tritorch.ones(2, device="cuda"))
    optimizer, scaler = tritorch.optim.SGD([p], lr=0.5), tritorch.amp.GradScaler("cuda", 8.0)
    for factor, expected in ((1.0, 0.5), (float("inf"), 0.5)):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert p.tolist() == [expected] * 2
    assert scaler.get_scale() == 4


# -- scaling --------------------------------------------------------------------------------------


def scaled(lib: Any, poisoned: set[int], steps: int = 6) -> tuple[list, dict]:
    """Parameter and scale after each step; at the `poisoned` ones a gradient is infinite."""
    p = lib.nn.Parameter(lib.ones(3))
    optimizer = lib.optim.SGD([p], lr=0.1)
    scaler = lib.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    rows = []
    for i in range(steps):
        optimizer.zero_grad()
        loss = (p * p).sum() * (float("inf") if i in poisoned else 1.0)
        scaler.scale(loss).backward()
        if i % 2:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        rows.append([*p.detach().numpy().tolist(), scaler.get_scale()])
    return rows, scaler.state_dict()


def test_steps_that_are_not_finite_are_left_out() -> None:
    rows, state = scaled(tritorch, {3})
    values, scales = [r[0] for r in rows], [r[-1] for r in rows]
    np.testing.assert_allclose(values, [0.8, 0.64, 0.512, 0.512, 0.4096, 0.32768], rtol=1e-5)
    assert scales == [8, 16, 16, 8, 8, 16] and state["_growth_tracker"] == 0


@pytest.mark.oracle
@pytest.mark.parametrize("poisoned", [set(), {0}, {2, 3}])
def test_scales_are_those_of_pytorch(poisoned: set[int]) -> None:
    torch = pytest.importorskip("torch")
    (rows, state), (expected, of_torch) = scaled(tritorch, poisoned), scaled(torch, poisoned)
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert state == of_torch


def test_scaler_refuses_and_keeps_its_state() -> None:
    p = nn.Parameter(tritorch.ones(1))
    optimizer = tritorch.optim.SGD([p], lr=0.1)
    scaler = amp.GradScaler("cpu", init_scale=4.0)
    with pytest.raises(AssertionError, match="_scale is None"):
        scaler.step(optimizer)
    a, (b,) = scaler.scale([p.sum(), (p.sum(),)])
    assert a.item() == b.item() == 4
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.step(optimizer)
    p.grad = tritorch.ones(1)
    scaler.update(2.0)
    scaler.unscale_(optimizer)
    assert p.grad.item() == 0.5
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)
    scaler.update()
    other = amp.GradScaler("cpu")
    other.load_state_dict(copy.deepcopy(scaler.state_dict()))
    again = pickle.loads(pickle.dumps(scaler))
    assert other.state_dict() == scaler.state_dict() == again.state_dict()
    assert again.get_scale() == 2 and again._get_growth_tracker() == 1
    off = amp.GradScaler("cpu", enabled=False)
    assert off.scale(p) is p and off.state_dict() == {} and off.get_scale() == 1
    off.step(optimizer)
    off.update()
    p.data = tritorch.ones(1, dtype=F16)
    p.grad = tritorch.ones(1, dtype=F16)
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(optimizer)


def test_an_out_says_its_dtype() -> None:
    x, out = tritorch.ones(2, 2) * 3.1, tritorch.empty(2, 2)
    with tritorch.autocast("cpu"):
        assert tritorch.mm(x, x, out=out) is out and tritorch.mm(x, x).dtype is BF16
    np.testing.assert_array_equal(out.numpy(), x.numpy() @ x.numpy())


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_on_the_cpu(kind: str) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for lib in (torch, tritorch):
        layer = getattr(lib.nn, kind)(3, 4)
        with lib.autocast("cpu"):
            out, states = layer(lib.ones(2, 1, 3))
        states = states if kind == "LSTM" else (states,)
        results.append([str(x.dtype).rpartition(".")[2] for x in (out, *states)])
    assert results[0] == results[1]
