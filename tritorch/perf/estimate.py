"""The time of a library, its ratio to another's, and how sure they are, from several visits.

A visit gives of each library one time, and of two libraries the ratio of the times that they took
within moments of each other, whatever else the machine did then; the estimate is the median over
visits. They lie far apart in a run and use memory of their own, so what they differ by is what a
second report would differ by. Minima would hang on whether a visit was lucky enough to meet no
neighbour, which on a machine that others share is rare for a library that uses all cores.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SPREAD, WEIGHT = 0.05, 2  # what visits differ by before any is seen, and how many that counts for
DRAWS = 200  # of a bootstrap


class Estimate(NamedTuple):
    """A value and its relative standard uncertainty."""

    value: float
    uncertainty: float


def estimate(times: Sequence[float], over: Sequence[float] | None = None) -> Estimate:
    """Of a library's times by visit, or of their ratio to those of another in the same visits.

    The uncertainty is the bootstrap's (Efron, "Bootstrap methods", 1979): visits are drawn again
    and again from these. Few of them tell little of their spread, so `SPREAD` counts as well.

    Example:
        >>> from tritorch.perf.estimate import estimate
        >>> round(estimate([20.0, 22.0, 30.0], [10.0, 90.0, 11.0]).value, 2)
        2.0
    """
    logs = np.log([times, over] if over is not None else [times])
    n = logs.shape[1]
    value = _middle(logs)
    drawn = _middle(logs[:, _draws(n)])
    seen = n * float(np.square(drawn - value).mean()) + WEIGHT * SPREAD**2 / n
    return Estimate(math.exp(value), math.sqrt(seen / (n - 1 + WEIGHT)))


def _middle(logs: np.ndarray) -> np.ndarray:
    """The median over the last axis, of a ratio that of the differences of both."""
    return np.median(logs[0] - logs[1] if len(logs) > 1 else logs[0], axis=-1)


@functools.cache
def _draws(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n, (DRAWS, n))
