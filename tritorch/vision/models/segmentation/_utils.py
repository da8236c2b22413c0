"""What segmentations share: a backbone, and classes for each pixel in the size of the image."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .... import nn
from ....nn import functional as F
from .._utils import IntermediateLayerGetter
from ..detection.backbone_utils import stages


def enlarged(x: Any, size: Any) -> Any:
    """A map brought to a size."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class _SimpleSegmentationModel(nn.Module):
    """The backbone's map "out" through `classifier`, "aux" through `aux_classifier`.

    Shapes: `(N, 3, H, W)` to `{"out": (N, C, H, W)}`, with "aux" where there is such a part.
    """

    def __init__(
        self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        self.aux_classifier = aux_classifier

    def forward(self, x: Any) -> OrderedDict[str, Any]:
        size, maps = x.shape[-2:], self.backbone(x)
        out = OrderedDict(out=enlarged(self.classifier(maps["out"]), size))
        if self.aux_classifier is not None:
            out["aux"] = enlarged(self.aux_classifier(maps["aux"]), size)
        return out


def resnet_body(net: nn.Module, aux: bool | None) -> IntermediateLayerGetter:
    """A ResNet's last map, and the one before it."""
    return IntermediateLayerGetter(net, {**({"layer3": "aux"} if aux else {}), "layer4": "out"})


def mobilenet_body(net: Any, aux: bool | None) -> tuple[Any, int, int]:
    """A MobileNet's last map and one of twice the size, and how many channels both have."""
    features = net.features
    starts = stages(features)
    last, before = starts[-1], starts[-4]
    names = {str(last): "out", **({str(before): "aux"} if aux else {})}
    channels = features[last].out_channels, features[before].out_channels
    return IntermediateLayerGetter(features, names), *channels
