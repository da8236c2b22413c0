"""Bags of embeddings: rows of a table summed, averaged or maximised in groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor, from_data
from .api import FUNCTIONAL, PUBLIC
from .arithmetic import where
from .embedding import embedding_op, renormalise
from .join import cat
from .python import typename
from .scatter import reduce_op


def _groups(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Any, int]:
    """The number of the bag of each index, and how many bags there are."""
    if input._data.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "embedding_bag: if input is 2D, then offsets has to be None, as input is treated "
                "as a mini-batch of fixed length sequences"
            )
        n, m = input._data.shape
        return np.repeat(np.arange(n), m), n
    if input._data.ndim != 1:
        raise ValueError(
            f"embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension "
            f"{input._data.ndim}"
        )
    if offsets is None:
        raise ValueError("embedding_bag: offsets has to be a 1D Tensor but got None")
    if offsets._data.ndim != 1:
        raise ValueError("embedding_bag: offsets has to be a 1D Tensor")
    starts = offsets.detach().cpu()._data  # type: ignore[attr-defined]
    if starts.size and starts[0] != 0:
        raise RuntimeError(
            f"embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch "
            f"has to start from position 0. However, got {starts[0]}"
        )
    size = input._data.shape[0]
    if starts.size and starts[-1] > size:
        raise RuntimeError(
            f"embedding_bag: offsets[-1] can not be greater than input's length ({size}) but got "
            f"offsets[-1] of {starts[-1]}"
        )
    ends = starts[1:] if include_last_offset else np.append(starts[1:], size)
    starts = starts[: len(ends)]
    return np.repeat(np.arange(len(ends)), ends - starts), len(ends)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of `weight` at the positions `input`, put together bag by bag: `(B, D)`.

    Bags are the rows of a 2D input, or begin at `offsets` in a 1D one. `mode` is "sum", "mean" or
    "max"; an empty bag gives zeros. `per_sample_weights` scale the rows of a "sum". Rows
    `padding_idx` take no part.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("embedding_bag: mode has to be one of sum, mean or max")
    if input.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            "embedding_bag: Expected tensor for argument #1 'indices' to have one of the following "
            f"scalar types: Long, Int; but got {typename(input)} instead"
        )
    if weight.dtype.category != 2:
        raise RuntimeError(
            f"embedding_bag: expected weight to be a floating-point tensor, got {weight.dtype}"
        )
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not "
            f"None, then it must have the same shape as the input ({tuple(input.shape)})"
        )
    numbers, bags = _groups(input, offsets, include_last_offset)
    index = input.reshape(-1)[: len(numbers)]  # type: ignore[attr-defined]
    bag = from_data(np.asarray(numbers, np.int64)).to(weight.device)  # type: ignore
    factors = None if per_sample_weights is None else per_sample_weights.reshape(-1)  # type: ignore
    if padding_idx is not None:
        used = index != padding_idx % weight._data.shape[0]
        index, bag = index[used], bag[used]
        factors = None if factors is None else factors[used]
    if max_norm is not None:
        renormalise(weight, index, max_norm, norm_type)
    rows = embedding_op(
        weight, index, padding_idx=None, scale_grad_by_freq=scale_grad_by_freq and mode != "max"
    )
    if weight.itemsize < 4:
        rows = rows.to(dtypes.float32)  # type: ignore[attr-defined]
    if factors is not None:
        rows = rows * factors.unsqueeze(1)
    return _together(rows, bag, bags, mode).to(weight.dtype)  # type: ignore[attr-defined]


def _together(rows: Tensor, bag: Tensor, bags: int, mode: str) -> Tensor:
    width = rows._data.shape[1]
    zeros = rows.new_zeros((bags, width))  # type: ignore[attr-defined]
    if mode == "max":
        at = bag.unsqueeze(1).expand(-1, width)  # type: ignore[attr-defined]
        return reduce_op(zeros, at, rows, dim=0, reduce="amax", include_self=False)
    out = zeros.index_add(0, bag, rows)
    if mode == "sum":
        return out
    counts = bag.bincount(minlength=bags).clamp(min=1).to(dtypes.float32)  # type: ignore
    return out / counts.to(out.dtype).unsqueeze(1)


def _chosen(out: Tensor, rows: Tensor, index: Tensor, bag: Tensor) -> Tensor:
    """The index of the row that gave each element of a maximum: the first of those."""
    n = index._data.shape[0]
    order = from_data(np.arange(n)).to(rows.device).unsqueeze(1)  # type: ignore[attr-defined]
    hits = where(rows == out.index_select(0, bag), order, n)  # type: ignore[attr-defined]
    none = hits.new_full(tuple(out.shape), n)  # type: ignore[attr-defined]
    at = bag.unsqueeze(1).expand(-1, hits.shape[1])  # type: ignore[attr-defined]
    first = reduce_op(none, at, hits, dim=0, reduce="amin", include_self=True)
    chosen = cat([index, index.new_zeros(1)])  # type: ignore[attr-defined]  an empty bag: 0
    return chosen[first]  # type: ignore[index]


def _embedding_bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`nn.functional.embedding_bag`, with its mode as a number: 0 sum, 1 mean, 2 max.

    The result; the bag of each index; the sizes of bags; the rows that gave the maxima.
    """
    name = ("sum", "mean", "max")[mode]
    params = (None, 2.0, scale_grad_by_freq, name, sparse, per_sample_weights)
    out = embedding_bag(indices, weight, offsets, *params, include_last_offset, padding_idx)
    numbers, bags = _groups(indices, offsets, include_last_offset)
    bag = from_data(np.asarray(numbers, np.int64)).to(weight.device)  # type: ignore[attr-defined]
    if name == "sum":
        zeros = indices.new_zeros(bags)
        return out, bag if out.requires_grad else bag[:0], zeros, zeros.clone()
    index = indices.reshape(-1)[: len(numbers)]
    used = index == index if padding_idx is None else index != padding_idx % weight.shape[0]
    sizes = bag[used].bincount(minlength=bags)
    if name == "mean":
        return out, bag, sizes, sizes.clone()
    rows = weight.detach().index_select(0, index[used])
    return out, bag, sizes, _chosen(out.detach(), rows, index[used], bag[used])  # type: ignore


FUNCTIONAL["embedding_bag"] = embedding_bag
PUBLIC["embedding_bag"] = PUBLIC["_embedding_bag"] = _embedding_bag
