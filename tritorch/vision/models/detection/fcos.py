"""FCOS: a box for each pixel, without anchors of several shapes.

Source: Tian et al., "FCOS: fully convolutional one-stage object detection", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from .... import dtypes, nn
from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import box_area, sigmoid_focal_loss
from ...ops.feature_pyramid_network import LastLevelP6P7
from ...ops.losses import generalized_box_iou_loss
from .._build import weights_enum
from .._whole import Start, standing
from ..resnet import resnet50
from . import _utils as det_utils
from ._dense import DenseDetector, flattened, normal, prior
from .anchor_utils import AnchorGenerator
from .backbone_utils import _resnet_fpn_extractor
from .faster_rcnn import MEAN, STD, need_out_channels
from .transform import GeneralizedRCNNTransform

FCOS_ResNet50_FPN_Weights = weights_enum("FCOS_ResNet50_FPN_Weights", "COCO_V1")
Norm = Callable[..., nn.Module]
cat, stack = PUBLIC["cat"], PUBLIC["stack"]


def _tower(in_channels: int, num_convs: int, norm_layer: Norm | None) -> nn.Sequential:
    norm = norm_layer or partial(nn.GroupNorm, 32)
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        conv = nn.Conv2d(in_channels, in_channels, 3, 1, 1)
        normal(conv)
        layers += [conv, norm(in_channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FCOSClassificationHead(nn.Module):
    """The scores of all classes, for each pixel."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        num_convs: int = 4,
        prior_probability: float = 0.01,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_anchors = num_classes, num_anchors
        self.conv = _tower(in_channels, num_convs, norm_layer)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, 3, 1, 1)
        prior(self.cls_logits, prior_probability)

    def forward(self, x: list) -> Any:
        return cat([flattened(self.cls_logits(self.conv(m)), self.num_classes) for m in x], 1)


