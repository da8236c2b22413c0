"""Region proposals: boxes that may hold something, from the maps of a backbone.

Source: Ren et al., "Faster R-CNN", 2015.
"""

from __future__ import annotations

import math
from typing import Any

from .... import nn
from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import boxes as box_ops
from ...ops.misc import Conv2dNormActivation
from . import _utils as det_utils
from .anchor_utils import AnchorGenerator as AnchorGenerator
from .image_list import ImageList

cat, places = PUBLIC["cat"], det_utils.places


class RPNHead(nn.Module):
    """For each anchor of each pixel whether it holds something, and how to move it."""

    def __init__(self, in_channels: int, num_anchors: int, conv_depth: int = 1) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(
                Conv2dNormActivation(in_channels, in_channels, 3, norm_layer=None)
                for _ in range(conv_depth)
            )
        )
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, 0)  # type: ignore[arg-type]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        det_utils.renamed(state_dict, prefix, {"conv": "conv.0.0"})
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: list) -> tuple[list, list]:
        inner = [self.conv(m) for m in x]
        return [self.cls_logits(m) for m in inner], [self.bbox_pred(m) for m in inner]


def permute_and_flatten(layer: Any, N: int, A: int, C: int, H: int, W: int) -> Any:
    """From (N, A C, H, W) to (N, H W A, C), anchor by anchor."""
    return layer.view(N, -1, C, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, C)


def concat_box_prediction_layers(box_cls: list, box_regression: list) -> tuple[Any, Any]:
    """The predictions of all maps in the order of the anchors: (N A, C) and (N A, 4)."""
    scores, codes = [], []
    for score, code in zip(box_cls, box_regression, strict=True):
        n, channels, h, w = score.shape
        anchors = code.shape[1] // 4
        scores.append(permute_and_flatten(score, n, anchors, channels // anchors, h, w))
        codes.append(permute_and_flatten(code, n, anchors, 4, h, w))
    return cat(scores, 1).flatten(0, -2), cat(codes, 1).reshape(-1, 4)


class RegionProposalNetwork(nn.Module):
    """Proposals for each image, and in training the losses of the two predictions.

    An anchor is positive from an overlap of `fg_iou_thresh` on, or as the best of its truth, and
    negative below `bg_iou_thresh`; `batch_size_per_image` of them take part, at most
    `positive_fraction` positive. Of each map the best `pre_nms_top_n` are kept, then those that no
    better one overlaps by more than `nms_thresh`, then the best `post_nms_top_n`; both are dicts
    with "training" and "testing".
    """

    def __init__(
        self,
        anchor_generator: nn.Module,
        head: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_top_n: dict[str, int],
        post_nms_top_n: dict[str, int],
        nms_thresh: float,
        score_thresh: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchor_generator, self.head = anchor_generator, head
        self.box_coder = det_utils.BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.box_similarity = box_ops.box_iou
        self.proposal_matcher = det_utils.Matcher(fg_iou_thresh, bg_iou_thresh, True)
        self.fg_bg_sampler = det_utils.BalancedPositiveNegativeSampler(
            batch_size_per_image, positive_fraction
        )
        self._pre_nms_top_n, self._post_nms_top_n = pre_nms_top_n, post_nms_top_n
        self.nms_thresh, self.score_thresh, self.min_size = nms_thresh, score_thresh, 1e-3

    def pre_nms_top_n(self) -> int:
        """How many proposals of each map are looked at."""
        return self._pre_nms_top_n["training" if self.training else "testing"]

    def post_nms_top_n(self) -> int:
        """How many proposals an image has."""
        return self._post_nms_top_n["training" if self.training else "testing"]

    def assign_targets_to_anchors(self, anchors: list, targets: list) -> tuple[list, list]:
        """For each image what the anchors are (1, 0, or -1 for neither), and their truths."""
        labels, matched = [], []
        for own, target in zip(anchors, targets, strict=True):
            truth = target["boxes"]
            if truth.numel() == 0:
                matched.append(own.new_zeros(own.shape))
                labels.append(own.new_zeros(len(own)))
                continue
            found = self.proposal_matcher(self.box_similarity(truth, own))
            label = (found >= 0).float()
            label[found == self.proposal_matcher.BETWEEN_THRESHOLDS] = -1.0
            matched.append(truth[found.clamp(min=0)])
            labels.append(label)
        return labels, matched

    def _best_of_each_map(self, scores: Any, counts: list[int]) -> list:
        """The places (N, k) of the best of each map."""
        start, out = 0, []
        for level in scores.split(counts, 1):
            n = min(self.pre_nms_top_n(), level.shape[1])
            out.append(level.topk(n, 1)[1] + start)
            start += level.shape[1]
        return out

    def filter_proposals(
        self, proposals: Any, objectness: Any, image_shapes: list, counts: list[int]
    ) -> tuple[list, list]:
        """The boxes of each image that remain, best first, and their scores."""
        n = len(proposals)
        logits = objectness.detach().reshape(n, -1)
        best = self._best_of_each_map(logits, counts)
        level = cat([b.new_full((b.shape[1],), float(k)) for k, b in enumerate(best)])
        chosen = cat(best, 1)
        scores = logits.gather(1, chosen).sigmoid()
        boxes_out, scores_out = [], []
        for k in range(n):
            boxes = box_ops.clip_boxes_to_image(proposals[k][chosen[k]], image_shapes[k])
            keep = box_ops.remove_small_boxes(boxes, self.min_size)
            keep = keep[places(scores[k][keep] >= self.score_thresh)]
            boxes, score = boxes[keep], scores[k][keep]
            keep = box_ops.batched_nms(boxes, score, level[keep], self.nms_thresh)
            keep = keep[: self.post_nms_top_n()]
            boxes_out.append(boxes[keep])
            scores_out.append(score[keep])
        return boxes_out, scores_out

    def compute_loss(
        self, objectness: Any, pred_bbox_deltas: Any, labels: list, regression_targets: Any
    ) -> tuple[Any, Any]:
        """Cross-entropy of the sampled anchors, and the smooth distance of the positive ones."""
        positive, negative = (places(cat(m)) for m in self.fg_bg_sampler(labels))
        sampled = cat([positive, negative])
        codes, wanted = pred_bbox_deltas[positive], cat(list(regression_targets))[positive]
        box_loss = F.smooth_l1_loss(codes, wanted, beta=1 / 9, reduction="sum")
        loss = F.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], cat(labels)[sampled]
        )
        return loss, box_loss / sampled.numel()

    def forward(
        self,
        images: ImageList,
        features: dict[str, Any],
        targets: list[dict[str, Any]] | None = None,
    ) -> tuple[list, dict[str, Any]]:
        maps = list(features.values())
        scores, codes = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        counts = [math.prod(s.shape[1:]) for s in scores]
        objectness, deltas = concat_box_prediction_layers(scores, codes)
        proposals = self.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        boxes, _ = self.filter_proposals(proposals, objectness, images.image_sizes, counts)
        if not self.training:
            return boxes, {}
        if targets is None:
            raise ValueError("RegionProposalNetwork: targets should not be None")
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        wanted = self.box_coder.encode(matched, anchors)
        loss, box_loss = self.compute_loss(objectness, deltas, labels, wanted)
        return boxes, {"loss_objectness": loss, "loss_rpn_box_reg": box_loss}
