"""Kernels that move data: copy, cat, pad, roll, indexing, embedding, optimizer steps.

In Triton's interpreter against NumPy, and compiled ahead of time with gates on the result.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tritorch import dtypes
from tritorch.dtypes import bfloat16, bool_, float16, float32, float64, int64, uint8
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, Facts, compile_for
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch
from tritorch.runtime.memory import meta

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import _segments, copy, embedding, index, optim, pad, scatter

compiles = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets in this process")
BF16 = np.dtype(ml_dtypes.bfloat16)


def interpreter(test: Any) -> Any:
    skip = pytest.mark.skipif(
        not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
    )
    return pytest.mark.interpreter(skip(test))


# -- arrays ------------------------------------------------------------------------------------

SHAPES = [
    (), (0,), (1,), (7,), (2500,), (3, 0, 2), (33, 5), (1, 61), (67, 70), (4, 1, 6), (2, 3, 4, 5),
    (5, 3, 2, 3, 2, 3), (2, 3, 2, 2, 3, 2, 2),
]  # fmt: skip
SOLID = [s for s in SHAPES if s and 0 not in s]
LAYOUTS = ["contiguous", "transposed", "sliced", "reversed", "broadcast", "shifted", "rotated"]
FEW = ["contiguous", "sliced", "reversed", "rotated"]


def new(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Memory full of NaN."""
    return memory.runtime().empty(shape, dtypes.of(np.dtype(dtype)))


def to_device(a: Any, layout: str = "contiguous") -> Array:
    """An Array equal to `a`, laid out in memory in this way."""
    a = np.asarray(a)
    if layout == "transposed":
        return to_device(a.T).transpose()
    if layout == "reversed" and a.size:
        return to_device(a[(slice(None, None, -1),) * a.ndim])[(slice(None, None, -1),) * a.ndim]
    if layout == "sliced":
        wide = new(tuple(2 * n + 1 for n in a.shape), a.dtype)
        view = wide[tuple(slice(1, 2 * n + 1, 2) for n in a.shape)]
    elif layout == "shifted":
        view = new((*a.shape[:-1], a.shape[-1] + 1) if a.ndim else (2,), a.dtype)[..., 1:]
        view = view if a.ndim else view[0]
    elif layout == "rotated" and a.ndim > 2:
        return to_device(np.moveaxis(a, 0, -1)).transpose([a.ndim - 1, *range(a.ndim - 1)])
    else:
        view = new(a.shape, a.dtype)
    host_view(view)[...] = a
    return view


