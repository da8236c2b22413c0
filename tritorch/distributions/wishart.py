"""`Wishart`."""

from __future__ import annotations

import math
import warnings
from numbers import Number
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .chi2 import Chi2
from .exp_family import ExponentialFamily
from .multivariate_normal import factor_of, half_log_det
from .utils import as_size, lazy_property

__all__ = ["Wishart"]

TRIES = 10  # of drawing a singular sample again


def _mvdigamma(x: Tensor, p: int) -> Tensor:
    """The derivative of `multigammaln(x, p)`."""
    steps = torch.arange(p, dtype=x.dtype, device=x.device)
    return torch.digamma(x.unsqueeze(-1) - steps / 2).sum(-1)


class Wishart(ExponentialFamily):
    """Sums of squares `X' X` of `df` normal vectors: positive definite `(..., p, p)`.

    Given by one of covariance matrix, its inverse, its Cholesky factor; `df > p - 1`. Samples come
    from Bartlett's decomposition; one that is singular by rounding is drawn again, with a warning.

    Source: Bartlett, "On the theory of statistical regression", 1933.
    """

    support = constraints.positive_definite  # type: ignore[assignment]
    has_rsample = True
    _mean_carrier_measure = 0  # type: ignore[assignment]

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = _the_one(covariance_matrix, precision_matrix, scale_tril)
        if isinstance(df, Number):
            df = torch.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch_shape = as_size(torch.broadcast_shapes(matrix.shape[:-2], df.shape))
        event_shape = matrix.shape[-2:]
        low = event_shape[-1] - 1
        if (df <= low).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {low}.")
        self.__dict__[name] = matrix.expand(batch_shape + event_shape)
        self.df = df.expand(batch_shape)
        if self.df.lt(event_shape[-1]).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for "
                "ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._factor = factor_of(name, matrix)
        self._chi2 = self._chi2_of(self.df)

    def _chi2_of(self, df: Tensor) -> Chi2:
        """Of the squared diagonal of Bartlett's factor: degrees df, df - 1, ..., df - p + 1."""
        steps = torch.arange(self._event_shape[-1], dtype=df.dtype, device=df.device)
        return Chi2(df.unsqueeze(-1) - steps)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        matrices = {"covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}
        new = self._expanded(Wishart, batch_shape, _instance, df=0, **matrices)
        new._factor = self._factor
        new._chi2 = new._chi2_of(new.df)
        return new

    @property
    def _unbroadcasted_scale_tril(self) -> Tensor:
        return self._factor

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance matrix."""
        return self._factor.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix of the normal vectors."""
        return (self._factor @ self._factor.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance matrix."""
        inverse = torch.cholesky_inverse(self._factor)
        return inverse.expand(self._batch_shape + self._event_shape)

    def _df_matrix(self) -> Tensor:
        return self.df.unsqueeze(-1).unsqueeze(-1)

    @property
    def mean(self) -> Tensor:
        return self._df_matrix() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        """NaN where df <= p + 1."""
        factor = self._df_matrix() - self.covariance_matrix.shape[-1] - 1
        return torch.where(factor > 0, factor, torch.nan) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        V = self.covariance_matrix
        diagonal = V.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self._df_matrix() * (V.pow(2) + outer)

    def _bartlett_sampling(self, sample_shape: Any = ()) -> Tensor:
        diagonal = self._chi2.rsample(sample_shape).clamp(min=torch.finfo(self.df.dtype).tiny)
        noise = torch.randn(
            tuple(self._extended_shape(sample_shape)),
            dtype=self.df.dtype,
            device=self.df.device,
        )
        chol = self._factor @ (noise.tril(-1) + diagonal.sqrt().diag_embed())
        return chol @ chol.mT

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        """Samples `(..., p, p)`; singular ones are drawn again up to so many times."""
        tries = TRIES if max_try_correction is None else max_try_correction
        sample = self._bartlett_sampling(sample_shape)
        singular = ~constraints.positive_definite.check(sample)
        if singular.any():
            warnings.warn("Singular sample detected.", stacklevel=2)
        for _ in range(tries):
            if not singular.any():
                break
            again = self._bartlett_sampling(sample_shape)
            sample = torch.where(singular.unsqueeze(-1).unsqueeze(-1), again, sample)
            singular = ~constraints.positive_definite.check(sample)
        return sample

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        trace = torch.cholesky_solve(value, self._factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        return (
            -nu * (p * math.log(2) / 2 + half_log_det(self._factor))
            - torch.special.multigammaln(nu / 2, p)
            + (nu - p - 1) / 2 * torch.linalg.slogdet(value).logabsdet
            - trace / 2
        )

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * math.log(2) / 2 + half_log_det(self._factor))
            + torch.special.multigammaln(nu / 2, p)
            - (nu - p - 1) / 2 * _mvdigamma(nu / 2, p)
            + nu * p / 2
        )

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (-self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2)

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        p = self._event_shape[-1]
        freedom = y + (p + 1) / 2
        log_det = torch.linalg.slogdet(-2 * x).logabsdet
        return freedom * (p * math.log(2) - log_det) + torch.special.multigammaln(freedom, p)


def _the_one(
    covariance: Tensor | None, precision: Tensor | None, scale_tril: Tensor | None
) -> tuple[str, Tensor]:
    """Name and value of the matrix that is given."""
    given = {
        "scale_tril": scale_tril,
        "covariance_matrix": covariance,
        "precision_matrix": precision,
    }
    found = [(name, m) for name, m in given.items() if m is not None]
    if len(found) != 1:
        raise AssertionError(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    if found[0][1].dim() < 2:
        raise ValueError(
            "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
        )
    return found[0]
