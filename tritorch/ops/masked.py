"""`torch.masked`: reductions, softmax and norms of the elements where a mask is true.

Elements where the mask is false take part as the value that leaves the result as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..dtypes import DType
from ..tensor import Tensor
from . import arithmetic, extremes, linalg_norm, reduce, scan, softmax as _softmax
from .api import SPACES, explained
from .reduce import Dims, all_dims, cast


def _lowest(dtype: DType) -> Any:
    return -math.inf if dtype.category == 2 else dtypes.iinfo(dtype).min


def _highest(dtype: DType) -> Any:
    return math.inf if dtype.category == 2 else dtypes.iinfo(dtype).max


def _check_mask(name: str, x: Tensor, mask: Any) -> Any:
    """The mask as bools that broadcast to the shape of `x`."""
    if mask._data.ndim > x._data.ndim:
        raise IndexError(
            f"{name}: _input_mask expected broadcastable mask (got mask dimensionality higher than "
            f"of the input): mask {tuple(mask.shape)}, input {tuple(x.shape)}"
        )
    return mask.bool().expand(x.shape)


def _filled(name: str, x: Any, mask: Any, identity: Callable[[DType], Any]) -> Any:
    """`x` with the identity of an operation where the mask is false."""
    if mask is None:
        return x
    kept = _check_mask(name, x, mask)
    if x.dtype.category == 0 and identity in (_lowest, _highest):
        raise NotImplementedError(f"{name}: identity of {name} on {x.dtype} input")
    return x.masked_fill(~kept, identity(x.dtype))


def _masked(name: str) -> Callable[[Callable], Callable]:
    def publish(f: Callable) -> Callable:
        f.__name__ = f.__qualname__ = name
        SPACES["masked"][name] = explained(f)
        return f

    return publish


# -- sums, products, extremes ----------------------------------------------------------------------


def _reduction(name: str, run: Callable, identity: Callable, wide: bool) -> Callable:
    def function(
        input: Tensor,
        dim: Dims = None,
        *,
        keepdim: bool = False,
        dtype: DType | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        default = dtypes.int64 if wide and input.dtype.category < 2 else input.dtype
        x = cast(input, dtype) if wide else input
        out: Any = run(_filled(name, x, mask, identity), dim, keepdim)
        return out.to(default if dtype is None else dtype)

    function.__doc__ = (
        f"`{name}` over `dim` (one, several, or all) of the elements where `mask` is true.\n\n"
        "    The mask broadcasts to the input."
    )
    return _masked(name)(function)


def _prod(x: Any, dim: Dims, keepdim: bool) -> Any:
    return reduce.prod_op(x, dims=all_dims("prod", x, dim), keepdim=keepdim)


sum = _reduction("sum", reduce.sum, lambda d: 0, wide=True)
prod = _reduction("prod", _prod, lambda d: 1, wide=True)
amax = _reduction("amax", lambda *a: extremes.amax(*_all(a)), _lowest, wide=False)
amin = _reduction("amin", lambda *a: extremes.amin(*_all(a)), _highest, wide=False)
argmax = _reduction("argmax", extremes.argmax, _lowest, wide=False)
argmin = _reduction("argmin", extremes.argmin, _highest, wide=False)


def _all(arguments: tuple) -> tuple:
    x, dim, keepdim = arguments
    return x, () if dim is None else dim, keepdim


def _running(name: str, run: Callable, identity: Any) -> None:
    def function(
        input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
    ) -> Tensor:
        kind = input.dtype if dtype is None else dtype
        return run(_filled(name, input, mask, lambda d: identity), dim, dtype=kind)

    function.__doc__ = f"`{name}` along `dim`; where `mask` is false nothing is added."
    _masked(name)(function)


_running("cumsum", scan.cumsum, 0)
_running("cumprod", scan.cumprod, 1)


# -- softmax and logarithms of sums ----------------------------------------------------------------


def _normalising(name: str, run: Callable, identity: Callable) -> None:
    def function(
        input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None
    ) -> Tensor:
        return run(_filled(name, cast(input, dtype), mask, identity), dim)

    function.__doc__ = f"`{name}` along `dim` over the elements where `mask` is true."
    _masked(name)(function)


_normalising("softmax", _softmax.softmax, _lowest)
_normalising("log_softmax", _softmax.log_softmax, _lowest)
_normalising("softmin", lambda x, dim: _softmax.softmax(-x, dim), _highest)


@_masked("logsumexp")
def logsumexp(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """`log(sum(exp(x)))` over `dim` of the elements where `mask` is true."""
    x = _filled("logsumexp", input, mask, _lowest)
    out: Any = reduce.logsumexp(x, all_dims("logsumexp", x, dim), keepdim)
    return out.to(input.dtype if dtype is None else dtype)


@_masked("logaddexp")
def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: DType | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """`log(exp(input) + exp(other))`; a side counts nothing where its mask is false."""
    x = _filled("logaddexp", input, input_mask, _lowest)
    y = _filled("logaddexp", other, other_mask, _lowest)
    return arithmetic.logaddexp(x, y).to(input.dtype if dtype is None else dtype)


# -- means, medians, variances ---------------------------------------------------------------------


def _count(name: str, x: Any, mask: Any, dim: Dims) -> Any:
    """How many elements of each line take part; dimensions stay."""
    kept = x.new_ones(x.shape, dtype=dtypes.int64) if mask is None else _check_mask(name, x, mask)
    return reduce.sum(kept, dim, True)


@_masked("mean")
def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean over `dim` of the elements where `mask` is true; NaN where there are none."""
    if (input if dtype is None else cast(input, dtype)).dtype.category < 2:
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input.dtype}"
        )
    x: Any = cast(input, dtype)
    total = reduce.sum(_filled("mean", x, mask, lambda d: 0), dim, keepdim)
    return total / _count("mean", x, mask, dim).reshape(total.shape)


