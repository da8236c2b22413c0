"""Views by strides: diagonals, windows, any geometry; and how memory is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import view as declare
from ..runtime import layout
from ..tensor import Tensor
from .api import attach, public
from .view import metadata_in_place, put_back


@declare(
    name="diagonal",
    vjp=lambda g, x_shape, offset, dim1, dim2: put_back(
        g,
        x_shape,
        _diagonal,  # type: ignore
        offset=offset,
        dim1=dim1,
        dim2=dim2,
    ),
    samples=lambda s: [
        s((3, 4), offset=1, dim1=0, dim2=1),
        s((2, 3, 3), offset=-1, dim1=2, dim2=1),
    ],
)
def _diagonal(x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    if (dim1 - dim2) % len(x.shape) == 0:  # it would reach beyond the memory of `x`
        raise RuntimeError(
            f"diagonal: diagonal dimensions cannot be identical {dim1}, {dim2} of {tuple(x.shape)}"
        )
    rows, cols = x.shape[dim1], x.shape[dim2]
    n = max(0, min(rows + min(offset, 0), cols - max(offset, 0)))
    start = [slice(None)] * len(x.shape)
    if n:
        start[dim1], start[dim2] = slice(max(-offset, 0), None), slice(max(offset, 0), None)
    x = x[tuple(start)]
    keep = [d for d in range(len(x.shape)) if d not in (dim1, dim2)]
    shape = (*(x.shape[d] for d in keep), n)
    strides = (*(x.strides[d] for d in keep), x.strides[dim1] + x.strides[dim2])
    return _strided(x, shape, strides)


@declare(
    name="unfold",
    vjp=lambda g, x_shape, dim, size, step: put_back(
        g,
        x_shape,
        _unfold,  # type: ignore
        dim=dim,
        size=size,
        step=step,
    ),
    samples=lambda s: [s((7,), dim=0, size=3, step=2), s((2, 5), dim=1, size=2, step=1)],
)
def _unfold(x: Any, *, dim: int, size: int, step: int) -> Any:
    if not len(x.shape):
        return _strided(x, (size,), (x.itemsize if x.__class__ is np.ndarray else 1,))
    n = (x.shape[dim] - size) // step + 1
    shape = (*x.shape[:dim], n, *x.shape[dim + 1 :], size)
    strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
    return _strided(x, shape, strides)


def _strided(x: Any, shape: tuple, strides: tuple) -> Any:
    """Another geometry from the same first element; strides in the array's own unit."""
    if x.__class__ is np.ndarray:
        return np.lib.stride_tricks.as_strided(x, shape, strides)
    return x.strided(shape, strides)


def _as_strided_vjp(
    g: Tensor, x_shape: tuple, geometry: tuple, size: tuple, stride: tuple, shift: int
) -> Tensor:
    """Sum what lands on each element of memory, then read it back through the input's geometry.

    Elements of the input that are one in memory share its gradient evenly.
    """
    have = _reach(x_shape, geometry)
    low, high = min(0, shift), max(have, shift + _reach(size, stride), 1)
    memory = g.new_zeros(high - low)
    positions = memory.new_tensor(np.arange(high - low), dtype=dtypes.int64)
    where = positions.as_strided(size, stride, shift - low).reshape(-1)
    memory = memory.index_add(0, where, g.reshape(-1))
    if not layout.injective(tuple(x_shape), geometry):
        places = positions.as_strided(tuple(x_shape), geometry, -low).reshape(-1)
        counts = g.new_zeros(high - low).index_add(0, places, g.new_ones(places.numel()))
        memory = memory / counts.clamp_min(1)
    return memory.as_strided(tuple(x_shape), geometry, -low)


def _reach(shape: tuple, strides: tuple) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


@declare(
    name="as_strided",
    vjp=_as_strided_vjp,
    samples=lambda s: [
        s((3, 4), geometry=(4, 1), size=(2, 2), stride=(3, 2), shift=1),
        s((5,), geometry=(1,), size=(3, 3), stride=(1, 1), shift=0),
    ],
)
def _as_strided(x: Any, *, geometry: tuple, size: tuple, stride: tuple, shift: int) -> Any:
    if x.__class__ is not np.ndarray:
        return x.strided(size, stride, shift)
    item = x.itemsize
    start = np.lib.stride_tricks.as_strided(x, (), ())
    if shift:
        line = np.lib.stride_tricks.as_strided(
            x, (abs(shift) + 1,), (item if shift > 0 else -item,)
        )
        start = line[abs(shift) :].reshape(1)[0:1].reshape(())
    return np.lib.stride_tricks.as_strided(start, size, tuple(s * item for s in stride))


