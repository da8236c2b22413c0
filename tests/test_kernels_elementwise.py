"""The elementwise kernels on their own: every body, every dtype, every layout.

Interpreted, `elementwise.apply` is compared with NumPy in float64; ahead of time, every body is
compiled, and must neither spill nor miss 16-byte loads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.special as special
from rows import (
    FLOATS,
    LAYOUTS,
    aot,
    close,
    interpreter,
    needs_newer_interpreter,
    new,
    numbers,
    put,
    ran,
    turned,
    wide,
)

from tritorch import dtypes
from tritorch.dtypes import (
    DType,
    bfloat16,
    bool_,
    complex64,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tritorch.op import REGISTRY
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

pytest.importorskip("triton")

from tritorch.kernels import (
    elementwise,
    elementwise_activations,
    elementwise_bodies,
    elementwise_functions,
)

INTEGERS = (int8, int16, int32, int64, uint8)


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The interpreter's NumPy, and the references', warn of what IEEE arithmetic does silently."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def apply(body: str, out: Array, *inputs: Any, compute: DType | None = None) -> set[str]:
    arrays = [put(x) if isinstance(x, np.ndarray) else x for x in inputs]
    compute = compute or dtypes.of(inputs[0].dtype)
    return ran(elementwise.apply, out, *arrays, body=body, compute=compute)


# -- bodies ----------------------------------------------------------------------------------------

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -1.5, 3.0, math.inf, -math.inf, math.nan]
POSITIVE = [0.0, 1.0, 0.5, 2.5, 1e-30, 1e30, math.inf, math.nan]
UNIT = [0.0, -0.0, 1.0, -1.0, 0.5, -0.999, 1e-20, math.nan]


def line(low: float, high: float, edges: Sequence[float] = EDGES) -> np.ndarray:
    near = np.array([1e-6, -1e-6, 1e-3, -1e-3])
    points = np.concatenate([np.linspace(low, high, 231), near[(near >= low) & (near <= high)]])
    return np.concatenate([points, edges])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return special.expit(x)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return special.ndtr(x)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def elu(x: np.ndarray, alpha: float, scale: float, inner: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(x * inner)) * scale


def softplus(x: np.ndarray, beta: float, threshold: float) -> np.ndarray:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(0, x))


TRIANGLE = line(-30, 30, [0.0, -0.0, math.nan])
FINITE = line(-30, 30, EDGES[:9])

# body -> (reference, points, ulps allowed over TOLERANCE)
UNARY: dict[str, tuple[Callable, np.ndarray]] = {
    "copy": (np.positive, FINITE),
    "conj_physical": (np.positive, FINITE),
    "neg": (np.negative, FINITE),
    "abs": (np.abs, line(-5, 5)),
    "sign": (lambda x: np.nan_to_num(np.sign(x)), line(-5, 5)),
    "sgn": (lambda x: np.nan_to_num(np.sign(x)), line(-5, 5)),
    "square": (np.square, line(-5, 5)),
    "sqrt": (np.sqrt, line(0, 90, POSITIVE)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), line(1e-6, 90, POSITIVE)),
    "reciprocal": (np.reciprocal, line(-5, 5)),
    "exp": (np.exp, line(-87, 88)),
    "exp2": (np.exp2, line(-120, 120)),
    "expm1": (np.expm1, line(-20, 85)),
    "log": (np.log, line(0, 90, POSITIVE)),
    "log2": (np.log2, line(0, 90, POSITIVE)),
    "log10": (np.log10, line(0, 90, POSITIVE)),
    "log1p": (np.log1p, line(-0.99, 90, [0.0, -0.0, -1.0, 1e-20, math.inf, math.nan])),
    "sin": (np.sin, TRIANGLE),
    "cos": (np.cos, TRIANGLE),
    "tan": (np.tan, line(-1.5, 1.5, [0.0, -0.0, math.nan])),
    "asin": (np.arcsin, line(-1, 1, UNIT)),
    "acos": (np.arccos, line(-1, 1, UNIT)),
    "atan": (np.arctan, line(-50, 50)),
    "sinh": (np.sinh, line(-88, 88)),
    "cosh": (np.cosh, line(-88, 88)),
    "tanh": (np.tanh, line(-12, 12)),
    "asinh": (np.arcsinh, line(-90, 90, [*EDGES, 1e30, -1e30, 1e-30])),
    "acosh": (np.arccosh, line(1, 90, [1.0, 1e30, 0.5, -3.0, math.inf, math.nan])),
    "atanh": (np.arctanh, line(-0.999, 0.999, [*UNIT, 1.5])),
    "erf": (special.erf, line(-5, 5)),
    "erfc": (special.erfc, line(-5, 9)),
    "erfinv": (special.erfinv, line(-0.9999, 0.9999, UNIT)),
    "lgamma": (special.gammaln, line(0.01, 90, [1.0, 2.0, 1e-20, 1e5, math.inf, math.nan])),
    "digamma": (special.digamma, line(0.1, 90, [1.0, 1e-5, -0.5, -2.25, math.inf, math.nan])),
    "floor": (np.floor, line(-5, 5)),
    "ceil": (np.ceil, line(-5, 5)),
    "round": (np.rint, line(-5, 5, [*EDGES, 1e10, 8388609.0])),
    "trunc": (np.trunc, line(-5, 5)),
    "frac": (lambda x: x - np.trunc(x), line(-5, 5, EDGES[:9])),
    "sigmoid": (sigmoid, line(-80, 30)),
    "log_sigmoid": (special.log_expit, line(-30, 30)),
    "silu": (lambda x: x * sigmoid(x), FINITE),
    "relu": (lambda x: np.maximum(x, 0), line(-5, 5)),
    "gelu": (lambda x: x * normal_cdf(x), line(-4, 30, EDGES[:9])),
    "gelu_tanh": (gelu_tanh, line(-4, 30, EDGES[:9])),
    "mish": (mish, FINITE),
    "hardsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, line(-5, 5)),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, line(-5, 5, EDGES[:9])),
    "isnan": (np.isnan, line(-5, 5)),
    "isinf": (np.isinf, line(-5, 5)),
    "isfinite": (np.isfinite, line(-5, 5)),
    "signbit": (np.signbit, line(-5, 5, EDGES[:-1])),
    "logical_not": (np.logical_not, line(-5, 5)),
}


def pairs(edges: Sequence[float] = EDGES) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs, and all pairs of edge cases."""
    a, b = np.meshgrid(edges, edges)
    x, y = numbers((2, 150), float64) * 3
    return np.concatenate([x, a.ravel()]), np.concatenate([y, b.ravel()])


