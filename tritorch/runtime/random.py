"""Random numbers from a counter: Philox 4x64-10, the bits that NumPy's `Philox` gives.

A stream is (seed, offset). Block `b` of a stream is Philox of the counter `offset + b + 1` under
the key `seed`: four 64-bit words. A value depends on the seed, the offset and its position only,
neither on the size of its array nor on the number of threads, and the kernels of
`kernels/random.py` make the same bits on a device. Numbers of up to 32 bits take half a word each,
the low half first; wider ones take a word.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import host, parallel

DEFAULT_SEED = 67280421310721
STATE_BYTES = 16
CHUNK = 1 << 15  # words of a piece: with its temporaries it stays in a core's cache
WORD = (1 << 64) - 1
HALF = (1 << 32) - 1

# Mantissa bits of a uniform number, so that the largest one rounds to less than 1.
_DIGITS = {2: 11, 4: 24, 8: 53}
_BFLOAT16_DIGITS = 8

Fill = Callable[[np.ndarray, np.ndarray], None]  # (words of a piece, its part of the result)


def blocks(n: int, bits: int = 32) -> int:
    """How far a stream advances for `n` values of 32 or 64 bits."""
    return -(-n * bits // 256)


def raw(seed: int, offset: int, n: int) -> np.ndarray:
    """The first `n` 64-bit words of a stream, as uint64."""
    out = host.empty((n,), np.dtype(np.uint64))
    _fill(seed, offset, out, 1, _copy)
    return out


def uniform(
    seed: int,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype | type = np.float32,
    low: float = 0.0,
    high: float = 1.0,
) -> np.ndarray:
    """Numbers uniform in [low, high), multiples of 2^-24 of the width in float32."""
    out = host.empty(shape, np.dtype(dtype))

    def fill(words: np.ndarray, part: np.ndarray) -> None:
        x = _unit(words, part)
        if low != 0.0 or high != 1.0:
            x *= x.dtype.type(high - low)
            x += x.dtype.type(low)
        part[...] = x[: part.size]
        if low != 0.0 or high != 1.0:
            part[part >= part.dtype.type(high)] = low  # rounding may reach the end

    _fill(seed, offset, out, _halves(out), fill)
    return out


def normal(
    seed: int,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype | type = np.float32,
    mean: float = 0.0,
    std: float = 1.0,
) -> np.ndarray:
    """Normal numbers by Box and Muller's method, `sqrt(-2 log u) * (cos a, sin a)`.

    A pair comes from the two halves of a word, in float64 from two words.

    Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    """
    out = host.empty(shape, np.dtype(dtype))

    def fill(words: np.ndarray, part: np.ndarray) -> None:
        x = _pairs(words, part)
        if std != 1.0:
            x *= x.dtype.type(std)
        if mean != 0.0:
            x += x.dtype.type(mean)
        if x.base is not part:
            part[...] = x[: part.size]

    _fill(seed, offset, out, _halves(out), fill)
    return out


def integers(
    seed: int,
    offset: int,
    shape: tuple[int, ...],
    low: int,
    high: int,
    dtype: np.dtype | type = np.int64,
) -> np.ndarray:
    """Whole numbers in [low, high): the high word of `word * (high - low)`, plus low.

    No value is likelier than another by more than `(high - low) / 2^64`.
    Source: Lemire, "Fast random integer generation in an interval", 2019, section 4, unrejected.
    """
    out = host.empty(shape, np.dtype(dtype))
    span, first = high - low, np.uint64(low & WORD)

    def fill(words: np.ndarray, part: np.ndarray) -> None:
        x = words if span > WORD else _multiply_high(words, span)
        x = x[: part.size] + first
        part[...] = x.view(np.int64) if low < 0 else x

    _fill(seed, offset, out, 1, fill)
    return out


def bernoulli(seed: int, offset: int, shape: tuple[int, ...], p: float | np.ndarray) -> np.ndarray:
    """A mask that is True where the float32 uniform number of the position is less than `p`."""
    out = host.empty(shape, np.dtype(np.bool_))
    if isinstance(p, np.ndarray) and p.ndim:
        wide = p if p.dtype == np.float64 else p.astype(np.float32)
        return np.less(uniform(seed, offset, shape), wide, out=out)
    limit = threshold(float(p))

    def fill(words: np.ndarray, part: np.ndarray) -> None:
        if limit > HALF:
            part.fill(True)
        else:
            np.less(words.view(np.uint32)[: part.size], np.uint32(limit), out=part)

    _fill(seed, offset, out, 2, fill)
    return out


def dropout(seed: int, offset: int, x: np.ndarray, p: float) -> np.ndarray:
    """`x * mask / (1 - p)` where `mask` is `bernoulli(1 - p)`."""
    out = host.empty(x.shape, x.dtype, x)
    mask = bernoulli(seed, offset, x.shape, 1.0 - p)
    compute = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    scale = compute.type(dropout_scale(p))

    def loop(x: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
        factor = np.multiply(mask, scale, dtype=compute)
        np.multiply(x, factor, out=out, dtype=compute, casting="unsafe")

    return parallel.elementwise(loop, out, x, mask, block=2 * CHUNK)


def permutation(seed: int, offset: int, n: int) -> np.ndarray:
    """`range(n)` in random order, as int64: the order of the first `n` words."""
    return np.argsort(raw(seed, offset, n), kind="stable").astype(np.int64, copy=False)


def threshold(p: float) -> int:
    """The limit below which 32 random bits are a success: `u < p` for their 24-bit fraction u."""
    return min(max(math.ceil(p * (1 << 24)), 0), 1 << 24) << 8


def dropout_scale(p: float) -> float:
    """What dropout multiplies the elements that it keeps by."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


