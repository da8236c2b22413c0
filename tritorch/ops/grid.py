"""grid_sample, fused, and affine_grid: images and volumes read at any points.

A point reads some elements (taps) along each dimension, with weights. The taps are written once,
for NumPy arrays and tensors alike; on NumPy they are a sparse matrix of points and elements.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..op import fused, joint, through_ref, users_level
from ..runtime import parallel
from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import fmod, where
from .autocast import listed

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class Functions(NamedTuple):
    """What the taps are computed with: NumPy's functions, or tensor operators."""

    where: Callable
    floor: Callable
    round: Callable
    fmod: Callable


NUMPY = Functions(np.where, np.floor, np.rint, np.fmod)
TENSOR = Functions(
    where,
    lambda x: x.detach().floor(),
    lambda x: x.detach().round(),
    lambda x, y: fmod(x, y),
)


def _source(c: Any, size: int, align: bool) -> Any:
    """From [-1, 1] to the positions of elements."""
    return (c + 1) * ((size - 1) / 2) if align else ((c + 1) * size - 1) / 2


def _reflected(x: Any, size: int, align: bool, f: Functions) -> Any:
    """`x` folded back at both ends: at the centres of the outer elements, or at their edges."""
    low, span = (0.0, float(size - 1)) if align else (-0.5, float(size))
    if not span:
        return x * 0
    x = abs(x - low)
    extra = f.fmod(x, span)
    odd = f.fmod(f.floor(x / span), 2.0) != 0
    return f.where(odd, span - extra, extra) + low


def _clipped(x: Any, size: int, f: Functions) -> Any:
    """`x` within the elements; NaN counts as 0, and no gradient flows at the ends."""
    x = f.where(x > 0, x, 0.0)
    return f.where(x < size - 1, x, float(size - 1))


def _padded(x: Any, size: int, padding: str, align: bool, f: Functions) -> Any:
    if padding == "reflection":
        x = _reflected(x, size, align, f)
    return x if padding == "zeros" else _clipped(x, size, f)


def _cubic_weights(t: Any) -> list:
    """Weights of the four taps around a point. Source: Keys, 1981, with a = -0.75."""
    a = -0.75

    def near(x: Any) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _cubic_slopes(t: Any) -> list:
    a = -0.75

    def near(x: Any) -> Any:
        return (3 * (a + 2) * x - 2 * (a + 3)) * x

    def far(x: Any) -> Any:
        return (3 * a * x - 10 * a) * x + 8 * a

    return [far(t + 1), near(t), -near(1 - t), -far(2 - t)]


def _taps(c: Any, size: int, mode: str, padding: str, align: bool, f: Functions) -> tuple:
    """(positions, weights, point within its cell) along one dimension; positions are whole."""
    x = _source(c, size, align)
    if mode == "bicubic":
        low = f.floor(x)
        at = [_padded(low + k, size, padding, align, f) for k in (-1, 0, 1, 2)]
        return at, _cubic_weights(x - low), x - low
    x = _padded(x, size, padding, align, f)
    if mode == "nearest":
        return [f.round(x)], [None], None
    low = f.floor(x)
    return [low, low + 1], [1 - (x - low), x - low], x - low


def _combined(grid: Sequence, sizes: Sequence[int], f: Functions, **how: Any) -> tuple[list, list]:
    """Taps along each dimension, and for every combination: which, its element, is it inside."""
    along = [_taps(c, n, f=f, **how) for c, n in zip(grid, sizes, strict=True)]
    found = []
    for which in itertools.product(*(range(len(a[0])) for a in along)):
        index: Any = 0
        inside: Any = True
        for (at, _, _), k, n in zip(along, which, sizes, strict=True):
            here = (at[k] >= 0) & (at[k] <= n - 1)
            inside = here if inside is True else inside & here
            index = index * n + f.where(here, at[k], 0.0)
        found.append((which, index, inside))
    return along, found


POINTS = 1 << 13  # points of a piece of images

# -- on NumPy arrays ------------------------------------------------------------------------------


