"""`torch.cuda.nvtx`: named ranges for NVIDIA's profilers, which are not written.

A program that marks ranges runs, with one warning; `tritorch.profiler` measures operators and
blocks instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_depth: list[str] = []
_said: list[bool] = []


def _say() -> None:
    if not _said:
        _said.append(True)
        warnings.warn(
            "cuda.nvtx: ranges are not written for NVIDIA's profilers; "
            "tritorch.profiler.record_function names blocks in a profile",
            stacklevel=3,
        )


def range_push(msg: str) -> int:
    """Begin a range; its depth."""
    _say()
    _depth.append(msg)
    return len(_depth) - 1


def range_pop() -> int:
    """End the innermost range; its depth, -1 where there is none."""
    if _depth:
        _depth.pop()
        return len(_depth)
    return -1


def range_start(msg: str) -> int:
    """Begin a range that ends with `range_end`."""
    _say()
    return 0


def range_end(range_id: int) -> None:
    """End a range that `range_start` began."""


def mark(msg: str) -> None:
    """A point in time."""
    _say()


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A block as a range; `msg` is formatted with the other arguments."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
