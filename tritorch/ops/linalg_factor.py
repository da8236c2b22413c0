"""Decompositions of matrices: Cholesky, LU, QR, eigenvalues, singular values.

Each is one primitive with a joint derivative in tensor operators. Sources of the derivatives:
Giles, "An extended collection of matrix derivative results", 2008; Walter and Lehmann,
"Algorithmic differentiation of linear algebra functions", 2010; Townsend, "Differentiating the
singular value decomposition", 2016; Boeddeker et al., "On the computation of complex-valued
gradients", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..op import joint, primitive
from ..tensor import Tensor
from .linalg_host import BLOCK, LinAlgError, adjoint, each, lapack, numbers
from .linalg_solve import inv_ex, spd, triangular_op
from .pad import constant_pad_nd


def converged(name: str, run: Callable) -> Any:
    """What `run` gives; NumPy's error of an iteration that does not end as ours."""
    try:
        return run()
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: The algorithm failed to converge: {error}") from None


def with_diagonal(x: Any, diagonal: Any) -> Any:
    """`x` with another diagonal."""
    return x.diagonal_scatter(diagonal, 0, -2, -1)


def halved_diagonal(x: Any) -> Any:
    return with_diagonal(x, x.diagonal(0, -2, -1) * 0.5)


def total(*terms: Any) -> Any:
    """The sum of the terms that are not None; None where all are."""
    found = [t for t in terms if t is not None]
    out = found[0] if found else None
    for t in found[1:]:
        out = out + t
    return out


def batch_of(a: Tensor) -> tuple[tuple[int, ...], int, int]:
    """The shape of the batch, rows and columns."""
    *batch, m, n = a._data.shape
    return tuple(batch), m, n


def _spd_samples(s: Any) -> list:
    def made(*shape: int) -> np.ndarray:
        x = s.reals(shape)
        return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])

    return [s(made(3, 3)), s(made(2, 2, 2)), s((0, 2, 2)), s((2, 0, 0))]


# -- Cholesky ------------------------------------------------------------------------------------


def _cholesky_vjp(g: Any, g_info: Any, out: Tensor) -> tuple:
    """`L^-H S L^-1` where S is the lower triangle of `L^H g`, made Hermitian."""
    low = halved_diagonal((adjoint(out) @ g).tril())
    x = triangular_op(adjoint(out), low + adjoint(low), upper=True, unit=False)
    y = triangular_op(adjoint(out), adjoint(x), upper=True, unit=False)
    return (adjoint(y) * 0.5,)


def _cholesky_each(a: np.ndarray) -> tuple[np.ndarray, int]:
    return lapack("potrf", a)(a, lower=1, clean=1)


