"""Inverses, systems of equations and determinants: primitives, and `torch.linalg`'s functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..op import joint, primitive
from ..return_types import named
from ..tensor import Tensor
from .api import called, public
from .linalg_host import (
    BLOCK,
    adjoint,
    checked,
    each,
    fail_first,
    lapack,
    same_kind,
    singular,
    spread_batches,
    unsolvable,
)

inv_ex_result = named("linalg_inv_ex", "inverse info")
solve_ex_result = named("linalg_solve_ex", "result info")
linalg_slogdet, torch_slogdet = (named(n, "sign logabsdet") for n in ("linalg_slogdet", "slogdet"))


def spd(s: Any, *shape: int) -> np.ndarray:
    """Samples of matrices far from singular."""
    return s.reals(shape) + 2 * np.eye(shape[-2], shape[-1])


# -- inverse ---------------------------------------------------------------------------------------


def _square_meta(a: Tensor, **_: Any) -> list:
    return [(tuple(a._data.shape), a.dtype), (tuple(a._data.shape[:-2]), dtypes.int32)]


def _inv_each(a: np.ndarray) -> tuple[np.ndarray, int]:
    getrf, getri = lapack("getrf", a), lapack("getri", a)
    lu, pivots, info = getrf(a)
    if info > 0:
        return np.full_like(a, np.inf), info
    return getri(lu, pivots, lwork=BLOCK * len(a))


@primitive(
    outputs=("out", "info"),
    meta=_square_meta,
    triton="linalg.inv",
    vjp=joint(lambda g, g_info, out: (-(adjoint(out) @ g @ adjoint(out)),)),
    samples=lambda s: [s(spd(s, 3, 3)), s(spd(s, 2, 2, 2)), s((0, 2, 2)), s((2, 0, 0))],
)
def inv_ex(a: Any) -> Any:
    """The inverse of matrices `(..., n, n)`, and where one is singular its first zero pivot."""
    info = np.zeros(a.shape[:-2], np.int32)
    if a.shape[-1] < BLOCK or not a.size:  # NumPy solves for the identity, with one call a batch
        try:
            return np.linalg.inv(a), info
        except np.linalg.LinAlgError:
            pass
    out = np.empty_like(a, order="C")
    each(_inv_each, (out, info), (2, 0), a)
    return out, info


def inverse(name: str, a: Tensor) -> Tensor:
    out, info = inv_ex(checked(name, a, square=True))
    fail_first(info, singular(name))
    return out


@public(out=True, space="linalg")
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices `(..., n, n)`. Raises LinAlgError where one is singular.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return inverse("linalg.inv", A)


@public(out=True)
@called("inverse")
def _inverse(input: Tensor) -> Tensor:
    """`torch.linalg.inv`."""
    return inverse("linalg.inv", input)


@public(out=True, space="linalg")
@called("inv_ex")
def _inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverse, and an int32 `info` that is not 0 where a matrix is singular."""
    out, info = inv_ex(checked("linalg.inv", A, square=True))
    if check_errors:
        fail_first(info, singular("linalg.inv_ex"))
    return inv_ex_result(out, info)


# -- A X = B ---------------------------------------------------------------------------------------


def _solve_meta(a: Tensor, b: Tensor) -> list:
    return [(tuple(b._data.shape), b.dtype), (tuple(a._data.shape[:-2]), dtypes.int32)]


def _solve_vjp(g: Any, g_info: Any, a: Tensor, out: Tensor, needs: list[bool]) -> tuple:
    gb, _ = solve_op(adjoint(a), g)
    return -(gb @ adjoint(out)) if needs[0] else None, gb


