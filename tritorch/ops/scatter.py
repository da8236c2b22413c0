"""Reading and writing along one dimension by index: gather, scatter, index_select, index_add ..."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import errors
from ..autograd.rules import joint
from ..op import Op, primitive
from ..tensor import Tensor
from . import rows
from .api import PUBLIC, attach, public, with_out
from .arithmetic import where
from .autocast import listed
from .view import _slice


class Update(Op):
    """An operator that changes some elements of its first input.

    Its body is `change(out, *others, **params)` on an array that holds the input's values. In place
    it runs on the tensor's own memory.
    """

    def __init__(self, name: str, inputs: Sequence[str], *, cpu: Callable, **fields: Any) -> None:
        def fresh(x: np.ndarray, *others: Any, **params: Any) -> np.ndarray:
            out = rows.copy_of(x, self.strided)
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

        function = listed(function)  # type: ignore
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


# -- gather and scatter --------------------------------------------------------------------------


def _check_index(name: str, x: Tensor, index: Any, d: int, src: Tensor | None = None) -> Tensor:
    """That an index tensor fits: as many dimensions, nowhere larger but along `d`."""
    index = same_device_index(name, x, index)
    if not index._data.size:
        return index
    shape = tuple(x._data.shape) or (1,)
    have = tuple(index._data.shape) or (1,)
    if len(have) != len(shape):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as self tensor: "
            f"shapes {errors.shapes(index, x)}"
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
    return _add_at(zeros_for(g, x_shape), index, g, dim)


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
        s((3, 4), s.ints(3, (0, 4)), dim=0),
    ],
)
def gather_op(x: Any, index: Any, *, dim: int) -> Any:
    if not index.size:
        return np.empty(index.shape, x.dtype)
    rows.check_bounds(index, x.shape[dim] if x.ndim else 1, dim, False, RuntimeError)
    if not x.ndim:
        return np.broadcast_to(x, index.shape).copy()
    flat = np.ascontiguousarray(x).reshape(-1)
    return rows.take_elements(flat, x.shape, index, dim)


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
    src = src.reshape(src.shape or (1,))[tuple(slice(0, n) for n in index.shape)]
    wide = out if out.flags.c_contiguous else rows.copy_of(out)
    flat = wide.reshape(-1)

    def body(at: np.ndarray, key: tuple) -> None:
        if reduce is None:
            flat[at] = src[key]
        else:
            _reduce_at(flat, at.reshape(-1), src[key].reshape(-1), reduce, include_self)

    rows.over_elements(out.shape, index, dim, body)
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
    hit, count = np.unique(at, return_counts=True)
    divide = np.true_divide if flat.dtype.kind in "fc" else np.floor_divide
    flat[hit] = divide(flat[hit], (count + include_self).astype(flat.dtype))


def _zero_at(g: Tensor, index: Tensor, dim: int) -> Tensor:
    zero = g.new_zeros(()).expand(index.shape)  # type: ignore[attr-defined]
    return scatter_op(g, index, zero, dim=dim, reduce=None, include_self=True)


def _add_at(x: Tensor, index: Tensor, src: Tensor, dim: int) -> Tensor:
    return scatter_op(x, index, src, dim=dim, reduce="add", include_self=True)


scatter_op = Update(
    "scatter",
    ("x", "index", "src"),
    meta=_spec,
    triton="scatter.scatter",
    cpu=_change_at,
    vjp=(
        lambda g, index, dim, reduce: g if reduce else _zero_at(g, index, dim),
        None,
        lambda g, index, dim: gather_op(g, index, dim=dim),
    ),
    samples=lambda s: [
        s((3, 4), np.array([[0, 2, 1], [2, 1, 0]]), (2, 3), dim=0, reduce=None, include_self=True),
        s((3, 4), s.ints(4, (3, 6)), (3, 6), dim=1, reduce="add", include_self=True),
        s((), s.ints(1, ()), (), dim=0, reduce="add", include_self=True),
        s((2, 3), s.ints(3, (0, 3)), (0, 3), dim=0, reduce=None, include_self=True),
    ],
)


# -- reductions ----------------------------------------------------------------------------------


def _mean_vjp(g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, **p: Any) -> tuple:
    dim, own = p["dim"], int(p["include_self"])
    ones = zeros_for(g, src.shape) + 1
    count = _add_at(g.new_full(x.shape, own), index, ones, dim)  # type: ignore[attr-defined]
    share = g / where(count == 0, 1, count)
    return share, gather_op(share, index, dim=dim)


def _extreme_vjp(g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, **p: Any) -> tuple:
    """Equal extremes share the gradient."""
    dim = p["dim"]
    own = (x == out).to(g.dtype) * int(p["include_self"])  # type: ignore[attr-defined]
    hits = (src == gather_op(out, index, dim=dim)).to(g.dtype)  # type: ignore[attr-defined]
    count = _add_at(own, index, hits, dim)
    share = g / where(count == 0, 1, count)
    return own * share if p["include_self"] else g, hits * gather_op(share, index, dim=dim)


def _product_vjp(g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, **p: Any) -> tuple:
    """The product of the others: the quotient, but for a zero the product with a 1 in its place."""
    dim, include = p["dim"], p["include_self"]

    def again(a: Tensor, b: Tensor) -> Tensor:
        return reduce_op(a, index, b, dim=dim, reduce="multiply", include_self=include)

    full = where(x == 0, 1, x)
    gx = g * again(full, src) / full
    zero = src == 0
    count = _add_at(zeros_for(g, x.shape), index, zero.to(g.dtype), dim)  # type: ignore
    if include:
        count = count + (x == 0)
    alone = zero & (gather_op(count, index, dim=dim) == 1)
    others = again(x, where(alone, 1, src))
    quotient = gather_op(g * out, index, dim=dim) / where(zero, 1, src)
    return gx, where(alone, gather_op(g * others, index, dim=dim), quotient)


def _sum_vjp(g: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, **p: Any) -> tuple:
    return g, gather_op(g, index, dim=p["dim"])


_VJPS = {"mean": _mean_vjp, "multiply": _product_vjp, "add": _sum_vjp}


def _reduce_vjp(
    g: Tensor,
    x: Tensor,
    index: Tensor,
    src: Tensor,
    out: Tensor,
    dim: int,
    reduce: str,
    include_self: bool,
) -> tuple:
    rule = _VJPS.get(reduce, _extreme_vjp)
    gx, gs = rule(g, x, index, src, out, dim=dim, include_self=include_self)
    return (gx if include_self else _zero_at(gx, index, dim)), None, gs


def _reduce_samples(s: Any) -> Any:
    for reduce in ("add", "multiply", "mean", "amax", "amin"):
        for include in (True, False):
            x = s.distinct((2, 9))
            at, keys = {"dim": 1, "include_self": include}, s.ints(4, (2, 5))
            yield s(x[:, :4], keys, x[:, 4:], reduce=reduce, **at)
    yield s((2, 4), s.ints(4, (2, 0)), (2, 0), reduce="amax", dim=1, include_self=False)


reduce_op = Update(
    "scatter_reduce",
    ("x", "index", "src"),
    meta=_spec,
    triton="scatter.scatter",
    cpu=_change_at,
    vjp=joint(_reduce_vjp),
    samples=_reduce_samples,
)


# -- public --------------------------------------------------------------------------------------


def _fitting(src: Tensor, index: Tensor) -> Tensor:
    """The part of `src` that has a partner in `index`."""
    want = tuple(index._data.shape)
    if tuple(src._data.shape) == want:
        return src
    if not want or not src._data.shape:
        return src.reshape(want)  # type: ignore[attr-defined]
    return _slice(src, key=tuple(slice(0, n) for n in want))


def _source(name: str, x: Tensor, d: int, index: Tensor, src: Any) -> tuple[Tensor, Tensor]:
    """Checked (index, src); a number becomes a tensor of it."""
    if isinstance(src, Tensor):
        index = _check_index(name, x, index, d, src)
        if src.dtype is not x.dtype:
            raise RuntimeError(
                f"{name}(): Expected self.dtype to be equal to src.dtype, got {x.dtype} and "
                f"{src.dtype}"
            )
        return index, _fitting(src, index) if index._data.size else src
    index = _check_index(name, x, index, d)
    return index, x.new_full((), src).expand(index.shape)  # type: ignore[attr-defined]


_SCATTER_REDUCE = {None: None, "add": "add", "multiply": "multiply"}


def _chosen(reduce: Any, include_self: bool) -> Op:
    return scatter_op if reduce is None or (reduce == "add" and include_self) else reduce_op


def scatter_call(
    self: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None
) -> tuple[Op, tuple, dict]:
    if reduce not in _SCATTER_REDUCE:
        raise RuntimeError(f"scatter: reduce argument must be either add or multiply, got {reduce}")
    d = errors.wrap_dim("scatter", dim, self._data.shape)
    index, src = _source("scatter", self, d, index, src)
    op = _chosen(reduce, True)
    return op, (self, index, src), {"dim": d, "reduce": reduce, "include_self": True}


def _value(src: Any, value: Any) -> Any:
    if src is None and value is None:
        raise TypeError("scatter(): missing required argument 'src' or 'value'")
    return value if src is None else src


@public(out=True)
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """A copy with `out[index[i][j]][j] = src[i][j]` for dim 0, and so on.

    `src` is a tensor or a number; with `reduce` "add" or "multiply" it is added or multiplied.
    """
    op, inputs, params = scatter_call(input, dim, index, _value(src, value), reduce)
    return op(*inputs, **params)


def scatter_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """`scatter` in place."""
    op, inputs, params = scatter_call(self, dim, index, _value(src, value), reduce)
    return op.inplace(*inputs, **params)


attach("scatter_", scatter_)


@publish(scatter_op)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Call:
    """A copy with `src` added: `out[index[i][j]][j] += src[i][j]` for dim 0, and so on."""
    if not isinstance(src, Tensor):
        raise TypeError(f"scatter_add(): argument 'src' must be Tensor, not {type(src).__name__}")
    d = errors.wrap_dim("scatter_add", dim, input._data.shape)
    index, src = _source("scatter_add", input, d, index, src)
    return (input, index, src), {"dim": d, "reduce": "add", "include_self": True}


_REDUCE = {"sum": "add", "prod": "multiply", "mean": "mean", "amax": "amax", "amin": "amin"}


def reduce_call(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> tuple[Op, tuple, dict]:
    if reduce not in _REDUCE:
        raise RuntimeError(
            f"scatter_reduce: reduce argument must be either sum, prod, mean, amax or amin, got "
            f"{reduce}"
        )
    d = errors.wrap_dim("scatter_reduce", dim, self._data.shape)
    index, src = _source("scatter_reduce", self, d, index, src)
    params = {"dim": d, "reduce": _REDUCE[reduce], "include_self": include_self}
    return _chosen(_REDUCE[reduce], include_self), (self, index, src), params


@public(out=True)
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """A copy in which the elements that `index` names are reduced with those of `src`.

    `reduce` is "sum", "prod", "mean", "amax" or "amin"; without `include_self` what was there
    before takes no part.
    """
    op, inputs, params = reduce_call(input, dim, index, src, reduce, include_self)
    return op(*inputs, **params)


def scatter_reduce_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """`scatter_reduce` in place."""
    op, inputs, params = reduce_call(self, dim, index, src, reduce, include_self)
    return op.inplace(*inputs, **params)


attach("scatter_reduce_", scatter_reduce_)
