"""Distances between all pairs of rows."""

from __future__ import annotations

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .api import FUNCTIONAL, PUBLIC, public
from .autocast import listed
from .matmul import matmul_op, need_tensors
from .vector_norm import norm

MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)
MANY = 25  # rows from which Euclidean distances are computed through a product


def _euclidean(x: Tensor, y: Tensor) -> Tensor:
    """`sqrt(|x|^2 + |y|^2 - 2 x y)`, whose gradient is zero where the distance is."""
    squares = (x * x).sum(-1)[..., :, None] + (y * y).sum(-1)[..., None, :]
    squares = squares - 2 * matmul_op(x, y.transpose(-1, -2))
    zero = squares.detach() <= 0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


@public(out=True)
def dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of `input - other`, broadcast."""
    need_tensors("dist", input=input, other=other)
    return norm(input - other, p)


@listed
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The p-norm distance between each row of `x1` (..., P, M) and of `x2` (..., R, M)."""
    need_tensors("cdist", x1=x1, x2=x2)
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dtype.category != 2:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {x.dtype.name}"
            )
        if x._data.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    n, m = x1._data.shape[-1], x2._data.shape[-1]
    if n != m:
        raise RuntimeError(
            f"cdist: X1 and X2 must have the same number of columns. X1: {n} X2: {m}"
        )
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values, got {p}")
    if compute_mode not in MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    many = max(x1._data.shape[-2], x2._data.shape[-2]) > MANY
    if p == 2 and n and (compute_mode == MODES[1] or (compute_mode == MODES[0] and many)):
        return _euclidean(x1, x2)
    return norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


@listed
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows i < j of `input` (N, M), in that order."""
    need_tensors("pdist", input=input)
    if input._data.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if input.dtype.category != 2:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    first, second = np.triu_indices(input._data.shape[0], 1)
    i, j = (input.new_tensor(v, dtype=dtypes.int64) for v in (first, second))
    return norm(input.index_select(0, i) - input.index_select(0, j), p, -1)


PUBLIC["cdist"] = cdist
PUBLIC["pdist"] = FUNCTIONAL["pdist"] = pdist
