"""Storages seen from outside: the memory of a tensor and its views as bytes, or as elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..device import CPU, device as Device
from ..dtypes import DType
from ..tensor import Tensor
from .api import PUBLIC, attach
from .create import tensor as make_tensor
from .interop import TYPE_NAMES
from .strided import as_strided, storage_size


class UntypedStorage:
    """The memory of a tensor and its views in bytes: `UntypedStorage(4)`, or one with its bytes.

    Two are equal where they are the same memory.
    """

    dtype: DType = dtypes.uint8

    def __init__(self, source: int | Sequence | Tensor = 0, *, device: Any = None) -> None:
        if isinstance(source, Tensor):
            base: Any = source.detach()
            if base.dtype is not self.dtype and base.is_cpu:
                base = _line(base).view(self.dtype)
        elif isinstance(source, int):
            base = PUBLIC["zeros"](source, dtype=self.dtype, device=device)
        else:
            base = make_tensor(list(source), dtype=self.dtype, device=device)
        self._storage, self._tensor = base.storage_, base
        self.device = base.device

    @classmethod
    def from_file(
        cls, filename: Any, shared: bool = False, nbytes: int = 0, *, size: int | None = None
    ) -> Any:
        """The first `nbytes` of a file, or `size` elements, mapped as by `torch.from_file`."""
        count = nbytes // cls.dtype.itemsize if size is None else size
        return cls(PUBLIC["from_file"](filename, shared, count, dtype=cls.dtype))

    @property
    def elements(self) -> Any:
        """All elements as a vector that shares the memory."""
        if self._tensor.dtype is not self.dtype:
            raise RuntimeError(
                f"{type(self).__name__}: memory of {self._tensor.dtype} on {self.device} cannot be "
                f"read as {self.dtype}; use cpu() of the tensor"
            )
        return _line(self._tensor)

    def nbytes(self) -> int:
        """The size in bytes."""
        return storage_size(self._tensor) * self._tensor.itemsize

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def element_size(self) -> int:
        """The size of an element in bytes."""
        return self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first byte; 0 where there is none."""
        return _line(self._tensor).data_ptr() if self.nbytes() else 0

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def get_device(self) -> int:
        """The number of the GPU; -1 on the CPU."""
        return self._tensor.get_device()

    def __getitem__(self, key: int | slice) -> Any:
        part = self.elements[key]  # of a slice a copy: a storage is all of its memory
        return self._of(part.clone()) if isinstance(key, slice) else part.item()

    def __setitem__(self, key: int | slice, value: Any) -> None:
        self.elements[key] = value.elements if isinstance(value, UntypedStorage) else value

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.elements.cpu().numpy(), dtype, copy=copy)

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self.elements.tolist()

    def fill_(self, value: Any) -> Any:
        """Set all elements to a value."""
        self.elements.fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool = False) -> Any:
        """Overwrite the elements with those of another storage."""
        self.elements.copy_(source.elements)
        return self

    def clone(self) -> Any:
        """A copy."""
        return self._of(self.elements.clone())

    def cpu(self) -> Any:
        """This storage on the CPU."""
        return self if self.device == CPU else self._of(self.elements.cpu())

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Any:
        """This storage on a GPU."""
        return self if self.is_cuda and device is None else self._of(self.elements.cuda(device))

    def _of(self, line: Tensor) -> Any:
        out = object.__new__(type(self))
        out._storage, out._tensor, out.device = line.storage_, line, line.device
        if type(self) is TypedStorage:
            out.dtype = self.dtype
        return out

    def untyped(self) -> UntypedStorage:
        """The same memory in bytes."""
        return UntypedStorage(self._tensor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return hash(id(self._storage))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.nbytes()} bytes on {self.device}>"


def _line(t: Any) -> Any:
    """The whole storage of a tensor as a vector of its dtype."""
    return as_strided(t, (storage_size(t),), (1,), 0)


class TypedStorage(UntypedStorage):
    """The same in elements of the tensor's dtype; `FloatStorage` and its like fix one."""

    def __init__(self, source: Any = 0, *, dtype: DType | None = None, device: Any = None) -> None:
        if type(self) is TypedStorage:
            given = source.dtype if isinstance(source, Tensor) else dtypes.get_default_dtype()
            self.dtype = dtype or given
        super().__init__(source, device=device)

    def type(self) -> str:
        """`torch.FloatStorage` and its like."""
        place = "cuda." if self.is_cuda else ""
        return f"torch.{place}{TYPE_NAMES[self.dtype.name]}Storage"

    def to(self, dtype: DType) -> TypedStorage:
        """A copy in another dtype."""
        return TypedStorage(self.elements.to(dtype))

    def pickle_storage_type(self) -> str:
        """`FloatStorage` and its like."""
        return f"{TYPE_NAMES[self.dtype.name]}Storage"


class _Typed(type):
    """The type of `FloatStorage` and its like: `isinstance` asks for dtype and device."""

    dtype: DType
    place: Device

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, TypedStorage)
            and instance.dtype is cls.dtype
            and instance.device.type == cls.place.type
        )

    def __call__(cls, *args: Any) -> Any:
        return TypedStorage(*args, dtype=cls.dtype, device=cls.place)


def typed_storage(dtype: DType, place: Device = CPU) -> type:
    """The class of storages of one dtype on one device."""
    name = f"{TYPE_NAMES[dtype.name]}Storage"
    doc = f"Storages of {dtype} on {place.type}: makes them, and `isinstance` finds them."
    fields = {"dtype": dtype, "place": place, "__module__": "tritorch", "__doc__": doc}
    return _Typed(name, (), fields)


def is_storage(obj: Any) -> bool:
    """Whether `obj` is a storage."""
    return isinstance(obj, UntypedStorage)


PUBLIC["is_storage"] = is_storage
PUBLIC["UntypedStorage"], PUBLIC["TypedStorage"] = UntypedStorage, TypedStorage
for _name in TYPE_NAMES:
    _dtype = getattr(dtypes, "bool_" if _name == "bool" else _name)
    PUBLIC[f"{TYPE_NAMES[_name]}Storage"] = typed_storage(_dtype)


def _untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory of the tensor, in bytes."""
    return UntypedStorage(self)


def _tensors_storage(self: Tensor) -> TypedStorage:
    """The memory of the tensor, in its elements."""
    return TypedStorage(self)


def _storage_type(self: Tensor) -> type:
    """The class of the tensor's storage."""
    return typed_storage(self.dtype, self.device)


def record_stream(self: Tensor, stream: Any) -> None:
    """Keep the memory from reuse until what a CUDA stream has been given up to then is done."""
    if not self.is_cuda:
        raise NotImplementedError(
            f"record_stream: serves CUDA tensors, this one is on {self.device}"
        )
    self._data.memory.record_stream(stream.handle)


attach("untyped_storage", _untyped_storage)
attach("storage", _tensors_storage)
attach("_typed_storage", _tensors_storage)
attach("storage_type", _storage_type)
attach("record_stream", record_stream)
