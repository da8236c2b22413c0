"""Reading and writing along one dimension by index: gather, scatter, index_select, index_add ..."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import Op, primitive
from ..tensor import Tensor, from_data
from . import rows
from .api import PUBLIC, attach, public, with_out
from .arithmetic import where

ALL = slice(None)


class Update(Op):
    """An operator that changes some elements of its first input.

    Its body is `change(out, *others, **params)` on an array that holds the input's values. In place
    it runs on the tensor's own memory.
    """

    def __init__(self, name: str, inputs: Sequence[str], *, cpu: Callable, **fields: Any) -> None:
        def fresh(x: np.ndarray, *others: Any, **params: Any) -> np.ndarray:
            out = rows.copy_of(x)
            cpu(out, *others, **params)
            return out

        super().__init__(name, inputs, cpu=fresh, **fields)
        self.change = cpu

    def write(self, x: Tensor, inputs: Sequence, params: dict) -> None:
        data = x._data
        if not x.is_cpu or (x.dtype.category == 2 and x.itemsize < 4 and not self.exact):
            super().write(x, inputs, params)
            return
        self.meta(*inputs, **params)  # type: ignore[misc]
        self.change(data, *(t._data for t in inputs[1:]), **params)


def publish(op: Op, *aliases: str, out: bool = True) -> Callable:
    """The public forms of an operator from a function that gives its inputs and parameters."""

    def declare(prepare: Callable) -> Callable:
        name = prepare.__name__

        @functools.wraps(prepare)
        def function(*args: Any, **kwargs: Any) -> Tensor:
            inputs, params = prepare(*args, **kwargs)
            return op(*inputs, **params)

        @functools.wraps(prepare)
        def change(*args: Any, **kwargs: Any) -> Tensor:
            inputs, params = prepare(*args, **kwargs)
            return op.inplace(*inputs, **params)

        function.__annotations__ = {**prepare.__annotations__, "return": "Tensor"}
        change.__name__ = change.__qualname__ = f"{name}_"
        for n in (name, *aliases):
            PUBLIC[n] = with_out(function) if out else function
            attach(n, function)
            attach(f"{n}_", change)
        return function

    return declare


Call = tuple[tuple, dict]


def same_device_index(name: str, x: Tensor, index: Any) -> Tensor:
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype.name not in ("int64", "int32"):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index.dtype}")
    return index


def _spec(x: Tensor, *others: Any, **params: Any) -> tuple:
    return tuple(x._data.shape), x.dtype


# -- gather and scatter -----------------------------------------------------------------------------


def _check_index(name: str, x: Tensor, index: Any, d: int, src: Tensor | None = None) -> Tensor:
    """That an index tensor fits: as many dimensions, nowhere larger but along `d`."""
    index = same_device_index(name, x, index)
    if not index._data.size:
        return index
    shape = tuple(x._data.shape) or (1,)
    have = tuple(index._data.shape) or (1,)
    if len(have) != len(shape):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as self tensor: shapes "
            f"{errors.shapes(index, x)}"
        )
    if any(a > b for i, (a, b) in enumerate(zip(have, shape, strict=True)) if i != d):
        raise RuntimeError(
            f"{name}(): Size does not match: expected index {list(have)} to be no larger than self "
            f"{list(shape)} apart from dimension {d}"
        )
    if src is not None:
        size = tuple(src._data.shape) or (1,)
        if len(size) != len(have):
            raise RuntimeError(
                f"{name}(): Index tensor must have the same number of dimensions as src tensor: "
                f"shapes {errors.shapes(index, src)}"
            )
        if any(a > b for a, b in zip(have, size, strict=True)):
            raise RuntimeError(
                f"{name}(): Expected index {list(have)} to be no larger than self {list(shape)} "
                f"apart from dimension {d} and to be no larger size than src {list(size)}"
            )
    return index


def zeros_for(g: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of a shape that take no memory: something to scatter a gradient into."""
    return g.new_zeros(()).expand(tuple(shape))  # type: ignore[attr-defined]


