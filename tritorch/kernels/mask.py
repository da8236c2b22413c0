"""masked_scatter: the elements of a source, in order, where a mask is true."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ..dtypes import int64
from ._rows import NARROW, REAL, cdiv, real_view
from ._segments import SCAN_BLOCK, sort_scan_kernel
from .copy import copy
from .index import nonzero_count_kernel
from .search import dense

BLOCK = 2048


@triton.jit(do_not_specialize=["n", "size"])
def masked_scatter_kernel(
    p_out,  # (n,)
    p_mask,  # (n,)
    p_source,  # (size,)
    p_start,  # (programs,): how many true ones come before each block
    n, size,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out = the next element of the source where mask; what the source lacks is left as it is."""
    i = tl.program_id(0)
    o = (i.to(tl.int64) if WIDE else i) * BLOCK + tl.arange(0, BLOCK)
    hit = tl.load(p_mask + o, mask=o < n, other=0).to(tl.int32)
    place = tl.load(p_start + i) + tl.cumsum(hit, 0) - hit
    m = (hit != 0) & (place < size)
    tl.store(p_out + o, tl.load(p_source + place, mask=m, other=0), mask=m)


def masked_scatter(launch: Any, out: Any, x: Any, mask: Any, source: Any) -> Any:
    """out = x, and where the mask is true the elements of the source, in order."""
    if out.dtype.is_complex:
        mask = mask.broadcast_to(out.shape)
        mask = mask.strided((*out.shape, 2), (*mask.strides, 0))
        return masked_scatter(launch, real_view(out), real_view(x), mask, real_view(source))
    if out.dtype.name not in REAL:
        return NotImplemented
    to = out if out.is_contiguous() else launch.empty(out.shape, out.dtype)
    copy(launch, to, x)
    mask, source = dense(launch, mask.broadcast_to(out.shape)), dense(launch, source)
    n, programs = out.size, cdiv(out.size, BLOCK)
    wide = n >= NARROW
    counts = launch.empty((programs,), int64)
    walk = [n, 1, 1, 1, n, 0, 0, 0, 0, 1]
    constants = {"WIDE": wide, "BLOCK": BLOCK}
    launch(nonzero_count_kernel, (programs,), [counts, mask, *walk],
           {"DENSE": True, "DIMS": 1, **constants})  # fmt: skip
    launch(sort_scan_kernel, (1,), [counts, programs], {"BLOCK": SCAN_BLOCK}, num_warps=8)
    launch(masked_scatter_kernel, (programs,), [to, mask, source, counts, n, source.size],
           constants)  # fmt: skip
    if to is not out:
        copy(launch, out, to)
    return None
