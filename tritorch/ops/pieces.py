"""Views of parts: one index, a range, and cuts into several pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from .. import errors
from ..tensor import Tensor
from .api import PUBLIC, attach, public
from .view import _slice


def index_of(name: str, index: Any, n: int, d: int, shape: tuple) -> int:
    """An index into a dimension of size n, counted from the front."""
    i = int(index)
    if not -n <= i < n:
        raise IndexError(
            f"{name}: index {i} is out of bounds for dimension {d} with size {n} of "
            f"shape {tuple(shape)}"
        )
    return i + n if i < 0 else i


@public()
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The view at one index of a dimension, without that dimension."""
    shape = input._data.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = errors.wrap_dim("select", dim, shape)
    i = index_of("select()", index, shape[d], d, shape)
    return _slice(input, key=(slice(None),) * d + (i,))


@public()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """The view of `length` elements of a dimension from `start` on."""
    shape = input._data.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d, start, n = errors.wrap_dim("narrow", dim, shape), int(start), 0
    n = shape[d]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"narrow: Dimension out of range (expected start in [{-n}, {n}], got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})."
        )
    return _slice(input, key=(slice(None),) * d + (slice(start, start + length),))


def multiple(parts: list[Tensor]) -> tuple[Tensor, ...]:
    """Mark views as results of one operator, which may not be changed in place when recorded."""
    for part in parts:
        part._view.forbidden = part._view.forbidden or "multi"  # type: ignore[union-attr]
    return tuple(parts)


def pieces(name: str, input: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    shape = input._data.shape
    if not shape:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor")
    d, start, found = errors.wrap_dim(name, dim, shape), 0, []
    for n in sizes:
        found.append(_slice(input, key=(slice(None),) * d + (slice(start, start + n),)))
        start += n
    return multiple(found)


@public(method=False)
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces: of one size, the last smaller, or of the sizes in a list."""
    if not tensor._data.shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    n = tensor._data.shape[errors.wrap_dim("split", dim, tensor._data.shape)]
    size = split_size_or_sections
    if isinstance(size, int):
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be positive, but got split_size={size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
        return pieces("split", tensor, sizes, dim)
    sizes = [int(s) for s in size]
    if sum(sizes) != n or any(s < 0 for s in sizes):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {dim}), but got split_sizes={sizes}"
        )
    return pieces("split", tensor, sizes, dim)


PUBLIC["split_with_sizes"] = PUBLIC["split"]
attach("split", lambda self, split_size, dim=0: split(self, split_size, dim))
attach("split_with_sizes", lambda self, split_sizes, dim=0: split(self, split_sizes, dim))


@public()
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of consecutive pieces of equal size, the last smaller."""
    if not input._data.shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks < 1:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._data.shape[errors.wrap_dim("chunk", dim, input._data.shape)]
    size = -(-n // chunks)
    return pieces("chunk", input, [0] * chunks, dim) if n == 0 else split(input, size, dim)


@public()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces: that many of nearly equal size, or cut at the given indices."""
    if not input._data.shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    n = input._data.shape[errors.wrap_dim("tensor_split", dim, input._data.shape)]
    cut = indices_or_sections
    if isinstance(cut, Tensor):
        cut = cut.tolist()  # type: ignore[attr-defined]
    if isinstance(cut, int):
        if cut <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cut}")
        return pieces("tensor_split", input, [n // cut + (i < n % cut) for i in range(cut)], dim)
    edges = [0, *(min(max(i + n if i < 0 else i, 0), n) for i in cut), n]
    d = errors.wrap_dim("tensor_split", dim, input._data.shape)
    return multiple(
        [
            _slice(input, key=(slice(None),) * d + (slice(a, max(a, b)),))
            for a, b in itertools.pairwise(edges)
        ]
    )


@public()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all slices of a dimension."""
    shape = input._data.shape
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = errors.wrap_dim("unbind", dim, shape)
    return multiple([select(input, d, i) for i in range(shape[d])])
