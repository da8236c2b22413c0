"""The classes of the second form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .... import dtypes
from ....dtypes import DType
from ....nn import functional as NF
from ....nn.module import Module
from ....ops.api import PUBLIC
from ....ops.random_gamma import _standard_gamma
from ....tensor import Tensor
from ..._pillow import is_pil
from ...tv_tensors import BoundingBoxes, Mask, TVTensor, pure, wrapped
from .. import _fixed as first, _random, autoaugment
from .._fixed import integer
from . import functional as F
from ._kinds import changed, leaves, one, takes_all, takes_images


class _Many:
    """Gives a transform of one image its form for several arguments.

    All images, masks and boxes of a call get the same draw: the generators are put back before
    each.
    """

    def takes(self, x: Any) -> bool:
        return takes_all(x)

    def forward(self, *inputs: Any) -> Any:
        plain = super().forward  # type: ignore[misc]
        state, python = PUBLIC["get_rng_state"](), _random.random.getstate()
        calls = 0

        def once(x: Any) -> Any:
            nonlocal calls
            if calls:
                PUBLIC["set_rng_state"](state)
                _random.random.setstate(python)
            calls += 1
            return wrapped(plain(x), x)

        return changed(once, inputs, self.takes)


class _Coloured(_Many):
    """The same for images alone: masks and boxes stay as they are."""

    def takes(self, x: Any) -> bool:
        return takes_images(x)


class _ImagesOnly(_Coloured):
    """The same where masks and boxes would no longer fit, TypeError for them."""

    def forward(self, *inputs: Any) -> Any:
        for x in leaves(inputs):
            if isinstance(x, Mask | BoundingBoxes):
                raise TypeError(
                    f"{type(self).__name__}: inputs of type {type(x).__name__} are not supported; "
                    "pass the image alone"
                )
        return super().forward(*inputs)


class Resize(_Many, first.Resize):
    """To `(h, w)`; with one number, so that the shorter edge has that length."""


class CenterCrop(_Many, first.CenterCrop):
    """The middle; an image that is too small is padded with zeros first."""


class FiveCrop(_ImagesOnly, first.FiveCrop):
    """The four corners and the middle, a tuple of images."""


class TenCrop(_ImagesOnly, first.TenCrop):
    """`FiveCrop` of the image and of its mirror image."""


class Pad(_Many, first.Pad):
    """A border around the image: constant, edge, reflect or symmetric."""


class Grayscale(_Coloured, first.Grayscale):
    """Gray, in 1 or 3 equal channels."""


class LinearTransformation(_Coloured, first.LinearTransformation):
    """`(flat - mean) @ matrix` of the image's values in a row, as whitening does."""


class RandomCrop(_Many, _random.RandomCrop):
    """A rectangle of `size` anywhere, after an optional padding."""


class RandomResizedCrop(_Many, _random.RandomResizedCrop):
    """A rectangle of random area and shape, resized."""


class RandomHorizontalFlip(_Many, _random.RandomHorizontalFlip):
    """Left and right exchanged, with probability `p`."""


class RandomVerticalFlip(_Many, _random.RandomVerticalFlip):
    """Top and bottom exchanged, with probability `p`."""


class RandomGrayscale(_Coloured, _random.RandomGrayscale):
    """Gray in as many channels as before, with probability `p`."""


class RandomInvert(_Coloured, _random.RandomInvert):
    """The negative, with probability `p`."""


class RandomAutocontrast(_Coloured, _random.RandomAutocontrast):
    """Each channel stretched to the whole range, with probability `p`."""


class RandomEqualize(_Coloured, _random.RandomEqualize):
    """Each channel's values spread evenly, with probability `p`."""


class RandomPosterize(_Coloured, _random.RandomPosterize):
    """Only the highest bits, with probability `p`."""


class RandomSolarize(_Coloured, _random.RandomSolarize):
    """The negative above a threshold, with probability `p`."""


class RandomAdjustSharpness(_Coloured, _random.RandomAdjustSharpness):
    """Sharper or less sharp, with probability `p`."""


class RandomRotation(_Many, _random.RandomRotation):
    """Turned by an angle of `(-degrees, degrees)`, or of a range."""


class RandomAffine(_Many, _random.RandomAffine):
    """Turned, moved, scaled and sheared at random, about the middle."""


class RandomPerspective(_Many, _random.RandomPerspective):
    """The corners moved inwards at random, with probability `p`."""


class ColorJitter(_Coloured, _random.ColorJitter):
    """Brightness, contrast, saturation and hue changed at random, in random order."""


class GaussianBlur(_Coloured, _random.GaussianBlur):
    """Blurred by a normal distribution of random width."""


