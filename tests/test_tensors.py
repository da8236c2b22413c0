"""Tensors as Python objects: numbers, copies, pickles, inference tensors, refused gradients."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch


@pytest.mark.parametrize("convert", [int, float, complex])
@pytest.mark.parametrize("shape", [(0,), (3,), (1, 2)], ids=str)
def test_numbers_of_several_elements_are_refused(convert: type, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="only one element tensors can be converted"):
        convert(torch.zeros(shape))


def test_numbers_of_one_element() -> None:
    assert int(torch.tensor([[2.5]])) == 2 and float(torch.tensor(3)) == 3.0
    assert complex(torch.tensor(1j)) == 1j and float(torch.tensor(2 + 0j)) == 2.0
    with pytest.raises(RuntimeError, match="value cannot be converted to type double"):
        float(torch.tensor(1j))


@pytest.mark.parametrize("shape", [(0,), (2,)], ids=str)
def test_the_truth_of_several_elements_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with"):
        bool(torch.zeros(shape))


def test_inference_tensors_have_no_version() -> None:
    with torch.inference_mode():
        x = torch.ones(2)
        y = x + 1
        y[0] = 3
    for t in (x, y, x[0]):
        assert t.is_inference()
        with pytest.raises(RuntimeError, match="do not track version counter"):
            _ = t._version
    assert not (x + 1).is_inference() and (x + 1)._version == 0


@pytest.mark.parametrize("result", [1, 1.5, "a", [None]], ids=str)
def test_a_backward_returns_tensors_or_none(result: Any) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> Any:
            return result

    out = Wrong.apply(torch.ones(2, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"expected Variable or None \(got "):
        out.sum().backward()


COPIES: list[Callable[[Any], Any]] = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]


@pytest.mark.parametrize("again", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_copies_share_memory_as_their_originals(again: Callable, dtype: str) -> None:
    a = torch.arange(6).to(getattr(torch, dtype))
    parts = {"all": a, "part": a[2:4], "rows": a.view(2, 3).t(), "same": a}
    found = again(parts)
    for name, t in found.items():
        assert t.stride() == parts[name].stride()
        assert t.storage_offset() == parts[name].storage_offset()
        assert t.tolist() == parts[name].tolist()
    found["all"][2] = 1
    assert found["part"][0] == found["rows"][2, 0] == 1 and found["same"] is found["all"]
    assert a.tolist() == torch.arange(6).to(getattr(torch, dtype)).tolist()


@pytest.mark.parametrize("again", COPIES, ids=["deepcopy", "pickle"])
def test_copies_keep_the_geometry(again: Callable) -> None:
    backing = np.arange(24.0).reshape(4, 6)
    for x in (
        torch.ones(1).expand(3),
        torch.from_numpy(backing[:, ::2]),
        torch.from_numpy(backing.T),
        torch.zeros(0, 3),
        torch.tensor(2.0),
    ):
        y = again(x)
        assert y.stride() == x.stride() and np.array_equal(y.numpy(), x.numpy())
        assert not np.shares_memory(y.numpy(), x.numpy())


def test_a_copy_has_the_gradient_and_its_own_version() -> None:
    w = torch.ones(2, requires_grad=True)
    (w * 3).sum().backward()
    twin = copy.deepcopy(w)
    assert twin.requires_grad and twin.grad.tolist() == [3, 3]
    with torch.no_grad():
        twin.add_(1)
    assert w._version == 0 and w.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(w * 2)


def test_changes_in_place_of_a_base_in_another_order() -> None:
    """The gradient of the base takes its geometry: no other has the view."""
    x = torch.ones(2, 3, requires_grad=True)
    base = x * 1
    base.view(-1)[1:3] = 0  # a view of a view
    (base.t() + torch.ones(3, 2)).t().mul(torch.arange(6).view(3, 2).t()).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [1, 3, 5]]


@pytest.mark.parametrize("index", ["mask", "list"])
def test_index_tensors_pass_hooks_on_saved_tensors(index: str) -> None:
    seen = []
    x = torch.arange(3.0).requires_grad_()
    y = x * 1
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        y[y > 1 if index == "mask" else [2]] = 5.0
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 0] and y.tolist() == [0, 1, 5] and seen


def test_windows_over_each_other_share_a_gradient() -> None:
    x = torch.arange(3.0, requires_grad=True)
    windows = x.unfold(0, 2, 1)
    first = windows.as_strided((2,), (1,), 0)
    (g,) = torch.autograd.grad(first.sum(), [windows])
    assert g.tolist() == [[1, 0.5], [0.5, 0]]  # one element of memory, twice in the windows


def test_a_view_of_memory_beyond_its_input_is_one_of_the_base_once_changed() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    base = x * 1
    outside = base[1].as_strided((2,), (1,), 0)  # the first row, taken of the second
    outside.square_()
    (g,) = torch.autograd.grad(base.square().sum(), [x], retain_graph=True)
    assert g.tolist() == [[4, 32], [6, 8]]
    (g,) = torch.autograd.grad(outside.sum(), [x])
    assert g.tolist() == [[2, 4], [0, 0]]


class _SquaredInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x.clone())
        ctx.mark_dirty(x)
        return x.square_()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * g


def test_a_function_of_ones_own_changes_a_view() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    base = x * 1
    _SquaredInPlace.apply(base[1:])
    base.sum().backward()
    assert base.tolist() == [1, 4, 9] and x.grad.tolist() == [1, 4, 6]


def test_nan_takes_the_gradient_of_a_maximum() -> None:
    x, y = (torch.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [float("nan"), 2.0]))
    torch.maximum(x, y).backward(torch.ones(2))
    assert x.grad.tolist() == y.grad.tolist() == [1, 0.5]


def test_new_tensor_keeps_the_dtype_whatever_the_data() -> None:
    for data in (np.ones(2), np.arange(2), [1, 2], 3.0):
        assert torch.ones(1).new_tensor(data).dtype == torch.float32
        assert torch.ones(1, dtype=torch.int64).new_tensor(data).dtype == torch.int64
    assert torch.ones(1).new_tensor(np.arange(2), dtype=torch.int8).dtype == torch.int8
    grid = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], (1, 1, 1, 2), align_corners=False)
    assert grid.dtype == torch.float32 and grid.flatten().tolist() == [-0.5, 0.0, 0.5, 0.0]


ALL = torch.tensor([True])
BYTES = torch.zeros(1, dtype=torch.uint8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor([300], dtype=torch.uint8),
        lambda: torch.tensor([-256], dtype=torch.uint8),
        lambda: torch.tensor([-1.0], dtype=torch.uint8),
        lambda: torch.tensor([200, 0], dtype=torch.int8),
        lambda: torch.tensor(1e20, dtype=torch.int64),
        lambda: torch.tensor([0.0, float("nan")], dtype=torch.int64),
        lambda: torch.tensor(float("inf"), dtype=torch.int32),
        lambda: torch.tensor([2**63]),
        lambda: torch.tensor(2**70),
        lambda: torch.as_tensor([torch.tensor(300)], dtype=torch.uint8),
        lambda: torch.scalar_tensor(300, dtype=torch.uint8),
        lambda: torch.full((2,), 2**63),
        lambda: torch.full((2,), 1e39),
        lambda: torch.full((2,), 1j, dtype=torch.float32),
        lambda: torch.full_like(BYTES, 300),
        lambda: BYTES.new_full((2,), 300),
        lambda: torch.zeros(1, dtype=torch.float16).fill_(1e10),
        lambda: BYTES.clone().fill_(-1.0),
        lambda: BYTES.clone().__setitem__(0, 256),
        lambda: BYTES.masked_fill(ALL, 300),
        lambda: BYTES.masked_fill(ALL, torch.tensor(300)),
        lambda: torch.zeros(1, dtype=torch.int64).masked_fill(ALL, float("nan")),
        lambda: torch.zeros(1, dtype=torch.float16).masked_fill(ALL, -1e9),
        lambda: BYTES.index_fill(0, torch.tensor([0]), 300),
        lambda: BYTES.scatter(0, torch.tensor([0]), 300),
        lambda: torch.where(ALL, -300, BYTES),
        lambda: torch.nn.functional.pad(BYTES, (1, 1), value=300),
    ],
)
def test_a_number_that_a_dtype_cannot_hold_is_refused(make: Callable) -> None:
    with pytest.raises((RuntimeError, ValueError), match=r"[Oo]verflow"):
        make()


def written(x: torch.Tensor, value: float) -> torch.Tensor:
    x[0] = value
    return x[0]


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (lambda: torch.tensor(-255, dtype=torch.uint8), 1),
        (lambda: torch.tensor(1.9, dtype=torch.int32), 1),
        (lambda: torch.tensor(2**63, dtype=torch.uint64), 2**63),
        (lambda: torch.tensor(2**70, dtype=torch.bool), True),
        (lambda: torch.tensor([2**70, 1.5])[0], float(2**70)),
        (lambda: torch.tensor(1e39), float("inf")),
        (lambda: torch.full((), float("inf")), float("inf")),
        (lambda: torch.tensor(0, dtype=torch.uint8).fill_(-1), 255),
        (lambda: BYTES.masked_fill(ALL, 1.5)[0], 1),
        (lambda: BYTES.masked_fill(ALL, torch.tensor(2.5))[0], 2),
        (lambda: torch.where(ALL, -1, BYTES)[0], 255),
        (lambda: (BYTES + 300)[0], 44),
        (lambda: written(torch.zeros(1), 1e39), float("inf")),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_number_as_a_dtype_holds_it(made: Callable, value: object) -> None:
    assert made().item() == value


@pytest.mark.parametrize(
    ("call", "error", "instead"),
    [
        (lambda: ALL - ALL, RuntimeError, "logical_xor"),
        (lambda: -ALL, RuntimeError, "logical_not"),
        (lambda: ~torch.ones(2), TypeError, "integer and bool"),
        (lambda: torch.ones(2).__delitem__(0), TypeError, "deleting items"),
        (lambda: torch.tensor(None), RuntimeError, "NoneType"),
        (lambda: torch.from_numpy(np.ones(2, np.float32).astype(">f4")), ValueError, "byte order"),
    ],
)
def test_a_refusal_says_what_serves_instead(
    call: Callable, error: type[Exception], instead: str
) -> None:
    with pytest.raises(error, match=instead):
        call()


def test_numpy_reads_a_leaf_that_is_not_recorded() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        x.numpy()
    with torch.no_grad():
        assert x.numpy().tolist() == np.asarray(x).tolist() == [1.0, 1.0]
        assert np.shares_memory(x.numpy(), x.detach().numpy())


def test_a_read_only_array_warns_and_stays_as_it_is() -> None:
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="read-only"):
        x = torch.from_numpy(array)
    with pytest.raises(ValueError, match="read-only"):
        x.add_(1)
    assert array.tolist() == [1.0, 1.0]


def test_the_grad_of_what_is_no_leaf_warns() -> None:
    x = torch.ones(2, requires_grad=True)
    y, z = x * 2, x * 3
    z.retain_grad()
    with pytest.warns(UserWarning, match="retain_grad"):
        assert y.grad is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x.grad is None and z.grad is None and y.detach().grad is None


def test_modes_inside_inference_mode() -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        with torch.enable_grad():
            y = x * 2
            assert y.is_inference() and not y.requires_grad
        with torch.set_grad_enabled(True):
            assert not (x * 2).requires_grad
        with torch.inference_mode(False):
            z = x * 2
            assert z.requires_grad and not z.is_inference()
        assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
    with torch.no_grad(), torch.inference_mode(False):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_what_had_a_history_is_pickled_as_a_leaf() -> None:
    x = torch.ones(2, requires_grad=True)
    y = pickle.loads(pickle.dumps(x * 3))
    assert y.is_leaf and y.requires_grad and y.tolist() == [3.0, 3.0]


def test_the_device_is_printed_also_where_it_is_the_default() -> None:
    with torch.device("meta"):
        assert repr(torch.ones(2)) == "tensor(..., device='meta', size=(2,))"