@primitive(
    outputs=("out", "info"),
    meta=lambda a: [(tuple(a._data.shape), a.dtype), (tuple(a._data.shape[:-2]), dtypes.int32)],
    triton="linalg.cholesky",
    vjp=joint(_cholesky_vjp),
    samples=lambda s: [
        s(*sample.inputs, smooth=False)  # one triangle is read: the derivative is symmetric
        for sample in _spd_samples(s)
    ],
)
def cholesky_op(a: Any) -> Any:
    """The lower triangular L of `a = L L^H`, from the lower triangle of `a`."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(a), info
    except np.linalg.LinAlgError:
        out = np.empty_like(a)
        each(_cholesky_each, (out, info), (2, 0), a)
        return out, info


# -- LU ------------------------------------------------------------------------------------------


def _lu_meta(a: Tensor) -> list:
    batch, m, n = batch_of(a)
    return [
        (tuple(a._data.shape), a.dtype),
        ((*batch, min(m, n)), dtypes.int32),
        (batch, dtypes.int32),
    ]


def unit_lower(lu: Any) -> Any:
    """The L of a packed decomposition `(..., m, n)`: `(..., m, min(m, n))`."""
    m, n = lu._data.shape[-2:]
    low = lu[..., :, : min(m, n)].tril(-1)
    return with_diagonal(low, low.new_ones(low.diagonal(0, -2, -1).shape))


def upper(lu: Any) -> Any:
    """The U of a packed decomposition: `(..., min(m, n), n)`."""
    m, n = lu._data.shape[-2:]
    return lu[..., : min(m, n), :].triu()


def _lu_vjp(g: Any, g_pivots: Any, g_info: Any, out: Tensor, pivots: Tensor) -> tuple:
    ga = lu_gradient(unit_lower(out), upper(out), *_split(g))
    m = out._data.shape[-2]
    if pivots._data.shape[-1] == m:
        return (exchange(pivots, ga, False),)
    return (permutation(pivots, m, ga.dtype) @ ga,)


def _split(g: Any) -> tuple[Any, Any]:
    m, n = g._data.shape[-2:]
    k = min(m, n)
    return g[..., :, :k].tril(-1), g[..., :k, :].triu()


def lu_gradient(low: Any, up: Any, g_low: Any, g_up: Any) -> Any:
    """The gradient of `P^T a = L U` from those of L and U; None counts as 0."""
    m, k = low._data.shape[-2:]
    n = up._data.shape[-1]
    l1, u1 = low[..., :k, :], up[..., :, :k]
    left = None if g_low is None else adjoint(l1) @ g_low[..., :k, :]
    right = None if g_up is None else g_up[..., :, :k] @ adjoint(u1)
    if n > k and g_up is not None:
        left = total(left, -(g_up[..., k:] @ adjoint(up[..., k:])))
    if m > k and g_low is not None:
        right = total(right, -(adjoint(low[..., k:, :]) @ g_low[..., k:, :]))
    inner = total(None if left is None else left.tril(-1), None if right is None else right.triu())
    # inner U1^-H
    x = adjoint(triangular_op(u1, adjoint(inner), upper=True, unit=False))
    if n > k:
        rest = x.new_zeros(*x._data.shape[:-1], n - k) if g_up is None else g_up[..., k:]
        x = joined(x, rest, -1)
    x = triangular_op(adjoint(l1), x, upper=True, unit=True)
    if m > k:
        rest = (
            x.new_zeros(*x._data.shape[:-2], m - k, k)
            if g_low is None
            else adjoint(triangular_op(up, adjoint(g_low[..., k:, :]), upper=True, unit=False))
        )
        x = joined(x, rest, -2)
    return x


def joined(a: Tensor, b: Tensor, dim: int) -> Tensor:
    from .join import cat

    return cat([a, b], dim)


def _lu_each(a: np.ndarray) -> tuple:
    lu, pivots, info = lapack("getrf", a)(a)
    return lu, pivots + 1, max(info, 0)


@primitive(
    outputs=("out", "pivots", "info"),
    meta=_lu_meta,
    triton="linalg.lu",
    vjp=joint(_lu_vjp),
    samples=lambda s: [
        s(spd(s, 3, 3)), s(spd(s, 2, 2, 3)), s(spd(s, 3, 2)), s((0, 2, 2)), s((2, 0, 0))
    ],
)  # fmt: skip
def lu_op(a: Any) -> Any:
    """L below and U on and above the diagonal, the rows exchanged, the first zero pivot."""
    *batch, m, n = a.shape
    out = np.empty(a.shape, a.dtype)
    pivots, info = np.empty((*batch, min(m, n)), np.int32), np.zeros(batch, np.int32)
    k = min(m, n)
    if a.size and math.prod(batch) > 16 * k:
        _lu_of_many(a, out.reshape(-1, m, n), pivots.reshape(-1, k), info.reshape(-1))
    elif a.size:
        each(_lu_each, (out, pivots, info), (2, 1, 0), a)
    return out, pivots, info


def _lu_of_many(a: np.ndarray, out: np.ndarray, pivots: np.ndarray, info: np.ndarray) -> None:
    """Elimination column by column over a batch of small matrices, with LAPACK's pivots."""
    out[...] = a.reshape(out.shape)
    every = np.arange(len(out))
    for i in range(pivots.shape[1]):
        column: Any = out[:, i:, i]
        size = np.abs(column.real) + np.abs(column.imag) if out.dtype.kind == "c" else abs(column)
        j = size.argmax(1) + i
        pivots[:, i] = j + 1
        out[every, i], out[every, j] = out[every, j], out[every, i]
        pivot = out[:, i, i]
        zero = pivot == 0
        info[zero & (info == 0)] = i + 1
        out[:, i + 1 :, i] /= np.where(zero, 1, pivot)[:, None]
        out[:, i + 1 :, i + 1 :] -= out[:, i + 1 :, i, None] * out[:, i, None, i + 1 :]


FEW = 64  # matrices, below which lists are faster than arrays over the batch


def rows_of(pivots: np.ndarray, m: int) -> np.ndarray:
    """Where each row of `P^T a` comes from, for pivots that count from 1."""
    batch, k = pivots.shape[:-1], pivots.shape[-1]
    if math.prod(batch) < FEW:
        rows = [_exchanged(p, m) for p in pivots.reshape(math.prod(batch), k).tolist()]
        return np.array(rows, np.int64).reshape(*batch, m)
    order = np.broadcast_to(np.arange(m), (*pivots.shape[:-1], m)).copy()
    for i in range(k):
        j = pivots[..., i : i + 1].astype(np.int64) - 1
        a, b = order[..., i : i + 1].copy(), np.take_along_axis(order, j, -1)
        np.put_along_axis(order, j, a, -1)
        order[..., i : i + 1] = b
    return order


