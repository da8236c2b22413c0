"""`DataLoader`: batches of a dataset, in order or shuffled."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ... import cuda, dtypes
from ...ops import create
from ...tensor import Tensor
from .collate import Collate, default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .workers import WorkerIterator, Workers, context_of

__all__ = ["DataLoader"]

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _Endless:
    """The sampler of a stream, which has no indices."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class DataLoader:
    """Iterates over batches of a dataset, in this process or in `num_workers` others.

    Workers fetch `prefetch_factor` (2) batches each ahead; batches come in the same order, and with
    the same seeds for the order, however many workers there are. An error in a worker is raised
    here with its traceback, and so is the death of one. With `persistent_workers` they live as long
    as the loader.

    `shuffle` visits the samples in a new random order every time, drawn from `generator`; a
    `sampler` or `batch_sampler` is any other order. `collate_fn` makes a batch of a list of
    samples, by default `default_collate`. `batch_size=None` gives single samples.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils.data import DataLoader, TensorDataset
        >>> for (x,) in DataLoader(TensorDataset(torch.arange(5)), batch_size=2):
        ...     print(x.tolist())
        [0, 1]
        [2, 3]
        [4]
    """

    _ready = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.multiprocessing_context = context_of(multiprocessing_context, num_workers)
        self._stream = isinstance(dataset, IterableDataset)
        _check_order(self._stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.in_order, self.generator = in_order, generator
        if sampler is None:
            if self._stream:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self._workers: Workers | None = None
        self._epoch = 0
        self._ready = True

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __setattr__(self, name: str, value: Any) -> None:
        if self._ready and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        object.__setattr__(self, name, value)

    def __iter__(self) -> Iterator[Any]:
        seed = create.empty((), dtype=dtypes.int64).random_(generator=self.generator).item()
        batches = self._over_workers(seed) if self.num_workers else self._here()
        if self.pin_memory and cuda.is_available():
            return map(_pinned, batches)
        if self.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device "
                "pinned memory won't be used.",
                stacklevel=2,
            )
        return batches

    def _here(self) -> Iterator[Any]:
        """In this process."""
        if self._stream:
            return self._over_stream()
        if self.batch_sampler is not None and self.collate_fn is default_collate:
            rows = _rows(self.dataset)
            if rows is not None:
                return (rows(indices) for indices in self.batch_sampler)
        return map(self._batch, self._index_sampler())

    def _index_sampler(self) -> Iterable:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _batch(self, indices: Any) -> Any:
        """The batch of a list of indices, or without batches the sample of one."""
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[indices])
        return self.collate_fn(self._fetch(indices))

    def _over_workers(self, seed: int) -> Iterator[Any]:
        first = self._workers is None
        workers = self._workers or Workers(self)
        self._epoch += 1
        if self.persistent_workers:
            self._workers = workers
        return WorkerIterator(self, workers, self._epoch, seed, first)

    def _for_worker(self) -> DataLoader:
        """What a worker gets: this without the order of samples, generators and processes."""
        other = object.__new__(type(self))
        gone = {"sampler": None, "generator": None, "_workers": None}
        gone["multiprocessing_context"] = None
        batches = None if self.batch_sampler is None else ()
        other.__dict__.update({**self.__dict__, **gone, "batch_sampler": batches})
        return other

    def _fetch(self, indices: list[int]) -> list:
        many = getattr(self.dataset, "__getitems__", None)
        return [self.dataset[i] for i in indices] if many is None else many(indices)

    def _over_stream(self) -> Iterator[Any]:
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        given = len(self.dataset) if hasattr(type(self.dataset), "__len__") else None
        seen = 0
        while batch := list(itertools.islice(samples, self.batch_size)):
            seen += len(batch)
            if given is not None and seen > given:
                warnings.warn(
                    f"Length of IterableDataset {self.dataset} was reported to be {given}, but "
                    f"{seen} samples have been fetched.",
                    stacklevel=2,
                )
                given = None
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __len__(self) -> int:
        if not self._stream:
            order: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
            return len(order)
        n = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else math.ceil(n / self.batch_size)


def _rows(dataset: Any) -> Callable[[list[int]], list] | None:
    """A short way to the batches of a `TensorDataset`, or of a `Subset` of one: one operator for
    each tensor instead of one for each sample, with the same result. None for others."""
    chosen = None
    if type(dataset) is Subset:
        dataset, chosen = dataset.dataset, dataset.indices
    if type(dataset) is not TensorDataset or any(t.is_meta for t in dataset.tensors):
        return None
    n = len(dataset)

    def batch(indices: list[int]) -> list:
        if chosen is not None:
            indices = [chosen[i] for i in indices]
        if indices and not (-n <= min(indices) and max(indices) < n):
            raise IndexError(
                f"index out of range: batch of {min(indices)} to {max(indices)} of {n} samples"
            )
        if indices and min(indices) < 0:
            indices = [i % n for i in indices]
        index = create.tensor(indices, dtype=dtypes.int64)
        return [t.index_select(0, index.to(t.device)) for t in dataset.tensors]

    return batch


def _pinned(batch: Any) -> Any:
    """The batch with its tensors in page-locked memory."""
    if isinstance(batch, Tensor) or hasattr(batch, "pin_memory"):
        return batch.pin_memory()
    if isinstance(batch, Mapping):
        return {key: _pinned(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(_pinned, batch))
    if isinstance(batch, list | tuple):
        return type(batch)(map(_pinned, batch))
    return batch


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers:
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        return
    if prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > "
            "0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if persistent_workers:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_order(
    stream: bool, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    """Of the ways to say in which order samples come, only some go together."""
    if stream:
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                    f"{name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (
        batch_size != 1 or shuffle or sampler is not None or drop_last
    ):
        raise ValueError(
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
            "drop_last"
        )
    if batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )
