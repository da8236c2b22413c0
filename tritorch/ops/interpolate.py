"""interpolate and upsample: images, signals and volumes resized.

One record resamples all spatial dimensions; it is linear, and its derivative is its transpose.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..op import Images, primitive, users_level
from ..tensor import Tensor
from . import resample_host as host_side
from .api import FUNCTIONAL
from .pooling_adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .resample_host import Axis

Axes = tuple[Axis, ...]


def _meta(x: Tensor, *, axes: Axes) -> tuple:
    shape = tuple(x._data.shape)
    return (*shape[: len(shape) - len(axes)], *(a.size for a in axes)), x.dtype


def _back_meta(x: Tensor, *, axes: Axes) -> tuple:
    shape = tuple(x._data.shape)
    return (*shape[: len(shape) - len(axes)], *(a.source for a in axes)), x.dtype


def _axes(source: Sequence[int], size: Sequence[int], kind: str, align: bool = False) -> Axes:
    return tuple(Axis(i, o, kind, align, 0.0) for i, o in zip(source, size, strict=True))


def _samples(s: Any, back: bool = False) -> list:
    cases = [
        ((5,), (7,), "linear", False),
        ((5,), (3,), "linear", True),
        ((4,), (9,), "nearest", False),
        ((4,), (3,), "nearest-exact", False),
        ((3, 4), (5, 3), "cubic", False),
        ((3, 2), (4, 5), "cubic", True),
        ((6, 5), (3, 7), "linear_aa", False),
        ((6, 5), (2, 3), "cubic_aa", False),
        ((2, 2, 2), (3, 1, 3), "linear", False),
        ((150,), (70,), "linear", False),
    ]
    found = []
    for source, size, kind, align in cases:
        shape = (2, 1, *(size if back else source))
        found.append(s(shape, axes=_axes(source, size, kind, align)))
    empty = (0, 1, 3) if back else (0, 1, 2)
    return [*found, s(empty, axes=_axes((2,), (3,), "linear"))]


@primitive(
    meta=_meta,
    kind=Images,
    triton="resample.forward",
    vjp=lambda g, axes: resample_back(g, axes=axes),
    samples=_samples,
)
def resample(x: Any, *, axes: Axes) -> Any:
    """The last dimensions resampled: `(..., *sources)` to `(..., *sizes)`."""
    if x.dtype == np.uint8 and not all(a.kind.startswith("nearest") for a in axes):
        return host_side.bytes_of(x, axes)
    return host_side.resample(x, axes, False)


def _resample_again(g: Any, axes: Axes) -> Any:
    return resample(g, axes=axes)


@primitive(
    meta=_back_meta,
    kind=Images,
    triton="resample.backward",
    vjp=_resample_again,
    samples=lambda s: _samples(s, True),
)
def resample_back(x: Any, *, axes: Axes) -> Any:
    """The transpose of `resample`: what an output element has read gets its value."""
    return host_side.resample(x, axes, True)


# -- public ---------------------------------------------------------------------------------------

KINDS = {
    "nearest": "nearest",
    "nearest-exact": "nearest-exact",
    "linear": "linear",
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
    "lanczos": "lanczos",
}
DIMS = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
AREA = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}


def _sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool
) -> tuple[list[int], list[float]]:
    """The output's sizes, and the factors that were given, 0 where the sizes count alone."""
    spatial, n = tuple(input._data.shape[2:]), input._data.ndim - 2
    if size is not None and scale_factor is not None:
        raise ValueError("interpolate: only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("interpolate: either size or scale_factor should be defined")
    given, what = (size, "output size") if size is not None else (scale_factor, "scale_factor")
    if isinstance(given, tuple | list):
        if len(given) != n:
            raise ValueError(
                "interpolate: Input and output must have the same number of spatial dimensions, "
                f"but got input with spatial dimensions of {list(spatial)} and {what} of {given}. "
                "Please provide input tensor in (N, C, d1, d2, ...,dK) format and sizes or factors "
                "in (o1, o2, ...,oK) format."
            )
    else:
        given = [given] * n
    if size is not None:
        if not all(isinstance(v, int | np.integer) for v in given):
            raise TypeError(
                "interpolate: expected size to be one of int or Tuple[int] or Tuple[int, int] or "
                f"Tuple[int, int, int], but got size with types {[type(v) for v in given]}"
            )
        if recompute:
            raise ValueError(
                "interpolate: recompute_scale_factor is not meaningful with an explicit size."
            )
        return [int(v) for v in given], [0.0] * n
    factors = [float(v) for v in given]
    sizes = [math.floor(i * f) for i, f in zip(spatial, factors, strict=True)]
    return sizes, factors


def _checked_mode(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    ndim = input._data.ndim
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "interpolate: align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and ndim == 4):
        raise ValueError(
            "interpolate: Anti-alias option is restricted to bilinear, bicubic, and lanczos modes "
            "and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and ndim == 4 and (align_corners or not antialias):
        raise ValueError("interpolate: Lanczos mode needs antialias=True and align_corners=False")
    known = (mode in KINDS or mode == "area") and ndim in (3, 4, 5)
    if not known:
        raise NotImplementedError(
            "interpolate: Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {ndim}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"lanczos | area | nearest-exact (got {mode})"
        )
    if mode in DIMS and DIMS[mode] != ndim:
        raise NotImplementedError(
            f"interpolate: Got {ndim}D input, but {mode} mode needs {DIMS[mode]}D input"
        )


def _check_values(input: Tensor, mode: str, sizes: Sequence[int]) -> None:
    shape = tuple(input._data.shape)
    if min(sizes) < 1 or min(shape[2:]) < 1:
        raise RuntimeError(
            "interpolate: Input and output sizes should be greater than 0, but got input "
            f"{tuple(shape[2:])} output {tuple(sizes)}"
        )
    if not shape[1]:
        raise RuntimeError(
            "interpolate: Non-empty data tensor expected (only the batch may be empty), but got "
            f"an input of shape {shape}"
        )
    allowed = input.dtype.category == 2 or (
        input.dtype.name == "uint8" and mode not in ("linear", "trilinear", "lanczos")
    )
    if not allowed:
        raise NotImplementedError(f'"interpolate" not implemented for {input.dtype.name} tensors')


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize the spatial dimensions of `(N, C, L)`, `(N, C, H, W)` or `(N, C, D, H, W)`.

    `mode` is "nearest", "nearest-exact", "area", or by the number of dimensions "linear",
    "bilinear", "bicubic", "trilinear". With `align_corners` the centres of the corner elements
    coincide, else the corners. With `antialias` the kernel widens where an image shrinks.
    Source of the cubic: Keys, "Cubic convolution interpolation", 1981, with a = -0.75.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([[[0.0, 4.0]]])
        >>> torch.nn.functional.interpolate(x, scale_factor=2.0, mode="linear")
        tensor([[[0., 1., 3., 4.]]])
    """
    if not isinstance(input, Tensor):
        raise TypeError(
            f"interpolate(): argument 'input' must be Tensor, not {type(input).__name__}"
        )
    if mode in ("nearest", "area", "nearest-exact") or input._data.ndim < 3:
        _checked_mode(input, mode, align_corners, antialias)
    sizes, factors = _sizes(input, size, scale_factor, bool(recompute_scale_factor))
    _checked_mode(input, mode, align_corners, antialias)
    if mode == "area":
        return AREA[input._data.ndim](input, sizes)
    _check_values(input, mode, sizes)
    if recompute_scale_factor:
        factors = [0.0] * len(factors)
    kind = KINDS[mode] + ("_aa" if antialias else "")
    spatial = tuple(input._data.shape[2:])
    return resample(
        input,
        axes=tuple(
            Axis(i, o, kind, bool(align_corners), f)
            for i, o, f in zip(spatial, sizes, factors, strict=True)
        ),
    )


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its old name."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the nearest element."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` between the four nearest elements, corners aligned."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=users_level(),
    )


for _f in (interpolate, upsample, upsample_nearest, upsample_bilinear):
    FUNCTIONAL[_f.__name__] = _f
