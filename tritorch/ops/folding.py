"""Unfolding images into the windows that a filter sees, and adding windows back into images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from .api import FUNCTIONAL
from .conv_depthwise import Pair, Window
from .pad import constant_op
from .strided import _unfold
from .view import _slice, put_back

Sizes = int | Sequence[int]
ALL = slice(None)


def _pair(name: str, what: str, value: Any, least: int) -> Pair:
    pair = (value, value) if isinstance(value, int) else tuple(int(v) for v in value)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2:
        raise RuntimeError(f"{name}: It is expected {what} equals to 2, but got size {len(pair)}")
    if min(pair) < least:
        bound = "greater than zero" if least else "non-negative"
        label = what.replace("_size", " size")
        raise RuntimeError(
            f"{name}: {label} should be {bound}, but got {what}_height: {pair[0]} "
            f"{what}_width: {pair[1]}"
        )
    return pair  # type: ignore[return-value]


def _window(name: str, dilation: Sizes, padding: Sizes, stride: Sizes) -> Window:
    return Window(
        _pair(name, "stride", stride, 1),
        _pair(name, "padding", padding, 0),
        _pair(name, "dilation", dilation, 1),
        1,
    )


def _reach(kernel: Pair, window: Window) -> Pair:
    """The extent of a window along both dimensions."""
    (kh, kw), (dh, dw) = kernel, window.dilation
    return dh * (kh - 1) + 1, dw * (kw - 1) + 1


def _not_integers(name: str, x: Tensor) -> None:
    if x.dtype.category == 1:
        raise NotImplementedError(f'"{name}" is not implemented for {x.dtype.name} tensors')


def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The windows of images (N, C, H, W) as columns: (N, C * R * S, number of windows)."""
    shape = input._data.shape
    if len(shape) not in (3, 4):
        kind = IndexError if len(shape) < 3 else RuntimeError
        raise kind(
            f"unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    _not_integers("unfold", input)
    kernel = _pair("unfold", "kernel_size", kernel_size, 1)
    window = _window("unfold", dilation, padding, stride)
    p, q = window.output(shape[-2:], kernel)
    if min(p, q) < 1:
        raise RuntimeError(
            f"unfold: Given input with spatial size {tuple(shape[-2:])}, kernel_size={kernel}, "
            f"dilation={window.dilation}, padding={window.padding}, calculated shape of the array "
            f"of sliding blocks as {(p, q)}, but its components must be at least one."
        )
    x = input if len(shape) == 4 else _slice(input, key=(None,))
    n, c = x._data.shape[:2]
    (sh, sw), (ph, pw), (dh, dw), _ = window
    reach = _reach(kernel, window)
    if ph or pw:
        x = constant_op(x, pad=((0, 0), (0, 0), (ph, ph), (pw, pw)), value=0)
    x = _slice(_unfold(x, dim=2, size=reach[0], step=sh), key=(*[ALL] * 4, slice(None, None, dh)))
    x = _slice(_unfold(x, dim=3, size=reach[1], step=sw), key=(*[ALL] * 5, slice(None, None, dw)))
    out = x.permute(0, 1, 4, 5, 2, 3).reshape(n, c * kernel[0] * kernel[1], p * q)
    return out if len(shape) == 4 else _slice(out, key=(0,))


def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Columns (N, C * R * S, number of windows) added where their windows lie: the transpose of
    `unfold`, which gives images (N, C, *output_size)."""
    shape = input._data.shape
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    _not_integers("fold", input)
    kernel = _pair("fold", "kernel_size", kernel_size, 1)
    window = _window("fold", dilation, padding, stride)
    size = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
    p, q = _check_columns(shape, size, kernel, window)
    x = input if len(shape) == 3 else _slice(input, key=(None,))
    n, c = x._data.shape[0], shape[-2] // (kernel[0] * kernel[1])
    (sh, sw), (ph, pw), (dh, dw), _ = window
    (rh, rw), high, wide = _reach(kernel, window), size[0] + 2 * ph, size[1] + 2 * pw
    x = x.reshape(n, c, *kernel, p, q).permute(0, 1, 4, 5, 2, 3)
    every = (*[ALL] * 5, slice(None, None, dw))
    x = put_back(x, (n, c, p, q, kernel[0], rw), _slice, key=every)
    x = put_back(x, (n, c, p, wide, kernel[0]), _unfold, dim=3, size=rw, step=sw)
    x = put_back(x, (n, c, p, wide, rh), _slice, key=(*[ALL] * 4, slice(None, None, dh)))
    x = put_back(x, (n, c, high, wide), _unfold, dim=2, size=rh, step=sh)
    if ph or pw:
        x = constant_op(x, pad=((0, 0), (0, 0), (-ph, -ph), (-pw, -pw)), value=0)
    return x if len(shape) == 3 else _slice(x, key=(0,))


def _check_columns(
    shape: tuple[int, ...], size: tuple[int, ...], kernel: Pair, window: Window
) -> Pair:
    if shape[-2] % (kernel[0] * kernel[1]):
        raise RuntimeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of "
            f"kernel_size, but got input.size(1)={shape[-2]} and kernel_size={kernel}."
        )
    p, q = window.output(size, kernel)
    if p * q != shape[-1] or min(p, q) < 1:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={kernel}, dilation={window.dilation}, "
            f"padding={window.padding}, stride={window.stride}, expected size of input's dimension "
            f"2 to match the calculated number of sliding blocks {p} * {q} = {p * q}, but got "
            f"input.size(2)={shape[-1]}."
        )
    return p, q


FUNCTIONAL["unfold"] = unfold
FUNCTIONAL["fold"] = fold
