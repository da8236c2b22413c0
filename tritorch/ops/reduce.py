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
from ..runtime.quiet import enter, leave
from ..tensor import Tensor, wrap
from . import lines, reduce_host
from .api import attach, public
from .arithmetic import where
from .copy import to
from .join import cat
from .reduce_host import reduced_shape
from .view import _expand, ints

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
        for name, ours, given in (("axis", "dim", axis), ("keepdims", "keepdim", keepdims)):
            if given is not _MISSING:
                if ours in kwargs:
                    raise TypeError(f"{f.__name__}() got both '{name}' and '{ours}'")
                kwargs[ours] = given
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


def samples(s: Any, maker: Callable | None = None, **params: Any) -> list:
    """Every reduction's: one dimension, several, all, kept or not, a single element."""
    make: Callable = s.reals if maker is None else maker
    return [
        s(make((3, 4)), dims=(0,), keepdim=False, **params),
        s(make((3, 4)), dims=(1,), keepdim=True, **params),
        s(make((2, 3, 4)), dims=(0, 2), keepdim=False, **params),
        s(make((2, 3)), dims=(0, 1), keepdim=False, **params),
        s(make(()), dims=(), keepdim=False, **params),
        s(make((131, 5)), dims=(0,), keepdim=False, **params),
        s(make((0, 3)), dims=(1,), keepdim=False, **params),
        s(make((2, 1, 3)), dims=(1,), keepdim=False, **params),
    ]


def same(d: DType) -> DType:
    return d


def _integral_to_int64(d: DType) -> DType:
    return dtypes.int64 if d.category < 2 else d


def _count(shape: Sequence[int], dims: tuple[int, ...]) -> int:
    return math.prod([shape[d] for d in dims])


def cast(x: Tensor, dtype: DType | None) -> Tensor:
    return x if dtype is None else to(x, dtype)


# -- sum and mean ---------------------------------------------------------------------------------


def sums(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
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
    return sums(x, dims, keepdim)


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
    return np.true_divide(sums(x, dims, keepdim), x.dtype.type(_count(x.shape, dims)))


_SHORT = {dtypes.float32, dtypes.float64}


def _short(op: Any, x: Any) -> Tensor | None:
    """The reduction of all elements of a small tensor on the CPU, without detours."""
    d = x._data
    if d.__class__ is not np.ndarray or d.size > lines.SMALL or x.dtype not in _SHORT:
        return None
    if state.transforms:
        return None
    token = enter()
    total = np.add.reduce(d, axis=None)
    data = np.asarray(total if op is sum_op else total / x.dtype.np.type(d.size))
    leave(token)
    out = wrap(data, x.dtype)
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
    if dim is None and dtype is None and not keepdim and isinstance(input, Tensor):
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
    if dim is None and dtype is None and not keepdim and isinstance(input, Tensor):
        out = _short(mean_op, input)
        if out is not None and input._data.size:
            return out
    x = cast(input, dtype)
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
    if input.dtype.is_complex:
        raise RuntimeError(f"nanmean(): does not support {input.dtype.name} inputs")
    missing = input != input
    total = sum(where(missing, 0, input), dim, keepdim, dtype=dtype)
    return total / sum(missing.logical_not(), dim, keepdim)  # type: ignore[attr-defined]


@public()
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements differ from zero, over `dim`."""
    return sum(input != 0, dim)


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions along which a tensor of this size would be repeated."""
    want, have = ints("sum_to_size", size), tuple(self._data.shape)
    lead = len(have) - len(want)
    if lead < 0 or [n for n, m in zip(want, have[lead:], strict=True) if n not in (1, m)]:
        raise RuntimeError(
            f"sum_to_size: size {list(want)} is not expandable to size {list(have)}."
        )
    dims = tuple(d for d in range(len(have)) if d < lead or want[d - lead] != have[d])
    if not dims:
        return self
    return sum(self, dims, True).reshape(want)  # type: ignore[attr-defined]


attach("sum_to_size", sum_to_size)


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
    return reduce_host.reduce(x, dims, keepdim, reduce_host.multiply, reduce_host.multiply)


@public(out=True)
@numpy_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product of all elements, or of those along `dim`."""
    x = cast(input, dtype)
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


def _nothing(dim: Dims) -> bool:
    return isinstance(dim, tuple | list) and not dim


@public(out=True)
@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element over `dim` is not zero: bool, or uint8 for uint8.

    Of no dimensions, `dim=()`, each element by itself.
    """
    if _nothing(dim):
        return input != 0 if input.dtype is not dtypes.uint8 else to(input != 0, input.dtype)
    return any_op(input, dims=all_dims("any", input, dim), keepdim=keepdim)


@public(out=True)
@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are not zero: bool, or uint8 for uint8.

    Of no dimensions, `dim=()`, each element by itself.
    """
    if _nothing(dim):
        return any(input, dim, keepdim)
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
    g, out = (beside(t, x._data.shape, dims, keepdim) for t in (g, out))
    return g * (x - out).exp()


@primitive(
    name="logsumexp",
    meta=spec(same, "logsumexp"),
    triton="reduce.logsumexp",
    samples=samples,
    vjp=_logsumexp_vjp,
)
def logsumexp_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _logsumexp_lines(x, dims, keepdim)


def _logsumexp_complex(x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    """Of complex numbers, all of them moved by the largest real part."""
    if not x._data.size:
        return x.exp().sum(dims, keepdim).log()
    top = x.detach().real.amax(dims, True)
    top = top.where(top.isfinite(), 0)
    out = (x - top).exp().sum(dims, True).log() + top
    return out if keepdim else out.reshape(reduced_shape(x._data.shape, dims, False))


@public(out=True)
@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """`log(sum(exp(input)))` over `dim`, without overflow."""
    dims = all_dims("logsumexp", input, dim)
    if input.dtype.is_complex:
        return _logsumexp_complex(input, dims, keepdim)
    if input.dtype.category < 2:
        input = to(input, dtypes.get_default_dtype())
    return logsumexp_op(input, dims=dims, keepdim=keepdim)


# -- a fingerprint --------------------------------------------------------------------------------


def _hash_meta(x: Tensor, *, dims: tuple[int, ...], keepdim: bool) -> tuple:
    return reduced_shape(x._data.shape, dims, keepdim), dtypes.uint64


@primitive(name="hash_tensor", meta=_hash_meta, samples=samples, exact=True, vjp=(None,))
def hash_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    wide = x.astype(np.float64 if dtypes.of(x.dtype).category == 2 else np.int64).view(np.uint64)
    return np.bitwise_xor.reduce(wide, axis=dims, keepdims=keepdim)


@public(out=True)
def hash_tensor(input: Tensor, dim: Dims = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """The exclusive or of the elements' bits over `dim`, in float64 or int64; uint64.

    Equal tensors have equal ones. `mode` 0 is the only one.
    """
    if mode != 0:
        raise RuntimeError(f"hash_tensor: mode 0 (xor) is the only one, got {mode}")
    if input.dtype.is_complex:
        raise NotImplementedError(f'"hash_tensor" not implemented for {input.dtype}')
    return hash_op(input, dims=all_dims("hash_tensor", input, dim), keepdim=keepdim)