def _gather_meta(x: Tensor, index: Tensor, *, dim: int) -> tuple:
    return tuple(index._data.shape), x.dtype


def _gather_vjp(g: Tensor, x_shape: tuple, index: Tensor, dim: int) -> Tensor:
    return scatter_op(
        zeros_for(g, x_shape), index, g, dim=dim, reduce="add", include_self=True
    )


@primitive(
    name="gather",
    meta=_gather_meta,
    triton="index.gather",
    exact=True,
    vjp=(_gather_vjp, None),
    samples=lambda s: [
        s((3, 4), s.ints(3, (2, 4)), dim=0),
        s((3, 4), s.ints(4, (3, 7)), dim=1),
        s((2, 3, 4), s.ints(3, (2, 5, 3)), dim=1),
        s((), s.ints(1, ()), dim=0),
    ],
)
def gather_op(x: Any, index: Any, *, dim: int) -> Any:
    if not index.size:
        return np.empty(index.shape, x.dtype)
    if not x.ndim:
        return np.broadcast_to(x, index.shape).copy()
    rows.check_bounds(index, x.shape[dim], dim, wrap=False)
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(index.shape, x.dtype) if index.size < rows.LARGE else None
    if out is not None:
        return np.take(flat, rows.element_positions(x.shape, index, dim), out=out, mode="clip")
    return rows.gather_big(flat, x.shape, index, dim)


