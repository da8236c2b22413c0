"""Switches, `compile`, modules on one device, and the names that are out of scope."""

from __future__ import annotations

import math
from typing import Any

import pytest

import tritorch as torch
from tritorch import nn
from tritorch.ops import unsupported


def test_determinism_is_kept_and_answered() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_deterministic_debug_mode() == 1
        for mode, level in (("error", 2), (1, 1), ("default", 0)):
            torch.set_deterministic_debug_mode(mode)
            assert torch.get_deterministic_debug_mode() == level
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(TypeError, match="must be bool, not int"):
        torch.use_deterministic_algorithms(1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
        torch.set_deterministic_debug_mode("loud")


def test_other_switches() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="expected one of highest, high, medium"):
        torch.set_float32_matmul_precision("low")
    assert torch.set_flush_denormal(False) and not torch.set_flush_denormal(True)
    torch.set_warn_always(True)
    assert torch.is_warn_always_enabled()
    torch.set_warn_always(False)
    torch.set_num_interop_threads(2)
    assert torch.get_num_interop_threads() == 2
    torch.set_num_interop_threads(1)
    assert torch.get_device_module("cuda") is torch.cuda
    assert torch.get_device_module() is torch.cpu and torch.cpu.device_count() == 1
    assert (torch.e, torch.pi, torch.inf, torch.newaxis) == (math.e, math.pi, math.inf, None)


def test_compiled_functions_have_the_same_results() -> None:
    def double(x: Any, by: float = 2) -> Any:
        """Twice."""
        return x * by

    x = torch.ones(2)
    run = torch.compile(double, fullgraph=True, dynamic=False, backend="inductor")
    assert run(x, by=3).tolist() == [3, 3] and run.__doc__ == "Twice."
    assert torch.compile(mode="max-autotune")(double)(x).tolist() == [2, 2]
    assert torch.compile(double, disable=True) is double
    assert torch.compiler.disable(double) is double and not torch.compiler.is_compiling()
    with pytest.raises(RuntimeError, match="Unrecognized mode"):
        torch.compile(double, mode="fastest")
    with pytest.raises(RuntimeError, match="both can't be specified"):
        torch.compile(double, mode="default", options={})


def test_a_compiled_module_is_the_module() -> None:
    layer = nn.Linear(2, 3)
    run = torch.compile(layer)
    x = torch.ones(1, 2)
    assert torch.equal(run(x), layer(x)) and run._orig_mod is layer
    assert list(run.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert run.in_features == 2 and "in_features" in dir(run)
    run.eval()
    assert not layer.training
    with pytest.raises(AttributeError, match="nothing"):
        run.nothing  # noqa: B018
    layer.compile(mode="default")
    assert torch.equal(layer(x), run(x))


def test_conditions() -> None:
    x = torch.ones(2)
    assert torch.cond(x.sum() > 1, lambda t: t + 1, lambda t: t - 1, (x,)).tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="single-element tensor"):
        torch.cond(x, abs, abs, (x,))


def test_data_parallel_on_one_device() -> None:
    layer = nn.Linear(2, 3)
    wide = nn.DataParallel(layer)
    x = torch.ones(4, 2)
    assert torch.equal(wide(x), layer(x)) and wide.module is layer
    assert list(wide.state_dict()) == ["module.weight", "module.bias"]
    assert torch.equal(nn.DataParallel(layer, ["cpu"])(x), layer(x))
    assert torch.equal(nn.parallel.data_parallel(layer, x), layer(x))
    with pytest.raises(NotImplementedError, match="several devices"):
        nn.DataParallel(layer, [0, 1])


def test_containers_of_old() -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        box = nn.Container(a=nn.Linear(1, 1), b=nn.ReLU())
    assert [name for name, _ in box.named_children()] == ["a", "b"]


