"""Joining tensors: `cat`, `stack` and their relatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..autograd.rules import joint
from ..dtypes import DType
from ..op import Images, Op, in_order, primitive
from ..runtime import host, layout, parallel
from ..tensor import Tensor, wrap
from .api import PUBLIC, public
from .elementwise import zero
from .view import _slice

ALL = slice(None)


def common_dtype(xs: Sequence[Tensor]) -> DType:
    """The dtype that all promote to."""
    dtype = xs[0].dtype
    for x in xs[1:]:
        if x.dtype is not dtype:
            dtype = dtypes.promote_types(dtype, x.dtype)
    return dtype


def _cat_meta(*xs: Tensor, dim: int) -> tuple:
    first = xs[0]._data.shape
    total = 0
    for i, x in enumerate(xs):
        shape = x._data.shape
        if len(shape) != len(first):
            raise RuntimeError(
                f"cat: Tensors must have same number of dimensions: got {len(first)} and "
                f"{len(shape)}; shapes {errors.shapes(*xs)}"
            )
        if shape[:dim] != first[:dim] or shape[dim + 1 :] != first[dim + 1 :]:
            d = next(d for d in range(len(first)) if d != dim and shape[d] != first[d])
            raise RuntimeError(
                f"cat: Sizes of tensors must match except in dimension {dim}. Expected size "
                f"{first[d]} but got size {shape[d]} for tensor number {i} in the list; shapes "
                f"{errors.shapes(*xs)}"
            )
        total += shape[dim]
    return (*first[:dim], total, *first[dim + 1 :]), common_dtype(xs)


def _cat_vjp(g: Tensor, xs_shape: list, dim: int, needs: list) -> list:
    found: list[Tensor | None] = []
    start = 0
    for shape, need in zip(xs_shape, needs, strict=True):
        stop = start + shape[dim]
        part = _slice(g, key=(ALL,) * dim + (slice(start, stop),)) if need else None
        found.append(zero(part) if part is not None and shape == (0,) else part)
        start = stop
    return found


class _Joined(Images):
    """Channels last where those of all parts are."""

    def channels_last(self, arrays: Sequence) -> tuple[int, ...] | None:
        first = layout.channels_last(arrays[0])
        rest = arrays[1:] if first is not None else ()
        return first if all(layout.channels_last(a) is not None for a in rest) else None


@primitive(
    kind=_Joined,
    name="cat",
    meta=_cat_meta,
    triton="copy.cat",
    exact=True,
    vjp=joint(_cat_vjp),
    samples=lambda s: [
        s((2, 3), (1, 3), (4, 3), dim=0),
        s((2, 3), (2, 0), (2, 1), dim=1),
        s((4,), dim=0),
    ],
)
def cat_op(*xs: Any, dim: int) -> Any:
    """Arrays behind each other along `dim`."""
    first = xs[0]
    same = all(x.dtype == first.dtype for x in xs)
    size = sum(x.size for x in xs)
    if same and size <= parallel.BIG:
        return _concatenated(xs, dim)
    dtype = first.dtype
    for x in () if same else xs[1:]:
        dtype = dtypes.promote_types(dtypes.of(dtype), dtypes.of(x.dtype)).np
    total = sum(x.shape[dim] for x in xs)
    shape = (*first.shape[:dim], total, *first.shape[dim + 1 :])
    last = cat_op.channels_last(xs) is not None
    out = host.images(shape, dtype, first) if last else host.empty(shape, dtype)
    start = 0
    for x in xs:
        stop = start + x.shape[dim]
        copy_part(out[(ALL,) * dim + (slice(start, stop),)], x)
        start = stop
    return out


def copy_part(target: np.ndarray, source: np.ndarray) -> None:
    """Copy, over the threads where the array is big."""
    if target.size <= parallel.BIG or not target.ndim:
        np.copyto(target, source, casting="unsafe")
    else:
        parallel.elementwise(_copy, target, source)


def _copy(source: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, source, casting="unsafe")


def check_list(name: str, tensors: Any) -> list[Tensor]:
    """A list of tensors from a list, tuple or generator of them."""
    if isinstance(tensors, Tensor) or not hasattr(tensors, "__iter__"):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    found = list(tensors)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"{name}(): expected Tensor as element {i} in argument 0, but got "
                f"{type(t).__name__}"
            )
    return found


def _joined(tensors: Any, dim: int, new_dim: bool) -> Tensor | None:
    """Small tensors of one dtype on the CPU, joined the short way; None for all others."""
    if state.transforms or tensors.__class__ not in (list, tuple) or not tensors:
        return None
    dtype, size, datas = getattr(tensors[0], "dtype", None), 0, []
    for t in tensors:
        if t.__class__ is not Tensor or t.dtype is not dtype or t._data.__class__ is not np.ndarray:
            return None
        datas.append(t._data)
        size += t._data.size
    n = datas[0].ndim + new_dim
    if size > parallel.BIG or dim.__class__ is not int or not -n <= dim < n:
        return None
    dim = dim + n if dim < 0 else dim
    try:
        data = _concatenated(datas, dim, new_dim)
    except ValueError:
        return None
    out = wrap(data, dtype)  # type: ignore[arg-type]
    if state.grad:
        (stack_op if new_dim else cat_op).record(tensors, {"dim": dim}, out)
    return out


def _concatenated(arrays: Sequence[np.ndarray], dim: int, new_dim: bool = False) -> np.ndarray:
    """Joined in the ordinary order of dimensions or with channels last: NumPy keeps any order."""
    data = np.stack(arrays, dim) if new_dim else np.concatenate(arrays, dim)
    if data.flags.c_contiguous:
        return data
    order = cat_op.channels_last(arrays)
    if order is None or (new_dim and dim == arrays[0].ndim):
        return np.ascontiguousarray(data)
    if not new_dim:
        return in_order(data, order)
    joined = in_order(np.concatenate(arrays, dim), order)
    return joined.reshape(data.shape)


@public("concat", "concatenate", method=False, out=True)
def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors behind each other along an existing dimension, promoted to one dtype.

    All have the same shape but for `dim`; one-dimensional tensors without elements are left out.

    Example:
        >>> import tritorch as torch
        >>> torch.cat([torch.zeros(2, 1), torch.ones(2, 2)], dim=1).tolist()
        [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    if axis is not None:
        if dim:
            raise TypeError("cat() got both 'axis' and 'dim'")
        dim = axis
    quick = _joined(tensors, dim, False)
    if quick is not None:
        return quick
    found = check_list("cat", tensors)
    if not found:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    for i, t in enumerate(found):
        if not t._data.ndim:
            raise RuntimeError(
                f"cat: zero-dimensional tensor (at position {i}) cannot be concatenated"
            )
    real = [t for t in found if t._data.shape != (0,)]
    dtype = common_dtype(found)
    d = errors.wrap_dim("cat", dim, real[0]._data.shape) if real else 0  # nothing has no dims
    real = real or found[:1]
    out = cat_op(*real, dim=d)
    out = out if out.dtype is dtype else out.to(dtype)  # type: ignore[attr-defined]
    if len(real) < len(found) and not out.requires_grad:
        for t in found:
            if t.requires_grad and state.grad:  # left out, but the result has its history
                return out + t.sum().to(dtype)  # type: ignore[attr-defined]
    return out


# -- stack ---------------------------------------------------------------------------------------


def _stack_meta(*xs: Tensor, dim: int) -> tuple:
    shape = tuple(xs[0]._data.shape)
    for i, x in enumerate(xs):
        if tuple(x._data.shape) != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 "
                f"and {list(x.shape)} at entry {i}"
            )
    return (*shape[:dim], len(xs), *shape[dim:]), common_dtype(xs)


def _stack_vjp(g: Tensor, dim: int, needs: list) -> list:
    at = (ALL,) * dim
    return [_slice(g, key=(*at, i)) if need else None for i, need in enumerate(needs)]


def _launch_stack(launch: Any, out: Any, *xs: Any, dim: int) -> Any:
    from ..kernels import copy

    return copy.cat(launch, out, *(x[(ALL,) * dim + (None,)] for x in xs), dim=dim)


class _Stacked(Op):
    """Of channels that come last, the parts of what `cat` along the same dimension gives."""

    def compute(self, inputs: Sequence, params: dict) -> Any:
        shape, dim = self.meta(*inputs, **params)[0], params["dim"]  # type: ignore[misc]
        parts = [t._data for t in inputs]
        if dim == parts[0].ndim or cat_op.channels_last(parts) is None:
            return super().compute(inputs, params)
        return cat_op.compute(inputs, params).reshape(shape)


@primitive(
    kind=_Stacked,
    name="stack",
    meta=_stack_meta,
    triton=_launch_stack,
    exact=True,
    vjp=joint(_stack_vjp),
    samples=lambda s: [
        s((2, 3), (2, 3), dim=0),
        s((3,), (3,), (3,), dim=1),
        s((1,), (1,), dim=0),
        s((0,), (0,), dim=1),
    ],
)
def stack_op(*xs: Any, dim: int) -> Any:
    """Arrays of one shape along a new dimension."""
    return cat_op.cpu(*(np.expand_dims(x, dim) for x in xs), dim=dim)  # type: ignore[misc]


@public(method=False, out=True)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension, promoted to one dtype."""
    quick = _joined(tensors, dim, True)
    if quick is not None:
        return quick
    found = check_list("stack", tensors)
    if not found:
        raise RuntimeError("stack expects a non-empty TensorList")
    return stack_op(*found, dim=errors.wrap_dim("stack", dim, (*found[0]._data.shape, 1)))


