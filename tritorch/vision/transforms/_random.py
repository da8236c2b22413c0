"""Transforms by chance: crops, flips, turns, colours, erasing; drawn of the default generator."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from ...nn.module import Module
from ...ops.api import PUBLIC
from ...tensor import Tensor
from . import functional as F
from ._fixed import _Shown, chance, integer, span, uniform
from ._geometry import InterpolationMode, antialias_of, mode_of, pair

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
Degrees = float | Sequence[float]


class RandomCrop(_Shown):
    """A rectangle of `size` anywhere, after an optional padding."""

    shown = ("size", "padding")

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size, self.padding, self.pad_if_needed = (
            pair("RandomCrop", size),
            padding,
            pad_if_needed,
        )
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: Sequence[int]) -> tuple[int, int, int, int]:
        """Top, left, height, width; ValueError where the image is smaller."""
        _, h, w = F.get_dimensions(img)
        th, tw = output_size
        if h < th or w < tw:
            raise ValueError(
                f"Required crop size {(th, tw)} is larger than input image size {(h, w)}"
            )
        if (w, h) == (tw, th):
            return 0, 0, h, w
        return integer(0, h - th + 1), integer(0, w - tw + 1), th, tw

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, h, w = F.get_dimensions(img)
        if self.pad_if_needed and w < self.size[1]:
            img = F.pad(img, [self.size[1] - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < self.size[0]:
            img = F.pad(img, [0, self.size[0] - h], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))


class RandomResizedCrop(Module):
    """A rectangle of random area and shape, resized. Source: Szegedy et al., 2015, section 6."""

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Any = BILINEAR,
        antialias: Any = True,
    ) -> None:
        super().__init__()
        if not isinstance(scale, Sequence) or not isinstance(ratio, Sequence):
            raise TypeError("Scale and ratio should be sequences")
        self.size, self.scale, self.ratio = pair("RandomResizedCrop", size), scale, ratio
        self.interpolation = mode_of("RandomResizedCrop", interpolation)
        self.antialias = antialias_of("RandomResizedCrop", antialias)

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """Top, left, height, width: ten attempts, then the middle in the nearest shape allowed."""
        _, h, w = F.get_dimensions(img)
        for _ in range(10):
            area = h * w * uniform(scale[0], scale[1])
            shape = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            tw, th = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < tw <= w and 0 < th <= h:
                return integer(0, h - th + 1), integer(0, w - tw + 1), th, tw
        if w / h < min(ratio):
            tw, th = w, round(w / min(ratio))
        elif w / h > max(ratio):
            tw, th = round(h * max(ratio)), h
        else:
            tw, th = w, h
        return (h - th) // 2, (w - tw) // 2, th, tw

    def forward(self, img: Any) -> Any:
        place = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *place, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(s, 4) for s in v) for v in (self.scale, self.ratio))
        return (
            f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )


class _Sometimes(_Shown):
    """A change that happens with probability `p`."""

    shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return self.change(img) if chance(self.p) else img

    def change(self, img: Any) -> Any:
        raise NotImplementedError


class RandomHorizontalFlip(_Sometimes):
    """Left and right exchanged, with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(_Sometimes):
    """Top and bottom exchanged, with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.vflip(img)


class RandomGrayscale(_Sometimes):
    """Gray in as many channels as before, with probability `p`."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def change(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, F.get_image_num_channels(img))


class RandomInvert(_Sometimes):
    """The negative, with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.invert(img)


class RandomAutocontrast(_Sometimes):
    """Each channel stretched to the whole range, with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.autocontrast(img)


class RandomEqualize(_Sometimes):
    """Each channel's values spread evenly, with probability `p`."""

    def change(self, img: Any) -> Any:
        return F.equalize(img)


class RandomPosterize(_Sometimes):
    """Only the highest bits, with probability `p`."""

    shown = ("bits", "p")

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def change(self, img: Any) -> Any:
        return F.posterize(img, self.bits)


class RandomSolarize(_Sometimes):
    """The negative above a threshold, with probability `p`."""

    shown = ("threshold", "p")

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def change(self, img: Any) -> Any:
        return F.solarize(img, self.threshold)


