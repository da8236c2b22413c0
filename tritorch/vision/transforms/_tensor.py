"""The transforms of tensors `(..., C, H, W)`, on tritorch's operators: on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...nn import functional as F
from ...ops.api import PUBLIC
from ...tensor import Tensor
from . import _geometry as geometry

where, cat, stack = PUBLIC["where"], PUBLIC["cat"], PUBLIC["stack"]


def sizes(img: Tensor) -> tuple[int, int, int]:
    """Channels, height, width."""
    return (1 if img.ndim == 2 else img.shape[-3]), img.shape[-2], img.shape[-1]


def bound(img: Tensor) -> float:
    """The largest value of a colour: 1 for floating-point images."""
    kind = img.dtype
    if kind.is_floating_point:
        return 1.0
    return 1.0 if kind.name == "bool" else float(np.iinfo(np.dtype(kind.name)).max)


def as_batch(f: Callable, img: Tensor) -> Any:
    """`f` of the image as floating-point `(N, C, H, W)`; the result in the image's own form."""
    x = img if img.dtype.is_floating_point else img.float()
    lead = tuple(img.shape[:-3]) if img.ndim >= 3 else ()
    channels, h, w = sizes(img)
    out = f(x.reshape(-1, channels, h, w))
    if not img.dtype.is_floating_point:
        out = out.round().clamp(0, bound(img)).to(img.dtype)
    return out.reshape(*lead, *([channels] if img.ndim > 2 else []), *out.shape[-2:])


def hflip(img: Any) -> Any:
    return img.flip(-1)


def vflip(img: Any) -> Any:
    return img.flip(-2)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    _, h, w = sizes(img)
    bottom, right = top + height, left + width
    inside = img[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if top >= 0 and left >= 0 and bottom <= h and right <= w:
        return inside
    sides = [max(min(right, 0) - left, 0), max(right - max(w, left), 0)]
    sides += [max(min(bottom, 0) - top, 0), max(bottom - max(h, top), 0)]
    return F.pad(inside, sides)


def pad(img: Any, border: tuple[int, int, int, int], fill: Any, mode: str) -> Any:
    left, top, right, bottom = border
    if mode == "symmetric":  # mirrored with the edge itself
        rows = np.pad(np.arange(img.shape[-2]), (top, bottom), "symmetric")
        columns = np.pad(np.arange(img.shape[-1]), (left, right), "symmetric")
        at = [PUBLIC["tensor"](v, device=img.device) for v in (rows, columns)]
        return img.index_select(-2, at[0]).index_select(-1, at[1])
    if mode == "constant":
        if isinstance(fill, tuple | list):
            if len(fill) not in (1, sizes(img)[0]):
                raise ValueError(
                    f"pad: fill has {len(fill)} values, the image {sizes(img)[0]} channels"
                )
            colour = img.new_tensor(fill).reshape(-1, 1, 1)
            inside = F.pad(PUBLIC["ones_like"](img), (left, right, top, bottom))
            return where(inside != 0, F.pad(img, (left, right, top, bottom)), colour)
        return F.pad(img, (left, right, top, bottom), value=fill or 0)
    name = {"edge": "replicate", "reflect": "reflect"}[mode]
    return as_batch(lambda x: F.pad(x, (left, right, top, bottom), mode=name), img)


def resize(img: Any, size: tuple[int, int], mode: str, antialias: bool) -> Any:
    if tuple(img.shape[-2:]) == size:
        return img
    smooth = mode in ("bilinear", "bicubic")
    if not smooth and mode not in ("nearest", "nearest-exact"):
        raise ValueError(
            "resize: tensors are resized by nearest, nearest-exact, bilinear or bicubic, got "
            f"{mode}"
        )
    align = False if smooth else None
    return as_batch(
        lambda x: F.interpolate(
            x, size, mode=mode, align_corners=align, antialias=antialias and smooth
        ),
        img,
    )


def sampled(img: Any, points: np.ndarray, mode: str, fill: Any) -> Any:
    """The image at `points` (h, w, 2), x and y from -1 to 1; `fill` outside."""
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"tensors are turned and bent by nearest or bilinear, got {mode}")

    def read(x: Any) -> Any:
        at = x.new_tensor(points).unsqueeze(0).expand(x.shape[0], -1, -1, -1)
        out = F.grid_sample(x, at, mode=mode, padding_mode="zeros", align_corners=False)
        if fill is None:
            return out
        there = F.grid_sample(
            PUBLIC["ones_like"](x[:, :1]), at, mode=mode, padding_mode="zeros", align_corners=False
        )
        colour = x.new_tensor(fill if isinstance(fill, tuple | list) else [fill]).reshape(-1, 1, 1)
        if mode == "nearest":
            return where(there < 0.5, colour, out)
        return out * there + (1 - there) * colour

    return as_batch(read, img)


