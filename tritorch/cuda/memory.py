"""The memory of CUDA devices: what tensors use, what the pools hold."""

from __future__ import annotations

from typing import Any

from ..runtime import memory as _memory
from .devices import Where, device_count, index_of, is_initialized
from .streams import owner_of

STATS = {  # PyTorch's names of the runtime's figures
    "allocated_bytes.all.current": "allocated",
    "allocated_bytes.all.peak": "peak",
    "reserved_bytes.all.current": "reserved",
    "reserved_bytes.all.peak": "reserved_peak",
    "num_alloc_retries": "retries",
    "num_ooms": "shortages",
}


def memory_stats(device: Where = None) -> dict[str, int]:
    """Bytes by PyTorch's names: `allocated_bytes.all.current`, `reserved_bytes.all.peak` ...

    `num_alloc_retries` counts allocations for which the pool had to give memory back first,
    `num_ooms` those that failed.
    """
    found = _memory.runtime().memory_stats(index_of(device)) if is_initialized() else {}
    return {theirs: found[ours] for theirs, ours in STATS.items() if ours in found}


def memory_stats_as_nested_dict(device: Where = None) -> dict[str, Any]:
    """The same as dictionaries in each other: `["allocated_bytes"]["all"]["current"]`."""
    out: dict[str, Any] = {}
    for name, value in memory_stats(device).items():
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
