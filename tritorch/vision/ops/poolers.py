"""Regions of interest read from the map of a pyramid that suits their size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...nn.module import Module
from ...ops.api import PUBLIC
from ..transforms._geometry import pair
from .regions import Size, roi_align

cat, tensor = PUBLIC["cat"], PUBLIC["tensor"]


def _scale(name: str, shape: Any, image: Any) -> float:
    """How much smaller a map is than its image: a power of two."""
    factors = {2.0 ** round(math.log2(n / m)) for n, m in zip(shape, image, strict=True)}
    if len(factors) != 1:
        raise ValueError(f"{name}: a map {tuple(shape)} of an image {tuple(image)} is distorted")
    return factors.pop()


class MultiScaleRoIAlign(Module):
    """`roi_align` of boxes in images, from the named maps: a large box is read from a small map.

    A box of area `canonical_scale ** 2` is read from level `canonical_level`, counted by powers of
    two from the image, and one of four times the area from the next; maps that are not there give
    way to the nearest. Which map is how large is taken from the first input.

    Shapes: maps `(N, C, H, W)` and a list of `(L, 4)` for each image to `(K, C, h, w)`.
    Source: Lin et al., "Feature pyramid networks for object detection", 2017, equation 1.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision.ops import MultiScaleRoIAlign
        >>> pool = MultiScaleRoIAlign(["0", "1"], 3, 2)
        >>> maps = {"0": torch.zeros(1, 5, 64, 64), "1": torch.zeros(1, 5, 32, 32)}
        >>> pool(maps, [torch.tensor([[0.0, 0, 300, 200]])], [(256, 256)]).shape
        tritorch.Size([1, 5, 3, 3])
    """

    def __init__(
        self,
        featmap_names: list[str],
        output_size: Size | list[int],
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        self.featmap_names = featmap_names
        self.sampling_ratio = sampling_ratio
        self.output_size = tuple(pair("MultiScaleRoIAlign", output_size))  # type: ignore[arg-type]
        self.canonical_scale, self.canonical_level = canonical_scale, canonical_level
        self.scales: list[float] | None = None

    def _setup(self, maps: list, image_shapes: list) -> list[float]:
        if not image_shapes:
            raise ValueError("MultiScaleRoIAlign: images list should not be empty")
        image = [max(s[k] for s in image_shapes) for k in (0, 1)]
        self.scales = [_scale("MultiScaleRoIAlign", m.shape[-2:], image) for m in maps]
        return self.scales

    def _levels(self, boxes: list, scales: list[float]) -> np.ndarray:
        """The map of each box, counted from the first."""
        low, high = -math.log2(scales[0]), -math.log2(scales[-1])
        b = np.concatenate([x.detach().cpu().float().numpy() for x in boxes])
        side = np.sqrt((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]))
        with np.errstate(divide="ignore"):  # boxes without area: the lowest
            level = np.floor(
                self.canonical_level + np.log2(side / self.canonical_scale) + np.float32(1e-6)
            )
        return (np.clip(level, low, high) - low).astype(np.int64)

    def forward(self, x: dict[str, Any], boxes: list, image_shapes: list) -> Any:
        maps = [x[name] for name in x if name in self.featmap_names]
        scales = self.scales or self._setup(maps, image_shapes)
        numbers = np.concatenate([np.full(len(b), k) for k, b in enumerate(boxes)])
        rois = cat([tensor(numbers).to(maps[0])[:, None], cat(list(boxes)).to(maps[0])], 1)
        size: Any = self.output_size
        if len(maps) == 1:
            return roi_align(maps[0], rois, size, scales[0], self.sampling_ratio)
        levels = self._levels(boxes, scales)
        order = np.argsort(levels, kind="stable")
        parts = [
            roi_align(
                m,
                rois[tensor(np.flatnonzero(levels == k), device=rois.device)],
                size,
                scales[k],
                self.sampling_ratio,
            )
            for k, m in enumerate(maps)
        ]
        return cat(parts).index_select(0, tensor(np.argsort(order), device=rois.device))

    def extra_repr(self) -> str:
        return (
            f"featmap_names={self.featmap_names}, output_size={self.output_size}, "
            f"sampling_ratio={self.sampling_ratio}"
        )
