"""Attention over packed sequences: against the formula a sequence, and against PyTorch's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn.attention.varlen import AuxRequest, varlen_attn, varlen_attn_out

RNG = np.random.default_rng(0)
# Lengths of queries and of keys a sequence, heads of both, window.
CASES: list[tuple] = [
    ((2, 1, 5), (2, 1, 5), (2, 2), (-1, -1)),
    ((2, 1, 5), (2, 1, 5), (2, 2), (-1, 0)),
    ((3, 0, 1, 4), (5, 2, 0, 2), (4, 2), (-1, 0)),
    ((3, 0, 7), (9, 2, 3), (2, 1), (1, 0)),
    ((6, 2), (6, 5), (2, 2), (0, 2)),
    ((6, 2), (3, 5), (2, 2), (2, -1)),
    ((70, 1, 33), (131, 1, 20), (2, 2), (-1, 0)),
]


def seen(m: int, n: int, window: tuple[int, int]) -> np.ndarray:
    """Which of n keys m queries see: the last query meets the last key."""
    keys, place = np.arange(n), np.arange(m)[:, None] + n - m
    left, right = (n + m if w < 0 else w for w in window)
    return (keys >= place - left) & (keys <= place + right)


class Packed(NamedTuple):
    q: Any
    k: Any
    v: Any
    cu_q: Any
    cu_k: Any
    most: tuple[int, int]


def packed(of_q: tuple, of_k: tuple, heads: tuple[int, int], d: int = 4) -> Packed:
    keys = (sum(of_k), heads[1], d)
    arrays = (RNG.standard_normal(s) for s in ((sum(of_q), heads[0], d), keys, keys))
    offsets = [np.cumsum([0, *x]).astype(np.int32) for x in (of_q, of_k)]
    tensors = [torch.from_numpy(x) for x in (*arrays, *offsets)]
    return Packed(*tensors, (max(of_q), max(of_k)))


def naive(x: Packed, window: tuple[int, int], used: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The output and the log-sum-exp, one sequence and head after another."""
    q, k, v, starts, firsts = (t.detach().numpy() for t in x[:5])
    out, lse = np.zeros(q.shape), np.full((q.shape[1], q.shape[0]), -np.inf)
    each = q.shape[1] // k.shape[1]
    for i in range(len(starts) - 1):
        rows = slice(starts[i], starts[i + 1])
        count = firsts[i + 1] - firsts[i] if used is None else used[i]
        keys = slice(firsts[i], firsts[i] + count)
        mask = seen(starts[i + 1] - starts[i], count, window)
        for h in range(q.shape[1]):
            s = q[rows, h] @ k[keys, h // each].T / np.sqrt(q.shape[2])
            e = np.where(mask, np.exp(s), 0)
            total = e.sum(1, keepdims=True)
            out[rows, h] = e @ v[keys, h // each] / np.where(total == 0, 1, total)
            with np.errstate(divide="ignore"):
                lse[h, rows] = np.log(total[:, 0])
    return out, lse


@pytest.mark.parametrize("of_q, of_k, heads, window", CASES)
def test_against_the_formula(of_q: tuple, of_k: tuple, heads: tuple, window: tuple) -> None:
    x = packed(of_q, of_k, heads)
    given = {"window_size": window, "enable_gqa": heads[0] != heads[1]}
    args = *x[:5], *x.most
    out, lse = varlen_attn(*args, **given, return_aux=AuxRequest(lse=True))
    for got, want in zip((out, lse), naive(x, window), strict=True):
        np.testing.assert_allclose(got.numpy(), want, atol=1e-12)
    assert isinstance(varlen_attn(*args, **given, return_aux=AuxRequest()), torch.Tensor)
    to = torch.empty_like(x.q)
    assert varlen_attn_out(to, *args, **given) is to
    np.testing.assert_array_equal(to.numpy(), out.numpy())


@pytest.mark.parametrize("of_q, of_k, heads, window", CASES[:-1])
def test_gradients(of_q: tuple, of_k: tuple, heads: tuple, window: tuple) -> None:
    x = packed(of_q, of_k, heads, 2)
    inputs = tuple(t.requires_grad_() for t in x[:3])

    def call(q: Any, k: Any, v: Any) -> Any:
        return varlen_attn(q, k, v, x.cu_q, x.cu_k, *x.most, window_size=window, enable_gqa=True)

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_the_gradient_of_the_log_sum_exp() -> None:
    x = packed((2, 3), (4, 2), (2, 2), 2)
    inputs = tuple(t.requires_grad_() for t in x[:3])
    aux = AuxRequest(lse=True)
    assert torch.autograd.gradcheck(
        lambda *qkv: varlen_attn(*qkv, *x[3:5], *x.most, return_aux=aux)[1], inputs
    )


def test_scale_and_16_bit() -> None:
    x = packed((3, 2), (3, 2), (2, 2))
    args = *x[3:5], *x.most
    got = varlen_attn(*x[:3], *args, scale=0.0)
    means = [x.v[:3].mean(0).expand(3, 2, 4), x.v[3:].mean(0).expand(2, 2, 4)]
    torch.testing.assert_close(got, torch.cat(means))
    low = [t.bfloat16() for t in x[:3]]
    out, lse = varlen_attn(*low, *args, return_aux=AuxRequest(lse=True))
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)
    want = varlen_attn(*(t.double() for t in low), *args)
    torch.testing.assert_close(out.double(), want, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (2, 0)])