# -- at least so many dimensions -----------------------------------------------------------------


def _at_least(n: int, grow: Callable[[Tensor], Tensor]) -> Callable:
    def at_least(*tensors: Any) -> Any:
        many = len(tensors) == 1 and isinstance(tensors[0], list | tuple)
        found = tuple(grow(t) for t in (tensors[0] if many else tensors))
        return found if many or len(tensors) > 1 else found[0]

    at_least.__name__ = at_least.__qualname__ = f"atleast_{n}d"
    at_least.__doc__ = f"Views of the tensors with dimensions of size 1 added up to {n}."
    PUBLIC[at_least.__name__] = at_least
    return at_least


def _grow_1(t: Tensor) -> Tensor:
    return t if t._data.ndim else _slice(t, key=(None,))


def _grow_2(t: Tensor) -> Tensor:
    n = t._data.ndim
    return t if n > 1 else _slice(t, key=(None,) * (2 - n))


def _grow_3(t: Tensor) -> Tensor:
    keys = {0: (None, None, None), 1: (None, ALL, None), 2: (ALL, ALL, None)}
    key = keys.get(t._data.ndim)
    return t if key is None else _slice(t, key=key)


atleast_1d = _at_least(1, _grow_1)
atleast_2d = _at_least(2, _grow_2)
atleast_3d = _at_least(3, _grow_3)


