"""DeepLabV3. Source: Chen et al., "Rethinking atrous convolution", 2017."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .... import nn
from ....ops.api import PUBLIC
from .._build import weights_enum
from .._whole import Start, standing
from ..mobilenetv3 import mobilenet_v3_large
from ..resnet import resnet50, resnet101
from ._utils import _SimpleSegmentationModel, enlarged, mobilenet_body, resnet_body
from .fcn import DILATED, FCNHead

LABELS = "COCO_WITH_VOC_LABELS_V1"
DeepLabV3_ResNet50_Weights = weights_enum("DeepLabV3_ResNet50_Weights", LABELS)
DeepLabV3_ResNet101_Weights = weights_enum("DeepLabV3_ResNet101_Weights", LABELS)
DeepLabV3_MobileNet_V3_Large_Weights = weights_enum("DeepLabV3_MobileNet_V3_Large_Weights", LABELS)


class DeepLabV3(_SimpleSegmentationModel):
    """Classes for each pixel by convolutions that see near and far.

    Shapes: `(N, 3, H, W)` to `{"out": (N, C, H, W)}`, with "aux" of the map before where there is
    an `aux_classifier`.
    """


def _block(before: int, out: int, kernel: int = 1, **settings: Any) -> list[nn.Module]:
    conv = nn.Conv2d(before, out, kernel, bias=False, **settings)
    return [conv, nn.BatchNorm2d(out), nn.ReLU()]


class ASPPConv(nn.Sequential):
    """A convolution whose pixels lie `dilation` apart."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        spread = {"padding": dilation, "dilation": dilation}
        super().__init__(*_block(in_channels, out_channels, 3, **spread))


class ASPPPooling(nn.Sequential):
    """What the whole map holds, at each of its pixels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_block(in_channels, out_channels))

    def forward(self, x: Any) -> Any:
        return enlarged(super().forward(x), x.shape[-2:])


class ASPP(nn.Module):
    """The map itself, convolutions of each of `atrous_rates`, and the whole, put together."""

    def __init__(
        self, in_channels: int, atrous_rates: Sequence[int], out_channels: int = 256
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*_block(in_channels, out_channels)),
                *(ASPPConv(in_channels, out_channels, rate) for rate in atrous_rates),
                ASPPPooling(in_channels, out_channels),
            ]
        )
        together = _block(len(self.convs) * out_channels, out_channels)
        self.project = nn.Sequential(*together, nn.Dropout(0.5))

    def forward(self, x: Any) -> Any:
        return self.project(PUBLIC["cat"]([conv(x) for conv in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """`ASPP` and two convolutions: (N, in_channels, H, W) to (N, num_classes, H, W)."""

    def __init__(
        self, in_channels: int, num_classes: int, atrous_rates: Sequence[int] = (12, 24, 36)
    ) -> None:
        super().__init__(
            ASPP(in_channels, atrous_rates),
            *_block(256, 256, 3, padding=1),
            nn.Conv2d(256, num_classes, 1),
        )


def _on_resnet(net: Any, num_classes: int, aux_loss: bool | None) -> DeepLabV3:
    aux = FCNHead(1024, num_classes) if aux_loss else None
    return DeepLabV3(resnet_body(net, aux_loss), DeepLabHead(2048, num_classes), aux)


@standing("resnet50", classes=21)
def deeplabv3_resnet50(start: Start, num_classes: int, aux_loss: bool | None = None) -> DeepLabV3:
    """DeepLabV3 on ResNet-50; with `aux_loss`, as with weights, also classes of the map before."""
    net = resnet50(weights=start.file, replace_stride_with_dilation=DILATED)
    return _on_resnet(net, num_classes, aux_loss)


@standing("resnet101", classes=21)
def deeplabv3_resnet101(start: Start, num_classes: int, aux_loss: bool | None = None) -> DeepLabV3:
    """DeepLabV3 on ResNet-101; with `aux_loss`, as with weights, also classes of the map before."""
    net = resnet101(weights=start.file, replace_stride_with_dilation=DILATED)
    return _on_resnet(net, num_classes, aux_loss)


@standing("mobilenet_v3_large", classes=21)
def deeplabv3_mobilenet_v3_large(
    start: Start, num_classes: int, aux_loss: bool | None = None
) -> DeepLabV3:
    """DeepLabV3 on MobileNetV3; with `aux_loss`, as with weights, also classes of a larger map."""
    net = mobilenet_v3_large(weights=start.file, dilated=True)
    body, channels, before = mobilenet_body(net, aux_loss)
    aux = FCNHead(before, num_classes) if aux_loss else None
    return DeepLabV3(body, DeepLabHead(channels, num_classes), aux)
