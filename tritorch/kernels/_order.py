"""Sorting networks on a program's block: what sort, topk and their relatives share.

An element becomes a *word*: an unsigned integer in the order of its value, above the element's
place in its row, so that no two words are equal and every network sorts them stably. Elements of
8 bytes do not fit above a place; they are pairs of a key and a place (WORD 0). NaN is the largest
value, and both zeros are equal.

Source: Batcher, "Sorting networks and their applications", 1968.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

WORDS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
         "float16", "bfloat16", "float32", "float64")  # fmt: skip


@triton.jit
def infinity(DTYPE: tl.constexpr):
    """The bits of infinity."""
    if tl.float16 == DTYPE:
        return 0x7C00
    elif tl.bfloat16 == DTYPE:
        return 0x7F80
    elif tl.float32 == DTYPE:
        return 0x7F800000
    else:
        return 0x7FF0000000000000


@triton.jit
def ordered(x, W: tl.constexpr, DESCENDING: tl.constexpr):
    """An unsigned integer that sorts as x does, of its W bits."""
    TOP: tl.constexpr = 1 << (W - 1)
    ALL: tl.constexpr = (1 << W) - 1
    if W == 64:
        u = x.to(tl.uint64, bitcast=True)
    elif W == 32:
        u = x.to(tl.uint32, bitcast=True)
    elif W == 16:
        u = x.to(tl.uint16, bitcast=True).to(tl.uint32)
    elif x.dtype.is_bool():
        u = x.to(tl.uint32)
    else:
        u = x.to(tl.uint8, bitcast=True).to(tl.uint32)
    if x.dtype.is_floating():
        size = u & (TOP - 1)
        nan = size > infinity(x.dtype)
        u = tl.where((u < TOP) | (size == 0), size | TOP, ALL - u)
        u = tl.where(nan, tl.full((), ALL, u.dtype), u)
    elif x.dtype.is_int_signed() and not x.dtype.is_bool():
        u = u ^ TOP
    if DESCENDING:
        u = ALL - u
    return u


@triton.jit
def last_word(WORD: tl.constexpr):
    """What no word goes behind."""
    if WORD == 32:
        return tl.full((), 0xFFFFFFFF, tl.uint32)
    else:
        return tl.full((), 0xFFFFFFFFFFFFFFFF, tl.uint64)


@triton.jit
def pack(x, o, m, WORD: tl.constexpr, W: tl.constexpr, DESCENDING: tl.constexpr):
    """The words of elements at places o, the last where not m; keys and places for WORD 0."""
    key = ordered(x, W, DESCENDING)
    if WORD == 0:
        b = tl.where(m, o, 0x7FFFFFFF).to(tl.int32)
        return tl.where(m, key, last_word(WORD)), b
    else:
        if WORD == 64:
            a = (key.to(tl.uint64) << (64 - W)) | o.to(tl.uint64)
        else:
            a = (key << (32 - W)) | o.to(tl.uint32)
        a = tl.where(m, a, last_word(WORD))
        return a, a


@triton.jit
def load_words(p_a, p_b, o, m, WORD: tl.constexpr):
    """Words from memory, the last where not m."""
    a = tl.load(p_a + o, mask=m, other=0)
    a = tl.where(m, a, last_word(WORD))
    if WORD == 0:
        b = tl.load(p_b + o, mask=m, other=0)
        return a, tl.where(m, b, 0x7FFFFFFF).to(tl.int32)
    else:
        return a, a


@triton.jit
def store_words(p_a, p_b, o, a, b, m, WORD: tl.constexpr):
    tl.store(p_a + o, a, mask=m)
    if WORD == 0:
        tl.store(p_b + o, b, mask=m)


@triton.jit
def key_of(a, WORD: tl.constexpr, W: tl.constexpr):
    """The keys in words."""
    if WORD == 0:
        return a
    else:
        return a >> (WORD - W)


@triton.jit
def place_of(a, b, WORD: tl.constexpr, W: tl.constexpr):
    """The places in words."""
    if WORD == 0:
        return b
    else:
        BITS: tl.constexpr = WORD - W if WORD - W < 31 else 31
        return (a & ((1 << BITS) - 1)).to(tl.int32)


# -- networks ----------------------------------------------------------------------------------
# A block of 2^N words is a cube of N dimensions of two, in which words 2^i apart are neighbours
# along the i-th dimension from the last. A neighbour is the sum of both less the word itself: the
# compiler makes a shuffle of it. Networks are written in one piece, since each function called
# costs the interpreter milliseconds.

add = tl.standard._sum_combine


@triton.jit
def merge_network(a, b, N: tl.constexpr, LOG: tl.constexpr, LAST: tl.constexpr, PAIR: tl.constexpr):
    """Bitonic runs of 2^LOG in order, every second one in reverse unless LAST."""
    reverse = 0 if LAST else tl.reshape(tl.arange(0, 2), [1] * (N - LOG - 1) + [2] + [1] * LOG)
    for i in tl.static_range(LOG):
        # The dimension N - LOG + i is the (LOG - 1 - i)-th from the last.
        right = tl.reshape(tl.arange(0, 2), [1] * (N - LOG + i) + [2] + [1] * (LOG - 1 - i))
        flip = (reverse ^ right) != 0
        c = tl.reduce(a, N - LOG + i, add, keep_dims=True) - a
        if PAIR:
            d = tl.reduce(b, N - LOG + i, add, keep_dims=True) - b
            swap = ((c < a) | ((c == a) & (d < b))) != flip
            a, b = tl.where(swap, c, a), tl.where(swap, d, b)
        else:
            a = tl.where((c < a) != flip, c, a)
            b = a
    return a, b


@triton.jit
def halve(a, b, N: tl.constexpr, LOG: tl.constexpr, PAIR: tl.constexpr):
    """The lesser of neighbours along the LOG-th dimension from the last, in a cube of N - 1."""
    if PAIR:
        c = tl.reduce(a, N - 1 - LOG, add, keep_dims=True) - a
        d = tl.reduce(b, N - 1 - LOG, add, keep_dims=True) - b
        left = tl.reshape(tl.arange(0, 2), [1] * (N - LOG - 1) + [2] + [1] * LOG) == 0
        lesser = (a < c) | ((a == c) & ((b < d) | ((b == d) & left)))
        a = tl.reduce(tl.where(lesser, a, 0), N - 1 - LOG, add)
        return a, tl.reduce(tl.where(lesser, b, 0), N - 1 - LOG, add)
    else:
        a = tl.min(a, N - 1 - LOG)
        return a, a


@triton.jit
def sort_network(a, b, N: tl.constexpr, LOG: tl.constexpr, PAIR: tl.constexpr):
    """The rows of a block (2^(N - LOG), 2^LOG) in order."""
    if LOG > 0:
        a = tl.reshape(a, [2] * N)
        b = tl.reshape(b, [2] * N)
        for i in tl.static_range(1, LOG + 1):
            a, b = merge_network(a, b, N, i, i == LOG, PAIR)
        a = tl.reshape(a, [1 << (N - LOG), 1 << LOG])
        b = tl.reshape(b, [1 << (N - LOG), 1 << LOG])
    return a, b


@triton.jit
def select_network(
    a, b, N: tl.constexpr, LOG: tl.constexpr, LOGK: tl.constexpr, PAIR: tl.constexpr
):
    """The first 2^LOGK of the rows of a block (2^(N - LOG), 2^LOG), in order.

    Source: Shanbhag, Pirk and Madden, "Efficient top-k query processing on GPUs", SIGMOD 2018.
    """
    a = tl.reshape(a, [2] * N)
    b = tl.reshape(b, [2] * N)
    for i in tl.static_range(1, LOGK + 1):
        a, b = merge_network(a, b, N, i, False, PAIR)
    for i in tl.static_range(1, LOG - LOGK + 1):
        a, b = halve(a, b, N - i + 1, LOGK, PAIR)
        a, b = merge_network(a, b, N - i, LOGK, i == LOG - LOGK, PAIR)
    a = tl.reshape(a, [1 << (N - LOG), 1 << LOGK])
    b = tl.reshape(b, [1 << (N - LOG), 1 << LOGK])
    return a, b


# -- host --------------------------------------------------------------------------------------


def word_bits(dtype: Any, n: int) -> int:
    """The bits of the words of rows of n elements; 0 for pairs."""
    width = 8 * dtype.itemsize
    if width == 64:
        return 0
    return 32 if width < 32 and n <= 1 << (32 - width) else 64
