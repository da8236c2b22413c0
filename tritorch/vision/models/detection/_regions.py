"""Masks and points of proposals: what is learned from them, and how they come into the image.

Source: He et al., "Mask R-CNN", 2017.
"""

from __future__ import annotations

from typing import Any

from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import roi_align

arange, cat, stack = PUBLIC["arange"], PUBLIC["cat"], PUBLIC["stack"]


def maskrcnn_inference(x: Any, labels: list) -> tuple:
    """The probabilities (K, 1, M, M) of each box's own class, image by image."""
    own = cat(labels)
    found = x.sigmoid()[arange(x.shape[0], device=own.device), own][:, None]
    return found.split([len(label) for label in labels], 0)


def project_masks_on_boxes(gt_masks: Any, boxes: Any, matched_idxs: Any, M: int) -> Any:
    """The masks (K, M, M) that are inside of boxes (K, 4)."""
    rois = cat([matched_idxs[:, None].to(boxes), boxes], 1)
    return roi_align(gt_masks[:, None].to(rois), rois, (M, M), 1.0)[:, 0]  # type: ignore[index]


def maskrcnn_loss(
    mask_logits: Any, proposals: list, gt_masks: list, gt_labels: list, mask_matched_idxs: list
) -> Any:
    """Cross-entropy of the mask of each proposal's own class."""
    size = mask_logits.shape[-1]
    matches = list(zip(gt_labels, mask_matched_idxs, strict=True))
    labels = cat([own[at] for own, at in matches])
    targets = cat(
        [
            project_masks_on_boxes(m, p, i, size)
            for m, p, i in zip(gt_masks, proposals, mask_matched_idxs, strict=True)
        ]
    )
    if targets.numel() == 0:
        return mask_logits.sum() * 0
    own = mask_logits[arange(labels.shape[0], device=labels.device), labels]
    return F.binary_cross_entropy_with_logits(own, targets)


def keypoints_to_heatmap(keypoints: Any, rois: Any, heatmap_size: int) -> tuple[Any, Any]:
    """The pixel of each point (K, P) in the map of its box, and whether it is visible there."""
    x1, y1, x2, y2 = (side[:, None] for side in rois.unbind(1))
    across, down = heatmap_size / (x2 - x1), heatmap_size / (y2 - y1)
    at = []
    for value, low, high, scale in (
        (keypoints[..., 0], x1, x2, across),
        (keypoints[..., 1], y1, y2, down),
    ):
        pixel = ((value - low) * scale).floor().long()
        at.append(PUBLIC["where"](value == high, heatmap_size - 1, pixel))
    x, y = at
    inside = (x >= 0) & (y >= 0) & (x < heatmap_size) & (y < heatmap_size)
    valid = (inside & (keypoints[..., 2] > 0)).long()
    return (y * heatmap_size + x) * valid, valid


def keypointrcnn_loss(
    keypoint_logits: Any, proposals: list, gt_keypoints: list, keypoint_matched_idxs: list
) -> Any:
    """Cross-entropy over the pixels of the map of each visible point."""
    n, points, height, width = keypoint_logits.shape
    if height != width:
        raise ValueError(
            f"keypointrcnn_loss: expected square maps, got {tuple(keypoint_logits.shape)}"
        )
    found = [
        keypoints_to_heatmap(own[at], boxes, height)
        for boxes, own, at in zip(proposals, gt_keypoints, keypoint_matched_idxs, strict=True)
    ]
    targets = cat([t.view(-1) for t, _ in found])
    valid = PUBLIC["where"](cat([v.view(-1) for _, v in found]))[0]
    if targets.numel() == 0 or len(valid) == 0:
        return keypoint_logits.sum() * 0
    logits = keypoint_logits.view(n * points, height * width)
    return F.cross_entropy(logits[valid], targets[valid])


def heatmaps_to_keypoints(maps: Any, rois: Any) -> tuple[Any, Any]:
    """The highest pixel of each map (K, P, H, W) in its box: points (K, P, 3), scores (K, P)."""
    points, scores = [], []
    for heat, roi in zip(maps, rois, strict=True):
        width, height = (roi[2:] - roi[:2]).clamp(min=1)
        size = int(height.ceil()), int(width.ceil())
        wide = F.interpolate(heat[None], size=size, mode="bicubic", align_corners=False)[0]
        flat: Any = wide.flatten(1)
        best = flat.argmax(1)
        x, y = best % size[1], best // size[1]
        xs = (x.float() + 0.5) * (width / size[1]) + roi[0]
        ys = (y.float() + 0.5) * (height / size[0]) + roi[1]
        points.append(stack((xs, ys, PUBLIC["ones_like"](xs)), 1))
        scores.append(flat.gather(1, best[:, None])[:, 0])
    if not points:
        return maps.new_zeros((0, maps.shape[1], 3)), maps.new_zeros((0, maps.shape[1]))
    return stack(points), stack(scores)


def keypointrcnn_inference(x: Any, boxes: list) -> tuple[list, list]:
    """Points and scores, image by image."""
    parts = x.split([len(b) for b in boxes], 0)
    found = [heatmaps_to_keypoints(p, b) for p, b in zip(parts, boxes, strict=True)]
    return [p for p, _ in found], [s for _, s in found]


def expand_boxes(boxes: Any, scale: float) -> Any:
    """Boxes (N, 4) made larger around their centres."""
    x1, y1, x2, y2 = boxes.unbind(1)
    half_w, half_h = (x2 - x1) * 0.5 * scale, (y2 - y1) * 0.5 * scale
    x, y = (x2 + x1) * 0.5, (y2 + y1) * 0.5
    return stack((x - half_w, y - half_h, x + half_w, y + half_h), 1)


def expand_masks(mask: Any, padding: int) -> tuple[Any, float]:
    """Masks with a border of zeros, and by how much they have grown."""
    size = mask.shape[-1]
    return F.pad(mask, (padding,) * 4), float(size + 2 * padding) / size


def paste_mask_in_image(mask: Any, box: list[int], im_h: int, im_w: int) -> Any:
    """A mask (M, M) in its box of whole numbers, in an image (im_h, im_w)."""
    x1, y1, x2, y2 = box
    size = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    wide: Any = F.interpolate(mask[None, None], size=size, mode="bilinear", align_corners=False)
    out = mask.new_zeros((im_h, im_w))
    left, right, top, bottom = max(x1, 0), min(x2 + 1, im_w), max(y1, 0), min(y2 + 1, im_h)
    if left < right and top < bottom:
        out[top:bottom, left:right] = wide[0, 0, top - y1 : bottom - y1, left - x1 : right - x1]
    return out


def paste_masks_in_image(masks: Any, boxes: Any, img_shape: Any, padding: int = 1) -> Any:
    """Masks (K, 1, M, M) in their boxes: (K, 1, H, W)."""
    masks, scale = expand_masks(masks, padding)
    whole = expand_boxes(boxes, scale).long().tolist()
    h, w = img_shape
    found = [paste_mask_in_image(m[0], b, h, w) for m, b in zip(masks, whole, strict=True)]
    return stack(found)[:, None] if found else masks.new_zeros((0, 1, h, w))
