"""The second form of the transforms: the first's, which take more than an image at a time.

Of several arguments, and of tuples, lists and dicts, the images change together; labels, numbers
and strings stay as they are. A tensor of fewer than two dimensions is no image.
"""

from .. import autoaugment as _autoaugment
from .._geometry import InterpolationMode as InterpolationMode
from . import functional as functional
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
