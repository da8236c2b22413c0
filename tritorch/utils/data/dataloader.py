"""`DataLoader`: batches of a dataset, in order or shuffled."""

from __future__ import annotations

import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ... import cuda, dtypes
from ...autograd.mode import profiles
from ...autograd.profiler import record_function
from ...ops import create, generator as generators
from ...tensor import Tensor
from .collate import Collate, default_collate, default_convert
from .datapipes.datapipe import IterDataPipe, MapDataPipe
from .dataset import IterableDataset, Subset, TensorDataset
from .graph_settings import apply_random_seed, apply_sharding, apply_shuffle_settings
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from .workers import WorkerIterator, Workers, context_of, get_worker_info as get_worker_info

__all__ = ["DataLoader"]

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _DatasetKind:
    """Whether samples have an index or come as a stream."""

    Map, Iterable = 0, 1


class _InfiniteConstantSampler(Sampler):
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
        self.num_workers = num_workers
        self.multiprocessing_context = multiprocessing_context
        if isinstance(dataset, IterDataPipe):
            dataset, shuffle = apply_shuffle_settings(dataset, shuffle), None
        self._stream = isinstance(dataset, IterableDataset)
        self._dataset_kind = _DatasetKind.Iterable if self._stream else _DatasetKind.Map
        _check_order(self._stream, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.timeout, self.worker_init_fn = timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.in_order, self.generator = in_order, generator
        if sampler is None:
            if self._stream:
                sampler = _InfiniteConstantSampler()
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
        self._IterableDataset_len_called: int | None = None
        self._ready = True
        self.check_worker_number_rationality()

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __setattr__(self, name: str, value: Any) -> None:
        if self._ready and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        object.__setattr__(self, name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """By which the workers are started; None is Python's own."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, given: Any) -> None:
        self._context = context_of(given, self.num_workers)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def check_worker_number_rationality(self) -> None:
        """Warns where there are more workers than processors for this process."""
        known = hasattr(os, "sched_getaffinity")
        most = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
        if self.num_workers > most:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our "
                f"suggested max number of worker in current system is {most}"
                f"{'' if known else ' (`cpuset` is not taken into account)'}, which is smaller "
                "than what this DataLoader is going to create: with too many it may be slow.",
                stacklevel=3,
            )

    def __iter__(self) -> _BaseDataLoaderIter:
        return self._get_iterator()

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        return _MultiProcessingDataLoaderIter(self)

    def _drawn(self) -> int:
        return int(create.empty((), dtype=dtypes.int64).random_(generator=self.generator).item())

    def _for_pipes(self) -> tuple[int, int, int] | None:
        """For a pipe: the seed of its order, the same in all processes, their number and place."""
        if not isinstance(self.dataset, IterDataPipe | MapDataPipe):
            return None
        seed = self._drawn() if isinstance(self.dataset, IterDataPipe) else 0
        distributed: Any = sys.modules.get(f"{dtypes.__package__}.distributed")
        if distributed is None or not distributed.is_initialized():
            return seed, 1, 0
        if isinstance(self.dataset, IterDataPipe):
            shared: Any = create.tensor(seed)
            distributed.broadcast(shared, src=0)
            seed = int(shared.item())
        return seed, distributed.get_world_size(), distributed.get_rank()

    def _set_pipes(self, seed: int, parts: int, part: int) -> None:
        """Seeds pipes for an epoch, and says which part of the samples is theirs."""
        if isinstance(self.dataset, IterDataPipe):
            apply_random_seed(self.dataset, generators.Generator().manual_seed(seed))
        apply_sharding(self.dataset, parts, part)

    def _here(self) -> Iterator[Any]:
        """In this process."""
        if self._stream:
            return self._over_stream()
        if self.batch_sampler is not None and self.collate_fn is default_collate:
            rows = _rows(self.dataset)
            if rows is not None:
                return (rows(indices) for indices in self.batch_sampler)
        return map(self._batch, self._index_sampler)

    def _batch(self, indices: Any) -> Any:
        """The batch of a list of indices, or without batches the sample of one."""
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[indices])
        return self.collate_fn(self._fetch(indices))

    def _over_workers(self, seed: int, pipes: Any) -> WorkerIterator:
        first = self._workers is None
        workers = self._workers or Workers(self)
        self._epoch += 1
        if self.persistent_workers:
            self._workers = workers
        return WorkerIterator(self, workers, self._epoch, (seed, first, pipes))

    def _for_worker(self) -> DataLoader:
        """What a worker gets: this without the order of samples, generators and processes."""
        other = object.__new__(type(self))
        gone = {"sampler": None, "generator": None, "_workers": None}
        gone["_context"] = None
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
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __len__(self) -> int:
        if not self._stream:
            return len(self._index_sampler)
        n = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else math.ceil(n / self.batch_size)


class _BaseDataLoaderIter:
    """One pass over a loader: its batches, counted, and named in profiles."""

    def __init__(self, loader: DataLoader) -> None:
        pipes = loader._for_pipes()
        batches = self._begin(loader, loader._drawn(), pipes)
        pins = loader.pin_memory and cuda.is_available()
        if loader.pin_memory and not pins:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device "
                "pinned memory won't be used.",
                stacklevel=5,
            )
        self._loader, self._batches = loader, map(_pinned, batches) if pins else batches
        self._num_yielded = 0
        self._profile_name = f"enumerate(DataLoader)#{type(self).__name__}.__next__"

    def _begin(self, loader: DataLoader, seed: int, pipes: Any) -> Iterator[Any]:
        raise NotImplementedError

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __next__(self) -> Any:
        if profiles:
            with record_function(self._profile_name):
                batch = next(self._batches)
        else:
            batch = next(self._batches)
        self._num_yielded += 1
        said = self._loader._IterableDataset_len_called
        if said is not None and self._num_yielded > said:
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {said} (when "
                f"accessing len(dataloader)), but {self._num_yielded} samples have been fetched.",
                stacklevel=2,
            )
        return batch

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass in this process."""

    def _begin(self, loader: DataLoader, seed: int, pipes: Any) -> Iterator[Any]:
        if pipes is not None:
            loader._set_pipes(*pipes)
        return loader._here()


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass over the batches that workers make."""

    def _begin(self, loader: DataLoader, seed: int, pipes: Any) -> Iterator[Any]:
        batches = loader._over_workers(seed, pipes)
        self._pool = batches.workers
        return batches

    @property
    def _workers(self) -> list[Any]:
        return self._pool.processes

    def _shutdown_workers(self) -> None:
        """Ends the workers now; the loader starts others when it is iterated again."""
        self._pool.stop()
        self._loader._workers = None


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
