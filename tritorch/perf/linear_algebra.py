"""How the operators of linear algebra are called: on batches of 64 matrices of 64 by 64, or one of
512 by 512."""

from __future__ import annotations

from typing import Any

from .specs import Case, Positive, Reals, Triangular, on

BATCH, ONE = (64, 64, 64), (512, 512)
batch, one = on(BATCH), on(ONE)
solvable = on(Positive(ONE), Reals(ONE))


def reflected(lib: Any, a: Any, x: Any) -> Any:
    return lib.ormqr(*lib.geqrf(a), x)


def ldl_solved(lib: Any, a: Any, b: Any) -> Any:
    return lib.linalg.ldl_solve(*lib.linalg.ldl_factor(a), b)


LINALG: dict[str, Case] = {
    "cholesky_op": on(Positive(BATCH))(lambda lib, a: lib.linalg.cholesky(a)),
    "cholesky_inverse": on(Triangular(ONE))(lambda lib, a: lib.cholesky_inverse(a)),
    "cholesky_solve": on(Reals(ONE), Triangular(ONE))(lambda lib, b, a: lib.cholesky_solve(b, a)),
    "cross": on((1 << 18, 3), (1 << 18, 3))(lambda lib, a, b: lib.linalg.cross(a, b)),
    "det": batch(lambda lib, a: lib.linalg.det(a)),
    "slogdet": batch(lambda lib, a: lib.linalg.slogdet(a)),
    "eig_op": on((128, 128))(lambda lib, a: lib.linalg.eig(a)),
    "eigvals_op": on((128, 128))(lambda lib, a: lib.linalg.eigvals(a)),
    "eigh_op": on(Positive((256, 256)))(lambda lib, a: lib.linalg.eigh(a)),
    "eigvalsh_op": on(Positive((256, 256)))(lambda lib, a: lib.linalg.eigvalsh(a)),
    "geqrf": one(lambda lib, a: lib.geqrf(a)),
    "householder_product": one(lambda lib, a: lib.linalg.householder_product(*lib.geqrf(a))),
    "ormqr": on(ONE, ONE)(reflected),
    "inv_ex": batch(lambda lib, a: lib.linalg.inv(a)),
    "ldl_factor": on(Positive((128, 128)))(lambda lib, a: lib.linalg.ldl_factor(a)),
    "ldl_solve": on(Positive((128, 128)), (128, 128))(ldl_solved),
    "linalg_solve": solvable(lambda lib, a, b: lib.linalg.solve(a, b)),
    "solve_triangular": on(Triangular(ONE), ONE)(
        lambda lib, a, b: lib.linalg.solve_triangular(a, b, upper=False)
    ),
    "lstsq": on((512, 128), (512, 16))(lambda lib, a, b: lib.linalg.lstsq(a, b)),
    "lu_op": one(lambda lib, a: lib.linalg.lu(a)),
    "matrix_exp": on((16, 64, 64))(lambda lib, a: lib.linalg.matrix_exp(a)),
    "matrix_rank": on((128, 128))(lambda lib, a: lib.linalg.matrix_rank(a)),
    "pinv": on((128, 128))(lambda lib, a: lib.linalg.pinv(a)),
    "qr_op": one(lambda lib, a: lib.linalg.qr(a)),
    "svd_op": on((128, 128))(lambda lib, a: lib.linalg.svd(a)),
    "svdvals_op": on((128, 128))(lambda lib, a: lib.linalg.svdvals(a)),
}
