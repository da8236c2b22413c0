"""Lists of tokens and numbers, in batches or not."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..ops.api import PUBLIC
from ..tensor import Tensor


def to_tensor(input: Any, padding_value: int | None = None, dtype: Any = dtypes.int64) -> Tensor:
    """Numbers (L,), or a batch of them (N, L) filled up with `padding_value` on the right."""
    if input and isinstance(input[0], list) and padding_value is not None:
        longest = max(len(row) for row in input)
        input = [row + [padding_value] * (longest - len(row)) for row in input]
    return PUBLIC["tensor"](input, dtype=dtype)


def truncate(input: Any, max_seq_len: int) -> Any:
    """The first `max_seq_len` of each list."""
    if input and isinstance(input[0], list):
        return [row[:max_seq_len] for row in input]
    return input[:max_seq_len]


def add_token(input: Any, token_id: Any, begin: bool = True) -> Any:
    """A token at the beginning or the end of each list."""
    if input and isinstance(input[0], list):
        return [add_token(row, token_id, begin) for row in input]
    return [token_id, *input] if begin else [*input, token_id]


def str_to_int(input: Any) -> Any:
    """Numbers of their texts."""
    return [str_to_int(x) if isinstance(x, list) else int(x) for x in input]
