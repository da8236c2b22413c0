"""Where the time goes: what operators, their derivatives and named blocks take.

Operators are seen by a transform, their derivatives by a watch on the tape's nodes. Outside of a
profile nothing is measured and nothing costs time.
"""

from __future__ import annotations

import functools
import linecache
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from .mode import outside, profiles, transform
from .node import OpNode
from .profiler_events import EventList, FunctionEvent, thread_id

__all__ = ["EventList", "FunctionEvent", "emit_itt", "emit_nvtx", "profile", "record_function"]

_PACKAGE = __name__.partition(".")[0] + "."


class Recorder:
    """Collects events while it is open, in the thread that opened it.

    On a GPU every operator is waited for, so that its own time counts.
    """

    def __init__(self, record_shapes: bool = False, with_stack: bool = False) -> None:
        self.record_shapes, self.with_stack = record_shapes, with_stack
        self.events: list[FunctionEvent] = []
        self.seconds = 0.0
        self._open: list[FunctionEvent] = []
        self._transform = transform(self._operator)

    def open(self) -> None:
        """Begin to see operators and derivatives."""
        self._thread = thread_id()
        self._node_backward = OpNode.backward
        OpNode.backward = _timed_backward(self, OpNode.backward)  # type: ignore[method-assign]
        self._transform.__enter__()
        profiles.append(self)
        self._start = time.perf_counter()

    def close(self) -> None:
        """Stop."""
        self.seconds += time.perf_counter() - self._start
        profiles.remove(self)
        self._transform.__exit__()
        OpNode.backward = self._node_backward  # type: ignore[method-assign]

    def _operator(self, op: Any, inputs: Sequence, params: dict) -> Any:
        with outside():
            event = self.begin(op.name, inputs)
            try:
                result = op(*inputs, **params)
                _wait_for(result)
            finally:
                self.end(event)
            return result

    def begin(self, name: str, inputs: Sequence = (), user: bool = False) -> FunctionEvent:
        """An event that begins now, inside the one that is open."""
        shapes = [list(x.shape) if isinstance(x, Tensor) else [] for x in inputs]
        event = FunctionEvent(
            len(self.events),
            name,
            self._thread,
            0.0,
            0.0,
            shapes if self.record_shapes else None,
            _stack() if self.with_stack else None,
            user,
        )
        if self._open:
            self._open[-1].append_cpu_child(event)
        self.events.append(event)
        self._open.append(event)
        event.time_range = event.time_range._replace(start=time.perf_counter() * 1e6)
        return event

    def end(self, event: FunctionEvent) -> None:
        """The event ends now."""
        event.time_range = event.time_range._replace(end=time.perf_counter() * 1e6)
        self._open.remove(event)


def _stack(depth: int = 10) -> list[str]:
    """The user's lines, the innermost first."""
    frame: Any = sys._getframe(1)
    lines: list[str] = []
    while frame is not None and len(lines) < depth:
        if not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            code = frame.f_code
            text = linecache.getline(code.co_filename, frame.f_lineno).strip()
            lines.append(f"{code.co_filename}({frame.f_lineno}): {code.co_name}: {text}")
        frame = frame.f_back
    return lines


def _timed_backward(owner: Recorder, backward: Callable) -> Callable:
    @functools.wraps(backward)
    def timed(self: OpNode, grads: list, needs: list[bool]) -> Any:
        if thread_id() != owner._thread:  # the class is watched, in all threads
            return backward(self, grads, needs)
        event = owner.begin(f"{self.op.name} backward", grads)
        try:
            result = backward(self, grads, needs)
            _wait_for(result)
        finally:
            owner.end(event)
        return result

    return timed


def _wait_for(result: Any) -> None:
    """Let a GPU finish what the operator has started."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    if isinstance(first, Tensor) and first.is_cuda:
        from ..runtime import memory

        memory.runtime().synchronize(first.device.index)


class record_function:
    """A block, or a decorated function, with an event of its own in the profile that is running.

    Operators inside are its children.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._entered: list[tuple[Recorder, FunctionEvent] | None] = []

    def __enter__(self) -> record_function:
        if profiles:
            self._entered.append((profiles[-1], profiles[-1].begin(self.name, user=True)))
        else:
            self._entered.append(None)
        return self

    def __exit__(self, *exc: object) -> None:
        entered = self._entered.pop()
        if entered is not None:
            entered[0].end(entered[1])

    def __call__(self, f: Callable) -> Callable:
        @functools.wraps(f)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return f(*args, **kwargs)

        return inside


class profile:
    """PyTorch's older profiler: the events of a block; `tritorch.profiler.profile` is the newer.

    Example:
        >>> import tritorch as torch
        >>> with torch.autograd.profiler.profile(record_shapes=True) as p:
        ...     y = torch.ones(2, 3).exp()
        >>> [(e.name, e.input_shapes) for e in p.function_events if e.name == "exp"]
        [('exp', [[2, 3]])]
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        experimental_config: Any = None,
        acc_events: bool = False,
        custom_trace_id_callback: Callable | None = None,
    ) -> None:
        self.enabled = enabled
        self.recorder = Recorder(record_shapes, with_stack)

    def __enter__(self) -> profile:
        if self.enabled:
            self.recorder.open()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            self.recorder.close()

    @property
    def function_events(self) -> EventList:
        """The events, in the order in which they began."""
        return EventList(self.recorder.events)

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """The sums over events of one name."""
        return self.function_events.key_averages(group_by_input_shape, group_by_stack_n)

    def total_average(self) -> Any:
        """The sum over all events."""
        return self.function_events.total_average()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """The events as text."""
        return self.function_events.table(sort_by, row_limit, **options)

    def export_chrome_trace(self, path: Any) -> None:
        """Write the events for chrome://tracing."""
        self.function_events.export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """The time in all operators, in microseconds."""
        return self.function_events.self_cpu_time_total

    def __str__(self) -> str:
        return self.table()


class emit_nvtx:
    """Marks operators of the block for NVIDIA's profilers, through the package nvtx."""

    package = "nvtx"

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled, self.record_shapes = enabled, record_shapes

    def _ranges(self) -> tuple[Callable, Callable]:
        try:
            import nvtx
        except ImportError as error:
            raise RuntimeError("emit_nvtx needs the package nvtx: pip install nvtx") from error
        return nvtx.push_range, nvtx.pop_range

    def _marked(self, op: Any, inputs: Sequence, params: dict) -> Any:
        shapes = [list(x.shape) for x in inputs if isinstance(x, Tensor)]
        self._push(f"{op.name}, sizes = {shapes}" if self.record_shapes else op.name)
        try:
            with outside():
                return op(*inputs, **params)
        finally:
            self._pop()

    def __enter__(self) -> emit_nvtx:
        if self.enabled:
            self._push, self._pop = self._ranges()
            self._transform = transform(self._marked)
            self._transform.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            self._transform.__exit__()


class emit_itt(emit_nvtx):
    """Marks operators of the block for Intel's profilers, through the package ittapi."""

    def _ranges(self) -> tuple[Callable, Callable]:
        try:
            import ittapi
        except ImportError as error:
            raise RuntimeError("emit_itt needs the package ittapi: pip install ittapi") from error
        domain = ittapi.domain("tritorch")
        return (lambda name: ittapi.task_begin(domain, name)), (lambda: ittapi.task_end(domain))
