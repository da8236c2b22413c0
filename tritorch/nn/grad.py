"""Gradients of the convolutions as functions of shapes, for those who write a backward by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import autograd
from ..autograd.mode import enable_grad, is_grad_enabled
from ..ops.convolution import tuple_of
from ..ops.create import zeros
from ..tensor import Tensor
from . import functional as F

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
]


def _input(
    n: int, size: Sequence[int], weight: Tensor, grad: Tensor, stride: Any, padding: Any, *rest: Any
) -> Tensor:
    """The transposed convolution of `grad`, padded to the size that the input had."""
    name, (dilation, groups) = f"conv{n}d_input", rest
    transposed: Callable = getattr(F, f"conv_transpose{n}d")
    step, pads, spread = (
        tuple_of(name, what, value, n)
        for what, value in (("stride", stride), ("padding", padding), ("dilation", dilation))
    )
    kernel, have = weight.shape[-n:], grad.shape[-n:]
    more = []
    for d, wanted in enumerate(tuple(size)[-n:]):
        least = (have[d] - 1) * step[d] - 2 * pads[d] + spread[d] * (kernel[d] - 1) + 1
        if not least <= wanted < least + step[d]:
            raise ValueError(
                f"{name}: an output of size {have[d]} in dimension {d} comes from an input of size "
                f"{least} to {least + step[d] - 1}, got {wanted}"
            )
        more.append(wanted - least)
    return transposed(grad, weight, None, step, pads, tuple(more), groups, spread)


def _weight(n: int, x: Tensor, size: Sequence[int], grad: Tensor, *rest: Any) -> Tensor:
    """The convolution is linear in its filters: its derivative is the same at any, so at zero."""
    stride, padding, dilation, groups = rest
    convolution: Callable = getattr(F, f"conv{n}d")
    recorded = is_grad_enabled()
    with enable_grad():
        w = zeros(tuple(size), dtype=x.dtype, device=x.device, requires_grad=True)
        out = convolution(x, w, None, stride, padding, dilation, groups)
        return autograd.grad(out, w, grad, create_graph=recorded)[0]


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` in its input of shape `input_size` (N, C, L).

    `weight` is (O, C / groups, S), `grad_output` (N, O, P). A size that no such output comes from
    is a ValueError.

    >>> import tritorch as torch
    >>> torch.nn.grad.conv1d_input((1, 1, 3), torch.tensor([[[1., 2.]]]), torch.ones(1, 1, 2))
    tensor([[[1., 3., 2.]]])
    """
    return _input(1, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` in its filters of shape `weight_size` (O, C / groups, S).

    >>> import tritorch as torch
    >>> torch.nn.grad.conv1d_weight(torch.arange(3.).view(1, 1, 3), (1, 1, 2), torch.ones(1, 1, 2))
    tensor([[[1., 3.]]])
    """
    return _weight(1, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv2d` in its input of shape `input_size` (N, C, H, W); see
    `conv1d_input`.

    >>> import tritorch as torch
    >>> torch.nn.grad.conv2d_input((1, 1, 2, 2), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2, 2))
    tensor([[[[1., 1.],
              [1., 1.]]]])
    """
    return _input(2, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv2d` in its filters of shape `weight_size` (O, C / groups, R, S).

    >>> import tritorch as torch
    >>> torch.nn.grad.conv2d_weight(torch.ones(1, 1, 2, 2), (1, 1, 1, 1), torch.ones(1, 1, 2, 2))
    tensor([[[[4.]]]])
    """
    return _weight(2, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv3d` in its input of shape `input_size` (N, C, D, H, W); see
    `conv1d_input`.

    >>> import tritorch as torch
    >>> g = torch.ones(1, 1, 1, 1, 1)
    >>> torch.nn.grad.conv3d_input((1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 2), g).flatten()
    tensor([1., 1.])
    """
    return _input(3, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv3d` in its filters of shape `weight_size` (O, C / groups, T, R, S).

    >>> import tritorch as torch
    >>> g = torch.ones(1, 1, 1, 1, 1)
    >>> torch.nn.grad.conv3d_weight(torch.ones(1, 1, 1, 1, 2), (1, 1, 1, 1, 2), g).flatten()
    tensor([1., 1.])
    """
    return _weight(3, input, weight_size, grad_output, stride, padding, dilation, groups)
