"""Slices of one dimension by a vector of positions: index_select, index_add, index_copy ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import check_writable, primitive
from ..tensor import Tensor
from . import rows
from .api import attach, public, write_out
from .arithmetic import mul, where
from .scatter import (
    Call,
    Update,
    _spec,
    gather,
    publish,
    same_device_index,
    scatter_reduce,
    zeros_for,
)


def _vector(name: str, x: Tensor, dim: int, index: Any) -> int:
    """The checked dimension; `index` is a vector of integers."""
    d = errors.wrap_dim(name, dim, x._data.shape)
    same_device_index(name, x, index)
    if index._data.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, got shape {tuple(index.shape)}"
        )
    return d


def _check(index: np.ndarray, n: int, error: type[Exception] = IndexError) -> None:
    index = np.ascontiguousarray(index, np.int64)
    if index.size and int(index.view(np.uint64).max()) >= n:  # a negative number is a large one
        bad = int(index.min()) if index.min() < 0 else int(index.max())
        raise error(f"index out of range in self: index {bad}, size {n}")


def _select_meta(x: Tensor, index: Tensor, *, dim: int) -> tuple:
    shape = tuple(x._data.shape)
    if not shape:
        return (), x.dtype
    return (*shape[:dim], index._data.size, *shape[dim + 1 :]), x.dtype


def _select_vjp(g: Tensor, x_shape: tuple, index: Tensor, dim: int) -> Any:
    return index_add_op(zeros_for(g, x_shape), index, g, dim=dim, alpha=1)


@primitive(
    name="index_select",
    meta=_select_meta,
    triton="index.index_select",
    exact=True,
    vjp=(_select_vjp, None),
    samples=lambda s: [
        s((3, 4), s.ints(3, (5,)), dim=0),
        s((2, 3, 2), s.ints(3, (2,)), dim=1),
        s((3,), s.ints(1, (0,)), dim=0),
    ],
)
def select_op(x: Any, index: Any, *, dim: int) -> Any:
    if not x.ndim:
        _check(index, 1)
        return x.copy()
    _check(index, x.shape[dim], RuntimeError if dim == 1 else IndexError)  # as in PyTorch
    return rows.take(x, index.reshape(-1), dim, checked=True)


@public()
def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices of a dimension at the positions in a vector, as a copy."""
    d = _vector("index_select", input, dim, index)
    if not input._data.ndim and index._data.size != 1:
        raise RuntimeError(
            f"index_select(): Index to scalar can have only 1 value, got {index._data.size}"
        )
    shape = input._data.shape
    if len(shape) > 1 and not shape[d] and index._data.size:
        raise RuntimeError(
            f"index_select(): dimension {d} of shape {tuple(shape)} has no elements to select"
        )
    if out is None:
        return select_op(input, index, dim=d)
    check_writable("index_select", out)
    if out.storage_ is input.storage_:
        raise RuntimeError(
            "index_select: unsupported operation: some elements of the input tensor and the "
            "written-to tensor refer to a single memory location. Please clone() the tensor "
            "before performing the operation."
        )
    return write_out("index_select", out, select_op(input.detach(), index, dim=d))


# -- writing -------------------------------------------------------------------------------------


def _add(out: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int, alpha: Any) -> None:
    if not out.ndim:
        out, source = out.reshape(1), source.reshape(-1)
    _check(index, out.shape[dim])
    if alpha != 1:
        source = source * np.asarray(alpha).astype(source.dtype)
    rows.add_along(out, index.reshape(-1), source, dim)


index_add_op = Update(
    "index_add",
    ("x", "index", "source"),
    meta=_spec,
    triton="scatter.index_add",
    cpu=_add,
    vjp=(
        lambda g: g,
        None,
        lambda g, index, source_shape, dim, alpha: _scaled(
            select_op(g, index, dim=dim), alpha
        ).reshape(source_shape),
    ),
    samples=lambda s: [
        s((3, 4), s.ints(3, (5,)), (5, 4), dim=0, alpha=1),
        s((2, 3, 2), s.ints(3, (4,)), (2, 4, 2), dim=1, alpha=2),
        s((2, 3), s.ints(3, (4,)), (2, 4), dim=1, alpha=1),
        s((3,), s.ints(3, (2,)), (2,), dim=0, alpha=0.5),
    ],
)


