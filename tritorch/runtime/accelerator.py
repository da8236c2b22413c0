"""What operators need of a device: allocate, fill, copy, launch. Nothing above knows CUDA."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import device
from ..dtypes import DType
from . import layout
from .array import Array
from .launch import LaunchError, launch, operator
from .memory import OutOfMemoryError, available, meta

__all__ = [
    "LaunchError",
    "OutOfMemoryError",
    "available",
    "capturing",
    "copy",
    "empty",
    "empty_like",
    "fill",
    "from_host",
    "launch",
    "located",
    "meta",
    "operator",
    "to_host",
]


def capturing() -> bool:
    """Whether the work of the current device is being noted for a graph."""
    return launch.started and launch.runtime.capturing()


class located:
    """A block in which what a launcher allocates is on the device of an array."""

    __slots__ = ("_before", "_index")

    def __init__(self, array: Array) -> None:
        self._index = array.device.index

    def __enter__(self) -> None:
        self._before = launch.runtime.current_device()
        if self._index is not None and self._index != self._before:
            launch.runtime.set_device(self._index)

    def __exit__(self, *exc: object) -> None:
        if self._index is not None and self._index != self._before:
            launch.runtime.set_device(self._before)


def empty(shape: Sequence[int], dtype: DType, where: device) -> Array:
    """A contiguous array on a device, its content undefined."""
    if where.type == "meta":
        return meta(shape, dtype)
    return launch.runtime.empty(shape, dtype, where.index)


def empty_like(shape: Sequence[int], dtype: DType, *operands: Array) -> Array:
    """An array of this shape, its dimensions in the order that `operands` give to a result."""
    found, where = layout.order(shape, *operands), operands[0].device
    if found is None:
        return empty(shape, dtype, where)
    return empty([shape[d] for d in found], dtype, where).transpose(layout.inverse(found))


def to_host(x: Array) -> np.ndarray:
    """The elements as a NumPy array."""
    if x.device.type == "meta":
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    if x.size and not x.is_contiguous():
        flat = empty(x.shape, x.dtype, x.device)
        copy(flat, x)
        x = flat
    return launch.runtime.copy_to_host(x)


def from_host(source: np.ndarray, target: Array, non_blocking: bool = False) -> None:
    """Write a NumPy array of the same shape into an array on a device, casting."""
    source = np.ascontiguousarray(source, dtype=target.dtype.np).reshape(target.shape)
    if target.is_contiguous():
        copy_in = launch.runtime.copy_unwaited if non_blocking else launch.runtime.copy_from_host
        copy_in(source, target)
    else:
        flat = empty(target.shape, target.dtype, target.device)
        launch.runtime.copy_from_host(source, flat)
        copy(target, flat)


def copy(target: Array, source: Any) -> None:
    """Copy between arrays of one device; the source is cast, and broadcasts."""
    if target.device.type == "meta" or not target.size:
        return
    if source.__class__ is np.ndarray:
        return from_host(np.broadcast_to(source, target.shape), target)
    if source.shape != target.shape:
        source = source.broadcast_to(target.shape)
    if source.dtype is target.dtype and source.is_contiguous() and target.is_contiguous():
        launch.runtime.copy(source, target)
        return
    with operator("copy", ([target], [source], {})):
        if _kernel("copy").copy(launch, target, source) is NotImplemented:
            from_host(launch.runtime.copy_to_host(_host_readable(source)), target)


def _host_readable(x: Array) -> Array:
    if x.is_contiguous():
        return x
    raise RuntimeError(f"copy: no kernel copies strided {x.dtype} arrays between layouts")


def fill(target: Array, value: Any) -> None:
    """Set every element."""
    if target.device.type == "meta" or not target.size:
        return
    if not value and target.is_contiguous() and not isinstance(value, complex):
        launch.runtime.fill(target, 0)
        return
    with operator("fill", ([target], [], {})):
        served = _kernel("elementwise").apply(
            launch, target, value, body="fill", compute=target.dtype
        )
    if served is NotImplemented:
        from_host(np.full(target.shape, value, target.dtype.np), target)


def _kernel(family: str) -> Any:
    return importlib.import_module(f"tritorch.kernels.{family}")
