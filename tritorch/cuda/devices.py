"""The CUDA devices: how many, which is the current one, what they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..device import device as Device
from ..runtime import memory as _memory

Where = Device | str | int | None


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


def is_tf32_supported() -> bool:
    """Whether float32 products may run on tensor cores: from compute capability 8.0 on."""
    return is_available() and get_device_capability()[0] >= 8


def can_device_access_peer(device: Where, peer_device: Where) -> bool:
    """Whether a device reads another's memory; ValueError for a device and itself."""
    a, b = index_of(device), index_of(peer_device)
    if a == b:
        raise ValueError("can_device_access_peer: the two devices are the same")
    runtime = _memory.runtime()
    return hasattr(runtime, "can_access_peer") and runtime.can_access_peer(a, b)  # type: ignore


def get_arch_list() -> list[str]:
    """The architectures that kernels can be compiled for; [] where there is no device."""
    from ..runtime.aot import TARGETS

    return [name for name in TARGETS if name.startswith("sm_")] if is_available() else []


def get_gencode_flags() -> str:
    """Options of nvcc that kernels were compiled with: none, for Triton compiles them."""
    return ""


def get_sync_debug_mode() -> int:
    """0: calls that wait for the device are not reported."""
    return 0


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Accepts 0 ("default"); calls that wait for the device are not reported here."""
    if debug_mode not in (0, "default"):
        raise NotImplementedError(
            f"cuda.set_sync_debug_mode: {debug_mode!r} is not supported, only 0 or 'default'"
        )


def ipc_collect() -> None:
    """Nothing: memory is not shared between processes."""
