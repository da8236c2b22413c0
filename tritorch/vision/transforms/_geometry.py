"""Sizes, corners and matrices of the geometric transforms, the same for tensors and PIL images."""

from __future__ import annotations

import enum
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np


class InterpolationMode(enum.Enum):
    """How values between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"  # PIL images only, as the next two
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PIL_CODES = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
}


def mode_of(name: str, interpolation: Any) -> InterpolationMode:
    """Also PIL's number for it, as programs from before `InterpolationMode` write."""
    if isinstance(interpolation, InterpolationMode):
        return interpolation
    if isinstance(interpolation, int):
        for mode, code in PIL_CODES.items():
            if code == int(interpolation):
                return mode
    raise TypeError(
        f"{name}: Argument interpolation should be a InterpolationMode, got {interpolation!r}"
    )


def pair(name: str, size: Any) -> tuple[int, int]:
    """`(height, width)` of an int, or of a sequence of one or two."""
    if isinstance(size, int | np.integer):
        return int(size), int(size)
    if isinstance(size, Sequence) and len(size) in (1, 2):
        return int(size[0]), int(size[-1])
    raise ValueError(f"{name}: please provide only two dimensions (h, w) for size, got {size!r}")


def resized(
    h: int, w: int, size: int | Sequence[int] | None, max_size: int | None
) -> tuple[int, int]:
    """The height and width that `resize` gives: one number is for the shorter edge."""
    if size is None:
        if max_size is None:
            raise ValueError("resize: max_size must be an integer when size is None")
        size, longest = min(max_size, int(max_size * min(h, w) / max(h, w))), max_size
        return (size, longest) if h <= w else (longest, size)
    if isinstance(size, Sequence) and len(size) == 2:
        if max_size is not None:
            raise ValueError(
                "resize: max_size should only be passed if size specifies the length of the "
                "smaller edge, i.e. size should be an int or a sequence of length 1"
            )
        return int(size[0]), int(size[1])
    short = int(size[0] if isinstance(size, Sequence) else size)
    if max_size is not None and max_size <= short:
        raise ValueError(
            f"resize: max_size = {max_size} must be strictly greater than the requested size for "
            f"the smaller edge size = {size}"
        )
    long = int(short * max(h, w) / min(h, w))
    if max_size is not None and long > max_size:
        short, long = int(max_size * short / long), max_size
    return (short, long) if h <= w else (long, short)


def borders(name: str, padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """`(left, top, right, bottom)` of one number, of (left/right, top/bottom), or of four."""
    if isinstance(padding, int | float):
        p = int(padding)
        return p, p, p, p
    if isinstance(padding, Sequence) and len(padding) in (1, 2, 4):
        p = [int(x) for x in padding]
        return (p[0], p[-1], p[0], p[-1]) if len(p) < 4 else (p[0], p[1], p[2], p[3])
    raise ValueError(
        f"{name}: Padding must be an int or a 1, 2, or 4 element tuple, got {padding!r}"
    )


def affine_matrix(
    center: Sequence[float],
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
) -> np.ndarray:
    """What takes a point of the result to the point of the image that it shows, (3, 3).

    The inverse of: move `center` to the origin, shear by x then by y, rotate by `angle` degrees
    (clockwise, as y points down), scale, and move back and by `translate`.
    """
    turn, sx, sy = (math.radians(v) for v in (angle, *shear))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shears = np.array([[1, 0], [-math.tan(sy), 1]]) @ np.array([[1, -math.tan(sx)], [0, 1]])
    back = np.linalg.inv(scale * rotation @ shears)
    c = np.asarray(center, float)
    out = np.eye(3)
    out[:2, :2] = back
    out[:2, 2] = c - back @ (c + np.asarray(translate, float))
    return out


def perspective_coefficients(
    startpoints: Sequence[Sequence[int]], endpoints: Sequence[Sequence[int]]
) -> list[float]:
    """The eight numbers of the projective map that takes the end points to the start points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    found = np.linalg.lstsq(np.array(rows, float), np.array(values, float), rcond=None)[0]
    return found.tolist()


def expanded(matrix: np.ndarray, w: int, h: int) -> tuple[int, int]:
    """The width and height that hold a whole image turned by `matrix`, which turns about (0, 0)."""
    corners = np.array([[-w, -h], [-w, h], [w, h], [w, -h]], float) / 2
    turned = corners @ matrix[:2, :2].T + np.array([w, h]) / 2
    tight = np.trunc(turned / 1e-4) * 1e-4  # a corner on a pixel's edge stays there
    size = np.ceil(tight.max(0)) - np.floor(tight.min(0))
    return int(size[0]), int(size[1])


def antialias_of(name: str, antialias: Any) -> bool:
    """`"warn"`, a default of older versions, means True."""
    if antialias == "warn":
        warnings.warn(f'{name}: antialias="warn" is taken as True', stacklevel=3)
    return bool(antialias) if antialias is not None else False
