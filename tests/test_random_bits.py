"""Random bits: NumPy's Philox on the host, and the same from the kernels."""

from __future__ import annotations

import copy
import math
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tritorch import dtypes
from tritorch.dtypes import bfloat16, bool_, float32, float64, int64
from tritorch.runtime import memory, parallel, random
from tritorch.runtime.aot import TARGETS, compile_for
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch
from tritorch.runtime.memory import meta

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"

BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BF16]
SEED, OFFSET = 2**64 - 12345, 77
compiles = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets in this process")


def interpreter(test: Any) -> Any:
    skip = pytest.mark.skipif(
        not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
    )
    return pytest.mark.interpreter(skip(test))


# -- host --------------------------------------------------------------------------------------

DRAWS: dict[str, Callable] = {
    "raw": lambda seed, offset, n: random.raw(seed, offset, n),
    "integers": lambda seed, offset, n: random.integers(seed, offset, (n,), -3, 10**6),
    "wide integers": lambda seed, offset, n: random.integers(seed, offset, (n,), 0, 2**50 + 3),
    "bernoulli": lambda seed, offset, n: random.bernoulli(seed, offset, (n,), 0.3),
    "dropout": lambda seed, offset, n: random.dropout(seed, offset, np.ones(n, np.float32), 0.3),
    **{
        f"{draw.__name__} {dtype}": lambda seed, offset, n, draw=draw, dtype=dtype: draw(
            seed, offset, (n,), dtype
        )
        for draw in (random.uniform, random.normal)
        for dtype in FLOATS
    },
}
WORDS = {"raw", "integers", "wide integers", "uniform float64", "normal float64"}


@pytest.mark.parametrize("n", [0, 1, 3, 4, 1001, 70001])
def test_raw_is_numpys_philox(n: int) -> None:
    expected = np.random.Philox(counter=OFFSET, key=SEED).random_raw(n)
    np.testing.assert_array_equal(random.raw(SEED, OFFSET, n), expected)


def test_uniform_is_the_top_bits_of_half_words() -> None:
    words = np.random.Philox(counter=5, key=7).random_raw(50)
    expected = (words.view(np.uint32) >> 8).astype(np.float64) / 2**24
    np.testing.assert_array_equal(random.uniform(7, 5, (100,)), expected)
    expected = (words >> np.uint64(11)).astype(np.float64) / 2**53
    np.testing.assert_array_equal(random.uniform(7, 5, (50,), np.float64), expected)


@pytest.mark.parametrize("name", DRAWS)
def test_a_value_depends_on_seed_offset_and_position_only(name: str) -> None:
    draw = DRAWS[name]
    long = draw(SEED, OFFSET, 150001)
    for n in (0, 1, 2, 7, 8, 65537):
        np.testing.assert_array_equal(draw(SEED, OFFSET, n), long[:n])
    per_block = 4 if name in WORDS else 8
    if name != "dropout":
        np.testing.assert_array_equal(draw(SEED, OFFSET + 5, 999), long[5 * per_block :][:999])
    assert random.blocks(40, 64 if name in WORDS else 32) == 40 // per_block
    assert not np.array_equal(draw(SEED + 1, OFFSET, 999), long[:999])


