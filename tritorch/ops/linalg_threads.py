"""Decompositions of small matrices on one thread of BLAS.

LAPACK works in many short steps. Shared between threads each ends with all of them waiting for the
last one, a thousand times as long as the step where another program has its core.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

from ..op import REGISTRY
from ..runtime import blas
from . import linalg_triangular as linalg_triangular  # the last of the records' modules

SMALL = 1 << 18  # elements of a matrix up to which one thread is about as fast as several

_NAMES = (
    "cholesky_op cholesky_inverse cholesky_solve det slogdet eig_op eigvals_op eigh_op eigvalsh_op "
    "geqrf householder_product inv_ex ldl_factor ldl_solve linalg_solve lstsq lu_op matrix_exp "
    "matrix_rank ormqr pinv qr_op solve_triangular svd_op svdvals_op"
)


def alone(cpu: Callable) -> Callable:
    """`cpu` with one thread of BLAS where all matrices are small."""

    @functools.wraps(cpu)
    def run(*arrays: Any, **params: Any) -> Any:
        if any(a is not None and math.prod(a.shape[-2:]) > SMALL for a in arrays):
            return cpu(*arrays, **params)
        with blas.single:
            if "scipy" not in sys.modules:
                return cpu(*arrays, **params)
            with blas.single_scipy:
                return cpu(*arrays, **params)

    return run


for _name in _NAMES.split():
    _op = REGISTRY[_name]
    if _op.cpu is not None:
        _op.cpu = alone(_op.cpu)
