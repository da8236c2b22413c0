"""Streams and events: queues of work on a CUDA device, and marks in them."""

from __future__ import annotations

from typing import Any

from ..device import device as Device
from ..runtime import memory

Where = Device | str | int | None


def owner_of(what: str, device: Where = None) -> Any:
    """The CUDA device behind what the caller named; RuntimeError where there is none."""
    runtime = memory.runtime()
    if not hasattr(runtime, "device"):
        raise RuntimeError(f"cuda.{what}: needs a CUDA device; kernels run in the interpreter")
    index = device if device is None or isinstance(device, int) else Device(device).index
    return runtime.device(index)  # type: ignore[attr-defined]


class Stream:
    """A queue of work beside the default one; `with torch.cuda.stream(s):` fills it.

    `priority` below 0 goes before others.
    """

    def __init__(self, device: Where = None, priority: int = 0, *, handle: Any = None) -> None:
        self.owner = owner_of("Stream", device)
        self.handle = self.owner.new_stream(priority) if handle is None else handle

    @property
    def device(self) -> Device:
        return self.owner.device

    @property
    def cuda_stream(self) -> int:
        """The address of the driver's stream."""
        return int(self.handle.handle)

    @property
    def priority(self) -> int:
        return self.handle.priority

    def synchronize(self) -> None:
        """Wait until the stream has done all its work."""
        self.handle.sync()

    def query(self) -> bool:
        """Whether all its work is done."""
        return self.record_event().query()

    def record_event(self, event: Event | None = None) -> Event:
        """Put a mark behind what the stream has been given so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What the stream is given from now on waits for the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What the stream is given from now on waits for all that the other has been given."""
        self.handle.wait(stream.handle)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def __repr__(self) -> str:
        return f"<tritorch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> Stream:
        self._block = StreamContext(self)
        self._block.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._block.__exit__(*exc)


class ExternalStream(Stream):
    """A stream that another library made, by its address; it must live as long as this is used.

    Example:
        >>> import tritorch as torch
        >>> def on_theirs(address, work):
        ...     with torch.cuda.stream(torch.cuda.ExternalStream(address)):
        ...         work()
    """

    def __init__(self, stream_ptr: int, device: Where = None) -> None:
        owner = owner_of("ExternalStream", device)
        super().__init__(owner.index, handle=owner.foreign_stream(stream_ptr))


def get_stream_from_external(data_ptr: int, device: Where = None) -> Stream:
    """`ExternalStream` as a function."""
    return ExternalStream(data_ptr, device)


class Event:
    """A mark in a stream: wait for it, ask whether it has passed, take the time between two.

    Example:
        >>> import tritorch as torch
        >>> def milliseconds(work):
        ...     start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        ...     start.record()
        ...     work()
        ...     end.record()
        ...     end.synchronize()
        ...     return start.elapsed_time(end)
    """

    def __init__(
        self,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
        external: bool = False,
    ) -> None:
        if interprocess or external:
            raise NotImplementedError(
                "cuda.Event: events are not shared between processes, nor with graphs"
            )
        owner_of("Event")
        self.enable_timing = enable_timing
        self.handle: Any = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark into a stream; the current one where none is given."""
        owner = owner_of("Event") if stream is None else stream.owner
        if self.handle is None:
            self.handle = owner.new_event(self.enable_timing)
        (owner.stream if stream is None else stream.handle).record(self.handle)

    def wait(self, stream: Stream | None = None) -> None:
        """What the stream is given from now on waits for the event."""
        if self.handle is not None:
            (owner_of("Event").stream if stream is None else stream.handle).wait(self.handle)

    def query(self) -> bool:
        """Whether the work before the mark is done; True where it was never recorded."""
        return self.handle is None or self.handle.is_done

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        if self.handle is not None:
            self.handle.sync()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one, both made with `enable_timing=True`."""
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError(
                "cuda.Event.elapsed_time: both events must be created with enable_timing=True"
            )
        if self.handle is None or end_event.handle is None:
            raise ValueError("cuda.Event.elapsed_time: both events must be recorded")
        return float(end_event.handle - self.handle)


class StreamContext:
    """A block whose work goes to a stream; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> Stream | None:
        if self.stream is not None:
            self._block = self.stream.owner.use_stream(self.stream.handle)
            self._block.__enter__()
        return self.stream

    def __exit__(self, *exc: object) -> None:
        if self.stream is not None:
            self._block.__exit__(*exc)


def stream(stream: Stream | None) -> StreamContext:
    """`with torch.cuda.stream(s):` gives the work of the block to a stream."""
    return StreamContext(stream)


def current_stream(device: Where = None) -> Stream:
    """The stream that the calling thread's work goes to."""
    owner = owner_of("current_stream", device)
    return Stream(owner.index, handle=owner.stream)


def default_stream(device: Where = None) -> Stream:
    """The stream that work goes to where none is chosen; a created one, for graphs capture it."""
    owner = owner_of("default_stream", device)
    return Stream(owner.index, handle=owner.main_stream)


def set_stream(stream: Stream | None) -> None:
    """Give the calling thread's work to a stream from now on."""
    if stream is not None:
        stream.owner._per_thread.stream = stream.handle
