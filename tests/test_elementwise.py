"""Elementwise operators: values by Python's own arithmetic, shapes, layouts, NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing

F = torch.nn.functional
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 40.0, -1e4, math.inf, -math.inf, math.nan]


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


REFERENCE: dict[str, tuple[Callable, Callable, tuple[float, float]]] = {
    **{
        name: (getattr(torch, name), getattr(math, name), limits)
        for name, limits in {
            "acos": (-1, 1),
            "acosh": (1, 9),
            "asin": (-1, 1),
            "asinh": (-9, 9),
            "atan": (-9, 9),
            "atanh": (-0.9, 0.9),
            "ceil": (-9, 9),
            "cos": (-9, 9),
            "cosh": (-9, 9),
            "erf": (-3, 3),
            "erfc": (-3, 3),
            "exp": (-9, 9),
            "expm1": (-9, 9),
            "floor": (-9, 9),
            "lgamma": (0.1, 9),
            "log": (0.1, 9),
            "log10": (0.1, 9),
            "log1p": (-0.9, 9),
            "log2": (0.1, 9),
            "sin": (-9, 9),
            "sinh": (-9, 9),
            "sqrt": (0, 9),
            "tan": (-1.5, 1.5),
            "tanh": (-3, 3),
            "trunc": (-9, 9),
        }.items()
    },
    "abs": (torch.abs, abs, (-9, 9)),
    "exp2": (torch.exp2, lambda v: 2.0**v, (-9, 9)),
    "frac": (torch.frac, lambda v: v - math.trunc(v), (-9, 9)),
    "neg": (torch.neg, lambda v: -v, (-9, 9)),
    "reciprocal": (torch.reciprocal, lambda v: 1 / v, (0.1, 9)),
    "round": (torch.round, round, (-9, 9)),
    "rsqrt": (torch.rsqrt, lambda v: v**-0.5, (0.1, 9)),
    "sigmoid": (torch.sigmoid, sigmoid, (-9, 9)),
    "sign": (torch.sign, lambda v: (v > 0) - (v < 0), (-9, 9)),
    "sinc": (torch.sinc, lambda v: math.sin(math.pi * v) / (math.pi * v), (0.1, 3)),
    "square": (torch.square, lambda v: v * v, (-9, 9)),
    "relu": (F.relu, lambda v: max(v, 0.0), (-3, 3)),
    "gelu": (F.gelu, lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2, (-3, 3)),
    "silu": (F.silu, lambda v: v * sigmoid(v), (-9, 9)),
    "mish": (F.mish, lambda v: v * math.tanh(math.log1p(math.exp(v))), (-9, 9)),
    "softplus": (F.softplus, lambda v: math.log1p(math.exp(v)), (-9, 9)),
    "logsigmoid": (F.logsigmoid, lambda v: -math.log1p(math.exp(-v)), (-9, 9)),
    "elu": (F.elu, lambda v: v if v > 0 else math.expm1(v), (-9, 9)),
    "leaky_relu": (F.leaky_relu, lambda v: v if v > 0 else 0.01 * v, (-9, 9)),
    "hardtanh": (F.hardtanh, lambda v: min(max(v, -1.0), 1.0), (-3, 3)),
    "hardsigmoid": (F.hardsigmoid, lambda v: min(max(v + 3, 0.0), 6.0) / 6, (-9, 9)),
    "hardswish": (F.hardswish, lambda v: v * min(max(v + 3, 0.0), 6.0) / 6, (-9, 9)),
}
PAIRS: dict[str, tuple[Callable, Callable]] = {
    "add": (torch.add, lambda a, b: a + b),
    "sub": (torch.sub, lambda a, b: a - b),
    "mul": (torch.mul, lambda a, b: a * b),
    "div": (torch.div, lambda a, b: a / b),
    "floor_divide": (torch.floor_divide, lambda a, b: a // b),
    "remainder": (torch.remainder, lambda a, b: a % b),
    "fmod": (torch.fmod, math.fmod),
    "pow": (lambda x, y: torch.pow(x.abs(), y), lambda a, b: abs(a) ** b),
    "maximum": (torch.maximum, max),
    "minimum": (torch.minimum, min),
    "atan2": (torch.atan2, math.atan2),
    "hypot": (torch.hypot, math.hypot),
    "copysign": (torch.copysign, math.copysign),
    "logaddexp": (torch.logaddexp, lambda a, b: math.log(math.exp(a) + math.exp(b))),
    "lt": (torch.lt, lambda a, b: a < b),
    "ge": (torch.ge, lambda a, b: a >= b),
    "where": (lambda x, y: torch.where(x > y, x, -y), lambda a, b: a if a > b else -b),
}


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5)], ids=str)
def test_values(name: str, shape: tuple[int, ...]) -> None:
    f, reference, (low, high) = REFERENCE[name]
    x = testing.Sampler(1).reals(shape, low, high)
    want = np.array([reference(v) for v in x.ravel().tolist()], float).reshape(shape)
    for layout in (np.copy, testing.transposed, testing.gapped):
        got = f(torch.from_numpy(layout(x)))
        assert tuple(got.shape) == shape and got.dtype is torch.float64
        assert np.allclose(got.numpy(), want, rtol=1e-12, atol=1e-14)
    single = f(torch.tensor(x, dtype=torch.float32))
    assert single.dtype is torch.float32
    assert np.allclose(single.numpy(), want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("first", "second"),
    [((), ()), ((3, 4), (3, 4)), ((3, 1), (1, 4)), ((4,), (3, 4)), ((), (2,)), ((0, 1), (3,))],
    ids=str,
)
def test_values_broadcast(name: str, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    f, reference = PAIRS[name]
    s = testing.Sampler(2)
    x, y = s.reals(first, -3, 3), s.reals(second, 0.3, 3)
    a, b = np.broadcast_arrays(x, y)
    want = [reference(p, q) for p, q in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)]
    for layout in (np.copy, testing.transposed, testing.gapped):
        got = f(torch.from_numpy(layout(x)), torch.from_numpy(layout(y)))
        assert got.shape == a.shape
        assert np.allclose(got.numpy().ravel(), np.array(want), rtol=1e-12, atol=1e-14)


NAMES = [n for n in [*REFERENCE, "isnan", "isinf", "isfinite", "signbit", "digamma", "erfinv"]]


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*NAMES, *PAIRS])
def test_edges_are_pytorchs(name: str) -> None:
    oracle = pytest.importorskip("torch")

    def found(lib: Any) -> np.ndarray:
        x = lib.from_numpy(np.array(EDGES))
        f = getattr(lib.nn.functional, name, None) or getattr(lib, name)
        if name == "where":
            return lib.where(x > x[:, None], x, -x[:, None]).numpy()
        return (f(x, x[:, None]) if name in PAIRS else f(x)).numpy()

    want, got = found(oracle), found(torch)
    assert np.allclose(got, want, rtol=1e-10, atol=1e-12, equal_nan=True)
