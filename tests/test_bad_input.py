"""Bad input: every operator refuses it by an error that says which operator and what it got."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import testing
from tritorch.op import Op
from tritorch.ops.elementwise import Elementwise
from tritorch.tensor import Tensor

ELEMENTWISE = [op for op in testing.operators() if isinstance(op, Elementwise)]
SEVERAL = [
    op
    for op in testing.operators()
    if op.name != "copy"  # which is between devices
    and sum(isinstance(x, np.ndarray) and x.ndim > 0 for x in testing.samples_of(op)[0].inputs) > 1
]


@pytest.mark.parametrize("op", SEVERAL, ids=lambda op: op.name)
def test_tensors_on_different_devices_are_refused(op: Op) -> None:
    sample = testing.samples_of(op)[0]
    args = sample.tensors(torch.float32)
    last = max(i for i, a in enumerate(args) if isinstance(a, Tensor) and a.ndim)
    args[last] = args[last].to("meta")
    with pytest.raises(RuntimeError, match=f"^{op.name}: Expected all tensors to be on the same"):
        op(*args, **sample.params)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_shapes_that_do_not_broadcast_are_named(op: Op) -> None:
    sample = testing.samples_of(op)[0]
    args = sample.tensors(torch.float32)
    places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
    if len(places) < 2:
        return
    for i, shape in zip(places, [(2, 3), (4,)] + [(1,)] * 9, strict=False):
        args[i] = args[i].new_ones(shape)
    with pytest.raises(RuntimeError, match=op.name) as raised:
        op(*args, **sample.params)
    assert "(2, 3)" in str(raised.value) and "(4,)" in str(raised.value)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_what_is_no_number_is_refused(op: Op) -> None:
    sample = testing.samples_of(op)[0]
    args = ["text", *sample.tensors(torch.float32)[1:]]
    with pytest.raises(TypeError, match=op.name):
        op(*args, **sample.params)


def x(lib: Any, *shape: int) -> Any:
    return lib.ones(shape or (2, 3))


def ints(lib: Any, *values: int) -> Any:
    return lib.tensor(values or (0, 9))


PLAIN = (
    "all any amax amin argmax argmin argsort cummax cummin cumprod cumsum "
    "log_softmax logcumsumexp logsumexp max mean median min mode nansum prod softmax sort "
    "std sum unbind unsqueeze var"
)
DIMS: dict[str, Callable[[Any, int], Any]] = {
    name: lambda lib, d, name=name: getattr(lib, name)(x(lib), d) for name in PLAIN.split()
} | {
    "cat": lambda lib, d: lib.cat([x(lib), x(lib)], d),
    "chunk": lambda lib, d: lib.chunk(x(lib), 2, d),
    "count_nonzero": lambda lib, d: lib.count_nonzero(x(lib), d),
    "diff": lambda lib, d: lib.diff(x(lib), dim=d),
    "flip": lambda lib, d: lib.flip(x(lib), (d,)),
    "diagonal": lambda lib, d: lib.diagonal(x(lib), 0, 0, d),
    "gather": lambda lib, d: lib.gather(x(lib), d, lib.zeros(2, 3).long()),
    "index_add": lambda lib, d: lib.index_add(x(lib), d, ints(lib, 0), x(lib)),
    "index_fill": lambda lib, d: lib.index_fill(x(lib), d, ints(lib, 0), 1.0),
    "index_select": lambda lib, d: lib.index_select(x(lib), d, ints(lib, 0)),
    "kthvalue": lambda lib, d: lib.kthvalue(x(lib), 1, d),
    "movedim": lambda lib, d: lib.movedim(x(lib), 0, d),
    "narrow": lambda lib, d: lib.narrow(x(lib), d, 0, 1),
    "norm": lambda lib, d: lib.norm(x(lib), 2, d),
    "permute": lambda lib, d: lib.permute(x(lib), (0, d)),
    "repeat_interleave": lambda lib, d: lib.repeat_interleave(x(lib), 2, d),
    "scatter": lambda lib, d: lib.scatter(x(lib), d, lib.zeros(2, 3).long(), 1.0),
    "select": lambda lib, d: lib.select(x(lib), d, 0),
    "split": lambda lib, d: lib.split(x(lib), 1, d),
    "squeeze": lambda lib, d: lib.squeeze(x(lib), d),
    "stack": lambda lib, d: lib.stack([x(lib), x(lib)], d),
    "topk": lambda lib, d: lib.topk(x(lib), 1, d),
    "transpose": lambda lib, d: lib.transpose(x(lib), 0, d),
    "unflatten": lambda lib, d: lib.unflatten(x(lib), d, (1, 1)),
    "roll": lambda lib, d: lib.roll(x(lib), 1, d),
}


@pytest.mark.parametrize("name", DIMS)
@pytest.mark.parametrize("dim", [5, -6])
def test_dims_out_of_range(name: str, dim: int) -> None:
    with pytest.raises(IndexError) as raised:
        DIMS[name](torch, dim)
    said = str(raised.value)
    assert "Dimension out of range" in said and f"but got {dim}" in said
    assert "(2, 3" in said or name == "stack"


def fn(lib: Any) -> Any:
    return lib.nn.functional


# name -> (call, error, what its message holds)
CALLS: dict[str, tuple[Callable[[Any], Any], type[Exception], tuple[str, ...]]] = {
    "matmul inner": (lambda t: x(t) @ x(t), RuntimeError, ("matmul", "2x3")),
    "matmul batch": (
        lambda t: x(t, 2, 2, 3) @ x(t, 4, 3, 2),
        RuntimeError,
        ("matmul", "(2,)", "(4,)"),
    ),
    "matmul dtype": (lambda t: x(t) @ x(t, 3, 2).double(), RuntimeError, ("matmul", "dtype")),
    "matmul scalar": (lambda t: t.tensor(1.0) @ x(t), RuntimeError, ("matmul", "0D")),
    "mm dims": (lambda t: t.mm(x(t), x(t, 3)), RuntimeError, ("mm",)),
    "bmm dims": (lambda t: t.bmm(x(t), x(t)), RuntimeError, ("bm",)),
    "mv": (lambda t: t.mv(x(t), x(t, 2)), RuntimeError, ("size mismatch",)),
    "dot": (lambda t: t.dot(x(t, 2), x(t, 3)), RuntimeError, ("2", "3")),
    "linear": (lambda t: fn(t).linear(x(t), x(t, 2, 4)), RuntimeError, ("linear", "2x3")),
    "addmm": (lambda t: t.addmm(x(t), x(t), x(t)), RuntimeError, ("addmm", "2x3")),
    "einsum": (lambda t: t.einsum("ij,jk->ik", x(t), x(t)), RuntimeError, ("einsum",)),
    "view": (lambda t: x(t).view(4), RuntimeError, ("view", "[4]", "6")),
    "view strides": (lambda t: x(t).t().view(6), RuntimeError, ("view", "stride")),
    "reshape": (lambda t: x(t).reshape(-1, 4), RuntimeError, ("reshape", "6")),
    "expand": (lambda t: x(t).expand(4, 3), RuntimeError, ("expand", "[4, 3]")),
    "cat shapes": (lambda t: t.cat([x(t), x(t, 3, 4)]), RuntimeError, ("cat", "(3, 4)")),
    "stack shapes": (lambda t: t.stack([x(t), x(t, 3)]), RuntimeError, ("stack", "[3]")),
    "split sizes": (lambda t: x(t).split([1, 3]), RuntimeError, ("split", "2")),
    "narrow": (lambda t: x(t).narrow(1, 2, 3), RuntimeError, ("narrow",)),
    "pad": (lambda t: fn(t).pad(x(t), (1, 1, 1)), RuntimeError, ("pad",)),
    "add dtype": (lambda t: ints(t).add_(0.5), RuntimeError, ("add", "int64")),
    "out shape dtype": (
        lambda t: t.add(x(t), x(t), out=t.zeros(2, 3).long()),
        RuntimeError,
        ("add", "int64"),
    ),
    "in place shape": (lambda t: x(t, 3).add_(x(t)), RuntimeError, ("add_", "[3]")),
    "softmax ints": (lambda t: ints(t).softmax(0), NotImplementedError, ("softmax", "int64")),
    "mean ints": (lambda t: ints(t).mean(), RuntimeError, ("mean", "int64")),
    "empty amax": (lambda t: t.zeros(0).amax(), RuntimeError, ("amax",)),
    "empty max": (lambda t: t.zeros(2, 0).max(1), IndexError, ("max", "(2, 0)")),
    "empty argmax": (lambda t: t.zeros(2, 0).argmax(1), IndexError, ("argmax", "(2, 0)")),
    "index": (lambda t: x(t)[5], IndexError, ("5", "size 2")),
    "index list": (lambda t: x(t)[[0, 7]], IndexError, ("7", "size 2")),
    "index tensor": (lambda t: x(t)[:, ints(t)], IndexError, ("9", "size 3")),
    "index float": (lambda t: x(t)[t.tensor([0.5])], IndexError, ("float",)),
    "too many": (lambda t: x(t)[0, 0, 0], IndexError, ("too many indices", "2")),
    "mask": (lambda t: x(t)[t.ones(4) > 0], IndexError, ("[4]",)),
    "index_select": (lambda t: x(t).index_select(0, ints(t)), IndexError, ("index",)),
    "gather": (lambda t: x(t).gather(1, ints(t).view(1, 2)), RuntimeError, ("9", "size 3")),
    "gather dims": (lambda t: x(t).gather(1, ints(t)), RuntimeError, ("gather",)),
    "scatter": (lambda t: x(t).scatter(0, ints(t).view(1, 2), 1.0), RuntimeError, ("9", "size 2")),
    "take": (lambda t: x(t).take(ints(t)), IndexError, ("9",)),
    "embedding": (lambda t: fn(t).embedding(ints(t), x(t)), IndexError, ("out of range",)),
    "nll_loss": (lambda t: fn(t).nll_loss(x(t), ints(t)), IndexError, ("Target 9",)),
    "cross_entropy": (lambda t: fn(t).cross_entropy(x(t), ints(t)), IndexError, ("Target 9",)),
    "mse_loss": (lambda t: fn(t).mse_loss(x(t, 3), x(t, 4)), RuntimeError, ("(3,)", "(4,)")),
    "conv channels": (
        lambda t: fn(t).conv2d(x(t, 1, 3, 5, 5), x(t, 2, 4, 3, 3)),
        RuntimeError,
        ("conv2d", "3"),
    ),
    "conv kernel": (
        lambda t: fn(t).conv2d(x(t, 1, 3, 2, 2), x(t, 2, 3, 3, 3)),
        RuntimeError,
        ("conv2d",),
    ),
    "pool": (lambda t: fn(t).max_pool2d(x(t, 1, 1, 2, 2), 3), RuntimeError, ("max_pool2d",)),
    "batch_norm": (
        lambda t: fn(t).batch_norm(x(t), x(t, 2), x(t, 2)),
        RuntimeError,
        ("batch_norm", "3"),
    ),
    "layer_norm": (lambda t: fn(t).layer_norm(x(t), (2,)), RuntimeError, ("layer_norm",)),
    "dropout": (lambda t: fn(t).dropout(x(t), 1.5), ValueError, ("dropout", "1.5")),
    "one_hot": (lambda t: fn(t).one_hot(ints(t), 3), RuntimeError, ("one_hot",)),
    "where": (lambda t: t.where(x(t) > 0, x(t), x(t, 4)), RuntimeError, ("where", "(4,)")),
    "masked_fill": (lambda t: x(t).masked_fill(x(t, 4) > 0, 0.0), RuntimeError, ("masked_fill",)),
    "masked_fill_": (lambda t: x(t).masked_fill_(x(t), 0.0), RuntimeError, ("masked_fill",)),
    "topk": (lambda t: x(t).topk(7), RuntimeError, ("topk", "7")),
    "solve": (lambda t: t.linalg.solve(x(t), x(t)), RuntimeError, ("solve", "square")),
    "cholesky": (lambda t: t.linalg.cholesky(-t.eye(2)), RuntimeError, ("cholesky",)),
    "inv": (lambda t: t.linalg.inv(x(t)), RuntimeError, ("inv", "square")),
    "negative size": (lambda t: t.zeros(-1), RuntimeError, ("negative",)),
    "backward": (lambda t: x(t).requires_grad_().mul(2).backward(), RuntimeError, ("scalar",)),
    "ints grad": (lambda t: ints(t).requires_grad_(), RuntimeError, ("floating",)),
    "item": (lambda t: x(t).item(), RuntimeError, ("6 elements",)),
    "device": (lambda t: t.zeros(2, device="nowhere"), RuntimeError, ("nowhere",)),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    call, error, says = CALLS[name]
    with warnings.catch_warnings(), pytest.raises(error) as raised:
        warnings.filterwarnings("ignore", ".*target size", UserWarning)
        call(torch)
    missing = [part for part in says if part not in str(raised.value)]
    assert not missing, f"{missing} in: {raised.value}"


@pytest.mark.oracle
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:.*target size:UserWarning")
def test_errors_have_pytorchs_types(name: str) -> None:
    oracle = pytest.importorskip("torch")
    call, error, _ = CALLS[name]
    with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as theirs:
        call(oracle)
    with pytest.raises(error) as ours:
        call(torch)
    builtin = next(kind for kind in theirs.type.__mro__ if kind.__module__ == "builtins")
    assert issubclass(ours.type, builtin), (theirs.type, theirs.value)


@pytest.mark.oracle
@pytest.mark.parametrize("name", DIMS)
def test_dims_out_of_range_are_pytorchs_errors(name: str) -> None:
    oracle = pytest.importorskip("torch")
    with pytest.raises(IndexError, match="Dimension out of range"):
        DIMS[name](oracle, 5)
