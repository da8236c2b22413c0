"""Running sums, products and extremes along one dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from .. import dtypes, errors, return_types
from ..dtypes import DType
from ..op import fused, joint, primitive
from ..runtime import blas, host
from ..tensor import Tensor
from . import lines
from .api import public
from .copy import to
from .join import cat, stack
from .reduce import numpy_names

SQUARE = 32  # elements whose running sums are one product with a triangle of ones


def _meta(x: Tensor, *, dim: int, **params: Any) -> tuple:
    return tuple(x._data.shape), x.dtype


def _backwards(x: np.ndarray, axis: int = 1) -> np.ndarray:
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def _samples(s: Any) -> list:
    return [
        s((3, 4), dim=1),
        s((3, 4), dim=0),
        s((2, 3, 4), dim=1),
        s((), dim=0),
        s((0, 3), dim=1),
        s((2, 131), dim=1),
    ]


def _dim_of(name: str, x: Tensor, dim: int) -> int:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    return errors.wrap_dim(name, dim, x._data.shape)


WIDE = 128  # numbers side by side from which a loop of NumPy for each step pays


def accumulate(f: np.ufunc, x: np.ndarray, out: np.ndarray) -> None:
    """`f.accumulate` along the middle of a canonical block, a row at a time where rows are long."""
    if x.ndim < 3 or x.shape[2] < WIDE:
        f.accumulate(x, axis=1, out=out)
        return
    np.copyto(out[:, 0], x[:, 0])
    for k in range(1, x.shape[1]):
        f(out[:, k - 1], x[:, k], out=out[:, k])


# -- sums -----------------------------------------------------------------------------------------


def _sum_block(x: np.ndarray, out: np.ndarray) -> None:
    """Running sums along the middle of a canonical block."""
    if x.ndim == 2 and x.shape[1] >= 4 * SQUARE and x.dtype.kind == "f" and _by_squares(x, out):
        return
    accumulate(np.add, x, out)


def _by_squares(x: np.ndarray, out: np.ndarray) -> bool:
    """Running sums of pieces of rows by a matrix product, then of the pieces: NumPy's own wait for
    one addition after another. False where a value is not finite, as 0 times it is not 0."""
    rows, n = x.shape
    cut = n // SQUARE * SQUARE
    head = x if cut == n and x.flags.c_contiguous else np.ascontiguousarray(x[:, :cut])
    whole = cut == n and out.flags.c_contiguous
    pieces = (out if whole else lines.scratch(head)).reshape(-1, SQUARE)
    np.matmul(head.reshape(-1, SQUARE), _triangle(x.dtype), out=pieces)
    parts = pieces.reshape(rows, cut // SQUARE, SQUARE)
    before = np.add.accumulate(parts[:, :, -1], axis=1)
    if not np.isfinite(before[:, -1]).all():
        return False
    parts[:, 1:] += before[:, :-1, None]
    if not whole:
        out[:, :cut] = parts.reshape(rows, cut)
    if cut < n:
        np.add.accumulate(x[:, cut:], axis=1, out=out[:, cut:])
        out[:, cut:] += before[:, -1:]
    return True


@cache
def _triangle(dtype: np.dtype) -> np.ndarray:
    return np.triu(np.ones((SQUARE, SQUARE), dtype))


@primitive(
    name="cumsum",
    meta=_meta,
    triton="scan.cumsum",
    samples=lambda s: [
        s(*x.inputs, dim=x.params["dim"], reverse=r) for r in (False, True) for x in _samples(s)
    ],
    vjp=lambda g, dim, reverse: _sum_from(g, dim, not reverse),
)
def cumsum_op(x: Any, *, dim: int, reverse: bool) -> Any:
    out = _running_sums(x, dim, reverse)
    if x.ndim and x.size and x.dtype.kind == "f":
        first = x[_first(dim, reverse)]
        if (np.signbit(first) & (first == 0)).any():
            out += 0.0  # sums begin at 0, so none is -0.0
    return out


def _first(dim: int, reverse: bool = False) -> tuple:
    return (*(slice(None),) * dim, -1 if reverse else 0)


def _running_sums(x: np.ndarray, dim: int, reverse: bool) -> np.ndarray:
    if x.ndim and x.size <= lines.SMALL:
        if not reverse:
            return np.add.accumulate(x, axis=dim, dtype=x.dtype)
        return _backwards(np.add.accumulate(_backwards(x, dim), axis=dim, dtype=x.dtype), dim)
    out = lines.like(x)
    if not x.size:
        return out
    y, result = lines.canonical(x, dim), lines.canonical(out, dim)
    if reverse:
        y, result = _backwards(y), _backwards(result)
    with blas.single:
        lines.blocks(_sum_block, y, result)
    return out


def _sum_from(g: Tensor, dim: int, reverse: bool) -> Tensor:
    return cumsum_op(g, dim=dim, reverse=reverse)


def _integral(name: str, x: Tensor, dtype: DType | None) -> Tensor:
    """Integers and bools in int64, as sums and products of PyTorch come."""
    if dtype is dtypes.bool_:
        raise NotImplementedError(f"{name}: not implemented for sums and products in bool")
    if dtype is not None:
        return to(x, dtype)
    return to(x, dtypes.int64) if x.dtype.category < 2 else x


@public(out=True, inplace=True)
@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The sums of the elements up to each along `dim`; of integers in int64.

    Example:
        >>> import tritorch as torch
        >>> torch.cumsum(torch.tensor([1, 2, 3]), 0)
        tensor([1, 3, 6])
    """
    d = _dim_of("cumsum", input, dim)
    return cumsum_op(_integral("cumsum", input, dtype), dim=d, reverse=False)


