"""Poisson and binomial numbers from a counter: the same on the host and on devices.

Element `i` of a stream has the block `offset + i + 1` of `runtime/random.py` to itself. Where a
rejection method wants more, attempt `a` takes the block whose counter has `a` as its second word,
so that no element's numbers depend on another's. Small means are drawn by inversion of one uniform
number, others by transformed rejection. `kernels/counts.py` does the same arithmetic.

Sources: Hormann, "The transformed rejection method for generating Poisson random variables", 1993;
Hormann, "The generation of binomial random variates", 1993.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from . import host, parallel
from .random import _multiply_high, _stream

SMALL_MEAN = 10.0  # below it inversion takes fewer steps than rejection costs
STEPS = 110  # of an inversion: beyond them lies less than 2^-53
ATTEMPTS = 64  # blocks of two trials, of which more than half are accepted
PIECE = 1 << 13  # elements drawn together
ROUNDS = 10
_A, _B = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_KEYS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)

_TAILS = np.array(
    [
        math.log(math.factorial(k)) - (HALF_LOG_TAU + (k + 0.5) * math.log(k + 1) - (k + 1))
        for k in range(10)
    ]
)

Propose = Callable[..., tuple]  # (u, v, *parameters): number, accepted, rejected
Fits = Callable[..., np.ndarray]  # (number, u, v, *parameters): whether it is accepted


def poisson(seed: int, offset: int, rate: np.ndarray) -> np.ndarray:
    """Numbers of a Poisson distribution with these rates, as float64; NaN for NaN."""
    rate = np.ascontiguousarray(rate, np.float64)
    return _drawn(seed, offset, rate.shape, _poisson, rate.reshape(-1))


def binomial(seed: int, offset: int, count: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """How many of `count` trials succeed, as float64; none below probability 0, all above 1."""
    shape = np.broadcast_shapes(count.shape, prob.shape)
    arrays = (np.ascontiguousarray(np.broadcast_to(a, shape), np.float64) for a in (count, prob))
    return _drawn(seed, offset, shape, _binomial, *(a.reshape(-1) for a in arrays))


def _drawn(
    seed: int, offset: int, shape: tuple[int, ...], draw: Callable, *arrays: np.ndarray
) -> np.ndarray:
    out = host.empty(shape, np.dtype(np.float64))
    flat = out.reshape(-1)

    def body(start: int, stop: int) -> None:
        words = _stream.words(seed, offset + start, 4 * (stop - start)).reshape(-1, 4)
        with np.errstate(all="ignore"):
            flat[start:stop] = draw(
                seed, offset + start + 1, words, *(a[start:stop] for a in arrays)
            )

    parallel.run(body, flat.size, PIECE)
    return out


def _poisson(seed: int, first: int, words: np.ndarray, rate: np.ndarray) -> np.ndarray:
    out = np.floor(rate)
    small = np.flatnonzero(rate < SMALL_MEAN)
    r = rate[small]
    out[small] = _inverted(_unit(words[small, 0]), np.exp(-r), lambda k, at: r[at] / k)
    large = np.flatnonzero((rate >= SMALL_MEAN) & (rate < np.inf))
    if large.size:
        r = rate[large]
        b = 0.931 + 2.53 * np.sqrt(r)
        a = 0.02483 * b - 0.059
        parameters = (r, a, b, 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2))
        _rejected(seed, first, words, large, _propose_poisson, _fits_poisson, parameters, out)
    return out


def _propose_poisson(
    u: np.ndarray, v: np.ndarray, rate: np.ndarray, a: np.ndarray, b: np.ndarray,
    scale: np.ndarray, quick: np.ndarray,
) -> tuple:  # fmt: skip
    us = 0.5 - np.abs(u)
    k = np.floor((2 * a / us + b) * u + rate + 0.43)
    return k, (us >= 0.07) & (v <= quick), ~(k >= 0) | ((us < 0.013) & (v > us))


def _fits_poisson(
    k: np.ndarray, u: np.ndarray, v: np.ndarray, rate: np.ndarray, a: np.ndarray, b: np.ndarray,
    scale: np.ndarray, quick: np.ndarray,
) -> np.ndarray:  # fmt: skip
    us = 0.5 - np.abs(u)
    return np.log(v * scale / (a / (us * us) + b)) <= k * np.log(rate) - rate - log_factorial(k)


def _binomial(
    seed: int, first: int, words: np.ndarray, count: np.ndarray, prob: np.ndarray
) -> np.ndarray:
    n = np.trunc(count)
    p = np.minimum(prob, 1 - prob)  # of the rarer outcome
    mean = n * p
    out = np.zeros(n.shape)
    small = np.flatnonzero((mean > 0) & (mean < SMALL_MEAN))
    m, q = n[small], p[small]
    odds = q / (1 - q)
    start = np.exp(m * np.log1p(-q))
    out[small] = _inverted(
        _unit(words[small, 0]), start, lambda k, at: (m[at] - k + 1) * odds[at] / k
    )
    large = np.flatnonzero((mean >= SMALL_MEAN) & (mean < np.inf))
    if large.size:
        parameters = _binomial_parameters(n[large], p[large])
        _rejected(seed, first, words, large, _propose_binomial, _fits_binomial, parameters, out)
    out = np.where(prob > 0.5, n - out, out)
    out = np.where((n > 0) & (prob > 0), np.where(prob >= 1, n, out), 0)
    return np.where(np.isnan(count) | np.isnan(prob), np.nan, out)


def _binomial_parameters(n: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, ...]:
    spread = np.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = 0.0248 * b + 0.01 * p - 0.0873
    return n, p, a, b, (2.83 + 5.1 / b) * spread, 0.92 - 4.2 / b


def _propose_binomial(
    u: np.ndarray, v: np.ndarray, n: np.ndarray, p: np.ndarray, a: np.ndarray, b: np.ndarray,
    scale: np.ndarray, quick: np.ndarray,
) -> tuple:  # fmt: skip
    us = 0.5 - np.abs(u)
    k = np.floor((2 * a / us + b) * u + n * p + 0.5)
    never = ~((k >= 0) & (k <= n))
    return k, (us >= 0.07) & (v <= quick) & ~never, never


def _fits_binomial(
    k: np.ndarray, u: np.ndarray, v: np.ndarray, n: np.ndarray, p: np.ndarray, a: np.ndarray,
    b: np.ndarray, scale: np.ndarray, quick: np.ndarray,
) -> np.ndarray:  # fmt: skip
    us, odds = 0.5 - np.abs(u), p / (1 - p)
    m, rest = np.floor((n + 1) * p), n - k + 1
    density = (
        (m + 0.5) * np.log((m + 1) / (odds * (n - m + 1)))
        + (n + 1) * np.log((n - m + 1) / rest)
        + (k + 0.5) * np.log(odds * rest / (k + 1))
        + (tail(m) + tail(n - m) - tail(k) - tail(n - k))
    )
    return np.log(v * scale / (a / (us * us) + b)) <= density


def _inverted(u: np.ndarray, start: np.ndarray, ratio: Callable) -> np.ndarray:
    """How many of the sums of probabilities `u` reaches; `ratio(k, at)` is that of neighbours."""
    k = np.zeros(u.shape)
    at = np.flatnonzero(u >= start)
    p = start[at]
    total, u = p.copy(), u[at]
    for step in range(1, STEPS):
        if not at.size:
            break
        k[at] = step
        p = p * ratio(step, at)
        total = total + p
        on = u >= total
        at, p, total, u = at[on], p[on], total[on], u[on]
    return k


def _rejected(
    seed: int, first: int, words: np.ndarray, at: np.ndarray, propose: Propose, fits: Fits,
    parameters: Sequence[np.ndarray], out: np.ndarray,
) -> None:  # fmt: skip
    """Trials at places `at` until each has one that is accepted."""
    words = words[at]
    for attempt in range(1, ATTEMPTS + 1):
        for half in (0, 2):
            u, v = _unit(words[:, half]) - 0.5, _unit(words[:, half + 1])
            number, accepted, rejected = propose(u, v, *parameters)
            doubt = np.flatnonzero(~(accepted | rejected))
            given = (x[doubt] for x in (number, u, v, *parameters))
            accepted[doubt] = fits(*given)
            out[at[accepted]] = number[accepted]
            left = np.flatnonzero(~accepted)
            at, words = at[left], words[left]
            parameters = [x[left] for x in parameters]
            if not at.size:
                return
        words = philox(seed, at.astype(np.uint64) + np.uint64(first), attempt)


def philox(seed: int, block: np.ndarray, attempt: int) -> np.ndarray:
    """The four words of each block, (n, 4), of the counters (block, attempt, 0, 0)."""
    c0, c1 = block, np.full(block.shape, attempt, np.uint64)
    c2, c3 = np.zeros_like(c0), np.zeros_like(c0)
    k0, k1 = np.array([seed & ((1 << 64) - 1)], np.uint64), np.zeros(1, np.uint64)
    for _ in range(ROUNDS):
        high0, high2 = _multiply_high(c0, _A), _multiply_high(c2, _B)
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, c2 * np.uint64(_B), high0 ^ c3 ^ k1, c0 * np.uint64(_A)
        k0, k1 = k0 + _KEYS[0], k1 + _KEYS[1]
    return np.stack([c0, c1, c2, c3], axis=1)


def _unit(words: np.ndarray) -> np.ndarray:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def tail(k: np.ndarray) -> np.ndarray:
    """log(k!) less Stirling's (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2."""
    x = k + 1
    y = 1 / (x * x)
    series = (1 / 12 - (1 / 360 - (1 / 1260 - y / 1680) * y) * y) / x
    few = np.flatnonzero(k < len(_TAILS))
    if few.size:
        series[few] = _TAILS[k[few].astype(np.intp)]
    return series


def log_factorial(k: np.ndarray) -> np.ndarray:
    """log(k!)."""
    return (k + 0.5) * np.log(k + 1) - (k + 1) + HALF_LOG_TAU + tail(k)
