"""Images shown and saved: grids, boxes, masks, key points.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision.utils import make_grid
    >>> make_grid(torch.zeros(6, 1, 4, 4), nrow=3, padding=1).shape
    tritorch.Size([3, 11, 16])
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..ops.api import PUBLIC
from ..tensor import Tensor
from ._pillow import pillow
from .transforms.functional import pil_to_tensor, to_pil_image


def _stacked(tensor: Any) -> Any:
    """A batch (N, 3, H, W) or (N, C, H, W) of what `make_grid` takes."""
    if not isinstance(tensor, Tensor):
        if not isinstance(tensor, list) or not all(isinstance(t, Tensor) for t in tensor):
            raise TypeError(f"make_grid: tensor or list of tensors expected, got {type(tensor)}")
        tensor = PUBLIC["stack"](tensor, 0)
    if tensor.ndim == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(0)
    if tensor.ndim != 4:
        raise ValueError(
            f"make_grid: expected (N, C, H, W), (C, H, W) or (H, W), got {tuple(tensor.shape)}"
        )
    return tensor.expand(-1, 3, -1, -1) if tensor.shape[1] == 1 else tensor


def _normalised(x: Any, value_range: tuple[float, float] | None, scale_each: bool) -> Any:
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError("value_range has to be a tuple (min, max) of numbers if specified")
    x = x.clone()
    for part in x if scale_each else [x]:
        low, high = value_range or (float(part.min()), float(part.max()))
        part.clamp_(min=low, max=high).sub_(low).div_(max(high - low, 1e-5))
    return x


@no_grad()
def make_grid(
    tensor: Any,
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """A batch (N, C, H, W), or a list of images, side by side in one image (C, H', W').

    `nrow` images a row with `padding` pixels around each; `normalize` shifts them to [0, 1] by
    `value_range` or by their own least and largest values (`scale_each`: of each image).
    """
    x = _stacked(tensor)
    if normalize:
        x = _normalised(x, value_range, scale_each)
    n, channels = x.shape[:2]
    if n == 1:
        return x[0]
    columns = min(nrow, n)
    rows = math.ceil(n / columns)
    h, w = x.shape[2] + padding, x.shape[3] + padding
    grid = x.new_full((channels, h * rows + padding, w * columns + padding), pad_value)
    for k in range(n):
        top, left = k // columns * h + padding, k % columns * w + padding
        grid[:, top : top + h - padding, left : left + w - padding] = x[k]
    return grid


@no_grad()
def save_image(tensor: Any, fp: Any, format: str | None = None, **kwargs: Any) -> None:
    """Saves `make_grid(tensor, **kwargs)`, whose values lie in [0, 1], as an image file."""
    grid: Any = make_grid(tensor, **kwargs)
    values = grid.mul(255).add_(0.5).clamp_(0, 255).permute(1, 2, 0).to("cpu", dtypes.uint8).numpy()
    if values.shape[2] not in (3, 4):
        raise ValueError(f"save_image: expected 1, 3 or 4 channels, got {values.shape[2]}")
    pillow().fromarray(np.ascontiguousarray(values)).save(fp, format=format)


def _drawable(name: str, image: Any) -> Any:
    if not isinstance(image, Tensor):
        raise TypeError(f"{name}: Tensor expected, got {type(image)}")
    if image.dtype.name != "uint8" and not image.dtype.is_floating_point:
        raise ValueError(f"{name}: The image dtype must be uint8 or float, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"{name}: expected an image (1 or 3, H, W), got {tuple(image.shape)}")
    x: Any = image if image.shape[0] == 3 else image.expand(3, -1, -1)  # type: ignore[attr-defined]
    return x.mul(255).to(dtypes.uint8) if image.dtype.is_floating_point else x


def _palette(n: int) -> list[tuple[int, ...]]:
    """Colours far apart: multiples of three large numbers."""
    large = (2**25 - 1, 2**15 - 1, 2**21 - 1)
    return [tuple(k * c % 255 for c in large) for k in range(n)]


def _colours(name: str, colors: Any, n: int) -> list[Any]:
    """One colour for each of `n` things, as Pillow knows them."""
    if colors is None:
        return _palette(n)
    if isinstance(colors, list):
        if len(colors) < n:
            raise ValueError(f"{name}: {len(colors)} colors for {n} things")
        return [pillow("ImageColor").getrgb(c) if isinstance(c, str) else c for c in colors]
    return [pillow("ImageColor").getrgb(colors) if isinstance(colors, str) else colors] * n


def _like(image: Any, drawn: Any) -> Any:
    """In the dtype of the image that was given."""
    return drawn.to(image.dtype) / 255 if image.dtype.is_floating_point else drawn


@no_grad()
def draw_bounding_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Sequence[str | None] | None = None,
    colors: Any = None,
    fill: bool = False,
    width: int = 1,
    font: str | None = None,
    font_size: int | None = None,
    label_colors: Any = None,
) -> Tensor:
    """Boxes (N, 4) as (x1, y1, x2, y2), with labels, drawn on an image (3 or 1, H, W)."""
    x, n = _drawable("draw_bounding_boxes", image), len(boxes)
    if labels is not None and len(labels) != n:
        raise ValueError(f"draw_bounding_boxes: {len(labels)} labels for {n} boxes")
    if n == 0:
        warnings.warn("boxes doesn't contain any box. No box was drawn", stacklevel=2)
        return image
    if bool(((boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])).any()):
        raise ValueError("Boxes need to be in (xmin, ymin, xmax, ymax) format.")
    picture = to_pil_image(x)
    draw = pillow("ImageDraw").Draw(picture, "RGBA" if fill else "RGB")
    lines = _colours("draw_bounding_boxes", colors, n)
    texts = lines if label_colors is None else _colours("draw_bounding_boxes", label_colors, n)
    fonts = pillow("ImageFont")
    letters = fonts.truetype(font, font_size or 10) if font else fonts.load_default()
    for k, box in enumerate(boxes.to(dtypes.int64).tolist()):  # type: ignore[attr-defined]
        inside = (*lines[k][:3], 100) if fill else None
        draw.rectangle(box, width=width, outline=lines[k], fill=inside)
        if labels is not None and labels[k] is not None:
            draw.text((box[0] + width + 1, box[1] + width + 1), labels[k], texts[k], letters)
    return _like(image, pil_to_tensor(picture).to(image.device))  # type: ignore[attr-defined]


@no_grad()
def draw_segmentation_masks(
    image: Tensor, masks: Tensor, alpha: float = 0.8, colors: Any = None
) -> Tensor:
    """Boolean masks (N, H, W) or (H, W) in colour over an image (3, H, W), weighted by `alpha`."""
    name = "draw_segmentation_masks"
    x, m = _drawable(name, image), masks if masks.ndim == 3 else masks[None]
    if m.dtype.name != "bool":
        raise ValueError(f"{name}: The masks must be of dtype bool. Got {m.dtype}")
    if tuple(m.shape[-2:]) != tuple(x.shape[-2:]):
        raise ValueError(
            f"{name}: The image {tuple(x.shape)} and the masks {tuple(m.shape)} must have the same "
            "height and width"
        )
    out = x.clone()
    for mask, colour in zip(m, _colours(name, colors, len(m)), strict=False):
        out[:, mask] = PUBLIC["tensor"](colour, dtype=dtypes.uint8, device=x.device)[:, None]
    mixed = x.float() * (1 - alpha) + out.float() * alpha
    return _like(image, mixed.to(dtypes.uint8))


@no_grad()
def draw_keypoints(
    image: Tensor,
    keypoints: Tensor,
    connectivity: list[tuple[int, int]] | None = None,
    colors: Any = None,
    radius: int = 2,
    width: int = 3,
) -> Tensor:
    """Points (N, K, 2) as (x, y) on an image (3, H, W), with lines between those connected."""
    x = _drawable("draw_keypoints", image)
    if keypoints.ndim != 3:
        raise ValueError(
            f"draw_keypoints: expected keypoints (N, K, 2), got {tuple(keypoints.shape)}"
        )
    picture = to_pil_image(x)
    draw = pillow("ImageDraw").Draw(picture)
    colour = _colours("draw_keypoints", colors, 1)[0] if colors is not None else None
    for points in keypoints.to(dtypes.int64).tolist():  # type: ignore[attr-defined]
        for px, py, *_ in points:
            draw.ellipse([px - radius, py - radius, px + radius, py + radius], fill=colour)
        for a, b in connectivity or ():
            draw.line([*points[a][:2], *points[b][:2]], width=width)
    return _like(image, pil_to_tensor(picture).to(image.device))  # type: ignore[attr-defined]
