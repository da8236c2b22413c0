"""Convolutions and transposed convolutions of one to three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from . import functional as F
from ._layer import ntuple, parameter, reset_linear
from .module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: their fields, parameters and `repr`."""

    _dims: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        n = self._dims
        stride = ntuple(stride, n)
        _check(in_channels, out_channels, groups, padding, stride, padding_mode)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = ntuple(kernel_size, n), stride
        self.padding = padding if isinstance(padding, str) else ntuple(padding, n)
        self.dilation, self.transposed = ntuple(dilation, n), transposed
        self.output_padding, self.groups = ntuple(output_padding, n), groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._both_sides()
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        parameter(self, "weight", shape, True, device, dtype)
        parameter(self, "bias", (out_channels,), bias, device, dtype)
        self.reset_parameters()

    def _both_sides(self) -> list[int]:
        """The padding as `pad` takes it: from the last dimension, left and right of each."""
        if self.padding == "valid":
            return [0, 0] * self._dims
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            return [side for t in reversed(total) for side in (t // 2, t - t // 2)]
        amounts: Any = self.padding
        return [p for p in reversed(amounts) for _ in range(2)]

    def reset_parameters(self) -> None:
        """Draw the weight and the bias again."""
        reset_linear(self)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        shown += f", stride={self.stride}"
        for name, usual in (
            ("padding", (0,) * len(self.padding)),
            ("dilation", (1,) * self._dims),
            ("output_padding", (0,) * self._dims),
            ("groups", 1),
        ):
            if getattr(self, name) != usual:
                shown += f", {name}={getattr(self, name)}"
        if self.bias is None:
            shown += ", bias=False"
        return shown + (f", padding_mode={self.padding_mode}" * (self.padding_mode != "zeros"))


def _check(
    inputs: int, outputs: int, groups: int, padding: Any, stride: tuple, padding_mode: str
) -> None:
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    for name, channels in (("in_channels", inputs), ("out_channels", outputs)):
        if channels % groups:
            raise ValueError(f"{name} must be divisible by groups, got {channels} and {groups}")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of 'same', 'valid'"
            )
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if padding_mode not in _MODES:
        raise ValueError(
            f"padding_mode must be one of {_MODES}, but got padding_mode='{padding_mode}'"
        )


class _Conv(_ConvNd):
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            False,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._dims
        convolve = getattr(F, f"conv{self._dims}d")
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Convolution of `(N, C_in, L)` or `(C_in, L)` with `weight`, (C_out, C_in / groups, K).

    `y[n, o, i] = b[o] + sum_{c, k} w[o, c, k] * x[n, c, stride * i + dilation * k - padding]`.
    `padding` may be "same" or "valid", `padding_mode` "reflect", "replicate" or "circular".
    """

    _dims = 1


class Conv2d(_Conv):
    """Convolution of `(N, C_in, H, W)` or `(C_in, H, W)` with `weight`,
    (C_out, C_in / groups, K_h, K_w); the formula is that of `Conv1d` in two dimensions.

    Example:
        >>> import tritorch as torch
        >>> conv = torch.nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)
        >>> conv(torch.ones(4, 3, 32, 32)).shape
        tritorch.Size([4, 8, 16, 16])
    """

    _dims = 2


class Conv3d(_Conv):
    """Convolution of `(N, C_in, D, H, W)` or `(C_in, D, H, W)`; see `Conv1d`."""

    _dims = 3


class _ConvTranspose(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, got '
                f"{padding_mode!r}"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            True,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        geometry: Any = (self.stride, self.padding, self.kernel_size, self._dims, self.dilation)
        extra = self._output_padding(input, output_size, *geometry)
        convolve = getattr(F, f"conv_transpose{self._dims}d")
        return convolve(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _output_padding(
        self,
        input: Tensor,
        output_size: Sequence[int] | None,
        stride: Sequence[int],
        padding: Sequence[int],
        kernel_size: Sequence[int],
        num_spatial_dims: int,
        dilation: Sequence[int] | None = None,
    ) -> Any:
        """What to add to the smallest output so that it gets the size that is wanted."""
        if output_size is None:
            return self.output_padding
        n, wanted = num_spatial_dims, list(output_size)
        lead = 2 if input.ndim == n + 2 else 1
        if len(wanted) == lead + n:
            wanted = wanted[lead:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.ndim}D input, output_size must have {n} or "
                f"{lead + n} elements (got {len(wanted)})"
            )
        least = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(
                input.shape[lead:], stride, padding, dilation or (1,) * n, kernel_size
            )
        ]
        most = [m + s - 1 for m, s in zip(least, stride)]
        if any(not a <= w <= b for a, w, b in zip(least, wanted, most)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to "
                f"{most} (for an input of {input.shape[lead:]})"
            )
        return [w - m for w, m in zip(wanted, least)]


class ConvTranspose1d(_ConvTranspose):
    """The gradient of `Conv1d` with respect to its input, as a layer: `(N, C_in, L)`.

    `weight` has shape (C_in, C_out / groups, K). `output_padding`, or `output_size` of a call,
    decides between the output sizes that a strided convolution makes equal.
    """

    _dims = 1


class ConvTranspose2d(_ConvTranspose):
    """The gradient of `Conv2d` with respect to its input, as a layer; see `ConvTranspose1d`."""

    _dims = 2


class ConvTranspose3d(_ConvTranspose):
    """The gradient of `Conv3d` with respect to its input, as a layer; see `ConvTranspose1d`."""

    _dims = 3
