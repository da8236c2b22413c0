"""`A = L D L^T` of symmetric and Hermitian matrices that need not be definite.

Bunch and Kaufman, "Some stable methods for calculating inertia and solving symmetric linear
systems", 1977: D has blocks of one or two rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..op import primitive
from ..return_types import named
from ..tensor import Tensor
from .api import public
from .linalg_host import BLOCK, checked, each, fail_first, lapack, same_kind, spread_batches
from .linalg_solve import spd

linalg_ldl_factor = named("linalg_ldl_factor", "LD pivots")
linalg_ldl_factor_ex = named("linalg_ldl_factor_ex", "LD pivots info")


def _form(stem: str, hermitian: bool, *arrays: np.ndarray) -> Any:
    """LAPACK's `sy...` or `he...`: real symmetric matrices have the former alone."""
    kind = "he" if hermitian and arrays[0].dtype.kind == "c" else "sy"
    return lapack(kind + stem, *arrays)


def _factor_meta(a: Tensor, *, hermitian: bool) -> list:
    shape = tuple(a._data.shape)
    return [(shape, a.dtype), (shape[:-1], dtypes.int32), (shape[:-2], dtypes.int32)]


@primitive(
    name="ldl_factor",
    outputs=("out", "pivots", "info"),
    meta=_factor_meta,
    samples=lambda s: [
        s((3, 3), hermitian=False), s((2, 2, 2), hermitian=True), s((0, 0), hermitian=False),
    ],
)  # fmt: skip
def ldl_op(a: Any, *, hermitian: bool) -> Any:
    """L below and D on the diagonal, of the lower triangle of `a`, as LAPACK's `sytrf` has it."""
    out = np.tril(a)
    pivots, info = np.empty(a.shape[:-1], np.int32), np.zeros(a.shape[:-2], np.int32)
    if not a.size:
        return out, pivots, info
    factor = _form("trf", hermitian, a)
    work = BLOCK * a.shape[-1]
    each(lambda x: factor(x, lower=1, lwork=work), (out, pivots, info), (2, 1, 0), out.copy())
    return out, pivots, info


@primitive(
    name="ldl_solve",
    meta=lambda ld, pivots, b, *, hermitian: (tuple(b._data.shape), b.dtype),
    samples=lambda s: [
        s(spd(s, 3, 3), np.array([1, 2, 3], np.int32), (3, 2), hermitian=False),
        s((0, 2, 2), np.ones((0, 2), np.int32), (0, 2, 1), hermitian=True),
    ],
)
def ldl_solve_op(ld: Any, pivots: Any, b: Any, *, hermitian: bool) -> Any:
    """The solution of `a x = b` from what `ldl_op` gives, for batches of one shape."""
    out = np.empty_like(b)
    if not out.size:
        return out
    solve = _form("trs", hermitian, ld, b)
    each(
        lambda a, p, b: (solve(a, p[0], b, lower=1)[0],),
        (out,), (2,), ld, np.broadcast_to(pivots, ld.shape[:-1])[..., None, :], b,
    )  # fmt: skip
    return out


@public(out=True, space="linalg")
def ldl_factor(input: Tensor, *, hermitian: bool = False) -> Any:
    """L and D of `A = L D L^T` (of `L D L^H` with `hermitian`) in one matrix, and int32 pivots.

    A, `input`, is `(..., n, n)`; the lower triangle is read. Raises LinAlgError where D is
    singular. There is no gradient.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.ldl_factor(torch.tensor([[2.0, 0.0], [1.0, 2.0]])).LD
        tensor([[2.0000, 0.0000],
                [0.5000, 1.5000]])
    """
    found = ldl_op(checked("linalg.ldl_factor", input, square=True), hermitian=hermitian)
    _check_diagonal("linalg.ldl_factor", found[2])
    return linalg_ldl_factor(*found[:2])


def _check_diagonal(name: str, info: Tensor) -> None:
    fail_first(info, lambda i: f"{name}: D[{i},{i}] is zero, the matrix is singular.")


@public(out=True, space="linalg")
def ldl_factor_ex(input: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor`, and an int32 `info`: the first zero on the diagonal of D, or 0."""
    found = ldl_op(checked("linalg.ldl_factor_ex", input, square=True), hermitian=hermitian)
    if check_errors:
        _check_diagonal("linalg.ldl_factor_ex", found[2])
    return linalg_ldl_factor_ex(*found)


@public(out=True, space="linalg")
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X of `A X = B` from what `ldl_factor` gives; `B` is `(..., n, k)`, batches broadcast."""
    name = "linalg.ldl_solve"
    checked(name, LD, square=True, argument="LD")
    if B._data.ndim < 2:
        raise IndexError(f"{name}: B must have at least 2 dimensions, got {tuple(B.shape)}")
    same_kind(name, LD, B)
    if pivots.dtype.category != 1:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype.name}")
    if tuple(pivots._data.shape) != tuple(LD._data.shape[:-1]):
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with "
            f"shape {list(pivots.shape)} instead"
        )
    if B._data.shape[-2] != LD._data.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of LD and B: {tuple(LD.shape)} and {tuple(B.shape)}"
        )
    ld, b = spread_batches(name, LD, B)
    return ldl_solve_op(ld, pivots, b, hermitian=hermitian)
