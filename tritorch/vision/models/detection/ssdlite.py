"""SSDlite. Sources: Sandler et al., "MobileNetV2", 2018; Howard et al., "MobileNetV3", 2019."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from .... import nn
from ...ops.misc import Conv2dNormActivation
from .._build import weights_enum
from .._whole import Start, standing
from ..mobilenetv3 import mobilenet_v3_large
from . import _utils as det_utils
from .anchor_utils import DefaultBoxGenerator
from .backbone_utils import freeze, stages
from .ssd import SSD, SSDScoringHead

SSDLite320_MobileNet_V3_Large_Weights = weights_enum(
    "SSDLite320_MobileNet_V3_Large_Weights", "COCO_V1"
)
Norm = Callable[..., nn.Module]


def _prediction_block(before: int, out: int, kernel: int, norm: Norm) -> nn.Sequential:
    relu: Any = {"norm_layer": norm, "activation_layer": nn.ReLU6}
    return nn.Sequential(
        Conv2dNormActivation(before, before, kernel, groups=before, **relu),
        nn.Conv2d(before, out, 1),
    )


def _extra_block(before: int, out: int, norm: Norm) -> nn.Sequential:
    inner, relu = out // 2, {"norm_layer": norm, "activation_layer": nn.ReLU6}
    return nn.Sequential(
        Conv2dNormActivation(before, inner, 1, **relu),  # type: ignore[arg-type]
        Conv2dNormActivation(inner, inner, 3, stride=2, groups=inner, **relu),  # type: ignore[arg-type]
        Conv2dNormActivation(inner, out, 1, **relu),  # type: ignore[arg-type]
    )


def _normal_init(part: nn.Module) -> None:
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, mean=0.0, std=0.03)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _layers(channels: list[int], counts: list[int], columns: int, norm: Norm) -> nn.ModuleList:
    made = nn.ModuleList(
        _prediction_block(c, columns * n, 3, norm) for c, n in zip(channels, counts, strict=True)
    )
    _normal_init(made)
    return made


class SSDLiteClassificationHead(SSDScoringHead):
    """The scores of all classes, for each box."""

    def __init__(
        self, in_channels: list[int], num_anchors: list[int], num_classes: int, norm_layer: Norm
    ) -> None:
        super().__init__(_layers(in_channels, num_anchors, num_classes, norm_layer), num_classes)


class SSDLiteRegressionHead(SSDScoringHead):
    """How to move each box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], norm_layer: Norm) -> None:
        super().__init__(_layers(in_channels, num_anchors, 4, norm_layer), 4)


class SSDLiteHead(nn.Module):
    """Both heads, of separable convolutions."""

    def __init__(
        self, in_channels: list[int], num_anchors: list[int], num_classes: int, norm_layer: Norm
    ) -> None:
        super().__init__()
        self.classification_head = SSDLiteClassificationHead(
            in_channels, num_anchors, num_classes, norm_layer
        )
        self.regression_head = SSDLiteRegressionHead(in_channels, num_anchors, norm_layer)

    def forward(self, x: list) -> dict[str, Any]:
        return {
            "bbox_regression": self.regression_head(x),
            "cls_logits": self.classification_head(x),
        }


class SSDLiteFeatureExtractorMobileNet(nn.Module):
    """The maps of MobileNetV3 for SSDlite: inside of a block, of the last, and four smaller."""

    def __init__(
        self,
        backbone: Any,
        c4_pos: int,
        norm_layer: Norm,
        width_mult: float = 1.0,
        min_depth: int = 16,
    ) -> None:
        super().__init__()
        if backbone[c4_pos].use_res_connect:
            raise ValueError("SSDLiteFeatureExtractorMobileNet: backbone[c4_pos] has a shortcut")
        block = backbone[c4_pos].block
        self.features = nn.Sequential(
            nn.Sequential(*backbone[:c4_pos], block[0]),
            nn.Sequential(block[1:], *backbone[c4_pos + 1 :]),
        )
        widths = [max(min_depth, int(d * width_mult)) for d in (512, 256, 256, 128)]
        before = [backbone[-1].out_channels, *widths]
        pairs = zip(before, widths, strict=False)
        self.extra = nn.ModuleList(_extra_block(b, w, norm_layer) for b, w in pairs)
        _normal_init(self.extra)

    def forward(self, x: Any) -> OrderedDict[str, Any]:
        out = []
        for block in (*self.features, *self.extra):
            x = block(x)
            out.append(x)
        return OrderedDict((str(k), m) for k, m in enumerate(out))


def _mobilenet_extractor(
    backbone: Any, trainable_layers: int, norm_layer: Norm
) -> SSDLiteFeatureExtractorMobileNet:
    features = backbone.features
    starts = stages(features)
    freeze(features, starts, trainable_layers)
    return SSDLiteFeatureExtractorMobileNet(features, starts[-2], norm_layer)


@standing("mobilenet_v3_large", layers=(6, 6))
def ssdlite320_mobilenet_v3_large(
    start: Start, num_classes: int, norm_layer: Norm | None = None, **kwargs: Any
) -> SSD:
    """SSDlite for images of 320 by 320, on MobileNetV3."""
    if "size" in kwargs:
        warnings.warn(
            "The size of the model is already fixed; ignoring the parameter.", stacklevel=4
        )
        del kwargs["size"]
    norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    bare = start.file is None
    net = mobilenet_v3_large(weights=start.file, norm_layer=norm, reduced_tail=bare)
    if bare:
        _normal_init(net)
    body, size = _mobilenet_extractor(net, start.layers, norm), (320, 320)
    anchors = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    channels = det_utils.retrieve_out_channels(body, size)
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), num_classes, norm)
    defaults: dict[str, Any] = {
        "head": head,
        "score_thresh": 0.001,
        "nms_thresh": 0.55,
        "detections_per_img": 300,
        "topk_candidates": 300,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return SSD(body, anchors, size, num_classes, **{**defaults, **kwargs})
