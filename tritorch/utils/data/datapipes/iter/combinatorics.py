"""Pipes that change the order of samples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ..... import dtypes
from .....ops import create
from ...sampler import Sampler, SequentialSampler
from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, length_of

__all__ = ["SamplerIterDataPipe", "ShufflerIterDataPipe"]


class SamplerIterDataPipe(IterDataPipe):
    """What a class of samplers, made with the pipe as its `data_source`, gives."""

    def __init__(
        self,
        datapipe: IterDataPipe,
        sampler: type[Sampler] = SequentialSampler,
        sampler_args: tuple | None = None,
        sampler_kwargs: dict | None = None,
    ) -> None:
        if not hasattr(type(datapipe), "__len__"):
            raise AssertionError("Sampler class requires input datapipe implemented `__len__`")
        self.datapipe, self.sampler_args = datapipe, sampler_args or ()
        self.sampler_kwargs = {**(sampler_kwargs or {}), "data_source": datapipe}
        self.sampler = sampler(*self.sampler_args, **self.sampler_kwargs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sampler)

    def __len__(self) -> int:
        return length_of(self, self.sampler)[0]


class Shuffling:
    """The switches of a pipe in random order, which `DataLoader` sets."""

    _enabled = True
    _seed: int | None = None

    def set_shuffle(self, shuffle: bool = True) -> Any:
        """Shuffle or not."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Any:
        """What decides the order of the next pass."""
        self._seed = seed
        return self

    def _seeded(self, rng: random.Random) -> None:
        """Seeds for one pass, by the given seed or by a random one."""
        if self._seed is None:
            self._seed = create.empty((), dtype=dtypes.int64).random_().item()
        rng.seed(self._seed)
        self._seed = None


@functional_datapipe("shuffle")
class ShufflerIterDataPipe(Shuffling, IterDataPipe):
    """Samples in random order, each drawn of the next `buffer_size`: `pipe.shuffle()`.

    The order is decided by `set_seed`, or else by tritorch's generator. With `unbatch_level` the
    samples of batches are shuffled.
    """

    def __init__(
        self, datapipe: IterDataPipe, *, buffer_size: int = 10000, unbatch_level: int = 0
    ) -> None:
        if buffer_size <= 0:
            raise AssertionError("buffer_size should be larger than 0")
        self.datapipe = datapipe.unbatch(unbatch_level=unbatch_level) if unbatch_level else datapipe
        self.buffer_size = buffer_size
        self._buffer: list = []
        self._rng = random.Random()

    def reset(self) -> None:
        self._buffer = []
        if self._enabled:
            self._seeded(self._rng)

    def __iter__(self) -> Iterator[Any]:
        if not self._enabled:
            yield from self.datapipe
            return
        buffer = self._buffer
        for x in self.datapipe:
            if len(buffer) < self.buffer_size:
                buffer.append(x)
                continue
            at = self._rng.randint(0, len(buffer) - 1)
            drawn, buffer[at] = buffer[at], x
            yield drawn
        while buffer:
            yield buffer.pop(self._rng.randint(0, len(buffer) - 1))

    def __len__(self) -> int:
        return length_of(self, self.datapipe)[0]
