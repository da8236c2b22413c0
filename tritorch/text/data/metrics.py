"""How near translations are to references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .utils import ngrams_iterator


def bleu_score(
    candidate_corpus: Sequence[Sequence[str]],
    references_corpus: Sequence[Sequence[Sequence[str]]],
    max_n: int = 4,
    weights: Sequence[float] | None = None,
) -> float:
    """BLEU of a corpus: tokens of each candidate, and of its references, without smoothing.

    Source: Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002.

    Example:
        >>> from tritorch.text.data.metrics import bleu_score
        >>> ours = [["My", "full", "pytorch", "test"], ["Another", "Sentence"]]
        >>> first = [["My", "full", "pytorch", "test"], ["Completely", "Different"]]
        >>> round(bleu_score(ours, [first, [["No", "Match"]]]), 4)
        0.8409
    """
    weights = [1 / max_n] * max_n if weights is None else weights
    if len(weights) != max_n:
        raise ValueError(f"bleu_score: {len(weights)} weights for n-grams up to {max_n}")
    if len(candidate_corpus) != len(references_corpus):
        raise ValueError(
            f"bleu_score: {len(candidate_corpus)} candidates for {len(references_corpus)} sets of "
            "references"
        )
    matched, total, ours, theirs = [0] * max_n, [0] * max_n, 0, 0
    for candidate, references in zip(candidate_corpus, references_corpus):
        ours += len(candidate)
        theirs += min((abs(len(candidate) - len(r)), len(r)) for r in references)[1]
        allowed: Counter[str] = Counter()
        for r in references:
            allowed |= _ngrams(r, max_n)
        for gram, n in (_ngrams(candidate, max_n) & allowed).items():
            matched[gram.count(" ")] += n
        for n in range(max_n):
            total[n] += max(len(candidate) - n, 0)
    if min(matched) == 0:
        return 0.0
    mean = sum(w * math.log(m / t) for w, m, t in zip(weights, matched, total))
    return math.exp(min(1 - theirs / ours, 0) + mean)


def _ngrams(tokens: Sequence[str], n: int) -> Counter[str]:
    """Counts; tokens have no blanks, so that a gram's blanks say how long it is."""
    return Counter(ngrams_iterator([t.replace(" ", "_") for t in tokens], n))
