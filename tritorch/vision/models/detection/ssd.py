"""SSD. Source: Liu et al., "SSD: single shot multibox detector", 2016.

The scaled first map follows Liu et al., "ParseNet", 2015.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

from .... import dtypes, nn
from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import box_iou, boxes as box_ops
from .._build import weights_enum
from .._whole import Start, standing
from ..vgg import vgg16
from . import _utils as det_utils
from ._dense import DenseDetector, flattened
from .anchor_utils import DefaultBoxGenerator
from .backbone_utils import freeze
from .faster_rcnn import MEAN, STD
from .transform import GeneralizedRCNNTransform

SSD300_VGG16_Weights = weights_enum("SSD300_VGG16_Weights", "COCO_V1")
cat, places = PUBLIC["cat"], det_utils.places


def _xavier_init(part: nn.Module) -> None:
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SSDScoringHead(nn.Module):
    """A layer for each map, and `num_columns` numbers for each of its boxes."""

    def __init__(self, module_list: nn.ModuleList, num_columns: int) -> None:
        super().__init__()
        self.module_list, self.num_columns = module_list, num_columns

    def forward(self, x: list) -> Any:
        rows = zip(self.module_list, x, strict=True)
        return cat([flattened(layer(m), self.num_columns) for layer, m in rows], 1)


def _layers(in_channels: list[int], num_anchors: list[int], columns: int) -> nn.ModuleList:
    made = nn.ModuleList(
        nn.Conv2d(c, columns * n, 3, padding=1)
        for c, n in zip(in_channels, num_anchors, strict=True)
    )
    _xavier_init(made)
    return made


class SSDClassificationHead(SSDScoringHead):
    """The scores of all classes, for each box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int) -> None:
        super().__init__(_layers(in_channels, num_anchors, num_classes), num_classes)


class SSDRegressionHead(SSDScoringHead):
    """How to move each box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int]) -> None:
        super().__init__(_layers(in_channels, num_anchors, 4), 4)


class SSDHead(nn.Module):
    """Both heads: `{"bbox_regression": (N, A, 4), "cls_logits": (N, A, C)}`."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int) -> None:
        super().__init__()
        self.classification_head = SSDClassificationHead(in_channels, num_anchors, num_classes)
        self.regression_head = SSDRegressionHead(in_channels, num_anchors)

    def forward(self, x: list) -> dict[str, Any]:
        return {
            "bbox_regression": self.regression_head(x),
            "cls_logits": self.classification_head(x),
        }


