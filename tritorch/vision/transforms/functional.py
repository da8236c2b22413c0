"""The transforms as functions: of PIL images by Pillow, of tensors `(..., C, H, W)` by operators.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision.transforms import functional as F
    >>> F.center_crop(torch.arange(16.0).reshape(1, 4, 4), 2).tolist()
    [[[5.0, 6.0], [9.0, 10.0]]]
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from ...ops.api import PUBLIC
from ...tensor import Tensor
from .._pillow import check
from . import _geometry as geometry, _pil, _tensor
from ._convert import (
    convert_image_dtype as convert_image_dtype,
    pil_to_tensor as pil_to_tensor,
    to_pil_image as to_pil_image,
    to_tensor as to_tensor,
)
from ._geometry import InterpolationMode

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
Fill = int | float | Sequence[float] | None


KINDS: dict[type, Any] = {}  # the functions of classes of tensors, a subclass first


def _of(name: str, img: Any) -> Any:
    if type(img) is not Tensor:
        for kind, functions in KINDS.items():
            if isinstance(img, kind):
                return functions
    return _tensor if check(name, img) else _pil


def get_dimensions(img: Any) -> list[int]:
    """Channels, height and width."""
    return list(_of("get_dimensions", img).sizes(img))


def get_image_size(img: Any) -> list[int]:
    """Width and height."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """The number of channels."""
    return get_dimensions(img)[0]


def normalize(
    tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """`(x - mean) / std`, one of each a channel, of a floating-point tensor `(..., C, H, W)`."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"normalize: img should be Tensor Image. Got {type(tensor)}")
    if not tensor.dtype.is_floating_point:
        raise TypeError(f"normalize: Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 3:
        raise ValueError(
            "normalize: Expected tensor to be a tensor image of size (..., C, H, W). Got "
            f"tensor.size() = {tuple(tensor.shape)}"
        )
    x: Any = tensor if inplace else tensor.clone()
    means, stds = (PUBLIC["as_tensor"](v, dtype=x.dtype, device=x.device) for v in (mean, std))
    if bool((stds == 0).any()):
        raise ValueError(f"normalize: std evaluated to zero after conversion to {x.dtype}")
    shape = (-1, 1, 1)
    means, stds = (v.reshape(shape) if v.ndim == 1 else v for v in (means, stds))
    return x.sub_(means).div_(stds)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: Any = BILINEAR,
    max_size: int | None = None,
    antialias: Any = True,
) -> Any:
    """To `(h, w)`, or so that the shorter edge is `size` and the longer at most `max_size`."""
    mode, antialias = (
        geometry.mode_of("resize", interpolation),
        geometry.antialias_of("resize", antialias),
    )
    _, h, w = get_dimensions(img)
    return _of("resize", img).resize(
        img, geometry.resized(h, w, size, max_size), mode.value, antialias
    )


