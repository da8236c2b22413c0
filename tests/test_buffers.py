"""Tensors over buffers and files, storages, and methods that change elements or geometry."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.autograd import gradcheck


def test_a_buffer_is_shared() -> None:
    memory = bytearray(range(8))
    x = torch.frombuffer(memory, dtype=torch.int16, offset=2)
    assert x.tolist() == np.frombuffer(memory, np.int16, offset=2).tolist()
    x[0] = 0
    assert memory[2:4] == b"\0\0"
    assert torch.frombuffer(memory, dtype=torch.bfloat16, count=2).shape == (2,)
    with pytest.warns(UserWarning, match="not writable"):
        assert torch.frombuffer(b"abc", dtype=torch.uint8).tolist() == [97, 98, 99]
    for kwargs, says in (
        ({"offset": 8}, "must be non-negative and no greater"),
        ({"offset": 1}, "must be a multiple of element size"),
        ({"count": 5}, "must not be greater than actual buffer length"),
        ({"count": 0}, "must not be 0"),
    ):
        with pytest.raises(ValueError, match=says):
            torch.frombuffer(memory, dtype=torch.int16, **kwargs)  # type: ignore[arg-type]


def test_a_file_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    shared = torch.from_file(path, shared=True, size=4, dtype=torch.int32)
    shared.copy_(torch.arange(4))
    private = torch.from_file(str(path), size=3, dtype=torch.int32)
    assert private.tolist() == [0, 1, 2]
    private.zero_()
    assert np.fromfile(path, np.int32).tolist() == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="has 16 bytes, fewer than the 20"):
        torch.from_file(path, size=5, dtype=torch.int32)


def test_dimensions_lie_in_memory_as_asked() -> None:
    assert torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
    with pytest.raises(RuntimeError, match="a permutation of them"):
        torch.empty_permuted((2, 3), (0, 0))


def test_closed_ranges() -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        assert torch.range(1, 2, 0.5).tolist() == [1, 1.5, 2]
    with pytest.warns(UserWarning, match="deprecated"), pytest.raises(RuntimeError, match="step"):
        torch.range(1, 2, -1)


def test_storages_share_memory_with_tensors() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    s = x[1].storage()
    assert s.tolist() == [0, 1, 2, 3, 4, 5] and len(s) == 6 and s.nbytes() == 24
    assert s == x.T.storage() and s != torch.arange(6.0).storage()
    assert isinstance(s, torch.FloatStorage) and not isinstance(s, torch.LongStorage)
    assert s.type() == "torch.FloatStorage" and x.storage_type() is not None
    s[1], s[4:] = 10.0, 7.0
    assert x.tolist() == [[0, 10, 2], [3, 7, 7]] and s[1] == 10 and s[:2].tolist() == [0, 10]
    raw = x.untyped_storage()
    assert len(raw) == 24 and raw[0] == 0 and raw.data_ptr() == x.data_ptr()
    raw.fill_(0)
    assert not x.any() and s.untyped() == raw
    assert torch.is_storage(raw) and not torch.is_storage(x)
    kept = s.clone()
    s.fill_(1)
    assert kept.tolist() == [0] * 6 and s.copy_(kept).tolist() == [0] * 6
    assert torch.UntypedStorage(3).tolist() == [0, 0, 0]
    made = torch.DoubleStorage([1, 2])
    assert made.dtype is torch.float64 and made.to(torch.int8).tolist() == [1, 2]


def test_a_tensor_can_be_set_to_a_storage() -> None:
    s = torch.arange(6.0).storage()
    x = torch.tensor([]).set_(s, 1, (2, 2))
    assert x.tolist() == [[1, 2], [3, 4]]
    x[0, 0] = -1
    assert s[1] == -1
    assert torch.tensor([]).set_(s.untyped(), 0, (3,), (2,)).tolist() == [0, 2, 4]


@pytest.mark.filterwarnings("ignore:set_default_tensor_type")
def test_default_types() -> None:
    try:
        torch.set_default_tensor_type("torch.DoubleTensor")
        assert torch.tensor(1.0).dtype is torch.float64
        torch.set_default_tensor_type(torch.FloatTensor)
        assert torch.tensor(1.0).dtype is torch.float32
        for bad in (torch.LongTensor, "torch.NoTensor", 3):
            with pytest.raises(TypeError):
                torch.set_default_tensor_type(bad)
    finally:
        torch.set_default_dtype(torch.float32)
    on_gpu = torch.cuda.FloatTensor  # type: ignore[attr-defined]
    assert on_gpu.__name__ == "FloatTensor" and not isinstance(torch.ones(1), on_gpu)
    assert torch.typename(torch.ones(1)) == "torch.FloatTensor" and torch.typename(3) == "int"


@pytest.mark.parametrize("shape", [(3, 3), (7, 3), (3, 7), (4, 3), (3, 3, 3)], ids=str)
@pytest.mark.parametrize("wrap", [False, True])
def test_diagonals_are_filled_as_numpys(shape: tuple, wrap: bool) -> None:
    want = np.zeros(shape)
    np.fill_diagonal(want, 5, wrap)
    x = torch.zeros(shape, dtype=torch.float64)
    assert x.fill_diagonal_(5, wrap) is x
    np.testing.assert_array_equal(x.numpy(), want)


def test_filled_diagonals_have_no_gradient() -> None:
    x: Any = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    (x * 2).fill_diagonal_(0).sum().backward()
    assert x.grad.tolist() == (2 - 2 * np.eye(3)).tolist()
    with pytest.raises(RuntimeError, match="larger than 1"):
        torch.ones(3).fill_diagonal_(0)
    with pytest.raises(RuntimeError, match="equal length"):
        torch.ones(3, 3, 4).fill_diagonal_(0)


def test_sums_to_a_size() -> None:
    x = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 4)
    np.testing.assert_array_equal(x.sum_to_size(3, 1).numpy(), x.numpy().sum((0, 2))[:, None])
    assert x.sum_to_size((2, 3, 4)) is x
    assert gradcheck(lambda t: t.sum_to_size(1, 4), (x.requires_grad_(),))
    with pytest.raises(RuntimeError, match="not expandable"):
        x.sum_to_size(2)


def test_python_functions_of_elements() -> None:
    x, y = torch.arange(4).reshape(2, 2), torch.ones(2, dtype=torch.int64)
    assert x.apply_(lambda v: v * v).tolist() == [[0, 1], [4, 9]]
    assert x.map_(y, lambda a, b: a - b).tolist() == [[-1, 0], [3, 8]]
    assert x.map2_(y, y, lambda a, b, c: a + b + c).tolist() == [[1, 2], [5, 10]]
    assert x._version == 3
    with pytest.raises(RuntimeError, match="requires grad"):
        torch.ones(2, requires_grad=True).apply_(abs)


def test_old_names() -> None:
    x = torch.arange(6.0)
    with pytest.warns(UserWarning, match="deprecated"):
        assert x.resize(2, 3).shape == (2, 3)
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="requested resize"):
        x.resize(7)
    z = torch.tensor([[1 + 1j, 2]])
    assert torch.adjoint(z).tolist() == [[1 - 1j], [2]]
    with pytest.raises(RuntimeError, match="only supported on matrices"):
        x.adjoint()
    part = x.reshape(2, 3)[:1]
    assert torch.slice_inverse(part, x.reshape(2, 3)).tolist() == x.reshape(2, 3).tolist()
    assert torch.slice_copy(x, 0, 1, 5, 2).tolist() == [1, 3]
    assert torch.subtract(x, 1, alpha=2).tolist() == (x - 2).tolist()
    assert torch.hash_tensor(torch.tensor([1, 2, 4])).item() == 7
    assert torch.hash_tensor(x) == torch.hash_tensor(x.flip(0))


def test_functions_named_like_methods_in_place() -> None:
    x = torch.tensor([-1.5, 2.25])
    assert torch.abs_(x) is x and x.tolist() == [1.5, 2.25]
    assert torch.clamp_(x, min=2).tolist() == [2, 2.25] and torch.sqrt_(x).tolist()[1] == 1.5
    assert torch.zero_(x).tolist() == [0, 0] and torch.fill_(x, 3).tolist() == [3, 3]
    with pytest.raises(TypeError, match=r"exp_\(\): argument 'input' .* must be Tensor, not float"):
        torch.exp_(1.0)  # type: ignore[arg-type]
    y = torch.ones(2, requires_grad=True)
    assert not torch.detach(y).requires_grad


def test_a_product_of_groups() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((2, 3, 4))
    ends = torch.tensor([2, 5], dtype=torch.int32)
    f: Any = torch.nn.functional.grouped_mm
    t = torch.from_numpy
    rows = f(t(a), t(b), offs=ends).numpy()
    np.testing.assert_allclose(
        rows, np.concatenate([a[:2] @ b[0], a[2:5] @ b[1], np.zeros((1, 4))])
    )
    columns = f(t(b.swapaxes(1, 2).copy()), t(a.T.copy()), offs=ends).numpy()
    np.testing.assert_allclose(columns, rows.T)
    inner = f(t(a.T.copy()), t(a), offs=ends).numpy()
    np.testing.assert_allclose(inner, [a[:2].T @ a[:2], a[2:5].T @ a[2:5]])
    np.testing.assert_allclose(f(t(b), t(b).mT).numpy(), b @ b.swapaxes(1, 2))
    assert gradcheck(
        lambda x, y: f(x, y, offs=ends), (t(a).requires_grad_(), t(b).requires_grad_())
    )
    with pytest.raises(RuntimeError, match="Have to provide offsets"):
        f(t(a), t(b))
    with pytest.raises(RuntimeError, match="offsets must grow"):
        f(t(a), t(b), offs=torch.tensor([3, 9]))
    with pytest.raises(RuntimeError, match="expected 2 offsets, one a matrix, got 1"):
        f(t(a), t(b), offs=ends[:1])
    with pytest.raises(RuntimeError, match=r"no offsets, got .* and offsets"):
        f(t(b), t(b).mT, offs=ends)
    with pytest.raises(RuntimeError, match=r"matrices of floats, got tritorch\.int64"):
        f(t(a).long(), t(b).long(), offs=ends)


@pytest.mark.oracle
@pytest.mark.parametrize("turned", (False, True))
@pytest.mark.parametrize(
    "shapes",
    [((64, 16), (3, 16, 32)), ((3, 16, 32), (32, 64)), ((16, 64), (64, 32))],
    ids=("rows", "columns", "inner"),
)
def test_a_product_of_groups_and_its_gradients_are_torch_s(shapes: tuple, turned: bool) -> None:
    torch2 = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    found = []
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    grad: Any = None
    for library in (torch, torch2):
        x, y = (
            library.tensor(z.swapaxes(-1, -2).copy()).mT if turned else library.tensor(z)
            for z in (a, b)
        )
        x, y = x.requires_grad_(), y.requires_grad_()
        ends = library.tensor([5, 5, 64], dtype=library.int32)
        out = library.nn.functional.grouped_mm(x, y, offs=ends)
        assert library.equal(out, library._grouped_mm(x, y, ends))
        grad = rng.standard_normal(out.shape).astype(np.float32) if grad is None else grad
        out.backward(library.tensor(grad))
        found.append([z.detach().numpy() for z in (out, x.grad, y.grad)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def float8(x: np.ndarray) -> Any:
    return torch.from_numpy(x.astype(np.float32)).to(torch.float8_e4m3fn)


def test_products_of_float8_with_scales() -> None:
    rng = np.random.default_rng(0)
    f: Any = torch.nn.functional.scaled_mm
    whole, rows = (torch.nn.functional.ScalingType[n] for n in ("TensorWise", "RowWise"))
    a, b = float8(rng.standard_normal((4, 8))), float8(rng.standard_normal((8, 3)))
    product = a.float().numpy() @ b.float().numpy()
    one, half = torch.tensor(2.0), torch.tensor([0.25])
    got = f(a, b, one, whole, [half], [whole], output_dtype=torch.float32)
    np.testing.assert_allclose(got.numpy(), product / 2, rtol=1e-6)
    assert f(a, b, one, whole, half, whole).dtype is torch.bfloat16
    assert f(a, b, one, whole, half, whole, output_dtype=None).dtype is torch.float8_e4m3fn
    left, right = rng.random((4, 1), np.float32), rng.random((1, 3), np.float32)
    scales = torch.from_numpy(left), rows, torch.from_numpy(right), rows
    got = f(a, b, *scales, bias=torch.ones(3), output_dtype=torch.float32)
    np.testing.assert_allclose(got.numpy(), left * product * right + 1, rtol=1e-5, atol=1e-6)
    wrong = [
        ((a.float(), b, one, whole, half, whole), "mat_a should be float8"),
        ((a, b, one, whole, scales[2], rows), "both recipes"),
        ((a, b, scales[2], rows, scales[2], rows), r"scale_a has to be of shape \(4, 1\)"),
        ((a, a, one, whole, half, whole), "cannot be multiplied"),
    ]
    for args, message in wrong:
        with pytest.raises(ValueError, match=f"scaled_mm: .*{message}"):
            f(*args)


def test_products_of_groups_of_float8_with_scales() -> None:
    rng = np.random.default_rng(0)
    f: Any = torch.nn.functional.scaled_grouped_mm
    rows = torch.nn.functional.ScalingType.RowWise
    a, b = float8(rng.standard_normal((5, 4))), float8(rng.standard_normal((2, 4, 3)))
    left, right = rng.random(5, np.float32), rng.random((2, 3), np.float32)
    ends = torch.tensor([2, 5], dtype=torch.int32)
    scales = torch.from_numpy(left), rows, torch.from_numpy(right), rows
    got = f(a, b, *scales, offs=ends, output_dtype=torch.float32)
    x, y = a.float().numpy() * left[:, None], b.float().numpy() * right[:, None]
    np.testing.assert_allclose(
        got.numpy(), np.concatenate([x[:2] @ y[0], x[2:] @ y[1]]), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(NotImplementedError, match="scaled_grouped_mm: takes RowWise"):
        f(a, a.t(), *scales)


@pytest.mark.oracle
def test_products_of_float8_are_pytorchs() -> None:
    oracle = pytest.importorskip("torch")

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 32)), rng.standard_normal((48, 32))
    left, right = rng.random((16, 1), np.float32), rng.random((1, 48), np.float32)
    bias = rng.standard_normal(48)

    def results(lib: Any) -> list[np.ndarray]:
        def t(a: np.ndarray) -> Any:
            return lib.from_numpy(np.asarray(a, np.float32))

        found = []
        kinds = (lib.float8_e4m3fn, lib.float8_e5m2)
        for ta, tb in itertools.product(kinds, kinds):
            a, b = t(x).to(ta), t(y).to(tb).t()
            for scales in ((lib.tensor(2.0), lib.tensor(0.25)), (t(left), t(right))):
                for dtype in (lib.float32, lib.bfloat16, lib.float16):
                    for added in (None, t(bias).to(dtype)):
                        out = lib._scaled_mm(a, b, *scales, bias=added, out_dtype=dtype)
                        assert out.dtype is dtype and tuple(out.shape) == (16, 48)
                        found.append(out.float().numpy())
        assert lib._scaled_mm(a, b, *scales).dtype is kinds[1]
        return found

    for ours, theirs in zip(results(torch), results(oracle), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ("float32", "float64", "bfloat16"))
def test_sums_with_an_activation_are_pytorchs(name: str) -> None:
    oracle = pytest.importorskip("torch")

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((5,), (4, 7), (7, 5))]

    def results(lib: Any) -> list[np.ndarray]:
        c, a, b = (lib.from_numpy(x).to(getattr(lib, name)) for x in arrays)
        calls = ({}, {"use_gelu": True}, {"beta": 0.5, "alpha": -2, "use_gelu": True}, {"beta": 0})
        return [lib._addmm_activation(c, a, b, **p).double().numpy() for p in calls]

    tolerance = {"float32": 1e-6, "float64": 1e-13, "bfloat16": 2e-2}[name]
    for ours, theirs in zip(results(torch), results(oracle), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_bad_input_is_named() -> None:
    x, f8 = torch.ones(2, 3), torch.ones(2, 4).to(torch.float8_e4m3fn)
    one: Any = torch.tensor(1.0)
    wrong: list[tuple] = [
        (lambda: torch._addmm_activation(x, x, x), RuntimeError, "_addmm_activation: mat1 and"),
        (
            lambda: torch._addmm_activation(x, x[0], x),
            RuntimeError,
            "mat1 must be a matrix, got 1-D",
        ),
        (lambda: torch._addmm_activation(x, x, 3), TypeError, "argument 'mat2'"),
        (lambda: torch._scaled_mm(f8, f8, one, one), ValueError, r"scaled_mm: .*multiplied"),
        (lambda: torch._scaled_mm(x, x.t(), one, one), ValueError, "mat_a should be float8"),
        (lambda: torch._scaled_mm(f8, f8.t(), one, one.int()), ValueError, "scales are float32"),
        (lambda: torch._scaled_mm(f8, f8.t(), torch.ones(2), one), ValueError, r"shape \(2, 1\)"),
        (lambda: torch._scaled_mm(f8, f8.t(), one, one, one), ValueError, "Bias must be size 2"),
    ]
    for call, kind, message in wrong:
        with pytest.raises(kind, match=message):
            call()
