"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from . import functional as F
from ._layer import Layer, ntuple


class _MaxPool(Layer):
    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    _dims: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return getattr(F, f"max_pool{self._dims}d")(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window of `(N, C, L)` or `(C, L)`; with its index if asked."""

    _dims = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window of `(N, C, H, W)` or `(C, H, W)`; with its index if asked."""

    _dims = 2


class MaxPool3d(_MaxPool):
    """The maximum of each window of `(N, C, D, H, W)` or `(C, D, H, W)`."""

    _dims = 3


class _MaxUnpool(Layer):
    _shown = ("kernel_size", "stride", "padding")
    _dims: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        n = self._dims
        self.kernel_size, self.padding = ntuple(kernel_size, n), ntuple(padding, n)
        self.stride = ntuple(kernel_size if stride is None else stride, n)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        unpool = getattr(F, f"max_unpool{self._dims}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Puts what `MaxPool1d(return_indices=True)` gave back to where it came from, among zeros."""

    _dims = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts what `MaxPool2d(return_indices=True)` gave back to where it came from, among zeros."""

    _dims = 2


class MaxUnpool3d(_MaxUnpool):
    """Puts what `MaxPool3d(return_indices=True)` gave back to where it came from, among zeros."""

    _dims = 3


class _AvgPoolNd(Layer):
    _shown = ("kernel_size", "stride", "padding")


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of `(N, C, L)` or `(C, L)`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding = ntuple(kernel_size, 1), ntuple(padding, 1)
        self.stride = ntuple(kernel_size if stride is None else stride, 1)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _AvgPool(_AvgPoolNd):
    _dims: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"avg_pool{self._dims}d")(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPool):
    """The mean of each window of `(N, C, H, W)` or `(C, H, W)`."""

    _dims = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of `(N, C, D, H, W)` or `(C, D, H, W)`."""

    _dims = 3


class _LPPool(Layer):
    _shown = ("norm_type", "kernel_size", "stride", "ceil_mode")
    _dims: int

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"lp_pool{self._dims}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """`(sum of x^p)^(1/p)` of each window of `(N, C, L)` or `(C, L)`."""

    _dims = 1


class LPPool2d(_LPPool):
    """`(sum of x^p)^(1/p)` of each window of `(N, C, H, W)` or `(C, H, W)`."""

    _dims = 2


class LPPool3d(_LPPool):
    """`(sum of x^p)^(1/p)` of each window of `(N, C, D, H, W)` or `(C, D, H, W)`."""

    _dims = 3


class _AdaptiveMaxPool(Layer):
    _shown = ("output_size",)
    _dims: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        pool = getattr(F, f"adaptive_max_pool{self._dims}d")
        return pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maxima of `output_size` windows that cover `(N, C, L)` or `(C, L)`."""

    _dims = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maxima of a grid of windows that covers `(N, C, H, W)`; None keeps a size."""

    _dims = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maxima of a grid of windows that covers `(N, C, D, H, W)`; None keeps a size."""

    _dims = 3


class _AdaptiveAvgPool(Layer):
    _shown = ("output_size",)
    _dims: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"adaptive_avg_pool{self._dims}d")(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of `output_size` windows that cover `(N, C, L)` or `(C, L)`."""

    _dims = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of a grid of windows that covers `(N, C, H, W)`; None keeps a size."""

    _dims = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of a grid of windows that covers `(N, C, D, H, W)`; None keeps a size."""

    _dims = 3


class _FractionalMaxPool(Layer):
    _dims: int
    _random_samples: Any

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        n, name = self._dims, type(self).__name__
        if n == 3 and any(k <= 0 for k in ntuple(kernel_size, n)):
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.kernel_size, self.return_indices = ntuple(kernel_size, n), return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size, n)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio, n)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        return getattr(F, f"fractional_max_pool{self._dims}d")(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The maxima of windows whose places are drawn at random, so that the size shrinks by a ratio.

    Source: Graham, "Fractional max-pooling", 2014.
    """

    _dims = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """`FractionalMaxPool2d` for `(N, C, D, H, W)`."""

    _dims = 3