def _weight(along: list, which: tuple, inside: Any, shape: tuple, dtype: Any) -> np.ndarray:
    w = np.ones(shape, dtype)
    for (_, weights, _), k in zip(along, which, strict=True):
        w = w if weights[k] is None else w * weights[k]
    # a point that is nowhere gives NaN, and zero where nothing is weighted
    return np.where(inside | ~np.isfinite(w), w, w.dtype.type(0))


def _points(grid: np.ndarray) -> list[np.ndarray]:
    """The coordinates of some images' points, the slowest dimension first."""
    flat = grid.reshape(-1, grid.shape[-1])
    return [np.ascontiguousarray(flat[:, d]) for d in reversed(range(grid.shape[-1]))]


def _matrix(grid: np.ndarray, sizes: tuple, how: dict) -> tuple:
    """The sparse matrix (points, elements) of some images, with the taps that made it."""
    from scipy.sparse import csr_array

    images, elements = grid.shape[0], math.prod(sizes)
    count = grid.size // grid.shape[-1]
    along, found = _combined(_points(grid), sizes, NUMPY, **how)
    first = np.repeat(np.arange(images) * elements, count // images)
    shape = (count, images * elements)
    kind = np.int32 if max(*shape, count * len(found)) < 1 << 31 else np.int64
    columns = np.empty((count, len(found)), kind)
    values = np.empty((count, len(found)), grid.dtype)
    for j, (which, index, inside) in enumerate(found):
        columns[:, j] = index
        columns[:, j] += first
        values[:, j] = _weight(along, which, inside, (count,), grid.dtype)
    ends = np.arange(0, count * len(found) + 1, len(found), dtype=kind)
    m = csr_array((values.reshape(-1), columns.reshape(-1), ends), shape=shape)
    taps = [(which, columns[:, j], inside) for j, (which, _, inside) in enumerate(found)]
    return m, along, taps


def _channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, *sizes) as (N * elements, C)."""
    return np.ascontiguousarray(x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)).reshape(
        -1, x.shape[1]
    )


def _channels_first(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return rows.reshape(shape[0], -1, shape[1]).transpose(0, 2, 1).reshape(shape)


def _by_images(body: Any, n: int, points: int) -> None:
    """`body(start, stop)` over images, so many at once that the loops over points are long."""
    parallel.run(body, n, max(1, POINTS // max(points, 1)))


def _grid_sample(x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align: bool) -> Any:
    n, c, *sizes = x.shape
    how = {"mode": mode, "padding": padding, "align": align}
    out = np.empty((n, c, *grid.shape[1:-1]), x.dtype)

    def body(start: int, stop: int) -> None:
        m, _, _ = _matrix(grid[start:stop], tuple(sizes), how)
        part = out[start:stop]
        part[...] = _channels_first(m @ _channels_last(x[start:stop]), part.shape)

    if out.size:
        _by_images(body, n, math.prod(grid.shape[1:-1]))
    return out


def _slopes(c: np.ndarray, size: int, mode: str, padding: str, align: bool) -> np.ndarray:
    """The derivative of a point's position by its coordinate."""
    factor = (size - 1) / 2 if align else size / 2
    slope = np.full(c.shape, factor, c.dtype)
    if mode == "bicubic" or padding == "zeros":
        return slope
    x = _source(c, size, align)
    if padding == "reflection":
        low, span = (0.0, float(size - 1)) if align else (-0.5, float(size))
        if not span:
            return slope * 0
        slope = np.where(x < low, -slope, slope)
        slope = np.where(np.fmod(np.floor(np.abs(x - low) / span), 2) != 0, -slope, slope)
        x = _reflected(x, size, align, NUMPY)
    return np.where((x > 0) & (x < size - 1), slope, slope.dtype.type(0))


def _grid_sample_backward(
    grad: np.ndarray, x: np.ndarray, grid: np.ndarray, *, mode: str, padding: str, align: bool
) -> tuple:
    n, _, *sizes = x.shape
    how = {"mode": mode, "padding": padding, "align": align}
    gx, ggrid = np.zeros_like(x), np.zeros_like(grid)

    def body(start: int, stop: int) -> None:
        part = grid[start:stop]
        m, along, found = _matrix(part, tuple(sizes), how)
        g = _channels_last(grad[start:stop])
        gx[start:stop] = _channels_first(m.T @ g, gx[start:stop].shape)
        if mode != "nearest":
            rows = _channels_last(x[start:stop])
            found_grid = _to_grid(g, rows, _points(part), along, found, sizes, how)
            ggrid[start:stop] = found_grid.reshape(part.shape)

    if grad.size:
        _by_images(body, n, math.prod(grid.shape[1:-1]))
    return gx, ggrid


