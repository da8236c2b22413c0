"""Transforms of images: PIL's, and tensors `(..., C, H, W)`."""

from . import functional as functional
from ._fixed import (
    CenterCrop as CenterCrop,
    Compose as Compose,
    ConvertImageDtype as ConvertImageDtype,
    FiveCrop as FiveCrop,
    Grayscale as Grayscale,
    Lambda as Lambda,
    LinearTransformation as LinearTransformation,
    Normalize as Normalize,
    Pad as Pad,
    PILToTensor as PILToTensor,
    Resize as Resize,
    Scale as Scale,
    TenCrop as TenCrop,
    ToPILImage as ToPILImage,
    ToTensor as ToTensor,
)
from ._geometry import (
    InterpolationMode as InterpolationMode,
)
from ._random import (
    ColorJitter as ColorJitter,
    GaussianBlur as GaussianBlur,
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
)
from .autoaugment import (
    AutoAugment as AutoAugment,
    AutoAugmentPolicy as AutoAugmentPolicy,
    RandAugment as RandAugment,
    TrivialAugmentWide as TrivialAugmentWide,
)
