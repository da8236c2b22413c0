"""Poisson and binomial numbers: their laws, their streams, and the same numbers on a device."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.ops.random import binomial_op, poisson_op
from tritorch.runtime import counts, memory, random as streams

N = 40000


def deviation(x: np.ndarray, log_pmf: Callable[[int], float], low: int, high: int) -> float:
    """How many standard deviations Pearson's statistic of counts lies from its mean."""
    expected = np.array([math.exp(log_pmf(k)) for k in range(low, high)]) * len(x)
    found = np.array([(x == k).sum() for k in range(low, high)])
    kept = expected > 8
    rest = len(x) - expected[kept].sum(), len(x) - found[kept].sum()
    terms = (found[kept] - expected[kept]) ** 2 / expected[kept]
    total = terms.sum() + ((rest[1] - rest[0]) ** 2 / rest[0] if rest[0] > 8 else 0)
    return (total - kept.sum()) / math.sqrt(2 * kept.sum())


@pytest.mark.parametrize("rate", [0.1, 3.0, 9.9, 10.0, 33.0, 300.0])
def test_the_law_of_poisson(rate: float) -> None:
    x = counts.poisson(5, 9, np.full(N, rate))
    width = 6 * math.sqrt(rate) + 6
    low, high = max(int(rate - width), 0), int(rate + width)
    assert deviation(x, lambda k: k * math.log(rate) - rate - math.lgamma(k + 1), low, high) < 4


@pytest.mark.parametrize(("n", "p"), [
    (1, 0.5), (7, 0.3), (30, 0.9), (40, 0.25), (40, 0.26), (500, 0.5), (3000, 0.97), (3000, 0.002),
])  # fmt: skip
def test_the_law_of_binomial(n: int, p: float) -> None:
    def log_pmf(k: int) -> float:
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return ways + k * math.log(p) + (n - k) * math.log1p(-p)

    x = counts.binomial(5, 9, np.full(N, float(n)), np.array(p))
    width = 6 * math.sqrt(n * p * (1 - p)) + 6
    low, high = max(int(n * p - width), 0), min(int(n * p + width), n + 1)
    assert x.min() >= 0 and x.max() <= n
    assert deviation(x, log_pmf, low, high) < 4


def test_large_means() -> None:
    for rate in (1e6, 1e12):
        z = (counts.poisson(1, 0, np.full(N, rate)) - rate) / math.sqrt(rate)
        assert abs(z.mean()) < 4 / math.sqrt(N) and abs(z.std() - 1) < 4 / math.sqrt(2 * N)
    n, p = 1e14, 0.3
    z = (counts.binomial(1, 0, np.full(N, n), np.array(p)) - n * p) / math.sqrt(n * p * (1 - p))
    assert abs(z.mean()) < 4 / math.sqrt(N) and abs(z.std() - 1) < 4 / math.sqrt(2 * N)


def test_edges() -> None:
    nan, inf = math.nan, math.inf
    x = counts.poisson(1, 0, np.array([0.0, nan, inf]))
    np.testing.assert_array_equal(x, [0, nan, inf])
    count = np.array([0.0, 5, 5, 5, 5, -3, nan, 4.9])
    prob = np.array([0.5, 0, 1, -1, 2, 0.5, 0.5, 1])
    wanted = [0, 0, 5, 0, 5, 0, nan, 4]
    np.testing.assert_array_equal(counts.binomial(1, 0, count, prob), wanted)
    assert math.isnan(counts.binomial(1, 0, np.array(5.0), np.array(nan)))


def test_the_blocks_are_those_of_the_stream_and_its_attempts() -> None:
    words = streams.raw(7, 5, 40).reshape(-1, 4)
    assert np.array_equal(counts.philox(7, np.arange(6, 16, dtype=np.uint64), 0), words)
    later = np.random.Philox(counter=(3 << 64) + 5, key=7).random_raw(8).reshape(-1, 4)
    assert np.array_equal(counts.philox(7, np.arange(6, 8, dtype=np.uint64), 3), later)


def test_numbers_depend_on_their_place_only() -> None:
    rate = np.random.default_rng(0).uniform(0, 60, 20000)
    whole = counts.poisson(3, 2, rate)
    assert np.array_equal(counts.poisson(3, 12, rate[10:5000]), whole[10:5000])


def test_log_factorial() -> None:
    for k in (0, 1, 2, 9, 10, 11, 170, 10**6):
        got = counts.log_factorial(np.array([float(k)]))[0]
        assert got == pytest.approx(math.lgamma(k + 1), rel=1e-13, abs=1e-13)


# -- on a device ---------------------------------------------------------------------------------

interpreted = pytest.mark.skipif(
    not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
)


@pytest.mark.interpreter
@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("high", [9.0, 60.0])
def test_a_device_draws_the_same(dtype: torch.dtype, high: float) -> None:
    torch.cuda.fallbacks().clear()
    rng = np.random.default_rng(0)
    rate = torch.from_numpy(testing.gapped(rng.uniform(0, high, (20, 30)))).to(dtype)
    stream = {"seed": 11, "offset": 4}
    there, here = poisson_op(rate.to("cuda"), **stream), poisson_op(rate, **stream)
    assert there.cpu().tolist() == here.tolist()
    count = torch.from_numpy(rng.integers(0, int(4 * high), (20, 30)).astype(float)).to(dtype)
    prob = torch.from_numpy(rng.uniform(0, 1, (30,))).to(dtype)
    there = binomial_op(count.to("cuda"), prob.to("cuda"), **stream)
    assert there.cpu().tolist() == binomial_op(count, prob, **stream).tolist()
    assert not torch.cuda.fallbacks()


@pytest.mark.interpreter
@interpreted
def test_edges_on_a_device() -> None:
    stream = {"seed": 1, "offset": 0}
    rate = torch.tensor([0.0, math.nan, math.inf, 1e12])
    count = torch.tensor([0.0, 5, 5, 5, 5, -3, math.nan, 4.9, 1e6])
    prob = torch.tensor([0.5, 0, 1, -1, 2, 0.5, 0.5, 1, 0.5])
    for f, given in ((poisson_op, (rate,)), (binomial_op, (count, prob))):
        there, here = f(*(t.to("cuda") for t in given), **stream), f(*given, **stream)
        np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())