def _halves(out: np.ndarray) -> int:
    """How many values of the dtype of `out` come from a word."""
    return 1 if out.dtype.itemsize == 8 else 2


def _copy(words: np.ndarray, part: np.ndarray) -> None:
    part[...] = words[: part.size]


class _Stream(threading.local):
    """A bit generator of NumPy for each thread: moving it costs a sixth of making a new one."""

    seed: int | None = None

    def words(self, seed: int, block: int, n: int) -> np.ndarray:
        if self.seed != seed:
            self.philox, self.seed, self.at = np.random.Philox(counter=0, key=seed & WORD), seed, 0
        self.philox.advance((block - self.at) % (1 << 256))  # drops what is left of its block
        self.at = block + blocks(n, 64)
        return self.philox.random_raw(n)


_stream = _Stream()


def _fill(seed: int, offset: int, out: np.ndarray, per_word: int, fill: Fill) -> None:
    """Call `fill` for each piece of `out`, `per_word` values to a word, over the threads.

    A piece of an odd number of values gets one word more than it fills.
    """
    flat = out.reshape(-1)

    def body(start: int, stop: int) -> None:
        first = start // per_word
        n = -(-stop // per_word) - first
        fill(_stream.words(seed, offset + first // 4, n + n % 2), flat[start:stop])

    parallel.run(body, flat.size, CHUNK * per_word)


def _unit(words: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) in the dtype of computation, of all of `words`."""
    wide = part.dtype.itemsize == 8
    bits = words if wide else words.view(np.uint32)
    two_bytes = part.dtype.itemsize == 2 and part.dtype != np.float16
    digits = _BFLOAT16_DIGITS if two_bytes else _DIGITS[part.dtype.itemsize]
    bits = np.right_shift(bits, bits.dtype.type(bits.itemsize * 8 - digits), out=bits)
    x = bits.view(np.int64 if wide else np.int32).astype(np.float64 if wide else np.float32)
    x *= x.dtype.type(2.0**-digits)
    return x


def _pairs(words: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Standard normal numbers in the dtype of computation; in `part` itself where that fits."""
    if part.dtype.itemsize == 8:
        first, second = (words[0::2] >> np.uint64(11)).view(np.int64), words[1::2].view(np.int64)
        second, scale, turn = second >> 11, 2.0**-53, math.pi * 2.0**-52
    else:
        halves = words.view(np.uint32)
        first, second = halves[0::2], halves.view(np.int32)[1::2]
        scale, turn = 2.0**-32, math.pi * 2.0**-31
    compute = np.dtype(np.float64 if part.dtype.itemsize == 8 else np.float32)
    radius, angle = first.astype(compute), second.astype(compute)
    radius *= compute.type(scale)
    radius += compute.type(scale / 2)  # never 0
    np.log(radius, out=radius)
    radius *= compute.type(-2)
    np.sqrt(radius, out=radius)
    angle *= compute.type(turn)
    direct = part.dtype == compute and part.size == 2 * radius.size
    x = part[:] if direct else np.empty(2 * radius.size, compute)
    np.multiply(radius, np.cos(angle), out=x[0::2])
    np.multiply(radius, np.sin(angle, out=angle), out=x[1::2])
    return x


def _multiply_high(words: np.ndarray, span: int) -> np.ndarray:
    """The high 64 bits of `words * span`."""
    high, low = words >> np.uint64(32), words & np.uint64(HALF)
    s1, s0 = np.uint64(span >> 32), np.uint64(span & HALF)
    if not s1:
        return (high * s0 + (low * s0 >> np.uint64(32))) >> np.uint64(32)
    middle = high * s0 + (low * s0 >> np.uint64(32))
    carry = low * s1 + (middle & np.uint64(HALF))
    return high * s1 + (middle >> np.uint64(32)) + (carry >> np.uint64(32))


class Generator:
    """The position of a stream: a seed and an offset in blocks of four 64-bit words."""

    _noted: tuple[Any, int] | None = None  # where kernels read the offset, and blocks taken

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`, from -2^63 to 2^64 - 1; a negative one counts from 2^64."""
        seed = int(seed)
        if not -(1 << 63) <= seed <= WORD:
            raise RuntimeError(f"manual_seed: expected a seed in [-2^63, 2^64 - 1], got {seed}")
        with self._lock:
            self._seed, self._offset = seed & WORD, 0
        return self

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def seed(self) -> int:
        """Start a stream whose seed comes from the operating system, and return the seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 11)
        return self._seed

    @property
    def offset(self) -> int:
        """How many blocks of the stream are used."""
        return self._offset

    def take(self, n: int) -> tuple[int, int]:
        """Use `n` blocks of the stream: its seed, and the offset where they begin."""
        with self._lock:
            if self._noted is not None:
                array, used = self._noted
                self._noted = array, used + n
                return self._seed, (array, used)  # type: ignore[return-value]
            start = self._offset
            self._offset += n
            return self._seed, start

    def note(self, array: Any) -> None:
        """From now on kernels read the offset from an array on their device, as graphs need it."""
        self._noted = array, 0

    def noted(self) -> int:
        """How many blocks were taken since `note`, which ends."""
        (_, used), self._noted = self._noted, None  # type: ignore[misc]
        return used

    def get_state(self) -> np.ndarray:
        """Seed and offset as 16 bytes."""
        with self._lock:
            return np.array([self._seed, self._offset], "<u8").view(np.uint8)

    def set_state(self, state: np.ndarray) -> Generator:
        """Continue where `get_state` was called."""
        state = np.ascontiguousarray(state)
        if state.dtype != np.uint8 or state.shape != (STATE_BYTES,):
            raise RuntimeError(
                f"set_state: expected {STATE_BYTES} values of dtype uint8, got shape {state.shape} "
                f"of {state.dtype}"
            )
        with self._lock:
            self._seed, self._offset = (int(v) for v in state.view("<u8"))
        return self

    def __getstate__(self) -> bytes:
        return self.get_state().tobytes()

    def __setstate__(self, state: bytes) -> None:
        self._lock = threading.Lock()
        self.set_state(np.frombuffer(state, np.uint8))


_defaults: dict[int | None, Generator] = {}


def default(index: int | None = None) -> Generator:
    """The generator that operators use by default: of the device `index`, or of the CPU (None)."""
    found = _defaults.get(index)
    return found if found is not None else _defaults.setdefault(index, Generator())
