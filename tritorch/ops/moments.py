"""Variance and standard deviation over any dimensions, in two passes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..op import joint, primitive
from ..runtime import host, parallel
from ..tensor import Tensor
from . import lines, reduce_host
from .api import public
from .arithmetic import where
from .norm import by_rows, centred
from .reduce import Dims, all_dims, beside, mean, numpy_names, reduced_shape, samples, unreduced

_UNSET: Any = object()


def _var_meta(x: Tensor, *, dims: tuple[int, ...], keepdim: bool, correction: float) -> list:
    shape = reduced_shape(x._data.shape, dims, keepdim)
    return [(shape, x.dtype), (shape, x.dtype)]


def _var_cpu(x: Any, *, dims: tuple[int, ...], keepdim: bool, correction: float) -> tuple:
    n = math.prod([x.shape[d] for d in dims])
    less = x.dtype.type(max(n - correction, 0))
    if x.size <= parallel.BIG:
        mean = np.add.reduce(x, axis=dims, keepdims=True) / x.dtype.type(n)
        c = x - mean
        var = np.add.reduce(c * c, axis=dims, keepdims=True) / less
    elif dims == (x.ndim - 1,) and x.flags.c_contiguous and n <= 1 << 16:
        var, mean = _by_row(x.reshape(-1, n))
        var = var * (x.dtype.type(n) / less)
    else:
        add = reduce_host.add
        mean = reduce_host.reduce(x, dims, True, add, add) / x.dtype.type(n)
        c = host.empty(x.shape, x.dtype)
        parallel.elementwise(_square_apart, c, x, mean, block=parallel.BLOCK)
        var = reduce_host.reduce(c, dims, True, add, add) / less
    shape = reduced_shape(x.shape, dims, keepdim)
    return np.asarray(var).reshape(shape), np.asarray(mean).reshape(shape)


def _square_apart(x: np.ndarray, mean: np.ndarray, out: np.ndarray) -> None:
    np.subtract(x, mean, out=out)
    np.multiply(out, out, out=out)


def _by_row(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    var, mean = (np.empty((rows.shape[0], 1), rows.dtype) for _ in range(2))

    def body(start: int, stop: int) -> None:
        part = rows[start:stop]
        mean[start:stop], var[start:stop] = centred(part, lines.scratch(part))

    by_rows(body, *rows.shape)
    return var, mean


def _var_vjp(
    g: Any,
    g_mean: Any,
    x: Any,
    mean: Any,
    dims: tuple[int, ...],
    keepdim: bool,
    correction: float,
) -> Any:
    shape = x._data.shape
    n = math.prod([shape[d] for d in dims])
    gx: Any = 0
    if g is not None:
        factor = 2 / (n - correction) if n > correction else math.nan
        g, mean = (beside(t, shape, dims, keepdim) for t in (g, mean))
        gx = g * factor * (x - mean)
    if g_mean is not None:
        gx = gx + unreduced(g_mean / n, shape, dims, keepdim)
    return (gx,)


@primitive(
    name="var",
    outputs=("out", "mean"),
    meta=_var_meta,
    triton="reduce.moments",
    samples=lambda s: samples(s, correction=0.0)[:-1],
    vjp=joint(_var_vjp),
)
def var_op(x: Any, *, dims: tuple[int, ...], keepdim: bool, correction: float) -> Any:
    return _var_cpu(x, dims=dims, keepdim=keepdim, correction=correction)


def _arguments(name: str, input: Tensor, dim: Any, unbiased: Any, correction: Any) -> tuple:
    """Dimensions and correction from PyTorch's overlapping forms: `var(x, True)`, `var(x, 0, True)`
    and `var(x, 0, correction=1)`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not _UNSET:
        correction = int(bool(unbiased))
    correction = 1 if correction is None else correction
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    if input.dtype.category < 2:
        raise RuntimeError(
            f"{name}: std and var only support floating point and complex dtypes, got "
            f"{input.dtype.name}"
        )
    dims = all_dims(name, input, dim)
    n = math.prod([input._data.shape[d] for d in dims])
    if n <= correction:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "reduction factor (input numel divided by output numel).",
            stacklevel=5,
        )
    return dims, float(correction)


def _both(input: Any, dims: tuple[int, ...], keepdim: bool, correction: float) -> tuple:
    if not input.dtype.is_complex:
        return var_op(input, dims=dims, keepdim=keepdim, correction=correction)
    parts = [
        var_op(x, dims=dims, keepdim=keepdim, correction=correction)[0]
        for x in (input.real, input.imag)
    ]
    return parts[0] + parts[1], mean(input, dims, keepdim)


def _root(v: Any) -> Any:
    """The square root, with derivative 0 at 0."""
    return where(v == 0, 0, v).sqrt() if v.requires_grad else v.sqrt()


@public(out=True)
@numpy_names
def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: Any = _UNSET,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> Tensor:
    """`sum((x - mean)^2) / (N - correction)` over `dim`; `unbiased=False` is `correction=0`."""
    dims, less = _arguments("var", input, dim, unbiased, correction)
    return _both(input, dims, keepdim, less)[0]


@public(out=True)
@numpy_names
def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: Any = _UNSET,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> Tensor:
    """The square root of `var`."""
    dims, less = _arguments("std", input, dim, unbiased, correction)
    return _root(_both(input, dims, keepdim, less)[0])


@public(method=False)
@numpy_names
def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: Any = _UNSET,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> tuple[Tensor, Tensor]:
    """`var` and `mean` over `dim`, in one go."""
    dims, less = _arguments("var_mean", input, dim, unbiased, correction)
    return _both(input, dims, keepdim, less)


@public(method=False)
@numpy_names
def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: Any = _UNSET,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean` over `dim`, in one go."""
    dims, less = _arguments("std_mean", input, dim, unbiased, correction)
    found, middle = _both(input, dims, keepdim, less)
    return _root(found), middle
