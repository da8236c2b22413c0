"""What detectors share: matching boxes with truths, coding one by the other, sampling."""

from __future__ import annotations

import math
from typing import Any

from .... import dtypes, nn
from ....autograd.mode import no_grad
from ....nn import functional as F
from ....ops.api import PUBLIC
from ...ops import FrozenBatchNorm2d, complete_box_iou_loss, distance_box_iou_loss
from ...ops.losses import generalized_box_iou_loss

cat, stack, where, zeros = PUBLIC["cat"], PUBLIC["stack"], PUBLIC["where"], PUBLIC["zeros"]
arange, exp, log, randperm = (PUBLIC[k] for k in ("arange", "exp", "log", "randperm"))
CLIP = math.log(1000.0 / 16)  # what a predicted logarithm of a ratio of sides may be


def places(mask: Any) -> Any:
    """Where a vector is true or not zero."""
    return where(mask)[0]


class BalancedPositiveNegativeSampler:
    """Draws some of the places with a truth and some of those without, image by image."""

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction

    def __call__(self, matched_idxs: list) -> tuple[list, list]:
        """Masks, one an image: labels from 1 on are positive, 0 is negative, others neither."""
        masks: tuple[list, list] = [], []
        for labels in matched_idxs:
            positive, negative = places(labels >= 1), places(labels == 0)
            wanted = int(self.batch_size_per_image * self.positive_fraction)
            n = min(positive.numel(), wanted)
            counts = n, min(negative.numel(), self.batch_size_per_image - n)
            for found, count, out in zip((positive, negative), counts, masks, strict=True):
                chosen = found[randperm(found.numel(), device=found.device)[:count]]
                mask = labels.new_zeros(labels.shape, dtype=dtypes.uint8)
                mask[chosen] = 1
                out.append(mask)
        return masks


def _middles(boxes: Any) -> tuple[Any, Any, Any, Any]:
    """Centres and sides."""
    x1, y1, x2, y2 = boxes.unbind(1)
    w, h = x2 - x1, y2 - y1
    return x1 + 0.5 * w, y1 + 0.5 * h, w, h


class BoxCoder:
    """Boxes as steps from other boxes: shifts of the centre, and logarithms of ratios of sides.

    Shifts are in sides of the other box; `weights` multiply the four numbers.
    Source: Girshick et al., "Rich feature hierarchies", 2014, appendix C.
    """

    def __init__(
        self, weights: tuple[float, float, float, float], bbox_xform_clip: float = CLIP
    ) -> None:
        self.weights, self.bbox_xform_clip = weights, bbox_xform_clip

    def encode(self, reference_boxes: list, proposals: list) -> tuple:
        """For each image the codes of `reference_boxes` by `proposals`."""
        counts = [len(b) for b in reference_boxes]
        return self.encode_single(cat(reference_boxes), cat(proposals)).split(counts, 0)

    def encode_single(self, reference_boxes: Any, proposals: Any) -> Any:
        """The codes (N, 4) of boxes (N, 4)."""
        px, py, pw, ph = _middles(proposals)
        gx, gy, gw, gh = _middles(reference_boxes)
        wx, wy, ww, wh = self.weights
        codes = (wx * (gx - px) / pw, wy * (gy - py) / ph, ww * log(gw / pw), wh * log(gh / ph))
        return stack(codes, 1)

    def decode(self, rel_codes: Any, boxes: list | tuple) -> Any:
        """Boxes (N, K, 4) from codes (N, 4 K) and the boxes of all images."""
        start = cat(list(boxes))
        n = len(start)
        if n:
            rel_codes = rel_codes.reshape(n, -1)
        found = self.decode_single(rel_codes, start)
        return found.reshape(n, -1, 4) if n else found

    def decode_single(self, rel_codes: Any, boxes: Any) -> Any:
        """Boxes (N, 4 K) from codes (N, 4 K) and boxes (N, 4)."""
        x, y, w, h = (p[:, None] for p in _middles(boxes.to(rel_codes.dtype)))
        wx, wy, ww, wh = self.weights
        dx, dy = rel_codes[:, 0::4] / wx, rel_codes[:, 1::4] / wy
        dw = (rel_codes[:, 2::4] / ww).clamp(max=self.bbox_xform_clip)
        dh = (rel_codes[:, 3::4] / wh).clamp(max=self.bbox_xform_clip)
        cx, cy = dx * w + x, dy * h + y
        half_w, half_h = 0.5 * (exp(dw) * w), 0.5 * (exp(dh) * h)
        return stack((cx - half_w, cy - half_h, cx + half_w, cy + half_h), 2).flatten(1)


