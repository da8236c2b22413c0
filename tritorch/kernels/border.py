"""Padding with what an array holds near its borders, and its gradient.

A program covers BLOCK elements of the result in the order of its memory. Each finds the element
that it repeats; in the gradient, those that repeat it: it sums them, so no two programs write the
same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from ._dense import FLOATS, accumulator, cdiv, is_wide
from ._rows import REAL, real_view

DIMS = 5
COMPLEX = ("complex64", "complex128")
PADDED = 3  # the last dimensions of five, which may have borders


@triton.jit
def places(o, n1, n2, n3, n4):
    """The index of the o-th element of an array (any, n1, n2, n3, n4) along each dimension."""
    i4 = o % n4
    o = o // n4
    i3 = o % n3
    o = o // n3
    i2 = o % n2
    o = o // n2
    return o // n1, o % n1, i2, i3, i4


@triton.jit
def source(i, before, n, MODE: tl.constexpr):
    """Of the elements 0 ... n the one that lies at `i`, element 0 being at `before`."""
    j = i - before
    if MODE == "reflect":
        j = tl.where(j < 0, -j, j)
        j = tl.where(j >= n, 2 * (n - 1) - j, j)
    elif MODE == "replicate":
        j = tl.minimum(tl.maximum(j, 0), n - 1)
    else:
        j = tl.where(j < 0, j + n, j)
        j = tl.where(j >= n, j - n, j)
    return j


@triton.jit
def copies(j, before, n, size, MODE: tl.constexpr):
    """The first of `size` places that may hold element `j`, and how many there are at most in the
    block."""
    if MODE == "replicate":
        first = tl.where(j == 0, 0, tl.maximum(before + j, 0))
        last = tl.where(j == n - 1, size - 1, tl.minimum(before + j, size - 1))
        return first, last, tl.max(last - first, 0) + 1
    else:
        return j, j, tl.where((before != 0) | (size != n), 3, 1)


@triton.jit
def copy_of(j, first, last, r, before, n, size, MODE: tl.constexpr):
    """(the r-th place that may hold element `j`, whether it does)."""
    if MODE == "replicate":
        i = first + r
        known = i <= last
    elif MODE == "reflect":
        i = tl.where(r == 0, before + j, tl.where(r == 1, before - j, before + 2 * (n - 1) - j))
        # the elements at the edges are not repeated
        known = (r == 0) | ((r == 1) & (j > 0)) | ((r == 2) & (j < n - 1))
    else:
        i = before + j + tl.where(r == 0, 0, tl.where(r == 1, -n, n))
        known = (j >= 0) & (j < n)
    return i, known & (i >= 0) & (i < size)


@triton.jit
def border_forward_kernel(
    p_x,  # (n0, n1, m2, m3, m4)
    p_out,  # (n0, n1, n2, n3, n4)
    total, n1, n2, n3, n4, m2, m3, m4, b2, b3, b4,
    s_x0, s_x1, s_x2, s_x3, s_x4,
    s_o0, s_o1, s_o2, s_o3, s_o4,
    MODE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = the element of x that lies there, or that the border repeats."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i0, i1, i2, i3, i4 = places(o, n1, n2, n3, n4)
    o_x = i0 * s_x0 + i1 * s_x1 + source(i2, b2, m2, MODE) * s_x2
    o_x += source(i3, b3, m3, MODE) * s_x3 + source(i4, b4, m4, MODE) * s_x4
    x = tl.load(p_x + o_x, mask=m_o, other=0)
    o_out = i0 * s_o0 + i1 * s_o1 + i2 * s_o2 + i3 * s_o3 + i4 * s_o4
    tl.store(p_out + o_out, x, mask=m_o)


@triton.jit
def border_backward_kernel(
    p_g,  # (n0, n1, g2, g3, g4)
    p_dx,  # (n0, n1, n2, n3, n4)
    total, n1, n2, n3, n4, m2, m3, m4, g2, g3, g4, b2, b3, b4, c2, c3, c4,
    s_g0, s_g1, s_g2, s_g3, s_g4,
    s_x0, s_x1, s_x2, s_x3, s_x4,
    MODE: tl.constexpr, WIDE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx = the sum of g over all places that hold the element; m elements from c on are there."""
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m_o = o < total
    i0, i1, i2, i3, i4 = places(o, n1, n2, n3, n4)
    p_g += i0 * s_g0 + i1 * s_g1
    j2 = i2 - c2
    j3 = i3 - c3
    j4 = i4 - c4
    f2, l2, k2 = copies(j2, b2, m2, g2, MODE)
    f3, l3, k3 = copies(j3, b3, m3, g3, MODE)
    f4, l4, k4 = copies(j4, b4, m4, g4, MODE)
    acc = tl.zeros((BLOCK,), dtype=ACC)
    for r2 in range(0, k2):
        at2, m2_here = copy_of(j2, f2, l2, r2, b2, m2, g2, MODE)
        for r3 in range(0, k3):
            at3, m3_here = copy_of(j3, f3, l3, r3, b3, m3, g3, MODE)
            for r4 in range(0, k4):
                at4, m4_here = copy_of(j4, f4, l4, r4, b4, m4, g4, MODE)
                m_g = m_o & m2_here & m3_here & m4_here
                at = at2 * s_g2 + at3 * s_g3 + at4 * s_g4
                acc += tl.load(p_g + at, mask=m_g, other=0).to(ACC)
    o_dx = i0 * s_x0 + i1 * s_x1 + i2 * s_x2 + i3 * s_x3 + i4 * s_x4
    tl.store(p_dx + o_dx, acc.to(p_dx.dtype.element_ty), mask=m_o)