def example(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -100, 100, shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return np.asarray(rng.standard_normal(shape) * 10).astype(dtype)


def indices(shape: tuple[int, ...], size: int, seed: int = 1) -> np.ndarray:
    """Indices from -size to size - 1."""
    return np.random.default_rng(seed).integers(-size, max(size, 1), shape)


def same(out: Array, expected: Any) -> None:
    np.testing.assert_array_equal(host_view(out), expected)


def close(out: Array, expected: Any, tolerance: float = 2e-6) -> None:
    found = host_view(out).astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def launches(run: Callable[[], Any]) -> set[str]:
    """The kernels that a call runs."""
    before = dict(memory.runtime().launches)
    run()
    after = memory.runtime().launches
    return {name for name, n in after.items() if n != before.get(name, 0)}


# -- copy --------------------------------------------------------------------------------------


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_copy(shape: tuple[int, ...], layout: str) -> None:
    a = example(shape)
    x = to_device(a, layout)
    if layout == "broadcast":
        x, a = x.broadcast_to((3, *shape)), np.broadcast_to(a, (3, *shape))
    for target in ("contiguous", "transposed", "sliced"):
        out = to_device(np.zeros_like(a), target)
        assert copy.copy(launch, out, x) is None
        same(out, a)


CASTS = [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32,
         np.float64]  # fmt: skip


@interpreter
@pytest.mark.parametrize("source", CASTS)
def test_copy_casts(source: Any) -> None:
    a = example((5, 31), source)
    for target in CASTS:
        out = new(a.shape, target)
        copy.copy(launch, out, to_device(a))
        same(out, a.astype(np.int64).astype(target) if np.dtype(source).kind == "f"
             and np.dtype(target).kind in "iu" else a.astype(target))  # fmt: skip


@interpreter
def test_copy_bfloat16_and_complex() -> None:
    a = example((9, 14)).astype(BF16)
    for target in (np.float32, np.float64, BF16, np.int32, np.bool_):
        out = new((14, 9), target)
        copy.copy(launch, out, to_device(a).transpose())
        same(out, a.T.astype(np.float32).astype(target))
    out = new((9, 14), BF16)
    copy.copy(launch, out, to_device(a.astype(np.float32)))
    same(out, a)
    c = example((9, 14), np.complex64)
    for target in (np.complex64, np.complex128):
        out = new((14, 9), target)
        copy.copy(launch, out, to_device(c).transpose())
        same(out, c.T.astype(target))
    out = new((9, 14))
    copy.copy(launch, out, to_device(c))
    same(out, c.real)
    out = new((9, 14), np.complex64)
    copy.copy(launch, out, to_device(c.real.copy()))
    same(out, c.real)


@interpreter
def test_copy_paths() -> None:
    a = example((96, 80))
    x, out = to_device(a), new((96, 80))
    assert launches(lambda: copy.copy(launch, out, x)) == {"copy_flat_kernel"}
    assert launches(lambda: copy.copy(launch, out.transpose(), x.transpose())) == {
        "copy_flat_kernel"
    }
    assert launches(lambda: copy.copy(launch, out[:, :40], x[:, :40])) == {"copy_rows_kernel"}
    out = new((80, 96))
    assert launches(lambda: copy.copy(launch, out, x.transpose())) == {"copy_transposed_kernel"}
    same(out, a.T)
    b = example((2, 3, 40, 44))  # the channels of an image behind each other, and back
    out = new((2, 40, 44, 3))
    run = lambda: copy.copy(launch, out, to_device(b).transpose((0, 2, 3, 1)))  # noqa: E731
    assert launches(run) == {"copy_transposed_kernel"}
    same(out, b.transpose(0, 2, 3, 1))
    back = new(b.shape)
    copy.copy(launch, back, out.transpose((0, 3, 1, 2)))
    same(back, b)


@interpreter
def test_copy_moves_float8_and_refuses_to_cast_it() -> None:
    x = np.arange(-12, 12).reshape(4, 6).astype(ml_dtypes.float8_e4m3fn)
    a, out = to_device(x), new((6, 4), x.dtype)
    assert copy.copy(launch, out, a.transpose()) is None
    same(out, x.T)
    assert copy.copy(launch, new((4, 6), ml_dtypes.float8_e5m2), a) is NotImplemented


@interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fill(shape: tuple[int, ...]) -> None:
    for dtype, value in ((np.float32, -2.5), (np.int64, 2**40 + 1), (np.bool_, True),
                         (np.complex64, 1 - 2j), (BF16, math.inf), (np.float64, 0.1)):  # fmt: skip
        for layout in ("contiguous", "transposed", "sliced"):
            out = to_device(np.zeros(shape, dtype), layout)
            copy.fill(launch, out, value=value)
            same(out, np.full(shape, value, dtype))


@interpreter
@pytest.mark.parametrize("n", [0, 1, 7, 512, 2049, 5000])
def test_arange(n: int) -> None:
    for dtype, start, step in ((np.int64, 3, -2), (np.int32, 0, 1), (np.float64, 0.5, 0.1),
                               (np.float32, -1.0, 0.01)):  # fmt: skip
        out = new((n,), dtype)
        copy.arange(launch, out, start=start, step=step)
        expected = (np.arange(n) * step + start).astype(dtype)
        close(out, expected, 1e-15 if dtype == np.float64 else 1e-7)
    assert copy.arange(launch, to_device(np.zeros(6), "sliced"), start=0, step=1) is NotImplemented


@interpreter
@pytest.mark.parametrize("n", [0, 1, 2, 7, 512, 2049])
def test_linspace(n: int) -> None:
    for dtype, start, end in ((np.float64, -1.5, 4.0), (np.float32, 3.0, -2.0), (np.int32, 0, 50)):
        out = new((n,), dtype)
        copy.linspace(launch, out, start=start, end=end)
        expected = np.linspace(start, end, n).astype(dtype)
        close(out, expected, 1e-15 if dtype == np.float64 else 1e-7)
    assert copy.linspace(launch, to_device(np.zeros(6), "sliced"), start=0, end=1) is NotImplemented


# -- made of copies ----------------------------------------------------------------------------


@interpreter
@pytest.mark.parametrize("layout", FEW)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s], ids=str)
def test_cat_flip_roll_pad(shape: tuple[int, ...], layout: str) -> None:
    a = example(shape)
    x, last = to_device(a, layout), len(shape) - 1
    for dim in {0, last}:
        expected = np.concatenate([a, a[(slice(None),) * dim + (slice(1),)], a], dim)
        out = new(expected.shape)
        copy.cat(launch, out, x, x[(slice(None),) * dim + (slice(0, 1),)], x, dim=dim)
        same(out, expected)
        out = new(shape)
        copy.flip(launch, out, x, dims=(dim,))
        same(out, np.flip(a, dim))
        out = new(shape)
        copy.roll(launch, out, x, shifts=(3,), dims=(dim,))
        same(out, np.roll(a, 3, dim))
    out = new(shape)
    copy.roll(launch, out, x, shifts=(-1, 2), dims=(0, last))
    same(out, np.roll(a, (-1, 2), (0, last)))
    pads = [(0, 0)] * len(shape)
    for dim, pair in ((0, (2, 1)), (last, (0, 3)), (last, (-1, 2))):
        if len(shape) > 5 or a.shape[dim] + sum(pair) < 0:
            continue
        pads[dim] = pair
        expected = np.pad(a, [(max(b, 0), max(e, 0)) for b, e in pads], constant_values=-7)
        cut = tuple(slice(max(-b, 0), n + max(-b, 0) + b + e) for n, (b, e) in zip(shape, pads))
        expected = expected[cut]
        out = new(expected.shape)
        pad.pad_constant(launch, out, x, pad=pads, value=-7)
        same(out, expected)