def positive_base() -> tuple[np.ndarray, np.ndarray]:
    x, y = numbers((2, 200), float64) * 3
    a, b = np.meshgrid([*EDGES, -2.0], [*EDGES, 3.0, -3.0])
    return np.concatenate([np.abs(x), a.ravel()]), np.concatenate([y, b.ravel()])


def python_floor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y == 0, x / y, np.floor_divide(x, y))


def xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y))


def cross_entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -(y * np.maximum(np.log(x), -100) + (1 - y) * np.maximum(np.log1p(-x), -100))


def probabilities() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid([0.0, 1e-30, 0.01, 0.3, 0.5, 0.9, 1.0], [0.0, 0.25, 1.0])
    return x.ravel(), y.ravel()


TAME = EDGES[:9]
BINARY: dict[str, tuple[Callable, tuple]] = {
    "add": (np.add, pairs()),
    "sub": (np.subtract, pairs()),
    "mul": (np.multiply, pairs()),
    "div": (np.divide, pairs()),
    "floor_divide": (python_floor, pairs(TAME)),
    "trunc_divide": (lambda x, y: np.trunc(x / y), pairs(TAME)),
    "remainder": (np.remainder, pairs()),
    "fmod": (np.fmod, pairs()),
    "pow": (np.power, positive_base()),
    "maximum": (np.maximum, pairs()),
    "minimum": (np.minimum, pairs()),
    "clamp_min": (np.maximum, pairs()),
    "clamp_max": (np.minimum, pairs()),
    "fmax": (np.fmax, pairs()),
    "fmin": (np.fmin, pairs()),
    "atan2": (np.arctan2, pairs()),
    "hypot": (np.hypot, pairs()),
    "copysign": (np.copysign, pairs(EDGES[:-1])),
    "logaddexp": (np.logaddexp, pairs()),
    "logaddexp2": (np.logaddexp2, pairs()),
    "xlogy": (xlogy, pairs()),
    "binary_cross_entropy": (cross_entropy, probabilities()),
    "eq": (np.equal, pairs()),
    "ne": (np.not_equal, pairs()),
    "lt": (np.less, pairs()),
    "le": (np.less_equal, pairs()),
    "gt": (np.greater, pairs()),
    "ge": (np.greater_equal, pairs()),
    "logical_and": (np.logical_and, pairs()),
    "logical_or": (np.logical_or, pairs()),
    "logical_xor": (np.logical_xor, pairs()),
}


