"""`tritorch.explain`: kernels, bytes, operations and bounds of what a function would run."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import tritorch as torch
from tritorch.op import REGISTRY
from tritorch.perf import work
from tritorch.runtime import memory
from tritorch.runtime.array import Array
from tritorch.runtime.memory import meta

compiled = pytest.mark.skipif(
    memory.interpreted() or importlib.util.find_spec("triton") is None,
    reason="needs triton, not interpreted",
)


@compiled
def test_a_training_step_is_explained() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU())
    model.to(torch.bfloat16)
    weight = model[0].weight

    def step(model: Any, batch: dict) -> None:
        model(batch["x"]).sum().backward()

    x = torch.zeros(4096, 64, dtype=torch.bfloat16)
    found = torch.explain(step, model, {"x": x}, target="sm_90")
    assert [c.operator for c in found.calls][:3] == ["linear", "relu", "sum"]
    linear, relu = found.calls[:2]
    assert linear.flops == 2 * 4096 * 64 * 128
    assert linear.bytes == 2 * (4096 * 64 + 64 * 128 + 128 + 4096 * 128)
    assert (relu.bytes, relu.flops, relu.bound) == (4 * 4096 * 128, 4096 * 128, "memory")
    assert abs(relu.microseconds - relu.bytes / 4.8e6) < 1e-9
    kernel = linear.kernels[0]
    assert kernel.name == "matmul_forward_kernel" and kernel.constants["BM"] >= 64
    assert "HGMMA" in kernel.facts.dots and kernel.facts.shared and not kernel.facts.stack
    shown = str(found)
    assert f"{kernel.facts.registers} registers" in shown and "kernels/matmul.py:" in shown
    assert model[0].weight is weight and not weight.is_cuda and weight.grad is None


@compiled
def test_large_products_are_read_by_descriptors() -> None:
    x, w = (torch.zeros(4096, 4096, dtype=torch.bfloat16) for _ in range(2))
    for target, programs in (("sm_90", 132), ("sm_100", 148)):
        (call,) = torch.explain(torch.nn.functional.linear, x, w, target=target).calls
        (kernel,) = call.kernels
        assert (kernel.name, kernel.grid) == ("matmul_persistent_kernel", (programs,))
        assert call.bound == "arithmetic" and kernel.facts.bulk and kernel.facts.dots


@compiled
def test_what_has_no_kernel_is_listed_and_not_counted() -> None:
    before = torch.cuda.fallbacks()
    found = torch.explain(lambda x: torch.linalg.qr(x)[0], torch.ones(3, 3))
    assert not found.calls and set(found.on_host.values()) == {1}
    assert "on the host, 1 times" in str(found) and torch.cuda.fallbacks() == before


def test_targets_are_checked() -> None:
    with pytest.raises(ValueError, match=r"explain: target 'sm_1' is not one of sm_80, .*gfx942"):
        torch.explain(lambda: None, target="sm_1")


def array(*shape: int, dtype: Any = torch.float32) -> Array:
    return meta(shape, dtype)


def test_captured_tensors_are_to_be_arguments() -> None:
    captured = torch.ones(2)
    with pytest.raises(RuntimeError, match="same device") as caught:
        torch.explain(lambda x: x + captured, torch.ones(2))
    assert "captures" in caught.value.__notes__[0]


def test_work_is_counted() -> None:
    q, k, v = array(2, 4, 10, 8), array(2, 2, 20, 8), array(2, 2, 20, 6)
    pairs = 2 * 4 * 10 * 20
    assert work.operations("attention", [], [q, k, v, None], {"is_causal": False}) == (
        2 * pairs * (8 + 6)
    )
    assert work.operations("gelu_backward", [q], [q, q], {}) == 8 * q.size
    x, w, out = array(2, 3, 8, 8), array(5, 3, 3, 3), array(2, 5, 6, 6)
    forward = work.operations("conv2d", [out], [x, w, None], {})
    assert forward == 2 * 2 * 5 * 6 * 6 * 27
    assert work.operations("conv2d_input", [x], [out, w], {}) == forward
    assert work.operations("conv2d_weight", [w], [out, x], {}) == forward
    at = REGISTRY["lstm_scan"].inputs
    given = {"gx": array(7, 12), "h0": array(2, 3), "c0": array(2, 3), "w": array(12, 3)}
    assert work.operations("lstm_scan", [], [given.get(n) for n in at], {}) == 2 * 7 * 36


def test_bytes_count_what_is_there_and_what_is_picked() -> None:
    x, row, out = array(4, 6), array(6).broadcast_to((4, 6)), array(4, 6)
    assert work.moved("add", [out], [x, row]) == 4 * (24 + 24 + 6)
    table, index, picked = array(1000, 8), array(3, dtype=torch.int64), array(3, 8)
    assert work.moved("embedding", [picked], [table, index]) == 4 * (24 + 24) + 24


def test_rules_of_work_name_operators() -> None:
    assert set(work.EXACT) | work.PICKING <= set(REGISTRY)
