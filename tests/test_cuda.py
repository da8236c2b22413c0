"""tritorch.cuda and tritorch.backends: what they say without a device, and in the interpreter.

Streams, events and memory are tested against a stand-in for the driver in `fake_cuda_checks.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

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
)


@nowhere
@pytest.mark.parametrize("call", NEEDED_BY, ids=lambda f: f.__name__)
def test_without_a_device_the_rest_says_so(call: Callable) -> None:
    with pytest.raises(RuntimeError, match="no CUDA device was found"):
        call()


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
