"""Bisection, draws by it, masked_scatter and gradients of scans on a device, against the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.ops.random import multinomial_op
from tritorch.ops.scan import cumprod_backward, logcumsumexp_backward
from tritorch.runtime import memory

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
DTYPES = [*FLOATS, torch.int64, torch.int32, torch.uint8]


def both(f: Any, *tensors: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The results of a function on the device, which none may leave, and on the host."""
    torch.cuda.fallbacks().clear()
    there = f(*(t.to("cuda") for t in tensors))
    assert not torch.cuda.fallbacks() and there.is_cuda
    here = f(*tensors)
    assert there.dtype is here.dtype and there.shape == here.shape
    return tuple(
        t.cpu().numpy() if t.is_complex() else t.cpu().double().numpy() for t in (there, here)
    )


def same(f: Any, *tensors: torch.Tensor) -> None:
    np.testing.assert_array_equal(*both(f, *tensors))


def near(f: Any, *tensors: torch.Tensor, tolerance: float = 2e-6) -> None:
    a, b = both(f, *tensors)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
    np.testing.assert_allclose(a, b, tolerance, tolerance * scale)


def numbers(shape: tuple, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


# -- bisection -----------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_searchsorted(dtype: torch.dtype, right: bool) -> None:
    rng = np.random.default_rng(0)
    table = np.sort(rng.integers(0, 30, (3, 20)))
    values = rng.integers(0, 32, (3, 37))
    given = [torch.from_numpy(a.astype(float)).to(dtype) for a in (table, values)]
    same(lambda t, v: torch.searchsorted(t, v, right=right), *given)
    same(lambda t, v: torch.searchsorted(t[0], v, right=right, out_int32=True), *given)


@pytest.mark.parametrize(("n", "shape"), [
    (0, (3,)), (1, ()), (1, (2, 3)), (4097, (5, 0)), (4097, (700,)), (70000, (2, 600)),
])  # fmt: skip
def test_bucketize(n: int, shape: tuple) -> None:
    table = torch.from_numpy(np.sort(numbers((n,))))
    values = torch.from_numpy(testing.gapped(numbers(shape, 1)))
    for right in (False, True):
        same(lambda t, v: torch.bucketize(v, t, right=right), table, values)  # noqa: B023


def test_bisection_of_nan_and_infinities_and_a_sorter() -> None:
    table = torch.tensor([-np.inf, -1.0, 0.0, 0.0, 2.0, np.inf, np.nan, np.nan])
    values = torch.tensor([-np.inf, -0.0, 1.0, np.inf, np.nan])
    for right in (False, True):
        same(lambda t, v: torch.searchsorted(t, v, right=right), table, values)  # noqa: B023
    plain = torch.from_numpy(numbers((4, 9)))
    order = torch.argsort(plain)
    same(lambda t, v, o: torch.searchsorted(t, v, sorter=o), plain, plain, order)
    same(lambda t: torch.searchsorted(t.T.contiguous().T.sort()[0].T.contiguous().T, t), plain)


# -- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "draws"), [((1,), 1), ((7,), 7), ((3, 50), 20), ((2, 600), 3)])
def test_multinomial(shape: tuple, draws: int, dtype: torch.dtype, replacement: bool) -> None:
    p = np.abs(numbers(shape)) * (np.random.default_rng(1).random(shape) < 0.7)
    p[..., 0] = 0.25
    given = {"num_samples": draws, "replacement": replacement, "seed": 5, "offset": 7}
    same(lambda x: multinomial_op(x, **given), torch.from_numpy(p).to(dtype))
    same(lambda x: multinomial_op(x, **given), torch.from_numpy(testing.gapped(p)).to(dtype))


def test_multinomial_follows_its_weights() -> None:
    torch.manual_seed(0)
    p = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0], device="cuda")
    drawn = torch.multinomial(p, 4000, replacement=True).cpu().numpy()
    assert set(drawn) == {1, 3}
    assert abs((drawn == 3).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)
    rows = p.expand(600, 5)
    first, second = torch.multinomial(rows, 2).cpu().numpy().T
    assert (np.sort([first, second], 0) == [[1], [3]]).all()
    assert abs((first == 3).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 600)


