"""Poisson and binomial numbers: the arithmetic and the random bits of `runtime/counts.py`."""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from ._math import log1p
from ._rows import FLOATS, bits, cdiv, convert
from .copy import copy
from .random import from_memory, philox, start
from .search import dense

BLOCK = 128  # one number a thread: it takes some 150 registers
SMALL_MEAN = tl.constexpr(10.0)
STEPS = tl.constexpr(110)
ATTEMPTS = tl.constexpr(64)
HALF_LOG_TAU = tl.constexpr(0.5 * math.log(2 * math.pi))
PARAMETERS = ("n", "seed", "offset")


@triton.jit
def unit(words):
    """Uniform numbers in [0, 1) of 53 bits."""
    return (words >> 11).to(tl.int64).to(tl.float64) * 1.1102230246251565e-16


@triton.jit
def tail(k):
    """log(k!) less Stirling's (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2."""
    x = k + 1
    y = 1 / (x * x)
    series = (1 / 12 - (1 / 360 - (1 / 1260 - y / 1680) * y) * y) / x
    few = k < 10
    small = tl.where(few, k, 0.0)
    product = small * 0 + 1
    for i in tl.static_range(2, 10):
        product = tl.where(small >= i, product * i, product)
    exact = tl.log(product) - (HALF_LOG_TAU + (small + 0.5) * tl.log(small + 1) - (small + 1))
    return tl.where(few, exact, series)


@triton.jit
def log_factorial(k):
    return (k + 0.5) * tl.log(k + 1) - (k + 1) + HALF_LOG_TAU + tail(k)


@triton.jit
def fits_poisson(k, u, v, rate, a, b, scale):
    us = 0.5 - tl.abs(u)
    return tl.log(v * scale / (a / (us * us) + b)) <= k * tl.log(rate) - rate - log_factorial(k)


@triton.jit
def poisson_trial(u, v, rate):
    """A number, and whether it is accepted; u lies in [-0.5, 0.5)."""
    b = 0.931 + 2.53 * tl.sqrt(rate)
    a = 0.02483 * b - 0.059
    scale = 1.1239 + 1.1328 / (b - 3.4)
    us = 0.5 - tl.abs(u)
    k = tl.floor((2 * a / us + b) * u + rate + 0.43)
    sure = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    possible = (k >= 0) & ((us >= 0.013) | (v <= us))
    k = tl.where(possible, k, 0.0)
    return k, sure | (possible & fits_poisson(k, u, v, rate, a, b, scale))


@triton.jit
def fits_binomial(k, u, v, n, p, a, b, scale):
    us = 0.5 - tl.abs(u)
    odds = p / (1 - p)
    m = tl.floor((n + 1) * p)
    rest = n - k + 1
    density = (m + 0.5) * tl.log((m + 1) / (odds * (n - m + 1)))
    density += (n + 1) * tl.log((n - m + 1) / rest)
    density += (k + 0.5) * tl.log(odds * rest / (k + 1))
    density += tail(m) + tail(n - m) - tail(k) - tail(n - k)
    return tl.log(v * scale / (a / (us * us) + b)) <= density


@triton.jit
def binomial_trial(u, v, n, p):
    """A number, and whether it is accepted; u lies in [-0.5, 0.5)."""
    spread = tl.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = 0.0248 * b + 0.01 * p - 0.0873
    scale = (2.83 + 5.1 / b) * spread
    us = 0.5 - tl.abs(u)
    k = tl.floor((2 * a / us + b) * u + n * p + 0.5)
    possible = (k >= 0) & (k <= n)
    sure = (us >= 0.07) & (v <= 0.92 - 4.2 / b) & possible
    k = tl.where(possible, k, 0.0)
    return k, sure | (possible & fits_binomial(k, u, v, n, p, a, b, scale))


@triton.jit
def any_of(m):
    return tl.max(m.to(tl.int32), 0) > 0


