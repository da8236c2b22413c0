"""Host memory: NumPy arrays from a pool that keeps freed buffers.

Fresh pages cost more than arithmetic: the system zeroes each on its first touch. Buffers of
`SMALL` bytes and more are therefore kept when they are freed and handed out again by size class.
"""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict

import numpy as np

from . import layout
from .memory import POISON, poison_wanted

SMALL = 64 * 1024
ALIGNMENT = 64


class _Block:
    """Memory lent to NumPy: when the last array on it dies, it returns to the pool."""

    __slots__ = ("__array_interface__", "memory", "pool", "size")

    def __init__(self, pool: Pool, memory: np.ndarray, size: int) -> None:
        self.pool, self.memory, self.size = pool, memory, size

    def lend(self, nbytes: int) -> np.ndarray:
        address = self.memory.__array_interface__["data"][0]
        address += -address % ALIGNMENT
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        return np.asarray(self)

    def __del__(self) -> None:
        self.pool.give_back(self)


class Pool:
    """Freed buffers by size class, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.cached = self.hits = self.misses = 0
        self._free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self._lock = threading.RLock()  # a block may die, and come back, inside `take`

    def take(self, nbytes: int) -> np.ndarray:
        """`nbytes` of memory as a one-dimensional uint8 array, its content undefined."""
        size = _size_class(nbytes)
        with self._lock:
            memory = self._free[size].pop() if self._free[size] else None
            if memory is None:
                self.misses += 1
            else:
                self.hits += 1
                self.cached -= size
        if memory is None:
            try:
                memory = np.empty(size + ALIGNMENT, np.uint8)
            except MemoryError:
                self.empty()
                memory = np.empty(size + ALIGNMENT, np.uint8)
        return _Block(self, memory, size).lend(nbytes)

    def give_back(self, block: _Block) -> None:
        with self._lock:
            if self.cached + block.size <= self.limit:
                self.cached += block.size
                self._free[block.size].append(block.memory)

    def empty(self) -> int:
        """Return all cached buffers to the system; the number of bytes."""
        with self._lock:
            released, self.cached = self.cached, 0
            self._free.clear()
        return released

    def stats(self) -> dict[str, int]:
        return {
            "cached": self.cached,
            "limit": self.limit,
            "hits": self.hits,
            "misses": self.misses,
        }


def _size_class(nbytes: int) -> int:
    """Round up by at most an eighth, so that near sizes share buffers."""
    step = 1 << max((nbytes - 1).bit_length() - 3, 12)
    return -(-nbytes // step) * step


def _default_limit() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 8 << 30
    return total // 4


pool = Pool(_default_limit())
poisoned = poison_wanted()  # whether fresh memory is filled with NaN


def empty(shape: tuple[int, ...], dtype: np.dtype, *operands: np.ndarray) -> np.ndarray:
    """An uninitialised array; its dimensions in the order that `operands` give to a result."""
    found = layout.order(shape, *operands) if operands else None
    if found is not None:
        return empty(tuple([shape[d] for d in found]), dtype).transpose(layout.inverse(found))
    nbytes = math.prod(shape) * dtype.itemsize
    small = nbytes < SMALL
    out = np.empty(shape, dtype) if small else pool.take(nbytes).view(dtype).reshape(shape)
    return poison(out) if poisoned else out


def images(shape: tuple[int, ...], dtype: np.dtype, like: np.ndarray) -> np.ndarray:
    """An uninitialised array, with channels last where those of `like` are."""
    order = layout.channels_last(like)
    if order is None:
        return empty(shape, dtype)
    return empty(tuple([shape[d] for d in order]), dtype).transpose(layout.inverse(order))


def poison(x: np.ndarray) -> np.ndarray:
    """The array, filled with NaN, or -1 in integers: for tests, to show reads of fresh memory."""
    if x.nbytes and x.dtype.kind not in "OUSMm":
        x.fill(np.frombuffer(bytes([POISON]) * x.itemsize, x.dtype)[0])
    return x


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of zeros."""
    if math.prod(shape) * dtype.itemsize < SMALL:
        return np.zeros(shape, dtype)
    out = empty(shape, dtype)
    out.fill(0)
    return out
