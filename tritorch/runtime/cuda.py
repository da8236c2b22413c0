"""CUDA through cuda-core: devices, streams, memory from a stream-ordered pool, copies, events.

Each thread has a current device, and for each device a current stream; the first one is a created,
non-default stream, so that its work can be captured into graphs. Memory is returned to the pool in
the order of the stream that it was allocated on: `record_stream` says that another one uses it too.
"""

# pyright: reportAttributeAccessIssue=false
# (cuda-bindings has no stubs)

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from cuda.bindings import driver
from cuda.core import (
    Device,
    DeviceMemoryResource,
    DeviceMemoryResourceOptions,
    EventOptions,
    LaunchConfig,
    ObjectCode,
    Stream,
    StreamOptions,
    launch as submit,
)

from ..device import device
from . import tuned
from .array import Array
from .compiled import Executor
from .cuda_memory import (
    PINNED,
    STAGED,
    BorrowedCudaMemory,
    CudaMemory,
    LimitedPool,
    PinnedStats,
    Staging,
    check,
    is_out_of_memory,
    is_pinned,
    pinned_empty,
    shortage,
)
from .memory import OutOfMemoryError, Runtime, Target, poison_wanted

HINT = (
    ". Something given to the device earlier failed; CUDA_LAUNCH_BLOCKING=1 shows at which launch"
)
DEFAULT_SHARED = 48 * 1024  # what a kernel may use without asking


