"""From a list of samples to a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...ops import create, join
from ...tensor import Tensor

__all__ = ["default_collate", "default_convert"]


def _collate_error(found: Any) -> TypeError:
    return TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {found}"
    )


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack samples: tensors, arrays and numbers to tensors, dicts and sequences part by part.

    Python floats become float64, strings stay a list.

    Example:
        >>> from tritorch.utils.data import default_collate
        >>> default_collate([(0, 1.0), (2, 3.0)])
        [tensor([0, 2]), tensor([1., 3.], dtype=tritorch.float64)]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return join.stack(list(batch))
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SaUO":
            raise _collate_error(first.dtype)
        return join.stack([create.as_tensor(b) for b in batch])
    if isinstance(first, float) and not isinstance(first, np.generic):
        return create.tensor(batch, dtype=dtypes.float64)
    if isinstance(first, int | np.bool_ | np.number):
        return create.as_tensor(np.asarray(batch))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        found = {key: default_collate([b[key] for b in batch]) for key in first}
        return _like_mapping(first, found)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*map(default_collate, zip(*batch)))
    if isinstance(first, Sequence):
        if any(len(b) != len(first) for b in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _like_sequence(first, [default_collate(column) for column in zip(*batch)])
    raise _collate_error(type(first))


def default_convert(data: Any) -> Any:
    """One sample with its arrays and NumPy numbers as tensors."""
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "SaUO" else create.as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data


def _like_mapping(like: Any, found: dict) -> Any:
    """A mapping of the same type with new values, where the type can be made so."""
    try:
        if isinstance(like, MutableMapping):
            out = copy.copy(like)
            out.update(found)
            return out
        return type(like)(found)  # type: ignore[call-arg]
    except TypeError:
        return found


def _like_sequence(like: Any, found: list) -> Any:
    if isinstance(like, tuple):
        return found
    try:
        if isinstance(like, MutableSequence):
            out: Any = copy.copy(like)
            for i, value in enumerate(found):
                out[i] = value
            return out
        return type(like)(found)  # type: ignore[call-arg]
    except TypeError:
        return found


Collate = Callable[[list[Any]], Any]
