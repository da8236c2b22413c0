"""Distinct elements, counts and membership on a device, by sorting and bisection."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor
from .create import full, ones, zeros
from .embedding import search_op
from .index import index_op
from .join import cat
from .positions import nonzero
from .ranges import arange
from .scan import cumsum


def served(x: Tensor) -> bool:
    """Whether a tensor lies on a device that sorts elements of its dtype."""
    d = x.dtype
    return x.is_cuda and not d.is_complex and not (d.is_floating_point and d.itemsize == 1)


def runs(values: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Of equal neighbours in a vector: their values, the run of each element, and lengths."""
    n, device = values.numel(), values.device
    first = ones(min(n, 1), dtype=dtypes.bool_, device=device)
    begins = cat([first, values[1:] != values[:-1]]) if n else first
    (at,) = nonzero(begins, as_tuple=True)
    end = full((1,), n, dtype=dtypes.int64, device=device)
    lengths = cat([at[1:], end]) - at if n else at
    return index_op(values, at, dims=(0,)), cumsum(begins, 0) - 1, lengths


def counts_below(places: Any, n: int) -> Any:
    """How often each number from 0 to n - 1 occurs in a vector of int64."""
    bounds = arange(n + 1, dtype=dtypes.int64, device=places.device)
    found: Any = search_op(places.sort()[0], bounds, right=False, dtype=dtypes.int64)
    return found[1:] - found[:-1]


def among(elements: Any, tests: Any) -> Tensor:
    """Which elements are among the tests; both of one dtype."""
    n = tests.numel()
    if not n or not elements.numel():
        return zeros(elements.shape, dtype=dtypes.bool_, device=elements.device)
    table = tests.reshape(-1).sort()[0]
    at: Any = search_op(table, elements, right=False, dtype=dtypes.int64)
    return index_op(table, at.clamp(max=n - 1), dims=(0,)) == elements  # type: ignore[return-value]