# -- products -------------------------------------------------------------------------------------


def _cumprod_backward(g: Any, x: Any, *, dim: int) -> Any:
    """By division where nothing is zero, else by a recurrence from the end."""
    if not x.ndim:
        return g.copy()
    out = np.multiply.accumulate(x, axis=dim)
    if (x != 0).all():
        return _backwards(np.add.accumulate(_backwards(g * out, dim), axis=dim), dim) / x
    g, x, out = (np.moveaxis(a, dim, 0) for a in (g, x, out))
    result = np.empty(x.shape, x.dtype)
    rest = np.zeros(x.shape[1:], x.dtype)
    for k in range(len(x) - 1, -1, -1):
        rest = g[k] + (x[k + 1] * rest if k + 1 < len(x) else 0)
        result[k] = rest * out[k - 1] if k else rest
    return np.moveaxis(result, 0, dim)


@fused(
    meta=lambda grad, x, *, dim: (tuple(x._data.shape), x.dtype),
    cpu=_cumprod_backward,
    triton="scan_backward.cumprod_backward",
    samples=lambda s: [
        s((3,), s.reals((3,), 0.5, 2), dim=0),
        s((2, 3), (2, 3), dim=1),
        s((3, 2), np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]), dim=0),
    ],
)
def cumprod_backward(grad: Any, x: Any, *, dim: int) -> Any:
    """`r[k]` times the product before `k`, with `r[k] = g[k] + x[k + 1] r[k + 1]`."""
    if not x.ndim:
        return grad
    g, xs = grad.unbind(dim), x.unbind(dim)
    before = [xs[0] * 0 + 1]
    for value in xs[:-1]:
        before.append(before[-1] * value)
    rest, found = None, []
    for k in range(len(xs) - 1, -1, -1):
        rest = g[k] if rest is None else g[k] + xs[k + 1] * rest
        found.append(rest * before[k])
    return stack(found[::-1], dim)


@primitive(
    name="cumprod",
    meta=_meta,
    triton="scan.cumprod",
    samples=_samples,
    vjp=lambda g, x, dim: _cumprod_vjp(g, x, dim),
)
def cumprod_op(x: Any, *, dim: int) -> Any:
    if x.size <= lines.SMALL:
        return np.multiply.accumulate(x, axis=dim, dtype=x.dtype) if x.ndim else x.copy()
    out = lines.like(x)
    block = partial(accumulate, np.multiply)
    lines.blocks(block, lines.canonical(x, dim), lines.canonical(out, dim))
    return out


def _cumprod_vjp(g: Any, x: Any, dim: int) -> Any:
    if not x._data.size:
        return g
    return cumprod_backward(g, x.conj() if x.dtype.is_complex else x, dim=dim)


