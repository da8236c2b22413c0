"""scaled_dot_product_attention, fused: softmax(q k^T * scale + mask) v.

The record works on (B, H, L, E) and keeps the log of the softmax's sum, one number a row, from
which the backward computes the weights again. Source: Dao et al., "FlashAttention", 2022.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes, errors
from ..op import fused, joint, through_ref
from ..tensor import Tensor
from . import attention_host
from .api import FUNCTIONAL
from .arithmetic import where
from .dropout import dropout_op
from .generator import take
from .matmul import matmul_op
from .pad import constant_pad_nd

INF = float("inf")


def _meta(q: Tensor, k: Tensor, v: Tensor, mask: Any, **params: Any) -> list:
    lead = tuple(q._data.shape[:3])
    return [((*lead, v._data.shape[-1]), q.dtype), (lead, dtypes.accumulation(q.dtype))]


def _samples(s: Any) -> list:
    plain = {"is_causal": False, "scale": 0.6, "dropout": 0.0, "seed": 0, "offset": 0}
    q, k, v = (1, 2, 3, 2), (1, 2, 4, 2), (1, 2, 4, 3)
    mask = s.bools((3, 4))
    mask[:, 0] = True
    gap = mask.copy()
    gap[1] = False  # a row without any key
    return [
        s(q, k, v, None, **plain),
        s(q, k, v, None, **plain | {"is_causal": True}),
        s(q, k, v, (1, 1, 3, 4), **plain),
        s(q, k, v, (1, 2, 1, 4), **plain),
        s(q, k, v, mask[None, None], **plain),
        s(q, k, v, gap[None, None], smooth=False, **plain),
        s(q, k, v, None, **plain | {"dropout": 0.4, "seed": 3, "offset": 5}),
        s((1, 2, 3, 2), (1, 1, 2, 2), (1, 1, 2, 2), None, **plain),
        s((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), None, **plain),
        s((2, 4, 70, 9), (2, 2, 131, 9), (2, 2, 131, 5), None, **plain | {"is_causal": True}),
        s((0, 2, 3, 2), (0, 2, 4, 2), (0, 2, 4, 3), None, **plain),
        s((1, 2, 3, 2), (1, 2, 0, 2), (1, 2, 0, 3), None, smooth=False, **plain),
    ]


def _backward_samples(s: Any) -> list:
    found = []
    for x in _samples(s):
        q, k, v, mask = x.inputs
        out, lse = attention_host.forward(q, k, v, mask, **x.params)
        needs = mask is not None and mask.dtype.kind == "f"
        # second derivatives are checked with `attention`: here `out` and `lse` are no variables
        found.append(
            s(out.shape, q, k, v, mask, out, lse, smooth=False, mask_grad=needs, **x.params)
        )
    return found


def _backward_meta(grad: Tensor, *inputs: Any, mask_grad: bool, **params: Any) -> list:
    *parts, mask = inputs[:4]
    specs = [(tuple(t._data.shape), t.dtype) for t in parts]
    return [*specs, (tuple(mask._data.shape), mask.dtype) if mask_grad else ((0,), grad.dtype)]


@fused(
    outputs=("gq", "gk", "gv", "gmask"),
    meta=_backward_meta,
    cpu=attention_host.backward,
    triton="attention_backward.backward",
    samples=_backward_samples,
)
def attention_backward(
    grad: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    out: Any,
    lse: Any,
    *,
    is_causal: bool,
    scale: float,
    dropout: float,
    seed: int,
    offset: int,
    mask_grad: bool,
) -> Any:
    """The gradients of queries, keys, values and, where asked for, of the mask."""
    params = (is_causal, scale, dropout, seed, offset)
    needs = (True, True, True, mask_grad)
    found = through_ref(attention_op)(grad, None, q, k, v, mask, *params, needs)
    inputs = (q, k, v, mask if mask_grad else grad.new_empty(0))
    return tuple(x * 0 if g is None else g for x, g in zip(inputs, found, strict=True))


def _vjp(
    g: Any,
    g_lse: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    out: Any,
    lse: Any,
    is_causal: bool,
    scale: float,
    dropout: float,
    seed: int,
    offset: int,
    needs: Any,
) -> Any:
    params = (is_causal, scale, dropout, seed, offset)
    if g is None or g_lse is not None:
        return through_ref(attention_op)(g, g_lse, q, k, v, mask, *params, needs)
    found = attention_backward(
        g,
        q,
        k,
        v,
        mask,
        out.detach(),
        lse.detach(),
        is_causal=is_causal,
        scale=scale,
        dropout=dropout,
        seed=seed,
        offset=offset,
        mask_grad=bool(needs[3]),
    )
    return [x if need else None for x, need in zip(found, needs, strict=True)]


@fused(
    name="attention",
    outputs=("out", "lse"),
    meta=_meta,
    cpu=attention_host.forward,
    triton="attention.forward",
    vjp=joint(_vjp),
    samples=_samples,
)
def attention_op(
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    *,
    is_causal: bool,
    scale: float,
    dropout: float,
    seed: int,
    offset: int,
) -> Any:
    """Queries (B, H, L, E), keys (B, G, S, E), values (B, G, S, V) with H a multiple of G.

    `mask` (B or 1, H or 1, L or 1, S) is added, or says with True what takes part. A row without
    any key gives zeros, its `lse` is -inf.
    """
    each = q.shape[1] // max(k.shape[1], 1)
    if each != 1:
        k, v = (t.repeat_interleave(each, 1) for t in (k, v))
    s = matmul_op(q, k.transpose(-1, -2)) * scale
    n, m = s.shape[-2:]
    if is_causal:
        s = s.masked_fill(s.new_ones((n, m)).triu(1) != 0, -INF)
    if mask is not None:
        s = where(mask, s, -INF) if mask.dtype.category == 0 else s + mask
    empty = s.new_full((*s.shape[:-1], 1), -INF)
    top = s.detach().amax(-1, keepdim=True) if m else empty
    none = top == -INF
    e = (s - where(none, 0.0, top)).exp()
    total = e.sum(-1, keepdim=True)
    p = e / where(none, 1.0, total)
    lse = where(none, -INF, where(none, 1.0, total).log() + top).squeeze(-1)
    if dropout:
        wide = constant_pad_nd(p, (0, -m % 8))  # a row's numbers fill whole blocks of 8
        p = dropout_op(wide, p=dropout, seed=seed, offset=offset)[..., :m]
    return matmul_op(p, v), lse


# -- public ---------------------------------------------------------------------------------------


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    name = "scaled_dot_product_attention"
    for what, t in (("query", q), ("key", k), ("value", v)):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(t).__name__}")
    shapes = [tuple(t._data.shape) for t in (q, k, v)]
    shown = f"query {shapes[0]}, key {shapes[1]}, value {shapes[2]}"
    if min(map(len, shapes)) < 2:
        raise RuntimeError(
            f"{name}: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"{shown}"
        )
    if not q.dtype is k.dtype is v.dtype:
        raise RuntimeError(
            f"{name}: Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{q.dtype} key.dtype: {k.dtype} and value.dtype: {v.dtype} instead."
        )
    if q.dtype.category != 2:
        kind = NotImplementedError if q.dtype.category == 3 else RuntimeError
        raise kind(f"{name}: expected tensors of a floating-point dtype, got {q.dtype}")
    if shapes[0][-1] != shapes[1][-1] or shapes[1][-2] != shapes[2][-2]:
        raise RuntimeError(
            f"{name}: expected query (..., L, E), key (..., S, E) and value (..., S, V), but got "
            f"{shown}"
        )


def _check_mask(mask: Tensor, q: Tensor, is_causal: bool) -> None:
    name = "scaled_dot_product_attention"
    if is_causal:
        raise RuntimeError(f"{name}: Explicit attn_mask should not be set when is_causal=True")
    if mask.dtype.category and mask.dtype not in (dtypes.float32, q.dtype):
        raise RuntimeError(
            f"{name}: Expected attn_mask dtype to be bool or float or to match query dtype, but "
            f"got attn_mask.dtype: {mask.dtype} and query.dtype: {q.dtype} instead."
        )


def _mask_of(mask: Tensor, q: Tensor, lead: Sequence[int], size: tuple[int, int]) -> Tensor:
    """The mask with four dimensions, those of the batch whole or 1."""
    name = "scaled_dot_product_attention"
    shape = tuple(mask._data.shape)
    want = (*lead, *size)
    if len(shape) > len(want) or errors.broadcast_shapes(name, shape, want) != want:
        raise RuntimeError(
            f"{name}: the mask of shape {shape} does not broadcast to the scores {want}"
        )
    mask = mask if mask.dtype in (dtypes.bool_, q.dtype) else mask.to(q.dtype)  # type: ignore[attr-defined]
    shape = (1,) * (len(want) - len(shape)) + shape
    mask = mask.reshape(shape)  # type: ignore[attr-defined]
    if len(lead) > 2:
        batch = shape[: len(lead) - 1]
        wide = batch if all(n == 1 for n in batch) else lead[:-1]
        mask = mask.expand(*wide, *shape[len(lead) - 1 :])  # type: ignore[attr-defined]
        mask = mask.reshape(math.prod(wide), *shape[len(lead) - 1 :])
    shape = tuple(mask._data.shape)
    return mask.reshape((1,) * (4 - len(shape)) + shape)  # type: ignore[attr-defined]


def _four(x: Tensor, lead: Sequence[int]) -> Tensor:
    """(..., L, E) as (B, H, L, E)."""
    shape = tuple(x._data.shape)
    if shape[:-2] != tuple(lead):
        x = x.expand(*lead, *shape[-2:])  # type: ignore[attr-defined]
    if len(lead) == 2:
        return x
    heads = lead[-1] if lead else 1
    return x.reshape(math.prod(lead[:-1]), heads, *shape[-2:])  # type: ignore[attr-defined]


def _leads(q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> tuple[tuple, tuple]:
    """The leading dimensions of the queries, and of keys and values."""
    name = "scaled_dot_product_attention"
    shapes = [tuple(t._data.shape[:-2]) for t in (q, k, v)]
    if not grouped:
        lead = errors.broadcast_shapes(name, *shapes)
        return lead, lead
    if min(map(len, shapes)) < 1:
        raise RuntimeError(f"{name}: enable_gqa expects a dimension of heads, got {shapes}")
    heads, pairs = shapes[0][-1], (shapes[1][-1], shapes[2][-1])
    if pairs[0] != pairs[1] or not pairs[0] or heads % pairs[0]:
        raise RuntimeError(
            f"{name}: Number of heads in key and value must divide the number of heads in query, "
            f"but got {heads} in query, {pairs[0]} in key and {pairs[1]} in value"
        )
    batch = errors.broadcast_shapes(name, *(s[:-1] for s in shapes))
    return (*batch, heads), (*batch, pairs[0])


class _Choice(threading.local):
    """Chooses the implementation for some queries, where not all may run in this thread."""

    choose: Callable[[Tensor], Callable] | None = None


CHOICE = _Choice()


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(query @ key^T * scale + attn_mask) @ value`, with dropout of the weights.

    Query (..., H, L, E), key (..., H, S, E), value (..., H, S, V) give (..., H, L, V). `scale` is
    1 / sqrt(E) by default. A boolean mask says with True which keys take part; one of numbers is
    added. `is_causal` lets row i see the keys up to i. With `enable_gqa` keys and values may have
    fewer heads, each serving several of the queries'. A row without any key gives zeros.
    Source: Vaswani et al., "Attention Is All You Need", 2017.

    Example:
        >>> import tritorch as torch
        >>> q, k = torch.zeros(1, 2, 4), torch.zeros(1, 3, 4)
        >>> v = torch.tensor([[[0.0], [3.0], [6.0]]])
        >>> torch.nn.functional.scaled_dot_product_attention(q, k, v)
        tensor([[[3.],
                 [3.]]])
    """
    _check_shapes(query, key, value)
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(
            "scaled_dot_product_attention: dropout probability has to be between 0 and 1, but got "
            f"{dropout_p}"
        )
    lead, pairs = _leads(query, key, value, enable_gqa)
    shape = (*lead, query._data.shape[-2], value._data.shape[-1])
    if attn_mask is not None:
        _check_mask(attn_mask, query, is_causal)
        attn_mask = _mask_of(attn_mask, query, lead, (shape[-2], key._data.shape[-2]))
    if scale is None:
        scale = 1 / math.sqrt(query._data.shape[-1]) if query._data.shape[-1] else 1.0
    stream = {"seed": 0, "offset": 0}
    if dropout_p:
        count = math.prod(shape[:-1]) * -(-key._data.shape[-2] // 8) * 8
        stream = take(count, 32, None, query.device)
    run = attention_op if CHOICE.choose is None else CHOICE.choose(query)
    out = run(
        _four(query, lead),
        _four(key, pairs),
        _four(value, pairs),
        attn_mask,
        is_causal=bool(is_causal),
        scale=float(scale),
        dropout=float(dropout_p),
        **stream,
    )[0]
    return out if len(lead) == 2 else out.reshape(shape)


FUNCTIONAL["scaled_dot_product_attention"] = scaled_dot_product_attention