def test_keys_in_use_and_pages(window: tuple[int, int]) -> None:
    x = packed((1, 2, 1), (8, 8, 8), (4, 2))
    used = torch.tensor([5, 8, 0], dtype=torch.int32)
    given = {"window_size": window, "enable_gqa": True, "seqused_k": used}
    want = naive(x, window, used.tolist())[0]
    got = varlen_attn(*x[:5], *x.most, **given)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)
    # the same keys in pages of 4, whose order is another; what is not in use names no page
    table = torch.tensor([[4, 0], [3, 5], [-1, -1]], dtype=torch.int32)
    pools = []
    for t in (x.k, x.v):
        pool = RNG.standard_normal((6, 4, 2, 4))
        pages = t.numpy().reshape(3, 2, 4, 2, 4)
        for i in range(2):
            pool[table.numpy()[i]] = pages[i]
        pools.append(torch.from_numpy(pool))
    got = varlen_attn(x.q, *pools, x.cu_q, None, *x.most, **given, block_table=table)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


def ints(*values: int) -> Any:
    return torch.tensor(values, dtype=torch.int32)


Q = torch.ones(5, 2, 3)
GOOD = {
    "query": Q,
    "key": Q,
    "value": Q,
    "cu_seq_q": ints(0, 2, 5),
    "cu_seq_k": ints(0, 2, 5),
    "max_q": 3,
    "max_k": 3,
}
BAD: list[tuple[dict, type, str]] = [
    ({"cu_seq_q": ints(1, 2, 5)}, RuntimeError, "begins with 1"),
    ({"cu_seq_k": ints(0, 2, 4)}, RuntimeError, "ends with 4"),
    ({"cu_seq_q": ints(0, 6, 5)}, RuntimeError, "should not descend"),
    ({"cu_seq_k": torch.tensor([0, 2, 5])}, RuntimeError, "int32"),
    ({"cu_seq_k": ints(0, 5)}, RuntimeError, "cu_seq_k"),
    ({"cu_seq_q": ints(0, 2, 5)[:0], "cu_seq_k": ints(0)[:0]}, RuntimeError, "cu_seq_q"),
    ({"cu_seq_k": None}, ValueError, "cu_seq_k"),
    ({"max_q": 2}, RuntimeError, "max_q=2"),
    ({"max_k": 2}, RuntimeError, "max_k=2"),
    ({"query": Q[0]}, RuntimeError, "expected query"),
    ({"query": 1.0}, TypeError, "'query' must be Tensor"),
    ({"value": torch.ones(4, 2, 3)}, RuntimeError, "expected query"),
    ({"value": Q.double()}, RuntimeError, "dtype"),
    ({n: Q.long() for n in ("query", "key", "value")}, RuntimeError, "floating-point"),
    ({"query": torch.ones(5, 4, 3)}, ValueError, "enable_gqa=True"),
    ({"query": torch.ones(5, 3, 3), "enable_gqa": True}, ValueError, "multiple of kv heads"),
    ({"window_size": (1,)}, ValueError, "length 2"),
    ({"seqused_k": ints(1, 4)}, RuntimeError, "between 0 and"),
    ({"seqused_k": ints(1)}, RuntimeError, "seqused_k"),
    ({"seqused_k": ints(1, 1), "query": Q.clone().requires_grad_()}, RuntimeError, "inference"),
    ({"key": Q[None], "value": Q[None], "block_table": ints(0)}, RuntimeError, "requires seqused"),
]


@pytest.mark.parametrize("change, kind, says", BAD)
def test_refuses(change: dict, kind: type, says: str) -> None:
    assert varlen_attn(**GOOD).shape == Q.shape
    with pytest.raises(kind, match=says):
        varlen_attn(**(GOOD | change))


def test_an_out_of_another_shape() -> None:
    with pytest.raises(RuntimeError, match="expected out"):
        varlen_attn_out(torch.empty(5, 2, 4), **GOOD)


@pytest.mark.oracle
@pytest.mark.parametrize("of_q, of_k, heads, window", CASES)
def test_against_pytorch(of_q: tuple, of_k: tuple, heads: tuple, window: tuple) -> None:
    """PyTorch has no such kernel for CPUs: its `scaled_dot_product_attention` of each sequence."""
    oracle = pytest.importorskip("torch")
    x = packed(of_q, of_k, heads)
    ours = [t.requires_grad_() for t in x[:3]]
    theirs = [oracle.from_numpy(t.detach().numpy().copy()).requires_grad_() for t in ours]
    out = varlen_attn(*ours, *x[3:5], *x.most, window_size=window, enable_gqa=True)
    outs = []
    for q, k, v in zip(*(t.split(n) for t, n in zip(theirs, (of_q, of_k, of_k))), strict=True):
        mask = oracle.from_numpy(seen(len(q), len(k), window))
        parts = (t.transpose(0, 1)[None] for t in (q, k, v))
        one = oracle.nn.functional.scaled_dot_product_attention(*parts, mask, enable_gqa=True)
        one = one.masked_fill(~mask.any(-1)[:, None], 0.0)  # where there is no key at all
        outs.append(one[0].transpose(0, 1))
    want = oracle.cat(outs)
    g = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
    found = [out, *torch.autograd.grad(out, ours, torch.from_numpy(g))]
    wanted = [want, *oracle.autograd.grad(want, theirs, oracle.from_numpy(g))]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-9, 1e-9)


@pytest.mark.oracle
def test_signatures() -> None:
    import inspect

    oracle = pytest.importorskip("torch.nn.attention.varlen")
    for ours in (varlen_attn, varlen_attn_out):
        wanted = inspect.signature(getattr(oracle, ours.__name__)).parameters.values()
        found = inspect.signature(ours).parameters.values()
        assert [(p.name, p.kind, p.default) for p in found] == [
            (p.name, p.kind, p.default) for p in wanted
        ]
