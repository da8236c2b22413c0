"""The kernels of products of groups without operators around them.

Interpreted, they are compared with NumPy in float64; ahead of time, the products of a mixture of
experts are compiled, and must neither spill nor miss the tensor cores and wide loads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from test_kernels_dense import (
    CORES,
    aot,
    close,
    fit,
    interpreter,
    numbers,
    plain,
    put,
    slow,
    spread,
    turned,
    wide,
)

import tritorch as torch
from tritorch import dtypes
from tritorch.dtypes import bfloat16, float16, float32, float64, int32
from tritorch.runtime import memory
from tritorch.runtime.aot import TARGETS, Facts, compile_for, meta
from tritorch.runtime.array import Array
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import grouped

KINDS = ("rows", "columns", "inner")
# (sizes of groups, what is behind them, one outer dimension, the other)
CASES = [
    ((2, 3), 1, 3, 4),
    ((1,), 0, 1, 1),
    ((0, 0, 0), 5, 7, 3),
    ((0, 9, 0, 131, 20, 0), 0, 33, 17),
    ((70, 130, 1), 55, 64, 40),  # sizes of whole vectors, groups that begin between them
    ((5, 12, 31), 16, 40, 136),
    ((16, 128, 256), 0, 32, 16),
    (tuple(i % 5 for i in range(70)), 2, 9, 5),
    ((), 4, 3, 2),
    ((3, 2), 0, 0, 4),
]


def data(kind: str, case: tuple, dtype: dtypes.DType) -> tuple[np.ndarray, np.ndarray]:
    sizes, rest, x, y = case
    total, groups = sum(sizes) + rest, len(sizes)
    shapes = {
        "rows": ((total, x), (groups, x, y)),
        "columns": ((groups, y, x), (x, total)),
        "inner": ((x, total), (total, y)),
    }[kind]
    return numbers(shapes[0], dtype), numbers(shapes[1], dtype, 1)


def expected(kind: str, a: np.ndarray, b: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    a, b = wide(a), wide(b)
    spans = list(zip([0, *ends[:-1]], ends, strict=True)) if len(ends) else []
    if kind == "inner":
        out = np.zeros((len(spans), a.shape[0], b.shape[1]))
        for g, (i, j) in enumerate(spans):
            out[g] = a[:, i:j] @ b[i:j]
        return out
    out = np.zeros((a.shape[-2], b.shape[-1]))
    for g, (i, j) in enumerate(spans):
        if kind == "rows":
            out[i:j] = a[i:j] @ b[g]
        else:
            out[:, i:j] = a[g] @ b[:, i:j]
    return out


def check(
    kind: str, case: tuple, dtype: dtypes.DType, turn: Callable = plain, ends: Any = None
) -> Array:
    """Compute a case; `ends` where they are given in another form than that of the case."""
    a, b = (turn(x) for x in data(kind, case, dtype))
    of_groups = np.cumsum(case[0]).astype(np.int32)
    wanted = expected(kind, a, b, of_groups.tolist()).astype(dtype.np)
    out = launch.empty(wanted.shape, dtype)
    ends = of_groups if ends is None else ends
    assert grouped.grouped(launch, out, put(a), put(b), put(ends)) is None
    close(out, wanted)
    return out


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_grouped(kind: str, case: tuple) -> None:
    check(kind, case, float32)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", (float16, bfloat16, float64), ids=str)
def test_grouped_of_each_dtype(kind: str, dtype: dtypes.DType) -> None:
    for i in (3, 5):
        check(kind, CASES[i], dtype)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", (turned, spread), ids=("transposed", "strided"))
def test_grouped_of_views(kind: str, turn: Callable) -> None:
    for i in (3, 4, 5, 6):
        check(kind, CASES[i], float32, turn)
    check(kind, CASES[5], bfloat16, turn)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_64_bits_apart_and_past_the_size(kind: str) -> None:
    case = CASES[5]
    ends = np.cumsum(case[0])
    check(kind, case, float32, ends=ends)
    check(kind, case, float32, ends=spread(ends))
    whole = (*case[0][:-1], case[0][-1] + case[1])
    past = np.array([*ends[:-1], 10**9], np.int32)
    check(kind, (whole, 0, *case[2:]), float32, ends=past)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
def test_offsets_past_int32(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "is_wide", lambda *arrays: True)
    for i in (3, 5):
        check(kind, CASES[i], float32)


@interpreter
@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_the_same_from_run_to_run(kind: str) -> None:
    first, second = (check(kind, CASES[4], float32) for _ in range(2))
    np.testing.assert_array_equal(host_view(first), host_view(second))


@interpreter
def test_what_is_not_served_launches_nothing() -> None:
    x, ends = launch.empty((2, 2), int32), put(np.array([2], np.int32))
    out, half = launch.empty((1, 2, 2), float32), launch.empty((2, 2), float16)
    before = dict(memory.runtime().launches)  # type: ignore[attr-defined]
    assert grouped.grouped(launch, out, x, x, ends) is NotImplemented
    assert grouped.grouped(launch, out, launch.empty((2, 2), float32), half, ends) is NotImplemented
    assert dict(memory.runtime().launches) == before  # type: ignore[attr-defined]


@interpreter
def test_nothing_waits_for_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward read no array of the device on the host."""
    a = torch.ones(6, 3).cuda().requires_grad_()
    b = torch.ones(2, 3, 4).cuda().requires_grad_()
    ends = torch.tensor([2, 5], dtype=torch.int32).cuda()
    runtime = memory.runtime()

    def refuse(*given: Any) -> None:
        raise AssertionError("read on the host")

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "copy_to_host", refuse, raising=True)
        with pytest.raises(AssertionError, match="read on the host"):
            ends.tolist()
        out: Any = torch.nn.functional.grouped_mm(a, b, offs=ends)
        out.sum().backward()
    assert out.cpu().sum(1).tolist() == [12, 12, 12, 12, 12, 0]
    assert a.grad.cpu().sum(1).tolist() == [12, 12, 12, 12, 12, 0]
    assert b.grad.cpu()[:, 0, 0].tolist() == [2, 3]


