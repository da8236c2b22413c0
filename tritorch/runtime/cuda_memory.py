"""CUDA memory: blocks of the pool, pinned host memory, and what to say when there is none left."""

# pyright: reportAttributeAccessIssue=false
# (cuda-bindings has no stubs)

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from cuda.bindings import driver

from ..device import device
from .array import Array
from .launch import current_operator
from .memory import Memory, OutOfMemoryError

if TYPE_CHECKING:
    from .cuda import CudaDevice

STAGED = 64 * 1024  # arrays up to this many bytes are copied in through pinned memory, unwaited
STAGING = 1 << 20


class CudaMemory(Memory):
    """Memory of the pool; `owner` is its CudaDevice. The driver frees it with its buffer."""

    __slots__ = ("_buffer", "_streams", "owner")

    def __init__(self, buffer: Any, nbytes: int, owner: CudaDevice) -> None:
        self.ptr = 0 if buffer is None else int(buffer.handle)
        self.nbytes = nbytes
        self.device = owner.device
        self.owner = owner
        self._buffer: Any = buffer

    def record_stream(self, stream: Any) -> None:
        """Keep the memory from reuse until what `stream` has been given is done."""
        if self.__class__ is CudaMemory:
            # Most memory is never shared, and __del__ would cost each of them.
            self.__class__ = SharedCudaMemory  # type: ignore[assignment]
            self._streams = {self.owner.stream}
        self._streams.add(stream)


class SharedCudaMemory(CudaMemory):
    """CudaMemory in use on several streams: the one that frees it waits for the others."""

    __slots__ = ()

    def __del__(self) -> None:
        for stream in self._streams:
            self.owner.main_stream.wait(stream)
        self._buffer.close(self.owner.main_stream)


class BorrowedCudaMemory(CudaMemory):
    """Device memory of another library, which is told when nothing here uses it any more."""

    __slots__ = ("_release",)

    def __init__(self, ptr: int, nbytes: int, owner: CudaDevice, release: Callable) -> None:
        super().__init__(None, nbytes, owner)
        self.ptr = ptr
        self._release = release

    def record_stream(self, stream: Any) -> None:
        """Nothing: the other library decides when its memory is used again."""

    def __del__(self) -> None:
        self.owner.stream.sync()
        self._release()


class LimitedPool:
    """A pool of which no more than `limit` bytes may be in use at a time."""

    def __init__(self, pool: Any, limit: int) -> None:
        self._pool = pool
        self.limit = limit
        self.handle, self.attributes = pool.handle, pool.attributes

    def allocate(self, nbytes: int, *, stream: Any) -> Any:
        if self.attributes.used_mem_current + nbytes > self.limit:
            raise OutOfMemoryError(f"{size(self.limit)} may be in use")
        return self._pool.allocate(nbytes, stream=stream)


def check(result: tuple) -> tuple:
    """The values of a driver call; RuntimeError where it failed."""
    status, *values = result
    if int(status):
        _, text = driver.cuGetErrorString(status)
        text = text.decode() if text else "unknown error"
        kind = OutOfMemoryError if "OUT_OF_MEMORY" in status.name else RuntimeError
        raise kind(f"CUDA error {status.name}: {text}")
    return tuple(values)


# -- pinned host memory ----------------------------------------------------------------------------


