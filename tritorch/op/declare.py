"""Decorators that declare an operator by the function below them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .record import Op
from .views import ViewOp


def _signature(f: Callable) -> tuple[list[str], bool]:
    parameters = inspect.signature(f).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return names, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def primitive(
    *, name: str | None = None, kind: type[Op] = Op, **fields: Any
) -> Callable[[Callable], Any]:
    """Declare an operator by its NumPy implementation: tensors positional, the rest keywords."""

    def declare(f: Callable) -> Op:
        names, variadic = _signature(f)
        return kind(
            name or f.__name__.strip("_"), names, cpu=f, variadic=variadic, doc=f.__doc__, **fields
        )

    return declare


def fused(
    *,
    name: str | None = None,
    cpu: Callable | None = None,
    kind: type[Op] = Op,
    **fields: Any,
) -> Callable[[Callable], Any]:
    """Declare an operator by its composition of others; `cpu` where NumPy can do it faster."""

    def declare(f: Callable) -> Op:
        names, variadic = _signature(f)
        return kind(
            name or f.__name__.strip("_"),
            names,
            cpu=cpu,
            ref=f,
            variadic=variadic,
            doc=f.__doc__,
            **fields,
        )

    return declare


def view(vjp: Callable, name: str | None = None, **fields: Any) -> Callable[[Callable], Any]:
    """Declare a view by what it does to an array's metadata; the same for NumPy and devices."""

    def declare(f: Callable) -> Op:
        return ViewOp(
            name or f.__name__.strip("_"),
            _signature(f)[0],
            cpu=f,
            vjp=vjp,
            doc=f.__doc__,
            exact=True,
            **fields,
        )

    return declare


def method(*names: str) -> Callable[[Callable], Any]:
    """Attach a function to `Tensor` under its own name, or under `names`."""

    def attach(f: Callable) -> Callable:
        for name in names or (f.__name__,):
            setattr(Tensor, name, f)
        return f

    return attach
