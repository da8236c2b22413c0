"""The transforms of PIL images, by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._pillow import pillow
from ._geometry import PIL_CODES, InterpolationMode


def code(mode: str) -> int:
    return PIL_CODES[InterpolationMode(mode)]


def channels(img: Any) -> int:
    return len(img.getbands())


def sizes(img: Any) -> tuple[int, int, int]:
    """Channels, height, width."""
    return channels(img), img.height, img.width


def colour(img: Any, fill: Any) -> Any:
    """`fill` as Pillow takes it for this image's bands."""
    bands = channels(img)
    fill = 0 if fill is None else fill
    if isinstance(fill, int | float):
        fill = (fill,) * bands
    elif len(fill) == 1:
        fill = tuple(fill) * bands
    if len(fill) != bands:
        raise ValueError(
            f"the number of elements in 'fill' does not match the number of channels of the image "
            f"({len(fill)} != {bands})"
        )
    values = tuple(fill if img.mode == "F" else (int(x) for x in fill))
    return values[0] if bands == 1 else values


def hflip(img: Any) -> Any:
    return img.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(img: Any) -> Any:
    return img.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    return img.crop((left, top, left + width, top + height))


def pad(img: Any, border: tuple[int, int, int, int], fill: Any, mode: str) -> Any:
    left, top, right, bottom = border
    if mode == "constant":
        out = pillow().new(
            img.mode, (img.width + left + right, img.height + top + bottom), colour(img, fill)
        )
        if img.mode == "P":
            out.putpalette(img.getpalette())
        out.paste(img, (left, top))
        return out
    values = np.asarray(img)
    widths = ((top, bottom), (left, right)) + ((0, 0),) * (values.ndim - 2)
    out = pillow().fromarray(np.pad(values, widths, mode))  # type: ignore[call-overload]
    if img.mode == "P":
        out.putpalette(img.getpalette())
    return out


def resize(img: Any, size: tuple[int, int], mode: str, antialias: bool) -> Any:
    """Pillow always filters, so `antialias` changes nothing."""
    return img if (img.height, img.width) == size else img.resize(size[::-1], code(mode))


def affine(img: Any, matrix: np.ndarray, mode: str, fill: Any) -> Any:
    """`matrix` takes points of the result to points of the image, from the upper left corner."""
    flat = matrix[:2].reshape(-1).tolist()
    kind = pillow().Transform.AFFINE
    return img.transform(img.size, kind, flat, code(mode), fillcolor=colour(img, fill))


def rotate(img: Any, angle: float, mode: str, expand: bool, center: Any, fill: Any) -> Any:
    return img.rotate(angle, code(mode), expand, center, fillcolor=colour(img, fill))


def perspective(img: Any, c: Sequence[float], mode: str, fill: Any) -> Any:
    kind = pillow().Transform.PERSPECTIVE
    return img.transform(img.size, kind, list(c), code(mode), fillcolor=colour(img, fill))


def grayscale(img: Any, channels: int = 1) -> Any:
    gray = img.convert("L")
    if channels == 1:
        return gray
    return pillow().merge("RGB", (gray,) * 3)


def brightness(img: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Brightness(img).enhance(factor)


def contrast(img: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Contrast(img).enhance(factor)


def saturation(img: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Color(img).enhance(factor)


def sharpness(img: Any, factor: float) -> Any:
    return pillow("ImageEnhance").Sharpness(img).enhance(factor)


def hue(img: Any, factor: float) -> Any:
    if img.mode in ("L", "1", "I", "F"):
        return img
    h, s, v = img.convert("HSV").split()
    turned = np.asarray(h) + np.array(int(factor * 255) % 256, np.uint8)  # wraps at 256
    merged = pillow().merge("HSV", (pillow().fromarray(turned), s, v))
    return merged.convert(img.mode)


def gamma(img: Any, power: float, gain: float) -> Any:
    table = [int((255 + 1 - 1e-3) * gain * (v / 255.0) ** power) for v in range(256)] * 3
    return img.convert("RGB").point(table).convert(img.mode)


def invert(img: Any) -> Any:
    return pillow("ImageOps").invert(img)


def posterize(img: Any, bits: int) -> Any:
    return pillow("ImageOps").posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    return pillow("ImageOps").solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    return pillow("ImageOps").autocontrast(img)


def equalize(img: Any) -> Any:
    return pillow("ImageOps").equalize(img)
