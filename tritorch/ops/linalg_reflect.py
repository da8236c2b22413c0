"""Products of Householder reflections, the form in which LAPACK keeps the Q of a decomposition.

`H_i = I - tau_i v_i v_i^H`, where `v_i` is 0 above element i, 1 there, column i of a matrix below;
`Q = H_0 H_1 ... H_(k-1)`. Golub and Van Loan, "Matrix Computations", section 5.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import fused, primitive
from ..return_types import named
from ..tensor import Tensor
from .api import called, public
from .linalg_factor import with_diagonal
from .linalg_host import BLOCK, adjoint, checked, each, lapack

torch_geqrf = named("geqrf", "a tau")


def _reflect(a: Any, tau: Any, x: Any, adjoined: bool) -> Any:
    """`Q x` or `Q^H x`, reflection by reflection."""
    k = tau._data.shape[-1]
    v = a[..., :k].tril(-1)
    v = with_diagonal(v, v.new_ones(v.diagonal(0, -2, -1).shape))
    for i in range(k) if adjoined else range(k)[::-1]:
        column, scale = v[..., i : i + 1], tau[..., i, None, None]
        x = x - (scale.conj() if adjoined else scale) * column @ (adjoint(column) @ x)
    return x


def _eye(a: Any, n: int) -> Any:
    """`(..., m, n)`, ones on the diagonal, for a matrix `(..., m, ...)`."""
    *batch, m, _ = a._data.shape
    zeros = a.new_zeros(*batch, m, n)
    return with_diagonal(zeros, zeros.new_ones(*batch, min(m, n)))


def _samples(s: Any) -> list:
    shapes = (((3, 3), (2,)), ((2, 3, 2), (2, 2)), ((0, 3, 2), (0, 2)), ((2, 0), (0,)))
    return [(s.reals(a), s.reals(tau)) for a, tau in shapes]


# -- Q itself --------------------------------------------------------------------------------------


def _product_cpu(a: np.ndarray, tau: np.ndarray) -> np.ndarray:
    *batch, m, n = a.shape
    out = np.broadcast_to(np.eye(m, n, dtype=a.dtype), (*batch, m, n)).copy()
    if not a.size or not tau.shape[-1]:
        return out
    form = lapack("ungqr" if a.dtype.kind == "c" else "orgqr", a)
    each(lambda x, t: (form(x, t[0], lwork=BLOCK * n)[0],), (out,), (2,), a, tau[..., None, :])
    return out


@fused(
    name="householder_product",
    cpu=_product_cpu,
    meta=lambda a, tau: (tuple(a._data.shape), a.dtype),
    samples=lambda s: [s(*pair) for pair in _samples(s)],
)
def product_op(a: Any, tau: Any) -> Any:
    """The first n columns of Q."""
    return _reflect(a, tau, _eye(a, a._data.shape[-1]), False)


def _check(name: str, a: Tensor, tau: Tensor) -> None:
    checked(name, a, argument="input")
    m, n = a._data.shape[-2:]
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], got "
            f"{tuple(a.shape)}"
        )
    if tau._data.ndim and n < tau._data.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], got "
            f"{tuple(a.shape)} and {tuple(tau.shape)}"
        )
    _check_tau(name, a, tau)


def _check_tau(name: str, a: Tensor, tau: Tensor) -> None:
    if tau._data.ndim != a._data.ndim - 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim "
            f"equal to {tau._data.ndim} and input.ndim is equal to {a._data.ndim}"
        )
    if tuple(tau._data.shape[:-1]) != tuple(a._data.shape[:-2]):
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau._data.shape[:-1])}"
        )
    if tau.dtype is not a.dtype:
        raise RuntimeError(
            f"{name}: tau dtype {tau.dtype.name} does not match input dtype {a.dtype.name}"
        )


@public(out=True, space="linalg")
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of k reflections.

    A, `input`, is `(..., m, n)` with m >= n, its columns below the diagonal the vectors; `tau` is
    `(..., k)`, k <= n: what `torch.geqrf` gives.

    Example:
        >>> import tritorch as torch
        >>> torch.linalg.householder_product(torch.ones(2, 1), torch.tensor([1.0]))
        tensor([[ 0.],
                [-1.]])
    """
    _check("linalg.householder_product", input, tau)
    return product_op(input, tau)


@public(out=True)
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """`torch.linalg.householder_product`."""
    _check("orgqr", input, input2)
    return product_op(input, input2)