@public()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The view of a diagonal of two dimensions, as the last dimension."""
    shape = input._data.shape
    a = errors.wrap_dim("diagonal", dim1, shape)
    b = errors.wrap_dim("diagonal", dim2, shape)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(input, offset=offset, dim1=a, dim2=b)


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The view of all windows of `size` elements, `step` apart, as a new last dimension."""
    shape = self._data.shape
    d = errors.wrap_dim("unfold", dimension, shape)
    n = shape[d] if shape else 1
    if size < 0 or size > n:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {d} is {n} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    return _unfold(self, dim=d, size=size, step=step)


_unfold.overlaps = True
_as_strided.absolute = True
attach("unfold", unfold)


def storage_offset(self: Tensor) -> int:
    """The position of the first element in the storage, in elements."""
    data = self._data
    if data.__class__ is not np.ndarray:
        return data.offset
    if self._storage is None or self._storage.owner is data:
        return 0
    owner = self._storage.owner
    start = owner.__array_interface__["data"][0] if owner.size else 0
    return (data.__array_interface__["data"][0] - start) // data.itemsize if data.size else 0


attach("storage_offset", storage_offset)


@public()
def stride(self: Tensor, dim: int | None = None) -> Any:
    """The distance in elements between neighbours along each dimension, or along `dim`."""
    data = self._data
    unit = data.itemsize if data.__class__ is np.ndarray else 1
    if data.size == 0 or 1 in data.shape:
        strides = _canonical_strides(data, unit)
    else:
        strides = tuple(s // unit for s in data.strides)
    if dim is None:
        return strides
    return strides[errors.wrap_dim("stride", dim, data.shape)]


def _canonical_strides(data: Any, unit: int) -> tuple[int, ...]:
    """PyTorch's strides where NumPy's are arbitrary: of empty arrays, and of new dimensions."""
    out, step = [], 1
    for n, s in zip(reversed(data.shape), reversed(data.strides), strict=True):
        stride = step if not data.size or (n == 1 and s == 0) else s // unit
        out.append(stride)
        step = max(n, 1) * stride
    return tuple(reversed(out))


@public()
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the storage with any shape and strides, in elements."""
    size, steps = tuple(size), tuple(stride)
    if len(size) != len(steps):
        raise RuntimeError(f"as_strided: mismatch in length of strides {steps} and shape {size}")
    if any(n < 0 for n in size) or any(s < 0 for s in steps):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got "
            f"strides: {list(steps)}"
        )
    have = input.storage_offset()  # type: ignore[attr-defined]
    offset = have if storage_offset is None else storage_offset
    held = storage_size(input)
    reach = _reach(size, steps)
    if offset < 0 or (reach and offset + reach > held):
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(steps)}, storage offset {offset}, and "
            f"itemsize {input.itemsize} requiring a storage size of "
            f"{(offset + reach) * input.itemsize} are out of bounds for storage of size "
            f"{held * input.itemsize}"
        )
    out = _as_strided(
        input,
        geometry=input.stride(),  # type: ignore[attr-defined]
        size=size,
        stride=steps,
        shift=offset - have,
    )
    view, base = out._view, out._base
    if view is not None and base is not None and view.parent and base.dtype is out.dtype:
        # It is of the memory, not of the view that it was asked of: once the memory has been
        # changed in place, it is taken of the base, where it may reach beyond that view.
        shift = offset - base.storage_offset()
        view.parent, view.params = None, {**view.params, "geometry": base.stride(), "shift": shift}
    return out


def storage_size(t: Tensor) -> int:
    """The number of elements, of `t`'s dtype, in its storage."""
    owner = t.storage_.owner
    if owner.__class__ is np.ndarray:
        if not owner.size:
            return 0
        reach = sum((n - 1) * s for n, s in zip(owner.shape, owner.strides, strict=True))
        return (reach + owner.itemsize) // t.itemsize
    return owner.memory.nbytes // t.itemsize


@public()
def slice_inverse(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """What `input` is a slice of: its memory in the geometry of `src`."""
    return as_strided(input, src.shape, src.stride(), src.storage_offset())  # type: ignore


metadata_in_place(_as_strided, "as_strided", as_strided)
