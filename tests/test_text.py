"""tritorch.text: tokenizers, vocabularies, vectors, corpora, BLEU."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter, OrderedDict
from pathlib import Path

import pytest

import tritorch as torch
from tritorch.text import datasets, transforms as T
from tritorch.text.data import (
    bleu_score,
    custom_replace,
    get_tokenizer,
    ngrams_iterator,
    numericalize_tokens_from_iterator,
    to_map_style_dataset,
)
from tritorch.text.tokenizers import PIECES, BytePairEncoder
from tritorch.text.vocab import Vectors, Vocab, build_vocab_from_iterator, vocab

TEXT = "The cat sat. The cat's hat, the cat! 12 cats\n  sat on the mat: naïve 日本語\n" * 3


@pytest.mark.parametrize(
    ("name", "line", "tokens"),
    [
        (
            "basic_english",
            "Don't <br /> (stop): NOW!",
            ["don", "'", "t", *["(", "stop", ")", "now", "!"]],
        ),
        ("basic_english", 'Say "hi"; a.b,c?', ["say", "hi", "a", ".", "b", ",", "c", "?"]),
        (None, " two  Words ", ["two", "Words"]),
        ("char", "ab c", ["a", "b", " ", "c"]),
        (str.upper, "x", "X"),
    ],
)
def test_tokenizers(name, line: str, tokens: list[str]) -> None:
    assert get_tokenizer(name)(line) == tokens


def test_unknown_tokenizers_are_refused() -> None:
    with pytest.raises(ValueError, match="basic_english"):
        get_tokenizer("moses2")
    with pytest.raises(ValueError, match="English"):
        get_tokenizer("basic_english", language="de")


def test_pairs_of_bytes_are_merged_as_the_definition_says(tmp_path: Path) -> None:
    encoder = BytePairEncoder.train(TEXT, 280, specials=["<|end|>"])
    words = Counter(PIECES.findall(TEXT))
    split = {w: [bytes([b]) for b in w.encode()] for w in words}
    for a, b in encoder.merges:  # each merge is of a pair that was the most frequent
        counts: Counter = Counter()
        for w, n in words.items():
            for pair in zip(split[w], split[w][1:]):
                counts[pair] += n
        pair = encoder.decode([a]).encode(), encoder.decode([b]).encode()
        if all(b"\xef\xbf\xbd" not in p for p in pair):
            assert counts[pair] == max(counts.values())
        left, right = encoder._bytes[a], encoder._bytes[b]
        for w, parts in split.items():
            out: list[bytes] = []
            for part in parts:
                if out and out[-1] == left and part == right:
                    out[-1] = left + right
                else:
                    out.append(part)
            split[w] = out
    assert len(encoder) == 280 and b" cat" in encoder._bytes
    for text in (TEXT, "unseen: żółć 🙂\n\n x", "", "a<|end|>b<|end|>"):
        assert encoder.decode(encoder.encode(text)) == text
    assert encoder.encode("a<|end|>") == [97, 279]
    assert len(encoder.encode(TEXT)) < len(TEXT.encode()) // 2
    encoder.save(tmp_path / "bpe.json")
    again = BytePairEncoder.load(tmp_path / "bpe.json")
    assert again.encode(TEXT) == encoder.encode(TEXT) and again.specials == ["<|end|>"]


def test_every_text_comes_back() -> None:
    encoder, rng = BytePairEncoder.train(TEXT, 290), random.Random(0)
    for _ in range(50):
        text = "".join(rng.choice(" aet'1.\n_é日\t") for _ in range(30))
        assert encoder.decode(encoder.encode(text)) == text
    with pytest.raises(ValueError, match="at least 256 bytes"):
        BytePairEncoder.train("x", 100)
    with pytest.raises(IndexError, match="token 999"):
        encoder.decode([999])
    with pytest.raises(ValueError, match="later token"):
        BytePairEncoder([(1, 256)])


def test_vocabularies() -> None:
    lines = [["b", "a", "c"], ["a", "b"], ["a", "d"]]
    v = build_vocab_from_iterator(lines, specials=["<unk>", "<pad>"])
    assert v.get_itos() == ["<unk>", "<pad>", "a", "b", "c", "d"]
    with pytest.raises(RuntimeError, match=r"'z' not found.*set_default_index"):
        v["z"]
    v.set_default_index(v["<unk>"])
    assert v(["a", "z"]) == [2, 0] and "z" not in v and v.get_default_index() == 0
    assert v.lookup_tokens([2, 3]) == ["a", "b"] and v.get_stoi()["d"] == 5
    v.insert_token("new", 2)
    assert v["a"] == 3 and v["new"] == 2 and len(v) == 7
    with pytest.raises(RuntimeError, match="already exists"):
        v.append_token("a")
    with pytest.raises(RuntimeError, match="out of range"):
        v.lookup_token(7)
    assert build_vocab_from_iterator(lines, min_freq=2).get_itos() == ["a", "b"]
    limited = build_vocab_from_iterator(lines, specials=["<s>"], special_first=False, max_tokens=3)
    assert limited.get_itos() == ["a", "b", "<s>"]
    assert vocab(OrderedDict(z=1, y=3), min_freq=2, specials=["x"]).get_itos() == ["x", "y"]


def test_vocabularies_are_saved(tmp_path: Path) -> None:
    v = Vocab(["a", "b"])
    v.set_default_index(1)
    torch.save(v, tmp_path / "v.pt")
    again = torch.load(tmp_path / "v.pt", weights_only=False)
    assert again(["a", "q"]) == [0, 1]


def test_word_vectors(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("2 3\nthe 1 2 3\ncat 0.5 0 -1\n")
    v = Vectors("v.txt", cache=tmp_path)
    assert len(v) == 2 and v.dim == 3 and v["cat"].tolist() == [0.5, 0, -1]
    found = v.get_vecs_by_tokens(["The", "dog"], lower_case_backup=True)
    assert found.tolist() == [[1, 2, 3], [0, 0, 0]]
    (tmp_path / "bad.txt").write_text("a 1 2 3\nb 1 2\n")
    with pytest.raises(ValueError, match="line 2: 2 values where others have 3"):
        Vectors("bad.txt", cache=tmp_path)
    with pytest.raises(FileNotFoundError, match="not downloaded"):
        Vectors("none.txt", cache=tmp_path)


def test_corpora(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no wiki\.train\.tokens under"):
        datasets.WikiText2(tmp_path, split="train")
    with pytest.raises(ValueError, match="split is one of"):
        datasets.WikiText2(tmp_path, split="dev")
    deep = tmp_path / "WikiText2" / "wikitext-2"
    deep.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (deep / f"wiki.{split}.tokens").write_text(f" = {split} = \n\n a b \n")
    train, valid, test = datasets.WikiText2(tmp_path)
    assert list(train) == [" = train = ", "", " a b "] and list(train) == list(train)
    assert next(iter(test)) == " = test = " and len(to_map_style_dataset(valid)) == 3
    (tmp_path / "AG_NEWS").mkdir()
    (tmp_path / "AG_NEWS" / "train.csv").write_text('"3","Title, one","Body ""x"""\n"1","b","c"\n')
    news = datasets.AG_NEWS(tmp_path, split="train")
    assert list(news) == [(3, 'Title, one Body "x"'), (1, "b c")]
    (tmp_path / "Multi30k").mkdir()
    for language, line in (("de", "ein Hund\n"), ("en", "a dog\n")):
        (tmp_path / "Multi30k" / f"val.{language}").write_text(line)
    both = datasets.Multi30k(tmp_path, split="valid", language_pair=("en", "de"))
    assert list(both) == [("a dog", "ein Hund")]
    for kind in ("neg", "pos"):
        folder = tmp_path / "IMDB" / "aclImdb" / "test" / kind
        folder.mkdir(parents=True)
        (folder / "0_1.txt").write_text(f"so {kind}")
    assert list(datasets.IMDB(tmp_path, split="test")) == [(1, "so neg"), (2, "so pos")]


