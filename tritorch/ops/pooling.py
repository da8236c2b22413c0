"""PyTorch's pooling functions over the records of `pool`, in one to three dimensions.

A line is an image of one row. A volume is pooled within its frames, then across them: the frames
of the result are the rows of an image whose columns are all pixels of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from . import pool
from .api import FUNCTIONAL, PUBLIC
from .pool_host import bounds, output_size

Sizes = int | Sequence[int]
Maxima = tuple[Tensor, Tensor | None]


# -- arguments ----------------------------------------------------------------------------------


def _tuple(name: str, what: str, value: Any, n: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * n
    values = tuple(int(v) for v in value)
    if len(values) not in (1, n):
        raise RuntimeError(f"{name}: {what} must either be a single int, or a tuple of {n} ints")
    return values * n if len(values) == 1 else values


class Windows:
    """The checked arguments of a pooling function: windows over the last `n` dimensions."""

    def __init__(
        self,
        name: str,
        n: int,
        x: Tensor,
        kernel: Sizes,
        stride: Any,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.name, self.n = name, n
        self.input = batched(name, n, x)
        self.batched = self.input is x
        self.kernel = _tuple(name, "kernel_size", kernel, n)
        given = stride is not None and not (isinstance(stride, tuple | list) and not len(stride))
        self.stride = _tuple(name, "stride", stride, n) if given else self.kernel
        self.padding = _tuple(name, "padding", padding, n)
        self.dilation = _tuple(name, "dilation", dilation, n)
        self._check()
        sizes = zip(
            x._data.shape[-n:], self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        self.size = tuple(output_size(*v, ceil_mode) for v in sizes)
        if min(self.size) < 1:
            raise RuntimeError(
                f"{name}: Given input size: ({'x'.join(map(str, x._data.shape))}). Calculated "
                f"output size: ({'x'.join(map(str, self.size))}). Output size is too small"
            )

    def _check(self) -> None:
        name = self.name
        if min(self.kernel) <= 0:
            raise RuntimeError(
                f"{name}: kernel size should be greater than zero, but got {self.kernel}"
            )
        if min(self.stride) <= 0:
            what = "should not be zero" if 0 in self.stride else "must be greater than zero"
            raise RuntimeError(f"{name}: stride {what}, but got {self.stride}")
        if min(self.dilation) <= 0:
            raise RuntimeError(
                f"{name}: dilation should be greater than zero, but got {self.dilation}"
            )
        for p, k, d in zip(self.padding, self.kernel, self.dilation, strict=True):
            if p < 0:
                raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {p}")
            if p > ((k - 1) * d + 1) // 2:
                raise RuntimeError(
                    f"{name}: pad should be at most half of effective kernel size, but got "
                    f"pad={p}, kernel_size={k} and dilation={d}"
                )

    def part(self, dims: slice) -> dict:
        """The parameters of a record for some dimensions, with ones before them."""
        ones = (1,) * (2 - len(self.size[dims]))
        return {
            "size": (*ones, *self.size[dims]),
            "kernel": (*ones, *self.kernel[dims]),
            "stride": (*ones, *self.stride[dims]),
            "padding": (*(0 for _ in ones), *self.padding[dims]),
            "dilation": (*ones, *self.dilation[dims]),
        }

    def result(self, out: Tensor) -> Tensor:
        return out if self.batched else out[0]  # type: ignore[index]


def batched(name: str, n: int, x: Tensor) -> Tensor:
    """The input with a batch dimension; of `n` dimensions after batch and channels."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}"
        )
    shape = x._data.shape
    if len(shape) not in (n + 1, n + 2) or 0 in shape[len(shape) - n - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got: {list(shape)}"
        )
    return x if len(shape) == n + 2 else x[None]  # type: ignore[index]


def _frames(x: Tensor) -> Tensor:
    """(N, C, D, H, W) as (N * C, D, H, W)."""
    n, c, *size = x._data.shape
    return x.reshape(n * c, *size)  # type: ignore[attr-defined]


def _across(x: Tensor) -> Tensor:
    """(N * C, D, H, W) as images (N * C, 1, D, H * W)."""
    n, d, h, w = x._data.shape
    return x.reshape(n, 1, d, h * w)  # type: ignore[attr-defined]


# -- maxima -------------------------------------------------------------------------------------


def _max_images(x: Tensor, how: dict, indices: bool) -> Maxima:
    """Maxima over images, and where they are if that is asked for."""
    if not indices and x.is_cpu and x.dtype.category == 2:
        return pool.max_pool2d_values(x, **how), None
    return pool.max_pool2d(x, **how)


