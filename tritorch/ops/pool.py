"""The records of pooling: maxima and means over windows of images.

`size` is the height and width of each result: the public functions work it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.rules import joint
from ..op import Images, fused, primitive
from ..tensor import Tensor
from . import pool_host
from .pool_host import Pair, axes_of

# -- maxima -------------------------------------------------------------------------------------


def _max_meta(x: Tensor, *, size: Pair, **how: Any) -> list:
    shape = (*x._data.shape[:2], *size)
    return [(shape, x.dtype), (shape, dtypes.int64)]


def _max_vjp(
    g: Tensor,
    gi: Tensor | None,
    x_shape: tuple,
    indices: Tensor,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> tuple:
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return (max_pool2d_backward(g, indices.detach(), size=tuple(x_shape[2:]), **how),)


def _max_samples(s: Any) -> list:
    one = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    return [
        s(s.distinct((1, 2, 4, 4)), size=(2, 2), **one),
        s(s.distinct((1, 1, 5, 6)), size=(3, 3), **{**one, "kernel": (3, 3), "padding": (1, 1)}),
        s(s.distinct((1, 1, 5, 5)), size=(4, 3), **{**one, "kernel": (2, 3), "stride": (1, 1)}),
        s(s.distinct((2, 1, 7, 5)), size=(3, 3), **{**one, "dilation": (2, 1)}),
        s(s.distinct((2, 3, 30, 50)), size=(15, 25), **one),
        s(s.distinct((0, 1, 4, 4)), size=(2, 2), **one),
    ]


@primitive(
    kind=Images,
    meta=_max_meta,
    triton="pool.max_pool2d",
    outputs=("out", "indices"),
    vjp=joint(_max_vjp),
    samples=_max_samples,
)
def max_pool2d(
    x: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Any:
    """Maxima over windows of `x` (N, C, H, W), and where in its plane each of them lies."""
    axes = axes_of(x.shape[2:], size, kernel, stride, padding, dilation)
    return pool_host.max_indices(x, *axes)


def _sized_meta(x: Tensor, *others: Tensor, size: Pair, **how: Any) -> tuple:
    return (*x._data.shape[:2], *size), x.dtype


def _picked(
    g: Tensor, indices: Tensor, size: Pair, kernel: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> Tensor:  # fmt: skip
    shape = indices._data.shape
    flat = g.reshape(*shape[:2], g._data.shape[2] * g._data.shape[3])
    at = indices.reshape(*shape[:2], shape[2] * shape[3])
    return flat.gather(2, at).reshape(shape)


def _scatter_samples(s: Any) -> list:
    made = []
    for sample in _max_samples(s):
        x, how = sample.inputs[0], dict(sample.params)
        axes = axes_of(x.shape[2:], how.pop("size"), *how.values())
        out, indices = pool_host.max_indices(x, *axes)
        made.append(s(out.shape, indices, size=x.shape[2:], **how))
    return made


@primitive(
    kind=Images,
    meta=_sized_meta,
    triton="pool.max_pool2d_backward",
    vjp=(_picked, None),
    samples=_scatter_samples,
)
def max_pool2d_backward(
    g: Any,
    indices: Any,
    *,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Any:
    """Planes of `size` with `g` (N, C, P, Q) added where `indices` says."""
    axes = axes_of(size, g.shape[2:], kernel, stride, padding, dilation)
    return pool_host.scatter(g, indices, size, all(a.disjoint for a in axes))


def _values_cpu(
    x: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Any:
    axes = axes_of(x.shape[2:], size, kernel, stride, padding, dilation)
    return pool_host.max_values(x, *axes)


def _values_vjp(
    g: Tensor,
    x: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    out: Tensor | None = None,
) -> Tensor:
    """The maxima are found anew where a program has changed them in place, as `relu_` does."""
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if out is None:
        out = max_pool2d_values(x.detach(), size=size, **how)
    return max_pool2d_values_backward(g, x, out, **how)


@fused(
    kind=Images,
    meta=_sized_meta,
    cpu=_values_cpu,
    triton="pool.max_pool2d_values",
    vjp=_values_vjp,
    samples=_max_samples,
)
def max_pool2d_values(
    x: Tensor, *, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """`max_pool2d` without indices, for the CPU, where finding them costs more than the maxima, and
    for devices where no gradient is asked for."""
    return max_pool2d(
        x, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )[0]


def _values_backward_cpu(
    g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Any:
    axes = axes_of(x.shape[2:], out.shape[2:], kernel, stride, padding, dilation)
    if out.size and np.isnan(out.max()):
        _, indices = pool_host.max_indices(x, *axes)
        return pool_host.scatter(g, indices, x.shape[2:], all(a.disjoint for a in axes))
    return pool_host.max_backward(g, x, out, *axes)


def _values_backward_samples(s: Any) -> list:
    made = []
    for sample in _max_samples(s):
        x, how = sample.inputs[0], dict(sample.params)
        axes = axes_of(x.shape[2:], how.pop("size"), *how.values())
        out = pool_host.max_values(x, *axes)
        made.append(s(out.shape, x, out, smooth=False, **how))
    return made


@fused(
    kind=Images,
    meta=lambda g, x, out, **how: (tuple(x._data.shape), g.dtype),
    cpu=_values_backward_cpu,
    triton="pool.max_pool2d_values_backward",
    samples=_values_backward_samples,
)
def max_pool2d_values_backward(
    g: Tensor,
    x: Tensor,
    out: Tensor,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    """`g` at the first element of each window that equals its maximum."""
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    _, indices = max_pool2d(x.detach(), size=tuple(out.shape[2:]), **how)
    return max_pool2d_backward(g, indices, size=tuple(x.shape[2:]), **how)


# -- means --------------------------------------------------------------------------------------


def _mean_samples(s: Any, back: bool = False) -> list:
    one = {"stride": (2, 2), "padding": (0, 0), "count_include_pad": True, "divisor": None}
    made = [
        ((1, 2, 4, 4), (2, 2), {**one, "kernel": (2, 2)}),
        ((1, 1, 5, 4), (3, 2), {**one, "kernel": (3, 2), "padding": (1, 0)}),
        ((1, 1, 4, 5), (4, 3), {**one, "kernel": (2, 3), "stride": (1, 2), "padding": (1, 1)}),
        ((1, 1, 5, 5), (3, 3), {**one, "kernel": (2, 2), "count_include_pad": False}),
        ((1, 1, 4, 4), (3, 3), {**one, "kernel": (2, 2), "stride": (1, 1), "divisor": 3}),
        ((2, 3, 33, 40), (16, 20), {**one, "kernel": (2, 2)}),
        ((0, 1, 4, 4), (2, 2), {**one, "kernel": (2, 2)}),
    ]
    if back:
        return [s((*x[:2], *size), size=x[2:], **how) for x, size, how in made]
    return [s(x, size=size, **how) for x, size, how in made]


def _mean_vjp(
    g: Tensor,
    x_shape: tuple,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    return avg_pool2d_backward(
        g,
        size=tuple(x_shape[2:]),
        kernel=kernel,
        stride=stride,
        padding=padding,
        count_include_pad=count_include_pad,
        divisor=divisor,
    )


def _mean_back_vjp(
    g: Tensor,
    g_shape: tuple,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    return avg_pool2d(
        g,
        size=tuple(g_shape[2:]),
        kernel=kernel,
        stride=stride,
        padding=padding,
        count_include_pad=count_include_pad,
        divisor=divisor,
    )


@primitive(
    kind=Images,
    meta=_sized_meta,
    triton="pool.avg_pool2d",
    vjp=_mean_vjp,
    samples=_mean_samples,
)
def avg_pool2d(
    x: Any,
    *,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Means over windows of `x` (N, C, H, W), or their sums over `divisor`."""
    axes = axes_of(x.shape[2:], size, kernel, stride, padding, (1, 1))
    return pool_host.average(x, *axes, count_include_pad, divisor)


