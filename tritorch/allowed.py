"""Classes and functions that `load` may use though it trusts no file: `serialization.safe_globals`.

An object of a class is saved as a pickle. `unpickle.py` reads it as data, and makes objects only of
the classes that are listed here, besides containers, dtypes, devices and the layers of `nn`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .serialization_writer import BASES
from .unpickle import Builder, UnpickleError, unpickle

Listed = type | Callable | tuple[Any, str]
_listed: dict[str, Any] = {}  # by the path that a pickle names
_asked: list[list[str]] = []  # where what is not listed is noted
_LAYERS = f"{__name__.partition('.')[0]}.nn."


def _path(item: Listed) -> tuple[str, Any]:
    if isinstance(item, tuple):
        found, path = item
        return path, found
    if not callable(item):
        raise TypeError(
            f"safe_globals: lists classes and functions, or pairs of one and its path, not {item!r}"
        )
    return f"{item.__module__}.{item.__qualname__}", item  # type: ignore[union-attr]


def add_safe_globals(safe_globals: Sequence[Listed]) -> None:
    """List classes and functions that `load` may use also with `weights_only=True`.

    Each is a class or function, or a pair of one and the path under which files name it. `load` may
    call what is listed, with what the file says: list what does no harm.

    Example:
        >>> import io, tritorch as torch
        >>> from datetime import timedelta
        >>> file = io.BytesIO()
        >>> torch.save({"took": timedelta(hours=2)}, file)
        >>> with torch.serialization.safe_globals([timedelta]):
        ...     torch.load(io.BytesIO(file.getvalue()))["took"].seconds
        7200
    """
    _listed.update(dict(map(_path, safe_globals)))


def get_safe_globals() -> list[Listed]:
    """What is listed now."""
    return [found if _path(found)[0] == path else (found, path) for path, found in _listed.items()]


def clear_safe_globals() -> None:
    """List nothing."""
    _listed.clear()


@contextmanager
def safe_globals(safe_globals: Sequence[Listed]) -> Iterator[None]:
    """A block with more classes and functions listed: see `add_safe_globals`."""
    before = dict(_listed)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _listed.clear()
        _listed.update(before)


def listed(path: str) -> Any:
    """What is listed under a path, for a pickle to call; None where nothing is."""
    return _builder(_listed[path]) if path in _listed else None


def unlisted(path: str, why: str) -> Builder:
    """Refuses what a pickle names, except where that is only noted."""
    if _asked:
        _asked[-1].append(path)
        return Builder(_Nothing)
    raise UnpickleError(
        f"Weights only load failed: {why}. If you trust it, list it by "
        "serialization.add_safe_globals([...]) or in a block of serialization.safe_globals([...]); "
        "or load(..., weights_only=False) makes any object, for a file that you trust"
    )


class _Nothing:
    """Stands for an object that is not made."""

    def __init__(self, *args: Any) -> None:
        pass


@contextmanager
def noting(asked: list[str]) -> Iterator[None]:
    """A block in which nothing is refused, nor made: what is not listed is noted."""
    _asked.append(asked)
    try:
        yield
    finally:
        _asked.pop()


def make(data: bytes, tensors: Sequence[Any]) -> Any:
    """The object of a pickle, of listed classes only; `tensors` are what it names by number.

    Raises:
        UnpickleError: it names something that is not listed, or is damaged.
    """
    return unpickle(data, _find, tensors.__getitem__, restore)


def _find(module: str, name: str) -> Any:
    from .torch_files import CONTAINERS

    path = f"{module}.{name}"
    found = listed(path) or CONTAINERS.get(path) or _of_nn(module, name)
    return found or unlisted(path, f"it names {path[:200]}, which is not listed")


def _builder(item: Any) -> Any:
    if not isinstance(item, type):
        return item
    return Builder(item, new=lambda *args: item.__new__(item, *args))


def _of_nn(module: str, name: str) -> Any:
    """A layer, which is made without being called, or a function to be held; None if neither."""
    found = getattr(sys.modules.get(module), name, None) if module.startswith(_LAYERS) else None
    if module == f"{_LAYERS}functional":
        return found if callable(found) and not isinstance(found, type) else None
    if found is None or not _is_layer(found):
        return None
    return Builder(_uncalled, new=lambda *args: found.__new__(found))


def _is_layer(kind: Any) -> bool:
    layer = isinstance(kind, type) and issubclass(kind, tuple(BASES))
    return layer and kind.__module__.startswith(_LAYERS)


def _uncalled(*args: Any) -> None:
    raise UnpickleError("it calls a class of layers")


def restore(target: Any, state: Any) -> int:
    """Give an object its state; the number of elements that this took."""
    if isinstance(target, _Nothing):
        return 1
    if not (_is_layer(type(target)) or any(type(target) is kind for kind in _listed.values())):
        from . import torch_files

        return torch_files.restore(target, state)
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return 1
    held, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for part in (held, slots):
        if part is not None and not isinstance(part, dict):
            raise UnpickleError(f"the state of a {type(target).__name__} is no dict")
    target.__dict__.update(held or {})
    for name, value in (slots or {}).items():
        setattr(target, name, value)
    return 1
