"""`torch.utils.benchmark`: times of a statement, of a set number of threads, repeated as needed."""

from __future__ import annotations

import statistics
import textwrap
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import cuda
from ..runtime.parallel import get_num_threads, set_num_threads

__all__ = ["Measurement", "Timer", "timer"]

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def timer() -> float:
    """The clock in seconds, after the GPU has done what it was given."""
    if cuda.is_available():
        cuda.synchronize()
    return time.perf_counter()


def _shown(seconds: float) -> str:
    size, unit = next((u for u in UNITS if seconds >= u[0]), UNITS[-1])
    return f"{seconds / size:.2f} {unit}"


@dataclass(repr=False)
class Measurement:
    """`raw_times` of runs of `number_per_run` executions each; `times` are of one execution."""

    number_per_run: int
    raw_times: list[float]
    title: str = ""
    num_threads: int = 1
    metadata: dict[Any, Any] = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        """Seconds of one execution, run by run."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        """The median of `times`."""
        return statistics.median(self.times)

    @property
    def mean(self) -> float:
        """The mean of `times`."""
        return statistics.fmean(self.times)

    @property
    def iqr(self) -> float:
        """The range between the quartiles of `times`; 0 of a single run."""
        if len(self.raw_times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return high - low

    def __repr__(self) -> str:
        runs = len(self.raw_times)
        spread = f"IQR: {_shown(self.iqr)}, " if runs > 1 else ""
        return (
            f"<{type(self).__module__}.Measurement>\n{self.title}\n"
            f"  {'Median: ' if runs > 1 else ''}{_shown(self.median)}\n"
            f"  {spread}{runs} measurement{'s' * (runs > 1)}, {self.number_per_run} runs per "
            f"measurement, {self.num_threads} thread{'s' * (self.num_threads > 1)}"
        )


class Timer:
    """Times `stmt`, Python code that sees `globals` and what `setup` has made.

    It runs on `num_threads` threads, 1 if not told, and waits for the GPU before it reads the
    clock. `label`, `sub_label` and `description` head the measurement. ValueError for a `language`
    other than Python.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils import benchmark
        >>> t = benchmark.Timer("x + 1", globals={"x": torch.ones(3)})
        >>> t.timeit(100).number_per_run
        100
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        if str(getattr(language, "name", language)).lower() not in ("python", "py"):
            raise ValueError(f"Timer: statements are Python, not {language!r}")
        if global_setup:
            raise ValueError("Timer: global_setup is for C++ statements; use setup")
        stmt, setup = (textwrap.dedent(code).strip() for code in (stmt, setup))
        heads = (label or stmt, sub_label, description, env)
        self.title = ": ".join(h for h in heads if h)
        self.num_threads = num_threads
        self.inner = timeit.Timer(stmt, setup, timer, dict(globals or {}))

    @contextmanager
    def _threads(self) -> Iterator[None]:
        before = get_num_threads()
        set_num_threads(self.num_threads)
        try:
            yield
        finally:
            set_num_threads(before)

    def _measured(self, number: int, times: list[float]) -> Measurement:
        return Measurement(number, times, self.title, self.num_threads)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One run of `number` executions, after a hundredth of them to warm up."""
        with self._threads():
            self.inner.timeit(max(number // 100, 2))
            return self._measured(number, [self.inner.timeit(number)])

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Runs of a number of executions that hides the clock's cost, for `min_run_time` seconds.

        `callback(number, seconds)` is told of each run.
        """
        times: list[float] = []
        with self._threads():
            number = self._block(min_run_time)
            while not times or sum(times) < min_run_time:
                times.append(self.inner.timeit(number))
                if callback is not None:
                    callback(number, times[-1])
        return self._measured(number, times)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """Runs until their quartiles lie within `threshold` of the median, or the time is over."""
        times: list[float] = []
        with self._threads():
            number = self._block(min_run_time)
            while True:
                times.append(self.inner.timeit(number))
                if callback is not None:
                    callback(number, times[-1])
                made = self._measured(number, times)
                steady = len(times) > 3 and made.iqr / made.median < threshold
                if sum(times) >= max_run_time or (steady and sum(times) >= min_run_time):
                    return made

    def _block(self, seconds: float) -> int:
        """How many executions take a thousandth of the time, or a millisecond at least."""
        number = 1
        while True:
            taken = self.inner.timeit(number)
            if taken >= max(seconds / 1000, 1e-3):
                return number
            number *= 10
