"""One pipe read by several: each gets all samples, or those of its class."""

from __future__ import annotations

import copy as copies
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .._decorator import functional_datapipe
from .._hook_iterator import _SnapshotState
from ..datapipe import IterDataPipe
from ..utils.common import StreamWrapper, _check_unpickable_fn

__all__ = ["DemultiplexerIterDataPipe", "ForkerIterDataPipe"]


class _ContainerTemplate(ABC):
    """What stands between a pipe and those that read it, its children."""

    @abstractmethod
    def get_next_element_by_instance(self, instance_id: int) -> Iterator[Any]: ...

    @abstractmethod
    def is_every_instance_exhausted(self) -> bool: ...

    @abstractmethod
    def reset(self) -> None: ...

    @abstractmethod
    def get_length_by_instance(self, instance_id: int) -> int:
        """TypeError where the length is not known, so that lists can be made of the child."""


class _ChildDataPipe(IterDataPipe):
    """One reader of a container.

    A second iterator of one child begins a new pass: the container is reset, and the iterators of
    all children are invalid; the others join the pass when they are iterated.
    """

    _is_child_datapipe = True

    def __init__(self, main_datapipe: Any, instance_id: int) -> None:
        if not isinstance(main_datapipe, _ContainerTemplate):
            raise AssertionError("main_datapipe must implement _ContainerTemplate")
        self.main_datapipe: Any = main_datapipe
        self.instance_id = instance_id

    def __iter__(self) -> Iterator[Any]:
        return self.main_datapipe.get_next_element_by_instance(self.instance_id)

    def __len__(self) -> int:
        return self.main_datapipe.get_length_by_instance(self.instance_id)

    def _set_main_datapipe_valid_iterator_id(self) -> int:
        main = self.main_datapipe
        if main._valid_iterator_id is None:
            main._valid_iterator_id = 0
        elif main._valid_iterator_id == self._valid_iterator_id:
            main._valid_iterator_id += 1
            if not main.is_every_instance_exhausted():
                warnings.warn(
                    "Some child DataPipes are not exhausted when __iter__ is called. We are "
                    "resetting the buffer and each child DataPipe will read from the start again.",
                    stacklevel=4,
                )
            main.reset()
        self._valid_iterator_id = main._valid_iterator_id
        return main._valid_iterator_id

    def _check_valid_iterator_id(self, iterator_id: int) -> bool:
        return iterator_id == self._valid_iterator_id == self.main_datapipe._valid_iterator_id


