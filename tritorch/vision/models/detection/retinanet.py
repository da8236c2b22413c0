"""RetinaNet. Source: Lin et al., "Focal loss for dense object detection", 2017.

The second version follows Zhang et al., "Bridging the gap between anchor-based and anchor-free
detection", 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .... import dtypes, nn
from ....ops.api import PUBLIC
from ...ops import Conv2dNormActivation, box_iou, sigmoid_focal_loss
from ...ops.feature_pyramid_network import LastLevelP6P7
from .._build import weights_enum
from .._whole import Start, standing
from ..resnet import resnet50
from . import _utils as det_utils
from ._dense import DenseDetector, flattened, normal, prior
from .anchor_utils import AnchorGenerator
from .backbone_utils import _resnet_fpn_extractor
from .faster_rcnn import MEAN, STD, need_out_channels
from .transform import GeneralizedRCNNTransform

RetinaNet_ResNet50_FPN_Weights = weights_enum("RetinaNet_ResNet50_FPN_Weights", "COCO_V1")
RetinaNet_ResNet50_FPN_V2_Weights = weights_enum("RetinaNet_ResNet50_FPN_V2_Weights", "COCO_V1")
Norm = Callable[..., nn.Module]
cat, places = PUBLIC["cat"], det_utils.places


def _default_anchorgen() -> AnchorGenerator:
    """Three sizes within an octave for each of five maps, three ratios."""
    sizes = tuple(
        (x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512)
    )
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))


class _Tower(nn.Module):
    """Four convolutions that keep the channels."""

    def __init__(self, in_channels: int, norm_layer: Norm | None) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(
                Conv2dNormActivation(in_channels, in_channels, norm_layer=norm_layer)
                for _ in range(4)
            )
        )
        normal(*self.conv.modules())

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # once each layer stood by itself, between activations
        if f"{prefix}conv.0.weight" in state_dict:
            names = {f"conv.{2 * k}": f"conv.{k}.0" for k in range(4)}
            det_utils.renamed(state_dict, prefix, names)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class RetinaNetClassificationHead(_Tower):
    """The scores of all classes, for each anchor."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        prior_probability: float = 0.01,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__(in_channels, norm_layer)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, 3, 1, 1)
        prior(self.cls_logits, prior_probability)
        self.num_classes, self.num_anchors = num_classes, num_anchors
        self.BETWEEN_THRESHOLDS = det_utils.Matcher.BETWEEN_THRESHOLDS

    def compute_loss(self, targets: list, head_outputs: dict, matched_idxs: list) -> Any:
        """The focal loss of anchors that are not between the thresholds."""
        losses = []
        rows = zip(targets, head_outputs["cls_logits"], matched_idxs, strict=True)
        for target, logits, matched in rows:
            positive = places(matched >= 0)
            wanted = PUBLIC["zeros_like"](logits)
            wanted[positive, target["labels"][matched[positive]]] = 1.0
            valid = places(matched != self.BETWEEN_THRESHOLDS)
            loss: Any = sigmoid_focal_loss(logits[valid], wanted[valid], reduction="sum")
            losses.append(loss / max(1, positive.numel()))
        return sum(losses) / max(1, len(targets))

    def forward(self, x: list) -> Any:
        return cat([flattened(self.cls_logits(self.conv(m)), self.num_classes) for m in x], 1)


class RetinaNetRegressionHead(_Tower):
    """How to move each anchor."""

    def __init__(self, in_channels: int, num_anchors: int, norm_layer: Norm | None = None) -> None:
        super().__init__(in_channels, norm_layer)
        self.bbox_reg = nn.Conv2d(in_channels, num_anchors * 4, 3, 1, 1)
        normal(self.bbox_reg)
        self.box_coder = det_utils.BoxCoder((1.0, 1.0, 1.0, 1.0))
        self._loss_type = "l1"

    def compute_loss(
        self, targets: list, head_outputs: dict, anchors: list, matched_idxs: list
    ) -> Any:
        """The distance of anchors with a truth."""
        losses = []
        rows = zip(targets, head_outputs["bbox_regression"], anchors, matched_idxs, strict=True)
        for target, codes, own, matched in rows:
            positive = places(matched >= 0)
            truth = target["boxes"][matched[positive]]
            parts = (self.box_coder, own[positive], truth, codes[positive])
            losses.append(det_utils.box_loss(self._loss_type, *parts) / max(1, positive.numel()))
        return sum(losses) / max(1, len(targets))

    def forward(self, x: list) -> Any:
        return cat([flattened(self.bbox_reg(self.conv(m)), 4) for m in x], 1)