@interpreter
@pytest.mark.parametrize("dtype", (float32, float64), ids=str)
@pytest.mark.parametrize("body", UNARY)
def test_unary_bodies(body: str, dtype: DType) -> None:
    f, points = UNARY[body]
    x = points.astype(dtype.np)
    expected = f(wide(x))
    out = new(x.shape, bool_ if expected.dtype == bool else dtype)
    assert apply(body, out, x) == {"flat_kernel"}
    check_each(out, expected, body)


@interpreter
@pytest.mark.parametrize("dtype", (float32, float64), ids=str)
@pytest.mark.parametrize("body", BINARY)
def test_binary_bodies(body: str, dtype: DType) -> None:
    if body in ("fmax", "fmin"):
        needs_newer_interpreter("gives NaN for the larger of NaN and a number")
    if (body, dtype) == ("fmod", float64):
        needs_newer_interpreter("rounds the product of an fma")
    f, points = BINARY[body]
    x, y = (p.astype(dtype.np) for p in points)
    expected = f(wide(x), wide(y))
    out = new(x.shape, bool_ if expected.dtype == bool else dtype)
    assert apply(body, out, x, y) == {"flat_kernel"}
    check_each(out, expected, body)


# What cancels by its nature is held to an absolute error.
CANCELS = ("digamma", "lgamma", "logaddexp", "logaddexp2", "remainder", "gelu", "gelu_tanh")
# The sign of a zero result is not defined, or the reference has the other.
UNSIGNED_ZERO = (*CANCELS, "fmax", "fmin", "maximum", "minimum", "clamp_min", "clamp_max", "relu",
                 "erfinv", "log_sigmoid")  # fmt: skip


def check_each(out: Array, expected: np.ndarray, body: str) -> None:
    """Element by element, to a few ulp; signs of zeros count."""
    found = host_view(out)
    if found.dtype == bool:
        np.testing.assert_array_equal(found, expected)
        return
    # SciPy's erfc is itself off by 30 ulp.
    rtol = (60 if body == "erfc" else 12) * np.finfo(found.dtype).eps
    atol = rtol if body in CANCELS else float(np.finfo(found.dtype).tiny)
    expected = expected.astype(found.dtype)
    np.testing.assert_allclose(found, expected, rtol, atol)
    if body not in UNSIGNED_ZERO:
        zero = (expected == 0) & (found == 0)
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


def derivative(f: Callable, x: np.ndarray) -> np.ndarray:
    """By central differences, good to about 1e-9."""
    h = 1e-5
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


BACKWARD: dict[str, Callable] = {
    "gelu_backward": lambda x: x * normal_cdf(x),
    "gelu_tanh_backward": gelu_tanh,
    "silu_backward": lambda x: x * sigmoid(x),
    "mish_backward": mish,
    "log_sigmoid_backward": special.log_expit,
    "hardswish_backward": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardsigmoid_backward": lambda x: np.clip(x + 3, 0, 6) / 6,
}
# body -> (function of x and the parameters, parameters)
BACKWARD_WITH: dict[str, tuple[Callable, tuple]] = {
    "softplus": (softplus, (1.5, 8.0)),
    "leaky_relu": (lambda x, slope: np.where(x > 0, x, slope * x), (0.1,)),
    "elu": (elu, (1.2, 0.7, 1.5)),
    "hardtanh": (np.clip, (-1.1, 2.3)),
    "threshold": (lambda x, limit, value: np.where(x <= limit, value, x), (0.4, 5.0)),
}


