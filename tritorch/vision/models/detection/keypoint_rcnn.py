"""Keypoint R-CNN. Source: He et al., "Mask R-CNN", 2017, section 5."""

from __future__ import annotations

from typing import Any

from .... import nn
from ....nn import functional as F
from ....tensor import Tensor
from ...ops import MultiScaleRoIAlign
from .._build import weights_enum
from .._whole import Start, standing
from ..resnet import resnet50
from ._utils import overwrite_eps
from .backbone_utils import _resnet_fpn_extractor
from .faster_rcnn import FasterRCNN, classes_or_predictor, need_out_channels

KeypointRCNN_ResNet50_FPN_Weights = weights_enum(
    "KeypointRCNN_ResNet50_FPN_Weights", "COCO_LEGACY", "COCO_V1"
)
SIZES = (640, 672, 704, 736, 768, 800)  # of the shorter side, one of them in training


class KeypointRCNNHeads(nn.Sequential):
    """Convolutions over a region, of `layers` channels."""

    def __init__(self, in_channels: int, layers: Any) -> None:
        blocks: list[nn.Module] = []
        for n in layers:
            blocks += [nn.Conv2d(in_channels, n, 3, 1, 1), nn.ReLU(inplace=True)]
            in_channels = n
        super().__init__(*blocks)
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.constant_(layer.bias, 0)  # type: ignore[arg-type]


class KeypointRCNNPredictor(nn.Module):
    """Four times as large, a map for each point."""

    def __init__(self, in_channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(in_channels, num_keypoints, 4, 2, 1)
        nn.init.kaiming_normal_(self.kps_score_lowres.weight, mode="fan_out", nonlinearity="relu")
        nn.init.constant_(self.kps_score_lowres.bias, 0)  # type: ignore[arg-type]
        self.up_scale, self.out_channels = 2, num_keypoints

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            self.kps_score_lowres(x),
            scale_factor=float(self.up_scale),
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=False,
        )


class KeypointRCNN(FasterRCNN):
    """`FasterRCNN` that also finds `num_keypoints` points for each box.

    Targets have "keypoints" (N, K, 3) of x, y and whether the point is visible, the losses
    "loss_keypoint". In evaluation there are "keypoints" (N, K, 3) and "keypoints_scores" (N, K).
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        min_size: int | tuple[int, ...] | None = None,
        *args: Any,
        keypoint_roi_pool: nn.Module | None = None,
        keypoint_head: nn.Module | None = None,
        keypoint_predictor: nn.Module | None = None,
        num_keypoints: int | None = None,
        **kwargs: Any,
    ) -> None:
        channels = need_out_channels("KeypointRCNN", backbone)
        if num_keypoints is not None:
            what = "keypoint_predictor"
            classes_or_predictor("KeypointRCNN", num_keypoints, keypoint_predictor, what)
        super().__init__(backbone, num_classes, min_size or SIZES, *args, **kwargs)
        heads: Any = self.roi_heads
        pool = keypoint_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2)
        heads.keypoint_roi_pool = pool
        heads.keypoint_head = keypoint_head or KeypointRCNNHeads(channels, (512,) * 8)
        heads.keypoint_predictor = keypoint_predictor or KeypointRCNNPredictor(
            512, 17 if num_keypoints is None else num_keypoints
        )


@standing("resnet50", classes=2, then=lambda model: overwrite_eps(model, 0.0))
def keypointrcnn_resnet50_fpn(start: Start, num_classes: int, **kwargs: Any) -> KeypointRCNN:
    """Keypoint R-CNN on a pyramid of ResNet-50: people, and 17 points of each."""
    body = resnet50(weights=start.file, norm_layer=start.norm)
    return KeypointRCNN(_resnet_fpn_extractor(body, start.layers), num_classes, **kwargs)
