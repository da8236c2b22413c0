"""What a transform of the second form changes of what it is given, and how each kind is changed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ....tensor import Tensor
from ..._pillow import is_pil
from ...tv_tensors import BoundingBoxes, Image, Mask, TVTensor, Video, pure, wrapped
from .. import _boxes, _tensor
from ..functional import KINDS

# -- how each kind is changed ----------------------------------------------------------------------


class _Keeping:
    """The functions of tensors, whose results have the class of what they are given."""

    def __init__(self, of: Callable[[str], Callable]) -> None:
        self.of = of

    def __getattr__(self, name: str) -> Callable:
        f = self.of(name)

        @functools.wraps(f)
        def kept(x: Any, *args: Any) -> Any:
            return wrapped(f(pure(x), *args), x)

        return kept


def of_images(name: str) -> Callable:
    return getattr(_tensor, name)


GEOMETRIC = ("affine", "crop", "hflip", "pad", "perspective", "resize", "sizes", "vflip")
MODES = {"affine": 1, "perspective": 1, "resize": 1}  # the place of the interpolation's name


def of_masks(name: str) -> Callable:
    """The geometric functions, by the nearest pixel; of no mask at all too."""
    if name not in GEOMETRIC:
        raise TypeError(f"{name}: masks have no colours; pass the image alone")
    f = getattr(_tensor, name)

    @functools.wraps(f)
    def nearest(x: Any, *args: Any) -> Any:
        if name in MODES:
            at = MODES[name]
            args = (*args[:at], "nearest", *args[at + 1 :])
        if name == "sizes" or x.numel():
            return f(x, *args)
        return f(x.new_zeros((1, *x.shape[-2:])), *args)[:0]

    return nearest


class _OfBoxes:
    """The functions of boxes; TypeError for one that boxes do not have."""

    def __getattr__(self, name: str) -> Callable:
        if name not in GEOMETRIC:
            raise TypeError(f"{name}: boxes have no colours; pass the image alone")
        return getattr(_boxes, name)


KINDS[BoundingBoxes] = _OfBoxes()
KINDS[Mask] = _Keeping(of_masks)
KINDS[TVTensor] = _Keeping(of_images)

# -- what is changed -------------------------------------------------------------------------------


def is_pure_tensor(x: Any) -> bool:
    """Whether it is a tensor of no class of `tv_tensors`."""
    return isinstance(x, Tensor) and not isinstance(x, TVTensor)


def is_picture(x: Any) -> bool:
    """A PIL image, an Image or a Video."""
    return is_pil(x) or isinstance(x, Image | Video)


def takes_all(x: Any) -> bool:
    """Images, masks and boxes; a tensor of fewer than two dimensions is none."""
    return is_pil(x) or isinstance(x, TVTensor) or (isinstance(x, Tensor) and x.ndim >= 2)


def takes_images(x: Any) -> bool:
    """Images alone."""
    return is_picture(x) or (is_pure_tensor(x) and x.ndim >= 2)


def leaves(x: Any) -> list[Any]:
    """What is in tuples, lists and dicts, in a row."""
    if isinstance(x, Mapping):
        return [leaf for v in x.values() for leaf in leaves(v)]
    if isinstance(x, tuple | list):
        return [leaf for v in x for leaf in leaves(v)]
    return [x]


def rebuilt(x: Any, values: Iterator) -> Any:
    """The same tuples, lists and dicts of other values."""
    if isinstance(x, Mapping):
        return type(x)({k: rebuilt(v, values) for k, v in x.items()})  # type: ignore[call-arg]
    if isinstance(x, tuple | list):
        parts = [rebuilt(v, values) for v in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return next(values)


def one(values: Any) -> Any:
    """What a call returns: a value where it got one, else the tuple."""
    return values if len(values) > 1 else values[0]


def changed(f: Callable, inputs: tuple, takes: Callable[[Any], bool] = takes_all) -> Any:
    """`f` of all in `inputs` that it takes.

    Plain tensors stay where there is a PIL image, an Image or a Video beside them; else the first
    of them is the image.
    """
    values = leaves(inputs)
    alone = not any(is_picture(x) for x in values)
    images = (i for i, x in enumerate(values) if is_pure_tensor(x) and x.ndim >= 2)
    first = next(images, None) if alone else None
    out = [
        f(x) if takes(x) and (i == first or not is_pure_tensor(x)) else x
        for i, x in enumerate(values)
    ]
    return one(rebuilt(inputs, iter(out)))