def _scaled(g: Tensor, alpha: Any) -> Any:
    return g if alpha == 1 else mul(g, alpha)


def _check_source(name: str, x: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    n = index._data.size
    if source.dtype is not x.dtype:
        raise RuntimeError(
            f"{name}(): self ({x.dtype}) and source ({source.dtype}) must have the same scalar type"
        )
    want, have = list(x._data.shape), list(source._data.shape)
    if want:
        want[d] = n
    if want != have and not (not want and n == 1 == source._data.size):
        raise RuntimeError(
            f"{name}(): Source/destination tensor must have same slice shapes: expected {want} for "
            f"{n} indices along dimension {d}, got {have}"
        )


@publish(index_add_op)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Call:
    """A copy with `alpha` times the slices of `source` added at the positions in a vector.

    Positions may repeat: the slices are added in order.
    """
    d = _vector("index_add", input, dim, index)
    _check_source("index_add", input, d, index, source)
    if input.dtype.category < 2 and isinstance(alpha, float | complex):
        raise RuntimeError(
            "index_add(): For integral input tensors, argument alpha must not be a floating point "
            "number."
        )
    return (input, index, source), {"dim": d, "alpha": alpha}


def _launch_put(launch: Any, out: Any, x: Any, index: Any, values: Any, *, dim: int) -> Any:
    from ..kernels import scatter

    if not x.shape or index.ndim != 1:
        return NotImplemented
    number = values.item() if isinstance(values, np.ndarray) else values
    return scatter.index_put(launch, out, x, number, index, dims=(dim,))


def _copy(out: np.ndarray, index: np.ndarray, source: np.ndarray, *, dim: int) -> None:
    if not out.ndim:
        out, source = out.reshape(1), source.reshape(-1)
    rows.check_bounds(index, out.shape[dim], dim, wrap=False)
    out[(slice(None),) * dim + (index.reshape(-1),)] = source


index_copy_op = Update(
    "index_copy",
    ("x", "index", "source"),
    meta=_spec,
    triton=_launch_put,
    cpu=_copy,
    exact=True,
    vjp=(
        lambda g, index, dim: index_fill_op(g, index, g.new_zeros(()), dim=dim),
        None,
        lambda g, index, source_shape, dim: select_op(g, index, dim=dim).reshape(source_shape),
    ),
    samples=lambda s: [
        s((3, 4), np.array([2, 0]), (2, 4), dim=0),
        s((2, 3, 2), np.array([1]), (2, 1, 2), dim=1),
    ],
)


@publish(index_copy_op)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Call:
    """A copy with the slices of `source` stored at the positions in a vector."""
    d = _vector("index_copy", input, dim, index)
    if index.dtype.name != "int64":
        raise RuntimeError(f"index_copy(): Expected a long tensor for index, but got {index.dtype}")
    n, m = source._data.ndim, input._data.ndim
    if n and m and n != m:
        raise IndexError(
            f"index_copy(): When source and destination are not scalars, their dimensionality must "
            f"match. Source dimensionality ({n}), destination dimensionality ({m})"
        )
    if source._data.shape and source._data.shape[d] != index._data.size:
        raise IndexError(
            f"index_copy(): Number of indices ({index._data.size}) should be equal to "
            f"source.size(dim) ({source._data.shape[d]})"
        )
    _check_source("index_copy", input, d, index, source)
    return (input, index, source), {"dim": d}


def _fill(out: np.ndarray, index: np.ndarray, value: np.ndarray, *, dim: int) -> None:
    if not out.ndim:
        out = out.reshape(1)
    rows.check_bounds(index, out.shape[dim], dim, wrap=True)
    out[(slice(None),) * dim + (index.reshape(-1),)] = value.astype(out.dtype)


index_fill_op = Update(
    "index_fill",
    ("x", "index", "value"),
    meta=_spec,
    triton=_launch_put,
    cpu=_fill,
    exact=True,
    strided=True,
    vjp=(
        lambda g, index, dim: index_fill_op(g, index, g.new_zeros(()), dim=dim),
        None,
        lambda g, index, dim: (g - index_fill_op(g, index, g.new_zeros(()), dim=dim)).sum(),
    ),
    samples=lambda s: [
        s((3, 4), np.array([2, 0]), (), dim=0),
        s((2, 3, 2), np.array([1]), (), dim=1),
    ],
)
index_fill_op.same_value = True  # as with index_put_: deprecated for expanded tensors, and done


index_fill_op.same_value = True  # deprecated for expanded tensors in PyTorch, and done


@publish(index_fill_op, out=False)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Call:
    """A copy with the slices at the positions in a vector filled with a value."""
    d = errors.wrap_dim("index_fill", dim, input._data.shape)
    if index.dtype.name not in ("int64", "int32"):
        raise IndexError(f"index_fill(): Expected dtype int64 for index, got {index.dtype}")
    if isinstance(value, Tensor):
        if value._data.ndim:
            raise RuntimeError(
                "index_fill(): Only supports 0-dimension value tensor but got tensor with "
                f"{value._data.ndim} dimensions."
            )
    else:
        if isinstance(value, complex) and not input.dtype.is_complex:
            raise RuntimeError(
                "index_fill(): Converting complex Scalar to non-complex type is not supported"
            )
        value = input.new_full((), value)  # type: ignore[attr-defined]
    return (input, index, value), {"dim": d}


@public(out=True)
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """A copy whose slices at the positions in a vector are reduced with those of `source`.

    `reduce` is "prod", "mean", "amax" or "amin".
    """
    d = _vector("index_reduce", input, dim, index)
    _check_source("index_reduce", input, d, index, source)
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be prod, mean, amax or amin but got {reduce}."
        )
    if not input._data.ndim:
        index, source = index.reshape(()), source.reshape(())  # type: ignore[attr-defined]
    else:
        line = (1,) * d + (-1,) + (1,) * (input._data.ndim - 1 - d)
        index = index.reshape(line).expand(source.shape)  # type: ignore[attr-defined]
    return scatter_reduce(input, d, index, source, reduce, include_self=include_self)


