"""The order of dimensions in memory of a result: PyTorch's rules, one for the host and for devices.

Elementwise results and copies keep the order of what they are made from (`order`). Results of
convolutions, pooling and their like have channels last where their images do (`channels_last`).
Everything else comes in the ordinary order, the last dimension fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

CHANNELS_LAST = ((0, 2, 3, 1), (0, 2, 3, 4, 1))  # of images, of volumes; from the slowest


def order(shape: Sequence[int], *operands: Any) -> tuple[int, ...] | None:
    """The dimensions of a result from the slowest to the fastest; None for the ordinary order.

    Dimensions are sorted by the strides of the first operand that tells two of them apart. One that
    is broadcast, or whose stride is 0, tells nothing. Of equal strides the smaller size is faster.
    """
    if len(shape) < 2:
        return None
    known = [(tuple(a.shape), tuple(a.strides)) for a in operands if len(a.shape)]
    return order_of(tuple(shape), tuple(known))


@lru_cache(maxsize=4096)
def order_of(shape: tuple[int, ...], operands: tuple[tuple, ...]) -> tuple[int, ...] | None:
    """The same for operands given as (shape, strides)."""
    n, strides = len(shape), [_broadcast(shape, *g) for g in operands]
    found = list(range(n))[::-1]  # from the fastest
    for i in range(1, n):
        at = i
        for before in range(i - 1, -1, -1):
            sign = _compare(shape, strides, found[before], found[at])
            if sign < 0:
                break
            if sign:
                found[before], found[at] = found[at], found[before]
                at = before
    found = found[::-1]
    sizes = [d for d in found if shape[d] > 1]
    return None if sizes == sorted(sizes) else tuple(found)


def _broadcast(shape: tuple[int, ...], own: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Strides for `shape`: 0 where an operand has one element for many."""
    lead = len(shape) - len(own)
    found, step = [], 1
    for n, m, s in zip(reversed(own), reversed(shape), reversed(strides), strict=False):
        if n == 1 and s == 0:
            s = step  # NumPy's stride of a new dimension; PyTorch's lies over what follows it
        found.append(0 if n == 1 != m else s)
        step = max(n, 1) * s
    return [0] * lead + found[::-1]


def _compare(shape: tuple[int, ...], strides: list[list[int]], a: int, b: int) -> int:
    """1 where `b` is the faster of two dimensions, -1 where it is `a`, 0 where nothing decides."""
    for s in strides:
        if s[a] and s[b]:
            if s[a] != s[b]:
                return 1 if s[a] > s[b] else -1
            if shape[a] > shape[b]:
                return 1
    return 0


def channels_last(x: Any) -> tuple[int, ...] | None:
    """The dimensions from the slowest where the strides of images or volumes `x` say that channels
    come last; None for the ordinary order, also where one element in a dimension leaves it open.
    """
    shape, strides = x.shape, x.strides
    if not 4 <= len(shape) <= 5 or strides[-1] < strides[1] or not strides[1]:
        return None
    order, least = CHANNELS_LAST[len(shape) - 4], 0
    for d in reversed(order):
        if not shape[d] or strides[d] < least or (not d and least == strides[1]):
            return None
        least = strides[d] * shape[d]
    return order


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that takes dimensions in this order back to their places."""
    back = [0] * len(order)
    for i, d in enumerate(order):
        back[d] = i
    return tuple(back)


def injective(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether no two elements can share memory: each stride passes over all smaller ones."""
    reach = 0
    for stride, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if stride <= reach:
            return False
        reach += stride * (n - 1)
    return True
