"""Decorators of pipes: their names as methods, whether they are random, checks of their samples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from ._hook_iterator import _DataPipeMeta
from .datapipe import IterDataPipe, MapDataPipe

__all__ = [
    "argument_validation",
    "functional_datapipe",
    "guaranteed_datapipes_determinism",
    "non_deterministic",
    "runtime_validation",
    "runtime_validation_disabled",
]


class functional_datapipe:
    """Registers a class of pipes under a name, by which each pipe has it as a method.

    Example:
        >>> from tritorch.utils.data import IterDataPipe, functional_datapipe
        >>> from tritorch.utils.data.datapipes.iter import IterableWrapper
        >>> @functional_datapipe("doubled")
        ... class Doubler(IterDataPipe):
        ...     def __init__(self, source):
        ...         self.source = source
        ...
        ...     def __iter__(self):
        ...         for x in self.source:
        ...             yield 2 * x
        >>> list(IterableWrapper(range(3)).doubled())
        [0, 2, 4]
    """

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name, self.enable_df_api_tracing = name, enable_df_api_tracing

    def __call__(self, cls: Any) -> Any:
        kind = cls
        if isinstance(cls, non_deterministic):
            kind = cls.cls
        elif isinstance(getattr(cls, "__self__", None), non_deterministic):
            kind = cls.__self__.cls
        if isinstance(kind, type) and issubclass(kind, IterDataPipe):
            tracing = self.enable_df_api_tracing
            IterDataPipe.register_datapipe_as_function(self.name, cls, tracing)
        elif isinstance(kind, type) and issubclass(kind, MapDataPipe):
            MapDataPipe.register_datapipe_as_function(self.name, cls)
        else:
            raise TypeError(f"`functional_datapipe` can only decorate IterDataPipe, not {cls}")
        return cls


class _Switch:
    """A setting that a block, or the rest of the program, has otherwise than usual."""

    on = False

    def __init__(self) -> None:
        self.prev = type(self).on
        type(self).on = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        type(self).on = self.prev


class guaranteed_datapipes_determinism(_Switch):
    """While it is in force, pipes that are `non_deterministic` cannot be made."""


class runtime_validation_disabled(_Switch):
    """While it is in force, `runtime_validation` lets all samples pass."""


class non_deterministic:
    """Marks a class of pipes as random, always or where a function of its arguments says so."""

    cls: Any = None

    def __init__(self, arg: Any) -> None:
        if isinstance(arg, type):
            self._decorates(arg)
            self.cls, self.deterministic_fn = arg, None
        elif callable(arg):
            self.deterministic_fn = arg
        else:
            raise TypeError(f"{arg} can not be decorated by non_deterministic")

    def _decorates(self, cls: Any) -> None:
        if not (isinstance(cls, type) and issubclass(cls, IterDataPipe)):
            name = getattr(cls, "__name__", cls)
            raise TypeError(
                "Only `IterDataPipe` can be decorated with `non_deterministic`, but "
                f"{name} is found"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cls is not None:
            return self._make(True, args, kwargs)
        self._decorates(args[0])
        self.cls = args[0]
        return self.deterministic_wrapper_fn

    def deterministic_wrapper_fn(self, *args: Any, **kwargs: Any) -> Any:
        """A pipe, random where the function says so of these arguments."""
        is_random = self.deterministic_fn(*args, **kwargs)  # type: ignore[misc]
        if not isinstance(is_random, bool):
            raise TypeError(
                "deterministic_fn of `non_deterministic` decorator is required to return a boolean "
                f"value, but {type(is_random)} is found"
            )
        return self._make(is_random, args, kwargs)

    def _make(self, is_random: bool, args: tuple, kwargs: dict) -> Any:
        if is_random and guaranteed_datapipes_determinism.on:
            raise TypeError(
                f"{self.cls.__name__} is non-deterministic, but you set "
                "'guaranteed_datapipes_determinism'"
            )
        return self.cls(*args, **kwargs)


def argument_validation(f: Callable) -> Callable:
    """Arguments that are annotated as pipes must be pipes; TypeError for others."""
    signature, hints = inspect.signature(f), get_type_hints(f)
    pipes = {name: hint for name, hint in hints.items() if isinstance(hint, _DataPipeMeta)}

    @functools.wraps(f)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in pipes and not isinstance(value, pipes[name]):
                raise TypeError(
                    f"Expected argument '{name}' as a {pipes[name].__name__}, but found "
                    f"{type(value)}"
                )
        return f(*args, **kwargs)

    return checked


def runtime_validation(f: Callable) -> Callable:
    """An `__iter__` whose samples must be of the class in its annotation `Iterator[...]`.

    RuntimeError for one that is not, except where `runtime_validation_disabled` is in force.
    """
    if f.__name__ != "__iter__":
        raise TypeError(f"Can not decorate function {f.__name__} with 'runtime_validation'")
    given: Any = (*get_args(get_type_hints(f).get("return")), Any)[0]
    kind: Any = get_origin(given) or given

    @functools.wraps(f)
    def checked(self: Any) -> Iterator[Any]:
        for value in f(self):
            on = isinstance(kind, type) and not runtime_validation_disabled.on
            if on and not isinstance(value, kind):
                raise RuntimeError(
                    f"Expected an instance as subtype of {given}, but found {value}({type(value)})"
                )
            yield value

    return checked
