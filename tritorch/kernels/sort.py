"""Order along a dimension: sort, topk, kthvalue, medians, mode.

Rows of up to a block are sorted by a network in one program. Longer ones are sorted block by block,
and runs are merged pairwise until one is left: a program finds by bisection where the two runs
that it merges are cut, so that it reads and writes one tile. The largest k are selected in each
block, then among the selected. All of it is stable, and the same from run to run.

Source: Green, McColl and Bader, "GPU merge path", ICS 2012.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ..dtypes import int32, int64, uint32, uint64
from ._index import run
from ._order import (
    WORDS,
    key_of,
    load_words,
    merge_network,
    pack,
    place_of,
    select_network,
    sort_network,
    store_words,
    word_bits,
)
from ._rows import NARROW, cdiv, pow2
from .copy import copy

LOG = 11  # words of a block are 2^LOG, pairs half as many
WIDE_PICK = 128  # rows of a program that looks up one place of each
SPECIAL = ("n", "k", "n_rows", "n_out", "n_blocks", "length", "steps")


# -- device ------------------------------------------------------------------------------------


@triton.jit
def give(p_value, p_place, p_x, o_out, at, k_row, m):
    """The element at each place, and the place."""
    tl.store(p_value + o_out, tl.load(p_x + k_row + at, mask=m, other=0), mask=m)
    tl.store(p_place + o_out, at.to(tl.int64), mask=m)


@triton.jit
def rows_of(n_blocks, n_rows, N: tl.constexpr, LOG: tl.constexpr, WIDE: tl.constexpr):
    """The rows (ROWS, 1) of this program, their mask, and the number of its block."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_r = i // n_blocks * (1 << (N - LOG)) + tl.arange(0, 1 << (N - LOG))[:, None]
    return o_r, o_r < n_rows, (i % n_blocks).to(tl.int32)


