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

# Multiplications and additions by LAPACK's counts ("LAPACK working note 41", appendix C); where it
# iterates, those of Golub and Van Loan ("Matrix computations", 4th edition).
B, S, L = BATCH[0] * BATCH[-1] ** 3, 128.0**3, 512.0**3
FLOPS = {
    **{"cholesky_op": B / 3, "det": B * 2 / 3, "slogdet": B * 2 / 3, "inv_ex": 2.0 * B},
    **{"cholesky_inverse": L * 2 / 3, "cholesky_solve": 2 * L, "solve_triangular": L},
    **{"linalg_solve": L * 8 / 3, "lu_op": L * 2 / 3, "cross": 9.0 * (1 << 18)},
    **{"geqrf": L * 4 / 3, "householder_product": L * 8 / 3, "qr_op": L * 8 / 3},
    **{"ormqr": L * 10 / 3, "ldl_factor": S / 3, "ldl_solve": S * 7 / 3},
    **{"eig_op": 25 * S, "eigvals_op": 10 * S, "eigh_op": 9 * 256.0**3},
    **{"eigvalsh_op": 256.0**3 * 4 / 3, "svd_op": 21 * S, "svdvals_op": S * 8 / 3},
    **{"matrix_rank": S * 8 / 3, "pinv": 23 * S, "matrix_exp": 16 * 64.0**3 * 16},
    "lstsq": 2.0 * 512 * 128**2 - 2 / 3 * 128**3 + 4.0 * 512 * 128 * 16,
}
