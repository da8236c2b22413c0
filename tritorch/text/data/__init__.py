"""Helpers around datasets of text: tokenizers by name, n-grams, BLEU."""

from .functional import (
    custom_replace as custom_replace,
    numericalize_tokens_from_iterator as numericalize_tokens_from_iterator,
    simple_space_split as simple_space_split,
    to_map_style_dataset as to_map_style_dataset,
)
from .metrics import bleu_score as bleu_score
from .utils import get_tokenizer as get_tokenizer, ngrams_iterator as ngrams_iterator
