"""Least squares, pseudo-inverses, ranks: what stands on the singular values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, errors
from ..op import joint, primitive
from ..return_types import named
from ..tensor import Tensor
from .api import public
from .create import tensor
from .linalg_factor import converged, total
from .linalg_host import BLOCK, adjoint, checked, each, lapack
from .linalg_solve import spd

linalg_lstsq = named("linalg_lstsq", "solution residuals rank singular_values")
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


# -- pseudo-inverses -------------------------------------------------------------------------------


def _tolerance(largest: Any, atol: Any, rtol: Any, shape: tuple[int, ...]) -> Any:
    """What singular values must exceed: `max(atol, rtol * largest)`.

    Without `rtol` it is `eps * max(m, n)`, or 0 where `atol` is positive.
    """
    if rtol is None:
        rtol = np.finfo(largest.dtype).eps * max(shape[-2:])
        rtol = rtol if atol is None else np.where(atol > 0, 0, rtol)
    scaled = largest * rtol
    return scaled if atol is None else np.maximum(atol, scaled)


def _with_tolerance_meta(name: str, a: Tensor, *limits: Tensor | None) -> tuple[int, ...]:
    shapes = [x._data.shape for x in limits if x is not None]
    return errors.broadcast_shapes(name, a._data.shape[:-2], *shapes)


def _pinv_meta(a: Tensor, atol: Tensor | None, rtol: Tensor | None, *, hermitian: bool) -> tuple:
    *_, m, n = a._data.shape
    return (*_with_tolerance_meta("linalg.pinv", a, atol, rtol), n, m), a.dtype


def pinv_gradient(g: Tensor, p: Tensor, a: Tensor) -> Tensor:
    """The gradient of `a` from that of its pseudo-inverse `p`, for matrices of constant rank.

    Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems
    whose variables separate", 1973, (4.12).
    """
    h, ph = adjoint(g), adjoint(p)
    left, right = h @ p @ ph, ph @ p @ h
    return left - a @ (p @ left) + right - (right @ p) @ a - ph @ g @ ph


@primitive(
    name="pinv",
    meta=_pinv_meta,
    vjp=(lambda g, a, out: pinv_gradient(g, out, a), None, None),
    samples=lambda s: [
        s(spd(s, 3, 2), None, None, hermitian=False),
        s(spd(s, 2, 2, 3), np.array([0.0, 1e-3]), None, hermitian=False),
        s((lambda x: x + x.T)(spd(s, 3, 3)), None, np.array(1e-5), hermitian=True, smooth=False),
        s((0, 2, 3), None, None, hermitian=False),
        s((2, 0), None, None, hermitian=False),
    ],
)
def pinv_op(a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    """The pseudo-inverse, of singular values above a tolerance."""
    if not a.size:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = np.linalg.eigh(a)
        vh = u.conj().swapaxes(-1, -2)
    else:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
    size = np.abs(s)
    kept = size > _tolerance(size.max(-1), atol, rtol, a.shape)[..., None]
    inverse = np.where(kept, 1 / np.where(s == 0, 1, s), 0).astype(s.dtype)
    v = vh.conj().swapaxes(-1, -2)
    return (v * inverse[..., None, :]) @ u.conj().swapaxes(-1, -2)


@primitive(
    name="matrix_rank",
    meta=lambda a, atol, rtol, *, hermitian: (
        _with_tolerance_meta("linalg.matrix_rank", a, atol, rtol),
        dtypes.int64,
    ),
    samples=lambda s: [
        s(spd(s, 3, 2), None, None, hermitian=False),
        s(spd(s, 2, 2, 3), np.array([0.0, 9.0]), None, hermitian=False),
        s(spd(s, 2, 2, 2), None, np.array(0.9), hermitian=True),
        s((2, 3, 0), None, None, hermitian=False),
    ],
)
def rank_op(a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    """How many singular values are above a tolerance."""
    if not a.size:
        return np.zeros(a.shape[:-2], np.int64)
    s = np.abs(np.linalg.eigvalsh(a)) if hermitian else np.linalg.svd(a, compute_uv=False)
    above = s > np.asarray(_tolerance(s.max(-1), atol, rtol, a.shape))[..., None]
    return np.count_nonzero(above, -1).astype(np.int64)


def _limit(name: str, which: str, value: Any, a: Tensor) -> Tensor | None:
    """A tolerance as a tensor of float64."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        return tensor(float(value), dtype=dtypes.float64, device=a.device)
    if value.dtype.is_complex:
        raise RuntimeError(
            f"{name}: {which} tensor of complex type is not supported. Got {value.dtype.name}"
        )
    return value.detach().to(a.device, dtypes.float64)  # type: ignore[attr-defined]