def _max_volumes(w: Windows, indices: bool) -> Maxima:
    n, c, d, height, width = w.input._data.shape
    values, inner = _max_images(_frames(w.input), w.part(slice(1, 3)), indices)
    p, q = w.size[1:]
    deep = w.part(slice(0, 1))
    deep = {k: v[::-1] for k, v in deep.items()} | {"size": (w.size[0], p * q)}
    values, outer = _max_images(_across(values), deep, indices)
    shape = (n, c, *w.size)
    if inner is None or outer is None:
        return values.reshape(shape), None  # type: ignore[attr-defined]
    flat = outer.reshape(n * c, -1)  # type: ignore[attr-defined]
    place = inner.reshape(n * c, -1).gather(1, flat)  # type: ignore[attr-defined]
    frame = flat.div(p * q, rounding_mode="floor")
    found = frame * (height * width) + place
    return values.reshape(shape), found.reshape(shape)  # type: ignore[attr-defined]


def _max(
    name: str,
    n: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    w = Windows(name, n, input, kernel_size, stride, padding, dilation, ceil_mode)
    if n == 3:
        values, indices = _max_volumes(w, return_indices)
    else:
        x = w.input if n == 2 else w.input[:, :, None]  # type: ignore[index]
        values, indices = _max_images(x, w.part(slice(0, n)), return_indices)
        if n == 1:
            values, indices = (None if t is None else t[:, :, 0] for t in (values, indices))
    if not return_indices:
        return w.result(values)
    return w.result(values), w.result(indices)  # type: ignore[arg-type]


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of lines (N, C, L) or (C, L); see `max_pool2d`."""
    return _max(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of images (N, C, H, W) or (C, H, W).

    Windows are `stride` apart (`kernel_size` by default), their elements `dilation`; padding counts
    as minus infinity; with `ceil_mode` the last window may reach beyond the border. The indices,
    where asked for, are positions in the plane H * W.
    """
    return _max(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of volumes (N, C, D, H, W) or (C, D, H, W); see `max_pool2d`."""
    return _max(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _with_indices(f: Callable, n: int) -> Callable:
    def function(
        input: Tensor,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Tensor]:
        return f(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    function.__name__ = function.__qualname__ = f"max_pool{n}d_with_indices"
    function.__doc__ = f"`max_pool{n}d(..., return_indices=True)`."
    return function


# -- means --------------------------------------------------------------------------------------


def _mean(
    name: str,
    n: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Any,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    if divisor == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    w = Windows(name, n, input, kernel_size, stride, padding, 1, ceil_mode)
    how = {"count_include_pad": bool(count_include_pad), "divisor": divisor}
    if n == 3:
        return w.result(_mean_volumes(w, how))
    x = w.input if n == 2 else w.input[:, :, None]  # type: ignore[index]
    params = w.part(slice(0, n))
    del params["dilation"]
    out = pool.avg_pool2d(x, **params, **how)
    return w.result(out if n == 2 else out[:, :, 0])


def _mean_volumes(w: Windows, how: dict) -> Tensor:
    """Sums within frames over the sums across them: the count of a box is a product."""
    inner, outer = w.part(slice(1, 3)), w.part(slice(0, 1))
    outer = {k: v[::-1] for k, v in outer.items()} | {"size": (w.size[0], w.size[1] * w.size[2])}
    del inner["dilation"], outer["dilation"]
    last = how["divisor"]
    out = pool.avg_pool2d(_frames(w.input), **inner, **how)
    if last is not None:
        how = {**how, "divisor": 1}
    out = pool.avg_pool2d(_across(out), **outer, **how)
    return out.reshape(*w.input._data.shape[:2], *w.size)  # type: ignore[attr-defined]


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of lines (N, C, L) or (C, L); see `avg_pool2d`."""
    return _mean(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of images (N, C, H, W) or (C, H, W).

    Padding counts as zeros, or not at all without `count_include_pad`; `divisor_override` is what
    sums are divided by instead of the number of elements.
    """
    return _mean(
        "avg_pool2d",
        2,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Any = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of volumes (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`."""
    return _mean(
        "avg_pool3d",
        3,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def _lp(n: int, mean: Callable) -> Callable:
    def function(
        input: Tensor,
        norm_type: float,
        kernel_size: Sizes,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        count = math.prod(_tuple(f"lp_pool{n}d", "kernel_size", kernel_size, n))
        out = mean(input**norm_type, kernel_size, stride, 0, ceil_mode)
        return ((out.sign() * out.abs().relu()) * count) ** (1.0 / norm_type)

    function.__name__ = function.__qualname__ = f"lp_pool{n}d"
    function.__doc__ = "The `norm_type`-norm of each window: `(sum of x ** p) ** (1 / p)`."
    return function


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
            f"{name}: elements of output_size must be greater than or equal to 0 but received {size}"
        )
    return size


def _check_adaptive(name: str, n: int, x: Tensor) -> Tensor:
    shape = x._data.shape
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(shape)}")
    if 0 in shape[-n:]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
            f"has sizes {list(shape)}"
        )
    return x if len(shape) == n + 2 else x[None]  # type: ignore[index]


def _adaptive_mean(name: str, n: int, input: Tensor, output_size: Any) -> Tensor:
    x = _check_adaptive(name, n, input)
    size = _adaptive_size(name, n, input, output_size)
    if n == 3:
        out = pool.adaptive_avg_pool2d(_frames(x), size=size[1:])
        out = pool.adaptive_avg_pool2d(_across(out), size=(size[0], size[1] * size[2]))
        out = out.reshape(*x._data.shape[:2], *size)
    elif n == 2:
        out = pool.adaptive_avg_pool2d(x, size=size)
    else:
        out = pool.adaptive_avg_pool2d(x[:, :, None], size=(1, *size))[:, :, 0]  # type: ignore[index]
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
            x = x.index_select(dim, _tensor(x, places))  # type: ignore[attr-defined]
    how = {"size": size, "kernel": (r, s), "stride": (r, s), "padding": (0, 0), "dilation": (1, 1)}
    values, found = pool.max_pool2d(x, **how)
    table = (rows[:, None] * width + columns).reshape(-1)
    return values, _tensor(x, table)[found]  # type: ignore[index]


def _tensor(x: Tensor, values: np.ndarray) -> Tensor:
    return x.new_tensor(values, dtype=dtypes.int64)  # type: ignore[attr-defined]


def _adaptive_max(name: str, n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    x = _check_adaptive(name, n, input)
    size = _adaptive_size(name, n, input, output_size)
    if n == 3:
        values, indices = _adaptive_max_volumes(x, size)
    elif n == 2:
        values, indices = _adaptive_max_images(x, size)
    else:
        values, indices = _adaptive_max_images(x[:, :, None], (1, *size))  # type: ignore[index]
        values, indices = values[:, :, 0], indices[:, :, 0]  # type: ignore[index]
    if x is not input:
        values, indices = values[0], indices[0]  # type: ignore[index]
    return (values, indices) if return_indices else values


def _adaptive_max_volumes(x: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    n, c, _, height, width = x._data.shape
    values, inner = _adaptive_max_images(_frames(x), size[1:])
    area = size[1] * size[2]
    values, outer = _adaptive_max_images(_across(values), (size[0], area))
    flat = outer.reshape(n * c, -1)  # type: ignore[attr-defined]
    place = inner.reshape(n * c, -1).gather(1, flat)  # type: ignore[attr-defined]
    found = flat.div(max(area, 1), rounding_mode="floor") * (height * width) + place
    shape = (n, c, *size)
    return values.reshape(shape), found.reshape(shape)  # type: ignore[attr-defined]


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
    kernel = _tuple(name, "kernel_size", kernel_size, n)
    step = kernel if stride is None else _tuple(name, "stride", stride, n)
    size = _unpooled_size(
        name, shape, kernel, step, _tuple(name, "padding", padding, n), output_size
    )
    lead = math.prod(shape[:-n])
    where, pixels = indices.reshape(lead, -1), math.prod(size)  # type: ignore[attr-defined]
    if (
        where._data.size
        and where.is_cpu
        and not 0 <= where._data.min() <= where._data.max() < pixels
    ):
        raise RuntimeError(
            f"{name}: Found an invalid max index: {int(where._data.max())} for an output of "
            f"shape {size}"
        )
    zeros = input.new_zeros((lead, pixels))  # type: ignore[attr-defined]
    out = zeros.scatter(1, where, input.reshape(lead, -1))  # type: ignore[attr-defined]
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
                f"{name}: invalid output_size {size!r}: each must lie within the stride of {default}"
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


def _publish(f: Callable, everywhere: bool) -> None:
    FUNCTIONAL[f.__name__] = f
    if everywhere:
        PUBLIC[f.__name__] = f


for _n, _f in enumerate((max_pool1d, max_pool2d, max_pool3d), 1):
    _publish(_f, True)
    _publish(_with_indices(_f, _n), _n == 1)
for _n, _f in enumerate((avg_pool1d, avg_pool2d, avg_pool3d), 1):
    _publish(_f, _n == 1)
    _publish(_lp(_n, _f), False)
for _n, _f in enumerate((adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d), 1):
    _publish(_f, _n == 1)
    _publish(_adaptive_max_function(_n, False), False)
    _publish(_adaptive_max_function(_n, True), False)
    _publish(_unpool_function(_n), False)
PUBLIC["adaptive_max_pool1d"] = FUNCTIONAL["adaptive_max_pool1d_with_indices"]
