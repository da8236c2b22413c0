"""A small pool of threads for loops of NumPy, which release the interpreter's lock.

Work is cut into the same pieces whatever the number of threads, so results do not depend on it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from .quiet import quiet

BIG = 1 << 16  # elements from which an elementwise operator is worth a second thread
STRIP = 32  # rows that a transposing copy gathers at a time
# Elements of a block that stays in a core's cache through a chain of loops. Not fewer: a loop that
# is over in some microseconds leaves two threads waiting for the interpreter's lock.
BLOCK = 1 << 18
# Bytes of the widest operand from which one pass is worth waking a thread, which takes some 50 us:
# of additions and their like, and of functions that take ten times as long.
WORTH, WORTH_COSTLY = 1 << 22, 1 << 19
CHEAP = {  # loops of NumPy that are bound by memory
    *(np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.negative, np.absolute),
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.square, np.isnan),
}

_threads = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
_tasks: SimpleQueue = SimpleQueue()
_started = 0
_inside = threading.local()


def get_num_threads() -> int:
    """The number of threads that operators on the CPU use."""
    return _threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that operators on the CPU use."""
    global _threads
    if not isinstance(n, int) or n < 1:
        raise RuntimeError(f"set_num_threads: expected a positive integer, got {n!r}")
    _threads = n


def _forget_threads() -> None:
    """A forked child has none of its parent's threads."""
    global _started, _tasks
    _started, _tasks = 0, SimpleQueue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _worker(tasks: SimpleQueue) -> None:
    _inside.worker = True
    while True:
        tasks.get()()


class _Job:
    """Pieces of one loop, taken by any thread until none is left."""

    def __init__(self, body: Callable[[int, int], object], ranges: list[tuple[int, int]]) -> None:
        self.body, self.ranges = body, ranges
        self.next = iter(ranges).__next__
        self.left = len(ranges)
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.error: BaseException | None = None

    def __call__(self) -> None:
        while True:
            with self.lock:
                try:
                    start, stop = self.next()
                except StopIteration:
                    return
            try:
                with quiet():
                    self.body(start, stop)
            except BaseException as error:  # handed to the thread that waits
                self.error = error
            with self.lock:
                self.left -= 1
                if not self.left:
                    self.done.set()


def split(n: int, grain: int) -> list[tuple[int, int]]:
    """`range(n)` in pieces of `grain`, the last one shorter."""
    return [(i, min(i + grain, n)) for i in range(0, n, grain)]


def run(body: Callable[[int, int], object], n: int, grain: int) -> None:
    """Call `body(start, stop)` over pieces of `range(n)`, on several threads where that pays."""
    global _started
    ranges = split(n, max(1, grain))
    helpers = min(_threads, len(ranges)) - 1
    if helpers < 1 or getattr(_inside, "worker", False):
        for start, stop in ranges:
            body(start, stop)
        return
    while _started < helpers:
        threading.Thread(target=_worker, args=(_tasks,), daemon=True).start()
        _started += 1
    job = _Job(body, ranges)
    for _ in range(helpers):
        _tasks.put(job)
    job()
    job.done.wait()
    if job.error is not None:
        raise job.error


def elementwise(
    loop: Callable, out: np.ndarray, *inputs: object, block: int = 0, worth: int = WORTH
) -> np.ndarray:
    """`loop(*inputs, out=out)` piece by piece over the threads; inputs broadcast to `out`.

    `block` is the number of elements of a piece, of four bytes: by default as large as two pieces a
    thread allow; `BLOCK` for a loop that passes several times over its piece. Arrays of fewer
    elements than that, and without it of fewer bytes than `worth`, are one piece.
    """
    width = max(a.itemsize for a in (out, *inputs) if isinstance(a, np.ndarray))
    if not out.ndim or (out.size < block if block else out.size * width < worth):
        loop(*inputs, out=out)
        return out
    arrays = [x if isinstance(x, np.ndarray) and x.ndim else None for x in inputs]
    full = [a for a in arrays if a is not None]
    if all(a.flags.c_contiguous and a.shape == out.shape for a in full) and out.flags.c_contiguous:
        flat, n = [None if a is None else a.reshape(-1) for a in arrays], out.size
        target, unit = out.reshape(-1), 1
    else:
        axis = max(range(out.ndim), key=lambda d: (out.shape[d] > 1, abs(out.strides[d])))
        target, n = np.moveaxis(out, axis, 0), out.shape[axis]
        flat = [
            None if a is None else np.moveaxis(np.broadcast_to(a, out.shape), axis, 0)
            for a in arrays
        ]
        unit = max(1, out.size // max(n, 1))
        if any(a.strides[-1] != a.itemsize for a in full if a.size > BIG):
            block = block or BLOCK  # across the rows of memory: few enough to stay in the cache
    grain = -(-n // (2 * _threads if out.size > 8 * BIG and not block else _threads))
    if block:
        grain = min(grain, 4 * block // (unit * width))

    def body(start: int, stop: int) -> None:
        loop(
            *(x if f is None else f[start:stop] for x, f in zip(inputs, flat, strict=True)),
            out=target[start:stop],
        )

    run(body, n, grain)
    return out


def copy(out: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`out[...] = x`, cast, for arrays of one shape.

    Where their orders of dimensions differ, strips of `x` are gathered in its own order first:
    memory is then read and written in whole cache lines.
    """
    if x.size <= BIG:
        np.copyto(out, x, casting="unsafe")
        return out
    sizes = [d for d in range(x.ndim) if x.shape[d] > 1]
    inner = min(sizes, key=lambda d: abs(x.strides[d]))
    if inner == min(sizes, key=lambda d: abs(out.strides[d])):
        return elementwise(_copyto, out, x)
    before = (slice(None),) * inner

    def body(start: int, stop: int) -> None:
        key = (*before, slice(start, stop))
        np.copyto(out[key], x[key].copy(order="K"), casting="unsafe")

    run(body, x.shape[inner], STRIP)
    return out


def _copyto(x: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, x, casting="unsafe")
