"""Multi-head attention whole: projections, heads, masks, attention, and the projection back."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..dtypes import DType
from ..op import users_level
from ..tensor import Tensor
from .api import FUNCTIONAL
from .attention import scaled_dot_product_attention
from .create import zeros, zeros_like
from .dropout import dropout
from .join import cat
from .matmul import linear
from .pad import pad
from .products import baddbmm
from .softmax import softmax

NAME = "multi_head_attention_forward"


def canonical_mask(
    mask: Any,
    mask_name: str,
    other_type: DType | None,
    other_name: str,
    target_type: DType,
    check_other: bool = True,
) -> Any:
    """A mask as numbers that are added: -inf where a boolean one is True."""
    if mask is None:
        return None
    if mask.dtype.category not in (0, 2):
        raise AssertionError(
            f"{NAME}: only bool and floating types of {mask_name} are supported, got {mask.dtype}"
        )
    if check_other and other_type is not None and mask.dtype is not other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for "
            "both instead.",
            stacklevel=users_level(),
        )
    if mask.dtype.category:
        return mask
    return zeros_like(mask, dtype=target_type).masked_fill(mask, float("-inf"))  # type: ignore[attr-defined]


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(f"{NAME}: {message}")


def _check_dims(q: Any, k: Any, v: Any, padding: Any, mask: Any, num_heads: int) -> bool:
    """Whether the input has a batch."""
    _need(
        q.ndim in (2, 3),
        f"query should be unbatched 2D or batched 3D tensor but received {q.ndim}-D query tensor",
    )
    n, kind = q.ndim, "batched (3-D)" if q.ndim == 3 else "unbatched (2-D)"
    _need(
        k.ndim == n and v.ndim == n,
        f"For {kind} `query`, expected `key` and `value` to be {n}-D but found {k.ndim}-D and "
        f"{v.ndim}-D tensors respectively",
    )
    _need(
        padding is None or padding.ndim == n - 1,
        f"For {kind} `query`, expected `key_padding_mask` to be `None` or {n - 1}-D",
    )
    _need(
        mask is None or mask.ndim in (2, 3),
        f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D",
    )
    if n == 2 and mask is not None and mask.ndim == 3:
        want = (num_heads, q.shape[0], k.shape[0])
        _need(
            tuple(mask.shape) == want,
            f"Expected `attn_mask` shape to be {want} but got {tuple(mask.shape)}",
        )
    return n == 3


def _projected(q: Any, k: Any, v: Any, weight: Any, bias: Any = None) -> tuple:
    """Queries, keys and values by one weight (3 E, E): one product where they are one tensor."""
    _need(
        k.shape == v.shape,
        f"key shape {tuple(k.shape)} does not match value shape {tuple(v.shape)}",
    )
    _need(weight is not None, "use_separate_proj_weight is False but in_proj_weight is None")
    if k is v:
        if q is k:
            return linear(q, weight, bias).chunk(3, -1)  # type: ignore[attr-defined]
        n = q.shape[-1]
        b = (None, None) if bias is None else (bias[:n], bias[n:])
        return linear(q, weight[:n], b[0]), *linear(k, weight[n:], b[1]).chunk(2, -1)  # type: ignore[attr-defined]
    parts = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((q, k, v), weight.chunk(3), parts, strict=True))


def _separately(q: Any, k: Any, v: Any, weights: tuple, bias: Any) -> tuple:
    """Queries, keys and values, each by a weight of its own."""
    _need(
        k.shape[:2] == v.shape[:2],
        f"key's sequence and batch dims {tuple(k.shape[:2])} do not match value's "
        f"{tuple(v.shape[:2])}",
    )
    for x, w, name in zip((q, k, v), weights, "qkv", strict=True):
        _need(w is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None")
        want = (q.shape[-1], x.shape[-1])
        _need(
            tuple(w.shape) == want,
            f"expecting {name} weights of shape {want}, but got {tuple(w.shape)}",
        )
    parts = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((q, k, v), weights, parts, strict=True))


def _masks(query: Any, padding: Any, mask: Any, is_causal: bool, need_weights: bool) -> tuple:
    """Both masks as numbers, and whether attention is to be causal without one."""
    other = None if mask is None else mask.dtype
    padding = canonical_mask(padding, "key_padding_mask", other, "attn_mask", query.dtype)
    if is_causal and mask is None:
        raise RuntimeError(f"{NAME}: Need attn_mask if specifying the is_causal hint.")
    if is_causal and padding is None and not need_weights:
        return None, None, True
    mask = canonical_mask(mask, "attn_mask", None, "", query.dtype, False)
    return padding, mask, is_causal and padding is None


def _attention_mask(mask: Any, size: tuple[int, int], matrices: int) -> Any:
    """The mask with three dimensions."""
    if mask is None:
        return None
    want = size if mask.ndim == 2 else (matrices, *size)
    if tuple(mask.shape) != want:
        raise RuntimeError(
            f"{NAME}: The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should "
            f"be {want}."
        )
    return mask.unsqueeze(0) if mask.ndim == 2 else mask


def _wider(mask: Any) -> Any:
    """A mask for one key more, which takes part."""
    return None if mask is None else pad(mask, (0, 1))


def _heads(x: Any, matrices: int, size: int) -> Any:
    """(S, B, E) as (B * heads, S, size)."""
    return x.reshape(x.shape[0], matrices, size).transpose(0, 1)


def _given(static: Any, name: str, x: Any, matrices: int, size: int) -> Any:
    """What stands in for projected keys or values, or these."""
    if static is None:
        return _heads(x, matrices, size)
    got = static.shape[0], static.shape[2]
    _need(got == (matrices, size), f"expecting {name} of sizes {(matrices, size)}, but got {got}")
    return static


def _merged(mask: Any, padding: Any, batch: int, heads: int, keys: int) -> Any:
    """Both masks in one, (B * heads, 1 or L, S)."""
    if padding is None:
        return mask
    _need(
        tuple(padding.shape) == (batch, keys),
        f"Expected key_padded_mask.shape to be {(batch, keys)}, but got {tuple(padding.shape)}",
    )
    padding = padding.reshape(batch, 1, 1, keys).expand(batch, heads, 1, keys)
    padding = padding.reshape(batch * heads, 1, keys)
    return padding if mask is None else mask + padding


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of `query` (L, B, E) to `key` (S, B, E_k) and `value` (S, B, E_v): (L, B, E).

    Also without the batch. The second result is the weights, (B, L, S) or (B, heads, L, S), where
    asked for. Masks say with True what takes no part, or are added; `key_padding_mask` is (B, S),
    `attn_mask` (L, S) or (B * heads, L, S).
    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """
    batched = _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = _unsqueezed(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    (length, batch, embed), keys = query.shape, key.shape[0]
    key_padding_mask, attn_mask, is_causal = _masks(
        query, key_padding_mask, attn_mask, is_causal, need_weights
    )
    size, matrices = embed // num_heads, batch * num_heads
    _need(
        embed == embed_dim_to_check,
        f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}",
    )
    _need(size * num_heads == embed, f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _separately(query, key, value, weights, in_proj_bias)
    else:
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    attn_mask = _attention_mask(attn_mask, (length, keys), matrices)
    _need((bias_k is None) == (bias_v is None), "bias_k and bias_v must be set together")
    if bias_k is not None:
        _need(static_k is None and static_v is None, "bias cannot be added to static key or value")
        k, v = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)])
        attn_mask, key_padding_mask = _wider(attn_mask), _wider(key_padding_mask)
    q = _heads(q, matrices, size)
    k = _given(static_k, "static_k", k, matrices, size)
    v = _given(static_v, "static_v", v, matrices, size)
    if add_zero_attn:
        none = zeros(matrices, 1, size, dtype=k.dtype, device=k.device)
        k, v = cat([k, none], 1), cat([v, none], 1)
        attn_mask, key_padding_mask = _wider(attn_mask), _wider(key_padding_mask)
    mask = _merged(attn_mask, key_padding_mask, batch, num_heads, k.shape[1])
    p = dropout_p if training else 0.0
    if need_weights:
        out, weights = _with_weights(q, k, v, mask, p)
    else:
        out, weights = _without_weights(q, k, v, mask, p, is_causal, batch, num_heads), None
    out = out.transpose(0, 1).reshape(length * batch, embed)
    out = linear(out, out_proj_weight, out_proj_bias).reshape(length, batch, -1)  # type: ignore[attr-defined]
    if weights is not None:
        weights = weights.reshape(batch, num_heads, length, k.shape[1])
        weights = weights.mean(1) if average_attn_weights else weights
    if not batched:
        out, weights = out.squeeze(1), None if weights is None else weights.squeeze(0)
    return out, weights


