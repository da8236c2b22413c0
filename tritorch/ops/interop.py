"""A tensor seen from outside: type names, NumPy and DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..device import CPU
from ..runtime import dlpack, memory
from ..runtime.array import Array, contiguous_strides
from ..runtime.launch import launch
from ..runtime.memory import Memory
from ..tensor import Tensor, from_data, wrap
from .api import attach, public
from .copy import clone, to

TYPE_NAMES = {
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


def type_name(x: Tensor) -> str:
    """`torch.FloatTensor` and its like."""
    place = "cuda." if x.is_cuda else ""
    return f"torch.{place}{TYPE_NAMES.get(x.dtype.name, x.dtype.name.capitalize())}Tensor"


def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False, **_: Any) -> Any:
    """The name of the tensor's type, such as `torch.FloatTensor`; or a cast to a dtype."""
    if dtype is None:
        return type_name(self)
    if isinstance(dtype, type) and hasattr(dtype, "dtype"):  # FloatTensor and its like
        return to(self, dtype.device, dtype.dtype)
    if isinstance(dtype, str):
        short = dtype.rpartition(".")[2].removesuffix("Tensor")
        names = {v: k for k, v in TYPE_NAMES.items()}
        if short not in names:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = getattr(dtypes, "bool_" if short == "Bool" else names[short])
    return to(self, dtype)


def _array_wrap(
    self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False
) -> Tensor:
    return from_data(np.asarray(array))


