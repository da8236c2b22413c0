"""Loops over time and losses over sequences on a device against the CPU.

Hidden sizes and batches larger than a block, packed sequences in both directions, projections;
targets that cannot be spelled, empty ones and repeated labels; chunks that are not full.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch import op as spine
from tritorch.ops import recurrent_host
from tritorch.runtime import memory
from tritorch.tensor import Tensor

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"),
]
F = torch.nn.functional
TOLERANCE = {"float32": 5e-5, "float64": 1e-11, "float16": 1e-2, "bfloat16": 6e-2}


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape) * scale


def on(device: str, a: Any, dtype: Any) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    t = torch.from_numpy(a)
    return (t.to(dtype) if a.dtype.kind == "f" else t).to(device)


def compare(f: Callable, *arrays: Any, dtype: Any = torch.float32, scale: float = 1.0) -> None:
    """The results of `f` and the gradients of all floats are on the device what they are here."""
    spine.FALLBACKS.clear()
    found = []
    for device in ("cpu", "cuda"):
        given = [on(device, a, dtype) for a in arrays]
        leaves = [t.requires_grad_() for t in given if _is_float(t)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the interpreter's NumPy
            out = f(*given)
            outs = [t for t in (out if isinstance(out, tuple) else (out,)) if _is_float(t)]
            steps = [np.cos(np.arange(t.numel())).reshape(tuple(t.shape)) for t in outs]
            g = [on(device, s, dtype).to(t.dtype) for s, t in zip(steps, outs, strict=True)]
            grads = torch.autograd.grad(outs, leaves, g)
        found.append([t.detach().cpu().double().numpy() for t in (*outs, *grads)])
    assert not spine.FALLBACKS, spine.FALLBACKS
    tolerance = scale * TOLERANCE[dtype.name]
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, tolerance, tolerance)


def _is_float(t: Any) -> bool:
    return isinstance(t, Tensor) and t.is_floating_point()


# -- loops over time -------------------------------------------------------------------------------

SIZES = [((19,) * 2, False), ((18, 17, 1), False), ((18, 5), True)]
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def scan(cell: str, sizes: tuple, reverse: bool, n: int, p: int | None = None) -> tuple:
    """(the operator with its parameters, its inputs) for random sequences."""
    rows, batch, gates = sum(sizes), sizes[0], GATES[cell]
    params: dict[str, Any] = {"sizes": sizes, "reverse": reverse}
    width = p or n
    inputs: list = [normal(rows, gates * n), normal(batch, width, seed=1)]
    weight = normal(gates * n, width, seed=2, scale=width**-0.5)
    if cell == "lstm":
        project = None if p is None else normal(p, n, seed=3, scale=n**-0.5)
        inputs += [normal(batch, n, seed=4), weight, project]
    elif cell == "gru":
        inputs += [weight, normal(3 * n, seed=5)]
    else:
        inputs.append(weight)
        params["relu"] = reverse
    op = spine.REGISTRY[f"{cell}_scan"]
    kept = {"rnn": 2, "lstm": 3, "gru": 2}[cell]  # what follows is for the backward alone
    return lambda *given: op(*given, **params)[:kept], inputs


@pytest.mark.parametrize(("sizes", "reverse"), SIZES)
@pytest.mark.parametrize("cell", GATES)
def test_scans(cell: str, sizes: tuple, reverse: bool) -> None:
    f, inputs = scan(cell, sizes, reverse, 18)
    compare(f, *inputs)


@pytest.mark.parametrize(("sizes", "reverse"), [((3, 3), False), ((4, 2, 1), True)])
def test_projected_states(sizes: tuple, reverse: bool) -> None:
    f, inputs = scan("lstm", sizes, reverse, 18, p=7)
    compare(f, *inputs)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("cell", GATES)
def test_scans_of_each_dtype(cell: str, name: str) -> None:
    f, inputs = scan(cell, (5, 3), False, 9)
    compare(f, *inputs, dtype=getattr(torch, name))


def test_scans_of_strided_arrays() -> None:
    f, inputs = scan("gru", (4, 3, 3), False, 6)
    strided = [np.repeat(a, 2, -1)[..., ::2] for a in inputs]
    strided[2] = np.asfortranarray(inputs[2])
    compare(f, *strided)


def test_a_step_is_one_launch() -> None:
    runtime: Any = memory.runtime()
    f, inputs = scan("lstm", (3, 3, 2), False, 5)
    runtime.launches.clear()
    f(*[on("cuda", a, torch.float32) for a in inputs])
    assert runtime.launches == {"lstm_forward_kernel": 3}


def test_layers_on_the_device() -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    x = normal(4, 2, 3)
    spine.FALLBACKS.clear()
    want = layer(torch.from_numpy(x).float())[0].detach().numpy()
    got = layer.to("cuda")(torch.from_numpy(x).float().to("cuda"))[0].detach().cpu().numpy()
    assert not spine.FALLBACKS
    np.testing.assert_allclose(got, want, 1e-5, 1e-5)


def test_the_steps_are_those_of_the_host() -> None:
    from tritorch.kernels import recurrent

    for sizes, reverse in SIZES:
        assert recurrent.steps(sizes, reverse) == recurrent_host.steps(sizes, reverse)


# -- connectionist temporal classification ---------------------------------------------------------


def ctc(time: int, classes: int, targets: list[list[int]], lengths: list[int]) -> None:
    n, longest = len(targets), max(map(len, targets))
    rows = np.zeros((n, max(longest, 1)), np.int64)
    for i, each in enumerate(targets):
        rows[i, : len(each)] = each
    x = normal(time, n, classes)

    def loss(logits: Tensor, t: Tensor) -> Tensor:
        sizes = [len(each) for each in targets]
        return F.ctc_loss(logits.log_softmax(2), t, lengths, sizes, reduction="none")

    finite = [i for i in range(n) if len(targets[i]) <= lengths[i]]
    compare(lambda a, t: loss(a, t)[finite], x, rows, scale=4)


def test_alignments() -> None:
    ctc(8, 6, [[1, 2, 2, 5], [3, 3, 3], [4], []], [8, 7, 1, 4])


def test_alignments_of_long_targets() -> None:
    ctc(18, 4, [[1, 2, 3] * 6, [1] * 9], [18, 17])


def test_many_classes() -> None:
    ctc(4, 301, [[300, 7], [64, 64]], [4, 4])


def test_targets_that_cannot_be_spelled() -> None:
    x, t = normal(3, 2, 4), np.array([[1, 1, 2], [3, 2, 1]])
    found = []
    for device in ("cpu", "cuda"):
        a = torch.from_numpy(x).float().to(device).log_softmax(2).requires_grad_()
        targets = torch.from_numpy(t).to(device)
        out = F.ctc_loss(a, targets, [3, 0], [3, 3], reduction="none")
        (g,) = torch.autograd.grad(out.sum(), a)
        clean = F.ctc_loss(a, targets, [3, 0], [3, 3], reduction="sum", zero_infinity=True)
        found.append([out.detach().cpu().numpy(), g.cpu().numpy(), clean.detach().cpu().numpy()])
    assert found[1][0].tolist() == [math.inf, math.inf] and found[1][2] == 0
    np.testing.assert_array_equal(np.isnan(found[1][1]), np.isnan(found[0][1]))


# -- a linear layer and cross-entropy --------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("biased", [False, True])
def test_chunked_entropy(name: str, biased: bool) -> None:
    rows, features, classes = 11, 9, 70
    x, w = normal(rows, features), normal(classes, features, seed=1, scale=0.3)
    target = np.random.default_rng(0).integers(0, classes, rows)
    target[3] = -100
    bias = normal(classes, seed=2) if biased else None
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=4)

    def loss(x: Tensor, w: Tensor, target: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear_cross_entropy(x, w, target, linear_bias=bias, options=options)

    compare(loss, x, w, target, bias, dtype=getattr(torch, name))


def test_the_logits_of_a_chunk_alone_are_in_memory() -> None:
    runtime: Any = memory.runtime()
    largest, allocate = 0, runtime.allocate

    def watched(nbytes: int, *rest: Any) -> Any:
        nonlocal largest
        largest = max(largest, nbytes)
        return allocate(nbytes, *rest)

    x, w = (on("cuda", normal(*s), torch.float32) for s in ((24, 2), (40, 2)))
    target = on("cuda", np.arange(24), None)
    op = spine.REGISTRY["linear_entropy"]
    runtime.allocate = watched
    try:
        op(x, w, target, None, ignore_index=-100, chunk=6)
    finally:
        del runtime.allocate
    assert largest == 6 * 40 * 4
