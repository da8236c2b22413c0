"""Extremes and their places: amax, max, argmax, median and their relatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors, return_types
from ..autograd.mode import no_grad
from ..dtypes import DType
from ..op import joint, primitive
from ..runtime import parallel
from ..tensor import Tensor
from . import lines, reduce_host
from .api import public, write_out
from .arithmetic import maximum, minimum, where
from .reduce import (
    Dims,
    all_dims,
    beside,
    check_not_empty,
    numpy_names,
    reduced_shape,
    same,
    samples,
    spec,
)

# -- values ---------------------------------------------------------------------------------------


def _share(g: Any, x: Any, out: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The gradient shared evenly among the elements that are the extreme."""
    shape = x._data.shape
    g, out = beside(g, shape, dims, keepdim), beside(out, shape, dims, keepdim)
    chosen = (x == out) | ((x != x) & (out != out))
    return where(chosen, g / chosen.sum(dims, keepdim=True), 0)


def _extreme(name: str, ufunc: np.ufunc) -> Callable:
    def cpu(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        if x.size <= parallel.BIG:
            return ufunc.reduce(x, axis=dims, keepdims=keepdim)
        return reduce_host.reduce(x, dims, keepdim, *reduce_host.by_ufunc(ufunc))

    return primitive(
        name=name,
        meta=spec(same, name, empty=False),
        triton=f"reduce.{name}",
        samples=lambda s: samples(s, s.distinct),
        vjp=_share,
    )(cpu)


amax_op = _extreme("amax", np.maximum)
amin_op = _extreme("amin", np.minimum)


def _ordered(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(x).__name__}")
    if x.dtype.is_complex:
        raise NotImplementedError(f"{name}(): does not support complex input, got {x.dtype.name}")


def _some(name: str, x: Tensor, dim: Any) -> None:
    """Refuse the extreme of no elements at all where no dimension is named."""
    if not x._data.size and (dim is None or dim == () or dim == []):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            f"reduction dim with the 'dim' argument. Got shape {tuple(x.shape)}"
        )


@public(out=True)
@numpy_names
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest elements over `dim`; the gradient is shared evenly among equal ones."""
    _ordered("amax", input)
    _some("amax", input, dim)
    return amax_op(input, dims=all_dims("amax", input, dim), keepdim=keepdim)


@public(out=True)
@numpy_names
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest elements over `dim`; the gradient is shared evenly among equal ones."""
    _ordered("amin", input)
    _some("amin", input, dim)
    return amin_op(input, dims=all_dims("amin", input, dim), keepdim=keepdim)


@public()
@numpy_names
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None
) -> Any:
    """The smallest and the largest elements, named `min` and `max`."""
    _ordered("aminmax", input)
    _some("aminmax", input, dim)
    params = {"dims": all_dims("aminmax", input, dim), "keepdim": keepdim}
    if out is None:
        return return_types.aminmax(amin_op(input, **params), amax_op(input, **params))
    for o in out:
        if o.dtype is not input.dtype:
            raise RuntimeError(
                f"aminmax: Expected out tensor to have dtype {input.dtype}, but got {o.dtype} "
                "instead"
            )
    with no_grad():
        found = amin_op(input, **params), amax_op(input, **params)
    written = (write_out("aminmax", o, r) for o, r in zip(out, found, strict=True))
    return return_types.aminmax(*written)


# -- places ---------------------------------------------------------------------------------------


def _places(x: np.ndarray, largest: bool) -> np.ndarray:
    """(outer, n, inner) to the first place of the extreme along n, (outer, inner)."""
    if x.shape[2] == 1:
        x = x[:, :, 0]
        found = x.argmax(1) if largest else x.argmin(1)
        return found[:, None]
    return x.argmax(1) if largest else x.argmin(1)


def _arg_cpu(x: np.ndarray, dims: tuple[int, ...], keepdim: bool, largest: bool) -> np.ndarray:
    if not dims:
        return np.zeros(x.shape, np.int64)
    if len(dims) == x.ndim:
        flat = x.reshape(-1)
        found = np.asarray(flat.argmax() if largest else flat.argmin())
        return found.reshape(reduced_shape(x.shape, dims, keepdim))
    if x.size <= parallel.BIG:
        f = x.argmax if largest else x.argmin
        return np.asarray(f(dims[0], keepdims=keepdim))
    y = lines.canonical(x, dims[0])
    found = reduce_host.gather(lambda a: _places(a, largest), y if y.ndim == 3 else y[:, :, None])
    return found.reshape(reduced_shape(x.shape, dims, keepdim))