class BoxLinearCoder:
    """Boxes as the distances of their four sides from the centres of other boxes.

    Source: Tian et al., "FCOS", 2019.
    """

    def __init__(self, normalize_by_size: bool = True) -> None:
        self.normalize_by_size = normalize_by_size

    def encode(self, reference_boxes: Any, proposals: Any) -> Any:
        """The distances of the sides of `proposals` from the centres of `reference_boxes`."""
        cx, cy, w, h = self._parts(reference_boxes)
        x1, y1, x2, y2 = proposals.unbind(-1)
        codes = stack((cx - x1, cy - y1, x2 - cx, y2 - cy), -1)
        return codes / stack((w, h, w, h), -1) if self.normalize_by_size else codes

    def decode(self, rel_codes: Any, boxes: Any) -> Any:
        """Boxes at these distances from the centres of `boxes`."""
        cx, cy, w, h = self._parts(boxes.to(rel_codes.dtype))
        if self.normalize_by_size:
            rel_codes = rel_codes * stack((w, h, w, h), -1)
        left, top, right, bottom = rel_codes.unbind(-1)
        return stack((cx - left, cy - top, cx + right, cy + bottom), -1)

    @staticmethod
    def _parts(boxes: Any) -> tuple[Any, Any, Any, Any]:
        x1, y1, x2, y2 = boxes.unbind(-1)
        return 0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1


class Matcher:
    """For each prediction the truth that it overlaps best, or why it has none.

    The best overlap makes it a match from `high_threshold` on, `BELOW_LOW_THRESHOLD` under
    `low_threshold`, and `BETWEEN_THRESHOLDS` else. With `allow_low_quality_matches` a truth keeps
    the predictions that overlap it best, however little.
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2

    def __init__(
        self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False
    ) -> None:
        if low_threshold > high_threshold:
            raise ValueError(
                f"Matcher: low_threshold should be <= high_threshold, got {low_threshold} and "
                f"{high_threshold}"
            )
        self.high_threshold, self.low_threshold = high_threshold, low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Any) -> Any:
        """(N,) from overlaps (M, N) of M truths; ValueError where there are no truths."""
        overlaps = match_quality_matrix
        if overlaps.numel() == 0:
            missing = "ground-truth boxes" if overlaps.shape[0] == 0 else "proposal boxes"
            raise ValueError(f"No {missing} available for one of the images during training")
        values, best = overlaps.max(0)
        out = best.clone()
        out[values < self.low_threshold] = self.BELOW_LOW_THRESHOLD
        between = (values >= self.low_threshold) & (values < self.high_threshold)
        out[between] = self.BETWEEN_THRESHOLDS
        if self.allow_low_quality_matches:
            top = where(overlaps == overlaps.max(1)[0][:, None])[1]
            out[top] = best[top]
        return out


class SSDMatcher(Matcher):
    """A `Matcher` that also gives each truth the one prediction that overlaps it best."""

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold, threshold, False)

    def __call__(self, match_quality_matrix: Any) -> Any:
        out = super().__call__(match_quality_matrix)
        top = match_quality_matrix.max(1)[1]
        out[top] = arange(top.shape[0], dtype=top.dtype, device=top.device)
        return out


def overwrite_eps(model: nn.Module, eps: float) -> None:
    """Gives all frozen normalisations this eps, as the weights of some models were made with 0."""
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = eps


def retrieve_out_channels(model: nn.Module, size: tuple[int, int]) -> list[int]:
    """The numbers of channels of the maps that a backbone gives."""
    training = model.training
    model.eval()
    with no_grad():
        p = next(model.parameters())
        maps = model(zeros(1, 3, size[1], size[0], device=p.device))
    model.train(training)
    return [m.shape[1] for m in (maps.values() if isinstance(maps, dict) else [maps])]


def box_loss(kind: str, coder: BoxCoder, anchors: Any, truths: Any, codes: Any) -> Any:
    """The sum of a loss of codes by anchors: "l1", "smooth_l1", "giou", "diou" or "ciou"."""
    if kind == "l1":
        return F.l1_loss(codes, coder.encode_single(truths, anchors), reduction="sum")
    if kind == "smooth_l1":
        target = coder.encode_single(truths, anchors)
        return F.smooth_l1_loss(codes, target, reduction="sum", beta=1.0)
    losses = {
        "giou": generalized_box_iou_loss,
        "diou": distance_box_iou_loss,
        "ciou": complete_box_iou_loss,
    }
    if kind not in losses:
        raise ValueError(f"Unsupported loss {kind}; there are l1, smooth_l1, {', '.join(losses)}")
    return losses[kind](coder.decode_single(codes, anchors), truths, reduction="sum")


def renamed(state_dict: Any, prefix: str, names: dict[str, str]) -> None:
    """Gives entries of a state dict the names of today, for weights and biases alike."""
    for old, new in names.items():
        for kind in ("weight", "bias"):
            if f"{prefix}{old}.{kind}" in state_dict:
                state_dict[f"{prefix}{new}.{kind}"] = state_dict.pop(f"{prefix}{old}.{kind}")
