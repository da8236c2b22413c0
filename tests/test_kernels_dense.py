"""The kernels of matrix products, convolution and pooling, without operators around them.

Interpreted, each launcher is compared with NumPy in float64; ahead of time, representative launches
are compiled for each target and must neither spill nor miss the tensor cores and wide loads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tritorch import dtypes
from tritorch.dtypes import bfloat16, float16, float32, float64, int8, int32, int64, uint8
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import _product, conv, depthwise, matmul, pool
from tritorch.kernels._choice import forget

FLOATS = (float32, float16, bfloat16, float64)
TOLERANCE = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-12}


def interpreter(test: Any) -> Any:
    absent = pytest.mark.skipif(not memory.interpreted(), reason="TRITORCH_EXECUTOR=interpreter")
    return pytest.mark.interpreter(absent(test))


def aot(test: Any) -> Any:
    absent = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets here")
    return pytest.mark.aot(absent(test))


def slow(value: tuple) -> Any:
    return pytest.param(*value, marks=pytest.mark.slow)


def numbers(shape: Sequence[int], dtype: dtypes.DType, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, *shape))
    if dtype.is_floating_point:
        return rng.standard_normal(shape).astype(dtype.np)
    return rng.integers(-9 if dtype.is_signed else 0, 10, shape).astype(dtype.np)


def put(x: np.ndarray) -> Array:
    """A NumPy array on the device, with the same strides."""
    dtype, size = dtypes.of(x.dtype), x.dtype.itemsize
    strides = tuple(s // size for s in x.strides)
    extent = 1 + sum((n - 1) * s for n, s in zip(x.shape, strides)) if x.size else 0
    flat = np.lib.stride_tricks.as_strided(x, (extent,), (size,))
    to = launch.empty((extent,), dtype)
    memory.runtime().copy_from_host(flat, to)
    return to.strided(x.shape, strides)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def spread(x: np.ndarray) -> np.ndarray:
    """The same numbers at every second place of a larger array that holds NaN else."""
    wide = np.full([2 * n for n in x.shape], 77, x.dtype)
    wide[...] = np.nan if wide.dtype.kind not in "iu" else 77
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def plain(x: np.ndarray) -> np.ndarray:
    return x


LAYOUTS: dict[str, Callable] = {"nchw": plain, "nhwc": channels_last, "spread": spread}


def like(x: np.ndarray) -> Array:
    """Uninitialised memory, which is NaN, of the shape and order of `x`."""
    if x.ndim == 4 and x.size and x.strides[1] == x.dtype.itemsize and x.shape[1] > 1:
        n, c, h, w = x.shape
        return launch.empty((n, h, w, c), dtypes.of(x.dtype)).transpose((0, 3, 1, 2))
    return launch.empty(x.shape, dtypes.of(x.dtype))


def close(out: Array, expected: np.ndarray) -> None:
    found = host_view(out)
    assert found.shape == expected.shape
    if not out.dtype.is_floating_point:
        np.testing.assert_array_equal(found, expected)
        return
    tolerance = TOLERANCE[out.dtype.name]
    wide = expected.astype(np.float64)
    scale = np.abs(wide[np.isfinite(wide)]).max(initial=1.0)
    np.testing.assert_allclose(
        found.astype(np.float64), wide, rtol=tolerance, atol=tolerance * scale
    )


def counts() -> dict[str, int]:
    return dict(memory.runtime().launches)  # type: ignore[attr-defined]


def ran(before: dict[str, int]) -> set[str]:
    return {name for name, n in counts().items() if n != before.get(name, 0)}


# -- products --------------------------------------------------------------------------------------


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) if x.dtype.kind not in "iu" else x.astype(np.int64)


# (shape of a, shape of b): empty, 1, prime, larger than a block, broadcast, vectors
PRODUCTS = [
    ((0, 5), (5, 3)),
    ((4, 0), (0, 3)),
    ((2, 0, 3), (2, 3, 4)),
    ((1, 1), (1, 1)),
    ((7, 13), (13, 11)),
    ((131, 67), (67, 139)),
    ((130, 300), (300, 17)),
    ((16, 512), (512, 48)),
    ((1, 97), (97, 53)),
    ((59, 1031), (1031, 1)),
    ((3, 1, 33), (3, 33, 9)),
    ((3, 17, 19), (3, 19, 5)),
    ((2, 3, 9, 16), (2, 3, 16, 8)),
    ((4, 1, 5, 6), (1, 3, 6, 7)),
    ((2, 1, 3, 5, 6), (1, 2, 1, 6, 7)),
    ((2, 1, 2, 1, 3, 4), (1, 2, 1, 2, 4, 3)),
]
SOME_PRODUCTS = [PRODUCTS[i] for i in (1, 3, 4, 6, 8, 9, 13)]


def product(shapes: tuple, dtype: dtypes.DType, turn: Callable = plain) -> None:
    a, b = (turn(numbers(s, dtype, i)) for i, s in enumerate(shapes))
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    expected = (wide(a) @ wide(b)).astype(dtype.np)
    out = launch.empty(expected.shape, dtype)
    assert matmul.matmul(launch, out, put(a), put(b)) is None
    close(out, expected)


@interpreter
@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_matmul(shapes: tuple) -> None:
    product(shapes, float32)


@interpreter
@pytest.mark.parametrize("dtype", (*FLOATS[1:], int8, uint8, int32, int64), ids=str)
def test_matmul_of_each_dtype(dtype: dtypes.DType) -> None:
    for shapes in SOME_PRODUCTS:
        product(shapes, dtype)


def turned(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


@interpreter
@pytest.mark.parametrize("turn", (turned, spread), ids=("transposed", "strided"))
def test_matmul_of_views(turn: Callable) -> None:
    for shapes in PRODUCTS:
        product(shapes, float32, turn)
    product(PRODUCTS[6], bfloat16, turn)


@interpreter
def test_integer_products_wrap_around() -> None:
    a = np.full((3, 40), 100, np.int8)
    out = launch.empty((3, 3), int8)
    matmul.matmul(launch, out, put(a), put(a.T))
    close(out, (a.astype(np.int64) @ a.T.astype(np.int64)).astype(np.int8))


@interpreter
def test_products_take_the_kernel_that_fits() -> None:
    before = counts()
    product(((33, 2048), (2048, 9)), float32)
    assert ran(before) == {"matmul_forward_kernel", "split_sum_kernel"}
    before = counts()
    product(((2, 5000), (5000, 1)), float32)
    assert ran(before) == {"gemv_forward_kernel", "split_sum_kernel"}
    before = counts()
    product(((200, 16), (16, 200)), float32)
    assert ran(before) == {"matmul_forward_kernel"}


@interpreter
def test_products_are_the_same_from_run_to_run() -> None:
    a, b = put(numbers((33, 4096), float32)), put(numbers((4096, 9), float32))
    first, second = launch.empty((33, 9), float32), launch.empty((33, 9), float32)
    for out in (first, second):
        matmul.matmul(launch, out, a, b)
    np.testing.assert_array_equal(host_view(first), host_view(second))


@interpreter
def test_offsets_past_int32(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (matmul, _product, conv, depthwise, pool):
        monkeypatch.setattr(module, "is_wide", lambda *arrays: True)
    _product.plan.cache_clear()
    for shapes in (PRODUCTS[5], PRODUCTS[9], PRODUCTS[13]):
        product(shapes, float32)
    for case in (CONVOLUTIONS[2], CONVOLUTIONS[7]):
        convolution(case, float32, channels_last)
    max_pool(POOLS[3], float32, plain)
    avg_pool(POOLS[3], float32, plain, True, None)
    adaptive_pool((2, 5, 7, 9), (3, 2), float32, plain)
    _product.plan.cache_clear()


@interpreter
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("bias", (True, False), ids=("bias", "no bias"))
def test_linear(dtype: dtypes.DType, bias: bool) -> None:
    for lead, k, n in (((), 5, 3), ((1,), 1, 1), ((6,), 31, 17), ((2, 3), 64, 130), ((0, 2), 4, 4),
                       ((2, 1, 5), 70, 1), ((3,), 0, 4)):  # fmt: skip
        x, w = numbers((*lead, k), dtype), numbers((n, k), dtype, 1)
        b = numbers((n,), dtype, 2) if bias else None
        expected = wide(x) @ wide(w).T + (0 if b is None else wide(b))
        out = launch.empty((*lead, n), dtype)
        assert matmul.linear(launch, out, put(x), put(w), None if b is None else put(b)) is None
        close(out, expected.astype(dtype.np))


@interpreter
def test_linear_of_views() -> None:
    x, w = numbers((4, 6, 20), float32), numbers((9, 20), float32, 1)
    b = spread(numbers((9,), float32, 2))
    for of_x, of_w in ((x.transpose(1, 0, 2), w), (spread(x), spread(w)), (x[:, ::2], turned(w))):
        out = launch.empty((*of_x.shape[:-1], 9), float32)
        matmul.linear(launch, out, put(of_x), put(of_w), put(b))
        close(out, wide(of_x) @ wide(of_w).T + wide(b))


# (shape of c, m, k, n)
ADDENDS = [
    ((7, 9), 7, 5, 9),
    ((9,), 40, 33, 9),
    ((7, 1), 7, 12, 9),
    ((), 3, 4, 5),
    ((1, 6), 1, 20, 6),
    ((8, 1), 8, 300, 1),
    ((5, 5), 5, 0, 5),
]


@interpreter
@pytest.mark.parametrize("dtype", (*FLOATS, int32, int64), ids=str)
@pytest.mark.parametrize("scales", ((1, 1), (0.1, 0.3), (2, -3), (0, 1), (1, 0)), ids=str)
def test_addmm(dtype: dtypes.DType, scales: tuple) -> None:
    alpha, beta = scales if dtype.is_floating_point else (int(scales[0]), int(scales[1]))
    for c_shape, m, k, n in ADDENDS:
        a, b = numbers((m, k), dtype), numbers((k, n), dtype, 1)
        c = numbers(c_shape, dtype, 2)
        expected = alpha * (wide(a) @ wide(b)) + beta * wide(np.broadcast_to(c, (m, n)))
        out = launch.empty((m, n), dtype)
        assert matmul.addmm(launch, out, put(c), put(a), put(b), beta=beta, alpha=alpha) is None
        close(out, expected.astype(dtype.np))


@interpreter
def test_addmm_of_batches_and_of_nan_times_zero() -> None:
    a, b = numbers((3, 4, 600), float32), numbers((3, 600, 5), float32, 1)
    c = numbers((3, 1, 5), float32, 2)
    out = launch.empty((3, 4, 5), float32)
    matmul.addmm(launch, out, put(c), put(a), put(b), beta=2, alpha=-1)
    close(out, 2 * wide(c) - wide(a) @ wide(b))
    matmul.addmm(launch, out, put(np.full_like(c, np.nan)), put(a), put(b), beta=0)
    close(out, wide(a) @ wide(b))


@interpreter
def test_what_is_not_served_launches_nothing() -> None:
    before = counts()
    flag, x = put(np.ones((2, 2), bool)), put(numbers((2, 2), float32))
    half, image = put(numbers((2, 2), float16)), put(numbers((1, 1, 2, 2), int32))
    assert matmul.matmul(launch, flag, flag, flag) is NotImplemented
    assert matmul.linear(launch, x, x, half, None) is NotImplemented
    window = {"stride": (1, 1), "padding": (0, 0)}
    taps = {**window, "dilation": (1, 1), "groups": 1}
    assert conv.conv2d(launch, image, image, image, None, **taps) is NotImplemented
    assert conv.conv2d_input(launch, image, image, image, **taps) is NotImplemented
    assert conv.conv2d_weight(launch, image, image, image, **taps) is NotImplemented
    window |= {"kernel": (1, 1), "count_include_pad": True, "divisor": None}
    assert pool.avg_pool2d(launch, image, image, **window) is NotImplemented
    assert pool.avg_pool2d_backward(launch, image, image, **window) is NotImplemented
    assert pool.adaptive_avg_pool2d(launch, image, image) is NotImplemented
    assert counts() == before


# -- convolution -----------------------------------------------------------------------------------

# (N, C, H, W), (K, R, S), stride, padding, dilation, groups
ONE, NONE = (1, 1), (0, 0)
CONVOLUTIONS = [
    ((2, 3, 9, 11), (5, 3, 3), ONE, ONE, ONE, 1),
    ((1, 20, 7, 6), (33, 3, 3), ONE, NONE, ONE, 1),
    ((2, 16, 8, 8), (8, 3, 2), (2, 2), (1, 0), ONE, 1),
    ((1, 70, 5, 5), (10, 1, 1), ONE, NONE, ONE, 1),
    ((2, 17, 6, 6), (7, 1, 1), (2, 2), NONE, ONE, 1),
    ((1, 4, 13, 9), (6, 3, 3), (2, 3), (2, 1), (2, 2), 2),
    ((2, 8, 9, 7), (8, 3, 3), ONE, ONE, ONE, 8),
    ((1, 6, 9, 7), (12, 5, 3), (2, 1), (2, 1), (1, 2), 6),
    ((0, 4, 5, 5), (4, 3, 3), ONE, ONE, ONE, 1),
    ((1, 1, 1, 1), (1, 1, 1), ONE, NONE, ONE, 1),
    ((1, 32, 6, 6), (64, 3, 3), ONE, ONE, ONE, 2),
    ((1, 4, 10, 10), (4, 2, 2), (4, 4), ONE, (3, 3), 1),
    ((3, 5, 9, 4), (3, 2, 2), (2, 2), NONE, ONE, 1),
    ((1, 1, 12, 12), (8, 5, 5), ONE, (2, 2), ONE, 1),
    ((1, 2, 1, 37), (2, 1, 7), (1, 2), (0, 3), ONE, 1),
]
SOME_CONVOLUTIONS = [CONVOLUTIONS[i] for i in (0, 2, 3, 7, 10)]


def windows(x: np.ndarray, taps: tuple, stride: tuple, padding: tuple, dilation: tuple) -> Any:
    """(N, C, P, Q, R, S): what each tap of each window sees."""
    (r, s), (n, c, h, w) = taps, x.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    size = [
        (i + 2 * p - d * (k - 1) - 1) // t + 1
        for i, p, d, k, t in zip((h, w), padding, dilation, taps, stride)
    ]
    s_n, s_c, s_h, s_w = x.strides
    steps = (s_h * stride[0], s_w * stride[1], s_h * dilation[0], s_w * dilation[1])
    return np.lib.stride_tricks.as_strided(x, (n, c, *size, r, s), (s_n, s_c, *steps))


def convolution(case: tuple, dtype: dtypes.DType, layout: Callable) -> None:
    shape, (k, *taps), stride, padding, dilation, groups = case
    n, c = shape[:2]
    x, weight = numbers(shape, dtype), numbers((k, c // groups, *taps), dtype, 1)
    bias = numbers((k,), dtype, 2)
    seen = windows(wide(x), tuple(taps), stride, padding, dilation)
    seen = seen.reshape(n, groups, c // groups, *seen.shape[2:])
    split = wide(weight).reshape(groups, k // groups, *weight.shape[1:])
    y = np.einsum("ngcpqrs,gkcrs->ngkpq", seen, split)
    y = y.reshape(n, k, *y.shape[3:])
    params = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    dx_x, dx_weight = put(layout(x)), put(layout(weight))
    for b in (None, bias):
        out = like(layout(y.astype(dtype.np)))
        given = None if b is None else put(b)
        assert conv.conv2d(launch, out, dx_x, dx_weight, given, **params) is None
        close(out, y if b is None else y + wide(b)[:, None, None])

    g = numbers(y.shape, dtype, 3)
    g_split = wide(g).reshape(n, groups, k // groups, *g.shape[2:])
    dw = like(layout(weight))
    assert conv.conv2d_weight(launch, dw, put(layout(g)), dx_x, **params) is None
    close(dw, np.einsum("ngcpqrs,ngkpq->gkcrs", seen, g_split).reshape(weight.shape))

    # The gradient of x is the transpose of `windows`: let each tap add to what it saw.
    place = np.arange(x.size + 1)
    place[-1] = 0
    ids = windows(1 + np.arange(x.size).reshape(shape), tuple(taps), stride, padding, dilation)
    parts = np.einsum("ngkpq,gkcrs->ngcpqrs", g_split, split).reshape(ids.shape)
    expected = np.bincount(ids.ravel(), parts.ravel(), x.size + 1)[1:].reshape(shape)
    dx = like(layout(x))
    assert conv.conv2d_input(launch, dx, put(layout(g)), dx_weight, **params) is None
    close(dx, expected)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_conv2d(case: tuple, layout: str) -> None:
    convolution(case, float32, LAYOUTS[layout])


@interpreter
@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
def test_conv2d_of_each_dtype(dtype: dtypes.DType) -> None:
    for case in SOME_CONVOLUTIONS:
        convolution(case, dtype, channels_last)


@interpreter
def test_convolutions_take_the_kernel_that_fits() -> None:
    def kernels(case: tuple, layout: Callable = plain) -> set[str]:
        before = counts()
        convolution(case, float32, layout)
        return ran(before)

    assert kernels(CONVOLUTIONS[3]) == {"matmul_forward_kernel", "conv2d_weight_kernel"}
    assert kernels(CONVOLUTIONS[3], spread) == {"conv2d_forward_kernel", "conv2d_weight_kernel"}
    assert kernels(CONVOLUTIONS[6]) == {"depthwise_forward_kernel", "depthwise_weight_kernel"}
    many = ((4, 3, 16, 16), (4, 3, 3), ONE, ONE, ONE, 1)
    split = {"conv2d_forward_kernel", "conv2d_weight_kernel", "split_sum_kernel"}
    assert kernels(many) == split
    deep = ((4, 8, 24, 24), (8, 3, 3), ONE, ONE, ONE, 8)
    assert "split_sum_kernel" in kernels(deep)


def test_phases_meet_every_tap_once() -> None:
    for size, taps, stride, padding, dilation in (
        (9, 3, 2, 1, 1),
        (7, 4, 3, 2, 2),
        (5, 3, 4, 0, 6),
    ):
        expected = {
            (h, r): (h + padding - r * dilation) // stride
            for h in range(size)
            for r in range(taps)
            if (h + padding - r * dilation) % stride == 0
        }
        found = {}
        for p in conv.phases(size, taps, stride, padding, dilation):
            for i, h in enumerate(range(p.first, size, stride)):
                for j, r in enumerate(range(p.tap, taps, p.step)):
                    found[h, r] = i - p.padding + j * p.dilation
        assert found == expected


# -- pooling ---------------------------------------------------------------------------------------

# (N, C, H, W), kernel, stride, padding, dilation, whether the last window may hang over
POOLS = [
    ((2, 3, 7, 9), (2, 2), (2, 2), NONE, ONE, False),
    ((1, 5, 8, 8), (3, 3), (2, 2), ONE, ONE, True),
    ((2, 17, 13, 11), (3, 2), (1, 2), (1, 0), (2, 1), False),
    ((1, 4, 31, 37), (5, 3), (3, 4), (2, 1), ONE, False),
    ((0, 3, 4, 4), (2, 2), (2, 2), NONE, ONE, False),
    ((1, 1, 1, 1), ONE, ONE, NONE, ONE, False),
    ((3, 2, 6, 6), (2, 2), (3, 3), NONE, ONE, False),
    ((1, 130, 5, 3), (3, 3), ONE, ONE, ONE, False),
    ((1, 2, 64, 1), (3, 1), (2, 1), (1, 0), ONE, True),
    ((2, 2, 5, 5), (5, 5), (5, 5), NONE, ONE, False),
    ((1, 3, 11, 11), (3, 3), (1, 1), ONE, (3, 3), False),
    ((1, 1, 6, 47), (4, 7), (2, 5), (2, 3), ONE, True),
]


def pooled(n: int, k: int, s: int, p: int, d: int, over: bool) -> int:
    size = n + 2 * p - d * (k - 1) - 1
    out = -(-size // s) + 1 if over else size // s + 1
    return out - 1 if over and (out - 1) * s >= n + p else out


def result(case: tuple) -> tuple[int, ...]:
    shape, *rest, over = case
    return (*shape[:2], *(pooled(shape[2 + i], *(v[i] for v in rest), over) for i in (0, 1)))


def max_pool(case: tuple, dtype: dtypes.DType, layout: Callable) -> None:
    shape, kernel, stride, padding, dilation, _ = case
    x = numbers(shape, dtype)
    if dtype.is_floating_point:
        x[..., ::5, 1::4] = np.nan
    x[..., 1::4] = 3  # equal elements
    best = np.zeros(result(case))
    index = np.full(best.shape, -1)
    _, _, p, q = np.indices(best.shape, sparse=True)
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            h = p * stride[0] - padding[0] + r * dilation[0]
            w = q * stride[1] - padding[1] + s * dilation[1]
            inside = (h >= 0) & (h < shape[2]) & (w >= 0) & (w < shape[3])
            v = x[:, :, np.clip(h, 0, shape[2] - 1)[0, 0], np.clip(w, 0, shape[3] - 1)[0, 0]]
            v = v.astype(np.float64)
            better = inside & ((index < 0) | (v > best) | np.isnan(v))
            best = np.where(better, v, best)
            index = np.where(better, h * shape[3] + w, index)
    params = dict(kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    out, found = like(layout(best.astype(dtype.np))), like(layout(index))
    assert pool.max_pool2d(launch, (out, found), put(layout(x)), **params) is None
    np.testing.assert_array_equal(host_view(out), best.astype(dtype.np))
    np.testing.assert_array_equal(host_view(found), index)
    if dtype.is_floating_point:
        g = numbers(best.shape, dtype, 1)
        planes = shape[0] * shape[1]
        flat = index + np.arange(planes).reshape(*shape[:2], 1, 1) * shape[2] * shape[3]
        expected = np.bincount(flat.ravel(), wide(g).ravel(), x.size).reshape(shape)
        dx = like(layout(x))
        given = put(layout(g)), put(layout(index))
        assert pool.max_pool2d_backward(launch, dx, *given, **params) is None
        close(dx, expected)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool2d(case: tuple, layout: str) -> None:
    max_pool(case, float32, LAYOUTS[layout])


@interpreter
@pytest.mark.parametrize("dtype", (*FLOATS[1:], int32, int64, uint8), ids=str)
def test_max_pool2d_of_each_dtype(dtype: dtypes.DType) -> None:
    for case in POOLS[:3]:
        max_pool(case, dtype, channels_last)


def avg_pool(
    case: tuple, dtype: dtypes.DType, layout: Callable, padded: bool, divisor: int | None
) -> None:
    shape, kernel, stride, padding, _, _ = case
    x, g = numbers(shape, dtype), numbers(result(case), dtype, 1)
    y, expected = np.zeros(g.shape), np.zeros(shape)
    for p, q in np.ndindex(*g.shape[2:]):
        low = [i * s - o for i, s, o in zip((p, q), stride, padding)]
        high = [min(b + k, n + o) for b, k, n, o in zip(low, kernel, shape[2:], padding)]
        size = (high[0] - low[0]) * (high[1] - low[1])
        low, high = [max(b, 0) for b in low], [min(e, n) for e, n in zip(high, shape[2:])]
        size = size if padded else (high[0] - low[0]) * (high[1] - low[1])
        at = (slice(None), slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
        y[:, :, p, q] = wide(x[at]).sum((2, 3)) / (divisor or size)
        expected[at] += wide(g)[:, :, p, q, None, None] / (divisor or size)
    params = dict(
        kernel=kernel, stride=stride, padding=padding, count_include_pad=padded, divisor=divisor
    )
    out, dx = like(layout(g)), like(layout(x))
    assert pool.avg_pool2d(launch, out, put(layout(x)), **params) is None
    close(out, y)
    assert pool.avg_pool2d_backward(launch, dx, put(layout(g)), **params) is None
    close(dx, expected)


@interpreter
@pytest.mark.parametrize("case", [c for c in POOLS if c[4] == ONE], ids=str)
@pytest.mark.parametrize("padded", (True, False), ids=("padding counts", "padding does not"))
def test_avg_pool2d(case: tuple, padded: bool) -> None:
    avg_pool(case, float32, plain if padded else channels_last, padded, None)
    avg_pool(case, float32, spread, padded, 3)


@interpreter
@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
def test_avg_pool2d_of_each_dtype(dtype: dtypes.DType) -> None:
    for case in (POOLS[1], POOLS[3]):
        avg_pool(case, dtype, channels_last, False, None)


def adaptive_pool(shape: tuple, to: tuple, dtype: dtypes.DType, layout: Callable) -> None:
    x, g = numbers(shape, dtype), numbers((*shape[:2], *to), dtype, 1)
    y, expected = np.zeros(g.shape), np.zeros(shape)
    for p, q in np.ndindex(*to):
        (h, w), (n_p, n_q) = shape[2:], to
        rows = slice(p * h // n_p, -(-(p + 1) * h // n_p))
        columns = slice(q * w // n_q, -(-(q + 1) * w // n_q))
        at = (slice(None), slice(None), rows, columns)
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        y[:, :, p, q] = wide(x[at]).sum((2, 3)) / size
        expected[at] += wide(g)[:, :, p, q, None, None] / size
    out, dx = like(layout(g)), like(layout(x))
    assert pool.adaptive_avg_pool2d(launch, out, put(layout(x))) is None
    close(out, y)
    assert pool.adaptive_avg_pool2d_backward(launch, dx, put(layout(g))) is None
    close(dx, expected)


# ((N, C, H, W), (P, Q))
ADAPTIVE = [
    ((2, 3, 7, 9), (1, 1)),
    ((2, 3, 7, 9), (2, 3)),
    ((1, 5, 8, 8), (4, 2)),
    ((1, 2, 3, 5), (7, 6)),
    ((0, 2, 4, 4), (2, 2)),
    ((1, 1, 1, 1), (1, 1)),
    ((1, 67, 5, 5), (1, 1)),
    ((1, 2, 33, 35), (1, 1)),
    ((2, 2, 13, 11), (5, 7)),
    ((1, 1, 6, 6), (6, 6)),
    ((1, 3, 1, 17), (1, 4)),
    ((1, 2, 40, 3), (3, 3)),
]


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_adaptive_avg_pool2d(layout: str) -> None:
    for shape, to in ADAPTIVE:
        adaptive_pool(shape, to, float32, LAYOUTS[layout])


@interpreter
@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
def test_adaptive_avg_pool2d_of_each_dtype(dtype: dtypes.DType) -> None:
    for to in ((1, 1), (3, 2)):
        adaptive_pool((2, 5, 7, 9), to, dtype, channels_last)


# -- ahead of time ---------------------------------------------------------------------------------

CORES = {"sm_80": "HMMA", "sm_90": "HGMMA", "sm_100": "UTCHMMA", "sm_120": "HMMA", "gfx942": "MFMA"}


def fit(facts: list[Facts]) -> None:
    """No launch needs more shared memory than there is, or spills to memory."""
    for f in facts:
        assert f.shared <= TARGETS[f.target].shared_memory, f
        assert f.stack == 0, f


def matrices(m: int, n: int, k: int, dtype: dtypes.DType, order: str = "nn") -> list[Array]:
    a = meta((m, k), dtype) if order[0] == "n" else meta((k, m), dtype).transpose()
    b = meta((k, n), dtype) if order[1] == "n" else meta((n, k), dtype).transpose()
    return [meta((m, n), dtype), a, b]


def images(shape: Sequence[int], dtype: dtypes.DType, layout: str = "nhwc") -> Array:
    n, c, h, w = shape
    if layout == "nchw":
        return meta(shape, dtype)
    return meta((n, h, w, c), dtype).transpose((0, 3, 1, 2))


@pytest.fixture
def pointers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Descriptors read no product (`test_kernels_persistent.py` has those that they read)."""
    monkeypatch.setenv("TRITORCH_DESCRIPTORS", "0")
    forget()
    yield
    forget()


