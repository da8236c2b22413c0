"""Products whose blocks tensor descriptors read: which are, and what they give.

Interpreted, the kernel is compared with NumPy on arrays whose rows lie in wider ones full of NaN;
ahead of time, the launches that are chosen at first must neither spill nor load by pointers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_kernels_dense import (
    CORES,
    aot,
    close,
    counts,
    interpreter,
    matrices,
    numbers,
    put,
    ran,
    wide,
)

from tritorch import dtypes
from tritorch.dtypes import bfloat16, float16, float32
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import contiguous_strides
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch
from tritorch.runtime.memory import Target

pytest.importorskip("triton")

from tritorch.kernels import _product, matmul
from tritorch.kernels._choice import forget
from tritorch.kernels._product import DESCRIPTORS, POINTERS, Form, View, described, form, plan

NAME = "matmul_persistent_kernel"
HOPPER = Target("cuda", 90, 132, 227 << 10, name="H200")
DESCRIBED = [name for name, target in TARGETS.items() if target.descriptors]
ORDERS = ("nn", "nt", "tn", "tt")  # how a and b lie: as they are, or transposed


@pytest.fixture(params=(Form(64, 64, 32, 4, 3, 2), Form(32, 256, 64, 4, 3, 2)), ids=("64", "256"))
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Form]:
    """Descriptors read all products that they can, in blocks of these sizes."""
    monkeypatch.setattr(_product, "form", lambda *sizes: request.param)
    forget()
    yield request.param
    forget()


def padded(shape: tuple[int, ...], dtype: dtypes.DType, seed: int) -> np.ndarray:
    """Numbers in rows of an array of NaN that begin at multiples of 16 bytes."""
    whole = np.full((*shape[:-1], -(-(shape[-1] + 1) // 8) * 8), np.nan, dtype.np)
    part = whole[..., : shape[-1]]
    part[...] = numbers(shape, dtype, seed)
    return part


def operands(
    m: int, n: int, k: int, order: str, dtype: dtypes.DType, batch: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    turn = {"n": lambda x: x, "t": lambda x: x.swapaxes(-1, -2)}
    shapes = (m, k) if order[0] == "n" else (k, m), (k, n) if order[1] == "n" else (n, k)
    a, b = (padded((*batch, *s), dtype, i) for i, s in enumerate(shapes))
    return turn[order[0]](a), turn[order[1]](b)


class Result:
    """Room for (..., m, n) in wider rows, whose rest must stay as it is: NaN."""

    def __init__(self, shape: tuple[int, ...], dtype: dtypes.DType) -> None:
        columns = shape[-1]
        self.whole = launch.empty((*shape[:-1], -(-(columns + 1) // 8) * 8), dtype)
        self.out = self.whole.strided(shape, self.whole.strides)

    def check(self, expected: np.ndarray) -> None:
        close(self.out, expected)
        assert np.isnan(host_view(self.whole)[..., expected.shape[-1] :].astype(np.float32)).all()


# (m, n, k): less than a block, a block, tails, more tiles than programs
SIZES = [(2, 3, 5), (64, 64, 32), (131, 139, 67), (70, 300, 33), (290, 270, 96)]


@interpreter
@pytest.mark.parametrize("order", ORDERS)
def test_products_that_descriptors_read(blocks: Form, order: str) -> None:
    for (m, n, k), dtype in itertools.product(SIZES, (bfloat16, float16)):
        a, b = operands(m, n, k, order, dtype)
        result, before = Result((m, n), dtype), counts()
        assert matmul.matmul(launch, result.out, put(a), put(b)) is None
        assert ran(before) == {NAME}
        result.check((wide(a) @ wide(b)).astype(dtype.np))


@interpreter
@pytest.mark.parametrize("order", ORDERS)
def test_batches_that_descriptors_read(blocks: Form, order: str) -> None:
    m, n, k = 70, 90, 41
    a, b = operands(m, n, k, order, bfloat16, (3,))
    c = padded((3, m, n), bfloat16, 2)
    for left, right in ((a, b), (a[:1], b), (a, b[:1]), (a[1:2], b)):
        result, before = Result((3, m, n), bfloat16), counts()
        assert matmul.addmm(launch, result.out, put(c), put(left), put(right), beta=2) is None
        assert ran(before) == {NAME}
        result.check((2 * wide(c) + wide(left) @ wide(right)).astype(bfloat16.np))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


@interpreter
@pytest.mark.parametrize("wrapped", (False, True), ids=("", "offsets past int32"))
def test_what_is_added_to_products(
    blocks: Form, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrapped:
        monkeypatch.setattr(_product, "is_wide", lambda *arrays: True)
    m, n, k = 133, 270, 70
    a, b = operands(m, n, k, "nt", float16)
    product = wide(a) @ wide(b)
    for shape, dtype in (((n,), float16), ((m, n), float16), ((m, 1), float32), ((m, n), float32)):
        c = numbers(shape, dtype, 2)
        given = put(c), put(a), put(b)
        for alpha, beta in ((1, 1), (0.25, 2)):
            total = alpha * product + beta * wide(c)
            result = Result((m, n), float16)
            assert matmul.addmm(launch, result.out, *given, alpha=alpha, beta=beta) is None
            result.check(total.astype(np.float16))
            for curved, expected in ((False, np.maximum(total, 0)), (True, gelu(total))):
                result = Result((m, n), float16)
                scales: dict[str, Any] = {"alpha": alpha, "beta": beta, "use_gelu": curved}
                assert matmul.addmm_activation(launch, result.out, *given, **scales) is None
                result.check(expected.astype(np.float16))


@interpreter
def test_operators_come_to_descriptors_where_there_are_many_tiles() -> None:
    import tritorch as torch

    x, w, bias = torch.randn(520, 40), torch.randn(520, 40), torch.randn(520)
    x, w, bias = (t.bfloat16() for t in (x, w, bias))
    before = counts()
    got = torch.nn.functional.linear(x.cuda(), w.cuda(), bias.cuda())
    assert NAME in ran(before)
    want = torch.nn.functional.linear(x.float(), w.float(), bias.float())
    torch.testing.assert_close(got.cpu().float(), want, rtol=2e-2, atol=2e-2)


# -- choices ---------------------------------------------------------------------------------------


def of(shape: tuple[int, ...], strides: tuple[int, ...] = (), aligned: bool = True) -> View:
    return View(shape, strides or contiguous_strides(shape), aligned)


def kind(out: View, a: View, b: View, target: Target = HOPPER, dtype: str = "bfloat16") -> str:
    found = plan(out, a, b, None, dtype, "ieee", False, target)
    assert found is not None
    return found.kind


def test_descriptors_read_large_products_of_16_bit_floats() -> None:
    large = of((4096, 4096))
    for dtype in ("bfloat16", "float16"):
        assert kind(large, large, large, dtype=dtype) == "persistent"
    assert kind(large, large, large, dtype="float32") == "tiles"
    for name, target in TARGETS.items():
        expected = "persistent" if name in ("sm_90", "sm_100", "sm_120") else "tiles"
        if name == "sm_120" and memory._triton() < (3, 9):
            expected = "tiles"
        assert kind(large, large, large, target) == expected, name
    few = of((2048, 2048))  # 128 tiles
    assert kind(few, few, few) == "tiles"
    tall, square = of((1 << 17, 128)), of((128, 128))
    assert kind(tall, tall, square) == "persistent"
    batch = of((64, 512, 512))
    assert kind(batch, batch, batch) == "persistent"


def test_the_environment_turns_descriptors_off(monkeypatch: pytest.MonkeyPatch) -> None:
    large = of((4096, 4096))
    for value, expected in (("0", "tiles"), ("1", "persistent")):
        monkeypatch.setenv("TRITORCH_DESCRIPTORS", value)
        forget()
        assert kind(large, large, large) == expected
    forget()


def test_pointers_read_what_descriptors_cannot() -> None:
    n = 4096
    large, turned = of((n, n)), of((n, n), (1, n))
    for a, b in ((large, turned), (turned, large), (turned, turned)):
        assert kind(large, a, b) == "persistent"
    odd, gaps, still = of((n, n), (n + 1, 1)), of((n, n), (2 * n, 2)), of((n, n), (0, 1))
    for wrong in (odd, gaps, still, of((n, n), aligned=False)):
        assert kind(wrong, large, large) == kind(large, wrong, large) == "tiles"
        assert kind(large, large, wrong) == "tiles"
    assert kind(turned, large, large) == "tiles"
    heads = of((8, 32, 512, 64), (512 * 2048, 64, 2048, 1))  # two dimensions of batch
    scores = of((8, 32, 512, 512))
    other = of((8, 32, 64, 512), (512 * 2048, 64, 1, 2048))
    assert kind(scores, heads, other) == "tiles"
    assert kind(of((n, n)), of((n, 0)), of((0, n))) == "tiles"


def test_sizes_that_descriptors_cannot_say() -> None:
    def seen(m: int, k: int) -> bool:
        views = of((m, 64)), of((m, k)), of((k, 64))
        return described(_product.collapse(*views, None)) is not None  # type: ignore[arg-type]

    assert seen((1 << 31) - 256, 64) and seen(64, 1 << 30)
    assert not seen((1 << 31) - 255, 64) and not seen(64, 1 << 31)


def test_a_search_tries_both_forms() -> None:
    from tritorch.perf.tune import neighbours

    key = "product bfloat16 described 4096x4096x1"
    first = form(4096, 4096, 1, "bfloat16", HOPPER)
    assert first == Form(128, 256, 64, 8, 3, DESCRIPTORS)
    assert first._replace(form=POINTERS) in list(neighbours(first))
    assert form(2048, 2048, 1, "bfloat16", HOPPER).form == POINTERS
    other, stale = (128, 128, 64, 8, 3, POINTERS), (128, 256, 64, 8, 3)
    for found, expected in ((other, "tiles"), (stale, "persistent")):
        known = Target("cuda", 90, 132, 227 << 10, name=f"known {expected}", tuned={key: found})
        large = of((4096, 4096))
        chosen = plan(large, large, large, None, "bfloat16", "ieee", False, known)
        assert chosen is not None and chosen.kind == expected
        assert chosen.constants["BN"] == found[1]


# -- ahead of time ---------------------------------------------------------------------------------


def fit(facts: list[Facts]) -> None:
    """Each launch multiplies on the tensor cores what bulk copies brought, and spills nothing."""
    for f in facts:
        assert f.kernel == NAME and not f.problems(), f
        assert set(f.dots) == {CORES[f.target]} and f.bulk and not f.stores, f


@aot
@pytest.mark.parametrize("target", DESCRIBED)
def test_large_products_are_copied_in_bulk(target: str) -> None:
    with compile_for(target) as compiled:
        for order in ORDERS:
            matmul.matmul(launch, *matrices(8192, 8192, 4096, bfloat16, order))
        batch = [meta((64, 1024, 1024), float16) for _ in range(3)]
        matmul.matmul(launch, *batch)
    fit(compiled.facts)
    assert not any(f.loads for f in compiled.facts)


@aot
@pytest.mark.slow
@pytest.mark.parametrize("target", DESCRIBED)
def test_what_is_added_to_large_products_fits(target: str) -> None:
    m, n, k = 8192, 8192, 4096
    with compile_for(target) as compiled:
        for rows, columns in ((1 << 17, 64), (1 << 17, 128), (64, 1 << 17)):
            out, a, b = matrices(rows, columns, k, bfloat16)
            matmul.matmul(launch, out, a, b)
            for shape in ((columns,), (rows, columns)):
                matmul.addmm_activation(launch, out, meta(shape, float32), a, b, use_gelu=True)
        out, a, b = matrices(m, n, k, bfloat16, "nt")
        for shape, dtype in itertools.product(((n,), (m, 1), (m, n)), (bfloat16, float32)):
            c = meta(shape, dtype)
            matmul.addmm(launch, out, c, a, b)
            matmul.addmm(launch, out, c, a, b, alpha=0.5, beta=2)
            for curved in (False, True):
                matmul.addmm_activation(launch, out, c, a, b, use_gelu=curved, alpha=0.5)
    fit(compiled.facts)


# -- on a device -----------------------------------------------------------------------------------


def gpu(test: Any) -> Any:
    absent = memory.interpreted() or not memory.available() or not launch.target.descriptors
    skip = pytest.mark.skipif(absent, reason="no device with tensor descriptors")
    return pytest.mark.gpu(skip(test))


FORMS = (
    Form(128, 256, 64, 8, 3, DESCRIPTORS),
    Form(128, 128, 64, 4, 3, DESCRIPTORS),
    Form(64, 64, 32, 4, 3, DESCRIPTORS),
    Form(128, 128, 64, 4, 3, POINTERS),
)


@gpu
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chosen", FORMS, ids=str)
def test_products_on_a_gpu(chosen: Form, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if launch.target.shared_memory < 160 << 10:
        chosen = chosen._replace(bn=min(chosen.bn, 128))
    monkeypatch.setattr(_product, "form", lambda *sizes: chosen)
    forget()
    rt = memory.runtime()
    sizes = (700, 1111, 333), (129, 65, 8)
    for (m, n, k), dtype in itertools.product(sizes, (bfloat16, float16)):
        a, b = operands(m, n, k, order, dtype, (3,))
        c = numbers((n,), dtype, 2)
        result = Result((3, m, n), dtype)
        rt.fill(result.whole, memory.POISON)
        matmul.addmm(launch, result.out, put(c), put(a), put(b))
        found = rt.copy_to_host(result.whole).astype(np.float32)
        assert np.isnan(found[..., n:]).all()
        expected = np.float32(a) @ np.float32(b) + np.float32(c)
        tolerance = 2e-2 if dtype is bfloat16 else 3e-3
        np.testing.assert_allclose(
            found[..., :n], expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
        )
    forget()


@gpu
def test_operators_and_graphs_on_a_gpu() -> None:
    import tritorch as torch

    x, w, bias = torch.randn(4096, 512), torch.randn(4096 + 72, 512), torch.randn(4096 + 72)
    want = torch.nn.functional.linear(x.bfloat16().float(), w.bfloat16().float(), bias)
    x, w, bias = (t.bfloat16().cuda() for t in (x, w, bias))
    tolerance: Any = {"rtol": 2e-2, "atol": 0.5}
    for _ in range(3):
        got = torch.nn.functional.linear(x, w, bias)
        torch.testing.assert_close(got.cpu().float(), want, **tolerance)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        got = torch.nn.functional.linear(x, w, bias)
    for scale in (1, 2):
        bias.mul_(0)
        x.mul_(scale)
        g.replay()
        expected = scale * (x.cpu().float() / scale) @ w.cpu().float().t()
        torch.testing.assert_close(got.cpu().float(), expected, **tolerance)


@gpu
def test_offsets_past_int32_on_a_gpu() -> None:
    import tritorch as torch

    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("needs 12 GiB")
    x = torch.zeros(1 << 17, 1 << 15, dtype=torch.bfloat16, device="cuda")
    x[-1] = 1
    x[70000, -1] = 2
    w = torch.ones(128, 1 << 15, dtype=torch.bfloat16, device="cuda")
    got = torch.nn.functional.linear(x, w)
    assert (got[-1] == 1 << 15).all() and (got[70000] == 2).all() and got[0].abs().sum() == 0
