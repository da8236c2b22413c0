"""Indexing: `x[...]` and `x[...] = v`, and the records `index` and `index_put` behind them.

Integers, slices, None and Ellipsis make a view. Tensors of integers gather: where all of them stand
in neighbouring dimensions the result has their common shape in that place, else in front. Masks
become the positions of their true elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..autograd.rules import Rules, joint
from ..autograd.saved import Packed
from ..op import Op, primitive
from ..runtime import host, layout, parallel
from ..runtime.quiet import quiet
from ..tensor import Tensor, wrap
from . import rows
from .api import attach
from .interop import type_name
from .keys import basic, explain, parse
from .scatter import zeros_for
from .view import _slice, _view

ALL = slice(None)
SMALL = 256  # elements below which NumPy's own indexing costs least


# -- records -------------------------------------------------------------------------------------


class _IndexRules(Rules):
    """Saves the index tensors and the shape of what they index, not its values."""

    def save(
        self, inputs: Sequence, outputs: Sequence[Tensor], edges: Sequence, later: bool = False
    ) -> dict:
        first = self.op.inputs.index("indices")
        kept = [self._keep(t) for t in inputs[first:]]
        indices: list = [Packed(t) for t, _ in kept] if state.saved_hooks else kept
        return {"x_shape": tuple(inputs[0]._data.shape), "indices": indices}

    def names_input(self, needs: tuple[bool, ...], i: int) -> bool:
        return False


class IndexOp(Op):
    """An operator over a tensor and any number of index tensors, one for each of `dims`."""

    def __init__(self, name: str, inputs: Sequence[str], *, vjp: Any, **fields: Any) -> None:
        super().__init__(name, inputs, **fields)
        self.rules = _IndexRules(self, vjp)

    def write(self, x: Tensor, inputs: Sequence, params: dict) -> None:
        self.meta(*inputs, **params)  # type: ignore[misc]
        if not x.is_cpu:
            return super().write(x, inputs, params)
        put_at(x._data, inputs[1]._data, [t._data for t in inputs[2:]], **params)
        return None


def index_shape(indices: Sequence[Tensor]) -> tuple[int, ...]:
    """The shape that index tensors broadcast to."""
    shapes = [tuple(t._data.shape) for t in indices]
    try:
        return errors.broadcast_shapes("index", *shapes)
    except RuntimeError:
        listed = ", ".join(str(list(s)) for s in shapes)
        raise IndexError(
            f"index: shape mismatch: indexing tensors could not be broadcast together with "
            f"shapes {listed}"
        ) from None


def adjacent(dims: tuple[int, ...]) -> bool:
    return dims[-1] - dims[0] == len(dims) - 1


def result_shape(
    shape: Sequence[int], indices: Sequence[Tensor], dims: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape of `x[indices]`."""
    if len(dims) == 1:
        (d,) = dims
        return (*shape[:d], *indices[0]._data.shape, *shape[d + 1 :])
    lead = dims[0] if adjacent(dims) else 0
    rest = [n for d, n in enumerate(shape) if d not in dims]
    return (*rest[:lead], *index_shape(indices), *rest[lead:])


def _index_meta(x: Tensor, *indices: Tensor, dims: tuple[int, ...]) -> tuple:
    return result_shape(x._data.shape, indices, dims), x.dtype


def _index_vjp(g: Tensor, indices: list, x_shape: tuple, dims: tuple) -> tuple:
    return (index_put_op(zeros_for(g, x_shape), g, *indices, dims=dims, accumulate=True),)


@primitive(
    name="index",
    kind=IndexOp,
    meta=_index_meta,
    triton="index.index",
    exact=True,
    strided=True,
    vjp=joint(_index_vjp),
    samples=lambda s: [
        s((3, 4), s.ints(3, (5,)), dims=(0,)),
        s((3, 4), s.ints(4, (2, 2)), dims=(1,)),
        s((2, 3, 4), s.ints(2, (3,)), s.ints(3, (2, 1)), dims=(0, 1)),
        s((2, 3, 2), s.ints(2, (3,)), s.ints(2, (3,), low=-2), dims=(0, 2)),
        s((3, 4), s.ints(1, (0,)), dims=(0,)),
    ],
)
def index_op(x: Any, *indices: Any, dims: tuple[int, ...]) -> Any:
    """`x[..., i0, i1, ...]` with an integer tensor for each of `dims`, which broadcast."""
    out = _gathered(x, indices, dims)
    plain = x.flags.c_contiguous and all(i.flags.c_contiguous for i in indices)
    order = None if plain and 1 not in out.shape else _order(x, indices, dims, out.shape)
    if order is None:
        return out if out.flags.c_contiguous else rows.copy_of(out)
    turned = host.empty(tuple(out.shape[d] for d in order), out.dtype)
    return parallel.copy(turned.transpose(layout.inverse(order)), out)