class RandomAdjustSharpness(_Sometimes):
    """Sharper or less sharp, with probability `p`."""

    shown = ("sharpness_factor", "p")

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def change(self, img: Any) -> Any:
        return F.adjust_sharpness(img, self.sharpness_factor)


class RandomRotation(_Shown):
    """Turned by an angle of `(-degrees, degrees)`, or of a range."""

    shown = ("degrees", "interpolation", "expand", "fill")

    def __init__(
        self,
        degrees: Degrees,
        interpolation: Any = NEAREST,
        expand: bool = False,
        center: Sequence[int] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.degrees = span("degrees", degrees, 0.0, None)
        self.interpolation = mode_of("RandomRotation", interpolation)
        self.expand, self.center, self.fill = expand, center, fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """An angle."""
        return uniform(degrees[0], degrees[1])

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(_Shown):
    """Turned, moved, scaled and sheared at random, about the middle."""

    shown = ("degrees", "translate", "scale", "shear")

    def __init__(
        self,
        degrees: Degrees,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Degrees | None = None,
        interpolation: Any = NEAREST,
        fill: Any = 0,
        center: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if translate is not None and not all(0.0 <= t <= 1.0 for t in translate):
            raise ValueError(f"translation values should be between 0 and 1, got {translate}")
        if scale is not None and min(scale) <= 0:
            raise ValueError(f"scale values should be positive, got {scale}")
        if isinstance(shear, Sequence) and len(shear) == 4:
            self.shear: Any = tuple(map(float, shear))
        else:
            self.shear = None if shear is None else span("shear", shear, 0.0, None)
        self.degrees = span("degrees", degrees, 0.0, None)
        self.translate, self.scale = translate, scale
        self.interpolation = mode_of("RandomAffine", interpolation)
        self.fill, self.center = fill, center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Angle, translation (x, y), scale and shears for an image (width, height)."""
        angle, moved, scale, bent = uniform(degrees[0], degrees[1]), (0, 0), 1.0, [0.0, 0.0]
        if translate is not None:
            x, y = (float(t * n) for t, n in zip(translate, img_size, strict=True))
            moved = round(uniform(-x, x)), round(uniform(-y, y))
        if scale_ranges is not None:
            scale = uniform(scale_ranges[0], scale_ranges[1])
        for k in range(0, len(shears or ()), 2):
            bent[k // 2] = uniform(shears[k], shears[k + 1])  # type: ignore[index]
        return angle, moved, scale, (bent[0], bent[1])

    def forward(self, img: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        found = self.get_params(self.degrees, self.translate, self.scale, self.shear, (w, h))
        return F.affine(
            img, *found, interpolation=self.interpolation, fill=self.fill, center=self.center
        )


class RandomPerspective(_Shown):
    """The corners moved inwards at random, with probability `p`."""

    shown = ("p",)

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: Any = BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.distortion_scale, self.p, self.fill = distortion_scale, p, fill
        self.interpolation = mode_of("RandomPerspective", interpolation)

    @staticmethod
    def get_params(
        width: int, height: int, distortion_scale: float
    ) -> tuple[list[list[int]], list[list[int]]]:
        """The corners, clockwise from the upper left, and where they go."""
        x, y = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        end = []
        for u, v in start:
            dx, dy = integer(0, x + 1), integer(0, y + 1)
            end.append([u - dx if u else dx, v - dy if v else dy])
        return start, end

    def forward(self, img: Any) -> Any:
        if not chance(self.p):
            return img
        _, h, w = F.get_dimensions(img)
        start, end = self.get_params(w, h, self.distortion_scale)
        return F.perspective(img, start, end, self.interpolation, self.fill)


class ColorJitter(_Shown):
    """Brightness, contrast, saturation and hue changed at random, in random order."""

    shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(
        self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0
    ) -> None:
        super().__init__()
        self.brightness = self._range("brightness", brightness)
        self.contrast = self._range("contrast", contrast)
        self.saturation = self._range("saturation", saturation)
        self.hue = self._range("hue", hue, 0.0, None)
        if self.hue is not None and not -0.5 <= self.hue[0] <= self.hue[1] <= 0.5:
            raise ValueError(f"hue values should be between (-0.5, 0.5), but got {self.hue}.")

    @staticmethod
    def _range(name: str, value: Any, center: float = 1.0, least: float | None = 0.0) -> Any:
        low, high = span(name, value, center, least)
        if least is not None and not least <= low <= high:
            raise ValueError(f"{name} values should be non negative and in order, got {value}")
        return None if low == high == center else (low, high)

    @staticmethod
    def get_params(brightness: Any, contrast: Any, saturation: Any, hue: Any) -> tuple[Any, ...]:
        """The order of the four changes, and the strength of each (None: not at all)."""
        order = PUBLIC["randperm"](4)
        strengths = [
            None if r is None else uniform(*r) for r in (brightness, contrast, saturation, hue)
        ]
        return (order, *strengths)

    def forward(self, img: Any) -> Any:
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        order, *strengths = self.get_params(
            self.brightness, self.contrast, self.saturation, self.hue
        )
        for k in order.tolist():
            if strengths[k] is not None:
                img = changes[k](img, strengths[k])
        return img


class GaussianBlur(_Shown):
    """Blurred by a normal distribution of random width."""

    shown = ("kernel_size", "sigma")

    def __init__(self, kernel_size: int | Sequence[int], sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = pair("GaussianBlur", kernel_size)
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        self.sigma = tuple(sigma) if isinstance(sigma, Sequence) else (float(sigma),) * 2
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError("sigma values should be positive and of the form (min, max).")

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A width."""
        return uniform(sigma_min, sigma_max)

    def forward(self, img: Any) -> Any:
        s = self.get_params(self.sigma[0], self.sigma[1])
        return F.gaussian_blur(img, self.kernel_size, [s, s])


class RandomErasing(Module):
    """A random rectangle of a tensor replaced. Source: Zhong et al., "Random erasing", 2017.

    `value` is a number, one for each channel, or "random" for normal noise.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        if not 0 <= p <= 1 or not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError("Random erasing probability and scale should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: Any = None
    ) -> tuple[int, int, int, int, Any]:
        """Top, left, height, width and what goes there; `value` None is noise."""
        channels, h, w = img.shape[-3:]
        for _ in range(10):
            area = h * w * uniform(scale[0], scale[1])
            shape = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            th, tw = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if th < h and tw < w:
                if value is None:
                    new: Any = img.new_empty((channels, th, tw)).normal_()  # type: ignore[attr-defined]
                else:
                    new = PUBLIC["tensor"](value, dtype=img.dtype, device=img.device)
                    new = new.reshape(-1, 1, 1)
                return integer(0, h - th + 1), integer(0, w - tw + 1), th, tw, new
        return 0, 0, h, w, img

    def forward(self, img: Tensor) -> Tensor:
        if not chance(self.p):
            return img
        value = self.value
        if isinstance(value, tuple | list) and len(value) not in (1, img.shape[-3]):
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{img.shape[-3]} (number of input channels)"
            )
        found = self.get_params(img, self.scale, self.ratio, None if value == "random" else value)
        return F.erase(img, *found, self.inplace)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, "
            f"value={self.value}, inplace={self.inplace})"
        )


class _Several:
    """A choice among transforms."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *(f"    {t}" for t in self.transforms), ")"])


class RandomApply(_Shown):
    """All of the transforms with probability `p`, or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if not chance(self.p):
            return img
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        inner = [f"    {t}" for t in self.transforms]
        return "\n".join([f"{type(self).__name__}(", f"    p={self.p}", *inner, ")"])


class RandomOrder(_Several):
    """All of the transforms, in random order (of Python's `random`)."""

    def __call__(self, img: Any) -> Any:
        for k in random.sample(range(len(self.transforms)), len(self.transforms)):
            img = self.transforms[k](img)
        return img


class RandomChoice(_Several):
    """One of the transforms, with the weights `p` (of Python's `random`)."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        self.p = p

    def __call__(self, img: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](img)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"
