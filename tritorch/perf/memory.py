"""The most memory that a step of a library takes above what it began with."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tritorch.runtime import host

from .clock import Runner


def peak(run: Runner, device: str) -> int:
    """Bytes that live at once in a call, which should not be the first, beyond those before it.

    On a CPU those of arrays: NumPy tells Python's allocator of them, PyTorch its profiler.
    """
    if device == "cuda":
        return on_cuda(run.peer.lib, run.once)
    return traced(run.once) if run.peer.name == "tritorch" else profiled(run.peer.lib, run.once)


def on_cuda(lib: Any, call: Callable[[], Any]) -> int:
    before = lib.cuda.memory_allocated()
    lib.cuda.reset_peak_memory_stats()
    call()
    return lib.cuda.max_memory_allocated() - before


def traced(call: Callable[[], Any]) -> int:
    """Of tritorch's host memory, whose pool keeps nothing meanwhile: what it hands out a second
    time nobody would see."""
    limit, host.pool.limit = host.pool.limit, 0
    host.pool.empty()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        host.pool.limit = limit


def profiled(torch: Any, call: Callable[[], Any]) -> int:
    """Of PyTorch, by the allocations in a trace of its profiler."""
    profiler = torch.profiler
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    most = now = 0
    for _, change in sorted(changes, key=lambda c: c[0]):
        now += change
        most = max(most, now)
    return most