@public(out=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """`out[i][j] = input[index[i][j]][j]` for dim 0, and so on; the shape is that of `index`.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([[1, 2], [3, 4]])
        >>> torch.gather(x, 1, torch.tensor([[0, 0], [1, 0]])).tolist()
        [[1, 1], [4, 3]]
    """
    d = errors.wrap_dim("gather", dim, input._data.shape)
    return gather_op(input, _check_index("gather", input, index, d), dim=d)


def _reduced(x: Tensor, index: Tensor, src: Tensor, *, dim: int, reduce: Any, **_: Any) -> tuple:
    return tuple(x._data.shape), x.dtype


_UFUNCS = {"add": np.add, "multiply": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _identity(reduce: str, dtype: np.dtype) -> Any:
    """What leaves every value as it is."""
    if reduce in ("add", "mean"):
        return 0
    if reduce == "multiply":
        return 1
    if dtype.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    if dtype.kind == "b":
        return reduce == "amin"
    info = np.iinfo(dtype)
    return info.min if reduce == "amax" else info.max


def _change_at(
    out: np.ndarray,
    index: np.ndarray,
    src: np.ndarray,
    *,
    dim: int,
    reduce: str | None,
    include_self: bool,
) -> None:
    """Store, or reduce, `src` into `out` where `gather` would read."""
    if not index.size:
        return
    if not out.ndim:
        out = out.reshape(1)
    index = index.reshape(index.shape or (1,))
    rows.check_bounds(index, out.shape[dim], dim, wrap=False)
    src = src.reshape(src.shape or (1,))[tuple(slice(0, n) for n in index.shape)]
    wide = out if out.flags.c_contiguous else rows.copy_of(out)
    flat = wide.reshape(-1)
    at = rows.element_positions(out.shape, index, dim).reshape(-1)
    src = src.reshape(-1)
    if reduce is None:
        flat[at] = src
    else:
        _reduce_at(flat, at, src, reduce, include_self)
    if wide is not out:
        np.copyto(out, wide)


def _reduce_at(
    flat: np.ndarray, at: np.ndarray, src: np.ndarray, reduce: str, include_self: bool
) -> None:
    if not include_self:
        flat[at] = _identity(reduce, flat.dtype)
    if reduce != "mean":
        _UFUNCS[reduce].at(flat, at, src)
        return
    np.add.at(flat, at, src)
    count = np.bincount(at, minlength=flat.size)
    count += include_self
    hit = np.unique(at)
    divide = np.true_divide if flat.dtype.kind in "fc" else np.floor_divide
    flat[hit] = divide(flat[hit], count[hit].astype(flat.dtype))


def _scatter_vjp_x(
    g: Tensor,
    x: Tensor | None,
    index: Tensor,
    src: Tensor | None,
    out: Tensor | None,
    dim: int,
    reduce: str | None,
    include_self: bool,
) -> Any:
    if reduce == "add" and include_self:
        return g
    if reduce in (None, "add"):
        return _zero_at(g, index, dim)
    grad = _extreme_vjp if reduce in ("amax", "amin") else _REDUCTION_VJPS[reduce]
    return grad(g, x, index, src, out, dim, include_self)  # type: ignore[arg-type]


def _zero_at(g: Tensor, index: Tensor, dim: int) -> Tensor:
    zero = g.new_zeros(()).expand(index.shape)  # type: ignore[attr-defined]
    return scatter_op(g, index, zero, dim=dim, reduce=None, include_self=True)


def _joint_scatter(
    g: Tensor,
    x: Tensor,
    index: Tensor,
    src: Tensor,
    out: Tensor,
    dim: int,
    reduce: str,
    include_self: bool,
    needs: list,
) -> tuple:
    rule = {"mean": _mean_vjp, "multiply": _product_vjp}.get(reduce, _extreme_vjp)
    gx, gs = rule(g, x, index, src, out, dim, reduce, include_self)
    return (gx if include_self else _zero_at(gx, index, dim)), None, gs


def _add_at(x: Tensor, index: Tensor, src: Tensor, dim: int) -> Tensor:
    return scatter_op(x, index, src, dim=dim, reduce="add", include_self=True)


def _mean_vjp(
    g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int, r: str, include: bool
) -> tuple[Tensor, Tensor]:
    count = _add_at(g.new_full(x.shape, int(include)), index, src.detach() * 0 + 1, dim)  # type: ignore
    share = g / where(count == 0, 1, count)
    return share, gather_op(share, index, dim=dim)


def _extreme_vjp(
    g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int, r: str, include: bool
) -> tuple[Tensor, Tensor]:
    """Equal extremes share the gradient."""
    own, hits = (x == out).to(g.dtype), (src == gather_op(out, index, dim=dim)).to(g.dtype)  # type: ignore
    count = _add_at(own if include else own * 0, index, hits, dim)
    share = g / where(count == 0, 1, count)
    return own * share if include else g, hits * gather_op(share, index, dim=dim)


def _product_vjp(
    g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int, r: str, include: bool
) -> tuple[Tensor, Tensor]:
    """The product of the others: the quotient, but for a zero the product with a 1 in its place."""

    def again(a: Tensor, b: Tensor) -> Tensor:
        return scatter_op(a, index, b, dim=dim, reduce=r, include_self=include)

    full = where(x == 0, 1, x)
    gx = g * again(full, src) / full
    zero = src == 0
    count = _add_at(zeros_for(src, x.shape), index, zero.to(src.dtype), dim)  # type: ignore
    if include:
        count = count + (x == 0)
    alone = zero & (gather_op(count, index, dim=dim) == 1)
    others = again(x, where(alone, 1, src))
    quotient = gather_op(g * out, index, dim=dim) / where(zero, 1, src)
    return gx, where(alone, gather_op(g * others, index, dim=dim), quotient)


class _Scatter(Update):
    """`scatter` whose rules save values only for the reductions that need them."""

    def _rules(self) -> Any:
        return self.rules

    def record(self, inputs: Sequence, params: dict, out: Any) -> None:
        simple = params["reduce"] in (None, "add")
        Op.record(self if simple else valued_op, inputs, params, out)

    def inplace(self, *inputs: Any, **params: Any) -> Tensor:
        simple = params["reduce"] in (None, "add")
        return Op.inplace(self if simple else valued_op, *inputs, **params)


def _src_vjp(g: Tensor, index: Tensor, src_shape: tuple, dim: int) -> Tensor:
    return gather_op(g, index, dim=dim)


_FIELDS: dict[str, Any] = {"meta": _reduced, "triton": "index.scatter", "cpu": _change_at}
