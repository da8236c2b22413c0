"""Groups of processes, the work that they do in turn, and which groups this process is in."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError as FutureTimeoutError
from datetime import timedelta
from typing import Any

from ..op.device import users_level
from .errors import DistNetworkError
from .mesh import OPERATIONS, Comm, Mesh

__all__ = ["GroupMember", "ProcessGroup", "Work", "group"]


class Work:
    """An operation that was begun: `wait()` for its end."""

    def __init__(self, future: Future, result: Any = None) -> None:
        self._future, self._result = future, result

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Until it is done: True. What went wrong is raised here."""
        try:
            self._future.result(None if timeout is None else timeout.total_seconds())
        except FutureTimeoutError:
            if self._future.done():
                raise
            raise DistNetworkError("wait: the operation did not end in time") from None
        return True

    def is_completed(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def is_success(self) -> bool:
        """Whether it has ended well."""
        return self._future.done() and self._future.exception() is None

    def exception(self) -> BaseException | None:
        """What went wrong, once it has ended."""
        return self._future.exception()

    def result(self) -> list:
        """The tensors that it wrote."""
        self.wait()
        return self._result if isinstance(self._result, list) else [self._result]

    def get_future(self) -> Future:
        """The same as one of `concurrent.futures`."""
        return self._future


class ProcessGroup:
    """Processes that work together; what they do is done in the order in which it was begun."""

    def __init__(self, mesh: Mesh, number: int, ranks: Sequence[int], seconds: float) -> None:
        self.mesh, self.number, self.ranks, self.seconds = mesh, number, list(ranks), seconds
        self.group_name, self.group_desc = str(number), "default_pg" if not number else "undefined"
        self._turn = threading.RLock()
        self._queue: queue.SimpleQueue | None = None
        self._last: Future | None = None

    def rank(self) -> int:
        """The place of this process in the group."""
        return self.ranks.index(self.mesh.rank)

    def size(self) -> int:
        """How many processes there are."""
        return len(self.ranks)

    def name(self) -> str:
        """The backend's name."""
        return "gloo"

    def __repr__(self) -> str:
        return f"ProcessGroup(ranks={self.ranks})"

    def run(self, operation: str, work: Callable[[Comm], Any], result: Any, later: bool) -> Any:
        """`work(comm)`, now or in the group's thread; a `Work` in the latter case, else None."""

        def turn() -> Any:
            comm = Comm(self.mesh, self.number, self.ranks, self.seconds)
            comm.operation = OPERATIONS.index(operation)
            with self._turn:
                return work(comm)

        if not later and (self._last is None or self._last.done()):
            turn()
            return None
        begun = Work(self._submit(turn), result)
        if later:
            return begun
        begun.wait()
        return None

    def _submit(self, turn: Callable) -> Future:
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            threading.Thread(target=_worker, args=(self._queue,), daemon=True).start()
        self._last = Future()
        self._queue.put((turn, self._last))
        return self._last

    def stop(self) -> None:
        """End the group's thread after what is in the queue."""
        if self._queue is not None:
            self._queue.put(None)
            self._queue = None


def _worker(jobs: queue.SimpleQueue) -> None:
    while (job := jobs.get()) is not None:
        turn, future = job
        try:
            future.set_result(turn())
        except BaseException as error:
            future.set_exception(error)


class _World:
    """The groups of this process, by number; 0 is that of all."""

    def __init__(self) -> None:
        self.groups: dict[int, ProcessGroup] = {}
        self.made = 0  # groups made so far, by whatever members: the same in all processes
        self.store: Any = None
        self.leave: Any = None


world = _World()


class _GroupMember(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The group of all processes, or None before `init_process_group`."""
        return world.groups.get(0)


class GroupMember(metaclass=_GroupMember):
    """`WORLD`, and what `new_group` returns to a process that is not in the group."""

    NON_GROUP_MEMBER = -100


class group(metaclass=_GroupMember):
    """`group.WORLD` is the group of all processes."""


def current(group: Any) -> ProcessGroup | None:
    """The group, that of all for None; None for one that this process is not in."""
    if group is None:
        if 0 not in world.groups:
            raise ValueError(
                "Default process group has not been initialized, please make sure to call "
                "init_process_group."
            )
        return world.groups[0]
    if isinstance(group, int) and group == GroupMember.NON_GROUP_MEMBER:
        return None
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"expected a ProcessGroup, got {type(group).__name__}")
    if world.groups.get(group.number) is not group:
        raise ValueError("Invalid process group specified: it was destroyed")
    return group


def member(group: Any, name: str) -> ProcessGroup | None:
    """The same; with a warning where an operation is run by a process that is not in its group."""
    found = current(group)
    if found is None:
        warnings.warn(
            f"Running {name} on global rank {world.groups[0].rank()} which does not belong to the "
            "given group.",
            stacklevel=users_level(),
        )
    return found


def place(own: ProcessGroup, rank: int | None, within: int | None, what: str, default: Any) -> int:
    """A member by its global rank or by its rank in the group, as the latter."""
    if rank is not None and within is not None:
        raise ValueError(f"can't specify both {what} and group_{what}")
    if within is not None:
        if not 0 <= within < own.size():
            raise ValueError(f"group_{what} {within} is not in [0, {own.size()})")
        return within
    rank = default if rank is None else rank
    if rank is None:
        raise ValueError(f"must specify {what} or group_{what}")
    if rank not in own.ranks:
        raise ValueError(f"Global rank {rank} is not part of group {own}")
    return own.ranks.index(rank)
