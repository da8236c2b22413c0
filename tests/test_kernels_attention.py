"""The attention kernels without operators around them.

Interpreted, forward and backward are compared with NumPy in float64, the numbers of dropout with
the host's; ahead of time, representative launches must neither spill nor miss the tensor cores.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_kernels_dense import CORES, aot, close, counts, fit, interpreter, numbers, put, ran, slow

from tritorch import dtypes
from tritorch.dtypes import bfloat16, bool_, float16, float32, float64, int64
from tritorch.runtime import memory, random
from tritorch.runtime.aot import TARGETS, compile_for, meta
from tritorch.runtime.interpreter import host_view
from tritorch.runtime.launch import launch

if memory.interpreted():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from tritorch.kernels import attention, attention_backward


class Case(NamedTuple):
    """Queries (B, H, M, D), heads of keys, keys, elements of a value, mask's shape and kind."""

    q: tuple[int, int, int, int]
    heads: int
    n: int
    dv: int
    mask: tuple[int, ...] | None = None
    boolean: bool = False
    causal: bool = False
    dropout: float = 0.0


# empty, 1, prime, larger than a block, padded heads, few queries of many keys, shared heads, masks
CASES = [
    Case((1, 1, 1, 1), 1, 1, 1),
    Case((2, 2, 5, 16), 2, 0, 16),
    Case((0, 2, 5, 16), 2, 4, 16),
    Case((2, 1, 37, 24), 1, 53, 40),
    Case((1, 2, 67, 32), 2, 131, 32, causal=True),
    Case((1, 1, 131, 20), 1, 67, 20, causal=True),
    Case((1, 6, 3, 32), 2, 517, 16),
    Case((2, 4, 1, 64), 1, 300, 64),
    Case((1, 4, 2, 16), 2, 90, 16, causal=True),
    Case((1, 4, 70, 16), 2, 33, 16, causal=True),
    Case((2, 2, 19, 8), 2, 40, 8, mask=(2, 2, 19, 40)),
    Case((2, 2, 19, 8), 1, 40, 8, mask=(1, 2, 1, 40)),
    Case((2, 2, 70, 8), 2, 20, 8, mask=(2, 1, 70, 1)),
    Case((2, 2, 70, 8), 2, 77, 8, mask=(1, 1, 1, 1)),
    Case((2, 2, 19, 8), 2, 70, 8, mask=(1, 1, 19, 70), boolean=True),
    Case((2, 4, 1, 8), 2, 150, 8, mask=(2, 1, 1, 150), boolean=True),
    Case((2, 2, 35, 16), 2, 43, 16, dropout=0.3),
    Case((1, 4, 2, 16), 1, 70, 16, dropout=0.5, causal=True),
    Case((1, 1, 5, 16), 1, 9, 16, dropout=1.0),
    Case((1, 1, 3, 144), 1, 5, 200),
]
SEED, OFFSET = 2**63 + 5, 11


