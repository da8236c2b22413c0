"""Functions on iterables of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ...utils.data.dataset import Dataset


class _MapStyle(Dataset):
    def __init__(self, items: Iterable[Any]) -> None:
        self._data = list(items)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        return self._data[index]


def to_map_style_dataset(iter_data: Iterable[Any]) -> Dataset:
    """A dataset with an index, of all that the iterable gives."""
    return _MapStyle(iter_data)


def simple_space_split(iterator: Iterable[str]) -> Iterator[list[str]]:
    """Each line's words."""
    for line in iterator:
        yield line.split()


def custom_replace(replace_pattern: Sequence[tuple[str, str]]) -> Callable:
    """A function that gives an iterable's lines with patterns replaced, in turn."""
    rules = [(re.compile(p), r) for p, r in replace_pattern]

    def replaced(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            for pattern, put in rules:
                line = pattern.sub(put, line)
            yield line

    return replaced


def numericalize_tokens_from_iterator(
    vocab: Any, iterator: Iterable[Iterable[str]], removed_tokens: Sequence[str] | None = None
) -> Iterator[Iterator[int]]:
    """The numbers of each line's tokens, without `removed_tokens`."""
    for tokens in iterator:
        yield iter([vocab[t] for t in tokens if t not in (removed_tokens or ())])
