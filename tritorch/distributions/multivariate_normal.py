"""`MultivariateNormal`."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import as_size, lazy_property, standard_normal

__all__ = ["MultivariateNormal"]


def _batch_mv(bmat: Tensor, bvec: Tensor) -> Tensor:
    """Matrices `(..., n, m)` times vectors `(..., m)`; batches broadcast."""
    return torch.matmul(bmat, bvec.unsqueeze(-1)).squeeze(-1)


def _batch_mahalanobis(bL: Tensor, bx: Tensor) -> Tensor:
    """`x' M^-1 x` with `M = L L'`, for L `(..., n, n)` and x `(..., n)`.

    Dimensions that x has in front of those of L become columns of one solution, so that L is not
    copied.
    """
    batch = bL.ndim - 2
    if bx.ndim < batch + 1:
        bx = bx.reshape((1,) * (batch + 1 - bx.ndim) + bx.shape)
    extra = bx.shape[: bx.ndim - batch - 1]
    columns = bx.reshape((-1, *bx.shape[len(extra) :])).movedim(0, -1)
    solved = torch.linalg.solve_triangular(bL, columns, upper=False).pow(2).sum(-2)
    return solved.movedim(-1, 0).reshape(extra + solved.shape[:-1])


def _precision_to_scale_tril(P: Tensor) -> Tensor:
    """The lower factor L of `P^-1 = L L'`, by the factor of P with both dimensions reversed."""
    reverse = torch.linalg.cholesky(torch.flip(P, (-2, -1)))
    upper = torch.flip(reverse, (-2, -1)).mT
    eye = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    return torch.linalg.solve_triangular(upper, eye.expand(P.shape), upper=False)


def half_log_det(L: Tensor) -> Tensor:
    """Half the logarithm of `det(L L')`."""
    return L.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(Distribution):
    """Vectors `(..., n)` about `loc`, with one of covariance matrix, its inverse, its factor.

    Raises ValueError where not exactly one of the three is given.

    Example:
        >>> import tritorch as torch
        >>> d = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
        >>> d.log_prob(torch.zeros(1, 2))
        tensor([-1.8379])
    """

    arg_constraints: Any = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = _the_one(covariance_matrix, precision_matrix, scale_tril)
        batch_shape = torch.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        event_shape = loc.shape[-1:]
        self.loc = loc.expand(batch_shape + event_shape)
        self.__dict__[name] = matrix.expand(as_size(batch_shape) + matrix.shape[-2:])
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._factor = factor_of(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        matrices = {"covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}
        new = self._expanded(MultivariateNormal, batch_shape, _instance, loc=1, **matrices)
        new._factor = self._factor
        return new

    @property
    def _unbroadcasted_scale_tril(self) -> Tensor:
        return self._factor

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance matrix."""
        n = self._event_shape
        return self._factor.expand(self._batch_shape + n + n)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix."""
        n = self._event_shape
        return (self._factor @ self._factor.mT).expand(self._batch_shape + n + n)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance matrix."""
        n = self._event_shape
        return torch.cholesky_inverse(self._factor).expand(self._batch_shape + n + n)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._factor.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = standard_normal(shape, self.loc.dtype, self.loc.device)
        return self.loc + _batch_mv(self._factor, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        squared = _batch_mahalanobis(self._factor, value - self.loc)
        n = self._event_shape[0]
        return -0.5 * (n * math.log(2 * math.pi) + squared) - half_log_det(self._factor)

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        entropy = 0.5 * n * (1.0 + math.log(2 * math.pi)) + half_log_det(self._factor)
        return entropy.expand(self._batch_shape)


def _the_one(
    covariance: Tensor | None, precision: Tensor | None, scale_tril: Tensor | None
) -> tuple[str, Tensor]:
    """Name and value of the matrix that is given."""
    given = {
        "covariance_matrix": covariance,
        "precision_matrix": precision,
        "scale_tril": scale_tril,
    }
    found = [(name, m) for name, m in given.items() if m is not None]
    if len(found) != 1:
        raise ValueError(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    name, matrix = found[0]
    if matrix.dim() < 2:
        what = "scale_tril matrix" if name == "scale_tril" else name
        raise ValueError(
            f"{what} must be at least two-dimensional, with optional leading batch dimensions"
        )
    return name, matrix


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of the covariance that a matrix of a name stands for."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return torch.linalg.cholesky(matrix)
    return _precision_to_scale_tril(matrix)