@aot
@pytest.mark.parametrize("target", TARGETS)
def test_large_products_reach_the_tensor_cores(target: str, pointers: None) -> None:
    with compile_for(target) as compiled:
        for order in ("nn", "nt"):
            matmul.matmul(launch, *matrices(4096, 4096, 4096, bfloat16, order))
        matmul.matmul(launch, *matrices(4096, 4096, 4096, float32))
    fit(compiled.facts)
    for f in compiled.facts[:2]:
        assert f.stack == 0 and set(f.dots) == {CORES[target]}, f
        assert set(f.loads) == {128} and f.widest_store >= 64, f
    exact = compiled.facts[2]
    assert exact.loads.keys() == {128} and bool(exact.dots) == (target == "gfx942"), exact


# (m, n, k, order): tails, sizes of 8, odd sizes, few rows, few tiles
SHAPES = [
    (4096, 4096, 4112, "nn"),
    (4096, 4096, 4096, "tn"),
    (1024, 1000, 1000, "nt"),
    (2048, 1000, 1000, "nn"),
    (4095, 4095, 4095, "nn"),
    (4095, 4095, 4095, "tn"),
    (4095, 4095, 4095, "nt"),
    (16, 4096, 4096, "nt"),
    (64, 4096, 4096, "nn"),
    (512, 512, 4096, "nt"),
    (1, 4096, 4096, "nt"),
    (1, 4096, 4096, "nn"),
]