@interpreter
@pytest.mark.parametrize("body", BACKWARD)
def test_derivatives(body: str) -> None:
    x = np.linspace(-7.77, 7.7, 257)
    g, out = numbers(x.shape, float64), new(x.shape, float64)
    apply(body, out, g, x)
    np.testing.assert_allclose(host_view(out), g * derivative(BACKWARD[body], x), 1e-6, 1e-8)


@interpreter
@pytest.mark.parametrize("body", BACKWARD_WITH)
def test_bodies_with_parameters(body: str) -> None:
    f, params = BACKWARD_WITH[body]
    x = np.linspace(-7.77, 7.7, 257)
    g, out = numbers(x.shape, float64), new(x.shape, float64)
    apply(body, out, x, *params)
    np.testing.assert_allclose(host_view(out), f(x, *params), 1e-13, 1e-13)
    params = params[:1] if body == "threshold" else params
    apply(f"{body}_backward", out, g, x, *params)
    slope = derivative(lambda v: f(v, *BACKWARD_WITH[body][1]), x)
    np.testing.assert_allclose(host_view(out), g * slope, 1e-6, 1e-8)


@interpreter
def test_bodies_of_three_and_four() -> None:
    a, b, c, d = numbers((4, 133), float32)
    condition = a > 0
    for body, inputs, expected in (
        ("where", (condition, b, c), np.where(condition, b, c)),
        ("where", (condition, b, 2.0), np.where(condition, b, 2.0)),
        ("clamp", (a, b, c), np.minimum(np.maximum(wide(a), b), c)),
        ("clamp", (a, -0.5, 0.25), np.clip(wide(a), -0.5, 0.25)),
        ("lerp", (a, b, c), wide(a) + wide(c) * (wide(b) - a)),
        ("addcmul", (a, b, c, 0.3), wide(a) + np.float32(0.3) * wide(b) * c),
        ("addcdiv", (a, b, c, 0.3), wide(a) + np.float32(0.3) * wide(b) / c),
        ("addcmul", (a, b, c), wide(a) + wide(b) * c),
        ("scale_shift", (a, b, c, d), (wide(a) - b) * c + d),
        ("relu_backward", (a, b), np.where(b <= 0, 0, a)),
        ("sigmoid_backward", (a, b), wide(a) * b * (1 - wide(b))),
        ("tanh_backward", (a, b), wide(a) * (1 - wide(b) * b)),
        ("add", (a, b, 2.5), wide(a) + 2.5 * wide(b)),
        ("sub", (a, b, 2.5), wide(a) - 2.5 * wide(b)),
    ):
        out = new(a.shape)
        apply(body, out, *inputs, compute=float32)
        close(out, expected)


def test_every_body_is_tested() -> None:
    """Here, or as the body of an operator by `test_device_table`."""
    tested = {*UNARY, *BINARY, *BACKWARD, *BACKWARD_WITH, *INTEGER_BODIES}
    tested |= {f"{body}_backward" for body in BACKWARD_WITH}
    tested |= {"where", "clamp", "lerp", "addcmul", "addcdiv", "scale_shift", "relu_backward"}
    tested |= {"sigmoid_backward", "tanh_backward", "fill", "inverse_deviation"}
    for module in (elementwise_bodies, elementwise_activations, elementwise_functions):
        for name, value in vars(module).items():
            if hasattr(value, "arg_names") and value.__module__ == module.__name__:
                assert name in tested or name in REGISTRY, name


# -- integers and casts ----------------------------------------------------------------------------

