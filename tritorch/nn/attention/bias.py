"""Causal masks by name, for `scaled_dot_product_attention`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

from ... import dtypes
from ...op.overrides import enabled_without
from ...ops.create import ones
from ...tensor import Tensor
from .. import functional as F

__all__ = ["causal_upper_left", "causal_lower_right", "CausalVariant", "CausalBias"]


class CausalVariant(enum.IntEnum):
    """Which corner the diagonal of a causal mask that is not square starts from.

    Of two queries and three keys, UPPER_LEFT lets the first query see the first key alone, and
    LOWER_RIGHT lets the last query see all keys.
    """

    UPPER_LEFT = enum.auto()
    LOWER_RIGHT = enum.auto()


class CausalBias(Tensor):
    """A causal mask (seq_len_q, seq_len_kv) of bools, True where a query sees a key.

    As `attn_mask` of `scaled_dot_product_attention` a mask of the upper left, or a square one, runs
    as `is_causal=True` does, without being read. Under LOWER_RIGHT queries before the first key see
    nothing, and give zeros. AssertionError where `variant` is no CausalVariant; ValueError from the
    operator where `is_causal` is given too.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.bias import CausalBias, CausalVariant
        >>> CausalBias(CausalVariant.LOWER_RIGHT, 2, 3)
        tensor([[ True,  True, False],
                [ True,  True,  True]])
    """

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> CausalBias:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        right = variant is CausalVariant.LOWER_RIGHT
        mask = ones(seq_len_q, seq_len_kv, dtype=dtypes.bool_)
        mask = mask.tril(seq_len_kv - seq_len_q if right else 0)  # type: ignore[attr-defined]
        self = mask.as_subclass(cls)
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        return self

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        pass

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Attention with this mask; every other function takes it as a tensor of bools."""
        given = kwargs or {}
        with enabled_without(modes=False):
            if func is F.scaled_dot_product_attention:
                return _attention(*args, **given)
            return func(*args, **given)


def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any, dropout_p: float = 0.0,
    is_causal: bool = False, **rest: Any,
) -> Tensor:  # fmt: skip
    if is_causal:
        raise ValueError("CausalBias should not be used with causal=True")
    square = attn_mask.seq_len_q == attn_mask.seq_len_kv
    causal = square or attn_mask.variant is CausalVariant.UPPER_LEFT
    mask = None if causal else attn_mask.to(query.device)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout_p, causal, **rest)


def causal_upper_left(*size: int) -> CausalBias:
    """The causal mask of (queries, keys) in which query i sees the keys up to i.

    Example:
        >>> from tritorch.nn.attention.bias import causal_upper_left
        >>> causal_upper_left(2, 3)
        tensor([[ True, False, False],
                [ True,  True, False]])
    """
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """The causal mask of (queries, keys) in which the last query sees all keys.

    So queries that follow keys of before, as when a text is continued, see the keys up to theirs.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.nn.attention.bias import causal_lower_right
        >>> q, k = torch.zeros(1, 2, 4), torch.zeros(1, 3, 4)
        >>> v = torch.tensor([[[0.0], [2.0], [7.0]]])
        >>> torch.nn.functional.scaled_dot_product_attention(q, k, v, causal_lower_right(2, 3))
        tensor([[[1.],
                 [3.]]])
    """
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
