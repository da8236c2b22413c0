"""CUDA graphs: work given to a stream once, noted by the driver, and done again as a whole.

While a graph is captured a device allocates from an arena of the graph's own, since memory of the
pool would be allocated anew by each replay: the same addresses hold the same tensors each time.
"""

# pyright: reportAttributeAccessIssue=false
# (cuda-bindings has no stubs)

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver

from .cuda_memory import CudaMemory, check

if TYPE_CHECKING:
    from .cuda import CudaDevice

CHUNK, STEP = 16 << 20, 512  # bytes


class Arena:
    """Memory that graphs of one pool share: blocks that are free again serve later requests."""

    def __init__(self, device: CudaDevice) -> None:
        self.device = device
        self._stream = device.new_stream()  # one that is never captured
        self._chunks: list[Any] = []
        self._at = self._left = 0
        self._free: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def allocate(self, nbytes: int) -> CudaMemory:
        if nbytes == 0:
            return CudaMemory(None, 0, self.device)
        size = -(-nbytes // STEP) * STEP
        with self._lock:
            free = self._free.get(size)
            ptr = free.pop() if free else self._cut(size)
        return ArenaMemory(ptr, nbytes, self)

    def _cut(self, size: int) -> int:
        if size > self._left:
            whole = max(CHUNK, size)
            buffer = self.device.from_pool(whole, self._stream)
            self._stream.sync()
            self._chunks.append(buffer)
            self._at, self._left = int(buffer.handle), whole
        ptr = self._at
        self._at, self._left = ptr + size, self._left - size
        return ptr

    def release(self, ptr: int, nbytes: int) -> None:
        with self._lock:
            self._free.setdefault(-(-nbytes // STEP) * STEP, []).append(ptr)


class ArenaMemory(CudaMemory):
    """Memory of a graph's arena."""

    __slots__ = ("_arena",)

    def __init__(self, ptr: int, nbytes: int, arena: Arena) -> None:
        super().__init__(None, nbytes, arena.device)
        self.ptr = ptr
        self._arena = arena

    def record_stream(self, stream: Any) -> None:
        """Nothing: the arena keeps its memory."""

    def __del__(self) -> None:
        self._arena.release(self.ptr, self.nbytes)


class Capture:
    """The work that a device is given between `begin` and `end`, and how to do it again."""

    def __init__(self, device: CudaDevice, arena: Arena | None, stream: Any = None) -> None:
        self.device = device
        self.arena = Arena(device) if arena is None else arena
        self.stream = device.new_stream() if stream is None else stream
        self.kept: list[Any] = []  # what the noted work reads
        self._executable: Any = None

    def begin(self) -> None:
        if self.device.capture is not None:
            raise RuntimeError(
                f"CUDAGraph: another graph is being captured on {self.device.device}"
            )
        self.device.synchronize()
        self._block = self.device.use_stream(self.stream)
        self._block.__enter__()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        try:
            check(driver.cuStreamBeginCapture(self.stream.handle, mode))
        except Exception:
            self._block.__exit__(None, None, None)
            raise
        self.device.capture = self
        self.device.allocate = self.arena.allocate  # type: ignore[method-assign]

    def end(self) -> None:
        """Stop noting, and make what was noted ready to run."""
        del self.device.allocate  # the method again
        self.device.capture = None
        self._block.__exit__(None, None, None)
        (graph,) = check(driver.cuStreamEndCapture(self.stream.handle))
        if graph is None or not int(graph):
            raise RuntimeError("CUDAGraph: the capture failed; see the error before this one")
        try:
            (self._executable,) = check(driver.cuGraphInstantiate(graph, 0))
        finally:
            check(driver.cuGraphDestroy(graph))

    def write(self, ptr: int, source: np.ndarray) -> None:
        """Copy host data that stays the same in all replays, now, beside the noted work."""
        stream = self.arena._stream
        address = source.__array_interface__["data"][0]
        check(driver.cuMemcpyHtoDAsync(ptr, address, source.nbytes, stream.handle))
        stream.sync()

    def replay(self) -> None:
        """Give the noted work to the current stream."""
        if self._executable is None:
            raise RuntimeError("CUDAGraph: replay() needs a graph that was captured")
        check(driver.cuGraphLaunch(self._executable, self.device.enter().handle))

    def close(self) -> None:
        """Forget the noted work."""
        executable, self._executable = self._executable, None
        if executable is not None:
            check(driver.cuGraphExecDestroy(executable))
        self.kept.clear()