@pytest.mark.parametrize("name", DRAWS)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    before, found = parallel.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            parallel.set_num_threads(threads)
            found.append(DRAWS[name](3, 4, 300007).tobytes())
    finally:
        parallel.set_num_threads(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_distributions(dtype: np.dtype) -> None:
    n = 1 << 20
    x = random.normal(1, 2, (n,), dtype, mean=3.0, std=2.0).astype(np.float64)
    assert abs(x.mean() - 3) < 0.01 and abs(x.std() - 2) < 0.01
    z = (x - 3) / 2
    assert abs((z**3).mean()) < 0.02 and abs((z**4).mean() - 3) < 0.06
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.005
    u = random.uniform(1, 2, (n,), dtype).astype(np.float64)
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005 and abs(u.std() - 12**-0.5) < 0.005
    v = random.uniform(1, 2, (n,), dtype, -1.0, 3.0).astype(np.float64)
    assert v.min() >= -1 and v.max() < 3


@pytest.mark.parametrize(("low", "high"), [
    (0, 1), (0, 7), (-5, 5), (0, 2**32), (-(2**40), 2**40), (0, 2**63), (-(2**63), 2**63),
    (2**63, 2**64),
])  # fmt: skip
def test_integers(low: int, high: int) -> None:
    words = random.raw(SEED, OFFSET, 5000).tolist()
    expected = [low + (w * (high - low) >> 64) for w in words]
    dtype = np.uint64 if high == 2**64 else np.int64
    assert random.integers(SEED, OFFSET, (5000,), low, high, dtype).tolist() == expected


def test_integers_of_other_dtypes() -> None:
    for dtype in (np.uint8, np.int32, np.float32):
        x = random.integers(1, 2, (5, 200), 0, 9, dtype)
        assert x.dtype == dtype and x.shape == (5, 200) and set(x.ravel().tolist()) == {*range(9)}


def test_bernoulli_and_dropout() -> None:
    n = 1 << 18
    for p in (0.0, 0.25, 1.0):
        mask = random.bernoulli(1, 2, (n,), p)
        assert abs(mask.mean() - p) < 0.01 * (0 < p < 1) + 1e-12
        np.testing.assert_array_equal(mask, random.uniform(1, 2, (n,)) < p)
        np.testing.assert_array_equal(mask, random.bernoulli(1, 2, (n,), np.full(n, p)))
    x = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    for p in (0.0, 0.3, 1.0):
        mask = random.bernoulli(1, 2, x.shape, 1 - p)
        scale = np.float32(1 / (1 - p) if p < 1 else 0)
        np.testing.assert_array_equal(random.dropout(1, 2, x, p), x * mask * scale)
        turned = random.dropout(1, 2, x.T.copy().T, p)
        np.testing.assert_array_equal(turned, x * mask * scale)
    half = random.dropout(1, 2, x.astype(BF16), 0.3)
    assert half.dtype == BF16


def test_permutation() -> None:
    for n in (0, 1, 2, 1000):
        p = random.permutation(3, 4, n)
        assert p.dtype == np.int64 and sorted(p.tolist()) == [*range(n)]
    first = [random.permutation(0, k, 3)[0] for k in range(600)]
    assert max(np.bincount(first)) < 260


def test_threads_share_nothing() -> None:
    found: dict[int, bytes] = {}

    def work(seed: int) -> None:
        for _ in range(20):
            found[seed] = random.normal(seed, 9, (1000,)).tobytes()

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert all(found[s] == random.normal(s, 9, (1000,)).tobytes() for s in range(4))


def test_generator() -> None:
    g = random.Generator()
    assert g.initial_seed() == random.DEFAULT_SEED and g.offset == 0
    assert g.take(3) == (random.DEFAULT_SEED, 0) and g.take(1) == (random.DEFAULT_SEED, 3)
    assert g.manual_seed(-1) is g and g.initial_seed() == 2**64 - 1 and g.offset == 0
    g.take(7)
    state = g.get_state()
    assert state.dtype == np.uint8 and state.shape == (random.STATE_BYTES,)
    g.take(5)
    assert random.Generator().set_state(state).take(1) == (2**64 - 1, 7)
    for again in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert again.take(1) == (2**64 - 1, 12)
    assert g.offset == 12
    seed = g.seed()
    assert 0 <= seed < 2**64 and g.initial_seed() == seed and g.offset == 0
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(RuntimeError, match=r"manual_seed.*2\^64 - 1"):
            g.manual_seed(bad)
    with pytest.raises(RuntimeError, match="set_state: expected 16 values"):
        g.set_state(state[:8])


def test_default_generators() -> None:
    assert random.default() is random.default() and random.default(0) is random.default(0)
    assert random.default() is not random.default(0) is not random.default(1)


# -- kernels -----------------------------------------------------------------------------------

SHAPES = [(), (0,), (1,), (7,), (8,), (2048,), (2049,), (4099,), (3, 5), (1, 61), (33, 7),
          (2, 3, 4, 5), (2, 3, 2, 2, 3, 2, 2)]  # fmt: skip


def new(shape: tuple[int, ...], dtype: Any) -> Array:
    return memory.runtime().empty(shape, dtypes.of(np.dtype(dtype)))


def to_device(a: Any) -> Array:
    a = np.asarray(a)
    out = new(a.shape, a.dtype)
    host_view(out)[...] = a
    return out


def outputs(shape: tuple[int, ...], dtype: Any) -> list[Array]:
    """Contiguous, transposed and sliced memory for a result; a large one is contiguous."""
    if math.prod(shape) > 1000:
        return [new(shape, dtype)]
    wide = new(tuple(2 * n for n in shape), dtype)
    return [new(shape, dtype), new(shape[::-1], dtype).transpose(),
            wide[tuple(slice(1, None, 2) for _ in shape)]]  # fmt: skip


def equal(out: Array, expected: np.ndarray, tolerance: float = 0.0) -> None:
    found = host_view(out).astype(np.float64) if tolerance else host_view(out)
    expected = expected.astype(np.float64) if tolerance else expected
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


ROUNDING = {"float32": 3e-6, "float64": 1e-14, "float16": 4e-3, "bfloat16": 3e-2}


@interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_bits(shape: tuple[int, ...]) -> None:
    from tritorch.kernels import random as kernels

    n, base = math.prod(shape), to_device(np.array([OFFSET - 7], np.int64))
    for dtype in (np.uint64, np.int64):
        expected = random.raw(SEED, OFFSET, n).view(dtype).reshape(shape)
        for out in outputs(shape, dtype):
            for offset in (OFFSET, (base, 7)):
                kernels.raw(launch, out, seed=SEED, offset=offset)
                equal(out, expected)
    out = new(shape, np.uint64)
    kernels.raw(launch, out, seed=SEED, offset=base)
    equal(out, random.raw(SEED, OFFSET - 7, n).reshape(shape))


@interpreter
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_uniform_and_normal(shape: tuple[int, ...], dtype: np.dtype) -> None:
    from tritorch.kernels import random as kernels

    rounding = ROUNDING[dtype.name]
    for out in outputs(shape, dtype):
        kernels.uniform(launch, out, seed=SEED, offset=OFFSET)
        equal(out, random.uniform(SEED, OFFSET, shape, dtype))
        kernels.normal(launch, out, seed=SEED, offset=OFFSET)
        equal(out, random.normal(SEED, OFFSET, shape, dtype), rounding)
    kernels.normal(launch, out, seed=5, offset=0, mean=0.5, std=3.0)
    equal(out, random.normal(5, 0, shape, dtype, 0.5, 3.0), 3 * rounding)
    kernels.uniform(launch, out, seed=SEED, offset=OFFSET, low=-1.0, high=3.0)
    found, expected = host_view(out), random.uniform(SEED, OFFSET, shape, dtype, -1.0, 3.0)
    inner = (found != -1) & (expected != -1)  # rounding to the end turns into the start
    found, expected = found[inner].astype(float), expected[inner].astype(float)
    np.testing.assert_allclose(found, expected, rtol=rounding, atol=rounding)


@interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_integers(shape: tuple[int, ...]) -> None:
    from tritorch.kernels import random as kernels

    for low, high, dtype in ((0, 10, np.int64), (-5, 2**40, np.int64), (0, 2**63, np.int64),
                             (-(2**63), 2**63, np.int64), (0, 200, np.uint8), (-9, 9, np.float32),
                             (0, 2, np.bool_)):  # fmt: skip
        out = new(shape, dtype)
        kernels.integers(launch, out, seed=SEED, offset=OFFSET, low=low, high=high)
        equal(out, random.integers(SEED, OFFSET, shape, low, high, dtype))


@interpreter
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernel_bernoulli_and_dropout(shape: tuple[int, ...]) -> None:
    from tritorch.kernels import random as kernels

    rng = np.random.default_rng(0)
    p = rng.random(shape)
    x = np.asarray(rng.standard_normal(shape) * 4)
    for out in outputs(shape, np.bool_):
        kernels.bernoulli(launch, out, 0.3, seed=SEED, offset=OFFSET)
        equal(out, random.bernoulli(SEED, OFFSET, shape, 0.3))
    for dtype in (np.float32, np.float64):
        given = np.asarray(p.T.astype(dtype))
        kernels.bernoulli(launch, out, to_device(given).transpose(), seed=SEED, offset=OFFSET)
        equal(out, random.bernoulli(SEED, OFFSET, shape, given.T))
    if shape:
        row = np.asarray(p[..., :1].astype(np.float32))
        given = np.broadcast_to(row, shape)
        out = new(shape, np.float32)
        kernels.bernoulli(launch, out, to_device(row), seed=SEED, offset=OFFSET)
        equal(out, random.bernoulli(SEED, OFFSET, shape, given).astype(np.float32))
    for dtype in FLOATS:
        a = x.astype(dtype)
        for q in (0.0, 0.3, 1.0) if dtype == np.float32 else (0.3,):
            expected = random.dropout(SEED, OFFSET, a, q)
            for out, given in zip(outputs(shape, dtype), (to_device(a), to_device(a),
                                                          to_device(a.T).transpose())):  # fmt: skip
                kernels.dropout(launch, out, given, p=q, seed=SEED, offset=OFFSET)
                equal(out, expected, ROUNDING[dtype.name] if dtype == BF16 else 0.0)


@interpreter
def test_kernels_refuse_other_dtypes() -> None:
    from tritorch.kernels import random as kernels

    out, given = new((3,), np.int64), {"seed": 0, "offset": 0}
    assert kernels.uniform(launch, out, **given) is NotImplemented
    assert kernels.normal(launch, out, **given) is NotImplemented
    assert kernels.dropout(launch, out, out, p=0.5, **given) is NotImplemented
    assert kernels.bernoulli(launch, out, out, **given) is NotImplemented


# -- ahead of time -----------------------------------------------------------------------------

N = 1 << 20
CASES: dict[str, Callable[[Any], Any]] = {
    "uniform": lambda k: k.uniform(launch, meta((N,), float32), seed=1, offset=0),
    "uniform float64": lambda k: k.uniform(launch, meta((N,), float64), seed=1, offset=0),
    "uniform scaled": lambda k: k.uniform(
        launch, meta((N,), bfloat16), seed=1, offset=0, low=1.0, high=3.0
    ),
    "normal": lambda k: k.normal(launch, meta((N,), float32), seed=2**63, offset=0),
    "normal bfloat16": lambda k: k.normal(launch, meta((N,), bfloat16), seed=1, offset=2**40),
    "normal float64": lambda k: k.normal(launch, meta((N,), float64), seed=1, offset=0),
    "integers": lambda k: k.integers(launch, meta((N,), int64), seed=1, offset=0, low=0, high=9),
    "bernoulli": lambda k: k.bernoulli(launch, meta((N,), bool_), 0.5, seed=1, offset=0),
    "bernoulli of many": lambda k: k.bernoulli(
        launch, meta((N,), float32), meta((N,), float32), seed=1, offset=0
    ),
    "dropout": lambda k: k.dropout(
        launch, meta((N,), bfloat16), meta((N,), bfloat16), p=0.1, seed=1,
        offset=(meta((1,), int64), 3)
    ),
    "dropout wide": lambda k: k.dropout(
        launch, meta((3 * 2**30,), float32), meta((3 * 2**30,), float32), p=0.1, seed=1, offset=0
    ),
}  # fmt: skip
LOADS = {"dropout", "dropout wide", "bernoulli of many"}
SAMPLE = {("sm_90", "uniform"), ("sm_90", "normal"), ("sm_90", "dropout"), ("gfx942", "normal"),
          ("sm_100", "integers"), ("sm_80", "bernoulli")}  # fmt: skip


@compiles
@pytest.mark.aot
@pytest.mark.parametrize(("target", "name"), [
    pytest.param(t, name, marks=() if (t, name) in SAMPLE else pytest.mark.slow)
    for t in TARGETS for name in CASES
])  # fmt: skip
def test_compiles(target: str, name: str) -> None:
    pytest.importorskip("triton")
    from tritorch.kernels import random as kernels

    with compile_for(target) as aot:
        assert CASES[name](kernels) is None
    (facts,) = aot.facts
    assert facts.problems() == []
    assert facts.widest_store >= (64 if "i1" in facts.signature[:3] else 128)
    assert facts.widest_load == 128 or name not in LOADS


@compiles
@pytest.mark.aot
def test_seeds_and_offsets_run_what_is_compiled() -> None:
    pytest.importorskip("triton")
    from tritorch.kernels import random as kernels

    with compile_for("sm_90") as aot:
        for seed, offset in ((0, 0), (1, 1), (16, 16), (2**64 - 1, 2**40)):
            kernels.uniform(launch, meta((N,), float32), seed=seed, offset=offset)
    assert len({f.hash for f in aot.facts}) == 1
