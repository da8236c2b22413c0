"""Time taken by calls that take turns, on inputs that are rotated through memory.

A figure is visited several times over a run. In a visit each library has one turn, which begins
when the threads of the one before are asleep and with a call that does not count; its time is the
lower quartile of the turn's samples, what the call takes where nothing disturbs it.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .peers import Peer, arrays
from .sweeps import Point

SAMPLE = 50  # microseconds that a sample takes at least, of as many calls
LOOK, ASLEEP, WAIT = 0.002, 0.0004, 0.25  # seconds between looks, used when asleep, at most
MOST = 60  # samples kept of a figure
COPIES = 16  # of the inputs, at most
MEMORY = 256 << 20  # bytes of all copies
FLUSH = 512 << 20  # bytes, more than the cache of any GPU

Samples = list[float]  # microseconds a call


class Timing(NamedTuple):
    """Microseconds of one call: the median and quartiles of all samples, of them `MOST` in the
    order taken, and of each visit the lower quartile."""

    median: float
    low: float
    high: float
    samples: Samples
    visits: Samples

    @classmethod
    def of(cls, visits: Sequence[Samples]) -> Timing:
        every = [s for visit in visits for s in visit]
        step = -(-len(every) // MOST)
        low, median, high = quartiles(every)
        return cls(
            round(median, 3),
            round(low, 3),
            round(high, 3),
            [round(s, 3) for s in every[::step]],
            [round(quartiles(v)[0], 3) for v in visits],
        )


def quartiles(samples: Sequence[float]) -> Sequence[float]:
    """The lower quartile, the median and the upper quartile."""
    if len(samples) == 1:
        return [samples[0]] * 3
    return statistics.quantiles(samples, n=4, method="inclusive")


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
    sets = [first, *arrays(point.case, copies - 1 if size > 1 << 16 else 0)]
    made = []
    for peer in peers:
        call = peer.call(point)
        if call is not None:
            made.append(Runner(peer, call, [peer.tensors(s, point.dtype) for s in sets]))
    return made


def settle() -> None:
    """Returns when no thread of this process computes, or after `WAIT`.

    OpenMP's and BLAS's threads wait for more work in a loop, for milliseconds, in which they keep
    others from their core.
    """
    end, calm = time.perf_counter() + WAIT, 0
    while calm < 2 and time.perf_counter() < end:
        before = time.process_time()
        time.sleep(LOOK)
        calm = calm + 1 if time.process_time() - before < ASLEEP else 0


def on_cpu(runs: Sequence[Runner], seconds: float) -> list[Samples]:
    """One turn of each library, of so many seconds, or two calls."""
    taken = []
    for run in runs:
        settle()
        run.microseconds(1)
        one = run.microseconds(1)
        count = max(1, int(SAMPLE / max(one, 0.01)))
        samples = [one] if one >= SAMPLE else []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not samples:
            samples.append(run.microseconds(count))
        taken.append(samples)
    return taken


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


def on_cuda(runs: Sequence[Runner], seconds: float) -> list[Samples]:
    """Calls of the libraries in turn, for so many seconds for each, or five calls."""
    clocks = [Events(run.peer.lib) for run in runs]
    samples: list[Samples] = [[] for _ in runs]
    for run in runs:
        run.once()
    end, done = time.perf_counter() + seconds * len(runs), 0
    while (time.perf_counter() < end and done < 400) or done < 5:
        for run, clock, seen in zip(runs, clocks, samples, strict=True):
            seen.append(clock(run.call, run.inputs[done % len(run.inputs)]))
        done += 1
    return samples


def on_host(runs: Sequence[Runner], seconds: float) -> list[Samples]:
    """What the host takes to issue a call, without waiting for the device."""
    samples: list[Samples] = [[] for _ in runs]
    for run in runs:
        run.once()
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end or len(samples[0]) < 5:
        for run, seen in zip(runs, samples, strict=True):
            seen.append(run.microseconds(100))
            run.peer.synchronize()
    return samples
