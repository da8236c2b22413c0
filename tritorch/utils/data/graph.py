"""The graph of pipes behind a pipe: which pipes it holds, and these in turn."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["traverse", "traverse_dps"]

DataPipe = IterDataPipe | MapDataPipe
DataPipeGraph = dict[int, tuple[Any, Any]]


def _held(value: Any, objects: bool, seen: set[int]) -> Iterator[Any]:
    """The pipes in a value: in collections, and with `objects` in the attributes of any object."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, DataPipe):
        yield value
        return
    if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray | range):
        if isinstance(value, Mapping):
            parts = [*value.keys(), *value.values()]
        else:
            parts = list(value) if isinstance(value, list | tuple | set | frozenset) else []
        for part in parts:
            yield from _held(part, objects, seen)
    elif objects and hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _held(vars(value), objects, seen)


def _graph(pipe: Any, objects: bool, above: frozenset[int]) -> DataPipeGraph:
    if not isinstance(pipe, DataPipe):
        raise RuntimeError(f"Expected `IterDataPipe` or `MapDataPipe`, but {type(pipe)} is found")
    if id(pipe) in above:
        return {}
    above |= {id(pipe)}
    below: DataPipeGraph = {}
    for held in _held(pipe.__getstate__(), objects, {id(pipe)}):
        below.update(_graph(held, objects, above))
    return {id(pipe): (pipe, below)}


def traverse_dps(datapipe: Any) -> DataPipeGraph:
    """`{id: (pipe, graph of the pipes it holds)}`, of pipes in attributes and in collections.

    Example:
        >>> from tritorch.utils.data.datapipes.iter import IterableWrapper
        >>> from tritorch.utils.data.graph import traverse_dps
        >>> source = IterableWrapper(range(3))
        >>> pipe = source.batch(2)
        >>> traverse_dps(pipe) == {id(pipe): (pipe, {id(source): (source, {})})}
        True
    """
    return _graph(datapipe, False, frozenset())


def traverse(datapipe: Any, only_datapipe: bool | None = None) -> DataPipeGraph:
    """Deprecated: `traverse_dps`, which without `only_datapipe` looks into other objects too."""
    warnings.warn(
        "`traverse` function is deprecated. Please use `traverse_dps` instead.",
        FutureWarning,
        stacklevel=2,
    )
    return _graph(datapipe, not only_datapipe, frozenset())