class RandomErasing(_Coloured, _random.RandomErasing):
    """A random rectangle of a tensor replaced."""


class AutoAugment(_ImagesOnly, autoaugment.AutoAugment):
    """One of a published list of pairs of operations, each with its own probability."""


class RandAugment(_ImagesOnly, autoaugment.RandAugment):
    """`num_ops` random operations, all of one `magnitude`."""


class TrivialAugmentWide(_ImagesOnly, autoaugment.TrivialAugmentWide):
    """One random operation of a random strength."""


class Compose(Module):
    """One transform after the other, of all that is given."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        super().__init__()
        if not isinstance(transforms, Sequence) or not transforms:
            raise ValueError("Compose: pass at least one transform, in a sequence")
        self.transforms = transforms

    def forward(self, *inputs: Any) -> Any:
        for t in self.transforms:
            out = t(*inputs)
            inputs = out if len(inputs) > 1 else (out,)
        return one(inputs)

    def extra_repr(self) -> str:
        return "\n".join(str(t) for t in self.transforms)


class RandomApply(Compose):
    """All of the transforms with probability `p`, or none."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__(transforms)
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        self.p = p

    def forward(self, *inputs: Any) -> Any:
        if first.chance(self.p):
            return super().forward(*inputs)
        return one(inputs)


class RandomChoice(Compose):
    """One of the transforms, with the weights `p`."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and len(p) != len(transforms):
            raise ValueError(f"Length of p doesn't match: {len(p)} != {len(transforms)}")
        self.p = list(p) if p is not None else [1.0] * len(transforms)

    def forward(self, *inputs: Any) -> Any:
        return self.transforms[int(PUBLIC["tensor"](self.p).multinomial(1))](*inputs)


class RandomOrder(Compose):
    """All of the transforms, in random order."""

    def forward(self, *inputs: Any) -> Any:
        order = PUBLIC["randperm"](len(self.transforms)).tolist()
        return Compose([self.transforms[k] for k in order])(*inputs)


class Identity(Module):
    """Everything as it is."""

    def forward(self, *inputs: Any) -> Any:
        return one(inputs)


class Lambda(Module):
    """A function of one's own, of each value in what is given; `types` says of which."""

    def __init__(self, lambd: Callable, *types: type) -> None:
        super().__init__()
        self.lambd, self.types = lambd, types or (object,)

    def forward(self, *inputs: Any) -> Any:
        out = tuple(self.lambd(x) if isinstance(x, self.types) else x for x in inputs)
        return one(out)


class _Convert(Module):
    """A change of form of every image."""

    def forward(self, *inputs: Any) -> Any:
        return changed(self.convert, inputs, self.takes)

    def takes(self, x: Any) -> bool:
        return takes_images(x)

    def convert(self, x: Any) -> Any:
        raise NotImplementedError


class ToImage(_Convert):
    """A PIL image, an array (H, W, C) or a tensor as an `Image` (C, H, W) of its own values.

    Example:
        >>> import numpy as np
        >>> from tritorch.vision.transforms import v2
        >>> type(v2.ToImage()(np.zeros((4, 5, 3), np.uint8))).__name__
        'Image'
    """

    def takes(self, x: Any) -> bool:
        return takes_images(x) or isinstance(x, np.ndarray)

    def convert(self, x: Any) -> Tensor:
        return x if isinstance(x, TVTensor) else F.to_image(x)


class PILToTensor(_Convert):
    """A PIL image as a tensor (C, H, W) of its own values."""

    def convert(self, x: Any) -> Any:
        return F.pil_to_tensor(x) if is_pil(x) else x


class ToTensor(_Convert):
    """A PIL image or an array (H, W, C) as a tensor (C, H, W); bytes become floats in [0, 1]."""

    def takes(self, x: Any) -> bool:
        return takes_images(x) or isinstance(x, np.ndarray)

    def convert(self, x: Any) -> Any:
        return x if isinstance(x, Tensor) else F.to_tensor(x)


class ToPILImage(_Convert):
    """A tensor (C, H, W) or an array (H, W, C) as a PIL image."""

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def takes(self, x: Any) -> bool:
        return takes_images(x) or isinstance(x, np.ndarray)

    def convert(self, x: Any) -> Any:
        return x if is_pil(x) else F.to_pil_image(x, self.mode)


class ToPureTensor(_Convert):
    """Images, videos, masks and boxes as plain tensors."""

    def takes(self, x: Any) -> bool:
        return isinstance(x, TVTensor)

    def convert(self, x: Any) -> Any:
        return pure(x)


