"""Operators over images on a device against the CPU: borders, maxima, resampling, sampled points.

Shapes here are larger than the operators' samples: blocks that are not full, several programs,
images whose channels are last in memory, windows and borders of every kind.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine, testing
from tritorch.op import REGISTRY
from tritorch.runtime import memory
from tritorch.tensor import Tensor

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
F = torch.nn.functional
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "complex128": 1e-12}
TOLERANCE |= {"float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def channels_last(x: np.ndarray) -> np.ndarray:
    """The same values, the second dimension last in memory."""
    order = (0, *range(2, x.ndim), 1)
    return np.moveaxis(np.ascontiguousarray(x.transpose(order)), -1, 1)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.ascontiguousarray,
    "channels last": channels_last,
    "transposed": testing.transposed,
    "gapped": testing.gapped,
}


def compare(f: Callable, *arrays: Any, dtype: Any = torch.float32, scale: float = 1) -> None:
    """`f` of tensors gives on the device what it gives on the CPU, and runs there."""
    here = [
        torch.from_numpy(a).to(dtype if a.dtype.kind == "f" else None)
        if isinstance(a, np.ndarray)
        else a
        for a in arrays
    ]
    there = [a.to("cuda") if isinstance(a, Tensor) else a for a in here]
    spine.FALLBACKS.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the interpreter's NumPy
        found, wanted = f(*there), f(*here)
    assert not spine.FALLBACKS, spine.FALLBACKS
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for got, want in pairs:
        assert got.is_cuda and got.dtype is want.dtype
        tolerance = scale * TOLERANCE.get(got.dtype.name, 0)
        a, b = (np.asarray(t.detach().cpu()._data) for t in (got, want))
        if a.dtype.kind != "c":
            a, b = a.astype(np.float64), b.astype(np.float64)
        np.testing.assert_allclose(a, b, tolerance, tolerance)


def with_gradient(f: Callable) -> Callable:
    """(f(x, ...), the gradient of x for a gradient that differs from element to element)."""

    def both(x: Tensor, *rest: Any) -> tuple:
        x = x.detach().requires_grad_()
        out = f(x, *rest)
        steps = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
        g = torch.from_numpy(steps).to(out.dtype).to(out.device)
        return out, torch.autograd.grad(out, x, g)[0]

    return both


# -- borders ---------------------------------------------------------------------------------------

BORDERS = [
    ((2, 3, 40), (5, 7)),
    ((2, 1, 5, 40), (3, 2, 4, 3)),
    ((1, 2, 3, 4, 9), (2, 1, 3, 3, 0, 2)),
    ((2, 1, 9, 12), (-2, 3, 3, -4)),
    ((1, 1, 9, 12), (-9, 3, 3, -6)),
    ((3, 8), (7, 0)),
    ((1, 1, 1, 1), (0, 0, 0, 0)),
]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "pad"), BORDERS)
def test_borders(shape: tuple, pad: tuple, mode: str) -> None:
    layouts = LAYOUTS if shape == (2, 1, 5, 40) else ("contiguous", "channels last")
    for layout in layouts:
        x = LAYOUTS[layout](normal(*shape))
        compare(with_gradient(lambda t: F.pad(t, pad, mode=mode)), x)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
def test_borders_of_each_dtype(name: str) -> None:
    f = with_gradient(lambda t: F.pad(t, (3, 4, 2, 1), mode="replicate"))
    compare(f, normal(1, 2, 4, 9), dtype=getattr(torch, name))


def test_borders_of_what_has_no_gradient() -> None:
    x = np.arange(24).reshape(1, 2, 12)
    for dtype in (np.int64, np.int8, np.uint8, np.bool_, np.complex64):
        compare(lambda t: F.pad(t, (4, 2), mode="circular"), x.astype(dtype))


def test_wide_borders_repeat_the_corners() -> None:
    compare(with_gradient(lambda t: F.pad(t, (6, 9, 5, 1), mode="replicate")), normal(1, 1, 2, 1))


def test_complex_borders_have_gradients() -> None:
    g = normal(2, 9) + 1j * normal(2, 9, seed=1)
    how = {"shape": (2, 4), "pad": ((0, 0), (3, 2)), "mode": "reflect"}
    compare(lambda t: REGISTRY["pad_borders_backward"](t, **how), g)


# -- maxima ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maxima_without_their_places(layout: str) -> None:
    x = LAYOUTS[layout](normal(2, 5, 11, 14).round(1))
    runtime: Any = memory.runtime()
    before = runtime.launches.get("max_pool2d_forward_kernel", 0)
    with torch.no_grad():
        compare(lambda t: F.max_pool2d(t, 3, 2, 1), x)
    assert runtime.launches["max_pool2d_forward_kernel"] == before + 1
    compare(with_gradient(lambda t: F.max_pool2d(t, (2, 3), (1, 2), dilation=(2, 1))), x)


def test_the_gradient_of_maxima_goes_to_the_first_of_equals_and_to_nan() -> None:
    x = np.repeat(normal(1, 2, 8, 4).round(), 2, axis=3)
    x[0, 1, 3, 3] = math.nan
    window = {"kernel": (3, 3), "stride": (2, 1), "padding": (1, 1), "dilation": (1, 1)}
    out = REGISTRY["max_pool2d_values"](torch.from_numpy(x), size=(4, 8), **window).numpy()
    compare(
        lambda g, t, o: REGISTRY["max_pool2d_values_backward"](g, t, o, **window),
        normal(*out.shape),
        x,
        out,
    )


# -- resampling ------------------------------------------------------------------------------------

RESAMPLED = [
    ((2, 3, 17), 41, "linear", False, False),
    ((2, 3, 17), 5, "nearest", None, False),
    ((1, 2, 300), 299, "nearest-exact", None, False),
    ((2, 3, 7, 12), (14, 24), "nearest", None, False),
    ((2, 3, 7, 12), (14, 24), "bilinear", False, False),
    ((2, 1, 7, 12), (16, 5), "bilinear", True, False),
    ((2, 1, 6, 5), (13, 24), "bicubic", False, False),
    ((1, 2, 9, 8), (4, 8), "bicubic", True, False),
    ((1, 2, 13, 16), (5, 9), "bilinear", False, True),
    ((1, 2, 13, 7), (5, 16), "bicubic", False, True),
    ((1, 1, 9, 3), (4, 5), "lanczos", False, True),
    ((1, 2, 3, 5, 6), (6, 4, 12), "trilinear", False, False),
    ((1, 2, 3, 5, 6), (3, 10, 6), "trilinear", True, False),
    ((1, 2, 3, 5, 6), (4, 10, 3), "nearest", None, False),
    ((1, 1, 1, 1), (3, 30), "bilinear", False, False),
    ((1, 1, 9, 12), (1, 1), "bicubic", False, False),
]


@pytest.mark.parametrize(("shape", "size", "mode", "align", "antialias"), RESAMPLED)
def test_resampled(shape: tuple, size: Any, mode: str, align: Any, antialias: bool) -> None:
    how = {"size": size, "mode": mode, "align_corners": align, "antialias": antialias}
    compare(with_gradient(lambda t: F.interpolate(t, **how)), channels_last(normal(*shape)))


@pytest.mark.parametrize("factor", [0.37, 1.0, 2.0, 4.3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_factors_count_as_given(mode: str, factor: float) -> None:
    f = with_gradient(lambda t: F.interpolate(t, scale_factor=(factor, factor + 0.1), mode=mode))
    compare(f, normal(1, 1, 5, 4))


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["nearest", "bicubic", "bilinear"])
def test_resampled_of_each_dtype(name: str, mode: str) -> None:
    how = {"mode": mode, "antialias": mode == "bilinear"}
    f = with_gradient(lambda t: F.interpolate(t, (5, 7), **how))
    compare(f, normal(1, 2, 7, 4), dtype=getattr(torch, name))


def test_the_nearest_of_bytes() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 5, 6)).astype(np.uint8)
    compare(lambda t: F.interpolate(t, scale_factor=2, mode="nearest"), x)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_what_has_no_weight_is_not_read(mode: str) -> None:
    x = normal(1, 1, 6, 7)
    x[0, 0, 2, 3], x[0, 0, 5, 0] = math.inf, math.nan
    compare(lambda t: F.interpolate(t, (12, 7), mode=mode), x)
    if mode == "bilinear":
        compare(lambda t: F.interpolate(t, (3, 4), mode=mode, antialias=True), x)


def test_images_stay_channels_last() -> None:
    x = torch.from_numpy(normal(2, 4, 5, 3)).to("cuda").permute(0, 3, 1, 2)
    assert F.interpolate(x, (8, 10), mode="bilinear").stride() == (240, 1, 30, 3)
    assert F.interpolate(x, (2, 3), mode="bilinear", antialias=True).stride() == (18, 1, 9, 3)


# -- sampled points --------------------------------------------------------------------------------

SAMPLED = [
    (mode, padding, align)
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
]


def points(*shape: int) -> np.ndarray:
    """Coordinates inside and outside, some of them at edges and at centres."""
    c = np.random.default_rng(shape).uniform(-2.7, 2.7, shape)
    flat = c.reshape(-1)
    flat[: min(6, flat.size)] = [-1, 1, 0, 0.5, -3, 1.25][: flat.size]
    return c


def sampled(**how: Any) -> Callable:
    """(grid_sample(x, grid), both gradients)."""

    def run(x: Tensor, grid: Tensor) -> tuple:
        x, grid = x.detach().requires_grad_(), grid.detach().requires_grad_()
        out = F.grid_sample(x, grid, **how)
        g = torch.from_numpy(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))
        return out, *torch.autograd.grad(out, (x, grid), g.to(out.dtype).to(out.device))

    return run


@pytest.mark.parametrize(("mode", "padding", "align"), SAMPLED)
def test_sampled_images(mode: str, padding: str, align: bool) -> None:
    f = sampled(mode=mode, padding_mode=padding, align_corners=align)
    compare(f, normal(2, 2, 4, 5), points(2, 2, 6, 2), scale=4)


@pytest.mark.parametrize(("mode", "padding", "align"), [s for s in SAMPLED if s[0] != "bicubic"])
def test_sampled_volumes(mode: str, padding: str, align: bool) -> None:
    f = sampled(mode=mode, padding_mode=padding, align_corners=align)
    compare(f, normal(1, 2, 2, 3, 4), points(1, 1, 2, 5, 3), scale=4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sampled_of_each_layout(layout: str) -> None:
    make = LAYOUTS[layout]
    f = sampled(mode="bilinear", padding_mode="border", align_corners=False)
    compare(f, make(normal(1, 9, 4, 5)), make(points(1, 11, 13, 2)), scale=4)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
def test_sampled_of_each_dtype(name: str) -> None:
    f = sampled(mode="bilinear", padding_mode="zeros", align_corners=True)
    near = points(1, 4, 5, 2) / 3
    compare(f, normal(1, 2, 4, 6), near, dtype=getattr(torch, name), scale=4)


def test_many_points_on_one_element_are_added_in_order() -> None:
    f = sampled(mode="bilinear", padding_mode="border", align_corners=False)
    compare(f, normal(1, 9, 3, 3), np.full((1, 3, 8, 2), 4.0), scale=10)


def test_images_of_one_element_and_no_points() -> None:
    for padding in ("zeros", "border", "reflection"):
        f = sampled(mode="bilinear", padding_mode=padding, align_corners=True)
        compare(f, normal(1, 1, 1, 1), points(1, 2, 3, 2))
    compare(f, normal(1, 2, 3, 3), np.zeros((1, 0, 4, 2)))


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_points_that_are_nowhere(padding: str) -> None:
    grid = points(1, 3, 4, 2)
    grid[0, 1, 2] = [math.nan, 0.1]
    grid[0, 2, 0] = [math.inf, -math.inf]
    how = {"mode": "bilinear", "padding_mode": padding, "align_corners": False}
    compare(lambda x, p: F.grid_sample(x, p, **how), normal(1, 2, 4, 4), grid)
