"""Steps from tokens to tensors, as modules.

Example:
    >>> from tritorch.text import transforms as T
    >>> from tritorch.text.vocab import Vocab
    >>> step = T.Sequential(T.VocabTransform(Vocab(["a", "b"])), T.AddToken(9), T.ToTensor(0))
    >>> step([["a"], ["b", "a"]]).tolist()
    [[9, 0, 0], [9, 1, 0]]
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..nn import Module, Sequential as _Sequential, functional as NF
from . import functional as F


class Sequential(_Sequential):
    """One step after the other."""


class VocabTransform(Module):
    """The numbers of tokens, or of a batch of them."""

    def __init__(self, vocab: Any) -> None:
        super().__init__()
        self.vocab = vocab

    def forward(self, input: Any) -> Any:
        if input and isinstance(input[0], list):
            return [self.vocab.lookup_indices(row) for row in input]
        return self.vocab.lookup_indices(input)


class ToTensor(Module):
    """`functional.to_tensor`."""

    def __init__(self, padding_value: int | None = None, dtype: Any = dtypes.int64) -> None:
        super().__init__()
        self.padding_value, self.dtype = padding_value, dtype

    def forward(self, input: Any) -> Any:
        return F.to_tensor(input, self.padding_value, self.dtype)


class Truncate(Module):
    """The first `max_seq_len`."""

    def __init__(self, max_seq_len: int) -> None:
        super().__init__()
        self.max_seq_len = max_seq_len

    def forward(self, x: Any) -> Any:
        return F.truncate(x, self.max_seq_len)


class AddToken(Module):
    """A token at the beginning or the end."""

    def __init__(self, token: Any, begin: bool = True) -> None:
        super().__init__()
        self.token, self.begin = token, begin

    def forward(self, input: Any) -> Any:
        return F.add_token(input, self.token, self.begin)


class PadTransform(Module):
    """A tensor (..., L) filled up to `max_length` with `pad_value`."""

    def __init__(self, max_length: int, pad_value: int) -> None:
        super().__init__()
        self.max_length, self.pad_value = max_length, float(pad_value)

    def forward(self, x: Any) -> Any:
        missing = self.max_length - x.shape[-1]
        return NF.pad(x, (0, missing), value=self.pad_value) if missing > 0 else x


class StrToIntTransform(Module):
    """Numbers of their texts."""

    def forward(self, input: Any) -> Any:
        return F.str_to_int(input)
