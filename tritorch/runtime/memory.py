"""Device memory, and `runtime()`: the one accelerator of this process.

That is CUDA where a device is present, or, with TRITORCH_EXECUTOR=interpreter, a stand-in for it:
host memory on which kernels run in Triton's interpreter. TRITORCH_EXECUTOR=module:Class is a
`Runtime` from elsewhere. To a program its devices are "cuda:0", "cuda:1" ..., whichever it is.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import math
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..device import META, device
from ..dtypes import DType
from .array import Array, contiguous_strides

POISON = 0xFF  # NaN in every floating-point dtype, -1 in the signed integers


@dataclass(frozen=True)
class Target:
    """What a launcher may choose its blocks by.

    `backend` is "cuda" or "hip"; `arch` 90 or "gfx942"; `sms` the number of multiprocessors;
    `shared_memory` the bytes that one program may use; `interpreted` whether Python runs the kernel
    (then few and large programs are best); `tuned` the blocks that a search found
    (`runtime/tuned.py`).
    """

    backend: str
    arch: int | str
    sms: int
    shared_memory: int
    interpreted: bool = False
    name: str = ""
    tuned: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def warp_size(self) -> int:
        return 64 if self.backend == "hip" else 32

    @property
    def descriptors(self) -> bool:
        """Whether kernels may read blocks by tensor descriptors: on NVIDIA's Hopper and newer,
        unless TRITORCH_DESCRIPTORS=0. Triton before 3.9 spills registers there on sm_120."""
        if self.backend != "cuda" or int(self.arch) < 90:
            return False
        if int(self.arch) == 120 and _triton() < (3, 9):
            return False
        return os.environ.get("TRITORCH_DESCRIPTORS", "1") not in ("", "0")


@functools.cache
def _triton() -> tuple[int, ...]:
    """The version of Triton that is installed, (0,) where it is not."""
    try:
        return tuple(int(n) for n in re.findall(r"\d+", version("triton"))[:2])
    except PackageNotFoundError:
        return (0,)


class OutOfMemoryError(RuntimeError):
    """The device has no memory left for an allocation."""


class Memory:
    """Memory of a device: `nbytes` from the address `ptr` on. It is freed with the last view."""

    __slots__ = ("device", "nbytes", "ptr")

    def __init__(self, ptr: int, nbytes: int, device: device) -> None:
        self.ptr = ptr
        self.nbytes = nbytes
        self.device = device


class MetaMemory(Memory):
    """No memory: shapes, strides and dtypes only."""

    __slots__ = ()

    def __init__(self, nbytes: int = 0) -> None:
        super().__init__(0, nbytes, META)


class Runtime(ABC):
    """An accelerator: its devices, memory, and how it runs a kernel."""

    poisoned = False  # whether fresh memory is filled with NaN, to show outputs never written

    @abstractmethod
    def device_count(self) -> int: ...

    @abstractmethod
    def current_device(self) -> int: ...

    @abstractmethod
    def set_device(self, index: int) -> None:
        """Make this device the one on which this thread allocates and launches."""

    @abstractmethod
    def target(self, index: int | None = None) -> Target: ...

    @abstractmethod
    def allocate(self, nbytes: int, index: int | None = None) -> Memory:
        """Uninitialised memory on a device; the current one where no index is given."""

    @abstractmethod
    def fill(self, array: Array, byte: int) -> None:
        """Set every byte of a contiguous array."""

    @abstractmethod
    def copy_to_host(self, array: Array) -> np.ndarray:
        """The elements as a new NumPy array; waits for the kernels that write them."""

    @abstractmethod
    def copy_from_host(self, source: np.ndarray, target: Array) -> None:
        """Write the elements of a NumPy array of the same shape and dtype."""

    @abstractmethod
    def copy(self, source: Array, target: Array) -> None:
        """Copy the bytes of one contiguous array to another of the same size, on any device."""

    @abstractmethod
    def synchronize(self, index: int | None = None) -> None:
        """Wait until the device has finished what it was given."""

    @abstractmethod
    def execute(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        """Run a kernel, as `launch` is asked to."""

    def forget(self) -> None:
        """Kernels may be launched with other blocks from now on: keep no launches of before."""
        return None  # most runtimes keep none

    def borrowed(self, ptr: int, nbytes: int, index: int, release: Callable[[], None]) -> Memory:
        """Memory of a device that another library owns; `release` is called after its last use."""
        raise BufferError("from_dlpack: needs a CUDA device; kernels run in the interpreter")

    def lend(self, array: Array, stream: int | None) -> None:
        """Let another library read an array: its stream waits for what writes to the array."""
        raise BufferError(f"__dlpack__: memory of {array.device} here is not a device's")

    def pinned(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """An uninitialised host array from which the device copies fastest."""
        return np.empty(shape, dtype)

    def constant(self, source: np.ndarray, target: Array) -> None:
        """The same into a fresh array that nothing changes afterwards."""
        self.copy_from_host(source, target)

    def hold(self, array: Array) -> None:
        """Keep an array that is about to be read as long as a graph that notes the reading."""
        return None  # most runtimes have no graphs

    def capturing(self) -> bool:
        """Whether the work of the current device is being noted for a graph."""
        return False

    def copy_unwaited(self, source: np.ndarray, target: Array) -> None:
        """The same out of pinned memory, which keeps its content until the device has read it."""
        self.copy_from_host(source, target)

    def is_pinned(self, array: np.ndarray) -> bool:
        """Whether a host array lies in page-locked memory."""
        return False

    def memory_stats(self, index: int | None = None) -> dict[str, int]:
        """Bytes: `allocated`, `peak`, `reserved`; and the number of `allocations` so far."""
        return {}

    def empty(self, shape: Sequence[int], dtype: DType, index: int | None = None) -> Array:
        """A contiguous array of undefined content, or of NaN where memory is poisoned."""
        shape = tuple(shape)
        memory = self.allocate(math.prod(shape) * dtype.itemsize, index)
        out = Array(memory, 0, shape, contiguous_strides(shape), dtype)
        if self.poisoned:
            self.fill(out, POISON)
        return out

    def zeros(self, shape: Sequence[int], dtype: DType, index: int | None = None) -> Array:
        """A contiguous array of zeros."""
        shape = tuple(shape)
        memory = self.allocate(math.prod(shape) * dtype.itemsize, index)
        out = Array(memory, 0, shape, contiguous_strides(shape), dtype)
        self.fill(out, 0)
        return out


def meta(shape: Sequence[int], dtype: DType, strides: Sequence[int] | None = None) -> Array:
    """An array without memory."""
    shape = tuple(shape)
    strides = contiguous_strides(shape) if strides is None else tuple(strides)
    return Array(MetaMemory(), 0, shape, strides, dtype)


def poison_wanted() -> bool:
    return os.environ.get("TRITORCH_POISON", "0") not in ("", "0")


# -- the accelerator of this process -------------------------------------------------------------

_runtime: Runtime | None = None
_available: bool | None = None


def interpreted() -> bool:
    """Whether the accelerator is Triton's interpreter on host memory."""
    return _executor() == "interpreter"