@interpreter
def test_pad_of_other_dtypes() -> None:
    for dtype, value in ((np.complex64, 1 + 2j), (np.bool_, True), (np.int64, -(2**40)),
                         (BF16, 0.5), (np.float64, 0.1)):  # fmt: skip
        a, pads = example((3, 8, 8), dtype), [(0, 0), (1, 1), (4, 4)]
        out = new((3, 10, 16), dtype)
        pad.pad_constant(launch, out, to_device(a), pad=pads, value=value)
        same(out, np.pad(a, pads, constant_values=value))


@interpreter
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 1], ids=str)
def test_tril_triu(shape: tuple[int, ...]) -> None:
    for dtype, layout in itertools.product((np.float32, np.int64), ("contiguous", "transposed")):
        a = example(shape, dtype)
        x = to_device(a, layout)
        for k in (-2, 0, 1):
            out = new(shape, dtype)
            copy.tril(launch, out, x, diagonal=k)
            same(out, np.tril(a, k))
            copy.triu(launch, out, x, diagonal=k)
            same(out, np.triu(a, k))
    c = example((4, 5), np.complex64)
    out = new((4, 5), np.complex64)
    copy.tril(launch, out, to_device(c))
    same(out, np.tril(c))


class _Slice:
    """A view operator, as far as `view_backward` asks."""

    overlaps = False

    def cpu(self, x: Array, key: tuple) -> Array:
        return x[key]


@interpreter
def test_view_backward() -> None:
    g, key = example((3, 5)), (slice(1, 7, 2), slice(None))
    out = new((9, 5))
    copy.view_backward(launch, out, to_device(g), shape=(9, 5), view=_Slice(), params={"key": key})
    expected = np.zeros((9, 5), np.float32)
    expected[key] = g
    same(out, expected)
    view = _Slice()
    view.overlaps = True
    given = {"shape": (9, 5), "view": view, "params": {"key": key}}
    assert copy.view_backward(launch, out, to_device(g), **given) is NotImplemented


# -- reading by index --------------------------------------------------------------------------


def with_dim(shape: tuple[int, ...], dim: int, n: int) -> tuple[int, ...]:
    return (*shape[:dim], n, *shape[dim + 1 :])


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SOLID, ids=str)
def test_gather_and_index_select(shape: tuple[int, ...], layout: str) -> None:
    a = example(shape)
    x = to_device(a, layout)
    for dim in {0, len(shape) - 1}:
        i = indices(with_dim(shape, dim, 5), shape[dim])
        out = new(i.shape)
        index.gather(launch, out, x, to_device(i, layout), dim=dim)
        same(out, np.take_along_axis(a, i, dim))
        j = indices((9,), shape[dim]).astype(np.int32)
        out = new(with_dim(shape, dim, 9))
        index.index_select(launch, out, x, to_device(j, layout), dim=dim)
        same(out, np.take(a, j, dim))


@interpreter
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, BF16, np.float64,
                                   np.complex64])  # fmt: skip
def test_gather_dtypes(dtype: Any) -> None:
    a, i = example((6, 40), dtype), indices((11, 40), 6)
    out = new(i.shape, dtype)
    index.gather(launch, out, to_device(a), to_device(i), dim=0)
    same(out, np.take_along_axis(a, i, 0))
    out = new((6, 3), dtype)
    index.index_select(launch, out, to_device(a), to_device(np.array([3, -1, 39])), dim=1)
    same(out, a[:, [3, -1, 39]])


@interpreter
def test_indices_out_of_range_touch_nothing() -> None:
    a, i = example((4, 3)), np.array([1, 4, -5, -1, 2**40])
    out = new((5, 3))
    index.index_select(launch, out, to_device(a), to_device(i), dim=0)
    expected = np.where(np.isin(i, [1, -1])[:, None], a[[1, 0, 0, 3, 0]], 0)
    same(out, expected)
    for accumulate in (False, True):
        out = new((4, 3))
        index.index_put(launch, out, to_device(a), to_device(np.ones((5, 3), np.float32)),
                        to_device(i), dims=(0,), accumulate=accumulate)  # fmt: skip
        expected = a.copy()
        expected[[1, 3]] = 1 + (a[[1, 3]] if accumulate else 0)
        close(out, expected)


ADVANCED: list[tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, ...]]]] = [
    ((7,), (0,), [(4,)]), ((7,), (0,), [()]), ((7, 5), (0,), [(2, 3)]), ((7, 5), (1,), [(4,)]),
    ((7, 5), (0, 1), [(4,), (4,)]), ((7, 5), (0, 1), [(4, 1), (3,)]),
    ((7, 33, 5), (1,), [(4, 3)]), ((7, 33, 5), (1, 2), [(4, 3), (3,)]),
    ((7, 33, 5), (0, 2), [(4, 1), (3,)]), ((7, 33, 5), (0, 1, 2), [(4, 1), (4, 3), (3,)]),
    ((2, 3, 4, 5), (1, 3), [(2,), (2,)]), ((2, 3, 4, 5), (2,), [(0,)]),
    ((1, 61, 67), (1,), [(13,)]),
]  # fmt: skip


