"""`tritorch.cuda`: devices, their memory, streams and events, and which operators fell back.

Everything may be called where there is no device: `is_available()` is False, `device_count()` and
the figures of memory are 0, seeds and `empty_cache()` do nothing; the rest says what is missing.
Nothing here is imported before it is used: neither triton nor the CUDA packages.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .. import dtypes
from ..device import device as Device
from ..op import FALLBACKS
from ..ops.interop import TYPE_NAMES
from ..ops.legacy import typed
from ..ops.storages import typed_storage
from ..runtime import memory as _memory, random as _random
from . import amp as amp
from .streams import (
    Event as Event,
    Stream as Stream,
    StreamContext as StreamContext,
    current_stream as current_stream,
    default_stream as default_stream,
    owner_of,
    set_stream as set_stream,
    stream as stream,
)

OutOfMemoryError = _memory.OutOfMemoryError
Where = Device | str | int | None


# -- devices ----------------------------------------------------------------------------------


def is_available() -> bool:
    """Whether kernels have somewhere to run: a CUDA device, or Triton's interpreter.

    Example:
        >>> import tritorch as torch
        >>> device = "cuda" if torch.cuda.is_available() else "cpu"
    """
    return _memory.available()


def is_initialized() -> bool:
    """Whether the accelerator has been used."""
    return _memory._runtime is not None


def init() -> None:
    """Set the accelerator up now; RuntimeError where there is none."""
    _memory.runtime()


def device_count() -> int:
    """The number of devices; 0 where there are none."""
    return _memory.runtime().device_count() if is_available() else 0


def index_of(device: Where = None) -> int:
    """The ordinal of a CUDA device; that of the current one for None and for "cuda"."""
    if isinstance(device, int):
        index = device
    else:
        found = None if device is None else Device(device)
        if found is not None and found.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {found}")
        index = None if found is None else found.index
    runtime = _memory.runtime()
    if index is None:
        return runtime.current_device()
    if not 0 <= index < runtime.device_count():
        raise RuntimeError(
            f"cuda: invalid device ordinal {index}: {runtime.device_count()} devices are visible"
        )
    return index


def current_device() -> int:
    """The ordinal of the device on which "cuda" without an index is."""
    return _memory.runtime().current_device()


def set_device(device: Where) -> None:
    """Make this the current device of the calling thread; nothing for a negative ordinal."""
    if isinstance(device, int) and device < 0:
        return
    _memory.runtime().set_device(index_of(device))


class device:
    """A block in which another device is the current one; a negative ordinal changes nothing."""

    def __init__(self, device: Where) -> None:
        self.idx = -1 if device is None else device if isinstance(device, int) else index_of(device)

    def __enter__(self) -> device:
        self.prev_idx = current_device() if self.idx >= 0 else -1
        set_device(self.idx)
        return self

    def __exit__(self, *exc: object) -> None:
        set_device(self.prev_idx)


class device_of(device):
    """A block in which the device of a tensor is the current one; the CPU's changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.device.index if obj.is_cuda else None)


def synchronize(device: Where = None) -> None:
    """Wait until a device has finished what it was given."""
    _memory.runtime().synchronize(index_of(device))


def get_device_properties(device: Where = None) -> Any:
    """`name`, `major`, `minor`, `total_memory`, `multi_processor_count`, `warp_size` ..."""
    runtime, index = _memory.runtime(), index_of(device)
    if hasattr(runtime, "properties"):
        return runtime.properties(index)  # type: ignore[attr-defined]
    target = runtime.target(index)
    major, minor = divmod(int(target.arch), 10)
    return SimpleNamespace(
        name=target.name,
        major=major,
        minor=minor,
        total_memory=0,
        multi_processor_count=target.sms,
        shared_memory_per_block_optin=target.shared_memory,
        warp_size=target.warp_size,
    )


def get_device_name(device: Where = None) -> str:
    """The name that the driver gives a device."""
    return get_device_properties(device).name


def get_device_capability(device: Where = None) -> tuple[int, int]:
    """The compute capability, (9, 0) for an H100."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 runs on the current device: always, if there is one."""
    return is_available()


# -- memory ----------------------------------------------------------------------------------


def memory_stats(device: Where = None) -> dict[str, int]:
    """Bytes by PyTorch's names: `allocated_bytes.all.current`, `reserved_bytes.all.peak` ..."""
    found = _memory.runtime().memory_stats(index_of(device)) if is_initialized() else {}
    names = {
        "allocated_bytes.all.current": "allocated",
        "allocated_bytes.all.peak": "peak",
        "reserved_bytes.all.current": "reserved",
        "reserved_bytes.all.peak": "reserved_peak",
    }
    return {theirs: found[ours] for theirs, ours in names.items() if ours in found}


def memory_allocated(device: Where = None) -> int:
    """Bytes in use by tensors of a device."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Where = None) -> int:
    """The most bytes in use by tensors since the start, or since `reset_peak_memory_stats`."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Where = None) -> int:
    """Bytes that the pool holds of a device's memory, used or not."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Where = None) -> int:
    """The most bytes that the pool held."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def mem_get_info(device: Where = None) -> tuple[int, int]:
    """Free and total bytes of a device."""
    return owner_of("mem_get_info", index_of(device)).memory_info()


def reset_peak_memory_stats(device: Where = None) -> None:
    """Begin the peaks anew."""
    if is_initialized():
        _for_each_used("reset_peak", device)


def empty_cache() -> None:
    """Give the memory that the pools hold unused back to the driver."""
    if is_initialized():
        _for_each_used("trim")


def _for_each_used(method: str, device: Where = None) -> None:
    """Call a method of one device, or of all that have been used; the interpreter has none."""
    runtime = _memory.runtime()
    if not hasattr(runtime, "device"):
        return
    wanted = range(device_count()) if device is None else [index_of(device)]
    for index in wanted:
        if runtime._devices[index] is not None:  # type: ignore[attr-defined]
            getattr(runtime.device(index), method)()  # type: ignore[attr-defined]


# -- random numbers --------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Start the current device's stream of random numbers from a seed."""
    if is_available():
        _random.default(current_device()).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Start the streams of random numbers of all devices from a seed."""
    for index in range(device_count()):
        _random.default(index).manual_seed(seed)


def initial_seed() -> int:
    """The seed of the current device's stream."""
    return _random.default(current_device()).initial_seed()


# -- operators without a kernel --------------------------------------------------------------


def fallbacks() -> dict[str, int]:
    """How often each operator ran on the host for tensors on a device, the most frequent first.

    Example:
        >>> import tritorch as torch
        >>> torch.cuda.fallbacks()
        {}
    """
    return dict(FALLBACKS.most_common())


# -- typed tensors and storages ----------------------------------------------------------------

for _name, _short in TYPE_NAMES.items():
    _kind = getattr(dtypes, "bool_" if _name == "bool" else _name)
    globals()[f"{_short}Storage"] = typed_storage(_kind, Device("cuda"))
    if not _short.startswith("Complex"):
        globals()[f"{_short}Tensor"] = typed(_kind, Device("cuda"))
