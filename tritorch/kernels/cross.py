"""Cross products of vectors of length 3 along one dimension of arrays with any strides."""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from ._rows import FLOATS, NARROW, SIGNED, cdiv, flat_offset, merge

BLOCK = 512


@triton.jit
def element(p, o, mask, WIDEN: tl.constexpr):
    """What is loaded, 16-bit floats in float32."""
    x = tl.load(p + o, mask=mask, other=0)
    return x.to(tl.float32) if WIDEN else x


@triton.jit
def cross_kernel(
    p_out, p_a, p_b,  # (n0, n1, n2, n3, n4), and the dimension of 3, `to`, `ta` and `tb` apart
    n, n1, n2, n3, n4, to, ta, tb,
    so0, so1, so2, so3, so4, sa0, sa1, sa2, sa3, sa4, sb0, sb1, sb2, sb3, sb4,
    DENSE: tl.constexpr, DIMS: tl.constexpr, WIDE: tl.constexpr, WIDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0)
    if WIDE:
        i = i.to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < n
    o_a = flat_offset(o, n1, n2, n3, n4, sa0, sa1, sa2, sa3, sa4, DENSE, DIMS)
    o_b = flat_offset(o, n1, n2, n3, n4, sb0, sb1, sb2, sb3, sb4, DENSE, DIMS)
    a0, b0 = element(p_a, o_a, m, WIDEN), element(p_b, o_b, m, WIDEN)
    a1, b1 = element(p_a, o_a + ta, m, WIDEN), element(p_b, o_b + tb, m, WIDEN)
    a2, b2 = element(p_a, o_a + 2 * ta, m, WIDEN), element(p_b, o_b + 2 * tb, m, WIDEN)
    q = p_out + flat_offset(o, n1, n2, n3, n4, so0, so1, so2, so3, so4, DENSE, DIMS)
    tl.store(q, (a1 * b2 - a2 * b1).to(p_out.dtype.element_ty), mask=m)
    tl.store(q + to, (a2 * b0 - a0 * b2).to(p_out.dtype.element_ty), mask=m)
    tl.store(q + 2 * to, (a0 * b1 - a1 * b0).to(p_out.dtype.element_ty), mask=m)


def cross(launch: Any, out: Any, a: Any, b: Any, *, dim: int) -> Any:
    """out = a x b along `dim`; the other dimensions broadcast."""
    if out.dtype.name not in (*FLOATS, *SIGNED, "uint8"):
        return NotImplemented
    arrays = [out, a.broadcast_to(out.shape), b.broadcast_to(out.shape)]
    turns = [x.strides[dim] for x in arrays]
    rest = [[s for d, s in enumerate(x.strides) if d != dim] for x in arrays]
    shape = [n for d, n in enumerate(out.shape) if d != dim]
    merged = merge(shape, rest)
    if len(merged) > 5:
        return NotImplemented
    n, dims = math.prod(shape), [(1, [0, 0, 0])] * (5 - len(merged)) + merged
    strides = [s[i] for i in range(3) for _, s in dims]
    reach = max(sum((m - 1) * s for m, s in zip(x.shape, x.strides)) for x in arrays)
    launch(
        cross_kernel,
        (cdiv(n, BLOCK),),
        [*arrays, n, *(m for m, _ in dims[1:]), *turns, *strides],
        {
            "DENSE": len(merged) == 1 and all(s == 1 for s in merged[0][1]),
            "DIMS": max(len(merged) - 1, 1), "WIDE": max(reach, n) >= NARROW,
            "WIDEN": out.dtype.name in ("float16", "bfloat16"), "BLOCK": BLOCK,
        },
    )  # fmt: skip
    return None