@pytest.mark.parametrize("family", unsupported.FAMILIES, ids=lambda f: f.missing)
def test_what_is_out_of_scope_says_what_serves_instead(family: unsupported.Family) -> None:
    space = getattr(torch, family.space) if family.space else None
    calls = [getattr(torch, name) for name in family.functions.split()]
    calls += [getattr(torch.ones(2), name) for name in family.methods.split()]
    calls += [getattr(space, name) for name in family.members.split()]
    assert calls
    for call in calls:
        with pytest.raises(NotImplementedError, match=r"do(es)? not exist here; use") as error:
            call(torch.ones(2))
        assert call.__name__ in str(error.value)


def test_what_a_dense_tensor_answers() -> None:
    x: Any = torch.ones(2, 3)
    assert x.to_dense() is x and x.to_dense(torch.float64).dtype is torch.float64
    assert x.sparse_dim() == 0 and x.dense_dim() == 2 and x.dequantize() is x
    assert not x.is_sparse and not torch.masked.is_masked_tensor(x)
    assert torch.get_device(x) == -1 and not x.is_distributed()
    assert x[0]._is_view() and not x._is_view()


def test_made_tensors() -> None:
    make: Any = torch.testing.make_tensor
    x = make(20, 30, dtype=torch.float32, device="cpu", low=-1, high=2)
    assert x.shape == (20, 30) and x.min() >= -1 and 1 < x.max() < 2
    n = make((50,), dtype=torch.uint8, device="cpu")
    assert n.dtype is torch.uint8 and n.max() < 10
    assert make(4, dtype=torch.bool, device="cpu").dtype is torch.bool
    assert make(4, dtype=torch.complex64, device="cpu", requires_grad=True).requires_grad
    assert make(2, 3, dtype=torch.float32, device="cpu", noncontiguous=True).stride() == (6, 2)
    assert (make(99, dtype=torch.int8, device="cpu", low=0, high=2, exclude_zero=True) == 1).all()
    last = make(1, 2, 3, 4, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="must be less than"):
        make(2, dtype=torch.float32, device="cpu", low=2, high=1)


def test_closeness_of_structures() -> None:
    close: Any = torch.testing.assert_close
    close({"a": [torch.ones(2)]}, {"a": [torch.ones(2) + 1e-7]})
    with pytest.raises(AssertionError, match="mapping of"):
        close({"b": 1}, {"a": 1})
    with pytest.raises(AssertionError, match=r"^mine: The values for attribute 'dtype'"):
        close(torch.ones(1), torch.ones(1).double(), msg=lambda m: f"mine: {m}")
    with pytest.raises(AssertionError, match="stride"):
        close(torch.ones(2, 2), torch.ones(2, 2).T.clone().T.contiguous().T, check_stride=True)
    with pytest.raises(AssertionError, match="device"):
        close(torch.ones(2), torch.ones(2, device="meta"))
    with pytest.raises(ValueError, match="both be specified"):
        close(1.0, 1.0, rtol=0.1)
    close(torch.tensor([1, 2]), torch.tensor([1, 3]), rtol=0, atol=1)
    torch.testing.assert_allclose(torch.ones(2), [1, 1])


def test_arithmetic_of_sizes() -> None:
    assert torch.sym_max(3, 2.5) == 3.0 and isinstance(torch.sym_max(3, 2.5), float)
    assert isinstance(torch.sym_min(3, 4), int) and torch.sym_sum([1, 2, 3]) == 6
    assert torch.sym_int(-2.5) == -2 and torch.sym_not(0 > 1) and torch.sym_sqrt(4) == 2
    assert torch.sym_ite(False, 1, 2) == 2 and isinstance(torch.sym_float(2), float)


def test_anomaly_mode_as_a_switch() -> None:
    assert not torch.is_anomaly_enabled()
    try:
        torch.set_anomaly_enabled(True, check_nan=False)
        assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
    finally:
        torch.set_anomaly_enabled(False)
    assert not torch.is_anomaly_enabled()


def test_what_is_never_there() -> None:
    x = torch.ones(1)
    assert not (torch.cudnn_is_acceptable(x) or torch.is_distributed(x))
    assert not torch.is_vulkan_available()
