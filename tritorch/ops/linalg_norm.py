"""Norms of vectors and matrices as `torch.linalg` has them, and condition numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes, errors
from ..dtypes import DType
from ..tensor import Tensor
from .api import public
from .arithmetic import where
from .linalg_decompose import svdvals_op
from .linalg_host import checked
from .linalg_solve import inv_ex
from .reduce import all_dims, numpy_names
from .vector_norm import check_identity, norm_op

Dim = int | Sequence[int] | None


def _cast(name: str, x: Tensor, dtype: DType | None) -> Tensor:
    """`x` of that dtype, which must not be narrower, nor real for complex numbers."""
    if x.dtype.category < 2:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}"
        )
    if dtype is None:
        return x
    if dtype.category < 2:
        raise RuntimeError(
            f"{name}: dtype should be floating point or complex, but got {dtype.name}"
        )
    if dtype.is_complex != x.dtype.is_complex:
        kind = "complex" if x.dtype.is_complex else "real"
        raise RuntimeError(
            f"{name}: dtype should be {kind} for {kind} inputs, but got {dtype.name}"
        )
    if dtypes.promote_types(dtype, x.dtype) is not dtype:
        raise RuntimeError(
            f"{name}: the dtype of the input ({x.dtype.name}) should be convertible without "
            f"narrowing to the specified dtype ({dtype.name})"
        )
    return x.to(dtype)  # type: ignore[attr-defined]


def _vector(name: str, x: Tensor, order: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    check_identity(name, x, order, dims)
    return norm_op(x, p=float(order), dims=dims, keepdim=keepdim)


@public(out=True, space="linalg")
@numpy_names
def vector_norm(
    input: Tensor,
    ord: float = 2,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """`sum(|x|^ord)^(1/ord)` over `dim`; the largest size for `inf`, the smallest for `-inf`, the
    number of non-zeros for 0. Without `dim`, of all elements. The result is real.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.vector_norm(torch.tensor([3.0, -4.0]))
        tensor(5.)
    """
    name = "linalg.vector_norm"
    if isinstance(ord, complex):
        raise RuntimeError(f"{name}: Expected a non-complex scalar as the order of norm.")
    if not isinstance(ord, int | float):
        raise TypeError(f"{name}(): argument 'ord' must be Number, not {type(ord).__name__}")
    input = _cast(name, input, dtype)
    return _vector(name, input, ord, all_dims(name, input, dim), keepdim)


def _two_dims(name: str, a: Tensor, dim: Any) -> tuple[int, int]:
    if isinstance(dim, int):
        raise TypeError(f"{name}(): argument 'dim' must be tuple of ints, not int")
    if len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {tuple(dim)}")
    first, second = (errors.wrap_dim(name, d, a._data.shape) for d in dim)
    if first == second:
        raise RuntimeError(f"{name}: dims must be different. Got {tuple(dim)}")
    return first, second


def _matrix(name: str, a: Tensor, order: Any, dim: Any, keepdim: bool) -> Tensor:
    if a._data.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor A must have at least 2 dimensions, got {tuple(a.shape)}"
        )
    first, second = _two_dims(name, a, dim)
    if order == "fro":
        return norm_op(a, p=2.0, dims=tuple(sorted((first, second))), keepdim=keepdim)
    if order == "nuc" or (not isinstance(order, str) and abs(order) == 2):
        out = _spectral(name, a, order, first, second)
    elif not isinstance(order, str) and abs(order) in (1, math.inf):
        out = _sums(name, a, order, first, second)
    else:
        raise RuntimeError(f"{name}: Order {order} not supported.")
    if not keepdim:
        return out
    for d in sorted((first, second)):
        out = out.unsqueeze(d)  # type: ignore[attr-defined]
    return out


def _extreme(x: Tensor, largest: bool) -> Tensor:
    """Over the last dimension; the largest of none is 0."""
    if not largest:
        return x.amin(-1)  # type: ignore[attr-defined]
    return x.amax(-1) if x._data.shape[-1] else x.sum(-1)  # type: ignore[attr-defined]


def _spectral(name: str, a: Tensor, order: Any, first: int, second: int) -> Tensor:
    """The sum, the largest or the smallest of the singular values."""
    rest = [d for d in range(a._data.ndim) if d not in (first, second)]
    s = svdvals_op(checked(name, a.permute((*rest, first, second))))  # type: ignore[attr-defined]
    return s.sum(-1) if order == "nuc" else _extreme(s, order > 0)


def _sums(name: str, a: Tensor, order: float, first: int, second: int) -> Tensor:
    """The largest or the smallest sum of sizes, of columns for 1, of rows for inf."""
    over, rest = (first, second) if abs(order) == 1 else (second, first)
    sums = norm_op(a, p=1.0, dims=(over,), keepdim=False)
    return _extreme(sums.movedim(rest - (over < rest), -1), order > 0)


@public(out=True, space="linalg")
@numpy_names
def matrix_norm(
    input: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """A norm of matrices: of the singular values for "fro" (squares), "nuc" (sum), 2 (largest), -2
    (smallest); the largest or smallest sum of sizes of a column for 1 and -1, of a row for inf
    and -inf. The result is real.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.matrix_norm(torch.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
        tensor(6.)
    """
    name = "linalg.matrix_norm"
    return _matrix(name, _cast(name, input, dtype), ord, dim, keepdim)


@public(out=True, space="linalg")
@numpy_names
def norm(
    input: Tensor,
    ord: float | str | None = None,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """`matrix_norm` where `dim` is a pair, or `ord` is given for a matrix; else `vector_norm`.

    Without `ord` it is the square root of the sum of squares.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.norm(torch.ones(2, 2))
        tensor(2.)
    """
    name = "linalg.norm"
    dims = (dim,) if isinstance(dim, int) else dim
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(
            f"{name}: If dim is specified, it must be of length 1 or 2. Got {list(dims)}"
        )
    n = input._data.ndim
    if dims is None and ord is not None and n not in (1, 2):
        raise RuntimeError(
            f"{name}: If dim is not specified but ord is, the input must be 1D or 2D. Got {n}D."
        )
    x = _cast(name, input, dtype)
    if isinstance(ord, str) or (ord is not None and (n == 2 if dims is None else len(dims) == 2)):
        return _matrix(name, x, ord, (0, 1) if dims is None else dims, keepdim)
    return _vector(name, x, 2 if ord is None else ord, all_dims(name, x, dims), keepdim)


@public(out=True, space="linalg")
def cond(input: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number `|A| |A^-1|` in a norm of `matrix_norm`; inf of singular matrices.

    For None and 2 it is the largest singular value over the smallest, of matrices `(..., m, n)`;
    for -2 its inverse. Else they have to be square.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.cond(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor(2.)
    """
    name = "linalg.cond"
    if input._data.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor must have at least 2 dimensions, got {tuple(input.shape)}"
        )
    if p not in (None, 1, -1, 2, -2, math.inf, -math.inf, "fro", "nuc"):
        raise RuntimeError(f"{name} got an invalid norm type: {p}")
    spectral = p in (None, 2, -2)
    which = name if spectral else f"{name}(ord={p})"
    a = checked(which, input, square=isinstance(p, str))
    if not a._data.size:
        return a.new_zeros(a._data.shape[:-2], dtype=a.dtype.to_real())  # type: ignore[attr-defined]
    if spectral:
        s = svdvals_op(a)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    inverse, info = inv_ex(checked(which, a, square=True))
    product = _matrix(name, a, p, (-2, -1), False) * _matrix(name, inverse, p, (-2, -1), False)
    return product.masked_fill(info > 0, math.inf)  # type: ignore[attr-defined]


