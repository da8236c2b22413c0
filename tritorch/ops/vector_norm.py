"""Vector norms over any dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import primitive
from ..runtime import parallel
from ..tensor import Tensor
from . import reduce_host
from .api import PUBLIC, attach, write_out
from .arithmetic import where
from .reduce import Dims, all_dims, beside, cast, reduced_shape, samples, spec, sums


def _real(d: DType) -> DType:
    return d.to_real()


def _norm_cpu(x: Any, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    if p == 2 and x.dtype.kind == "f":
        if x.size <= parallel.BIG:
            return np.sqrt(np.add.reduce(x * x, axis=dims, keepdims=keepdim))
        pieces = _squares, reduce_host.add
        return np.sqrt(reduce_host.reduce(x, dims, keepdim, *pieces))
    a = np.abs(x)
    if p in (math.inf, -math.inf):
        ufunc, start = (np.maximum, 0) if p > 0 else (np.minimum, math.inf)
        return ufunc.reduce(a, axis=dims, keepdims=keepdim, initial=start)
    if p == 0:
        return np.add.reduce(a != 0, axis=dims, keepdims=keepdim, dtype=a.dtype)
    total = sums(a if p == 1 else a**p, dims, keepdim)
    return total if p == 1 else total ** (1 / p)


def _squares(x: np.ndarray) -> np.ndarray:
    if x.shape[2] == 1 and 64 <= x.shape[1] <= reduce_host.PART:
        y = x.reshape(x.shape[:2])
        return np.vecdot(y, y)[:, None]
    return reduce_host.add(x * x)


def _norm_vjp(g: Any, x: Any, out: Any, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    shape = x._data.shape
    g, out = beside(g, shape, dims, keepdim), beside(out, shape, dims, keepdim)
    if p == 0:
        return g * x * 0
    if p == 1:
        return g * x.sgn()
    if p == 2:
        return x * where(out == 0, 0, g / out)
    a = x.abs()
    if p in (math.inf, -math.inf):
        most = (a == out) | ((a != a) & (out != out))
        return x.sgn() * where(most, g / most.sum(dims, keepdim=True), 0)
    if p < 1:
        return x.sgn() * where(x == 0, 0, a ** (p - 1)) * g * out ** (1 - p)
    scale = where(out == 0, 0, g / out ** (p - 1))
    return (x.sgn() * a ** (p - 1) if p < 2 else x * a ** (p - 2)) * scale


def _norm_samples(s: Any) -> list:
    return [
        sample
        for p in (0.0, 0.5, 1.0, 2.0, 3.0, math.inf, -math.inf)
        for sample in samples(s, lambda shape: np.asarray(s.distinct(shape) + 2.0), p=p)
    ]


@primitive(
    name="norm",
    meta=spec(_real, "norm"),
    triton="reduce.norm",
    samples=_norm_samples,
    vjp=_norm_vjp,
)
def norm_op(x: Any, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _norm_cpu(x, p=p, dims=dims, keepdim=keepdim)


def check_identity(name: str, x: Tensor, order: float, dims: tuple[int, ...]) -> None:
    """Refuse a norm of no elements that would be infinite."""
    shape = x._data.shape
    if (order < 0 or order == math.inf) and not all(shape[d] for d in dims):
        raise RuntimeError(
            f"{name}: cannot compute the {order} norm on an empty dimension of shape "
            f"{tuple(shape)} because the operation does not have an identity"
        )


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    out: Tensor | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """`sum(|x|^p)^(1/p)` over `dim`; the largest size for `inf`, the number of non-zeros for 0.

    "fro" is 2, "nuc" the sum of a matrix's singular values. Of floating-point and complex tensors;
    the result is real.
    """
    if p == "nuc":
        return _nuclear(input, dim, keepdim)
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: expected p to be a number, 'fro' or 'nuc', got {p!r}")
    x = cast(input, dtype)
    dims = all_dims("norm", x, dim)
    if x.dtype.category < 2:
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex dtypes. Got "
            f"{x.dtype.name} instead."
        )
    order = 2.0 if p in ("fro", None) else float(p)  # type: ignore[arg-type]
    check_identity("norm", x, order, dims)
    result = norm_op(x, p=order, dims=dims, keepdim=keepdim)
    return result if out is None else write_out("norm", out, result)


def _nuclear(input: Any, dim: Dims, keepdim: bool) -> Tensor:
    dims = (0, 1) if dim is None else all_dims("norm", input, dim)
    if len(dims) != 2 or input.ndim < 2:
        raise RuntimeError(
            f"norm: the nuclear norm is of two dimensions, got dim={dim} for shape "
            f"{tuple(input.shape)}"
        )
    rest = [d for d in range(input.ndim) if d not in dims]
    from .linalg_decompose import svdvals

    found = svdvals(input.permute((*rest, *dims))).sum(-1)
    return found.reshape(reduced_shape(input.shape, dims, True)) if keepdim else found


def _norm_method(
    self: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    return norm(self, p, dim, keepdim, dtype=dtype)


PUBLIC["norm"] = norm
attach("norm", _norm_method)
