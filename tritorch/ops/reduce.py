"""The reduction family: sums, means, products, tests and norms over any dimensions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..autograd.mode import state
from ..dtypes import DType
from ..op import primitive
from ..runtime import parallel
from ..tensor import Tensor, wrap
from . import lines, reduce_host
from .api import PUBLIC, attach, public, write_out
from .arithmetic import where
from .copy import to
from .join import cat
from .reduce_host import reduced_shape
from .view import _expand

Dims = int | Sequence[int] | None
_MISSING: Any = object()


# -- what all reductions share --------------------------------------------------------------------


def all_dims(name: str, x: Tensor, dim: Dims) -> tuple[int, ...]:
    """The dimensions to reduce, from the front and in order: all of them for None or ()."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    shape = x._data.shape
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(len(shape)))
    if isinstance(dim, int):
        d = errors.wrap_dim(name, dim, shape)
        return (d,) if shape else ()
    dims = errors.wrap_dims(name, dim, shape)
    return tuple(sorted(dims)) if shape else ()


def numpy_names(f: Callable) -> Callable:
    """`f`, which also takes NumPy's names `axis` and `keepdims`, as PyTorch's functions do."""

    @functools.wraps(f)
    def function(*args: Any, axis: Any = _MISSING, keepdims: Any = _MISSING, **kwargs: Any) -> Any:
        if axis is not _MISSING:
            kwargs["dim"] = axis
        if keepdims is not _MISSING:
            kwargs["keepdim"] = keepdims
        return f(*args, **kwargs)

    return function


def spec(rule: Callable[[DType], DType], name: str, empty: bool = True) -> Callable:
    """A meta rule; `empty=False` where nothing can be made of no elements."""

    def meta(x: Tensor, *, dims: tuple[int, ...], keepdim: bool, **params: Any) -> tuple:
        shape = x._data.shape
        if not empty:
            check_not_empty(name, shape, dims)
        return reduced_shape(shape, dims, keepdim), rule(x.dtype)

    return meta


def check_not_empty(name: str, shape: Sequence[int], dims: Sequence[int]) -> None:
    for d in dims:
        if shape[d] == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim {d} to have non-zero size, got shape "
                f"{tuple(shape)}"
            )