def centres(w: int, h: int) -> np.ndarray:
    """The middles of a result's pixels, (h, w, 3), with a last coordinate of 1."""
    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    return np.stack([x, y, np.ones_like(x)], -1)


def affine(img: Any, matrix: np.ndarray, mode: str, fill: Any, expand: bool = False) -> Any:
    """`matrix` takes points about the middle of the result to points about the image's middle."""
    _, h, w = sizes(img)
    ow, oh = geometry.expanded(matrix, w, h) if expand else (w, h)
    at = centres(ow, oh) - np.array([ow / 2, oh / 2, 0])
    half = np.array([w / 2, h / 2], np.float32)  # in float32, in which PyTorch decides ties
    points = at.astype(np.float32) @ (matrix[:2].T.astype(np.float32) / half)
    return sampled(img, points, mode, fill)


def perspective(img: Any, c: Sequence[float], mode: str, fill: Any) -> Any:
    _, h, w = sizes(img)
    at = centres(w, h) @ np.array([*c, 1.0]).reshape(3, 3).T
    return sampled(img, at[..., :2] / at[..., 2:] / np.array([w / 2, h / 2]) - 1, mode, fill)


def blend(img: Any, other: Any, ratio: float) -> Any:
    return (ratio * img + (1 - ratio) * other).clamp(0, bound(img)).to(img.dtype)


def grayscale(img: Any, channels: int = 1) -> Any:
    count = sizes(img)[0]
    if count not in (1, 3):
        raise TypeError(
            f"Input image tensor permitted channel values are 1 or 3, but found {count}"
        )
    if count == 3:
        r, g, b = img.unbind(-3)
        img = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)
    shape = (*img.shape[:-3], channels, *img.shape[-2:])
    return img.expand(shape) if channels == 3 else img


def brightness(img: Any, factor: float) -> Any:
    return blend(img, PUBLIC["zeros_like"](img), factor)


def contrast(img: Any, factor: float) -> Any:
    gray = grayscale(img) if sizes(img)[0] == 3 else img
    gray = gray if img.dtype.is_floating_point else gray.float()
    mean = gray.mean((-3, -2, -1), keepdim=True)
    return blend(img, mean, factor)


def saturation(img: Any, factor: float) -> Any:
    return img if sizes(img)[0] == 1 else blend(img, grayscale(img), factor)


def hue(img: Any, factor: float) -> Any:
    if sizes(img)[0] == 1:
        return img
    x = img if img.dtype.is_floating_point else img.float() / bound(img)
    h, s, v = to_hsv(x)
    out = from_hsv((h + factor) % 1.0, s, v)
    if img.dtype.is_floating_point:
        return out
    return (out * (bound(img) + 1.0 - 1e-3)).to(img.dtype)


def to_hsv(x: Any) -> tuple[Any, Any, Any]:
    """Hue, saturation, value of red, green and blue, all in [0, 1]; each without the channel."""
    r, g, b = x.unbind(-3)
    high, low = x.amax(-3), x.amin(-3)
    flat, spread = high == low, high - low
    s = spread / where(flat, 1.0, high)
    by = where(flat, 1.0, spread)
    rc, gc, bc = ((high - c) / by for c in (r, g, b))
    first, second = high == r, (high == g) & (high != r)
    h = where(first, bc - gc, where(second, 2.0 + rc - bc, 4.0 + gc - rc))
    return (h / 6.0 + 1.0) % 1.0, s, high


