"""How processes come together and part: `init_process_group` and what one asks of groups."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.util import Finalize
from typing import Any

from . import wire
from .file_store import FileStore
from .group import GroupMember, ProcessGroup, current, world
from .mesh import Mesh
from .rendezvous import rendezvous
from .store import PrefixStore, Store, TCPStore

__all__ = [
    *("Backend", "destroy_process_group", "get_backend", "get_global_rank", "get_group_rank"),
    *("get_process_group_ranks", "get_rank", "get_world_size", "init_process_group"),
    *("is_initialized", "new_group"),
]

TIMEOUT = timedelta(minutes=30)


class Backend(str):
    """The name of what carries messages, in lower case; `gloo`, TCP between CPUs, is what there is.

    Raises:
        ValueError: another name.
    """

    UNDEFINED, GLOO, NCCL, MPI, UCC, XCCL = "undefined", "gloo", "nccl", "mpi", "ucc", "xccl"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish: {name}")
        names = {part.partition(":")[2] or part for part in name.lower().split(",")}
        if names & {cls.NCCL, cls.MPI, cls.UCC, cls.XCCL} and "gloo" not in names:
            raise ValueError(f"Backend {name!r} is not there; 'gloo' carries tensors by TCP")
        if "gloo" not in names:
            raise ValueError(f"Invalid backend: '{name}'; 'gloo' is what there is")
        return str.__new__(cls, "gloo")


def is_initialized() -> bool:
    """Whether there is a group of all processes."""
    return 0 in world.groups


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Store | None = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Meet the other processes; each calls it, and returns when all are connected.

    They find each other by `store`, or where `init_method` says: `env://` (the default: from the
    environment's MASTER_ADDR, MASTER_PORT, WORLD_SIZE and RANK), `tcp://host:port` (rank 0 listens
    there) or `file:///path` (a new file that all can open). `timeout`, 30 minutes by default,
    is how long any operation of the group waits for another process.

    Connections carry plain data without encryption, as those of PyTorch: use them in networks that
    you trust.

    Raises:
        ValueError: called twice, another backend than gloo, what is needed is missing.
        DistStoreError, DistNetworkError: not all have come in time.

    Example:
        >>> import tempfile
        >>> import tritorch as torch
        >>> import tritorch.distributed as dist
        >>> directory = tempfile.TemporaryDirectory()
        >>> dist.init_process_group("gloo", f"file://{directory.name}/new", world_size=1, rank=0)
        >>> x = torch.ones(2)
        >>> dist.all_reduce(x)  # over one process
        >>> x
        tensor([1., 1.])
        >>> dist.destroy_process_group()
        >>> directory.cleanup()
    """
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise ValueError("Cannot specify both init_method and store.")
    if backend is not None:
        Backend(backend)
    timeout = TIMEOUT if timeout is None else timeout
    if not isinstance(timeout, timedelta):
        raise TypeError(
            f"Expected timeout argument to be of type datetime.timedelta, got {timeout!r}"
        )
    if store is None:
        store, rank, world_size = rendezvous(init_method or "env://", rank, world_size, timeout)
    elif world_size <= 0 or not 0 <= rank < world_size:
        raise ValueError("world_size must be positive and rank in [0, world_size) if using store")
    seconds = timeout.total_seconds()
    base = _base(store)
    host = base.local_address if isinstance(base, TCPStore) else wire.own_host()
    store.set_timeout(timeout)
    mesh = Mesh(PrefixStore("default_pg", store), rank, world_size, seconds, host)
    world.store, world.made = store, 1
    world.groups[0] = own = ProcessGroup(mesh, 0, range(world_size), seconds)
    world.leave = Finalize(None, mesh.close, exitpriority=0)
    own.run("barrier", _met, None, False)
    if isinstance(base, FileStore) and rank == 0:
        os.unlink(base.path)


def _met(comm: Any) -> None:
    """All have come so far: the store may go."""
    for to in comm.others():
        comm.send(to, b"")
    for source in comm.others():
        comm.receive(source, 0)


def _base(store: Store) -> Store:
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


def destroy_process_group(group: Any = None) -> None:
    """Leave a group; by default, and for the group of all, all groups and the connections."""
    own = current(group)
    if own is None:
        return
    if own.number:
        own.stop()
        del world.groups[own.number]
        return
    for each in world.groups.values():
        each.stop()
    world.leave()
    store = None if world.store is None else _base(world.store)
    world.groups, world.made, world.store, world.leave = {}, 0, None, None
    if isinstance(store, TCPStore):
        store.close()


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
) -> Any:
    """A group of some of the processes; by default of all.

    All processes call it, in the same order, whether they are in it or not; those that are not get
    `GroupMember.NON_GROUP_MEMBER`.

    Raises:
        ValueError: ranks that do not exist or come twice; no default group.
    """
    every: Any = current(None)
    ranks = list(every.ranks) if ranks is None else sorted(ranks)
    if len(ranks) > every.size():
        raise ValueError("the new group's world size should be less or equal to the world size")
    if len(set(ranks)) != len(ranks):
        raise ValueError(f"new_group: ranks come twice: {list(ranks)}")
    if any(not 0 <= r < every.size() for r in ranks):
        raise ValueError(f"The new group's rank should be within the world_size: {list(ranks)}")
    if backend is not None:
        Backend(backend)
    number, world.made = world.made, world.made + 1
    if every.mesh.rank not in ranks:
        return GroupMember.NON_GROUP_MEMBER
    seconds = every.seconds if timeout is None else timeout.total_seconds()
    own = world.groups[number] = ProcessGroup(every.mesh, number, ranks, seconds)
    own.group_desc = group_desc or own.group_desc
    return own


def get_rank(group: Any = None) -> int:
    """The place of this process in a group; -1 where it is not in it."""
    own = current(group)
    return -1 if own is None else own.rank()


def get_world_size(group: Any = None) -> int:
    """How many processes a group has; -1 where this one is not in it."""
    own = current(group)
    return -1 if own is None else own.size()


def get_backend(group: Any = None) -> Backend:
    """The name of what carries a group's messages."""
    if current(group) is None:
        raise ValueError("Invalid process group specified")
    return Backend("gloo")


def get_process_group_ranks(group: Any = None) -> list[int]:
    """The global ranks of a group's members."""
    own: Any = current(group)
    return list(own.ranks)


def get_group_rank(group: Any, global_rank: int) -> int:
    """The rank in a group of a process."""
    own: Any = current(group)
    if global_rank not in own.ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {own}")
    return own.ranks.index(global_rank)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The global rank of a group's member."""
    own: Any = current(group)
    if not 0 <= group_rank < own.size():
        raise ValueError(f"Group rank {group_rank} is not part of group {own}")
    return own.ranks[group_rank]
