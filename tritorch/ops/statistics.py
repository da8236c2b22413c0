"""Covariances and correlations of variables in rows; integrals by the trapezoidal rule."""

from __future__ import annotations

import warnings
from typing import Any

from .. import errors
from ..op import users_level
from ..tensor import Tensor
from .api import public
from .arithmetic import true_divide

# -- covariance ------------------------------------------------------------------------------------


def _weights(name: str, which: str, w: Tensor, n: int, kind: int) -> Tensor:
    """A vector of `n` weights, whole numbers (1) or reals (2), none below 0."""
    wanted = {1: "integral", 2: "floating point"}[kind]
    if w._data.ndim > 1:
        raise RuntimeError(
            f"{name}(): expected {which} to have one or fewer dimensions but got {which} with "
            f"{w._data.ndim} dimensions"
        )
    if w.dtype.category != kind:
        raise RuntimeError(
            f"{name}(): expected {which} to have {wanted} dtype but got {which} with "
            f"{w.dtype.name} dtype"
        )
    if w._data.size != n:
        raise RuntimeError(
            f"{name}(): expected {which} to have the same numel as there are observations in the "
            f"input but got {w._data.size} != {n}"
        )
    if n and not w.is_meta and (w < 0).any().item():  # type: ignore[attr-defined, operator]
        raise RuntimeError(f"{name}(): {which} cannot be negative")
    return w


def _rows(name: str, x: Tensor) -> Any:
    if x._data.ndim > 2:
        raise RuntimeError(
            f"{name}(): expected input to have two or fewer dimensions but got an input with "
            f"{x._data.ndim} dimensions"
        )
    if x.dtype.category == 0:
        raise RuntimeError(f"{name}(): bool dtype is not supported for input")
    return x if x._data.ndim == 2 else x.reshape(1, -1)  # type: ignore[attr-defined]


def _covariance(
    name: str, input: Tensor, correction: int, fweights: Tensor | None, aweights: Tensor | None
) -> Tensor:
    x = _rows(name, input)
    n = x._data.shape[1]
    w: Any = None if fweights is None else _weights(name, "fweights", fweights, n, 1)
    if aweights is not None:
        a: Any = _weights(name, "aweights", aweights, n, 2)
        w = a if w is None else w * a
    total = n if w is None else w.sum()
    if w is not None and not w.is_meta and total.item() == 0:
        raise RuntimeError(f"{name}(): weights sum to zero, can't be normalized")
    mean = true_divide((x if w is None else x * w).sum(1), total)
    if aweights is not None and correction:
        free = total - correction * (w * aweights).sum() / total
    else:
        free = total - correction
    if (free if w is None else free.item()) <= 0:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "number of observations.",
            stacklevel=users_level(),
        )
        free = 0
    x = x - mean.unsqueeze(1)
    weighted = x if w is None else x * w
    return true_divide(x @ weighted.mH.to(x.dtype), free).squeeze()


@public()
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """`sum over i of w_i (x_i - mean) (x_i - mean)^H / (sum of w - correction)`.

    Rows of `input`, (variables, observations) or (observations), are variables: (variables,
    variables) or a scalar. `fweights` counts observations, `aweights` weighs them.

    Example:
        >>> import tritorch as torch
        >>> torch.cov(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    return _covariance("cov", input, correction, fweights, aweights)


@public()
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of the rows: `cov_ij / sqrt(cov_ii cov_jj)`, between -1 and 1.

    Example:
        >>> import tritorch as torch
        >>> torch.corrcoef(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    c: Any = _covariance("corrcoef", input, 1, None, None)
    if not c._data.ndim:
        return c / c
    d = c.diagonal().sqrt()
    c = c / d[:, None] / d[None, :]
    if c.dtype.is_complex:
        from .complex_parts import complex

        return complex(c.real.clip(-1, 1), c.imag.clip(-1, 1))
    return c.clip(-1, 1)


# -- trapezoids ------------------------------------------------------------------------------------


def _sides(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Any, Any, int]:
    """Twice the mean heights of the trapezoids, their widths, and the dimension."""
    for which, t in (("y", y), ("x", x)):
        if t is not None and t.dtype.category == 0:
            raise RuntimeError(
                f"{name}: received a bool input for `{which}`, but bool is not supported"
            )
    if dx is not None and (not isinstance(dx, int | float)):
        raise RuntimeError(f"{name}: Currently, we only support dx as a real number, got {dx!r}")
    if not y._data.ndim:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    d = errors.wrap_dim(name, dim, y._data.shape)
    n = y._data.shape[d]
    heights = y.narrow(d, 0, max(n - 1, 0)) + y.narrow(d, min(1, n), max(n - 1, 0))  # type: ignore[attr-defined]
    return heights, (1 if dx is None else dx) if x is None else _widths(name, y, x, d), d


def _widths(name: str, y: Tensor, x: Any, d: int) -> Any:
    if x._data.ndim == 1:
        if x._data.shape[0] != y._data.shape[d]:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point, got "
                f"{x._data.shape[0]} for {y._data.shape[d]}"
            )
        x = x.reshape([-1 if k == d else 1 for k in range(y._data.ndim)])
    elif x._data.ndim < y._data.ndim:
        x = x.reshape([1] * (y._data.ndim - x._data.ndim) + list(x._data.shape))
    return x.diff(dim=d)


@public("trapz", method=False)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """`sum of (x_i - x_(i-1)) (y_i + y_(i-1)) / 2` over a dimension, for points `x` or a step `dx`.

    `x` has the length of that dimension, or broadcasts with `y`.

    Example:
        >>> import tritorch as torch
        >>> torch.trapezoid(torch.tensor([1.0, 5.0, 10.0]))
        tensor(10.5000)
    """
    heights, widths, d = _sides("trapezoid", y, x, dx, dim)
    if not y._data.shape[d]:
        return y.sum(d).to(y.dtype)  # type: ignore[attr-defined]
    if x is None:
        ends = y.select(d, 0) + y.select(d, -1)  # type: ignore[attr-defined]
        return (y.sum(d) - ends * 0.5) * widths  # type: ignore[attr-defined]
    return (heights * widths).sum(d) / 2.0


@public(method=False)
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1
) -> Tensor:
    """`trapezoid` up to each point but the first."""
    heights, widths, d = _sides("cumulative_trapezoid", y, x, dx, dim)
    return (heights * widths).cumsum(d) / 2.0
