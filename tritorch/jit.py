"""`torch.jit`'s names: there is no script compiler, functions and modules run as they are.

`script` and `trace` say so once in a warning; what only marks code (`ignore`, `unused`, `export`)
is silent.
"""

from __future__ import annotations

import builtins
import functools
import warnings
from typing import Any, TypeVar

from . import serialization
from .nn import Module

__all__ = [
    *("annotate", "export", "ignore", "interface", "is_scripting", "is_tracing", "isinstance"),
    *("load", "optimized_execution", "save", "script", "script_if_tracing", "script_method"),
    *("trace", "unused"),
]
T = TypeVar("T")
_said: set[str] = set()


def _say(name: str) -> None:
    if name not in _said:
        _said.add(name)
        warnings.warn(
            f"torch.jit.{name}: tritorch compiles no scripts; it runs as the Python that it is",
            stacklevel=3,
        )


def script(
    obj: T, optimize: None = None, _frames_up: int = 0, _rcb: Any = None, **kwargs: Any
) -> T:
    """The function, class or module itself.

    Example:
        >>> from tritorch.jit import script
        >>> import warnings
        >>> with warnings.catch_warnings(record=True):
        ...     double = script(lambda x: x * 2)
        >>> double(4)
        8
    """
    _say("script")
    return _savable(obj)


def trace(func: T, example_inputs: Any = None, *args: Any, **kwargs: Any) -> T:
    """The function or module itself; the example inputs are not used."""
    _say("trace")
    return _savable(func)


def _savable(obj: T) -> T:
    """A module with a method `save(f)`, where its class has no `save` of its own."""
    if builtins.isinstance(obj, Module) and not hasattr(type(obj), "save"):
        vars(obj)["save"] = functools.partial(save, obj)
    return obj


def save(m: Module, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Writes a module as it is, as `tritorch.save` does, not as a script.

    `load` makes it again where its classes can be imported. NotImplementedError for extra files.

    Example:
        >>> import io, tritorch as torch
        >>> from tritorch import jit
        >>> file = io.BytesIO()
        >>> jit.save(torch.nn.Linear(2, 3), file)
        >>> jit.load(io.BytesIO(file.getvalue()))
        Linear(in_features=2, out_features=3, bias=True)
    """
    if _extra_files:
        raise NotImplementedError("torch.jit.save: extra files are not written; save them yourself")
    if not builtins.isinstance(m, Module):
        raise TypeError(f"torch.jit.save: expected a module, got {type(m).__name__}")
    serialization.save(m, f)


def load(
    f: Any,
    map_location: Any = None,
    _extra_files: dict[str, Any] | None = None,
    _restore_shapes: bool = False,
) -> Any:
    """The module that `save` wrote; its file is trusted as pickle's are.

    PyTorch's own files of scripts are refused: they hold code for its compiler.
    """
    found = serialization.load(f, map_location=map_location, weights_only=False)
    if not builtins.isinstance(found, Module):
        raise RuntimeError(
            f"torch.jit.load: the file holds a {type(found).__name__}, not a module that "
            "torch.jit.save wrote; torch.load reads it"
        )
    return found


def script_if_tracing(fn: T) -> T:
    """The function itself."""
    return fn


def script_method(fn: T) -> T:
    """The method itself."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Marks a method, with or without arguments to the mark."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: T) -> T:
    """The function itself."""
    return fn


def export(fn: T) -> T:
    """The function itself."""
    return fn


def interface(obj: T) -> T:
    """The class itself."""
    return obj


def is_scripting() -> bool:
    """False: nothing is scripted."""
    return False


def is_tracing() -> bool:
    """False: nothing is traced."""
    return False


def annotate(the_type: Any, the_value: T) -> T:
    """The value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether a value is of a type, of containers by their outer type."""
    from typing import get_origin

    types = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    return builtins.isinstance(obj, tuple(get_origin(t) or t for t in types))


class optimized_execution:
    """A block that changes nothing."""

    def __init__(self, should_optimize: bool) -> None:
        self.should_optimize = should_optimize

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


def freeze(mod: Module, *args: Any, **kwargs: Any) -> Any:
    """Not to be had: NotImplementedError, as scripts are not compiled."""
    raise NotImplementedError(
        "torch.jit.freeze: scripts are not compiled here; call eval() and use the module as it is"
    )
