"""How reductions walk an array as (M, N): blocks, parts, and the loads of a block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import triton
import triton.language as tl

from ._index import MAX_GROUPS, REAL, both, group, is_wide, of_rows, offset, spread


@triton.jit
def load_block(
    p,  # (M, N)
    o_m,
    m_m,
    o_n,
    hi,
    r1,
    r2,
    r3,
    x0,
    x1,
    x2,
    x3,
    RD: tl.constexpr,
    OUTER: tl.constexpr,
    MASK_M: tl.constexpr,
    MASK_N: tl.constexpr,
):
    """Elements at row offsets o_m and columns o_n, 0 outside."""
    o = spread(o_m, offset(o_n, r1, r2, r3, x0, x1, x2, x3, RD), OUTER)
    if MASK_N:
        return tl.load(p + o, mask=both(m_m, o_n < hi, OUTER), other=0)
    elif MASK_M:
        return tl.load(p + o, mask=of_rows(m_m, OUTER), other=0)
    else:
        return tl.load(p + o)


class Plan(NamedTuple):
    """How an (M, N) reduction is cut in blocks and parts."""

    m: int
    n: int
    parts: int
    chunk: int
    ints: tuple[int | None, ...]
    constants: dict[str, Any]
    masks: dict[str, bool]  # the constants of the kernels that tell whole strips from tails
    warps: int

    @property
    def grid(self) -> tuple[int, int]:
        return triton.cdiv(self.m, self.constants["BLOCK_M"]), self.parts


@lru_cache(maxsize=4096)
def plan_for(
    shape: tuple,
    strides: tuple,
    dims: tuple,
    itemsize: int,
    sms: int,
    ordered: bool = False,
    per_row: int = 0,
) -> Plan | None:
    """The plan to reduce operands of one shape, `strides` those of each; None for too many runs.

    `ordered` keeps the order of `dims`, else they are walked as they lie in memory. The last
    `per_row` operands do not change along `dims`, and get no strides there.
    """
    kept = [d for d in range(len(shape)) if d not in dims]
    reduced = sorted(dims) if ordered else sorted(dims, key=lambda d: -abs(strides[0][d]))
    rows, cols = group(shape, strides, kept), group(shape, strides, reduced)
    if max(len(rows.sizes), len(cols.sizes)) > MAX_GROUPS:
        return None
    m, n = rows.size, cols.size
    outer = m > 1 and abs(rows.inner()) < abs(cols.inner())
    block_m, block_n, warps = blocks(m, n, itemsize, outer)
    parts, chunk = _parts(triton.cdiv(m, block_m), n, block_n, sms)
    constants = {
        "KD": rows.depth,
        "RD": cols.depth,
        "OUTER": outer,
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "WIDE": is_wide(max(m * parts, n), rows, cols),
    }
    masks = {"MASK_M": m % block_m != 0, "FULL": n >= block_n, "TAIL": n % block_n != 0}
    varying = 3 + 4 * (len(strides) - per_row)
    ints = (*rows.ints(), *cols.ints()[:varying])
    return Plan(m, n, parts, chunk, ints, constants, masks, warps)


def blocks(m: int, n: int, itemsize: int, outer: bool) -> tuple[int, int, int]:
    """Rows and columns of a block, and warps: 64 bytes a thread."""
    elements = min(8192 // itemsize, 4096)
    rows, cols = triton.next_power_of_2(max(m, 1)), triton.next_power_of_2(max(n, 1))
    if outer:
        block_m = min(rows, max(256 // itemsize, elements // cols))
        return block_m, min(cols, max(elements // block_m, 1)), 4
    if n >= 4 * elements:
        return 1, 2 * elements, 8
    block_n = min(cols, elements)
    return min(rows, elements // block_n), block_n, 4


def _parts(programs: int, n: int, block_n: int, sms: int) -> tuple[int, int]:
    """In how many parts of what length N is cut, so that every multiprocessor has work."""
    strips = triton.cdiv(n, block_n)
    parts = min(strips // 4, triton.cdiv(8 * sms, max(programs, 1)), 1024)
    if parts < 2:
        return 1, max(n, 1)
    chunk = triton.cdiv(strips, parts) * block_n
    return triton.cdiv(n, chunk), chunk


def plan_of(
    launch: Any, x: Any, dims: Sequence[int], ordered: bool = False, itemsize: int = 0
) -> Plan | None:
    """The plan of a reduction of `x`; None where its layout or dtype is not served.

    `itemsize` is that of the elements in registers, where it decides how large blocks may be.
    """
    if x.dtype.name not in REAL:
        return None
    size = max(itemsize, x.itemsize)
    return plan_for(x.shape, (x.strides,), tuple(dims), size, launch.target.sms, ordered)


def whole(part: Any) -> Plan:
    """The plan that reduces (parts, M) over parts at once."""
    plan = plan_for(part.shape, (part.strides,), (0,), part.itemsize, 0)
    assert plan is not None
    return plan