INTEGER_BODIES: dict[str, Callable] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "trunc_divide": lambda x, y: (np.fix(wide(x) / wide(y))).astype(x.dtype),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "lt": np.less,
    "eq": np.equal,
    "logical_and": np.logical_and,
    "bitwise_left_shift": lambda x, y: np.where((y >= 0) & (y < 8 * x.itemsize), x << (y % 8), 0),
    "bitwise_right_shift": lambda x, y: x >> np.where(y < 0, 8 * x.itemsize - 1, y),
    "bitwise_not": lambda x, y: ~x,
    "neg": lambda x, y: -x,
    "abs": lambda x, y: np.abs(x),
    "sign": lambda x, y: np.sign(x),
    "square": lambda x, y: x * x,
    "floor": lambda x, y: x,
    "round": lambda x, y: x,
    "isnan": lambda x, y: np.zeros(x.shape, bool),
    "isfinite": lambda x, y: np.ones(x.shape, bool),
    "relu": lambda x, y: np.maximum(x, 0),
}
ONE_OPERAND = (
    "bitwise_not",
    "neg",
    "abs",
    "sign",
    "square",
    "floor",
    "round",
    "isnan",
    "isfinite",
    "relu",
)


@interpreter
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_bodies(dtype: DType) -> None:
    if dtype is uint8:
        needs_newer_interpreter("cannot invert unsigned integers")
    values = np.array([0, 1, 2, 3, 5, 7, 100, 127, -1, -2, -3, -7, -100, -128])
    values = (values[values >= 0] if dtype is uint8 else values).astype(dtype.np)
    x, y = (v.ravel() for v in np.meshgrid(values, values[values != 0]))
    for body, f in INTEGER_BODIES.items():
        b = np.clip(y, -3, 7) if "shift" in body else y
        expected = f(x, b)
        out = new(x.shape, dtypes.of(expected.dtype))
        apply(body, out, *((x,) if body in ONE_OPERAND else (x, b)))
        np.testing.assert_array_equal(host_view(out), expected, err_msg=body)


@interpreter
@pytest.mark.parametrize("dtype", (int8, int32, int64, uint8), ids=str)
def test_integer_powers_wrap(dtype: DType) -> None:
    base = np.array([0, 1, 2, 3, 7, 11, -1, -2, -3][: 6 if dtype is uint8 else 9], dtype.np)
    x, y = (v.ravel() for v in np.meshgrid(base, np.arange(70, dtype=dtype.np)))
    out = new(x.shape, dtype)
    apply("pow", out, x, y)
    bits = 8 * dtype.itemsize
    for found, a, b in zip(host_view(out), x, y):
        exact = int(a) ** int(b) % 2**bits
        assert int(found) % 2**bits == exact, (a, b)
    if dtype is not uint8:
        out = new(base.shape, dtype)
        apply("pow", out, base, np.full(base.shape, -3, dtype.np))
        expected = [0 if abs(int(a)) != 1 else int(a) ** 3 for a in base]
        np.testing.assert_array_equal(host_view(out)[1:], expected[1:])


@interpreter
def test_bool_is_logical() -> None:
    x, y = np.array([True, False, True, False]), np.array([True, True, False, False])
    for body, expected in (
        ("add", x | y),
        ("mul", x & y),
        ("maximum", x | y),
        ("bitwise_and", x & y),
        ("bitwise_xor", x ^ y),
        ("lt", x < y),
        ("logical_xor", x ^ y),
    ):
        out = new((4,), bool_)
        apply(body, out, x, y)
        np.testing.assert_array_equal(host_view(out), expected, err_msg=body)
    for body in ("bitwise_not", "logical_not"):
        out = new((4,), bool_)
        apply(body, out, x)
        np.testing.assert_array_equal(host_view(out), ~x)


CASTS = (*FLOATS, *INTEGERS, uint16, uint32, uint64, bool_)


@interpreter
@pytest.mark.parametrize("to", CASTS, ids=str)
def test_casts(to: DType) -> None:
    for dtype in CASTS:
        x = np.array([0, 1, 2, 3, 17, 100, 0.5, 1.75, -1, -2.5, -100])
        x = x[x >= 0] if not dtype.is_signed else x
        x = x.astype(dtype.np)
        if to.is_floating_point or dtype is bool_ or to is bool_:
            expected = x.astype(np.float64).astype(to.np) if to is not bool_ else x != 0
        else:
            expected = np.trunc(wide(x)).astype(np.int64).astype(to.np)
        out = new(x.shape, to)
        apply("copy", out, x, compute=to)
        np.testing.assert_array_equal(host_view(out), expected, err_msg=f"{dtype} to {to}")


