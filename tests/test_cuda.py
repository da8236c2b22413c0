"""tritorch.cuda and tritorch.backends: what they say without a device, and in the interpreter.

Streams, events and memory are tested against a stand-in for the driver in `fake_cuda_checks.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tritorch as torch
from tritorch.runtime import memory

nowhere = pytest.mark.skipif(memory.available(), reason="a device is present")


@nowhere
def test_without_a_device_figures_are_zero() -> None:
    cuda = torch.cuda
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0
    assert cuda.memory_stats() == {}
    assert cuda.memory_stats_as_nested_dict() == {} and cuda.get_arch_list() == []
    assert cuda.memory_summary() == "cuda: no memory is in use"
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    cuda.manual_seed(1)
    cuda.manual_seed_all(1)
    cuda.seed()
    cuda.reset_accumulated_memory_stats()
    cuda.reset_peak_host_memory_stats()
    cuda.reset_accumulated_host_memory_stats()
    assert cuda.host_memory_stats() == {} == cuda.host_memory_stats_as_nested_dict()
    assert cuda.default_generators == () and cuda.check_error(0) is None
    assert cuda.get_rng_state_all() == [] and not cuda.is_tf32_supported()


NEEDED_BY = (
    torch.cuda.current_device,
    torch.cuda.synchronize,
    torch.cuda.get_device_name,
    torch.cuda.get_device_properties,
    torch.cuda.get_device_capability,
    torch.cuda.mem_get_info,
    torch.cuda.init,
    torch.cuda.Stream,
    torch.cuda.Event,
    torch.cuda.current_stream,
    torch.cuda.default_stream,
    torch.cuda.get_rng_state,
    torch.cuda.get_per_process_memory_fraction,
    torch.cuda.cudart,
    torch.cuda.profiler.start,
    torch.cuda.profiler.stop,
)


@nowhere
@pytest.mark.parametrize("call", NEEDED_BY, ids=lambda f: f.__name__)
def test_without_a_device_the_rest_says_so(call: Callable) -> None:
    with pytest.raises(RuntimeError, match="no CUDA device was found"):
        call()


@nowhere
def test_without_a_device_what_takes_arguments_says_so() -> None:
    cuda = torch.cuda
    calls: dict[Callable, tuple] = {
        cuda.set_per_process_memory_fraction: (1.5,),
        cuda.ExternalStream: (0,),
        cuda.get_stream_from_external: (0,),
        cuda.caching_allocator_alloc: (8,),
        cuda.CudaError: (2,),
    }
    for call, arguments in calls.items():
        with pytest.raises(RuntimeError, match="no CUDA device was found"):
            call(*arguments)


TOLD = ("utilization", "memory_usage", "temperature", "power_draw", "clock_rate")


@pytest.mark.parametrize("name", TOLD)
def test_what_the_driver_tells_needs_its_package(name: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(ModuleNotFoundError, match=rf"cuda\.{name}: .*pip install nvidia-ml-py"):
        getattr(torch.cuda, name)()
    assert "please install nvidia-ml-py" in torch.cuda.list_gpu_processes()


@pytest.mark.parametrize("name", TOLD)
def test_what_the_driver_tells_needs_the_driver(name: str, monkeypatch: Any) -> None:
    def refuse() -> None:
        raise LookupError("Driver Not Loaded")

    nvml = SimpleNamespace(NVMLError=LookupError, nvmlInit=refuse)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with pytest.raises(RuntimeError, match=rf"cuda\.{name}: cuda driver can't be loaded"):
        getattr(torch.cuda, name)()
    assert torch.cuda.list_gpu_processes() == "cuda driver can't be loaded, is cuda enabled?"


@pytest.mark.oracle
def test_names_and_errors_are_pytorchs() -> None:
    import torch as oracle

    for name in ("CudaError", "DeferredCudaCallError", "AcceleratorError", "OutOfMemoryError"):
        theirs, ours = getattr(oracle.cuda, name), getattr(torch.cuda, name)
        assert issubclass(ours, RuntimeError) == issubclass(theirs, RuntimeError), name
    for name in ("SUCCESS", "ERROR_NOT_READY"):
        assert getattr(torch.cuda.cudaStatus, name) == getattr(oracle.cuda.cudaStatus, name)
    if not oracle.cuda.is_available() and not torch.cuda.is_available():
        assert torch.cuda.default_generators == oracle.cuda.default_generators
        for name in ("memory_stats", "host_memory_stats", "host_memory_stats_as_nested_dict"):
            ours, theirs = getattr(torch.cuda, name)(), getattr(oracle.cuda, name)()
            assert ours == theirs and type(ours) is type(theirs), name


@pytest.mark.interpreter
@pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter")
def test_in_the_interpreter() -> None:
    cuda = torch.cuda
    assert (cuda.is_available(), cuda.device_count(), cuda.current_device()) == (True, 1, 0)
    assert cuda.get_device_name("cuda") == "interpreter"
    assert cuda.get_device_capability(torch.device("cuda:0")) == (9, 0)
    assert cuda.get_device_properties().multi_processor_count > 0
    cuda.synchronize()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    assert cuda.memory_allocated() == 0
    with cuda.device(0):
        assert cuda.current_device() == 0
    with pytest.raises(RuntimeError, match="invalid device ordinal 3: 1 devices"):
        cuda.set_device(3)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        cuda.synchronize("cpu")
    with pytest.raises(RuntimeError, match=r"cuda.Event: needs a CUDA device"):
        cuda.Event()


def test_ranges_say_once_that_they_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    nvtx = torch.cuda.nvtx
    monkeypatch.setattr(nvtx, "_said", [])
    with pytest.warns(UserWarning, match=r"cuda\.nvtx: ranges are not written"):
        assert nvtx.range_push("a") == 0
    with nvtx.range("b {}", 1):
        nvtx.mark("c")
    assert (nvtx.range_pop(), nvtx.range_pop()) == (0, -1)
    with pytest.raises(NotImplementedError, match="set_sync_debug_mode: 'warn' is not supported"):
        torch.cuda.set_sync_debug_mode("warn")


def test_fallbacks_are_sorted_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "FALLBACKS", Counter(erfinv=1, sort=3))
    assert list(torch.cuda.fallbacks().items()) == [("sort", 3), ("erfinv", 1)]


def test_switches_are_kept() -> None:
    cudnn = torch.backends.cudnn
    with cudnn.flags(benchmark=True):
        assert cudnn.benchmark and not cudnn.enabled
    assert not cudnn.benchmark and not cudnn.is_available()
    torch.backends.cuda.matmul.allow_tf32 = False
    assert not torch.backends.mps.is_available()


@nowhere
def test_the_benchmark_of_a_device_says_that_there_is_none() -> None:
    script = Path(__file__).parent.parent / "perf" / "gpu.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("perf/gpu.py: needs a CUDA device")
