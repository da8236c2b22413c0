"""A linear layer and cross-entropy in chunks of rows: the logits of one chunk alone are in memory.

The kernels are those of matrix products and of the loss. Logits and the sums over chunks are
float32 for 16-bit inputs; the backward computes the logits of a chunk again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..dtypes import float32, float64
from ._dense import FLOATS, cdiv
from .copy import copy, fill
from .loss import TARGETS, cross_entropy_backward, cross_entropy_forward
from .matmul import linear, multiply
from .reduce import sum as sum_


def _serves(target: Any, x: Any, *others: Any) -> bool:
    same = all(o is None or o.dtype is x.dtype for o in others)
    return same and x.dtype.name in FLOATS and target.dtype.name in TARGETS


def _wide(x: Any) -> Any:
    return float64 if x.dtype.name == "float64" else float32


def _chunks(rows: int, chunk: int) -> Iterator[slice]:
    for start in range(0, rows, chunk):
        yield slice(start, min(start + chunk, rows))


def forward(
    launch: Any, out: tuple[Any, Any], x: Any, w: Any, target: Any, bias: Any = None, *,
    ignore_index: int, chunk: int,
) -> Any:  # fmt: skip
    """x (N, E), w (C, E), target (N), bias (C) or None -> the losses (N) and log-sum-exps (N)."""
    loss, lse = out
    if not _serves(target, x, w, bias):
        return NotImplemented
    rows, wide = x.shape[0], _wide(x)
    logits, total = launch.empty((min(chunk, rows), w.shape[0]), wide), launch.empty((), wide)
    how = {"dim": 1, "ignore_index": ignore_index, "smoothing": 0.0, "reduction": "none"}
    for part in _chunks(rows, chunk):
        z = logits[: part.stop - part.start]
        linear(launch, z, x[part], w, bias)
        to = loss[part], lse[part], total
        cross_entropy_forward(launch, to, z, target[part], None, **how)
    return None


def backward(
    launch: Any, out: tuple[Any, Any, Any], g: Any, x: Any, w: Any, target: Any, bias: Any,
    lse: Any, *, ignore_index: int, chunk: int,
) -> Any:  # fmt: skip
    """The gradients of x, w and bias from g (N), that of the losses."""
    gx, gw, gb = out
    if not _serves(target, x, w, bias, g):
        return NotImplemented
    (rows, _), classes, wide = x.shape, w.shape[0], _wide(x)
    if not rows:
        fill(launch, gw, value=0)
        return fill(launch, gb, value=0)
    shape = (min(chunk, rows), classes)
    logits = launch.empty(shape, wide)
    slopes = logits if x.dtype is wide else launch.empty(shape, x.dtype)
    sums = gw if x.dtype is wide else launch.empty(gw.shape, wide)
    biases = None if bias is None else launch.empty((cdiv(rows, chunk), classes), wide)
    how = {"dim": 1, "ignore_index": ignore_index, "smoothing": 0.0, "reduction": "none"}
    for i, part in enumerate(_chunks(rows, chunk)):
        n = part.stop - part.start
        z, dz = logits[:n], slopes[:n]
        linear(launch, z, x[part], w, bias)
        given = g[part], z, target[part], None, lse[part], None
        cross_entropy_backward(launch, dz, *given, **how)
        multiply(launch, gx[part], dz, w, None, 1, 0, "ieee")
        before = sums if i else None
        multiply(launch, sums, dz.transpose((1, 0)), x[part], before, 1, 1, "ieee")
        if biases is not None:
            sum_(launch, biases[i], dz, dims=(0,))
    if sums is not gw:
        copy(launch, gw, sums)
    if biases is not None:
        sum_(launch, gb, biases, dims=(0,))
    return None
