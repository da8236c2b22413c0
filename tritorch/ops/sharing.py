"""Tensors whose memory other processes see: `share_memory_` and what is sent of them."""

from __future__ import annotations

import sys
from multiprocessing import reduction
from typing import Any

import numpy as np

from ..runtime import shared
from ..tensor import Storage, Tensor
from .api import attach
from .duplicate import bytes_of, geometry, placed, reduce_storage

HOLDERS = 3  # of the storage of a tensor that shares with no other: it, a variable, the question


def share_memory_(self: Tensor) -> Tensor:
    """Move into memory that processes share, in place: what one of them writes, all see.

    A process gets the tensor by `fork`, as an argument, or through a queue of `multiprocessing`.
    A tensor on a GPU stays as it is. RuntimeError where another tensor shares the memory, which
    would be left behind.

    Example:
        >>> import tritorch as torch
        >>> torch.zeros(3).share_memory_().is_shared()
        True
    """
    if is_shared(self):
        return self
    storage = self.storage_
    if sys.getrefcount(storage) > HOLDERS:
        raise RuntimeError(
            f"share_memory_: another tensor shares the memory of this one, of shape "
            f"{tuple(self.shape)}, and would keep the old one. Call it before views are taken, or "
            "on a clone()"
        )
    where, memory = geometry(self), bytes_of(storage)
    moved = np.asarray(shared.Shared(memory.size))
    np.copyto(moved, memory)
    self._data = placed(moved, self.dtype, *where)
    storage.owner = moved
    _register()
    return self


def is_shared(self: Tensor) -> bool:
    """Whether other processes may see the memory: after `share_memory_()`, and on a GPU."""
    return self.is_cuda or shared.of(self.storage_.owner) is not None


def _register() -> None:
    reduction.ForkingPickler.register(Storage, _reduce)
    reduction.ForkingPickler.register(shared.Shared, shared.send)


def _received(memory: shared.Shared) -> Storage:
    _register()  # this process may send it on
    return Storage(np.asarray(memory))


def _reduce(storage: Storage) -> tuple:
    """What a pickler of `multiprocessing` writes: shared memory itself, of other memory a copy."""
    memory: Any = shared.of(storage.owner)
    return reduce_storage(storage) if memory is None else (_received, (memory,))


attach("share_memory_", share_memory_)
attach("is_shared", is_shared)