# -- launchers ---------------------------------------------------------------------------------


def _five(x: Any) -> Any:
    """`x` with dimensions of one before its own, to make five."""
    lead = DIMS - x.ndim
    return x.strided((*(1,) * lead, *x.shape), (*(0,) * lead, *x.strides))


def _padding(pad: Sequence[tuple[int, int]], mode: str) -> tuple[list[int], list[int], list[int]]:
    """Of the dimensions with borders: where the first element left lies, what is cropped before it
    and after. Only borders that continue from end to start depend on what is cropped."""
    pairs = [(0, 0)] * (PADDED - len(pad)) + [*pad[-PADDED:]]
    if mode != "circular":
        return [a for a, _ in pairs], [0] * PADDED, [0] * PADDED
    cropped = ([max(-p[i], 0) for p in pairs] for i in (0, 1))
    return [max(a, 0) for a, _ in pairs], *cropped


def _refused(x: Any, pad: Sequence[tuple[int, int]], names: Sequence[str]) -> bool:
    return x.ndim > DIMS or x.dtype.name not in names or any(p != (0, 0) for p in pad[:-PADDED])


def pad(launch: Any, out: Any, x: Any, *, pad: Sequence[tuple[int, int]], mode: str) -> Any:
    """x within borders that repeat it; `pad` (before, after) of each dimension, negative: cropped.

    `mode` is "reflect", "replicate" or "circular". The last three of at most five dimensions may
    have borders.
    """
    if _refused(x, pad, (*REAL, *COMPLEX)):
        return NotImplemented
    for to, source in zip(_parts(out), _parts(x)):
        _pad(launch, to, source, pad, mode)
    return None


def _parts(x: Any) -> list:
    """The array, or of a complex one the real and the imaginary parts."""
    return [real_view(x)[..., i] for i in (0, 1)] if x.dtype.is_complex else [x]


def _pad(launch: Any, out: Any, x: Any, pad: Sequence[tuple[int, int]], mode: str) -> None:
    before, first, last = _padding(pad, mode)
    out, x = _five(out), _five(x)
    x = x[(..., *(slice(f, n - e) for f, e, n in zip(first, last, x.shape[-PADDED:])))]
    block = _block(launch, x)
    launch(
        border_forward_kernel,
        (cdiv(out.size, block),),
        [x, out, out.size, *out.shape[1:], *x.shape[-PADDED:], *before, *x.strides, *out.strides],
        {"MODE": mode, "WIDE": _wide(out, x), "BLOCK": block},
    )


def pad_backward(launch: Any, dx: Any, g: Any, *, pad: Sequence[tuple[int, int]], mode: str) -> Any:
    """The gradient of the array from that of the array within borders."""
    if _refused(g, pad, (*FLOATS, *COMPLEX)):
        return NotImplemented
    for to, source in zip(_parts(dx), _parts(g)):
        _pad_backward(launch, to, source, pad, mode)
    return None


def _pad_backward(launch: Any, dx: Any, g: Any, pad: Sequence[tuple[int, int]], mode: str) -> None:
    before, first, last = _padding(pad, mode)
    dx, g = _five(dx), _five(g)
    left = [n - f - e for n, f, e in zip(dx.shape[-PADDED:], first, last)]
    block = _block(launch, g)
    launch(
        border_backward_kernel,
        (cdiv(dx.size, block),),
        [g, dx, dx.size, *dx.shape[1:], *left, *g.shape[-PADDED:], *before, *first,
         *g.strides, *dx.strides],
        {
            "MODE": mode,
            "WIDE": _wide(dx, g),
            "ACC": accumulator(g.dtype.name),
            "BLOCK": block,
        },
    )  # fmt: skip


def _wide(out: Any, other: Any) -> bool:
    return is_wide(out, other) or out.size >= 2**31 - 2**16


def _block(launch: Any, x: Any) -> int:
    """Elements of the result that a program covers: four a thread, of narrow ones eight."""
    return 4 * launch.target.warp_size * (8 if x.itemsize <= 2 else 4)