class PinnedStats:
    """Page-locked memory in use: blocks and bytes, now, at most, taken and given back so far."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a collection inside of it may free memory
        self.now, self.peak, self.taken, self.freed = ([0, 0] for _ in range(4))

    def take(self, nbytes: int) -> None:
        with self._lock:
            for i, n in enumerate((1, nbytes)):
                self.now[i] += n
                self.taken[i] += n
                self.peak[i] = max(self.peak[i], self.now[i])

    def free(self, nbytes: int) -> None:
        with self._lock:
            for i, n in enumerate((1, nbytes)):
                self.now[i] -= n
                self.freed[i] += n

    def reset_peak(self) -> None:
        with self._lock:
            self.peak = list(self.now)

    def reset_counts(self) -> None:
        """Begin what was taken and given back anew."""
        with self._lock:
            self.taken, self.freed = [0, 0], [0, 0]


PINNED = PinnedStats()


class _Pinned:
    """Page-locked memory lent to NumPy; it is freed with the last array on it."""

    __slots__ = ("__array_interface__", "_address", "_nbytes")

    def __init__(self, nbytes: int) -> None:
        self._nbytes = max(nbytes, 1)
        (self._address,) = check(driver.cuMemAllocHost(self._nbytes))
        PINNED.take(self._nbytes)
        self.__array_interface__ = {
            "data": (int(self._address), False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        driver.cuMemFreeHost(self._address)
        PINNED.free(self._nbytes)


def pinned_empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """A host array in page-locked memory, from which the device copies at full speed."""
    nbytes = math.prod(shape) * dtype.itemsize
    return np.asarray(_Pinned(nbytes)).view(dtype).reshape(shape)


def is_pinned(array: np.ndarray) -> bool:
    """Whether a host array lies in page-locked memory."""
    address = array.__array_interface__["data"][0]
    kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
    status, found = driver.cuPointerGetAttribute(kind, address)
    return not int(status) and int(found) == int(driver.CUmemorytype.CU_MEMORYTYPE_HOST)


class Staging:
    """A ring of pinned memory: what is copied through it need not be waited for."""

    def __init__(self, owner: CudaDevice) -> None:
        self._owner = owner
        self._ring = pinned_empty((STAGING,), np.dtype(np.uint8))
        self._start = self._ring.__array_interface__["data"][0]
        self._used = 0
        self._lock = threading.Lock()
        self._in_flight: list[tuple[Any, np.ndarray]] = []

    def write_pinned(self, ptr: int, source: np.ndarray) -> None:
        """Copy pinned memory in, unwaited; it is kept until that is done."""
        stream, event = self._owner.stream, self._owner.new_event()
        address = source.__array_interface__["data"][0]
        check(driver.cuMemcpyHtoDAsync(ptr, address, source.nbytes, stream.handle))
        stream.record(event)
        with self._lock:
            self._in_flight = [kept for kept in self._in_flight if not kept[0].is_done]
            self._in_flight.append((event, source))

    def write(self, ptr: int, source: np.ndarray) -> None:
        n = source.nbytes
        with self._lock:
            if self._used + n > STAGING:
                self._owner.synchronize()
                self._used = 0
            at = self._used
            self._used += (n + 63) // 64 * 64
            self._ring[at : at + n] = source.reshape(-1).view(np.uint8)
            stream = self._owner.stream
            check(driver.cuMemcpyHtoDAsync(ptr, self._start + at, n, stream.handle))


# -- out of memory -------------------------------------------------------------------------------


def is_out_of_memory(error: Exception) -> bool:
    """Whether cuda-core's pool had nothing to give; its versions say so differently."""
    said = str(error)
    return (
        isinstance(error, OutOfMemoryError)
        or "OUT_OF_MEMORY" in said
        or "Failed to allocate" in said
    )


def shortage(owner: CudaDevice, nbytes: int) -> str:
    """What to tell whoever asked for `nbytes` that are not there."""
    stats, (free, total) = owner.memory_stats(), owner.memory_info()
    name = current_operator()
    limit = f" of the {size(int(total * owner.fraction))} allowed" if owner.fraction < 1 else ""
    return (
        f"{name + ': ' if name else ''}CUDA out of memory on {owner.device}: {size(nbytes)} were "
        f"asked for; of {size(total)}, {size(stats['allocated'])}{limit} are in use by arrays, "
        f"{size(stats['reserved'])} reserved by the pool and {size(free)} free. Largest live "
        f"arrays: {'; '.join(largest_arrays(owner.device)) or 'none'}"
    )


def size(nbytes: int) -> str:
    """A number of bytes for people: `1.50 GiB`."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << bits:
            return f"{nbytes / (1 << bits):.2f} {unit}"
    return f"{nbytes} bytes"


def largest_arrays(where: device, count: int = 5) -> list[str]:
    """The largest live allocations of a device, each by the biggest array on it."""
    found: dict[int, Array] = {}
    for a in gc.get_objects():
        if type(a) is Array and a.memory.device == where:  # `__class__` may be a property
            known = found.get(id(a.memory))
            if known is None or a.size > known.size:
                found[id(a.memory)] = a
    order = sorted(found.values(), key=lambda a: -a.memory.nbytes)[:count]
    return [f"{a.shape} {a.dtype.name}, {size(a.memory.nbytes)}" for a in order]