@triton.jit(do_not_specialize=PARAMETERS)
def poisson_kernel(
    p_out,  # (n,)
    p_rate,  # (n,)
    p_offset,  # (1,), where HAS_OFFSET
    n, seed: tl.int64, offset: tl.int64,
    HAS_OFFSET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Poisson numbers by inversion, or by transformed rejection."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rate = convert(tl.load(p_rate + o, mask=o < n, other=0), tl.float64)
    seed = tl.full((), 0, tl.int64) + seed
    block = start(p_offset, offset, HAS_OFFSET) + o
    w0, w1, w2, w3 = philox(seed, block)
    out = tl.floor(rate)
    small = rate < SMALL_MEAN
    u = unit(w0)
    p = tl.exp(tl.where(small, -rate, 0.0))
    total = p
    k = tl.zeros((BLOCK,), tl.float64)
    left = small & (u >= total)
    step = 1
    while any_of(left) & (step < STEPS):
        k = tl.where(left, step.to(tl.float64), k)
        p = p * (rate / step)
        total += p
        left = left & (u >= total)
        step += 1
    out = tl.where(small, k, out)
    left = (rate >= SMALL_MEAN) & (rate < float("inf"))
    rate = tl.where(left, rate, SMALL_MEAN)
    attempt = 1
    while any_of(left) & (attempt <= ATTEMPTS):
        k, accepted = poisson_trial(unit(w0) - 0.5, unit(w1), rate)
        out = tl.where(left & accepted, k, out)
        left = left & (accepted == 0)
        k, accepted = poisson_trial(unit(w2) - 0.5, unit(w3), rate)
        out = tl.where(left & accepted, k, out)
        left = left & (accepted == 0)
        w0, w1, w2, w3 = philox(seed, block, attempt)
        attempt += 1
    tl.store(p_out + o, convert(out, p_out.dtype.element_ty), mask=o < n)


@triton.jit(do_not_specialize=PARAMETERS)
def binomial_kernel(
    p_out,  # (n,), and so are the others
    p_count,
    p_prob,
    p_offset,  # (1,), where HAS_OFFSET
    n, seed: tl.int64, offset: tl.int64,
    HAS_OFFSET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Binomial numbers of the rarer outcome by inversion, or by transformed rejection."""
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = convert(tl.load(p_count + o, mask=o < n, other=0), tl.float64)
    prob = convert(tl.load(p_prob + o, mask=o < n, other=0), tl.float64)
    seed = tl.full((), 0, tl.int64) + seed
    block = start(p_offset, offset, HAS_OFFSET) + o
    w0, w1, w2, w3 = philox(seed, block)
    m = tl.where(count < 0, tl.ceil(count), tl.floor(count))
    q = tl.minimum(prob, 1 - prob)
    mean = m * q
    small = (mean > 0) & (mean < SMALL_MEAN)
    u = unit(w0)
    odds = q / (1 - q)
    p = tl.exp(tl.where(small, m * log1p(tl.where(small, -q, 0.0)), 0.0))
    total = p
    out = tl.zeros((BLOCK,), tl.float64)
    left = small & (u >= total)
    step = 1
    while any_of(left) & (step < STEPS):
        out = tl.where(left, step.to(tl.float64), out)
        p = p * ((m - step + 1) * odds / step)
        total += p
        left = left & (u >= total)
        step += 1
    left = (mean >= SMALL_MEAN) & (mean < float("inf"))
    trials = tl.where(left, m, 100.0)
    q = tl.where(left, q, 0.5)
    attempt = 1
    while any_of(left) & (attempt <= ATTEMPTS):
        k, accepted = binomial_trial(unit(w0) - 0.5, unit(w1), trials, q)
        out = tl.where(left & accepted, k, out)
        left = left & (accepted == 0)
        k, accepted = binomial_trial(unit(w2) - 0.5, unit(w3), trials, q)
        out = tl.where(left & accepted, k, out)
        left = left & (accepted == 0)
        w0, w1, w2, w3 = philox(seed, block, attempt)
        attempt += 1
    out = tl.where(prob > 0.5, m - out, out)
    out = tl.where((m > 0) & (prob > 0), tl.where(prob >= 1, m, out), 0.0)
    out = tl.where((count != count) | (prob != prob), float("nan"), out)
    tl.store(p_out + o, convert(out, p_out.dtype.element_ty), mask=o < n)


# -- launchers ---------------------------------------------------------------------------------


def poisson(launch: Any, out: Any, rate: Any, *, seed: int, offset: Any) -> Any:
    """out = Poisson numbers with these rates."""
    return _draw(launch, poisson_kernel, out, [rate], seed, offset)


def binomial(launch: Any, out: Any, count: Any, prob: Any, *, seed: int, offset: Any) -> Any:
    """out = how many of `count` trials of probability `prob` succeed."""
    return _draw(launch, binomial_kernel, out, [count, prob], seed, offset)


def _draw(launch: Any, kernel: Any, out: Any, inputs: list, seed: int, offset: Any) -> Any:
    if any(a.dtype.name not in FLOATS for a in (out, *inputs)):
        return NotImplemented
    to = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    inputs = [dense(launch, a.broadcast_to(out.shape)) for a in inputs]
    p_offset, offset, has_offset = from_memory(offset, to)
    launch(
        kernel,
        (cdiv(out.size, BLOCK),),
        [to, *inputs, p_offset, out.size, bits(seed, False), offset],
        {"HAS_OFFSET": has_offset, "BLOCK": BLOCK},
    )
    if to is not out:
        copy(launch, out, to)
    return None
