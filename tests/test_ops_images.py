"""interpolate, grid_sample, affine_grid: against direct formulas, and against PyTorch."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn import functional as F
from tritorch.ops import resample_host
from tritorch.ops.resample_host import Axis

RNG = np.random.default_rng(0)
KINDS = ("nearest", "nearest-exact", "linear", "cubic", "linear_aa", "cubic_aa", "lanczos_aa")


def dense(axis: Axis) -> np.ndarray:
    index, weights = resample_host.taps(axis)
    out = np.zeros((axis.size, axis.source))
    for o in range(axis.size):
        for i, w in zip(index[o], weights[o], strict=True):
            out[o, i] += w
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source, size", [(5, 13), (13, 5), (1, 4), (4, 1), (200, 330), (330, 70)])
def test_blocks_are_the_banded_matrix(kind: str, source: int, size: int) -> None:
    axis = Axis(source, size, kind, False, 0.0)
    matrix = dense(axis)
    np.testing.assert_allclose(matrix.sum(1), 1)
    x, g = RNG.standard_normal((3, source)), RNG.standard_normal((3, size))
    np.testing.assert_allclose(resample_host.resample(x, (axis,), False), x @ matrix.T, atol=1e-12)
    np.testing.assert_allclose(resample_host.resample(g, (axis,), True), g @ matrix, atol=1e-12)
    other = RNG.standard_normal((2, source, 3))
    want = np.einsum("os,nsk->nok", matrix, other)
    axes = (axis, Axis(3, 3, kind, False, 0.0))
    np.testing.assert_allclose(resample_host.resample(other, axes, False), want, atol=1e-12)


def test_large_images_do_not_depend_on_threads() -> None:
    x = torch.from_numpy(RNG.standard_normal((6, 3, 100, 90)).astype(np.float32))
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append(F.interpolate(x, scale_factor=2.0, mode="bicubic").numpy())
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)


def test_infinities_stay_where_they_are() -> None:
    x = np.zeros((1, 1, 40), np.float32)
    x[..., 20], x[..., 3] = np.inf, np.nan
    y = F.interpolate(torch.from_numpy(x), scale_factor=2.0, mode="linear").numpy()[0, 0]
    assert set(np.flatnonzero(np.isinf(y))) == {39, 40, 41, 42} - set(np.flatnonzero(np.isnan(y)))
    assert set(np.flatnonzero(np.isnan(y))) == {5, 6, 7, 8}


BAD_RESIZES: list[tuple[dict, type[Exception], str]] = [
    ({}, ValueError, "either size or scale_factor"),
    ({"size": 3, "scale_factor": 2.0}, ValueError, "only one of"),
    ({"size": (3, 3)}, ValueError, "same number of spatial dimensions"),
    ({"size": 2.5}, TypeError, "int"),
    ({"size": 0}, RuntimeError, "greater than 0"),
    ({"size": 3, "mode": "nearest", "align_corners": True}, ValueError, "align_corners"),
    ({"size": 3, "mode": "bilinear"}, NotImplementedError, "needs 4D"),
    ({"size": 3, "mode": "wrong"}, NotImplementedError, "wrong"),
    ({"size": 3, "mode": "linear", "antialias": True}, ValueError, "Anti-alias"),
    ({"size": 3, "recompute_scale_factor": True}, ValueError, "recompute"),
]


@pytest.mark.parametrize("kwargs, error, says", BAD_RESIZES)
def test_interpolate_refuses(kwargs: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"interpolate.*{says}"):
        F.interpolate(torch.ones(1, 1, 4), **kwargs)


def test_grid_sample_of_its_own_grid_is_the_image() -> None:
    for shape in ((2, 3, 4, 5), (1, 2, 3, 4, 2)):
        x = torch.from_numpy(RNG.standard_normal(shape))
        n = len(shape) - 2
        eye = torch.eye(n, n + 1, dtype=torch.float64).expand(shape[0], n, n + 1)
        for align, mode in itertools.product((False, True), ("bilinear", "nearest")):
            grid = F.affine_grid(eye, shape, align_corners=align)
            got = F.grid_sample(x, grid, mode=mode, align_corners=align)
            np.testing.assert_allclose(got.numpy(), x.numpy(), atol=1e-12)


def test_points_outside() -> None:
    x = torch.arange(1.0, 4.0).reshape(1, 1, 1, 3)
    grid = torch.tensor([[-3.0, 0.0], [3.0, 0.0]]).reshape(1, 1, 2, 2)
    want = {"zeros": [0, 0], "border": [1, 3], "reflection": [3, 1]}
    for padding, values in want.items():
        got = F.grid_sample(x, grid, padding_mode=padding, align_corners=True)
        assert got.flatten().tolist() == values


@pytest.mark.oracle
def test_interpolate_against_pytorch() -> None:
    oracle = pytest.importorskip("torch")
    modes = {
        3: ("nearest", "nearest-exact", "linear", "area"),
        4: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
        5: ("nearest", "trilinear", "area"),
    }
    sizes: list[dict] = [{"size": 7}, {"scale_factor": 1.7}, {"scale_factor": 0.6}]
    for ndim, how in itertools.product(modes, sizes):
        for mode in modes[ndim]:
            corners = (None,) if mode[:4] in ("near", "area") else (False, True)
            for align, smooth in itertools.product(corners, (False, True)):
                if smooth and mode not in ("bilinear", "bicubic"):
                    continue
                x = RNG.standard_normal((2, 2, *(5, 4, 3)[: ndim - 2]))
                kwargs = how | {"mode": mode, "align_corners": align, "antialias": smooth}
                agree(oracle, "interpolate", [x], kwargs)


@pytest.mark.oracle
def test_grid_sample_against_pytorch() -> None:
    oracle = pytest.importorskip("torch")
    modes, paddings = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
    for n, mode, padding, align in itertools.product((2, 3), modes, paddings, (False, True)):
        if n == 3 and mode == "bicubic":
            continue
        x = RNG.standard_normal((2, 3, *(4, 5, 3)[:n]))
        grid = RNG.standard_normal((2, *(3, 2, 2)[:n], n))
        grid.reshape(-1)[:4] = [1, -1, 0, 0.5]
        kwargs = {"mode": mode, "padding_mode": padding, "align_corners": align}
        agree(oracle, "grid_sample", [x, grid], kwargs)


def agree(oracle: Any, name: str, arrays: list, kwargs: dict) -> None:
    """Values and gradients equal PyTorch's."""
    found = []
    for library in (oracle, torch):
        xs = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = getattr(library.nn.functional, name)(*xs, **kwargs)
        g = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
        grads = library.autograd.grad(out, xs, library.from_numpy(g))
        found.append([out.detach().numpy(), *(g.numpy() for g in grads)])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9, err_msg=f"{name} {kwargs}")
