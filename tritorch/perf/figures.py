"""What a report measures: operators at a size, host times and whole models, visit by visit."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import tritorch

from . import accuracy, clock, memory, models, sweeps
from .estimate import Estimate, estimate
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
SIGNED = "svd"  # whose vectors libraries give with one sign or the other
REFERENCE = 1 << 23  # elements in all inputs, the most that are also computed in float64


class Figure(ABC):
    """A line of the results in the making.

    `section` names the part of the results. Each visit makes its calls anew, in memory of their
    own; the first of them adds what is known besides times.
    """

    section = "points"
    long = 1.0  # visits are so many times as long as others

    def __init__(self, key: str, peers: Sequence[Peer], device: str) -> None:
        self.key, self.peers, self.device = key, peers, device
        self.facts: dict[str, Any] = {}
        self.visits: list[dict[str, clock.Samples]] = []  # by library
        self.failed: dict[str, str] = {}  # by library, tritorch not among them
        self.took = 0.0  # seconds of the last visit

    @abstractmethod
    def runs(self) -> list[clock.Runner]:
        """The calls of the libraries that have it, tritorch's first."""

    @abstractmethod
    def describe(self, runs: list[clock.Runner]) -> dict[str, Any]:
        """What is kept besides times."""

    def clock(self) -> Callable[[Sequence[clock.Runner], float], list[clock.Samples]]:
        return clock.on_cpu if self.device == "cpu" else clock.on_cuda

    def visit(self, seconds: float) -> None:
        """Times from one turn of each library; who begins, changes."""
        start = time.perf_counter()
        runs = [r for r in self.runs() if r.peer.name not in self.failed]
        if not self.visits:
            runs = self.working(runs)
            self.facts = self.describe(runs)
        first = len(self.visits) % len(runs)
        runs = runs[first:] + runs[:first]
        taken = self.clock()(runs, seconds * self.long)
        self.visits.append({r.peer.name: s for r, s in zip(runs, taken, strict=True)})
        self.took = time.perf_counter() - start

    def working(self, runs: Sequence[clock.Runner]) -> list[clock.Runner]:
        """Those whose call works: where another library's does not, tritorch's is worth having."""
        good = []
        for run in runs:
            try:
                run.once()
            except Exception as error:
                if run.peer.name == "tritorch":
                    raise
                self.failed[run.peer.name] = reason(error)
            else:
                good.append(run)
        return good

    def times(self) -> dict[str, clock.Timing]:
        """Of each library that has it, tritorch first."""
        names = [p.name for p in self.peers if p.name in self.visits[0]]
        return {name: clock.Timing.of([v[name] for v in self.visits]) for name in names}

    def uncertainty(self) -> float:
        """Of the least sure ratio, or of the time where there is none."""
        found = estimates(self.times())
        ratios = [e for name, e in found.items() if name != "tritorch"]
        return max(e.uncertainty for e in ratios or found.values())

    def row(self) -> dict[str, Any]:
        """The line of the results."""
        times = self.times()
        found, ours = estimates(times), times["tritorch"]
        return {
            "key": self.key,
            **self.facts,
            "ratio": {n: round(r.value, 4) for n, r in found.items() if n != "tritorch"},
            "uncertainty": {n: round(r.uncertainty, 4) for n, r in found.items()},
            "noise": round((ours.high - ours.low) / 2 / ours.median, 4),
            "times": {name: t._asdict() for name, t in times.items()},
        }


def reason(error: Exception) -> str:
    """What went wrong, in a line."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def estimates(times: dict[str, clock.Timing]) -> dict[str, Estimate]:
    """Of tritorch the time, of the others theirs over it."""
    ours = times["tritorch"].visits
    return {
        name: estimate(t.visits, None if name == "tritorch" else ours) for name, t in times.items()
    }


class PointFigure(Figure):
    """An operator at a size, with the errors of each library where it computes floats."""

    def __init__(self, point: Point, peers: Sequence[Peer], device: str) -> None:
        super().__init__(point.key, peers, device)
        self.point = point

    def runs(self) -> list[clock.Runner]:
        return clock.runners(self.point, self.peers)

    def describe(self, runs: list[clock.Runner]) -> dict[str, Any]:
        p, moved = self.point, traffic(self.point, runs[0])
        return {
            "family": p.family,
            "operator": p.operator,
            "size": p.size,
            "shapes": p.shapes,
            "dtype": p.dtype,
            "bytes": moved,
            "flops": p.flops,
            "ulps": errors(p, runs) if moved < 4 * REFERENCE else {},
        }


class HostFigure(Figure):
    """What the host spends on a call of 16 elements."""

    section = "hosts"

    def __init__(self, name: str, peers: Sequence[Peer], device: str) -> None:
        super().__init__(name, [p for p in peers if p.name != "numpy"], device)
        ((_, count, call),) = [h for h in HOSTS if h[0] == name]
        self.point = Point("host", name, 16, Case(call, [Reals((16,))] * count))

    def runs(self) -> list[clock.Runner]:
        return clock.runners(self.point, self.peers)

    def describe(self, runs: list[clock.Runner]) -> dict[str, Any]:
        return {}

    def clock(self) -> Callable[[Sequence[clock.Runner], float], list[clock.Samples]]:
        return clock.on_cpu if self.device == "cpu" else clock.on_host


class ModelFigure(Figure):
    """Steps of a whole model, which is made once."""

    section = "models"
    long = 8.0

    def __init__(self, model: models.Model, kind: str, peers: Sequence[Peer], device: str) -> None:
        libraries = [p for p in peers if p.name != "numpy"]
        super().__init__(f"{model.name}, {kind}", libraries, device)
        self.model, self.kind = model, kind
        self.made: list[clock.Runner] = []

    def runs(self) -> list[clock.Runner]:
        for peer in self.peers[len(self.made) :]:
            lib, (net, x, y) = peer.lib, self.model.make(peer.lib, self.device)
            net = peer.network(net)
            train = self.kind == "training"
            call = models.training(lib, net, x, y) if train else models.inference(lib, net, x)
            self.made.append(clock.Runner(peer, call, [[]]))
        return self.made

    def describe(self, runs: list[clock.Runner]) -> dict[str, Any]:
        m, most = self.model, {run.peer.name: memory.peak(run, self.device) for run in runs}
        return {"model": m.name, "unit": m.unit, "items": m.items, "memory": most}


def errors(point: Point, runs: Sequence[clock.Runner]) -> dict[str, float]:
    """The largest error of each library; none where more than one result is right."""
    if point.operator in (*sweeps.RANDOM, SIGNED) or point.family == "random":
        return {}
    exact = double_reference(point)
    found: dict[str, float] = {}
    for run in runs if exact is not None else ():
        got = run.peer.array(run.once())
        if got is not None and got.size == exact.size:  # type: ignore[union-attr]
            off = accuracy.ulps(got.reshape(exact.shape), exact, point.dtype)  # type: ignore
            found[run.peer.name] = round(off, 2)
    return found


def traffic(point: Point, run: clock.Runner) -> int:
    """Bytes that must be read and written: the inputs once and the outputs once."""
    out = run.once()
    outs = out if isinstance(out, tuple | list) else (out,)
    written = sum(o.numel() * o.element_size() for o in outs if isinstance(o, tritorch.Tensor))
    read = sum(x.numel() * x.element_size() for x in run.inputs[0])
    if point.family == "index" or point.operator == "nll_loss":  # of a table only what is picked
        read = written + sum(x.numel() * x.element_size() for x in run.inputs[0][1:])
    return read + written