def _solve_each(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    lu, pivots, info = lapack("getrf", a)(a)
    if info > 0:
        return np.full_like(b, np.inf), info
    return lapack("getrs", lu, b)(lu, pivots, b)


@primitive(
    name="linalg_solve",
    outputs=("out", "info"),
    meta=_solve_meta,
    triton="linalg.solve",
    vjp=joint(_solve_vjp),
    samples=lambda s: [
        s(spd(s, 3, 3), (3, 2)),
        s(spd(s, 2, 2, 2), (2, 2, 1)),
        s((0, 2, 2), (0, 2, 3)),
        s(spd(s, 2, 2), (2, 0)),
    ],
)
def solve_op(a: Any, b: Any) -> Any:
    """The solution of `a x = b`, for batches of one shape, and where `a` is singular."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.solve(a, b), info
    except np.linalg.LinAlgError:
        out = np.empty_like(b)
        each(_solve_each, (out, info), (2, 0), a, b)
        return out, info


def is_vector(a: Tensor, b: Tensor) -> bool:
    """Whether `b` is a vector for every matrix of `a`: by its rank, or by a shape of a's batch."""
    x, y = a._data.shape, b._data.shape
    return len(y) == 1 or (len(x) - 1 == len(y) and tuple(y) == tuple(x[:-1]))


def _solved(name: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    checked(name, A, square=True)
    same_kind(name, A, B)
    vector = is_vector(A, B)
    if not left and vector:
        raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported "
                           "for left=False. In this case linalg.solve is equivalent to "
                           "B / A.squeeze(-1)")  # fmt: skip
    b = B.unsqueeze(-1) if vector else B  # type: ignore[attr-defined]
    _check_sides(name, A, b, left)
    a, b = spread_batches(name, A, b)
    if left:
        out, info = solve_op(a, b)
    else:
        out, info = solve_op(a.mT, b.mT)  # type: ignore[attr-defined]
        out = out.mT  # type: ignore[attr-defined]
    return out.squeeze(-1) if vector else out, info  # type: ignore[attr-defined]


def _check_sides(name: str, a: Tensor, b: Tensor, left: bool) -> None:
    if b._data.ndim < 2:
        raise RuntimeError(f"{name}: B must have at least 1 dimension, got {tuple(b.shape)}")
    n = b._data.shape[-2 if left else -1]
    if n != a._data.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({a._data.shape[-2]}x{a._data.shape[-1]} and "
            f"{b._data.shape[-2]}x{b._data.shape[-1]})"
        )


@public(out=True, space="linalg")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X of `A X = B`, or of `X A = B` where not `left`.

    `A` is `(..., n, n)`, `B` `(..., n, k)`, `(..., n)` or `(n)`; batches broadcast. Raises
    LinAlgError where a matrix is singular.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.ones(2))
        tensor([0.5000, 0.2500])
    """
    out, info = _solved("linalg.solve", A, B, left)
    fail_first(info, unsolvable("linalg.solve"))
    return out


@public(out=True, space="linalg")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """`solve`, and an int32 `info` that is not 0 where a matrix is singular."""
    out, info = _solved("linalg.solve", A, B, left)
    if check_errors:
        fail_first(info, unsolvable("linalg.solve_ex"))
    return solve_ex_result(out, info)


# -- triangular ------------------------------------------------------------------------------------


def _triangular_vjp(
    g: Any, a: Tensor, out: Tensor, upper: bool, unit: bool, needs: list[bool]
) -> tuple:
    gb = triangular_op(adjoint(a), g, upper=not upper, unit=unit)
    if not needs[0]:
        return None, gb
    ga = -(gb @ adjoint(out))
    return (ga.triu(int(unit)) if upper else ga.tril(-int(unit))), gb


def _triangular_meta(a: Tensor, b: Tensor, *, upper: bool, unit: bool) -> tuple:
    m, n = tuple(a._data.shape), tuple(b._data.shape)
    if len(m) < 2 or len(m) != len(n) or m[-2] != m[-1] or m[:-1] != n[:-1]:
        raise RuntimeError(
            f"solve_triangular: expected square matrices and as many rows, got {m} and {n}"
        )
    return n, b.dtype


MANY = 2  # matrices a row, from which substitution over the batch beats LAPACK one by one


@primitive(
    name="solve_triangular",
    meta=_triangular_meta,
    triton="linalg.solve_triangular",
    vjp=joint(_triangular_vjp),
    samples=lambda s: [
        s(spd(s, 3, 3), (3, 2), upper=True, unit=False),
        s(spd(s, 2, 2, 2), (2, 2, 1), upper=False, unit=True),
        s((0, 2, 2), (0, 2, 3), upper=False, unit=False),
        s((2, 2), (2, 0), upper=False, unit=True),
        s(spd(s, 5, 2, 2), (5, 2, 3), upper=True, unit=False),
    ],
)
def triangular_op(a: Any, b: Any, *, upper: bool, unit: bool) -> Any:
    """The solution of `a x = b` that reads one triangle of `a`, for batches of one shape."""
    out = np.empty_like(b, order="C")
    if not out.size:
        return out
    if math.prod(a.shape[:-2]) > MANY * a.shape[-1]:
        return _by_division(a, b, upper, unit)
    trtrs = lapack("trtrs", a, b)

    def run(a: np.ndarray, b: np.ndarray) -> tuple:
        # Fortran's order: the transposed view of a C matrix is one, without a copy.
        if a.flags.c_contiguous:
            x, info = trtrs(a.T, b, lower=int(upper), trans=1, unitdiag=int(unit))
        else:
            x, info = trtrs(a, b, lower=int(not upper), unitdiag=int(unit))
        return (x if info == 0 else _by_division(a, b, upper, unit),)

    each(run, (out,), (2,), a, b)
    return out


def _by_division(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    """Substitution row by row over all matrices, which divides by a zero pivot as it is."""
    x, n = b.copy(), a.shape[-1]
    for i in range(n)[:: -1 if upper else 1]:
        done = slice(i + 1, n) if upper else slice(0, i)
        x[..., i, :] -= (a[..., i, None, done] @ x[..., done, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, None, i]
    return x


@public(out=True, space="linalg")
def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X of `A X = B`, or of `X A = B` where not `left`, one triangle of A being read.

    A, `input`, is `(..., n, n)`, `B` `(..., n, k)`; batches broadcast. A zero on the diagonal gives
    infinities.

    Example:
        >>> import tritorch as torch
        >>> A = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> torch.linalg.solve_triangular(A, torch.ones(2, 1), upper=False)
        tensor([[0.5000],
                [0.5000]])
    """
    name = "linalg.solve_triangular"
    checked(name, input, square=True)
    same_kind(name, input, B)
    if B._data.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor B must have at least 2 dimensions, got {tuple(B.shape)}"
        )
    _check_sides(name, input, B, left)
    a, b = spread_batches(name, input, B)
    if left:
        return triangular_op(a, b, upper=upper, unit=unitriangular)
    out = triangular_op(a.mT, b.mT, upper=not upper, unit=unitriangular)  # type: ignore[attr-defined]
    return out.mT  # type: ignore[attr-defined]


