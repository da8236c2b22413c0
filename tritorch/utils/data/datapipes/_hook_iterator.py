"""What stands around the iterators of a pipe: only the last one is valid, its samples are counted,
and the pipe is named in errors and profiles."""

from __future__ import annotations

import contextlib
import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable, Generator, Iterator
from enum import Enum
from typing import Any

from ....autograd.mode import profiles
from ....autograd.profiler import record_function

_WHERE = "This exception is thrown by __iter__ of"
_RULE = "single iterator per IterDataPipe constraint"


class _SnapshotState(Enum):
    """Whether a new iterator resets the pipe: not one that was just wound forward."""

    NotStarted = 0
    Restored = 1
    Iterating = 2


def described(pipe: Any) -> str:
    """The pipe with its arguments, for messages: `MapperIterDataPipe(datapipe=..., fn=add)`."""
    own, taken = vars(pipe), inspect.signature(type(pipe)).parameters
    values = {k: own[k] for k in sorted(own) if k in taken}
    texts = (f"{k}={getattr(v, '__name__', None) or repr(v)}" for k, v in values.items())
    return f"{type(pipe).__name__}({', '.join(texts)})"


def _begin(pipe: Any) -> int:
    """The number of a new iterator, which makes those before it invalid; the pipe is reset."""
    if getattr(pipe, "_is_child_datapipe", False):
        return pipe._set_main_datapipe_valid_iterator_id()
    last = pipe._valid_iterator_id
    pipe._valid_iterator_id = 0 if last is None else last + 1
    pipe.reset()
    return pipe._valid_iterator_id


def _check(pipe: Any, number: int) -> None:
    if getattr(pipe, "_is_child_datapipe", False):
        if pipe._check_valid_iterator_id(number):
            return
        which = f"one of the ChildDataPipes of {described(pipe.main_datapipe)}"
    elif pipe._valid_iterator_id == number:
        return
    else:
        which = f"the same IterDataPipe: {described(pipe)}"
    raise RuntimeError(
        "This iterator has been invalidated because another iterator has been created from "
        f"{which}. `fork()` gives several readers of one pipe ({_RULE})."
    )


def _recorded(pipe: Any) -> contextlib.AbstractContextManager:
    """A block that has an event of its own in a profile that is running."""
    if not profiles:
        return contextlib.nullcontext()
    name = described(pipe).replace("IterDataPipe", "").replace("MapDataPipe", "")
    return record_function(name)


def _name_pipe(error: Exception, pipe: Any) -> None:
    """Says at the end of the error's message which pipe raised it; the innermost says it."""
    first = error.args[0] if error.args else None
    where = f"\n{_WHERE} {described(pipe)}"
    if not isinstance(first, str):
        error.args = (where,)
    elif _WHERE not in first and _RULE not in first:
        error.args = (first + where, *error.args[1:])


def _around_generator(iterate: Callable) -> Callable:
    @functools.wraps(iterate)
    def around(self: Any) -> Generator:
        if self._fast_forward_iterator is not None:
            ahead, self._fast_forward_iterator = self._fast_forward_iterator, None
            self._snapshot_state = _SnapshotState.Iterating
            yield from ahead
            return
        values, number, request = iterate(self), _begin(self), None
        try:
            while True:
                _check(self, number)
                with _recorded(self):
                    value = values.send(request)
                self._number_of_samples_yielded += 1
                request = yield value
        except StopIteration:
            return
        except Exception as error:
            _name_pipe(error, self)
            raise

    return around


class _Checked:
    """An iterator that a pipe's `__iter__` returned, valid while it is the pipe's last."""

    def __init__(self, iterator: Iterator, pipe: Any, counts: bool) -> None:
        self.iterator, self.pipe, self.counts = iterator, pipe, counts
        self.number = _begin(pipe)

    def __iter__(self) -> _Checked:
        return self

    def __next__(self) -> Any:
        with _recorded(self.pipe):
            _check(self.pipe, self.number)
            value = next(self.iterator)
        if self.counts:
            self.pipe._number_of_samples_yielded += 1
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.iterator, name)


def _around_iterator(iterate: Callable, has_next: bool) -> Callable:
    @functools.wraps(iterate)
    def around(self: Any) -> Iterator:
        iterator = iterate(self)
        self._snapshot_state = _SnapshotState.Iterating
        if self._fast_forward_iterator is not None:
            ahead, self._fast_forward_iterator = self._fast_forward_iterator, None
            return ahead
        return _Checked(iterator, self, counts=not (iterator is self and has_next))

    return around


def _counting(step: Callable) -> Callable:
    @functools.wraps(step)
    def counted(self: Any) -> Any:
        with _recorded(self):
            value = step(self)
        self._number_of_samples_yielded += 1
        return value

    return counted


def _unless_restored(reset: Callable) -> Callable:
    @functools.wraps(reset)
    def conditional(self: Any) -> None:
        if self._snapshot_state is not _SnapshotState.Restored:
            self._number_of_samples_yielded = 0
            self._fast_forward_iterator = None
            reset(self)
        self._snapshot_state = _SnapshotState.Iterating

    return conditional


class _DataPipeMeta(ABCMeta):
    """The class of classes of pipes."""


class _IterDataPipeMeta(_DataPipeMeta):
    """Puts what this file says around `__iter__`, `__next__` and `reset` of each class."""

    def __new__(cls, name: str, bases: tuple, namespace: dict[str, Any], **kwargs: Any) -> type:
        if "reset" in namespace:
            namespace["reset"] = _unless_restored(namespace["reset"])
        iterate = namespace.get("__iter__")
        if inspect.isgeneratorfunction(iterate):
            namespace["__iter__"] = _around_generator(iterate)
        elif iterate is not None:
            namespace["__iter__"] = _around_iterator(iterate, "__next__" in namespace)
            if "__next__" in namespace:
                namespace["__next__"] = _counting(namespace["__next__"])
        return super().__new__(cls, name, bases, namespace, **kwargs)
