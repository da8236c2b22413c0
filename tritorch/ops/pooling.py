"""PyTorch's pooling functions over the records of `pool`, in one to three dimensions.

A line is an image of one row. A volume is pooled within its frames, then across them: the frames
of the result are the rows of an image whose columns are all pixels of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import errors
from ..autograd.mode import state
from ..tensor import Tensor
from . import pool
from .api import FUNCTIONAL, PUBLIC, with_out
from .autocast import listed
from .copy import as_images
from .pool_host import output_size

Sizes = int | Sequence[int]
Maxima = tuple[Tensor, Tensor | None]


# -- arguments ----------------------------------------------------------------------------------


def tuple_of(name: str, what: str, value: Any, n: int) -> tuple[int, ...]:
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
        self.kernel = tuple_of(name, "kernel_size", kernel, n)
        given = stride is not None and not (isinstance(stride, tuple | list) and not len(stride))
        self.stride = tuple_of(name, "stride", stride, n) if given else self.kernel
        self.padding = tuple_of(name, "padding", padding, n)
        self.dilation = tuple_of(name, "dilation", dilation, n)
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
        return out if self.batched else out[0]


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
    return x if len(shape) == n + 2 else x[None]


def frames(x: Tensor) -> Tensor:
    """(N, C, D, H, W) as (N * C, D, H, W)."""
    n, c, *size = x._data.shape
    return x.reshape(n * c, *size)


def across(x: Tensor) -> Tensor:
    """(N * C, D, H, W) as images (N * C, 1, D, H * W)."""
    n, d, h, w = x._data.shape
    return x.reshape(n, 1, d, h * w)


# -- maxima -------------------------------------------------------------------------------------


def _max_images(x: Tensor, how: dict, indices: bool) -> Maxima:
    """Maxima over images, and where they are if that is asked for."""
    light = x.is_cpu or not (state.grad and x.requires_grad)  # else a gradient looks for them again
    if not indices and light and x.dtype.category == 2:
        return pool.max_pool2d_values(x, **how), None
    return pool.max_pool2d(x, **how)


def _max_volumes(w: Windows, indices: bool) -> Maxima:
    n, c, d, height, width = w.input._data.shape
    values, inner = _max_images(frames(w.input), w.part(slice(1, 3)), indices)
    p, q = w.size[1:]
    deep = w.part(slice(0, 1))
    deep = {k: v[::-1] for k, v in deep.items()} | {"size": (w.size[0], p * q)}
    values, outer = _max_images(across(values), deep, indices)
    shape = (n, c, *w.size)
    if inner is None or outer is None:
        return values.reshape(shape), None
    flat = outer.reshape(n * c, math.prod(w.size))
    place = inner.reshape(n * c, d * p * q).gather(1, flat)
    frame = flat.div(p * q, rounding_mode="floor")
    found = frame * (height * width) + place
    return values.reshape(shape), found.reshape(shape)


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
    errors.check_dtype(name, input.dtype, "integral", "floating")
    if n == 3:
        values, indices = (
            None if t is None else as_images(t, w.input) for t in _max_volumes(w, return_indices)
        )
    else:
        x = w.input if n == 2 else w.input[:, :, None]
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
    errors.check_dtype(name, input.dtype, "int64", "floating")
    how = {"count_include_pad": bool(count_include_pad), "divisor": divisor}
    if n == 3:
        return w.result(_mean_volumes(w, how))
    x = w.input if n == 2 else w.input[:, :, None]
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
    out = pool.avg_pool2d(frames(w.input), **inner, **how)
    if last is not None:
        how = {**how, "divisor": 1}
    out = pool.avg_pool2d(across(out), **outer, **how)
    return out.reshape(*w.input._data.shape[:2], *w.size)


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


def _lp(n: int, mean: Callable, largest: Callable) -> Callable:
    def function(
        input: Tensor,
        norm_type: float,
        kernel_size: Sizes,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        if norm_type == math.inf:
            return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)  # type: ignore
        if norm_type == -math.inf:
            return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)  # type: ignore
        count = math.prod(tuple_of(f"lp_pool{n}d", "kernel_size", kernel_size, n))
        out = mean(input**norm_type, kernel_size, stride, 0, ceil_mode)
        return ((out.sign() * out.abs().relu()) * count) ** (1.0 / norm_type)

    function.__name__ = function.__qualname__ = f"lp_pool{n}d"
    function.__doc__ = "The `norm_type`-norm of each window: `(sum of x ** p) ** (1 / p)`."
    return function


def publish(f: Callable, everywhere: bool) -> None:
    f = listed(f)
    FUNCTIONAL[f.__name__] = f
    if everywhere:
        PUBLIC[f.__name__] = f


for _n, _f in enumerate((max_pool1d, max_pool2d, max_pool3d), 1):
    publish(_f, True)
    publish(_with_indices(_f, _n), _n == 1)
for _n, _f in enumerate((avg_pool1d, avg_pool2d, avg_pool3d), 1):
    publish(_f if _n == 1 else with_out(_f), _n == 1)
    publish(_lp(_n, _f, (max_pool1d, max_pool2d, max_pool3d)[_n - 1]), False)
