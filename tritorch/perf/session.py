"""Measures what was asked for, keeps what is done, and notes what failed."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

import tritorch

from . import accuracy, clock, models, records, results, sweeps
from .limits import limits
from .peers import Peer, double_reference
from .specs import Case, Reals
from .sweeps import Point

HOSTS = (
    ("add", 2, lambda lib, x, y: x + y),
    ("mul by a number", 1, lambda lib, x: x * 2.0),
    ("exp", 1, lambda lib, x: x.exp()),
    ("sum", 1, lambda lib, x: x.sum()),
    ("view", 1, lambda lib, x: x.view(2, 8)),
    ("index", 1, lambda lib, x: x[3]),
    ("softmax", 1, lambda lib, x: lib.nn.functional.softmax(x, -1)),
    ("matmul", 2, lambda lib, x, y: x.view(4, 4) @ y.view(4, 4)),
)
SHORTEST = 0.1  # seconds for a figure
REFERENCE = 1 << 23  # elements in all inputs, the most that are also computed in float64


class Session:
    """A run on one device: `results` is whole after each step, whatever happens in the next."""

    def __init__(self, device: str, peers: Sequence[Peer], seconds: float, budget: float) -> None:
        self.device, self.peers = device, peers
        self.most = self.seconds = seconds  # for a figure: fewer where the budget would not do
        self.end = time.perf_counter() + budget
        self.results: dict[str, Any] = {
            "format": results.FORMAT,
            "machine": results.machine(device, peers),
            "limits": {},
            "points": [],
            "hosts": [],
            "models": [],
            "failed": {},
            "left": [],
        }

    def run(self, points: Sequence[Point], with_models: bool) -> None:
        """Sweeps, models, then single points; what the time does not reach is listed."""
        self.attempt("limits", self._limits)
        jobs: list[tuple[str, Callable[[], None]]] = [
            (f"host {name}", lambda row=row: self._host(*row)) for row in HOSTS for name in row[:1]
        ]
        swept = {sweep.operator for sweep in sweeps.SWEEPS}
        first, last = ([p for p in points if (p.operator in swept) is s] for s in (True, False))
        jobs += [(p.key, lambda p=p: self._point(p)) for p in first]
        for model in models.models(self.device) if with_models else ():
            for kind in ("training", "inference"):
                jobs.append((f"{model.name}, {kind}", lambda m=model, k=kind: self._model(m, k)))
        jobs += [(p.key, lambda p=p: self._point(p)) for p in in_turns(last)]
        for left, (key, job) in zip(range(len(jobs), 0, -1), progress(jobs)):
            rest = self.end - time.perf_counter()
            if rest < 0:
                self.results["left"].append(key)
            else:
                self.seconds = min(self.most, max(SHORTEST, rest / left / 2))
                self.attempt(key, job)

    def attempt(self, key: str, job: Callable[[], None]) -> None:
        """A failure is noted: the others are worth having."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                job()
        except Exception as error:
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            self.results["failed"][key] = text
        finally:
            gc.collect()

    def _limits(self) -> None:
        self.results["limits"] = limits(self.device, [p for p in self.peers if p.name != "numpy"])

    def _host(self, name: str, count: int, call: Callable) -> None:
        point = Point("host", name, 16, Case(call, [Reals((16,))] * count))
        runs = clock.runners(point, [p for p in self.peers if p.name != "numpy"])
        if self.device == "cuda":
            times = clock.host_time(runs, self.seconds)
        else:
            times = clock.measure(runs, "cpu", self.seconds)
        self.results["hosts"].append(row(name, times))

    def _point(self, point: Point) -> None:
        runs = clock.runners(point, self.peers)
        moved = traffic(point, runs[0])
        exact = None
        drawn = point.operator in sweeps.RANDOM or point.family == "random"
        if not drawn and moved < 4 * REFERENCE:
            exact = double_reference(point)
        errors = {}
        for run in runs if exact is not None else ():
            got = run.peer.array(run.once())
            if got is not None and got.size == exact.size:  # type: ignore
                errors[run.peer.name] = accuracy.ulps(got.reshape(exact.shape), exact, point.dtype)  # type: ignore
        times = clock.measure(runs, self.device, self.seconds)
        self.results["points"].append(
            row(
                point.key,
                times,
                family=point.family,
                operator=point.operator,
                size=point.size,
                shapes=point.shapes,
                dtype=point.dtype,
                bytes=moved,
                flops=point.flops,
                ulps={k: round(v, 2) for k, v in errors.items()},
            )
        )

    def _model(self, model: models.Model, kind: str) -> None:
        runs = []
        for peer in self.peers:
            if peer.name == "numpy":
                continue
            lib = peer.lib
            net, x, y = model.make(lib, self.device)
            train = kind == "training"
            call = models.training(lib, net, x, y) if train else models.inference(lib, net, x)
            runs.append(clock.Runner(peer, call, [[]]))
        memory = peak_memory(runs[0], self.device)
        times = clock.measure(runs, self.device, max(self.seconds * 6, 2.0))
        key = f"{model.name}, {kind}"
        self.results["models"].append(
            row(key, times, model=model.name, unit=model.unit, items=model.items, memory=memory)
        )


def in_turns(points: Sequence[Point]) -> list[Point]:
    """The points, one of each family and again: where the time ends early, all have some."""
    families: dict[str, list[Point]] = {}
    for p in points:
        families.setdefault(p.family, []).append(p)
    rounds = zip_longest(*families.values())
    return [p for some in rounds for p in some if p is not None]


def row(key: str, times: dict[str, clock.Timing], **facts: Any) -> dict[str, Any]:
    """A line of the results."""
    ours = times["tritorch"]
    ratio = {n: round(t.median / ours.median, 4) for n, t in times.items() if n != "tritorch"}
    return {
        "key": key,
        **facts,
        "ratio": ratio,
        "noise": round((ours.high - ours.low) / 2 / ours.median, 4),
        "times": {name: t._asdict() for name, t in times.items()},
    }


def traffic(point: Point, run: clock.Runner) -> int:
    """Bytes that must be read and written: the inputs once and the outputs once."""
    out = run.once()
    outs = out if isinstance(out, tuple | list) else (out,)
    written = sum(o.numel() * o.element_size() for o in outs if isinstance(o, tritorch.Tensor))
    read = sum(x.numel() * x.element_size() for x in run.inputs[0])
    if point.family == "index":  # of a table only what is picked
        read = written + sum(x.numel() * x.element_size() for x in run.inputs[0][1:])
    return read + written


def peak_memory(run: clock.Runner, device: str) -> int:
    """The most bytes that a step of tritorch's takes above what it began with."""
    run.once()
    if device == "cuda":
        before = tritorch.cuda.memory_allocated()
        tritorch.cuda.reset_peak_memory_stats()
        run.once()
        return tritorch.cuda.max_memory_allocated() - before
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run.once()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def progress(jobs: list) -> Iterable:
    """With a bar on a terminal."""
    if not sys.stderr.isatty():
        return jobs
    try:
        from tqdm import tqdm
    except ImportError:
        return jobs
    return tqdm(jobs, unit="figure", leave=False)


def all_points(device: str, dtypes: Sequence[str]) -> list[Point]:
    """The sweeps, and each other operator of the record at about a million elements."""
    return [*sweeps.points(device, dtypes), *records.points()]
