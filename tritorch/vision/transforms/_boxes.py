"""The geometric transforms of boxes: their corners, and the box around those afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops.api import PUBLIC
from ..ops.boxes import box_convert, clip_boxes_to_image
from ..tv_tensors import BoundingBoxes, pure, wrap
from . import _geometry as geometry

Size = tuple[int, int]


def corners(boxes: BoundingBoxes) -> Any:
    """Left, top, right, bottom (N, 4), in floating point."""
    x: Any = pure(boxes)
    x = x if x.dtype.is_floating_point else x.double()
    return box_convert(x, boxes.format.value.lower(), "xyxy")


def of_corners(x: Any, like: BoundingBoxes, **changed: Any) -> Any:
    """Corners as boxes in the form of `like`, whole numbers rounded towards zero."""
    form = changed.get("format", like.format)
    out: Any = box_convert(x, "xyxy", form.value.lower())
    if not like.dtype.is_floating_point:
        out = (out * 65536).round() / 65536  # a turn's 2.9999999 is 3
    return wrap(out.to(like.dtype), like=like, **changed)


def moved(f: Callable[..., tuple[Any, Size]]) -> Callable[..., Any]:
    """A function of boxes by one of their corners, height and width, which gives both anew."""

    @functools.wraps(f)
    def function(boxes: BoundingBoxes, *args: Any, **kwargs: Any) -> Any:
        x, size = f(corners(boxes), *boxes.canvas_size, *args, **kwargs)
        return of_corners(x, boxes, canvas_size=size)

    return function


def sizes(boxes: BoundingBoxes) -> tuple[int, int, int]:
    """One channel, and the canvas."""
    return 1, *boxes.canvas_size


@moved
def hflip(x: Any, h: int, w: int) -> tuple[Any, Size]:
    left, top, right, bottom = x.unbind(-1)
    return PUBLIC["stack"]((w - right, top, w - left, bottom), -1), (h, w)


@moved
def vflip(x: Any, h: int, w: int) -> tuple[Any, Size]:
    left, top, right, bottom = x.unbind(-1)
    return PUBLIC["stack"]((left, h - bottom, right, h - top), -1), (h, w)


@moved
def clamp(x: Any, h: int, w: int) -> tuple[Any, Size]:
    """The parts inside the canvas."""
    return clip_boxes_to_image(x, (h, w)), (h, w)


@moved
def crop(x: Any, h: int, w: int, top: int, left: int, height: int, width: int) -> tuple[Any, Size]:
    x = x - x.new_tensor([left, top, left, top])
    return clip_boxes_to_image(x, (height, width)), (height, width)


@moved
def pad(x: Any, h: int, w: int, border: tuple, fill: Any, mode: str) -> tuple[Any, Size]:
    if mode != "constant":
        raise ValueError(f"pad: boxes are padded with padding_mode='constant' only, got {mode!r}")
    left, top, right, bottom = border
    size = h + top + bottom, w + left + right
    return clip_boxes_to_image(x + x.new_tensor([left, top, left, top]), size), size


@moved
def resize(x: Any, h: int, w: int, size: Size, mode: str, antialias: bool) -> tuple[Any, Size]:
    return x * x.new_tensor([size[1] / w, size[0] / h] * 2), size


def around(x: Any, matrix: np.ndarray) -> Any:
    """The boxes around the corners of boxes that a projective (3, 3) `matrix` moves."""
    points = x[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    ones = PUBLIC["ones_like"](points[..., :1])
    found = PUBLIC["cat"]((points, ones), -1) @ x.new_tensor(matrix.T)
    found = found[..., :2] / found[..., 2:]
    return PUBLIC["cat"]((found.amin(1), found.amax(1)), -1)


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


@moved
def affine(
    x: Any, h: int, w: int, matrix: np.ndarray, mode: str, fill: Any, expand: bool = False
) -> tuple[Any, Size]:
    """`matrix` takes points about the middle of the result to points about the image's middle."""
    ow, oh = geometry.expanded(matrix, w, h) if expand else (w, h)
    there = shift(ow / 2, oh / 2) @ np.linalg.inv(matrix) @ shift(-w / 2, -h / 2)
    return clip_boxes_to_image(around(x, there), (oh, ow)), (oh, ow)


@moved
def perspective(
    x: Any, h: int, w: int, c: Sequence[float], mode: str, fill: Any
) -> tuple[Any, Size]:
    there = np.linalg.inv(np.array([*c, 1.0]).reshape(3, 3))
    return clip_boxes_to_image(around(x, there), (h, w)), (h, w)
