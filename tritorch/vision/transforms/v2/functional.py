"""The functions of `transforms.functional`, and those that the second form adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....dtypes import DType, float32
from ....ops.api import PUBLIC
from ....tensor import Tensor
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
    convert_image_dtype as convert_image_dtype,
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
    normalize as normalize,
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

horizontal_flip, vertical_flip = hflip, vflip
get_num_channels = get_image_num_channels


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    return get_dimensions(inpt)[1:]


def to_image(image: Any) -> Tensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W) of its own values."""
    if isinstance(image, Tensor):
        return image
    if isinstance(image, np.ndarray):
        values = image[..., None] if image.ndim == 2 else image
        return PUBLIC["from_numpy"](np.ascontiguousarray(values.transpose(2, 0, 1)))
    return pil_to_tensor(image)


def to_dtype(image: Any, dtype: DType = float32, scale: bool = False) -> Tensor:
    """In another dtype; with `scale` the values are scaled to that dtype's range."""
    return convert_image_dtype(image, dtype) if scale else image.to(dtype)


to_dtype_image = to_dtype
