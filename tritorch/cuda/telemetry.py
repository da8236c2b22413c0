"""What the driver's management library says of a device: its load, heat, power and processes.

The library is read through NVIDIA's package `nvidia-ml-py`, which is imported when it is first
asked: ModuleNotFoundError where it is missing, RuntimeError where there is no driver.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..runtime import memory as _memory
from .devices import Where, index_of
from .streams import owner_of

INSTALL = "pip install nvidia-ml-py"
SM_CLOCK, DIE = 1, 0  # NVML's numbers of a clock and of a sensor


def _nvml(what: str) -> Any:
    """NVIDIA's package, ready for questions."""
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"cuda.{what}: needs the package nvidia-ml-py, which is not installed: {INSTALL}"
        ) from error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise RuntimeError(f"cuda.{what}: cuda driver can't be loaded, is cuda enabled?") from error
    return nvml


def _asked(what: str, device: Where) -> tuple[Any, Any]:
    """The package, and its handle of a device, found by where the device sits."""
    nvml = _nvml(what)
    index = owner_of(what, index_of(device)).index
    bus = _memory.runtime().bus_id(index)  # type: ignore[attr-defined]
    return nvml, nvml.nvmlDeviceGetHandleByPciBusId(bus.encode())


def utilization(device: Where = None) -> int:
    """The percent of the last second or less in which a kernel ran on a device.

    Example:
        >>> import tritorch as torch
        >>> def is_idle():
        ...     return torch.cuda.utilization() < 5
    """
    nvml, handle = _asked("utilization", device)
    return nvml.nvmlDeviceGetUtilizationRates(handle).gpu


def memory_usage(device: Where = None) -> int:
    """The percent of the last second or less in which a device's memory was read or written."""
    nvml, handle = _asked("memory_usage", device)
    return nvml.nvmlDeviceGetUtilizationRates(handle).memory


def temperature(device: Where = None) -> int:
    """Degrees Celsius of a device's die."""
    nvml, handle = _asked("temperature", device)
    return nvml.nvmlDeviceGetTemperature(handle, DIE)


def power_draw(device: Where = None) -> int:
    """Milliwatts that a device draws."""
    nvml, handle = _asked("power_draw", device)
    return nvml.nvmlDeviceGetPowerUsage(handle)


def clock_rate(device: Where = None) -> int:
    """Megahertz of a device's multiprocessors."""
    nvml, handle = _asked("clock_rate", device)
    return nvml.nvmlDeviceGetClockInfo(handle, SM_CLOCK)


def list_gpu_processes(device: Where = None) -> str:
    """The processes that use a device and their memory, a line each; or why that is not known."""
    try:
        nvml = _nvml("list_gpu_processes")
    except ModuleNotFoundError:
        return "pynvml module not found, please install nvidia-ml-py"
    except RuntimeError:
        return "cuda driver can't be loaded, is cuda enabled?"
    nvml, handle = _asked("list_gpu_processes", device)
    lines = [f"GPU:{index_of(device)}"]
    found = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    for process in found:
        used = "an unknown amount of"  # NVML does not know it in containers and on Windows
        if process.usedGpuMemory is not None:
            used = f"{process.usedGpuMemory / (1 << 20):>12.3f} MB"
        lines.append(f"process {process.pid:>10d} uses {used} GPU memory")
    return "\n".join(lines if found else [*lines, "no processes are running"])