class SSD(DenseDetector):
    """Finds boxes of `num_classes` classes, of which 0 is the background, in images of one size.

    `size` (width, height) is what images are brought to. In training `model(images, targets)` gives
    "bbox_regression" and "classification", in which boxes without a truth take part by how wrong
    they are, `1 / positive_fraction - 1` for each with one. In evaluation `model(images)` gives for
    each image "boxes" (N, 4), "scores" (N,) and "labels" (N,), best first.
    """

    def __init__(
        self,
        backbone: nn.Module,
        anchor_generator: DefaultBoxGenerator,
        size: tuple[int, int],
        num_classes: int,
        image_mean: Any = None,
        image_std: Any = None,
        head: nn.Module | None = None,
        score_thresh: float = 0.01,
        nms_thresh: float = 0.45,
        detections_per_img: int = 200,
        iou_thresh: float = 0.5,
        topk_candidates: int = 400,
        positive_fraction: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.backbone, self.anchor_generator = backbone, anchor_generator
        self.box_coder = det_utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
        if head is None:
            channels: Any = getattr(backbone, "out_channels", None)
            channels = channels or det_utils.retrieve_out_channels(backbone, size)
            counts = anchor_generator.num_anchors_per_location()
            if len(channels) != len(counts):
                raise ValueError(
                    f"SSD: the backbone has {len(channels)} maps, anchor_generator {len(counts)}"
                )
            head = SSDHead(channels, counts, num_classes)
        self.head, self.proposal_matcher = head, det_utils.SSDMatcher(iou_thresh)
        self.transform = GeneralizedRCNNTransform(
            min(size),
            max(size),
            image_mean or [*MEAN],
            image_std or [*STD],
            size_divisible=1,
            fixed_size=size,
            **kwargs,
        )
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img, self.topk_candidates = detections_per_img, topk_candidates
        self.neg_to_pos_ratio = (1.0 - positive_fraction) / positive_fraction

    def _matched(self, own: Any, truth: Any) -> Any:
        if truth.numel() == 0:
            return own.new_full((len(own),), -1, dtype=dtypes.int64)
        return self.proposal_matcher(box_iou(truth, own))

    def losses(self, targets: list, outputs: dict, anchors: list, counts: list[int]) -> dict:
        logits, positives, box_losses, labels = outputs["cls_logits"], 0, [], []
        rows = zip(targets, outputs["bbox_regression"], anchors, strict=True)
        for target, codes, own in rows:
            matched = self._matched(own, target["boxes"])
            positive = places(matched >= 0)
            truth = matched[positive]
            positives += truth.numel()
            wanted = self.box_coder.encode_single(target["boxes"][truth], own[positive])
            box_losses.append(F.smooth_l1_loss(codes[positive], wanted, reduction="sum"))
            label = matched.new_zeros(len(own))
            label[positive] = target["labels"][truth]
            labels.append(label)
        wanted = PUBLIC["stack"](labels)
        loss: Any = F.cross_entropy(logits.flatten(0, 1), wanted.view(-1), reduction="none")
        loss, n = loss.view(wanted.shape), max(1, positives)
        return {
            "bbox_regression": sum(box_losses) / n,
            "classification": self._hardest(loss, wanted > 0) / n,
        }

    def _hardest(self, loss: Any, positive: Any) -> Any:
        """The sum over all with a truth, and over those without that are most wrong."""
        wanted = self.neg_to_pos_ratio * positive.sum(1, keepdim=True)
        others = loss.detach().masked_fill(positive, -float("inf"))
        rank = others.argsort(1, descending=True).argsort(1)
        return loss[positive].sum() + loss[rank < wanted].sum()

    def detected(self, outputs: dict, anchors: list, sizes: list, counts: list[int]) -> list:
        scores, out = outputs["cls_logits"].softmax(-1), []
        rows = zip(outputs["bbox_regression"], scores, anchors, sizes, strict=True)
        for codes, score, own, size in rows:
            boxes = self.box_coder.decode_single(codes, own)
            boxes = box_ops.clip_boxes_to_image(boxes, size)
            parts = []
            for label in range(1, score.shape[1]):
                of_class = score[:, label]
                at = places(of_class > self.score_thresh)
                best, order = of_class[at].topk(min(self.topk_candidates, len(at)))
                parts.append((boxes[at[order]], best, order.new_full(order.shape, label)))
            out.append(self.kept(parts))
        return out


class SSDFeatureExtractorVGG(nn.Module):
    """The maps of VGG for SSD: "0" of its convolutions, and five or six smaller ones."""

    def __init__(self, backbone: nn.Sequential, highres: bool) -> None:
        super().__init__()
        pools = [k for k, layer in enumerate(backbone) if isinstance(layer, nn.MaxPool2d)]
        third, fourth = pools[2], pools[3]
        backbone[third].ceil_mode = True  # type: ignore[union-attr]  the paper has 38 pixels there
        self.scale_weight = nn.Parameter(PUBLIC["ones"](512) * 20)
        self.features = nn.Sequential(*backbone[:fourth])  # type: ignore[misc]
        extra = nn.ModuleList(
            [
                _smaller(1024, 256, 512, stride=2, padding=1),
                _smaller(512, 128, 256, stride=2, padding=1),
                _smaller(256, 128, 256),
                _smaller(256, 128, 256),
            ]
        )
        if highres:
            extra.append(_smaller(256, 128, 256, kernel=4))
        fc = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=False),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        _xavier_init(extra)
        _xavier_init(fc)
        extra.insert(0, nn.Sequential(*backbone[fourth:-1], fc))  # type: ignore[misc]
        self.extra = extra

    def forward(self, x: Any) -> OrderedDict[str, Any]:
        x = self.features(x)
        out = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(x)]  # type: ignore[attr-defined]
        for block in self.extra:
            x = block(x)
            out.append(x)
        return OrderedDict((str(k), m) for k, m in enumerate(out))


def _smaller(before: int, inner: int, out: int, kernel: int = 3, **settings: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, inner, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, out, kernel, **settings),
        nn.ReLU(inplace=True),
    )


def _vgg_extractor(backbone: Any, highres: bool, trainable_layers: int) -> SSDFeatureExtractorVGG:
    features = backbone.features
    pools = [k for k, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    freeze(features, [0, *pools][:-1], trainable_layers)
    return SSDFeatureExtractorVGG(features, highres)


@standing("vgg16", layers=(4, 5))
def ssd300_vgg16(start: Start, num_classes: int, **kwargs: Any) -> SSD:
    """SSD for images of 300 by 300, on VGG-16."""
    if "size" in kwargs:
        warnings.warn(
            "The size of the model is already fixed; ignoring the parameter.", stacklevel=4
        )
        del kwargs["size"]
    body = _vgg_extractor(vgg16(weights=start.file), False, start.layers)
    anchors = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    # whole numbers less a mean, as the network was learned
    shift = {"image_mean": [0.48235, 0.45882, 0.40784], "image_std": [1.0 / 255.0] * 3}
    return SSD(body, anchors, (300, 300), num_classes, **{**shift, **kwargs})
