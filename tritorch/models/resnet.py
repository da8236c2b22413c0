"""Residual networks, with torchvision's names of parameters.

He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition", table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import nn
from ..tensor import Tensor
from ._weights import load_weights

Norm = Callable[..., nn.Module]


def conv3x3(inner: int, out: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution of 3 by 3 that keeps the size at stride 1, without bias."""
    return nn.Conv2d(inner, out, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(inner: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A convolution of 1 by 1, without bias."""
    return nn.Conv2d(inner, out, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two convolutions of 3 by 3 beside a shortcut: `relu(f(x) + x)`.

    Shapes: `(N, inplanes, H, W)` to `(N, planes, H / stride, W / stride)`. `downsample` fits the
    shortcut to that. `groups`, `base_width` and `dilation` must be 1, 64 and 1.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError(
                f"BasicBlock: groups={groups} and base_width={base_width} must be 1 and 64; "
                "Bottleneck takes others"
            )
        if dilation > 1:
            raise NotImplementedError(f"BasicBlock: dilation={dilation} must be 1")
        norm = norm_layer or nn.BatchNorm2d
        self.conv1, self.bn1 = conv3x3(inplanes, planes, stride), norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv3x3(planes, planes), norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """Convolutions of 1 by 1, 3 by 3 and 1 by 1 beside a shortcut.

    Shapes: `(N, inplanes, H, W)` to `(N, 4 * planes, H / stride, W / stride)`. The stride is that
    of the 3 by 3 convolution, where the paper has it in the first.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width, out = int(planes * (base_width / 64)) * groups, planes * self.expansion
        self.conv1, self.bn1 = conv1x1(inplanes, width), norm(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride, groups, dilation), norm(width)
        self.conv3, self.bn3 = conv1x1(width, out), norm(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A residual network: a stem, four layers of blocks, the mean over the image, a classifier.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: the number of blocks in each of the four layers.
        num_classes: the size of the result.
        zero_init_residual: each block begins as the identity (Goyal et al. 2017, section 5.1).
        groups, width_per_group: of `Bottleneck`'s 3 by 3 convolutions (ResNeXt, Wide ResNet).
        replace_stride_with_dilation: for layers 2 to 4, whether to dilate instead of to stride.
        norm_layer: makes the normalisations, of their number of channels.

    Shapes: `(N, 3, H, W)`, usually 224 by 224, to `(N, num_classes)`.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.models import BasicBlock, ResNet
        >>> net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10).eval()
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        tritorch.Size([2, 10])
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: list[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: list[bool] | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        dilate = replace_stride_with_dilation or [False, False, False]
        if len(dilate) != 3:
            raise ValueError(
                "ResNet: replace_stride_with_dilation has one entry for each of layers 2 to 4, got "
                f"{replace_stride_with_dilation}"
            )
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._init_weights(zero_init_residual)

    def _init_weights(self, zero_init_residual: bool) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)
        if not zero_init_residual:
            return
        for m in self.modules():
            last = m.bn3 if isinstance(m, Bottleneck) else getattr(m, "bn2", None)
            if isinstance(m, BasicBlock | Bottleneck) and getattr(last, "weight", None) is not None:
                nn.init.constant_(last.weight, 0)  # type: ignore[union-attr]

    def _make_layer(
        self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        before, downsample = self.dilation, None
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        out = planes * block.expansion
        if stride != 1 or self.inplanes != out:
            downsample = nn.Sequential(conv1x1(self.inplanes, out, stride), self._norm_layer(out))
        rest = (self.groups, self.base_width)
        made = [block(self.inplanes, planes, stride, downsample, *rest, before, self._norm_layer)]
        self.inplanes = out
        for _ in range(1, blocks):
            made.append(block(out, planes, 1, None, *rest, self.dilation, self._norm_layer))
        return nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _resnet(block: Any, layers: list[int], weights: Any, kwargs: dict[str, Any]) -> ResNet:
    net = ResNet(block, layers, **kwargs)
    return net if weights is None else load_weights(net, weights)


def resnet18(weights: Any = None, **kwargs: Any) -> ResNet:
    """The residual network of 18 layers, of 11.7 million parameters.

    `weights` is a local file for `load_weights`; the keywords are those of `ResNet`.

    Example:
        >>> from tritorch.models import resnet18
        >>> sum(p.numel() for p in resnet18().parameters())
        11689512
    """
    return _resnet(BasicBlock, [2, 2, 2, 2], weights, kwargs)


def resnet34(weights: Any = None, **kwargs: Any) -> ResNet:
    """The residual network of 34 layers; arguments as for `resnet18`."""
    return _resnet(BasicBlock, [3, 4, 6, 3], weights, kwargs)


def resnet50(weights: Any = None, **kwargs: Any) -> ResNet:
    """The residual network of 50 layers, of bottlenecks; arguments as for `resnet18`."""
    return _resnet(Bottleneck, [3, 4, 6, 3], weights, kwargs)
