"""The kernels of float8 products, and of sums of products with an activation.

Interpreted, each way to the numbers is compared with NumPy; ahead of time, the launches for each
target must neither spill nor miss the tensor cores.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from test_kernels_dense import CORES, aot, close, fit, interpreter, numbers, put, spread, wide

from tritorch import dtypes
from tritorch.dtypes import bfloat16, float8_e4m3fn, float8_e5m2, float16, float32, float64, int32
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

pytest.importorskip("triton")

from tritorch.kernels import matmul, scaled

FLOAT8 = (float8_e4m3fn, float8_e5m2)
PAIRS = list(itertools.product(FLOAT8, FLOAT8))
# (m, k, n): nothing to sum, 1, prime, past a block, tails
SIZES = [(3, 0, 2), (1, 1, 1), (7, 13, 11), (131, 129, 70), (16, 256, 64)]


@pytest.fixture(params=(True, False), ids=("float8", "bits"))
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the target has float8, or the bits become float16."""
    monkeypatch.setattr(scaled, "has_float8", lambda target: request.param)
    return request.param


def eighths(shape: tuple, dtype: dtypes.DType, seed: int) -> np.ndarray:
    return numbers(shape, float32, seed).astype(dtype.np)


def put8(x: np.ndarray) -> Array:
    """Float8 on the device; NumPy has strides of their bytes."""
    there = put(x.view(np.uint8))
    return Array(there.memory, there.offset, there.shape, there.strides, dtypes.of(x.dtype))


# -- float8 ----------------------------------------------------------------------------------------


@interpreter
@pytest.mark.parametrize("types", PAIRS, ids=str)
def test_products_of_float8(types: tuple, native: bool) -> None:
    for rows, (m, k, n) in itertools.product((True, False), SIZES):
        a, b = eighths((m, k), types[0], 1), eighths((n, k), types[1], 2).T
        one = np.float32(0.5)
        sa = numbers((m, 1), float32, 3) if rows else np.full((), one)
        sb = numbers((1, n), float32, 4) if rows else np.full((), one)
        bias = numbers((n,), bfloat16, 5)
        expected = (wide(a) @ wide(b)) * sa * sb
        for out_dtype, added in ((float32, None), (bfloat16, bias), (float16, None)):
            out = launch.empty((m, n), out_dtype)
            given = (put8(a), put8(b), put(sa), put(sb), None if added is None else put(added))
            assert scaled.scaled_mm(launch, out, *given, fast=False) is None
            close(out, expected if added is None else expected + wide(added))


@interpreter
def test_products_of_float8_of_any_layout(native: bool) -> None:
    a, b = eighths((20, 40), float8_e4m3fn, 1), eighths((40, 9), float8_e4m3fn, 2)
    sa, sb = numbers((20, 1), float32, 3), numbers((1, 9), float32, 4)
    bias = spread(numbers((9,), float32, 5))
    for left, right in ((a, b), (np.asfortranarray(a), np.asfortranarray(b)), (a[:, ::2], b[::2])):
        out = launch.empty((9, 20), float32).transpose()
        scaled.scaled_mm(
            launch, out, put8(left), put8(right), put(spread(sa)), put(sb), put(bias), fast=True
        )
        close(out, (wide(left) @ wide(right)) * sa * sb + bias)


@interpreter
@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_every_float8_counts_as_itself(dtype: dtypes.DType, native: bool) -> None:
    """All 256 bit patterns times 1: subnormals, infinities and NaN too."""
    x = np.arange(256, dtype=np.uint8).view(dtype.np)[:, None]
    out, one = launch.empty((256, 1), float32), put(np.ones((), np.float32))
    scaled.scaled_mm(
        launch, out, put8(x), put8(np.ones((1, 1), dtype.np)), one, one, None, fast=False
    )
    np.testing.assert_array_equal(host_view(out), x.astype(np.float32))


@interpreter
def test_what_scaled_products_do_not_serve() -> None:
    a, one = put8(eighths((2, 2), float8_e4m3fn, 1)), put(np.ones((), np.float32))
    for x, out_dtype in (
        (a, float8_e4m3fn),
        (a, float64),
        (put(numbers((2, 2), float16)), float32),
    ):
        out = launch.empty((2, 2), out_dtype)
        assert scaled.scaled_mm(launch, out, x, a, one, one, None, fast=False) is NotImplemented