class Data(NamedTuple):
    """The arrays of a case."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    mask: np.ndarray | None
    grad: np.ndarray


def data(c: Case, dtype: dtypes.DType) -> Data:
    b, h, m, d = c.q
    shapes = [c.q, (b, c.heads, c.n, d), (b, c.heads, c.n, c.dv)]
    q, k, v = (numbers(s, dtype, i) for i, s in enumerate(shapes))
    mask = None if c.mask is None else numbers(c.mask, dtype, 3)
    if mask is not None and c.boolean:
        mask = mask > 0
        mask[..., :1, :] = False  # a query without any key
    return Data(q, k, v, mask, numbers((b, h, m, c.dv), dtype, 4))


def params(c: Case, scale: float = 0.3) -> dict[str, Any]:
    offset = {"seed": SEED, "offset": OFFSET} if c.dropout else {}
    return {"is_causal": c.causal, "scale": scale, "dropout": c.dropout, **offset}


def keep(c: Case) -> np.ndarray:
    """What dropout multiplies the weights by: a row's numbers fill whole blocks of 8."""
    shape = (*c.q[:3], -(-c.n // 8) * 8)
    bits = random.bernoulli(SEED, OFFSET, shape, 1.0 - c.dropout)[..., : c.n]
    return bits * random.dropout_scale(c.dropout)


def expected(c: Case, x: Data, scale: float = 0.3) -> tuple:
    """out, its log-sum-exp, and the gradients of q, k, v and of a mask of floats."""
    q, k, v, grad = (a.astype(np.float64) for a in (x.q, x.k, x.v, x.grad))
    group = c.q[1] // c.heads
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ k.swapaxes(-1, -2) * scale
    if x.mask is not None:
        s = np.where(x.mask, s, -np.inf) if c.boolean else s + x.mask.astype(np.float64)
    if c.causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    with np.errstate(all="ignore"):
        lse = np.log(np.exp(s).sum(-1))
        p = np.exp(s - np.where(np.isinf(lse), np.inf, lse)[..., None])
    left = p * keep(c) if c.dropout else p
    out = left @ v
    dp = grad @ v.swapaxes(-1, -2)
    ds = p * ((dp * keep(c) if c.dropout else dp) - (out * grad).sum(-1, keepdims=True))
    shared = (c.q[0], c.heads, group, c.n)
    dk = (ds.swapaxes(-1, -2) @ q * scale).reshape(*shared, -1 if c.n and q.size else c.q[3])
    dv = (left.swapaxes(-1, -2) @ grad).reshape(*shared, c.dv)
    dm = ds
    if c.mask is not None:
        axes = tuple(i for i in range(4) if c.mask[i] == 1)
        dm = ds.sum(axes, keepdims=True)
    return out, lse, ds @ k * scale, dk.sum(2), dv.sum(2), dm


def run(c: Case, x: Data, dtype: dtypes.DType, scale: float = 0.3, turn: Any = None) -> tuple:
    """The same from the kernels."""
    turn = turn or (lambda a: a)
    accumulation = float64 if dtype is float64 else float32
    q, k, v, grad = (put(turn(a)) for a in (x.q, x.k, x.v, x.grad))
    mask = None if x.mask is None else put(turn(x.mask))
    out, lse = launch.empty(x.grad.shape, dtype), launch.empty(c.q[:3], accumulation)
    given = params(c, scale)
    assert attention.forward(launch, (out, lse), q, k, v, mask, **given) is None
    needs = mask is not None and not c.boolean
    grads = [launch.empty(a.shape, dtype) for a in (q, k, v, *([mask] if needs else []))]
    outs = grads if needs else [*grads, launch.empty((0,), dtype)]
    given["mask_grad"] = needs
    call = grad, q, k, v, mask, out, lse
    assert attention_backward.backward(launch, outs, *call, **given) is None
    return out, lse, *grads


def check(c: Case, dtype: dtypes.DType, scale: float = 0.3, turn: Any = None) -> None:
    x = data(c, dtype)
    for got, want in zip(run(c, x, dtype, scale, turn), expected(c, x, scale)):
        close(got, want)


@interpreter
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention(case: Case) -> None:
    check(case, float32)


@interpreter
@pytest.mark.parametrize("dtype", (float16, bfloat16, float64), ids=str)
def test_attention_of_each_dtype(dtype: dtypes.DType) -> None:
    for i in (3, 4, 6, 10, 14, 16):
        check(CASES[i], dtype)


def heads_last(x: np.ndarray) -> np.ndarray:
    """The same numbers in memory as (B, L, H, E)."""
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


@interpreter
@pytest.mark.parametrize("scale", (0.3, 0.0, -0.4))
def test_attention_of_views_and_scales(scale: float) -> None:
    for i in (3, 4, 6, 10, 14):
        check(CASES[i], float32, scale, heads_last)


@interpreter
def test_attention_of_large_scores() -> None:
    c = CASES[4]
    x = data(c, float32)
    x = x._replace(q=x.q * 40)
    for got, want in zip(run(c, x, float32), expected(c, x)):
        assert np.isfinite(want).all()
        np.testing.assert_allclose(host_view(got), want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


@interpreter
def test_few_queries_split_the_keys() -> None:
    before = counts()
    c = Case((1, 2, 1, 16), 1, 300, 16)
    check(c, float32)
    assert {"attention_forward_kernel", "attention_merge_kernel"} <= ran(before)
    before = counts()
    check(Case((4, 4, 70, 16), 4, 70, 16), float32)
    assert "attention_merge_kernel" not in ran(before)


@interpreter
def test_an_offset_in_memory() -> None:
    c = Case((1, 2, 9, 16), 2, 21, 16, dropout=0.4)
    x = data(c, float32)
    q, k, v = (put(a) for a in (x.q, x.k, x.v))
    out, lse = launch.empty(x.grad.shape, float32), launch.empty(c.q[:3], float32)
    given = params(c) | {"offset": (put(np.array([OFFSET - 4], np.int64)), 4)}
    attention.forward(launch, (out, lse), q, k, v, **given)
    close(out, expected(c, x)[0])


@interpreter
def test_what_no_kernel_serves() -> None:
    wide, numbers_ = launch.empty((1, 1, 2, 300), float32), launch.empty((1, 1, 2, 4), int64)
    for x in (wide, numbers_):
        outs = x, launch.empty((1, 1, 2), float32)
        plain = {"is_causal": False, "scale": 1.0}
        assert attention.forward(launch, outs, x, x, x, **plain) is NotImplemented


# -- ahead of time ---------------------------------------------------------------------------------

KINDS = ("causal", "plain", "bool", "float", "dropout", "odd", "decode")


def compile_all(target: str, dtype: dtypes.DType, d: int, kind: str) -> list:
    """The facts of forward and backward; of the forward alone where queries are few."""
    n = 4001 if kind == "odd" else 4096
    q, lse = meta((4, 16, n, d), dtype), meta((4, 16, n), dtypes.accumulation(dtype))
    mask = {"bool": meta((4, 1, 1, n), bool_), "float": meta((1, 16, n, n), dtype)}.get(kind)
    given: dict[str, Any] = {"is_causal": kind in ("causal", "odd", "dropout"), "scale": 0.1}
    if kind == "dropout":
        given |= {"dropout": 0.1, "seed": 3, "offset": 5}
    with compile_for(target) as compiled:
        if kind == "decode":
            one, k = meta((4, 16, 1, d), dtype), meta((4, 4, n, d), dtype)
            attention.forward(launch, (one, meta((4, 16, 1), lse.dtype)), one, k, k, **given)
            return compiled.facts
        attention.forward(launch, (q, lse), q, q, q, mask, **given)
        grads = (q, q, q, mask)
        given["mask_grad"] = kind == "float"
        attention_backward.backward(launch, grads, q, q, q, q, mask, q, lse, **given)
    return compiled.facts


ALL = [
    (target, dtype, d, kind)
    for target in TARGETS
    for dtype in (bfloat16, float32, float64)
    for d in (64, 128, 256)
    for kind in KINDS
    if d <= {bfloat16: 256, float32: 256, float64: 128}[dtype]
]
SOME = [("sm_90", bfloat16, d, "causal") for d in (64, 128)]


@aot
@pytest.mark.parametrize(
    "target, dtype, d, kind", [c if c in SOME else slow(c) for c in ALL], ids=str
)
def test_attention_fits(target: str, dtype: dtypes.DType, d: int, kind: str) -> None:
    facts = compile_all(target, dtype, d, kind)
    fit(facts)
    if dtype is bfloat16 and kind in ("causal", "plain", "odd"):
        products = [f for f in facts if "delta" not in f.kernel and "merge" not in f.kernel]
        assert {name for f in products for name in f.dots} == {CORES[target]}, products
        assert all(f.widest_load == 128 for f in products), products
