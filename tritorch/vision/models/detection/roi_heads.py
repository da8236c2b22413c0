"""What looks at proposals: their classes, better boxes, masks and points.

Sources: Ren et al., "Faster R-CNN", 2015; He et al., "Mask R-CNN", 2017.
"""

from __future__ import annotations

from typing import Any

from .... import dtypes, nn
from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import boxes as box_ops
from . import _utils as det_utils
from ._regions import (
    expand_boxes as expand_boxes,
    expand_masks as expand_masks,
    heatmaps_to_keypoints as heatmaps_to_keypoints,
    keypointrcnn_inference as keypointrcnn_inference,
    keypointrcnn_loss as keypointrcnn_loss,
    keypoints_to_heatmap as keypoints_to_heatmap,
    maskrcnn_inference as maskrcnn_inference,
    maskrcnn_loss as maskrcnn_loss,
    paste_mask_in_image as paste_mask_in_image,
    paste_masks_in_image as paste_masks_in_image,
    project_masks_on_boxes as project_masks_on_boxes,
)

cat, places = PUBLIC["cat"], det_utils.places


def fastrcnn_loss(
    class_logits: Any, box_regression: Any, labels: list, regression_targets: Any
) -> tuple[Any, Any]:
    """Cross-entropy of the classes, and the smooth distance of boxes that are not background.

    `class_logits` (K, C), `box_regression` (K, 4 C).
    """
    label, wanted = cat(labels), cat(list(regression_targets))
    positive = places(label > 0)
    codes = box_regression.reshape(len(class_logits), -1, 4)[positive, label[positive]]
    box_loss = F.smooth_l1_loss(codes, wanted[positive], beta=1 / 9, reduction="sum")
    return F.cross_entropy(class_logits, label), box_loss / label.numel()


