"""`tritorch.tune`: a search for the blocks of products, convolutions and attention, on request."""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tritorch
from tritorch.runtime import memory, tuned
from tritorch.runtime.launch import LaunchError, launch
from tritorch.tensor import Tensor

GAIN = 0.98  # of the time so far, that a choice must reach to replace another
# Of the fields of choices; of blocks (16, 256). A form is 1, pointers, or 2, descriptors.
LIMITS = {"warps": (1, 16), "stages": (1, 6), "form": (1, 2)}


class Found(NamedTuple):
    """What was chosen for one key, and the microseconds of the whole call before and after."""

    key: str
    first: tuple[int, ...]
    best: tuple[int, ...]
    before: float
    after: float


class Tuned(NamedTuple):
    """`found` for every choice that the call asks for, how many others were `tried`, and the file
    in which they are kept."""

    device: str
    found: list[Found]
    tried: int
    path: Path | None

    def __repr__(self) -> str:
        lines = [f"{self.device}: {self.tried} tried"]
        for f in self.found:
            change = f"{tuple(f.first)} -> {tuple(f.best)}" if f.best != f.first else "as it was"
            lines.append(f"{f.key}: {change}, {f.before:.1f} -> {f.after:.1f} us")
        return "\n".join([*lines, *([f"kept in {self.path}"] if self.path else [])])


def tune(
    fn: Callable[..., Any],
    *args: Any,
    budget: float = 60.0,
    seconds: float = 0.05,
    save: bool = True,
    **kwargs: Any,
) -> Tuned:
    """Search the blocks with which `fn(*args, **kwargs)` is fastest on the device of its tensors.

    Products, convolutions, attention, and kernels of one's own that ask `tritorch.op.chosen`,
    choose their blocks by arithmetic, at no cost; this tries neighbours of that choice, a field at
    a time, for `budget` seconds, each for `seconds`. What is at least 2% faster, and gives the same
    results to the precision of the dtype, is used from then on for calls of such sizes (up to the
    same powers of two), and with `save` kept for later processes in a file of the device's under
    `$TRITORCH_CACHE` (by default ~/.cache/tritorch).
    Tune one operator or layer at a time: the time of the whole call decides.

    RuntimeError where there is no device, or `fn` asks for no choice.

    Example:
        >>> import tritorch as torch
        >>> def tune_attention(q, k, v):
        ...     return torch.tune(torch.nn.functional.scaled_dot_product_attention, q, k, v)
    """
    if not memory.available():
        raise RuntimeError("tune: needs a GPU, on which to time; none was found")
    search = Search(lambda: fn(*args, **kwargs), seconds, time.perf_counter() + budget)
    found = search.run()
    better = {f.key: tuple(f.best) for f in found if f.best != f.first}
    target = launch.target
    path = _kept(target.name, better) if save and better else None
    return Tuned(target.name, found, search.tried, path)


def _kept(device: str, better: dict[str, tuple]) -> Path | None:
    """The file in which choices were kept; None, with a warning, where it cannot be written."""
    try:
        return tuned.save(device, better)
    except OSError as error:
        warnings.warn(f"tune: what was found serves this process alone, {error}", stacklevel=3)
        return None


class Search:
    """Coordinate descent over the choices that a call asks for."""

    def __init__(self, call: Callable[[], Any], seconds: float, end: float) -> None:
        self.call, self.seconds, self.end = call, seconds, end
        self.choices = launch.target.tuned
        self.tried = 0

    def run(self) -> list[Found]:
        asked = self._asked()
        if not asked:
            raise RuntimeError(
                "tune: the call launches no product, convolution or attention of floating-point "
                "tensors on a device, nor an operator of one's own that asks for `chosen` blocks, "
                "so there is nothing to choose"
            )
        expected = self._results()
        self.expected = expected if _agree(expected, self._results()) else None  # it is random
        found = []
        for key, first in asked.items():
            found.append(self._best(key, first))
            print(f"tune: {key}: {tuple(found[-1].best)}", file=sys.stderr)
        return found

    def _asked(self) -> dict[str, tuple]:
        """The keys of the call and what they would be without a search."""
        from tritorch.kernels._choice import asked

        launch.runtime.forget()
        with asked() as notes:
            self.call()
        return notes

    def _again(self) -> None:
        """Let launchers choose anew."""
        from tritorch.kernels._choice import forget

        forget()
        launch.runtime.forget()

    def _best(self, key: str, first: tuple) -> Found:
        kind: Any = type(first)
        best = kind(*self.choices.get(key, first))
        before = after = self._time()
        known = {tuple(best)}
        improved = True
        while improved and time.perf_counter() < self.end:
            improved = False
            for other in neighbours(best):
                if tuple(other) in known or time.perf_counter() > self.end:
                    continue
                known.add(tuple(other))
                took = self._try(key, other, best, first)
                if took is not None and took < GAIN * after:
                    best, after, improved = other, took, True
                    self._choose(key, best, first)
        return Found(key, tuple(first), tuple(best), before, after)

    def _try(self, key: str, other: tuple, best: tuple, first: tuple) -> float | None:
        """Microseconds with another choice; None where it fails, or is wrong."""
        self.tried += 1
        self._choose(key, other, first)
        try:
            if self.expected is None or _agree(self.expected, self._results()):
                return self._time()
        except (LaunchError, MemoryError, tritorch.OutOfMemoryError):
            pass  # it does not fit the device, which is what the search is to find out
        finally:
            self._choose(key, best, first)
        return None

    def _choose(self, key: str, blocks: tuple, first: tuple) -> None:
        if tuple(blocks) == tuple(first):
            self.choices.pop(key, None)
        else:
            self.choices[key] = tuple(blocks)
        self._again()

    def _results(self) -> list[np.ndarray]:
        return [t.detach().cpu().double().numpy() for t in _tensors(self.call())]

    def _time(self) -> float:
        """The median microseconds of a call."""
        runtime, times = launch.runtime, []
        self.call()
        runtime.synchronize()
        end = time.perf_counter() + self.seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            self.call()
            runtime.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e6


def neighbours(blocks: Any) -> Iterator[Any]:
    """Choices that differ in one field: blocks and warps by a factor of 2, stages and form by 1."""
    for name, n in blocks._asdict().items():
        low, high = LIMITS.get(name, (16, 256))
        for other in (n - 1, n + 1) if name in ("stages", "form") else (n // 2, n * 2):
            if low <= other <= high:
                yield blocks._replace(**{name: other})


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and not value.dtype.is_complex:
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _tensors(v)


def _agree(xs: list[np.ndarray], ys: list[np.ndarray]) -> bool:
    """Whether results are the same to a few units of bfloat16 of their largest element."""
    for x, y in zip(xs, ys, strict=True):
        scale = np.abs(x[np.isfinite(x)]).max(initial=0)
        if not np.allclose(x, y, rtol=0.02, atol=0.01 * float(scale), equal_nan=True):
            return False
    return True
