"""Singular values and vectors, and their derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import joint, primitive
from ..tensor import Tensor
from .linalg_factor import batch_of, converged, phase_free, total, with_diagonal
from .linalg_host import adjoint
from .linalg_solve import spd


def _svd_meta(a: Tensor, *, full: bool, name: str = "linalg.svd") -> list:
    batch, m, n = batch_of(a)
    k = min(m, n)
    p, q = (m, n) if full else (k, k)
    return [
        ((*batch, m, p), a.dtype),
        ((*batch, k), a.dtype.to_real()),
        ((*batch, q, n), a.dtype),
    ]


def _svd_vjp(gu: Any, gs: Any, gvh: Any, u: Any, s: Any, vh: Any) -> tuple:
    m, n, k = u._data.shape[-2], vh._data.shape[-1], s._data.shape[-1]
    u, vh = u[..., :, :k], vh[..., :k, :]  # what is orthogonal to these is not unique
    if gu is None and gvh is None:
        return ((u * gs.unsqueeze(-2)) @ vh,)
    gu = None if gu is None else gu[..., :, :k]
    gvh = None if gvh is None else gvh[..., :k, :]
    squares = with_diagonal(
        (s.unsqueeze(-2) - s.unsqueeze(-1)) * (s.unsqueeze(-2) + s.unsqueeze(-1)),
        s.new_ones(s.shape),
    )
    uu = None if gu is None else adjoint(u) @ gu
    vv = None if gvh is None else vh @ adjoint(gvh)
    if u.dtype.is_complex:
        ends = (x.diagonal(0, -2, -1).imag for x in (uu, vv) if x is not None)
        phase_free("linalg.svd", total(*ends))
    inner = total(
        None if uu is None else (uu - adjoint(uu)) / squares * s.unsqueeze(-2),
        None if vv is None else s.unsqueeze(-1) * ((vv - adjoint(vv)) / squares),
    )
    if inner.dtype.is_complex and uu is not None:
        turn = (uu - adjoint(uu)).diagonal(0, -2, -1) / (2 * s)
        inner = with_diagonal(inner, turn if gs is None else turn + gs)
    else:
        inner = with_diagonal(inner, s * 0 if gs is None else gs.to(inner.dtype))
    if m > k and gu is not None:
        outside = (gu - u @ uu) / s.unsqueeze(-2)
        return ((u @ inner + outside) @ vh,)
    if n > k and gvh is not None:
        outside = (gvh - adjoint(vv) @ vh) / s.unsqueeze(-1)
        return (u @ (inner @ vh + outside),)
    return (u @ inner @ vh,)


@primitive(
    outputs=("u", "s", "vh"),
    meta=_svd_meta,
    vjp=joint(_svd_vjp),
    samples=lambda s: [
        s(spd(s, 3, 2), full=False),
        s(spd(s, 2, 3), full=False),
        s(spd(s, 2, 2, 2), full=True),
        s((0, 2, 3), full=True),
        s((2, 0), full=True),
    ],
)
def svd_op(a: Any, *, full: bool, name: str = "linalg.svd") -> Any:
    """`a = U diag(s) V^H`, singular values from the largest."""
    *batch, m, n = a.shape
    k = min(m, n)
    if a.size:
        return tuple(converged(name, lambda: np.linalg.svd(a, full_matrices=full)))
    p, q = (m, n) if full else (k, k)
    u, v = (
        np.broadcast_to(np.eye(*shape, dtype=a.dtype), (*batch, *shape)).copy()
        for shape in ((m, p), (q, n))
    )
    return u, np.empty((*batch, k), a.real.dtype), v
