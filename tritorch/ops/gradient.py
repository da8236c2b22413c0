"""Derivatives of sampled functions by finite differences of second order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..dtypes import DType
from ..tensor import Tensor
from .api import public
from .join import cat


def _dims(input: Tensor, dim: Any, spacing: Any) -> list[int]:
    """The dimensions to differentiate along: those named, the first ones, or all."""
    n = input._data.ndim
    if dim is None:
        if not isinstance(spacing, list | tuple):
            return list(range(n))
        if len(spacing) != n:
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
                f"equal to input.dim() = {n}, but got a list of length {len(spacing)}"
            )
        return list(range(n))
    dims = [dim] if isinstance(dim, int) else list(dim)
    wrapped = [errors.wrap_dim("gradient", d, input._data.shape) for d in dims]
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"torch.gradient: dim {dims} appears multiple times in the list of dims")
    return wrapped


def _steps(space: Any, n: int, d: int, dtype: DType) -> np.ndarray | float:
    """The distance of neighbouring points: a number where all are the same, else n - 1 of them."""
    if not isinstance(space, Tensor):
        return space
    if space._data.ndim != 1 or space._data.shape[0] != n:
        raise RuntimeError(
            f"torch.gradient expected each element of spacing to have {n} elements along dimension "
            f"{d}, but got {tuple(space.shape)}"
        )
    where = np.asarray(space.detach().cpu()._data, np.float64)  # type: ignore[attr-defined]
    return np.diff(where)


def _inner_weights(h: Any, n: int) -> tuple[Any, Any, Any]:
    """What the point before, the point itself and the next one count in the derivative there.

    Source: Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", 1988.
    """
    if not isinstance(h, np.ndarray):
        return -0.5 / h, 0.0, 0.5 / h
    before, after = h[:-1], h[1:]
    total = before + after
    return -after / (before * total), (after - before) / (before * after), before / (after * total)


def _edge_weights(h: Any, order: int, first: bool) -> tuple[float, ...]:
    """The weights of the two or three points at an edge, from the edge inward."""
    if isinstance(h, np.ndarray):
        a, b = (h[0], h[1] if order == 2 else 0) if first else (h[-1], h[-2] if order == 2 else 0)
    else:
        a = b = h
    sign = 1.0 if first else -1.0
    if order == 1:
        return -sign / a, sign / a
    total = a + b
    return -sign * (a + total) / (a * total), sign * total / (a * b), -sign * a / (b * total)


def _along(x: Any, h: Any, d: int, order: int) -> Tensor:
    n = x.shape[d]

    def part(start: int, length: int) -> Any:
        return x.narrow(d, start, length)

    def weight(w: Any) -> Any:
        if not isinstance(w, np.ndarray):
            return w
        shape = [-1 if k == d else 1 for k in range(x.ndim)]
        return x.new_tensor(w.tolist()).reshape(shape)

    ends = []
    for first in (True, False):
        found: Any = 0
        for k, w in enumerate(_edge_weights(h, order, first)):
            found = found + float(w) * part(k if first else n - 1 - k, 1)
        ends.append(found)
    low, mid, high = (weight(w) for w in _inner_weights(h, n))
    inner = low * part(0, n - 2) + high * part(2, n - 2)
    if isinstance(h, np.ndarray):
        inner = inner + mid * part(1, n - 2)
    return cat([ends[0], inner, ends[1]], d)


@public(method=False)
def gradient(
    input: Tensor, *, spacing: Any = 1, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivative along each dimension of a function known at grid points.

    Central differences inside, one-sided ones of order `edge_order` (1 or 2) at the edges.
    `spacing` is the distance of points, for all dimensions or one for each, or tensors with their
    coordinates along each. Integers give the default dtype.

    Example:
        >>> import tritorch as torch
        >>> torch.gradient(torch.tensor([1.0, 4.0, 9.0, 16.0]))
        (tensor([3., 4., 6., 7.]),)
    """
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and 2, got {edge_order}")
    x: Any = input
    errors.check_dtype("gradient", x.dtype, "integral", "floating", "complex")
    if x.dtype.category < 2:
        x = x.to(dtypes.get_default_dtype())
    dims = _dims(x, dim, spacing)
    spaces = list(spacing) if isinstance(spacing, list | tuple) else [spacing] * len(dims)
    if len(spaces) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected one spacing for each of the {len(dims)} dimensions, got "
            f"{len(spaces)}"
        )
    found = []
    for d, space in zip(dims, spaces, strict=True):
        n = x.shape[d]
        if n < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1 = "
                f"{edge_order + 1}, but dimension {d} has size {n}"
            )
        found.append(_along(x, _steps(space, n, d, x.dtype), d, edge_order))
    return tuple(found)