def _unsqueezed(q: Any, k: Any, v: Any) -> tuple:
    """With a batch of one; what was one tensor stays one."""
    found: dict[int, Any] = {}
    return tuple(found.setdefault(id(x), x.unsqueeze(1)) for x in (q, k, v))


def _with_weights(q: Any, k: Any, v: Any, mask: Any, p: float) -> tuple:
    q, k = q * math.sqrt(1.0 / q.shape[-1]), k.transpose(-2, -1)
    weights: Any = q @ k if mask is None else baddbmm(mask, q, k)
    weights = softmax(weights, -1)
    weights = dropout(weights, p) if p > 0 else weights
    return weights @ v, weights


def _without_weights(
    q: Any, k: Any, v: Any, mask: Any, p: float, is_causal: bool, batch: int, heads: int
) -> Any:
    q, k, v = (x.reshape(batch, heads, *x.shape[1:]) for x in (q, k, v))
    if mask is not None:
        whole = mask.shape[0] == 1
        mask = mask.unsqueeze(0) if whole else mask.reshape(batch, heads, *mask.shape[1:])
    out: Any = scaled_dot_product_attention(q, k, v, mask, p, is_causal)
    return out.reshape(batch * heads, *out.shape[2:])


FUNCTIONAL[NAME] = multi_head_attention_forward
