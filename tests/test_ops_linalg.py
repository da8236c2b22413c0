"""Linear algebra against NumPy, against its own definitions, and against PyTorch."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import tritorch as torch
from tritorch import Tensor
from tritorch.autograd import gradcheck, gradgradcheck
from tritorch.ops.api import SPACES

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated in favor")
inf = float("inf")
rng = np.random.default_rng(0)


def matrix(shape: tuple[int, ...], kind: str = "", complex_: bool = False) -> np.ndarray:
    """Numbers; "h" Hermitian, "p" positive-definite, "t" a triangular factor, "n" near to 3."""
    x = rng.standard_normal(shape)
    x = x + 1j * rng.standard_normal(shape) if complex_ else x
    adjoint = np.swapaxes(x.conj(), -1, -2) if len(shape) > 1 else x
    match kind:
        case "h":
            return x + adjoint
        case "p":
            return x @ adjoint + 2 * np.eye(shape[-1])
        case "t":
            return np.tril(x, -1) + np.eye(shape[-1]) * (2 + abs(x))
        case "n":
            return x + 3 * np.eye(shape[-2], shape[-1])
    return x


# -- against PyTorch -------------------------------------------------------------------------------


def columns(a: Any, b: Any) -> Any:
    """The products of paired columns, which do not depend on their phases: `(..., k, m, n)`."""
    return a.mT[..., :, None] * b.mT.conj()[..., None, :]


def eigh(T: Any, a: Any, uplo: str = "L") -> tuple:
    values, vectors = T.linalg.eigh(a, uplo)
    return values, columns(vectors, vectors)


def eig(T: Any, a: Any) -> tuple:
    values, vectors = T.linalg.eig(a)
    order = T.argsort(values.abs() + values.imag * 1e-3, -1)
    values = values.gather(-1, order)
    vectors = vectors.gather(-1, order[..., None, :].expand_as(vectors))
    return values, columns(vectors, vectors)


def svd(T: Any, a: Any, full: bool = False) -> tuple:
    u, s, vh = T.linalg.svd(a, full)
    k = s.shape[-1]
    return s, columns(u[..., :k], vh.mH[..., :k])


def lu_solve(T: Any, a: Any, b: Any, **how: Any) -> Any:
    return T.linalg.lu_solve(*T.linalg.lu_factor(a), b, **how)


def abs_of(values: tuple) -> tuple:
    return tuple(v.abs() for v in values)


M23, M32, M33, B33, V3 = (2, 3), (3, 2), (3, 3), (2, 3, 3), (3,)
ORACLE: dict[str, tuple] = {  # name: function of the library and matrices, their shapes and kinds
    "inv": (lambda T, a: T.linalg.inv(a), (B33, "n")),
    "inverse": (lambda T, a: T.inverse(a), (M33, "n")),
    "solve": (lambda T, a, b: T.linalg.solve(a, b), (B33, "n"), ((2, 3, 2), "")),
    "solve vector": (lambda T, a, b: T.linalg.solve(a, b), (B33, "n"), (M23, "")),
    "solve right": (lambda T, a, b: T.linalg.solve(a, b, left=False), (M33, "n"), ((2, 4, 3), "")),
    "solve_ex": (lambda T, a, b: T.linalg.solve_ex(a, b), (M33, "n"), (M32, "")),
    "det": (lambda T, a: (T.det(a), T.linalg.det(a)), (B33, "")),
    "slogdet": (lambda T, a: T.linalg.slogdet(a), (B33, "n")),
    "logdet": (lambda T, a: T.logdet(a), (M33, "p")),
    "solve_triangular": (
        lambda T, a, b: T.linalg.solve_triangular(a, b, upper=False), (B33, "t"), (M32, "")),
    "solve_triangular right unit": (
        lambda T, a, b: T.linalg.solve_triangular(
            a, b, upper=True, left=False, unitriangular=True), (M33, "n"), (B33, "")),
    "triangular_solve": (
        lambda T, b, a: T.triangular_solve(b, a, upper=False, transpose=True),
        (M32, ""), (B33, "t")),
    "cholesky": (
        lambda T, a: (T.linalg.cholesky(a + a.mH), T.cholesky(a + a.mH, True)), (B33, "p")),
    "cholesky_ex": (lambda T, a: T.linalg.cholesky_ex(a + a.mH, upper=True), (B33, "p")),
    "cholesky_solve": (lambda T, b, a: T.cholesky_solve(b, a), ((2, 3, 2), ""), (M33, "t")),
    "cholesky_solve upper": (
        lambda T, b, a: T.cholesky_solve(b, a.mT, upper=True), (M32, ""), (B33, "t")),
    "cholesky_inverse": (lambda T, a: T.cholesky_inverse(a), (B33, "t")),
    "cholesky_inverse upper": (lambda T, a: T.cholesky_inverse(a.mT, upper=True), (M33, "t")),
    "lu": (lambda T, a: T.linalg.lu(a), (B33, "")),
    "lu tall": (lambda T, a: T.linalg.lu(a), ((2, 4, 3), "")),
    "lu wide": (lambda T, a: T.linalg.lu(a), ((3, 5), "")),
    "lu_factor": (lambda T, a: T.linalg.lu_factor(a), ((2, 4, 3), "")),
    "lu_factor_ex": (lambda T, a: T.linalg.lu_factor_ex(a), (M23, "")),
    "torch.lu": (lambda T, a: T.lu(a, get_infos=True), (B33, "")),
    "lu_unpack": (lambda T, a: T.lu_unpack(*T.linalg.lu_factor(a)), ((2, 3, 4), "")),
    "lu_solve": (lu_solve, (M33, "n"), ((2, 3, 2), "")),
    "lu_solve adjoint": (
        lambda T, a, b: lu_solve(T, a, b, adjoint=True), (B33, "n"), (M32, "")),
    "lu_solve right": (lambda T, a, b: lu_solve(T, a, b, left=False), (B33, "n"), (M23, "")),
    "lu_solve right adjoint": (
        lambda T, a, b: lu_solve(T, a, b, left=False, adjoint=True), (B33, "n"), (M23, "")),
    "torch.lu_solve": (
        lambda T, b, a: T.lu_solve(b, *T.linalg.lu_factor(a)), (M32, ""), (M33, "n")),
    "qr": (lambda T, a: T.linalg.qr(a), ((2, 4, 3), "")),
    "qr wide": (lambda T, a: T.linalg.qr(a), ((3, 4), "")),
    "qr complete": (lambda T, a: T.qr(a, some=False), (M33, "")),
    "householder_product": (
        lambda T, a, t: T.linalg.householder_product(a, t), ((2, 4, 3), ""), ((2, 2), "")),
    "orgqr": (lambda T, a, t: T.orgqr(a, t), ((4, 3), ""), (V3, "")),
    **{
        f"ormqr {left} {transpose}": (
            lambda T, a, t, x, left=left, transpose=transpose: T.ormqr(a, t, x, left, transpose),
            (B33, ""), (M23, ""), ((2, 3, 2) if left else (2, 2, 3), ""))
        for left in (True, False) for transpose in (True, False)
    },
    "eigh": (eigh, (B33, "h")),
    "eigh upper": (lambda T, a: eigh(T, a, "U"), (M33, "h")),
    "eigvalsh": (lambda T, a: T.linalg.eigvalsh(a), (B33, "h")),
    "eig": (eig, (B33, "")),
    "eigvals": (lambda T, a: T.linalg.eigvals(a).abs().sum(-1), (B33, "")),
    "svd": (svd, (M23, "")),
    "svd tall": (svd, ((2, 4, 3), "")),
    "svd full": (lambda T, a: svd(T, a, True), ((2, 3, 4), "")),
    "svdvals": (lambda T, a: T.linalg.svdvals(a), ((2, 4, 3), "")),
    "torch.svd": (lambda T, a: T.svd(a, compute_uv=False)[1], (M32, "")),
    "lstsq": (lambda T, a, b: T.linalg.lstsq(a, b)[0], ((2, 4, 3), ""), ((2, 4, 2), "")),
    "lstsq wide": (lambda T, a, b: T.linalg.lstsq(a, b)[0], (M23, ""), ((2, 2), "")),
    **{
        f"lstsq {driver}": (
            lambda T, a, b, driver=driver: T.linalg.lstsq(a, b, driver=driver)[:2],
            ((2, 4, 3), ""), ((2, 4), ""))
        for driver in ("gels", "gelsd", "gelss")
    },
    "pinv": (lambda T, a: T.linalg.pinv(a), ((2, 4, 3), "")),
    "pinv wide": (lambda T, a: T.pinverse(a), (M23, "")),
    "pinv hermitian": (lambda T, a: T.linalg.pinv(a, hermitian=True), (B33, "h")),
    "pinv rcond": (lambda T, a: T.linalg.pinv(a, 0.6), (M33, "n")),
    "matrix_rank": (lambda T, a: T.linalg.matrix_rank(a, atol=T.tensor([0.1, 2.0])), (B33, "")),
    "matrix_rank tol": (lambda T, a: T.linalg.matrix_rank(a, 1.0, True), (B33, "h")),
    "ldl_factor": (lambda T, a: T.linalg.ldl_factor_ex(a.detach(), hermitian=True), (B33, "h")),
    "ldl_factor symmetric": (lambda T, a: T.linalg.ldl_factor((a + a.mT).detach()), (B33, "")),
    "ldl_solve": (
        lambda T, a, b: T.linalg.ldl_solve(
            *T.linalg.ldl_factor((a + a.mH).detach(), hermitian=True), b.detach(), hermitian=True),
        (B33, ""), (M32, "")),
    "matrix_exp": (lambda T, a: (T.matrix_exp(a), T.linalg.matrix_exp(3 * a)), (B33, "")),
    **{f"matrix_power {n}": (lambda T, a, n=n: T.linalg.matrix_power(a, n), (B33, "n"))
       for n in (-2, -1, 0, 1, 2, 5)},
    **{f"matrix_norm {p}": (
        lambda T, a, p=p: (T.linalg.matrix_norm(a, p), T.linalg.matrix_norm(a, p, (2, 0), True)),
        ((2, 4, 3), "")) for p in ("fro", "nuc", inf, -inf, 1, -1, 2, -2)},
    **{f"vector_norm {p}": (
        lambda T, a, p=p: (
            T.linalg.vector_norm(a, p), T.linalg.vector_norm(a, p, -1),
            T.linalg.vector_norm(a, p, (0, 2), True)),
        ((2, 4, 3), "")) for p in (inf, -inf, 0, 1, 2, 3, 0.5, -1.5)},
    "norm": (
        lambda T, a: (T.linalg.norm(a), T.linalg.norm(a, dim=1), T.linalg.norm(a, 1, (0, 2)),
                      T.linalg.norm(a[0], "nuc"), T.linalg.norm(a[0, 0], inf)), (B33, "")),
    **{f"cond {p}": (lambda T, a, p=p: T.linalg.cond(a if p in (None, 2, -2) else a.detach(), p),
        (B33, "n"))
       for p in (None, 2, -2, "fro", "nuc", inf, -inf, 1, -1)},
    "cond singular": (lambda T, a: T.linalg.cond(0 * a.detach(), 1), (B33, "n")),
    "multi_dot": (
        lambda T, a, b, c: (T.linalg.multi_dot([a, b, c]), T.chain_matmul(b, a, b)),
        (M23, ""), (M32, ""), ((2, 4), "")),
    "multi_dot vectors": (lambda T, a, b: T.linalg.multi_dot((a, b, a)), (V3, ""), (M33, "")),
    "vecdot": (
        lambda T, a, b: (T.linalg.vecdot(a, b), T.linalg.vecdot(a, b, dim=0)),
        (B33, ""), (M33, "")),
    "cross": (lambda T, a, b: T.linalg.cross(a, b), ((2, 4, 3), ""), ((1, 4, 3), "")),
    "torch.cross": (lambda T, a, b: T.cross(a, b), (M32, ""), (M32, "")),
    "vander": (lambda T, a: (T.linalg.vander(a), T.linalg.vander(a, N=5)), (M23, "")),
    "tensorinv": (lambda T, a: T.linalg.tensorinv(a.reshape(2, 3, 6)), ((6, 6), "n")),
    "tensorsolve": (
        lambda T, a, b: T.linalg.tensorsolve(a.reshape(2, 3, 2, 3), b, dims=(0,)),
        ((6, 6), ""), (M32, "")),
    "diagonal": (lambda T, a: T.linalg.diagonal(a, offset=1), (B33, "")),
    "matmul": (lambda T, a, b: T.linalg.matmul(a, b), (B33, ""), (M32, "")),
    "trace": (lambda T, a: T.trace(a), (M23, "")),
    "lobpcg": (
        lambda T, a: T.lobpcg(a.real, 2, largest=False)[0], ((9, 9), "p")),
    "svd_lowrank": (lambda T, a, b: T.svd_lowrank(a @ b, 2)[1], ((9, 2), ""), ((2, 7), "")),
    "pca_lowrank": (lambda T, a, b: T.pca_lowrank(a @ b, 3)[1][:2], ((9, 2), ""), ((2, 7), "")),
    "addbmm": (lambda T, a, b: T.addbmm(a[0], a, b, beta=2, alpha=3), (B33, ""), (B33, "")),
    "addr": (lambda T, a, b: T.addr(a, b, b, beta=2, alpha=3), (M33, ""), (V3, "")),
}  # fmt: skip


def run(library: Any, f: Callable, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The results, and the gradients of the differentiable ones."""
    xs = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
    found = f(library, *xs)
    outs = [found] if not isinstance(found, tuple) else list(found)
    total = 0
    for o in outs:
        if o.requires_grad:
            w = library.from_numpy(np.cos(np.arange(o.numel()) + 1.0).reshape(tuple(o.shape)))
            total = (
                total + (w * o).real.sum() + (0.5 * w * o.imag).sum()
                if o.is_complex()
                else (total + (w * o).sum())
            )
    grads = [] if isinstance(total, int) else library.autograd.grad(total, xs, allow_unused=True)
    full = [x.detach() * 0 if g is None else g for x, g in zip(xs, grads, strict=bool(grads))]
    return [o.detach().resolve_conj().numpy() for o in [*outs, *full]]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("complex_", (False, True), ids=("real", "complex"))
