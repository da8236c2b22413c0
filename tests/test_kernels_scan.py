"""Scans on a device against NumPy: shapes, layouts, dtypes, and rows that are cut in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.runtime import memory

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
SHAPES = [
    ((), 0),
    ((1,), 0),
    ((0, 3), 0),
    ((3, 0), 1),
    ((7, 13), 1),
    ((7, 13), 0),
    ((2, 3, 5), 1),
    ((131,), 0),
    ((2, 2100), 1),
    ((70, 3), 0),
    ((2, 3, 2, 3, 2), 2),
    ((33000,), 0),
    ((2, 40000), 1),
]
LAYOUTS: list[Callable[[np.ndarray], np.ndarray]] = [
    np.ascontiguousarray,
    testing.transposed,
    testing.gapped,
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 5e-2, "int64": 0}


def check(name: str, x: np.ndarray, dim: int, dtype: torch.dtype = torch.float32) -> None:
    here = torch.from_numpy(x).to(dtype)
    there = getattr(torch, name)(here.to("cuda"), dim)
    expected = getattr(torch, name)(here, dim)
    pairs = zip(there, expected) if isinstance(there, tuple) else [(there, expected)]
    for got, wanted in pairs:
        tolerance = TOLERANCE[dtype.name] * max(1, float(np.abs(x).max(initial=0)))
        a, b = got.cpu().double().numpy(), wanted.double().numpy()
        np.testing.assert_allclose(a, b, tolerance, tolerance)


@pytest.mark.parametrize(("shape", "dim"), SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_sums(shape: tuple, dim: int, layout: Any) -> None:
    x = np.asarray(np.random.default_rng(0).standard_normal(shape))
    if x.size > 5000:
        x = np.sign(x) * (np.abs(x) > 1.5)  # sums that are exact
    check("cumsum", layout(x), dim)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_dtypes(dtype: torch.dtype) -> None:
    x = np.random.default_rng(0).integers(-4, 4, (5, 37)).astype(float)
    check("cumsum", x, 1, dtype)
    check("cumprod", x, 0, dtype)
    check("cummax", x, 1, dtype)


@pytest.mark.parametrize("name", ["cumprod", "logcumsumexp", "cummax", "cummin"])
@pytest.mark.parametrize(("shape", "dim"), [s for s in SHAPES if np.prod(s[0]) < 500])
def test_other_scans(name: str, shape: tuple, dim: int) -> None:
    x = np.asarray(np.random.default_rng(0).uniform(0.7, 1.3, shape))
    check(name, testing.gapped(x), dim)


def test_extremes_of_ties_and_nan_and_strips() -> None:
    x = np.array([[1.0, 3, 3, np.nan, 5, 2], [2, 1, 2, 0, -np.inf, np.nan]])
    for name in ("cummax", "cummin"):
        for dim in (0, 1):
            values, places = getattr(torch, name)(torch.from_numpy(x).to("cuda"), dim)
            wanted = getattr(torch, name)(torch.from_numpy(x), dim)
            np.testing.assert_array_equal(values.cpu().numpy(), wanted[0].numpy())
            assert places.cpu().tolist() == wanted[1].tolist()
    check("cummax", np.random.default_rng(0).standard_normal((1, 70)).T, 0)


def test_chunks_are_launched() -> None:
    runtime = memory.runtime()
    before = runtime.launches.get("scan_kernel", 0)  # type: ignore[attr-defined]
    x = torch.ones(33000, device="cuda")
    assert torch.cumsum(x, 0)[-1].item() == 33000
    assert runtime.launches["scan_kernel"] == before + 3  # type: ignore[attr-defined]
