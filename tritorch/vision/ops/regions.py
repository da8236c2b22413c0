"""Regions of interest: parts of a feature map, brought to one size.

Boxes are (K, 5), with the number of the image first, or a list of (L, 4) for each image. Where the
samples lie is found on the host, as it depends on boxes alone; what they hold is read and
differentiated by operators, on any device. Boxes have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...nn.module import Module
from ...ops.api import PUBLIC
from ...tensor import Tensor
from ..transforms._geometry import pair

Size = int | tuple[int, int]


def _rois(name: str, input: Any, boxes: Any) -> np.ndarray:
    """All boxes as an array (K, 5)."""
    if input.ndim != 4:
        raise ValueError(f"{name}: expected input (N, C, H, W), got {tuple(input.shape)}")
    if isinstance(boxes, tuple | list):
        if any(b.ndim != 2 or b.shape[1] != 4 for b in boxes):
            raise ValueError(f"{name}: a list of boxes holds one (L, 4) for each image")
        arrays = [b.detach().cpu().float().numpy() for b in boxes]
        parts = [np.insert(a, 0, k, axis=1) for k, a in enumerate(arrays)]
        return np.concatenate(parts) if parts else np.zeros((0, 5), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"{name}: expected boxes (K, 5), got {tuple(boxes.shape)}")
    return boxes.detach().cpu().float().numpy()


def _corners(at: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels beside each place and their weights, (..., 2); no weight outside."""
    inside = (at >= -1.0) & (at <= n)
    at = np.maximum(at, 0)
    low = np.minimum(at.astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    part = np.where(low >= n - 1, 0, at - low)
    weights = np.stack([1 - part, part], -1) * inside[..., None]
    return np.stack([low, high], -1), weights


def roi_align(
    input: Tensor,
    boxes: Any,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Means of bilinear samples of `input` (N, C, H, W) in each box's cells: (K, C, h, w).

    `spatial_scale` takes boxes to the map's pixels; `sampling_ratio` samples a side of a cell, or
    as many as a cell has pixels; `aligned` moves boxes by half a pixel.
    Source: He et al., "Mask R-CNN", 2017.
    """
    x: Any = input
    rois, (ph, pw) = _rois("roi_align", x, boxes), pair("roi_align", output_size)
    shift = 0.5 if aligned else 0.0
    start = rois[:, 1:3] * spatial_scale - shift
    size = rois[:, 3:5] * spatial_scale - shift - start
    if not aligned:
        size = np.maximum(size, 1.0)  # as the first version did
    cells = size / np.array([pw, ph], np.float32)
    fixed = np.full_like(cells, sampling_ratio)
    counts = (fixed if sampling_ratio > 0 else np.ceil(cells)).astype(int)
    n, channels, h, w = x.shape
    flat = x.permute(0, 2, 3, 1).reshape(n * h * w, channels)
    parts, order = [], []
    for nx, ny, rows in _alike(counts, 4 * ph * pw * channels):
        order.append(rows)
        if nx <= 0 or ny <= 0:
            parts.append(flat.new_zeros((len(rows), ph, pw, channels)))
            continue
        xs = _places(start[rows, 0], cells[rows, 0], pw, nx)
        ys = _places(start[rows, 1], cells[rows, 1], ph, ny)
        (cx, wx), (cy, wy) = _corners(xs, w), _corners(ys, h)  # (R, p, samples, 2)
        image = rows_of(rois[rows, 0], n) * h * w
        at = image + cy[:, :, None, :, None, :, None] * w + cx[:, None, :, None, :, None, :]
        weight = wy[:, :, None, :, None, :, None] * wx[:, None, :, None, :, None, :] / (nx * ny)
        index = PUBLIC["tensor"](at.reshape(-1), device=x.device)
        weights = flat.new_tensor(weight.reshape(-1, 1))
        read = (flat.index_select(0, index) * weights).reshape(len(rows), ph, pw, -1, channels)
        parts.append(read.sum(3))
    if not parts:
        return x.new_zeros((0, channels, ph, pw))
    back = np.argsort(np.concatenate(order))
    out = PUBLIC["cat"](parts).index_select(0, PUBLIC["tensor"](back, device=x.device))
    return out.permute(0, 3, 1, 2).contiguous()


def _alike(counts: np.ndarray, size: int) -> list[tuple[int, int, np.ndarray]]:
    """Rows with the same counts of samples, in groups that read up to 2**25 elements.

    `size` is what a row reads for one sample a cell.
    """
    found = []
    for nx, ny in sorted(set(map(tuple, counts.tolist()))):
        rows = np.flatnonzero((counts == (nx, ny)).all(1))
        step = max(1, 2**25 // max(1, size * nx * ny))
        found += [(nx, ny, rows[k : k + step]) for k in range(0, len(rows), step)]
    return found


def rows_of(batch: np.ndarray, n: int) -> np.ndarray:
    """The images' numbers, to broadcast; IndexError where there is no such image."""
    images = batch.astype(np.int64)
    if images.size and not 0 <= images.min() <= images.max() < n:
        raise IndexError(f"boxes name images {images.min()} to {images.max()} of a batch of {n}")
    return images.reshape(-1, *(1,) * 6)


def _places(start: np.ndarray, cell: np.ndarray, cells: int, samples: int) -> np.ndarray:
    """Where the samples lie along one side, (R, cells, samples)."""
    within = (np.arange(samples) + 0.5) / samples
    steps = np.arange(cells)[:, None] + within
    return start[:, None, None] + cell[:, None, None] * steps


def roi_pool(input: Tensor, boxes: Any, output_size: Size, spatial_scale: float = 1.0) -> Tensor:
    """The largest values of `input` (N, C, H, W) in each box's cells: (K, C, h, w).

    Boxes are rounded to pixels. Source: Girshick, "Fast R-CNN", 2015.
    """
    x: Any = input
    rois, (ph, pw) = _rois("roi_pool", x, boxes), pair("roi_pool", output_size)
    n, channels, h, w = x.shape
    scaled = rois[:, 1:] * spatial_scale
    corners = np.floor(np.abs(scaled) + 0.5) * np.sign(scaled)  # half away from zero
    size = np.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
    cuts = []
    for axis, cells, limit in ((1, ph, h), (0, pw, w)):
        cell, first = size[:, axis, None] / cells, corners[:, axis, None]
        low = np.floor(np.arange(cells) * cell) + first
        high = np.ceil((np.arange(cells) + 1) * cell) + first
        cuts.append((np.clip(low, 0, limit).astype(int), np.clip(high, 0, limit).astype(int)))
    (top, bottom), (left, right) = cuts
    batch = rows_of(rois[:, 0], n).reshape(-1)
    out = []
    for k in range(len(rois)):
        for i in range(ph):
            for j in range(pw):
                cell = x[batch[k], :, top[k, i] : bottom[k, i], left[k, j] : right[k, j]]
                cell = cell.reshape(channels, -1)
                out.append(cell.max(1)[0] if cell.shape[1] else x.new_zeros(channels))
    if not out:
        return x.new_zeros((0, channels, ph, pw))
    return PUBLIC["stack"](out).reshape(len(rois), ph, pw, channels).permute(0, 3, 1, 2)


class RoIAlign(Module):
    """`roi_align` as a module."""

    def __init__(
        self, output_size: Size, spatial_scale: float, sampling_ratio: int, aligned: bool = False
    ) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_align(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


class RoIPool(Module):
    """`roi_pool` as a module."""

    def __init__(self, output_size: Size, spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"
