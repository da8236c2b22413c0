"""NumPy arrays of what `tensor` and its like accept: numbers, nested sequences, arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..dtypes import DType
from ..runtime.quiet import quiet
from ..tensor import Tensor


def _contents(data: Any, name: str) -> Any:
    """Nested sequences with the tensors in them replaced by their values."""
    if isinstance(data, Tensor):
        return data.detach().cpu()._data  # type: ignore[attr-defined]
    if isinstance(data, list | tuple):
        return [_contents(x, name) for x in data]
    if isinstance(data, range):
        return list(data)
    return data


def _infer(array: np.ndarray, data: Any) -> DType:
    """Python floats get the default dtype, NumPy's values keep theirs."""
    if array.dtype == np.float64 and not _holds_numpy(data):
        return dtypes.get_default_dtype()
    if array.dtype == np.complex128 and not _holds_numpy(data):
        return dtypes.get_default_dtype().to_complex()
    return dtypes.of(array.dtype)


def _holds_numpy(data: Any) -> bool:
    while isinstance(data, list | tuple) and len(data):
        data = data[0]
    return isinstance(data, np.ndarray | np.generic) or (isinstance(data, Tensor) and data.ndim > 0)


def as_array(data: Any, dtype: DType | None, name: str) -> np.ndarray:
    """A fresh array of what `tensor` and its like accept."""
    if isinstance(data, np.ndarray | np.generic):
        array = np.array(data)
        return array if dtype is None else array.astype(dtype.np)
    if isinstance(data, list | tuple) and not data:
        return np.zeros((0,), (dtype or dtypes.get_default_dtype()).np)
    if isinstance(data, list | tuple) and isinstance(data[0], np.ndarray):
        errors.warn(
            f"{name}: Creating a tensor from a list of numpy.ndarrays is slow. Please consider "
            "converting the list to a single numpy.ndarray with numpy.array() before."
        )
    plain = _contents(data, name)
    try:
        array = np.array(plain)
    except ValueError as error:
        raise ValueError(
            f"{name}: expected sequences of equal length at every dimension: {error}"
        ) from None
    if array.dtype == np.object_:
        array = _large(array, dtype, name)
    if array.dtype.kind not in "biufcV":
        bad = type(plain).__name__ if not isinstance(plain, list) else "a sequence that holds one"
        raise TypeError(f"{name}: new(): invalid data type: a tensor cannot be made of {bad}")
    if dtype is None and array.dtype == np.uint64 and not _holds_numpy(data):
        _in_range(array, dtypes.int64, name)
    target = dtype or _infer(array, data)
    if target is not dtypes.bool_ and array.dtype.kind == "c" and not target.is_complex:
        raise RuntimeError(f"{name}: value cannot be converted to type {target} without overflow")
    if target.category == 1 and array.dtype != target.np:
        _in_range(array, target, name)
    with quiet():  # what is too large for a floating-point dtype is infinite
        return array.astype(target.np)


def _large(array: np.ndarray, dtype: DType | None, name: str) -> np.ndarray:
    """Python integers beyond 64 bits, which only floating-point dtypes and bool can hold."""
    values = array.ravel().tolist()
    if None in values:
        raise RuntimeError(f"{name}: Could not infer dtype of NoneType")
    if not all(isinstance(x, int | float) for x in values):
        return array
    whole = dtype.category == 1 if dtype else all(isinstance(x, int) for x in values)
    if whole:
        most = max(values, key=abs)
        raise ValueError(f"{name}: Overflow when unpacking long long: {most} is beyond 64 bits")
    return array.astype(np.float64)


def _in_range(array: np.ndarray, dtype: DType, name: str) -> None:
    """Refuse numbers that an integer dtype cannot hold; NaN is the least of its array."""
    if array.size and array.dtype != np.bool_:
        dtypes.held(name, array.min().item(), dtype)
        dtypes.held(name, array.max().item(), dtype)