@pytest.mark.parametrize("name", ORACLE)
def test_against_pytorch(name: str, complex_: bool) -> None:
    oracle = pytest.importorskip("torch")
    f, *kinds = ORACLE[name]
    arrays = [matrix(*kind, complex_) for kind in kinds]
    expected, got = (run(library, f, arrays) for library in (oracle, torch))
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        limit = 1e-6 if name == "lobpcg" else 1e-8  # PyTorch's is iterative
        np.testing.assert_allclose(a, b, limit, limit)


# -- without PyTorch -------------------------------------------------------------------------------


def tensor(*args: Any, **how: Any) -> Tensor:
    return torch.from_numpy(matrix(*args, **how))


@pytest.mark.parametrize("complex_", (False, True), ids=("real", "complex"))
def test_decompositions_multiply_to_their_matrix(complex_: bool) -> None:
    a, h = tensor((2, 4, 3), complex_=complex_), tensor((2, 3, 3), "h", complex_)
    p = tensor((2, 3, 3), "p", complex_)
    low = torch.linalg.cholesky(p)
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    values, v = torch.linalg.eigh(h)
    w, x = torch.linalg.eig(h)
    kind = w.dtype
    q, r = torch.linalg.qr(a, mode="complete")
    packed, tau = torch.geqrf(a)
    eye = torch.eye(4, dtype=a.dtype).expand(2, 4, 4)
    perm, lower, upper = torch.linalg.lu(a)
    ld, pivots = torch.linalg.ldl_factor(p, hermitian=True)
    for name, got, expected in (
        ("cholesky", low @ low.mH, p),
        ("svd", (u * s[..., None, :]) @ vh, a),
        ("eigh", (v * values[..., None, :]) @ v.mH, h),
        ("eig", (x * w[..., None, :]) @ torch.linalg.inv(x), h.to(kind)),
        ("qr", q @ r, a),
        ("orthonormal", q.mH @ q, eye),
        ("geqrf", torch.orgqr(packed, tau) @ packed[..., :3, :].triu(), a),
        ("ormqr", torch.ormqr(packed, tau, a, transpose=True), packed.triu()),
        ("ormqr is q", torch.ormqr(packed, tau, eye), q),
        ("lu", perm @ lower @ upper, a),
        ("ldl", torch.linalg.ldl_solve(ld, pivots, p, hermitian=True), eye[:, :3, :3]),
        ("pinv", torch.linalg.pinv(a) @ a, eye[:, :3, :3]),
        ("lstsq", torch.linalg.lstsq(a, a).solution, eye[:, :3, :3]),
        ("matrix_power", torch.linalg.matrix_power(p, -3) @ p @ p @ p, eye[:, :3, :3]),
        ("inverse", torch.cholesky_inverse(low) @ p, eye[:, :3, :3]),
    ):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-10, err_msg=name)