# -- ahead of time ---------------------------------------------------------------------------------


def flipped(x: Array) -> Array:
    return x.transpose((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def compiled(target: str, dtype: dtypes.DType, m: int, k: int, n: int, groups: int) -> list[Facts]:
    """The facts of a mixture of experts: forward, gradient of the tokens and of the weights, all of
    it on transposed arrays, columns in groups."""
    tokens, weights, grad = meta((m, k), dtype), meta((groups, k, n), dtype), meta((m, n), dtype)
    ends = meta((groups,), int32)
    with compile_for(target) as found:
        for out, a, b in (
            (grad, tokens, weights),
            (tokens, grad, flipped(weights)),
            (weights, flipped(tokens), grad),
            (meta((n, m), dtype), flipped(weights), flipped(tokens)),
            (meta((n, m), dtype), meta((groups, n, k), dtype), meta((k, m), dtype)),
            (weights, meta((k, m), dtype), flipped(meta((n, m), dtype))),
        ):
            assert grouped.grouped(launch, out, a, b, ends) is None
    fit(found.facts)
    return found.facts


BF16 = [(target, bfloat16) for target in TARGETS]
LARGE = [*BF16, *((target, float32) for target in TARGETS)]


@aot
@pytest.mark.parametrize("target, dtype", [p if p in BF16[:2] else slow(p) for p in LARGE], ids=str)
def test_experts_reach_the_tensor_cores(target: str, dtype: dtypes.DType) -> None:
    facts = compiled(target, dtype, 16384, 4096, 2048, 8)
    for f in facts:
        if dtype.itemsize == 2:
            assert set(f.dots) == {CORES[target]}, f
    for f in facts[:5]:
        assert f.widest_load == 128 and f.loads.keys() <= {32, 128}, f  # the ends are int32
