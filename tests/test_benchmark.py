"""`torch.utils.benchmark`: what is run how often, and what a measurement says of it."""

from __future__ import annotations

import pytest

import tritorch as torch
from tritorch.utils import benchmark


class Clock:
    """Moves by `step` seconds at each execution of `tick()`."""

    def __init__(self, *steps: float) -> None:
        self.now, self.ticks, self.steps = 0.0, 0, steps

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += self.steps[self.ticks % len(self.steps)]
        self.ticks += 1


def test_one_run_of_a_number() -> None:
    clock = Clock(0.25)
    t = benchmark.Timer("tick()", timer=clock, globals={"tick": clock.tick}, label="a", env="b")
    found = t.timeit(200)
    assert clock.ticks == 202 and found.number_per_run == 200
    assert found.times == [0.25] == [found.median] == [found.mean] and found.iqr == 0
    text = repr(found)
    assert (
        text.splitlines()[1] == "a"
        and found.env == "b"
        and "250.00 ms" in text
        and "1 measurement, 200 runs" in text
    )


def test_blocks_fill_the_time() -> None:
    clock, told = Clock(2**-16), []
    t = benchmark.Timer("tick()", timer=clock, globals={"tick": clock.tick})
    found = t.blocked_autorange(callback=lambda n, s: told.append((n, s)), min_run_time=0.01)
    assert found.number_per_run == 100 and len(found.raw_times) == len(told) == 7
    assert found.median == 2**-16 and "15.26 us" in repr(found)


def test_runs_until_they_are_steady() -> None:
    clock = Clock(0.01, 0.01, 0.03, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
    t = benchmark.Timer("tick()", timer=clock, globals={"tick": clock.tick})
    found = t.adaptive_autorange(threshold=0.01)
    assert found.iqr == pytest.approx(0) and 4 <= len(found.raw_times) < 9
    wild = Clock(*(0.1 * k for k in range(1, 40)))
    found = benchmark.Timer("tick()", timer=wild, globals={"tick": wild.tick}).adaptive_autorange(
        threshold=1e-6, max_run_time=2.0
    )
    assert sum(found.raw_times) >= 2.0 and found.iqr > 0


def test_threads_and_code() -> None:
    before, seen = torch.get_num_threads(), []
    code = """
        y = x * two
        seen.append(threads())
    """
    scope = {"x": torch.ones(2), "seen": seen, "threads": torch.get_num_threads}
    t = benchmark.Timer(code, setup="two = 2", globals=scope, num_threads=2)
    assert t.timeit(3).median > 0 and set(seen) == {2} and torch.get_num_threads() == before
    with pytest.raises(NameError, match="unknown"):
        benchmark.Timer("unknown").timeit(1)
    with pytest.raises(ValueError, match="statements are Python"):
        benchmark.Timer("f();", language="c++")
    with pytest.raises(ValueError, match="use setup"):
        benchmark.Timer("f()", global_setup="int x;")


def spec(sub_label: str, description: str, threads: int = 1) -> benchmark.TaskSpec:
    return benchmark.TaskSpec("f()", "pass", "", "f", sub_label, description, None, threads)


def test_measurements_side_by_side() -> None:
    few, many = [2e-6, 2.02e-6], [9e-6, 9.1e-6, 20e-6, 8e-6]
    found = [
        benchmark.Measurement(1, few, spec("small", "new")),
        benchmark.Measurement(1, [t * 2 for t in few], spec("small", "old")),
        benchmark.Measurement(1, many, spec("large", "old")),
        benchmark.Measurement(2, [8e-6], spec("small", "new", 4)),
        benchmark.Measurement(1, few, spec("small", "new")),
    ]
    assert len(benchmark.Measurement.merge(found)) == 4
    assert found[2].has_warnings and not found[0].has_warnings
    assert found[2].significant_figures == 1 and found[0].significant_figures == 3
    table = benchmark.Compare(found[:2])
    table.extend_results(found[2:])
    lines = str(table).splitlines()
    assert lines[0].strip("[-]") == " f " and lines[1].split() == ["|", "new", "old"]
    assert lines[3].split() == ["small", "|", "2.01", "4.02"]
    assert lines[4].split() == ["large", "|", "9.05"]
    assert lines[5].startswith("4 threads: -") and lines[6].split() == ["small", "|", "4"]
    assert "microseconds (us)" in lines[-1] + lines[-2]
    table.trim_significant_figures()
    table.highlight_warnings()
    table.colorize(rowwise=True)
    text = str(table)
    assert "(! 34%) 9" in text and "\033[92m\033[1m2.01" in text and "\033[91m4.02" in text
    with pytest.raises(ValueError, match="instance of `Measurement`"):
        table.extend_results([1])  # type: ignore[list-item]


def test_specs() -> None:
    task = benchmark.TaskSpec("f(x)", "x = 1", description="fast")
    assert task.title == "f(x)" and task.setup_str() == "setup: x = 1"
    assert task.summarize() == "f(x)\nfast\nsetup: x = 1"
    with pytest.raises(ValueError, match="Python"):
        benchmark.Timer("f()", language=benchmark.Language.CPP)