class Properties(NamedTuple):
    """What a device is; the names are PyTorch's."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    shared_memory_per_block_optin: int
    max_threads_per_multi_processor: int
    L2_cache_size: int
    warp_size: int


class _PerThread(threading.local):
    """The stream that a thread uses on a device; with the first use its context becomes current."""

    def __init__(self, index: int, stream: Any) -> None:
        Device(index).set_current()
        self.stream = stream


class CudaDevice:
    """One GPU: its stream, pool and loaded kernels."""

    def __init__(self, index: int, alone: bool) -> None:
        self.index = index
        self._alone = alone
        self.device = device("cuda", index)
        core = Device(index)
        core.set_current()
        self.main_stream = core.create_stream(options=StreamOptions(nonblocking=True))
        self._per_thread = _PerThread(index, self.main_stream)
        self._whole_pool = DeviceMemoryResource(index, options=DeviceMemoryResourceOptions())
        self._pool: Any = self._whole_pool
        self.fraction = 1.0  # of the device's memory that may be in use
        attribute = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self._set_pool(attribute, (1 << 64) - 1)  # else each synchronisation empties the pool
        self.properties = _properties(core)
        self._target = _target(self.properties)
        self.submit: Callable[..., None] = submit
        self.executor = Executor(self, submit)
        self.replays: dict[tuple, Any] | None = None if blocking() else {}
        self.poisoned = poison_wanted()
        self._staging: Staging | None = None
        self.capture: Any = None  # the graph that notes what this device is given
        self.retries = self.shortages = 0

    # -- streams and events --------------------------------------------------------------------

    @property
    def stream(self) -> Any:
        """The stream on which this thread launches, allocates and copies."""
        return self._per_thread.stream

    @contextmanager
    def use_stream(self, stream: Any) -> Iterator[Any]:
        """A block in which this thread works on another stream."""
        before, self._per_thread.stream = self._per_thread.stream, stream
        try:
            yield stream
        finally:
            self._per_thread.stream = before

    def new_stream(self, priority: int | None = None) -> Any:
        """A stream beside the current one; a lower `priority` goes first."""
        self.enter()
        options = StreamOptions(nonblocking=True, priority=priority)
        return Device(self.index).create_stream(options=options)

    def foreign_stream(self, address: int) -> Any:
        """A stream that another library made and keeps."""
        self.enter()
        return Stream.from_handle(address)

    def new_event(self, timing: bool = False) -> Any:
        """An event: `stream.record(event)`, `event.sync()`, `later - earlier` in milliseconds."""
        self.enter()
        return Device(self.index).create_event(options=EventOptions(timing_enabled=timing))

    def enter(self) -> Any:
        """Make this device's context the calling thread's; the stream that it uses here."""
        stream = self._per_thread.stream  # the first time in a thread sets the context
        if not self._alone:
            Device(self.index).set_current()
        return stream

    def synchronize(self) -> None:
        self.enter()
        self._check_not_captured("waiting for the device")
        try:
            check(driver.cuCtxSynchronize())
        except RuntimeError as error:
            raise RuntimeError(f"{error}{HINT}") from error

    def _check_not_captured(self, what: str) -> None:
        if self.capture is not None:
            raise RuntimeError(
                f"CUDAGraph: {what} cannot be part of a graph; do it before the capture, or after"
            )

    # -- memory --------------------------------------------------------------------------------

    def from_pool(self, nbytes: int, stream: Any) -> Any:
        """A buffer of the pool, allocated in the order of a stream."""
        return self._pool.allocate(nbytes, stream=stream)

    def allocate(self, nbytes: int) -> CudaMemory:
        if nbytes == 0:
            return CudaMemory(None, 0, self)
        try:
            buffer = self._pool.allocate(nbytes, stream=self._per_thread.stream)
        except Exception as error:
            buffer = self._allocate_again(nbytes, error)
        return CudaMemory(buffer, nbytes, self)

    def _allocate_again(self, nbytes: int, error: Exception) -> Any:
        """Once more, after everything that can be given back has been."""
        if not is_out_of_memory(error):
            raise RuntimeError(f"{self.device}: {error}") from error
        gc.collect()
        self.retries += 1
        self.trim()
        try:
            return self._pool.allocate(nbytes, stream=self._per_thread.stream)
        except Exception as again:
            if not is_out_of_memory(again):
                raise RuntimeError(f"{self.device}: {again}") from again
            self.shortages += 1
            raise OutOfMemoryError(shortage(self, nbytes)) from None

    def memory_stats(self) -> dict[str, int]:
        a = self._pool.attributes
        return {
            "allocated": a.used_mem_current,
            "peak": a.used_mem_high,
            "reserved": a.reserved_mem_current,
            "reserved_peak": a.reserved_mem_high,
            "retries": self.retries,
            "shortages": self.shortages,
        }

    def limit_memory(self, fraction: float) -> None:
        """Refuse allocations with which more than this part of the memory would be in use."""
        self.fraction = fraction
        limit = int(self.properties.total_memory * fraction)
        self._pool = LimitedPool(self._whole_pool, limit) if fraction < 1 else self._whole_pool

    def reset_counts(self) -> None:
        """Begin `retries` and `shortages` anew."""
        self.retries = self.shortages = 0

    def reset_peak(self) -> None:
        """Begin `peak` and `reserved_peak` anew."""
        names = driver.CUmemPool_attribute
        self._set_pool(names.CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)
        self._set_pool(names.CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, 0)

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes of the device, as the driver sees them."""
        self.enter()
        free, total = check(driver.cuMemGetInfo())
        return int(free), int(total)

    def trim(self) -> None:
        """Give what the pool holds unused back to the driver."""
        self.synchronize()
        check(driver.cuMemPoolTrimTo(self._pool.handle, 0))

    def _set_pool(self, attribute: Any, value: int) -> None:
        check(driver.cuMemPoolSetAttribute(self._pool.handle, attribute, driver.cuuint64_t(value)))

    # -- copies --------------------------------------------------------------------------------

    def fill(self, ptr: int, byte: int, nbytes: int) -> None:
        stream = self.enter()
        check(driver.cuMemsetD8Async(ptr, byte, nbytes, stream.handle))

    def write(self, ptr: int, source: np.ndarray, wait: bool) -> None:
        """Copy a contiguous host array to an address."""
        stream = self.enter()
        self._check_not_captured("a copy from the host")
        if self._staging is None:
            self._staging = Staging(self)
        if source.nbytes <= STAGED:
            self._staging.write(ptr, source)
            return
        if not wait and is_pinned(source):
            self._staging.write_pinned(ptr, source)
            return
        address = source.__array_interface__["data"][0]
        check(driver.cuMemcpyHtoDAsync(ptr, address, source.nbytes, stream.handle))
        wait_for(stream)  # the driver may still read memory that can be paged

    def read(self, target: np.ndarray, ptr: int) -> None:
        """Copy from an address to a contiguous host array, and wait."""
        stream = self.enter()
        self._check_not_captured("reading elements (item, cpu, tolist, a branch on them)")
        address = target.__array_interface__["data"][0]
        check(driver.cuMemcpyDtoHAsync(address, ptr, target.nbytes, stream.handle))
        wait_for(stream)

    # -- kernels (what the executor asks for) --------------------------------------------------

    def target(self) -> Target:
        return self._target

    def load(self, cubin: bytes, name: str, shared: int) -> Any:
        """A kernel of a cubin, allowed to use `shared` bytes."""
        self.enter()
        kernel = ObjectCode.from_cubin(cubin).get_kernel(name)
        if shared > DEFAULT_SHARED:
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            check(driver.cuKernelSetAttribute(attribute, shared, kernel.handle, self.index))
        return kernel

    def config(self, grid: tuple[int, ...], threads: int, shared: int) -> Any:
        return LaunchConfig(grid=grid, block=(threads, 1, 1), shmem_size=shared)


