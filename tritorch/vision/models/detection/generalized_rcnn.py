"""Detectors in two stages: a backbone, proposals, and what looks at them closely."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .... import nn


def checked(name: str, targets: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The targets of a training step; ValueError where they are missing or no boxes."""
    if targets is None:
        raise ValueError(f"{name}: targets should not be none when in training mode")
    for target in targets:
        boxes = target["boxes"]
        if not hasattr(boxes, "ndim"):
            kind = type(boxes).__name__
            raise TypeError(f"{name}: expected target boxes to be of type Tensor, got {kind}")
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise ValueError(
                f"{name}: expected target boxes to be a tensor of shape [N, 4], got "
                f"{tuple(boxes.shape)}"
            )
    return targets


def check_sides(name: str, targets: list[dict[str, Any]] | None) -> None:
    """ValueError for a box without area."""
    for k, target in enumerate(targets or ()):
        flat = (target["boxes"][:, 2:] <= target["boxes"][:, :2]).any(1)
        if flat.any():
            box = target["boxes"][flat][0].tolist()
            raise ValueError(
                f"{name}: all bounding boxes should have positive height and width. Found invalid "
                f"box {box} for target at index {k}."
            )


def feature_maps(found: Any) -> OrderedDict[str, Any]:
    """What a backbone gave as named maps; a single one is "0"."""
    return found if isinstance(found, dict) else OrderedDict([("0", found)])  # type: ignore


class GeneralizedRCNN(nn.Module):
    """From images (C, H, W) of any sizes in [0, 1], losses in training, detections in evaluation.

    Targets are a dict for each image: "boxes" (N, 4) in pixels, "labels" (N,), and what the heads
    need besides. Losses are a dict of scalars, detections a dict for each image. The parts are
    called as `backbone(batch)`, `rpn(images, features, targets)`,
    `roi_heads(features, proposals, image_sizes, targets)` and `transform(images, targets)`.
    """

    def __init__(
        self, backbone: nn.Module, rpn: nn.Module, roi_heads: nn.Module, transform: Any
    ) -> None:
        super().__init__()
        self.transform, self.backbone = transform, backbone
        self.rpn, self.roi_heads = rpn, roi_heads

    def forward(self, images: list, targets: list[dict[str, Any]] | None = None) -> Any:
        name = type(self).__name__
        if self.training:
            checked(name, targets)
        sizes = [tuple(x.shape[-2:]) for x in images]
        batch, targets = self.transform(images, targets)
        check_sides(name, targets)
        features = feature_maps(self.backbone(batch.tensors))
        proposals, losses = self.rpn(batch, features, targets)
        found, more = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return {**more, **losses}
        return self.transform.postprocess(found, batch.image_sizes, sizes)
