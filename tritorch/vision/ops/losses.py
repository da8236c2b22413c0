"""Losses of detectors."""

from __future__ import annotations

import math
from typing import Any

from ...nn import functional as F
from ...ops.api import PUBLIC
from ...tensor import Tensor

maximum, minimum = PUBLIC["maximum"], PUBLIC["minimum"]


def _reduced(name: str, loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return loss.mean() if loss.numel() else 0.0 * loss.sum()
    if reduction == "sum":
        return loss.sum()
    raise ValueError(
        f"{name}: Invalid Value for arg 'reduction': '{reduction}'. Supported reduction modes: "
        "'none', 'mean', 'sum'"
    )


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2,
    reduction: str = "none",
) -> Tensor:
    """Binary cross-entropy of logits, weighted by `(1 - p_t) ** gamma`.

    `alpha` in [0, 1] weighs positive against negative targets; a negative one: no weights.
    Source: Lin et al., "Focal loss for dense object detection", 2017.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.ops import sigmoid_focal_loss
        >>> sigmoid_focal_loss(torch.zeros(1), torch.ones(1))
        tensor([0.0433])
    """
    if not 0 <= alpha <= 1 and alpha != -1:
        raise ValueError(f"Invalid alpha value: {alpha}. alpha must be in the range [0,1] or -1")
    p: Any = inputs.sigmoid()
    loss: Any = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    right = p * targets + (1 - p) * (1 - targets)
    loss = loss * (1 - right) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced("sigmoid_focal_loss", loss, reduction)


def _parts(name: str, a: Any, b: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """IoU, union, the sides of the hull (N, 2), and both boxes, pair by pair."""
    if a.shape != b.shape or a.shape[-1] != 4:
        raise ValueError(
            f"{name}: expected two times boxes (N, 4), got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    a, b = ((x.float() if x.dtype.itemsize < 4 else x) for x in (a, b))
    sides = (minimum(a[..., 2:], b[..., 2:]) - maximum(a[..., :2], b[..., :2])).clamp(min=0)
    inter = sides[..., 0] * sides[..., 1]
    area = [(x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1]) for x in (a, b)]
    union = area[0] + area[1] - inter
    hull = maximum(a[..., 2:], b[..., 2:]) - minimum(a[..., :2], b[..., :2])
    return inter / (union + eps), union, hull, (a, b)


def generalized_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """`1 - GIoU` of pairs of boxes (N, 4). Source: Rezatofighi et al., 2019."""
    name = "generalized_box_iou_loss"
    iou, union, hull, _ = _parts(name, boxes1, boxes2, eps)
    area = hull[..., 0] * hull[..., 1]
    return _reduced(name, 1 - (iou - (area - union) / (area + eps)), reduction)


def _distance(iou: Any, hull: Any, boxes: Any, eps: float) -> Any:
    middle = [(x[..., :2] + x[..., 2:]) / 2 for x in boxes]
    apart = ((middle[0] - middle[1]) ** 2).sum(-1)
    return 1 - iou + apart / ((hull**2).sum(-1) + eps)


def distance_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """`1 - DIoU` of pairs of boxes (N, 4). Source: Zheng et al., 2020."""
    name = "distance_box_iou_loss"
    iou, _, hull, boxes = _parts(name, boxes1, boxes2, eps)
    return _reduced(name, _distance(iou, hull, boxes, eps), reduction)


def complete_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """`1 - CIoU` of pairs of boxes (N, 4). Source: Zheng et al., 2020."""
    name = "complete_box_iou_loss"
    iou, _, hull, boxes = _parts(name, boxes1, boxes2, eps)
    turn = [PUBLIC["atan"]((x[..., 2] - x[..., 0]) / (x[..., 3] - x[..., 1])) for x in boxes]
    v = (4 / math.pi**2) * (turn[1] - turn[0]) ** 2
    alpha = (v / (1 - iou + v + eps)).detach()
    return _reduced(name, _distance(iou, hull, boxes, eps) + alpha * v, reduction)
