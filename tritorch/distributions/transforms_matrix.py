"""Transforms into triangular, positive definite and correlation matrices."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .transform import Transform, need_dims
from .utils import tril_matrix_to_vec, vec_to_tril_matrix

__all__ = ["CorrCholeskyTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform"]

pad = torch.nn.functional.pad


def _left_of(remaining: Tensor) -> Tensor:
    """What was left before each position of a row, 1 at the first."""
    return pad(remaining[..., :-1], [1, 0], value=1.0)


class CorrCholeskyTransform(Transform):
    """`(..., n (n - 1) / 2)` real numbers to Cholesky factors of `n x n` correlation matrices.

    `tanh` of a number is the share of a row's remaining length that its element takes.

    Source: Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines
    and extended onion method", 2009; Stan Reference Manual, "Cholesky factors of correlation
    matrices".
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Any) -> Tensor:
        eps = torch.finfo(x.dtype).eps
        share = vec_to_tril_matrix(torch.tanh(x).clamp(-1 + eps, 1 - eps), diag=-1)
        remaining = (1 - share**2).sqrt().cumprod(-1)
        share = share + torch.eye(share.shape[-1], dtype=x.dtype, device=x.device)
        return share * _left_of(remaining)

    def _inverse(self, y: Any) -> Tensor:
        left = tril_matrix_to_vec(_left_of(1 - (y * y).cumsum(-1)), diag=-1)
        return torch.atanh(tril_matrix_to_vec(y, diag=-1) / left.sqrt())

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Tensor:
        remaining = tril_matrix_to_vec(1 - (y * y).cumsum(-1), diag=-2)
        flat = torch.nn.functional.softplus(-2.0 * x) + x - math.log(2.0)
        return 0.5 * remaining.log().sum(-1) - 2.0 * flat.sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        need_dims(shape, 1)
        n = shape[-1]
        side = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if side * (side - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return shape[:-1] + (side, side)

    def inverse_shape(self, shape: Any) -> Any:
        need_dims(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return shape[:-2] + (shape[-1] * (shape[-1] - 1) // 2,)


class LowerCholeskyTransform(Transform):
    """Square matrices to lower triangles with positive diagonals: `exp` of the diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = None  # type: ignore[assignment]

    def _call(self, x: Any) -> Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Any) -> Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Transform):
    """Square matrices to positive definite ones: `L L'` of `LowerCholeskyTransform`."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = None  # type: ignore[assignment]

    def _call(self, x: Any) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Any) -> Tensor:
        return LowerCholeskyTransform().inv(torch.linalg.cholesky(y))
