"""LR-ASPP. Source: Howard et al., "Searching for MobileNetV3", 2019, section 6.4."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .... import nn
from .._build import weights_enum
from .._utils import IntermediateLayerGetter
from .._whole import Start, standing
from ..detection.backbone_utils import stages
from ..mobilenetv3 import mobilenet_v3_large
from ._utils import enlarged

LRASPP_MobileNet_V3_Large_Weights = weights_enum(
    "LRASPP_MobileNet_V3_Large_Weights", "COCO_WITH_VOC_LABELS_V1"
)


class LRASPP(nn.Module):
    """Classes for each pixel by the maps "low" and "high" of a backbone.

    Shapes: `(N, 3, H, W)` to `{"out": (N, C, H, W)}`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        low_channels: int,
        high_channels: int,
        num_classes: int,
        inter_channels: int = 128,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = LRASPPHead(low_channels, high_channels, num_classes, inter_channels)

    def forward(self, input: Any) -> OrderedDict[str, Any]:
        out = self.classifier(self.backbone(input))
        return OrderedDict(out=enlarged(out, input.shape[-2:]))


class LRASPPHead(nn.Module):
    """The small map, weighted by the whole, added to the large one."""

    def __init__(
        self, low_channels: int, high_channels: int, num_classes: int, inter_channels: int
    ) -> None:
        super().__init__()
        self.cbr = nn.Sequential(
            nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.BatchNorm2d(inter_channels),
            nn.ReLU(inplace=True),
        )
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(inter_channels, num_classes, 1)

    def forward(self, input: dict[str, Any]) -> Any:
        low, high = input["low"], input["high"]
        x = enlarged(self.cbr(high) * self.scale(high), low.shape[-2:])
        return self.low_classifier(low) + self.high_classifier(x)


@standing("mobilenet_v3_large", classes=21)
def lraspp_mobilenet_v3_large(start: Start, num_classes: int, **kwargs: Any) -> LRASPP:
    """LR-ASPP on MobileNetV3."""
    features: Any = mobilenet_v3_large(weights=start.file, dilated=True).features
    starts = stages(features)
    low, high = starts[-4], starts[-1]
    body = IntermediateLayerGetter(features, {str(low): "low", str(high): "high"})
    channels = features[low].out_channels, features[high].out_channels
    return LRASPP(body, *channels, num_classes, **kwargs)
