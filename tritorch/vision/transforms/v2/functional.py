"""The functions of `transforms.functional`, and those that the second form adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....dtypes import DType, float32
from ....ops.api import PUBLIC
from ....tensor import Tensor
from ...tv_tensors import BoundingBoxes, BoundingBoxFormat, Image, Mask, pure, wrap, wrapped
from .. import _boxes as boxes_by, _convert, functional as first
from ..functional import (
    InterpolationMode as InterpolationMode,
    adjust_brightness as adjust_brightness,
    adjust_contrast as adjust_contrast,
    adjust_gamma as adjust_gamma,
    adjust_hue as adjust_hue,
    adjust_saturation as adjust_saturation,
    adjust_sharpness as adjust_sharpness,
    affine as affine,
    autocontrast as autocontrast,
    center_crop as center_crop,
    crop as crop,
    equalize as equalize,
    erase as erase,
    five_crop as five_crop,
    gaussian_blur as gaussian_blur,
    get_dimensions as get_dimensions,
    get_image_num_channels as get_image_num_channels,
    get_image_size as get_image_size,
    hflip as hflip,
    invert as invert,
    pad as pad,
    perspective as perspective,
    pil_to_tensor as pil_to_tensor,
    posterize as posterize,
    resize as resize,
    resized_crop as resized_crop,
    rgb_to_grayscale as rgb_to_grayscale,
    rotate as rotate,
    solarize as solarize,
    ten_crop as ten_crop,
    to_grayscale as to_grayscale,
    to_pil_image as to_pil_image,
    to_tensor as to_tensor,
    vflip as vflip,
)
from ._kinds import is_pure_tensor as is_pure_tensor

horizontal_flip, vertical_flip = hflip, vflip
get_num_channels = get_image_num_channels


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    return get_dimensions(inpt)[1:]


def to_image(image: Any) -> Tensor:
    """A PIL image, an array (H, W, C) or a tensor as an `Image` (C, H, W) of its own values."""
    if isinstance(image, np.ndarray):
        values = image[..., None] if image.ndim == 2 else image
        image = PUBLIC["from_numpy"](np.ascontiguousarray(values.transpose(2, 0, 1)))
    return Image(image)


def to_dtype(image: Any, dtype: DType = float32, scale: bool = False) -> Tensor:
    """In another dtype; with `scale` the values of images are scaled to that dtype's range."""
    scaled = scale and not isinstance(image, Mask | BoundingBoxes)
    out: Any = _convert.convert_image_dtype(pure(image), dtype) if scaled else image.to(dtype)
    return wrapped(out, image)


def convert_image_dtype(image: Any, dtype: DType = float32) -> Tensor:
    """In another dtype, the values scaled to that dtype's range."""
    return to_dtype(image, dtype, scale=True)


def normalize(inpt: Any, mean: Any, std: Any, inplace: bool = False) -> Tensor:
    """`(x - mean) / std`, one of each a channel, of a floating-point tensor `(..., C, H, W)`."""
    return wrapped(first.normalize(pure(inpt), mean, std, inplace), inpt)


def convert_bounding_box_format(
    inpt: Tensor, old_format: Any = None, new_format: Any = None, inplace: bool = False
) -> Tensor:
    """Boxes in another format; plain tensors (N, 4) need `old_format`."""
    boxes = _boxes_of("convert_bounding_box_format", inpt, old_format, (1, 1))
    if new_format is None:
        raise TypeError("convert_bounding_box_format: new_format is missing")
    out = boxes_by.of_corners(
        boxes_by.corners(boxes), boxes, format=BoundingBoxFormat.of(new_format)
    )
    if inplace:
        inpt.copy_(pure(out))  # type: ignore[attr-defined]
        out = wrap(inpt, like=out) if isinstance(inpt, BoundingBoxes) else inpt
    return out if isinstance(inpt, BoundingBoxes) else pure(out)


def clamp_bounding_boxes(inpt: Tensor, format: Any = None, canvas_size: Any = None) -> Tensor:
    """The boxes' parts inside their image; plain tensors (N, 4) need `format`, `canvas_size`."""
    out = boxes_by.clamp(_boxes_of("clamp_bounding_boxes", inpt, format, canvas_size))
    return out if isinstance(inpt, BoundingBoxes) else pure(out)


def sanitize_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any = None,
    canvas_size: Any = None,
    min_size: float = 1.0,
    min_area: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The boxes wholly inside, of `min_size` and `min_area`, and which of all they are (N,)."""
    boxes = _boxes_of("sanitize_bounding_boxes", bounding_boxes, format, canvas_size)
    left, top, right, bottom = boxes_by.corners(boxes).unbind(-1)
    w, h = right - left, bottom - top
    valid = (w >= min_size) & (h >= min_size) & (w * h >= min_area) & (left >= 0) & (top >= 0)
    valid = valid & (right <= boxes.canvas_size[1]) & (bottom <= boxes.canvas_size[0])
    out = bounding_boxes[valid]
    return (wrap(out, like=boxes) if isinstance(bounding_boxes, BoundingBoxes) else out), valid


def _boxes_of(name: str, x: Any, format: Any, canvas_size: Any) -> BoundingBoxes:
    if isinstance(x, BoundingBoxes):
        return x
    if format is None or canvas_size is None:
        raise ValueError(f"{name}: of a plain tensor, format and canvas_size have to be given")
    return BoundingBoxes(x, format=format, canvas_size=canvas_size)


to_dtype_image = to_dtype
