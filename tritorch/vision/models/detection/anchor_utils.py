"""Boxes to begin with: at each pixel of each map the same few."""

from __future__ import annotations

import math
from typing import Any

from .... import dtypes, nn
from ....ops.api import PUBLIC
from .image_list import ImageList

arange, cat, meshgrid, stack = (PUBLIC[k] for k in ("arange", "cat", "meshgrid", "stack"))
tensor = PUBLIC["tensor"]


def _grid(rows: Any, columns: Any) -> tuple[Any, Any]:
    """The x and the y of all pairs, row by row."""
    y, x = meshgrid(rows, columns, indexing="ij")
    return x.reshape(-1), y.reshape(-1)


class AnchorGenerator(nn.Module):
    """Anchors of some sizes and ratios (height to width) around each pixel of each map.

    `sizes` and `aspect_ratios` have one tuple for each map.

    Example:
        >>> from tritorch.vision.models.detection.anchor_utils import AnchorGenerator
        >>> AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2).cell_anchors[1].tolist()
        [[-45.0, -23.0, 45.0, 23.0], [-32.0, -32.0, 32.0, 32.0], [-23.0, -45.0, 23.0, 45.0]]
    """

    def __init__(
        self, sizes: Any = ((128, 256, 512),), aspect_ratios: Any = ((0.5, 1.0, 2.0),)
    ) -> None:
        super().__init__()
        if not isinstance(sizes[0], list | tuple):
            sizes = tuple((s,) for s in sizes)
        if not isinstance(aspect_ratios[0], list | tuple):
            aspect_ratios = (aspect_ratios,) * len(sizes)
        self.sizes, self.aspect_ratios = sizes, aspect_ratios
        self.cell_anchors = [
            self.generate_anchors(s, r) for s, r in zip(sizes, aspect_ratios, strict=True)
        ]

    def generate_anchors(
        self, scales: Any, aspect_ratios: Any, dtype: Any = None, device: Any = None
    ) -> Any:
        """The anchors of one pixel, around zero, in whole numbers."""
        kind = {"dtype": dtype or dtypes.float32, "device": device or "cpu"}
        high = tensor(aspect_ratios, **kind).sqrt()
        wide, sides = 1 / high, tensor(scales, **kind)
        w = (wide[:, None] * sides[None]).reshape(-1)
        h = (high[:, None] * sides[None]).reshape(-1)
        return (stack([-w, -h, w, h], 1) / 2).round()

    def num_anchors_per_location(self) -> list[int]:
        """How many anchors a pixel of each map has."""
        return [len(s) * len(r) for s, r in zip(self.sizes, self.aspect_ratios, strict=True)]

    def grid_anchors(self, grid_sizes: list, strides: list) -> list:
        """The anchors of each map, pixel by pixel."""
        if not len(grid_sizes) == len(strides) == len(self.cell_anchors):
            raise ValueError(
                f"AnchorGenerator: made for {len(self.cell_anchors)} maps, got {len(grid_sizes)}. "
                "sizes and aspect_ratios have one tuple for each map"
            )
        out = []
        cells = zip(grid_sizes, strides, self.cell_anchors, strict=True)
        for (rows, columns), (down, across), base in cells:
            kind = {"dtype": dtypes.int32, "device": base.device}
            x, y = _grid(arange(rows, **kind) * down, arange(columns, **kind) * across)
            shifts = stack((x, y, x, y), 1)
            out.append((shifts[:, None] + base[None]).reshape(-1, 4))
        return out

    def forward(self, image_list: ImageList, feature_maps: list) -> list:
        """For each image all anchors (N, 4), the first map's first."""
        grids = [tuple(m.shape[-2:]) for m in feature_maps]
        height, width = image_list.tensors.shape[-2:]
        first = feature_maps[0]
        self.cell_anchors = [c.to(first) for c in self.cell_anchors]
        strides = [(height // h, width // w) for h, w in grids]
        anchors = cat(self.grid_anchors(grids, strides))
        return [anchors for _ in image_list.image_sizes]

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, aspect_ratios={self.aspect_ratios}"


class DefaultBoxGenerator(nn.Module):
    """The boxes of SSD around each pixel of each map, in shares of the image.

    A map has a size, taken between `min_ratio` and `max_ratio` unless `scales` gives them, with one
    more for what is above the last. At a pixel are a square of it, a square of the geometric mean
    of it and the next, and two boxes for each of the map's `aspect_ratios`. `steps` are the pixels
    of the image to one of the map, where they are not their quotient.
    Source: Liu et al., "SSD", 2016, section 2.2.
    """

    def __init__(
        self,
        aspect_ratios: list[list[int]],
        min_ratio: float = 0.15,
        max_ratio: float = 0.9,
        scales: list[float] | None = None,
        steps: list[int] | None = None,
        clip: bool = True,
    ) -> None:
        super().__init__()
        n = len(aspect_ratios)
        if steps is not None and len(aspect_ratios) != len(steps):
            raise ValueError(
                "DefaultBoxGenerator: aspect_ratios and steps should have the same length, got "
                f"{n} and {len(steps)}"
            )
        self.aspect_ratios, self.steps, self.clip = aspect_ratios, steps, clip
        if scales is not None:
            self.scales = scales
        elif n > 1:
            span = max_ratio - min_ratio
            self.scales = [min_ratio + span * k / (n - 1.0) for k in range(n)] + [1.0]
        else:
            self.scales = [min_ratio, max_ratio]
        self._wh_pairs = [self._pairs(k) for k in range(n)]

    def _pairs(self, k: int) -> Any:
        """The widths and heights of map `k`."""
        size, between = self.scales[k], math.sqrt(self.scales[k] * self.scales[k + 1])
        found = [[size, size], [between, between]]
        for ratio in self.aspect_ratios[k]:
            w, h = size * math.sqrt(ratio), size / math.sqrt(ratio)
            found += [[w, h], [h, w]]
        return tensor(found, dtype=dtypes.float32)

    def num_anchors_per_location(self) -> list[int]:
        """How many boxes a pixel of each map has."""
        return [2 + 2 * len(r) for r in self.aspect_ratios]

    def _centred(self, grids: list, image: tuple[int, int]) -> Any:
        """All boxes as centre and size."""
        out = []
        for k, (rows, columns) in enumerate(grids):
            down, across = float(rows), float(columns)
            if self.steps is not None:
                down, across = image[0] / self.steps[k], image[1] / self.steps[k]
            x, y = _grid((arange(rows) + 0.5) / down, (arange(columns) + 0.5) / across)
            pairs = self._wh_pairs[k].clamp(min=0, max=1) if self.clip else self._wh_pairs[k]
            n = len(pairs)
            middles = stack((x, y), 1)[:, None].expand(-1, n, -1)
            sides = pairs[None].expand(len(x), -1, -1)
            out.append(cat((middles, sides), 2).reshape(-1, 4))
        return cat(out)

    def forward(self, image_list: ImageList, feature_maps: list) -> list:
        """For each image all boxes (N, 4), in pixels of the batch."""
        height, width = image_list.tensors.shape[-2:]
        grids = [tuple(m.shape[-2:]) for m in feature_maps]
        boxes = self._centred(grids, (height, width)).to(feature_maps[0])
        size = tensor([width, height]).to(boxes)
        middles, half = boxes[:, :2], 0.5 * boxes[:, 2:]
        corners = cat([(middles - half) * size, (middles + half) * size], 1)
        return [corners for _ in image_list.image_sizes]

    def extra_repr(self) -> str:
        return (
            f"aspect_ratios={self.aspect_ratios}, clip={self.clip}, scales={self.scales}, "
            f"steps={self.steps}"
        )
