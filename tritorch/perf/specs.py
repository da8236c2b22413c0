"""What a benchmark calls: a function of the library and its inputs, the same for all libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Reals(NamedTuple):
    """float32 in an interval."""

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0

    def array(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, self.shape).astype(np.float32)


class Ints(NamedTuple):
    """int64 in [low, high)."""

    shape: tuple[int, ...]
    high: int
    low: int = 0

    def array(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(self.low, self.high, self.shape)


class Distinct(NamedTuple):
    """int64 below `high`, no two the same."""

    shape: tuple[int]
    high: int

    def array(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.high)[: self.shape[0]]


class Bools(NamedTuple):
    shape: tuple[int, ...]

    def array(self, rng: np.random.Generator) -> np.ndarray:
        return rng.random(self.shape) < 0.5


class Complexes(NamedTuple):
    """complex64 in the unit square."""

    shape: tuple[int, ...]

    def array(self, rng: np.random.Generator) -> np.ndarray:
        parts = rng.uniform(-1, 1, (*self.shape, 2)).astype(np.float32)
        return parts.view(np.complex64)[..., 0]


class Triangular(NamedTuple):
    """float32 matrices, well conditioned, zero above the diagonal."""

    shape: tuple[int, ...]

    def array(self, rng: np.random.Generator) -> np.ndarray:
        x = np.tril(rng.uniform(-1, 1, self.shape)) / self.shape[-1]
        return (x + 2 * np.eye(self.shape[-1])).astype(np.float32)


class Positive(NamedTuple):
    """float32 matrices, symmetric and positive definite."""

    shape: tuple[int, ...]

    def array(self, rng: np.random.Generator) -> np.ndarray:
        x = rng.uniform(-1, 1, self.shape)
        return (x @ x.swapaxes(-1, -2) + np.eye(self.shape[-1])).astype(np.float32)


class Case(NamedTuple):
    call: Callable[..., Any]
    inputs: Sequence[Any]


def on(*inputs: Any) -> Callable[[Callable], Case]:
    """A case of these inputs; a shape is one of reals in [-1, 1]."""
    specs = [Reals(x) if x.__class__ is tuple else x for x in inputs]
    return lambda call: Case(call, specs)
