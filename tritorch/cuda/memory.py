"""The memory of CUDA devices: what tensors use, what the pools hold."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ..runtime import memory as _memory
from .devices import Where, device_count, index_of, is_initialized
from .streams import ExternalStream, Stream, owner_of

STATS = {  # PyTorch's names of the runtime's figures
    "allocated_bytes.all.current": "allocated",
    "allocated_bytes.all.peak": "peak",
    "reserved_bytes.all.current": "reserved",
    "reserved_bytes.all.peak": "reserved_peak",
    "num_alloc_retries": "retries",
    "num_ooms": "shortages",
}
HOST_STATS = {  # blocks and bytes; nothing is kept unused, so that all of them are active
    "allocations": 0,
    "active_requests": 0,
    "allocated_bytes": 1,
    "active_bytes": 1,
}
_raw: dict[int, Any] = {}  # what `caching_allocator_alloc` gave, by address


def memory_stats(device: Where = None) -> OrderedDict[str, int]:
    """Bytes by PyTorch's names: `allocated_bytes.all.current`, `reserved_bytes.all.peak` ...

    `num_alloc_retries` counts allocations for which the pool had to give memory back first,
    `num_ooms` those that failed.
    """
    found = _memory.runtime().memory_stats(index_of(device)) if is_initialized() else {}
    return OrderedDict((theirs, found[ours]) for theirs, ours in STATS.items() if ours in found)


def memory_stats_as_nested_dict(device: Where = None) -> dict[str, Any]:
    """The same as dictionaries in each other: `["allocated_bytes"]["all"]["current"]`."""
    return _nested(memory_stats(device))


def _nested(stats: dict[str, int]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in stats.items():
        *path, last = name.split(".")
        at = out
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return out


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


def reset_accumulated_memory_stats(device: Where = None) -> None:
    """Begin the counts of `memory_stats`, `num_alloc_retries` and `num_ooms`, anew."""
    if is_initialized():
        _for_each_used("reset_counts", device)


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


def memory_summary(device: Where = None, abbreviated: bool = False) -> str:
    """A table of the memory in use and held, and of the largest live tensors.

    Without a device, or before it is used, it says so.
    """
    if not is_initialized():
        return "cuda: no memory is in use"
    index = index_of(device)
    stats = memory_stats(index)
    if not stats:
        return f"cuda:{index}: the interpreter counts no memory"
    from ..runtime.cuda_memory import largest_arrays, size

    rows = [
        ("", "now", "peak"),
        *(
            (label, *(size(stats[f"{name}_bytes.all.{when}"]) for when in ("current", "peak")))
            for label, name in (
                ("in use by tensors", "allocated"),
                ("held by the pool", "reserved"),
            )
        ),
    ]
    lines = [f"cuda:{index} ({_memory.runtime().target(index).name})"]
    lines += [f"{a:<20}{b:>14}{c:>14}" for a, b, c in rows]
    lines.append(f"allocations retried: {stats['num_alloc_retries']}, failed: {stats['num_ooms']}")
    if not abbreviated:
        lines.append("largest live tensors:")
        lines += [f"    {text}" for text in largest_arrays(owner_of("memory", index).device, 10)]
    return "\n".join(lines)


def reset_max_memory_allocated(device: Where = None) -> None:
    """`reset_peak_memory_stats`, by its old name."""
    reset_peak_memory_stats(device)


reset_max_memory_cached = reset_max_memory_allocated


def memory_cached(device: Where = None) -> int:
    """`memory_reserved`, by its old name."""
    return memory_reserved(device)


def max_memory_cached(device: Where = None) -> int:
    """`max_memory_reserved`, by its old name."""
    return max_memory_reserved(device)


def device_memory_used(device: Where = None) -> int:
    """Bytes of the device that any process uses."""
    free, total = mem_get_info(device)
    return total - free


def get_allocator_backend() -> str:
    """The allocator by PyTorch's name for it: the driver's pool, in the order of streams."""
    return "cudaMallocAsync"


# -- limits ----------------------------------------------------------------------------------------


def set_per_process_memory_fraction(fraction: float, device: Where = None) -> None:
    """Let this process use at most this part of a device's memory, between 0 and 1.

    An allocation with which more would be in use is an OutOfMemoryError, as one for which there is
    no memory. TypeError for what is no float, ValueError outside of 0 to 1, RuntimeError where
    there is no device.

    Example:
        >>> import tritorch as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.set_per_process_memory_fraction(0.5)
    """
    owner = owner_of("set_per_process_memory_fraction", index_of(device))
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    owner.limit_memory(fraction)


def get_per_process_memory_fraction(device: Where = None) -> float:
    """The part of a device's memory that this process may use: 1.0 where it was not set."""
    return owner_of("get_per_process_memory_fraction", index_of(device)).fraction


# -- memory for other libraries --------------------------------------------------------------------


def caching_allocator_alloc(
    size: int, device: Where = None, stream: Stream | int | None = None
) -> int:
    """The address of `size` bytes of the pool, until `caching_allocator_delete` gives them back.

    They are allocated in the order of a stream or of the address of one, by default the current.
    """
    owner = owner_of("caching_allocator_alloc", index_of(device))
    if stream is not None and not isinstance(stream, Stream | int):
        raise TypeError(
            "Invalid type for stream argument, must be `torch.cuda.Stream` or `int` representing "
            "a pointer to an existing stream"
        )
    if isinstance(stream, int):
        stream = ExternalStream(stream, owner.index)
    with owner.use_stream(owner.stream if stream is None else stream.handle):
        memory = owner.allocate(size)
    _raw[memory.ptr] = memory
    return memory.ptr


def caching_allocator_delete(mem_ptr: int) -> None:
    """Give back what `caching_allocator_alloc` gave; RuntimeError for any other address."""
    if _raw.pop(mem_ptr, None) is None and mem_ptr:
        raise RuntimeError(f"invalid device pointer: {mem_ptr:#x}")


# -- page-locked memory of the host ----------------------------------------------------------------


def _pinned_stats() -> Any:
    runtime = _memory.runtime() if is_initialized() else None
    return runtime.pinned_stats() if hasattr(runtime, "pinned_stats") else None  # type: ignore


def host_memory_stats() -> OrderedDict[str, int]:
    """Blocks and bytes of page-locked memory: `allocated_bytes.current`, `allocations.peak` ...

    Empty before the device is used.
    """
    found = _pinned_stats()
    if found is None:
        return OrderedDict()
    kinds = {
        "current": found.now, "peak": found.peak, "allocated": found.taken, "freed": found.freed
    }  # fmt: skip
    stats = {
        f"{name}.{kind}": figures[i]
        for name, i in HOST_STATS.items()
        for kind, figures in kinds.items()
    }
    counts = {"num_host_alloc": found.taken[0], "num_host_free": found.freed[0]}
    return OrderedDict(sorted({**stats, **counts}.items()))


def host_memory_stats_as_nested_dict() -> dict[str, Any]:
    """The same as dictionaries in each other: `["allocated_bytes"]["current"]`."""
    return _nested(host_memory_stats())


def reset_peak_host_memory_stats() -> None:
    """Begin the peaks of `host_memory_stats` anew."""
    found = _pinned_stats()
    if found is not None:
        found.reset_peak()


def reset_accumulated_host_memory_stats() -> None:
    """Begin what `host_memory_stats` says was allocated and freed anew."""
    found = _pinned_stats()
    if found is not None:
        found.reset_counts()
