"""Products of groups of matrices, as mixtures of experts need them."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..tensor import Tensor
from .api import FUNCTIONAL
from .join import cat, stack
from .matmul import matmul


def _ends(offs: Any, total: int, groups: int | None) -> list[tuple[int, int]]:
    """The bounds of each group in the dimension that is cut."""
    if offs is None or offs.ndim != 1 or offs.dtype.category != 1:
        raise RuntimeError(
            "grouped_mm: Have to provide offsets for 2d inputs, a vector of int32 with the end of "
            f"each group, got {None if offs is None else (tuple(offs.shape), offs.dtype)}"
        )
    ends = offs.tolist()
    if groups is not None and len(ends) != groups:
        raise RuntimeError(f"grouped_mm: expected {groups} offsets, one a matrix, got {len(ends)}")
    starts = [0, *ends[:-1]]
    if any(a > b for a, b in zip(starts, ends, strict=True)) or (ends and ends[-1] > total):
        raise RuntimeError(
            f"grouped_mm: offsets must grow up to the size {total} that is cut, got {ends}"
        )
    return list(zip(starts, ends, strict=True))


def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: DType | None = None,
) -> Tensor:
    """Products of matrices in groups, of which `offs` gives the ends.

    (M, K) and (G, K, N): rows of `mat_a` in groups, (M, N). (G, M, K) and (K, N): columns of
    `mat_b` in groups, (M, N). (M, K) and (K, N): the inner dimension in groups, (G, M, N).
    (G, M, K) and (G, K, N): products of a batch, without `offs`. Rows and columns behind the last
    group are zero.
    """
    a: Any = mat_a
    b: Any = mat_b
    if a.ndim not in (2, 3) or b.ndim not in (2, 3) or a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            "grouped_mm: expected matrices or batches of them with a common inner dimension, got "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    if bias is not None:
        raise RuntimeError("grouped_mm: Bias not supported yet")
    if out_dtype is not None and out_dtype is not a.dtype:
        raise RuntimeError(f"grouped_mm: out_dtype is that of the inputs, {a.dtype}")
    if a.ndim == b.ndim == 3:
        return matmul(a, b)
    if a.ndim == b.ndim:
        spans = _ends(offs, a.shape[1], None)
        return stack([matmul(a[:, i:j], b[i:j]) for i, j in spans])
    rows = a.ndim == 2
    total = a.shape[0] if rows else b.shape[1]
    spans = _ends(offs, total, b.shape[0] if rows else a.shape[0])
    parts = [
        matmul(a[i:j], b[k]) if rows else matmul(a[k], b[:, i:j]) for k, (i, j) in enumerate(spans)
    ]
    rest = total - (spans[-1][1] if spans else 0)
    if rest or not parts:
        parts.append(a.new_zeros((rest, b.shape[2]) if rows else (a.shape[1], rest)))
    return cat(parts, 0 if rows else 1)


FUNCTIONAL["grouped_mm"] = grouped_mm