class FCOSRegressionHead(nn.Module):
    """The distances of a box's sides from each pixel, and how near to its middle the pixel is."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_convs: int = 4,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.conv = _tower(in_channels, num_convs, norm_layer)
        self.bbox_reg = nn.Conv2d(in_channels, num_anchors * 4, 3, 1, 1)
        self.bbox_ctrness = nn.Conv2d(in_channels, num_anchors, 3, 1, 1)
        normal(self.bbox_reg, self.bbox_ctrness)

    def forward(self, x: list) -> tuple[Any, Any]:
        inner = [self.conv(m) for m in x]
        codes = [flattened(F.relu(self.bbox_reg(m)), 4) for m in inner]
        return cat(codes, 1), cat([flattened(self.bbox_ctrness(m), 1) for m in inner], 1)


class FCOSHead(nn.Module):
    """Both heads: "cls_logits" (N, A, C), "bbox_regression" (N, A, 4), "bbox_ctrness" (N, A, 1)."""

    def __init__(
        self, in_channels: int, num_anchors: int, num_classes: int, num_convs: int | None = 4
    ) -> None:
        super().__init__()
        self.box_coder = det_utils.BoxLinearCoder(normalize_by_size=True)
        convs = 4 if num_convs is None else num_convs
        self.classification_head = FCOSClassificationHead(
            in_channels, num_anchors, num_classes, convs
        )
        self.regression_head = FCOSRegressionHead(in_channels, num_anchors, convs)

    def compute_loss(
        self, targets: list, head_outputs: dict, anchors: list, matched_idxs: list
    ) -> dict[str, Any]:
        """The focal loss, the generalized overlap, and the cross-entropy of being in the middle."""
        labels, boxes = self._wanted(targets, matched_idxs)
        positive = labels >= 0
        n = max(1, int(positive.sum()))
        logits, own = head_outputs["cls_logits"], stack(anchors)
        wanted = PUBLIC["zeros_like"](logits)
        wanted[positive, labels[positive]] = 1.0
        loss: Any = sigmoid_focal_loss(logits, wanted, reduction="sum")
        found = self.box_coder.decode(head_outputs["bbox_regression"], own)
        box_loss: Any = generalized_box_iou_loss(found[positive], boxes[positive], reduction="sum")
        sides = self.box_coder.encode(own, boxes)[positive]
        middle: Any = F.binary_cross_entropy_with_logits(
            head_outputs["bbox_ctrness"].squeeze(2)[positive], _centred(sides), reduction="sum"
        )
        return {
            "classification": loss / n,
            "bbox_regression": box_loss / n,
            "bbox_ctrness": middle / n,
        }

    @staticmethod
    def _wanted(targets: list, matched_idxs: list) -> tuple[Any, Any]:
        """The label (N, A) and the box (N, A, 4) of each pixel; -1 for none."""
        labels, boxes = [], []
        for target, matched in zip(targets, matched_idxs, strict=True):
            if len(target["labels"]) == 0:
                labels.append(matched.new_full(matched.shape, -1))
                boxes.append(target["boxes"].new_zeros((len(matched), 4)))
                continue
            at = matched.clamp(min=0)
            label = target["labels"][at]
            label[matched < 0] = -1
            labels.append(label)
            boxes.append(target["boxes"][at])
        return stack(labels), stack(boxes)

    def forward(self, x: list) -> dict[str, Any]:
        codes, middle = self.regression_head(x)
        return {
            "cls_logits": self.classification_head(x),
            "bbox_regression": codes,
            "bbox_ctrness": middle,
        }


def _centred(sides: Any) -> Any:
    """1 for a pixel in the middle of its box, 0 at its border; source: equation 3."""
    across, down = sides[:, [0, 2]], sides[:, [1, 3]]
    if not len(sides):
        return across.sum(1)
    return ((across.amin(1) / across.amax(1)) * (down.amin(1) / down.amax(1))).sqrt()


class FCOS(DenseDetector):
    """Finds boxes of `num_classes` classes, a box for each pixel of each map.

    In training `model(images, targets)` gives "classification", "bbox_regression" and
    "bbox_ctrness", in evaluation `model(images)` for each image "boxes" (N, 4), "scores" (N,) and
    "labels" (N,), best first. ValueError for an anchor generator of more than one anchor a pixel.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        min_size: int | tuple[int, ...] = 800,
        max_size: int = 1333,
        image_mean: Any = None,
        image_std: Any = None,
        anchor_generator: nn.Module | None = None,
        head: nn.Module | None = None,
        center_sampling_radius: float = 1.5,
        score_thresh: float = 0.2,
        nms_thresh: float = 0.6,
        detections_per_img: int = 100,
        topk_candidates: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        channels = need_out_channels("FCOS", backbone)
        self.backbone = backbone
        anchors: Any = anchor_generator or AnchorGenerator(
            ((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5
        )
        if anchors.num_anchors_per_location()[0] != 1:
            raise ValueError(
                "FCOS: anchor_generator.num_anchors_per_location()[0] should be 1, got "
                f"{anchors.num_anchors_per_location()[0]}"
            )
        self.anchor_generator = anchors
        self.head = head or FCOSHead(channels, 1, num_classes)
        self.box_coder = det_utils.BoxLinearCoder(normalize_by_size=True)
        self.transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or [*MEAN], image_std or [*STD], **kwargs
        )
        self.center_sampling_radius = center_sampling_radius
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.topk_candidates = detections_per_img, topk_candidates

    def _matched(self, own: Any, truth: Any, counts: list[int]) -> Any:
        """The smallest truth whose middle is near each pixel, and whose size suits its map."""
        if truth.numel() == 0:
            return own.new_full((len(own),), -1, dtype=dtypes.int64)
        middles, pixels = (truth[:, :2] + truth[:, 2:]) / 2, (own[:, :2] + own[:, 2:]) / 2
        size = own[:, 2] - own[:, 0]
        apart = (pixels[:, None] - middles[None]).abs().amax(2)
        fits = apart < self.center_sampling_radius * size[:, None]
        x, y = (p[:, None] for p in pixels.unbind(1))
        x1, y1, x2, y2 = (t[None] for t in truth.unbind(1))
        sides = stack((x - x1, y - y1, x2 - x, y2 - y), 2)
        fits &= sides.amin(2) > 0
        low, high = size * 4, size * 8
        low[: counts[0]] = 0
        high[len(own) - counts[-1] :] = math.inf
        longest = sides.amax(2)
        fits &= (longest > low[:, None]) & (longest < high[:, None])
        value, at = (fits.to(truth.dtype) * (1e8 - box_area(truth)[None])).max(1)
        at[value < 1e-5] = -1
        return at

    def losses(self, targets: list, outputs: dict, anchors: list, counts: list[int]) -> dict:
        pairs = zip(anchors, targets, strict=True)
        matched = [self._matched(own, target["boxes"], counts) for own, target in pairs]
        return self.head.compute_loss(targets, outputs, anchors, matched)  # type: ignore

    def detected(self, outputs: dict, anchors: list, sizes: list, counts: list[int]) -> list:
        scores = (outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()
        codes = outputs["bbox_regression"]
        return self.by_level(scores, codes, anchors, sizes, counts, self.box_coder.decode)


@standing("resnet50")
def fcos_resnet50_fpn(start: Start, num_classes: int, **kwargs: Any) -> FCOS:
    """FCOS on a pyramid of ResNet-50."""
    body = resnet50(weights=start.file, norm_layer=start.norm)
    extra = LastLevelP6P7(256, 256)
    return FCOS(_resnet_fpn_extractor(body, start.layers, [2, 3, 4], extra), num_classes, **kwargs)