def _to_grid(
    g: np.ndarray, rows: np.ndarray, points: list, along: list, found: list, sizes: Any, how: dict
) -> np.ndarray:
    """The gradient of the coordinates, (points, dims), the fastest dimension first."""
    cubic = how["mode"] == "bicubic"
    inner = [_cubic_slopes(t) if cubic else (-1.0, 1.0) for _, _, t in along]
    dims = len(along)
    out = np.zeros((points[0].size, dims), g.dtype)
    for which, index, inside in found:
        value = np.einsum("pc,pc->p", rows.take(index, axis=0), g) * inside
        for d in range(dims):
            w = inner[d][which[d]] * value
            for e in range(dims):
                w = w if e == d else w * along[e][1][which[e]]
            out[:, dims - 1 - d] += w
    for d, (c, n) in enumerate(zip(points, sizes, strict=True)):
        out[:, dims - 1 - d] *= _slopes(c, n, **how)
    return out


# -- records --------------------------------------------------------------------------------------


def _meta(x: Tensor, grid: Tensor, **how: Any) -> tuple:
    return (*x._data.shape[:2], *grid._data.shape[1:-1]), x.dtype


def _cases(s: Any) -> list:
    found = []
    for i, (mode, padding) in enumerate(itertools.product(MODES, PADDINGS)):
        how = {"mode": mode, "padding": padding, "align": bool(i % 2)}
        found.append(((1, 1, 3, 4), s.reals((1, 1, 2, 2), -1.3, 1.3), how))
        if mode == "bilinear":
            how["align"] = not i % 2
            found.append(((1, 1, 2, 3, 2), s.reals((1, 1, 1, 1, 3), -1.2, 1.2), how))
    plain = {"mode": "bilinear", "padding": "zeros", "align": False}
    return [*found, ((0, 2, 3, 3), s.reals((0, 2, 2, 2)), plain)]


def _backward_samples(s: Any) -> list:
    """The second derivatives of all cases are checked with `grid_sample`; here those of a few."""
    return [
        s((*x[:2], *grid.shape[1:-1]), x, grid, smooth=not i % 4, **how)
        for i, (x, grid, how) in enumerate(_cases(s))
    ]


@fused(
    outputs=("gx", "ggrid"),
    meta=lambda grad, x, grid, **how: [
        (tuple(x._data.shape), x.dtype),
        (tuple(grid._data.shape), grid.dtype),
    ],
    cpu=_grid_sample_backward,
    triton="grid.backward",
    samples=_backward_samples,
)
def grid_sample_backward(
    grad: Any, x: Any, grid: Any, *, mode: str, padding: str, align: bool
) -> Any:
    """The gradients of the images and of the points."""
    rule = through_ref(grid_sample_op)
    gx, ggrid = rule(grad, x, grid, mode, padding, align, (True, True))
    return gx, grid * 0 if ggrid is None else ggrid


def _vjp(g: Any, x: Any, grid: Any, mode: str, padding: str, align: bool) -> Any:
    return grid_sample_backward(g, x, grid, mode=mode, padding=padding, align=align)


@fused(
    name="grid_sample",
    meta=_meta,
    cpu=_grid_sample,
    triton="grid.forward",
    vjp=joint(_vjp),
    samples=lambda s: [s(x, grid, **how) for x, grid, how in _cases(s)],
)
def grid_sample_op(x: Any, grid: Any, *, mode: str, padding: str, align: bool) -> Any:
    """Images (N, C, *sizes) read at the points of `grid` (N, *points, dims)."""
    n, c, *sizes = x.shape
    count = math.prod(grid.shape[1:-1])
    points = [grid.select(-1, d).reshape(n, 1, count) for d in reversed(range(len(sizes)))]
    how = {"mode": mode, "padding": padding, "align": align}
    along, found = _combined(points, sizes, TENSOR, **how)
    out: Any = 0
    flat = x.reshape(n, c, math.prod(sizes))
    for which, index, inside in found:
        at = index.detach().long().expand(n, c, count)
        value = where(inside, flat.gather(2, at), 0.0)
        for (_, weights, _), k in zip(along, which, strict=True):
            value = value if weights[k] is None else value * weights[k]
        out = out + value
    return out.reshape(n, c, *grid.shape[1:-1])


