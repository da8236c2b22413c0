"""`launch`: the one place through which kernels run.

A launcher gets it as its first argument. Behind it stands an executor: a GPU, Triton's interpreter,
or a compiler that only records what it would have run (`runtime/aot.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from ..dtypes import DType, int64
from .array import Array
from .memory import OutOfMemoryError, Runtime, Target, runtime

R = TypeVar("R", bound=Runtime)


class operator:
    """A block whose launches belong to this operator: errors inside name it.

    `call` is what it was called with, for those who look on: results, inputs, parameters.
    """

    __slots__ = ("_token", "call", "name")

    def __init__(self, name: str, call: tuple[Sequence, Sequence, dict] | None = None) -> None:
        self.name = name
        self.call = call

    def __enter__(self) -> None:
        self._token = _operator.set(self)

    def __exit__(self, *exc: object) -> None:
        _operator.reset(self._token)


_operator: ContextVar[operator] = ContextVar("operator")
_NOBODY = operator("")


def current_operator() -> str:
    """The operator whose launcher runs, or ""."""
    return _operator.get(_NOBODY).name


def current_call() -> operator:
    """The innermost `operator` block, of no name outside of any."""
    return _operator.get(_NOBODY)


class Launch:
    """Runs kernels: `launch(kernel, (programs,), [x, out, n], {"BLOCK": 1024}, num_warps=4)`."""

    __slots__ = ("_executor", "_runtime", "_tables")

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._executor: Callable | None = None
        self._tables: dict[tuple, Array] = {}

    def __call__(
        self,
        kernel: Any,
        grid: tuple[int, ...],
        args: Sequence[Any],
        constants: dict[str, Any],
        num_warps: int = 4,
        num_stages: int = 3,
    ) -> None:
        """Run `kernel` on `grid` (one to three ints; nothing happens where one is 0).

        `args` are the arguments that are not constexpr, in the kernel's order: Arrays as pointers,
        ints, floats (single precision; `np.float64` is double), bools, None. `constants` maps the
        names of the constexpr ones to their values.
        """
        if grid.__class__ is tuple and 0 in grid:
            return
        try:
            (self._executor or self._start())(kernel, grid, args, constants, num_warps, num_stages)
        except OutOfMemoryError:
            raise
        except Exception as error:
            raise LaunchError(_described(error, kernel, grid, args)) from error

    def _start(self) -> Callable:
        self._runtime = runtime()
        self._executor = self._runtime.execute
        return self._executor

    @property
    def runtime(self) -> Runtime:
        """What runs the kernels."""
        if self._runtime is None:
            self._start()
        return self._runtime  # type: ignore[return-value]

    @property
    def started(self) -> bool:
        """Whether a device was asked for anything yet."""
        return self._runtime is not None

    @property
    def target(self) -> Target:
        """The device of which the kernels run."""
        return self.runtime.target()

    def empty(self, shape: Sequence[int], dtype: DType) -> Array:
        """Contiguous scratch memory, uninitialised."""
        return self.runtime.empty(shape, dtype)

    def zeros(self, shape: Sequence[int], dtype: DType) -> Array:
        """Contiguous scratch memory, zeroed."""
        return self.runtime.zeros(shape, dtype)

    def table(self, values: Sequence[int]) -> Array:
        """Integers on the device: addresses and sizes for a kernel over many tensors.

        Kept by content, the last few hundred, since an optimizer asks for the same ones each step.
        """
        key = (id(self.runtime), self.runtime.current_device(), *values)
        found = self._tables.get(key)
        if found is None:
            found = self.empty((len(values),), int64)
            self.runtime.constant(np.array(values, np.int64), found)
            if len(self._tables) >= 256:
                del self._tables[next(iter(self._tables))]
            self._tables[key] = found
        else:
            self.runtime.hold(found)
        return found

    @contextmanager
    def using(self, other: R) -> Iterator[R]:
        """A block in which kernels run on another runtime."""
        before = self._runtime, self._executor
        self._runtime, self._executor = other, other.execute
        try:
            yield other
        finally:
            self._runtime, self._executor = before


class LaunchError(RuntimeError):
    """A kernel could not be compiled or launched; the message names the operator and the kernel."""


def _described(error: Exception, kernel: Any, grid: tuple, args: Sequence) -> str:
    who = current_operator() or "launch"
    name = getattr(kernel, "__name__", repr(kernel))
    given = ", ".join(
        f"{a.shape} {a.dtype.name}" if isinstance(a, Array) else repr(a) for a in args
    )
    return f"{who}: kernel {name}, grid {grid}, of {given}: {type(error).__name__}: {error}"


launch = Launch()
