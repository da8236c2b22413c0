"""Arrays, layouts and comparisons for the tests of kernels that work along rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tritorch import dtypes
from tritorch.dtypes import DType, bfloat16, bool_, float16, float32, float64
from tritorch.runtime import memory
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"

FLOATS = (float32, float16, bfloat16, float64)
# Of bfloat16 one unit of 2^-7: what both sides rounded may lie on two sides of a half.
TOLERANCE = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3, "float64": 1e-14}


def interpreter(test: Any) -> Any:
    absent = pytest.mark.skipif(not memory.interpreted(), reason="TRITORCH_EXECUTOR=interpreter")
    return pytest.mark.interpreter(absent(test))


def needs_newer_interpreter(why: str) -> None:
    """Skip the test where Triton's own interpreter, and it alone, computes something else."""
    if memory._triton() < (3, 9):
        pytest.skip(f"Triton's interpreter before 3.9 {why}")


def aot(test: Any) -> Any:
    absent = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets here")
    return pytest.mark.aot(absent(test))


def numbers(shape: Sequence[int], dtype: DType = float32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, *shape))
    if dtype is bool_ or dtype.is_floating_point:
        x = np.asarray(rng.standard_normal(shape))
        return np.asarray(x > 0) if dtype is bool_ else x.astype(dtype.np)
    return np.asarray(rng.integers(-9 if dtype.is_signed else 0, 10, shape)).astype(dtype.np)


def put(x: Any) -> Array:
    """A NumPy array on the device, with the same strides."""
    x = np.asarray(x)
    dtype, size = dtypes.of(x.dtype), x.dtype.itemsize
    strides = tuple(s // size for s in x.strides)
    extent = 1 + sum((n - 1) * s for n, s in zip(x.shape, strides)) if x.size else 0
    flat = np.lib.stride_tricks.as_strided(x, (extent,), (size,))
    to = launch.empty((extent,), dtype)
    memory.runtime().copy_from_host(flat, to)
    return to.strided(x.shape, strides)


def new(shape: Sequence[int], dtype: DType = float32) -> Array:
    return launch.empty(tuple(shape), dtype)


def plain(x: np.ndarray) -> np.ndarray:
    return x


def gapped(x: np.ndarray) -> np.ndarray:
    """The same numbers at every second place of a larger array."""
    wide = np.full([2 * n for n in x.shape], 77, x.dtype)
    view = wide[(*(slice(1, None, 2) for _ in x.shape), ...)]
    view[...] = x
    return view


def turned(x: np.ndarray) -> np.ndarray:
    """The same numbers with the dimensions in reverse order in memory."""
    return x.T.copy(order="C").T


def middle_first(x: np.ndarray) -> np.ndarray:
    """The same numbers with the last dimension before the others but the first in memory."""
    if x.ndim < 3:
        return turned(x)
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(order="C"), -1, 1)


LAYOUTS: dict[str, Callable] = {
    "plain": plain,
    "gapped": gapped,
    "turned": turned,
    "middle first": middle_first,
}


def wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def close(out: Array, expected: Any, factor: float = 1.0) -> None:
    found, expected = host_view(out), np.asarray(expected)
    assert found.shape == expected.shape
    if not out.dtype.is_floating_point:
        np.testing.assert_array_equal(found, expected)
        return
    tolerance = factor * TOLERANCE[out.dtype.name]
    exact = wide(expected)
    scale = np.abs(exact[np.isfinite(exact)]).max(initial=1.0)
    np.testing.assert_allclose(wide(found), exact, rtol=tolerance, atol=tolerance * scale)


def ran(launcher: Callable, *args: Any, **params: Any) -> set[str]:
    """The kernels that a launcher runs; it must serve the arguments."""
    count = memory.runtime().launches  # type: ignore[attr-defined]
    before = dict(count)
    assert launcher(launch, *args, **params) is None
    return {name for name, n in count.items() if n != before.get(name, 0)}
