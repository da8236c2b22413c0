"""The collective operations, on flat NumPy arrays and bytes.

Sums are formed in the order of ranks, each part in one process, so that all get the same bits.
Every process sends each part to where it is needed directly: as many bytes as around a ring, in two
rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .mesh import Comm

Combine = Callable[[Any, Any, Any], Any]  # a ufunc with `out`


def as_bytes(a: np.ndarray) -> memoryview:
    """The memory of a contiguous array."""
    return a.reshape(-1).view(np.uint8).data


def received(comm: Comm, source: int, like: np.ndarray) -> np.ndarray:
    """An array of the shape and dtype of `like`."""
    data = comm.receive(source, like.nbytes)
    return np.frombuffer(data, np.uint8).view(like.dtype).reshape(like.shape)


def _parts(a: np.ndarray, count: int) -> list[np.ndarray]:
    return np.array_split(a, count)  # views


def reduce_parts(comm: Comm, parts: Sequence[np.ndarray], combine: Combine) -> np.ndarray:
    """This member's part, combined over all; `parts` has one for each member."""
    for to in comm.others():
        comm.send(to, as_bytes(parts[to]))
    mine = parts[comm.rank]
    total: Any = None
    for source in range(comm.size):
        part = mine if source == comm.rank else received(comm, source, mine)
        total = part.copy() if total is None else combine(total, part, total)
    return total


def all_reduce(comm: Comm, a: np.ndarray, combine: Combine) -> None:
    """Combine over all, in place."""
    if comm.size == 1:
        return
    parts = _parts(a, comm.size)
    total = reduce_parts(comm, parts, combine)
    for to in comm.others():
        comm.send(to, as_bytes(total))
    parts[comm.rank][...] = total
    for source in comm.others():
        parts[source][...] = received(comm, source, parts[source])


def reduce(comm: Comm, a: np.ndarray, root: int, combine: Combine) -> None:
    """Combine over all into the root's array; the others' stay."""
    if comm.size == 1:
        return
    total = reduce_parts(comm, _parts(a, comm.size), combine)
    if comm.rank != root:
        comm.send(root, as_bytes(total))
        return
    for source, part in enumerate(_parts(a, comm.size)):
        part[...] = total if source == root else received(comm, source, part)


def broadcast_bytes(comm: Comm, data: Any, root: int, expected: int | None = None) -> Any:
    """The root's bytes, passed on along a binomial tree."""
    place = (comm.rank - root) % comm.size
    step = 1
    while step < comm.size:
        if step <= place < 2 * step:
            data = comm.receive((place - step + root) % comm.size, expected)
        elif place < step and place + step < comm.size:
            comm.send((place + step + root) % comm.size, data)
        step *= 2
    return data


def broadcast(comm: Comm, a: np.ndarray, root: int) -> None:
    """The root's array, into everyone's."""
    data = broadcast_bytes(comm, as_bytes(a), root, a.nbytes)
    if comm.rank != root:
        as_bytes(a)[:] = data


def gather_bytes(comm: Comm, data: Any, root: int, expected: int | None = None) -> list | None:
    """Everyone's bytes, at the root."""
    if comm.rank != root:
        comm.send(root, data)
        return None
    return [data if i == root else comm.receive(i, expected) for i in range(comm.size)]


def scatter_bytes(comm: Comm, parts: Sequence | None, root: int, expected: int | None) -> Any:
    """The part that the root has for this member."""
    if comm.rank != root:
        return comm.receive(root, expected)
    assert parts is not None
    for to in comm.others():
        comm.send(to, parts[to])
    return parts[root]


def exchange_bytes(comm: Comm, parts: Sequence, expected: Sequence[int | None]) -> list:
    """Send to each member its part; what each has sent here."""
    for to in comm.others():
        comm.send(to, parts[to])
    return [parts[i] if i == comm.rank else comm.receive(i, expected[i]) for i in range(comm.size)]
