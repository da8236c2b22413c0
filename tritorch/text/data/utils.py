"""Tokenizers by their names, and n-grams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import tokenizers

KNOWN: dict[Any, Callable[[str], list[str]]] = {
    None: tokenizers.whitespace,
    "basic_english": tokenizers.basic_english,
    "whitespace": tokenizers.whitespace,
    "char": tokenizers.characters,
}


def get_tokenizer(tokenizer: Any, language: str = "en") -> Callable[..., Any]:
    """A function from a line to tokens: "basic_english", None for blanks, "char", or one's own.

    "spacy" takes an installed spaCy model, whose name is `language`.

    Example:
        >>> from tritorch.text.data import get_tokenizer
        >>> get_tokenizer("basic_english")("You can, now!")
        ['you', 'can', ',', 'now', '!']
    """
    if callable(tokenizer):
        return tokenizer
    if tokenizer == "basic_english" and language != "en":
        raise ValueError(f"Basic normalization is only available for English, got {language!r}")
    if tokenizer in KNOWN:
        return KNOWN[tokenizer]
    if tokenizer == "spacy":
        return _spacy(language)
    raise ValueError(
        f"get_tokenizer: expected a function or one of {[k for k in KNOWN if k]}, spacy; got "
        f"{tokenizer!r}"
    )


def _spacy(language: str) -> Callable[[str], list[str]]:
    try:
        import spacy
    except ImportError as error:
        raise ImportError("get_tokenizer('spacy'): pip install spacy, and its model") from error
    model = spacy.load(language)
    return lambda line: [token.text for token in model.tokenizer(line)]


def ngrams_iterator(token_list: Sequence[str], ngrams: int) -> Iterator[str]:
    """The tokens, then all of two neighbours, up to `ngrams`, joined by a blank.

    Example:
        >>> from tritorch.text.data import ngrams_iterator
        >>> list(ngrams_iterator(["here", "we", "are"], 2))
        ['here', 'we', 'are', 'here we', 'we are']
    """
    yield from token_list
    for n in range(2, ngrams + 1):
        for k in range(len(token_list) - n + 1):
            yield " ".join(token_list[k : k + n])