class RetinaNetHead(nn.Module):
    """Both heads: `{"cls_logits": (N, A, C), "bbox_regression": (N, A, 4)}`."""

    def __init__(
        self, in_channels: int, num_anchors: int, num_classes: int, norm_layer: Norm | None = None
    ) -> None:
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(
            in_channels, num_anchors, num_classes, norm_layer=norm_layer
        )
        self.regression_head = RetinaNetRegressionHead(in_channels, num_anchors, norm_layer)

    def compute_loss(
        self, targets: list, head_outputs: dict, anchors: list, matched_idxs: list
    ) -> dict[str, Any]:
        """The losses of both."""
        box_loss = self.regression_head.compute_loss(targets, head_outputs, anchors, matched_idxs)
        loss = self.classification_head.compute_loss(targets, head_outputs, matched_idxs)
        return {"classification": loss, "bbox_regression": box_loss}

    def forward(self, x: list) -> dict[str, Any]:
        return {
            "cls_logits": self.classification_head(x),
            "bbox_regression": self.regression_head(x),
        }


class RetinaNet(DenseDetector):
    """Finds boxes of `num_classes` classes, from maps of all sizes at once.

    In training `model(images, targets)` gives "classification" and "bbox_regression", in evaluation
    `model(images)` for each image "boxes" (N, 4), "scores" (N,) and "labels" (N,), best first.
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
        proposal_matcher: Any = None,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 300,
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.4,
        topk_candidates: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        channels = need_out_channels("RetinaNet", backbone)
        self.backbone = backbone
        anchors: Any = anchor_generator or _default_anchorgen()
        self.anchor_generator = anchors
        self.head = head or RetinaNetHead(
            channels, anchors.num_anchors_per_location()[0], num_classes
        )
        self.proposal_matcher = proposal_matcher or det_utils.Matcher(
            fg_iou_thresh, bg_iou_thresh, True
        )
        self.box_coder = det_utils.BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or [*MEAN], image_std or [*STD], **kwargs
        )
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.topk_candidates = detections_per_img, topk_candidates

    def losses(self, targets: list, outputs: dict, anchors: list, counts: list[int]) -> dict:
        matched = []
        for own, target in zip(anchors, targets, strict=True):
            if target["boxes"].numel() == 0:
                matched.append(own.new_full((len(own),), -1, dtype=dtypes.int64))
            else:
                matched.append(self.proposal_matcher(box_iou(target["boxes"], own)))
        return self.head.compute_loss(targets, outputs, anchors, matched)  # type: ignore

    def detected(self, outputs: dict, anchors: list, sizes: list, counts: list[int]) -> list:
        scores, codes = outputs["cls_logits"].sigmoid(), outputs["bbox_regression"]
        decode = self.box_coder.decode_single
        return self.by_level(scores, codes, anchors, sizes, counts, decode)


@standing("resnet50", then=lambda model: det_utils.overwrite_eps(model, 0.0))
def retinanet_resnet50_fpn(start: Start, num_classes: int, **kwargs: Any) -> RetinaNet:
    """RetinaNet on a pyramid of ResNet-50."""
    body = resnet50(weights=start.file, norm_layer=start.norm)
    extra = LastLevelP6P7(256, 256)
    pyramid = _resnet_fpn_extractor(body, start.layers, [2, 3, 4], extra)
    return RetinaNet(pyramid, num_classes, **kwargs)


@standing("resnet50")
def retinanet_resnet50_fpn_v2(start: Start, num_classes: int, **kwargs: Any) -> RetinaNet:
    """RetinaNet on a pyramid of ResNet-50, with what was found later."""
    extra = LastLevelP6P7(2048, 256)
    pyramid = _resnet_fpn_extractor(resnet50(weights=start.file), start.layers, [2, 3, 4], extra)
    anchors = _default_anchorgen()
    norm = partial(nn.GroupNorm, 32)
    head = RetinaNetHead(256, anchors.num_anchors_per_location()[0], num_classes, norm)
    head.regression_head._loss_type = "giou"
    return RetinaNet(pyramid, num_classes, **{"anchor_generator": anchors, "head": head, **kwargs})