def _exchanged(pivots: list[int], m: int) -> list[int]:
    order = list(range(m))
    for i, p in enumerate(pivots):
        order[i], order[p - 1] = order[p - 1], order[i]
    return order


@primitive(
    meta=lambda pivots, *, inverse: (tuple(pivots._data.shape), dtypes.int64),
    triton="linalg.row_order",
    samples=lambda s: [s(np.array([[2, 2], [1, 2]], np.int32), inverse=i) for i in (True, False)],
)
def row_order(pivots: Any, *, inverse: bool) -> Any:
    """Where each row of `P^T b` comes from in `b`; with `inverse`, of `P b`."""
    order = rows_of(pivots, pivots.shape[-1])
    return np.argsort(order, -1) if inverse else order


def exchange(pivots: Tensor, b: Any, inverse: bool) -> Any:
    """`P b`, or its inverse `P^T b`, for as many pivots as rows."""
    order: Any = row_order(pivots, inverse=not inverse)
    return b.take_along_dim(order.expand(b._data.shape[:-1]).unsqueeze(-1), -2)


@primitive(
    meta=lambda pivots, *, m, dtype: ((*pivots._data.shape[:-1], m, m), dtype),
    triton="linalg.permutation",
    samples=lambda s: [s(np.array([[2, 2]], np.int32), m=3, dtype=dtypes.float32)],
)
def permutation_op(pivots: Any, *, m: int, dtype: dtypes.DType) -> Any:
    """The matrix P of `a = P L U`."""
    return np.swapaxes(np.eye(m, dtype=dtype.np)[rows_of(pivots, m)], -1, -2).copy()


def permutation(pivots: Tensor, m: int, dtype: dtypes.DType) -> Tensor:
    return permutation_op(pivots, m=m, dtype=dtype)


# -- QR ------------------------------------------------------------------------------------------


def _qr_meta(a: Tensor, *, mode: str) -> list:
    batch, m, n = batch_of(a)
    k = m if mode == "complete" else min(m, n)
    q = (*batch, m, k) if mode != "r" else (0,)
    return [(q, a.dtype), ((*batch, k, n), a.dtype)]


def _qr_vjp(gq: Any, gr: Any, q: Tensor, r: Tensor, mode: str) -> tuple:
    m, n = q._data.shape[-2], r._data.shape[-1]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
            "Please use linalg.qr(A, mode='reduced')"
        )
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    x = total(None if gr is None else gr @ adjoint(r), None if gq is None else -(adjoint(q) @ gq))
    if m >= n:
        x = x.triu()
        x = total(q @ _real_halved(x + adjoint(x)), gq)
        return (adjoint(triangular_op(r, adjoint(x), upper=True, unit=False)),)
    x = _imag_halved((adjoint(x) - x).tril())
    x = adjoint(triangular_op(r[..., :m], adjoint(q @ x), upper=True, unit=False))  # type: ignore[index]
    return (total(constant_pad_nd(x, (0, n - m)), None if gr is None else q @ gr),)


def _real_halved(x: Any) -> Any:
    """`x` with the real part of its diagonal halved."""
    d = x.diagonal(0, -2, -1)
    return with_diagonal(x, (d.real * 0.5) + (1j * d.imag if x.dtype.is_complex else 0))


def _imag_halved(x: Any) -> Any:
    if not x.dtype.is_complex:
        return x
    d = x.diagonal(0, -2, -1)
    return with_diagonal(x, d.real + 0.5j * d.imag)


