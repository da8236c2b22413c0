"""The threads of NumPy's and SciPy's BLAS, which must rest while ours run.

A product inside a piece of `parallel.run` that woke BLAS's own threads would share the same cores
with the other pieces, and wait for them. Both packages' wheels carry OpenBLAS, whose number of
threads can be set; another BLAS is left as it is.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path


def _functions(name: str) -> tuple[Callable, Callable] | None:
    """How to read and set the number of threads of the BLAS in the wheel of a package."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    for folder in (package.parent / f"{name}.libs", package / ".dylibs", package / ".libs"):
        for path in folder.glob("*openblas*"):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for prefix in ("scipy_openblas", "openblas"):
                for suffix in ("64_", ""):
                    get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                    put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                    if get is not None and put is not None:
                        put.restype = None
                        return get, put
    return None


class _Single:
    """Inside the block, in any number of threads, BLAS uses one thread for each caller."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._lock = threading.Lock()
        self._found: tuple[Callable, Callable] | None = None
        self._searched = False
        self._depth = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._searched:
                self._found, self._searched = _functions(self.package), True
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


single = _Single("numpy")
single_scipy = _Single("scipy")
