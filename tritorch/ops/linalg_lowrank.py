"""Few singular values or eigenvalues of a large matrix; what `torch` no longer has.

Halko, Martinsson and Tropp, "Finding structure with randomness: probabilistic algorithms for
constructing approximate matrix decompositions", 2011, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .api import PUBLIC, attach, called, public
from .linalg_decompose import cholesky
from .linalg_factor import eigh_op, qr_op
from .linalg_host import adjoint, checked
from .linalg_singular import svd_op
from .linalg_solve import triangular_op
from .random import randn


def _basis(a: Any, q: int, niter: int) -> Any:
    """Orthonormal columns that nearly span the range of `a`, by iterations on random ones."""
    start = randn(a._data.shape[-1], q, dtype=a.dtype, device=a.device)
    found = qr_op(a @ start, mode="reduced")[0]
    for _ in range(niter):
        found = qr_op(adjoint(a) @ found, mode="reduced")[0]
        found = qr_op(a @ found, mode="reduced")[0]
    return found


def _lowrank(a: Any, q: int, niter: int) -> tuple[Tensor, Tensor, Tensor]:
    m, n = a._data.shape[-2:]
    tall = a if m >= n else adjoint(a)
    basis = _basis(tall, q, niter)
    u, s, vh = svd_op(adjoint(basis) @ tall, full=False)
    u, v = basis @ u, adjoint(vh)
    return (u, s, v) if m >= n else (v, s, u)


@public(method=False)
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V of a nearly low-rank matrix `A` (of `A - M`), by random projections.

    `A` is `(..., m, n)`, q a guess of its rank from above; U is `(..., m, q)`, V `(..., n, q)`.
    `niter` iterations sharpen the result, which depends on the generator's state.
    """
    checked("svd_lowrank", A)
    a = A if M is None else A - M  # type: ignore[operator]
    return _lowrank(a, 6 if q is None else q, 2 if niter is None else niter)


@public(method=False)
def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of the rows of `A`: `svd_lowrank` of `A` less its columns' means.

    `A` is `(..., m, n)`; q is at most the smaller of both, 6 by default.
    """
    m, n = checked("pca_lowrank", A)._data.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"pca_lowrank: q(={q}) must be non-negative integer and not greater than min(m, n)="
            f"{min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"pca_lowrank: niter(={niter}) must be non-negative integer")
    return _lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)  # type: ignore[attr-defined]


@public(method=False)
def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Callable | None = None,
    ortho_iparams: dict | None = None,
    ortho_fparams: dict | None = None,
    ortho_bparams: dict | None = None,
) -> tuple[Tensor, Tensor]:
    """The k largest or smallest eigenvalues of `A X = B X diag(E)`, and their vectors.

    `A` and `B` are `(..., m, m)`, symmetric, `B` positive-definite; m has to be at least 3 k.
    Exact, by `torch.linalg.eigh`: what steers the iteration is accepted and has no effect.
    """
    m = checked("lobpcg", A, square=True)._data.shape[-1]
    k = (1 if X is None else X._data.shape[-1]) if k is None else k
    if m < 3 * (k if n is None else n):  # type: ignore
        raise ValueError(
            f"lobpcg: LOBPCG algorithm is not applicable when the number of A rows (={m}) is "
            f"smaller than 3 x the number of requested eigenpairs (={k if n is None else n})"
        )
    if B is None:
        values, vectors = eigh_op((A + A.mT) / 2, lower=True)  # type: ignore[attr-defined]
    else:
        factor = cholesky(B)
        half = triangular_op(factor, A, upper=False, unit=False)
        inner = triangular_op(factor, adjoint(half), upper=False, unit=False)
        values, vectors = eigh_op((inner + inner.mT) / 2, lower=True)
        vectors = triangular_op(adjoint(factor), vectors, upper=True, unit=False)
    if largest is False:
        return values[..., :k], vectors[..., :, :k]
    return values.flip(-1)[..., :k], vectors.flip(-1)[..., :, :k]


# -- removed ---------------------------------------------------------------------------------------

_REMOVED = {
    "symeig": "Use torch.linalg.eigh, which reads the lower triangle by default.",
    "eig": "torch.linalg.eig returns complex tensors rather than pairs of real numbers.",
    "solve": "torch.linalg.solve(A, B) has its arguments reversed and gives no LU factorization.",
    "lstsq": "torch.linalg.lstsq(A, B) has its arguments reversed.",
    "matrix_rank": "Use torch.linalg.matrix_rank.",
}


def _removed(name: str, instead: str) -> Callable:
    @called(name)
    def function(*args: Any, **kwargs: Any) -> Tensor:
        raise RuntimeError(
            f"{name}: This function was deprecated since version 1.9 and is now removed. {instead}"
        )

    function.__doc__ = f"Removed from PyTorch. {instead}"
    return function


for _name, _instead in _REMOVED.items():
    PUBLIC[_name] = _removed(_name, _instead)
    if _name != "matrix_rank":
        attach(_name, PUBLIC[_name])
