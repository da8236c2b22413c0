"""Collective operations on Python objects, which travel pickled.

Reading a pickle can run code: use these with processes that you trust, as those of one program are.
"""

from __future__ import annotations

import pickle
from typing import Any

from . import algorithms
from .group import member, place
from .mesh import Comm

__all__ = [
    *("all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list"),
]


def all_gather_object(object_list: list, obj: Any, group: Any = None) -> None:
    """`object_list[i]` becomes the object of the process of rank i, everywhere."""
    own = member(group, "all_gather_object")
    if own is None:
        return

    def work(comm: Comm) -> None:
        found = algorithms.exchange_bytes(comm, [pickle.dumps(obj)] * comm.size, [None] * comm.size)
        object_list[:] = [pickle.loads(data) for data in found]

    own.run("object", work, None, False)


def gather_object(
    obj: Any,
    object_gather_list: list | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: int | None = None,
) -> None:
    """At process `dst` (0), `object_gather_list[i]` becomes the object of rank i."""
    own = member(group, "gather_object")
    if own is None:
        return
    root = place(own, dst, group_dst, "dst", 0)
    if (own.rank() == root) != (object_gather_list is not None):
        raise ValueError("Argument ``object_gather_list`` belongs to the dst rank, and only to it.")

    def work(comm: Comm) -> None:
        found = algorithms.gather_bytes(comm, pickle.dumps(obj), root)
        if found is not None and object_gather_list is not None:
            object_gather_list[:] = [pickle.loads(data) for data in found]

    own.run("object", work, None, False)


def broadcast_object_list(
    object_list: list,
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """The list takes the objects of that of process `src` (0)."""
    own = member(group, "broadcast_object_list")
    if own is None:
        return
    root = place(own, src, group_src, "src", 0)

    def work(comm: Comm) -> None:
        data = pickle.dumps(object_list) if comm.rank == root else None
        found = pickle.loads(algorithms.broadcast_bytes(comm, data, root))
        if comm.rank != root:
            object_list[:] = found

    own.run("object", work, None, False)


def scatter_object_list(
    scatter_object_output_list: list,
    scatter_object_input_list: list | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """The first element of the output becomes what process `src` (0) has at this one's rank."""
    own = member(group, "scatter_object_list")
    if own is None:
        return
    root = place(own, src, group_src, "src", 0)
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size 1+.")
    inputs = scatter_object_input_list
    if own.rank() == root and (inputs is None or len(inputs) != own.size()):
        raise ValueError(f"scatter_object_list: {own.size()} objects are needed at the src rank")

    def work(comm: Comm) -> None:
        parts = [pickle.dumps(x) for x in inputs or ()] if comm.rank == root else None
        data = algorithms.scatter_bytes(comm, parts, root, None)
        scatter_object_output_list[0] = pickle.loads(data)

    own.run("object", work, None, False)