def _gathered(x: np.ndarray, indices: Sequence[np.ndarray], dims: tuple[int, ...]) -> np.ndarray:
    if len(dims) == 1:
        if x.size <= SMALL and indices[0].size <= SMALL:
            if not x.shape[dims[0]]:  # NumPy overlooks it where the result is empty
                _check_bounds(x.shape, indices, dims)
            try:
                return x[indices[0]] if dims == (0,) else x.take(indices[0], dims[0])
            except IndexError:
                _check_bounds(x.shape, indices, dims)
                raise
        return rows.take(x, indices[0], dims[0])
    _check_bounds(x.shape, indices, dims)
    return x[_key(x.ndim, indices, dims)]


def _order(x: Any, indices: Sequence, dims: tuple, shape: tuple) -> tuple[int, ...] | None:
    """The order of dimensions in memory: what is indexed has no order of its own, but its index."""
    n = max(i.ndim for i in indices)
    lead = dims[0] if adjacent(dims) else 0
    rest = [s for d, s in enumerate(x.strides) if d not in dims]
    operands = [(shape, (*rest[:lead], *(0,) * n, *rest[lead:]))]
    for i in indices:
        first, last = (i.strides[0] * i.shape[0], i.strides[-1]) if i.ndim else (1, 1)
        before, after = n - i.ndim + lead, len(rest) - lead
        ones = (1,) * before + i.shape + (1,) * after
        operands.append((ones, (first,) * before + i.strides + (last,) * after))
    return layout.order_of(shape, tuple(operands))


def _key(n: int, indices: Sequence[np.ndarray], dims: tuple[int, ...]) -> tuple:
    key: list[Any] = [ALL] * n
    for d, i in zip(dims, indices, strict=True):
        key[d] = i
    return tuple(key)


def _check_bounds(shape: tuple, indices: Sequence[np.ndarray], dims: tuple[int, ...]) -> None:
    for i, d in zip(indices, dims, strict=True):
        rows.check_bounds(i, shape[d], d, wrap=True)


def _put_meta(
    x: Tensor, values: Tensor, *indices: Tensor, dims: tuple[int, ...], accumulate: bool
) -> tuple:
    shape = tuple(x._data.shape)
    want = result_shape(shape, indices, dims)
    have = tuple(values._data.shape)
    if len(have) > len(want) or any(
        n not in (1, m) for n, m in zip(have[::-1], want[::-1], strict=False)
    ):
        raise RuntimeError(
            f"index_put: shape mismatch: value tensor of shape {list(have)} cannot be broadcast "
            f"to indexing result of shape {list(want)}"
        )
    return shape, x.dtype


def _put_vjp(
    g: Tensor, indices: list, x_shape: tuple, dims: tuple, accumulate: bool, needs: list
) -> tuple:
    gx = gv = None
    if needs[0]:
        zero = g.new_zeros(())  # type: ignore[attr-defined]
        gx = g if accumulate else index_put_op(g, zero, *indices, dims=dims, accumulate=False)
    if needs[1]:
        gv = index_op(g, *indices, dims=dims)
    return gx, gv


@primitive(
    name="index_put",
    kind=IndexOp,
    meta=_put_meta,
    triton="scatter.index_put",
    exact=True,
    strided=True,
    vjp=joint(_put_vjp),
    samples=lambda s: [
        s((3, 4), (2, 4), np.array([2, 0]), dims=(0,), accumulate=False),
        s((3, 4), (5, 4), s.ints(3, (5,)), dims=(0,), accumulate=True),
        s((2, 3, 2), (), s.ints(2, (3,)), s.ints(2, (3,)), dims=(0, 2), accumulate=True),
        s((2, 3), (1,), np.array([[0], [1]]), np.array([0, 2]), dims=(0, 1), accumulate=False),
        s((2, 3), (0, 3), s.ints(2, (0,)), dims=(0,), accumulate=True),
    ],
)
def index_put_op(
    x: Any, values: Any, *indices: Any, dims: tuple[int, ...], accumulate: bool
) -> Any:
    """A copy of `x` with `values` stored, or added, where `index` would read."""
    out = rows.copy_of(x, strided=True)
    put_at(out, values, indices, dims, accumulate)
    return out


index_put_op.same_value = True  # deprecated for expanded tensors in PyTorch, and done


def put_at(
    out: np.ndarray,
    values: np.ndarray,
    indices: Sequence[np.ndarray],
    dims: tuple[int, ...],
    accumulate: bool,
) -> None:
    """Store or add `values` at index arrays of `out`, in place."""
    _check_bounds(out.shape, indices, dims)
    if not accumulate:
        out[_key(out.ndim, indices, dims)] = values
        return
    rows.add_at(out, indices, dims, values)


# -- keys ----------------------------------------------------------------------------------------