@pytest.mark.parametrize("complex_", (False, True), ids=("real", "complex"))
def test_large_ones(complex_: bool) -> None:
    for shape in ((70, 70), (2, 80, 66), (66, 80)):
        a = tensor(shape, complex_=complex_)
        for mode in ("reduced", "complete"):
            q, r = torch.linalg.qr(a, mode)
            np.testing.assert_allclose((q @ r).numpy(), a.numpy(), atol=1e-12)
            eye = np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], q.shape[-1], q.shape[-1]))
            np.testing.assert_allclose((q.mH @ q).numpy(), eye, atol=1e-12)
            assert np.array_equal(r.numpy(), np.triu(r.numpy()))
    a = tensor((2, 70, 70), complex_=complex_)
    eye = np.broadcast_to(np.eye(70), (2, 70, 70))
    np.testing.assert_allclose((torch.linalg.inv(a) @ a).numpy(), eye, atol=1e-9)
    for shape in ((7, 10, 3, 3), (70, 4, 3), (70, 3, 4)):
        many = tensor(shape, complex_=complex_)
        many.view(-1, *shape[-2:])[5, :, 1] = 0
        found = torch.linalg.lu_factor_ex(many)
        alone = [torch.linalg.lu_factor_ex(m) for m in many.view(-1, *shape[-2:])]
        for got, one_by_one in zip(found, zip(*alone, strict=True), strict=True):
            expected = torch.stack(one_by_one).reshape(got.shape)
            np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-12)
    many = tensor((70, 3, 3), complex_=complex_)
    packed, pivots = torch.linalg.lu_factor(many)
    solved = torch.linalg.lu_solve(packed, pivots, many)
    np.testing.assert_allclose(solved.numpy(), np.broadcast_to(np.eye(3), (70, 3, 3)), atol=1e-9)
    with pytest.raises(torch.linalg.LinAlgError, match=r"Batch element 1.*element 70 is zero"):
        a[1, :, 69] = 0
        torch.linalg.inv(a)


