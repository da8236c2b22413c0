"""PyTorch's convolutions, in one to three dimensions and transposed, over the records of `conv`.

A line is an image of one row. The frames of a volume that a filter sees at once are channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..tensor import Tensor
from . import conv
from .api import FUNCTIONAL, PUBLIC
from .autocast import listed
from .conv import common_dtype
from .copy import as_images
from .strided import _unfold
from .view import _slice, put_back

Sizes = int | Sequence[int]
ALL = slice(None)


# -- arguments --------------------------------------------------------------------------


def tuple_of(name: str, what: str, value: Any, n: int) -> tuple[int, ...]:
    """An int, or a sequence of one or `n` of them, as `n` ints."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, int):
        return (value,) * n
    values = tuple(int(v) for v in value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of {n} "
            f"values to match the convolution dimensions, but got {what}={value}"
        )
    return values


class Call:
    """The checked arguments of a convolution of `n` dimensions, its input with a batch."""

    def __init__(
        self,
        name: str,
        n: int,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
        transposed: bool = False,
    ) -> None:
        self.name, self.n, self.groups = name, n, groups
        for what, position, t in (("input", 1, input), ("weight", 2, weight)):
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"{name}(): argument '{what}' (position {position}) must be Tensor, not "
                    f"{type(t).__name__}"
                )
        dims = input._data.ndim
        if weight._data.ndim != n + 2:
            raise RuntimeError(
                f"{name}: weight should have at least three dimensions and {n + 2} for a {n}D "
                f"convolution, got shape {tuple(weight.shape)}"
            )
        if dims not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got "
                f"input of size: {list(input.shape)}"
            )
        self.unbatched = dims == n + 1
        self.input = input[None] if self.unbatched else input
        self.stride = tuple_of(name, "stride", stride, n)
        self.dilation = tuple_of(name, "dilation", dilation, n)
        if min(self.stride) <= 0:
            raise RuntimeError(f"{name}: non-positive stride is not supported, got {stride}")
        if min(self.dilation) <= 0:
            raise RuntimeError(f"{name}: dilation should be greater than zero, got {dilation}")
        self._check_channels(weight, bias, transposed)
        common_dtype(name, input, weight, bias)

    def _check_channels(self, weight: Tensor, bias: Tensor | None, transposed: bool) -> None:
        name, groups, shape = self.name, self.groups, list(weight._data.shape)
        if groups <= 0:
            raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
        if shape[0] < groups or shape[0] % groups:
            raise RuntimeError(
                f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at "
                f"dimension 0, but got weight of size {shape} instead"
            )
        expected = shape[0] if transposed else shape[1] * groups
        have = self.input._data.shape[1]
        if have != expected:
            raise RuntimeError(
                f"{name}: Given {'transposed=1' if transposed else f'groups={groups}'}, weight of "
                f"size {shape}, expected input{list(self.input._data.shape)} to have {expected} "
                f"channels, but got {have} channels instead"
            )
        out = shape[1] * groups if transposed else shape[0]
        if bias is not None and tuple(bias._data.shape) != (out,):
            raise RuntimeError(
                f"{name}: Given {'transposed=1, ' if transposed else ''}weight of size {shape}, "
                f"expected bias to be 1-dimensional with {out} elements, but got bias of size "
                f"{list(bias.shape)} instead"
            )

    def check_size(self, weight: Tensor, padding: tuple[int, ...]) -> None:
        kernel, size = weight._data.shape[2:], self.input._data.shape[2:]
        if min(padding) < 0:
            raise RuntimeError(f"{self.name}: negative padding is not supported, got {padding}")
        padded = [n + 2 * p for n, p in zip(size, padding, strict=True)]
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True)]
        if any(n < r for n, r in zip(padded, reach, strict=True)):
            raise RuntimeError(
                f"{self.name}: Calculated padded input size per channel: "
                f"({' x '.join(map(str, padded))}). Kernel size: ({' x '.join(map(str, reach))}). "
                "Kernel size can't be greater than actual input size"
            )

    def paddings(self, weight: Tensor, padding: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Zeros on both sides of each dimension, and how many of the first outputs to drop."""
        kernel = weight._data.shape[2:]
        if not isinstance(padding, str):
            return tuple_of(self.name, "padding", padding, self.n), (0,) * self.n
        if padding == "valid":
            return (0,) * self.n, (0,) * self.n
        if padding != "same":
            raise RuntimeError(
                f"{self.name}: Invalid padding string: '{padding}', should be one of 'valid' and "
                "'same'"
            )
        if max(self.stride) > 1:
            raise RuntimeError(
                f"{self.name}: padding='same' is not supported for strided convolutions"
            )
        total = [d * (k - 1) for d, k in zip(self.dilation, kernel, strict=True)]
        return tuple((t + 1) // 2 for t in total), tuple(t % 2 for t in total)

    def result(self, out: Tensor, drop: tuple[int, ...] = ()) -> Tensor:
        if any(drop):
            key = (ALL, ALL, *(slice(d, None) for d in drop))
            out = _slice(out, key=key).contiguous()
        return _slice(out, key=(0,)) if self.unbatched else out


# -- convolutions -----------------------------------------------------------------------


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of images (N, C, H, W) with filters (O, C / groups, R, S).

    `out[n, o, p, q] = bias[o] + sum over c, r, s of weight[o, c, r, s] *
    input[n, c, p * stride - padding + r * dilation, ...]`, zero outside the image. An input
    without N works too. `padding` is a number for each dimension, 'valid' (none), or 'same' (the
    output is as large as the input).
    """
    call = Call("conv2d", 2, input, weight, bias, stride, dilation, groups)
    pads, drop = call.paddings(weight, padding)
    call.check_size(weight, pads)
    out = conv.conv2d(
        call.input,
        weight,
        bias,
        stride=call.stride,
        padding=pads,
        dilation=call.dilation,
        groups=groups,
    )
    return call.result(out, drop)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of lines (N, C, L) with filters (O, C / groups, S); see `conv2d`."""
    call = Call("conv1d", 1, input, weight, bias, stride, dilation, groups)
    pads, drop = call.paddings(weight, padding)
    call.check_size(weight, pads)
    out = conv.conv2d(
        call.input[:, :, None],
        weight[:, :, None],
        bias,
        stride=(1, *call.stride),
        padding=(0, *pads),
        dilation=(1, *call.dilation),
        groups=groups,
    )
    return call.result(_slice(out, key=(ALL, ALL, 0)), drop)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of volumes (N, C, D, H, W) with filters (O, C / groups, T, R, S).

    The frames that a filter sees at once become channels of a convolution of two dimensions.
    """
    call = Call("conv3d", 3, input, weight, bias, stride, dilation, groups)
    pads, drop = call.paddings(weight, padding)
    call.check_size(weight, pads)
    n, c, d, h, w = call.input._data.shape
    o, k, t, r, s = weight._data.shape
    frames = call.input
    if pads[0]:
        shape, key = (n, c, d + 2 * pads[0], h, w), (ALL,) * 2 + (slice(pads[0], pads[0] + d),)
        frames = put_back(frames, shape, _slice, key=key)
    reach = call.dilation[0] * (t - 1) + 1
    frames = _unfold(frames, dim=2, size=reach, step=call.stride[0])
    frames = _slice(frames, key=(ALL,) * 5 + (slice(None, None, call.dilation[0]),))
    depth = frames._data.shape[2]
    images = frames.permute(0, 2, 1, 5, 3, 4).reshape(n * depth, c * t, h, w)
    out = conv.conv2d(
        images,
        weight.reshape(o, k * t, r, s),
        bias,
        stride=call.stride[1:],
        padding=pads[1:],
        dilation=call.dilation[1:],
        groups=groups,
    )
    out = out.reshape(n, depth, *out._data.shape[1:]).permute(0, 2, 1, 3, 4)
    return call.result(as_images(out.contiguous(), call.input, weight), drop)


# -- transposed convolutions ------------------------------------------------------------


def _transposed(
    name: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    call = Call(name, n, input, weight, bias, stride, dilation, groups, transposed=True)
    if isinstance(padding, str):
        raise TypeError(f"{name}(): argument 'padding' must be tuple of ints, not str")
    pads = tuple_of(name, "padding", padding, n)
    extra = tuple_of(name, "output_padding", output_padding, n)
    if min(pads) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported, got {padding}")
    if min(extra) < 0:
        raise RuntimeError(
            f"{name}: negative output_padding is not supported, got {output_padding}"
        )
    for e, s, d in zip(extra, call.stride, call.dilation, strict=True):
        if e >= max(s, d):
            raise RuntimeError(
                f"{name}: output padding must be smaller than either stride or dilation, but got "
                f"output_padding {output_padding}, stride {stride}, dilation {dilation}"
            )
    size = tuple(
        (m - 1) * s - 2 * p + d * (k - 1) + e + 1
        for m, s, p, d, k, e in zip(
            call.input._data.shape[2:],
            call.stride,
            pads,
            call.dilation,
            weight._data.shape[2:],
            extra,
            strict=True,
        )
    )
    if min(size) < 1:
        raise RuntimeError(
            f"{name}: Given input size per channel: {list(call.input._data.shape[2:])}. Calculated "
            f"output size per channel: {list(size)}. Output size is too small"
        )
    dtype = input.dtype
    if dtype.itemsize == 2 and (call.input.is_cpu or n == 3):  # one rounding, after all sums
        call.input, weight = call.input.to(dtypes.float32), weight.to(dtypes.float32)
        bias = None if bias is None else bias.to(dtypes.float32)
    spread = _spread_frames if n == 3 else _spread
    if all(e < s for e, s in zip(extra, call.stride, strict=True)):
        out = spread(call, weight, size, pads)
    else:
        out = _beyond(spread, call, weight, size, pads)
    if bias is not None:
        out = out + bias.reshape(-1, *(1,) * n)
    if n == 3:
        out = as_images(out, call.input, weight)
    return call.result(out if out.dtype is dtype else out.to(dtype))


def _beyond(
    spread: Callable, call: Call, weight: Tensor, size: tuple[int, ...], pads: tuple[int, ...]
) -> Tensor:
    """An output that reaches past the last step of the filter: zeros follow there."""
    full = tuple(
        (m - 1) * s + d * (k - 1) + 1
        for m, s, d, k in zip(
            call.input._data.shape[2:],
            call.stride,
            call.dilation,
            weight._data.shape[2:],
            strict=True,
        )
    )
    out = spread(call, weight, full, (0,) * call.n)
    ends = [max(f, p + m) for f, p, m in zip(full, pads, size, strict=True)]
    shape = (*out._data.shape[:2], *ends)
    out = put_back(out, shape, _slice, key=(ALL, ALL, *(slice(0, f) for f in full)))
    return _slice(out, key=(ALL, ALL, *(slice(p, p + m) for p, m in zip(pads, size, strict=True))))


def _spread(call: Call, weight: Tensor, size: tuple[int, ...], pads: tuple[int, ...]) -> Tensor:
    x, line = call.input, call.n == 1
    if line:
        x, weight = x[:, :, None], weight[:, :, None]
    one, zero = ((1,), (0,)) if line else ((), ())
    out = conv.conv2d_input(
        x,
        weight,
        size=one + size,
        stride=one + call.stride,
        padding=zero + pads,
        dilation=one + call.dilation,
        groups=call.groups,
    )
    return _slice(out, key=(ALL, ALL, 0)) if line else out


def _spread_frames(
    call: Call, weight: Tensor, size: tuple[int, ...], pads: tuple[int, ...]
) -> Tensor:
    """Each frame spreads over the frames of the filter, which are added where they overlap."""
    n, c, d, h, w = call.input._data.shape
    k, t = weight._data.shape[1:3]
    images = call.input.permute(0, 2, 1, 3, 4).reshape(n * d, c, h, w)
    out = conv.conv2d_input(
        images,
        weight.reshape(c, k * t, *weight._data.shape[3:]),
        size=size[1:],
        stride=call.stride[1:],
        padding=pads[1:],
        dilation=call.dilation[1:],
        groups=call.groups,
    )
    o, step = k * call.groups, call.dilation[0]
    out = out.reshape(n, d, o, t, *size[1:]).permute(0, 2, 1, 4, 5, 3)
    reach = step * (t - 1) + 1
    every = (ALL,) * 5 + (slice(None, None, step),)
    out = put_back(out, (n, o, d, *size[1:], reach), _slice, key=every)
    covered = (d - 1) * call.stride[0] + reach
    full = max(covered, size[0] + pads[0])
    out = put_back(out, (n, o, covered, *size[1:]), _unfold, dim=2, size=reach, step=call.stride[0])
    if full > covered:
        key = (ALL, ALL, slice(0, covered))
        out = put_back(out, (n, o, full, *size[1:]), _slice, key=key)
    return _slice(out, key=(ALL, ALL, slice(pads[0], pads[0] + size[0])))


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv1d`: `input` (N, C, L), `weight` (C, O / groups, S)."""
    return _transposed(
        "conv_transpose1d",
        1,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv2d`, its gradient in the input: `weight` (C, O / groups, R, S).

    The output has `(H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1` rows.
    """
    return _transposed(
        "conv_transpose2d",
        2,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The transpose of `conv3d`: `input` (N, C, D, H, W), `weight` (C, O / groups, T, R, S)."""
    return _transposed(
        "conv_transpose3d",
        3,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


for _f in (conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d):
    PUBLIC[_f.__name__] = FUNCTIONAL[_f.__name__] = listed(_f)
