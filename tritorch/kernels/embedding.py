"""Embedding: rows picked by an index; the backward adds the gradients of each row in order."""

from __future__ import annotations

from typing import Any

from . import _segments
from ._indices import key_pass, merged, takes
from .copy import fill
from .index import pick


def forward(launch: Any, out: Any, weight: Any, index: Any) -> Any:
    """out[..., :] = weight[index[...]]; weight is (rows, D), out is (*index.shape, D)."""
    if not takes(index, out, weight):
        return NotImplemented
    row = (0,) * index.ndim
    base = weight.strided(out.shape, (*row, weight.strides[1]))
    wide = index.strided(out.shape, (*index.strides, 0))
    pick(launch, out, base, wide, weight.shape[0], weight.strides[0])
    return None


def backward(
    launch: Any, out: Any, g: Any, index: Any, *, num: int | None = None,
    padding_idx: int | None = None, scale_grad_by_freq: bool = False,
) -> Any:  # fmt: skip
    """out[r] = the sum (with scale_grad_by_freq the mean) of g[...] where index[...] is r.

    Sorted by row, without atomics; `padding_idx` gets zeros. `num` is out.shape[0].
    """
    if not takes(index, out, g) or out.dtype.is_complex:
        return NotImplemented
    fill(launch, out, value=0)
    if g.size == 0 or out.size == 0:
        return None
    rows = out.shape[0]
    keys = launch.empty(index.shape, index.dtype)
    skip = rows if padding_idx is None else padding_idx % rows
    key_pass(launch, keys, index, (0,) * index.ndim, rows, 1, rows, skip)
    row = out.strided(out.shape[1:], out.strides[1:])
    src = merged(launch, g, index.ndim)
    reduce = "mean" if scale_grad_by_freq else "add"
    keys = keys.reshape((keys.size,))
    _segments.accumulate(launch, row, src, keys, rows, out.strides[0], reduce, keep=False)
    return None