def index_reduce_(
    self: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`index_reduce` in place."""
    return self.copy_(  # type: ignore[attr-defined]
        index_reduce(self, dim, index, source, reduce, include_self=include_self)
    )


attach("index_reduce_", index_reduce_)


def _size_of(x: Tensor, dim: int) -> int:
    shape = x._data.shape or (1,)
    return shape[errors.wrap_dim("take_along_dim", dim, shape)]


@public()
def take_along_dim(
    input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """`gather` of broadcast tensors, as after `argsort`; without `dim` of the flattened ones."""
    if indices.dtype is not dtypes.int64 and (dim is not None or indices.dtype is not dtypes.int32):
        raise RuntimeError(
            f"take_along_dim(): dtype of indices should be Long but got {indices.dtype}"
        )
    n = input._data.size if dim is None else _size_of(input, dim)
    indices = where(indices < 0, indices + n, indices)
    if dim is None:
        found = gather(input.reshape(-1), 0, indices.reshape(-1))  # type: ignore[attr-defined]
        return found if out is None else write_out("take_along_dim", out, found)
    a, b = list(input._data.shape), list(indices._data.shape)
    if len(a) != len(b):
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but "
            f"got {len(a)} dimensions for input, and {len(b)} dimensions for indices"
        )
    d = errors.wrap_dim("take_along_dim", dim, a)
    a[d], b[d] = (b[d], a[d]) if a else (0, 0)
    common_a = errors.broadcast_shapes("take_along_dim", b, input._data.shape)
    common_b = errors.broadcast_shapes("take_along_dim", a, indices._data.shape)
    found = gather(input.expand(common_a), d, indices.expand(common_b))  # type: ignore
    return found if out is None else write_out("take_along_dim", out, found)