# -- public ---------------------------------------------------------------------------------------


def _check(x: Tensor, grid: Tensor) -> None:
    shape, points = list(x._data.shape), list(grid._data.shape)
    where_ = f"input with sizes {shape} and grid with sizes {points}"
    if len(shape) not in (4, 5) or len(points) != len(shape):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got {where_}"
        )
    if shape[0] != points[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got {where_}"
        )
    if points[-1] != len(shape) - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {len(shape) - 2} in last dimension, but "
            f"got {where_}"
        )
    if 0 in shape[2:]:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but got {where_}"
        )
    if x.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected input and grid to have the same dtype, but got {x.dtype} "
            f"and {grid.dtype}"
        )
    if x.dtype.category != 2:
        raise NotImplementedError(f'"grid_sampler" not implemented for {x.dtype.name} tensors')


def _sampled(x: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    _check(x, grid)
    if mode == "bicubic" and x._data.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    return grid_sample_op(x, grid, mode=mode, padding=padding, align=bool(align))


def _aligned(name: str, align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            f"{name}: the default of align_corners is False. Specify align_corners=True if the "
            "centres of the corner elements are to be at -1 and 1.",
            stacklevel=users_level(),
        )
    return bool(align_corners)


@listed
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Read `input` (N, C, H, W) at the points of `grid` (N, P, Q, 2): (N, C, P, Q).

    A point is (x, y), from -1 to 1 over the image; with a third coordinate z for volumes
    (N, C, D, H, W). `mode` is "bilinear", "nearest" or "bicubic"; `padding_mode` says what stands
    outside: "zeros", the "border", or a "reflection".
    Source: Jaderberg et al., "Spatial Transformer Networks", 2015.

    Example:
        >>> import tritorch as torch
        >>> x = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> torch.nn.functional.grid_sample(x, torch.zeros(1, 1, 1, 2), align_corners=True)
        tensor([[[[1.5000]]]])
    """
    if mode not in MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    align = _aligned("grid_sample", align_corners)
    return _sampled(input, grid, mode, padding_mode, align)


@listed
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sample` with its modes as numbers."""
    return _sampled(input, grid, MODES[interpolation_mode], PADDINGS[padding_mode], align_corners)


def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sampler` of images."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sampler` of volumes."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """The points of images of `size`, mapped by the matrices `theta`."""
    sizes = tuple(size)[2:]
    along = []
    for d, n in enumerate(sizes):
        at = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
        at = at if align_corners else at * ((n - 1) / max(n, 1))
        along.append(at.reshape(-1, *(1,) * (len(sizes) - d - 1)))
    along = [np.broadcast_to(a, sizes) for a in reversed(along)]
    points = np.stack([*along, np.ones(sizes)], -1).reshape(-1, len(sizes) + 1)
    base = theta.new_tensor(points)  # type: ignore[attr-defined]
    return (base @ theta.transpose(-1, -2)).reshape(theta.shape[0], *sizes, len(sizes))  # type: ignore[attr-defined]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points that `grid_sample` reads to apply the affine maps `theta` to images of `size`.

    `theta` is (N, 2, 3) for a size (N, C, H, W), (N, 3, 4) for (N, C, D, H, W).
    """
    align = _aligned("affine_grid", align_corners)
    if theta.dtype.category != 2:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    n = len(size) - 2
    if tuple(theta._data.shape[1:]) != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got "
            f"{theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return affine_grid_generator(theta, size, align)


FUNCTIONAL["grid_sample"] = grid_sample
FUNCTIONAL["affine_grid"] = affine_grid
for _f in (grid_sampler, grid_sampler_2d, grid_sampler_3d, affine_grid_generator):
    PUBLIC[_f.__name__] = _f