# -- torch's own -----------------------------------------------------------------------------------


@public(method=False, out=True)
def frobenius_norm(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares over one or two dimensions."""
    x = _cast("frobenius_norm", input, None)
    return _vector("frobenius_norm", x, 2, all_dims("frobenius_norm", x, dim), keepdim)


@public(method=False, out=True)
def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """The sum of the singular values of matrices."""
    if isinstance(dim, bool):  # PyTorch's other form: (input, keepdim)
        dim, keepdim = (-2, -1), dim
    return _matrix("nuclear_norm", _cast("nuclear_norm", input, None), "nuc", dim, keepdim)


@public(out=True, inplace=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Scale down the slices along `dim` of which the p-norm exceeds `maxnorm`, to that norm.

    The result has the ordinary order of dimensions.

    Example:
        >>> import tritorch as torch
        >>> torch.renorm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 2, 0, 2.5)
        tensor([[1.5000, 2.0000],
                [0.0000, 1.0000]])
    """
    if isinstance(p, complex):
        raise RuntimeError("renorm: p must be real-valued")
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got p={p}")
    if isinstance(maxnorm, complex) or maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    x = input
    if x._data.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {x._data.ndim} dimensions"
        )
    d = errors.wrap_dim("renorm", dim, x._data.shape)
    others = tuple(k for k in range(x._data.ndim) if k != d)
    wide = {"float16": dtypes.float32, "bfloat16": dtypes.float32}.get(x.dtype.name)
    size = norm_op(_cast("renorm", x, wide), p=float(p), dims=others, keepdim=True)
    factor = where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)
    return (x * factor.to(x.dtype.to_real())).contiguous()  # type: ignore[operator]
