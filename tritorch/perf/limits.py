"""What a device can do at most, measured: bytes a second and operations a second by dtype.

On a CPU memory is copied by as many threads as operators use, and the products are NumPy's (its
BLAS); on a GPU it is the fastest of the libraries that are compared. Copies count the bytes read
and those written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import tritorch

from .clock import Events
from .peers import Peer

COPY = 1 << 28  # bytes


def best(run: Callable[[], Any], seconds: float = 1.0) -> float:
    """The shortest time of a call, in seconds."""
    run()
    found, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        found = min(found, time.perf_counter() - start)
    return found


def cpu() -> dict[str, Any]:
    """`{"bytes/s": ..., "flop/s": {dtype: ...}}`."""
    threads = tritorch.get_num_threads()
    source, target = np.ones(COPY // 8), np.zeros(COPY // 8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    with ThreadPoolExecutor(threads) as pool:
        copied = best(lambda: list(pool.map(lambda p: np.copyto(*p), parts)))
    rates = {}
    for dtype, n in (("float32", 2048), ("float64", 1536)):
        a, out = np.ones((n, n), dtype), np.empty((n, n), dtype)
        rates[dtype] = 2.0 * n**3 / best(lambda a=a, out=out: np.matmul(a, a, out=out))
    return {"bytes/s": 2.0 * COPY / copied, "flop/s": rates}


def cuda(peers: Sequence[Peer]) -> dict[str, Any]:
    bandwidth, rates = 0.0, {}
    for peer in peers:
        lib, clock = peer.lib, Events(peer.lib)
        x = lib.empty(COPY, dtype=lib.float32, device="cuda")
        bandwidth = max(bandwidth, 8.0 * COPY / fastest(clock, lambda x: x.clone(), [x]))
        del x
        for dtype, n in (("bfloat16", 8192), ("float16", 8192), ("float32", 4096)):
            a = lib.ones((n, n), dtype=getattr(lib, dtype), device="cuda")
            rate = 2.0 * n**3 / fastest(clock, lambda a: a @ a, [a])
            rates[dtype] = max(rates.get(dtype, 0.0), rate)
    return {"bytes/s": bandwidth, "flop/s": rates}


def fastest(clock: Events, call: Callable, xs: list) -> float:
    """Seconds of the fastest of thirty calls."""
    call(*xs)
    return min(clock(call, xs) for _ in range(30)) / 1e6


def limits(device: str, peers: Sequence[Peer]) -> dict[str, Any]:
    return cpu() if device == "cpu" else cuda(peers)
