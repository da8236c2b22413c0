"""`torch.multiprocessing`: Python's `multiprocessing`, and `spawn` of a function for many ranks.

Tensors travel to other processes by pickling.
"""

from __future__ import annotations

import multiprocessing as _multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [
    *_multiprocessing.__all__,  # type: ignore[attr-defined]
    *("ProcessRaisedException", "get_all_sharing_strategies", "get_sharing_strategy"),
    *("set_sharing_strategy", "spawn", "start_processes"),
]


class ProcessRaisedException(Exception):
    """A process of `spawn` raised; the message is its traceback."""


def _run(fn: Callable, rank: int, args: tuple, errors: Any) -> None:
    try:
        fn(rank, *args)
    except Exception:
        errors.put((rank, traceback.format_exc()))
        raise SystemExit(1) from None


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> list | None:
    """Runs `fn(rank, *args)` in so many processes; gives them where they are not waited for.

    ProcessRaisedException with its traceback where one of them raised.
    """
    context: Any = _multiprocessing.get_context(start_method)
    errors = context.SimpleQueue()
    processes = []
    for rank in range(nprocs):
        process = context.Process(target=_run, args=(fn, rank, args, errors), daemon=daemon)
        process.start()
        processes.append(process)
    if not join:
        return processes
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        if errors.empty():
            codes = [process.exitcode for process in processes]
            raise ProcessRaisedException(f"spawn: processes ended with the exit codes {codes}")
        rank, text = errors.get()
        raise ProcessRaisedException(f"\n\n-- Process {rank} raised:\n{text}")
    return None


def start_processes(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> list | None:
    """The same as `spawn`."""
    return spawn(fn, args, nprocs, join, daemon, start_method)


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