@public(out=True, inplace=True)
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The products of the elements up to each along `dim`; of integers in int64."""
    d = _dim_of("cumprod", input, dim)
    return cumprod_op(_integral("cumprod", input, dtype), dim=d)


# -- extremes -------------------------------------------------------------------------------------


def _places(x: np.ndarray, out: np.ndarray, indices: np.ndarray) -> None:
    """Where the extremes so far, in `out`, came from; of equal ones the last, and each NaN."""
    new = np.equal(x, out)
    new |= np.not_equal(x, x)
    if x.ndim == 2:  # each place is repeated up to the next
        new[:, 0] = True
        at = np.flatnonzero(new)
        found = np.repeat(at % x.shape[1], np.diff(at, append=x.size))
        np.copyto(indices, found.reshape(x.shape))
        return
    np.multiply(new, np.arange(x.shape[1])[:, None], out=indices)
    accumulate(np.maximum, indices, indices)


def _running(name: str, ufunc: np.ufunc) -> Callable:
    def block(x: np.ndarray, out: np.ndarray, indices: np.ndarray) -> None:
        accumulate(ufunc, x, out)
        _places(x, out, indices)

    def cpu(x: Any, *, dim: int) -> Any:
        out, indices = lines.like(x), host.empty(x.shape, np.dtype(np.int64))
        if not x.ndim:
            out[...], indices[...] = x, 0
        elif x.size:
            lines.blocks(block, *(lines.canonical(a, dim) for a in (x, out, indices)))
        return out, indices

    def vjp(g: Any, g_indices: Any, x_shape: tuple, indices: Any, dim: int) -> Any:
        if not len(x_shape):
            return (g,)
        return (g.new_zeros(x_shape).scatter_add(dim, indices.detach(), g),)

    return primitive(
        name=name,
        outputs=("out", "indices"),
        triton=f"scan.{name}",
        meta=lambda x, *, dim: [
            (tuple(x._data.shape), x.dtype),
            (tuple(x._data.shape), dtypes.int64),
        ],
        samples=lambda s: [
            s(s.distinct(x.inputs[0].shape), dim=x.params["dim"]) for x in _samples(s)
        ],
        vjp=joint(vjp),
    )(cpu)


cummax_op, cummin_op = _running("cummax", np.maximum), _running("cummin", np.minimum)


def _running_public(name: str, op: Callable, result: Any, what: str) -> Callable:
    def function(input: Tensor, dim: int) -> Any:
        d = _dim_of(name, input, dim)
        if input.dtype.is_complex:
            raise NotImplementedError(f'"{name}" not implemented for {input.dtype.name} tensors')
        return result(*op(input, dim=d))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {what} element up to each along `dim`, and its last place."
    return public(out=True)(numpy_names(function))


cummax = _running_public("cummax", cummax_op, return_types.cummax, "largest")
cummin = _running_public("cummin", cummin_op, return_types.cummin, "smallest")


# -- logcumsumexp ---------------------------------------------------------------------------------


def _log_sums(x: np.ndarray, dim: int) -> np.ndarray:
    if not x.ndim:
        return x.copy()
    if x.dtype.kind == "c":
        top = np.max(np.real(x), axis=dim, keepdims=True, initial=-np.inf)
        top = np.where(np.isfinite(top), top, 0)
        return np.log(np.add.accumulate(np.exp(x - top), axis=dim)) + top
    out = np.logaddexp.accumulate(x, axis=dim)
    if out.size:
        out[_first(dim)] += 0.0  # as of a sum, -0.0 becomes 0
    return out


def _logcumsumexp_backward(g: Any, x: Any, y: Any, *, dim: int) -> Any:
    """Kept in logarithms, for positive and negative gradients apart."""
    if not x.ndim or not x.size:
        return g.copy()
    if x.dtype.kind == "c":
        e = _backwards(np.add.accumulate(_backwards(g * np.exp(-y.conj()), dim), axis=dim), dim)
        return np.exp(x.conj()) * e

    def part(size: Any) -> Any:
        logs = _backwards(np.log(size) - y, dim)
        return np.exp(_backwards(_log_sums(logs, dim), dim) + x)

    return part(np.maximum(g, 0)) - part(np.maximum(-g, 0))


@fused(
    meta=lambda grad, x, y, *, dim: (tuple(x._data.shape), x.dtype),
    cpu=_logcumsumexp_backward,
    triton="scan_backward.logcumsumexp_backward",
    samples=lambda s: [s((3, 4), (3, 4), (3, 4), dim=1), s((5,), (5,), (5,), dim=0)],
)
def logcumsumexp_backward(grad: Any, x: Any, y: Any, *, dim: int) -> Any:
    """`exp(x)` times the sums from the end of `g exp(-y)`."""
    if not x.ndim:
        return grad
    top = 0 if x.dtype.is_complex else x.detach().amax(dim, keepdim=True)
    x, y = x.conj(), y.conj()
    return (x - top).exp() * cumsum_op(grad * (top - y).exp(), dim=dim, reverse=True)


@primitive(
    name="logcumsumexp",
    meta=_meta,
    triton="scan.logcumsumexp",
    samples=_samples,
    vjp=lambda g, x, out, dim: logcumsumexp_backward(g, x, out, dim=dim),
)
def logcumsumexp_op(x: Any, *, dim: int) -> Any:
    return _log_sums(x, dim)


@public(out=True)
@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """`log(cumsum(exp(input)))` along `dim`, without overflow."""
    d = _dim_of("logcumsumexp", input, dim)
    if input.dtype.category < 2:
        raise NotImplementedError(f'"logcumsumexp" not implemented for {input.dtype.name} tensors')
    return logcumsumexp_op(input, dim=d)


# -- differences ----------------------------------------------------------------------------------


@public(out=True)
@numpy_names
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The `n`-th differences of neighbours along `dim`, after `prepend` and `append` are joined."""
    if not input._data.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    d = _dim_of("diff", input, dim)
    if n < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    joined: Sequence[Tensor] = [t for t in (prepend, input, append) if t is not None]
    for t in joined:
        if t._data.ndim != input._data.ndim:
            raise RuntimeError(
                "diff expects prepend or append to be the same dimension as input, got "
                f"{errors.shapes(*joined)}"
            )
    x: Any = cat(joined, d) if n and len(joined) > 1 else input
    for _ in range(min(n, x.shape[d])):
        size = x.shape[d] - 1
        a, b = x.narrow(d, 1, size), x.narrow(d, 0, size)
        x = a.logical_xor(b) if x.dtype is dtypes.bool_ else a - b
    return x
