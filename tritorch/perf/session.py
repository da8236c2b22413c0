"""Measures what was asked for, keeps what is done, and notes what failed.

A run goes over all figures and then again, in another order, over those that are least sure, until
the time is over or all are sure: what disturbs the machine for a while meets one visit of many
figures instead of all of a few.
"""

from __future__ import annotations

import gc
import itertools
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import models, records, results, sweeps
from .figures import HOSTS, Figure, HostFigure, ModelFigure, PointFigure, reason
from .limits import limits
from .peers import Peer
from .progress import progress
from .sweeps import Point

TURN = 0.02  # seconds of a library in a visit
VISITS = 3  # of a figure at least, where the time allows
SECTIONS = ("points", "hosts", "models")
KEEP = 15  # seconds after which the results so far are kept
SURE = 0.02  # the uncertainty of a ratio that is small enough


class Session:
    """A run on one device: `results` is whole after each step, whatever happens in the next.

    `seconds` are for a figure and library in all visits together, `budget` for the run. `keep` is
    called with the results before the first figure, every `KEEP` seconds and after each round.
    """

    def __init__(
        self,
        device: str,
        peers: Sequence[Peer],
        seconds: float,
        budget: float,
        keep: Callable[[dict[str, Any]], None] = lambda results: None,
    ) -> None:
        self.device, self.peers, self.keep = device, peers, keep
        self.turn = min(TURN, seconds)
        self.most = max(VISITS, round(seconds / TURN))
        self.kept = 0.0
        self.end = time.perf_counter() + budget
        self.figures: list[Figure] = []
        self.found: dict[str, Any] = {
            "format": results.FORMAT,
            "machine": results.machine(device, peers),
            "limits": {},
        }
        self.failed: dict[str, str] = {}

    @property
    def results(self) -> dict[str, Any]:
        """All that is known so far."""
        good = [f for f in self.figures if f.key not in self.failed]
        rows = {
            name: [f.row() for f in good if f.section == name and f.visits] for name in SECTIONS
        }
        left = [f.key for f in good if not f.visits]
        alone = {f"{f.key}, {name}": why for f in good for name, why in f.failed.items()}
        return {**self.found, **rows, "failed": self.failed | alone, "left": left}

    def plan(self, points: Sequence[Point], with_models: bool) -> list[Figure]:
        """Sweeps, models, then single points, in the order in which the time may end."""
        swept = {sweep.operator for sweep in sweeps.SWEEPS}
        first, last = ([p for p in points if (p.operator in swept) is s] for s in (True, False))
        given = self.peers, self.device
        made: list[Figure] = [HostFigure(name, *given) for name, _, _ in HOSTS]
        made += [PointFigure(p, *given) for p in first]
        for model in models.models(self.device) if with_models else ():
            made += [ModelFigure(model, kind, *given) for kind in ("training", "inference")]
        return made + [PointFigure(p, *given) for p in in_turns(last)]

    def run(self, points: Sequence[Point], with_models: bool) -> None:
        """Visits all figures in rounds; what the time does not reach at all is listed."""
        self.figures = self.plan(points, with_models)
        self._keep()  # a folder that cannot be written to is known now
        order, rounds = random.Random(0), itertools.count(2)
        with undisturbed():
            self.attempt("limits", self._limits)
            visited = self._round(self.figures, 1)
            while visited and (chosen := self._unsure()):
                order.shuffle(chosen)
                visited = self._round(chosen, next(rounds))

    def _round(self, figures: Sequence[Figure], number: int) -> int:
        """A visit of each for which there is time; how many that were."""
        visited, left = 0, max(self.end - time.perf_counter(), 0.0)
        for figure in progress(figures, f"round {number}", [f.key for f in figures], left):
            if time.perf_counter() + figure.took < self.end:
                self.attempt(figure.key, lambda f=figure: f.visit(self.turn))
                visited += 1
            if time.perf_counter() - self.kept > KEEP:
                self._keep()
        self._keep()
        return visited

    def _keep(self) -> None:
        self.keep(self.results)
        self.kept = time.perf_counter()

    def _unsure(self) -> list[Figure]:
        """The figures that need another visit: first those with few, then the least sure third."""
        good = [f for f in self.figures if f.key not in self.failed and f.visits]
        few = [f for f in good if len(f.visits) < VISITS]
        more = [f for f in good if len(f.visits) < self.most and f.uncertainty() > SURE]
        more.sort(key=lambda f: -f.uncertainty())
        return few or more[: max(len(good) // 3, 1)]

    def attempt(self, key: str, job: Callable[[], None]) -> None:
        """A failure is noted: the others are worth having."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                job()
        except Exception as error:
            self.failed[key] = reason(error)
        finally:
            gc.collect()

    def _limits(self) -> None:
        self.found["limits"] = limits(self.device, [p for p in self.peers if p.name != "numpy"])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without garbage collection; what is there already is never looked at. Who ends the process
    (SIGTERM) interrupts it as Ctrl-C does."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        if main:
            signal.signal(signal.SIGTERM, before)


def in_turns(points: Sequence[Point]) -> list[Point]:
    """The points, one of each family and again: where the time ends early, all have some."""
    families: dict[str, list[Point]] = {}
    for p in points:
        families.setdefault(p.family, []).append(p)
    rounds = itertools.zip_longest(*families.values())
    return [p for some in rounds for p in some if p is not None]


def all_points(device: str, dtypes: Sequence[str]) -> list[Point]:
    """The sweeps, and each other operator of the record at about a million elements."""
    return [*sweeps.points(device, dtypes), *records.points()]
