"""Decompositions of matrices, as `torch.linalg` and torch publish them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import errors
from ..op import primitive
from ..return_types import named
from ..tensor import Tensor
from .api import called, public
from .linalg_factor import cholesky_op, converged, eig_op, eigh_op, inverse_adjoint, qr_op
from .linalg_host import checked, fail_first, not_positive, numbers
from .linalg_singular import svd_op
from .linalg_solve import spd

linalg_cholesky_ex = named("linalg_cholesky_ex", "L info")
linalg_qr, torch_qr = (named(n, "Q R") for n in ("linalg_qr", "qr"))
linalg_eig, linalg_eigh = (
    named(n, "eigenvalues eigenvectors") for n in ("linalg_eig", "linalg_eigh")
)
linalg_svd, torch_svd = named("linalg_svd", "U S Vh"), named("svd", "U S V")


# -- Cholesky --------------------------------------------------------------------------------------


def _cholesky_of(name: str, a: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    checked(name, a, square=True)
    factor, info = cholesky_op(a.mH if upper else a)  # type: ignore[attr-defined]
    return factor.mH if upper else factor, info


@public(out=True, space="linalg")
def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L of `A = L L^H`, or the upper triangular U of `A = U^H U`.

    A, `input`, is `(..., n, n)`, Hermitian: only one triangle is read. Raises LinAlgError where a
    matrix is not positive-definite.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    factor, info = _cholesky_of("linalg.cholesky", input, upper)
    fail_first(info, not_positive("linalg.cholesky"))
    return factor


@public(out=True)
@called("cholesky")
def _cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`torch.linalg.cholesky`."""
    errors.deprecated("torch.cholesky", "torch.linalg.cholesky, of whose L `U = L.mH`")
    factor, info = _cholesky_of("cholesky", input, upper)
    fail_first(info, not_positive("cholesky"))
    return factor


@public(out=True, space="linalg")
def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """`cholesky`, and an int32 `info`: the order of the first minor that is not positive, or 0."""
    factor, info = _cholesky_of("linalg.cholesky_ex", input, upper)
    if check_errors:
        fail_first(info, not_positive("linalg.cholesky_ex"))
    return linalg_cholesky_ex(factor, info)


# -- QR --------------------------------------------------------------------------------------------


