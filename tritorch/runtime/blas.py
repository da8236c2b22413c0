"""The threads of NumPy's BLAS, which must rest while ours run.

A product inside a piece of `parallel.run` that woke BLAS's own threads would share the same cores
with the other pieces, and wait for them. NumPy's wheels carry OpenBLAS, whose number of threads
can be set; another BLAS is left as it is.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np


def _functions() -> tuple[Callable, Callable] | None:
    """How to read and set the number of threads of the BLAS in NumPy's wheel."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs", package / ".libs"):
        for path in folder.glob("*openblas*"):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for form in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_"):
                get = getattr(library, form.format("get"), None)
                put = getattr(library, form.format("set"), None)
                if get is not None and put is not None:
                    put.restype = None
                    return get, put
    return None


class _Single:
    """Inside the block, in any number of threads, BLAS uses one thread for each caller."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[Callable, Callable] | None = None
        self._searched = False
        self._depth = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._searched:
                self._found, self._searched = _functions(), True
            self._depth += 1
            if self._found is not None and self._depth == 1:
                get, put = self._found
                self._before = get()
                if self._before > 1:
                    put(1)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._found is not None and not self._depth and self._before > 1:
                self._found[1](self._before)


single = _Single()
