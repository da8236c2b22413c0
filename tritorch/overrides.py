"""`torch.overrides`: who answers the published functions, and modes that see all of them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any

from .op.overrides import answer, enabled_without, local, overloaded, unwatch, watch
from .ops.api import FUNCTIONAL, PUBLIC, SPACES
from .tensor import Tensor

__all__ = [
    "TorchFunctionMode",
    "get_ignored_functions",
    "get_overridable_functions",
    "handle_torch_function",
    "has_torch_function",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


class TorchFunctionMode:
    """A block in which `__torch_function__(func, types, args, kwargs)` sees every published call.

    What it calls itself goes to the mode around it.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.overrides import TorchFunctionMode
        >>> class Count(TorchFunctionMode):
        ...     calls = 0
        ...
        ...     def __torch_function__(self, func, types, args=(), kwargs=None):
        ...         self.calls += 1
        ...         return func(*args, **(kwargs or {}))
        >>> with Count() as count:
        ...     y = torch.ones(2).exp() + 1
        >>> count.calls
        3
    """

    def __torch_function__(
        self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: define __torch_function__")

    def __enter__(self) -> Any:
        watch(self)
        return self

    def __exit__(self, *exc: object) -> None:
        unwatch(self)


def has_torch_function(relevant_args: Iterable) -> bool:
    """Whether an argument is of a class that answers functions."""
    return bool(local.modes) or (not local.off and bool(overloaded(relevant_args)))


def has_torch_function_unary(argument: Any) -> bool:
    """The same for one argument."""
    return has_torch_function((argument,))


def has_torch_function_variadic(*arguments: Any) -> bool:
    """The same for arguments in a row."""
    return has_torch_function(arguments)


def handle_torch_function(
    public_api: Callable, relevant_args: Iterable, *args: Any, **kwargs: Any
) -> Any:
    """What the classes of the arguments answer to a call; TypeError where all decline.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.overrides import handle_torch_function, has_torch_function
        >>> class Length:
        ...     def __torch_function__(self, func, types, args=(), kwargs=None):
        ...         return func.__name__
        >>> def double(x):
        ...     if has_torch_function((x,)):
        ...         return handle_torch_function(double, (x,), x)
        ...     return x * 2
        >>> double(Length()), double(torch.ones(1))
        ('double', tensor([2.]))
    """
    return answer(public_api, overloaded(relevant_args), args, kwargs)


def wrap_torch_function(dispatcher: Callable) -> Callable[[Callable], Callable]:
    """Let a function ask the arguments that `dispatcher(*args)` gives, as published ones do."""

    def decorate(f: Callable) -> Callable:
        @functools.wraps(f)
        def function(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(function, relevant, *args, **kwargs)
            return f(*args, **kwargs)

        return function

    return decorate


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or of a class that answers functions."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def get_ignored_functions() -> set[Callable]:
    """The published functions that ask nobody: those out of scope."""
    return {f for f in PUBLIC.values() if hasattr(f, "out_of_scope")}


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """The functions that ask the classes of their arguments, by namespace."""
    import tritorch as torch

    tables: dict[Any, Any] = {torch: PUBLIC, torch.nn.functional: FUNCTIONAL}
    tables |= {getattr(torch, n): t for n, t in SPACES.items() if "." not in n}
    found: dict[Any, list[Callable]] = {
        space: [f for f in table.values() if hasattr(f, "op") or hasattr(f, "explained")]
        for space, table in tables.items()
    }
    found[Tensor] = [f for f in vars(Tensor).values() if isinstance(f, types.FunctionType)]
    return found


def resolve_name(f: Callable) -> str | None:
    """The name of an overridable function, None for others."""
    for space, functions in get_overridable_functions().items():
        if any(f is g for g in functions):
            return f"{space.__name__.replace('tritorch', 'torch')}.{f.__name__}"
    return None


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether a function that `__torch_function__` gets is a method or property of tensors."""
    return func.__name__ == "__get__" or vars(Tensor).get(func.__name__) is func


BaseTorchFunctionMode = TorchFunctionMode
DisableTorchFunctionSubclass = enabled_without
