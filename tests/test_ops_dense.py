"""Matrix products, convolution, pooling: against NumPy and naive loops, and against PyTorch.

Gradients of the records are checked by the table over all operators; here those of what is composed
of them, the strategies of the CPU path on sizes where each is chosen, and the messages of errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.autograd import gradcheck, gradgradcheck
from tritorch.nn import functional as F
from tritorch.ops import conv_depthwise, conv_host, matmul_host
from tritorch.ops.conv_depthwise import Window
from tritorch.runtime import blas

RNG = np.random.default_rng(0)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def t(x: Any, grad: bool = False) -> torch.Tensor:
    out = torch.from_numpy(np.array(x))
    return out.requires_grad_() if grad else out


def close(got: Any, want: Any, tolerance: float = 1e-10) -> None:
    got = got.detach().numpy() if isinstance(got, torch.Tensor) else got
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, tolerance, tolerance)


# -- products -----------------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 2)),
    ((0, 2, 3), (3, 4)), ((4, 0, 2, 3), (1, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("a, b", SHAPES)
def test_matmul_shapes_and_gradients(a: tuple, b: tuple) -> None:
    x, y = reals(*a), reals(*b)
    close(t(x) @ t(y), x @ y)
    close(torch.matmul(t(x), t(y)), x @ y)
    assert gradcheck(torch.matmul, [t(x, True), t(y, True)])
    assert gradgradcheck(torch.matmul, [t(x, True), t(y, True)])


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    """The same values: transposed in memory, with gaps, reversed, broadcast."""
    yield np.ascontiguousarray(np.swapaxes(x, -1, -2)).swapaxes(-1, -2)
    yield np.repeat(x, 2, -1)[..., ::2]
    yield np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    yield np.ascontiguousarray(np.moveaxis(x, 0, -1)).transpose(-1, *range(x.ndim - 1))


@pytest.mark.parametrize("m, k, n", [(3, 4, 5), (1, 300, 200), (200, 300, 1), (150, 170, 190)])
@pytest.mark.parametrize("batch", [(), (6,), (2, 3)])
def test_product_of_any_layout(batch: tuple, m: int, k: int, n: int) -> None:
    a, b = reals(*batch, m, k), reals(*batch, k, n)
    want = np.einsum("...ij,...jk->...ik", a, b)
    for x, y in itertools.product(layouts(a), layouts(b)):
        np.testing.assert_allclose(matmul_host.product(x, y), want, 1e-9, 1e-9)
    wide = np.broadcast_to(a[..., :1, :], a.shape)
    np.testing.assert_allclose(matmul_host.product(wide, b), wide @ b, 1e-9, 1e-9)


@pytest.mark.parametrize("m, n", [(300, 500), (83, 210), (530, 40)])
def test_product_does_not_depend_on_the_number_of_threads(m: int, n: int) -> None:
    a, b = reals(m, 434).astype(np.float32), reals(434, n).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(matmul_host.product(a, b))
    finally:
        torch.set_num_threads(threads)
    for r in results[1:]:
        assert np.array_equal(r, results[0])


def test_blas_gets_its_threads_back() -> None:
    with blas.single:
        if blas.single._found is None:
            pytest.skip("this NumPy's BLAS has no known switch")
        get = blas.single._found[0]
        assert get() == 1
        with blas.single:
            assert get() == 1
        assert get() == 1
        before = blas.single._before
    assert get() == before


PRODUCTS: list[tuple[str, tuple, Callable]] = [
    ("mm", ((2, 3), (3, 4)), np.matmul),
    ("bmm", ((5, 2, 3), (5, 3, 4)), np.matmul),
    ("mv", ((2, 3), (3,)), np.matmul),
    ("dot", ((4,), (4,)), np.dot),
    ("vdot", ((4,), (4,)), np.vdot),
    ("outer", ((4,), (3,)), np.outer),
    ("ger", ((4,), (3,)), np.outer),
    ("inner", ((4, 3), (2, 5, 3)), np.inner),
    ("inner", ((3,), (3,)), np.inner),
    ("inner", ((4, 3), ()), np.inner),
    ("kron", ((2, 3), (4, 2)), np.kron),
    ("kron", ((2,), (3, 4, 2)), np.kron),
    ("chain_matmul", ((2, 3), (3, 6), (6, 1), (1, 4)), lambda *x: np.linalg.multi_dot(x)),
    ("addmm", ((2, 4), (2, 3), (3, 4)), lambda c, a, b: c + a @ b),
    ("addmm", ((4,), (2, 3), (3, 4)), lambda c, a, b: c + a @ b),
    ("addmv", ((2,), (2, 3), (3,)), lambda c, a, b: c + a @ b),
    ("addmv", ((), (2, 3), (3,)), lambda c, a, b: c + a @ b),
    ("addbmm", ((2, 4), (5, 2, 3), (5, 3, 4)), lambda c, a, b: c + (a @ b).sum(0)),
    ("baddbmm", ((4,), (5, 2, 3), (5, 3, 4)), lambda c, a, b: c + a @ b),
    ("addr", ((2, 4), (2,), (4,)), lambda c, a, b: c + np.outer(a, b)),
]


@pytest.mark.filterwarnings("ignore:chain_matmul")
@pytest.mark.parametrize("name, shapes, reference", PRODUCTS)
def test_products(name: str, shapes: tuple, reference: Callable) -> None:
    f, arrays = getattr(torch, name), [reals(*s) for s in shapes]
    want = reference(*arrays)
    close(f(*map(t, arrays)), want)
    out = torch.empty(0, dtype=torch.float64)
    assert f(*map(t, arrays), out=out) is out
    close(out, want)
    assert gradcheck(f, [t(a, True) for a in arrays])
    if name != "chain_matmul":
        close(getattr(t(arrays[0]), name)(*map(t, arrays[1:])), want)


@pytest.mark.parametrize("name", ["addmm", "addmv", "addbmm", "baddbmm", "addr"])
def test_scaled_sums(name: str) -> None:
    shapes, reference = next((s, r) for n, s, r in PRODUCTS if n == name)
    a, b = (reals(*s) for s in shapes[1:])
    product = reference(0, a, b)
    c = reals(*product.shape)
    f = getattr(torch, name)
    close(f(t(c), t(a), t(b), beta=0.5, alpha=-2.0), 0.5 * c - 2 * product)
    close(f(t(np.full_like(c, np.nan)), t(a), t(b), beta=0), np.broadcast_to(product, c.shape))
    x = t(c)
    assert getattr(x, f"{name}_")(t(a), t(b), beta=3, alpha=2) is x
    close(x, 3 * c + 2 * product)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.float16, torch.bfloat16])
def test_product_dtypes(dtype: torch.dtype) -> None:
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    for got in (t(a).to(dtype) @ t(b).to(dtype), F.linear(t(a).to(dtype), t(b.T).to(dtype))):
        assert got.dtype is dtype
        close(got.to(torch.int64), a @ b)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ii", (3, 3)), ("ii->i", (3, 3)),
    ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("...ii->...i", (2, 3, 3)), ("ij->ji", (2, 3)),
    ("ij->", (2, 3)), ("i,j->ij", (2,), (3,)), ("i,i->", (3,), (3,)), ("i,i->i", (3,), (3,)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)), ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)), ("b...,b...->...", (2, 3), (2, 3)),
    ("bhid,bhjd->bhij", (2, 1, 4, 5), (2, 1, 3, 5)), ("iij->j", (3, 3, 2)), (",ij->ij", (), (2, 3)),
    ("iji,jk->k", (3, 2, 3), (2, 4)), ("ijij->ij", (2, 3, 2, 3)), ("aB,Bc->ac", (2, 3), (3, 4)),
    ("abc,bcd,cde,def->af", (2, 3, 2), (3, 2, 2), (2, 2, 3), (2, 3, 2)), (" i j -> j ", (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("equation, shapes", [(e, s) for e, *s in EQUATIONS])
def test_einsum(equation: str, shapes: list) -> None:
    arrays = [reals(*s) for s in shapes]
    close(torch.einsum(equation, *map(t, arrays)), np.einsum(equation.replace(" ", ""), *arrays))
    assert gradcheck(lambda *xs: torch.einsum(equation, *xs), [t(a, True) for a in arrays])


def test_einsum_forms() -> None:
    a, b = reals(2, 3), reals(3, 4)
    close(torch.einsum(t(a), [0, 1], t(b), [1, 2], [0, 2]), a @ b)
    close(torch.einsum(t(a), [..., 1], t(b), [1, 2]), a @ b)
    close(torch.einsum("ij,jk", [t(a), t(b)]), a @ b)
    close(torch.einsum("ij,ij->i", t(a), t(a[:1])), (a * a[:1]).sum(1))
    close(torch.einsum("ij,jk->ik", t(a[:, :1]), t(b)), a[:, :1] * b.sum(0))


@pytest.mark.parametrize("dims", [0, 1, 2, ([0], [2]), ([2, 0], [0, 2])])
def test_tensordot(dims: Any) -> None:
    a, b = reals(2, 4, 3), reals(3, 4, 2) if dims != 2 else reals(4, 3, 5)
    close(torch.tensordot(t(a), t(b), dims), np.tensordot(a, b, dims))


def test_linear_and_bilinear() -> None:
    for lead in ((), (5,), (2, 5), (0,)):
        x, w, b = reals(*lead, 3), reals(4, 3), reals(4)
        close(F.linear(t(x), t(w), t(b)), x @ w.T + b)
        assert gradcheck(F.linear, [t(x, True), t(w, True), t(b, True)])
        assert gradgradcheck(F.linear, [t(x, True), t(w, True), t(b, True)])
    x, y, w, b = reals(5, 2, 3), reals(5, 2, 4), reals(6, 3, 4), reals(6)
    close(F.bilinear(t(x), t(y), t(w), t(b)), np.einsum("abi,oij,abj->abo", x, w, y) + b)


def test_linear_gradients_with_and_without_a_graph_agree() -> None:
    x, w, b = (t(reals(*s), True) for s in ((3, 2, 5), (4, 5), (4,)))
    g = t(reals(3, 2, 4))
    plain = torch.autograd.grad(F.linear(x, w, b), (x, w, b), g)
    graph = torch.autograd.grad(F.linear(x, w, b), (x, w, b), g, create_graph=True)
    for p, q in zip(plain, graph, strict=True):
        close(p, q.detach().numpy())


# -- convolution --------------------------------------------------------------------------------


def correlate(x: np.ndarray, w: np.ndarray, b: Any, window: Window) -> np.ndarray:
    """The definition, one output element at a time."""
    (sh, sw), (ph, pw), (dh, dw), groups = window
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    o, c, kh, kw = w.shape
    p, q = window.output((x.shape[2] - 2 * ph, x.shape[3] - 2 * pw), (kh, kw))
    out = np.zeros((x.shape[0], o, p, q))
    for k, i, j in np.ndindex(o, p, q):
        first = k // (o // groups) * c
        rows = slice(i * sh, i * sh + dh * (kh - 1) + 1, dh)
        columns = slice(j * sw, j * sw + dw * (kw - 1) + 1, dw)
        part = x[:, first : first + c, rows, columns]
        out[:, k, i, j] = (part * w[k]).sum((1, 2, 3))
    return out if b is None else out + b[:, None, None]


CONVOLUTIONS = [  # (N, C, H, W), (O, C / groups, R, S), stride, padding, dilation, groups
    ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (1, 0), (1, 1), 1),
    ((2, 4, 7, 8), (6, 2, 3, 3), (2, 3), (1, 2), (1, 1), 2),
    ((1, 2, 9, 9), (2, 2, 3, 3), (1, 2), (2, 2), (2, 3), 1),
    ((3, 5, 4, 4), (2, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((3, 5, 5, 4), (2, 5, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((3, 4, 4, 4), (2, 2, 1, 1), (1, 1), (1, 1), (1, 1), 2),
    ((2, 4, 6, 7), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    ((2, 4, 6, 7), (4, 1, 3, 2), (2, 1), (1, 0), (1, 2), 4),
    ((2, 3, 6, 7), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    ((1, 1, 5, 5), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 1, 6, 6), (1, 1, 2, 2), (1, 1), (3, 3), (1, 1), 1),
    ((2, 2, 3, 3), (3, 2, 3, 3), (3, 3), (2, 2), (1, 1), 1),
]
BIG = [
    ((9, 16, 20, 20), (24, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),  # blocks of images
    ((1, 48, 60, 50), (32, 48, 3, 3), (1, 1), (1, 1), (1, 1), 1),  # rows of one image
    ((1, 48, 60, 50), (32, 48, 3, 3), (2, 2), (0, 1), (2, 1), 1),
    ((40, 24, 6, 6), (40, 24, 3, 3), (1, 1), (1, 1), (1, 1), 1),  # images side by side
    ((40, 24, 6, 6), (80, 12, 3, 3), (1, 1), (1, 1), (1, 1), 2),
    ((20, 1, 28, 28), (8, 1, 5, 5), (1, 1), (2, 2), (1, 1), 1),  # few channels
    ((7, 20, 30, 30), (20, 1, 3, 3), (1, 1), (1, 1), (1, 1), 20),  # depthwise
    ((7, 20, 30, 30), (20, 1, 3, 3), (2, 2), (1, 1), (1, 1), 20),
    ((8, 32, 20, 20), (64, 32, 1, 1), (1, 1), (0, 0), (1, 1), 1),  # 1x1
]


def by_scipy(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """The same by shifted products in float64, fast enough for larger images."""
    (sh, sw), (ph, pw), (dh, dw), groups = window
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))).astype(np.float64)
    o, c, kh, kw = w.shape
    p, q = window.output(x.shape[2:], (kh, kw))
    out = np.zeros((x.shape[0], groups, o // groups, p, q))
    filters = w.reshape(groups, o // groups, c, kh, kw).astype(np.float64)
    for r, s in np.ndindex(kh, kw):
        y, z = r * dh, s * dw
        part = padded[:, :, y : y + sh * (p - 1) + 1 : sh, z : z + sw * (q - 1) + 1 : sw]
        part = part.reshape(x.shape[0], groups, c, p, q)
        out += np.einsum("ngcpq,goc->ngopq", part, filters[..., r, s], optimize=True)
    return out.reshape(x.shape[0], o, p, q)


@pytest.mark.parametrize("x, w, stride, padding, dilation, groups", CONVOLUTIONS)
def test_convolution(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    window = Window(stride, padding, dilation, groups)
    x, w, b = reals(*x), reals(*w), reals(w[0])
    f = lambda x, w, b=None: F.conv2d(x, w, b, stride, padding, dilation, groups)  # noqa: E731
    close(f(t(x), t(w), t(b)), correlate(x, w, b, window))
    close(f(t(x), t(w)), correlate(x, w, None, window))
    inputs = [t(a[:1] if a is x else a, True) for a in (x, w, b)]
    if sum(i.numel() for i in inputs) < 120:
        assert gradcheck(f, inputs)
        assert gradgradcheck(f, inputs)


@pytest.mark.parametrize("x, w, stride, padding, dilation, groups", BIG)
def test_convolution_by_every_strategy(
    x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    """The output, and both gradients by the identity <g, conv(x, w)> = <dx, x> = <dw, w>."""
    window = Window(stride, padding, dilation, groups)
    x, w = (reals(*s).astype(np.float32) for s in (x, w))
    out = conv_host.forward(x, w, None, window)
    np.testing.assert_allclose(out, by_scipy(x, w, window), 1e-4, 1e-3)
    g = reals(*out.shape).astype(np.float32)
    v, u = (reals(*a.shape).astype(np.float32) for a in (x, w))
    dx = conv_host.input_gradient(g, w, x.shape[2:], window)
    dw = conv_host.weight_gradient(g, x, w.shape[2:], window)
    wide = np.float64
    for direction, gradient, moved in (
        (v, dx, by_scipy(v, w, window)),
        (u, dw, by_scipy(x, u, window)),
    ):
        want = np.vdot(g.astype(wide), moved)
        got = np.vdot(gradient.astype(wide), direction.astype(wide))
        assert abs(got - want) < 1e-3 * np.linalg.norm(g) * np.linalg.norm(moved) / 10


def test_convolution_strategies_are_all_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = set()

    def spy(module: Any, name: str) -> None:
        original = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            reached.add(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for name in ("_pointwise", "_by_blocks", "_add_back", "depthwise", "depthwise_weight"):
        spy(conv_host, name)
    for x, w, *how in CONVOLUTIONS:
        window, x, w = Window(*how), reals(*x), reals(*w)
        out = conv_host.forward(x, w, None, window)
        conv_host.input_gradient(out, w, x.shape[2:], window)
        conv_host.weight_gradient(out, x, w.shape[2:], window)
    assert reached == {"_pointwise", "_by_blocks", "_add_back", "depthwise", "depthwise_weight"}
    assert conv_depthwise.PIECE > 0


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, "same", "valid"])
@pytest.mark.parametrize("kernel", [2, 3])
def test_dimensions_and_padding(n: int, padding: Any, kernel: int) -> None:
    """A convolution of n dimensions against one of two, with the others of size one."""
    size, shape = (4, 5, 6)[:n], (kernel,) * n
    x, w, b = reals(2, 4, *size), reals(2, 2, *shape), reals(2)
    f = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    got = f(t(x), t(w), t(b), 1, padding, 1, 2)
    total = {0: (0, 0), "valid": (0, 0), 1: (1, 1)}.get(padding, ((kernel - 1) // 2, kernel // 2))
    padded = np.pad(x, ((0, 0), (0, 0), *(total,) * n))
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape, tuple(range(2, 2 + n)))
    grouped = windows.reshape(2, 2, 2, *windows.shape[2:])
    want = np.einsum(
        f"bgc{'pqr'[:n]}{'xyz'[:n]},goc{'xyz'[:n]}->bgo{'pqr'[:n]}",
        grouped,
        w.reshape(2, 1, 2, *shape),
    )
    want = want.reshape(2, 2, *want.shape[3:]) + b.reshape(-1, *(1,) * n)
    close(got, want)
    close(f(t(x[0]), t(w), t(b), 1, padding, 1, 2), want[0])


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("stride, padding, dilation, extra", [
    (1, 0, 1, 0), (2, 1, 1, 1), (3, 0, 2, 2), (2, 1, 3, 2), (1, 1, 2, 1), (2, 2, 1, 0),
])  # fmt: skip
def test_transposed_convolution_is_the_transpose(
    n: int, stride: int, padding: int, dilation: int, extra: int
) -> None:
    """<conv_transpose(x), y> = <x, conv(y)> where the sizes match, and its shape everywhere."""
    forward = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    back = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
    x, w = reals(2, 4, *(4, 3, 4)[:n]), reals(4, 1, *(3, 2, 3)[:n])
    out = back(t(x), t(w), None, stride, padding, extra, 2, dilation)
    assert tuple(out.shape[2:]) == tuple(
        (m - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1
        for m, k in zip(x.shape[2:], w.shape[2:], strict=True)
    )
    y = reals(*out.shape)
    seen = forward(t(y), t(w), None, stride, padding, dilation, 2).numpy()
    inner = tuple(slice(0, m) for m in x.shape)
    part = np.zeros_like(seen)
    part[inner] = x
    if extra < stride:
        np.testing.assert_allclose(np.vdot(out.numpy(), y), np.vdot(part[inner], seen[inner]))
    if n < 3:
        small = t(x[:1, :, :2], True)
        f = lambda a, b: back(a, b, None, stride, padding, extra, 2, dilation)  # noqa: E731
        if min(np.array(small.shape[2:]) * stride) > 2 * padding:
            assert gradcheck(f, [small, t(w, True)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_transposed_convolution_rounds_once(dtype: torch.dtype) -> None:
    x, w, b = (t(reals(*s)).to(dtype) for s in ((1, 8, 5, 5, 5), (8, 4, 3, 3, 3), (4,)))
    wide = F.conv_transpose3d(x.float(), w.float(), b.float())
    close(F.conv_transpose3d(x, w, b).float(), wide.to(dtype).float().numpy(), 1e-6)


# -- pooling ------------------------------------------------------------------------------------

POOLS = [  # kernel, stride, padding, dilation, ceil_mode
    (2, None, 0, 1, False), (2, None, 0, 1, True), (3, 2, 1, 1, False), (3, 1, 1, 2, False),
    (2, 3, 1, 1, True), (3, 2, 0, 2, True), (1, 1, 0, 1, False), (3, 3, 1, 1, True),
]  # fmt: skip


def positions(m: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> list:
    """The elements inside each window along one dimension, and the window's extent."""
    rest = m + 2 * padding - dilation * (kernel - 1) - 1
    starts = [
        -padding + i * stride for i in range((-(-rest // stride) if ceil else rest // stride) + 1)
    ]
    found = []
    for start in starts:
        if start < m:  # a window may not begin in the padding on the right
            places = [start + i * dilation for i in range(kernel)]
            extent = min(start + kernel, m + padding) - start
            found.append(([i for i in places if 0 <= i < m], extent))
    return found


def naive(x: np.ndarray, n: int, how: tuple, reduce: Callable) -> np.ndarray:
    """`reduce(values, their places, extent)` of every window over the last `n` dimensions."""
    kernel, stride, padding, dilation, ceil = how
    axes = [positions(m, kernel, stride or kernel, padding, dilation, ceil) for m in x.shape[-n:]]
    out = np.zeros((*x.shape[:-n], *map(len, axes)))
    for at in np.ndindex(*out.shape[-n:]):
        windows = [a[i] for a, i in zip(axes, at, strict=True)]
        grid = np.ix_(*(w[0] for w in windows))
        places = np.ravel_multi_index(
            np.meshgrid(*(w[0] for w in windows), indexing="ij"), x.shape[-n:]
        ).reshape(-1)
        values = x[(Ellipsis, *grid)].reshape(*x.shape[:-n], -1)
        extent = np.prod([w[1] for w in windows])
        out[(Ellipsis, *at)] = reduce(values, places, extent)
    return out


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("how", POOLS)
def test_max_pool(n: int, how: tuple) -> None:
    x = RNG.permutation(2 * 3 * 7**n).reshape(2, 3, *(7,) * n) / 100
    f = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    values, indices = f(t(x), *how, return_indices=True)
    close(values, naive(x, n, how, lambda v, p, e: v.max(-1)))
    close(indices, naive(x, n, how, lambda v, p, e: p[v.argmax(-1)]))
    close(f(t(x), *how), values.numpy())
    close(f(t(x[0]), *how), values.numpy()[0])
    y = t(x, True)
    g = reals(*values.shape)
    f(y, *how).backward(t(g))
    want = np.zeros((6, 7**n))
    np.add.at(want, (np.arange(6)[:, None], indices.numpy().reshape(6, -1)), g.reshape(6, -1))
    close(y.grad, want.reshape(x.shape))


def test_max_pool_ties_and_nan() -> None:
    """The first of equal elements gets the gradient; a NaN is the maximum of its window."""
    x = t([[[[1.0, 2.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0]]]], True)
    F.max_pool2d(x, 2).sum().backward()
    close(x.grad, [[[[0, 1, 1, 0], [0, 0, 0, 0]]]])
    y = t([[[[1.0, np.nan, 3.0, -np.inf]]]], True)
    out, at = F.max_pool2d(y, (1, 2), return_indices=True)
    assert np.isnan(out.detach().numpy()[..., 0]) and at.tolist() == [[[[1, 2]]]]
    F.max_pool2d(y, (1, 2)).sum().backward()
    close(y.grad, [[[[0, 1, 1, 0]]]])
    low = F.max_pool2d(t(np.full((1, 1, 2, 2), -np.inf)), 3, 1, 1, return_indices=True)[1]
    assert low.tolist() == [[[[0, 0], [0, 0]]]]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("how", [p for p in POOLS if p[3] == 1])
@pytest.mark.parametrize("include", [True, False])
def test_avg_pool(n: int, how: tuple, include: bool) -> None:
    kernel, stride, padding, _, ceil = how
    x = reals(2, 3, *(7,) * n)
    f = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n - 1]
    count = lambda v, p, e: v.sum(-1) / (e if include else len(p))  # noqa: E731
    close(f(t(x), kernel, stride, padding, ceil, include), naive(x, n, how, count))
    if n > 1:
        close(
            f(t(x), kernel, stride, padding, ceil, include, 5),
            naive(x, n, how, lambda v, p, e: v.sum(-1) / 5),
        )
    assert gradcheck(
        lambda y: f(y, kernel, stride, padding, ceil, include), [t(x[:1, :1, :4], True)]
    )


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_adaptive_pools(n: int, size: int) -> None:
    x = reals(2, 2, *(6,) * n)
    windows = [(i * 6 // size, -(-(i + 1) * 6 // size)) for i in range(size)]
    for name, reduce in (("avg", np.mean), ("max", np.max)):
        want = np.zeros((2, 2, *(size,) * n))
        for at in np.ndindex(*(size,) * n):
            part = x[(Ellipsis, *(slice(*windows[i]) for i in at))]
            want[(Ellipsis, *at)] = reduce(part, axis=tuple(range(2, 2 + n)))
        close(getattr(F, f"adaptive_{name}_pool{n}d")(t(x), size), want)
    values, at = getattr(F, f"adaptive_max_pool{n}d")(t(x), size, return_indices=True)
    flat = x.reshape(2, 2, -1)
    close(
        np.take_along_axis(flat, at.numpy().reshape(2, 2, -1), 2), values.numpy().reshape(2, 2, -1)
    )
    keep = getattr(F, f"adaptive_avg_pool{n}d")(t(x), (None,) * n)
    close(keep, x)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpool_and_norm_pool(n: int) -> None:
    x = RNG.permutation(2 * 6**n).reshape(1, 2, *(6,) * n) / 10 + 1
    pool, unpool = getattr(F, f"max_pool{n}d"), getattr(F, f"max_unpool{n}d")
    values, at = pool(t(x), 2, return_indices=True)
    back = unpool(values, at, 2)
    close(back, np.where(np.isin(x, values.numpy()), x, 0))
    assert gradcheck(lambda v: unpool(v, at, 2), [values.detach().requires_grad_()])
    got = getattr(F, f"lp_pool{n}d")(t(x), 3, 2)
    close(got, naive(x, n, (2, None, 0, 1, False), lambda v, p, e: (v**3).sum(-1) ** (1 / 3)))


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pool(n: int) -> None:
    x = reals(2, 3, *(9,) * n)
    f = getattr(F, f"fractional_max_pool{n}d")
    values, at = f(t(x), 2, output_size=5, return_indices=True)
    assert tuple(values.shape) == (2, 3, *(5,) * n)
    flat = np.take_along_axis(x.reshape(2, 3, -1), at.numpy().reshape(2, 3, -1), 2)
    close(values.reshape(2, 3, -1), flat)
    last = x[(Ellipsis, *(slice(7, 9),) * n)].max(tuple(range(2, 2 + n)))
    close(values[(Ellipsis, *(-1,) * n)], last)
    assert tuple(f(t(x), 2, output_ratio=0.5).shape) == (2, 3, *(4,) * n)


# -- windows and distances ----------------------------------------------------------------------


@pytest.mark.parametrize("kernel, dilation, padding, stride", [
    (2, 1, 0, 1), ((3, 2), (1, 2), (1, 0), (2, 1)), (1, 1, 2, 3), (3, 2, 2, (1, 3)),
])  # fmt: skip
def test_unfold_and_fold(kernel: Any, dilation: Any, padding: Any, stride: Any) -> None:
    """Columns times the filters are the convolution; fold is the transpose of unfold."""
    x = reals(2, 3, 6, 7)
    pair = lambda v: (v, v) if isinstance(v, int) else v  # noqa: E731
    columns = F.unfold(t(x), kernel, dilation, padding, stride)
    w = reals(4, 3, *pair(kernel))
    want = F.conv2d(t(x), t(w), None, stride, padding, dilation)
    close(t(w.reshape(4, -1)) @ columns, want.reshape(2, 4, -1).numpy())
    g = reals(*columns.shape)
    folded = F.fold(t(g), (6, 7), kernel, dilation, padding, stride)
    np.testing.assert_allclose(np.vdot(g, columns.numpy()), np.vdot(folded.numpy(), x))
    close(F.unfold(t(x[0]), kernel, dilation, padding, stride), columns.numpy()[0])
    close(F.fold(t(g[0]), (6, 7), kernel, dilation, padding, stride), folded.numpy()[0])
    assert gradcheck(
        lambda v: F.fold(v, (6, 7), kernel, dilation, padding, stride), [t(g[:1], True)]
    )


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("rows", [4, 30])
def test_distances(p: float, rows: int) -> None:
    x, y = reals(rows, 3), reals(2, 5, 3)
    want = np.linalg.norm(x[:, None] - y[:, None], p, -1)
    close(torch.cdist(t(x), t(y), p), want, 1e-6)
    within = np.linalg.norm(x[:, None] - x, p, -1)
    close(F.pdist(t(x), p), within[np.triu_indices(rows, 1)])
    z = t(x, True)
    torch.cdist(z, z, p).sum().backward()
    assert np.isfinite(z.grad.numpy()).all()
    close(torch.dist(t(x), t(y[0, 0]), p), np.linalg.norm((x - y[0, 0]).ravel(), p))


# -- errors -------------------------------------------------------------------------------------


def z(*shape: int, dtype: Any = None) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


ERRORS: list[tuple[Callable, type, str]] = [
    (lambda: z(2, 3) @ z(4, 5), RuntimeError, "cannot be multiplied (2x3 and 4x5)"),
    (lambda: torch.mm(z(2, 3), z(4, 5)), RuntimeError, "mm: mat1 and mat2 shapes"),
    (lambda: torch.mm(z(2, 2), 3.0), TypeError, "argument 'mat2' (position 2) must be Tensor"),
    (lambda: z(2, 2) @ 3, TypeError, "@"),
    (lambda: torch.mm(z(2, 2), z(2, 2, dtype=torch.float64)), RuntimeError, "float != double"),
    (lambda: z(2, 2).bool() @ z(2, 2).bool(), NotImplementedError, "Bool"),
    (lambda: torch.bmm(z(2, 3, 4), z(3, 4, 4)), RuntimeError, "[2, 4] but got: [3, 4]"),
    (lambda: torch.matmul(z(2, 3), z(4)), RuntimeError, "size mismatch, got input (2)"),
    (lambda: torch.matmul(z(), z(4)), RuntimeError, "at least 1D, but they are 0D and 1D"),
    (lambda: torch.dot(z(3), z(4)), RuntimeError, "but got 3 and 4 elements"),
    (lambda: torch.dot(z(3, 1), z(3)), RuntimeError, "1D tensors expected"),
    (lambda: F.linear(z(2, 3), z(4, 5)), RuntimeError, "(2x3 and 5x4)"),
    (lambda: torch.addmm(z(3), z(2, 3), z(3, 4)), RuntimeError, "addmm"),
    (lambda: torch.inner(z(2, 3), z(4)), RuntimeError, "last dimension must match"),
    (lambda: torch.einsum("ij,jk", z(2, 3), z(4, 5)), RuntimeError, "do not broadcast"),
    (lambda: torch.einsum("ij", z(2)), RuntimeError, "number of subscripts"),
    (lambda: torch.einsum("i,j", z(2)), RuntimeError, "fewer operands"),
    (lambda: torch.einsum("ij->ijk", z(2, 2)), RuntimeError, "does not appear"),
    (lambda: torch.einsum("ii", z(2, 3)), RuntimeError, "sizes don't match"),
    (lambda: torch.einsum("i1", z(2, 3)), RuntimeError, "invalid subscript"),
    (lambda: torch.tensordot(z(2, 3), z(2, 3), 1), RuntimeError, "need to match"),
    (lambda: torch.chain_matmul(z(2, 3), z(2, 3)), RuntimeError, "chain_matmul"),
    (lambda: F.conv2d(z(1, 4, 8, 8), z(6, 3, 3, 3)), RuntimeError, "to have 3 channels, but got 4"),
    (lambda: F.conv2d(z(8, 8), z(6, 3, 3, 3)), RuntimeError, "Expected 3D (unbatched) or 4D"),
    (lambda: F.conv2d(z(1, 3, 2, 2), z(6, 3, 3, 3)), RuntimeError, "Kernel size: (3 x 3)"),
    (lambda: F.conv2d(z(1, 4, 8, 8), z(3, 2, 3, 3), groups=2), RuntimeError, "divisible by 2"),
    (lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), z(5)), RuntimeError, "with 6 elements"),
    (lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), stride=0), RuntimeError, "non-positive stride"),
    (lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), padding=-1), RuntimeError, "negative padding"),
    (lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), dilation=0), RuntimeError, "greater than zero"),
    (lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), padding="all"), RuntimeError, "'valid'"),
    (
        lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3), stride=2, padding="same"),
        RuntimeError,
        "not supported for strided",
    ),
    (
        lambda: F.conv2d(z(1, 3, 8, 8), z(6, 3, 3, 3, dtype=torch.float64)),
        RuntimeError,
        "should be the same",
    ),
    (lambda: F.conv_transpose2d(z(1, 3, 4, 4), z(4, 2, 3, 3)), RuntimeError, "4 channels"),
    (
        lambda: F.conv_transpose2d(z(1, 3, 4, 4), z(3, 2, 3, 3), output_padding=1),
        RuntimeError,
        "output padding must be smaller",
    ),
    (lambda: F.max_pool2d(z(1, 2, 2), 3), RuntimeError, "Output size is too small"),
    (lambda: F.max_pool2d(z(1, 4, 4), 2, padding=2), RuntimeError, "at most half"),
    (lambda: F.max_pool2d(z(1, 4, 4), 2, stride=0), RuntimeError, "stride should not be zero"),
    (lambda: F.max_pool2d(z(4, 4), 2), RuntimeError, "Expected 3D or 4D"),
    (lambda: F.max_pool2d(z(1, 4, 4), 0), RuntimeError, "greater than zero"),
    (lambda: F.max_pool2d(z(1, 4, 4), (2, 2, 2)), RuntimeError, "tuple of 2 ints"),
    (lambda: F.avg_pool2d(z(1, 4, 4), 2, divisor_override=0), RuntimeError, "must be not zero"),
    (lambda: F.adaptive_avg_pool2d(z(4, 4), 2), RuntimeError, "Expected 3D or 4D"),
    (lambda: F.adaptive_avg_pool2d(z(4, 4), (2, 2)), ValueError, "at least 3"),
    (lambda: F.adaptive_avg_pool2d(z(1, 4, 0), 2), RuntimeError, "non-zero size"),
    (lambda: F.max_unpool2d(z(1, 2, 2), z(1, 2, 2), 2), RuntimeError, "should be type int64"),
    (
        lambda: F.max_unpool2d(z(1, 2, 2), z(1, 2, 2).long() + 99, 2),
        RuntimeError,
        "invalid max index",
    ),
    (lambda: F.unfold(z(1, 3, 4, 4), 5), RuntimeError, "must be at least one"),
    (lambda: F.unfold(z(1, 3, 4, 4), 2, stride=0), RuntimeError, "stride should be greater"),
    (lambda: F.fold(z(1, 13, 9), (4, 4), 2), RuntimeError, "divisible by the product"),
    (lambda: F.fold(z(1, 12, 8), (4, 4), 2), RuntimeError, "number of sliding blocks 3 * 3"),
    (lambda: torch.cdist(z(2, 3), z(3, 4)), RuntimeError, "X1: 3 X2: 4"),
    (lambda: torch.cdist(z(2, 3), z(3, 3), compute_mode="a"), ValueError, "compute_mode"),
    (lambda: F.pdist(z(3)), RuntimeError, "only supports 2D"),
    (lambda: F.fractional_max_pool2d(z(1, 4, 4), 2), ValueError, "output_size or an output_ratio"),
]


