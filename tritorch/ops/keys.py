"""Keys of `x[key]`: read into a view and the index tensors that are applied to it."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import numpy as np

from .. import dtypes
from ..tensor import Tensor, from_data, wrap
from .create import tensor
from .view import _slice, _view

ALL = slice(None)


def basic(key: Any, n: int) -> tuple | None:
    """A key of ints, slices, None and Ellipsis as a tuple without Ellipsis; None for others."""
    plain = key if key.__class__ is tuple else (key,)
    dots = None
    for at, k in enumerate(plain):
        kind = k.__class__
        if kind is int or k is None:
            continue
        if kind is slice:
            if k.step is None and _plain(k.start) and _plain(k.stop):
                continue
        elif k is Ellipsis and dots is None:
            dots = at
            continue
        return None
    return plain if dots is None else _without_dots(plain, dots, n)


def _plain(bound: Any) -> bool:
    return bound is None or bound.__class__ is int


def _without_dots(key: tuple, at: int, n: int) -> tuple:
    used = len(key) - 1 - key.count(None) if None in key else len(key) - 1
    return key[:at] + (ALL,) * (n - used) + key[at + 1 :]


def explain(x: Tensor, key: tuple) -> NoReturn:
    """Raise what a key of integers and slices deserves that NumPy has refused."""
    shape, d = tuple(x._data.shape), 0
    if not shape:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim "
            "tensor to a number"
        ) from None
    for k in key:
        if k is None:
            continue
        if d == len(shape):
            raise IndexError(f"too many indices for tensor of dimension {d}") from None
        if not isinstance(k, slice) and not -shape[d] <= k < shape[d]:
            raise IndexError(
                f"index {k} is out of bounds for dimension {d} with size {shape[d]}"
            ) from None
        d += 1
    raise IndexError(f"too many indices for tensor of dimension {len(shape)}") from None


def parse(x: Tensor, key: Any) -> tuple[Tensor, list[Tensor], tuple[int, ...]]:
    """The view that a key's integers and slices take, and index tensors for dims of that view."""
    items = [_item(x, k) for k in _as_tuple(key)]
    free = x._data.ndim - sum(width(k) for k in items)
    plain: list[Any] = []
    found: list[tuple[int, Tensor]] = []
    at = 0
    for k in items:
        if k is Ellipsis:
            plain += [ALL] * max(free, 0)
            at, free = at + max(free, 0), 0
        elif isinstance(k, Tensor):
            plain += [ALL] * k.ndim if k.dtype.itemsize == 1 else [ALL]
            found.append((at, k))
            at += k.ndim if k.dtype.itemsize == 1 else 1
        elif isinstance(k, bool):
            plain.append(None)
            found.append((at, from_data(np.zeros(int(k), np.int64))))
            at += 1
        else:
            plain.append(k)
            at += not isinstance(k, int)
    try:
        view = _slice(x, key=tuple(plain)) if any(k is not ALL for k in plain) else x
    except IndexError:
        explain(x, tuple(plain))
    if len(plain) - plain.count(None) > x._data.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x._data.ndim}")
    if not found:
        return _slice(x, key=()) if view is x else view, [], ()
    return as_indices(view, found)


def width(k: Any) -> int:
    """How many dimensions an item of a key takes up."""
    if k is None or k is Ellipsis or isinstance(k, bool):
        return 0
    return k.ndim if isinstance(k, Tensor) and k.dtype.itemsize == 1 else 1


def as_indices(
    view: Tensor, found: list[tuple[int, Tensor]], merge: bool = True
) -> tuple[Tensor, list[Tensor], tuple[int, ...]]:
    """Masks as integer tensors; a mask over several dimensions that can be merged, as one."""
    device = view.device
    if merge and len(found) == 1 and found[0][1].dtype.itemsize == 1:
        at, mask = found[0]
        _check_mask(view, at, mask)
        view, mask = _merged(view, at, mask)
        found = [(at, mask)]
    indices, dims = [], []
    for at, k in found:
        if k.dtype.itemsize == 1:
            _check_mask(view, at, k)
            indices += k.nonzero(as_tuple=True)  # type: ignore[attr-defined]
            dims += range(at, at + k.ndim)
        else:
            indices.append(k if k.device == device else k.to(device))  # type: ignore[attr-defined]
            dims.append(at)
    if len({i.dtype for i in indices}) > 1:
        indices = [i.to(dtypes.int64) for i in indices]  # type: ignore[attr-defined]
    return view, indices, tuple(dims)