# -- determinants ----------------------------------------------------------------------------------


def _det_meta(a: Tensor) -> tuple:
    return tuple(a._data.shape[:-2]), a.dtype


@primitive(
    meta=lambda a: (tuple(a._data.shape), a.dtype),
    vjp=lambda g, a: _cofactor_vjp(g, a),
    samples=lambda s: [s(spd(s, 3, 3)), s(spd(s, 2, 2, 2)), s((2, 0, 0))],
)
def cofactor(a: Any) -> Any:
    """The gradient of the determinant, `conj(det(a)) a^-H`, of singular matrices too."""
    if not a.size:
        return a.copy()
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    others = np.broadcast_to(s[..., None, :], (*s.shape, n)).copy()
    others[..., np.arange(n), np.arange(n)] = 1
    scale = np.linalg.det(u) * np.linalg.det(vh)
    return (u * (others.prod(-1) * scale[..., None].conj())[..., None, :]) @ vh


def _cofactor_vjp(g: Tensor, a: Tensor) -> Tensor:
    """That of `conj(det(a)) h`, `h = a^-H`, through the determinant and through the inverse."""
    h = adjoint(inv_ex(a)[0])
    d = det_op(a).conj()[..., None, None]
    return d * ((g.conj() * h).sum((-2, -1), keepdim=True) * h - h @ adjoint(g) @ h)


@primitive(
    name="det",
    meta=_det_meta,
    triton="linalg.det",
    vjp=lambda g, a: g[..., None, None] * cofactor(a),
    samples=lambda s: [s(spd(s, 3, 3)), s(spd(s, 2, 2, 2)), s((2, 0, 0))],
)
def det_op(a: Any) -> Any:
    """The determinant of matrices `(..., n, n)`."""
    return np.linalg.det(a)


@public(out=True, space="linalg")
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices `(..., n, n)`: `(...)`.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.det(torch.tensor([[2.0, 1.0], [0.0, 4.0]]))
        tensor(8.)
    """
    return det_op(checked("linalg.det", A, square=True))


@public()
@called("det")
def _det(input: Tensor) -> Tensor:
    """`torch.linalg.det`."""
    return det_op(checked("linalg.det", input, square=True))


def _slogdet_vjp(g_sign: Any, g: Any, a: Tensor, sign: Tensor) -> tuple:
    inverse_a, _ = inv_ex(a)
    factor: Any = 0 if g is None else g
    if g_sign is not None and a.dtype.is_complex:
        turned = (g_sign * sign.conj()).imag  # type: ignore[attr-defined]
        factor = factor + 1j * turned
    if isinstance(factor, int):
        return (None,)
    return (factor[..., None, None] * adjoint(inverse_a),)


@primitive(
    name="slogdet",
    outputs=("sign", "logabsdet"),
    meta=lambda a: [_det_meta(a), (tuple(a._data.shape[:-2]), a.dtype.to_real())],
    triton="linalg.slogdet",
    vjp=joint(_slogdet_vjp),
    samples=lambda s: [s(spd(s, 3, 3)), s(spd(s, 2, 2, 2)), s((2, 0, 0))],
)
def slogdet_op(a: Any) -> Any:
    """The sign of the determinant and the logarithm of its size."""
    return tuple(np.linalg.slogdet(a))


@public(out=True, space="linalg")
def slogdet(A: Tensor) -> Any:
    """The sign of the determinant and the logarithm of its size; 0 and -inf of singular matrices.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.slogdet(torch.eye(2)).logabsdet
        tensor(0.)
    """
    return linalg_slogdet(*slogdet_op(checked("linalg.slogdet", A, square=True)))


@public(out=True)
@called("slogdet")
def _slogdet_of(input: Tensor) -> Any:
    """`torch.linalg.slogdet`."""
    return torch_slogdet(*slogdet_op(checked("linalg.slogdet", input, square=True)))


@public()
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN of a negative one, -inf of 0.

    Example:
        >>> import tritorch as torch
        >>> torch.logdet(torch.eye(3))
        tensor(0.)
    """
    sign, size = slogdet_op(checked("logdet", input, square=True))
    if input.dtype.is_complex:
        return sign.log() + size
    from .arithmetic import where

    return where(sign == -1.0, float("nan"), size)