@aot
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", (float16, float32, float64), ids=str)
def test_products_of_every_shape_fit(target: str, dtype: dtypes.DType, pointers: None) -> None:
    with compile_for(target) as compiled:
        for m, n, k, order in SHAPES:
            start = len(compiled.facts)
            matmul.matmul(launch, *matrices(m, n, k, dtype, order))
            f = compiled.facts[start]
            if m % 8 == 0 and f.kernel == "matmul_forward_kernel":
                assert f.widest_load == 128 and f.loads.keys() <= {64, 128}, f
            if dtype is float16 and m >= 64:
                assert set(f.dots) == {CORES[target]}, f
    fit(compiled.facts)


@aot
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_other_products_fit(target: str, pointers: None) -> None:
    with compile_for(target) as compiled:
        for dtype in (int8, int32, int64):
            matmul.matmul(launch, *matrices(4096, 4096, 4096, dtype))
            matmul.matmul(launch, *matrices(1, 4096, 4096, dtype))
        for precision in ("tf32", "tf32x3") if target != "gfx942" else ():
            for order in ("nn", "nt", "tn"):
                given = matrices(4096, 4096, 4096, float32, order)
                matmul.matmul(launch, *given, precision=precision)
                assert compiled.facts[-1].dots
        x, w = meta((8, 512, 768), bfloat16), meta((3072, 768), bfloat16)
        matmul.linear(launch, meta((8, 512, 3072), bfloat16), x, w, meta((3072,), bfloat16))
        heads = meta((8, 512, 12, 64), bfloat16).transpose((0, 2, 1, 3))
        scores = meta((8, 12, 512, 512), bfloat16)
        matmul.addmm(
            launch,
            scores,
            meta((512,), bfloat16),
            heads,
            heads.transpose((0, 1, 3, 2)),
            alpha=0.125,
        )
        assert all(set(f.dots) == {CORES[target]} for f in compiled.facts[-2:])
    fit(compiled.facts)