def pad(
    img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"
) -> Any:
    """`padding` is one number, (left and right, top and bottom), or (left, top, right, bottom)."""
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(
            "Padding mode should be either constant, edge, reflect or symmetric, got "
            f"{padding_mode!r}"
        )
    return _of("pad", img).pad(img, geometry.borders("pad", padding), fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A part of the image; zeros where it reaches outside."""
    return _of("crop", img).crop(img, top, left, height, width)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle; an image that is too small is padded with zeros first."""
    ch, cw = geometry.pair("center_crop", output_size)
    _, h, w = get_dimensions(img)
    if cw > w or ch > h:
        sides = (max(cw - w, 0), max(ch - h, 0))
        img = pad(img, [sides[0] // 2, sides[1] // 2, (sides[0] + 1) // 2, (sides[1] + 1) // 2])
        _, h, w = get_dimensions(img)
        if (ch, cw) == (h, w):
            return img
    return crop(img, round((h - ch) / 2.0), round((w - cw) / 2.0), ch, cw)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Sequence[int],
    interpolation: Any = BILINEAR,
    antialias: Any = True,
) -> Any:
    """`crop`, then `resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, None, antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return _of("hflip", img).hflip(img)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return _of("vflip", img).vflip(img)


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """The four corners and the middle."""
    ch, cw = geometry.pair("five_crop", size)
    _, h, w = get_dimensions(img)
    if cw > w or ch > h:
        raise ValueError(f"Requested crop size {(ch, cw)} is bigger than input size {(h, w)}")
    places = ((0, 0), (0, w - cw), (h - ch, 0), (h - ch, w - cw))
    return (*(crop(img, t, x, ch, cw) for t, x in places), center_crop(img, (ch, cw)))


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """`five_crop` of the image and of its mirror image."""
    return five_crop(img, size) + five_crop((vflip if vertical_flip else hflip)(img), size)


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = NEAREST,
    expand: bool = False,
    center: Sequence[int] | None = None,
    fill: Fill = None,
) -> Any:
    """Counter-clockwise by `angle` degrees about the middle, or about `center` (x, y)."""
    mode = geometry.mode_of("rotate", interpolation).value
    if not isinstance(angle, numbers.Number):
        raise TypeError(f"rotate: angle should be int or float, got {type(angle).__name__}")
    functions = _of("rotate", img)
    if functions is _pil:
        return _pil.rotate(img, angle, mode, expand, center, fill)
    _, h, w = get_dimensions(img)
    about = [0.0, 0.0] if center is None else [center[0] - w / 2, center[1] - h / 2]
    matrix = geometry.affine_matrix(about, -angle, [0, 0], 1.0, [0, 0])
    return functions.affine(img, matrix, mode, fill, expand)


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: Any = NEAREST,
    fill: Fill = None,
    center: Sequence[int] | None = None,
) -> Any:
    """Turned clockwise by `angle`, scaled, sheared, all about the middle, and moved (x, y)."""
    mode = geometry.mode_of("affine", interpolation).value
    if len(translate) != 2:
        raise ValueError("affine: translate should be a sequence of length 2")
    if scale <= 0:
        raise ValueError(f"affine: argument scale should be positive, got {scale}")
    shears = [float(shear), 0.0] if isinstance(shear, int | float) else [float(s) for s in shear]
    shears = shears * 2 if len(shears) == 1 else shears
    if len(shears) != 2:
        raise ValueError(f"affine: Shear should be a sequence containing two values. Got {shear}")
    _, h, w = get_dimensions(img)
    functions = _of("affine", img)
    if functions is not _pil:
        about = [0.0, 0.0] if center is None else [center[0] - w / 2, center[1] - h / 2]
        matrix = geometry.affine_matrix(about, angle, translate, scale, shears)
        return functions.affine(img, matrix, mode, fill)
    about = [w * 0.5, h * 0.5] if center is None else list(center)
    return _pil.affine(
        img, geometry.affine_matrix(about, angle, translate, scale, shears), mode, fill
    )


def perspective(
    img: Any,
    startpoints: Sequence[Sequence[int]],
    endpoints: Sequence[Sequence[int]],
    interpolation: Any = BILINEAR,
    fill: Fill = None,
) -> Any:
    """The projection that moves four corners from `startpoints` to `endpoints`."""
    mode = geometry.mode_of("perspective", interpolation).value
    found = geometry.perspective_coefficients(startpoints, endpoints)
    return _of("perspective", img).perspective(img, found, mode, fill)


def _positive(name: str, what: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name}: {what} ({value}) is not non-negative.")


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Between black (0), the image (1) and brighter."""
    _positive("adjust_brightness", "brightness_factor", brightness_factor)
    return _of("adjust_brightness", img).brightness(img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Between its mean gray (0), the image (1) and more contrast."""
    _positive("adjust_contrast", "contrast_factor", contrast_factor)
    return _of("adjust_contrast", img).contrast(img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Between gray (0), the image (1) and more colour."""
    _positive("adjust_saturation", "saturation_factor", saturation_factor)
    return _of("adjust_saturation", img).saturation(img, saturation_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The circle of colours turned by a part of it, from -0.5 to 0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return _of("adjust_hue", img).hue(img, hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """`gain * x ** gamma` of colours in [0, 1]."""
    _positive("adjust_gamma", "gamma", gamma)
    return _of("adjust_gamma", img).gamma(img, gamma, gain)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """Between blurred (0), the image (1) and sharper."""
    _positive("adjust_sharpness", "sharpness_factor", sharpness_factor)
    return _of("adjust_sharpness", img).sharpness(img, sharpness_factor)


def autocontrast(img: Any) -> Any:
    """Each channel stretched to the whole range."""
    return _of("autocontrast", img).autocontrast(img)


def equalize(img: Any) -> Any:
    """Each channel's values spread evenly, of 8-bit images."""
    return _of("equalize", img).equalize(img)


def invert(img: Any) -> Any:
    """The negative."""
    return _of("invert", img).invert(img)


def posterize(img: Any, bits: int) -> Any:
    """Only the highest `bits` of each channel, of 8-bit images."""
    if not 0 <= bits <= 8:
        raise ValueError(f"The number if bits should be between 0 and 8. Got {bits}")
    return _of("posterize", img).posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """The negative where the value is `threshold` or more."""
    return _of("solarize", img).solarize(img, threshold)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """A gray PIL image with 1 or 3 equal channels."""
    return rgb_to_grayscale(img, num_output_channels)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """`0.2989 R + 0.587 G + 0.114 B`, in 1 or 3 equal channels."""
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {num_output_channels}")
    return _of("rgb_to_grayscale", img).grayscale(img, num_output_channels)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """`v` in the rectangle of `h` by `w` at row `i` and column `j` of a tensor."""
    if not isinstance(img, Tensor):
        raise TypeError(f"erase: img should be Tensor Image. Got {type(img)}")
    out: Any = img if inplace else img.clone()
    out[..., i : i + h, j : j + w] = v
    return out


def gaussian_blur(
    img: Any, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None
) -> Any:
    """A normal distribution's weights over `kernel_size` (x, y); reflected at the border."""
    sides = geometry.pair("gaussian_blur", kernel_size)
    if any(k % 2 == 0 or k < 0 for k in sides):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {list(sides)}")
    if sigma is None:
        spread = [k * 0.15 + 0.35 for k in sides]
    else:
        spread = [float(sigma)] * 2 if isinstance(sigma, int | float) else [*map(float, sigma)]
        spread = spread * 2 if len(spread) == 1 else spread
    if len(spread) != 2 or min(spread) <= 0:
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    functions = _of("gaussian_blur", img)
    if functions is not _pil:
        return functions.gaussian_blur(img, sides, spread)
    return to_pil_image(_tensor.gaussian_blur(pil_to_tensor(img), sides, spread), mode=img.mode)


def _interpolation_modes_from_int(i: int) -> InterpolationMode:
    return geometry.mode_of("interpolation", i)
