"""Layers that models of images share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import nn
from ...ops.api import PUBLIC
from ...tensor import Tensor


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation of (N, C, H, W) whose statistics and weights are buffers that stay."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        ones, zeros = PUBLIC["ones"], PUBLIC["zeros"]
        for name, fill in (("weight", ones), ("bias", zeros), ("running_mean", zeros)):
            self.register_buffer(name, fill(num_features))
        self.register_buffer("running_var", ones(num_features))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Any) -> Tensor:
        scale: Any = self.weight * (self.running_var + self.eps).rsqrt()
        shift: Any = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight.shape[0]}, eps={self.eps})"


class ConvNormActivation(nn.Sequential):
    """A convolution that keeps the size, a normalisation and an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        padding: Any = None,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] | None = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        dilation: int | tuple[int, ...] = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
        conv_layer: Callable[..., nn.Module] = nn.Conv2d,
    ) -> None:
        if padding is None:
            padding = _same(kernel_size, dilation)
        layers = [
            conv_layer(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation=dilation,
                groups=groups,
                bias=norm_layer is None if bias is None else bias,
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels


def _same(kernel: Any, dilation: Any) -> Any:
    """The padding with which a stride of one keeps the size."""
    if isinstance(kernel, int) and isinstance(dilation, int):
        return (kernel - 1) // 2 * dilation
    n = len(kernel) if isinstance(kernel, Sequence) else len(dilation)
    kernels = kernel if isinstance(kernel, Sequence) else (kernel,) * n
    dilations = dilation if isinstance(dilation, Sequence) else (dilation,) * n
    return tuple((k - 1) // 2 * d for k, d in zip(kernels, dilations, strict=True))


class Conv2dNormActivation(ConvNormActivation):
    """`Conv2d`, normalisation, activation.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.ops import Conv2dNormActivation
        >>> Conv2dNormActivation(3, 8, stride=2)(torch.zeros(2, 3, 8, 8)).shape
        tritorch.Size([2, 8, 4, 4])
    """


class Conv3dNormActivation(ConvNormActivation):
    """`Conv3d`, normalisation, activation."""

    def __init__(self, in_channels: int, out_channels: int, *args: Any, **kwargs: Any) -> None:
        if len(args) < 5:
            kwargs.setdefault("norm_layer", nn.BatchNorm3d)
        super().__init__(in_channels, out_channels, *args, conv_layer=nn.Conv3d, **kwargs)


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the whole map holds. Source: Hu et al., 2017."""

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., nn.Module] = nn.ReLU,
        scale_activation: Callable[..., nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation, self.scale_activation = activation(), scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        scale = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(scale)) * input


class MLP(nn.Sequential):
    """Linear layers with normalisation, activation and dropout between them."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: list[int],
        norm_layer: Callable[..., nn.Module] | None = None,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        settings = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        for n in hidden_channels[:-1]:
            layers.append(nn.Linear(in_channels, n, bias=bias))
            if norm_layer is not None:
                layers.append(norm_layer(n))
            if activation_layer is not None:
                layers.append(activation_layer(**settings))
            layers.append(nn.Dropout(dropout, **settings))
            in_channels = n
        layers.append(nn.Linear(in_channels, hidden_channels[-1], bias=bias))
        layers.append(nn.Dropout(dropout, **settings))
        super().__init__(*layers)


class Permute(nn.Module):
    """The dimensions in another order."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Any) -> Tensor:
        return x.permute(self.dims)


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Sets the whole `input` (mode "batch") or each of its rows ("row") to zero with probability p.

    What stays is divided by `1 - p`. Source: Huang et al., "Deep networks with stochastic depth".
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")
    if mode not in ("batch", "row"):
        raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
    if not training or p == 0.0:
        return input
    n = 1 if mode == "batch" else input.shape[0]
    noise: Any = input.new_empty((n, *(1,) * (input.ndim - 1))).bernoulli_(1.0 - p)  # type: ignore[attr-defined]
    return input * (noise / (1.0 - p) if p < 1.0 else noise)


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a module."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, input: Tensor) -> Tensor:
        return stochastic_depth(input, self.p, self.mode, self.training)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode})"
