"""Switches of cuDNN, which this package does not use; kept, and without effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = False
benchmark = False
benchmark_limit = 10
deterministic = True
allow_tf32 = False


def is_available() -> bool:
    """False: convolutions are kernels of this package."""
    return False


def version() -> int | None:
    """None: there is no cuDNN here."""
    return None


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = True,
    allow_tf32: bool = False,
) -> Iterator[None]:
    """A block with these switches."""
    names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    given = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    before = {name: globals()[name] for name in names}
    globals().update(zip(names, given))
    try:
        yield
    finally:
        globals().update(before)