# (N, C, H, W), (K, R, S), stride, padding, dilation, groups
NETWORKS = {
    "3x3": ((32, 256, 14, 14), (256, 3, 3), ONE, ONE, ONE, 1),
    "3x3 large": ((32, 256, 56, 56), (256, 3, 3), ONE, ONE, ONE, 1),
    "3x3 stride 2": ((32, 128, 56, 56), (128, 3, 3), (2, 2), ONE, ONE, 1),
    "3x3 of 40": ((32, 40, 28, 28), (40, 3, 3), ONE, ONE, ONE, 1),
    "stem": ((32, 3, 224, 224), (64, 7, 7), (2, 2), (3, 3), ONE, 1),
    "1x1": ((32, 256, 56, 56), (64, 1, 1), ONE, NONE, ONE, 1),
    "1x1 stride 2": ((32, 256, 56, 56), (512, 1, 1), (2, 2), NONE, ONE, 1),
    "32 groups": ((32, 1024, 14, 14), (1024, 3, 3), ONE, ONE, ONE, 32),
    "depthwise 3x3": ((32, 144, 56, 56), (144, 3, 3), ONE, ONE, ONE, 144),
    "depthwise 7x7": ((32, 96, 56, 56), (96, 7, 7), ONE, (3, 3), ONE, 96),
}