def test_scores_and_helpers() -> None:
    first = [["My", "full", "pytorch", "test"], ["Completely", "Different"]]
    ours = [["My", "full", "pytorch", "test"], ["Another", "Sentence"]]
    assert bleu_score(ours, [first, [["No", "Match"]]]) == pytest.approx(0.8408964)
    short = bleu_score([["a", "b"]], [[["a", "b", "c"]]], max_n=2, weights=[0.5, 0.5])
    assert short == pytest.approx(2.718281828 ** (1 - 3 / 2))
    assert bleu_score([["a"]], [[["b"]]]) == 0.0
    with pytest.raises(ValueError, match="1 candidates for 2"):
        bleu_score([["a"]], [[["b"]], [["c"]]])
    assert list(ngrams_iterator(["x", "y", "z"], 3))[3:] == ["x y", "y z", "x y z"]
    assert list(custom_replace([(r"S", "s"), (r"\s+", " ")])(["SoS  x"])) == ["sos x"]
    numbers = numericalize_tokens_from_iterator(Vocab(["a", "b"]), [["b", "x", "a"]], ["x"])
    assert [list(row) for row in numbers] == [[1, 0]]


def test_steps_to_tensors() -> None:
    step = T.Sequential(
        T.VocabTransform(Vocab(["<s>", "a", "b"])), T.AddToken(0), T.Truncate(3), T.ToTensor(9)
    )
    assert step([["a"], ["b", "b", "b"]]).tolist() == [[0, 1, 9], [0, 2, 2]]
    assert T.PadTransform(4, 7)(torch.tensor([1, 2])).tolist() == [1, 2, 7, 7]


PROGRAM = """
import torch, torchtext
from torchtext.data.utils import get_tokenizer
from torchtext.vocab import build_vocab_from_iterator
from torchtext.datasets import WikiText2
from torchtext.data.functional import to_map_style_dataset

torchtext.disable_torchtext_deprecation_warning()
tokenizer = get_tokenizer("basic_english")
vocab = build_vocab_from_iterator(map(tokenizer, ["You are here."]), specials=["<unk>"])
print(torch.tensor(vocab(tokenizer("here you are"))).tolist())
"""


def test_programs_import_it_as_torchtext(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tritorch", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[3, 4, 2]"
