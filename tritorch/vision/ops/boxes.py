"""Boxes `(N, 4)`, as (x1, y1, x2, y2) unless said otherwise: areas, overlaps, suppression.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision import ops
    >>> boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [4, 4, 5, 5]])
    >>> ops.box_iou(boxes[:1], boxes).tolist()
    [[1.0, 0.5, 0.0]]
    >>> ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.4).tolist()
    [1, 2]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.api import PUBLIC
from ...tensor import Tensor

maximum, minimum, stack = PUBLIC["maximum"], PUBLIC["minimum"], PUBLIC["stack"]


def _checked(name: str, boxes: Tensor) -> Any:
    if boxes.ndim < 2 or boxes.shape[-1] != 4:
        raise ValueError(f"{name}: expected boxes of shape (N, 4), got {tuple(boxes.shape)}")
    return boxes


def _wide(x: Any) -> Any:
    """In a dtype that holds products of coordinates: float32 for halves, int64 for integers."""
    if x.dtype.is_floating_point:
        return x if x.dtype.itemsize >= 4 else x.float()
    return x if x.dtype.itemsize >= 4 else x.int()


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    x = _wide(_checked("box_area", boxes))
    if fmt in ("xywh", "cxcywh"):
        return x[..., 2] * x[..., 3]
    if fmt != "xyxy":
        raise ValueError(f"box_area: fmt should be xyxy, xywh or cxcywh, got {fmt!r}")
    return (x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1])


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """From one to another of "xyxy", "xywh" (corner and size) and "cxcywh" (centre and size)."""
    known = ("xyxy", "xywh", "cxcywh")
    if in_fmt not in known or out_fmt not in known:
        raise ValueError(f"box_convert: formats are {known}, got {in_fmt!r} and {out_fmt!r}")
    a, b, c, d = _checked("box_convert", boxes).unbind(-1)
    if in_fmt == out_fmt:
        return boxes.clone()
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d
    if out_fmt == "xywh":
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return stack((a, b, c, d), -1)


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes' parts inside an image (height, width)."""
    h, w = size
    x: Any = _checked("clip_boxes_to_image", boxes)
    xs, ys = x[..., 0::2].clamp(min=0, max=w), x[..., 1::2].clamp(min=0, max=h)
    return stack((xs, ys), -1).reshape(x.shape)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """The places of boxes whose sides are at least `min_size`."""
    x = _checked("remove_small_boxes", boxes)
    keep = (x[:, 2] - x[:, 0] >= min_size) & (x[:, 3] - x[:, 1] >= min_size)
    return PUBLIC["where"](keep)[0]


def _overlaps(a: Any, b: Any, fmt: str = "xyxy") -> tuple[Any, Any]:
    """Intersections and unions of all pairs, (N, M)."""
    if fmt != "xyxy":
        a, b = box_convert(a, fmt, "xyxy"), box_convert(b, fmt, "xyxy")
    corner = maximum(a[..., :, None, :2], b[..., None, :, :2])
    sides = _wide(minimum(a[..., :, None, 2:], b[..., None, :, 2:]) - corner).clamp(min=0)
    inter = sides[..., 0] * sides[..., 1]
    areas = box_area(a)[..., :, None], box_area(b)[..., None, :]
    return inter, areas[0] + areas[1] - inter


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Intersection over union of all pairs: (N, 4) and (M, 4) give (N, M)."""
    inter, union = _overlaps(_checked("box_iou", boxes1), _checked("box_iou", boxes2), fmt)
    return inter / union


def _hulls(a: Any, b: Any) -> Any:
    """The sides of the smallest boxes around all pairs, (N, M, 2)."""
    low = minimum(a[:, None, :2], b[None, :, :2])
    return _wide(maximum(a[:, None, 2:], b[None, :, 2:]) - low).clamp(min=0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU less the empty share of the box around both. Source: Rezatofighi et al., 2019."""
    a, b = (_checked("generalized_box_iou", x) for x in (boxes1, boxes2))
    inter, union = _overlaps(a, b)
    sides = _hulls(a, b)
    hull = sides[..., 0] * sides[..., 1]
    return inter / union - (hull - union) / hull


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less the squared distance of the centres over the hull's diagonal. Zheng et al., 2020."""
    a, b = (_checked("distance_box_iou", x) for x in (boxes1, boxes2))
    diagonal = (_hulls(a, b) ** 2).sum(-1) + eps
    centres = [(x[:, :2] + x[:, 2:]) / 2 for x in (a, b)]
    apart = ((centres[0][:, None] - centres[1][None]) ** 2).sum(-1)
    return box_iou(a, b) - apart / diagonal


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """`distance_box_iou` less a term for the shapes' difference. Zheng et al., 2020."""
    a, b = (_checked("complete_box_iou", x) for x in (boxes1, boxes2))
    iou = box_iou(a, b)
    turn = [PUBLIC["atan"]((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b)]
    v = (4 / math.pi**2) * (turn[0][:, None] - turn[1][None]) ** 2
    alpha = (v / (1 - iou + v + eps)).detach()
    return distance_box_iou(a, b, eps) - alpha * v


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The places of the boxes that stay, best first: greedy non-maximum suppression.

    A box goes if its IoU with a better one that stays is above `iou_threshold`. On the host: each
    choice waits for those before it.
    """
    x = _checked("nms", boxes)
    if scores.ndim != 1 or scores.shape[0] != x.shape[0]:
        raise ValueError(
            f"nms: expected boxes (N, 4) and scores (N,), got {tuple(x.shape)} and "
            f"{tuple(scores.shape)}"
        )
    place: Any = scores.detach().argsort(descending=True, stable=True)
    b = _wide(x.detach()).cpu().numpy()[place.cpu().numpy()]
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    gone, keep = np.zeros(len(b), bool), []
    for k in range(len(b)):
        if gone[k]:
            continue
        keep.append(k)
        low = np.maximum(b[k, :2], b[k + 1 :, :2])
        sides = np.maximum(np.minimum(b[k, 2:], b[k + 1 :, 2:]) - low, 0)
        inter = sides[:, 0] * sides[:, 1]
        with np.errstate(invalid="ignore", divide="ignore"):  # boxes without area: NaN stays
            gone[k + 1 :] |= inter / (area[k] + area[k + 1 :] - inter) > iou_threshold
    return place[PUBLIC["tensor"](np.array(keep, np.int64), device=place.device)]


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """`nms` of each group of `idxs` (N,) by itself; the places, best first."""
    x: Any = _checked("batched_nms", boxes)
    if x.numel() == 0:
        return PUBLIC["empty"]((0,), dtype=PUBLIC["argsort"](scores).dtype, device=x.device)
    keep = []
    for group in idxs.unique():  # type: ignore[attr-defined]
        at = PUBLIC["where"](idxs == group)[0]
        keep.append(at[nms(x[at], scores[at], iou_threshold)])
    kept = PUBLIC["cat"](keep)
    return kept[scores[kept].argsort(descending=True, stable=True)]


def masks_to_boxes(masks: Tensor) -> Tensor:
    """Boxes (N, 4) around the nonzero pixels of masks (N, H, W); zeros for an empty mask."""
    if masks.ndim != 3:
        raise ValueError(f"masks_to_boxes: expected masks (N, H, W), got {tuple(masks.shape)}")
    on = masks.detach().cpu().numpy() != 0
    out = np.zeros((len(on), 4), np.float32)
    for mask, box in zip(on, out, strict=True):
        y, x = np.nonzero(mask)
        if len(y):
            box[:] = x.min(), y.min(), x.max(), y.max()
    return PUBLIC["from_numpy"](out).to(masks.device)
