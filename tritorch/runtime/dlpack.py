"""DLPack: arrays lent to other libraries, and borrowed from them, without a copy.

The structures and names are those of the DLPack specification, version 0 (`DLManagedTensor`), which
every library reads; NumPy's own exporter lacks bfloat16, and cuda-core's too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import dtypes
from ..dtypes import DType

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # of DLDeviceType
NAME, USED = b"dltensor", b"used_dltensor"
_CODES = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "complex": 5, "bool": 6}
_FLOAT8 = {"float8_e4m3fn": 10, "float8_e5m2": 12}


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]
_lent: dict[int, tuple] = {}  # what capsules refer to, by the address of their structure

_api = ctypes.pythonapi
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", _api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", _api)
)
_is_valid_at = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)


@_Deleter
def _release(managed: Any) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _dropped(capsule: int) -> None:
    """A capsule that nobody took gives its memory back."""
    if _is_valid_at(capsule, NAME):
        _lent.pop(_pointer_at(capsule, NAME), None)


def lend(
    ptr: int, shape: Sequence[int], strides: Sequence[int], dtype: DType,
    device: tuple[int, int], keep: Any,
) -> Any:  # fmt: skip
    """A capsule of memory that `keep` holds; strides count elements, `device` is DLPack's."""
    n = len(shape)
    sizes, steps = (ctypes.c_int64 * n)(*shape), (ctypes.c_int64 * n)(*strides)
    code, bits = _code_of(dtype)
    tensor = _Tensor(ptr, *device, n, code, bits, 1, sizes, steps, 0)
    managed = _Managed(tensor, None, _release)
    address = ctypes.addressof(managed)
    _lent[address] = managed, sizes, steps, keep
    return _new(address, NAME, _dropped)


def _code_of(dtype: DType) -> tuple[int, int]:
    if dtype.name in _FLOAT8:
        return _FLOAT8[dtype.name], 8
    kind = dtype.name.rstrip("0123456789").removesuffix("_")
    if kind not in _CODES:
        raise BufferError(f"__dlpack__: DLPack has no {dtype}")
    return _CODES[kind], 8 * dtype.itemsize


_CONSUMED = "from_dlpack: the capsule was consumed already, or is none of DLPack's"


class Borrowed(NamedTuple):
    """What a capsule holds. `release()` must be called once the memory is no longer used."""

    ptr: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    device: tuple[int, int]
    release: Callable[[], None]


def borrow(capsule: Any) -> Borrowed:
    """Take the memory of a capsule, which cannot be taken again."""
    if not _is_valid(capsule, NAME):
        raise RuntimeError(_CONSUMED)
    managed = ctypes.cast(_pointer(capsule, NAME), ctypes.POINTER(_Managed)).contents
    t = managed.tensor
    dtype = _dtype_of(t)
    _rename(capsule, USED)
    shape = tuple(t.shape[: t.ndim])
    if t.strides:
        strides = tuple(t.strides[: t.ndim])
    else:
        from .array import contiguous_strides

        strides = contiguous_strides(shape)
    address = ctypes.addressof(managed)

    def release() -> None:
        found = ctypes.cast(address, ctypes.POINTER(_Managed))
        if found.contents.deleter:
            found.contents.deleter(found)

    ptr = (t.data or 0) + t.byte_offset
    return Borrowed(ptr, shape, strides, dtype, (t.device_type, t.device_id), release)


class Held:
    """A capsule as an object that lends it, as consumers expect one."""

    def __init__(self, capsule: Any) -> None:
        if not _is_valid(capsule, NAME):
            raise RuntimeError(
                "from_dlpack: the capsule was consumed already, or is none of DLPack's"
            )
        self.capsule = capsule

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        address = _pointer(self.capsule, NAME)
        tensor = ctypes.cast(address, ctypes.POINTER(_Managed)).contents.tensor
        return tensor.device_type, tensor.device_id


def _dtype_of(t: _Tensor) -> DType:
    names = {v: k for k, v in _CODES.items()}
    eights = {v: k for k, v in _FLOAT8.items()}
    name = eights.get(t.code) or f"{names.get(t.code)}{'' if t.code == 6 else t.bits}"
    found = getattr(dtypes, "bool_" if name.startswith("bool") else name, None)
    if not isinstance(found, DType) or t.lanes != 1 or 8 * found.itemsize != t.bits:
        raise BufferError(
            f"from_dlpack: no dtype for DLPack's code {t.code} of {t.bits} bits, {t.lanes} lanes"
        )
    return found
