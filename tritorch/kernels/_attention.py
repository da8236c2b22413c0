"""What the attention kernels share: blocks and splits by plain arithmetic, and device helpers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from ._choice import chosen, remembered
from ._dense import FLOATS, accumulator, cdiv, clip, is_wide, pow2
from ._rows import bits
from .random import from_memory, halves, philox, threshold

INF = tl.constexpr(float("inf"))
LOG2E = 1.4426950408889634
LOG2_E = tl.constexpr(LOG2E)
LARGEST = 256  # elements of a head
PACKED = 64  # queries of heads that share keys, up to which one program serves them all

# -- device ----------------------------------------------------------------------------------------


@triton.jit
def load_block(p, rows, o_c, s_c, m_r, cols, ROWS: tl.constexpr, COLS: tl.constexpr):
    """A block of rows that begin at `rows`; masked where ROWS or COLS say that it may end."""
    q = p + rows[:, None] + o_c[None, :] * s_c
    if ROWS and COLS:
        return tl.load(q, mask=m_r[:, None] & (o_c < cols)[None, :], other=0)
    elif ROWS:
        return tl.load(q, mask=m_r[:, None], other=0)
    elif COLS:
        return tl.load(q, mask=(o_c < cols)[None, :], other=0)
    else:
        return tl.load(q)


@triton.jit
def positions(first, N: tl.constexpr, WIDE: tl.constexpr):
    """N positions from `first` on."""
    o = first + tl.arange(0, N)
    return o.to(tl.int64) if WIDE else o


@triton.jit
def place(n, REVERSED: tl.constexpr, WIDE: tl.constexpr):
    """Which of n blocks of which head this program has; REVERSED takes the longest first."""
    i = tl.program_id(0)
    i_block = n - 1 - i % n if REVERSED else i % n
    i_head = i // n
    return i_block, i_head.to(tl.int64) if WIDE else i_head


@triton.jit
def kept(seed, first, rows, i_n, limit, BM: tl.constexpr, BN: tl.constexpr):
    """Which weights dropout keeps: a query's numbers fill whole blocks of 8 from its `rows` on."""
    blocks = first + rows[:, None] + (i_n // 8 + tl.arange(0, BN // 8))[None, :]
    w0, w1, w2, w3 = philox(seed, blocks)
    low, high = halves(tl.join(tl.join(w0, w2), tl.join(w1, w3)))
    return tl.reshape(tl.join(low, high), (BM, BN)).to(tl.int64) < limit


# -- sizes and blocks ------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """Batch, heads, heads that share keys, queries, keys, elements of a query and of a value."""

    b: int
    h: int
    group: int
    m: int
    n: int
    d: int
    dv: int

    @property
    def wide(self) -> int:
        return max(pow2(self.d), pow2(self.dv), 16)


class Blocks(NamedTuple):
    """Queries and keys a block, and how the compiler is to schedule them."""

    bm: int
    bn: int
    warps: int
    stages: int


def sizes(q: Any, k: Any, v: Any) -> Sizes:
    b, h, m, d = q.shape
    return Sizes(b, h, h // max(k.shape[1], 1), m, k.shape[2], d, v.shape[3])


def strides(mask: Any) -> tuple[int, ...]:
    """The strides of a mask, of which dimensions of one element broadcast."""
    if mask is None:
        return (0, 0, 0, 0)
    return tuple(0 if n == 1 else s for n, s in zip(mask.shape, mask.strides))


def is_served(s: Sizes, *arrays: Any) -> bool:
    """Whether the kernels serve arrays of these dtypes and sizes: registers hold a row of each."""
    dtype = arrays[0].dtype
    if dtype.name not in FLOATS or any(a.dtype is not dtype for a in arrays):
        return False
    largest = LARGEST // (1 if dtype.itemsize == 2 else dtype.itemsize // 4)
    return max(s.d, s.dv) <= largest


# Queries, keys, warps and stages by the largest head of 64, 128 and 256 elements: forward, gradient
# of keys and values, gradient of queries. Float32 multiplies without tensor cores, from registers.
Row = tuple[tuple[int, int, int, int], ...]
TABLES: dict[str, tuple[Row, Row, Row]] = {
    "hopper": (
        ((128, 64, 4, 3), (128, 128, 8, 2), (128, 64, 8, 2)),
        ((64, 128, 8, 2), (32, 128, 8, 2), (32, 128, 8, 2)),
        ((128, 64, 8, 2), (128, 64, 8, 2), (64, 32, 8, 2)),
    ),
    "blackwell": (
        ((128, 64, 8, 3), (128, 64, 8, 2), (128, 32, 8, 2)),
        ((64, 128, 8, 2), (32, 128, 8, 2), (32, 128, 8, 2)),
        ((128, 64, 8, 2), (128, 64, 8, 2), (64, 32, 8, 2)),
    ),
    "ampere": (
        ((128, 64, 8, 3), (128, 64, 8, 2), (64, 32, 8, 2)),
        ((32, 128, 8, 1), (32, 64, 8, 2), (32, 32, 4, 1)),
        ((64, 64, 4, 2), (64, 32, 4, 2), (32, 32, 4, 1)),
    ),
    "small": (
        ((128, 64, 8, 2), (128, 64, 8, 2), (64, 32, 8, 1)),
        ((32, 64, 8, 1), (32, 64, 8, 1), (32, 32, 4, 1)),
        ((128, 32, 8, 2), (64, 32, 8, 1), (32, 32, 8, 1)),
    ),
    "hip": (
        ((128, 64, 4, 1), (128, 64, 4, 1), (64, 32, 4, 1)),
        ((64, 64, 4, 1), (32, 64, 4, 1), (32, 32, 4, 1)),
        ((64, 64, 4, 1), (64, 32, 4, 1), (32, 32, 4, 1)),
    ),
    "float32": (
        ((64, 32, 8, 1), (32, 32, 8, 1), (32, 16, 8, 1)),
        ((32, 32, 8, 1), (16, 32, 8, 1), (16, 16, 8, 1)),
        ((32, 32, 8, 1), (32, 16, 8, 1), (16, 16, 8, 1)),
    ),
    "float64": (
        ((32, 16, 8, 1), (16, 16, 8, 1), (16, 16, 8, 1)),
        ((16, 16, 8, 1), (16, 16, 8, 1), (16, 16, 8, 1)),
        ((16, 16, 8, 1), (16, 16, 8, 1), (16, 16, 8, 1)),
    ),
}
FORWARD, KEYS, QUERIES = range(3)


def table_of(dtype: str, target: Any) -> str:
    """Which table holds for a dtype and a target."""
    if dtype in ("float32", "float64"):
        return dtype
    if target.backend == "hip":
        return "hip"
    if target.arch == 80:
        return "ampere"
    if target.shared_memory < 160 << 10:
        return "small"
    return "hopper" if target.arch == 90 else "blackwell"


@remembered(1024)
def blocks_of(what: int, s: Sizes, dtype: str, masked: bool, dropout: bool, target: Any) -> Blocks:
    """The blocks of a kernel of attention: found by a search, or else `first_blocks`."""
    first = first_blocks(what, s, dtype, masked, dropout, target)
    part = ("forward", "keys", "queries")[what]
    kind = f"attention {part} {dtype}{' masked' * masked}{' dropout' * dropout}"
    return chosen(target, kind, (s.b * s.h, s.group, s.m, s.n, s.wide), first)


def first_blocks(
    what: int, s: Sizes, dtype: str, masked: bool, dropout: bool, target: Any
) -> Blocks:
    """The analytic choice; masks and the numbers of dropout need registers too."""
    table = table_of(dtype, target)
    row = TABLES[table][what]
    bm, bn, warps, stages = row[0 if s.wide <= 64 else 1 if s.wide <= 128 else 2]
    if masked or dropout:
        if what == KEYS:
            bm = min(bm, 32)
        else:
            bn = min(bn, 64 if what == FORWARD else 32)
    if dropout:
        uneven = max(s.d, s.dv) < s.wide  # columns are masked too
        warps, little = 8, table in ("small", "hip", "float32") or (table == "ampere" and uneven)
        if what == KEYS:
            bm = 16
        elif s.wide > 128 or (what == FORWARD and little) or dtype == "float32":
            bn = min(bn, 32 if what == FORWARD and dtype != "float32" else 16)
    if target.backend == "hip":
        warps = 4  # one a SIMD, which then has all registers
    elif dtype == "float32" and s.wide <= 16:
        warps = 4
    if what == KEYS and s.group > 1:
        bm, bn, stages = _of_shared_keys(s, table, dropout, (bm, bn, stages))
    return Blocks(clip(pow2(s.m), 16, bm), clip(pow2(s.n), 16, bn), warps, stages)


def _of_shared_keys(
    s: Sizes, table: str, dropout: bool, blocks: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Queries, keys and stages of the gradient of keys: its loop over heads needs registers."""
    bm, bn, stages = blocks
    if table in ("hopper", "blackwell") and s.wide > 128:
        bm, bn, stages = (16 if dropout else 64), 32, 1
    elif table == "blackwell":
        stages = 1
    elif dropout and table in ("hopper", "ampere", "small"):
        bn //= 2
    return bm, bn, stages


def key_splits(s: Sizes, blocks: Blocks, programs: int, target: Any) -> tuple[int, int]:
    """How many programs share the keys of a query, and how many keys each takes."""
    n_blocks = cdiv(s.n, blocks.bn)
    splits = clip(target.sms // max(programs, 1), 1, min(128, max(n_blocks // 2, 1)))
    keys = max(cdiv(n_blocks, splits), 1) * blocks.bn
    return max(cdiv(s.n, keys), 1), keys


class Stream(NamedTuple):
    """What dropout needs of a kernel's arguments: the numbers of a stream, and constants."""

    pointer: Any
    numbers: tuple
    constants: dict[str, bool]


def stream(s: Sizes, out: Any, dropout: float, seed: int, offset: Any) -> Stream:
    """`offset` is a number, an Array of one to read, or that and what to add."""
    pointer, added, read = from_memory(offset, out)
    factor = number(out.dtype.name, 1 / (1 - dropout) if dropout < 1 else 0.0)
    numbers = (bits(seed, False), added, threshold(1.0 - dropout), cdiv(s.n, 8), factor)
    return Stream(pointer, numbers, {"DROPOUT": dropout > 0, "HAS_OFFSET": read})


def number(dtype: str, value: float) -> Any:
    """A number as an argument of a kernel: floats travel in single precision."""
    return np.float64(value) if dtype == "float64" else float(value)


def options(
    target: Any, s: Sizes, q: Any, k: Any, v: Any, mask: Any, is_causal: bool, *others: Any
) -> dict[str, Any]:
    """The constants that all kernels share."""
    dtype = q.dtype.name
    bd, bdv = max(pow2(s.d), 16), max(pow2(s.dv), 16)
    return {
        "BD": bd,
        "BDV": bdv,
        "CAUSAL": is_causal,
        "MASK": "none" if mask is None else "bool" if mask.dtype.name == "bool" else "float",
        "EVEN_D": bd == s.d,
        "EVEN_V": bdv == s.dv,
        "WIDE": is_wide(q, k, v, mask, *others),
        "ACC": accumulator(dtype),
        "UPCAST": target.interpreted and dtype == "bfloat16",
    }
