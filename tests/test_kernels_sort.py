"""Order on a device against NumPy: sort, topk, kthvalue, medians, mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.runtime import memory

pytest.importorskip("triton")

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
SHAPES = [
    ((), 0), ((1,), 0), ((2,), 0), ((3,), 0), ((0, 3), 0), ((0, 3), 1), ((5, 1), 1), ((37, 3), 1),
    ((37, 3), 0), ((2, 3, 4), 1), ((2, 2, 3, 2, 2, 3), 2), ((2, 1000), 1),
]  # fmt: skip
SMALL = 5  # the logarithm of a block that is merged often at little cost
LAYOUTS: list[Callable[[np.ndarray], np.ndarray]] = [
    np.ascontiguousarray,
    testing.transposed,
    testing.gapped,
]


@pytest.fixture
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The logarithm of the words of a block, SMALL or what the test names."""
    from tritorch.kernels import sort

    log = getattr(request, "param", SMALL)
    monkeypatch.setattr(sort, "LOG", log)
    return log


def awkward(shape: tuple, seed: int = 0) -> np.ndarray:
    """Numbers with ties, both zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.integers(-9, 10, shape) / 2.0)
    odd = rng.random(shape)
    for low, value in ((0.9, np.nan), (0.93, np.inf), (0.95, -np.inf), (0.97, -0.0)):
        x = np.where(odd > low, value, x)
    return np.asarray(x)


def serve(f: Callable, *tensors: torch.Tensor) -> tuple[tuple, tuple]:
    """The results on the device and on the host; none may leave the device."""
    torch.cuda.fallbacks().clear()
    there = f(*(t.to("cuda") for t in tensors))
    assert not torch.cuda.fallbacks()
    here = f(*tensors)
    both = [r if isinstance(r, tuple) else (r,) for r in (there, here)]
    for got, wanted in zip(*both):
        assert got.is_cuda and got.dtype is wanted.dtype
    return tuple(t.cpu() for t in both[0]), both[1]


def same(f: Callable, *tensors: torch.Tensor) -> None:
    for got, wanted in zip(*serve(f, *tensors)):
        a, b = got.double().numpy(), wanted.double().numpy()
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def tensor(x: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.asarray(x)).to(dtype)


def whole(shape: tuple, dtype: torch.dtype) -> torch.Tensor:
    """Integers of a dtype over all of its range, with ties."""
    info = np.iinfo(dtype.np)
    rng = np.random.default_rng(1)
    x = rng.integers(info.min, info.max, shape, dtype.np, endpoint=True)
    return torch.from_numpy(np.where(rng.random(shape) < 0.3, dtype.np.type(info.max), x))


# -- sort ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_sort(shape: tuple, dim: int, layout: Any, descending: bool) -> None:
    same(lambda x: torch.sort(x, dim, descending), tensor(layout(awkward(shape))))


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_sort_of_floats(dtype: torch.dtype) -> None:
    for descending in (False, True):
        same(lambda x: torch.sort(x, 1, descending), tensor(awkward((4, 70)), dtype))  # noqa: B023


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sort_of_integers(dtype: torch.dtype) -> None:
    for descending in (False, True):
        same(lambda x: torch.sort(x, 1, descending), whole((4, 70), dtype))  # noqa: B023


def test_sort_of_bools_and_unsigned() -> None:
    x = np.random.default_rng(0).random((3, 50)) < 0.5
    same(torch.sort, torch.from_numpy(x))
    for dtype in (torch.uint16, torch.uint32, torch.uint64):
        x = whole((2, 40), dtype)
        values, places = torch.sort(x.to("cuda"))
        wanted = np.argsort(x.numpy(), axis=1, kind="stable")
        np.testing.assert_array_equal(places.cpu().numpy(), wanted)
        np.testing.assert_array_equal(values.cpu().numpy(), np.sort(x.numpy(), axis=1))


@pytest.mark.parametrize("n", [33, 64, 97])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64])
def test_sort_of_rows_longer_than_a_block(n: int, dtype: torch.dtype, block: int) -> None:
    x = np.random.default_rng(0).integers(-999, 1000, (1, n)).astype(float)
    x[0, ::7] = 3
    same(lambda x: torch.sort(x, 1, n == 64), tensor(x, dtype))


def test_sort_of_several_long_rows_and_columns(block: int) -> None:
    x = awkward((3, 75))
    same(torch.sort, tensor(x))
    same(lambda x: torch.sort(x, 0), tensor(x.T))


def test_sort_of_4097() -> None:
    same(torch.sort, tensor(awkward((4097,))))


@pytest.mark.parametrize("block", [15], indirect=True)
def test_sort_of_70000(block: int) -> None:
    same(torch.sort, tensor(np.random.default_rng(0).standard_normal(70000)))


def test_sort_in_order_and_reverse(block: int) -> None:
    for n in (2, 30, 100):
        x = np.arange(n, dtype=np.float32)
        for y in (x, x[::-1].copy(), np.zeros(n)):
            same(torch.sort, tensor(y))


def test_argsort_and_msort_and_gradient() -> None:
    x = tensor(awkward((5, 6)))
    same(lambda x: torch.argsort(x, 0, True), x)
    same(torch.msort, x)
    leaf = tensor(np.random.default_rng(0).standard_normal((3, 7))).to("cuda").requires_grad_()
    (leaf.sort(1)[0] * torch.arange(7, device="cuda")).sum().backward()
    wanted = np.argsort(np.argsort(leaf.detach().cpu().numpy(), 1), 1)
    np.testing.assert_array_equal(leaf.grad.cpu().numpy(), wanted)


# -- topk ----------------------------------------------------------------------------------------


def top(x: torch.Tensor, k: int, dim: int = -1, largest: bool = True) -> None:
    """On the device equal elements are in the order of a sort; the host may choose others."""
    values, _ = serve(lambda x: torch.topk(x, k, dim, largest), x)
    wanted = torch.sort(x, dim, largest)
    for got, whole in zip(values, wanted):
        first = whole.narrow(dim, 0, k) if x.ndim else whole
        np.testing.assert_array_equal(got.double().numpy(), first.double().numpy())


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(("shape", "k", "dim"), [
    ((), 1, 0), ((1,), 1, 0), ((5,), 0, 0), ((5,), 1, 0), ((37, 9), 1, 1), ((37, 9), 2, 1),
    ((9, 37), 5, 0), ((1000,), 50, 0), ((100,), 60, 0), ((2, 70), 70, 1), ((0, 7), 3, 1),
])  # fmt: skip
def test_topk(shape: tuple, k: int, dim: int, largest: bool) -> None:
    x = tensor(testing.gapped(awkward(shape)))
    top(x, k, dim, largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize(("n", "k"), [(33, 1), (70, 5), (150, 3), (70, 33)])
def test_topk_of_rows_longer_than_a_block(n: int, k: int, dtype: torch.dtype, block: int) -> None:
    x = np.random.default_rng(0).integers(-50, 50, (2, n)).astype(float)
    top(tensor(x, dtype), k)


@pytest.mark.parametrize("block", [14], indirect=True)
def test_topk_of_70000(block: int) -> None:
    x = tensor(np.random.default_rng(0).standard_normal((1, 70000)))
    top(x, 40)


# -- one of each row -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("shape", "dim"), [s for s in SHAPES if s != ((0, 3), 0)])
def test_kthvalue_and_mode(shape: tuple, dim: int, layout: Any) -> None:
    x = tensor(layout(awkward(shape)))
    n = x.shape[dim] if shape else 1
    same(lambda x: torch.kthvalue(x, (n + 1) // 2, dim), x)
    same(lambda x: torch.kthvalue(x, n, dim, keepdim=True), x)
    if x.numel():
        same(lambda x: torch.mode(x, dim), x)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_kthvalue_and_mode_of_dtypes(dtype: torch.dtype) -> None:
    x = tensor(awkward((3, 41)), dtype) if dtype in FLOATS else whole((3, 41), dtype)
    same(lambda x: torch.kthvalue(x, 20), x)
    same(torch.mode, x)


def test_kthvalue_and_mode_of_long_rows(block: int) -> None:
    x = np.random.default_rng(0).integers(0, 20, (2, 70)).astype(float)
    same(lambda x: torch.kthvalue(x, 40), tensor(x))
    same(torch.mode, tensor(x, torch.int64))
    x[1, ::3] = np.nan
    same(torch.mode, tensor(x))
    same(torch.mode, tensor(np.zeros(70)))


def medians(x: torch.Tensor, dim: int) -> None:
    """Values agree; of equal elements any may be named."""
    for f in (torch.median, torch.nanmedian):
        (values, places), (wanted, _) = serve(lambda x: f(x, dim), x)  # noqa: B023
        np.testing.assert_array_equal(values.double().numpy(), wanted.double().numpy())
        at = places.unsqueeze(dim) if x.ndim else places
        found = x.gather(dim, at).squeeze(dim) if x.ndim else x
        np.testing.assert_array_equal(found.double().numpy(), values.double().numpy())
        a, b = serve(f, x)
        np.testing.assert_array_equal(a[0].double().numpy(), b[0].double().numpy())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("shape", "dim"), [s for s in SHAPES if 0 < np.prod(s[0]) < 1000])
def test_medians(shape: tuple, dim: int, layout: Any) -> None:
    medians(tensor(layout(awkward(shape))), dim)


@pytest.mark.parametrize("dtype", [*FLOATS[1:], *INTEGERS])
def test_medians_of_dtypes(dtype: torch.dtype) -> None:
    medians(tensor(awkward((3, 41)), dtype) if dtype in FLOATS else whole((3, 41), dtype), 1)


def test_medians_of_nan_and_long_rows(block: int) -> None:
    medians(tensor(np.full((2, 5), np.nan)), 1)
    x = np.random.default_rng(0).standard_normal((2, 70))
    x[0, ::2] = np.nan
    medians(tensor(x), 1)


# -- distinct elements and counts ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(0,), (1,), (), (5, 7)])
def test_unique(dtype: torch.dtype, shape: tuple) -> None:
    x = tensor(np.random.default_rng(0).integers(0, 9, shape), dtype)
    for f in (torch.unique, torch.unique_consecutive):
        same(lambda x: f(x, return_inverse=True, return_counts=True), x)  # noqa: B023
        same(f, x)


def test_unique_of_nan_and_zeros() -> None:
    x = torch.tensor([np.nan, 1.0, 0.0, np.nan, -0.0, 1.0])
    for got, wanted in zip(*serve(lambda x: torch.unique(x, False, True, True), x)):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_counts_and_membership() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 12, 60))
    same(torch.bincount, x)
    same(lambda x: torch.bincount(x, minlength=20), x)
    same(torch.bincount, x[:0])
    same(torch.bincount, x.to(torch.uint8))
    with pytest.raises(RuntimeError, match="non-negative"):
        torch.bincount(torch.tensor([1, -1], device="cuda"))
    y = tensor(rng.standard_normal((3, 20)))
    y[0, 0] = np.nan
    same(lambda y: torch.histc(y[1:], 7), y)
    same(lambda y: torch.histc(y, 5, -1, 1), y)
    for invert in (False, True):
        same(lambda x: torch.isin(x.reshape(6, 10), x[:4] + 1, invert=invert), x)  # noqa: B023
        same(lambda x: torch.isin(x, x[:0], invert=invert), x)  # noqa: B023
    same(lambda y: torch.isin(y, y[0]), y)


def test_a_permutation_is_that_of_the_host() -> None:
    for n, dtype in ((0, None), (1, None), (300, torch.int32), (40, torch.float16)):
        torch.manual_seed(5)
        here = torch.randperm(n, dtype=dtype)
        torch.manual_seed(5)
        there = torch.randperm(n, dtype=dtype, device="cuda")
        assert there.is_cuda and there.dtype is here.dtype
        assert there.cpu().tolist() == here.tolist()


# -- determinism ---------------------------------------------------------------------------------


def test_kernels_are_launched(block: int) -> None:
    count = memory.runtime().launches  # type: ignore[attr-defined]

    def launched(f: Callable, n: int) -> dict[str, int]:
        before = dict(count)
        f(torch.zeros(n, device="cuda"))
        return {k: v - before.get(k, 0) for k, v in count.items() if v != before.get(k, 0)}

    assert launched(torch.sort, 30) == {"sort_block_kernel": 1}
    assert launched(torch.sort, 70) == {"sort_block_kernel": 1, "sort_merge_kernel": 2}
    assert launched(lambda x: torch.topk(x, 5), 70) == {"sort_select_kernel": 2}