class _Container(_ContainerTemplate, IterDataPipe):
    """The part of containers that says who reads; `_kept` names what is pickled."""

    _kept: tuple[str, ...] = ()

    def __init__(self, name: str, datapipe: Any, num_instances: int, buffer_size: int) -> None:
        if buffer_size < 0:
            warnings.warn(
                f"Unlimited buffer size is set for `{name}`, please be aware of OOM at random "
                "places",
                stacklevel=4,
            )
        self.main_datapipe = datapipe
        self.num_instances, self.buffer_size = num_instances, buffer_size
        self._empty()

    def _empty(self) -> None:
        """As before the first sample."""
        self._datapipe_iterator: Iterator | None = None
        self._child_stop = [True] * self.num_instances

    def _start(self, instance_id: int) -> None:
        """Begin a pass, for the first child that reads."""
        if self._datapipe_iterator is None and self._child_stop[instance_id]:
            self._datapipe_iterator = iter(self.main_datapipe)
            self._snapshot_state = _SnapshotState.Iterating
            self._child_stop = [False] * self.num_instances

    def _stop(self, instance_id: int) -> None:
        self._child_stop[instance_id] = True
        if all(self._child_stop):
            self._datapipe_iterator = None

    def get_next_element_by_instance(self, instance_id: int) -> Iterator[Any]:
        self._start(instance_id)
        try:
            while not self._child_stop[instance_id]:
                try:
                    value = self._next(instance_id)
                except StopIteration:
                    return
                yield value
        finally:
            self._stop(instance_id)
            self._release(instance_id)

    @abstractmethod
    def _next(self, instance_id: int) -> Any:
        """The child's next sample; StopIteration at the end."""

    @abstractmethod
    def _release(self, instance_id: int) -> None:
        """Let go of what was kept for a child that has stopped."""

    def reset(self) -> None:
        self._empty()

    def _state(self) -> dict[str, Any]:
        names = ("main_datapipe", "num_instances", "buffer_size", *self._kept)
        counted = ("_valid_iterator_id", "_number_of_samples_yielded")
        return {name: getattr(self, name) for name in (*names, *counted)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._empty()


class _ForkerIterDataPipe(_Container):
    """Keeps what the fastest child has read until the slowest has."""

    _kept = ("copy_fn",)

    def __init__(self, datapipe: Any, num_instances: int, buffer_size: int, copy: Any) -> None:
        kinds = {None: None, "shallow": copies.copy, "deep": copies.deepcopy}
        if copy not in kinds:
            raise ValueError(
                f"Unknown copy method `{copy}` requested, choose one of None, `shallow` or `deep`."
            )
        self.copy_fn: Callable | None = kinds[copy]
        super().__init__("fork", datapipe, num_instances, buffer_size)

    def _empty(self) -> None:
        super()._empty()
        self.buffer: deque = deque()
        self.slowest = 0  # samples that all children have read, and that are kept no more
        self.read = [0] * self.num_instances
        self.end: int | None = None

    def _next(self, instance_id: int) -> Any:
        """The child's next sample, of the buffer or of the pipe; StopIteration at the end."""
        at = self.read[instance_id]
        if at == self.end or (self._datapipe_iterator is None and self.end is None):
            raise StopIteration
        if at == self.slowest + len(self.buffer):
            try:
                self.buffer.append(next(self._datapipe_iterator))  # type: ignore[arg-type]
            except StopIteration:
                self.end, self._datapipe_iterator = at, None
                raise
        value = self.buffer[at - self.slowest]
        self.read[instance_id] += 1
        while min(self.read) > self.slowest:
            self.slowest += 1
            self.buffer.popleft()
        if 0 <= self.buffer_size < len(self.buffer):
            raise BufferError(
                "ForkerIterDataPipe buffer overflow, buffer size "
                f"{self.buffer_size} is insufficient."
            )
        return value if self.copy_fn is None else self.copy_fn(value)

    def _release(self, instance_id: int) -> None:
        if all(self._child_stop):
            StreamWrapper.close_streams(list(self.buffer))
            self.buffer.clear()

    def is_every_instance_exhausted(self) -> bool:
        return self.end is not None and all(self._child_stop)

    def get_length_by_instance(self, instance_id: int) -> int:
        return len(self.main_datapipe)

    def __len__(self) -> int:
        return len(self.main_datapipe)


@functional_datapipe("fork")
class ForkerIterDataPipe(IterDataPipe):
    """Several pipes of all samples of one, as a list: `a, b = pipe.fork(2)`.

    Samples that one has read are kept for the others, at most `buffer_size`, or BufferError is
    raised; -1 keeps any number. All get the same objects, or by `copy` "shallow" or "deep" copies.
    """

    def __new__(  # type: ignore[misc]
        cls, datapipe: Any, num_instances: int, buffer_size: int = 1000, copy: str | None = None
    ) -> Any:
        if num_instances < 1:
            raise ValueError(
                f"Expected `num_instances` larger than 0, but {num_instances} is found"
            )
        if num_instances == 1:
            return datapipe
        container = _ForkerIterDataPipe(datapipe, num_instances, buffer_size, copy)
        return [_ChildDataPipe(container, i) for i in range(num_instances)]


class _DemultiplexerIterDataPipe(_Container):
    """Keeps the samples of each class until its child reads them."""

    _kept = ("classifier_fn", "drop_none")

    def __init__(
        self, datapipe: Any, num_instances: int, fn: Callable, drop_none: bool, buffer_size: int
    ) -> None:
        self.classifier_fn, self.drop_none = fn, drop_none
        super().__init__("demux", datapipe, num_instances, buffer_size)

    def _empty(self) -> None:
        super()._empty()
        self.child_buffers: list[deque] = [deque() for _ in range(self.num_instances)]
        self.main_datapipe_exhausted = False

    def _next(self, instance_id: int) -> Any:
        """The child's next sample; those of others on the way are kept."""
        if self.child_buffers[instance_id]:
            return self.child_buffers[instance_id].popleft()
        if self.main_datapipe_exhausted:
            raise StopIteration
        while True:
            try:
                value = next(self._datapipe_iterator)  # type: ignore[arg-type]
            except StopIteration:
                self.main_datapipe_exhausted, self._datapipe_iterator = True, None
                raise
            found = self.classifier_fn(value)
            if found is None and self.drop_none:
                StreamWrapper.close_streams(value)
                continue
            if found is None or not 0 <= found < self.num_instances:
                raise ValueError(
                    "Output of the classification fn should be between 0 and "
                    f"{self.num_instances - 1}. {found} is returned."
                )
            if found == instance_id:
                return value
            self.child_buffers[found].append(value)
            if 0 <= self.buffer_size < sum(map(len, self.child_buffers)):
                raise BufferError(
                    "DemultiplexerIterDataPipe buffer overflow, buffer size "
                    f"{self.buffer_size} is insufficient."
                )

    def _release(self, instance_id: int) -> None:
        StreamWrapper.close_streams(list(self.child_buffers[instance_id]))
        self.child_buffers[instance_id].clear()

    def is_every_instance_exhausted(self) -> bool:
        return self.main_datapipe_exhausted and all(self._child_stop)

    def get_length_by_instance(self, instance_id: int) -> int:
        raise TypeError("the length of a class of samples is not known before they are read")


@functional_datapipe("demux")
class DemultiplexerIterDataPipe(IterDataPipe):
    """A pipe for each class of samples, as a list: `evens, odds = pipe.demux(2, parity)`.

    `classifier_fn` gives 0 to `num_instances - 1`, or None, which is an error or with `drop_none`
    leaves the sample out. At most `buffer_size` samples wait for their pipe, or BufferError is
    raised; -1 lets any number wait.
    """

    def __new__(  # type: ignore[misc]
        cls,
        datapipe: Any,
        num_instances: int,
        classifier_fn: Callable[[Any], int | None],
        drop_none: bool = False,
        buffer_size: int = 1000,
    ) -> Any:
        if num_instances < 1:
            raise ValueError(
                f"Expected `num_instances` larger than 0, but {num_instances} is found"
            )
        _check_unpickable_fn(classifier_fn)
        container = _DemultiplexerIterDataPipe(
            datapipe, num_instances, classifier_fn, drop_none, buffer_size
        )
        return [_ChildDataPipe(container, i) for i in range(num_instances)]
