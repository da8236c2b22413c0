"""`torch.accelerator`: the device that is not the CPU, whatever its kind; here that is `cuda`.

Example:
    >>> import tritorch as torch
    >>> torch.accelerator.device_count() == torch.cuda.device_count()
    True
"""

from __future__ import annotations

from typing import Any

from . import cuda, dtypes
from .device import device as Device

__all__ = [
    *("current_accelerator", "current_device_idx", "current_device_index", "current_stream"),
    *("device_count", "device_index", "empty_cache", "empty_host_cache", "get_device_capability"),
    *("get_memory_info", "is_available", "max_memory_allocated"),
    *("max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats"),
    *("reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_idx"),
    *("set_device_index", "set_stream", "synchronize"),
]


def is_available() -> bool:
    """Whether there is an accelerator."""
    return cuda.is_available()


def device_count() -> int:
    """How many there are; 0 without one."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The kind of the accelerator, without an index; None where there is none."""
    return Device("cuda") if cuda.is_available() else None


def _needed() -> None:
    if not cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def _index(device: Any) -> Any:
    """A device, its index, or its name, as `cuda` takes it; RuntimeError where there is none."""
    _needed()
    found = Device(device) if isinstance(device, str) else device
    if isinstance(found, Device) and found.type != "cuda":
        raise ValueError(f"{found.type} doesn't match the current accelerator cuda.")
    return found


def current_device_index() -> int:
    """The index of the device in use."""
    _needed()
    return cuda.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any, /) -> None:
    """Use that device from now on."""
    cuda.set_device(_index(device))


set_device_idx = set_device_index


def current_stream(device: Any = None, /) -> Any:
    """The stream in use on a device."""
    return cuda.current_stream(_index(device))


def set_stream(stream: Any) -> None:
    """Use that stream on its device."""
    _needed()
    cuda.set_stream(stream)


def synchronize(device: Any = None, /) -> None:
    """Wait for all that was started on a device."""
    cuda.synchronize(_index(device))


class device_index:
    """A context in which the device of that index is in use; None changes nothing."""

    def __init__(self, device: int | None, /) -> None:
        self.idx, self.before = device, -1

    def __enter__(self) -> None:
        if self.idx is not None:
            self.before = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *error: Any) -> None:
        if self.idx is not None:
            set_device_index(self.before)


def empty_cache() -> None:
    """Give back memory that is kept but not in use."""
    cuda.empty_cache()


def memory_stats(device: Any = None, /) -> dict[str, Any]:
    """`cuda.memory_stats` of a device."""
    return cuda.memory_stats(_index(device))


def memory_allocated(device: Any = None, /) -> int:
    """Bytes of the tensors on a device."""
    return cuda.memory_allocated(_index(device))


def max_memory_allocated(device: Any = None, /) -> int:
    """The most bytes that tensors had at a time."""
    return cuda.max_memory_allocated(_index(device))


def memory_reserved(device: Any = None, /) -> int:
    """Bytes that are kept for tensors."""
    return cuda.memory_reserved(_index(device))


def max_memory_reserved(device: Any = None, /) -> int:
    """The most bytes that were kept at a time."""
    return cuda.max_memory_reserved(_index(device))


def get_memory_info(device: Any = None, /) -> tuple[int, int]:
    """Free and total bytes of a device."""
    return cuda.mem_get_info(_index(device))


def get_device_capability(device: Any = None, /) -> dict[str, Any]:
    """What a device can do: `supported_dtypes`, the dtypes of the tensors that it may hold."""
    cuda.index_of(_index(device))
    found = {d for d in vars(dtypes).values() if isinstance(d, dtypes.DType)}
    return {"supported_dtypes": found}


def empty_host_cache() -> None:
    """Nothing to give back: page-locked memory is freed with the last tensor on it."""
    _needed()


def reset_accumulated_memory_stats(device: Any = None, /) -> None:
    """Counts of `memory_stats` begin anew."""
    cuda.reset_accumulated_memory_stats(_index(device))


def reset_peak_memory_stats(device: Any = None, /) -> None:
    """What was the most begins anew."""
    cuda.reset_peak_memory_stats(_index(device))
