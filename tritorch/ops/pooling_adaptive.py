"""Adaptive pooling, whose windows follow from the size of the result, and unpooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..tensor import Tensor
from . import pool
from .api import PUBLIC
from .copy import as_images
from .pool_host import bounds
from .pooling import Sizes, across, frames, publish, tuple_of

# -- adaptive -----------------------------------------------------------------------------------


def _adaptive_size(name: str, n: int, x: Tensor, output_size: Any) -> tuple[int, ...]:
    have = x._data.shape[-n:]
    given = [output_size] * n if isinstance(output_size, int | None) else list(output_size)
    if len(given) == 1:
        given = given * n
    if len(given) != n:
        raise RuntimeError(f"{name}: internal error: output_size.size() must be {n}, got {given}")
    size = tuple(m if s is None else int(s) for s, m in zip(given, have, strict=True))
    if min(size) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{size}"
        )
    return size


def _check_adaptive(name: str, n: int, x: Tensor, output_size: Any) -> Tensor:
    shape = x._data.shape
    if n > 1 and len(shape) <= n and not isinstance(output_size, int):
        raise ValueError(f"{name}: Input dimension should be at least {n + 1}, got {list(shape)}")
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(shape)}")
    if 0 in shape[-n:]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
            f"has sizes {list(shape)}"
        )
    return x if len(shape) == n + 2 else x[None]


def _adaptive_mean(name: str, n: int, input: Tensor, output_size: Any) -> Tensor:
    x = _check_adaptive(name, n, input, output_size)
    size = _adaptive_size(name, n, input, output_size)
    errors.check_dtype(name, input.dtype, "floating")
    if n == 3:
        out = pool.adaptive_avg_pool2d(frames(x), size=size[1:])
        out = pool.adaptive_avg_pool2d(across(out), size=(size[0], size[1] * size[2]))
        out = out.reshape(*x._data.shape[:2], *size)
        out = as_images(out, x) if size == (1, 1, 1) else out  # a mean, which keeps the order
    elif n == 2:
        out = pool.adaptive_avg_pool2d(x, size=size)
    else:
        out = pool.adaptive_avg_pool2d(x[:, :, None], size=(1, *size))[:, :, 0]
    return out if x is input else out[0]


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows of lines (N, C, L), as equal as they can be."""
    return _adaptive_mean("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows of images (N, C, H, W); None keeps a dimension."""
    return _adaptive_mean("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows of volumes (N, C, D, H, W); None keeps a dimension."""
    return _adaptive_mean("adaptive_avg_pool3d", 3, input, output_size)


def _even(n: int, out: int) -> tuple[np.ndarray, int]:
    """The positions of all adaptive windows, shorter ones lengthened by their last element."""
    windows = bounds(n, out)
    longest = max((b - a for a, b in windows), default=1)
    places = [min(a + i, b - 1) for a, b in windows for i in range(longest)]
    return np.asarray(places, np.int64), longest


def _adaptive_max_images(x: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Maxima and indices: the windows laid side by side are windows of one size."""
    height, width = x._data.shape[2:]
    (rows, r), (columns, s) = _even(height, size[0]), _even(width, size[1])
    for dim, places, n in ((2, rows, height), (3, columns, width)):
        if len(places) != n or (places != np.arange(n)).any():
            x = as_images(x.index_select(dim, _tensor(x, places)), x)
    how = {"size": size, "kernel": (r, s), "stride": (r, s), "padding": (0, 0), "dilation": (1, 1)}
    values, found = pool.max_pool2d(x, **how)
    table = (rows[:, None] * width + columns).reshape(-1)
    return values, as_images(_tensor(x, table)[found], x)


def _tensor(x: Tensor, values: np.ndarray) -> Tensor:
    return x.new_tensor(values, dtype=dtypes.int64)


def _adaptive_max(name: str, n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    x = _check_adaptive(name, n, input, output_size)
    size = _adaptive_size(name, n, input, output_size)
    errors.check_dtype(name, input.dtype, "floating")
    if n == 3:
        values, indices = _adaptive_max_volumes(x, size)
    elif n == 2:
        values, indices = _adaptive_max_images(x, size)
    else:
        values, indices = _adaptive_max_images(x[:, :, None], (1, *size))
        values, indices = values[:, :, 0], indices[:, :, 0]
    if x is not input:
        values, indices = values[0], indices[0]
    return (values, indices) if return_indices else values


def _adaptive_max_volumes(x: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    n, c, d, height, width = x._data.shape
    values, inner = _adaptive_max_images(frames(x), size[1:])
    area = size[1] * size[2]
    values, outer = _adaptive_max_images(across(values), (size[0], area))
    flat = outer.reshape(n * c, size[0] * area)
    place = inner.reshape(n * c, d * area).gather(1, flat)
    found = flat.div(max(area, 1), rounding_mode="floor") * (height * width) + place
    shape = (n, c, *size)
    return values.reshape(shape), found.reshape(shape)


def _adaptive_max_function(n: int, with_indices: bool) -> Callable:
    name = f"adaptive_max_pool{n}d"

    def function(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max(name, n, input, output_size, return_indices or with_indices)

    function.__name__ = function.__qualname__ = name + ("_with_indices" if with_indices else "")
    function.__doc__ = "The maxima of `output_size` windows, as equal as they can be."
    return function


# -- back to where the maxima were --------------------------------------------------------------


def _unpool(
    name: str,
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    output_size: Any,
) -> Tensor:
    shape = input._data.shape
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}: elements in indices should be type int64 but got: {indices.dtype.name}"
        )
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor "
            f"with {len(shape)} dimensions"
        )
    if indices._data.shape != shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor "
            f"({list(shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    errors.check_dtype(name, input.dtype, "floating")
    kernel = tuple_of(name, "kernel_size", kernel_size, n)
    step = kernel if stride is None else tuple_of(name, "stride", stride, n)
    size = _unpooled_size(
        name, shape, kernel, step, tuple_of(name, "padding", padding, n), output_size
    )
    lead = math.prod(shape[:-n])
    places, pixels = math.prod(shape[-n:]), math.prod(size)
    where = indices.reshape(lead, places)
    if (
        where._data.size
        and where.is_cpu
        and not 0 <= where._data.min() <= where._data.max() < pixels
    ):
        raise RuntimeError(
            f"{name}: Found an invalid max index: {int(where._data.max())} for an output of "
            f"shape {size}"
        )
    zeros = input.new_zeros((lead, pixels))
    out = zeros.scatter(1, where, input.reshape(lead, places))
    return out.reshape(*shape[:-n], *size)


def _unpooled_size(
    name: str,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_size: Any,
) -> tuple[int, ...]:
    n = len(kernel)
    default = [
        (m - 1) * s + k - 2 * p
        for m, s, k, p in zip(shape[-n:], stride, kernel, padding, strict=True)
    ]
    if output_size is None:
        return tuple(default)
    size = list(output_size)
    size = size[2:] if len(size) == n + 2 else size
    if len(size) != n:
        raise ValueError(
            f"{name}: output_size should be a sequence containing {n} or {n + 2} elements, but it "
            f"has a length of '{len(output_size)}'"
        )
    for m, d, s in zip(size, default, stride, strict=True):
        if not d - s < m < d + s:
            raise ValueError(
                f"{name}: invalid output_size {size!r}: each must lie within the stride of "
                f"{default}"
            )
    return tuple(size)


def _unpool_function(n: int) -> Callable:
    name = f"max_unpool{n}d"

    def function(
        input: Tensor,
        indices: Tensor,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        output_size: Any = None,
    ) -> Tensor:
        return _unpool(name, n, input, indices, kernel_size, stride, padding, output_size)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Zeros with the maxima of `max_pool{n}d` put back where they were."
    return function


for _n, _f in enumerate((adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d), 1):
    publish(_f, _n == 1)
    publish(_adaptive_max_function(_n, False), False)
    publish(_adaptive_max_function(_n, True), False)
    publish(_unpool_function(_n), False)
PUBLIC["adaptive_max_pool1d"] = _adaptive_max_function(1, True)
