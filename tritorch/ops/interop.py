"""A tensor seen from outside: type names, NumPy and DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..device import CPU
from ..tensor import Tensor, from_data, wrap
from .api import attach, public
from .copy import to

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
    if not self.is_cpu:
        raise BufferError(f"__dlpack__: tensors on {self.device} are not exported here")
    kwargs.pop("stream", None)
    return self._data.__dlpack__(**kwargs)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    return (1, 0) if self.device == CPU else (2, self.device.index or 0)


@public(method=False)
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__` on the CPU."""
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    array = np.from_dlpack(ext_tensor)
    if not array.flags.writeable:
        array = np.lib.stride_tricks.as_strided(
            np.asarray(_writeable(array)), array.shape, array.strides
        )
    out = wrap(array.copy() if copy else array, dtypes.of(array.dtype))
    return out if device is None else to(out, device)


class _writeable:
    """The memory of an array that NumPy marks read-only because an old capsule says nothing."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def share_memory_(self: Tensor) -> Tensor:
    """The tensor itself: threads of one process share all memory."""
    return self


def is_shared(self: Tensor) -> bool:
    """Whether other processes see the memory: never for tensors made here."""
    return False


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself on a machine without a GPU."""
    return self


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is page-locked."""
    return False


for _f in (_array_wrap, _dlpack, _dlpack_device):
    attach(f"_{_f.__name__}__", _f)
for _f in (share_memory_, is_shared, pin_memory, is_pinned):
    attach(_f.__name__, _f)
attach("type", type_)