def compile_convolution(target: str, name: str, dtype: dtypes.DType, layout: str) -> list[Facts]:
    """The facts of the first launch of forward, gradient of x, and gradient of the weight."""
    shape, (k, *taps), stride, padding, dilation, groups = NETWORKS[name]
    size = [
        (i + 2 * p - d * (t - 1) - 1) // s + 1
        for i, p, d, t, s in zip(shape[2:], padding, dilation, taps, stride)
    ]
    x, w = images(shape, dtype, layout), images((k, shape[1] // groups, *taps), dtype, layout)
    y = images((shape[0], k, *size), dtype, layout)
    params = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    found = []
    with compile_for(target) as compiled:
        for launcher, given in (
            (conv.conv2d, (y, x, w, meta((k,), dtype))),
            (conv.conv2d_input, (x, y, w)),
            (conv.conv2d_weight, (w, y, x)),
        ):
            start = len(compiled.facts)
            launcher(launch, *given, **params)
            found.append(compiled.facts[start])
    fit(compiled.facts)
    return found


@aot
@pytest.mark.parametrize("target", TARGETS)
def test_convolutions_reach_the_tensor_cores(target: str) -> None:
    facts = compile_convolution(target, "3x3", bfloat16, "nhwc")
    for f in facts:
        assert set(f.dots) == {CORES[target]} and f.widest_load == 128, f
    facts = compile_convolution(target, "depthwise 3x3", bfloat16, "nhwc")
    for f in facts:
        assert not f.dots and f.widest_load == 128, f


@aot
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_fit(target: str, name: str) -> None:
    for layout in ("nhwc", "nchw"):
        for f in compile_convolution(target, name, float16, layout):
            assert bool(f.dots) != ("depthwise" in name), f
            if layout == "nhwc" and "stem" not in name:
                assert f.bulk or f.widest_load == 128, f
        compile_convolution(target, name, float32, layout)


POOLED = [(target, dtype) for target in TARGETS for dtype in (float16, float32, float64)]


@aot
@pytest.mark.parametrize(
    "target, dtype",
    [p if p in (("sm_90", float16), ("gfx942", float16)) else slow(p) for p in POOLED],
    ids=str,
)
def test_pooling_fits(target: str, dtype: dtypes.DType) -> None:
    window = {"kernel": (3, 3), "stride": (2, 2), "padding": ONE}
    average = window | {"count_include_pad": False, "divisor": None}
    x, y = images((32, 64, 112, 112), dtype), images((32, 64, 56, 56), dtype)
    index = images(y.shape, int64)
    with compile_for(target) as compiled:
        pool.max_pool2d(launch, (y, index), x, **window, dilation=ONE)
        pool.max_pool2d_backward(launch, x, y, index, **window, dilation=ONE)
        pool.avg_pool2d(launch, y, x, **average)
        pool.avg_pool2d_backward(launch, x, y, **average)
        pool.adaptive_avg_pool2d(launch, images((32, 64, 7, 7), dtype), x)
        pool.adaptive_avg_pool2d_backward(launch, x, images((32, 64, 7, 7), dtype))
    fit(compiled.facts)
    assert all(f.widest_load == 128 for f in compiled.facts), compiled.facts