def from_hsv(h: Any, s: Any, v: Any) -> Any:
    """The image of `to_hsv`'s three: each channel is `v (1 - s k)` with `k` a trapezoid of the hue.

    Source: "HSL and HSV", alternative formula: f(n) = V - V S max(0, min(k, 4 - k, 1)),
    k = (n + 6 H) mod 6, for n = 5, 3, 1.
    """
    parts = []
    for n in (5, 3, 1):
        k = (n + 6 * h) % 6
        parts.append(v - v * s * PUBLIC["minimum"](k, 4 - k).clamp(0, 1))
    return stack(parts, -3).clamp(0, 1)


def gamma(img: Any, power: float, gain: float) -> Any:
    if img.dtype.is_floating_point:
        return (gain * img**power).clamp(0, 1)
    out = (gain * (img.float() / bound(img)) ** power).clamp(0, 1)
    return (out * (bound(img) + 1.0 - 1e-3)).to(img.dtype)


def sharpness(img: Any, factor: float) -> Any:
    if min(img.shape[-2:]) <= 2:
        return img
    kernel = np.ones((3, 3))
    kernel[1, 1] = 5

    def smooth(x: Any) -> Any:
        c = x.shape[1]
        k = x.new_tensor(kernel / kernel.sum()).expand(c, 1, 3, 3)
        inner = F.conv2d(x, k, groups=c)
        rows = cat([x[..., :1, 1:-1], inner, x[..., -1:, 1:-1]], -2)
        return cat([x[..., :1], rows, x[..., -1:]], -1)

    return blend(img, as_batch(smooth, img), factor)


def gaussian_blur(img: Any, kernel: Sequence[int], sigma: Sequence[float]) -> Any:
    def line(n: int, s: float) -> np.ndarray:
        at = np.linspace(-(n - 1) / 2, (n - 1) / 2, n)
        weight = np.exp(-0.5 * (at / s) ** 2)
        return weight / weight.sum()

    kx, ky = (line(n, s) for n, s in zip(kernel, sigma, strict=True))

    def smooth(x: Any) -> Any:
        c, px, py = x.shape[1], kernel[0] // 2, kernel[1] // 2
        k = x.new_tensor(np.outer(ky, kx)).expand(c, 1, kernel[1], kernel[0])
        return F.conv2d(F.pad(x, (px, px, py, py), mode="reflect"), k, groups=c)

    return as_batch(smooth, img)


def invert(img: Any) -> Any:
    return bound(img) - img if img.dtype.is_floating_point else int(bound(img)) - img


def posterize(img: Any, bits: int) -> Any:
    if img.dtype.name != "uint8":
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    return img & (-int(2 ** (8 - bits)) & 255)


def solarize(img: Any, threshold: float) -> Any:
    if threshold > bound(img):
        raise TypeError("Threshold should be less than bound of img.")
    return where(img >= threshold, invert(img), img)


def autocontrast(img: Any) -> Any:
    x, top = (img if img.dtype.is_floating_point else img.float()), bound(img)
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    flat = high == low
    scale = top / where(flat, 1.0, high - low)
    out = ((x - where(flat, 0.0, low)) * where(flat, 1.0, scale)).clamp(0, top)
    return out.to(img.dtype)


def equalize(img: Any) -> Any:
    """By PIL's rule, on the host: a table of each channel's cumulated histogram."""
    if img.dtype.name != "uint8":
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
    values = img.detach().cpu().numpy()
    planes = values.reshape(-1, values.shape[-2] * values.shape[-1])
    out = np.empty_like(planes)
    for plane, to in zip(planes, out, strict=True):
        counts = np.bincount(plane, minlength=256)
        used = counts[counts > 0]
        step = int(used[:-1].sum()) // 255
        if step:
            table = (np.cumsum(counts) - counts + step // 2) // step
            to[:] = np.clip(table, 0, 255).astype(np.uint8)[plane]
        else:
            to[:] = plane
    return PUBLIC["from_numpy"](out.reshape(values.shape)).to(img.device)
