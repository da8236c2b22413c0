"""`torch.cuda.profiler`: which part of a program NVIDIA's profilers look at.

    nsys profile --capture-range=cudaProfilerApi python train.py

`tritorch.profiler` measures operators and blocks without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .status import check_error, cudart

__all__ = ["profile", "start", "stop"]


def start() -> None:
    """Let the profiler that runs this program collect from now on; CudaError where it cannot."""
    check_error(cudart().cudaProfilerStart())


def stop() -> None:
    """End what `start` began; CudaError where it cannot."""
    check_error(cudart().cudaProfilerStop())


@contextmanager
def profile() -> Iterator[None]:
    """A block for which the profiler that runs this program collects.

    Example:
        >>> import tritorch as torch
        >>> def one_step(step):
        ...     with torch.cuda.profiler.profile():
        ...         step()
    """
    start()
    try:
        yield
    finally:
        stop()