@interpreter
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize(("shape", "dims", "shapes"), ADVANCED, ids=str)
def test_advanced_indexing(shape: tuple, dims: tuple, shapes: list, layout: str) -> None:
    a = example(shape)
    each = [indices(s, shape[d], d) for s, d in zip(shapes, dims)]
    key: list[Any] = [slice(None)] * len(shape)
    for d, i in zip(dims, each):
        key[d] = i
    x, arrays = to_device(a, layout), [to_device(i, layout) for i in each]
    picked = a[tuple(key)]
    out = new(picked.shape)
    index.index(launch, out, x, *arrays, dims=dims)
    same(out, picked)
    v = example(picked.shape, seed=5)
    expected = a.astype(np.float64)
    np.add.at(expected, tuple(key), v)
    out = to_device(np.zeros_like(a), layout)
    given = {"dims": dims, "accumulate": True}
    index.index_put(launch, out, x, to_device(v, layout), *arrays, **given)
    close(out, expected)
    expected = a.copy()
    expected[tuple(key)] = 2.5
    for value in (2.5, to_device(np.float32(2.5))):
        index.index_put(launch, out, x, value, *arrays, dims=dims)
        same(out, expected)


@interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masked_fill(shape: tuple[int, ...]) -> None:
    for dtype, value in ((np.float32, -math.inf), (np.int64, 2**40), (BF16, 1.5), (np.bool_, True)):
        a, m = example(shape, dtype), example(shape, np.bool_, 3)
        expected = np.where(m, np.asarray(value).astype(dtype), a)
        for layout in ("contiguous", "transposed", "sliced"):
            out = new(shape, dtype)
            x, mask = to_device(a, layout), to_device(m)
            index.masked_fill(launch, out, x, mask, value)
            same(out, expected)
            index.masked_fill(launch, out, x, mask, to_device(np.asarray(value).astype(dtype)))
            same(out, expected)
    if shape:
        a, m = example(shape), example(shape[-1:], np.bool_)
        out = new(shape)
        index.masked_fill(launch, out, to_device(a), to_device(m), 3)
        same(out, np.where(m, 3, a))


@interpreter
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nonzero(shape: tuple[int, ...], layout: str) -> None:
    a = example(shape) * (example(shape, np.bool_, 2))
    expected = np.stack(np.nonzero(a), 1) if shape else np.zeros((int(a != 0), 0))
    out = new(expected.shape, np.int64)
    index.nonzero(launch, out, to_device(a, layout), count=len(expected))
    same(out, expected)


# -- writing by index --------------------------------------------------------------------------

REDUCERS: dict[str, Callable] = {
    "add": lambda a, b: a + b, "mean": lambda a, b: a + b, "multiply": lambda a, b: a * b,
    "amax": max, "amin": min,
}  # fmt: skip
EMPTY = {"add": 0.0, "mean": 0.0, "multiply": 1.0, "amax": -math.inf, "amin": math.inf}


def scattered(
    a: np.ndarray, i: np.ndarray, src: np.ndarray, dim: int, reduce: str, include_self: bool
) -> np.ndarray:
    out, count = a.astype(np.float64), np.zeros(a.shape)
    hits = [(p, with_dim(p, dim, i[p] % a.shape[dim])) for p in np.ndindex(*i.shape)]
    for _, q in hits:
        out[q] = out[q] if include_self else EMPTY[reduce]
    for p, q in hits:
        out[q] = REDUCERS[reduce](out[q], float(src[p]))
        count[q] += 1
    if reduce != "mean":
        return out
    mean = out / np.maximum(count + include_self, 1)
    return np.where(count > 0, np.floor(mean) if a.dtype.kind == "i" else mean, a)


SCATTERS = [
    ((7,), (12,)), ((1,), (3,)), ((4, 5), (4, 9)), ((6, 33), (3, 11)), ((2, 3, 4), (2, 3, 7)),
    ((3, 1, 4), (2, 1, 6)),
]  # fmt: skip


@interpreter
@pytest.mark.parametrize("walks", [True, False], ids=["walk", "sorted"])
@pytest.mark.parametrize(("shape", "have"), SCATTERS, ids=str)
def test_scatter_reductions(
    shape: tuple, have: tuple, walks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scatter, "WALK_LENGTH", 1000 if walks else 0)
    dim, a, src = len(shape) - 1, example(shape), example(tuple(n + 1 for n in have), seed=4)
    i = indices(have, shape[dim])
    x, at, values = to_device(a), to_device(i), to_device(src)
    kernel = {"scatter_walk_kernel"} if walks else {"segment_reduce_kernel"}
    for reduce, include in (("add", True), ("multiply", True), ("amax", False), ("amin", True),
                            ("mean", True), ("mean", False), ("sum", False)):  # fmt: skip
        out = new(shape)
        given = {"dim": dim, "reduce": reduce, "include_self": include}
        ran = launches(lambda: index.scatter(launch, out, x, at, values, **given))  # noqa: B023
        name = {"sum": "add"}.get(reduce, reduce)
        close(out, scattered(a, i, src, dim, name, include), 1e-5)
        assert kernel <= ran or reduce == "mean"


