"""The accelerator for tests: kernels run in Triton's interpreter, on host memory.

Fresh memory is NaN, and so are guard bands around it; a kernel that writes into them is reported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np

from ..device import device
from .array import Array
from .kernel import check_grid, parameters
from .memory import POISON, Memory, Runtime, Target

ALIGNMENT = 64
GUARD = 1 << 16  # a block of 128 by 128 float32 that nobody masked
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
        check_grid(grid)
        p = parameters(kernel)
        p.check(kernel, args, constants)
        named = {name: _host_argument(a) for name, a in zip(p.runtime, args)}
        with np.errstate(all="ignore"), _located():
            kernel[tuple(int(n) for n in grid)](**named, **constants)
        self.launches[kernel.__name__] = self.launches.get(kernel.__name__, 0) + 1
        for name, a in zip(p.runtime, args):
            memory = getattr(a, "memory", None)
            if isinstance(memory, HostMemory) and not memory.is_intact():
                raise RuntimeError(f"kernel {kernel.__name__} wrote out of bounds of {name}, {a}")


@contextmanager
def _located() -> Iterator[None]:
    """A block whose errors say at which line of which function of the kernel they are.

    Triton's own wrap them once for each function on the way, and keep only their text.
    """
    from triton.runtime.errors import InterpreterError  # type: ignore

    try:
        yield
    except InterpreterError as error:
        cause: BaseException = error
        while isinstance(cause, InterpreterError) and cause.__cause__ is not None:
            cause = cause.__cause__
        trace = cause.__traceback__
        while trace is not None and trace.tb_frame.f_globals["__name__"].startswith("triton."):
            trace = trace.tb_next
        where = ""
        if trace is not None:
            code = trace.tb_frame.f_code
            where = f"{code.co_filename}:{trace.tb_lineno}, in {code.co_name}: "
        raise InterpreterError(f"{where}{type(cause).__name__}: {cause}") from cause


def _host_argument(a: Any) -> Any:
    """An argument as the tensor that a GPU would see; floats are single precision.

    Triton's interpreter would make these itself, by asking each argument for a good part of torch's
    interface. Made here they point to our memory: nothing is copied.
    """
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle  # type: ignore

    if a is None:
        return None
    if isinstance(a, Array):
        value, name = np.array([a.ptr], np.uint64), "*" + a.dtype.triton
    else:
        name = "fp64" if isinstance(a, np.float64) else _scalar_type(a)
        value = np.array([a]).astype(_SCALARS[name])
    kind: Any = tl.str_to_ty(name, None)
    return tl.tensor(TensorHandle(value, kind), kind)


_SCALARS = {
    "i1": np.bool_,
    "i32": np.int32,
    "i64": np.int64,
    "u64": np.uint64,
    "fp32": np.float32,
    "fp64": np.float64,
}


def _scalar_type(a: Any) -> str:
    if isinstance(a, (bool, np.bool_)):
        return "i1"
    if isinstance(a, (int, np.integer)):
        return "i32" if -(1 << 31) <= a < 1 << 31 else "i64" if a < 1 << 63 else "u64"
    if isinstance(a, (float, np.floating)):
        return "fp32"
    raise TypeError(f"a kernel takes an Array, an int, a float, a bool or None, not {type(a)}")


def import_interpreted() -> None:
    """Import triton with its interpreter switched on."""
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError(
            "tritorch: TRITORCH_EXECUTOR=interpreter needs TRITON_INTERPRET=1 before triton is "
            "imported, and triton was imported without it"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor  # type: ignore

    def patch_tensor(tensor: Any, scope: Any) -> None:
        """Triton 3.6 cannot use a scalar as a loop bound with NumPy 2.4 and newer."""
        patch(tensor, scope)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    interpreter._patch_lang_tensor = patch_tensor  # type: ignore
    interpreter._patch_lang = _once(interpreter._patch_lang)  # type: ignore
    # It computes every sum and product again in 64 bits, and then drops what it found.
    options = interpreter.InterpreterOptions(sanitize_overflow=False)  # type: ignore
    interpreter.interpreter_builder.options = options
    interpreter._convert_float = _nearest(interpreter._convert_float)  # type: ignore
    for name, at in (("unary_op", 0), ("binary_op", 0), ("create_fma", 2), ("create_dot", 2)):
        builder: Any = interpreter.InterpreterBuilder  # type: ignore
        setattr(builder, name, _in_single(getattr(builder, name), at))


def _once(patch: Callable) -> Callable:
    """Triton's change of its language for the interpreter: made once for each module of kernels,
    and kept, where Triton makes it and takes it back at every call of every function."""
    from triton.runtime.interpreter import _LangPatchScope  # type: ignore

    seen: set[str] = set()

    def patched(function: Any) -> Any:
        module = function.__globals__["__name__"]
        if module not in seen:
            seen.add(module)
            patch(function)
        return _LangPatchScope()

    return patched


def _in_single(method: Callable, at: int) -> Callable:
    """Arithmetic of bfloat16 in single precision, its result rounded where the operand `at` is
    bfloat16: Triton's interpreter takes the bits for integers."""
    import triton.language as tl

    def widened(a: Any) -> Any:
        if getattr(a, "dtype", None) is None or a.dtype.scalar != tl.bfloat16:
            return a
        return type(a)(a.data.view(ml_dtypes.bfloat16).astype(np.float32), tl.float32)

    def calculated(self: Any, *operands: Any) -> Any:
        wide = [widened(a) for a in operands]
        result = method(self, *wide)
        if wide[at] is operands[at]:
            return result
        data = result.data
        if data.dtype == np.float32:
            data = data.astype(ml_dtypes.bfloat16).view(np.uint16)
        return type(result)(data, tl.bfloat16)

    return calculated


def _nearest(convert: Callable) -> Callable:
    """Triton's conversion of floats, but float32 to bfloat16 to the nearest, as on a GPU, where its
    own cuts the last bits off, and float8 with its infinities and NaN, which its own takes for
    numbers."""
    import triton.language as tl

    float8 = {tl.float8e4nv: ml_dtypes.float8_e4m3fn, tl.float8e5: ml_dtypes.float8_e5m2}
    wider = {tl.float16: np.float16, tl.float32: np.float32}

    def converted(x: np.ndarray, source: Any, target: Any, rounding: Any) -> np.ndarray:
        if source == tl.float32 and target == tl.bfloat16:
            return x.astype(ml_dtypes.bfloat16).view(np.uint16)
        if source in float8 and target in wider:
            return np.asarray(x, np.uint8).view(float8[source]).astype(wider[target])
        return convert(x, source, target, rounding)

    return converted