@public(out=True, space="linalg")
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """`A = Q R` with orthonormal columns of Q and an upper triangular R.

    `A` is `(..., m, n)`, k the smaller of m and n. Q is `(..., m, k)` and R `(..., k, n)` for the
    mode "reduced"; `(..., m, m)` and `(..., m, n)` for "complete"; for "r", Q is empty.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.qr(torch.ones(3, 2)).R.shape
        tritorch.Size([2, 2])
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"linalg.qr: received unrecognized mode {mode!r} but expected one of 'reduced' "
            "(default), 'r', or 'complete'"
        )
    return linalg_qr(*qr_op(checked("linalg.qr", A), mode=mode))


@public(out=True)
@called("qr")
def _qr(input: Tensor, some: bool = True) -> Any:
    """`torch.linalg.qr`, reduced or, without `some`, complete."""
    errors.deprecated("torch.qr", "torch.linalg.qr(A, 'reduced' if some else 'complete')")
    return torch_qr(*qr_op(checked("qr", input), mode="reduced" if some else "complete"))


# -- eigenvalues -----------------------------------------------------------------------------------


def _finite(name: str, a: Tensor) -> Tensor:
    checked(name, a, square=True)
    data = numbers(a)
    if data is not None and not np.isfinite(data).all():
        raise RuntimeError(f"{name}: input tensor should not contain infs or NaNs.")
    return a


def lower_triangle(name: str, a: Tensor, UPLO: str) -> bool:
    """Whether the lower triangle of square matrices is read, by a letter."""
    checked(name, a, square=True)
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper() == "L"


@primitive(
    meta=lambda a: (tuple(a._data.shape[:-1]), a.dtype.to_complex()),
    vjp=lambda g, a: _eigvals_vjp(g, a),
    samples=lambda s: [s(spd(s, 3, 3), smooth=False), s((0, 2, 2))],
)
def eigvals_op(a: Any) -> Any:
    """Eigenvalues of square matrices, complex."""
    kind = np.result_type(a.dtype, np.complex64)
    if not a.size:
        return np.empty(a.shape[:-1], kind)
    values = converged("linalg.eigvals", lambda: np.linalg.eigvals(a))
    return values.astype(kind, copy=False)


def _eigvals_vjp(g: Tensor, a: Tensor) -> Tensor:
    vectors = eig_op(a)[1]
    return inverse_adjoint(vectors) @ (g.unsqueeze(-1) * vectors.mH)  # type: ignore[attr-defined]


@primitive(
    meta=lambda a, *, lower: (tuple(a._data.shape[:-1]), a.dtype.to_real()),
    vjp=lambda g, a, lower: _eigvalsh_vjp(g, a, lower),
    samples=lambda s: [s(spd(s, 3, 3), smooth=False, lower=False), s((0, 2, 2), lower=True)],
)
def eigvalsh_op(a: Any, *, lower: bool) -> Any:
    """Ascending eigenvalues of Hermitian matrices."""
    return converged("linalg.eigvalsh", lambda: np.linalg.eigvalsh(a, "L" if lower else "U"))


def _eigvalsh_vjp(g: Tensor, a: Tensor, lower: bool) -> Tensor:
    v = eigh_op(a, lower=lower)[1]
    return (v * g.unsqueeze(-2)) @ v.mH  # type: ignore[attr-defined]


@public(out=True, space="linalg")
def eig(input: Tensor) -> Any:
    """Eigenvalues `(..., n)` and eigenvectors of length 1 `(..., n, n)`, its columns; complex.

    Of square matrices `input`, `(..., n, n)`, without inf and NaN. Neither order nor phase is
    defined.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.eig(torch.eye(2)).eigenvalues
        tensor([1.+0.j, 1.+0.j])
    """
    return linalg_eig(*eig_op(_finite("linalg.eig", input)))


@public(out=True, space="linalg")
def eigvals(input: Tensor) -> Tensor:
    """The eigenvalues `(..., n)` of square matrices, complex, in no order."""
    return eigvals_op(_finite("linalg.eigvals", input))


@public(out=True, space="linalg")
def eigh(input: Tensor, UPLO: str = "L") -> Any:
    """Ascending eigenvalues and orthonormal eigenvectors of Hermitian matrices.

    A, `input`, is `(..., n, n)`; its lower or upper triangle is read. Eigenvalues are real. The
    gradient through vectors is finite where eigenvalues are distinct only.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.eigh(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
        tensor([1., 2.])
    """
    return linalg_eigh(*eigh_op(input, lower=lower_triangle("linalg.eigh", input, UPLO)))


@public(out=True, space="linalg")
def eigvalsh(input: Tensor, UPLO: str = "L") -> Tensor:
    """The ascending eigenvalues `(..., n)` of Hermitian matrices, real."""
    return eigvalsh_op(input, lower=lower_triangle("linalg.eigvalsh", input, UPLO))


# -- singular values -------------------------------------------------------------------------------


@primitive(
    meta=lambda a: ((*a._data.shape[:-2], min(a._data.shape[-2:])), a.dtype.to_real()),
    vjp=lambda g, a: _svdvals_vjp(g, a),
    samples=lambda s: [s(spd(s, 3, 2)), s(spd(s, 2, 2, 2)), s((0, 2, 3)), s((2, 0))],
)
def svdvals_op(a: Any) -> Any:
    """Singular values of matrices, from the largest."""
    if not a.size:
        return np.empty((*a.shape[:-2], min(a.shape[-2:])), a.real.dtype)
    return converged("linalg.svd", lambda: np.linalg.svd(a, compute_uv=False))


def _svdvals_vjp(g: Tensor, a: Tensor) -> Tensor:
    u, _, vh = svd_op(a, full=False)
    return (u * g.unsqueeze(-2)) @ vh  # type: ignore[attr-defined]


def _no_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(
            f"{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
            f"backend, got {driver!r}"
        )


@public(out=True, space="linalg")
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """`A = U diag(S) Vh`: singular values from the largest, and orthonormal vectors.

    `A` is `(..., m, n)`, k the smaller of m and n; S is `(..., k)`, real. U is `(..., m, m)` and Vh
    `(..., n, n)`, or `(..., m, k)` and `(..., k, n)` without `full_matrices`.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.svd(torch.tensor([[0.0, 3.0], [2.0, 0.0]])).S
        tensor([3., 2.])
    """
    _no_driver("linalg.svd", driver)
    return linalg_svd(*svd_op(checked("linalg.svd", A), full=full_matrices))


@public(out=True, space="linalg")
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values `(..., k)` of matrices `(..., m, n)`, from the largest."""
    _no_driver("linalg.svdvals", driver)
    return svdvals_op(checked("linalg.svdvals", A))


@public(out=True)
@called("svd")
def _svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """`input = U diag(S) V^H`; without `compute_uv`, U and V are zeros."""
    *batch, m, n = checked("svd", input)._data.shape
    if not compute_uv:
        zeros = (input.new_zeros(*batch, k, k) for k in (m, n))  # type: ignore[attr-defined]
        u, v = zeros
        return torch_svd(u, svdvals_op(input), v)
    u, s, vh = svd_op(input, full=not some)
    return torch_svd(u, s, vh.mH)
