"""Elementwise records of NaN, infinities and other numbers: the same bits in every layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.ops.elementwise import Elementwise
from tritorch.tensor import Tensor

SHAPE = (2, 3, 4, 5)
VALUES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 0.5, 40.0, -1e-3, 1e30, 3.0, -7.0]
RECORDS = [op for op in testing.operators() if isinstance(op, Elementwise)]


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def strided(x: np.ndarray) -> np.ndarray:
    wide = np.full([2 * n for n in x.shape], 77, x.dtype)
    view = wide[(slice(1, None, 2),) * x.ndim]
    view[...] = x
    return view


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": testing.transposed,
    "gapped": testing.gapped,
    "strided": strided,
    "channels last": channels_last,
}


def inputs(op: Elementwise, dtype: type) -> list[np.ndarray]:
    """For each input all values, in another order for each."""
    n = int(np.prod(SHAPE))
    found = []
    for i, name in enumerate(op.inputs):
        step = 3 * i + 1
        x = np.array(VALUES)[np.arange(n) * step // (1 + 5 * i) % len(VALUES)].reshape(SHAPE)
        if "floating" in op.deny:
            with np.errstate(all="ignore"):
                found.append(np.nan_to_num(np.abs(x), nan=9, posinf=5).clip(1, 60).astype(np.int64))
        else:
            found.append((x > 0) if name == "condition" else x.astype(dtype))
    return found


def tensor(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(x))


def same(op: Elementwise, got: Tensor, want: Tensor, what: str) -> None:
    g, w = got.numpy(), want.numpy()
    assert g.shape == w.shape and g.dtype == w.dtype, (op.name, what)
    ok = (g == w) | ((g != g) & (w != w))
    if g.dtype.kind == "f":
        ok &= (np.signbit(g) == np.signbit(w)) | (g != g)
    assert ok.all(), f"{op.name}, {what}: {g[~ok][:4]} where contiguous gives {w[~ok][:4]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", RECORDS, ids=lambda op: op.name)
def test_layouts_give_the_same_bits(op: Elementwise, dtype: type) -> None:
    arrays = inputs(op, dtype)
    want = op(*map(tensor, arrays))
    for name, layout in LAYOUTS.items():
        same(op, op(*[tensor(layout(x)) for x in arrays]), want, name)
    same(op, op(tensor(channels_last(arrays[0])), *map(tensor, arrays[1:])), want, "mixed")
    rows = [x[:1, :, :1] for x in arrays]
    wide = [np.ascontiguousarray(np.broadcast_to(r, SHAPE)) for r in rows]
    expanded = [torch.from_numpy(r.copy()).expand(SHAPE) for r in rows]
    same(op, op(*expanded), op(*map(tensor, wide)), "expanded")
    for at in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 2, 3)):
        same(op, op(*[tensor(x[at]) for x in arrays]), want[at], f"0-d {at}")
    empty = [tensor(x[:, :0]) for x in arrays]
    same(op, op(*empty), want[:, :0], "empty")


def test_a_sign_and_a_bit_are_seen() -> None:
    zero, one = torch.tensor([0.0]), torch.tensor([1.0])
    for other in (-zero, one, one.double() * 0):
        with pytest.raises(AssertionError):
            same(RECORDS[0], other, zero, "planted")
    with pytest.raises(AssertionError):
        same(RECORDS[0], one * (1 + 2**-23), one, "planted")


@pytest.mark.parametrize("op", RECORDS, ids=lambda op: op.name)
def test_large_arrays_give_the_same_bits(op: Elementwise) -> None:
    """Those that threads share, and in blocks: what a small array of the same values gives."""
    small = inputs(op, np.float32)
    want = op(*map(tensor, small)).numpy()
    large = [np.broadcast_to(x, (700, *SHAPE)) for x in small]
    got = op(*[torch.from_numpy(np.ascontiguousarray(x)) for x in large])
    same(op, got[-1], torch.from_numpy(want), "large")