def test_no_weight_of_zero_is_drawn_where_sums_are_rounded() -> None:
    from tritorch.kernels import search
    from tritorch.runtime.launch import launch

    def put(*rows: list[float]) -> Any:
        return torch.tensor(list(rows), dtype=torch.float64, device="cuda")._data

    out = torch.zeros(1, 3, dtype=torch.int64, device="cuda")
    total, u = put([0.1, 1.0, 1.1, 1.2, 2.0]), put([0.01, 0.52, 0.57])
    args = [out._data, total, put([0.0, 1.0, 0.0, 0.0, 1.0]), u, 5, 3, 1, 3]
    launch(search.multinomial_kernel, (1,), args, {"WIDE": False, "BLOCK": 4})
    assert out.tolist() == [[1, 1, 1]]


# -- masks and parts -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bool, torch.complex64])
def test_masked_scatter(dtype: torch.dtype) -> None:
    x, source = (torch.from_numpy(9 * numbers((7, 11), k)).to(dtype) for k in (0, 1))
    mask = torch.from_numpy(np.random.default_rng(2).random((7, 11)) < 0.4)
    f = torch.masked_scatter
    same(f, x, mask, source)
    same(lambda x, m, s: f(x.T, m.T, s), x, mask, source)
    same(lambda x, m, s: f(x, m[:1], s.T), x, mask, source)
    same(lambda x, m, s: x.clone().masked_scatter_(m, s), x, mask, source)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2049,), (3, 2000)])
def test_masked_scatter_of_shapes(shape: tuple) -> None:
    x, source = (torch.from_numpy(numbers(shape, k)) for k in (0, 1))
    mask = torch.from_numpy(np.asarray(numbers(shape, 2) > 0))
    same(torch.masked_scatter, x, mask, source)
    same(torch.masked_scatter, x, torch.ones(shape, dtype=torch.bool), source)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_complex(dtype: torch.dtype) -> None:
    a, b = torch.from_numpy(numbers((3, 1))).to(dtype), torch.from_numpy(numbers((4,))).to(dtype)
    same(torch.complex, a, b)
    same(lambda a, b: torch.complex(a.T, b[:1]), a, b)


# -- gradients of scans --------------------------------------------------------------------------

SHAPES = [((), 0), ((1,), 0), ((17,), 0), ((2, 40), 1), ((40, 2), 0), ((2, 5, 3), 1), ((0, 3), 1)]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, testing.transposed, testing.gapped])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_gradients_of_scans(shape: tuple, dim: int, layout: Any) -> None:
    g, x = (torch.from_numpy(layout(numbers(shape, k))).float() for k in (0, 1))
    near(lambda g, x: cumprod_backward(g, x, dim=dim), g, x)
    y = torch.logcumsumexp(x, dim)
    near(lambda *a: logcumsumexp_backward(*a, dim=dim), g, x, y, tolerance=1e-5)


def test_gradients_of_products_with_zeros_and_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    from tritorch.kernels import scan_backward

    monkeypatch.setattr(scan_backward, "BLOCK", 64)
    g, x = numbers((2, 70)), numbers((2, 70), 1)
    x[0, 7] = x[0, 30] = x[1, 0] = x[1, 69] = 0
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        a, b = torch.from_numpy(g).to(dtype), torch.from_numpy(x).to(dtype)
        near(lambda g, x: cumprod_backward(g, x, dim=1), a, b, tolerance=tolerance)
        near(lambda g, x: cumprod_backward(g.T, x.T, dim=0), a, b, tolerance=tolerance)


def test_gradient_of_logcumsumexp_of_large_numbers() -> None:
    x = torch.tensor([[800.0, -900.0, 3.0, 801.0], [-np.inf, 0.0, 1.0, -2.0]])
    g, y = torch.tensor([[1.0, -2.0, 0.0, 3.0]]).expand(2, 4), torch.logcumsumexp(x, 1)
    near(lambda *a: logcumsumexp_backward(*a, dim=1), g, x, y, tolerance=2e-4)


@pytest.mark.parametrize("name", ["cumprod", "logcumsumexp"])
def test_gradients_by_the_tape(name: str) -> None:
    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        y = getattr(torch, name)(x, 1)
        return torch.autograd.grad((y * y).sum(), x)[0]

    near(gradient, torch.from_numpy(numbers((3, 20))).float(), tolerance=1e-5)
