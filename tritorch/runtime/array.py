"""`Array`: a strided view of device memory.

Strides and offset count elements. Everything here changes metadata only; kernels move the data.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..dtypes import DType


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a dense row-major array: `(3, 1)` for shape `(2, 3)`."""
    return _dense(tuple(shape))


@lru_cache(maxsize=4096)
def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= max(shape[i], 1)
    return tuple(strides)


class Array:
    """Device memory seen as `shape` elements of `dtype`, `strides` apart, from `offset` on.

    `memory` has `ptr`, `nbytes` and `device`; `ptr` here is the address of element 0.
    """

    __slots__ = ("dtype", "memory", "offset", "ptr", "shape", "strides")

    def __init__(
        self,
        memory: Any,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: DType,
    ) -> None:
        self.memory = memory
        self.offset = offset
        self.shape = shape
        self.strides = strides
        self.dtype = dtype
        self.ptr: int = memory.ptr + offset * dtype.itemsize

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def device(self) -> Any:
        return self.memory.device

    def data_ptr(self) -> int:
        """The address of element 0, by the name that Triton asks for it."""
        return self.ptr

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an Array without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Array(shape={self.shape}, strides={self.strides}, {self.dtype}, {self.device})"

    def is_contiguous(self) -> bool:
        """Whether the elements lie densely in row-major order, dimensions of size 1 aside."""
        step = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides)):
            if n == 0:
                return True
            if n != 1:
                if stride != step:
                    return False
                step *= n
        return True

    def span(self) -> tuple[int, int]:
        """The elements in memory that this touches lie in range(low, high), counted from `ptr`."""
        if 0 in self.shape:
            return 0, 0
        low = high = 0
        for n, stride in zip(self.shape, self.strides):
            low += min((n - 1) * stride, 0)
            high += max((n - 1) * stride, 0)
        return low, high + 1

    # -- views ---------------------------------------------------------------------------------

    def strided(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Array:
        """A view with these strides, `offset` elements after this one's element 0."""
        return Array(self.memory, self.offset + offset, tuple(shape), tuple(strides), self.dtype)

    def transpose(self, axes: Sequence[int] | None = None) -> Array:
        """A view whose dimension `i` is dimension `axes[i]` here; reversed where none are given."""
        order = tuple(reversed(range(self.ndim))) if axes is None else tuple(axes)
        if sorted(a % self.ndim if self.ndim else a for a in order) != [*range(self.ndim)]:
            raise ValueError(f"transpose: axes {order} do not permute the dimensions {self.shape}")
        return self.strided([self.shape[a] for a in order], [self.strides[a] for a in order])

    def broadcast_to(self, shape: Sequence[int]) -> Array:
        """A view of this shape in which repeated dimensions have stride 0."""
        lead = len(shape) - self.ndim
        strides = [0] * lead
        for n, have, stride in zip(shape[max(lead, 0) :], self.shape, self.strides):
            if have not in (1, n):
                lead = -1
            strides.append(stride if have == n else 0)
        if lead < 0:
            raise ValueError(f"broadcast_to: {self.shape} does not broadcast to {tuple(shape)}")
        return self.strided(shape, strides)

    def reshape(self, shape: Sequence[int]) -> Array:
        """A view of this shape, one dimension of which may be -1; ValueError where none exists."""
        wanted = tuple(shape)
        size = self.size
        if -1 in wanted:
            known = -math.prod(wanted)
            wanted = tuple(size // max(known, 1) if n == -1 else n for n in wanted)
        if math.prod(wanted) != size:
            raise ValueError(f"reshape: {self.shape} has {size} elements, {tuple(shape)} has not")
        strides = view_strides(self.shape, self.strides, wanted)
        if strides is None:
            raise ValueError(
                f"reshape: no view of shape {wanted} exists of shape {self.shape} with strides "
                f"{self.strides}; copy it first"
            )
        return self.strided(wanted, strides)

    def view(self, dtype: DType) -> Array:
        """The same bits as another dtype of the same size."""
        if dtype.itemsize != self.dtype.itemsize:
            raise ValueError(f"view: {self.dtype} and {dtype} differ in size")
        return Array(self.memory, self.offset, self.shape, self.strides, dtype)

    def as_real(self) -> Array:
        """A complex array as one of its parts, in a last dimension of two."""
        strides = (*(2 * s for s in self.strides), 1)
        half = self.dtype.to_real()
        return Array(self.memory, 2 * self.offset, (*self.shape, 2), strides, half)

    def as_complex(self) -> Array:
        """The reverse: pairs that lie densely, in the last dimension, as complex elements."""
        if self.offset % 2:
            raise RuntimeError("view_as_complex: Tensor must have a storage_offset divisible by 2")
        strides = tuple(s // 2 for s in self.strides[:-1])
        whole = self.dtype.to_complex()
        return Array(self.memory, self.offset // 2, self.shape[:-1], strides, whole)

    @property
    def real(self) -> Array:
        """The real parts of a complex array."""
        return self.as_real()[..., 0]

    @property
    def imag(self) -> Array:
        """The imaginary parts of a complex array."""
        return self.as_real()[..., 1]

    def __getitem__(self, index: Any) -> Array:
        """A view by ints, slices, None and Ellipsis."""
        items = list(index) if isinstance(index, tuple) else [index]
        used = builtins.sum(i is not None and i is not Ellipsis for i in items)
        if used > self.ndim:
            raise IndexError(f"too many indices ({used}) for an Array of shape {self.shape}")
        at = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
        items[at : at + 1] = [slice(None)] * (self.ndim - used)
        shape, strides, offset, dim = [], [], 0, 0
        for item in items:
            if item is None:
                shape.append(1)
                strides.append(0)
                continue
            n, stride = self.shape[dim], self.strides[dim]
            dim += 1
            if isinstance(item, slice):
                start, stop, step = item.indices(n)
                length = len(range(start, stop, step))
                offset += start * stride if length else 0
                shape.append(length)
                strides.append(stride * step)
            else:
                offset += _wrap_index(item, n) * stride
        return self.strided(shape, strides, offset)


def _wrap_index(index: Any, n: int) -> int:
    i = index.__index__()
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for a dimension of size {n}")
    return i % n


def view_strides(
    shape: Sequence[int], strides: Sequence[int], wanted: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides that show `wanted` in the memory of (`shape`, `strides`) without a copy, or None.

    Both have the same number of elements. Dimensions that lie densely behind each other are merged,
    then each merged run is cut into the wanted ones.
    """
    if 0 in shape:
        return contiguous_strides(wanted)
    runs = merged(shape, strides)
    out: list[int] = []
    cut = len(wanted)
    for n, stride in reversed(runs):
        filled = 1
        while cut and (filled < n or wanted[cut - 1] == 1):
            cut -= 1
            out.append(stride * filled)
            filled *= wanted[cut]
        if filled != n:
            return None
    out += [out[-1] if out else 1] * cut  # what is left has size 1
    return tuple(reversed(out))


def merged(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """(size, stride) of the fewest dimensions that visit the same memory in the same order."""
    runs: list[tuple[int, int]] = []
    for n, stride in zip(shape, strides):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * stride:
            runs[-1] = (runs[-1][0] * n, stride)
        else:
            runs.append((n, stride))
    return runs
