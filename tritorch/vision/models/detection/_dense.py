"""Detectors in one stage: for each anchor of each pixel a class and a box."""

from __future__ import annotations

import math
from typing import Any

from .... import nn
from ....ops.api import PUBLIC
from ...ops import boxes as box_ops
from .generalized_rcnn import check_sides, checked, feature_maps
from .rpn import permute_and_flatten

cat = PUBLIC["cat"]


def flattened(x: Any, columns: int) -> Any:
    """(N, A K, H, W) as (N, H W A, K)."""
    n, _, h, w = x.shape
    return permute_and_flatten(x, n, -1, columns, h, w)


def prior(layer: nn.Conv2d, probability: float) -> None:
    """Begins with this probability for every class."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, -math.log((1 - probability) / probability))  # type: ignore[arg-type]


def normal(*layers: nn.Module) -> None:
    """Begins near zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class DenseDetector(nn.Module):
    """From images (C, H, W) of any sizes in [0, 1], losses in training, detections in evaluation.

    A subclass has `transform`, `backbone`, `head(maps)` and `anchor_generator(images, maps)`, and
    defines `losses` and `detected`.
    """

    transform: Any
    backbone: nn.Module
    head: nn.Module
    anchor_generator: nn.Module

    def losses(self, targets: list, outputs: dict, anchors: list, counts: list[int]) -> dict:
        """A dict of scalars; `counts` are the anchors of each map."""
        raise NotImplementedError

    def detected(self, outputs: dict, anchors: list, sizes: list, counts: list[int]) -> list:
        """A dict for each image, in pixels of the batch."""
        raise NotImplementedError

    def forward(self, images: list, targets: list[dict[str, Any]] | None = None) -> Any:
        name = type(self).__name__
        if self.training:
            checked(name, targets)
        before = [tuple(x.shape[-2:]) for x in images]
        batch, targets = self.transform(images, targets)
        check_sides(name, targets)
        maps = list(feature_maps(self.backbone(batch.tensors)).values())
        outputs = self.head(maps)
        anchors = self.anchor_generator(batch, maps)
        pixels = [m.shape[2] * m.shape[3] for m in maps]
        per_pixel = len(anchors[0]) // sum(pixels)
        counts = [n * per_pixel for n in pixels]
        if self.training:
            return self.losses(targets, outputs, anchors, counts)  # type: ignore[arg-type]
        found = self.detected(outputs, anchors, batch.image_sizes, counts)
        return self.transform.postprocess(found, batch.image_sizes, before)

    # -- what is found in one image -----------------------------------------------------------

    def candidates(
        self, score: Any, codes: Any, anchors: Any, size: tuple[int, int], decode: Any
    ) -> tuple[Any, Any, Any]:
        """Boxes, scores and labels of the best pairs of an anchor and a class of one map."""
        classes, flat = score.shape[-1], score.flatten()
        at = PUBLIC["where"](flat > self.score_thresh)[0]  # type: ignore[attr-defined]
        best, order = flat[at].topk(min(self.topk_candidates, len(at)))  # type: ignore[attr-defined, call-overload]
        at = at[order]
        rows = at // classes
        boxes = box_ops.clip_boxes_to_image(decode(codes[rows], anchors[rows]), size)
        return boxes, best, at % classes

    def kept(self, parts: list[tuple[Any, Any, Any]]) -> dict[str, Any]:
        """What remains of the boxes, scores and labels of all maps."""
        boxes, scores, labels = (cat(list(p)) for p in zip(*parts, strict=True))
        keep = box_ops.batched_nms(boxes, scores, labels, self.nms_thresh)  # type: ignore[arg-type]
        keep = keep[: self.detections_per_img]  # type: ignore[misc, index]
        return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}

    def by_level(
        self, scores: Any, codes: Any, anchors: list, sizes: list, counts: list[int], decode: Any
    ) -> list[dict[str, Any]]:
        """Each image's best of each map, together."""
        out = []
        for k, (own, size) in enumerate(zip(anchors, sizes, strict=True)):
            levels: Any = zip(
                *(p.split(counts, 0) for p in (scores[k], codes[k], own)), strict=True
            )
            parts = [self.candidates(a, b, c, size, decode) for a, b, c in levels]
            out.append(self.kept(parts))
        return out
