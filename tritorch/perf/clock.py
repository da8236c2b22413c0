"""Time taken by calls that take turns, on inputs that are rotated through memory."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .peers import Peer, arrays
from .sweeps import Point

TURN, PAUSE = 0.03, 0.02  # seconds
MOST = 60  # samples kept of a figure
COPIES = 16  # of the inputs, at most
MEMORY = 256 << 20  # bytes of all copies
FLUSH = 512 << 20  # bytes, more than the cache of any GPU


class Timing(NamedTuple):
    """Microseconds of one call: the median, the quartiles, and samples in the order taken."""

    median: float
    low: float
    high: float
    samples: list[float]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0], list(samples))
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        step = -(-len(samples) // MOST)
        return cls(
            *(round(x, 3) for x in (median, low, high)),
            [round(s, 3) for s in samples[::step]],  # type: ignore
        )


def cache_bytes() -> int:
    """The largest cache of the processor; 32 MiB where it is not told."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text[:-1]) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes, default=32 << 20)


class Runner:
    """The calls of one library, on the copies of the inputs in turn."""

    def __init__(self, peer: Peer, call: Callable, inputs: list[list]) -> None:
        self.peer, self.call, self.inputs = peer, call, inputs
        self.turns = itertools.cycle(inputs)

    def once(self) -> Any:
        out = self.call(*self.inputs[0])
        self.peer.synchronize()
        return out

    def microseconds(self, count: int) -> float:
        """The mean over so many calls."""
        call, inputs = self.call, list(itertools.islice(self.turns, count))
        start = time.perf_counter()
        for xs in inputs:
            call(*xs)
        return (time.perf_counter() - start) * 1e6 / count


def runners(point: Point, peers: Sequence[Peer]) -> list[Runner]:
    """Of the libraries that have the operator. The copies together pass the cache, where some
    sixteen or 256 MiB can."""
    first = arrays(point.case)[0]
    size = max(sum(a.nbytes for a in first), 1)
    copies = max(1, min(-(-2 * cache_bytes() // size), COPIES, MEMORY // size))
    sets = arrays(point.case, copies) if size > 1 << 16 else [first]
    made = []
    for peer in peers:
        call = peer.call(point)
        if call is not None:
            made.append(Runner(peer, call, [peer.tensors(s, point.dtype) for s in sets]))
    return made


def on_cpu(runs: Sequence[Runner], seconds: float) -> list[list[float]]:
    """Samples in microseconds, and of turns: each library runs for `TURN` seconds, after a pause
    in which the threads of the one before fall asleep (OpenMP's wait in a loop)."""
    samples: list[list[float]] = [[] for _ in runs]
    counts = [max(1, int(50 / max(run.microseconds(1), 0.01))) for run in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[-1]) < 3:
        for run, count, seen in zip(runs, counts, samples, strict=True):
            time.sleep(PAUSE)
            stop = time.perf_counter() + TURN
            while time.perf_counter() < stop:
                seen.append(run.microseconds(count))
    return samples


class Events:
    """Times single calls on a GPU by events; between them a buffer passes through the cache."""

    def __init__(self, lib: Any) -> None:
        self.start, self.end = (lib.cuda.Event(enable_timing=True) for _ in range(2))
        self.buffer = lib.empty(FLUSH, dtype=lib.uint8, device="cuda")

    def __call__(self, call: Callable, xs: list) -> float:
        self.buffer.zero_()
        self.start.record()
        call(*xs)
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end) * 1e3


def on_cuda(runs: Sequence[Runner], seconds: float) -> list[list[float]]:
    clocks = [Events(run.peer.lib) for run in runs]
    samples: list[list[float]] = [[] for _ in runs]
    end, done = time.perf_counter() + seconds, 0
    while (time.perf_counter() < end and done < 400) or done < 5:
        for run, clock, seen in zip(runs, clocks, samples, strict=True):
            seen.append(clock(run.call, run.inputs[done % len(run.inputs)]))
        done += 1
    return samples


def measure(runs: Sequence[Runner], device: str, seconds: float) -> dict[str, Timing]:
    """What each library took, after a warm-up of two calls."""
    for run in runs:
        run.once()
        run.once()
    samples = (on_cpu if device == "cpu" else on_cuda)(runs, seconds)
    return {run.peer.name: Timing.of(s) for run, s in zip(runs, samples, strict=True)}


def host_time(runs: Sequence[Runner], seconds: float) -> dict[str, Timing]:
    """What the host took to issue a call, without waiting for the device."""
    samples: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[0]) < 5:
        for run, seen in zip(runs, samples, strict=True):
            run.once()
            seen.append(run.microseconds(100))
            run.peer.synchronize()
    return {run.peer.name: Timing.of(s) for run, s in zip(runs, samples, strict=True)}
