"""FCN. Source: Long et al., "Fully convolutional networks", 2015."""

from __future__ import annotations

from typing import Any

from .... import nn
from .._build import weights_enum
from .._whole import Start, standing
from ..resnet import resnet50, resnet101
from ._utils import _SimpleSegmentationModel, resnet_body

FCN_ResNet50_Weights = weights_enum("FCN_ResNet50_Weights", "COCO_WITH_VOC_LABELS_V1")
FCN_ResNet101_Weights = weights_enum("FCN_ResNet101_Weights", "COCO_WITH_VOC_LABELS_V1")
DILATED = [False, True, True]  # the last two layers see farther instead of shrinking


class FCN(_SimpleSegmentationModel):
    """Classes for each pixel by two convolutions over the last map.

    Shapes: `(N, 3, H, W)` to `{"out": (N, C, H, W)}`, with "aux" of the map before where there is
    an `aux_classifier`.
    """


class FCNHead(nn.Sequential):
    """Two convolutions: (N, in_channels, H, W) to (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        inner = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(inner, channels, 1),
        )


def _fcn(net: Any, num_classes: int, aux_loss: bool | None) -> FCN:
    aux = FCNHead(1024, num_classes) if aux_loss else None
    return FCN(resnet_body(net, aux_loss), FCNHead(2048, num_classes), aux)


@standing("resnet50", classes=21)
def fcn_resnet50(start: Start, num_classes: int, aux_loss: bool | None = None) -> FCN:
    """FCN on ResNet-50; with `aux_loss`, as with weights, also classes of the map before."""
    net = resnet50(weights=start.file, replace_stride_with_dilation=DILATED)
    return _fcn(net, num_classes, aux_loss)


@standing("resnet101", classes=21)
def fcn_resnet101(start: Start, num_classes: int, aux_loss: bool | None = None) -> FCN:
    """FCN on ResNet-101; with `aux_loss`, as with weights, also classes of the map before."""
    net = resnet101(weights=start.file, replace_stride_with_dilation=DILATED)
    return _fcn(net, num_classes, aux_loss)
