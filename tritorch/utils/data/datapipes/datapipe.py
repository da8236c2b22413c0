"""`IterDataPipe` and `MapDataPipe`: base classes of pipes, and their methods by name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..dataset import Dataset, IterableDataset
from ._hook_iterator import _DataPipeMeta, _IterDataPipeMeta, _SnapshotState

__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe"]


class DataChunk(list):
    """A batch as a pipe gives it: a list, whose items are in `items` too."""

    def __init__(self, items: Iterable[Any]) -> None:
        super().__init__(items)
        self.items = list(self)

    def as_str(self, indent: str = "") -> str:
        """The items as text, after `indent`."""
        return indent + "[" + ", ".join(map(str, self)) + "]"

    def raw_iterator(self) -> Iterator[Any]:
        """The items as they were given."""
        yield from self.items


class _Functional:
    """Pipes by name: `pipe.map(f)` is the class registered as `map`, made of the pipe and `f`."""

    functions: dict[str, Callable]
    getstate_hook: Callable | None = None
    reduce_ex_hook: Callable | None = None
    repr_hook: Callable | None = None
    str_hook: Callable | None = None

    def __getattr__(self, name: str) -> Any:
        function = type(self).functions.get(name)
        if function is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        bound = functools.partial(function, self)
        bound.__doc__ = function.__doc__
        return bound

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.functions]

    def __repr__(self) -> str:
        return type(self).__qualname__ if self.repr_hook is None else self.repr_hook(self)

    def __str__(self) -> str:
        return type(self).__qualname__ if self.str_hook is None else self.str_hook(self)

    @classmethod
    def register_function(cls, function_name: str, function: Callable) -> None:
        """Make a function of (pipe, ...) a method of all pipes, also where there is one."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(
        cls, function_name: str, cls_to_register: Callable, enable_df_api_tracing: bool = False
    ) -> None:
        """Make a class of pipes a method of all pipes.

        ValueError where the name is taken, NotImplementedError for tracing of data frames.
        """
        if function_name in cls.functions:
            raise ValueError(
                f"Unable to add DataPipe function name {function_name} as it is already taken"
            )
        if enable_df_api_tracing:
            raise NotImplementedError(f"{function_name}: tritorch does not trace data frames")

        def made(source: Any, *args: Any, **kwargs: Any) -> Any:
            return cls_to_register(source, *args, **kwargs)

        made.__doc__ = cls_to_register.__doc__
        cls.functions[function_name] = made

    @classmethod
    def set_getstate_hook(cls, hook_fn: Callable | None) -> None:
        """What all pipes are pickled as becomes `hook_fn(state)`; None ends that."""
        if cls.getstate_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing getstate_hook")
        cls.getstate_hook = hook_fn

    @classmethod
    def set_reduce_ex_hook(cls, hook_fn: Callable | None) -> None:
        """How all pipes are pickled becomes `hook_fn(pipe)`, where that is implemented."""
        if cls.reduce_ex_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing reduce_ex_hook")
        cls.reduce_ex_hook = hook_fn

    def _state(self) -> Any:
        """What a pipe is pickled as; pipes that hold what cannot be pickled leave that out."""
        return self.__dict__

    def __getstate__(self) -> Any:
        hook = type(self).getstate_hook
        return self._state() if hook is None else hook(self._state())

    def __reduce_ex__(self, protocol: Any) -> Any:
        hook = type(self).reduce_ex_hook
        if hook is not None:
            with contextlib.suppress(NotImplementedError):  # the hook leaves this pipe to pickle
                return hook(self)
        return super().__reduce_ex__(protocol)


class IterDataPipe(_Functional, IterableDataset, metaclass=_IterDataPipeMeta):
    """A stream of samples: a subclass writes `__iter__`, and `reset` where it holds more.

    Pipes are chained by methods: `map`, `filter`, `batch`, `shuffle` and others of
    `tritorch.utils.data.datapipes.iter`, or one's own by `functional_datapipe`. A pipe has one
    iterator at a time: a new one begins anew, and the one before it raises RuntimeError when it is
    asked for more.

    Example:
        >>> from tritorch.utils.data.datapipes.iter import IterableWrapper
        >>> pipe = IterableWrapper(range(5)).map(str).batch(2)
        >>> list(pipe)
        [['0', '1'], ['2', '3'], ['4']]
    """

    functions = {}
    _fast_forward_iterator: Iterator | None = None
    _number_of_samples_yielded: int = 0
    _snapshot_state = _SnapshotState.NotStarted
    _valid_iterator_id: int | None = None

    def __iter__(self) -> Iterator[Any]:
        return self  # type: ignore[return-value]

    def reset(self) -> None:
        """Called for each new iterator; a subclass empties here what it has kept."""


class DFIterDataPipe(IterDataPipe):
    """A stream of data frames."""

    def _is_dfpipe(self) -> bool:
        return True


class MapDataPipe(_Functional, Dataset, metaclass=_DataPipeMeta):
    """Samples by key: a subclass writes `__getitem__`, usually `__len__`.

    Example:
        >>> from tritorch.utils.data.datapipes.map import SequenceWrapper
        >>> pipe = SequenceWrapper(range(5)).map(str)
        >>> pipe[3], len(pipe)
        ('3', 5)
    """

    functions = {}


def length_of(pipe: Any, *sources: Any) -> list[int]:
    """The lengths of a pipe's sources; TypeError where one has none."""
    if not all(hasattr(type(source), "__len__") for source in sources):
        raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return [len(source) for source in sources]
