"""Products of groups of matrices, as mixtures of experts need them.

On the CPU the ends of the groups are checked; on a device that would wait for it, and they are
taken as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors
from ..dtypes import DType
from ..op import fused
from ..runtime import host
from ..tensor import Tensor
from .api import FUNCTIONAL, public
from .join import cat, stack
from .matmul import adjoint, matmul, same_dtype
from .matmul_host import product

NAME = "grouped_mm"
FLOATS = ("float16", "bfloat16", "float32", "float64")


def _check(a: Tensor, b: Tensor, offs: Any) -> DType:
    """The dtype of a call that is in order."""
    x, y = a._data.shape, b._data.shape
    if len(x) not in (2, 3) or len(y) not in (2, 3) or x[-1] != y[-2]:
        raise RuntimeError(
            f"{NAME}: expected matrices or batches of them with a common inner dimension, got "
            f"{tuple(x)} and {tuple(y)}"
        )
    dtype = same_dtype(NAME, a, b)
    if dtype.name not in FLOATS:
        raise RuntimeError(f"{NAME}: expected matrices of floats, got {dtype}")
    if len(x) == len(y) == 3:
        if offs is not None or x[0] != y[0]:
            raise RuntimeError(
                f"{NAME}: expected batches of one size and no offsets, got {errors.shapes(a, b)} "
                f"and offsets {None if offs is None else tuple(offs.shape)}"
            )
    elif offs is None or offs.ndim != 1 or offs.dtype.name not in ("int32", "int64"):
        raise RuntimeError(
            f"{NAME}: Have to provide offsets for 2d inputs, a vector of int32 with the end of "
            f"each group, got {None if offs is None else (tuple(offs.shape), offs.dtype)}"
        )
    return dtype


def _meta(a: Tensor, b: Tensor, offs: Tensor) -> tuple:
    dtype = _check(a, b, offs)
    x, y, (count,) = a._data.shape, b._data.shape, offs._data.shape
    if len(x) == len(y):
        return (count, x[0], y[1]), dtype
    groups = x[0] if len(x) == 3 else y[0]
    if groups != count:
        raise RuntimeError(f"{NAME}: expected {groups} offsets, one a matrix, got {count}")
    return (x[-2], y[-1]), dtype


def _spans(a: Any, b: Any, offs: Any) -> list[tuple[int, int]]:
    """The bounds of each group in the dimension that is cut."""
    total = b.shape[1] if a.ndim == 3 else a.shape[b.ndim == 2]
    ends = offs.tolist()
    starts = [0, *ends[:-1]]
    if any(i > j for i, j in zip(starts, ends, strict=True)) or (ends and ends[-1] > total):
        raise RuntimeError(
            f"{NAME}: offsets must grow up to the size {total} that is cut, got {ends}"
        )
    return list(zip(starts, ends, strict=True))


def _host(a: np.ndarray, b: np.ndarray, offs: np.ndarray) -> np.ndarray:
    spans = _spans(a, b, offs)
    if a.ndim == b.ndim:
        out = host.empty((len(spans), a.shape[0], b.shape[1]), a.dtype)
        for g, (i, j) in enumerate(spans):
            out[g] = product(a[:, i:j], b[i:j])
        return out
    out = host.empty((a.shape[-2], b.shape[-1]), a.dtype)
    cut = out if a.ndim == 2 else out.T
    for g, (i, j) in enumerate(spans):
        cut[i:j] = product(a[i:j], b[g]) if a.ndim == 2 else product(a[g], b[:, i:j]).T
    cut[spans[-1][1] if spans else 0 :] = 0
    return out


def _samples(s: Any) -> list:
    def ends(*sizes: int) -> np.ndarray:
        return np.cumsum(sizes).astype(np.int32)

    return [
        s((6, 3), (2, 3, 4), ends(2, 3)),
        s((2, 4, 3), (3, 6), ends(2, 3)),
        s((4, 6), (6, 3), ends(2, 3)),
        s((5, 2), (4, 2, 3), ends(0, 4, 0, 1)),
        s((3, 5), (5, 2), ends(0, 2, 0)),
        s((2, 3, 2), (2, 0), ends(0, 0)),
        s((3, 0), (2, 0, 3), ends(1, 1)),
        s((90, 40), (3, 40, 36), ends(17, 0, 70)),
        s((3, 24, 40), (40, 90), ends(17, 0, 70)),
        s((24, 90), (90, 40), ends(17, 0, 70)),
    ]


def _left_vjp(g: Tensor, b: Tensor, offs: Tensor) -> Tensor:
    return grouped_op(g, adjoint(b), offs)


def _right_vjp(g: Tensor, a: Tensor, offs: Tensor) -> Tensor:
    return grouped_op(adjoint(a), g, offs)


@fused(
    name=NAME,
    meta=_meta,
    cpu=_host,
    triton="grouped.grouped",
    vjp=(_left_vjp, _right_vjp, None),
    samples=_samples,
)
def grouped_op(a: Any, b: Any, offs: Any) -> Any:
    """(M, K) and (G, K, N), (G, M, K) and (K, N), or (M, K) and (K, N), in groups that end at
    `offs` (G,)."""
    spans = _spans(a, b, offs)
    if a.ndim == b.ndim:
        return stack([matmul(a[:, i:j], b[i:j]) for i, j in spans])
    rows = a.ndim == 2
    parts = [
        matmul(a[i:j], b[g]) if rows else matmul(a[g], b[:, i:j]) for g, (i, j) in enumerate(spans)
    ]
    rest = (a.shape[0] if rows else b.shape[1]) - (spans[-1][1] if spans else 0)
    if rest or not parts:
        parts.append(a.new_zeros((rest, b.shape[2]) if rows else (a.shape[1], rest)))
    return cat(parts, 0 if rows else 1)


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
    group are zero. The dtypes are floating-point. On a device the ends stay there, and nothing
    waits for them; they have to grow up to the size that is cut, which the CPU checks.

    Example:
        >>> import tritorch as torch
        >>> tokens, experts = torch.ones(3, 2), torch.tensor([[[1.0], [1.0]], [[5.0], [5.0]]])
        >>> ends = torch.tensor([1, 3], dtype=torch.int32)
        >>> torch.nn.functional.grouped_mm(tokens, experts, offs=ends).flatten()
        tensor([ 2., 10., 10.])
    """
    _check(mat_a, mat_b, offs)
    if bias is not None:
        raise RuntimeError(f"{NAME}: Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        raise RuntimeError(f"{NAME}: out_dtype is that of the inputs, {mat_a.dtype}")
    if offs is None:
        return matmul(mat_a, mat_b)
    return grouped_op(mat_a, mat_b, offs)


FUNCTIONAL["grouped_mm"] = grouped_mm


@public(method=False)
def _grouped_mm(
    input: Tensor,
    mat2: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: DType | None = None,
) -> Tensor:
    """`grouped_mm`, as PyTorch names it at its top level. Raises as that does."""
    return grouped_mm(input, mat2, offs=offs, bias=bias, out_dtype=out_dtype)