def test_norms_are_numpys() -> None:
    a = matrix((3, 4))
    for p in (None, "fro", "nuc", inf, -inf, 1, -1, 2, -2):
        got = torch.linalg.norm(torch.from_numpy(a), p)
        np.testing.assert_allclose(got.numpy(), np.linalg.norm(a, p))
        cond = torch.linalg.cond(torch.from_numpy(a[:, :3].copy()), p)
        np.testing.assert_allclose(cond.numpy(), np.linalg.cond(a[:, :3], p))
    for p in (0, 0.5, 1, 2, 3, inf, -inf, -1.5):
        got = torch.linalg.vector_norm(torch.from_numpy(a), p, 1)
        np.testing.assert_allclose(got.numpy(), np.linalg.norm(a, p, 1))
    assert torch.linalg.matrix_norm(torch.ones(2, 3, 0), inf).tolist() == [0.0, 0.0]
    assert torch.linalg.norm(torch.ones(2, 3), dtype=torch.float64).dtype is torch.float64


def test_exponentials_and_products_are_scipys() -> None:
    a, b = matrix((2, 3, 3)), matrix((2, 3, 3))
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(torch.matrix_exp(x).numpy(), scipy.linalg.expm(a), 1e-12)
    many = matrix((5, 4, 3, 3)) * 4.0 ** np.arange(-3, 2)[:, None, None, None]
    for kind in (np.float32, np.float64, np.complex128):
        got = torch.matrix_exp(torch.from_numpy(many.astype(kind))).numpy()
        limit = 1e-3 if kind is np.float32 else 1e-11
        expected = scipy.linalg.expm(many)
        size = np.abs(expected).max((-2, -1), keepdims=True)
        np.testing.assert_allclose(got / size, expected / size, atol=limit)
    many[1, 1, 0, 0] = inf
    got = torch.matrix_exp(torch.from_numpy(many)).numpy()
    assert np.isnan(got[1, 1]).all() and np.isnan(got).sum() == 9
    np.testing.assert_allclose(torch.linalg.cross(x, y).numpy(), np.cross(a, b))
    np.testing.assert_allclose(torch.linalg.vecdot(x, y).numpy(), np.vecdot(a, b))
    np.testing.assert_allclose(
        torch.linalg.vander(x[0, 0]).numpy(), np.vander(a[0, 0], increasing=True)
    )
    assert torch.isnan(torch.matrix_exp(torch.full((2, 2), inf))).all()
    assert torch.trace(torch.ones(2, 3, dtype=torch.int32)).dtype is torch.int64
    assert torch.matrix_exp(torch.ones(2, 2, dtype=torch.bfloat16)).dtype is torch.bfloat16


