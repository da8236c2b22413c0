"""Cholesky, LU, triangular systems and what stands on them, on a device: against NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import dtypes, testing
from tritorch.dtypes import float64, int32
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, compile_for, meta
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import linalg

TOLERANCE = {np.float32: 2e-4, np.float64: 1e-11}
KINDS = [np.float32, np.float64]
# batch, rows: empty, 1, prime, a whole block, one more, several blocks
SIZES = [
    ((), 1),
    ((3,), 7),
    ((2, 0), 4),
    ((2,), 0),
    ((2, 3), 16),
    ((2,), 64),
    ((2,), 65),
    ((), 150),
]


def interpreter(test: Any) -> Any:
    absent = pytest.mark.skipif(not memory.interpreted(), reason="TRITORCH_EXECUTOR=interpreter")
    return pytest.mark.interpreter(absent(test))


def aot(test: Any) -> Any:
    absent = pytest.mark.skipif(memory.interpreted(), reason="triton.jit interprets here")
    return pytest.mark.aot(absent(test))


def numbers(shape: tuple[int, ...], kind: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, *shape))
    return np.asarray(rng.standard_normal(shape)).astype(kind)


def square(batch: tuple[int, ...], n: int, kind: Any) -> np.ndarray:
    return numbers((*batch, n, n), kind)


def positive(batch: tuple[int, ...], n: int, kind: Any) -> np.ndarray:
    x = numbers((*batch, n, n), kind)
    return x @ np.swapaxes(x, -1, -2) + n * np.eye(n, dtype=kind)


def device(x: np.ndarray) -> Any:
    """On the device, with the strides that it has here."""
    return torch.from_numpy(x).to("cuda")


def ran(f: Callable, *given: np.ndarray, **options: Any) -> list[np.ndarray]:
    """What `f` gives on the device, which no part may leave."""
    torch.cuda.fallbacks().clear()
    out = f(*(device(x) for x in given), **options)
    assert not torch.cuda.fallbacks()
    outs = out if isinstance(out, tuple) else (out,)
    assert all(t.is_cuda for t in outs)
    return [t.cpu().numpy() for t in outs]


def close(got: np.ndarray, expected: Any, kind: Any, factor: float = 1.0) -> None:
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    tolerance = TOLERANCE[kind] * factor
    np.testing.assert_allclose(got, expected, tolerance, tolerance * scale)


# -- in the interpreter ----------------------------------------------------------------------------


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "n"), SIZES)
def test_cholesky(batch: tuple[int, ...], n: int, kind: Any) -> None:
    a = positive(batch, n, kind)
    expected = np.linalg.cholesky(a)
    only = np.tril(a) + np.triu(np.full_like(a, np.nan), 1)  # above the diagonal nothing is read
    for given in (only, testing.gapped(only), testing.transposed(only)):
        got, info = ran(torch.linalg.cholesky_ex, given)
        close(got, expected, kind)
        assert info.dtype == np.int32 and info.shape == batch and not info.any()
    (got,) = ran(torch.linalg.cholesky, a, upper=True)
    close(got, np.swapaxes(expected, -1, -2), kind)


@interpreter
@pytest.mark.parametrize("n", [5, 130])
def test_what_is_not_positive_definite_is_found(n: int) -> None:
    a = positive((3,), n, np.float64)
    a[1, n - 2, n - 2] = -1
    a[2, 0, 0] = np.nan
    assert ran(torch.linalg.cholesky_ex, a)[1].tolist() == [0, n - 1, 1]
    with pytest.raises(torch.linalg.LinAlgError, match=rf"minor of order {n - 1} is not positive"):
        torch.linalg.cholesky(device(a[:2]))


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("upper", "unit"), [(False, False), (True, False), (False, True), (True, True)]
)
@pytest.mark.parametrize(("batch", "n", "k"), [
    ((), 1, 1), ((3,), 7, 5), ((2, 0), 4, 3), ((2,), 0, 3), ((2,), 3, 0), ((2,), 64, 1),
    ((2,), 65, 40), ((), 150, 3),
])  # fmt: skip
def test_triangular(
    batch: tuple[int, ...], n: int, k: int, upper: bool, unit: bool, kind: Any
) -> None:
    a = numbers((*batch, n, n), kind) / max(n, 1) + 2 * np.eye(n, dtype=kind)
    b = numbers((*batch, n, k), kind, 1)
    used = np.triu(a) if upper else np.tril(a)
    if unit:
        used = used - used * np.eye(n) + np.eye(n)
    expected = np.linalg.solve(used.astype(float), b.astype(float))
    solve = torch.linalg.solve_triangular
    for given in (a, testing.gapped(a), testing.transposed(a)):
        (got,) = ran(solve, given, b, upper=upper, unitriangular=unit)
        close(got, expected, kind)
    # X A = B, of transposed strides on both sides
    turned = np.swapaxes(b, -1, -2).copy()
    (got,) = ran(
        solve,
        np.swapaxes(a, -1, -2).copy(),
        turned,
        upper=not upper,
        left=False,
        unitriangular=unit,
    )
    close(got, np.swapaxes(expected, -1, -2), kind)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "m", "n"), [
    *((batch, n, n) for batch, n in SIZES), ((2,), 9, 4), ((2,), 4, 9), ((2,), 300, 20),
    ((), 20, 130), ((), 130, 70), ((2,), 70, 130), ((2,), 5, 0),
])  # fmt: skip
def test_lu(batch: tuple[int, ...], m: int, n: int, kind: Any) -> None:
    a = numbers((*batch, m, n), kind)
    expected = [t.numpy() for t in torch.linalg.lu_factor_ex(torch.from_numpy(a))]
    for given in (a, testing.gapped(a), testing.transposed(a)):
        packed, pivots, info = ran(torch.linalg.lu_factor_ex, given)
        np.testing.assert_array_equal(pivots, expected[1])
        close(packed, expected[0], kind, 10)
        assert info.dtype == np.int32 and info.shape == batch and not info.any()
    p, low, up = ran(torch.linalg.lu, a)
    close(p @ low @ up, a, kind)
    assert np.abs(low).max(initial=0) <= 1


@interpreter
@pytest.mark.parametrize("n", [5, 100])
def test_singular_matrices_are_found(n: int) -> None:
    a = numbers((3, n, n), np.float64)
    a[1, :, n - 2] = 0
    a[2] = 0
    assert ran(torch.linalg.lu_factor_ex, a)[2].tolist() == [0, n - 1, 1]
    assert ran(torch.linalg.inv_ex, a)[1].tolist() == [0, n - 1, 1]
    assert ran(torch.linalg.det, a)[0][1:].tolist() == [0, 0]
    sign, size = ran(torch.linalg.slogdet, a)
    assert sign[1:].tolist() == [0, 0] and size[1:].tolist() == [-np.inf, -np.inf]
    with pytest.raises(torch.linalg.LinAlgError, match="input matrix is singular"):
        torch.linalg.solve(device(a), device(a))


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "n"), SIZES)
def test_solutions(batch: tuple[int, ...], n: int, kind: Any) -> None:
    a, b = square(batch, n, kind) + 3 * np.eye(n, dtype=kind), numbers((*batch, n, 3), kind, 1)
    wide = a.astype(float)
    x = np.linalg.solve(wide, b.astype(float))
    close(ran(torch.linalg.solve, a, b)[0], x, kind, 10)
    close(ran(torch.linalg.solve, a, b[..., :1])[0], x[..., :1], kind, 10)
    close(ran(torch.linalg.inv, testing.transposed(a))[0], np.linalg.inv(wide), kind, 10)
    found = ran(torch.linalg.lu_factor, a)
    close(ran(torch.linalg.lu_solve, *found, b)[0], x, kind, 10)
    turned = np.linalg.solve(np.swapaxes(wide, -1, -2), b.astype(float))
    close(ran(torch.linalg.lu_solve, *found, b, adjoint=True)[0], turned, kind, 10)
    with np.errstate(over="ignore"):
        expected = np.linalg.det(wide).astype(kind)
    if np.isfinite(expected).all():
        close(ran(torch.linalg.det, a)[0], expected, kind, 10)
    for got, value in zip(ran(torch.linalg.slogdet, a), np.linalg.slogdet(wide), strict=True):
        close(got, value, kind)


@interpreter
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(("batch", "n"), SIZES)
def test_solutions_by_cholesky(batch: tuple[int, ...], n: int, upper: bool) -> None:
    a, b = positive(batch, n, np.float64), numbers((*batch, n, 2), np.float64)
    factor = np.linalg.cholesky(a)
    factor = np.swapaxes(factor, -1, -2) if upper else factor
    close(ran(torch.cholesky_solve, b, factor, upper=upper)[0], np.linalg.solve(a, b), np.float64)
    close(ran(torch.cholesky_inverse, factor, upper=upper)[0], np.linalg.inv(a), np.float64)


@interpreter
def test_batches_that_broadcast() -> None:
    a, b = square((2, 1), 5, np.float64), numbers((3, 5, 2), np.float64)
    close(ran(torch.linalg.solve, a, b)[0], np.linalg.solve(a, b), np.float64, 10)
    low = np.tril(a) + 3 * np.eye(5)
    (got,) = ran(torch.linalg.solve_triangular, low, b, upper=False)
    close(got, np.linalg.solve(low, b), np.float64)


@interpreter
def test_gradients_stay_on_the_device() -> None:
    a = positive((2,), 6, np.float64)
    found = []
    for where in ("cpu", "cuda"):
        torch.cuda.fallbacks().clear()
        x = torch.from_numpy(a).to(where).requires_grad_()
        low = torch.linalg.cholesky(x)
        y = torch.linalg.solve(x, low).square().sum() + torch.linalg.slogdet(x)[1].sum()
        (low.sum() + y + torch.linalg.lu_factor(x)[0].sum()).backward()
        found.append(x.grad.cpu().numpy())
        assert not torch.cuda.fallbacks()
    close(found[1], found[0], np.float64)


@interpreter
def test_results_are_the_same_from_run_to_run() -> None:
    a = square((), 140, np.float32)
    one, two = (ran(torch.linalg.inv, a)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


# -- ahead of time ---------------------------------------------------------------------------------


def _call(name: str, dtype: Any, batch: int, n: int, k: int = 8) -> None:
    a, b, info = meta((batch, n, n), dtype), meta((batch, n, k), dtype), meta((batch,), int32)
    one, pivots = meta((batch,), dtype), meta((batch, n), int32)
    run: dict[str, Callable[[], Any]] = {
        "cholesky": lambda: linalg.cholesky(launch, (a, info), a),
        "lu": lambda: linalg.lu(launch, (a, pivots, info), a),
        "solve": lambda: linalg.solve(launch, (b, info), a, b),
        "inv": lambda: linalg.inv(launch, (a, info), a),
        "det": lambda: linalg.det(launch, one, a),
        "slogdet": lambda: linalg.slogdet(launch, (one, one), a),
        "permutation": lambda: linalg.permutation(launch, a, pivots, m=n),
        "row_order": lambda: linalg.row_order(
            launch, meta((batch, n), dtypes.int64), pivots, inverse=True
        ),
    }
    assert run[name]() is None


# name, matrices, rows: each block in registers, and those of large matrices
COMPILED = [
    *(("cholesky", 4096, n) for n in (2, 8, 16, 32, 64)),
    *(("lu", 4096, n) for n in (2, 8, 16, 32, 64)),
    *(("solve", 4096, n) for n in (4, 16, 32, 64)),
    *((name, 1, 1000) for name in ("cholesky", "lu", "solve", "inv", "det", "slogdet")),
    *((name, 1, 8192) for name in ("permutation", "row_order")),
]


def cases() -> list:
    """All of them in the whole run; the default one compiles what is not built on the others."""
    return [
        pytest.param(name, target, marks=() if default else pytest.mark.slow)
        for name in sorted({name for name, *_ in COMPILED})
        for target in TARGETS
        for default in [name in ("cholesky", "permutation") and target in ("sm_90", "gfx942")]
    ]


@aot
@pytest.mark.parametrize(("name", "target"), cases())
def test_float64_compiles_without_spills(name: str, target: str) -> None:
    """The dtype that the table over all operators does not compile."""
    for called, batch, n in COMPILED:
        if called != name:
            continue
        with compile_for(target) as runtime:
            runtime.disassembled = False
            _call(name, float64, batch, n)
        assert [p for f in runtime.facts for p in f.problems()] == []
        assert runtime.facts
