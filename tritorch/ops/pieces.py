"""Views of parts: one index, a range, and cuts into several pieces."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes, errors
from ..tensor import Tensor
from .api import PUBLIC, attach, called, public
from .arguments import renamed
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
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != 1):
        raise RuntimeError(
            f"narrow: start must be an 0-dim integral Tensor, got {start.dtype} of shape "
            f"{tuple(start.shape)}"
        )
    d, start = errors.wrap_dim("narrow", dim, shape), int(start)
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


@called("split_with_sizes")
def _split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Any:
    """Views of pieces of these sizes."""
    return split(input, split_sizes, dim)


PUBLIC["split_with_sizes"] = _split_with_sizes
attach("split", lambda self, split_size, dim=0: split(self, split_size, dim))
attach("split_with_sizes", _split_with_sizes)


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
def tensor_split(
    input: Tensor,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    sections: Any = None,
    indices: Any = None,
    tensor_indices_or_sections: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Views of pieces: that many of nearly equal size, or cut at the given indices."""
    ways = (indices_or_sections, sections, indices, tensor_indices_or_sections)
    given = [way for way in ways if way is not None]
    if len(given) != 1:
        raise TypeError(
            f"tensor_split(): expected one of sections and indices, got {len(given)} of them"
        )
    if not input._data.shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    n = input._data.shape[errors.wrap_dim("tensor_split", dim, input._data.shape)]
    (cut,) = given
    if isinstance(cut, Tensor):
        if cut.dtype is not dtypes.int64 or cut._data.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be of at most one dimension "
                f"and of dtype int64, but got {cut.dtype.name}{list(cut.shape)}"
            )
        cut = cut.tolist()  # type: ignore[attr-defined]
    if isinstance(cut, int):
        if cut <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cut}")
        edges = [i * (n // cut) + min(i, n % cut) for i in range(cut + 1)]
    else:
        edges = [0, *(min(max(i + n if i < 0 else i, 0), n) for i in cut), n]
    d = errors.wrap_dim("tensor_split", dim, input._data.shape)
    return tuple(  # slices one by one, which may be changed in place
        _slice(input, key=(slice(None),) * d + (slice(a, max(a, b)),))
        for a, b in itertools.pairwise(edges)
    )


def _split_along(name: str, least: int, dim_of: Callable[[int], int], which: str) -> None:
    def function(
        input: Tensor, indices_or_sections: Any = None, *, indices: Any = None, sections: Any = None
    ) -> tuple[Tensor, ...]:
        cut = next((c for c in (indices_or_sections, indices, sections) if c is not None), None)
        shape = input._data.shape
        if len(shape) < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension"
                f"{'s' if least > 1 else ''}, but got a tensor with {len(shape)} dimensions!"
            )
        d = dim_of(len(shape))
        if isinstance(cut, int):
            if cut <= 0 or shape[d] % cut:
                raise RuntimeError(
                    f"torch.{name} attempted to split along dimension {d}, but the size of the "
                    f"dimension {shape[d]} is not divisible by the split_size {cut}!"
                )
        elif not isinstance(cut, tuple | list):
            raise TypeError(f"{name}(): received an invalid combination of arguments: {cut!r}")
        return tensor_split(input, cut, d)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Views of pieces of {which}: that many of equal size, or cut at the given indices."
    )
    public()(function)


_split_along("hsplit", 1, lambda n: min(n - 1, 1), "the second dimension, a vector's only one")
_split_along("vsplit", 2, lambda n: 0, "the first dimension")
_split_along("dsplit", 3, lambda n: 2, "the third dimension")


def _unsafe(name: str, f: Callable) -> None:
    """`split` and its like, whose results may be changed in place under autograd."""

    def function(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        parts = f(input, *args, **kwargs)
        for part in parts:
            if part._view.forbidden == "multi":
                part._view.forbidden = None
        return parts

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{f.__name__}`, whose results may be changed in place under autograd."
    function.__signature__ = inspect.signature(f)  # type: ignore[attr-defined]
    PUBLIC[name] = function
    attach(name, function)


_unsafe("unsafe_split", renamed(split, tensor="input", split_size_or_sections="split_size"))
_unsafe("unsafe_chunk", chunk)
_unsafe("unsafe_split_with_sizes", _split_with_sizes)


@public()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all slices of a dimension."""
    shape = input._data.shape
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = errors.wrap_dim("unbind", dim, shape)
    return multiple([select(input, d, i) for i in range(shape[d])])
