"""scaled_dot_product_attention: against the formula, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.nn import functional as F
from tritorch.nn.attention.bias import (
    CausalBias,
    CausalVariant,
    causal_lower_right,
    causal_upper_left,
)
from tritorch.ops import attention_host

RNG = np.random.default_rng(0)


def reals(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def naive(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> np.ndarray:
    s = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if causal:
        mask = np.tril(np.ones(s.shape[-2:], bool))
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return np.where(total > 0, e / np.where(total > 0, total, 1), 0) @ v


@pytest.mark.parametrize("scores", [64, 1 << 10, 1 << 18])
@pytest.mark.parametrize("lead", [(2, 3), (), (4,), (2, 1, 3)])
@pytest.mark.parametrize("n, m", [(4, 6), (1, 1), (90, 70), (70, 131)])
def test_every_cut_into_blocks(
    monkeypatch: pytest.MonkeyPatch, scores: int, lead: tuple, n: int, m: int
) -> None:
    monkeypatch.setattr(attention_host, "SCORES", scores)
    q, k, v = reals(*lead, n, 5), reals(*lead, m, 5), reals(*lead, m, 3)
    masks = [None, RNG.random((n, m)) < 0.5, reals(*lead, n, m), RNG.random((*lead, 1, m)) < 0.5]
    for mask in masks:
        tensors = [torch.from_numpy(x) for x in (q, k, v)]
        got = F.scaled_dot_product_attention(
            *tensors, None if mask is None else torch.from_numpy(mask)
        )
        np.testing.assert_allclose(got.numpy(), naive(q, k, v, mask), atol=1e-12)
    got = F.scaled_dot_product_attention(*tensors, is_causal=True)
    np.testing.assert_allclose(got.numpy(), naive(q, k, v, causal=True), atol=1e-12)


def test_dropout_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.from_numpy(reals(2, 3, 70, 4)).requires_grad_() for _ in range(3))
    found = []
    for scores in (64, 1 << 12, 1 << 18):
        monkeypatch.setattr(attention_host, "SCORES", scores)
        torch.manual_seed(3)
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
        found.append([out, *torch.autograd.grad(out.sin().sum(), (q, k, v))])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b)
    torch.manual_seed(0)
    mean = sum(F.scaled_dot_product_attention(q, k, v, dropout_p=0.3).detach() for _ in range(300))
    assert (mean / 300 - F.scaled_dot_product_attention(q, k, v)).abs().mean() < 0.02


def test_fewer_heads_of_keys() -> None:
    q, k, v = reals(2, 6, 4, 5), reals(2, 2, 7, 5), reals(2, 2, 7, 3)
    got = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), enable_gqa=True)
    want = naive(q, np.repeat(k, 3, 1), np.repeat(v, 3, 1))
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


BAD: list[tuple[tuple, dict, str]] = [
    (((4,), (4,), (4,)), {}, "at least 2 dimensional"),
    (((3, 4), (3, 5), (3, 4)), {}, "expected query"),
    (((3, 4), (2, 4), (3, 4)), {}, "expected query"),
    (((3, 2, 4), (2, 2, 4), (2, 2, 4)), {}, "scaled_dot_product_attention"),
    (((3, 2, 4), (2, 2, 4), (2, 2, 4)), {"enable_gqa": True}, "must divide"),
    (((2, 4), (2, 4), (2, 4)), {"dropout_p": 1.5}, "between 0 and 1"),
    (((2, 4), (2, 4), (2, 4)), {"attn_mask": (3, 2)}, "scaled_dot_product_attention"),
    (((2, 4), (2, 4), (2, 4)), {"attn_mask": (2, 2), "is_causal": True}, "is_causal"),
]


@pytest.mark.parametrize("shapes, kwargs, says", BAD)
def test_refuses(shapes: tuple, kwargs: dict, says: str) -> None:
    if "attn_mask" in kwargs:
        kwargs = kwargs | {"attn_mask": torch.ones(kwargs["attn_mask"])}
    with pytest.raises(RuntimeError, match=says):
        F.scaled_dot_product_attention(*map(torch.ones, shapes), **kwargs)


CASES: list[tuple[tuple, Any, dict]] = [
    (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)), None, {}),
    (((2, 3, 70, 5), (2, 3, 90, 5), (2, 3, 90, 7)), None, {"is_causal": True}),
    (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)), (3, 4, 6), {"scale": 0.3}),
    (((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)), (2, 1, 1, 6), {}),
    (((2, 6, 4, 5), (2, 3, 7, 5), (2, 3, 7, 5)), None, {"enable_gqa": True}),
    (((2, 3, 4, 5), (2, 1, 7, 5), (1, 3, 7, 5)), None, {}),
    (((2, 3, 4, 5), (2, 3, 0, 5), (2, 3, 0, 5)), None, {}),
]


@pytest.mark.oracle
@pytest.mark.parametrize("shapes, mask, kwargs", CASES)
def test_against_pytorch(shapes: tuple, mask: Any, kwargs: dict) -> None:
    oracle = pytest.importorskip("torch")
    arrays = [reals(*s) for s in (*shapes, *(() if mask is None else (mask,)))]
    found = []
    for library in (oracle, torch):
        xs = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
        out = library.nn.functional.scaled_dot_product_attention(*xs, **kwargs)
        g = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
        grads = library.autograd.grad(out, xs, library.from_numpy(g))
        found.append([out.detach().numpy(), *(g.numpy() for g in grads)])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


BIASES = [(causal_upper_left, (3, 5)), (causal_lower_right, (3, 5)), (causal_lower_right, (4, 4))]


@pytest.mark.parametrize("make, size", [*BIASES, (causal_lower_right, (5, 3))])
def test_causal_biases_are_masks_by_name(make: Any, size: tuple[int, int]) -> None:
    bias = make(*size)
    q, k = (torch.randn(2, n, 4, dtype=torch.float64, requires_grad=True) for n in size)
    shift = size[1] - size[0] if make is causal_lower_right else 0
    mask = torch.from_numpy(np.tri(*size, shift, dtype=bool))
    assert (bias.numpy() == mask.numpy()).all() and repr(bias) == repr(mask)
    got, want = (F.scaled_dot_product_attention(q, k, k, m, scale=0.7) for m in (bias, mask))
    torch.testing.assert_close(got, want)
    grads = (torch.autograd.grad(x.sum(), (q, k)) for x in (got, want))
    torch.testing.assert_close(*grads)
    assert type(bias & mask) is torch.Tensor and (bias & mask).equal(mask)


def test_causal_biases_that_do_not_go() -> None:
    q = torch.ones(1, 3, 4)
    with pytest.raises(ValueError, match="should not be used with causal=True"):
        F.scaled_dot_product_attention(q, q, q, causal_upper_left(3, 3), is_causal=True)
    for make in (causal_upper_left, causal_lower_right):
        with pytest.raises(AssertionError, match="only supports 2D"):
            make(3)
    with pytest.raises(AssertionError, match="variant must be a CausalVariant, got int"):
        CausalBias(1, 2, 3)
    assert [int(v) for v in CausalVariant] == [1, 2]


@pytest.mark.oracle
@pytest.mark.parametrize("make, size", BIASES)
def test_causal_biases_against_pytorch(make: Any, size: tuple[int, int]) -> None:
    theirs = pytest.importorskip("torch.nn.attention.bias")
    import torch as oracle

    q, k = (np.random.default_rng(0).standard_normal((2, n, 4)) for n in size)
    arrays = [oracle.from_numpy(x) for x in (q, k, k)]
    bias = getattr(theirs, make.__name__)(*size)
    want = oracle.nn.functional.scaled_dot_product_attention(*arrays, bias)
    got = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, k)), make(*size))
    np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-12)
    assert repr(make(*size)) == repr(bias)