@triton.jit(do_not_specialize=SPECIAL)
def sort_block_kernel(
    p_value,  # (n_rows, n_out), where FINAL
    p_place,  # the same
    p_a, p_b,  # (n_rows, n), else
    p_x,  # (n_rows, n), rows k apart
    n_rows, n, k, n_out, n_blocks,
    WORD: tl.constexpr, W: tl.constexpr, DESCENDING: tl.constexpr, FINAL: tl.constexpr,
    N: tl.constexpr, LOG: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Blocks of rows in order, as words; where a block is a row, as values and places."""
    o_r, m_r, i_block = rows_of(n_blocks, n_rows, N, LOG, WIDE)
    o = i_block * (1 << LOG) + tl.arange(0, 1 << LOG)[None, :]
    m = m_r & (o < n)
    a, b = pack(tl.load(p_x + o_r * k + o, mask=m, other=0), o, m, WORD, W, DESCENDING)
    a, b = sort_network(a, b, N, LOG, WORD == 0)
    if FINAL:
        at = place_of(a, b, WORD, W)
        give(p_value, p_place, p_x, o_r * n_out + o, at, o_r * k, m & (o < n_out))
    else:
        store_words(p_a, p_b, o_r * n + o, a, b, m, WORD)


@triton.jit
def cut(p_a, p_b, d, n_a, n_b, WORD: tl.constexpr):
    """How many of the first d words of two merged runs come from the first run."""
    low = tl.maximum(d - n_b, 0)
    high = tl.minimum(d, n_a)
    while low < high:
        middle = (low + high) // 2
        o = n_a + d - 1 - middle
        a = tl.load(p_a + middle)
        c = tl.load(p_a + o)
        if WORD == 0:
            before = (a < c) | ((a == c) & (tl.load(p_b + middle) < tl.load(p_b + o)))
        else:
            before = a < c
        low = tl.where(before, middle + 1, low)
        high = tl.where(before, high, middle)
    return low


@triton.jit(do_not_specialize=SPECIAL)
def sort_merge_kernel(
    p_value,  # (n_rows, n_out), where FINAL
    p_place,  # the same
    p_a_out, p_b_out,  # (n_rows, n), else
    p_a, p_b,  # (n_rows, n)
    p_x,  # (n_rows, n), rows k apart
    n, k, n_out, n_blocks, length,
    WORD: tl.constexpr, W: tl.constexpr, FINAL: tl.constexpr, LOG: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Sorted runs of this length merged in pairs, a tile of the result a program."""
    T: tl.constexpr = 1 << LOG
    i = tl.program_id(0)
    row = i // n_blocks
    if WIDE:
        row = row.to(tl.int64)
    start = i % n_blocks * T
    first = start // (2 * length) * (2 * length)
    n_a = tl.minimum(length, n - first)
    n_b = tl.maximum(tl.minimum(length, n - first - length), 0)
    p_a += row * n + first
    p_b += row * n + first
    d = start - first
    end = tl.minimum(d + T, n_a + n_b)
    cut_a = cut(p_a, p_b, d, n_a, n_b, WORD)
    count_a = cut(p_a, p_b, end, n_a, n_b, WORD) - cut_a
    count_b = end - d - count_a
    # The second run backwards behind the first is bitonic, with the last of words between them.
    j = tl.arange(0, T)
    from_b = j >= T - count_b
    o = tl.where(from_b, n_a + d - cut_a + T - 1 - j, cut_a + j)
    a, b = load_words(p_a, p_b, o, from_b | (j < count_a), WORD)
    a, b = merge_network(tl.reshape(a, [2] * LOG), tl.reshape(b, [2] * LOG), LOG, LOG, True,
                         WORD == 0)  # fmt: skip
    a, b = tl.reshape(a, [T]), tl.reshape(b, [T])
    o_out = start + j
    m = j < end - d
    if FINAL:
        at = place_of(a, b, WORD, W)
        give(p_value, p_place, p_x, row * n_out + o_out, at, row * k, m & (o_out < n_out))
    else:
        store_words(p_a_out, p_b_out, row * n + o_out, a, b, m, WORD)


@triton.jit(do_not_specialize=SPECIAL)
def sort_select_kernel(
    p_value,  # (n_rows, n_out), where FINAL
    p_place,  # the same
    p_a_out, p_b_out,  # (n_rows, n_blocks * n_out), else
    p_a, p_b,  # (n_rows, n), unless RAW
    p_x,  # (n_rows, any), rows k apart
    n_rows, n, k, n_out, n_blocks,
    WORD: tl.constexpr, W: tl.constexpr, DESCENDING: tl.constexpr, RAW: tl.constexpr,
    FINAL: tl.constexpr, N: tl.constexpr, LOG: tl.constexpr, LOGK: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """The first n_out of each block of rows in order."""
    o_r, m_r, i_block = rows_of(n_blocks, n_rows, N, LOG, WIDE)
    o = i_block * (1 << LOG) + tl.arange(0, 1 << LOG)[None, :]
    m = m_r & (o < n)
    if RAW:
        a, b = pack(tl.load(p_x + o_r * k + o, mask=m, other=0), o, m, WORD, W, DESCENDING)
    else:
        a, b = load_words(p_a, p_b, o_r * n + o, m, WORD)
    a, b = select_network(a, b, N, LOG, LOGK, WORD == 0)
    j = tl.arange(0, 1 << LOGK)[None, :]
    m = m_r & (j < n_out)
    if FINAL:
        give(p_value, p_place, p_x, o_r * n_out + j, place_of(a, b, WORD, W), o_r * k, m)
    else:
        store_words(p_a_out, p_b_out, (o_r * n_blocks + i_block) * n_out + j, a, b, m, WORD)


@triton.jit
def first_not_below(p_a, key, low, high, m, steps, WORD: tl.constexpr, W: tl.constexpr):
    """The first position of sorted words from low to high whose key is not less, by bisection."""
    for _ in range(steps):
        middle = (low + high) // 2
        here = m & (low < high)
        less = here & (key_of(tl.load(p_a + middle, mask=here, other=0), WORD, W) < key)
        low = tl.where(less, middle + 1, low)
        high = tl.where(less, high, middle)
    return low


@triton.jit(do_not_specialize=SPECIAL)
def sort_pick_kernel(
    p_value,  # (n_rows,)
    p_place,  # the same
    p_a, p_b,  # (n_rows, n) sorted words
    p_best,  # (n_rows, n_blocks), where OF is "mode"
    p_x,  # (n_rows, n), rows k apart
    n_rows, n, k, n_out, n_blocks, steps,
    OF: tl.constexpr, WORD: tl.constexpr, W: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """One element of each row: at n_out in its order, the median, or the best of its blocks."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o_r = i * ROWS + tl.arange(0, ROWS)
    m = o_r < n_rows
    at = tl.zeros((ROWS,), tl.int32) + n_out
    if OF == "mode":
        best = tl.zeros((ROWS,), tl.int64)
        for block in range(n_blocks):
            best = tl.maximum(best, tl.load(p_best + o_r * n_blocks + block, mask=m, other=0))
        at = 0x7FFFFFFF - (best & 0x7FFFFFFF).to(tl.int32)
    elif OF != "place":
        p = p_a + o_r * n
        n_numbers = first_not_below(p, (1 << W) - 1, at * 0, at * 0 + n, m, steps, WORD, W)
        if OF == "median":
            at = tl.where(n_numbers < n, n_numbers, at)
        else:
            at = tl.maximum(n_numbers - 1, 0) // 2
    a = tl.load(p_a + o_r * n + at, mask=m, other=0)
    b = tl.load(p_b + o_r * n + at, mask=m, other=0) if WORD == 0 else a
    give(p_value, p_place, p_x, o_r, place_of(a, b, WORD, W), o_r * k, m)


@triton.jit(do_not_specialize=SPECIAL)
def sort_mode_kernel(
    p_best,  # (n_rows, n_blocks)
    p_a,  # (n_rows, n) sorted words
    n_rows, n, n_blocks, steps,
    FLOAT: tl.constexpr, WORD: tl.constexpr, W: tl.constexpr, N: tl.constexpr, LOG: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """The longest run of equal keys that ends in a block, the first of several: 2^31 times its
    length, plus how far its end is from the largest position."""
    o_r, m_r, i_block = rows_of(n_blocks, n_rows, N, LOG, WIDE)
    o = i_block * (1 << LOG) + tl.arange(0, 1 << LOG)[None, :]
    m = m_r & (o < n)
    p = p_a + o_r * n
    key = key_of(tl.load(p + o, mask=m, other=0), WORD, W)
    behind = key_of(tl.load(p + o + 1, mask=m & (o + 1 < n), other=0), WORD, W)
    is_end = m & ((o == n - 1) | (key != behind))
    zero = tl.zeros(key.shape, tl.int32)
    begin = first_not_below(p, key, zero, zero + o, is_end, steps, WORD, W)
    if FLOAT:  # each NaN is a value of its own
        nan = key == (1 << W) - 1
        begin = tl.where(nan, o, begin)
        is_end = m & (is_end | nan)
    best = ((o - begin).to(tl.int64) << 31) + (0x7FFFFFFF - o)
    best = tl.max(tl.where(is_end, best, 0), 1)[:, None]
    tl.store(p_best + o_r * n_blocks + i_block, best, mask=m_r)


# -- host --------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """An array as rows of elements side by side, `k` apart; `words` are theirs, `block` and
    `narrow` of a program."""

    x: Any
    count: int
    n: int
    k: int

    @property
    def word(self) -> int:
        return word_bits(self.x.dtype, self.n)

    @property
    def log(self) -> int:
        """The logarithm of the words of a block."""
        return min(pow2(self.n).bit_length() - 1, LOG if self.word else LOG - 1)

    @property
    def blocks(self) -> int:
        return cdiv(self.n, 1 << self.log)

    def constants(self) -> dict[str, Any]:
        wide = max(self.count * self.k, self.count * self.n) >= NARROW
        return {"WORD": self.word, "W": 8 * self.x.itemsize, "WIDE": wide}

    def tile(self) -> tuple[int, dict[str, int], int]:
        """How many programs for one block of each row, the constants of their tiles, and warps."""
        most = max(self.log, LOG - 1)
        n = min(self.log + pow2(self.count).bit_length() - 1, most)
        return cdiv(self.count, 1 << (n - self.log)), {"N": n, "LOG": self.log}, warps(n)

    def scratch(self, launch: Any, size: int) -> tuple[Any, Any]:
        """Memory for `size` words."""
        a = launch.empty((size,), uint32 if self.word == 32 else uint64)
        return a, a if self.word else launch.empty((size,), int32)


def warps(log: int) -> int:
    return 8 if log == LOG else 4


def rows_along(launch: Any, x: Any, dim: int) -> Rows | None:
    """Rows along `dim`, copied where they do not lie side by side; None for what is not served."""
    n = x.shape[dim] if x.shape else 1
    if x.dtype.name not in WORDS or n >= NARROW:
        return None
    moved = moved_last(x, dim)
    count = math.prod(moved.shape[:-1])
    if n == 1 or moved.strides[-1] == 1:
        with contextlib.suppress(ValueError):  # rows that one stride does not reach
            flat = moved.reshape((count, n))
            return Rows(flat, count, n, flat.strides[0])
    dense = launch.empty(moved.shape, x.dtype)
    copy(launch, dense, moved)
    return Rows(dense, count, n, n)


def moved_last(x: Any, dim: int) -> Any:
    """A view with `dim` last."""
    if not x.ndim:
        return x.strided((1,), (1,))
    return x.transpose([*(d for d in range(x.ndim) if d != dim), dim])


class Results(NamedTuple):
    """Where kernels write values and places, rows densely; `finish` copies them where they go."""

    launch: Any
    arrays: list[Any]
    wanted: list[Any]

    def finish(self) -> None:
        for made, to in zip(self.arrays, self.wanted):
            if made is not to:
                copy(self.launch, to, made)


def results(launch: Any, outs: Sequence[Any], dim: int | None) -> Results:
    wanted = [o if dim is None else moved_last(o, dim) for o in outs]
    dense = [o if o.is_contiguous() else launch.empty(o.shape, o.dtype) for o in wanted]
    return Results(launch, dense, wanted)


def sort(launch: Any, out: tuple, x: Any, *, dim: int, descending: bool) -> Any:
    """Values and places in order along `dim`; stable."""
    return _first(launch, out, x, dim, x.shape[dim] if x.shape else 1, descending)


def topk(launch: Any, out: tuple, x: Any, *, k: int, dim: int, largest: bool) -> Any:
    """The first k of the order along `dim`."""
    return _first(launch, out, x, dim, k, largest)


def _first(launch: Any, out: tuple, x: Any, dim: int, k: int, descending: bool) -> Any:
    rows = rows_along(launch, x, dim)
    if rows is None:
        return NotImplemented
    to = results(launch, out, dim)
    if 1 << rows.log >= 4 * k:
        _select(launch, to.arrays, rows, k, descending)
    else:
        in_order(launch, rows, descending, (to.arrays, k))
    to.finish()
    return None


def in_order(
    launch: Any, rows: Rows, descending: bool, final: tuple[list[Any], int] | None = None
) -> Any:
    """The words of rows in order; or their values and places, the first so many of each row."""
    size, blocks = rows.count * rows.n, rows.blocks
    ends = [rows.scratch(launch, size)] if not final or blocks > 1 else [(rows.x, rows.x)]
    if blocks > 1:
        ends.append(rows.scratch(launch, size))
    outs, n_out = final or ([rows.x, rows.x], 0)
    grid, tile, n_warps = rows.tile()
    constants = rows.constants() | tile
    run(
        launch, sort_block_kernel, (grid * blocks,),
        [*outs, *ends[0], rows.x, rows.count, rows.n, rows.k, n_out, blocks],
        constants | {"DESCENDING": descending, "FINAL": bool(final) and blocks == 1}, n_warps,
    )  # fmt: skip
    del constants["N"]
    length = 1 << rows.log
    while length < rows.n:
        last = bool(final) and 2 * length >= rows.n
        tiles = cdiv(n_out, 1 << rows.log) if last else blocks
        run(
            launch, sort_merge_kernel, (rows.count * tiles,),
            [*outs, *ends[1], *ends[0], rows.x, rows.n, rows.k, n_out, tiles, length],
            constants | {"FINAL": last}, n_warps,
        )  # fmt: skip
        length *= 2
        ends.reverse()
    return ends[0]


def _select(launch: Any, outs: list[Any], rows: Rows, k: int, descending: bool) -> None:
    """The first k of each row: those of its blocks, then of what these leave, until it is one."""
    log_k = max(pow2(k).bit_length() - 1, 1)
    source, raw, left = (rows.x, rows.x), True, rows
    constants = rows.constants() | {"DESCENDING": descending, "LOGK": log_k}
    while True:
        blocks, final = left.blocks, left.blocks == 1
        grid, tile, n_warps = left.tile()
        if tile["LOG"] <= log_k:
            tile = {"N": tile["N"] + log_k + 1 - tile["LOG"], "LOG": log_k + 1}
        to = source if final else rows.scratch(launch, rows.count * blocks * k)
        run(
            launch, sort_select_kernel, (grid * blocks,),
            [*outs, *to, *source, rows.x, rows.count, left.n, rows.k, k, blocks],
            constants | tile | {"RAW": raw, "FINAL": final}, n_warps,
        )  # fmt: skip
        if final:
            return
        source, raw, left = to, False, left._replace(n=blocks * k)


def _pick(
    launch: Any, outs: list[Any], rows: Rows, words: tuple, of: str, place: int = 0,
    best: Any = None,
) -> None:  # fmt: skip
    blocks = best.size // rows.count if of == "mode" else 1
    args = [*outs, *words, words[0] if best is None else best, rows.x]
    args += [rows.count, rows.n, rows.k, place, blocks, rows.n.bit_length()]
    constants = rows.constants() | {"OF": of, "ROWS": min(pow2(rows.count), WIDE_PICK)}
    run(launch, sort_pick_kernel, (cdiv(rows.count, WIDE_PICK),), args, constants)


def kthvalue(launch: Any, out: tuple, x: Any, *, k: int, dim: int) -> Any:
    """The k-th element of the order along `dim`, and its place."""
    return _one(launch, out, rows_along(launch, x, dim), "place", k - 1)


def _one(launch: Any, out: Sequence[Any], rows: Rows | None, of: str, place: int) -> Any:
    """One element a row. The results keep the order of the rows, with or without the dimension."""
    if rows is None:
        return NotImplemented
    to = results(launch, out, None)
    words = in_order(launch, rows, False)
    if of != "place" and not rows.x.dtype.is_floating_point:
        of = "place"
    _pick(launch, to.arrays, rows, words, of, place)
    to.finish()
    return None


def median_dim(launch: Any, out: tuple, x: Any, *, dims: tuple[int, ...]) -> Any:
    """The lower median along a dimension, NaN where there is one, and its place."""
    return _along(launch, out, x, dims, "median")


def nanmedian_dim(launch: Any, out: tuple, x: Any, *, dims: tuple[int, ...]) -> Any:
    """The lower median of what is not NaN, and its place."""
    return _along(launch, out, x, dims, "nanmedian")


def _along(launch: Any, out: tuple, x: Any, dims: tuple[int, ...], of: str) -> Any:
    rows = rows_along(launch, x, dims[0] if dims else 0)
    return _one(launch, out, rows, of, (rows.n - 1) // 2 if rows else 0)


def median(launch: Any, out: Any, x: Any, *, dims: tuple[int, ...]) -> Any:
    """The lower median of all elements."""
    return _of_all(launch, out, x, "median")


def nanmedian(launch: Any, out: Any, x: Any, *, dims: tuple[int, ...]) -> Any:
    return _of_all(launch, out, x, "nanmedian")


def _of_all(launch: Any, out: Any, x: Any, of: str) -> Any:
    if not x.size or x.size >= NARROW:
        return NotImplemented
    dense = x
    if not x.is_contiguous():
        dense = launch.empty(x.shape, x.dtype)
        copy(launch, dense, x)
    flat = dense.strided((x.size,), (1,))
    return _along(launch, (out, launch.empty((), int64)), flat, (0,), of)


def mode(launch: Any, out: tuple, x: Any, *, dim: int) -> Any:
    """The most frequent element along `dim`, the smallest of several, and its last place."""
    rows = rows_along(launch, x, dim)
    if rows is None:
        return NotImplemented
    to = results(launch, out, None)
    words = in_order(launch, rows, False)
    best = launch.empty((rows.count * rows.blocks,), int64)
    grid, tile, n_warps = rows.tile()
    constants = rows.constants() | tile | {"FLOAT": x.dtype.is_floating_point}
    args = [best, words[0], rows.count, rows.n, rows.blocks, rows.n.bit_length()]
    run(launch, sort_mode_kernel, (grid * rows.blocks,), args, constants, n_warps)
    _pick(launch, to.arrays, rows, words, "mode", best=best)
    to.finish()
    return None