@primitive(
    kind=Images,
    meta=_sized_meta,
    triton="pool.avg_pool2d_backward",
    vjp=_mean_back_vjp,
    samples=lambda s: _mean_samples(s, back=True),
)
def avg_pool2d_backward(
    g: Any,
    *,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """The gradient of each mean, spread over its window."""
    axes = axes_of(size, g.shape[2:], kernel, stride, padding, (1, 1))
    return pool_host.average_backward(g, *axes, count_include_pad, divisor)


# -- adaptive means -----------------------------------------------------------------------------


def _adaptive_samples(s: Any) -> list:
    shapes = [((1, 2, 4, 4), (2, 2)), ((1, 1, 5, 7), (3, 2)), ((2, 1, 3, 4), (1, 1))]
    shapes += [((1, 1, 2, 3), (4, 5)), ((2, 3, 20, 18), (7, 6)), ((0, 1, 4, 4), (2, 2))]
    return [s(shape, size=size) for shape, size in shapes]


def _adaptive_vjp(g: Tensor, x_shape: tuple) -> Tensor:
    return adaptive_avg_pool2d_backward(g, size=tuple(x_shape[2:]))


def _adaptive_back_vjp(g: Tensor, g_shape: tuple) -> Tensor:
    return adaptive_avg_pool2d(g, size=tuple(g_shape[2:]))


@primitive(
    kind=Images,
    meta=_sized_meta,
    triton="pool.adaptive_avg_pool2d",
    vjp=_adaptive_vjp,
    samples=_adaptive_samples,
)
def adaptive_avg_pool2d(x: Any, *, size: Pair) -> Any:
    """Means over `size` windows of `x` (N, C, H, W), as equal as they can be."""
    return pool_host.adaptive_average(x, size)


@primitive(
    kind=Images,
    meta=_sized_meta,
    triton="pool.adaptive_avg_pool2d_backward",
    vjp=_adaptive_back_vjp,
    samples=_adaptive_samples,
)
def adaptive_avg_pool2d_backward(g: Any, *, size: Pair) -> Any:
    """The gradient of each mean, spread over its window, for images of `size`."""
    return pool_host.adaptive_average_backward(g, size)
