"""Pipes that put samples into batches, by number or by key, and take them out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .._decorator import functional_datapipe
from ..datapipe import DataChunk, IterDataPipe, length_of
from ..utils.common import _check_unpickable_fn

__all__ = ["BatcherIterDataPipe", "GrouperIterDataPipe", "UnBatcherIterDataPipe"]


@functional_datapipe("batch")
class BatcherIterDataPipe(IterDataPipe):
    """Batches of `batch_size` samples, as `wrapper_class` makes them of a list: `pipe.batch(8)`."""

    def __init__(
        self,
        datapipe: IterDataPipe,
        batch_size: int,
        drop_last: bool = False,
        wrapper_class: Callable[[list], Any] = DataChunk,
    ) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size = datapipe, batch_size
        self.drop_last, self.wrapper_class = drop_last, wrapper_class

    def __iter__(self) -> Iterator[Any]:
        batch: list = []
        for x in self.datapipe:
            batch.append(x)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self) -> int:
        n = length_of(self, self.datapipe)[0]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcherIterDataPipe(IterDataPipe):
    """The samples of batches: of lists `unbatch_level` deep, or of all lists by -1."""

    def __init__(self, datapipe: IterDataPipe, unbatch_level: int = 1) -> None:
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Iterator[Any]:
        for element in self.datapipe:
            yield from self._dive(element, self.unbatch_level)

    def _dive(self, element: Any, unbatch_level: int) -> Iterator[Any]:
        if unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        if unbatch_level == 0 or (unbatch_level == -1 and not isinstance(element, list)):
            yield element
            return
        if not isinstance(element, list):
            raise IndexError(
                f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe"
            )
        for item in element:
            yield from self._dive(item, max(unbatch_level - 1, -1))


@functional_datapipe("groupby")
class GrouperIterDataPipe(IterDataPipe):
    """Batches of samples that have one key: `pipe.groupby(key)`, with `keep_key` as (key, batch).

    A group is given when it has `group_size` samples, all others at the end. Where `buffer_size`
    samples wait, the largest group is given; if it has fewer than `guaranteed_group_size`, it is
    left out with `drop_remaining` and otherwise RuntimeError is raised.

    Example:
        >>> from tritorch.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper(["one", "two", "three", "four", "six"]).groupby(len))
        [['one', 'two', 'six'], ['three'], ['four']]
    """

    def __init__(
        self,
        datapipe: IterDataPipe,
        group_key_fn: Callable[[Any], Any],
        *,
        keep_key: bool = False,
        buffer_size: int = 10000,
        group_size: int | None = None,
        guaranteed_group_size: int | None = None,
        drop_remaining: bool = False,
    ) -> None:
        _check_unpickable_fn(group_key_fn)
        if group_size is not None and not 0 < group_size <= buffer_size:
            raise AssertionError("group_size must be > 0 and <= buffer_size")
        least = guaranteed_group_size
        if least is not None and not (group_size is not None and 0 < least <= group_size):
            raise AssertionError(
                "guaranteed_group_size must be > 0 and <= group_size and group_size must be set"
            )
        self.datapipe, self.group_key_fn, self.keep_key = datapipe, group_key_fn, keep_key
        self.max_buffer_size, self.group_size = buffer_size, group_size
        self.guaranteed_group_size = group_size if least is None else least
        self.drop_remaining, self.wrapper_class = drop_remaining, DataChunk

    def _given(self, key: Any, group: list) -> Any:
        batch = self.wrapper_class(group)
        return (key, batch) if self.keep_key else batch

    def _largest(self, groups: dict[Any, list]) -> Iterator[Any]:
        """Makes room: gives the largest group, or leaves it out."""
        key = max(groups, key=lambda k: len(groups[k]))
        group = groups.pop(key)
        if self.guaranteed_group_size is None or len(group) >= self.guaranteed_group_size:
            yield self._given(key, group)
        elif not self.drop_remaining:
            raise RuntimeError(f"Failed to group items {group}")

    def __iter__(self) -> Iterator[Any]:
        groups: dict[Any, list] = {}
        waiting = 0
        for x in self.datapipe:
            key = self.group_key_fn(x)
            groups.setdefault(key, []).append(x)
            waiting += 1
            if len(groups[key]) == self.group_size:
                waiting -= len(groups[key])
                yield self._given(key, groups.pop(key))
            if waiting == self.max_buffer_size:
                yield from self._largest(groups)
                waiting = sum(map(len, groups.values()))
        for key, group in groups.items():
            yield self._given(key, group)