def _qr_each(a: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    form = lapack("ungqr" if a.dtype.kind == "c" else "orgqr", a)
    packed, tau, _, _ = lapack("geqrf", a)(a, lwork=BLOCK * a.shape[1])
    wide = packed[:, :k]
    if k > wide.shape[1]:
        wide = np.zeros((len(a), k), a.dtype, order="F")
        wide[:, : a.shape[1]] = packed
    return form(wide, tau, lwork=BLOCK * k)[0], np.triu(packed[:k])


@primitive(
    outputs=("q", "r"),
    meta=_qr_meta,
    vjp=joint(_qr_vjp),
    samples=lambda s: [
        s(spd(s, 3, 2), mode="reduced"),
        s(spd(s, 2, 3), mode="reduced"),
        s(spd(s, 2, 2, 2), mode="complete"),
        s((0, 2, 2), mode="reduced"),
        s((2, 0), mode="complete", smooth=False),  # m > n: not differentiable
    ],
)
def qr_op(a: Any, *, mode: str) -> Any:
    """Orthonormal columns Q and an upper triangular R with `a = Q R`."""
    *batch, m, n = a.shape
    k = m if mode == "complete" else min(m, n)
    if mode == "r":
        r = np.linalg.qr(a, "r") if a.size else np.zeros((*batch, k, n), a.dtype)
        return np.empty(0, a.dtype), r
    if not a.size:
        q = np.broadcast_to(np.eye(m, k, dtype=a.dtype), (*batch, m, k)).copy()
        return q, np.zeros((*batch, k, n), a.dtype)
    if min(m, n) < BLOCK:
        return tuple(np.linalg.qr(a, mode))  # type: ignore
    out = np.empty((*batch, m, k), a.dtype), np.empty((*batch, k, n), a.dtype)
    each(lambda x: _qr_each(x, k), out, (2, 2), a)
    return out


# -- eigenvalues ---------------------------------------------------------------------------------


def _gaps(values: Any) -> Any:
    """`values_j - values_i`, with ones on the diagonal."""
    e = values.unsqueeze(-2) - values.unsqueeze(-1)
    return with_diagonal(e, e.new_ones(e.diagonal(0, -2, -1).shape))


def phase_free(name: str, turns: Any) -> None:
    """Raise where a loss depends on the phase of complex vectors, which is not defined.

    `turns` is how it depends: the imaginary parts of `diag(V^H g)`.
    """
    data = numbers(turns)
    if data is not None and data.size and np.abs(data).max() > 1e-2:
        raise RuntimeError(
            f"{name}: complex vectors are defined up to a factor of size 1; the loss depends on "
            "this factor, so that its gradient is not defined"
        )


def _eigh_meta(a: Tensor, *, lower: bool, name: str = "linalg.eigh") -> list:
    return [(tuple(a._data.shape[:-1]), a.dtype.to_real()), (tuple(a._data.shape), a.dtype)]


def _eigh_vjp(gl: Any, gv: Any, values: Tensor, vectors: Tensor) -> tuple:
    v = vectors
    if gv is None:
        return ((v * gl.unsqueeze(-2)) @ adjoint(v),)
    turned = adjoint(v) @ gv
    if v.dtype.is_complex:
        phase_free("linalg.eigh", turned.diagonal(0, -2, -1).imag)
    inner = (turned - adjoint(turned)) / (2 * _gaps(values))  # what keeps the columns orthonormal
    d = inner.diagonal(0, -2, -1)
    inner = with_diagonal(inner, d * 0 if gl is None else gl.to(d.dtype))
    return (v @ inner @ adjoint(v),)


@primitive(
    outputs=("values", "vectors"),
    meta=_eigh_meta,
    vjp=joint(_eigh_vjp),
    samples=lambda s: [
        s(*sample.inputs, smooth=False, lower=True)  # one triangle is read
        for sample in _spd_samples(s)
    ],
)
def eigh_op(a: Any, *, lower: bool, name: str = "linalg.eigh") -> Any:
    """Ascending eigenvalues and orthonormal eigenvectors of Hermitian matrices."""
    return tuple(converged(name, lambda: np.linalg.eigh(a, "L" if lower else "U")))


def _eig_meta(a: Tensor) -> list:
    kind = a.dtype.to_complex()
    return [(tuple(a._data.shape[:-1]), kind), (tuple(a._data.shape), kind)]


def inverse_adjoint(x: Any) -> Any:
    return inv_ex(adjoint(x))[0]


def _eig_vjp(gl: Any, gv: Any, values: Tensor, vectors: Tensor) -> tuple:
    vh = adjoint(vectors)
    if gv is None:
        inner = gl.unsqueeze(-1) * vh
    else:
        # Eigenvectors have length 1: the part of the gradient along them is taken out.
        x = vh @ gv
        phase_free("linalg.eig", x.diagonal(0, -2, -1).imag)
        x = x - vh @ (vectors * x.diagonal(0, -2, -1).real.unsqueeze(-2))
        x = x / _gaps(values).conj()
        d = x.diagonal(0, -2, -1)
        inner = with_diagonal(x, d * 0 if gl is None else gl) @ vh
    return (inverse_adjoint(vectors) @ inner,)


@primitive(
    outputs=("values", "vectors"),
    meta=_eig_meta,
    vjp=joint(_eig_vjp),
    samples=lambda s: [
        s(spd(s, 3, 3), smooth=False),  # vectors are unique up to a phase
        s(spd(s, 2, 2, 2), smooth=False),
        s((0, 2, 2)),
    ],
)
def eig_op(a: Any) -> Any:
    """Eigenvalues and eigenvectors of length 1 of square matrices, complex."""
    kind = np.result_type(a.dtype, np.complex64)
    if not a.size:
        return np.empty(a.shape[:-1], kind), np.empty(a.shape, kind)
    values, vectors = converged("linalg.eig", lambda: np.linalg.eig(a))
    return values.astype(kind, copy=False), vectors.astype(kind, copy=False)