def _inverted(name: str, a: Tensor, atol: Any, rtol: Any, rcond: Any, hermitian: bool) -> Tensor:
    checked(name, a, square=hermitian)
    if rcond is not None:
        rtol, atol = rcond, 0.0
    limits = (_limit(name, "atol", atol, a), _limit(name, "rtol", rtol, a))
    return pinv_op(a, *limits, hermitian=bool(hermitian))


@public(out=True, space="linalg")
def pinv(
    input: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """The pseudo-inverse `(..., n, m)` of matrices `(..., m, n)`.

    Singular values up to `max(atol, rtol * largest)` count as 0. `rtol` is `max(m, n) * eps`, or 0
    where `atol` is positive; both may be tensors of the batch's shape; `rcond` is an `rtol`. With
    `hermitian`, eigenvalues are used and one triangle is read.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.pinv(torch.tensor([[2.0], [0.0]]))
        tensor([[0.5000, 0.0000]])
    """
    return _inverted("linalg.pinv", input, atol, rtol, rcond, hermitian)


@public()
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`torch.linalg.pinv`, with a relative tolerance of 1e-15."""
    return _inverted("pinverse", input, None, None, rcond, False)


@public(out=True, space="linalg")
def matrix_rank(
    input: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values exceed `max(atol, rtol * largest)`: `(...)` of int64.

    The tolerances are those of `pinv`; `tol` is an `atol`, the only one.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.matrix_rank(torch.ones(3, 3))
        tensor(1)
    """
    name = "linalg.matrix_rank"
    checked(name, input, square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    limits = (_limit(name, "atol", atol, input), _limit(name, "rtol", rtol, input))
    return rank_op(input, *limits, hermitian=bool(hermitian))


# -- least squares ---------------------------------------------------------------------------------


def _lstsq_meta(a: Tensor, b: Tensor, *, rcond: float | None, driver: str) -> list:
    *batch, m, n = a._data.shape
    k, real = b._data.shape[-1], a.dtype.to_real()
    with_residuals = m > n and driver != "gelsy"
    return [
        ((*batch, n, k), a.dtype),
        ((*batch, k) if with_residuals else (0,), real),
        ((0,) if driver == "gels" else tuple(batch), dtypes.int64),
        ((*batch, min(m, n)) if driver in ("gelsd", "gelss") else (0,), real),
    ]


def _lstsq_vjp(
    g: Any, g_residuals: Any, g_rank: Any, g_s: Any, a: Any, b: Any, out: Any, needs: list[bool]
) -> tuple:
    ga = gb = None
    if g is not None:
        p = pinv_op(a, None, None, hermitian=False)
        ga = pinv_gradient(g @ adjoint(b), p, a) if needs[0] else None
        gb = adjoint(p) @ g if needs[1] else None
    if g_residuals is not None and g_residuals._data.size:
        # The solution is where the residual does not change with it.
        r = 2 * (a @ out - b) * g_residuals.unsqueeze(-2)
        ga, gb = total(ga, r @ adjoint(out)), total(gb, -r)
    return ga, gb


def _solver(driver: str, a: np.ndarray, b: np.ndarray, limit: float) -> Callable:
    """A function of two matrices that gives the solution, the rank and the singular values."""
    import scipy.linalg

    (m, n), k = a.shape[-2:], b.shape[-1]
    work = BLOCK * (m + n + k)

    def by_qr(a: np.ndarray, b: np.ndarray) -> tuple:
        if driver == "gels":
            return gels(a, below(b), lwork=work)[1][:n], n, 0
        _, x, _, rank, _ = gelsy(a, below(b), np.zeros(n, np.int32), limit, work)
        return x[:n], rank, 0

    def by_singular_values(a: np.ndarray, b: np.ndarray) -> tuple:
        x, _, rank, s = scipy.linalg.lstsq(a, b, limit, lapack_driver=driver, check_finite=False)  # type: ignore
        return x, rank, s

    def below(b: np.ndarray) -> np.ndarray:
        """`b` with room for the solution."""
        if m >= n:
            return b
        room = np.zeros((n, k), b.dtype, order="F")
        room[:m] = b
        return room

    gels, gelsy = (lapack(name, a, b) for name in ("gels", "gelsy"))
    return by_qr if driver in ("gels", "gelsy") else by_singular_values


@primitive(
    name="lstsq",
    outputs=("out", "residuals", "rank", "singular_values"),
    meta=_lstsq_meta,
    vjp=joint(_lstsq_vjp),
    samples=lambda s: [
        s(spd(s, 4, 2), (4, 3), rcond=None, driver="gels"),
        s(spd(s, 2, 4, 2), (2, 4, 1), rcond=None, driver="gelsd", smooth=False),  # also values
        s(spd(s, 2, 4), (2, 1), rcond=None, driver="gels"),
        s(spd(s, 2, 3), (2, 1), rcond=1e-6, driver="gelsy"),
        s((0, 2, 3), (0, 2, 1), rcond=None, driver="gelsy"),
    ],
)
def lstsq_op(a: Any, b: Any, *, rcond: float | None, driver: str) -> Any:
    """The shortest x with the least `|a x - b|`, the squared residuals, ranks, singular values."""
    *batch, m, n = a.shape
    k, real = b.shape[-1], a.real.dtype
    x, rank = np.zeros((*batch, n, k), a.dtype), np.zeros(batch, np.int64)
    s = np.zeros((*batch, min(m, n)), real)
    limit = np.finfo(real).eps * max(m, n) if rcond is None else rcond

    if a.size and k:
        run = _solver(driver, a, b, limit)
        converged("linalg.lstsq", lambda: each(run, (x, rank, s), (2, 0, 1), a, b))
    residuals = np.zeros(0, real)
    if m > n and driver != "gelsy" and (driver == "gels" or (rank == n).all()):
        residuals = np.square(np.abs(a @ x - b)).sum(-2).astype(real, copy=False)
    none = np.zeros(0, np.int64)
    singular = s if driver in ("gelsd", "gelss") else np.zeros(0, real)
    return x, residuals, none if driver == "gels" else rank, singular


def _lstsq_checks(name: str, a: Tensor, b: Tensor, driver: str) -> None:
    checked(name, a, argument="input")
    if not b._data.ndim:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{a.dtype.name} and other's dtype {b.dtype.name}"
        )
    if a._data.ndim - b._data.ndim not in (0, 1):
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - "
            f"other.dim()) <= 1, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if driver not in DRIVERS:
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of {', '.join(DRIVERS)}, got {driver!r}"
        )


