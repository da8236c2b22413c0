"""Deep copies and pickles of tensors: what shared memory shares it in the copies too."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..runtime import host, parallel
from ..tensor import Storage, Tensor, wrap
from .create import as_subclass, finish


class _Memory:
    """All memory that an array spans, as bytes for NumPy."""

    def __init__(self, owner: np.ndarray) -> None:
        span = sum((n - 1) * s for n, s in zip(owner.shape, owner.strides, strict=True))
        self.owner = owner
        self.__array_interface__ = {
            "data": (owner.__array_interface__["data"][0], True),
            "shape": (span + owner.itemsize if owner.size else 0,),
            "typestr": "|u1",
            "version": 3,
        }


def bytes_of(storage: Storage) -> Any:
    """All memory of a storage, as bytes."""
    owner = storage.owner
    if owner.__class__ is np.ndarray:
        return np.asarray(_Memory(owner))
    from ..runtime.array import Array

    return Array(owner.memory, 0, (owner.memory.nbytes,), (1,), dtypes.uint8)


def _duplicate(memory: Any) -> Any:
    if memory.__class__ is np.ndarray:
        return parallel.copy(host.empty(memory.shape, memory.dtype), memory)
    from ..runtime import accelerator

    if memory.device.type == "meta":
        return accelerator.meta(memory.shape, dtypes.uint8)
    out = accelerator.empty(memory.shape, dtypes.uint8, memory.device)
    accelerator.copy(out, memory)
    return out


def geometry(t: Any) -> tuple[int, tuple, tuple]:
    """Where a tensor lies in its storage, in elements: first element, shape, strides."""
    return t.storage_offset(), tuple(t._data.shape), t.stride()


def placed(
    memory: Any, dtype: DType, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Any:
    """An array of this geometry in bytes of memory."""
    if memory.__class__ is not np.ndarray:
        return type(memory)(memory.memory, offset, shape, strides, dtype)
    item = dtype.itemsize
    if 0 in shape:
        return np.empty(shape, dtype.np)
    return np.ndarray(shape, dtype.np, memory, offset * item, tuple([s * item for s in strides]))


def _deepcopy(self: Tensor, memo: dict) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the "
            "deepcopy protocol at the moment: detach() it first."
        )
    if id(self) in memo:
        return memo[id(self)]
    storage = self.storage_
    if id(storage) not in memo:
        memo[id(storage)] = Storage(_duplicate(bytes_of(storage)))
    found = memo[id(storage)]
    plain = wrap(placed(found.owner, self.dtype, *geometry(self)), self.dtype)
    plain._storage = found
    out = as_subclass(plain, type(self))
    memo[id(self)] = out  # first: an attribute may lead back here
    out.__dict__.update(copy.deepcopy(self.__dict__, memo))
    if self.requires_grad:
        out.requires_grad_()
    if self._grad is not None:
        out._grad = _deepcopy(self._grad, memo)
    return out


def _rebuild(
    cls: type,
    storage: Storage,
    geometry: tuple,
    dtype: DType,
    device: str,
    requires_grad: bool,
    attributes: dict,
) -> Tensor:
    plain = wrap(placed(storage.owner, dtype, *geometry), dtype)
    plain._storage = storage
    out = as_subclass(finish(plain, device, False), cls)
    out.__dict__.update(attributes)
    return out.requires_grad_() if requires_grad else out


def _reduce(self: Tensor, protocol: Any) -> tuple:
    """Its memory and geometry; history and hooks stay behind, and what had one comes as a leaf."""
    return _rebuild, (
        type(self),
        self.storage_,
        geometry(self),
        self.dtype,
        str(self.device),
        self.requires_grad,
        dict(self.__dict__),
    )


def reduce_storage(self: Storage) -> tuple:
    """What a pickle holds of memory: a copy."""
    memory = bytes_of(self)
    if memory.__class__ is not np.ndarray:
        from ..runtime import accelerator

        memory = accelerator.to_host(memory)
    return Storage, (np.array(memory),)


Tensor.__deepcopy__ = _deepcopy  # type: ignore[attr-defined]
Tensor.__reduce_ex__ = _reduce  # type: ignore[assignment]
Storage.__reduce__ = reduce_storage  # type: ignore[method-assign]
