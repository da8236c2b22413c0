"""The kernels of Fourier transforms in Triton's interpreter, against NumPy in double precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine
from tritorch.runtime import memory
from tritorch.runtime.launch import launch

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
rng = np.random.default_rng(0)
# Shapes and the dimension of the transform: one element, many short lines, columns, middle, none.
CASES = [
    ((1,), 0), ((2,), 0), ((3, 4), 1), ((8, 5), 0), ((2, 16, 3), 1), ((40, 64), 1), ((7, 128), -1),
    ((3, 256, 2), 1), ((3,), 0), ((6, 5), 0),
    ((2, 15, 3), 1), ((4, 100), 1), ((2, 1024), 1), ((5, 4096), 1), ((0, 8), 1), ((128, 33), 0),
]  # fmt: skip
TOLERANCE = {"complex64": 4e-7, "complex128": 1e-15}


@pytest.fixture(autouse=True)
def no_fallback() -> Iterator[None]:
    spine.FALLBACKS.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
    assert not spine.FALLBACKS


def complexes(shape: tuple) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def close(got: torch.Tensor, expected: np.ndarray, dtype: str) -> None:
    """The error is small beside the largest element, and grows with the logarithm of the length."""
    assert got.is_cuda and tuple(got.shape) == expected.shape
    error = np.abs(got.cpu().numpy() - expected).max(initial=0)
    assert error <= TOLERANCE[dtype] * 8 * np.abs(expected).max(initial=0), error


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_lines(shape: tuple, dim: int, dtype: str) -> None:
    z = complexes(shape).astype(dtype)
    x = torch.from_numpy(z).cuda()
    wide = z.astype(np.complex128)
    close(torch.fft.fft(x, dim=dim), np.fft.fft(wide, axis=dim), dtype)
    close(torch.fft.ifft(x, dim=dim), np.fft.ifft(wide, axis=dim), dtype)
    real = z.real.copy()
    close(
        torch.fft.rfft(torch.from_numpy(real).cuda(), dim=dim, norm="ortho"),
        np.fft.rfft(real.astype(np.float64), axis=dim, norm="ortho"),
        dtype,
    )
    n = shape[dim]
    half = np.take(z, range(n // 2 + 1), axis=dim)
    close(
        torch.fft.irfft(torch.from_numpy(half).cuda(), n=n, dim=dim),
        np.fft.irfft(half.astype(np.complex128), n=n, axis=dim),
        dtype,
    )


def test_several_dimensions_and_strides() -> None:
    z = complexes((4, 8, 16)).astype(np.complex64)
    x = torch.from_numpy(z).cuda()
    close(torch.fft.fft2(x), np.fft.fft2(z), "complex64")
    close(torch.fft.ifftn(x, norm="forward"), np.fft.ifftn(z, norm="forward"), "complex64")
    view = np.transpose(z, (2, 1, 0))[::2]
    close(torch.fft.fft(x.permute(2, 1, 0)[::2], dim=1), np.fft.fft(view, axis=1), "complex64")
    close(torch.fft.rfftn(x.real), np.fft.rfftn(z.real), "complex64")


def test_long_lines_take_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tritorch.kernels import fft

    monkeypatch.setattr(fft, "LONGEST", {"float32": 3, "float64": 2})
    for dtype, n in (("complex64", 64), ("complex64", 32), ("complex128", 16)):
        z = complexes((3, n, 2)).astype(dtype)
        x, before = torch.from_numpy(z).cuda(), dict(launch.runtime.launches)
        close(torch.fft.fft(x, dim=1), np.fft.fft(z, axis=1), dtype)
        launched = launch.runtime.launches["fft_rows_kernel"]
        assert launched == before.get("fft_rows_kernel", 0) + 2
        real, half = z.real.copy(), z[:, : n // 2 + 1].copy()
        close(
            torch.fft.rfft(torch.from_numpy(real).cuda(), dim=1), np.fft.rfft(real, axis=1), dtype
        )
        close(
            torch.fft.irfft(torch.from_numpy(half).cuda(), n=n, dim=1),
            np.fft.irfft(half, n=n, axis=1),
            dtype,
        )


def test_derivatives_run_on_the_device() -> None:
    a = torch.randn(3, 16, dtype=torch.float64)
    grads = []
    for place in ("cpu", "cuda"):
        x = a.clone().to(place).requires_grad_()
        torch.view_as_real(torch.fft.rfft(x)).square().sum().backward()
        grads.append(x.grad.cpu().numpy())
    assert np.allclose(*grads, atol=1e-12)


# -- arithmetic of complex numbers ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_arithmetic(dtype: str) -> None:
    a, b = (complexes((3, 5, 7)).astype(dtype) for _ in range(2))
    x, y = torch.from_numpy(a).cuda(), torch.from_numpy(b).cuda()
    row, real = y[0, 0], y.real.contiguous()
    pairs = {
        "tensors": (x, y, a, b),
        "broadcast": (x, row, a, b[0, 0]),
        "real": (x, real, a, b.real),
        "real first": (real, x, b.real, a),
        "strided": (x.transpose(0, 2), y.transpose(0, 2), a.T.copy().T.T, b.T),
        "number": (x, 2.5, a, 2.5),
        "complex number": (x, 1 - 2j, a, 1 - 2j),
    }
    rtol = 1e-6 if dtype == "complex64" else 1e-14
    for name, (u, v, s, t) in pairs.items():
        for call in ("add", "subtract", "multiply", "divide"):
            got = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul}.get(
                call, torch.div
            )(u, v)
            expected = getattr(np, call)(s, t)
            assert str(got.dtype).endswith(dtype) and got.is_cuda
            assert np.allclose(got.cpu().numpy(), expected, rtol, rtol), (name, call)
    for f in ("negative", "conj", "square", "reciprocal", "absolute"):
        got = getattr(torch, {"conj": "conj_physical"}.get(f, f))(x)
        assert np.allclose(got.cpu().numpy(), getattr(np, f)(a), rtol, rtol), f
    x *= y
    assert np.allclose(x.cpu().numpy(), a * b, rtol, rtol)


def test_quotients_and_lengths_do_not_overflow() -> None:
    a = np.array([1e30 + 1e30j, 3e-30 + 4e-30j, 0j, complex(np.inf, 1)], np.complex64)
    x = torch.from_numpy(a).cuda()
    assert np.allclose(x.abs().cpu().numpy(), np.abs(a), 1e-6, 0)
    assert np.allclose((x[:2] / x[:2]).cpu().numpy(), 1, 1e-6)
    assert torch.isinf((x[:1] / 0).abs()).item()