def unreduced(g: Tensor, shape: Sequence[int], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A gradient of a reduction, broadcast over what was reduced."""
    if g._data.ndim and not keepdim:
        g = g.reshape(reduced_shape(shape, dims, True))  # type: ignore[attr-defined]
    return _expand(g, shape=tuple(shape))


def beside(t: Any, shape: Sequence[int], dims: tuple[int, ...], keepdim: bool) -> Any:
    """A result of a reduction with the reduced dimensions of size 1."""
    return t if keepdim or not len(shape) else t.reshape(reduced_shape(shape, dims, True))


def samples(s: Any, make: Callable | None = None, **params: Any) -> list:
    """Every reduction's: one dimension, several, all, kept or not, a single element."""
    make = make or s.reals
    return [
        s(make((3, 4)), dims=(0,), keepdim=False, **params),
        s(make((3, 4)), dims=(1,), keepdim=True, **params),
        s(make((2, 3, 4)), dims=(0, 2), keepdim=False, **params),
        s(make((2, 3)), dims=(0, 1), keepdim=False, **params),
        s(make(()), dims=(), keepdim=False, **params),
        s(make((131, 5)), dims=(0,), keepdim=False, **params),
        s(make((2, 1, 3)), dims=(1,), keepdim=False, **params),
    ]


def same(d: DType) -> DType:
    return d


def _integral_to_int64(d: DType) -> DType:
    return dtypes.int64 if d.category < 2 else d


def _count(shape: Sequence[int], dims: tuple[int, ...]) -> int:
    return math.prod([shape[d] for d in dims])


def _cast(x: Tensor, dtype: DType | None) -> Tensor:
    return x if dtype is None else to(x, dtype)


# -- sum and mean ---------------------------------------------------------------------------------


def _sums(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.size <= parallel.BIG or x.dtype.kind != "f":
        dtype = np.int64 if x.dtype.kind in "bui" else None
        return np.add.reduce(x, axis=dims, keepdims=keepdim, dtype=dtype)
    return reduce_host.reduce(x, dims, keepdim, reduce_host.add, reduce_host.add)


@primitive(
    name="sum",
    meta=spec(_integral_to_int64, "sum"),
    triton="reduce.sum",
    samples=samples,
    vjp=lambda g, x_shape, dims, keepdim: unreduced(g, x_shape, dims, keepdim),
)
def sum_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _sums(x, dims, keepdim)


@primitive(
    name="mean",
    meta=spec(same, "mean"),
    triton="reduce.mean",
    samples=samples,
    vjp=lambda g, x_shape, dims, keepdim: unreduced(
        g / float(max(_count(x_shape, dims), 1)), x_shape, dims, keepdim
    ),
)
def mean_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return np.true_divide(_sums(x, dims, keepdim), x.dtype.type(_count(x.shape, dims)))


_SHORT = {dtypes.float32, dtypes.float64}


def _short(op: Any, x: Any) -> Tensor | None:
    """The reduction of all elements of a small tensor on the CPU, without detours."""
    d = x._data
    if d.__class__ is not np.ndarray or d.size > lines.SMALL or x.dtype not in _SHORT:
        return None
    if state.transforms or x.__class__ is not Tensor:
        return None
    total = np.add.reduce(d, axis=None)
    out = wrap(np.asarray(total if op is sum_op else total / x.dtype.np.type(d.size)), x.dtype)
    if state.grad and (x._edge is not None or x._view is not None):
        op.record((x,), {"dims": tuple(range(d.ndim)), "keepdim": False}, out)
    return out


@public(out=True)
@numpy_names
def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over `dim`: one dimension, several, or all.

    Integers and bools add up in int64, unless `dtype` says otherwise.
    """
    if dim is None and dtype is None and not keepdim and input.__class__ is Tensor:
        out = _short(sum_op, input)
        if out is not None:
            return out
    x = input if dtype is None else to(input, dtype)
    out = sum_op(x, dims=all_dims("sum", x, dim), keepdim=keepdim)
    return out if dtype is None or out.dtype is dtype else to(out, dtype)


@public(out=True)
@numpy_names
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over `dim`: one dimension, several, or all; of floating-point tensors."""
    if dim is None and dtype is None and not keepdim and input.__class__ is Tensor:
        out = _short(mean_op, input)
        if out is not None and input._data.size:
            return out
    x = _cast(input, dtype)
    dims = all_dims("mean", x, dim)
    if x.dtype.category < 2:
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {x.dtype.name}"
        )
    return mean_op(x, dims=dims, keepdim=keepdim)


@public(out=True)
@numpy_names
def nansum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum with NaN as zero."""
    if input.dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    if input.dtype.category == 2:
        input = where(input != input, 0, input)
    return sum(input, dim, keepdim, dtype=dtype)


@public(out=True)
@numpy_names
def nanmean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean of what is not NaN."""
    if input.dtype.category < 2:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got "
            f"{input.dtype.name}"
        )
    missing = input != input
    total = sum(where(missing, 0, input), dim, keepdim, dtype=dtype)
    return total / sum(missing.logical_not(), dim, keepdim)  # type: ignore[attr-defined]


@public()
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements differ from zero, over `dim`."""
    return sum(input != 0, dim)


# -- products -------------------------------------------------------------------------------------


def _products_of_others(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """At each element the product of all others over `dims`: exact also where some are zero."""
    shape = x._data.shape
    kept = tuple(d for d in range(len(shape)) if d not in dims)
    order = kept + dims
    y: Any = x.permute(order)  # type: ignore[attr-defined]
    moved = tuple(y.shape)
    y = y.reshape((*moved[: len(kept)], -1))
    others = _before(y) * _before(y.flip(-1)).flip(-1)
    return others.reshape(moved).permute(tuple(np.argsort(order).tolist()))


def _before(y: Any) -> Any:
    """The products of what lies before each element of the last dimension."""
    one = y.new_ones((*y.shape[:-1], 1))
    return cat([one, y[..., :-1]], -1).cumprod(-1)


def _prod_vjp(g: Any, x: Any, out: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    if not x._data.size:
        return unreduced(g, x._data.shape, dims, keepdim)
    g = beside(g, x._data.shape, dims, keepdim)
    if x.dtype.is_complex:
        x, out = x.conj(), out.conj()
    if state.grad or bool((x == 0).any()):
        return g * _products_of_others(x, dims)
    return g * beside(out, x._data.shape, dims, keepdim) / x


@primitive(
    name="prod",
    meta=spec(_integral_to_int64, "prod"),
    triton="reduce.prod",
    samples=samples,
    vjp=_prod_vjp,
)
def prod_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    if x.size <= parallel.BIG or x.dtype.kind != "f":
        dtype = np.int64 if x.dtype.kind in "bui" else None
        return np.multiply.reduce(x, axis=dims, keepdims=keepdim, dtype=dtype)
    return reduce_host.reduce(x, dims, keepdim, *reduce_host.by_ufunc(np.multiply))


@public(out=True)
@numpy_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product of all elements, or of those along `dim`."""
    x = _cast(input, dtype)
    out = prod_op(x, dims=all_dims("prod", x, dim), keepdim=keepdim)
    return out if dtype is None or out.dtype is dtype else to(out, dtype)