@interpreter
def test_numbers_keep_their_precision() -> None:
    x = numbers((5,), float64)
    out = new((5,), float64)
    apply("add", out, x, 0.1)
    np.testing.assert_array_equal(host_view(out), x + 0.1)
    big = new((3,), int64)
    apply("add", big, np.arange(3), 2**40 + 1)
    np.testing.assert_array_equal(host_view(big), np.arange(3) + 2**40 + 1)
    wrapped = new((3,), uint8)
    apply("add", wrapped, np.arange(3, dtype=np.uint8), 300)
    np.testing.assert_array_equal(host_view(wrapped), np.arange(3) + 44)
    half = new((1,), float16)
    apply("mul", half, np.array([1e-3], np.float16), 1e4)
    assert host_view(half)[0] == np.float16(np.float16(1e-3) * np.float32(1e4))


@interpreter
def test_complex_is_not_served() -> None:
    x, out = new((3,), complex64), new((3,), complex64)
    assert elementwise.apply(launch, out, x, body="copy", compute=complex64) is NotImplemented
    assert elementwise.apply(launch, out, 1j, body="fill", compute=complex64) is NotImplemented


# -- layouts ---------------------------------------------------------------------------------------

SHAPES = [
    (0,),
    (3, 0, 2),
    (),
    (1,),
    (131,),
    (1024,),
    (2500,),
    (7, 11),
    (1, 13),
    (67, 130),
    (2, 3, 5),
    (33, 4, 70),
    (2, 3, 4, 5, 6),
    (2, 1, 3, 2, 5, 3),
]
# (shape of the output, shapes of the inputs, the kernel that must run)
BROADCASTS: list[tuple[tuple, tuple, str]] = [
    ((37, 61), ((37, 61), (61,)), "tile_kernel"),
    ((37, 61), ((37, 1), (61,)), "tile_kernel"),
    ((37, 61), ((37, 61), ()), "flat_kernel"),
    ((37, 61), ((1, 1), (37, 61)), "flat_kernel"),
    ((4, 5, 6), ((5, 1), (4, 1, 6)), "tile_kernel"),
    ((4, 5, 6), ((4, 1, 1), (6,)), "tile_kernel"),
    ((3, 1, 70, 2), ((1, 1, 70, 1), (3, 1, 1, 2)), "tile_kernel"),
    ((2, 3, 4, 5, 6), ((3, 1, 5, 1), (2, 1, 4, 1, 6)), "tile_kernel"),
    ((2, 3, 2, 3, 2, 3), ((2, 1, 2, 1, 2, 1), (3, 1, 3, 1, 3)), "tile_kernel"),
    ((1025, 3), ((3,), (1025, 1)), "tile_kernel"),
    ((0, 4), ((1, 4), (0, 1)), ""),
    ((1500,), ((1,), (1500,)), "flat_kernel"),
]


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    for shape in SHAPES:
        for dtype in FLOATS if layout == "plain" else (float32, bfloat16, int64, bool_):
            x, y = numbers(shape, dtype), numbers(shape, dtype, 1)
            out = new(shape, dtype)
            kernels = apply("maximum", out, LAYOUTS[layout](x), y)
            np.testing.assert_array_equal(host_view(out), np.maximum(x, y), err_msg=str(shape))
            if layout == "plain" and out.size:
                assert kernels == {"flat_kernel"}


@interpreter
@pytest.mark.parametrize(("shape", "inputs", "kernel"), BROADCASTS, ids=str)
def test_broadcasting(shape: tuple, inputs: tuple, kernel: str) -> None:
    for dtype in (float32, float16, int32):
        arrays = [numbers(s, dtype, i) for i, s in enumerate(inputs)]
        out = new(shape, dtype)
        assert apply("mul", out, *arrays) == ({kernel} if kernel else set())
        close(out, np.broadcast_to(np.multiply(*arrays), shape))


