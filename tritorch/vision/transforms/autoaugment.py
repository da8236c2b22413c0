"""Policies of augmentation, published with their tables: AutoAugment, RandAugment, TrivialAugment.

Sources: Cubuk et al., "AutoAugment", 2018, tables 7 and 9, appendix (CIFAR-10, ImageNet, SVHN);
Cubuk et al., "RandAugment", 2019; Müller and Hutter, "TrivialAugment", 2021.
"""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np

from ...nn.module import Module
from . import functional as F
from ._fixed import chance, integer
from ._geometry import InterpolationMode

NEAREST = InterpolationMode.NEAREST
Step = tuple[str, float, int | None]


class AutoAugmentPolicy(enum.Enum):
    """The data that a policy was found on."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


def apply(img: Any, name: str, by: float, mode: InterpolationMode, fill: Any) -> Any:
    """One operation of the policies; shears are about the upper left corner."""
    still: Any = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    if name in ("ShearX", "ShearY"):
        bent = math.degrees(math.atan(by))
        still.update(shear=[bent, 0.0] if name == "ShearX" else [0.0, bent], center=[0, 0])
    elif name in ("TranslateX", "TranslateY"):
        still.update(translate=[int(by), 0] if name == "TranslateX" else [0, int(by)])
    if name[-1] in "XY":
        return F.affine(img, **still, interpolation=mode, fill=fill)
    if name == "Rotate":
        return F.rotate(img, by, mode, fill=fill)
    enhance = {
        "Brightness": F.adjust_brightness,
        "Color": F.adjust_saturation,
        "Contrast": F.adjust_contrast,
        "Sharpness": F.adjust_sharpness,
    }
    if name in enhance:
        return enhance[name](img, 1.0 + by)
    if name in ("Posterize", "Solarize"):
        return F.posterize(img, int(by)) if name == "Posterize" else F.solarize(img, by)
    plain = {"AutoContrast": F.autocontrast, "Equalize": F.equalize, "Invert": F.invert}
    return plain[name](img) if name in plain else img


def strengths(bins: int, shift: tuple[float, float], shear: float, angle: float, color: float,
              bits: int) -> dict[str, tuple[np.ndarray, bool]]:  # fmt: skip
    """The strengths of each operation in `bins` steps, and whether they go both ways."""

    def line(end: float) -> np.ndarray:
        return np.linspace(0.0, end, bins)

    signed = {"ShearX": shear, "ShearY": shear, "TranslateX": shift[0], "TranslateY": shift[1]}
    signed |= {"Rotate": angle, "Brightness": color, "Color": color, "Contrast": color}
    signed |= {"Sharpness": color}
    out = {name: (line(end), True) for name, end in signed.items()}
    steps = np.arange(bins) / ((bins - 1) / bits)
    out["Posterize"] = (8 - np.round(steps).astype(int), False)
    out["Solarize"] = (np.linspace(255.0, 0.0, bins), False)
    for name in ("AutoContrast", "Equalize", "Invert", "Identity"):
        out[name] = (np.zeros(0), False)
    return out


class _Policy(Module):
    def __init__(self, interpolation: Any, fill: Any) -> None:
        super().__init__()
        self.interpolation, self.fill = interpolation, fill

    def step(self, img: Any, name: str, table: Any, at: int | None) -> Any:
        """One operation, its strength at place `at` of its table, in a random direction."""
        values, signed = table[name]
        by = float(values[at]) if len(values) and at is not None else 0.0
        if signed and integer(0, 2):
            by = -by
        if name == "Solarize" and not hasattr(img, "mode") and img.dtype.is_floating_point:
            by /= 255.0
        return apply(img, name, by, self.interpolation, self.fill)


class RandAugment(_Policy):
    """`num_ops` random operations, all of one `magnitude`."""

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: Any = NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        shift = (150.0 / 331.0 * w, 150.0 / 331.0 * h)
        table = strengths(self.num_magnitude_bins, shift, 0.3, 30.0, 0.9, 4)
        names = [n for n in table if n != "Invert"]
        for _ in range(self.num_ops):
            img = self.step(img, names[integer(0, len(names))], table, self.magnitude)
        return img


class TrivialAugmentWide(_Policy):
    """One random operation of a random strength."""

    def __init__(
        self, num_magnitude_bins: int = 31, interpolation: Any = NEAREST, fill: Any = None
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img: Any) -> Any:
        table = strengths(self.num_magnitude_bins, (32.0, 32.0), 0.99, 135.0, 0.99, 6)
        names = [n for n in table if n != "Invert"]
        name = names[integer(0, len(names))]
        return self.step(img, name, table, integer(0, self.num_magnitude_bins))


class AutoAugment(_Policy):
    """One of a published list of pairs of operations, each with its own probability."""

    def __init__(
        self,
        policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: Any = NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.policy, self.policies = policy, [parse(line) for line in TABLES[policy.value]]

    def forward(self, img: Any) -> Any:
        _, h, w = F.get_dimensions(img)
        table = strengths(10, (150.0 / 331.0 * w, 150.0 / 331.0 * h), 0.3, 30.0, 0.9, 4)
        for name, p, at in self.policies[integer(0, len(self.policies))]:
            if chance(p):
                img = self.step(img, name, table, at)
        return img


def parse(line: str) -> list[Step]:
    """`Name p strength Name p strength`, a dash where the operation has no strength."""
    words = line.split()
    return [
        (words[k], float(words[k + 1]), None if words[k + 2] == "-" else int(words[k + 2]))
        for k in (0, 3)
    ]


TABLES: dict[str, list[str]] = {
    "imagenet": [
        "Posterize 0.4 8 Rotate 0.6 9",
        "Solarize 0.6 5 AutoContrast 0.6 -",
        "Equalize 0.8 - Equalize 0.6 -",
        "Posterize 0.6 7 Posterize 0.6 6",
        "Equalize 0.4 - Solarize 0.2 4",
        "Equalize 0.4 - Rotate 0.8 8",
        "Solarize 0.6 3 Equalize 0.6 -",
        "Posterize 0.8 5 Equalize 1.0 -",
        "Rotate 0.2 3 Solarize 0.6 8",
        "Equalize 0.6 - Posterize 0.4 6",
        "Rotate 0.8 8 Color 0.4 0",
        "Rotate 0.4 9 Equalize 0.6 -",
        "Equalize 0.0 - Equalize 0.8 -",
        "Invert 0.6 - Equalize 1.0 -",
        "Color 0.6 4 Contrast 1.0 8",
        "Rotate 0.8 8 Color 1.0 2",
        "Color 0.8 8 Solarize 0.8 7",
        "Sharpness 0.4 7 Invert 0.6 -",
        "ShearX 0.6 5 Equalize 1.0 -",
        "Color 0.4 0 Equalize 0.6 -",
        "Equalize 0.4 - Solarize 0.2 4",
        "Solarize 0.6 5 AutoContrast 0.6 -",
        "Invert 0.6 - Equalize 1.0 -",
        "Color 0.6 4 Contrast 1.0 8",
        "Equalize 0.8 - Equalize 0.6 -",
    ],
    "cifar10": [
        "Invert 0.1 - Contrast 0.2 6",
        "Rotate 0.7 2 TranslateX 0.3 9",
        "Sharpness 0.8 1 Sharpness 0.9 3",
        "ShearY 0.5 8 TranslateY 0.7 9",
        "AutoContrast 0.5 - Equalize 0.9 -",
        "ShearY 0.2 7 Posterize 0.3 7",
        "Color 0.4 3 Brightness 0.6 7",
        "Sharpness 0.3 9 Brightness 0.7 9",
        "Equalize 0.6 - Equalize 0.5 -",
        "Contrast 0.6 7 Sharpness 0.6 5",
        "Color 0.7 7 TranslateX 0.5 8",
        "Equalize 0.3 - AutoContrast 0.4 -",
        "TranslateY 0.4 3 Sharpness 0.2 6",
        "Brightness 0.9 6 Color 0.2 8",
        "Solarize 0.5 2 Invert 0.0 -",
        "Equalize 0.2 - AutoContrast 0.6 -",
        "Equalize 0.2 - Equalize 0.6 -",
        "Color 0.9 9 Equalize 0.6 -",
        "AutoContrast 0.8 - Solarize 0.2 8",
        "Brightness 0.1 3 Color 0.7 0",
        "Solarize 0.4 5 AutoContrast 0.9 -",
        "TranslateY 0.9 9 TranslateY 0.7 9",
        "AutoContrast 0.9 - Solarize 0.8 3",
        "Equalize 0.8 - Invert 0.1 -",
        "TranslateY 0.7 9 AutoContrast 0.9 -",
    ],
    "svhn": [
        "ShearX 0.9 4 Invert 0.2 -",
        "ShearY 0.9 8 Invert 0.7 -",
        "Equalize 0.6 - Solarize 0.6 6",
        "Invert 0.9 - Equalize 0.6 -",
        "Equalize 0.6 - Rotate 0.9 3",
        "ShearX 0.9 4 AutoContrast 0.8 -",
        "ShearY 0.9 8 Invert 0.4 -",
        "ShearY 0.9 5 Solarize 0.2 6",
        "Invert 0.9 - AutoContrast 0.8 -",
        "Equalize 0.6 - Rotate 0.9 3",
        "ShearX 0.9 4 Solarize 0.3 3",
        "ShearY 0.8 8 Invert 0.7 -",
        "Equalize 0.9 - TranslateY 0.6 6",
        "Invert 0.9 - Equalize 0.6 -",
        "Contrast 0.3 3 Rotate 0.8 4",
        "Invert 0.8 - TranslateY 0.0 2",
        "ShearY 0.7 6 Solarize 0.4 8",
        "Invert 0.6 - Rotate 0.8 4",
        "ShearY 0.3 7 TranslateX 0.9 3",
        "ShearX 0.1 6 Invert 0.6 -",
        "Solarize 0.7 2 TranslateY 0.6 7",
        "ShearY 0.8 4 Invert 0.8 -",
        "ShearX 0.7 9 TranslateY 0.8 3",
        "ShearY 0.8 5 AutoContrast 0.7 -",
        "ShearX 0.7 2 Invert 0.1 -",
    ],
}