@interpreter
@pytest.mark.parametrize("layout", FEW)
@pytest.mark.parametrize("shape", SOLID, ids=str)
def test_scatter(shape: tuple[int, ...], layout: str) -> None:
    a, src = example(shape), example(shape, seed=2)
    x, values = to_device(a, layout), to_device(src, layout)
    for dim in {0, len(shape) - 1}:
        i = np.argsort(example(shape, seed=6), dim)  # each target once
        expected = a.copy()
        np.put_along_axis(expected, i, src, dim)
        out = new(shape)
        index.scatter(launch, out, x, to_device(i, layout), values, dim=dim)
        same(out, expected)
        first = i[(slice(None),) * dim + (slice(0, 1),)]
        np.put_along_axis(expected := a.copy(), first, 4.5, dim)
        index.scatter(launch, out, x, to_device(first), 4.5, dim=dim)
        same(out, expected)


@interpreter
@pytest.mark.parametrize("walks", [True, False], ids=["walk", "sorted"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float16, BF16, np.float64, np.bool_,
                                   np.complex64])  # fmt: skip
def test_scatter_dtypes(dtype: Any, walks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "WALK_LENGTH", 1000 if walks else 0)
    a, src = example((3, 4), dtype), example((3, 6), dtype, 3)
    i = indices((3, 6), 4)
    out = new(a.shape, dtype)
    given = [to_device(a), to_device(i), to_device(src)]
    index.scatter(launch, out, *given, dim=1, reduce="add")
    wide = np.complex128 if out.dtype.is_complex else np.float64
    expected = a.astype(wide)
    np.add.at(expected, (np.arange(3)[:, None], i), src.astype(wide))
    if out.dtype.is_complex:
        np.testing.assert_allclose(host_view(out), expected, rtol=1e-5)
        assert index.scatter(launch, out, *given, dim=1, reduce="amax") is NotImplemented
        return
    tolerance = {BF16: 1e-2, np.dtype(np.float16): 2e-3}.get(np.dtype(dtype), 1e-12)
    close(out, expected.astype(np.bool_) if dtype == np.bool_ else expected, tolerance)
    for reduce in ("amax", "amin", "mean") if dtype != np.bool_ else ("amax", "amin"):
        index.scatter(launch, out, *given, dim=1, reduce=reduce, include_self=False)
        close(out, scattered(a, i, src, 1, reduce, False), tolerance)


@interpreter
def test_scatter_keeps_nan() -> None:
    a, src = np.zeros((2, 3), np.float32), np.array([[1, np.nan, 2]] * 2, np.float32)
    for length in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scatter, "WALK_LENGTH", length)
            for reduce in ("amax", "amin"):
                out, i = new((2, 3)), np.array([[0, 0, 0], [0, 1, 2]])
                index.scatter(launch, out, to_device(a), to_device(i), to_device(src), dim=1,
                              reduce=reduce)  # fmt: skip
                top = reduce == "amax"
                same(out, [[np.nan, 0, 0], [1.0 * top, np.nan, 2.0 * top]])


@interpreter
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize("shape", [s for s in SOLID if math.prod(s) < 130], ids=str)
def test_index_add(shape: tuple[int, ...], layout: str) -> None:
    a = example(shape)
    for dim in {0, len(shape) - 1}:
        i, v = indices((5,), shape[dim]), example(with_dim(shape, dim, 5), seed=3)
        for alpha in (1, -0.5):
            expected = a.astype(np.float64)
            key: list[Any] = [slice(None)] * len(shape)
            key[dim] = i
            np.add.at(expected, tuple(key), alpha * v)
            out = new(shape)
            index.index_add(launch, out, to_device(a, layout), to_device(i, layout),
                            to_device(v, layout), dim=dim, alpha=alpha)  # fmt: skip
            close(out, expected)


@interpreter
def test_indexing_of_scalars_and_of_nothing() -> None:
    zero, none = np.zeros((), np.int64), np.zeros((0,), np.int64)
    a, v = np.float32(3), np.float32(4)
    out = new(())
    index.gather(launch, out, to_device(a), to_device(zero), dim=0)
    same(out, 3)
    index.index_select(launch, out, to_device(a), to_device(zero), dim=0)
    same(out, 3)
    index.index_add(launch, out, to_device(a), to_device(zero), to_device(v), dim=0, alpha=2)
    same(out, 11)
    for reduce, expected in ((None, 4), ("add", 7), ("mean", 3.5), ("amin", 3)):
        index.scatter(launch, out, to_device(a), to_device(zero), to_device(v), dim=0,
                      reduce=reduce)  # fmt: skip
        same(out, expected)
    for shape in ((4,), (3, 5), (2, 3, 4)):
        a, v = example(shape), np.zeros((0, *shape[1:]), np.float32)
        i = np.zeros((0, *shape[1:]), np.int64)
        x, at, values = to_device(a), to_device(i), to_device(v)
        index.gather(launch, new(i.shape), x, at, dim=0)
        index.index_select(launch, new(i.shape), x, to_device(none), dim=0)
        index.index(launch, new(i.shape), x, to_device(none), dims=(0,))
        out = new(shape)
        for reduce in (None, "add"):
            index.scatter(launch, out, x, at, values, dim=0, reduce=reduce)
            same(out, a)
        index.index_add(launch, out, x, to_device(none), values, dim=0)
        same(out, a)
        index.index_put(launch, out, x, values, to_device(none), dims=(0,), accumulate=True)
        same(out, a)
    empty = new((3, 0))
    index.index_select(launch, new((2, 0)), empty, to_device(np.array([0, 2])), dim=0)
    index.index_add(launch, new((3, 0)), empty, to_device(np.array([0])), new((1, 0)), dim=0)


