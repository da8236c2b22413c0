"""Attention over sequences of varying lengths that lie packed, without padding."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ... import dtypes
from ...autograd.mode import is_grad_enabled
from ...ops.varlen import varlen_attention_op
from ...tensor import Tensor

__all__ = ["varlen_attn", "varlen_attn_out", "AuxRequest"]


class AuxRequest(NamedTuple):
    """What `varlen_attn` gives besides its output: with `lse` the log-sum-exp of the scores."""

    lse: bool = False


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: AuxRequest | None = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`softmax(query @ key^T * scale) @ value` within each of N sequences, packed in one tensor.

    Query (T_q, H_q, D), key and value (T_k, H_kv, D) of one floating-point dtype give
    (T_q, H_q, D). Sequence i has the queries from `cu_seq_q[i]` to `cu_seq_q[i + 1]` and keys
    likewise: both are int32 (N + 1,), begin with 0, do not descend and end with T_q and T_k. No
    sequence is longer than `max_q` and `max_k`. On the CPU a RuntimeError says where that is not
    so; on a GPU, which would have to be waited for, results are undefined then.

    `window_size` (left, right) bounds the keys that a query sees, counted from the one at its
    place where the last query stands at the last key; -1 is no bound, (-1, 0) is causal. `scale`
    is 1 / sqrt(D) by default. With `enable_gqa` H_q may be a multiple of H_kv. A query without any
    key gives zeros. With `return_aux` the log-sum-exp (H_q, T_q) of the scores comes too, -inf
    where there is no key.

    Inference only: `seqused_k`, int32 (N,), takes the first keys of each sequence alone. With
    `block_table`, int32 (N, pages of a sequence), key and value are pools (pages, page size, H_kv,
    D) whose named pages are gathered, `seqused_k` is due and `cu_seq_k` not read. `num_splits` is
    accepted: keys are never split.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.varlen import varlen_attn
        >>> q = k = torch.zeros(3, 1, 2)  # a sequence of one token, one of two
        >>> v = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 8.0]]])
        >>> starts = torch.tensor([0, 1, 3], dtype=torch.int32)
        >>> varlen_attn(q, k, v, starts, starts, 2, 2).squeeze(1)
        tensor([[1., 2.],
                [4., 6.],
                [4., 6.]])
    """
    _check(query, key, value, cu_seq_q, block_table, seqused_k, window_size, num_splits)
    check_heads(query.shape[1], key.shape[-2], enable_gqa)
    inputs = query, key, value
    if seqused_k is not None and is_grad_enabled() and any(x.requires_grad for x in inputs):
        raise RuntimeError("varlen_attn: seqused_k is an inference-only parameter.")
    if block_table is not None:
        key, value, cu_seq_k, max_k = _gathered(key, value, block_table)
    elif cu_seq_k is None:
        raise ValueError("varlen_attn: cu_seq_k may be None only where block_table is given")
    if scale is None:
        scale = 1 / math.sqrt(query.shape[2]) if query.shape[2] else 1.0
    out, lse = varlen_attention_op(
        query,
        key,
        value,
        cu_seq_q,
        cu_seq_k,
        seqused_k,
        max_q=int(max_q),
        max_k=int(max_k),
        left=max(int(window_size[0]), -1),
        right=max(int(window_size[1]), -1),
        scale=float(scale),
    )
    return (out, lse) if return_aux is not None and return_aux.lse else out


def varlen_attn_out(
    out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: AuxRequest | None = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`varlen_attn`, copied into `out` (T_q, H_q, D), which is returned; without gradients.

    RuntimeError where `out` has another shape or dtype.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.varlen import varlen_attn_out
        >>> x, starts = torch.ones(3, 1, 2), torch.tensor([0, 1, 3], dtype=torch.int32)
        >>> out = torch.empty(3, 1, 2)
        >>> varlen_attn_out(out, x, x, x, starts, starts, 2, 2) is out
        True
    """
    if out.shape != query.shape or out.dtype is not query.dtype:
        raise RuntimeError(
            f"varlen_attn_out: expected out {tuple(query.shape)} of {query.dtype}, but got "
            f"{tuple(out.shape)} of {out.dtype}"
        )
    result, lse = varlen_attn(
        *(query.detach(), key.detach(), value.detach(), cu_seq_q, cu_seq_k, max_q, max_k),
        return_aux=AuxRequest(lse=True),
        scale=scale,
        window_size=window_size,
        enable_gqa=enable_gqa,
        seqused_k=seqused_k,
        block_table=block_table,
        num_splits=num_splits,
    )
    out.copy_(result)  # type: ignore[attr-defined]
    return (out, lse) if return_aux is not None and return_aux.lse else out


def _check(
    query: Any, key: Any, value: Any, cu_seq_q: Any, block_table: Any, used: Any, window: Any,
    num_splits: Any,
) -> None:  # fmt: skip
    """Raise for what is no tensor, for numbers of dimensions and for options."""
    given = {"query": query, "key": key, "value": value, "cu_seq_q": cu_seq_q}
    for name, x in given.items():
        if not isinstance(x, Tensor):
            raise TypeError(
                f"varlen_attn(): argument '{name}' must be Tensor, not {type(x).__name__}"
            )
    paged = block_table is not None
    wanted = "(pages, page size, H_kv, D)" if paged else "(T_k, H_kv, D)"
    if query.ndim != 3 or any(x.ndim != 3 + paged for x in (key, value)):
        raise RuntimeError(
            f"varlen_attn: expected query (T_q, H_q, D), key and value {wanted}, but got query "
            f"{tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
        )
    if paged and used is None:
        raise RuntimeError("varlen_attn: block_table requires seqused_k")
    if len(window) != 2:
        raise ValueError(f"window_size must have length 2, got {len(window)}")
    if num_splits is not None and num_splits < 0:
        raise RuntimeError(f"varlen_attn: num_splits should not be negative, but got {num_splits}")


def check_heads(heads: int, pairs: int, grouped: bool) -> None:
    """Heads of queries fit those of keys and values: equal, or `grouped` a multiple of them."""
    if not grouped and heads != pairs:
        raise ValueError(
            "Expect query and key/value to have the same number of heads but got "
            f"Hq={heads} and Hkv={pairs}. Try setting enable_gqa=True for GQA."
        )
    if grouped and (heads % pairs if pairs else heads):
        raise ValueError(
            "Expect number of query heads to be a multiple of kv heads for GQA but got "
            f"Hq={heads} and Hkv={pairs}."
        )


def _gathered(key: Any, value: Any, table: Any) -> tuple[Any, Any, Any, int]:
    """The pages that a table (N, P) names as packed keys and values, offsets, and the length."""
    if table.ndim != 2 or table.dtype is not dtypes.int32:
        raise RuntimeError(
            f"varlen_attn: expected block_table (N, pages of a sequence) of dtype torch.int32, but "
            f"got {tuple(table.shape)} of {table.dtype}"
        )
    length = table.shape[1] * key.shape[1]
    pages = table.reshape(-1).clamp(min=0).long()  # past the keys in use it may hold anything
    packed = [x[pages].reshape(-1, *x.shape[2:]) for x in (key, value)]
    offsets = table.new_ones(table.shape[0] + 1).cumsum(0).sub(1) * length
    return (*packed, offsets.to(dtypes.int32), length)
