"""The kernels of reductions, softmax, norms and losses on their own.

Interpreted, each launcher is compared with NumPy in float64; ahead of time, representative launches
are compiled for each target and must neither spill nor miss 16-byte loads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special as special
from rows import FLOATS, LAYOUTS, aot, close, interpreter, new, numbers, put, ran, wide

from tritorch.dtypes import (
    DType,
    bfloat16,
    bool_,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

pytest.importorskip("triton")

from tritorch.kernels import _index, _reduction, elementwise, loss, norm, reduce, softmax

INTEGERS = (int8, int16, int32, int64, uint8)


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The interpreter's NumPy, and the references', warn of what IEEE arithmetic does silently."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# -- reductions ------------------------------------------------------------------------------------

# (shape, dims): empty, 1, prime, larger than a block, inner, outer, middle, alternating, in parts
REDUCTIONS: list[tuple[tuple, tuple]] = [
    ((0, 3), (0,)),
    ((3, 0), (0,)),
    ((), ()),
    ((1,), (0,)),
    ((131,), (0,)),
    ((7, 13), (1,)),
    ((7, 13), (0,)),
    ((7, 13), (0, 1)),
    ((5, 300, 3), (1,)),
    ((3, 4, 5, 6), (0, 2)),
    ((3, 4, 5, 6), (1, 3)),
    ((2, 3, 2, 3, 2, 3, 2), (0, 2, 4, 6)),
    ((4, 3, 17), (0, 2)),
    ((2, 2500), (1,)),
    ((2500, 2), (0,)),
    ((4, 5), ()),
]
REDUCERS: dict[str, Callable] = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "any": np.any,
    "all": np.all,
}


def reduced(name: str, x: np.ndarray, dims: tuple, out: DType, **params: Any) -> Array:
    kept = [n for d, n in enumerate(x.shape) if d not in dims]
    result = new(kept, out)
    ran(getattr(reduce, name), result, put(x), dims=dims, **params)
    return result


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", REDUCERS)
def test_reductions(name: str, layout: str) -> None:
    f = REDUCERS[name]
    for shape, dims in REDUCTIONS:
        x = LAYOUTS[layout](numbers(shape)) + np.float32(0.25 if name == "mean" else 0)
        if name == "prod":
            x = x[tuple(slice(0, 40) for _ in shape)]
        if name in ("amax", "amin") and 0 in [shape[d] for d in dims]:
            continue
        if name in ("any", "all"):
            x = np.where(x > (1.5 if name == "any" else -1.5), x, np.float32(0))
        expected = f(x if name in ("any", "all") else wide(x), axis=dims)
        out = reduced(name, x, dims, bool_ if name in ("any", "all") else float32)
        close(out, expected, 2)


@interpreter
@pytest.mark.parametrize("dtype", (*FLOATS[1:], *INTEGERS, uint32, uint64, bool_), ids=str)
def test_reductions_of_other_dtypes(dtype: DType) -> None:
    x = numbers((6, 37), dtype)
    for dims in ((0,), (1,), (0, 1)):
        total = dtype if dtype.is_floating_point else int64
        exact = wide(x) if dtype.is_floating_point else x.astype(np.int64)
        close(reduced("sum", x, dims, total), exact.sum(dims), 2)
        close(reduced("any", x, dims, bool_), (x != 0).any(dims))
        if dtype is not bool_:
            close(reduced("amax", x, dims, dtype), x.max(dims))
            close(reduced("amin", x, dims, dtype), x.min(dims))
        if dtype.is_floating_point:
            close(reduced("mean", x, dims, dtype), exact.mean(dims))
        small = x[:3, :5]
        close(reduced("prod", small, dims, total), exact[:3, :5].prod(dims), 4)


@interpreter
def test_extremes_of_integers() -> None:
    for dtype in (int8, int32, int64, uint8, uint32, uint64):
        limits = np.iinfo(dtype.np)
        x = np.array([[limits.min, limits.max, 1], [2, limits.min, 3]], dtype.np)
        close(reduced("amax", x, (1,), dtype), x.max(1))
        close(reduced("amin", x, (1,), dtype), x.min(1))
        close(reduced("argmin", x, (1,), int64), x.argmin(1))


@interpreter
@pytest.mark.parametrize("n", [1, 37, 5000])
def test_the_first_place_of_equal_extremes(n: int) -> None:
    """Rows that hold nothing but the lowest key, in blocks that are not full and in parts."""
    rows = [(float32, -math.inf), (float32, math.inf), (float32, math.nan)]
    rows += [(dtype, limit) for dtype in (int32, int64) for limit in limits(dtype)]
    for dtype, value in rows:
        x = np.full((3, n), value, dtype.np)
        for name in ("argmax", "argmin"):
            close(reduced(name, x, (1,), int64), np.zeros(3, np.int64))
            close(reduced(name, x.T, (0,), int64), np.zeros(3, np.int64))


def limits(dtype: DType) -> tuple[int, int]:
    return np.iinfo(dtype.np).min, np.iinfo(dtype.np).max


@interpreter
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_and_infinity_in_extremes(dtype: DType) -> None:
    inf, nan = math.inf, math.nan
    x = np.array([[1, nan, inf], [-inf, 2, inf], [-inf, -inf, -inf], [-0.0, 0.0, -1]], dtype.np)
    close(reduced("amax", x, (1,), dtype), np.array([nan, inf, -inf, 0]))
    close(reduced("amin", x, (1,), dtype), np.array([nan, -inf, -inf, -1]))
    close(reduced("argmax", x, (1,), int64), np.array([1, 2, 0, 0]))
    close(reduced("argmin", x, (1,), int64), np.array([1, 0, 0, 2]))
    assert host_view(reduced("any", x, (1,), bool_)).tolist() == [True] * 4


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_of_extremes(layout: str) -> None:
    for shape, dims in REDUCTIONS:
        if not math.prod(shape) or (len(dims) != 1 and len(dims) != len(shape)):
            continue
        for dtype in (float32, int8):  # int8 has ties: the first place counts
            x = LAYOUTS[layout](numbers(shape, dtype))
            axis = dims[0] if len(dims) == 1 else None
            close(reduced("argmax", x, dims, int64), np.argmax(np.array(x), axis))
            close(reduced("argmin", x, dims, int64), np.argmin(np.array(x), axis))


@interpreter
def test_reductions_in_parts() -> None:
    x = numbers((2, 70000))
    x[1, 60000] = 9
    for name in ("sum", "mean", "amax", "amin"):
        kept: Array = new((2,))
        kernels = ran(getattr(reduce, name), kept, put(x), dims=(1,))
        assert kernels == {"reduce_kernel"}
        close(kept, REDUCERS[name](wide(x), axis=1))
    close(reduced("argmax", x, (1,), int64), x.argmax(1))
    close(reduced("argmin", x.T, (0,), int64), x.argmin(1))
    close(reduced("any", x > 8, (1,), bool_), [False, True])
    everything = numbers((33, 37, 41))
    close(reduced("sum", everything, (0, 1, 2), float32), wide(everything).sum(), 4)
    close(
        reduced("sum", everything.transpose(1, 2, 0), (0, 1, 2), float32), wide(everything).sum(), 4
    )


@interpreter
@pytest.mark.parametrize("p", (0.0, 0.5, 1.0, 2.0, 3.0, math.inf, -math.inf))
def test_norms_of_vectors(p: float) -> None:
    for dtype in (float32, float64, bfloat16):
        for shape, dims in (((7, 13), (1,)), ((7, 13), (0,)), ((5, 6, 7), (0, 2)), ((3, 0), (1,))):
            x = numbers(shape, dtype)
            x.flat[::7] = 0
            a = np.abs(wide(x))
            if math.isinf(p):
                initial = {"initial": 0.0} if p > 0 else {"initial": math.inf}
                expected = (np.max if p > 0 else np.min)(a, axis=dims, **initial)
            else:
                terms = (a != 0).astype(float) if p == 0 else a**p
                expected = terms.sum(dims) if p == 0 else terms.sum(dims) ** (1 / p)
            close(reduced("norm", x, dims, dtype, p=p), expected, 4)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments(layout: str) -> None:
    for shape, dims in REDUCTIONS:
        for dtype in FLOATS if layout == "plain" and len(shape) < 3 else (float32,):
            x = LAYOUTS[layout](numbers(shape, dtype)) + dtype.np.type(3)
            kept = [n for d, n in enumerate(shape) if d not in dims]
            var, mean = new(kept, dtype), new(kept, dtype)
            ran(reduce.moments, (var, mean), put(x), dims=dims, correction=1)
            n = math.prod(shape[d] for d in dims)
            ss = ((wide(x) - wide(x).mean(dims, keepdims=True)) ** 2).sum(dims)
            close(mean, wide(x).mean(dims), 2)
            close(var, ss / max(n - 1, 0), 4)


@interpreter
def test_moments_are_stable_in_parts() -> None:
    x = numbers((60000,), float32) * 0.5 + 1000
    var, mean = new(()), new(())
    kernels = ran(reduce.moments, (var, mean), put(x), dims=(0,), correction=0)
    assert kernels == {"moments_kernel", "moments_merge_kernel"}
    close(mean, wide(x).mean())
    np.testing.assert_allclose(host_view(var), wide(x).var(), rtol=1e-5)


# -- softmax ---------------------------------------------------------------------------------------

# (shape, dim, whether the looped kernel must run)
ROWS: list[tuple[tuple, int, bool]] = [
    ((), 0, False),
    ((1,), 0, False),
    ((0, 3), 1, False),
    ((3, 0), 1, False),
    ((131,), 0, False),
    ((7, 13), 1, False),
    ((7, 13), 0, False),
    ((64, 16), 1, False),
    ((5, 300, 7), 1, False),
    ((3, 2, 4, 5), 2, False),
    ((2, 3, 4, 5, 6), 2, False),
    ((2, 4100), 1, False),
    ((2, 33001), 1, True),
    ((1100, 70), 0, True),
]
SOFTMAX: dict[str, tuple[Callable, Callable]] = {
    "": (special.softmax, lambda g, y, d: y * (g - (g * y).sum(d, keepdims=True))),
    "log_": (special.log_softmax, lambda g, y, d: g - np.exp(y) * g.sum(d, keepdims=True)),
}


def variant(name: str, looped: bool) -> set[str]:
    return {f"{name}_loop_kernel" if looped else f"{name}_kernel"}


@interpreter
@pytest.mark.parametrize("kind", SOFTMAX)
def test_softmax(kind: str) -> None:
    forward, backward = SOFTMAX[kind]
    for shape, dim, looped in ROWS:
        for dtype in FLOATS if len(shape) == 2 and not looped else (float32,):
            x, g = numbers(shape, dtype) * dtype.np.type(4), numbers(shape, dtype, 1)
            out, dx = new(shape, dtype), new(shape, dtype)
            kernels = ran(getattr(softmax, f"{kind}forward"), out, put(x), dim=dim)
            assert kernels == (variant("softmax_forward", looped) if x.size else set())
            if not x.size:
                continue
            rows, axis = np.atleast_1d(wide(x)), dim
            y = forward(rows, axis=axis).reshape(shape)
            close(out, y, 2)
            y = y.astype(dtype.np)
            kernels = ran(getattr(softmax, f"{kind}backward"), dx, put(g), put(y), dim=dim)
            assert kernels == variant("softmax_backward", looped)
            exact = backward(np.atleast_1d(wide(g)), np.atleast_1d(wide(y)), axis)
            close(dx, exact.reshape(shape), 4)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_softmax_of_any_layout(layout: str) -> None:
    for shape, dim in (((6, 11), 1), ((6, 11), 0), ((3, 4, 5), 1), ((2, 3, 4, 5), 1)):
        x, g = LAYOUTS[layout](numbers(shape)), LAYOUTS[layout](numbers(shape, float32, 1))
        out = put(LAYOUTS[layout](np.zeros(shape, np.float32)))
        ran(softmax.forward, out, put(x), dim=dim)
        y = special.softmax(wide(x), axis=dim)
        close(out, y)
        dx = put(LAYOUTS[layout](np.zeros(shape, np.float32)))
        ran(softmax.backward, dx, put(g), out, dim=dim)
        close(dx, SOFTMAX[""][1](wide(g), y, dim))


@interpreter
def test_softmax_of_infinities() -> None:
    inf, nan = math.inf, math.nan
    x = np.array([[-inf, 0, 1, -inf], [-inf] * 4, [inf, 0, 1, 2], [nan, 0, 1, 2]], np.float32)
    for n in (4, 40000):
        wide_x = np.full((4, n), -inf, np.float32)
        wide_x[:, -4:] = x
        out = new(wide_x.shape)
        softmax.forward(launch, out, put(wide_x), dim=1)
        y = host_view(out)
        np.testing.assert_allclose(y[0, -4:], [0, 1 / (1 + math.e), math.e / (1 + math.e), 0], 1e-6)
        assert np.isnan(y[1:]).any(1).all()
        lse = new((4,))
        softmax.logsumexp(launch, lse, put(wide_x), dims=(1,))
        np.testing.assert_allclose(host_view(lse), [math.log(1 + math.e), -inf, inf, nan], 1e-6)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_logsumexp(layout: str) -> None:
    for shape, dims in [*REDUCTIONS, ((2, 70000), (1,))]:
        for dtype in FLOATS if layout == "plain" and len(shape) == 2 else (float32,):
            x = LAYOUTS[layout](numbers(shape, dtype))
            out = new([n for d, n in enumerate(shape) if d not in dims], dtype)
            ran(reduce.logsumexp, out, put(x), dims=dims)
            exact = np.log(np.exp(wide(x)).sum(dims))
            close(out, exact, 2)


# -- norms -----------------------------------------------------------------------------------------

# (shape, normalised dimensions, whether the looped kernels must run forward and backward)
NORMS: list[tuple[tuple, int, tuple[bool, bool]]] = [
    ((0, 5), 1, (False, False)),
    ((1, 1), 1, (False, False)),
    ((1, 16), 1, (False, False)),
    ((20, 1), 1, (False, False)),
    ((7, 13), 1, (False, False)),
    ((37, 61), 1, (False, False)),
    ((300, 16), 1, (False, False)),
    ((5, 7, 64), 1, (False, False)),
    ((5, 7, 64), 2, (False, False)),
    ((3, 5), 2, (False, False)),
    ((2, 3, 4, 5), 3, (False, False)),
    ((2, 9001), 1, (False, True)),
    ((2, 17001), 1, (True, True)),
]


def layer_norm_case(x: np.ndarray, k: int, affine: bool, dtype: DType, looped: tuple) -> None:
    """Forward and backward against the formulas in float64."""
    shape, lead = x.shape, x.shape[: x.ndim - k]
    stat = float64 if dtype is float64 else float32
    dims, rows = tuple(range(x.ndim - k, x.ndim)), tuple(range(x.ndim - k))
    w, b, g = (numbers(s, dtype, i) for i, s in enumerate((shape[-k:], shape[-k:], shape)))
    given = (put(w), put(b)) if affine else (None, None)
    out, mean, rstd = new(shape, dtype), new(lead, stat), new(lead, stat)
    array = put(x)
    kernels = ran(norm.layer_norm_forward, (out, mean, rstd), array, *given, n=k, eps=1e-5)
    if x.size:
        assert kernels == variant("layer_norm_forward", looped[0])
    m = wide(x).mean(dims, keepdims=True)
    r = 1 / np.sqrt(wide(x).var(dims, keepdims=True) + 1e-5)
    y = (wide(x) - m) * r
    close(out, y * wide(w) + wide(b) if affine else y, 2)
    close(mean, m.reshape(lead), 2)
    close(rstd, r.reshape(lead), 4)
    dx, dw, db = new(shape, dtype), new(shape[-k:], stat), new(shape[-k:], stat)
    kernels = ran(
        norm.layer_norm_backward,
        (dx, dw, db),
        put(g),
        array,
        given[0],
        mean,
        rstd,
        n=k,
        affine=(affine, affine),
    )
    if x.size:
        assert variant("layer_norm_backward", looped[1]) <= kernels
    gw = wide(g) * wide(w) if affine else wide(g)
    inner = (gw * y).mean(dims, keepdims=True)
    close(dx, r * (gw - gw.mean(dims, keepdims=True) - y * inner), 4)
    if affine:
        close(dw, (wide(g) * y).sum(rows), 4)
        close(db, wide(g).sum(rows), 4)


@interpreter
@pytest.mark.parametrize(("shape", "k", "looped"), NORMS, ids=str)
def test_layer_norm(shape: tuple, k: int, looped: tuple) -> None:
    for dtype in FLOATS if not any(looped) else (float32,):
        x = numbers(shape, dtype, 9) * dtype.np.type(2) + dtype.np.type(1)
        layer_norm_case(x, k, True, dtype, looped)
    layer_norm_case(numbers(shape), k, False, float32, looped)


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layer_norm_of_any_layout(layout: str) -> None:
    for shape, k in (((6, 11), 1), ((6, 5, 9), 1), ((3, 4, 5, 6), 3), ((3, 4, 5, 6), 2)):
        layer_norm_case(LAYOUTS[layout](numbers(shape)), k, True, float32, (False, False))


@interpreter
@pytest.mark.parametrize(("shape", "k", "looped"), NORMS, ids=str)
def test_rms_norm(shape: tuple, k: int, looped: tuple) -> None:
    x, w, g = numbers(shape), numbers(shape[-k:], float32, 1), numbers(shape, float32, 2)
    lead, dims = shape[: len(shape) - k], tuple(range(len(shape) - k, len(shape)))
    out, rstd, dx, dw = new(shape), new(lead), new(shape), new(w.shape)
    ran(norm.rms_norm_forward, (out, rstd), put(x), put(w), n=k, eps=1e-5)
    r = 1 / np.sqrt((wide(x) ** 2).mean(dims, keepdims=True) + 1e-5)
    close(out, x * r * w)
    close(rstd, r.reshape(lead))
    ran(norm.rms_norm_backward, (dx, dw), put(g), put(x), put(w), rstd, n=k, affine=(True, False))
    y, gw = x * r, wide(g) * w
    close(dx, r * (gw - y * (gw * y).mean(dims, keepdims=True)), 4)
    close(dw, (g * y).sum(tuple(range(len(shape) - k))), 4)


CHANNELS: list[tuple] = [
    (3, 4),
    (1, 1),
    (131, 3),
    (2, 3, 5),
    (4, 6, 7, 5),
    (2, 4, 3, 2, 5),
    (1, 2, 70, 61),
    (64, 8),
    (2, 130, 3),
    (5, 2, 1, 1),
    (3, 12, 11),
    (2, 6, 49),
]


@interpreter
@pytest.mark.parametrize("layout", ("plain", "middle first", "gapped"))
@pytest.mark.parametrize("shape", CHANNELS, ids=str)
def test_batch_norm(shape: tuple, layout: str) -> None:
    dtype = bfloat16 if shape == (4, 6, 7, 5) else float32
    x = LAYOUTS[layout](numbers(shape, dtype)) * dtype.np.type(2) + dtype.np.type(1)
    c, along = shape[1], (1, shape[1], *(1,) * (len(shape) - 2))
    w, b, g = numbers((c,), dtype), numbers((c,), dtype, 1), numbers(shape, dtype, 2)
    dims = (0, *range(2, len(shape)))
    out, mean, var = new(shape, dtype), new((c,)), new((c,))
    affine = shape != (2, 3, 5)
    given = (put(w), put(b)) if affine else (None, None)
    ran(norm.batch_norm_forward, (out, mean, var), put(x), *given, eps=1e-3)
    m, v = wide(x).mean(dims, keepdims=True), wide(x).var(dims, keepdims=True)
    r = 1 / np.sqrt(v + 1e-3)
    y, scale = (wide(x) - m) * r, (wide(w).reshape(along) if affine else 1.0)
    close(mean, m.ravel(), 2)
    close(var, v.ravel(), 4)
    close(out, y * scale + (wide(b).reshape(along) if affine else 0.0), 2)
    dx, dw, db = new(shape, dtype), new((c,)), new((c,))
    ran(
        norm.batch_norm_backward,
        (dx, dw, db),
        put(g),
        put(x),
        given[0],
        mean,
        var,
        eps=1e-3,
        affine=(affine, affine),
    )
    n = x.size // c
    plain, inner = wide(g).sum(dims, keepdims=True), (wide(g) * y).sum(dims, keepdims=True)
    close(dx, scale * r * (wide(g) - plain / n - y * inner / n), 4)
    if affine:
        close(dw, inner.ravel(), 4)
        close(db, plain.ravel(), 4)


@interpreter
@pytest.mark.parametrize("groups", (1, 2))
@pytest.mark.parametrize("shape", [s for s in CHANNELS if s[1] % 2 == 0], ids=str)
def test_group_norm(shape: tuple, groups: int) -> None:
    for layout in ("plain", "middle first"):
        x = LAYOUTS[layout](numbers(shape))
        c, along = shape[1], (1, shape[1], *(1,) * (len(shape) - 2))
        w, b, g = numbers((c,)), numbers((c,), float32, 1), numbers(shape, float32, 2)
        out, mean, rstd = new(shape), new((shape[0], groups)), new((shape[0], groups))
        ran(
            norm.group_norm_forward,
            (out, mean, rstd),
            put(x),
            put(w),
            put(b),
            groups=groups,
            eps=1e-3,
        )
        rows = wide(x).reshape(shape[0], groups, -1)
        m, r = rows.mean(2, keepdims=True), 1 / np.sqrt(rows.var(2, keepdims=True) + 1e-3)
        y = ((rows - m) * r).reshape(shape)
        close(out, y * w.reshape(along) + b.reshape(along), 4)
        close(mean, m[:, :, 0], 2)
        close(rstd, r[:, :, 0], 4)
        dx, dw, db = new(shape), new((c,)), new((c,))
        ran(
            norm.group_norm_backward,
            (dx, dw, db),
            put(g),
            put(x),
            put(w),
            mean,
            rstd,
            groups=groups,
            affine=(True, True),
        )
        gw, yr = (wide(g) * w.reshape(along)).reshape(rows.shape), y.reshape(rows.shape)
        inner = (gw * yr).mean(2, keepdims=True)
        close(dx, (r * (gw - gw.mean(2, keepdims=True) - yr * inner)).reshape(shape), 8)
        dims = (0, *range(2, len(shape)))
        close(dw, (wide(g) * y).sum(dims), 4)
        close(db, wide(g).sum(dims), 4)


# -- losses ----------------------------------------------------------------------------------------

# (shape, dim): 1, prime, many classes, many lines, classes before other dimensions
SCORES: list[tuple[tuple, int]] = [
    ((5,), 0),
    ((1, 1), 1),
    ((0, 4), 1),
    ((7, 13), 1),
    ((131, 3), 1),
    ((3, 2100), 1),
    ((64, 16), 1),
    ((2, 5, 3), 1),
    ((3, 4, 5, 6), 1),
    ((2, 3, 2, 3, 2), 1),
    ((1, 70, 40), 1),
    ((2100, 2), 1),
]


def entropy(
    x: np.ndarray, t: np.ndarray, w: np.ndarray, dim: int, smoothing: float, reduction: str
) -> tuple:
    """(loss, sum of weights, gradient for a gradient of ones)."""
    n = x.shape[dim]
    hot = np.moveaxis(np.eye(n)[np.maximum(t, 0)], -1, dim)
    each = w.reshape((1,) * dim + (n,) + (1,) * (x.ndim - dim - 1))
    q = each * (hot * (1 - smoothing) + smoothing / n)
    valid = np.expand_dims(t >= 0, dim)
    q = np.where(valid, q, 0)
    p = special.log_softmax(x, axis=dim)
    losses, total = -(q * p).sum(dim), np.where(valid, hot * each, 0).sum()
    factor = total if reduction == "mean" else 1.0
    out = losses if reduction == "none" else losses.sum() / factor
    return out, total, (np.exp(p) * q.sum(dim, keepdims=True) - q) / factor


@interpreter
@pytest.mark.parametrize("reduction", ("none", "mean", "sum"))
@pytest.mark.parametrize(("shape", "dim"), SCORES, ids=str)
def test_cross_entropy(shape: tuple, dim: int, reduction: str) -> None:
    lines, n = shape[:dim] + shape[dim + 1 :], shape[dim]
    for smoothing, weighted, layout in ((0.0, False, "plain"), (0.2, True, "middle first"),
                                        (0.1, False, "gapped"), (0.0, True, "turned")):  # fmt: skip
        dtype = float64 if layout == "gapped" else float32
        x = LAYOUTS[layout](numbers(shape, dtype))
        t = np.random.default_rng(0).integers(0, n, lines)
        if t.size > 3:
            t.flat[2] = -100
        w = np.abs(numbers((n,), dtype)) + dtype.np.type(0.5) if weighted else np.ones(n, dtype.np)
        weight = put(w) if weighted else None
        params = {"dim": dim, "ignore_index": -100, "smoothing": smoothing, "reduction": reduction}
        out = new(lines if reduction == "none" else (), dtype)
        lse, total, dx = new(lines, dtype), new((), dtype), new(shape, dtype)
        ran(loss.cross_entropy_forward, (out, lse, total), put(x), put(t), weight, **params)
        exact, count, gradient = entropy(wide(x), t, wide(w), dim, smoothing, reduction)
        close(out, exact, 4)
        close(lse, special.logsumexp(wide(x), axis=dim), 2)
        close(total, count, 2)
        g = numbers(out.shape, dtype)
        ran(loss.cross_entropy_backward, dx, put(g), put(x), put(t), weight, lse, total, **params)
        g = np.expand_dims(g, dim) if reduction == "none" else g
        close(dx, np.where(np.expand_dims(t < 0, dim), 0, g * gradient), 4)


@interpreter
@pytest.mark.parametrize("reduction", ("none", "mean", "sum"))
@pytest.mark.parametrize(("shape", "dim"), SCORES, ids=str)
def test_nll_loss(shape: tuple, dim: int, reduction: str) -> None:
    lines, n = shape[:dim] + shape[dim + 1 :], shape[dim]
    x, t = numbers(shape), np.random.default_rng(1).integers(0, n, lines)
    if t.size > 3:
        t.flat[1] = -1
    for weighted in (False, True):
        w = np.abs(numbers((n,))) + 0.5 if weighted else np.ones(n)
        weight = put(w.astype(np.float32)) if weighted else None
        params = {"dim": dim, "ignore_index": -1, "reduction": reduction}
        out, total, dx = new(lines if reduction == "none" else ()), new(()), new(shape)
        ran(loss.nll_loss_forward, (out, total), put(x), put(t), weight, **params)
        each = np.where(t < 0, 0, w[np.maximum(t, 0)])
        picked = np.take_along_axis(wide(x), np.expand_dims(np.maximum(t, 0), dim), dim)
        losses = -each * picked.squeeze(dim)
        factor = each.sum() if reduction == "mean" else 1.0
        close(out, losses if reduction == "none" else losses.sum() / factor, 4)
        close(total, each.sum(), 2)
        g = numbers(out.shape)
        ran(loss.nll_loss_backward, dx, put(g), put(t), weight, total, shape=shape, **params)
        expected = np.zeros(shape)
        at = np.expand_dims(np.maximum(t, 0), dim)
        np.put_along_axis(expected, at, np.expand_dims(-each * g / factor, dim), dim)
        close(dx, expected, 2)


@interpreter
def test_a_target_out_of_range_gives_nan() -> None:
    out, lse, total = new((2,)), new((2,)), new(())
    x, t = numbers((2, 3)), np.array([5, 1])
    loss.cross_entropy_forward(
        launch,
        (out, lse, total),
        put(x),
        put(t),
        None,
        dim=1,
        ignore_index=-100,
        smoothing=0.0,
        reduction="none",
    )
    assert np.isnan(host_view(out)).tolist() == [True, False]


# -- planning --------------------------------------------------------------------------------------


def test_offsets_are_wide_only_where_they_must() -> None:
    small, large = meta((2**20, 8), float32), meta((2**20, 2**12), float32)
    for x, is_wide in ((small, False), (large, True)):
        spec = (x.shape, x.strides, x.dtype)
        plan = elementwise._plan("neg", float32, spec, (spec,))
        assert plan is not None and plan.constants["WIDE"] is is_wide
        plan = _reduction.plan_for(x.shape, (x.strides,), (1,), 4, 132)
        assert plan is not None and plan.constants["WIDE"] is is_wide


def test_dimensions_merge() -> None:
    assert _index.merge((2, 3, 4), [(12, 4, 1)]) == ([24], [[1]])
    assert _index.merge((2, 3, 4), [(12, 4, 1), (0, 0, 1)]) == ([6, 4], [[4, 1], [0, 1]])
    assert _index.merge((1, 1), [(5, 5)]) == ([], [[]])


# -- ahead of time ---------------------------------------------------------------------------------


def fit(facts: list[Facts]) -> None:
    problems = [p for f in facts for p in f.problems()]
    assert not problems, problems


def reductions(dtype: DType) -> None:
    x = meta((8192, 4096), dtype)
    for dims, shape in (((1,), (8192,)), ((0,), (4096,)), ((0, 1), ())):
        reduce.sum(launch, meta(shape, dtype), x, dims=dims)
    reduce.amax(launch, meta((8192,), dtype), x, dims=(1,))
    reduce.argmax(launch, meta((8192,), int64), x, dims=(1,))
    out = meta((8192,), dtype), meta((8192,), dtype)
    reduce.moments(launch, out, x, dims=(1,), correction=1)


def rows(dtype: DType, n: int) -> None:
    x = meta((8192, n), dtype)
    softmax.forward(launch, x, x, dim=1)
    softmax.backward(launch, x, x, x, dim=1)
    w, stat, stats = meta((n,), dtype), meta((n,), float32), meta((8192,), float32)
    norm.layer_norm_forward(launch, (x, stats, stats), x, w, w, n=1, eps=1e-5)
    norm.layer_norm_backward(
        launch, (x, stat, stat), x, x, w, stats, stats, n=1, affine=(True, True)
    )


def losses(dtype: DType) -> None:
    x, t = meta((8192, 50304), dtype), meta((8192,), int64)
    lse, out, total = meta((8192,), float32), meta((), dtype), meta((), float32)
    params = {"dim": 1, "ignore_index": -100, "smoothing": 0.0, "reduction": "mean"}
    loss.cross_entropy_forward(launch, (out, lse, total), x, t, None, **params)
    loss.cross_entropy_backward(launch, x, out, x, t, None, lse, total, **params)


def images(dtype: DType) -> None:
    c = meta((64,), float32)
    for x in (meta((32, 64, 56, 56), dtype), meta((32, 56, 56, 64), dtype).transpose((0, 3, 1, 2))):
        norm.batch_norm_forward(launch, (x, c, c), x, c, c, eps=1e-5)
        norm.batch_norm_backward(launch, (x, c, c), x, x, c, c, c, eps=1e-5, affine=(True, True))


@aot
@pytest.mark.parametrize("target", TARGETS)
def test_representative_launches_fit(target: str) -> None:
    with compile_for(target) as done:
        x = meta((4096, 4096), bfloat16)
        elementwise.apply(launch, x, x, x, body="add", compute=bfloat16)
        elementwise.apply(launch, x, x, meta((4096,), bfloat16), body="mul", compute=bfloat16)
        wide_x = meta((4096, 4096), float32)
        elementwise.apply(launch, wide_x, wide_x, body="gelu", compute=float32)
        reduce.sum(launch, meta((4096,), bfloat16), x, dims=(1,))
        reduce.amax(launch, meta((4096,), float32), wide_x, dims=(0,))
        softmax.forward(launch, x, x, dim=1)
        stats = meta((4096,), float32)
        w = meta((4096,), bfloat16)
        norm.layer_norm_forward(launch, (x, stats, stats), x, w, w, n=1, eps=1e-5)
    fit(done.facts)
    for f in done.facts:
        assert f.widest_load == 128, f


@aot
@pytest.mark.slow
@pytest.mark.parametrize("dtype", (float32, bfloat16), ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_every_family_fits(target: str, dtype: DType) -> None:
    for family in (reductions, losses, images):
        with compile_for(target) as done:
            family(dtype)
        fit(done.facts)
        # A second pass over few parts may have less than 16 bytes a thread.
        first = [f for f in done.facts if f.kernel not in ("finish_kernel", "moments_merge_kernel")]
        assert sum(f.widest_load == 128 for f in first) >= 0.7 * len(first), first


@aot
@pytest.mark.slow
@pytest.mark.parametrize("dtype", (float32, bfloat16), ids=str)
@pytest.mark.parametrize("n", (64, 8192, 32768, 65536))
@pytest.mark.parametrize("target", TARGETS)
def test_rows_fit(target: str, n: int, dtype: DType) -> None:
    with compile_for(target) as done:
        rows(dtype, n)
    fit(done.facts)
    assert done.facts[0].widest_load == 128 and done.facts[1].widest_load == 128


@aot
@pytest.mark.slow
@pytest.mark.parametrize("target", ("sm_90", "gfx942"))
def test_integers_and_wide_offsets_compile(target: str) -> None:
    with compile_for(target) as done:
        for dtype in (int8, int32, int64, uint8, bool_):
            x = meta((4096, 4096), dtype)
            elementwise.apply(launch, x, x, x, body="maximum", compute=dtype)
            reduce.sum(launch, meta((4096,), int64), x, dims=(1,))
            reduce.amax(launch, meta((4096,), dtype), x, dims=(1,))
        huge = meta((2**16, 2**16), bfloat16)
        elementwise.apply(launch, huge, huge, body="relu", compute=bfloat16)
        reduce.sum(launch, meta((2**16,), bfloat16), huge, dims=(1,))
        softmax.forward(launch, huge, huge, dim=1)
    fit(done.facts)
    assert all(f.widest_load == 128 for f in done.facts[-3:]), done.facts[-3:]
