"""NumPy functions that order lines of numbers, stably and with NaN last: sort, top-k, k-th value.

A number and its position are packed into one 64-bit integer of the same order where they fit: a
sort of integers, which NumPy does with vector instructions, then is a stable sort with positions
(m: five times as fast as `argsort`).
"""

from __future__ import annotations

import numpy as np

from ..runtime import host, parallel
from .lines import blocks

LOW = np.int64(0xFFFFFFFF)
MAGNITUDE = np.int32(0x7FFFFFFF)
GRAIN = 1 << 19  # elements of the lines whose top k are found together


def packable(x: np.ndarray) -> bool:
    """Whether an element and its position fit into 64 bits for sure."""
    return x.dtype.kind in "fiub" and x.dtype.itemsize <= 4 and x.shape[-1] < 1 << 31


def _floats_as_integers(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """int32 of the same order, in which all NaN are the largest and both zeros equal; and whether
    the numbers can be had back from them."""
    bits = np.ascontiguousarray(x, np.float32).view(np.int32)
    keys = bits >> 31
    keys &= MAGNITUDE
    keys ^= bits
    missing = np.isnan(x)
    if missing.any():
        keys[missing] = MAGNITUDE
    minus = keys == -1
    if not minus.any():
        return keys, True
    keys[minus] = 0
    return keys, False


def pack(x: np.ndarray, at: np.ndarray, descending: bool) -> tuple[np.ndarray, bool]:
    """`x` over its positions `at` as int64, in the order wanted; and whether `unpack` is exact."""
    exact = True
    if x.dtype.kind == "f":
        narrow, exact = _floats_as_integers(x)
        keys = narrow.astype(np.int64)
    else:
        keys = x.astype(np.int64)
        if x.dtype.kind == "u" and x.dtype.itemsize == 4:
            keys -= 1 << 31
    if descending:
        np.invert(keys, out=keys)
    keys <<= 32
    keys |= at
    return keys, exact


def unpack(keys: np.ndarray, values: np.ndarray, descending: bool) -> None:
    """The numbers in packed keys, stored in `values`."""
    keys = keys >> 32
    if descending:
        np.invert(keys, out=keys)
    if values.dtype.kind != "f":
        if values.dtype.kind == "u" and values.dtype.itemsize == 4:
            keys += 1 << 31
        np.copyto(values, keys, casting="unsafe")
        return
    bits = keys.astype(np.int32)
    bits ^= (bits >> 31) & MAGNITUDE
    np.copyto(values, bits.view(np.float32), casting="unsafe")


def sort_lines(x: np.ndarray, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    """The last dimension in order, and where each element was; stable."""
    values, indices = host.empty(x.shape, x.dtype), host.empty(x.shape, np.dtype(np.int64))
    if not x.size:
        return values, indices
    at = np.arange(x.shape[-1], dtype=np.int64)

    def body(x: np.ndarray, values: np.ndarray, indices: np.ndarray) -> None:
        exact = False
        if packable(x):
            keys, exact = pack(x, at, descending)
            keys.sort(axis=-1)
            np.bitwise_and(keys, LOW, out=indices)
        else:
            indices[...] = _argsort(x, at, descending)
        if exact:
            unpack(keys, values, descending)
        else:
            values[...] = np.take_along_axis(x, indices, -1)

    blocks(body, x, values, indices)
    return values, indices


def _argsort(x: np.ndarray, at: np.ndarray, descending: bool) -> np.ndarray:
    """The order of 64-bit numbers."""
    if x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        bits = max(x.shape[-1] - 1, 1).bit_length()
        if (high - low).bit_length() + bits < 64:
            keys = (high - x if descending else x - x.dtype.type(low)).astype(np.int64)
            keys <<= bits
            keys |= at
            keys.sort(axis=-1)
            return keys & ((1 << bits) - 1)
        return _stable(x, descending)
    if not descending and x.dtype.kind == "f":  # as fast as vectors allow, where nothing is equal
        found = np.argsort(x, axis=-1)
        y = np.take_along_axis(x, found, -1)
        if bool((y[..., 1:] > y[..., :-1]).all()):
            return found
    return _stable(x, descending)


def _stable(x: np.ndarray, descending: bool) -> np.ndarray:
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    found = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return x.shape[-1] - 1 - found


def top_lines(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """The k first elements of each line in the order of a sort, and their positions."""
    return _picked(x, k, largest, slice(0, k))


def kth_lines(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k-th smallest element of each line, and its position."""
    return _picked(x, k, False, slice(k - 1, k))


def _picked(x: np.ndarray, k: int, largest: bool, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """A part of the first k elements in order."""
    if not x.size or not packable(x):
        values, indices = sort_lines(x, largest)
        return values[..., part].copy(), indices[..., part].copy()
    shape = (*x.shape[:-1], part.stop - part.start)
    values, indices = host.empty(shape, x.dtype), host.empty(shape, np.dtype(np.int64))

    def body(start: int, stop: int) -> None:
        lines, at = _candidates(x[start:stop], k, largest)
        keys, exact = pack(lines, at, largest)
        if part.start or k < keys.shape[-1]:
            keys.partition(k - 1, axis=-1)
        keys = keys[..., part] if part.start else np.sort(keys[..., part], axis=-1)
        np.bitwise_and(keys, LOW, out=indices[start:stop])
        if exact:
            unpack(keys, values[start:stop], largest)
        else:
            values[start:stop] = np.take_along_axis(x[start:stop], indices[start:stop], -1)

    if k:
        parallel.run(body, len(x), max(1, GRAIN // x.shape[-1]))
    return values, indices


def _candidates(x: np.ndarray, k: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    """Elements of each line among which its top k are, and their positions.

    The top k lie in the k groups with the best extremes. A group is every g-th element, so that
    extremes of groups are extremes of rows of a matrix.
    """
    lines, n = x.shape[0], x.shape[-1]
    size = int((n / k) ** 0.5)
    groups = n // size if size else 0
    if size < 4 or groups <= k or n % size or x.dtype.kind == "b":
        return x, np.arange(n, dtype=np.int64)
    table = x.reshape(lines, size, groups)
    best = table.max(1) if largest else np.fmin.reduce(table, 1)
    order = np.argpartition(best, groups - k if largest else k - 1, axis=-1)
    picked = order[:, groups - k :] if largest else order[:, :k]
    picked = np.sort(picked, axis=-1)[:, None, :]
    at = (picked + groups * np.arange(size)[:, None]).reshape(lines, -1)
    return np.take_along_axis(table, picked, 2).reshape(lines, -1), at
