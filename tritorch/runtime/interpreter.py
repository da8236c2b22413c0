"""The accelerator for tests: kernels run in Triton's interpreter, on host memory.

Fresh memory is NaN, and so are guard bands around it; a kernel that writes into them is reported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import device
from .array import Array
from .kernel import parameters
from .memory import POISON, Memory, Runtime, Target

ALIGNMENT = 64
GUARD = 256
TARGET = Target("cuda", 90, 4, 227 * 1024, interpreted=True, name="interpreter")


class HostMemory(Memory):
    """Aligned host memory between two guard bands."""

    __slots__ = ("buffer",)

    def __init__(self, nbytes: int, device: device) -> None:
        raw = np.full(nbytes + 2 * GUARD + ALIGNMENT, POISON, np.uint8)
        start = -raw.__array_interface__["data"][0] % ALIGNMENT
        self.buffer = raw[start : start + nbytes + 2 * GUARD]
        super().__init__(self.buffer.__array_interface__["data"][0] + GUARD, nbytes, device)

    def is_intact(self) -> bool:
        """Whether nothing was written before or behind the memory."""
        b = self.buffer
        return bool((b[:GUARD] == POISON).all() and (b[GUARD + self.nbytes :] == POISON).all())


def host_view(array: Array) -> np.ndarray:
    """The elements of an array in HostMemory as a NumPy view: no copy."""
    memory, size = array.memory, array.itemsize
    strides = tuple(s * size for s in array.strides)
    offset = GUARD + array.offset * size
    return np.ndarray(array.shape, array.dtype.np, memory.buffer, offset, strides)


class InterpreterRuntime(Runtime):
    """One device, "cuda:0", whose memory is the host's and whose programs run one by one."""

    poisoned = True

    def __init__(self) -> None:
        import_interpreted()
        self._device = device("cuda", 0)
        self.launches: dict[str, int] = {}

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, index: int) -> None:
        if index:
            raise RuntimeError(f"cuda: device {index} does not exist; the interpreter has one")

    def target(self, index: int | None = None) -> Target:
        return TARGET

    def allocate(self, nbytes: int, index: int | None = None) -> HostMemory:
        self.set_device(index or 0)
        return HostMemory(nbytes, self._device)

    def fill(self, array: Array, byte: int) -> None:
        start = GUARD + array.offset * array.itemsize
        array.memory.buffer[start : start + array.nbytes] = byte

    def copy_to_host(self, array: Array) -> np.ndarray:
        return host_view(array).copy()

    def copy_from_host(self, source: np.ndarray, target: Array) -> None:
        host_view(target)[...] = source

    def copy(self, source: Array, target: Array) -> None:
        host_view(target).reshape(-1)[...] = host_view(source).reshape(-1)

    def synchronize(self, index: int | None = None) -> None:
        pass

    def execute(
        self, kernel: Any, grid: tuple, args: Sequence, constants: dict, warps: int, stages: int
    ) -> None:
        p = parameters(kernel)
        p.check(kernel, args, constants)
        named = {name: _host_argument(a) for name, a in zip(p.runtime, args)}
        kernel[tuple(int(n) for n in grid)](**named, **constants)
        self.launches[kernel.__name__] = self.launches.get(kernel.__name__, 0) + 1
        for name, a in zip(p.runtime, args):
            if isinstance(a, Array) and not a.memory.is_intact():
                raise RuntimeError(f"kernel {kernel.__name__} wrote out of bounds of {name}, {a}")


class Pointer:
    """The part of a tensor and of its storage that the interpreter asks for; nothing is copied."""

    __slots__ = ("_ptr", "dtype")

    def __init__(self, array: Array) -> None:
        self._ptr = array.ptr
        self.dtype = array.dtype

    def data_ptr(self) -> int:
        return self._ptr

    def untyped_storage(self) -> Pointer:
        return self

    def cpu(self) -> Pointer:
        return self

    def new_empty(self, *size: int, device: str = "cpu") -> Pointer:
        return self

    def set_(self, *source: Any) -> None:
        pass

    def copy_(self, other: Pointer) -> None:
        pass

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return ()

    stride = size


def _host_argument(a: Any) -> Any:
    """An argument as a GPU would see it: Python floats are passed in single precision."""
    if isinstance(a, Array):
        return Pointer(a)
    if isinstance(a, np.float64):
        return float(a)
    if isinstance(a, float):
        with np.errstate(over="ignore"):
            return float(np.float32(a))
    if isinstance(a, (bool, np.bool_)):
        return _host_bool(a)
    return a.item() if isinstance(a, np.generic) else a


def _host_bool(value: Any) -> Any:
    """Triton 3.6 would keep a bool in 32 bits, and then refuse it."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    return tl.tensor(TensorHandle(np.array([value], np.bool_), tl.int1), tl.int1)


def import_interpreted() -> None:
    """Import triton with its interpreter switched on."""
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError(
            "tritorch: TRITORCH_EXECUTOR=interpreter needs TRITON_INTERPRET=1 before triton is "
            "imported, and triton was imported without it"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    import triton  # noqa: F401
