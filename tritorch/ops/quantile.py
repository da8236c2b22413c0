"""Quantiles: values between the sorted elements of a line, by PyTorch's five interpolations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..tensor import Tensor, from_data
from .api import public
from .arithmetic import where
from .reduce import numpy_names
from .scatter import gather
from .sort import sort

MODES = ("linear", "lower", "higher", "midpoint", "nearest")


def _fractions(name: str, input: Tensor, q: Any) -> Tensor:
    """`q` as a tensor of the input's dtype, without dimensions or with one."""
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        return from_data(np.asarray(q, input.dtype.np)).to(input.device)  # type: ignore[attr-defined]
    if q._data.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got shape {tuple(q.shape)}")
    if q.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {q.dtype} and "
            f"{input.dtype}"
        )
    if q.device != input.device:
        raise RuntimeError(
            f"{name}() q tensor must be on the same device as the input tensor, got {q.device} and "
            f"{input.device}"
        )
    if not q.is_meta and not bool(((q.detach() >= 0) & (q.detach() <= 1)).all()):  # type: ignore
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    return q


def _between(lines: Any, ranks: Any, interpolation: str) -> Any:
    """The elements of sorted lines (..., N) at fractional ranks (..., Q)."""
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.detach().long()
    low = gather(lines, -1, below)
    if interpolation not in ("linear", "midpoint"):
        return low
    high = gather(lines, -1, ranks.detach().ceil().long())
    weight = 0 * ranks + 0.5 if interpolation == "midpoint" else ranks - below
    return low.lerp(high, weight.to(lines.dtype))


def _quantile(skip_nan: bool) -> Callable:
    name = "nanquantile" if skip_nan else "quantile"

    def function(
        input: Tensor,
        q: Any,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        interpolation: str = "linear",
    ) -> Tensor:
        x: Any = input
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"{name}() input tensor must be either float or double dtype, got {x.dtype}"
            )
        if interpolation not in MODES:
            raise RuntimeError(
                f"{name}() interpolation must be one of linear, lower, higher, midpoint or "
                f"nearest, but got {interpolation}"
            )
        d = 0 if dim is None else errors.wrap_dim(name, dim, x._data.shape)
        if not x._data.size:
            raise RuntimeError(f"{name}() input tensor must be non-empty, got {tuple(x.shape)}")
        kept = [1] * x.ndim if dim is None else [*x.shape[:d], 1, *x.shape[d + 1 :]][: x.ndim]
        at: Any = _fractions(name, input, q)
        moved = x.reshape(-1) if dim is None or not x.ndim else x.movedim(d, -1)
        lines: Any = sort(moved)[0]
        missing = lines != lines
        last = lines.shape[-1] - 1
        if skip_nan:
            count = (~missing).sum(-1, keepdim=True).to(lines.dtype)
            ranks = at * (count - 1).clamp(min=0)
        else:
            ranks = where(missing.any(-1, keepdim=True), float(last), at * last).to(lines.dtype)
        found = _between(lines, ranks.expand(*lines.shape[:-1], at.numel()), interpolation)
        found = found.movedim(-1, 0) if at.ndim else found.squeeze(-1)
        return found.reshape((*at.shape, *kept)) if keepdim else found

    function.__name__ = function.__qualname__ = name
    skipped = ", without those that are NaN" if skip_nan else "; NaN where there is one"
    function.__doc__ = f"""The q-quantiles of all elements or of those along `dim`{skipped}.

    `q` is a number in [0, 1] or a vector of them, of the input's dtype (float32 or float64), which
    is then the first dimension of the result. Between two elements `interpolation` decides:
    `linear`, `lower`, `higher`, `midpoint` or `nearest`.

    Example:
        >>> import tritorch as torch
        >>> torch.{name}(torch.tensor([1.0, 2.0, 4.0]), 0.75)
        tensor(3.)
    """
    return public(out=True)(numpy_names(function))


quantile = _quantile(False)
nanquantile = _quantile(True)
