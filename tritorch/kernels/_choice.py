"""Blocks that were found by a search take the place of those that plain arithmetic chose.

A target carries what was found, `target.tuned`, by keys with sizes rounded up to powers of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from ._dense import pow2

Blocks = TypeVar("Blocks", bound=tuple)
CACHES: list[Any] = []  # of what follows from choices
_notes: list[dict[str, tuple]] = []


def remembered(size: int) -> Callable[[Callable], Any]:
    """`lru_cache(size)` for a function whose result follows from choices."""

    def remember(f: Callable) -> Any:
        CACHES.append(lru_cache(size)(f))
        return CACHES[-1]

    return remember


def forget() -> None:
    """Choose anew from now on."""
    for cache in CACHES:
        cache.cache_clear()


@contextmanager
def asked() -> Iterator[dict[str, tuple]]:
    """A block in which it is noted which choices are asked for, and what they are at first."""
    _notes.append({})
    forget()
    try:
        yield _notes[-1]
    finally:
        _notes.pop()


def chosen(target: Any, kind: str, sizes: tuple[int, ...], first: Blocks) -> Blocks:
    """The blocks found for such a call on the target; `first` where nobody has searched."""
    key = f"{kind} {'x'.join(str(pow2(n)) for n in sizes)}"
    for notes in _notes:
        notes[key] = first
    found = target.tuned.get(key, first)
    if found is first or len(found) != len(first):
        return first
    return type(first)(*found)