def getitem(self: Tensor, key: Any) -> Tensor:
    """`self[key]`: a view for integers, slices, None and Ellipsis, else a gathered copy."""
    plain = basic(key, self._data.ndim)
    if plain is None:
        short = _short(self, key) if key.__class__ is Tensor else None
        return _general(self, key) if short is None else short
    try:
        return _slice(self, key=plain)
    except IndexError:
        explain(self, plain)


def _short(x: Tensor, key: Tensor) -> Tensor | None:
    """The short way for one tensor of integers, or one mask that fits, on the CPU."""
    data, shape = key._data, x._data.shape
    if not data.ndim or not shape or not data.__class__ is x._data.__class__ is np.ndarray:
        return None
    if key.dtype is dtypes.int64:
        return index_op(x, key, dims=(0,))
    if key.dtype is not dtypes.bool_ or data.shape != shape[: data.ndim]:
        return None
    if data.ndim > 1:
        if not x._data.flags.c_contiguous:
            return None
        x = _view(x, shape=(data.size, *shape[data.ndim :]))
    return index_op(x, wrap(np.flatnonzero(data), dtypes.int64), dims=(0,))


def _general(x: Tensor, key: Any) -> Tensor:
    view, indices, dims = parse(x, key)
    return index_op(view, *indices, dims=dims) if dims else view


# -- writing -------------------------------------------------------------------------------------


def setitem(self: Tensor, key: Any, value: Any) -> None:
    """`self[key] = value`: the value broadcasts; a number is cast, as `fill_` does."""
    if not isinstance(value, Tensor):
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, bool | int | float | complex):
            raise TypeError(f"can't assign a {type(value).__name__} to a {type_name(self)}")
    if key is False or _store(self, key, value):
        return  # for False as in PyTorch: not even a new version
    view, indices, dims = parse(self, key) if _advanced(key) else (getitem(self, key), [], ())
    if not dims:
        if isinstance(value, Tensor):
            view.copy_(_without_leading_ones(value, view._data.ndim))  # type: ignore[attr-defined]
        else:
            view.fill_(value)  # type: ignore[attr-defined]
        return
    if not isinstance(value, Tensor):
        value = view.new_full((), value)  # type: ignore[attr-defined]
    put_in_place(view, value, indices, dims, False)


def _store(x: Tensor, key: Any, value: Any) -> bool:
    """The short way on the CPU where nothing is recorded; False where it does not apply."""
    source = value._data if isinstance(value, Tensor) else value
    if state.transforms or x._data.__class__ is not np.ndarray:
        return False
    if state.grad and (x.requires_grad or (source is not value and value.requires_grad)):
        return False
    plain = basic(key, x._data.ndim)
    if plain is None:
        return False
    try:
        target = x._data[(*plain, ...)]
        if 0 in target.strides:
            return False
        if source is not value:
            if source.__class__ is not np.ndarray or source.dtype != target.dtype:
                return False
            if value._storage is None or value._storage is not x._storage:
                target[...] = source
            elif not _same_memory(target, source):
                return False
        elif x.dtype.category == 2 and source.__class__ in (int, float):
            with quiet():
                target[...] = source
        else:
            return False
    except (IndexError, ValueError, OverflowError):
        return False
    x.storage_.bump("copy_" if source is not value else "fill_")
    return True


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the very same elements, as in `x[0] += 1`."""
    if a.shape != b.shape or a.strides != b.strides:
        return False
    return a.__array_interface__["data"] == b.__array_interface__["data"]


def _advanced(key: Any) -> bool:
    return any(
        k is not None and k is not Ellipsis and k.__class__ is not int and k.__class__ is not slice
        for k in (key if key.__class__ is tuple else (key,))
    )


def _without_leading_ones(value: Tensor, n: int) -> Tensor:
    shape = tuple(value._data.shape)
    extra = len(shape) - n
    if extra <= 0 or any(m != 1 for m in shape[:extra]):
        return value
    return _slice(value, key=(0,) * extra)


def put_in_place(
    x: Tensor, value: Tensor, indices: list[Tensor], dims: tuple[int, ...], accumulate: bool
) -> Tensor:
    if value.dtype is not x.dtype:
        raise RuntimeError(
            "index_put_: Index put requires the source and destination dtypes match, got "
            f"{x.dtype} for the destination and {value.dtype} for the source."
        )
    if value.device != x.device and not value.ndim:
        value = value.to(x.device)  # type: ignore[attr-defined]
    n = x._data.ndim - len(dims) + len(index_shape(indices))
    value = _without_leading_ones(value, n)
    return index_put_op.inplace(x, value, *indices, dims=dims, accumulate=accumulate)


def delitem(self: Tensor, key: Any) -> None:
    """Refused: a tensor's elements can be changed, not deleted."""
    raise TypeError("Tensor does not support deleting items; index the ones to keep, as x[kept]")


attach("__getitem__", getitem)
attach("__delitem__", delitem)
attach("__setitem__", setitem)