def _executor() -> str:
    return os.environ.get("TRITORCH_EXECUTOR", "")


def runtime() -> Runtime:
    """The accelerator of this process; RuntimeError where there is none."""
    global _runtime
    if _runtime is None:
        wanted = _executor()
        if wanted not in ("", "cuda", "interpreter") and ":" not in wanted:
            raise RuntimeError(
                f"TRITORCH_EXECUTOR={wanted}: expected cuda or interpreter, or module:Class"
            )
        if ":" in wanted:
            module, _, name = wanted.rpartition(":")
            made: Runtime = getattr(importlib.import_module(module), name)()
            _runtime = made
        elif interpreted():
            from .interpreter import InterpreterRuntime

            _runtime = InterpreterRuntime()
        elif available():
            from .cuda import CudaRuntime

            _runtime = CudaRuntime()
        else:
            raise RuntimeError(_why_not())
    return _runtime


def available() -> bool:
    """Whether `runtime()` has a device to offer. Never raises, asks the driver once."""
    global _available
    if interpreted() or ":" in _executor():
        return True
    if _available is None:
        _available = _cuda_devices() > 0 and not _missing()
    return _available


def _why_not() -> str:
    if _cuda_devices() > 0:
        return (
            f"tritorch: a CUDA device is present, but {' and '.join(_missing())} cannot be "
            "imported. Install tritorch[cuda]."
        )
    return (
        "tritorch: no CUDA device was found (no NVIDIA driver, or CUDA_VISIBLE_DEVICES hides "
        'them). Use device="cpu", or set TRITORCH_EXECUTOR=interpreter to run kernels in '
        "Triton's interpreter on the host."
    )


def _missing() -> list[str]:
    return [name for name in ("cuda.core", "cuda.bindings", "triton") if not _found(name)]


def _found(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _cuda_devices() -> int:
    """How many devices the driver offers, asked through ctypes: no package is imported for it."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0
