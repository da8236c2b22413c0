"""The kernels of attention over packed sequences without operators around them, interpreted:
against NumPy in float64, in blocks so small that windows cut several of them."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_kernels_dense import close, interpreter, numbers, put

from tritorch import dtypes
from tritorch.dtypes import bfloat16, float16, float32, float64, int64
from tritorch.runtime import memory
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import varlen, varlen_backward
from tritorch.kernels._attention import Blocks


class Case(NamedTuple):
    """Lengths of queries and keys a sequence, heads of both, elements, window, keys in use."""

    q: tuple[int, ...]
    k: tuple[int, ...]
    heads: tuple[int, int] = (2, 2)
    d: int = 16
    left: int = -1
    right: int = -1
    used: tuple[int, ...] | None = None


CASES = [
    Case((1, 0, 37), (1, 5, 37)),
    Case((67, 1, 0, 40), (67, 1, 9, 40), (4, 2), 20, right=0),
    Case((50, 33), (83, 20), right=0),
    Case((50, 33), (83, 20), right=9),
    Case((70, 5), (70, 64), (2, 1), left=20, right=0),
    Case((70, 40), (40, 90), left=3, right=30),
    Case((70, 40), (75, 30), left=0),
    Case((1, 1, 3), (40, 70, 0), (4, 1), right=0, used=(33, 0, 0)),
    Case((0, 0), (3, 20), right=0),
    Case((3,), (5,), (1, 1), 200, right=0),
]
SCALE = 0.3


def data(c: Case, dtype: dtypes.DType) -> list[np.ndarray]:
    """Queries, keys, values and a gradient of the output."""
    keys = (sum(c.k), c.heads[1], c.d)
    shapes = [(sum(c.q), c.heads[0], c.d), keys, keys, (sum(c.q), c.heads[0], c.d)]
    return [numbers(s, dtype, i) for i, s in enumerate(shapes)]


def expected(c: Case, arrays: list[np.ndarray], scale: float) -> tuple:
    """out, its log-sum-exp, and the gradients of q, k and v."""
    q, k, v, grad = (a.astype(np.float64) for a in arrays)
    out, lse = np.zeros(q.shape), np.full((q.shape[1], len(q)), -np.inf)
    dq, dk, dv = (np.zeros(x.shape) for x in (q, k, v))
    starts, firsts = np.cumsum([0, *c.q]), np.cumsum([0, *c.k])
    for i, m in enumerate(c.q):
        n = c.k[i] if c.used is None else c.used[i]
        rows, keys = slice(starts[i], starts[i] + m), slice(firsts[i], firsts[i] + n)
        to = np.arange(n) - np.arange(m)[:, None] - (n - m)
        seen = (to <= (c.right if c.right >= 0 else n + m)) & (
            to >= -(c.left if c.left >= 0 else n + m)
        )
        for h in range(c.heads[0]):
            g = h // (c.heads[0] // c.heads[1])
            e = np.where(seen, np.exp(q[rows, h] @ k[keys, g].T * scale), 0)
            total = e.sum(1, keepdims=True)
            p = e / np.where(total == 0, 1, total)
            out[rows, h] = p @ v[keys, g]
            with np.errstate(divide="ignore"):
                lse[h, rows] = np.log(total[:, 0])
            delta = (out[rows, h] * grad[rows, h]).sum(1, keepdims=True)
            ds = p * (grad[rows, h] @ v[keys, g].T - delta) * scale
            dq[rows, h] = ds @ k[keys, g]
            dk[keys, g] += ds.T @ q[rows, h]
            dv[keys, g] += p.T @ grad[rows, h]
    return out, lse, dq, dk, dv


def check(
    c: Case, dtype: dtypes.DType, small: bool = False, scale: float = SCALE, turn: Any = None
) -> None:
    arrays = data(c, dtype)
    turn = turn or (lambda a: a)
    q, k, v, grad = (put(turn(a)) for a in arrays)
    cu_q, cu_k = (put(np.cumsum([0, *x]).astype(np.int32)) for x in (c.q, c.k))
    used = None if c.used is None else put(np.array(c.used, np.int32))
    out = launch.empty(arrays[0].shape, dtype)
    lse = launch.empty((c.heads[0], sum(c.q)), float64 if dtype is float64 else float32)
    bounds = {"max_q": max(c.q), "max_k": max(c.k), "left": c.left, "right": c.right}
    given = {**bounds, "scale": scale}
    blocks = Blocks(16, 16, 4, 1) if small else None
    call = q, k, v, cu_q, cu_k, used
    assert varlen.forward(launch, (out, lse), *call, **given, blocks=blocks) is None
    want = expected(c, arrays, scale)
    close(out, want[0])
    close(lse, want[1])
    if c.used is None:
        grads = [launch.empty(a.shape, dtype) for a in arrays[:3]]
        both = None if blocks is None else (blocks, blocks)
        call = grad, q, k, v, cu_q, cu_k, out, lse
        assert varlen_backward.backward(launch, grads, *call, **given, blocks=both) is None
        for got, wanted in zip(grads, want[2:], strict=True):
            close(got, wanted)


@interpreter
@pytest.mark.parametrize("small", (False, True))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_varlen(case: Case, small: bool) -> None:
    check(case, float32, small)


@interpreter
@pytest.mark.parametrize("dtype", (float16, bfloat16, float64), ids=str)
def test_varlen_of_each_dtype(dtype: dtypes.DType) -> None:
    for i in (1, 4, 7):
        check(CASES[i], dtype, True)


@interpreter
@pytest.mark.parametrize("scale", (0.0, -0.4))
def test_varlen_of_views_and_scales(scale: float) -> None:
    for i in (1, 5):
        check(CASES[i], float32, True, scale, lambda a: a.copy(order="F"))


@interpreter
def test_offsets_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variant for arrays whose offsets pass 2^31 computes the same."""
    given = varlen.shared
    for module in (varlen, varlen_backward):
        monkeypatch.setattr(module, "shared", lambda *a: given(*a) | {"WIDE": True})
    for i in (1, 4, 5):
        check(CASES[i], float32, True)


@interpreter
def test_what_no_kernel_serves() -> None:
    cu = put(np.array([0, 2], np.int32))
    given = {"max_q": 2, "max_k": 2, "left": -1, "right": -1, "scale": 1.0}
    for x in (launch.empty((2, 1, 300), float32), launch.empty((2, 1, 4), int64)):
        outs = x, launch.empty((1, 2), float32)
        assert varlen.forward(launch, outs, x, x, x, cu, cu, None, **given) is NotImplemented
