"""Objects of classes in PyTorch's files, for callers who trust the file.

Python's own pickle makes them, and may run anything; where it names a class of PyTorch's, as the
layers of a whole module that was saved, it gets the one of that name here.
"""

from __future__ import annotations

import importlib
import io
import pickle
from typing import Any

from .torch_files import KNOWN, METHODS
from .unpickle import Builder, UnpickleError

_PACKAGE = __name__.partition(".")[0]


def load(data: bytes, file: Any) -> Any:
    """The object of a pickle, whose storages `file` reads."""
    return _Unpickler(data, file).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, file: Any) -> None:
        super().__init__(io.BytesIO(data))
        self.file = file

    def persistent_load(self, pid: Any) -> Any:
        """A storage; or a class, which older files save with its source."""
        if isinstance(pid, tuple) and pid[:1] == ("module",):
            return pid[1]
        return self.file.storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path in METHODS:
            return getattr(self.file, METHODS[path])
        if module.partition(".")[0] != "torch":
            return super().find_class(module, name)
        known = KNOWN.get(path)
        if known is None:
            return _ours(module, name)
        return known.fn if isinstance(known, Builder) else known


def _ours(module: str, name: str) -> Any:
    """What is called so here, in a module of that name or in one around it."""
    parts = [_PACKAGE, *module.split(".")[1:]]
    while parts:
        try:
            found = importlib.import_module(".".join(parts))
        except ModuleNotFoundError:
            found = None
        if hasattr(found, name):
            return getattr(found, name)
        parts.pop()
    raise UnpickleError(f"it holds a {module}.{name}, which is not here")
