"""What stands on triangular factors: LU and Cholesky, their solutions, `triangular_solve`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import joint, primitive
from ..return_types import named
from ..tensor import Tensor
from .api import attach, called, public, write_out
from .linalg_factor import exchange, lu_op, permutation, unit_lower, upper as upper_of
from .linalg_host import (
    LinAlgError,
    adjoint,
    checked,
    fail_first,
    numbers,
    same_kind,
    singular,
    spread_batches,
)
from .linalg_solve import spd, triangular_op

linalg_lu, torch_lu_unpack = (named(n, "P L U") for n in ("linalg_lu", "lu_unpack"))
linalg_lu_factor = named("linalg_lu_factor", "LU pivots")
linalg_lu_factor_ex = named("linalg_lu_factor_ex", "LU pivots info")
torch_lu_with_info = named("_lu_with_info", "LU pivots info")
torch_triangular_solve = named("triangular_solve", "solution cloned_coefficient")


# -- LU --------------------------------------------------------------------------------------------


def _factored(name: str, a: Tensor, pivot: bool) -> tuple[Tensor, Tensor, Tensor]:
    checked(name, a)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return lu_op(a)


def _check_pivot(name: str, info: Tensor) -> None:
    def text(i: int) -> str:
        return (
            f"{name}: U[{i},{i}] is zero and using it on lu_solve would result in a division by "
            "zero. If you still want to perform the factorization, consider calling "
            "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )

    try:
        fail_first(info, text)
    except LinAlgError as error:
        raise RuntimeError(str(error)) from None


@public(out=True, space="linalg")
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """`A = P L U`: a permutation, a lower triangle of unit diagonal, an upper triangle.

    `A` is `(..., m, n)`, k the smaller of both: P is `(..., m, m)`, L `(..., m, k)`, U
    `(..., k, n)`. Without `pivot` it raises on the CPU.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.lu(torch.tensor([[0.0, 2.0], [1.0, 3.0]])).U
        tensor([[1., 3.],
                [0., 2.]])
    """
    packed, pivots, _ = _factored("linalg.lu", A, pivot)
    p = permutation(pivots, packed._data.shape[-2], packed.dtype)
    return linalg_lu(p, unit_lower(packed), upper_of(packed))


@public(out=True, space="linalg")
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """L and U in one matrix, and int32 pivots: row i was exchanged with row `pivots[i] - 1`.

    Raises RuntimeError where U has a zero on its diagonal.
    """
    packed, pivots, info = _factored("linalg.lu_factor", A, pivot)
    _check_pivot("linalg.lu_factor", info)
    return linalg_lu_factor(packed, pivots)


@public(out=True, space="linalg")
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor`, and an int32 `info`: the first zero on the diagonal of U, or 0."""
    packed, pivots, info = _factored("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        _check_pivot("linalg.lu_factor_ex", info)
    return linalg_lu_factor_ex(packed, pivots, info)


@public(method=False)
@called("lu")
def _lu(
    A: Tensor, pivot: bool = True, get_infos: bool = False, out: tuple[Tensor, ...] | None = None
) -> Any:
    """`torch.linalg.lu_factor`, and `info` with `get_infos`: a tuple."""
    errors.deprecated("torch.lu", "torch.linalg.lu_factor and torch.linalg.lu_factor_ex")
    found = _factored("lu", A, pivot)
    if not get_infos:
        _check_pivot("lu", found[2])
    result = torch_lu_with_info(*found) if get_infos else tuple(found[:2])
    if out is None:
        return result
    if len(out) != len(result):
        raise TypeError(f"lu: expected tuple of {len(result)} elements but got {len(out)}")
    return type(out)(write_out("lu", o, r) for o, r in zip(out, result, strict=True))


def _lu_method(self: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """`torch.lu`."""
    return _lu(self, pivot, get_infos)


attach("lu", _lu_method)


@public(out=True, method=False)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """P, L and U from what `lu_factor` gives; what is not asked for is empty."""
    if LU_pivots.dtype is not dtypes.int32:
        raise RuntimeError(
            "lu_unpack: LU_pivots is expected to be a contiguous tensor of int32 dtype, got "
            f"{LU_pivots.dtype.name}"
        )
    p = low = up = LU_data.new_empty(0)  # type: ignore[attr-defined]
    if unpack_pivots:
        p = permutation(LU_pivots, LU_data._data.shape[-2], LU_data.dtype)
    if unpack_data:
        low, up = unit_lower(LU_data), upper_of(LU_data)
    return torch_lu_unpack(p, low, up)


def _lu_solved(
    name: str, packed: Tensor, pivots: Tensor, b: Tensor, left: bool, adjoined: bool
) -> Tensor:
    _check_factors(name, packed, pivots, b)
    n, side = packed._data.shape[-1], b._data.shape[-2 if left else -1]
    if n != side:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({n}x{n} and "
            f"{b._data.shape[-2]}x{b._data.shape[-1]})"
        )
    if not left:
        b, adjoined = adjoint(b), not adjoined
    a, b = spread_batches(name, packed, b)
    if adjoined:
        x = triangular_op(adjoint(a), b, upper=False, unit=False)
        x = exchange(pivots, triangular_op(adjoint(a), x, upper=True, unit=True), False)
    else:
        x = triangular_op(a, exchange(pivots, b, True), upper=False, unit=True)
        x = triangular_op(a, x, upper=True, unit=False)
    return x if left else adjoint(x)


def _check_factors(name: str, packed: Tensor, pivots: Tensor, b: Tensor) -> None:
    checked(name, packed, square=True, argument="LU")
    same_kind(name, packed, b)
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(
            f"{name}: pivots should be a Tensor of scalar type int32, got {pivots.dtype.name}"
        )
    if tuple(pivots._data.shape) != tuple(packed._data.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected LU.shape[:-1] and pivots.shape to be the same, but got pivots with "
            f"shape {list(pivots.shape)} and LU with {list(packed.shape)}"
        )
    if b._data.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor B must have at least 2 dimensions, got {tuple(b.shape)}"
        )


@public(out=True, space="linalg")
@called("lu_solve")
def _linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """The X of `A X = B` (or `X A = B`, or with `A^H`) from what `lu_factor` gives.

    `LU` is `(..., n, n)`, `B` `(..., n, k)`; batches broadcast.
    """
    return _lu_solved("linalg.lu_solve", LU, pivots, B, left, adjoint)


@public(out=True)
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`torch.linalg.lu_solve`, the right-hand side first."""
    return _lu_solved("lu_solve", LU_data, LU_pivots, input, True, False)


# -- Cholesky --------------------------------------------------------------------------------------


def _lower(s: Any, *shape: int) -> np.ndarray:
    return np.tril(spd(s, *shape))


def _cholesky_solve_vjp(
    g: Any, factor: Tensor, out: Tensor, upper: bool, needs: list[bool]
) -> tuple:
    gb = cholesky_solve_op(g, factor, upper=upper)
    if not needs[1]:
        return gb, None
    common = gb @ adjoint(out)
    return gb, _factor_gradient(common + adjoint(common), factor, upper)


def _factor_gradient(common: Any, factor: Any, upper: bool) -> Any:
    """That of a factor, of all its elements, as PyTorch gives it."""
    return -(factor @ common) if upper else -(common @ factor)


def _both(factor: np.ndarray, b: np.ndarray, upper: bool) -> np.ndarray:
    """`(L L^H)^-1 b`."""
    f = factor.conj().swapaxes(-1, -2) if upper else factor
    y = triangular_op.cpu(f, b, upper=False, unit=False)  # type: ignore[misc]
    return triangular_op.cpu(f.conj().swapaxes(-1, -2), y, upper=True, unit=False)  # type: ignore[misc]


@primitive(
    name="cholesky_solve",
    triton="linalg.cholesky_solve",
    meta=lambda b, factor, *, upper: (tuple(b._data.shape), b.dtype),
    vjp=joint(_cholesky_solve_vjp),
    samples=lambda s: [
        s((3, 2), _lower(s, 3, 3), upper=False, smooth=False),  # one triangle is read
        s((2, 2, 1), _lower(s, 2, 2, 2).swapaxes(-1, -2).copy(), upper=True, smooth=False),
        s((0, 2, 1), (0, 2, 2), upper=False),
        s((0, 2), (0, 0), upper=True),
    ],
)
def cholesky_solve_op(b: Any, factor: Any, *, upper: bool) -> Any:
    """The solution of `a x = b`, from a triangular factor of `a`, for batches of one shape."""
    return _both(factor, b, upper)


@public(out=True)
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """The X of `L L^H X = B`, or of `U^H U X = B` with `upper`.

    L, `input2`, is `(..., n, n)`, of which one triangle is read; B, `input`, is `(..., n, k)`;
    batches broadcast.

    Example:
        >>> import tritorch as torch
        >>> torch.cholesky_solve(torch.ones(2, 1), 2 * torch.eye(2))
        tensor([[0.2500],
                [0.2500]])
    """
    name = "cholesky_solve"
    if input._data.ndim < 2:
        raise RuntimeError(
            f"{name}: input should have at least 2 dimensions, got {tuple(input.shape)}"
        )
    _check_triangle(name, input2, input)
    factor, b = spread_batches(name, input2, input)
    return cholesky_solve_op(b, factor, upper=upper)


def _check_triangle(name: str, a: Tensor, b: Tensor) -> None:
    checked(name, a, square=True)
    same_kind(name, a, b)
    if b._data.shape[-2] != a._data.shape[-1]:
        n = a._data.shape[-1]
        raise RuntimeError(
            f"{name}: Incompatible matrix sizes for {name}: each A matrix is {n} by {n} but each b "
            f"matrix is {b._data.shape[-2]} by {b._data.shape[-1]}"
        )


def _cholesky_inverse_vjp(g: Any, factor: Tensor, out: Tensor, upper: bool) -> Any:
    return _factor_gradient(out @ (g + adjoint(g)) @ out, factor, upper)


@primitive(
    name="cholesky_inverse",
    triton="linalg.cholesky_inverse",
    meta=lambda factor, *, upper: (tuple(factor._data.shape), factor.dtype),
    vjp=_cholesky_inverse_vjp,
    samples=lambda s: [
        s(_lower(s, 3, 3), upper=False, smooth=False),  # one triangle is read
        s(_lower(s, 2, 2, 2).swapaxes(-1, -2).copy(), upper=True, smooth=False),
        s((0, 2, 2), upper=False),
        s((0, 0), upper=True),
    ],
)
def cholesky_inverse_op(factor: Any, *, upper: bool) -> Any:
    """The inverse of the matrices of which the triangular factors are given."""
    eye = np.broadcast_to(np.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    return _both(factor, eye, upper)


@public(out=True)
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """`(L L^H)^-1`, or `(U^H U)^-1` with `upper`, of a factor `input`, `(..., n, n)`.

    One triangle is read. Raises LinAlgError where the diagonal has a zero.
    """
    name = "cholesky_inverse"
    checked(name, input, square=True)
    data = numbers(input)
    if data is not None:
        zero = np.diagonal(data, axis1=-2, axis2=-1) == 0
        first = np.argmax(zero, -1) + 1 if zero.size else np.zeros(data.shape[:-2], np.int64)
        fail_first(np.where(zero.any(-1), first, 0), singular(name))
    return cholesky_inverse_op(input, upper=upper)


# -- triangles -------------------------------------------------------------------------------------


@public(out=True)
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """The X of `A X = input` (of `A^T X = input` with `transpose`), one triangle of A being read.

    `input` is `(..., n, k)`, `A` `(..., n, n)`; batches broadcast. Also gives a copy of `A`.
    """
    name = "triangular_solve"
    if input._data.ndim < 2:
        raise RuntimeError(
            f"{name}: Expected input to have at least 2 dimensions, got shape {tuple(input.shape)}"
        )
    _check_triangle(name, A, input)
    a, b = spread_batches(name, A, input)
    turned, side = (a.mT, not upper) if transpose else (a, upper)  # type: ignore[attr-defined]
    x = triangular_op(turned, b, upper=side, unit=unitriangular)
    return torch_triangular_solve(x, a.clone())  # type: ignore[attr-defined]
