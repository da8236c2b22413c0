"""`torch.jit`'s names: there is no script compiler, functions and modules run as they are.

`script` and `trace` say so once in a warning; what only marks code (`ignore`, `unused`, `export`)
is silent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = [
    *("annotate", "export", "ignore", "interface", "is_scripting", "is_tracing", "isinstance"),
    *("optimized_execution", "script", "script_if_tracing", "script_method", "trace", "unused"),
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
    return obj


def trace(func: T, example_inputs: Any = None, *args: Any, **kwargs: Any) -> T:
    """The function or module itself; the example inputs are not used."""
    _say("trace")
    return func


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
    import builtins
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


def _no_files(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"torch.jit.{name}: scripts are not compiled here; keep the state dict by torch.save "
            "and make the module from its class"
        )

    refuse.__name__ = name
    refuse.__doc__ = "Not to be had: scripts are not compiled."
    return refuse


save, load, freeze = _no_files("save"), _no_files("load"), _no_files("freeze")