def _checked(name: str, tensors: Any) -> list[Tensor]:
    found = check_list(name, tensors)
    if not found:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return found


@public(method=False, out=True)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """`cat` along dimension 1, along 0 for vectors."""
    found = [_grow_1(t) for t in _checked("hstack", tensors)]
    return cat(found, 0 if found[0]._data.ndim == 1 else 1)


@public("row_stack", method=False, out=True)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """`cat` along dimension 0, vectors as rows."""
    return cat([_grow_2(t) for t in _checked("vstack", tensors)], 0)


@public(method=False, out=True)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """`cat` along dimension 2, with dimensions added up to three."""
    return cat([_grow_3(t) for t in _checked("dstack", tensors)], 2)


@public(method=False, out=True)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`hstack`, vectors as columns."""
    found = _checked("column_stack", tensors)
    return hstack([t.reshape(-1, 1) if t._data.ndim < 2 else t for t in found])  # type: ignore


@public(method=False)
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal and zeros elsewhere."""
    from .create import zeros
    from .pad import constant_pad_nd

    blocks = []
    for i, t in enumerate(tensors):
        if t._data.ndim > 2:
            raise RuntimeError(
                f"block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                f"{t._data.ndim} dimensions"
            )
        blocks.append(_grow_2(t))
    if not blocks:
        return zeros(1, 0)
    width, start, rows = sum(b._data.shape[1] for b in blocks), 0, []
    for b in blocks:
        n = b._data.shape[1]
        rows.append(constant_pad_nd(b, (start, width - start - n)))
        start += n
    return cat(rows, 0)
