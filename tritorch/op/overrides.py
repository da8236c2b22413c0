"""`__torch_function__`: classes and modes that see the published functions called with them.

A subclass of Tensor that does not switch it off gets methods that ask its `__torch_function__`;
what it inherits runs the function and gives the results its own class. Published functions ask only
while `asking` has something in it, that is after such a class has been made, so that programs
without one pay for one look at an empty list.
"""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from ..tensor import Tensor

__all__ = [
    "answer",
    "answered",
    "asking",
    "converted",
    "disabled",
    "enabled_without",
    "local",
    "overloaded",
]


class _Local(threading.local):
    """`off`: classes are not asked in this thread; `modes`: those entered, the innermost last."""

    off = False
    modes: tuple = ()


local = _Local()
asking: list[Any] = []  # the classes made so far and the modes in force: empty in most programs
OWN = {  # methods that are never asked about
    *("__new__", "__init__", "__init_subclass__", "__torch_function__", "__reduce_ex__"),
    *("__dir__", "__array__", "__array_wrap__", "__dlpack__", "__dlpack_device__", "__deepcopy__"),
    *("as_subclass", "current_edge", "move_retained", "is_inference"),
}
PROPERTIES = ("T", "mT", "H", "mH", "real", "imag", "data")  # those that give tensors


def disabled(cls: type, func: Callable, types: Iterable, args: tuple = (), kwargs: Any = None):
    """The `__torch_function__` of a class that is not to be asked, as Parameter's."""
    return NotImplemented


class enabled_without:
    """A block in which no class is asked, and with `modes` false no mode either."""

    def __init__(self, modes: bool = True) -> None:
        self.keep = modes

    def __enter__(self) -> None:
        self.outer = local.off, local.modes
        local.off = True
        if not self.keep:
            local.modes = ()

    def __exit__(self, *exc: object) -> None:
        local.off, local.modes = self.outer


def _asked(x: Any) -> bool:
    cls = x.__class__
    if cls is Tensor or isinstance(x, type):
        return False
    own = getattr(cls, "__torch_function__", None)
    return own is not None and getattr(own, "__func__", own) is not disabled


def overloaded(values: Iterable) -> list:
    """One argument of each class that is to be asked, a subclass before what it derives from."""
    found: list = []

    def look(x: Any) -> None:
        if not _asked(x) or any(type(f) is type(x) for f in found):
            return
        at = (i for i, f in enumerate(found) if issubclass(type(x), type(f)))
        found.insert(next(at, len(found)), x)

    for value in values:
        if type(value) in (list, tuple):
            for x in value:
                look(x)
        else:
            look(value)
    return found


def answer(func: Callable, found: list, args: tuple, kwargs: dict) -> Any:
    """What the innermost mode, or else the first class that does not decline, makes of a call."""
    kinds = tuple(type(x) for x in found)
    if local.modes:
        outer = local.modes
        local.modes = outer[:-1]
        try:
            result = outer[-1].__torch_function__(func, kinds, args, kwargs)
        finally:
            local.modes = outer
        if result is not NotImplemented:
            return result
    for x in found:
        result = x.__torch_function__(func, kinds, args, kwargs)
        if result is not NotImplemented:
            return result
    if not found:
        return func(*args, **kwargs)
    raise TypeError(
        f"no implementation found for '{func.__module__}.{func.__name__}' on types that implement "
        f"__torch_function__: {list(kinds)}"
    )


def consulted(func: Callable, args: tuple, kwargs: dict) -> Any:
    """The answer to a call of a published function; NotImplemented where nobody is to be asked."""
    found = [] if local.off else overloaded((*args, *kwargs.values()))
    if not found and not local.modes:
        return NotImplemented
    return answer(func, found, args, kwargs)


def answered(error: Exception, func: Callable, args: tuple, kwargs: dict) -> Any:
    """The answer of a class that is no Tensor and made a call fail; else the error again."""
    found = [] if local.off else overloaded((*args, *kwargs.values()))
    if not found:
        raise error
    asking.extend(type(x) for x in found if type(x) not in asking)
    return answer(func, found, args, kwargs)


# -- subclasses of Tensor --------------------------------------------------------------------------


def converted(result: Any, cls: type) -> Any:
    """The tensors of a result as instances of `cls`."""
    if isinstance(result, Tensor):
        return result if isinstance(result, cls) else result.as_subclass(cls)  # type: ignore
    if isinstance(result, tuple | list):
        parts = [converted(r, cls) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def _inherited(
    cls: type, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None
) -> Any:
    """Run the function on the tensors as they are, and give its results the class."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with enabled_without():
        result = func(*args, **(kwargs or {}))
    return converted(result, cls)


def forwarding(f: Callable) -> Callable:
    """A method that asks before it runs `f`."""

    @functools.wraps(f)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = consulted(f, (self, *args), kwargs)
        return f(self, *args, **kwargs) if result is NotImplemented else result

    method.asks = f  # type: ignore[attr-defined]
    return method


def _property(plain: property) -> property:
    get: Any = plain.__get__

    def asks(self: Any) -> Any:
        result = consulted(get, (self,), {})
        return get(self) if result is NotImplemented else result

    return property(asks, plain.fset, plain.fdel, plain.__doc__)


@functools.cache
def _methods() -> dict[str, Any]:
    """Tensor's methods and properties that a subclass is asked about, by name."""
    found = {
        name: forwarding(f)
        for name, f in vars(Tensor).items()
        if isinstance(f, types.FunctionType) and name not in OWN
    }
    return {**found, **{name: _property(vars(Tensor)[name]) for name in PROPERTIES}}


def _init_subclass(cls: type[Tensor], **kwargs: Any) -> None:
    """Give a subclass the methods that ask it, where it has not its own."""
    super(Tensor, cls).__init_subclass__(**kwargs)
    if "__torch_dispatch__" in vars(cls):
        raise NotImplementedError(
            f"{cls.__name__}: __torch_dispatch__ has no counterpart here. Override "
            "__torch_function__, or write a transform (CONTRIBUTING.md, Add a transform)"
        )
    if cls.__torch_function__.__func__ is disabled:  # type: ignore[attr-defined]
        return
    plain = vars(Tensor)
    for name, method in _methods().items():
        if getattr(cls, name, None) is plain[name]:
            setattr(cls, name, method)
    asking.append(cls)


Tensor.__torch_function__ = classmethod(_inherited)  # type: ignore[attr-defined]
Tensor.__init_subclass__ = classmethod(_init_subclass)  # type: ignore[assignment]


def watch(mode: Any) -> None:
    """Enter a mode: while there is one, the methods of plain tensors ask too."""
    if not any(not isinstance(a, type) for a in asking):
        _methods()  # of the plain methods, before they are replaced
        _plain.update({name: vars(Tensor)[name] for name in _methods()})
        for name, method in _methods().items():
            setattr(Tensor, name, method)
    asking.append(mode)
    local.modes = (*local.modes, mode)


def unwatch(mode: Any) -> None:
    """Leave the innermost mode."""
    local.modes = local.modes[:-1]
    asking.remove(mode)
    if not any(not isinstance(a, type) for a in asking):
        for name, method in _plain.items():
            setattr(Tensor, name, method)


_plain: dict[str, Any] = {}
