"""`torch.multiprocessing`: Python's `multiprocessing`, and `spawn` of a function for many ranks.

Tensors travel to other processes by pickling, as copies; after `share_memory_()` as the same
memory: who sends one through a queue lives until it has arrived.
"""

from __future__ import annotations

import multiprocessing as _multiprocessing
import time
import traceback
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from multiprocessing import connection
from typing import Any

__all__ = [
    *_multiprocessing.__all__,  # type: ignore[attr-defined]
    *("ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException"),
    *("get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn"),
    *("SpawnContext", "start_processes"),
]


class ProcessException(Exception):
    """A process of `spawn` failed: which one, by its index and its number."""

    def __init__(self, msg: str, error_index: int, error_pid: int | None) -> None:
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid


class ProcessRaisedException(ProcessException):
    """A process of `spawn` raised; the message is its traceback."""


class ProcessExitedException(ProcessException):
    """A process of `spawn` ended with another exit code than 0, or by a signal."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int | None, exit_code: int | None
    ) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = None if exit_code is None or exit_code >= 0 else f"signal {-exit_code}"


def _run(fn: Callable, rank: int, args: tuple, errors: Any) -> None:
    try:
        fn(rank, *args)
    except KeyboardInterrupt:
        raise SystemExit(1) from None
    except Exception:
        errors.send(traceback.format_exc()[-30_000:])  # what the pipe holds without a reader
        raise SystemExit(1) from None


class ProcessContext:
    """The processes of `spawn`, of which the first that fails ends the others.

    `processes` is their list; `join` waits for them.
    """

    def __init__(self, processes: list, errors: list) -> None:
        self.processes, self._errors = processes, errors

    def pids(self) -> list[int]:
        """The numbers of the processes."""
        return [p.pid for p in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Whether all have ended well, waited for as long; the error of the first that has not.

        The others are then terminated, after `grace_period` seconds where it is given.

        Raises:
            ProcessRaisedException: with the traceback of what was raised.
            ProcessExitedException: ended by a signal, or with another exit code than 0.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while alive := [p.sentinel for p in self.processes if p.exitcode is None]:
            if any(p.exitcode for p in self.processes):
                break
            left = None if end is None else max(0.0, end - time.monotonic())
            if not connection.wait(alive, left):
                return False
        failed = next((i for i, p in enumerate(self.processes) if p.exitcode), None)
        if failed is None:
            for p in self.processes:
                p.join()
            return True
        self._end(grace_period)
        raise self._error(failed)

    def _end(self, grace: float | None) -> None:
        end = time.monotonic() + (grace or 0)
        for p in self.processes:
            p.join(max(0.0, end - time.monotonic()))
        for p in self.processes:
            if p.exitcode is None:
                p.terminate()
        for p in self.processes:
            p.join(30)
            if p.exitcode is None:  # it does not heed SIGTERM
                p.kill()
                p.join()

    def _error(self, index: int) -> ProcessException:
        process, errors = self.processes[index], self._errors[index]
        try:
            text = f"\n\n-- Process {index} terminated with the following error:\n{errors.recv()}"
        except EOFError:  # it said nothing
            pass
        else:
            return ProcessRaisedException(text, index, process.pid)
        code = process.exitcode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return ProcessExitedException(f"process {index} ended {how}", index, process.pid, code)


SpawnContext = ProcessContext


def start_processes(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Runs `fn(rank, *args)` in so many processes; gives them where they are not waited for.

    Raises:
        ProcessRaisedException, ProcessExitedException: one failed; the others are then ended.
    """
    context: Any = _multiprocessing.get_context(start_method)
    processes, errors = [], []
    for rank in range(nprocs):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(fn, rank, args, theirs), daemon=daemon)
        process.start()
        theirs.close()
        processes.append(process)
        errors.append(mine)
    started = ProcessContext(processes, errors)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """The same as `start_processes`, in processes that begin anew.

    Example:
        >>> import tritorch.multiprocessing as mp
        >>> mp.spawn(print, ("is a rank",), nprocs=0)
    """
    return start_processes(fn, args, nprocs, join, daemon, start_method)


def get_all_sharing_strategies() -> set[str]:
    """The ways in which processes share tensors: through files."""
    return {"file_system"}


def get_sharing_strategy() -> str:
    """The way in which processes share tensors."""
    return "file_system"


def set_sharing_strategy(new_strategy: str) -> None:
    """ValueError for a strategy that is not one of `get_all_sharing_strategies()`."""
    if new_strategy not in get_all_sharing_strategies() | {"file_descriptor"}:
        raise ValueError(f"set_sharing_strategy: {new_strategy!r} is not 'file_system'")