def _check_mask(view: Tensor, at: int, mask: Tensor) -> None:
    have, want = tuple(mask._data.shape), tuple(view._data.shape)
    for i, n in enumerate(have):
        if want[at + i] != n:
            raise IndexError(
                f"The shape of the mask {list(have)} at index {i} does not match the shape of the "
                f"indexed tensor {list(want)} at index {at + i}"
            )


def _merged(view: Tensor, at: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The masked dimensions of a contiguous tensor as one."""
    if mask.ndim > 1 and view.is_contiguous():  # type: ignore[attr-defined]
        shape = tuple(view._data.shape)
        shape = (*shape[:at], mask._data.size, *shape[at + mask.ndim :])
        return _view(view, shape=shape), mask.reshape(-1)  # type: ignore[attr-defined]
    return view, mask


_SEQUENCE = (Tensor, np.ndarray, list, tuple, slice, type(None), type(Ellipsis))


def _as_tuple(key: Any) -> tuple:
    """A key as a tuple; a short list that holds more than numbers counts as one, as in PyTorch."""
    if isinstance(key, tuple):
        return key
    if isinstance(key, list) and len(key) < 32 and any(isinstance(k, _SEQUENCE) for k in key):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated; use "
            "x[tuple(seq)] instead of x[seq].",
            UserWarning,
            stacklevel=5,
        )
        return tuple(key)
    return (key,)


def _item(x: Tensor, k: Any) -> Any:
    """One item of a key as an int, a bool, a slice with int bounds, None, Ellipsis or a tensor."""
    if k is None or k is Ellipsis or isinstance(k, int):
        return k if k is None or k is Ellipsis or isinstance(k, bool) else int(k)
    if isinstance(k, slice):
        return _bounds(k)
    if isinstance(k, np.generic):
        k = k.item()
        if isinstance(k, int):
            return k
    if isinstance(k, np.ndarray):
        k = wrap(k, dtypes.of(k.dtype)) if k.dtype.kind in "biuf" else k
    elif isinstance(k, list | tuple | range):
        k = tensor(k, dtype=None if len(k) else dtypes.int64)
    if isinstance(k, Tensor):
        return checked_index(k)
    if hasattr(k, "__index__"):
        return k.__index__()
    if isinstance(k, str):
        raise TypeError("new(): invalid data type 'str'")
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {type(k).__name__})"
    )


def _bounds(k: slice) -> slice:
    """A slice whose bounds are ints: 0-d integer tensors, and what has `__index__`, read."""
    parts = []
    for p in (k.start, k.stop, k.step):
        if p is not None and not hasattr(p, "__index__"):
            raise TypeError("slice indices must be integers or None or have an __index__ method")
        parts.append(None if p is None else p.__index__())
    if parts[2] is not None and parts[2] <= 0:
        raise ValueError(
            "step must be greater than zero" if parts[2] else "slice step cannot be zero"
        )
    return slice(*parts)


def checked_index(k: Tensor) -> Any:
    name = k.dtype.name
    if name not in ("int64", "int32", "uint8", "bool"):
        raise IndexError(
            f"tensors used as indices must be long, int, byte or bool tensors, got {k.dtype}"
        )
    if name == "uint8":
        warnings.warn(
            "indexing with dtype uint8 is now deprecated, please use a dtype bool instead.",
            UserWarning,
            stacklevel=6,
        )
    if not k.ndim:
        value = k.item()  # type: ignore[attr-defined]
        return bool(value) if k.dtype.itemsize == 1 else value
    return k
