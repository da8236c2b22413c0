"""Transforms without chance, and what combines them."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

from ... import dtypes
from ...dtypes import DType
from ...nn.module import Module
from ...ops.api import PUBLIC
from ...tensor import Tensor
from . import functional as F
from ._geometry import InterpolationMode, antialias_of, mode_of, pair

BILINEAR = InterpolationMode.BILINEAR


class Compose:
    """One transform after the other.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision import transforms
        >>> t = transforms.Compose([transforms.CenterCrop(2), transforms.Normalize([0.5], [0.5])])
        >>> t(torch.ones(1, 4, 4)).tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
    """

    def __init__(self, transforms: Sequence[Callable]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *(f"    {t}" for t in self.transforms), ")"])


class _Bare:
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToTensor(_Bare):
    """A PIL image or an array (H, W, C) as a tensor (C, H, W); bytes become floats in [0, 1]."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)


class PILToTensor(_Bare):
    """A PIL image as a tensor (C, H, W) with its own values."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)


class ToPILImage:
    """A tensor (C, H, W) or an array (H, W, C) as a PIL image."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({f'mode={self.mode}' if self.mode is not None else ''})"


class ConvertImageDtype(Module):
    """The image in another dtype, its values scaled to that dtype's range."""

    def __init__(self, dtype: DType) -> None:
        super().__init__()
        if not isinstance(dtype, DType):
            raise TypeError("Input dtype should be a torch.dtype")
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        return F.convert_image_dtype(image, self.dtype)


class _Shown(Module):
    """A transform whose text names its settings, in the order of `shown`."""

    shown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = []
        for name in self.shown:
            value = getattr(self, name)
            parts.append(f"{name}={value.value if isinstance(value, InterpolationMode) else value}")
        return f"{type(self).__name__}({', '.join(parts)})"


class Normalize(_Shown):
    """`(x - mean) / std`, one of each a channel, of a floating-point tensor `(..., C, H, W)`."""

    shown = ("mean", "std")

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(_Shown):
    """To `(h, w)`; with one number, so that the shorter edge has that length."""

    shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: int | Sequence[int] | None,
        interpolation: Any = BILINEAR,
        max_size: int | None = None,
        antialias: Any = True,
    ) -> None:
        super().__init__()
        if size is not None and not isinstance(size, int | Sequence):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.max_size = size, max_size
        self.interpolation = mode_of("Resize", interpolation)
        self.antialias = antialias_of("Resize", antialias)

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)  # type: ignore[arg-type]


Scale = Resize  # its name long ago


class CenterCrop(_Shown):
    """The middle; an image that is too small is padded with zeros first."""

    shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = pair("CenterCrop", size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


class FiveCrop(_Shown):
    """The four corners and the middle, a tuple of images."""

    shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = pair("FiveCrop", size)

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.five_crop(img, self.size)


class TenCrop(_Shown):
    """`FiveCrop` of the image and of its mirror image."""

    shown = ("size", "vertical_flip")

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = pair("TenCrop", size), vertical_flip

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.ten_crop(img, self.size, self.vertical_flip)


class Pad(_Shown):
    """A border around the image: constant, edge, reflect or symmetric."""

    shown = ("padding", "fill", "padding_mode")

    def __init__(
        self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        super().__init__()
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError(
                "Padding mode should be either constant, edge, reflect or symmetric, got "
                f"{padding_mode!r}"
            )
        if isinstance(padding, Sequence) and len(padding) not in (1, 2, 4):
            raise ValueError(
                f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} "
                "element tuple"
            )
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class Lambda:
    """A function of one's own."""

    def __init__(self, lambd: Callable) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Grayscale(_Shown):
    """Gray, in 1 or 3 equal channels."""

    shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)


class LinearTransformation(Module):
    """`(flat - mean) @ matrix` of the image's values in a row, as whitening does."""

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        n = transformation_matrix.shape[0]
        if tuple(transformation_matrix.shape) != (n, n) or mean_vector.shape[0] != n:
            raise ValueError(
                "transformation_matrix should be square and mean_vector of its length. Got "
                f"{tuple(transformation_matrix.shape)} and {tuple(mean_vector.shape)}"
            )
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def forward(self, tensor: Any) -> Tensor:
        flat = tensor.reshape(-1, self.mean_vector.shape[0]) - self.mean_vector
        return (flat @ self.transformation_matrix).reshape(tensor.shape)


def uniform(low: float, high: float) -> float:
    """A number between `low` and `high`, of the default generator."""
    return float(PUBLIC["empty"](1, dtype=dtypes.float64).uniform_(float(low), float(high)))


def integer(low: int, high: int) -> int:
    """A whole number from `low` to `high - 1`."""
    return int(PUBLIC["randint"](low, high, (1,)))


def chance(p: float) -> bool:
    """True with probability `p`."""
    return float(PUBLIC["rand"](1)) < p


def span(name: str, value: Any, center: float = 1.0, least: float | None = 0.0) -> Any:
    """The range that a strength stands for: one number is for both sides of `center`."""
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = center - value, center + value  # type: ignore[operator]
        return (low if least is None else max(low, least)), high
    if not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    return tuple(map(float, value))
