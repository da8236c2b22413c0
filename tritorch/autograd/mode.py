"""What holds for this thread: whether operators record, and which transforms see them."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _State(threading.local):
    """`grad`: record operators. `transforms`: what sees each call before it runs, innermost last.

    A transform is a callable `(op, inputs, params) -> result`; it runs the operator further out
    by calling `op` inside `outside()`. `saved_hooks`: pairs that pack and unpack what nodes save.
    """

    grad = True
    inference = False
    saved_hooks: tuple[tuple[Callable, Callable], ...] = ()
    saved_hooks_refused: str | None = None
    transforms: tuple[Callable, ...] = ()


state = _State()
profiles: list[Any] = []  # those that are running, the innermost last


class _Mode:
    """A setting of `state` for a block, a function or a generator."""

    setting: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._outer = {k: getattr(state, k) for k in self.setting}
        state.__dict__.update(self.setting)

    def __exit__(self, *exc: object) -> None:
        state.__dict__.update(self._outer)

    def clone(self) -> _Mode:
        new = object.__new__(type(self))
        new.setting = self.setting
        return new

    def __call__(self, f: Callable) -> Callable:
        if inspect.isclass(f):
            f.__init__ = self(f.__init__)
            return f
        if inspect.isgeneratorfunction(f):
            return self._generator(f)

        @functools.wraps(f)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return f(*args, **kwargs)

        return inside

    def _generator(self, f: Callable) -> Callable:
        @functools.wraps(f)
        def inside(*args: Any, **kwargs: Any) -> Any:
            running, sent = f(*args, **kwargs), None
            try:
                while True:
                    with self.clone():
                        item = running.send(sent)
                    sent = yield item
            except StopIteration as stop:
                return stop.value
            finally:
                running.close()

        return inside

    def __new__(cls, f: Callable | None = None, *args: Any, **kwargs: Any) -> Any:
        """`@no_grad` without parentheses decorates too."""
        self = object.__new__(cls)
        if callable(f):
            return self(f)
        return self


class no_grad(_Mode):
    """Operators in the block, or in the decorated function, are not recorded.

    Example:
        >>> import tritorch as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    setting = {"grad": False}


class enable_grad(_Mode):
    """Operators in the block are recorded, also inside `no_grad`, but not inside `inference_mode`.

    What is made inside `inference_mode` has no history; `inference_mode(False)` ends it.
    """

    setting = {"grad": True}

    def __enter__(self) -> None:
        super().__enter__()
        state.grad = not state.inference


class set_grad_enabled(_Mode):
    """Record operators, or not; takes effect at once, and is undone at the end of a block."""

    def __new__(cls, mode: bool) -> set_grad_enabled:
        self = object.__new__(cls)
        self._outer = {"grad": state.grad}
        self.setting = {"grad": bool(mode)}
        self.__enter__()
        return self

    def __enter__(self) -> None:
        state.grad = self.setting["grad"] and not state.inference

    def __call__(self, f: Callable) -> Callable:
        state.grad = self._outer["grad"]  # a decorator changes nothing outside of its function
        return super().__call__(f)

    def clone(self) -> _Mode:
        return set_grad_enabled(self.setting["grad"])


class inference_mode(_Mode):
    """As `no_grad`; tensors made inside can take no part in a recorded computation.

    `inference_mode(False)` records operators again, inside `no_grad` too.
    """

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = object.__new__(cls)
        self.setting = {"grad": not mode, "inference": bool(mode)}  # a function is true
        return self(mode) if callable(mode) else self

    def __enter__(self) -> None:
        super().__enter__()
        self._outer["transforms"] = state.transforms
        state.transforms = tuple(t for t in state.transforms if t is not _mark_inference)
        if state.inference:
            state.transforms = (*state.transforms, _mark_inference)


def _mark_inference(op: Callable, inputs: tuple, params: dict) -> Any:
    with outside():
        out = op(*inputs, **params)
    if getattr(op, "is_view", False) and not inputs[0].is_inference():
        return out  # it shares the memory, and the version counter, of a normal tensor
    for t in out if isinstance(out, tuple | list) else (out,):
        if not any(t is x for x in inputs):
            t._inference = True
    return out


def is_grad_enabled() -> bool:
    """Whether operators are recorded now, in this thread."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return state.inference


class outside:
    """Inside the block the innermost transform is not active; for the body of a transform."""

    def __enter__(self) -> None:
        self._transforms = state.transforms
        state.transforms = state.transforms[:-1]

    def __exit__(self, *exc: object) -> None:
        state.transforms = self._transforms


class transform:
    """Inside the block `handler(op, inputs, params)` sees every call of an operator record.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.autograd.mode import transform, outside
        >>> seen = []
        >>> def handler(op, inputs, params):
        ...     seen.append(op.name)
        ...     with outside():
        ...         return op(*inputs, **params)
        >>> with transform(handler):
        ...     y = torch.ones(3).exp()
        >>> "exp" in seen
        True
    """

    def __init__(self, handler: Callable) -> None:
        self.handler = handler

    def __enter__(self) -> None:
        self._outer = state.transforms
        state.transforms = (*self._outer, self.handler)

    def __exit__(self, *exc: object) -> None:
        state.transforms = self._outer
