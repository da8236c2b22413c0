"""Tensors that say what they show: images, videos, masks and boxes, for the transforms of `v2`.

An operator on one gives a plain Tensor, as what it shows may be lost; `to`, `clone`, `detach` and
`requires_grad_` keep the class, and `wrap` gives it back.

Example:
    >>> import tritorch as torch
    >>> from tritorch.vision import tv_tensors
    >>> image = tv_tensors.Image(torch.zeros(3, 2, 2))
    >>> type(image.to(torch.uint8)).__name__, type(image + 1).__name__
    ('Image', 'Tensor')
    >>> type(tv_tensors.wrap(image + 1, like=image)).__name__
    'Image'
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..dtypes import DType
from ..op.overrides import enabled_without
from ..ops.api import PUBLIC
from ..tensor import Tensor
from ._pillow import is_pil
from .transforms._convert import pil_to_tensor

__all__ = [
    "BoundingBoxFormat",
    "BoundingBoxes",
    "Image",
    "Mask",
    "TVTensor",
    "Video",
    "set_return_type",
    "wrap",
]

KEPT = frozenset(("clone", "detach", "requires_grad_", "to"))  # methods that keep the class


class _Local(threading.local):
    """`keep`: whether operators give the class too, in this thread."""

    keep = False


_local = _Local()


def wrapped(result: Any, like: Any) -> Any:
    """The tensors of a result with the class of `like`, where that is one of this module."""
    if not isinstance(like, TVTensor) or type(result) is type(like):
        return result
    if isinstance(result, Tensor):
        return wrap(result, like=like)
    if isinstance(result, tuple | list):
        parts = [wrapped(r, like) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return result


def pure(x: Any) -> Any:
    """A tensor without a class of this module, on the same memory; anything else as it is."""
    return x.as_subclass(Tensor) if isinstance(x, TVTensor) else x


class TVTensor(Tensor):
    """What the classes here have in common.

    `data` is a tensor, or anything that `torch.as_tensor` takes; a tensor shares its memory.
    """

    def __new__(
        cls,
        data: Any,
        *,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool | None = None,
    ) -> Any:
        values = pil_to_tensor(data) if is_pil(data) else data
        x = PUBLIC["as_tensor"](pure(values), dtype=dtype, device=device)
        out = cls._checked(x).as_subclass(cls)
        return out if requires_grad is None else out.requires_grad_(requires_grad)

    @classmethod
    def _checked(cls, x: Any) -> Any:
        """The tensor in the class's form; ValueError for a shape that cannot be."""
        return x

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if not all(issubclass(cls, t) for t in types):
            return NotImplemented
        with enabled_without():
            result = func(*args, **(kwargs or {}))
        if func.__name__ == "as_subclass":  # it says the class itself
            return result
        like = next((x for x in args if isinstance(x, cls)), None)
        if like is not None and (_local.keep or func.__name__ in KEPT):
            return wrapped(result, like)
        return pure(result)

    def __deepcopy__(self, memo: dict) -> Any:
        copied = wrap(self.detach().clone(), like=self).requires_grad_(self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self, **shown: Any) -> str:
        name = type(self).__name__
        lines = repr(pure(self)).removeprefix("tensor")[:-1].split("\n")
        text = ("\n" + " " * (len(name) - len("tensor"))).join(lines)
        return f"{name}{', '.join([text, *(f'{k}={v}' for k, v in shown.items())])})"


class Image(TVTensor):
    """An image `(..., C, H, W)`, or a PIL image; `(H, W)` gets a channel.

    Example:
        >>> from tritorch.vision import tv_tensors
        >>> tuple(tv_tensors.Image([[1, 2], [3, 4]]).shape)
        (1, 2, 2)
    """

    @classmethod
    def _checked(cls, x: Any) -> Any:
        if x.ndim < 2:
            raise ValueError(f"Image: expected (..., C, H, W) or (H, W), got {tuple(x.shape)}")
        return x.unsqueeze(0) if x.ndim == 2 else x


class Video(TVTensor):
    """Images in a row, `(..., T, C, H, W)`."""

    @classmethod
    def _checked(cls, x: Any) -> Any:
        if x.ndim < 4:
            raise ValueError(f"Video: expected (..., T, C, H, W), got {tuple(x.shape)}")
        return x