@interpreter
def test_accumulation_is_the_same_from_run_to_run() -> None:
    a, i, v = np.zeros(4, np.float32), indices((400,), 4), example((400,)) * 1e4
    results = set()
    for _ in range(2):
        out = new((4,))
        given = [to_device(a), to_device(i), to_device(v)]
        index.index_add(launch, out, *given, dim=0)
        results.add(host_view(out).tobytes())
    assert len(results) == 1


# -- sorted keys -------------------------------------------------------------------------------


@interpreter
@pytest.mark.parametrize("radix", [False, True], ids=["rank", "radix"])
@pytest.mark.parametrize(("n", "limit"), [
    (1, 0), (1, 5), (7, 3), (63, 10), (64, 1), (65, 70000), (97, 2**31 + 5), (512, 15), (513, 16),
    (600, 1), (700, 2**20), (1100, 300),
])  # fmt: skip
def test_sort(n: int, limit: int, radix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segments, "RANK_LIMIT", 0 if radix else 10**6)
    keys = np.random.default_rng(n).integers(0, limit + 1, n)
    found, order = _segments.sort(launch, to_device(keys), limit)
    same(found, np.sort(keys))
    same(order, np.argsort(keys, kind="stable"))


# -- embedding ---------------------------------------------------------------------------------

EMBEDDINGS = [
    ((5,), 7, 3), ((0,), 7, 3), ((), 7, 4), ((1,), 1, 1), ((3, 4), 50, 70), ((2, 3, 2), 3, 5),
    ((41,), 5, 16), ((7, 3), 11, 128), ((2, 2), 9, 131), ((13,), 13, 1), ((4, 1), 6, 0),
    ((17,), 1000, 33),
]  # fmt: skip


@interpreter
@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
@pytest.mark.parametrize(("shape", "rows", "width"), EMBEDDINGS, ids=str)
def test_embedding(shape: tuple, rows: int, width: int, layout: str) -> None:
    w, i = example((rows, width)), np.abs(indices(shape, rows)) % rows
    out = new((*shape, width))
    embedding.forward(launch, out, to_device(w, layout), to_device(i, layout))
    same(out, w[i])
    g = example((*shape, width), seed=3)
    for padding in (None, -1):
        expected, count = np.zeros((rows, width)), np.zeros(rows)
        np.add.at(expected, i, g)
        np.add.at(count, i, 1)
        if padding is not None:
            expected[padding] = 0
        out = new((rows, width))
        given = [to_device(g, layout), to_device(i, layout)]
        embedding.backward(launch, out, *given, num=rows, padding_idx=padding)
        close(out, expected)
    embedding.backward(launch, out, *given, scale_grad_by_freq=True)
    expected = np.zeros((rows, width))
    np.add.at(expected, i, g)
    close(out, expected / np.maximum(count, 1)[:, None])


# -- optimizers --------------------------------------------------------------------------------

SIZES = [(3, 5), (), (1024, 3), (0,), (1000,), (2049,), (1, 7), (16,), (31, 2), (1023,), (1025,),
         (5, 1)]  # fmt: skip


def tensors(dtype: Any, seed: int, positive: bool = False) -> list[np.ndarray]:
    made = [example(s, np.float64, seed) / 10 for s in SIZES]
    return [np.asarray(np.abs(a) if positive else a).astype(dtype) for a in made]