def product(m: int, n: int, k: int, types: tuple = FLOAT8, turned: bool = True, **p: Any) -> None:
    a = meta((m, k), types[0])
    b = meta((n, k), types[1]).transpose() if turned else meta((k, n), types[1])
    scales = meta((m, 1), float32), meta((1, n), float32)
    out, bias = meta((m, n), bfloat16), meta((n,), bfloat16)
    scaled.scaled_mm(launch, out, a, b, *scales, bias, **{"fast": False, **p})


# the tensor-core instructions of float8; of float16 where there are none
CORES8 = {**CORES, "sm_90": "QGMMA", "sm_100": "UTCQMMA", "sm_120": "QMMA"}


@aot
@pytest.mark.parametrize("target", TARGETS)
def test_products_of_float8_reach_the_tensor_cores(target: str) -> None:
    with compile_for(target) as compiled:
        for fast in (False, True):
            product(4096, 4096, 4096, fast=fast)
            product(4096, 4096, 4096, (float8_e4m3fn, float8_e4m3fn), fast=fast)
        product(1000, 1000, 1008)
        product(4096, 4096, 4096, turned=False)
        product(4095, 4095, 4095)
        product(16, 4096, 4096)
    fit(compiled.facts)
    *tall, flat = compiled.facts
    for f in tall:
        assert f.stack == 0 and set(f.dots) == {CORES8[target]}, f
    assert flat.dots, flat
    for f in (*tall[:5], flat):
        assert f.widest_load == 128, f


@aot
def test_products_of_float8_name_both_formats() -> None:
    texts = []
    with compile_for("sm_90") as compiled:
        compiled.watch = lambda kernel: texts.append(kernel.asm["ptx"])  # type: ignore
        for types in PAIRS:
            product(4096, 4096, 4096, types)
    names = ("e4m3", "e5m2")
    for text, (a, b) in zip(texts, itertools.product(names, names), strict=True):
        assert f"wgmma.mma_async.sync.aligned.m64n128k32.f32.{a}.{b} " in text


# -- sums with an activation -----------------------------------------------------------------------


def activated(x: np.ndarray, use_gelu: bool) -> np.ndarray:
    from scipy.special import erf

    return x * 0.5 * (1 + erf(x / np.sqrt(2))) if use_gelu else np.maximum(x, 0)


def summed(m: int, k: int, n: int, dtype: dtypes.DType, use_gelu: bool) -> tuple[Array, np.ndarray]:
    """What the kernels and what NumPy makes of `act(2 c - a @ b / 2)`."""
    a, b = numbers((m, k), dtype, 1), numbers((k, n), dtype, 2)
    c, out = numbers((n,), dtype, 3), launch.empty((m, n), dtype)
    given = {"beta": 2, "alpha": -0.5, "use_gelu": use_gelu}
    assert matmul.addmm_activation(launch, out, put(c), put(a), put(b), **given) is None
    return out, activated(2 * wide(c) - 0.5 * (wide(a) @ wide(b)), use_gelu)


@interpreter
@pytest.mark.parametrize("dtype", (float32, float16, bfloat16, float64), ids=str)
@pytest.mark.parametrize("use_gelu", (False, True), ids=("relu", "gelu"))
def test_sums_with_an_activation(dtype: dtypes.DType, use_gelu: bool) -> None:
    """In the tiled kernel, in the one for vectors, and in the pass after a split."""
    for m, k, n in ((7, 5, 9), (130, 33, 70), (1, 40, 6), (33, 2048, 9), (2, 5000, 1)):
        close(*summed(m, k, n, dtype, use_gelu))


@interpreter
def test_integers_have_no_activation_in_the_kernel() -> None:
    x = put(numbers((2, 2), int32))
    assert matmul.addmm_activation(launch, x, x, x, x) is NotImplemented


@aot
@pytest.mark.parametrize("target", TARGETS)
def test_sums_with_an_activation_fit(target: str) -> None:
    def facts(dtype: dtypes.DType, **params: Any) -> Facts:
        square = [meta((4096, 4096), dtype) for _ in range(3)]
        out, a, b = square
        matmul.addmm_activation(launch, out, meta((4096,), dtype), a, b, **params)
        return compiled.facts[-1]

    with compile_for(target) as compiled:
        for use_gelu in (False, True):
            f = facts(bfloat16, use_gelu=use_gelu)
            assert f.stack == 0 and set(f.dots) == {CORES[target]}, f
            assert f.bulk or f.widest_load == 128, f
            facts(float32, use_gelu=use_gelu)
    fit(compiled.facts)
