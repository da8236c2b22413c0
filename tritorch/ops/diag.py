"""Diagonals written, and the views of `select`, slices and strides written into a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import errors
from ..formats import contiguous_format
from ..tensor import Tensor
from .api import attach, public
from .pieces import select
from .strided import _diagonal, as_strided, diagonal
from .view import _slice, put_back


@public(out=True)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros with the last dimension as a diagonal of two new dimensions."""
    shape = list(input._data.shape)
    if not shape:
        raise RuntimeError("diag_embed: expected a tensor of at least one dimension")
    n = shape[-1] + abs(offset)
    a = errors.wrap_dim("diag_embed", dim1, (*shape, 1))
    b = errors.wrap_dim("diag_embed", dim2, (*shape, 1))
    if a == b:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    rest = shape[:-1]
    for d in sorted((a, b)):
        rest.insert(d, n)
    return put_back(input, tuple(rest), _diagonal, offset=offset, dim1=a, dim2=b)


@public(out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix with the vector as its diagonal; of a matrix, a copy of its diagonal."""
    n = input._data.ndim
    if n == 1:
        return diag_embed(input, diagonal)
    if n != 2:
        raise RuntimeError(
            f"diag(): Supports 1D or 2D tensors. Got {n}D of shape {tuple(input.shape)}"
        )
    return _diagonal(input, offset=diagonal, dim1=0, dim2=1).clone()


@public()
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flattened tensor as its diagonal."""
    return diag_embed(input.reshape(-1), offset)  # type: ignore[attr-defined]


def _store(name: str, out: Tensor, view: Tensor, src: Tensor) -> Tensor:
    """`out` after its view was overwritten."""
    if tuple(view._data.shape) != tuple(src._data.shape):
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(view.shape)}"
        )
    view.copy_(src)  # type: ignore[attr-defined]
    return out


@public(out=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with `src` at one index of a dimension."""
    out = input.clone()  # type: ignore[attr-defined]
    return _store("select_scatter", out, select(out, dim, index), src)


@public(out=True)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy with `src` at a slice of a dimension."""
    d = errors.wrap_dim("slice_scatter", dim, input._data.shape)
    if step <= 0:
        raise RuntimeError(f"slice_scatter: slice step must be positive, got {step}")
    out = input.clone()  # type: ignore[attr-defined]
    view = _slice(out, key=(slice(None),) * d + (slice(start, end, step),))
    return _store("slice_scatter", out, view, src)


@public(out=True)
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy with `src` as its diagonal."""
    out = input.clone()  # type: ignore[attr-defined]
    return _store("diagonal_scatter", out, diagonal(out, offset, dim1, dim2), src)


@public(out=True)
def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of the tensor's elements in order with `src` at a strided view of them."""
    out: Any = input.clone(memory_format=contiguous_format)  # type: ignore[attr-defined]
    return _store("as_strided_scatter", out, as_strided(out, size, stride, storage_offset), src)


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the elements whose indices are all equal; with `wrap` again below those of a tall matrix.

    More than two dimensions must be of one size.
    """
    shape = self._data.shape
    if len(shape) < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must larger than 1, got {tuple(shape)}")
    if len(shape) > 2:
        if len(set(shape)) > 1:
            raise RuntimeError(
                f"fill_diagonal_: all dimensions of input must be of equal length, got "
                f"{tuple(shape)}"
            )
        steps = self.stride()  # type: ignore[attr-defined]
        line: Any = as_strided(self, shape[:1], (sum(steps),), self.storage_offset())  # type: ignore
        line.fill_(fill_value)
        return self
    rows, columns = shape
    for start in range(0, rows if wrap else 1, columns + 1):
        part: Any = self[start : start + columns]  # type: ignore[index]
        diagonal(part).fill_(fill_value)  # type: ignore[attr-defined]
    return self


attach("fill_diagonal_", fill_diagonal_)