@interpreter
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("decoupled", "maximize", "amsgrad"), [
    (False, False, False), (True, True, True), (False, True, False), (True, False, False),
])  # fmt: skip
def test_adam(dtype: Any, decoupled: bool, maximize: bool, amsgrad: bool) -> None:
    state = [tensors(dtype, k, k > 2) for k in range(5)]
    arrays = [[to_device(a, "transposed") for a in group] for group in state]
    names = ("params", "grads", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    given = dict(zip(names if amsgrad else names[:4], arrays))
    run = lambda: optim.adam(  # noqa: E731
        launch, None, **given, step=3, lr=0.01, weight_decay=0.1,
        decoupled=decoupled, maximize=maximize)  # fmt: skip
    assert launches(run) == {"adam_kernel"}
    for k, (p, g, m, v, top) in enumerate(zip(*([a.astype(float) for a in s] for s in state))):
        g = -g if maximize else g
        p, g = (p * (1 - 0.001), g) if decoupled else (p, g + 0.1 * p)
        m, v = m + (g - m) * 0.1, v * 0.999 + 0.001 * g * g
        top = np.maximum(top, v) if amsgrad else v
        p = p - 0.01 / (1 - 0.9**3) * m / (np.sqrt(top) / np.sqrt(1 - 0.999**3) + 1e-8)
        tolerance = {2: 3e-3, 4: 2e-6, 8: 1e-14}[np.dtype(dtype).itemsize]
        for i, expected in ((0, p), (2, m), (3, v), (4, top))[: 4 if amsgrad else 3]:
            close(arrays[i][k], expected, tolerance)


@interpreter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_counts_on_the_device(dtype: Any, decoupled: bool) -> None:
    """Each parameter at a step of its own; the rate on the device, and another at the second."""
    names = ("params", "grads", "exp_avg", "exp_avg_sq")
    starts = [0.0, 6.0, 1e6] * 4
    steps = [to_device(np.float32(s)) for s in starts]
    rate = to_device(np.float64(0.01))
    state = [tensors(dtype, k, k > 2) for k in range(4)]
    given = {n: [to_device(a) for a in column] for n, column in zip(names, state)}
    expected = {n: [to_device(a) for a in column] for n, column in zip(names, state)}
    for turn, lr in enumerate((0.01, 0.5), 1):
        memory.runtime().copy_from_host(np.asarray(lr), rate)
        options = {"weight_decay": 0.1, "decoupled": decoupled, "beta1": 0.8}
        run = lambda: optim.adam(launch, None, **given, step=steps, lr=rate, **options)  # noqa: B023, E731
        assert launches(run) == {"adam_count_kernel", "adam_kernel"}
        for i in range(len(starts)):
            one = {n: column[i : i + 1] for n, column in expected.items()}
            optim.adam(launch, None, **one, step=int(starts[i]) + turn, lr=lr, **options)
    for name in names:
        for a, b in zip(given[name], expected[name]):
            close(a, host_view(b).astype(float), 1e-6 if dtype is np.float32 else 1e-12)
    assert [host_view(s).item() for s in steps] == [s + 2 for s in starts]


@interpreter
@pytest.mark.parametrize("dtype", [np.float32, np.float64, BF16])
@pytest.mark.parametrize(("momentum", "nesterov", "first", "maximize"), [
    (0.0, False, False, False), (0.9, False, True, False), (0.9, True, False, True),
])  # fmt: skip
def test_sgd(dtype: Any, momentum: float, nesterov: bool, first: bool, maximize: bool) -> None:
    state = [tensors(dtype, k) for k in range(3)]
    arrays = [[to_device(a) for a in group] for group in state]
    dampening = 0.0 if nesterov else 0.2
    optim.sgd(
        launch, None, params=arrays[0], grads=arrays[1],
        buffers=arrays[2] if momentum else None, lr=0.1, momentum=momentum, dampening=dampening,
        weight_decay=0.01, nesterov=nesterov, maximize=maximize, first=first)  # fmt: skip
    optim.sgd(
        launch, None, params=arrays[1], grads=arrays[0], lr=to_device(np.array(0.5, np.float32))
    )
    for k, (p, g, b) in enumerate(zip(*([a.astype(float) for a in s] for s in state))):
        given = g
        g = (-g if maximize else g) + 0.01 * p
        if momentum:
            b = g if first else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        tolerance = {2: 1e-2, 4: 2e-6, 8: 1e-14}[np.dtype(dtype).itemsize]
        close(arrays[0][k], p - 0.1 * g, tolerance)
        close(arrays[2][k], b, tolerance)
        close(arrays[1][k], given - 0.5 * (p - 0.1 * g), tolerance)


@interpreter
def test_optimizers_refuse_what_is_not_dense() -> None:
    zeros = np.zeros((4, 6), np.float32)
    x, y, t = (to_device(zeros, layout) for layout in ("contiguous", "sliced", "transposed"))
    assert optim.sgd(launch, None, params=[x], grads=[y], lr=0.1) is NotImplemented
    assert optim.sgd(launch, None, params=[x], grads=[t], lr=0.1) is NotImplemented
    assert optim.sgd(launch, None, params=[t], grads=[t], lr=0.1) is None


# -- ahead of time -----------------------------------------------------------------------------


def _steps(optimizer: Callable, dtype: Any, names: tuple[str, ...], **settings: Any) -> Any:
    given = {name: [meta((1 << 20,), dtype)] * 3 for name in names}
    return optimizer(launch, None, **given, **settings)


ADAM = ("params", "grads", "exp_avg", "exp_avg_sq")
M, BIG = (1024, 1024), (70000, 70000)
# name -> (call, the width in bits of the widest load and store to reach)
CASES: dict[str, tuple[Callable[[], Any], int, int]] = {
    "copy": (lambda: copy.copy(launch, meta((1000, 999), float32), meta((1000, 999), float32)),
             128, 128),
    "copy bfloat16 from float32": (lambda: copy.copy(launch, meta(M, bfloat16), meta(M, float32)),
                                   128, 128),
    "copy uint8": (lambda: copy.copy(launch, meta(M, uint8), meta(M, uint8)), 64, 64),
    "copy rows": (
        lambda: copy.copy(launch, meta(M, float32), meta((1024, 2048), float32)[:, :1024]),
        128, 128),
    "copy transposed": (lambda: copy.copy(launch, meta(M, bfloat16), meta(M, bfloat16).transpose()),
                        128, 128),
    "copy transposed float32": (
        lambda: copy.copy(launch, meta(M, float32), meta(M, float32).transpose()), 128, 128),
    "copy channels last": (
        lambda: copy.copy(launch, meta((8, 224, 224, 3), float32),
                          meta((8, 3, 224, 224), float32).transpose((0, 2, 3, 1))), 128, 32),
    "copy wide": (lambda: copy.copy(launch, meta(BIG, bfloat16), meta((70000, 140000), bfloat16)
                                    [:, :70000]), 128, 128),
    "copy wide transposed": (
        lambda: copy.copy(launch, meta(BIG, bfloat16), meta(BIG, bfloat16).transpose()), 128, 128),
    "fill": (lambda: copy.fill(launch, meta(M, bfloat16), value=1.0), 0, 128),
    "arange": (lambda: copy.arange(launch, meta((4096,), float32), start=0, step=0.1), 0, 128),
    "linspace": (lambda: copy.linspace(launch, meta((4096,), float32), start=0, end=1), 0, 128),
    "tril": (lambda: copy.tril(launch, meta(M, float32), meta(M, float32)), 128, 128),
    "pad": (lambda: pad.pad_constant(launch, meta((8, 16, 34, 40), float32),
                                      meta((8, 16, 32, 32), float32),
                                      pad=((0, 0), (0, 0), (1, 1), (4, 4))), 128, 128),
    "gather": (lambda: index.gather(launch, meta(M, float32), meta(M, float32), meta(M, int64),
                                    dim=1), 128, 128),
    "index_select": (lambda: index.index_select(launch, meta(M, bfloat16), meta(M, bfloat16),
                                                meta((1024,), int64), dim=0), 128, 128),
    "index_select wide": (
        lambda: index.index_select(launch, meta(M, bfloat16), meta((5000000, 1024), bfloat16),
                                   meta((1024,), int64), dim=0), 128, 128),
    "index": (lambda: index.index(launch, meta((512, 1024), float32), meta((50, 50, 1024), float32),
                                  meta((512,), int64), meta((512,), int64), dims=(0, 1)), 128, 128),
    "masked_fill": (lambda: index.masked_fill(launch, meta(M, bfloat16), meta(M, bfloat16),
                                              meta(M, bool_), -math.inf), 128, 128),
    "nonzero": (lambda: index.nonzero(launch, meta((5000, 2), int64), meta(M, float32),
                                      count=5000), 0, 64),
    "scatter": (lambda: index.scatter(launch, meta(M, float32), meta(M, float32), meta(M, int64),
                                      meta(M, float32), dim=1), 128, 32),
    "scatter_add of many lines": (
        lambda: index.scatter(launch, meta((5120, 512), float32), meta((5120, 512), float32),
                              meta((5120, 64), int64), meta((5120, 64), float32), dim=1,
                              reduce="add"), 0, 0),
    "scatter_reduce of few lines": (
        lambda: index.scatter(launch, meta((512, 512), bfloat16), meta((512, 512), bfloat16),
                              meta((512, 512), int64), meta((512, 512), bfloat16), dim=1,
                              reduce="amax"), 0, 0),
    "embedding": (lambda: embedding.forward(launch, meta((8, 512, 1024), float32),
                                            meta((50257, 1024), float32), meta((8, 512), int64)),
                  128, 128),
    "embedding backward": (
        lambda: embedding.backward(launch, meta((50257, 1024), bfloat16),
                                   meta((8, 512, 1024), bfloat16), meta((8, 512), int64)), 128, 0),
    "adam": (lambda: _steps(optim.adam, float32, ADAM, step=1), 128, 128),
    "adam counted": (lambda: _steps(optim.adam, float32, ADAM, step=[meta((), float32)] * 3,
                                    lr=meta((), float32), decoupled=True), 128, 128),
    "adam float64": (lambda: _steps(optim.adam, float64, ADAM, step=1), 128, 128),
    "sgd float16": (lambda: _steps(optim.sgd, float16, ("params", "grads", "buffers"), lr=0.1,
                                   momentum=0.9), 64, 64),
    "sgd of a rate on the device": (lambda: _steps(optim.sgd, float32, ("params", "grads"),
                                                   lr=meta((), float32)), 128, 128),
}  # fmt: skip
SAMPLE = {("sm_90", name) for name in (
    "copy", "copy rows", "copy transposed", "gather", "index_select", "embedding backward", "adam",
)} | {("gfx942", "copy transposed"), ("gfx942", "scatter"), ("gfx942", "adam"),
      ("sm_80", "index"), ("sm_100", "copy channels last"), ("sm_120", "masked_fill")}  # fmt: skip


def aot_cases() -> list[Any]:
    cases = []
    for target, name in itertools.product(TARGETS, CASES):
        slow = () if (target, name) in SAMPLE else pytest.mark.slow
        cases.append(pytest.param(target, name, marks=slow))
    return cases


def check(found: list[Facts], load: int, store: int) -> None:
    assert found
    assert [p for f in found for p in f.problems()] == []
    assert max(f.widest_load for f in found) >= load
    assert max(f.widest_store for f in found) >= store


@compiles
@pytest.mark.aot
@pytest.mark.parametrize(("target", "name"), aot_cases())
def test_compiles(target: str, name: str) -> None:
    run, load, store = CASES[name]
    with compile_for(target) as aot:
        assert run() is None
    check(aot.facts, load, store)


@compiles
@pytest.mark.aot
def test_new_shapes_run_what_is_compiled() -> None:
    with compile_for("sm_90") as aot:
        for n in (1024, 1032, 1500, 4096):
            x = meta((n, 4 * n), float32)
            copy.copy(launch, meta((n, 2 * n), float32), x[:, : 2 * n])
            index.index_select(launch, meta((16, 4 * n), float32), x, meta((16,), int64), dim=0)
    assert len({(f.kernel, f.hash) for f in aot.facts}) == 2