@_masked("median")
def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The lower median along `dim` of the elements where `mask` is true; NaN where there are none.

    ValueError where there are none in a line of integers.
    """
    x: Any = input if input.dtype.category == 2 else input.to(dtypes.float32)  # type: ignore
    out: Any = extremes.nanmedian(_filled("median", x, mask, lambda d: math.nan), dim, keepdim)[0]
    if x is input:
        return out
    if bool(out.isnan().any()):
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point, got "
            f"{input.dtype} of shape {tuple(input.shape)}"
        )
    return out.to(input.dtype if dtype is None else dtype)


def _spread(name: str, root: bool) -> None:
    def function(
        input: Tensor,
        dim: Dims = None,
        unbiased: bool | None = None,
        *,
        correction: float | None = None,
        keepdim: bool = False,
        dtype: DType | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        if unbiased is not None and correction is not None:
            raise RuntimeError(f"{name}: only one of unbiased and correction can be given")
        less = float(1 if unbiased is None else unbiased) if correction is None else correction
        kind = dtype or (input.dtype if input.dtype.category > 1 else dtypes.float32)
        x: Any = input if input.dtype.category > 1 else input.to(kind)  # type: ignore
        n = _count(name, x, mask, dim)
        apart = x - reduce.sum(_filled(name, x, mask, lambda d: 0), dim, True) / n
        squares = _filled(name, apart * apart.conj(), mask, lambda d: 0)
        out: Any = reduce.sum(squares, dim, keepdim)
        free = (n.to(dtypes.float64 if kind is dtypes.float64 else dtypes.float32) - less).clamp(
            min=0
        )
        out = (out / free.reshape(out.shape)).to(kind)
        return out.sqrt() if root else out

    what = "standard deviation" if root else "variance"
    function.__doc__ = f"""The {what} over `dim` of the elements where `mask` is true.

    What divides is their number less `correction`: 1, or 0 for `unbiased=False`.
    """
    _masked(name)(function)


_spread("var", root=False)
_spread("std", root=True)


# -- norms -----------------------------------------------------------------------------------------


@_masked("norm")
def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The vector norm of order `ord` over `dim` of the elements where `mask` is true."""
    order = 2.0 if ord is None else ord
    x = _filled("norm", input, mask, lambda d: 0 if order >= 0 else math.inf)
    return linalg_norm.vector_norm(x, order, dim, keepdim, dtype=dtype)


@_masked("normalize")
def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The elements where `mask` is true, over the larger of `eps` and their norm along `dim`."""
    size: Any = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    x = _filled("normalize", cast(input, dtype), mask, lambda d: 0)
    return x / size.clamp(min=eps)
