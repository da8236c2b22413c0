"""Elementwise arithmetic of complex numbers, which are pairs of floats; operands may be real."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import triton
import triton.language as tl

from ._rows import NARROW, cdiv, flat_offset, merge, real_view

BLOCK = 512
BODIES = ("add", "sub", "mul", "div", "neg", "reciprocal", "conj_physical", "square", "abs")
PARTS = {"complex64": "float32", "complex128": "float64"}


@triton.jit
def quotient(a, b, c, d):
    """(a + b i) / (c + d i) without an overflow on the way (Smith, 1962)."""
    wide = tl.abs(c) >= tl.abs(d)
    zero = (c == 0) & (d == 0)
    ratio = tl.where(wide, d, c) / tl.where(zero, 1.0, tl.where(wide, c, d))
    below = tl.where(wide, c + d * ratio, c * ratio + d)
    below = tl.where(zero, tl.abs(c), below)
    re = tl.where(wide, a + b * ratio, a * ratio + b) / below
    im = tl.where(wide, b - a * ratio, b * ratio - a) / below
    return re, im


@triton.jit
def length(a, b):
    """|a + b i| without an overflow on the way."""
    x, y = tl.abs(a), tl.abs(b)
    most, least = tl.maximum(x, y), tl.minimum(x, y)
    ratio = least / tl.where(most == 0, 1.0, most)
    found = most * tl.sqrt(1.0 + ratio * ratio)
    return tl.where((x == float("inf")) | (y == float("inf")), float("inf"), found)


@triton.jit
def parts(p, o, mask, number_re, number_im, KIND: tl.constexpr, TYPE: tl.constexpr):
    """Real and imaginary parts: of complex elements, of real ones, or of a number."""
    if KIND == "complex":
        q = p + (2 * o)[:, None] + tl.arange(0, 2)[None, :]  # both parts by one wide load
        re, im = tl.split(tl.load(q, mask=mask[:, None], other=0).to(TYPE))
    elif KIND == "real":
        re = tl.load(p + o, mask=mask, other=0).to(TYPE)
        im = tl.zeros_like(re)
    else:
        re = tl.zeros(o.shape, TYPE) + number_re
        im = tl.zeros(o.shape, TYPE) + number_im
    return re, im


@triton.jit
def complex_elementwise_kernel(
    p_out,  # (n0, n1, n2, n3, n4), each element two floats, or one where OP is "abs"
    p_x, p_y,  # the same; an operand that is a number is not read
    n, n1, n2, n3, n4,
    so0, so1, so2, so3, so4, sx0, sx1, sx2, sx3, sx4, sy0, sy1, sy2, sy3, sy4,
    x_re, x_im, y_re, y_im,
    OP: tl.constexpr, X: tl.constexpr, Y: tl.constexpr, TYPE: tl.constexpr,
    DENSE: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < n
    o_x = flat_offset(o, n1, n2, n3, n4, sx0, sx1, sx2, sx3, sx4, DENSE, DIMS)
    o_y = flat_offset(o, n1, n2, n3, n4, sy0, sy1, sy2, sy3, sy4, DENSE, DIMS)
    a, b = parts(p_x, o_x, m, x_re, x_im, X, TYPE)
    c, d = parts(p_y, o_y, m, y_re, y_im, Y, TYPE)
    if OP == "add":
        re, im = a + c, b + d
    elif OP == "sub":
        re, im = a - c, b - d
    elif OP == "mul":
        re, im = a * c - b * d, a * d + b * c
    elif OP == "div":
        re, im = quotient(a, b, c, d)
    elif OP == "neg":
        re, im = -a, -b
    elif OP == "reciprocal":
        re, im = quotient(tl.zeros_like(a) + 1.0, tl.zeros_like(a), a, b)
    elif OP == "conj_physical":
        re, im = a, -b
    elif OP == "square":
        re, im = a * a - b * b, 2 * a * b
    else:
        re, im = length(a, b), b
    o_out = flat_offset(o, n1, n2, n3, n4, so0, so1, so2, so3, so4, DENSE, DIMS)
    if OP == "abs":
        tl.store(p_out + o_out, re, mask=m)
    else:
        q = p_out + (2 * o_out)[:, None] + tl.arange(0, 2)[None, :]
        tl.store(q, tl.join(re, im), mask=m[:, None])


def apply(launch: Any, out: Any, inputs: tuple, body: Any, part: str) -> Any:
    """out = body(*inputs), arrays that broadcast to `out` or numbers, in floats of dtype `part`."""
    if body not in BODIES or len(inputs) > 2:
        return NotImplemented
    x, y = (*inputs, 0)[:2]
    arrays = [out] + [out if _is_number(v) else v.broadcast_to(out.shape) for v in (x, y)]
    merged = merge(out.shape, [a.strides for a in arrays])
    if len(merged) > 5:
        return NotImplemented
    dims = [(1, [0, 0, 0])] * (5 - len(merged)) + merged
    counts, strides = [n for n, _ in dims], [[s[i] for _, s in dims] for i in range(3)]
    launch(
        complex_elementwise_kernel,
        (cdiv(out.size, BLOCK),),
        [
            *(real_view(a) if a.dtype.is_complex else a for a in arrays),
            out.size, *counts[1:], *strides[0], *strides[1], *strides[2],
            *_number(x, part), *_number(y, part),
        ],
        {
            "OP": body, "X": _kind(x), "Y": _kind(y), "DIMS": max(len(merged) - 1, 1),
            "TYPE": tl.float64 if part == "float64" else tl.float32,
            "DENSE": len(merged) == 1 and all(s[-1] == 1 for s in strides),
            "WIDE": 2 * max(_last(a) for a in arrays) >= NARROW, "BLOCK": BLOCK,
        },
    )  # fmt: skip
    return None


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | complex)


def _kind(x: Any) -> str:
    return "number" if _is_number(x) else "complex" if x.dtype.is_complex else "real"


def _number(x: Any, part: str) -> list[Any]:
    value = complex(x) if _is_number(x) else 0j
    return [np.float64(v) if part == "float64" else float(v) for v in (value.real, value.imag)]


def _last(a: Any) -> int:
    """The largest offset that an element has."""
    return max(math.prod(a.shape), sum((n - 1) * abs(s) for n, s in zip(a.shape, a.strides)))
