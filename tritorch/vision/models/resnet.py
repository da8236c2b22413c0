"""Residual networks: `tritorch.models`' ResNet in torchvision's sizes.

Sources: He et al., 2015; Xie et al., "Aggregated residual transformations", 2016 (ResNeXt);
Zagoruyko and Komodakis, "Wide residual networks", 2016.
"""

from __future__ import annotations

from typing import Any

from ...models.resnet import (
    BasicBlock as BasicBlock,
    Bottleneck as Bottleneck,
    ResNet as ResNet,
    conv1x1 as conv1x1,
    conv3x3 as conv3x3,
)
from ._build import builder, weights_enum

V1, V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"
ResNet18_Weights = weights_enum("ResNet18_Weights", V1)
ResNet34_Weights = weights_enum("ResNet34_Weights", V1)
ResNet50_Weights = weights_enum("ResNet50_Weights", V1, V2)
ResNet101_Weights = weights_enum("ResNet101_Weights", V1, V2)
ResNet152_Weights = weights_enum("ResNet152_Weights", V1, V2)
ResNeXt50_32X4D_Weights = weights_enum("ResNeXt50_32X4D_Weights", V1, V2)
ResNeXt101_32X8D_Weights = weights_enum("ResNeXt101_32X8D_Weights", V1, V2)
Wide_ResNet50_2_Weights = weights_enum("Wide_ResNet50_2_Weights", V1, V2)
Wide_ResNet101_2_Weights = weights_enum("Wide_ResNet101_2_Weights", V1, V2)


@builder
def resnet18(**kwargs: Any) -> ResNet:
    """18 layers, of basic blocks."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **kwargs)


@builder
def resnet34(**kwargs: Any) -> ResNet:
    """34 layers, of basic blocks."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **kwargs)


@builder
def resnet50(**kwargs: Any) -> ResNet:
    """50 layers, of bottlenecks."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **kwargs)


@builder
def resnet101(**kwargs: Any) -> ResNet:
    """101 layers, of bottlenecks."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **kwargs)


@builder
def resnet152(**kwargs: Any) -> ResNet:
    """152 layers, of bottlenecks."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **kwargs)


@builder
def resnext50_32x4d(**kwargs: Any) -> ResNet:
    """50 layers, with 32 groups of 4 channels."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"groups": 32, "width_per_group": 4, **kwargs})


@builder
def resnext101_32x8d(**kwargs: Any) -> ResNet:
    """101 layers, with 32 groups of 8 channels."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"groups": 32, "width_per_group": 8, **kwargs})


@builder
def wide_resnet50_2(**kwargs: Any) -> ResNet:
    """50 layers, twice as wide inside the bottlenecks."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"width_per_group": 128, **kwargs})


@builder
def wide_resnet101_2(**kwargs: Any) -> ResNet:
    """101 layers, twice as wide inside the bottlenecks."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"width_per_group": 128, **kwargs})