class Mask(TVTensor):
    """Classes of pixels `(H, W)`, or a mask an object, `(N, H, W)`; a PIL image too."""


class BoundingBoxFormat(enum.Enum):
    """What the four numbers of a box are."""

    XYXY = "XYXY"  # left, top, right, bottom
    XYWH = "XYWH"  # left, top, width, height
    CXCYWH = "CXCYWH"  # the middle, width, height

    @classmethod
    def of(cls, value: BoundingBoxFormat | str) -> BoundingBoxFormat:
        """Also by its name; ValueError for another."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        raise ValueError(f"format: expected one of {[*cls.__members__]}, got {value!r}")


class BoundingBoxes(TVTensor):
    """Boxes (N, 4) of an image of `canvas_size` (height, width); one box (4,) becomes (1, 4).

    Example:
        >>> from tritorch.vision import tv_tensors
        >>> from tritorch.vision.transforms import v2
        >>> boxes = tv_tensors.BoundingBoxes([1, 0, 3, 2], format="XYXY", canvas_size=(4, 10))
        >>> v2.RandomHorizontalFlip(p=1.0)(boxes)
        BoundingBoxes([[7, 0, 9, 2]], format=BoundingBoxFormat.XYXY, canvas_size=(4, 10))
    """

    format: BoundingBoxFormat
    canvas_size: tuple[int, int]

    def __new__(
        cls,
        data: Any,
        *,
        format: BoundingBoxFormat | str,
        canvas_size: Sequence[int],
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool | None = None,
    ) -> Any:
        out = super().__new__(cls, data, dtype=dtype, device=device, requires_grad=requires_grad)
        return out._described(format, canvas_size)

    @classmethod
    def _checked(cls, x: Any) -> Any:
        x = x.unsqueeze(0) if x.ndim == 1 else x
        if x.ndim != 2 or (x.shape[-1] != 4 and x.numel()):
            raise ValueError(f"BoundingBoxes: expected (N, 4) or (4,), got {tuple(x.shape)}")
        return x if x.numel() else x.reshape(0, 4)

    def _described(self, format: BoundingBoxFormat | str, canvas_size: Sequence[int]) -> Any:
        if len(canvas_size) != 2:
            raise ValueError(f"canvas_size: expected (height, width), got {canvas_size!r}")
        self.format = BoundingBoxFormat.of(format)
        self.canvas_size = int(canvas_size[0]), int(canvas_size[1])
        return self

    def __repr__(self, **shown: Any) -> str:
        return super().__repr__(format=self.format, canvas_size=self.canvas_size, **shown)


def wrap(wrappee: Tensor, *, like: Any, **kwargs: Any) -> Any:
    """The tensor with the class of `like`, on the same memory.

    Boxes take their format and canvas from `like` too, unless `format` or `canvas_size` is given.

    Example:
        >>> from tritorch.vision import tv_tensors
        >>> a = tv_tensors.BoundingBoxes([1, 0, 2, 2], format="XYWH", canvas_size=(4, 4))
        >>> tv_tensors.wrap(a * 2, like=a, canvas_size=(8, 8)).canvas_size
        (8, 8)
    """
    out: Any = wrappee
    if type(wrappee) is not type(like):
        out = wrappee.as_subclass(type(like))  # type: ignore[attr-defined]
    if isinstance(like, BoundingBoxes) and (out is not like or kwargs):
        out = out.as_subclass(type(like)) if out is like else out
        size = kwargs.get("canvas_size", like.canvas_size)
        return out._described(kwargs.get("format", like.format), size)
    return out


class set_return_type:
    """What operators on these tensors give: a plain `"Tensor"`, or `"TVTensor"`, their own class.

    It holds from the call on; as a context, inside of it.

    Example:
        >>> from tritorch.vision import tv_tensors
        >>> image = tv_tensors.Image([[1, 2], [3, 4]])
        >>> with tv_tensors.set_return_type("TVTensor"):
        ...     print(type(image + 1).__name__)
        Image
    """

    def __init__(self, return_type: str) -> None:
        keep = {"tensor": False, "tvtensor": True}.get(return_type.lower())
        if keep is None:
            raise ValueError(
                f"set_return_type: expected 'Tensor' or 'TVTensor', got {return_type!r}"
            )
        self.outer, _local.keep = _local.keep, keep

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _local.keep = self.outer