def hermitian(f: Callable) -> Callable:
    """`f` of the Hermitian part, where one triangle is read."""
    return lambda a, *rest: f((a + a.mH) / 2 + 3 * torch.eye(3, dtype=a.dtype), *rest)


def rank_one(f: Callable) -> Callable:
    """`f` of a matrix that stays of rank 2."""
    return lambda a, b: f(a @ b)


GRADIENTS: dict[str, tuple] = {
    "cholesky": (hermitian(lambda a: torch.linalg.cholesky(a @ a)), (3, 3)),
    "eigh": (hermitian(lambda a: eigh(torch, a)), (3, 3)),
    "eigvalsh": (hermitian(torch.linalg.eigvalsh), (3, 3)),
    "eig": (lambda a: eig(torch, a), (3, 3)),
    "svd": (lambda a: svd(torch, a), (2, 4, 3)),
    "svd wide": (lambda a: svd(torch, a), (3, 4)),
    "qr": (torch.linalg.qr, (4, 3)),
    "qr wide": (torch.linalg.qr, (3, 4)),
    "lu": (lambda a: torch.linalg.lu(a)[1:], (2, 4, 3)),
    "lu wide": (lambda a: torch.linalg.lu(a)[1:], (3, 4)),
    "pinv": (rank_one(torch.linalg.pinv), (4, 2), (2, 3)),
    "lstsq": (lambda a, b: torch.linalg.lstsq(a, b).solution, (4, 3), (4, 2)),
    "det": (torch.linalg.det, (3, 3)),
    "slogdet": (torch.linalg.slogdet, (3, 3)),
    "matrix_exp": (torch.matrix_exp, (3, 3)),
    "householder_product": (torch.linalg.householder_product, (4, 3), (2,)),
    "ormqr": (lambda a, t, x: torch.ormqr(a, t, x, False, True), (3, 2), (2,), (2, 3)),
    "cond": (lambda a: torch.linalg.cond(a, "fro"), (3, 3)),
    "solve_triangular": (
        lambda a, b: torch.linalg.solve_triangular(
            a + 3 * torch.eye(3, dtype=a.dtype), b, upper=True, left=False), (3, 3), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("complex_", (False, True), ids=("real", "complex"))
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str, complex_: bool) -> None:
    f, *shapes = GRADIENTS[name]
    xs = [tensor(s, complex_=complex_).requires_grad_() for s in shapes]

    def real(*args: Tensor) -> list:  # the checks perturb numbers; results as pairs of reals
        found = f(*args)
        outs = found if isinstance(found, tuple) else (found,)
        return [torch.view_as_real(o) if o.is_complex() else o for o in outs]

    assert gradcheck(lambda *a: tuple(o for o in real(*a) if o.requires_grad), xs)
    if not complex_ and name not in ("eig", "eigh"):
        assert gradgradcheck(lambda *a: tuple(o for o in real(*a) if o.requires_grad), xs)


LA = torch.linalg
SQUARE, TALL, SINGULAR = torch.eye(3), torch.ones(3, 2), torch.zeros(2, 3, 3)
ERRORS: list[tuple] = [  # call, error, what it says
    (lambda: LA.inv(SINGULAR), LA.LinAlgError, r"linalg.inv: \(Batch element 0\).*singular"),
    (lambda: LA.inv(TALL), RuntimeError, "linalg.inv: A must be batches of square matrices"),
    (lambda: LA.inv(torch.ones(3)), RuntimeError, "at least 2 dimensions"),
    (lambda: LA.inv(torch.ones(2, 2).long()), RuntimeError, "floating point or complex"),
    (lambda: LA.eigh(SQUARE.half()), RuntimeError, "Low precision dtypes not supported"),
    (lambda: LA.inv(3), TypeError, "must be Tensor"),
    (lambda: LA.solve(SQUARE, torch.ones(2)), RuntimeError, "Incompatible shapes"),
    (lambda: LA.solve(SQUARE, torch.ones(3).double()), RuntimeError, "same dtype"),
    (lambda: LA.solve(SINGULAR[0], torch.ones(3)), LA.LinAlgError, "linalg.solve.*singular"),
    (lambda: LA.cholesky(-SQUARE), LA.LinAlgError, "not positive-definite"),
    (lambda: LA.cholesky_ex(-SQUARE, check_errors=True), LA.LinAlgError, "cholesky_ex"),
    (lambda: torch.cholesky_inverse(SINGULAR[0]), LA.LinAlgError, "diagonal element 1 is zero"),
    (lambda: torch.cholesky_solve(torch.ones(3), SQUARE), RuntimeError, "at least 2 dimensions"),
    (lambda: torch.cholesky_solve(torch.ones(2, 1), SQUARE), RuntimeError, "Incompatible matrix"),
    (lambda: LA.lu(SQUARE, pivot=False), RuntimeError, "without pivoting"),
    (lambda: LA.lu_factor(SINGULAR), RuntimeError, r"U\[1,1\] is zero"),
    (lambda: torch.lu_unpack(SQUARE, torch.ones(3)), RuntimeError, "int32"),
    (lambda: LA.lu_solve(SQUARE, torch.ones(3), TALL), RuntimeError, "scalar type int32"),
    (lambda: LA.lu_solve(SQUARE, torch.ones(2).int(), TALL), RuntimeError, "to be the same"),
    (lambda: LA.qr(SQUARE, "full"), RuntimeError, "unrecognized mode 'full'"),
    (lambda: LA.eigh(SQUARE, "X"), RuntimeError, "UPLO"),
    (lambda: LA.eig(SQUARE * inf), RuntimeError, "infs or NaNs"),
    (lambda: LA.svd(SQUARE, driver="gesvd"), RuntimeError, "driver"),
    (lambda: LA.svd(SQUARE * inf), LA.LinAlgError, "linalg.svd.*converge"),
    (lambda: LA.lstsq(TALL, torch.ones(2, 1)), RuntimeError, "should match"),
    (lambda: LA.lstsq(TALL, TALL, driver="qr"), RuntimeError, "driver"),
    (lambda: LA.pinv(TALL, atol=torch.tensor(1j)), RuntimeError, "complex type"),
    (lambda: LA.householder_product(TALL.mT, torch.ones(2)), RuntimeError, "greater than"),
    (lambda: torch.ormqr(SQUARE, torch.ones(2), TALL), RuntimeError, "tau.shape"),
    (lambda: LA.ldl_solve(SQUARE, torch.ones(3), TALL), RuntimeError, "integers"),
    (lambda: LA.matrix_norm(TALL, 3), RuntimeError, "Order 3 not supported"),
    (lambda: LA.matrix_norm(TALL, dim=(0, 0)), RuntimeError, "dims must be different"),
    (lambda: LA.matrix_norm(TALL.half(), 2), RuntimeError, "Low precision"),
    (lambda: LA.vector_norm(torch.ones(0), inf), RuntimeError, "identity"),
    (lambda: LA.vector_norm(TALL, "fro"), TypeError, "must be float"),
    (lambda: LA.vector_norm(TALL, dtype=torch.complex64), RuntimeError, "should be real"),
    (lambda: LA.norm(SINGULAR, 2), RuntimeError, "must be 1D or 2D"),
    (lambda: LA.norm(SINGULAR, dim=(0, 1, 2)), RuntimeError, "length 1 or 2"),
    (lambda: LA.cond(TALL, 1), RuntimeError, "square"),
    (lambda: LA.cond(TALL, 3), RuntimeError, "invalid norm type"),
    (lambda: LA.matrix_power(TALL, 2), RuntimeError, "square"),
    (lambda: LA.matrix_power(SQUARE, 1.5), TypeError, "must be int"),
    (lambda: LA.matrix_exp(TALL), RuntimeError, "square"),
    (lambda: LA.multi_dot([SQUARE]), RuntimeError, "at least 2 tensors"),
    (lambda: LA.multi_dot([SQUARE, TALL.mT]), RuntimeError, "cannot be multiplied"),
    (lambda: LA.vecdot(SQUARE.long(), SQUARE.long()), RuntimeError, "floating point"),
    (lambda: LA.cross(TALL, TALL), RuntimeError, "must have length 3"),
    (lambda: torch.cross(torch.ones(2), torch.ones(2)), RuntimeError, "no dimension of size 3"),
    (lambda: LA.vander(torch.ones(1)), RuntimeError, "N must be greater than 1"),
    (lambda: LA.tensorinv(SQUARE, 0), RuntimeError, "strictly positive"),
    (lambda: LA.tensorsolve(TALL, torch.ones(3)), RuntimeError, "requirement"),
    (lambda: torch.trace(torch.ones(3)), RuntimeError, "expected a matrix"),
    (lambda: torch.pca_lowrank(TALL, 3), ValueError, "not greater than"),
    (lambda: torch.lobpcg(SQUARE, 2), ValueError, "3 x the number"),
    (lambda: torch.symeig(SQUARE), RuntimeError, "symeig: .* removed"),
    (lambda: SQUARE.solve(SQUARE), RuntimeError, "solve: .* removed"),
    (lambda: torch.matrix_rank(SQUARE), RuntimeError, "removed"),
]


@pytest.mark.parametrize("row", range(len(ERRORS)))
def test_bad_input(row: int) -> None:
    call, error, says = ERRORS[row]
    with pytest.raises(error, match=says):
        call()


def test_forms() -> None:
    a = torch.from_numpy(matrix((3, 3), "p")).float()
    values, vectors = torch.empty(0), torch.empty(0)
    out = torch.linalg.eigh(a, out=(values, vectors))
    assert out.eigenvalues is values and vectors.shape == (3, 3)
    assert type(torch.linalg.svd(a)).__name__ == "linalg_svd"
    assert type(a.svd()).__name__ == "svd" and a.svd(compute_uv=False).U.eq(0).all()
    assert torch.linalg.lu_factor_ex(torch.zeros(2, 2)).info.item() == 1
    assert torch.linalg.cholesky_ex(-torch.eye(2)).info.item() == 1
    assert torch.linalg.inv_ex(torch.zeros(2, 2)).info.item() == 1
    assert torch.linalg.cond(torch.zeros(2, 2), 1).item() == inf
    assert torch.linalg.lstsq(a, a, driver="gels").rank.shape == (0,)
    assert torch.linalg.matrix_rank(torch.zeros(2, 2, 0)).tolist() == [0, 0]
    for method in ("cholesky", "det", "inverse", "logdet", "matrix_exp", "pinverse", "trace"):
        torch.testing.assert_close(getattr(a, method)(), getattr(torch, method)(a))
    shapes = torch.linalg.svd(torch.empty(2, 4, 3, device="meta"))
    assert [tuple(t.shape) for t in shapes] == [(2, 4, 4), (2, 3), (2, 3, 3)]


def test_low_rank_forms_find_what_is_there() -> None:
    a = tensor((9, 2)) @ tensor((2, 7))
    u, s, v = torch.svd_lowrank(a, q=4)
    torch.testing.assert_close((u * s) @ v.mT, a)
    u, s, v = torch.pca_lowrank(a.mT, q=3)
    torch.testing.assert_close((u * s) @ v.mT, a.mT - a.mT.mean(0))
    p, b = tensor((9, 9), "p"), tensor((9, 9), "p")
    values, vectors = torch.lobpcg(p, 2, b)
    torch.testing.assert_close(p @ vectors, b @ vectors * values)
    np.testing.assert_allclose(values.numpy(), scipy.linalg.eigh(p.numpy(), b.numpy())[0][::-1][:2])


@pytest.mark.parametrize("name", sorted(SPACES["linalg"]))
def test_examples_of_the_documentation(name: str) -> None:
    f = SPACES["linalg"][name]
    examples = doctest.DocTestParser().get_doctest(f.__doc__ or "", {}, name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0


def test_small_matrices_take_one_thread_of_blas() -> None:
    from tritorch.ops import linalg_threads
    from tritorch.runtime import blas

    depths = []
    f = linalg_threads.alone(
        lambda *a: depths.append((blas.single._depth, blas.single_scipy._depth))
    )
    f(np.ones((2, 8, 8)), None)
    f(np.ones((8, linalg_threads.SMALL)), None)
    assert depths == [(1, 1), (0, 0)]
    found = blas.single_scipy._found
    if found is not None:  # SciPy's wheel has OpenBLAS
        before = found[0]()
        with blas.single_scipy:
            assert found[0]() == 1
        assert found[0]() == before