@interpreter
@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_of_any_layout(layout: str) -> None:
    for shape in SHAPES[2:]:
        x, y = numbers(shape), numbers(shape, float32, 1)
        out = put(LAYOUTS[layout](np.full(shape, np.nan, np.float32)))
        apply("sub", out, x, y)
        np.testing.assert_array_equal(host_view(out), x - y, err_msg=str(shape))
        same = put(LAYOUTS[layout](x))
        elementwise.apply(launch, same, same, 2.0, body="mul", compute=float32)
        np.testing.assert_array_equal(host_view(same), 2 * x, err_msg=f"in place, {shape}")


@interpreter
def test_fill_and_mixed_dtypes() -> None:
    for shape in SHAPES:
        out = put(turned(np.zeros(shape, np.float16)))
        ran(elementwise.apply, out, 2.5, body="fill", compute=float16)
        assert (host_view(out) == 2.5).all()
    x, y = numbers((6, 5), int8), numbers((5,), bfloat16)
    out = new((6, 5), float64)
    apply("add", out, x, y, compute=float32)
    np.testing.assert_array_equal(host_view(out), x + wide(y))


@interpreter
def test_too_many_dimensions_are_refused() -> None:
    x = put(np.zeros((2,) * 16, np.float32)[(slice(None),) * 8 + (0,) * 8])
    strides = tuple(3**i for i in range(8))
    odd = x.strided((2,) * 8, strides)
    out = new((2,) * 8)
    assert elementwise.apply(launch, out, odd, body="copy", compute=float32) is NotImplemented


# -- ahead of time --------------------------------------------------------------------------------


def compiled_bodies(target: str, dtype: DType, bodies: Sequence[str]) -> list[Facts]:
    with compile_for(target) as done:
        for body in bodies:
            n = len(BINARY.get(body, ((), (0,)))[1]) if body in BINARY else 1
            n = 2 if body.endswith("_backward") else n
            x = [meta((4096,), dtype) for _ in range(n)]
            elementwise.apply(launch, meta((4096,), dtype), *x, body=body, compute=dtype)
    return done.facts


def elementwise_layouts(dtype: DType) -> None:
    x, out = meta((4096, 4096), dtype), meta((4096, 4096), dtype)
    for other in (x, meta((4096,), dtype), meta((4096, 1), dtype), x.transpose()):
        elementwise.apply(launch, out, x, other, body="add", compute=dtype)
    image = meta((32, 64, 56, 56), dtype).transpose((0, 2, 3, 1))
    elementwise.apply(launch, meta(image.shape, dtype), image, body="copy", compute=dtype)
    odd = meta((4097,), dtype)
    elementwise.apply(launch, odd, odd, 2.0, body="mul", compute=dtype)


@aot
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "dtype"),
    [("sm_90", float32), ("sm_90", bfloat16), ("sm_90", float64), ("gfx942", float32)],
    ids=str,
)
def test_every_body_compiles(target: str, dtype: DType) -> None:
    activations = [b for b in (*BACKWARD, *BACKWARD_WITH) if b != "threshold"]
    for f in compiled_bodies(target, dtype, [*UNARY, *BINARY, *activations]):
        assert f.widest_load == 128 and f.widest_store >= 32, f
        if dtype is not float64:  # libdevice's sin and cos keep a table on the stack
            assert not f.problems(), f


@aot
@pytest.mark.slow
@pytest.mark.parametrize("dtype", (float32, bfloat16), ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_every_layout_fits(target: str, dtype: DType) -> None:
    with compile_for(target) as done:
        x, out = meta((4096, 4096), dtype), meta((4096, 4096), dtype)
        for other in (x, meta((4096,), dtype), meta((4096, 1), dtype), x.transpose()):
            elementwise.apply(launch, out, x, other, body="add", compute=dtype)
        image = meta((32, 64, 56, 56), dtype).transpose((0, 2, 3, 1))
        elementwise.apply(launch, meta(image.shape, dtype), image, body="copy", compute=dtype)
        odd = meta((4097,), dtype)
        elementwise.apply(launch, odd, odd, 2.0, body="mul", compute=dtype)
    for f in done.facts:
        assert not f.problems() and f.widest_load == 128 and f.widest_store >= 64, f