@pytest.mark.parametrize("i", range(len(ERRORS)))
def test_errors(i: int) -> None:
    call, kind, says = ERRORS[i]
    with pytest.raises(kind) as raised:
        call()
    assert says in str(raised.value)


# -- PyTorch ------------------------------------------------------------------------------------


@pytest.mark.oracle
class TestOracle:
    """Outputs and gradients of random calls, against PyTorch."""

    @pytest.fixture(autouse=True)
    def oracle(self) -> Iterator[None]:
        self.torch = pytest.importorskip("torch")
        yield

    def same(self, name: str, arrays: list, *args: Any, **kwargs: Any) -> None:
        theirs = [None if a is None else self.torch.tensor(a, requires_grad=True) for a in arrays]
        ours = [None if a is None else t(a, True) for a in arrays]
        want = getattr(self.torch.nn.functional, name)(*theirs, *args, **kwargs)
        got = getattr(F, name)(*ours, *args, **kwargs)
        close(got, want.detach().numpy(), 1e-9)
        g = reals(*want.shape)
        want.backward(self.torch.tensor(g))
        got.backward(t(g))
        for p, q in zip(ours, theirs, strict=True):
            if p is not None:
                close(p.grad, q.grad.numpy(), 1e-9)

    @pytest.mark.parametrize("seed", range(40))
    def test_convolutions(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        pick = lambda low, high: [int(i) for i in rng.integers(low, high, n)]  # noqa: E731
        n, groups = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3]))
        c, o = (int(i) for i in rng.integers(1, 4, 2))
        kernel, size, stride, dilation = pick(1, 4), pick(5, 9), pick(1, 4), pick(1, 3)
        padding = pick(0, 3)
        x = rng.standard_normal((2, groups * c, *size))
        bias = rng.standard_normal(groups * o) if rng.random() < 0.5 else None
        w = rng.standard_normal((groups * o, c, *kernel))
        self.same(f"conv{n}d", [x, w, bias], stride, padding, dilation, groups)
        w = rng.standard_normal((groups * c, o, *kernel))
        extra = [int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
        low = zip(size, stride, padding, dilation, kernel, strict=True)
        if min((m - 1) * s - 2 * p + d * (k - 1) + 1 for m, s, p, d, k in low) > 0:
            how = (stride, padding, extra, groups, dilation)
            self.same(f"conv_transpose{n}d", [x, w, bias], *how)

    @pytest.mark.parametrize("seed", range(40))
    def test_pools(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        kernel = [int(k) for k in rng.integers(1, 4, n)]
        stride = [int(s) for s in rng.integers(1, 4, n)] if seed % 2 else None
        padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
        dilation = [int(d) for d in rng.integers(1, 3, n)]
        x = rng.standard_normal((2, 3, *rng.integers(5, 9, n)))
        x = np.maximum(x, 0) if seed % 3 == 0 else x
        ceil = bool(rng.random() < 0.5)
        self.same(f"max_pool{n}d", [x], kernel, stride, padding, dilation, ceil)
        include = bool(rng.random() < 0.5)
        self.same(f"avg_pool{n}d", [x], kernel, stride, padding, ceil, include)
        size = [int(s) for s in rng.integers(1, 10, n)]
        self.same(f"adaptive_avg_pool{n}d", [x], size)
        self.same(f"adaptive_max_pool{n}d", [x], size)