# -- any and all ----------------------------------------------------------------------------------


def _truth(d: DType) -> DType:
    return dtypes.uint8 if d is dtypes.uint8 else dtypes.bool_


def _test(name: str, ufunc: np.ufunc) -> Callable:
    def cpu(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        dtype = x.dtype
        if x.size <= parallel.BIG:
            out = ufunc.reduce(x, axis=dims, keepdims=keepdim)
        else:
            out = reduce_host.reduce(x, dims, keepdim, *reduce_host.by_ufunc(ufunc))
        return np.asarray(out).astype(np.uint8) if dtype == np.uint8 else out

    return primitive(
        name=name,
        meta=spec(_truth, name),
        triton=f"reduce.{name}",
        samples=lambda s: samples(s, s.bools),
    )(cpu)


any_op = _test("any", np.logical_or)
all_op = _test("all", np.logical_and)


@public(out=True)
@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element over `dim` is not zero: bool, or uint8 for uint8."""
    return any_op(input, dims=all_dims("any", input, dim), keepdim=keepdim)


@public(out=True)
@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are not zero: bool, or uint8 for uint8."""
    return all_op(input, dims=all_dims("all", input, dim), keepdim=keepdim)


# -- logsumexp ------------------------------------------------------------------------------------


def _logsumexp_block(x: np.ndarray) -> np.ndarray:
    top = np.maximum.reduce(x, axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    e = np.subtract(x, top, out=lines.scratch(x))
    np.exp(e, out=e)
    return np.log(np.add.reduce(e, axis=1)) + top[:, 0]


def _logsumexp_lines(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    y, order = reduce_host.canonical(x, dims)
    if not y.size:
        out = np.full((y.shape[0], y.shape[2]), -np.inf, x.dtype)
    else:
        out = np.empty((y.shape[0], 1, y.shape[2]), x.dtype)
        lines.blocks(lambda a, o: np.copyto(o, _logsumexp_block(a)[:, None]), y, out)
    out = out.reshape([x.shape[d] for d in order])
    if order != sorted(order):
        out = out.transpose(np.argsort(order))
    return out.reshape(reduced_shape(x.shape, dims, True)) if keepdim else out


def _logsumexp_vjp(g: Any, x: Any, out: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    shape = x._data.shape
    out = beside(out, shape, dims, keepdim)
    return beside(g, shape, dims, keepdim) * (x - where(out.isinf(), 0, out)).exp()


@primitive(
    name="logsumexp",
    meta=spec(same, "logsumexp"),
    triton="reduce.logsumexp",
    samples=samples,
    vjp=_logsumexp_vjp,
)
def logsumexp_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _logsumexp_lines(x, dims, keepdim)


@public(out=True)
@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """`log(sum(exp(input)))` over `dim`, without overflow."""
    dims = all_dims("logsumexp", input, dim)
    if input.dtype.is_complex:
        return input.exp().sum(dims, keepdim).log()  # type: ignore[attr-defined]
    if input.dtype.category < 2:
        input = to(input, dtypes.get_default_dtype())
    return logsumexp_op(input, dims=dims, keepdim=keepdim)


# -- norms ----------------------------------------------------------------------------------------


def _real(d: DType) -> DType:
    return d.to_real()


def _norm_cpu(x: Any, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    if p == 2 and x.dtype.kind == "f":
        if x.size <= parallel.BIG:
            return np.sqrt(np.add.reduce(x * x, axis=dims, keepdims=keepdim))
        pieces = _squares, reduce_host.add
        return np.sqrt(reduce_host.reduce(x, dims, keepdim, *pieces))
    a = np.abs(x)
    if p in (math.inf, -math.inf):
        ufunc, start = (np.maximum, 0) if p > 0 else (np.minimum, math.inf)
        return ufunc.reduce(a, axis=dims, keepdims=keepdim, initial=start)
    if p == 0:
        return np.add.reduce(a != 0, axis=dims, keepdims=keepdim, dtype=a.dtype)
    total = _sums(a if p == 1 else a**p, dims, keepdim)
    return total if p == 1 else total ** (1 / p)


def _squares(x: np.ndarray) -> np.ndarray:
    if x.shape[2] == 1 and 64 <= x.shape[1] <= reduce_host.PART:
        y = x.reshape(x.shape[:2])
        return np.vecdot(y, y)[:, None]
    return reduce_host.add(x * x)


def _norm_vjp(g: Any, x: Any, out: Any, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    shape = x._data.shape
    g, out = beside(g, shape, dims, keepdim), beside(out, shape, dims, keepdim)
    if p == 0:
        return g * x * 0
    if p == 1:
        return g * x.sgn()
    if p == 2:
        return x * where(out == 0, 0, g / out)
    a = x.abs()
    if p in (math.inf, -math.inf):
        most = (a == out) | ((a != a) & (out != out))
        return x.sgn() * where(most, g / most.sum(dims, keepdim=True), 0)
    if p < 1:
        return x.sgn() * where(x == 0, 0, a ** (p - 1)) * g * out ** (1 - p)
    scale = where(out == 0, 0, g / out ** (p - 1))
    return (x.sgn() * a ** (p - 1) if p < 2 else x * a ** (p - 2)) * scale


def _norm_samples(s: Any) -> list:
    return [
        sample
        for p in (0.0, 0.5, 1.0, 2.0, 3.0, math.inf, -math.inf)
        for sample in samples(s, lambda shape: np.asarray(s.distinct(shape) + 2.0), p=p)
    ]


@primitive(
    name="norm",
    meta=spec(_real, "norm"),
    triton="reduce.norm",
    samples=_norm_samples,
    vjp=_norm_vjp,
)
def norm_op(x: Any, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _norm_cpu(x, p=p, dims=dims, keepdim=keepdim)


@numpy_names
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """`sum(|x|^p)^(1/p)` over `dim`; the largest size for `inf`, the number of non-zeros for 0.

    "fro" is 2, "nuc" the sum of a matrix's singular values. Of floating-point and complex tensors;
    the result is real.
    """
    if p == "nuc":
        return _nuclear(input, dim, keepdim)
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: expected p to be a number, 'fro' or 'nuc', got {p!r}")
    x = _cast(input, dtype)
    dims = all_dims("norm", x, dim)
    if x.dtype.category < 2:
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex dtypes. Got "
            f"{x.dtype.name} instead."
        )
    result = norm_op(x, p=2.0 if p in ("fro", None) else float(p), dims=dims, keepdim=keepdim)  # type: ignore[arg-type]
    return result if out is None else write_out("norm", out, result)


def _nuclear(input: Any, dim: Dims, keepdim: bool) -> Tensor:
    dims = (0, 1) if dim is None else all_dims("norm", input, dim)
    if len(dims) != 2 or input.ndim < 2:
        raise RuntimeError(
            f"norm: the nuclear norm is of two dimensions, got dim={dim} for shape "
            f"{tuple(input.shape)}"
        )
    rest = [d for d in range(input.ndim) if d not in dims]
    found = input.permute((*rest, *dims)).svd()[1].sum(-1)
    return found.reshape(reduced_shape(input.shape, dims, True)) if keepdim else found


def _norm_method(
    self: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    return norm(self, p, dim, keepdim, dtype=dtype)


PUBLIC["norm"] = norm
attach("norm", numpy_names(_norm_method))