class ToDtype(_Convert):
    """Images in another dtype; with `scale` scaled to that dtype's range.

    `dtype` is a dtype, or one (or None) for each class: a dict of `torch.Tensor`, `Image`, `Mask`,
    `BoundingBoxes` and `Video`, with "others" for the rest. Masks and boxes change by a dict only,
    and are never scaled.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.vision import tv_tensors
        >>> from tritorch.vision.transforms import v2
        >>> change = v2.ToDtype({tv_tensors.Mask: torch.int64, "others": None})
        >>> change(tv_tensors.Mask([[True, False]])).dtype
        tritorch.int64
    """

    def __init__(self, dtype: DType | Mapping[Any, DType | None], scale: bool = False) -> None:
        super().__init__()
        if not isinstance(dtype, DType | Mapping):
            raise ValueError(f"ToDtype: dtype must be a dtype or a dict, got {type(dtype)}")
        self.dtype, self.scale = dtype, scale

    def takes(self, x: Any) -> bool:
        return takes_all(x) if isinstance(self.dtype, Mapping) else takes_images(x)

    def convert(self, x: Any) -> Any:
        dtype: Any = self.dtype
        if isinstance(dtype, Mapping):
            if type(x) not in dtype and "others" not in dtype:
                raise ValueError(
                    f"ToDtype: no dtype for {type(x).__name__}: name it in the dict, or 'others'"
                )
            dtype = dtype.get(type(x), dtype.get("others"))
        if dtype is None or not isinstance(x, Tensor):
            return x
        return F.to_dtype(x, dtype, self.scale)

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, scale={self.scale}"


class ConvertImageDtype(ToDtype):
    """The image in another dtype, its values scaled to that dtype's range."""

    def __init__(self, dtype: DType = dtypes.float32) -> None:
        super().__init__(dtype, scale=True)


class Normalize(_Convert):
    """`(x - mean) / std`, one of each a channel, of floating-point tensors `(..., C, H, W)`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def convert(self, x: Any) -> Any:
        return F.normalize(x, self.mean, self.std, self.inplace)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}, inplace={self.inplace}"


class GaussianNoise(_Convert):
    """Normal noise on floating-point images, then `clip` to [0, 1]."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def convert(self, x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.dtype.is_floating_point):
            raise ValueError("GaussianNoise: expected a tensor of a floating-point dtype")
        out: Any = x + self.mean + PUBLIC["randn_like"](x) * self.sigma
        return wrapped(out.clamp(0, 1) if self.clip else out, x)


class _Mixed(Module):
    """Mixes a batch (N, C, H, W) with itself, moved on by one, and its labels (N,) likewise."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        super().__init__()
        self.alpha, self.num_classes = float(alpha), num_classes

    def forward(self, images: Any, labels: Any) -> tuple[Any, Any]:
        name = type(self).__name__
        if images.ndim != 4 or labels.shape[0] != images.shape[0]:
            raise ValueError(
                f"{name}: expected images (N, C, H, W) and labels (N,), got "
                f"{tuple(images.shape)} and {tuple(labels.shape)}"
            )
        if labels.ndim == 1:
            if self.num_classes is None:
                raise ValueError(f"{name}: num_classes is needed for labels that are numbers")
            labels = NF.one_hot(labels, self.num_classes).float()
        a = _standard_gamma(PUBLIC["tensor"](self.alpha))
        b = _standard_gamma(PUBLIC["tensor"](self.alpha))
        images, share = self.mix(images, images.roll(1, 0), float(a / (a + b)))
        return images, labels.roll(1, 0) * (1.0 - share) + labels * share

    def mix(self, x: Any, y: Any, share: float) -> tuple[Any, float]:
        raise NotImplementedError


class MixUp(_Mixed):
    """Weighted means of images and labels. Source: Zhang et al., "mixup", 2017."""

    def mix(self, x: Any, y: Any, share: float) -> tuple[Any, float]:
        return y * (1.0 - share) + x * share, share


class CutMix(_Mixed):
    """A rectangle of another image. Source: Yun et al., "CutMix", 2019."""

    def mix(self, x: Any, y: Any, share: float) -> tuple[Any, float]:
        h, w = x.shape[-2:]
        row, column, half = integer(0, h), integer(0, w), 0.5 * math.sqrt(1.0 - share)
        top, bottom = max(row - int(half * h), 0), min(row + int(half * h), h)
        left, right = max(column - int(half * w), 0), min(column + int(half * w), w)
        out = x.clone()
        out[..., top:bottom, left:right] = y[..., top:bottom, left:right]
        return out, 1.0 - (bottom - top) * (right - left) / (h * w)