def _to_int64(d: DType) -> DType:
    return dtypes.int64


def _arg(name: str, largest: bool) -> Callable:
    def cpu(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        return _arg_cpu(x, dims, keepdim, largest)

    def made(s: Any) -> list:
        return [
            x for x in samples(s, s.distinct) if len(x.params["dims"]) != 2 or x.inputs[0].ndim == 2
        ]

    return primitive(
        name=name,
        meta=spec(_to_int64, name, empty=False),
        triton=f"reduce.{name}",
        samples=made,
    )(cpu)


argmax_op, argmin_op = _arg("argmax", True), _arg("argmin", False)


def _argument(name: str, op: Callable, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    _ordered(name, input)
    if input.dtype is dtypes.bool_:
        raise NotImplementedError(f'"{name}" not implemented for bool tensors')
    if dim is None and not input._data.size:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            f"reduction dim with the 'dim' argument. Got shape {tuple(input.shape)}"
        )
    return op(input, dims=all_dims(name, input, dim), keepdim=keepdim)


@public(out=True)
@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the first largest element along `dim`, or in all elements in order."""
    return _argument("argmax", argmax_op, input, dim, keepdim)


@public(out=True)
@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The place of the first smallest element along `dim`, or in all elements in order."""
    return _argument("argmin", argmin_op, input, dim, keepdim)


# -- both -----------------------------------------------------------------------------------------


def pair_spec(name: str) -> Callable:
    """The meta rule of an operator with values and indices along one dimension."""

    def meta(x: Tensor, *, dims: tuple[int, ...], keepdim: bool) -> list:
        shape = x._data.shape
        check_not_empty(name, shape, dims)
        out = reduced_shape(shape, dims, keepdim)
        return [(out, x.dtype), (out, dtypes.int64)]

    return meta


def put_at(
    g: Any, g_indices: Any, x_shape: tuple, indices: Any, dims: tuple[int, ...], keepdim: bool
) -> Any:
    """A gradient of picked values, put where they were picked; zeros elsewhere."""
    if not dims:
        return (g,)
    g, at = (beside(t, x_shape, dims, keepdim) for t in (g, indices.detach()))
    return (g.new_zeros(x_shape).scatter(dims[0], at, g),)


def pick(x: np.ndarray, at: np.ndarray, dims: tuple[int, ...], keepdim: bool) -> tuple:
    """The elements of `x` at indices along a dimension, and these."""
    if not dims:
        return x.copy(), at
    wide = at if keepdim else np.expand_dims(at, dims[0])
    if dims[0] == x.ndim - 1 and x.flags.c_contiguous:
        rows = x.reshape(-1, x.shape[-1])
        values = rows[np.arange(rows.shape[0]), wide.reshape(-1)].reshape(wide.shape)
    else:
        values = np.take_along_axis(x, wide, dims[0])
    return values.reshape(at.shape), at


def _both(name: str, largest: bool) -> Callable:
    kernels = ("amax", "argmax") if largest else ("amin", "argmin")

    ufunc = np.maximum if largest else np.minimum

    def cpu(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        places = _arg_cpu(x, dims, keepdim, largest)
        if dims and x.size <= lines.SMALL:
            return ufunc.reduce(x, axis=dims[0], keepdims=keepdim), places
        return pick(x, places, dims, keepdim)

    def launch_both(launch: Any, out: Any, x: Any, *, dims: tuple[int, ...]) -> Any:
        from ..kernels import reduce

        if getattr(reduce, kernels[0])(launch, out[0], x, dims=dims) is NotImplemented:
            return NotImplemented
        return getattr(reduce, kernels[1])(launch, out[1], x, dims=dims)

    return primitive(
        name=f"{name}_dim",
        outputs=("out", "indices"),
        meta=pair_spec(name),
        triton=launch_both,
        samples=lambda s: [x for x in samples(s, s.distinct) if len(x.params["dims"]) < 2],
        vjp=joint(put_at),
    )(cpu)


max_dim_op, min_dim_op = _both("max", True), _both("min", False)


def _three_forms(
    name: str, all_of: Callable, along: Callable, binary: Callable, result: Any
) -> Callable:
    def function(
        input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None
    ) -> Any:
        if other is None and isinstance(dim, Tensor):
            other = dim
        if other is not None:
            return binary(input, other)
        _ordered(name, input)
        if dim is None:
            _some(name, input, None)
            return all_of(input, dims=tuple(range(input._data.ndim)), keepdim=False)
        if not isinstance(dim, int):
            raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
        errors.wrap_dim(name, dim, input._data.shape)
        return result(*along(input, dims=all_dims(name, input, dim), keepdim=keepdim))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"`{name}(input)`, `{name}(input, dim)` with values and indices, or "
        f"`{name}(input, other)`, which is `{name}imum`."
    )
    return public(out=True)(numpy_names(function))


max = _three_forms("max", amax_op, max_dim_op, maximum, return_types.max)
min = _three_forms("min", amin_op, min_dim_op, minimum, return_types.min)


# -- medians --------------------------------------------------------------------------------------


def _median_places(rows: np.ndarray, skip_nan: bool) -> np.ndarray:
    """The place of the lower median of each row; of NaN, where there is one, unless skipped."""
    n = rows.shape[1]
    if rows.dtype.kind != "f":
        return np.argpartition(rows, (n - 1) // 2, axis=1)[:, (n - 1) // 2]
    nan = np.isnan(rows)
    if skip_nan and nan.any():
        k = np.maximum(n - nan.sum(1) - 1, 0) // 2
        return np.take_along_axis(np.argsort(rows, axis=1, kind="stable"), k[:, None], 1)[:, 0]
    found = np.argpartition(rows, (n - 1) // 2, axis=1)[:, (n - 1) // 2]
    return np.where(nan.any(1), nan.argmax(1), found)


def _median(name: str, skip_nan: bool) -> tuple[Callable, Callable]:
    def along(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        moved = np.moveaxis(x, dims[0], -1) if dims else x[..., None]
        rows = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
        at = _median_places(rows, skip_nan).reshape(reduced_shape(x.shape, dims, keepdim))
        return pick(x, at.astype(np.int64), dims, keepdim)

    def whole(x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        if not x.size:
            if x.dtype.kind == "f":
                return np.full((), np.nan, x.dtype)
            return np.array(np.iinfo(x.dtype).min if x.itemsize > 2 else 0, x.dtype)  # C's of NaN
        flat = x.reshape(1, -1)
        return flat[0, _median_places(flat, skip_nan)[0]]

    one = primitive(
        name=f"{name}_dim",
        outputs=("out", "indices"),
        meta=pair_spec(name),
        triton=f"sort.{name}_dim",
        samples=lambda s: [x for x in samples(s, s.distinct) if len(x.params["dims"]) < 2],
        vjp=joint(put_at),
    )(along)
    every = primitive(
        name=name,
        meta=spec(same, name),
        triton=f"sort.{name}",
        vjp=_share,
        samples=lambda s: [
            s(s.distinct((3, 4)), dims=(0, 1), keepdim=False),
            s(s.distinct((7,)), dims=(0,), keepdim=False),
        ],
    )(whole)
    return one, every


median_dim_op, median_op = _median("median", False)
nanmedian_dim_op, nanmedian_op = _median("nanmedian", True)


def _median_public(name: str, one: Callable, every: Callable, result: Any, doc: str) -> Callable:
    def function(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        _ordered(name, input)
        if input.dtype is dtypes.bool_:
            raise NotImplementedError(f'"{name}" not implemented for bool tensors')
        if dim is None:
            return every(input, dims=tuple(range(input._data.ndim)), keepdim=False)
        return result(*one(input, dims=all_dims(name, input, dim), keepdim=keepdim))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return public(out=True)(numpy_names(function))


median = _median_public(
    "median",
    median_dim_op,
    median_op,
    return_types.median,
    "The lower median of all elements, or along `dim` with indices; NaN where there is one.",
)
nanmedian = _median_public(
    "nanmedian",
    nanmedian_dim_op,
    nanmedian_op,
    return_types.nanmedian,
    "The lower median of what is not NaN, of all elements, or along `dim` with indices.",
)
