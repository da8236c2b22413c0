"""`torch.special` and the functions of numbers, against closed forms and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

import tritorch as torch
from tritorch.ops.special_polynomials import POLYNOMIALS

X = [-3.7, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 10.0, math.inf, math.nan]
DEGREES = [0, 1, 2, 5, 7, 9, 12, -1]
ONE = (
    *("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "entr", "erf", "erfc"),
    *("erfcx", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e", "log1p"),
    *("log_ndtr", "logit", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0"),
    *("modified_bessel_k1", "ndtr", "ndtri", "psi", "scaled_modified_bessel_k0"),
    *("scaled_modified_bessel_k1", "sinc", "spherical_bessel_j0"),
)
NUMBERS = ["float_power", "ldexp", "nextafter", "heaviside", "copysign"]
oracle = pytest.mark.oracle


@oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*ONE, *POLYNOMIALS, "xlogy", "xlog1py"])
def test_special_function_is_pytorchs(name: str, dtype: str) -> None:
    pytorch = pytest.importorskip("torch")

    def value(lib: object) -> np.ndarray:
        x = lib.tensor(X, dtype=getattr(lib, dtype))  # type: ignore[attr-defined]
        f = getattr(lib.special, name)  # type: ignore[attr-defined]
        if name in ONE:
            return f(x).numpy()
        y = lib.tensor(DEGREES, dtype=x.dtype) if name in POLYNOMIALS else x  # type: ignore[attr-defined]
        return f(x[:-1, None], y).numpy()

    ours, theirs = value(torch), value(pytorch)
    assert ours.dtype == theirs.dtype
    tolerance = 3e-5 if dtype == "float32" else 1e-8
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@oracle
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize("name", [*NUMBERS, "gcd", "lcm"])
def test_function_of_numbers_is_pytorchs(name: str, dtype: str) -> None:
    pytorch = pytest.importorskip("torch")

    def value(lib: object) -> object:
        x = lib.tensor([0, 1, -1, 2, -6, 7, 12, 100]).to(getattr(lib, dtype))  # type: ignore[attr-defined]
        try:
            return getattr(lib, name)(x[:, None], x)
        except RuntimeError as error:
            return type(error)

    ours, theirs = value(torch), value(pytorch)
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)  # type: ignore[attr-defined]


def value(lib: object, name: str, *inputs: object) -> np.ndarray:
    f = getattr(lib.special, name)  # type: ignore[attr-defined]
    tensors = [lib.tensor(x, dtype=lib.float64) for x in inputs]  # type: ignore[attr-defined]
    return f(*tensors).numpy()


INFINITE = [0.0, -1.0, -0.5, 0.5, 1.0, 2.0, math.inf, -math.inf, math.nan]


@oracle
@pytest.mark.parametrize("name", ["zeta", "gammainc", "gammaincc", "legendre_polynomial_p"])
def test_edges_of_two_arguments_are_pytorchs(name: str) -> None:
    pytorch = pytest.importorskip("torch")
    x, y = (a.ravel() for a in np.meshgrid(INFINITE, INFINITE))
    if name in POLYNOMIALS:  # of NaN it is memory that PyTorch has not written
        x, y = x[x == x], y[x == x]
    np.testing.assert_allclose(value(torch, name, x, y), value(pytorch, name, x, y), rtol=1e-12)


@oracle
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_edges_of_polygamma_are_pytorchs(n: int) -> None:
    pytorch = pytest.importorskip("torch")
    x = [v for v in INFINITE if v != -1]  # where PyTorch has 6.6e32 for the first derivative
    ours, theirs = (lib.polygamma(n, lib.tensor(x, dtype=lib.float64)) for lib in (torch, pytorch))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-8)


@oracle
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [*ONE, *POLYNOMIALS, "zeta", "xlog1py", "gammainc"])
def test_16_bit_numbers_are_refused_where_pytorch_refuses_them(name: str, dtype: str) -> None:
    pytorch = pytest.importorskip("torch")

    def outcome(lib: object) -> object:
        x = lib.tensor([0.5]).to(getattr(lib, dtype))  # type: ignore[attr-defined]
        try:
            return str(getattr(lib.special, name)(*(x,) * (1 if name in ONE else 2)).dtype)[-8:]  # type: ignore[attr-defined]
        except NotImplementedError:
            return "refused"

    assert outcome(torch) == outcome(pytorch)


def test_edges() -> None:
    inf, nan = math.inf, math.nan
    zeta = value(torch, "zeta", [1, 0.5, 2, inf, inf, nan, 3], [nan, inf, inf, 1, 0.5, 0, -1.5])
    np.testing.assert_allclose(zeta[:-1], [inf, nan, nan, 1, inf, inf])
    assert math.isclose(zeta[-1], zeta_at(3, 0.5) - 8 - 1 / 1.5**3)
    lower = value(torch, "gammainc", [0, 0, nan, nan, inf, -1, 1], [0, 1, 0, inf, nan, 1, -1])
    np.testing.assert_array_equal(lower, [nan, 1, 0, 1, 0, nan, nan])
    with pytest.raises(NotImplementedError, match=r"airy_ai.*float16"):
        torch.special.airy_ai(torch.ones(2, dtype=torch.float16))


def zeta_at(x: float, q: float) -> float:
    return float(value(torch, "zeta", [x], [q])[0])


def test_chebyshev_polynomials_are_cosines() -> None:
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    for n in (0, 1, 4, 6, 7, 30):
        got = torch.special.chebyshev_polynomial_t(x, n)
        assert torch.allclose(got, torch.cos(n * torch.acos(x)))


def test_degrees_differ_by_element_and_shapes_broadcast() -> None:
    got = torch.special.legendre_polynomial_p(torch.tensor([[0.5], [2.0]]), torch.arange(4))
    x = np.array([[0.5], [2.0]])
    wanted = np.hstack([x**0, x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2])
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-6)


def test_mantissas_and_exponents() -> None:
    x = torch.tensor([6.0, -0.75, 0.0], requires_grad=True)
    mantissa, exponent = torch.frexp(x)
    assert mantissa.tolist() == [0.75, -0.75, 0.0] and exponent.tolist() == [3, 0, 0]
    assert exponent.dtype is torch.int32
    mantissa.sum().backward()
    assert x.grad.tolist() == [0.125, 1.0, 1.0]
    with pytest.raises(RuntimeError, match="frexp"):
        torch.frexp(torch.arange(3))


def test_common_multiples_wrap_around() -> None:
    x = torch.tensor([127, -128, 100, -128, 64], dtype=torch.int8)
    y = torch.tensor([2, 3, 7, -128, 3], dtype=torch.int8)
    assert torch.lcm(x, y).tolist() == [-2, -128, -68, -128, -64]
    assert torch.lcm(x, y).dtype is torch.int8
    assert torch.lcm(torch.tensor(2**62), torch.tensor(6)).item() == 2**62


def test_next_number_is_of_the_tensors_own_dtype() -> None:
    one, two = torch.tensor([1.0]), torch.tensor([2.0])
    for dtype, step in ((torch.float16, 2**-10), (torch.bfloat16, 2**-7), (torch.float32, 2**-23)):
        got = torch.nextafter(one.to(dtype), two.to(dtype))
        assert got.dtype is dtype and got.double().item() == 1 + step


@pytest.mark.parametrize("name", ["heaviside", "nextafter", "igamma"])
def test_a_missing_derivative_is_an_error(name: str) -> None:
    x = torch.tensor([0.5, 1.5], requires_grad=True)
    out = getattr(torch, name)(x, torch.tensor([0.5, 1.0]))
    with pytest.raises(RuntimeError, match=rf"{name}.*not implemented"):
        out.sum().backward()


def test_logit_limits_its_input() -> None:
    x = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    got = torch.logit(x, eps=0.25)
    np.testing.assert_allclose(got.detach().numpy(), [-math.log(3), 0, math.log(3)], rtol=1e-6)
    got.sum().backward()
    assert x.grad.tolist() == [0.0, 4.0, 0.0]


def test_dtypes_of_heaviside_must_agree() -> None:
    with pytest.raises(RuntimeError, match=r"heaviside.*different dtypes"):
        torch.heaviside(torch.ones(2), torch.ones(2, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="float_power_"):
        torch.ones(2).float_power_(2)


LONG = np.concatenate(
    [np.linspace(-12, 12, 4001), np.geomspace(1e-20, 80, 999), [0.0, -0.0, np.nan, np.inf]]
).astype(np.float32)
# name -> (ours, SciPy's, where it is compared)
FUNCTIONS: dict[str, tuple] = {
    **{
        n: (getattr(torch.special, n), getattr(special, n), LONG[:-1])
        for n in ("i0", "i0e", "i1", "i1e")
    },
    "ndtr": (torch.special.ndtr, special.ndtr, LONG),
    "erfc": (torch.special.erfc, special.erfc, LONG),
    **{
        f"polygamma {n}": (
            lambda x, n=n: torch.polygamma(n, x),
            lambda x, n=n: (-1) ** (n + 1) * math.factorial(n) * special.zeta(n + 1, x),
            LONG[4200:-4],
        )
        for n in (1, 2, 7, 9)
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_of_many_elements(name: str) -> None:
    """Above some thousand elements the loops work in blocks, in scratch memory."""
    ours, theirs, x = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        expected = theirs(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(ours(torch.from_numpy(x)).numpy(), expected, 2e-6, 1e-38)
    many = np.tile(x, 20)  # more than one block of the threads
    np.testing.assert_array_equal(
        ours(torch.from_numpy(many)).numpy()[: len(x)], ours(torch.from_numpy(x)).numpy()
    )


def test_nextafter_of_many_elements() -> None:
    edge = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4028235e38, 1.0, -1.0]
    values = np.concatenate([LONG, edge]).astype(np.float32)
    for dtype in (np.float32, np.float64):
        x, y = values.astype(dtype), np.roll(values, 3).astype(dtype)
        for a, b in ((x, y), (y, x), (x, np.tile(edge, len(x))[: len(x)].astype(dtype))):
            got = torch.nextafter(torch.from_numpy(a), torch.from_numpy(b)).numpy()
            np.testing.assert_array_equal(got, np.nextafter(a, b))
            np.testing.assert_array_equal(np.signbit(got), np.signbit(np.nextafter(a, b)))
