"""The kernels of the special functions and of numbers, against the operators on the CPU.

Each over a wide line of arguments with the edges among them, in both precisions; the reference is
computed in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from rows import interpreter, needs_newer_interpreter

import tritorch as torch
from tritorch import op as spine

pytest.importorskip("triton")

from tritorch.kernels import (
    elementwise_bessel,
    elementwise_numbers,
    elementwise_polynomials,
    elementwise_special,
)
from tritorch.ops.special_polynomials import POLYNOMIALS

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, math.inf, -math.inf, math.nan, 1e-30, -1e-30]
FLOATS = ("float32", "float64")


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The interpreter's NumPy, and the references', warn of what IEEE arithmetic does silently."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def line(*pieces: tuple[float, float]) -> np.ndarray:
    return np.concatenate([*(np.linspace(a, b, 157) for a, b in pieces), EDGES])


def pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(np.concatenate([x, EDGES]), np.concatenate([y, EDGES]))
    return a.ravel(), b.ravel()


def grid(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.meshgrid(np.asarray(x, float), np.asarray(y, float))
    return a.ravel(), b.ravel()


def joined(*cases: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(parts) for parts in zip(*cases, strict=True))


def orders() -> tuple[np.ndarray, np.ndarray]:
    """Arguments of the incomplete gamma functions: small and large, near the order and far."""
    a, times = grid([20, 31, 100, 1e3, 1e5], [0.4, 0.69, 0.71, 0.95, 1, 1.05, 1.29, 1.31, 2])
    b, off = grid([25, 40, 1e3, 1e4], np.linspace(-4, 4, 15))
    return joined(
        grid([*np.logspace(-9, 0, 7), *np.linspace(0.3, 35, 15)], [*np.logspace(-5, 0, 6), *TENS]),
        grid(EDGES, EDGES),
        (a, a * times),
        (b, b + off * np.sqrt(b)),
    )


def zetas() -> tuple[np.ndarray, np.ndarray]:
    return joined(
        grid([1.01, 1.5, 2, 5.5, 20, 60], [1e-3, 0.3, 1, 2.5, 9, 30, 1e4]),
        grid([2, 3, 4, 7, 20], -np.linspace(0.01, 30.3, 23)),
        grid([*EDGES, 1.5, 3], [*EDGES, -1.5]),
    )


TENS = np.linspace(0.2, 60, 19)
TINY = 10.0 ** -np.linspace(1, 300, 100)
# name -> arguments
CASES: dict[str, tuple[np.ndarray, ...]] = {
    "entr": (line((0, 3), (0, 1e6)),),
    "xlog1py": pairs(np.linspace(-3, 3, 13), np.linspace(-0.9, 9, 13)),
    "sinc": (line((-4, 4), (-90, 90)),),
    "erfcx": (line((-9, 12), (-26, 1e3)),),
    "ndtr": (line((-12, 9), (-37, 0)),),
    "log_ndtr": (line((-9, 9), (-1e4, 0)),),
    "ndtri": (np.concatenate([line((0, 1)), TINY]),),
    "heaviside": pairs(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)),
    "logit": (line((0, 0.4), (0.6, 1)),),
    "igamma": orders(),
    "igammac": orders(),
    "zeta": zetas(),
    "airy_ai": (line((-5, 3), (-60, 20)),),
    "bessel_j0": (line((-9, 9), (-500, 500)),),
    "bessel_j1": (line((-9, 9), (-500, 500)),),
    "bessel_y0": (line((0.01, 9), (-1, 500)),),
    "bessel_y1": (line((0.01, 9), (-1, 500)),),
    "spherical_bessel_j0": (line((-2, 2), (-90, 90)),),
    **dict.fromkeys(("i0", "modified_bessel_i0"), (line((-9, 9), (-90, 90)),)),
    **dict.fromkeys(("i1", "modified_bessel_i1"), (line((-9, 9), (-90, 90)),)),
    **dict.fromkeys(("i0e", "i1e"), (line((-9, 9), (-1e4, 1e4)),)),
    **dict.fromkeys(("modified_bessel_k0", "modified_bessel_k1"), (line((0, 3), (-1, 80)),)),
    **dict.fromkeys(
        ("scaled_modified_bessel_k0", "scaled_modified_bessel_k1"), (line((0, 3), (-1, 1e4)),)
    ),
}
# Oscillating functions are held to an error relative to their amplitude.
ABSOLUTE = (
    "sinc",
    "airy_ai",
    "spherical_bessel_j0",
    *(f"bessel_{k}" for k in ("j0", "j1", "y0", "y1")),
)
# The reference's own error: of a difference from 1, of exp(a log(x) - x), of a truncated series.
LOOSE = {"igamma": 3e-11, "igammac": 3e-11}


def function(name: str) -> object:
    return getattr(torch.special, name, None) or getattr(torch, name)


def on_device(name: str, *arrays: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    spine.FALLBACKS.clear()
    out = function(name)(*(torch.tensor(a, dtype=dtype).to("cuda") for a in arrays))  # type: ignore[operator]
    assert out.is_cuda and out.dtype is dtype
    assert not spine.FALLBACKS, "ran on the host"
    return out.cpu().numpy()


@interpreter
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str) -> None:
    if dtype == "float64" and name.startswith(("airy", "bessel", "spherical")):
        needs_newer_interpreter("rounds the products of fma, by which angles are reduced")
    arrays = [a.astype(dtype) for a in CASES[name]]
    found = on_device(name, *arrays, dtype=getattr(torch, dtype))
    wide = [torch.tensor(a, dtype=torch.float64) for a in arrays]
    expected = function(name)(*wide).numpy().astype(dtype)  # type: ignore[operator]
    rtol = 4e-6 if dtype == "float32" else LOOSE.get(name, 1e-12)
    atol = rtol if name in ABSOLUTE else float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(found, expected, rtol, atol)


@interpreter
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name: str, dtype: str) -> None:
    """To an error relative to the largest value of the degree in [-1, 1]."""
    if dtype == "float64" and name.startswith("chebyshev"):
        needs_newer_interpreter("rounds the products of fma, by which angles are reduced")
    degrees = [0, 1, 2, 5, 6, 7, 8, 9, 12, 30, 200, -1, 2.7, math.nan, math.inf, 1e30]
    x, n = grid([*np.linspace(-1.5, 2.5, 24), *EDGES], degrees)
    found = on_device(name, x, n, dtype=getattr(torch, dtype))
    x, n = (torch.tensor(a.astype(dtype), dtype=torch.float64) for a in (x, n))
    if name == "hermite_polynomial_h" and dtype == "float32":
        n = torch.where(n == 200, 600, n)  # where float64 has no value either
    expected = function(name)(x, n).numpy()  # type: ignore[operator]
    size = np.abs(np.where(np.abs(x.numpy()) <= 1, expected, 0)).reshape(len(degrees), -1)
    size = np.repeat(np.nanmax(size, 1), x.numel() // len(degrees))
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    bound = tolerance * (size + np.abs(expected))
    most = np.finfo(dtype).max
    with_value = np.isfinite(expected) & (np.abs(expected) < most) & np.isfinite(found)
    assert (np.abs(found - expected)[with_value] <= bound[with_value]).all()
    assert (~np.isfinite(found[~with_value])).all()
    in_range = np.isfinite(expected) & (np.abs(expected) < most) & (np.abs(n.numpy()) < 150)
    assert np.isfinite(found[in_range]).all()


@interpreter
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 20])
def test_polygamma(n: int, dtype: str) -> None:
    x = np.concatenate([np.linspace(0.05, 40, 57), np.linspace(-6.3, -0.2, 23), EDGES])
    spine.FALLBACKS.clear()
    found = torch.polygamma(n, torch.tensor(x, dtype=getattr(torch, dtype)).to("cuda"))
    assert found.is_cuda and not spine.FALLBACKS
    expected = torch.polygamma(n, torch.tensor(x.astype(dtype), dtype=torch.float64)).numpy()
    rtol = 1e-5 if dtype == "float32" else 1e-12
    atol = rtol * math.factorial(n) + float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(found.cpu().numpy(), expected.astype(dtype), rtol, atol)


@interpreter
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", *FLOATS])
def test_neighbours(dtype: str) -> None:
    kind = getattr(torch, dtype)
    most = torch.finfo(kind).max
    x, y = pairs(np.array([3.0, -0.75, 1e-6, most, -most]), np.array([3.0, -5.0]))
    a, b = torch.tensor(x).to(kind), torch.tensor(y).to(kind)
    found = torch.nextafter(a.to("cuda"), b.to("cuda")).cpu().double().numpy()
    expected = torch.nextafter(a, b).double().numpy()
    np.testing.assert_array_equal(found, expected)
    assert (found != a.double().numpy()).any()


@interpreter
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", *FLOATS])
def test_mantissas_and_exponents(dtype: str) -> None:
    kind = getattr(torch, dtype)
    limits = torch.finfo(kind)
    values = [*EDGES, 0.3, -77.0, 8.0, 1023.5, limits.max, limits.tiny, -limits.tiny]
    if dtype != "bfloat16":  # the interpreter has no subnormal ones
        values += [limits.tiny / 3, -limits.tiny / 16]
    x = torch.tensor(values, dtype=torch.float64).to(kind)
    spine.FALLBACKS.clear()
    found = torch.frexp(x.to("cuda"))
    assert not spine.FALLBACKS
    for f, e in zip(found, torch.frexp(x), strict=True):
        assert f.dtype is e.dtype
        np.testing.assert_array_equal(f.cpu().double().numpy(), e.double().numpy())


@interpreter
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
@pytest.mark.parametrize("name", ["gcd", "lcm"])
def test_divisors(name: str, dtype: str) -> None:
    kind = getattr(torch, dtype)
    values = [0, 1, 2, 3, 6, 8, 12, 35, 100, 127]
    if kind.is_signed:
        values += [-1, -2, -6, -12, -100, -128]
    if dtype in ("int32", "int64"):
        values += [2**20, 3**12, 10**9, -(2**30)]
    x, y = (torch.tensor(v.ravel().astype(dtype)) for v in np.meshgrid(values, values))
    found = on_device(name, x.numpy(), y.numpy(), dtype=kind)
    np.testing.assert_array_equal(found, getattr(torch, name)(x, y).numpy())


def test_every_body_is_tested() -> None:
    tested = {*CASES, *POLYNOMIALS, "gcd", "lcm", "polygamma"}
    tested |= {"nextafter", "nextafter_bfloat16", "nextafter_float16"}
    tested |= {"frexp_mantissa", "frexp_exponent"}
    helpers = {"widened", "stepped", "whole", "is_odd", "next_value", "recurrence", "by_angle"}
    helpers |= {"chebyshev", "parts"}
    for module in (
        elementwise_bessel,
        elementwise_numbers,
        elementwise_polynomials,
        elementwise_special,
    ):
        for name, value in vars(module).items():
            if hasattr(value, "arg_names") and value.__module__ == module.__name__:
                assert name in tested | helpers, name
