"""Host memory that processes share: pages of a file without a name, freed with the last of them."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any

import numpy as np


class Shared:
    """`nbytes` of memory; a process that it is sent to maps the same pages.

    Forked processes have them anyway. Others get the open file, by `multiprocessing`'s pickler
    alone, which can hand one over.
    """

    def __init__(self, nbytes: int, file: int | None = None) -> None:
        self.nbytes = nbytes
        self.file = _unnamed(nbytes) if file is None else file
        self.map = mmap.mmap(self.file, max(nbytes, 1))
        self.__array_interface__ = {
            **np.frombuffer(self.map, np.uint8)[:nbytes].__array_interface__,
            "shape": (nbytes,),
        }

    def __del__(self) -> None:
        if "file" in self.__dict__:
            os.close(self.file)


def _unnamed(nbytes: int) -> int:
    """An open file of that size which no directory names."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("tritorch")
    else:
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    os.ftruncate(file, max(nbytes, 1))
    return file


def of(array: Any) -> Shared | None:
    """The shared memory that an array lies in, None for any other."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, Shared) else None


def _again(file: Any, nbytes: int) -> Shared:
    return Shared(nbytes, file.detach())


def send(shared: Shared) -> tuple:
    """What a pickler of `multiprocessing` writes of it."""
    return _again, (reduction.DupFd(shared.file), shared.nbytes)
