"""`torch.utils.benchmark`: times of a statement, of a set number of threads, repeated as needed."""

from __future__ import annotations

import enum
import math
import statistics
import textwrap
import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import cuda
from ..runtime.parallel import get_num_threads, set_num_threads

__all__ = ["Compare", "Language", "Measurement", "TaskSpec", "Timer", "timer"]

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def timer() -> float:
    """The clock in seconds, after the GPU has done what it was given."""
    if cuda.is_available():
        cuda.synchronize()
    return time.perf_counter()


def _shown(seconds: float) -> str:
    size, unit = next((u for u in UNITS if seconds >= u[0]), UNITS[-1])
    return f"{seconds / size:.2f} {unit}"


class Language(enum.Enum):
    """In which language a statement is."""

    PYTHON = 0
    CPP = 1


@dataclass(frozen=True)
class TaskSpec:
    """What was measured, and how it is called."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label, or the statement, and what is below it."""
        return (self.label or self.stmt) + (f": {self.sub_label}" if self.sub_label else "")

    def setup_str(self) -> str:
        """The setup, where there is one, as text."""
        if self.setup == "pass" or not self.setup:
            return ""
        lines = "\n".join(f"  {line}" for line in self.setup.splitlines())
        return f"setup:\n{lines}" if "\n" in self.setup else f"setup: {self.setup}"

    def summarize(self) -> str:
        """Title, description and setup as text."""
        parts = (self.title, self.description, self.setup_str())
        return "\n".join(part for part in parts if part)


@dataclass(repr=False)
class Measurement:
    """`raw_times` of runs of `number_per_run` executions each; `times` are of one execution."""

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    @property
    def title(self) -> str:
        """What was measured."""
        return self.task_spec.title

    @property
    def num_threads(self) -> int:
        """On how many threads."""
        return self.task_spec.num_threads

    @property
    def env(self) -> str:
        """The name of where it ran, as it was given."""
        return self.task_spec.env or "Unspecified env"

    @property
    def as_row_name(self) -> str:
        """Its name in a table."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    @property
    def significant_figures(self) -> int:
        """How many digits of the median the spread of a normal distribution supports."""
        runs = len(self.raw_times)
        spread = self.iqr / self.median / (1.5 * max(math.sqrt(runs - 1), 1)) if runs > 1 else 0
        return 3 if not spread else min(max(math.ceil(-math.log10(spread)), 1), 5)

    @property
    def has_warnings(self) -> bool:
        """Whether the times scatter by more than a tenth."""
        return not self.meets_confidence()

    def meets_confidence(self, threshold: float = 0.1) -> bool:
        """Whether the quartiles lie within a part of the median."""
        return len(self.raw_times) < 2 or self.iqr / self.median < threshold

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """Measurements of the same as one, with the times of all."""
        found: dict[TaskSpec, list[Measurement]] = {}
        for m in measurements:
            found.setdefault(m.task_spec, []).append(m)
        return [
            Measurement(1, [t for m in same for t in m.times], spec, None)
            for spec, same in found.items()
        ]

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
            f"<{type(self).__module__}.Measurement>\n{self.task_spec.summarize()}\n"
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
        language: Any = Language.PYTHON,
    ) -> None:
        if str(getattr(language, "name", language)).lower() not in ("python", "py"):
            raise ValueError(f"Timer: statements are Python, not {language!r}")
        if global_setup:
            raise ValueError("Timer: global_setup is for C++ statements; use setup")
        stmt, setup = (textwrap.dedent(code).strip() for code in (stmt, setup))
        heads = (label, sub_label, description, env)
        self._task_spec = TaskSpec(stmt, setup, global_setup, *heads, num_threads)
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
        return Measurement(number, times, self._task_spec)

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


from ._comparison import Compare  # noqa: E402  it shows what stands above
