"""The second form of the transforms: the first's, which take more than an image at a time.

Of several arguments, and of tuples, lists and dicts, all that shows the picture changes together:

- PIL images and `tv_tensors.Image` and `Video`;
- `tv_tensors.Mask`, by the nearest pixel, and not by what changes colours;
- `tv_tensors.BoundingBoxes`, by what moves pixels;
- where there is no image among these, the first plain tensor of two dimensions or more.

Other plain tensors, numbers and strings stay as they are.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision import tv_tensors
    >>> from tritorch.vision.transforms import v2
    >>> image = tv_tensors.Image([[1, 2, 3]])
    >>> boxes = tv_tensors.BoundingBoxes([0, 0, 1, 1], format="XYXY", canvas_size=(1, 3))
    >>> image, target = v2.RandomHorizontalFlip(p=1.0)(image, {"boxes": boxes, "label": 7})
    >>> image.tolist(), target["boxes"].tolist(), target["label"]
    ([[[3, 2, 1]]], [[2, 0, 3, 1]], 7)
"""

from .. import autoaugment as _autoaugment
from .._geometry import InterpolationMode as InterpolationMode
from . import functional as functional
from ._targets import (
    ClampBoundingBoxes as ClampBoundingBoxes,
    ConvertBoundingBoxFormat as ConvertBoundingBoxFormat,
    SanitizeBoundingBoxes as SanitizeBoundingBoxes,
)
from ._transforms import (
    AutoAugment as AutoAugment,
    CenterCrop as CenterCrop,
    ColorJitter as ColorJitter,
    Compose as Compose,
    ConvertImageDtype as ConvertImageDtype,
    CutMix as CutMix,
    FiveCrop as FiveCrop,
    GaussianBlur as GaussianBlur,
    GaussianNoise as GaussianNoise,
    Grayscale as Grayscale,
    Identity as Identity,
    Lambda as Lambda,
    LinearTransformation as LinearTransformation,
    MixUp as MixUp,
    Normalize as Normalize,
    Pad as Pad,
    PILToTensor as PILToTensor,
    RandAugment as RandAugment,
    RandomAdjustSharpness as RandomAdjustSharpness,
    RandomAffine as RandomAffine,
    RandomApply as RandomApply,
    RandomAutocontrast as RandomAutocontrast,
    RandomChoice as RandomChoice,
    RandomCrop as RandomCrop,
    RandomEqualize as RandomEqualize,
    RandomErasing as RandomErasing,
    RandomGrayscale as RandomGrayscale,
    RandomHorizontalFlip as RandomHorizontalFlip,
    RandomInvert as RandomInvert,
    RandomOrder as RandomOrder,
    RandomPerspective as RandomPerspective,
    RandomPosterize as RandomPosterize,
    RandomResizedCrop as RandomResizedCrop,
    RandomRotation as RandomRotation,
    RandomSolarize as RandomSolarize,
    RandomVerticalFlip as RandomVerticalFlip,
    Resize as Resize,
    TenCrop as TenCrop,
    ToDtype as ToDtype,
    ToImage as ToImage,
    ToPILImage as ToPILImage,
    ToPureTensor as ToPureTensor,
    ToTensor as ToTensor,
    TrivialAugmentWide as TrivialAugmentWide,
)

AutoAugmentPolicy = _autoaugment.AutoAugmentPolicy
