"""Events of a profile: single ones, sums over those of one name, their table, their trace."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]


class Interval(NamedTuple):
    """When something began and ended, in microseconds."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        return self.end - self.start


def _shown(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _older(name: str, now: str) -> property:
    """A field under a name that PyTorch has deprecated."""

    def get(self: Any) -> Any:
        warnings.warn(f"`{name}` is deprecated, please use `{now}` instead.", FutureWarning, 2)
        return getattr(self, now)

    return property(get)


class _Times:
    """What single events and their sums have in common: totals over `count` calls."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    cpu_memory_usage: int
    self_cpu_memory_usage: int
    device_time_total = self_device_time_total = device_time = 0.0
    device_memory_usage = self_device_memory_usage = 0
    flops: int

    @property
    def cpu_time(self) -> float:
        """The mean of a call, in microseconds."""
        return self.cpu_time_total / self.count if self.count else 0.0

    cuda_time = _older("cuda_time", "device_time")
    cuda_time_total = _older("cuda_time_total", "device_time_total")
    self_cuda_time_total = _older("self_cuda_time_total", "self_device_time_total")
    self_cuda_memory_usage = _older("self_cuda_memory_usage", "self_device_memory_usage")

    @property
    def device_time_total_str(self) -> str:
        return _shown(self.device_time_total)

    @property
    def self_device_time_total_str(self) -> str:
        return _shown(self.self_device_time_total)

    @property
    def cpu_time_str(self) -> str:
        return _shown(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        return _shown(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        return _shown(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """One call of an operator, of a derivative, or one block of `record_function`."""

    count = 1
    flops = 0

    def __init__(
        self,
        id: int,
        name: str,
        thread: int,
        start_us: float,
        end_us: float,
        input_shapes: Sequence | None = None,
        stack: Sequence[str] | None = None,
        is_user_annotation: bool = False,
    ) -> None:
        self.id, self.name, self.key, self.thread = id, name, name, thread
        self.time_range = Interval(start_us, end_us)
        self.input_shapes = list(input_shapes or ())
        self.stack = list(stack or ())
        self.is_user_annotation = is_user_annotation
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_memory_usage = 0

    def append_cpu_child(self, child: FunctionEvent) -> None:
        """Take an event that ran inside this one."""
        child.cpu_parent = self
        self.cpu_children.append(child)

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:  # type: ignore[override]
        return self.cpu_time_total - sum(c.cpu_time_total for c in self.cpu_children)

    @property
    def self_cpu_memory_usage(self) -> int:  # type: ignore[override]
        return self.cpu_memory_usage - sum(c.cpu_memory_usage for c in self.cpu_children)

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"thread={self.thread} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(_Times):
    """The sums over the events of one name."""

    def __init__(self, key: str = "") -> None:
        self.key, self.count, self.flops = key, 0, 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.input_shapes: list = []
        self.stack: list[str] = []
        self.is_user_annotation = False

    def add(self, other: Any) -> FunctionEventAvg:
        """Add an event, or sums of the same name."""
        if not self.count:
            self.key = self.key or other.key
            self.input_shapes, self.stack = other.input_shapes, other.stack
            self.is_user_annotation = other.is_user_annotation
        self.count += other.count
        self.flops += other.flops
        for field in ("cpu_time_total", "self_cpu_time_total"):
            setattr(self, field, getattr(self, field) + getattr(other, field))
        for field in ("cpu_memory_usage", "self_cpu_memory_usage"):
            setattr(self, field, getattr(self, field) + getattr(other, field))
        return self

    __iadd__ = add

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} count={self.count}>"
        )


SORTS: dict[str, Callable[[Any], Any]] = {
    "cpu_time": lambda e: e.cpu_time,
    "cpu_time_total": lambda e: e.cpu_time_total,
    "self_cpu_time_total": lambda e: e.self_cpu_time_total,
    "cpu_memory_usage": lambda e: e.cpu_memory_usage,
    "self_cpu_memory_usage": lambda e: e.self_cpu_memory_usage,
    "count": lambda e: e.count,
}
COLUMNS: tuple[tuple[str, Callable[[Any, float], str]], ...] = (
    ("Self CPU %", lambda e, whole: f"{100 * e.self_cpu_time_total / whole:.2f}%"),
    ("Self CPU", lambda e, whole: e.self_cpu_time_total_str),
    ("CPU total %", lambda e, whole: f"{100 * e.cpu_time_total / whole:.2f}%"),
    ("CPU total", lambda e, whole: e.cpu_time_total_str),
    ("CPU time avg", lambda e, whole: e.cpu_time_str),
    ("# of Calls", lambda e, whole: str(e.count)),
)


class EventList(list):
    """Events, or their sums: a list that can be summed up, shown and written."""

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all events without that of those inside of them, in microseconds."""
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """The sums over events of one name, and one set of shapes, or lines, if asked."""
        sums: dict[Any, FunctionEventAvg] = {}
        for e in self:
            shapes = str(e.input_shapes) if group_by_input_shapes else ""
            key = e.key, shapes, tuple(e.stack[:group_by_stack_n])
            sums.setdefault(key, FunctionEventAvg()).add(e)
        return EventList(sums.values())

    def total_average(self) -> FunctionEventAvg:
        """The sum over all events."""
        total = FunctionEventAvg("Total")
        for e in self:
            total.add(e)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """The events as text, one a line, sorted by a field such as "cpu_time_total"."""
        events = [
            e for e in self if not top_level_events_only or getattr(e, "cpu_parent", None) is None
        ]
        if sort_by is not None:
            sort_by = sort_by.replace("cuda", "cpu").replace("device", "cpu")
            if sort_by not in SORTS:
                raise ValueError(
                    f"table: sort_by must be one of {', '.join(SORTS)}, got {sort_by!r}"
                )
            events.sort(key=SORTS[sort_by], reverse=True)
        events = events[:row_limit] if row_limit >= 0 else events
        whole = self.self_cpu_time_total or 1.0
        columns: list[tuple[str, Callable[[Any, float], str]]] = list(COLUMNS)
        if any(e.input_shapes for e in events):
            columns.append(
                ("Input Shapes", lambda e, _: str(e.input_shapes)[:max_shapes_column_width])
            )
        if any(e.stack for e in events):
            columns.append(
                ("Source Location", lambda e, _: (e.stack or [""])[0][:max_src_column_width])
            )
        names = [e.key[:max_name_column_width] for e in events]
        rows = [
            [name, *(text(e, whole) for _, text in columns)]
            for name, e in zip(names, events, strict=True)
        ]
        return _laid_out(["Name", *(title for title, _ in columns)], rows, header) + (
            f"Self CPU time total: {_shown(self.self_cpu_time_total)}\n"
        )

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Write the events for chrome://tracing and ui.perfetto.dev."""
        with open(path, "w") as file:
            json.dump(trace(self), file)

    def export_stacks(self, path: str | os.PathLike, metric: str) -> None:
        """Write the events' calling lines with a field, as flame graphs take them."""
        if metric not in SORTS:
            raise ValueError(f"export_stacks: metric should be one of: {', '.join(SORTS)}")
        with open(path, "w") as file:
            for e in self:
                if e.stack:
                    lines = [line.replace(" ", "_").replace(";", ",") for line in e.stack]
                    file.write(f"{';'.join(reversed(lines))} {int(SORTS[metric](e))}\n")

    def __str__(self) -> str:
        return self.table()


def trace(events: Sequence[FunctionEvent]) -> dict[str, Any]:
    """The events in Chrome's trace format."""
    pid = os.getpid()
    rows: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": "python"}}
    ]
    for e in events:
        args: dict[str, Any] = {"External id": e.id}
        if e.input_shapes:
            args["Input Dims"] = e.input_shapes
        if e.stack:
            args["Call stack"] = ";".join(e.stack)
        rows.append(
            {
                "ph": "X",
                "cat": "user_annotation" if e.is_user_annotation else "cpu_op",
                "name": e.name,
                "pid": pid,
                "tid": e.thread,
                "ts": e.time_range.start,
                "dur": e.cpu_time_total,
                "args": args,
            }
        )
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": rows}


def _laid_out(titles: list[str], rows: list[list[str]], header: str | None) -> str:
    """Columns under their titles: the first to the left, the others to the right."""
    widths = [
        max(12, len(title), *(len(row[i]) for row in rows)) if rows else max(12, len(title))
        for i, title in enumerate(titles)
    ]
    line = "  ".join("-" * w for w in widths)

    def put(cells: list[str]) -> str:
        first, *others = (
            c.ljust(w) if not i else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others])

    above = [] if header is None else ["=" * len(line), header]
    return "\n".join([*above, line, put(titles), line, *map(put, rows), line]) + "\n"


def thread_id() -> int:
    """The number of this thread in traces."""
    return threading.get_native_id()