class CudaRuntime(Runtime):
    """The CUDA devices of this process. A device is set up when it is first used."""

    def __init__(self) -> None:
        check(driver.cuInit(0))
        self._devices: list[CudaDevice | None] = [None] * check(driver.cuDeviceGetCount())[0]
        self._current = _Current()
        self._lock = threading.RLock()
        self.poisoned = poison_wanted()
        from .triton_driver import install

        install(self)
        if blocking():
            self.execute = self._execute_and_wait  # type: ignore[method-assign]
        elif len(self._devices) == 1:
            self.execute = self.device(0).executor  # type: ignore[method-assign]

    # -- devices -------------------------------------------------------------------------------

    def device(self, index: int | None = None) -> CudaDevice:
        """The device of this index; the current one where none is given."""
        index = self._current.index if index is None else index
        if not 0 <= index < len(self._devices):
            raise RuntimeError(
                f"cuda:{index} does not exist: {len(self._devices)} CUDA devices are visible"
            )
        found = self._devices[index]
        if found is None:
            with self._lock:
                found = self._devices[index] = self._devices[index] or self._new(index)
        return found

    def _new(self, index: int) -> CudaDevice:
        return CudaDevice(index, alone=len(self._devices) == 1)

    def device_count(self) -> int:
        return len(self._devices)

    def current_device(self) -> int:
        return self._current.index

    def bus_id(self, index: int) -> str:
        """Where a device sits, as the tools of its driver name it: `0000:3B:00.0`."""
        (name,) = check(driver.cuDeviceGetPCIBusId(64, index))
        return name.split(b"\0")[0].decode()

    def can_access_peer(self, index: int, peer: int) -> bool:
        return bool(check(driver.cuDeviceCanAccessPeer(index, peer))[0])

    def set_device(self, index: int) -> None:
        self.device(index).enter()
        self._current.index = index

    def target(self, index: int | None = None) -> Target:
        return self.device(index).target()

    def properties(self, index: int | None = None) -> Properties:
        return self.device(index).properties

    def synchronize(self, index: int | None = None) -> None:
        self.device(index).synchronize()

    def forget(self) -> None:
        for found in self._devices:
            if found is not None and found.replays is not None:
                found.replays.clear()

    # -- memory --------------------------------------------------------------------------------

    def allocate(self, nbytes: int, index: int | None = None) -> CudaMemory:
        return self.device(index).allocate(nbytes)

    def memory_stats(self, index: int | None = None) -> dict[str, int]:
        return self.device(index).memory_stats()

    def borrowed(self, ptr: int, nbytes: int, index: int, release: Callable[[], None]) -> Any:
        return BorrowedCudaMemory(ptr, nbytes, self.device(index), release)

    def lend(self, array: Array, stream: int | None) -> None:
        if stream == -1:  # the other library says that it need not wait
            return
        owner = array.memory.owner
        event = owner.new_event()
        owner.stream.record(event)
        legacy = 1  # the driver's name for its default stream
        check(driver.cuStreamWaitEvent(legacy if stream is None else stream, event.handle, 0))

    def wait_for(self, stream: int) -> None:
        """Let the current stream wait for what another library's has been given."""
        owner = self.device()
        event = owner.new_event()
        check(driver.cuEventRecord(event.handle, stream))
        check(driver.cuStreamWaitEvent(owner.enter().handle, event.handle, 0))

    def pinned(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        return pinned_empty(shape, dtype)

    def is_pinned(self, array: np.ndarray) -> bool:
        return is_pinned(array)

    def pinned_stats(self) -> PinnedStats:
        return PINNED

    def fill(self, array: Array, byte: int) -> None:
        if array.nbytes:
            array.memory.owner.fill(array.ptr, byte, array.nbytes)

    def copy_to_host(self, array: Array) -> np.ndarray:
        low, high = array.span()
        flat = np.empty(high - low, array.dtype.np)
        if not flat.size:
            return np.empty(array.shape, array.dtype.np)
        array.memory.owner.read(flat, array.ptr + low * array.itemsize)
        out = _strided(flat, -low, array)
        return out if array.is_contiguous() else out.copy()

    def copy_from_host(self, source: np.ndarray, target: Array, non_blocking: bool = False) -> None:
        low, high = target.span()
        if high == low:
            return
        start = target.ptr + low * target.itemsize
        if target.is_contiguous():
            flat = np.ascontiguousarray(source, target.dtype.np)
        else:
            flat = np.empty(high - low, target.dtype.np)
            target.memory.owner.read(flat, start)
            _strided(flat, -low, target)[...] = source
        target.memory.owner.write(start, flat, wait=not non_blocking)

    def constant(self, source: np.ndarray, target: Array) -> None:
        capture = target.memory.owner.capture
        if capture is None:
            return self.copy_from_host(source, target)
        capture.write(target.ptr, np.ascontiguousarray(source))
        capture.kept.append(target)

    def hold(self, array: Array) -> None:
        capture = array.memory.owner.capture
        if capture is not None:
            capture.kept.append(array)

    def capturing(self) -> bool:
        return self.device().capture is not None

    def copy_unwaited(self, source: np.ndarray, target: Array) -> None:
        self.copy_from_host(source, target, non_blocking=True)

    def copy(self, source: Array, target: Array) -> None:
        if not target.nbytes:
            return
        there, here = target.memory.owner, source.memory.owner
        stream = here.enter()
        if there is not here:
            stream.wait(there.stream)
        check(driver.cuMemcpyDtoDAsync(target.ptr, source.ptr, target.nbytes, stream.handle))
        if there is not here:
            there.stream.wait(stream)

    # -- kernels -------------------------------------------------------------------------------

    def execute(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        first = next((a for a in args if a.__class__ is Array), None)
        owner = self.device() if first is None else first.memory.owner
        owner.executor(kernel, grid, args, constants, warps, stages)

    def _execute_and_wait(self, *launch: Any) -> None:
        CudaRuntime.execute(self, *launch)
        for found in self._devices:
            if found is not None:
                check(driver.cuStreamSynchronize(found.enter().handle))


def blocking() -> bool:
    """Whether every launch is waited for, so that what fails is known."""
    return os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0")


class _Current(threading.local):
    index = 0


# -- helpers ---------------------------------------------------------------------------------------


def wait_for(stream: Any) -> None:
    """Wait until a stream is done; RuntimeError where something on it failed."""
    try:
        stream.sync()
    except Exception as error:
        raise RuntimeError(f"CUDA error: {error}{HINT}") from error


def _strided(flat: np.ndarray, start: int, like: Array) -> np.ndarray:
    size = flat.itemsize
    strides = tuple(s * size for s in like.strides)
    return np.ndarray(like.shape, flat.dtype, flat, start * size, strides)


def _properties(core: Any) -> Properties:
    p, capability = core.properties, core.compute_capability
    total = check(driver.cuDeviceTotalMem(core.device_id))[0]
    return Properties(
        core.name,
        capability.major,
        capability.minor,
        int(total),
        p.multiprocessor_count,
        p.max_shared_memory_per_block_optin,
        p.max_threads_per_multiprocessor,
        p.l2_cache_size,
        p.warp_size,
    )


def _target(p: Properties) -> Target:
    return Target(
        "cuda",
        p.major * 10 + p.minor,
        p.multi_processor_count,
        p.shared_memory_per_block_optin,
        name=p.name,
        tuned=tuned.load(p.name),
    )