@public(out=True, space="linalg")
def lstsq(
    input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> Any:
    """The X that makes `|A X - B|` least, and the shortest of these.

    A, `input`, is `(..., m, n)`, B, `b`, is `(..., m, k)` or `(..., m)`. Singular values up to
    `rcond` times the largest count as 0 (`max(m, n) * eps`). The driver is LAPACK's: "gelsy"
    (pivoted QR, the default), "gels" (QR, for full rank), "gelsd" and "gelss" (singular values).
    Also gives, or leaves empty: the squared residuals `(..., k)` (m > n, full rank, not "gelsy"),
    the rank (not "gels"), singular values ("gelsd", "gelss").

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.lstsq(torch.eye(3)[:, :1], torch.tensor([2.0, 1.0, 0.0])).solution
        tensor([2.])
    """
    name, driver = "linalg.lstsq", "gelsy" if driver is None else driver
    _lstsq_checks(name, input, b, driver)
    vector = input._data.ndim == b._data.ndim + 1
    right = b.unsqueeze(-1) if vector else b  # type: ignore[attr-defined]
    if input._data.shape[-2] != right._data.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2}), got "
            f"{tuple(input.shape)} and {tuple(b.shape)}"
        )
    batch = errors.broadcast_shapes(name, input._data.shape[:-2], right._data.shape[:-2])
    a, right = (x.expand(*batch, *x._data.shape[-2:]) for x in (input, right))  # type: ignore[attr-defined]
    x, residuals, rank, s = lstsq_op(a, right, rcond=rcond, driver=driver)
    own = tuple(slice(n) for n in input._data.shape[:-2])  # the batch of A alone
    rank = rank if driver == "gels" else rank[own]
    s = s[own] if driver in ("gelsd", "gelss") else s
    return linalg_lstsq(x.squeeze(-1) if vector else x, residuals, rank, s)