class RoIHeads(nn.Module):
    """Losses of the heads in training; in evaluation boxes, labels, scores, masks, points.

    A proposal belongs to the truth that it overlaps most, from `fg_iou_thresh` on; it is background
    below `bg_iou_thresh`. `batch_size_per_image` take part in training, at most `positive_fraction`
    of them positive. What is found has a score over `score_thresh` and no better one of its class
    that overlaps it by more than `nms_thresh`; the best `detections_per_img` remain.
    """

    def __init__(
        self,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        bbox_reg_weights: tuple[float, float, float, float] | None,
        score_thresh: float,
        nms_thresh: float,
        detections_per_img: int,
        mask_roi_pool: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None,
        keypoint_roi_pool: nn.Module | None = None,
        keypoint_head: nn.Module | None = None,
        keypoint_predictor: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.box_similarity = box_ops.box_iou
        self.proposal_matcher = det_utils.Matcher(fg_iou_thresh, bg_iou_thresh)
        self.fg_bg_sampler = det_utils.BalancedPositiveNegativeSampler(
            batch_size_per_image, positive_fraction
        )
        self.box_coder = det_utils.BoxCoder(bbox_reg_weights or (10.0, 10.0, 5.0, 5.0))
        self.box_roi_pool, self.box_head = box_roi_pool, box_head
        self.box_predictor = box_predictor
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.detections_per_img = detections_per_img
        self.mask_roi_pool, self.mask_head = mask_roi_pool, mask_head
        self.mask_predictor = mask_predictor
        self.keypoint_roi_pool, self.keypoint_head = keypoint_roi_pool, keypoint_head
        self.keypoint_predictor = keypoint_predictor

    def has_mask(self) -> bool:
        """Whether it finds masks."""
        return None not in (self.mask_roi_pool, self.mask_head, self.mask_predictor)

    def has_keypoint(self) -> bool:
        """Whether it finds points."""
        parts = (self.keypoint_roi_pool, self.keypoint_head, self.keypoint_predictor)
        return None not in parts

    # -- training -----------------------------------------------------------------------------

    def assign_targets_to_proposals(
        self, proposals: list, gt_boxes: list, gt_labels: list
    ) -> tuple[list, list]:
        """For each image the truth of each proposal, and its label: 0 background, -1 neither."""
        matched, labels = [], []
        for own, truth, label in zip(proposals, gt_boxes, gt_labels, strict=True):
            if truth.numel() == 0:
                zeros = own.new_zeros(len(own), dtype=dtypes.int64)
                matched.append(zeros)
                labels.append(zeros.clone())
                continue
            found = self.proposal_matcher(self.box_similarity(truth, own))
            at = found.clamp(min=0)
            chosen = label[at].to(dtypes.int64)
            chosen[found == self.proposal_matcher.BELOW_LOW_THRESHOLD] = 0
            chosen[found == self.proposal_matcher.BETWEEN_THRESHOLDS] = -1
            matched.append(at)
            labels.append(chosen)
        return matched, labels

    def subsample(self, labels: list) -> list:
        """The places of those that take part, image by image."""
        pairs = zip(*self.fg_bg_sampler(labels), strict=True)
        return [places(positive | negative) for positive, negative in pairs]

    def select_training_samples(
        self, proposals: list, targets: list[dict[str, Any]]
    ) -> tuple[list, list, list, tuple]:
        """Proposals and truths that take part: boxes, matches, labels, codes."""
        dtype, device = proposals[0].dtype, proposals[0].device
        truths = [t["boxes"].to(dtype) for t in targets]
        proposals = [cat((p, t)) for p, t in zip(proposals, truths, strict=True)]
        matched, labels = self.assign_targets_to_proposals(
            proposals, truths, [t["labels"] for t in targets]
        )
        wanted = []
        for k, at in enumerate(self.subsample(labels)):
            proposals[k], labels[k], matched[k] = proposals[k][at], labels[k][at], matched[k][at]
            truth = truths[k]
            if truth.numel() == 0:
                truth = PUBLIC["zeros"]((1, 4), dtype=dtype, device=device)
            wanted.append(truth[matched[k]])
        return proposals, matched, labels, self.box_coder.encode(wanted, proposals)

    def _check(self, targets: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        if targets is None:
            raise ValueError("RoIHeads: targets should not be None in training mode")
        needed = ["boxes", "labels", *["masks"] * self.has_mask()]
        for key in [*needed, *["keypoints"] * self.has_keypoint()]:
            if not all(key in t for t in targets):
                raise ValueError(f"RoIHeads: every element of targets should have a {key} key")
        for t in targets:
            if not t["boxes"].dtype.is_floating_point:
                raise TypeError(
                    f"RoIHeads: target boxes must be of float type, got {t['boxes'].dtype}"
                )
            if t["labels"].dtype is not dtypes.int64:
                raise TypeError(
                    f"RoIHeads: target labels must be of int64 type, got {t['labels'].dtype}"
                )
        return targets

    # -- evaluation ---------------------------------------------------------------------------

    def postprocess_detections(
        self, class_logits: Any, box_regression: Any, proposals: list, image_shapes: list
    ) -> tuple[list, list, list]:
        """The boxes, scores and labels of each image that remain, best first."""
        counts = [len(p) for p in proposals]
        boxes = self.box_coder.decode(box_regression, proposals).split(counts, 0)
        scores = class_logits.softmax(-1).split(counts, 0)
        out: tuple[list, list, list] = [], [], []
        for own, score, size in zip(boxes, scores, image_shapes, strict=True):
            own = box_ops.clip_boxes_to_image(own, size)
            classes = PUBLIC["arange"](score.shape[1], device=score.device).expand_as(score)
            # without the background, every class of a proposal by itself
            own, score = own[:, 1:].reshape(-1, 4), score[:, 1:].reshape(-1)
            label = classes[:, 1:].reshape(-1)
            at = places(score > self.score_thresh)
            at = at[box_ops.remove_small_boxes(own[at], 1e-2)]
            own, score, label = own[at], score[at], label[at]
            keep = box_ops.batched_nms(own, score, label, self.nms_thresh)
            keep = keep[: self.detections_per_img]
            for found, values in zip(out, (own, score, label), strict=True):
                found.append(values[keep])
        return out

    def forward(
        self,
        features: dict[str, Any],
        proposals: list,
        image_shapes: list,
        targets: list[dict[str, Any]] | None = None,
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        matched: list = []
        labels: list = []
        wanted: Any = None
        if self.training:
            targets = self._check(targets)
            proposals, matched, labels, wanted = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        class_logits, codes = self.box_predictor(self.box_head(pooled))
        result: list[dict[str, Any]] = []
        losses: dict[str, Any] = {}
        boxes = proposals
        if self.training:
            loss, box_loss = fastrcnn_loss(class_logits, codes, labels, wanted)
            losses = {"loss_classifier": loss, "loss_box_reg": box_loss}
            positive = [places(label > 0) for label in labels]
            boxes = [p[at] for p, at in zip(proposals, positive, strict=True)]
            matched = [m[at] for m, at in zip(matched, positive, strict=True)]
        else:
            boxes, scores, found = self.postprocess_detections(
                class_logits, codes, proposals, image_shapes
            )
            rows = zip(boxes, found, scores, strict=True)
            result = [{"boxes": b, "labels": n, "scores": s} for b, n, s in rows]
        if self.has_mask():
            losses.update(self._masks(features, boxes, image_shapes, result, targets, matched))
        if self.has_keypoint():
            losses.update(self._points(features, boxes, image_shapes, result, targets, matched))
        return result, losses

    def _masks(
        self, features: Any, boxes: list, sizes: list, result: list, targets: Any, matched: list
    ) -> dict[str, Any]:
        pooled = self.mask_roi_pool(features, boxes, sizes)  # type: ignore[misc]
        logits = self.mask_predictor(self.mask_head(pooled))  # type: ignore[misc]
        if self.training:
            truths, labels = ([t[k] for t in targets] for k in ("masks", "labels"))
            return {"loss_mask": maskrcnn_loss(logits, boxes, truths, labels, matched)}
        for found, own in zip(
            result, maskrcnn_inference(logits, [r["labels"] for r in result]), strict=True
        ):
            found["masks"] = own
        return {}

    def _points(
        self, features: Any, boxes: list, sizes: list, result: list, targets: Any, matched: list
    ) -> dict[str, Any]:
        pooled = self.keypoint_roi_pool(features, boxes, sizes)  # type: ignore[misc]
        logits = self.keypoint_predictor(self.keypoint_head(pooled))  # type: ignore[misc]
        if self.training:
            truths = [t["keypoints"] for t in targets]
            return {"loss_keypoint": keypointrcnn_loss(logits, boxes, truths, matched)}
        for found, points, scores in zip(
            result, *keypointrcnn_inference(logits, boxes), strict=True
        ):
            found["keypoints"], found["keypoints_scores"] = points, scores
        return {}
