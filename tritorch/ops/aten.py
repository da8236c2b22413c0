"""The published operators under the names of `torch.ops.aten`: `aten.mm`, `aten.mm.default`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC

_overloads: dict[str, Overloads] = {}


class Overloads:
    """An operator, callable itself and by `default`: overloads are told apart by the arguments."""

    def __init__(self, name: str, f: Callable) -> None:
        self.__name__, self.__doc__, self._f = name, f.__doc__, f

    @property
    def default(self) -> Overloads:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<operator aten.{self.__name__}>"


def __getattr__(name: str) -> Overloads:
    if name not in _overloads:
        f = PUBLIC.get(name) or FUNCTIONAL.get(name) or getattr(Tensor, name, None)
        if not callable(f) or name.startswith("__"):
            raise AttributeError(f"'ops.aten' has no operator {name!r}")
        _overloads[name] = Overloads(name, f)
    return _overloads[name]