def _dlpack(self: Tensor, **kwargs: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if self.is_meta:
        raise BufferError("__dlpack__: a meta tensor has no memory")
    stream, wanted = kwargs.pop("stream", None), kwargs.pop("dl_device", None)
    if kwargs.pop("copy", None):
        self = clone(self)
    if wanted is not None and tuple(wanted) != _dlpack_device(self):
        if tuple(wanted) != (dlpack.CPU, 0):
            raise BufferError(f"__dlpack__: {self.device} cannot be lent as device {wanted}")
        self = to(self, "cpu")
    if self.is_cpu:
        if self.dtype.name not in _NUMPYS_OWN:
            strides = [s // self.dtype.itemsize for s in self._data.strides]
            address = self._data.__array_interface__["data"][0]
            place = (dlpack.CPU, 0)
            return dlpack.lend(address, self.shape, strides, self.dtype, place, self._data)
        return self._data.__dlpack__(**kwargs)
    launch.runtime.lend(self._data, stream)
    a = self._data
    return dlpack.lend(a.ptr, a.shape, a.strides, a.dtype, _dlpack_device(self), a)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    return (dlpack.CPU, 0) if self.device == CPU else (dlpack.CUDA, self.device.index or 0)


_NUMPYS_OWN = frozenset(n for n in TYPE_NAMES if n != "bfloat16") | {"uint16", "uint32", "uint64"}


@public(method=False)
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__`, or of its capsule.

    It lies on the CPU or on a GPU. Its shape, strides and dtype are the object's. A GPU's memory is
    read after what its owner has been given for it so far. `device` moves it,
    `copy=True` copies it.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if type(ext_tensor).__name__ == "PyCapsule":
        ext_tensor = dlpack.Held(ext_tensor)
    kind, index = getattr(ext_tensor, "__dlpack_device__", lambda: (dlpack.CPU, 0))()
    if kind in (dlpack.CUDA, dlpack.MANAGED):
        if not hasattr(launch.runtime, "device"):
            launch.runtime.borrowed(0, 0, index, lambda: None)  # which says why not
        stream = launch.runtime.device(index).stream  # type: ignore[attr-defined]
        out = _on_device(dlpack.borrow(ext_tensor.__dlpack__(stream=int(stream.handle))))
    else:
        out = _on_host(ext_tensor)
    out = clone(out) if copy else out
    return out if device is None else to(out, device)


def _on_device(b: dlpack.Borrowed) -> Tensor:
    low, high = Array(Memory(0, 0, CPU), 0, b.shape, b.strides, b.dtype).span()
    start = b.ptr + low * b.dtype.itemsize
    nbytes = (high - low) * b.dtype.itemsize
    memory = launch.runtime.borrowed(start, nbytes, b.device[1], b.release)
    return wrap(Array(memory, -low, b.shape, b.strides, b.dtype), b.dtype)


def _on_host(source: Any) -> Tensor:
    try:
        array = np.from_dlpack(source)
    except (BufferError, RuntimeError):  # NumPy lacks some dtypes
        b = dlpack.borrow(source.__dlpack__())
        array = _array_of(b)
    if not array.flags.writeable:
        array = np.lib.stride_tricks.as_strided(
            np.asarray(_writeable(array)), array.shape, array.strides
        )
    return wrap(array, dtypes.of(array.dtype))


def _array_of(b: dlpack.Borrowed) -> np.ndarray:
    low, high = Array(Memory(0, 0, CPU), 0, b.shape, b.strides, b.dtype).span()
    size = b.dtype.itemsize
    flat = np.asarray(_Held(b.ptr + low * size, (high - low) * size, b.release))
    strides = tuple(s * size for s in b.strides)
    return np.ndarray(b.shape, b.dtype.np, flat, -low * size, strides)


class _Held:
    """Bytes of another library, which is told when the last array on them is gone."""

    def __init__(self, ptr: int, nbytes: int, release: Any) -> None:
        self._release = release
        self.__array_interface__ = {
            "data": (ptr, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        self._release()


def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """The tensor's memory on a GPU, by the protocol that Numba and CuPy read."""
    if not self.is_cuda or not hasattr(launch.runtime, "device"):
        raise AttributeError(f"__cuda_array_interface__: a tensor on {self.device} has none")
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. "
            "If gradients aren't required, use var.detach()"
        )
    a = self._data
    if a.dtype.name not in _NUMPYS_OWN:
        raise AttributeError(f"__cuda_array_interface__: has no name for {a.dtype}; use DLPack")
    launch.runtime.lend(a, None)
    return {
        "shape": tuple(a.shape),
        "typestr": a.dtype.np.str,
        "strides": tuple(s * a.itemsize for s in a.strides),
        "data": (a.ptr if a.size else 0, False),
        "version": 3,
        "stream": 1,
    }


def from_cuda_array(source: Any) -> Tensor:
    """A tensor on the memory of an object with `__cuda_array_interface__`, without a copy."""
    told = source.__cuda_array_interface__
    if told.get("mask") is not None:
        raise TypeError("as_tensor: a masked __cuda_array_interface__ is not supported")
    dtype, shape = dtypes.of(np.dtype(told["typestr"])), tuple(told["shape"])
    steps = told.get("strides")
    strides = contiguous_strides(shape) if steps is None else [s // dtype.itemsize for s in steps]
    runtime: Any = launch.runtime
    if hasattr(runtime, "device") and told.get("stream"):
        runtime.wait_for(told["stream"])
    index = runtime.current_device()
    kept = [source]  # alive until the last view is gone
    return _on_device(
        dlpack.Borrowed(
            told["data"][0], shape, tuple(strides), dtype, (dlpack.CUDA, index), kept.clear
        )
    )


class _writeable:
    """The memory of an array that NumPy marks read-only because an old capsule says nothing."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory, out of which `to("cuda", non_blocking=True)` does not wait.

    The tensor itself where there is no GPU, or where it is there already.
    """
    if not self.is_cpu:
        raise RuntimeError(f"cannot pin '{type_name(self)}' only dense CPU tensors can be pinned")
    if not memory.available() or is_pinned(self):
        return self
    pinned = launch.runtime.pinned(self._data.shape, self._data.dtype)
    np.copyto(pinned, self._data)
    return wrap(pinned, self.dtype)


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked."""
    return self.is_cpu and memory.available() and launch.runtime.is_pinned(self._data)


for _f in (_array_wrap, _dlpack, _dlpack_device):
    attach(f"_{_f.__name__}__", _f)
for _f in (pin_memory, is_pinned):
    attach(_f.__name__, _f)
attach("__cuda_array_interface__", property(_cuda_array_interface))  # type: ignore[arg-type]
attach("type", type_)
