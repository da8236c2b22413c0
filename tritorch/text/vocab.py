"""Vocabularies: tokens and their numbers.

Example:
    >>> from tritorch.text.vocab import build_vocab_from_iterator
    >>> v = build_vocab_from_iterator([["a", "b", "a"], ["c", "b", "a"]], specials=["<unk>"])
    >>> v.set_default_index(v["<unk>"])
    >>> v(["a", "c", "z"]), v.lookup_token(2)
    ([1, 3, 0], 'b')
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.module import Module
from ..ops.api import PUBLIC
from ..tensor import Tensor


class Vocab(Module):
    """Tokens in order: of a sequence, or the keys of a mapping. Each stands there once.

    A token that is unknown has the default index, or is a RuntimeError where there is none.
    """

    def __init__(self, tokens: Any = ()) -> None:
        super().__init__()
        self._tokens: list[str] = []
        self._numbers: dict[str, int] = {}
        self._default: int | None = None
        for token in tokens:
            self.append_token(token)

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._numbers

    def __getitem__(self, token: str) -> int:
        found = self._numbers.get(token, self._default)
        if found is None:
            raise RuntimeError(
                f"Token {token!r} not found and default index is not set: call set_default_index"
            )
        return found

    def forward(self, tokens: Sequence[str]) -> list[int]:
        return self.lookup_indices(tokens)

    def set_default_index(self, index: int | None) -> None:
        """The number of every unknown token."""
        self._default = index

    def get_default_index(self) -> int | None:
        return self._default

    def append_token(self, token: str) -> None:
        """At the end; RuntimeError where it is there already."""
        self.insert_token(token, len(self))

    def insert_token(self, token: str, index: int) -> None:
        """At a place, which moves all behind it by one."""
        if not 0 <= index <= len(self):
            raise RuntimeError(f"index {index} is out of range for a Vocab of {len(self)} tokens")
        if token in self._numbers:
            raise RuntimeError(f"Token {token!r} already exists in Vocab")
        self._tokens.insert(index, token)
        for k in range(index, len(self._tokens)):
            self._numbers[self._tokens[k]] = k

    def lookup_token(self, index: int) -> str:
        """The token with that number; RuntimeError where there is none."""
        if not 0 <= index < len(self):
            raise RuntimeError(f"index {index} is out of range for a Vocab of {len(self)} tokens")
        return self._tokens[index]

    def lookup_tokens(self, indices: Sequence[int]) -> list[str]:
        return [self.lookup_token(int(k)) for k in indices]

    def lookup_indices(self, tokens: Sequence[str]) -> list[int]:
        return [self[t] for t in tokens]

    def get_stoi(self) -> dict[str, int]:
        """The numbers of the tokens."""
        return dict(self._numbers)

    def get_itos(self) -> list[str]:
        """The tokens in order."""
        return list(self._tokens)

    def extra_repr(self) -> str:
        return f"{len(self)} tokens"


def vocab(
    ordered_dict: Mapping[str, int],
    min_freq: int = 1,
    specials: Sequence[str] | None = None,
    special_first: bool = True,
) -> Vocab:
    """The vocabulary of a mapping of tokens to counts, in its order.

    Those that are rarer than `min_freq` are left out; `specials` stand first, or last.
    """
    special = list(specials or ())
    tokens = [t for t, n in ordered_dict.items() if n >= min_freq and t not in special]
    return Vocab([*special, *tokens] if special_first else [*tokens, *special])


def build_vocab_from_iterator(
    iterator: Iterable[Iterable[str]],
    min_freq: int = 1,
    specials: Sequence[str] | None = None,
    special_first: bool = True,
    max_tokens: int | None = None,
) -> Vocab:
    """The vocabulary of lists of tokens: the most frequent first, equals in alphabetical order."""
    counts: Counter[str] = Counter()
    for tokens in iterator:
        counts.update(tokens)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if max_tokens is not None:
        room = max_tokens - len(specials or ())
        if room <= 0:
            raise ValueError(
                f"max_tokens ({max_tokens}) must be more than the {len(specials or ())} specials"
            )
        ordered = ordered[:room]
    return vocab(OrderedDict(ordered), min_freq, specials, special_first)


class Vectors:
    """Word vectors of a local text file: a token and its numbers on each line (GloVe, fastText).

    `vectors` is (N, dim) float32, `itos` and `stoi` the tokens and their rows. `v["word"]` is a
    vector, of zeros for an unknown word unless `unk_init` fills it.

    Raises:
        FileNotFoundError: there is no such file; nothing is downloaded.
        ValueError: a line has another number of values than the first.
    """

    def __init__(
        self,
        name: Any,
        cache: Any = None,
        url: str | None = None,
        unk_init: Any = None,
        max_vectors: int | None = None,
    ) -> None:
        path = Path(cache or ".") / name
        if not path.exists():
            raise FileNotFoundError(
                f"Vectors: no file {path}; vectors are not downloaded"
                + (f", get them from {url}" if url else "")
            )
        self.unk_init = unk_init
        self.itos, rows = self._read(path, max_vectors)
        self.vectors: Any = PUBLIC["from_numpy"](rows)
        self.dim = rows.shape[1]
        self.stoi = {token: k for k, token in enumerate(self.itos)}

    @staticmethod
    def _read(path: Path, limit: int | None) -> tuple[list[str], np.ndarray]:
        tokens, rows, seen = [], [], set()
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                word, *values = line.rstrip().split(" ")
                if number == 1 and len(values) == 1:
                    continue  # fastText's head: how many, and how long
                if rows and len(values) != len(rows[0]):
                    raise ValueError(
                        f"{path}, line {number}: {len(values)} values where others have "
                        f"{len(rows[0])}"
                    )
                if word not in seen:
                    seen.add(word)
                    tokens.append(word)
                    rows.append(np.array(values, np.float32))
                if limit is not None and len(rows) == limit:
                    break
        return tokens, np.stack(rows)

    def __len__(self) -> int:
        return len(self.itos)

    def __contains__(self, token: str) -> bool:
        return token in self.stoi

    def __getitem__(self, token: str) -> Tensor:
        if token in self.stoi:
            return self.vectors[self.stoi[token]]
        unknown = PUBLIC["zeros"](self.dim)
        return unknown if self.unk_init is None else self.unk_init(unknown)

    def get_vecs_by_tokens(self, tokens: Any, lower_case_backup: bool = False) -> Tensor:
        """(dim,) of a token, (N, dim) of a list; lower case where the token itself is unknown."""
        if isinstance(tokens, str):
            return self.get_vecs_by_tokens([tokens], lower_case_backup)[0]  # type: ignore[index]
        if lower_case_backup:
            tokens = [t if t in self.stoi else t.lower() for t in tokens]
        return PUBLIC["stack"]([self[t] for t in tokens])


class GloVe(Vectors):
    """Pennington et al., 2014: `glove.6B.100d.txt` of a local folder `cache`."""

    def __init__(self, name: str = "840B", dim: int = 300, **kwargs: Any) -> None:
        kwargs.setdefault("cache", ".vector_cache")
        super().__init__(
            f"glove.{name}.{dim}d.txt", url="https://nlp.stanford.edu/projects/glove", **kwargs
        )


class FastText(Vectors):
    """Bojanowski et al., 2016: `wiki.en.vec` of a local folder `cache`."""

    def __init__(self, language: str = "en", **kwargs: Any) -> None:
        kwargs.setdefault("cache", ".vector_cache")
        super().__init__(f"wiki.{language}.vec", url="https://fasttext.cc/docs", **kwargs)
