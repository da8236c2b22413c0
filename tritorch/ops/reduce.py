"""The reduction family: sums, means, products, extremes, over any dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..dtypes import DType
from ..op import primitive
from ..runtime import parallel
from ..tensor import Tensor
from .api import public
from .copy import to

Dims = int | Sequence[int] | None


def all_dims(name: str, x: Tensor, dim: Dims) -> tuple[int, ...]:
    """The dimensions to reduce, from the front and in order: all of them for None or ()."""
    n = x._data.ndim
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(n))
    if isinstance(dim, int):
        d = errors.wrap_dim(name, dim, x._data.shape)
        return (d,) if n else ()
    return (
        tuple(sorted(errors.wrap_dims(name, dim, x._data.shape)))
        if n
        else (errors.wrap_dims(name, dim, x._data.shape) and ())
    )


def reduced_shape(shape: Sequence[int], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def _meta(rule: Callable[[DType], DType], name: str, empty: bool = True) -> Callable:
    def meta(x: Tensor, *, dims: tuple[int, ...], keepdim: bool) -> tuple:
        shape = x._data.shape
        if not empty and any(shape[d] == 0 for d in dims):
            raise IndexError(
                f"{name}(): Expected reduction dim {dims} to have non-zero size, got "
                f"shape {tuple(shape)}"
            )
        return reduced_shape(shape, dims, keepdim), rule(x.dtype)

    return meta


def split_rows(f: Callable, x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    """`f(x, axis, keepdims)` with the kept dimensions split over the threads."""
    kept = [d for d in range(x.ndim) if d not in dims and x.shape[d] > 1]
    if x.size <= parallel.BIG or not kept or parallel.get_num_threads() == 1:
        return f(x, dims, keepdim)
    axis = max(kept, key=lambda d: abs(x.strides[d]) if d not in dims else 0)
    n = x.shape[axis]
    grain = -(-n // parallel.get_num_threads())
    parts: dict[int, np.ndarray] = {}

    def body(start: int, stop: int) -> None:
        key = (slice(None),) * axis + (slice(start, stop),)
        parts[start] = f(x[key], dims, True)

    parallel.run(body, n, grain)
    out = np.concatenate([parts[k] for k in sorted(parts)], axis=axis)
    return out if keepdim else out.reshape(reduced_shape(x.shape, dims, False))


def unreduced(g: Tensor, shape: Sequence[int], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A gradient of a reduction, broadcast over what was reduced."""
    if not keepdim and len(shape):
        g = g.reshape(reduced_shape(shape, dims, True))  # type: ignore[attr-defined]
    return g.expand(tuple(shape))  # type: ignore[attr-defined]


def _samples(s: Any) -> list:
    """Every reduction's: one dimension, several, all, kept or not, a single element."""
    return [
        s((3, 4), dims=(0,), keepdim=False),
        s((3, 4), dims=(1,), keepdim=True),
        s((2, 3, 4), dims=(0, 2), keepdim=False),
        s((2, 3), dims=(0, 1), keepdim=False),
        s((), dims=(), keepdim=False),
        s((131, 5), dims=(0,), keepdim=False),
        s((2, 1, 3), dims=(1,), keepdim=False),
    ]


def _integral_to_int64(d: DType) -> DType:
    return dtypes.int64 if d.category < 2 else d


def _sum_rows(x: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.dtype == np.float32 and x.ndim > 1 and x.flags.c_contiguous and dims == (x.ndim - 2,):
        ones = np.ones((1, x.shape[-2]), x.dtype)  # a product: NumPy adds rows pairwise at most
        if x.ndim == 2 and x.shape[0] >= 64:
            out = ones @ x
            return out if keepdim else out[0]
    if x.dtype.kind in "bui":
        return np.sum(x, axis=dims, keepdims=keepdim, dtype=np.int64)
    return np.sum(x, axis=dims, keepdims=keepdim)


@primitive(
    name="sum",
    meta=_meta(_integral_to_int64, "sum"),
    triton="reduce.sum",
    samples=_samples,
    vjp=lambda g, x_shape, dims, keepdim: unreduced(g, x_shape, dims, keepdim),
)
def sum_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return split_rows(_sum_rows, x, dims, keepdim)


def _count(shape: Sequence[int], dims: tuple[int, ...]) -> int:
    return math.prod([shape[d] for d in dims])


@primitive(
    name="mean",
    meta=_meta(lambda d: d, "mean"),
    triton="reduce.mean",
    samples=_samples,
    vjp=lambda g, x_shape, dims, keepdim: unreduced(
        g / max(_count(x_shape, dims), 1), x_shape, dims, keepdim
    ),
)
def mean_op(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return np.true_divide(
        split_rows(_sum_rows, x, dims, keepdim), x.dtype.type(_count(x.shape, dims))
    )


def _cast(x: Tensor, dtype: DType | None) -> Tensor:
    return x if dtype is None else to(x, dtype)


@public(out=True)
def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over `dim`: one dimension, several, or all.

    Integers and bools add up in int64, unless `dtype` says otherwise.
    """
    out = sum_op(_cast(input, dtype), dims=all_dims("sum", input, dim), keepdim=keepdim)
    return out if dtype is None or out.dtype is dtype else to(out, dtype)


@public(out=True)
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over `dim`: one dimension, several, or all; of floating-point tensors."""
    x = _cast(input, dtype)
    if x.dtype.category < 2:
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {x.dtype.name}"
        )
    return mean_op(x, dims=all_dims("mean", input, dim), keepdim=keepdim)
