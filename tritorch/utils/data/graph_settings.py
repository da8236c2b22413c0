"""What a loader sets in all pipes behind a pipe: shards, shuffling, seeds."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from ... import dtypes
from ...ops import create
from .datapipes.iter.sharding import SHARDING_PRIORITIES
from .graph import DataPipeGraph, traverse_dps

__all__ = [
    "apply_random_seed",
    "apply_sharding",
    "apply_shuffle_seed",
    "apply_shuffle_settings",
    "get_all_graph_pipes",
]


def get_all_graph_pipes(graph: DataPipeGraph) -> list[Any]:
    """The pipes of a graph, each once."""
    found: dict[int, Any] = {}

    def collect(graph: DataPipeGraph) -> None:
        for key, (pipe, below) in graph.items():
            if key not in found:
                found[key] = pipe
                collect(below)

    collect(graph)
    return list(found.values())


def _has(pipe: Any, *methods: str) -> bool:
    return all(inspect.ismethod(getattr(pipe, name, None)) for name in methods)


def apply_sharding(
    datapipe: Any,
    num_of_instances: int,
    instance_id: int,
    sharding_group: Any = SHARDING_PRIORITIES.DEFAULT,
) -> Any:
    """Tell each pipe that divides samples which part of how many it has to give.

    RuntimeError where one such pipe stands behind another.
    """

    def apply(graph: DataPipeGraph, applied: Any) -> None:
        for pipe, below in graph.values():
            if not _has(pipe, "apply_sharding"):
                apply(below, applied)
                continue
            if applied is not None:
                raise RuntimeError(
                    "Sharding twice on a single pipeline is likely unintended and will cause data "
                    f"loss. Sharding already applied to {applied} while trying to apply to {pipe}"
                )
            group = {}
            if len(inspect.signature(pipe.apply_sharding).parameters) >= 3:
                group = {"sharding_group": sharding_group}
            pipe.apply_sharding(num_of_instances, instance_id, **group)
            apply(below, pipe)

    apply(traverse_dps(datapipe), None)
    return datapipe


def apply_shuffle_settings(datapipe: Any, shuffle: bool | None = None) -> Any:
    """Switch shuffling on or off; where nothing shuffles and it is on, `shuffle()` is put last."""
    if shuffle is None:
        return datapipe
    pipes = get_all_graph_pipes(traverse_dps(datapipe))
    shufflers = [pipe for pipe in pipes if _has(pipe, "set_shuffle", "set_seed")]
    if shuffle and not shufflers:
        warnings.warn(
            "`shuffle=True` was set, but the datapipe does not contain a `Shuffler`. Adding one at "
            "the end. Be aware that the default buffer size might not be sufficient for your task.",
            stacklevel=3,
        )
        datapipe = datapipe.shuffle()
        shufflers = [datapipe]
    for pipe in shufflers:
        pipe.set_shuffle(shuffle)
    return datapipe


def apply_random_seed(datapipe: Any, rng: Any) -> Any:
    """Seed each pipe that has `set_seed`, by numbers drawn from `rng`."""
    for pipe in get_all_graph_pipes(traverse_dps(datapipe)):
        if _has(pipe, "set_seed"):
            pipe.set_seed(create.empty((), dtype=dtypes.int64).random_(generator=rng).item())
    return datapipe


def apply_shuffle_seed(datapipe: Any, rng: Any) -> Any:
    """Deprecated: `apply_random_seed`."""
    warnings.warn(
        "`apply_shuffle_seed` is deprecated since 1.12. Please use `apply_random_seed` instead.",
        FutureWarning,
        stacklevel=2,
    )
    return apply_random_seed(datapipe, rng)
