"""Tokenizers: words, characters, pairs of bytes.

Example:
    >>> from tritorch.text.tokenizers import BytePairEncoder, basic_english
    >>> basic_english("It's here, now.")
    ['it', "'", 's', 'here', ',', 'now', '.']
    >>> encoder = BytePairEncoder.train("low lower lowest newer newest", 265)
    >>> encoder.decode(encoder.encode("the lowest"))
    'the lowest'
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RULES = (
    (re.compile(r"'"), " '  "),
    (re.compile(r'"'), ""),
    (re.compile(r"<br />"), " "),
    (re.compile(r"([.,()!?])"), r" \1 "),
    (re.compile(r"[;:]"), " "),
)


def basic_english(line: str) -> list[str]:
    """Lower-case words and signs; quotation marks, colons and semicolons are dropped."""
    line = line.lower()
    for pattern, put in RULES:
        line = pattern.sub(put, line)
    return line.split()


def whitespace(line: str) -> list[str]:
    """What stands between blanks."""
    return line.split()


def characters(line: str) -> list[str]:
    """Every character."""
    return list(line)


# Words with the blank before them, numbers and signs apart: merges do not cross these.
PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


class BytePairEncoder:
    """Byte-pair encoding of UTF-8: 256 bytes, then one token for each merge, then the specials.

    `merges` are pairs of tokens' numbers in the order in which they were learned; `specials` are
    texts that are one token each. Every text can be encoded, and decodes to itself.
    Source: Sennrich et al., "Neural machine translation of rare words with subword units", 2016;
    on bytes: Radford et al., "Language models are unsupervised multitask learners", 2019.
    """

    def __init__(self, merges: Iterable[Sequence[int]] = (), specials: Sequence[str] = ()) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self.specials = list(specials)
        self._ranks = {pair: k for k, pair in enumerate(self.merges)}
        self._bytes = [bytes([k]) for k in range(256)]
        for a, b in self.merges:
            if max(a, b) >= len(self._bytes):
                raise ValueError(f"BytePairEncoder: the merge ({a}, {b}) names a later token")
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._special = {s: len(self._bytes) + k for k, s in enumerate(self.specials)}
        self._split = re.compile("(" + "|".join(map(re.escape, self.specials)) + ")")
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._bytes) + len(self.specials)

    @classmethod
    def train(
        cls, text: str | Iterable[str], vocab_size: int, specials: Sequence[str] = ()
    ) -> BytePairEncoder:
        """Merges the most frequent pair until there are `vocab_size` tokens, or no pair repeats.

        Raises:
            ValueError: `vocab_size` has no room for the 256 bytes and the specials.
        """
        wanted = vocab_size - 256 - len(specials)
        if wanted < 0:
            raise ValueError(
                f"BytePairEncoder: vocab_size {vocab_size} must be at least 256 bytes and "
                f"{len(specials)} specials"
            )
        pieces: Counter[str] = Counter()
        for part in [text] if isinstance(text, str) else text:
            pieces.update(PIECES.findall(part))
        words = [(list(p.encode()), n) for p, n in pieces.items()]
        merges: list[tuple[int, int]] = []
        pairs, where = _pairs(words)
        while len(merges) < wanted and pairs:
            best = max(pairs, key=lambda p: (pairs[p], (-p[0], -p[1])))
            if pairs[best] < 2:
                break
            _merge_everywhere(words, best, 256 + len(merges), pairs, where)
            merges.append(best)
        return cls(merges, specials)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens."""
        out: list[int] = []
        for part in self._split.split(text) if self.specials else [text]:
            if part in self._special:
                out.append(self._special[part])
                continue
            for piece in PIECES.findall(part):
                out += self._piece(piece)
        return out

    def _piece(self, piece: str) -> list[int]:
        if piece not in self._known:
            ids = list(piece.encode())
            while len(ids) > 1:
                rank, pair = min(
                    (self._ranks.get(p, len(self.merges)), p) for p in itertools.pairwise(ids)
                )
                if rank == len(self.merges):
                    break
                ids = _merged(ids, pair, 256 + rank)
            self._known[piece] = ids
        return list(self._known[piece])

    def decode(self, ids: Iterable[Any]) -> str:
        """The text of tokens' numbers; bytes that are no UTF-8 become the replacement sign."""
        out, text = b"", ""
        for k in map(int, ids):
            if 0 <= k < len(self._bytes):
                out += self._bytes[k]
            elif k < len(self):
                text, out = text + out.decode(errors="replace"), b""
                text += self.specials[k - len(self._bytes)]
            else:
                raise IndexError(f"BytePairEncoder: token {k} of {len(self)}")
        return text + out.decode(errors="replace")

    __call__ = encode

    def save(self, path: Any) -> None:
        """Merges and specials, as JSON."""
        Path(path).write_text(json.dumps({"merges": self.merges, "specials": self.specials}))

    @classmethod
    def load(cls, path: Any) -> BytePairEncoder:
        """What `save` wrote."""
        found = json.loads(Path(path).read_text())
        return cls(found["merges"], found["specials"])

    def __repr__(self) -> str:
        return f"BytePairEncoder({len(self)} tokens)"


Words = list[tuple[list[int], int]]


def _pairs(words: Words) -> tuple[Counter, dict[tuple[int, int], set[int]]]:
    """How often each pair of neighbours stands in the words, and in which."""
    pairs: Counter[tuple[int, int]] = Counter()
    where: dict[tuple[int, int], set[int]] = {}
    for k, (ids, n) in enumerate(words):
        for pair in itertools.pairwise(ids):
            pairs[pair] += n
            where.setdefault(pair, set()).add(k)
    return pairs, where


def _merged(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    out, k = [], 0
    while k < len(ids):
        if k + 1 < len(ids) and (ids[k], ids[k + 1]) == pair:
            out.append(new)
            k += 2
        else:
            out.append(ids[k])
            k += 1
    return out


def _merge_everywhere(
    words: Words, pair: tuple[int, int], new: int, pairs: Counter, where: dict
) -> None:
    """Puts `new` for the pair in all words, and counts their neighbours again."""
    for k in where.pop(pair):
        ids, n = words[k]
        for p in itertools.pairwise(ids):
            pairs[p] -= n
        ids = _merged(ids, pair, new)
        words[k] = (ids, n)
        for p in itertools.pairwise(ids):
            pairs[p] += n
            where.setdefault(p, set()).add(k)
    for p in [p for p in pairs if pairs[p] <= 0]:
        del pairs[p]
        where.pop(p, None)