# -- Q times a matrix ------------------------------------------------------------------------------


def _apply_cpu(a: np.ndarray, tau: np.ndarray, x: np.ndarray, *, adjoined: bool) -> np.ndarray:
    if not x.size or not tau.shape[-1]:
        return x.copy()
    kind = a.dtype.kind
    multiply = lapack("unmqr" if kind == "c" else "ormqr", a, x)
    trans = ("C" if kind == "c" else "T") if adjoined else "N"
    k, out = tau.shape[-1], np.empty_like(x)

    def run(a: np.ndarray, tau: np.ndarray, x: np.ndarray) -> tuple:
        return (multiply("L", trans, a[:, :k], tau[0], x, BLOCK * max(x.shape[1], BLOCK))[0],)

    each(run, (out,), (2,), a, tau[..., None, :], x)
    return out


@fused(
    name="ormqr",
    cpu=_apply_cpu,
    meta=lambda a, tau, x, *, adjoined: (tuple(x._data.shape), x.dtype),
    samples=lambda s: [
        s(a, tau, s.reals((*a.shape[:-1], 2)), adjoined=adjoined)
        for adjoined in (False, True)
        for a, tau in _samples(s)
    ],
)
def apply_op(a: Any, tau: Any, x: Any, *, adjoined: bool) -> Any:
    """`Q x`, or `Q^H x`."""
    return _reflect(a, tau, x, adjoined)


@public(out=True)
def ormqr(
    input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """The product of Q, m by m, and a matrix: `Q input3`, or `input3 Q` where not `left`.

    `input` is `(..., m, k)` and `input2`, tau, `(..., k)`: what `torch.geqrf` gives. With
    `transpose` it is `Q^H`.
    """
    name = "ormqr"
    checked(name, input, argument="input")
    checked(name, input3, argument="input3")
    side = "-2" if left else "-1"
    rows = input3._data.shape[int(side)]
    if input2._data.ndim and input2._data.shape[-1] != min(rows, input._data.shape[-1]):
        raise RuntimeError(
            f"{name}: tau.shape[-1] must be equal to min(input3.shape[{side}], input.shape[-1]), "
            f"got {tuple(input2.shape)}, {tuple(input3.shape)}, {tuple(input.shape)}"
        )
    if rows != input._data.shape[-2]:
        raise RuntimeError(
            f"{name}: input3.shape[{side}] must be equal to input.shape[-2], got "
            f"{tuple(input3.shape)} and {tuple(input.shape)}"
        )
    _check_tau(name, input, input2)
    if tuple(input3._data.shape[:-2]) != tuple(input._data.shape[:-2]) or (
        input3.dtype is not input.dtype
    ):
        raise RuntimeError(
            f"{name}: Expected batch dimensions and dtype of input3 to be those of input, but got "
            f"{tuple(input3.shape)} of {input3.dtype.name} and {tuple(input.shape)} of "
            f"{input.dtype.name}"
        )
    if left:
        return apply_op(input, input2, input3, adjoined=transpose)
    return adjoint(apply_op(input, input2, adjoint(input3), adjoined=not transpose))


# -- the decomposition -----------------------------------------------------------------------------


def _geqrf_meta(a: Tensor) -> list:
    *batch, m, n = a._data.shape
    return [((*batch, m, n), a.dtype), ((*batch, min(m, n)), a.dtype)]


@primitive(
    name="geqrf",
    outputs=("out", "tau"),
    meta=_geqrf_meta,
    samples=lambda s: [s((3, 3)), s((2, 3, 2)), s((0, 2, 3)), s((2, 0))],
)
def geqrf_op(a: Any) -> Any:
    """R on and above the diagonal, the reflections' vectors below it, and their scales."""
    out, tau = np.empty_like(a), np.zeros((*a.shape[:-2], min(a.shape[-2:])), a.dtype)
    if a.size:
        each(
            lambda x: lapack("geqrf", x)(x, lwork=BLOCK * max(x.shape[1], 1))[:2],
            (out, tau),
            (2, 1),
            a,
        )
    return out, tau


@public(out=True)
@called("geqrf")
def _geqrf(input: Tensor) -> Any:
    """The QR decomposition in the form of LAPACK's `geqrf`: see `householder_product`, `ormqr`."""
    return torch_geqrf(*geqrf_op(checked("geqrf", input, argument="input")))
