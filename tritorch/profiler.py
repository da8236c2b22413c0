"""Profiles of programs: what operators take, over all of a block or over some of its steps."""

from __future__ import annotations

import enum
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .autograd.profiler import Recorder, record_function
from .autograd.profiler_events import EventList
from .runtime import memory

__all__ = [
    "DeviceType",
    "ProfilerAction",
    "ProfilerActivity",
    "Row",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What PyTorch's profilers are asked to look at."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class DeviceType(enum.Enum):
    """Where an event ran."""

    CPU = 0
    CUDA = 1


class ProfilerAction(enum.Enum):
    """What happens in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """What can be looked at here."""
    gpu = {ProfilerActivity.CUDA} if memory.available() else set()
    return {ProfilerActivity.CPU} | gpu


def kineto_available() -> bool:
    """Whether PyTorch's library for traces is there: it is not used here."""
    return False


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """A rule for `profile`: cycles of `wait` steps, `warmup` steps and `active` recorded ones.

    `repeat` 0 is without end; `skip_first` steps come before; with `skip_first_wait` the first
    cycle does not wait.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError("Invalid profiler schedule arguments")
    if not warmup:
        warnings.warn(
            "Profiler won't be using warmup, this can skew profiler results", stacklevel=2
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative, got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat and step >= repeat * length:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def tensorboard_trace_handler(
    dir_name: str,
    worker_name: str | None = None,
    use_gzip: bool = False,
    use_python_export: bool = False,
) -> Callable[[Any], None]:
    """An `on_trace_ready` that writes `<dir>/<worker>.<time>.pt.trace.json`."""

    def write(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        end = ".gz" if use_gzip else ""
        file = f"{name}.{time.time_ns()}.pt.trace.json{end}"
        prof.export_chrome_trace(os.path.join(dir_name, file))

    return write


class Row(NamedTuple):
    """One line of `profile.table`; `share` is the part of the time of the whole block."""

    name: str
    calls: int
    seconds: float
    share: float


class profile:
    """Measure the operators, derivatives and named blocks of a block, in this thread.

    `schedule` says for each step, counted by `step()`, whether it is recorded; after a cycle
    `on_trace_ready(profile)` is called. `record_shapes` keeps shapes of inputs, `with_stack` the
    calling lines. On a GPU every operator is waited for, so that its own time counts; activities,
    memory, flops and modules are accepted, and not looked at apart.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.profiler import profile
        >>> x = torch.ones(3, requires_grad=True)
        >>> with profile() as p:
        ...     x.exp().sum().backward()
        >>> sorted(row.name for row in p.rows() if "exp" in row.name)
        ['exp', 'exp backward']
        >>> "exp backward" in p.key_averages().table(sort_by="cpu_time_total")
        True
    """

    def __init__(
        self,
        *,
        activities: Iterable[Any] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None,
    ) -> None:
        self.custom_trace_id_callback = custom_trace_id_callback
        self.activities = set(activities) if activities else supported_activities()
        self.on_trace_ready = on_trace_ready
        self._action_of = schedule
        self._options = record_shapes, with_stack
        self._recorder = Recorder(*self._options)
        self._running = False
        self.step_num = 0
        self._metadata: dict[str, Any] = {}

    # -- steps ----------------------------------------------------------------------------------

    @property
    def current_action(self) -> ProfilerAction:
        """What happens in this step."""
        if self._action_of is None:
            return ProfilerAction.RECORD
        return self._action_of(self.step_num)

    def _follow(self) -> None:
        """Record, or not, as the action of this step says."""
        wanted = self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if wanted and not self._running:
            self._recorder = Recorder(*self._options)
            self._recorder.open()
            self._running = True
        elif not wanted:
            self._pause()
        if wanted and self._action_of is not None:
            self._step_event = self._recorder.begin(f"ProfilerStep#{self.step_num}", user=True)

    def _end_step(self) -> None:
        if self._running and self._action_of is not None:
            self._recorder.end(self._step_event)

    def _pause(self) -> None:
        if self._running:
            self._recorder.close()
            self._running = False

    def start(self) -> None:
        """Begin; a block does it."""
        self._follow()

    def stop(self) -> None:
        """End; a block does it."""
        self._end_step()
        ready = self._running
        self._pause()
        if ready and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """The next step begins."""
        self._end_step()
        saved = self.current_action is ProfilerAction.RECORD_AND_SAVE
        self.step_num += 1
        if saved:
            self._pause()
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        self._follow()

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- results --------------------------------------------------------------------------------

    def events(self) -> EventList:
        """The events, in the order in which they began."""
        return EventList(self._recorder.events)

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The sums over events of one name; `table()` of that shows them."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: Any, use_python_export: bool = False) -> None:
        """Write the events for chrome://tracing and ui.perfetto.dev; gzipped for `.gz`."""
        import gzip
        import json

        from .autograd.profiler_events import trace

        found = {**trace(self._recorder.events), **self._metadata}
        opened: Any = gzip.open if str(path).endswith(".gz") else open
        with opened(path, "wt") as file:
            json.dump(found, file)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write calling lines with a field, for flame graphs; needs `with_stack`."""
        self.events().export_stacks(path, metric)

    def add_metadata(self, key: str, value: str) -> None:
        """Put a string into the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Put a value, given as JSON, into the trace."""
        import json

        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json

    def set_custom_trace_id_callback(self, callback: Callable[[], str]) -> None:
        """What gives the name of a trace."""
        self.custom_trace_id_callback = callback

    def get_trace_id(self) -> str | None:
        """The name of the trace, by the callback; None without one."""
        callback = self.custom_trace_id_callback
        return None if callback is None else callback()

    def toggle_collection_dynamic(self, enable: bool, activities: Iterable[Any]) -> None:
        """Record no more, or again, in the middle of a block, where the CPU is among them."""
        if ProfilerActivity.CPU not in set(activities) or enable == self._running:
            return
        if enable:
            self._recorder.open()
        else:
            self._recorder.close()
        self._running = enable

    def rows(self) -> list[Row]:
        """Names with the time spent in them alone, the slowest first; then what was in none."""
        total = self._recorder.seconds
        whole = total or 1.0
        sums = self.key_averages()
        found = [
            Row(e.key, e.count, e.self_cpu_time_total / 1e6, e.self_cpu_time_total / 1e6 / whole)
            for e in sums
        ]
        found.sort(key=lambda row: -row.seconds)
        rest = total - sum(row.seconds for row in found)
        return [*found, Row("(all else)", 0, rest, rest / whole)]

    def table(self, rows: int = 10) -> str:
        """The slowest names as text, the others summed up."""
        found = self.rows()
        shown, rest = found[:-1][:rows], [*found[:-1][rows:], found[-1]]
        other = Row(
            "(all else)",
            sum(r.calls for r in rest),
            sum(r.seconds for r in rest),
            sum(r.share for r in rest),
        )
        lines = [f"{'operator':28s} {'calls':>7s} {'total ms':>10s} {'us/call':>10s} {'share':>7s}"]
        for row in [*shown, other]:
            each = f"{row.seconds / row.calls * 1e6:10.1f}" if row.calls else " " * 10
            lines.append(
                f"{row.name:28s} {row.calls or '':>7} {row.seconds * 1e3:10.2f} {each} "
                f"{row.share:7.1%}"
            )
        return "\n".join(lines)
