"""Mask R-CNN. Source: He et al., "Mask R-CNN", 2017."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .... import nn
from ...ops import Conv2dNormActivation, MultiScaleRoIAlign
from .._build import weights_enum
from .._whole import Start, standing
from ..resnet import resnet50
from ._utils import overwrite_eps, renamed
from .backbone_utils import _resnet_fpn_extractor
from .faster_rcnn import (
    FasterRCNN,
    classes_or_predictor,
    need_out_channels,
    second_version,
)

MaskRCNN_ResNet50_FPN_Weights = weights_enum("MaskRCNN_ResNet50_FPN_Weights", "COCO_V1")
MaskRCNN_ResNet50_FPN_V2_Weights = weights_enum("MaskRCNN_ResNet50_FPN_V2_Weights", "COCO_V1")


class MaskRCNNHeads(nn.Sequential):
    """Convolutions over a region, of `layers` channels."""

    def __init__(
        self,
        in_channels: int,
        layers: Any,
        dilation: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        blocks = []
        for n in layers:
            blocks.append(
                Conv2dNormActivation(in_channels, n, 3, dilation=dilation, norm_layer=norm_layer)
            )
            in_channels = n
        super().__init__(*blocks)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        renamed(state_dict, prefix, {f"mask_fcn{k + 1}": f"{k}.0" for k in range(len(self))})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class MaskRCNNPredictor(nn.Sequential):
    """Twice as large, a mask for each class: (K, in_channels, M, M) to (K, C, 2 M, 2 M)."""

    def __init__(self, in_channels: int, dim_reduced: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(in_channels, dim_reduced, 2, 2, 0)
        self.relu = nn.ReLU(inplace=True)
        self.mask_fcn_logits = nn.Conv2d(dim_reduced, num_classes, 1, 1, 0)
        for name, p in self.named_parameters():
            if "weight" in name:
                nn.init.kaiming_normal_(p, mode="fan_out", nonlinearity="relu")


class MaskRCNN(FasterRCNN):
    """`FasterRCNN` that also finds a mask for each box.

    Targets have "masks" (N, H, W) of 0 and 1, the losses "loss_mask". In evaluation "masks" are
    (N, 1, H, W) in [0, 1], in the size of the image.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        *args: Any,
        mask_roi_pool: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        channels = need_out_channels("MaskRCNN", backbone)
        if num_classes is not None:
            classes_or_predictor("MaskRCNN", num_classes, mask_predictor, "mask_predictor")
        super().__init__(backbone, num_classes, *args, **kwargs)
        heads: Any = self.roi_heads
        heads.mask_roi_pool = mask_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        heads.mask_head = mask_head or MaskRCNNHeads(channels, (256,) * 4, 1)
        heads.mask_predictor = mask_predictor or MaskRCNNPredictor(256, 256, num_classes)  # type: ignore[arg-type]


@standing("resnet50", then=lambda model: overwrite_eps(model, 0.0))
def maskrcnn_resnet50_fpn(start: Start, num_classes: int, **kwargs: Any) -> MaskRCNN:
    """Mask R-CNN on a pyramid of ResNet-50."""
    body = resnet50(weights=start.file, norm_layer=start.norm)
    return MaskRCNN(_resnet_fpn_extractor(body, start.layers), num_classes, **kwargs)


@standing("resnet50")
def maskrcnn_resnet50_fpn_v2(start: Start, num_classes: int, **kwargs: Any) -> MaskRCNN:
    """Mask R-CNN on a pyramid of ResNet-50, with what was found later."""
    parts = second_version(start)
    channels = parts["backbone"].out_channels
    parts["mask_head"] = MaskRCNNHeads(channels, (256,) * 4, 1, nn.BatchNorm2d)
    return MaskRCNN(num_classes=num_classes, **{**parts, **kwargs})
