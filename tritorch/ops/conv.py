"""The records of convolution: of images, and its two gradients, each differentiable again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.rules import joint
from ..dtypes import DType
from ..op import Images, primitive
from ..runtime import layout
from ..tensor import Tensor
from . import conv_host
from .arithmetic import conj
from .conv_host import Pair, Window

# -- records ------------------------------------------------------------------------------------


def common_dtype(name: str, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> DType:
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.dtype is not x.dtype:
            raise RuntimeError(
                f"{name}: Input type ({x.dtype.name}) and {what} type ({t.dtype.name}) should be "
                "the same"
            )
    if x.dtype.category == 0:
        raise NotImplementedError(f"{name}: \"slow_conv2d_cpu\" not implemented for 'Bool'")
    return x.dtype


class _Convolution(Images):
    """The filters decide too: channels last where theirs are."""

    def channels_last(self, arrays: Sequence) -> tuple[int, ...] | None:
        return layout.channels_last(arrays[0]) or layout.channels_last(arrays[1])


def _conv2d_meta(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple:
    window = Window(stride, padding, dilation, groups)
    p, q = window.output(x._data.shape[2:], weight._data.shape[2:])
    return (x._data.shape[0], weight._data.shape[0], p, q), common_dtype("conv2d", x, weight, bias)


def _conv2d_vjp(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    needs: list[bool],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Sequence:
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size, kernel = tuple(x._data.shape[2:]), tuple(weight._data.shape[2:])
    return (
        conv2d_input(g, conj(weight), size=size, **how) if needs[0] else None,
        conv2d_weight(g, conj(x), size=kernel, **how) if needs[1] else None,
        g.sum((0, 2, 3)) if needs[2] else None,
    )


def _samples(s: Any) -> list:
    one = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return [
        s((1, 2, 4, 3), (1, 2, 2, 2), (1,), **one),
        s((1, 1, 4, 4), (2, 1, 3, 3), (2,), **{**one, "padding": (1, 1), "stride": (2, 1)}),
        s((2, 2, 2, 3), (2, 1, 2, 1), None, **{**one, "groups": 2, "padding": (0, 1)}),
        s((1, 2, 3, 3), (3, 2, 1, 1), (3,), **one),
        s((1, 1, 5, 5), (1, 1, 2, 2), None, **{**one, "dilation": (2, 3), "stride": (1, 2)}),
        s((3, 8, 9, 17), (12, 4, 3, 3), (12,), **{**one, "padding": (1, 1), "groups": 2}),
        s((2, 16, 7, 7), (16, 1, 3, 3), (16,), **{**one, "padding": (1, 1), "groups": 16}),
        s((0, 2, 4, 3), (1, 2, 2, 2), (1,), **one),
    ]


@primitive(
    kind=_Convolution,
    meta=_conv2d_meta,
    triton="conv.conv2d",
    vjp=joint(_conv2d_vjp),
    samples=_samples,
)
def conv2d(
    x: Any, weight: Any, bias: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """`x` (N, C, H, W), `weight` (O, C / groups, R, S), `bias` (O,) or None -> (N, O, P, Q)."""
    return conv_host.forward(x, weight, bias, Window(stride, padding, dilation, groups))


def _input_meta(
    g: Tensor,
    weight: Tensor,
    *,
    size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple:
    shape = (g._data.shape[0], weight._data.shape[1] * groups, *size)
    return shape, common_dtype("conv2d_input", g, weight)


def _input_vjp(
    gg: Tensor,
    g: Tensor,
    weight: Tensor,
    needs: list[bool],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Sequence:
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kernel = tuple(weight._data.shape[2:])
    return (
        conv2d(gg, conj(weight), None, **how) if needs[0] else None,
        conv2d_weight(conj(g), gg, size=kernel, **how) if needs[1] else None,
    )


def _gradient_samples(output: bool) -> Callable:
    def samples(s: Any) -> list:
        made = []
        for sample in _samples(s):
            x, w, _ = sample.inputs
            how = sample.params
            size = Window(**how).output(x.shape[2:], w.shape[2:])
            g = (x.shape[0], w.shape[0], *size)
            if output:
                made.append(s(g, w.shape, size=x.shape[2:], **how))
            else:
                made.append(s(g, x.shape, size=w.shape[2:], **how))
        return made

    return samples


@primitive(
    kind=_Convolution,
    meta=_input_meta,
    triton="conv.conv2d_input",
    vjp=joint(_input_vjp),
    samples=_gradient_samples(True),
)
def conv2d_input(
    g: Any,
    weight: Any,
    *,
    size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Any:
    """The gradient of `conv2d`'s input, (N, C, *size), from its output's `g` (N, O, P, Q)."""
    return conv_host.input_gradient(g, weight, size, Window(stride, padding, dilation, groups))


def _weight_meta(
    g: Tensor, x: Tensor, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple:
    shape = (g._data.shape[1], x._data.shape[1] // groups, *size)
    return shape, common_dtype("conv2d_weight", g, x)


def _weight_vjp(
    gg: Tensor,
    g: Tensor,
    x: Tensor,
    needs: list[bool],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Sequence:
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size = tuple(x._data.shape[2:])
    return (
        conv2d(conj(x), gg, None, **how) if needs[0] else None,
        conv2d_input(conj(g), gg, size=size, **how) if needs[1] else None,
    )


@primitive(
    meta=_weight_meta,
    triton="conv.conv2d_weight",
    vjp=joint(_weight_vjp),
    samples=_gradient_samples(False),
)
def conv2d_weight(
    g: Any, x: Any, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Any:
    """The gradient of `conv2d`'s filters, (O, C / groups, *size)."""
    return conv_host.weight_gradient(g, x, size, Window(stride, padding, dilation, groups))
