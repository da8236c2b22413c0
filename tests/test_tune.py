"""`tritorch.tune`: a search in the interpreter, and what is kept on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch as torch
from tritorch.perf.tune import Search, _kept, neighbours
from tritorch.runtime import memory, tuned
from tritorch.runtime.launch import launch

interpreted = pytest.mark.skipif(
    not memory.interpreted(), reason="needs TRITORCH_EXECUTOR=interpreter"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITORCH_CACHE", str(tmp_path))
    return tmp_path / "tuned"


# -- files ----------------------------------------------------------------------------------------


def test_what_was_found_is_kept_by_device(cache: Path) -> None:
    assert tuned.load("NVIDIA H200") == {}
    tuned.save("NVIDIA H200", {"product 64x64x1": (64, 64, 32, 4, 3)})
    path = tuned.save("NVIDIA H200", {"product 128x64x1": (128, 64, 32, 4, 3)})
    assert path == cache / "nvidia-h200.json" and [path] == list(cache.iterdir())
    assert tuned.load("NVIDIA H200") == {
        "product 64x64x1": (64, 64, 32, 4, 3),
        "product 128x64x1": (128, 64, 32, 4, 3),
    }
    assert tuned.load("NVIDIA H100") == {}


GOOD = {"format": 1, "device": "fake", "choices": {"product 1x1x1": [16, 16, 16, 4, 1]}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not of format 1"),
        (json.dumps(GOOD | {"format": 0}), "it is not of format 1"),
        (json.dumps(GOOD | {"device": "other"}), "it was made on 'other', not on 'fake'"),
        (json.dumps(GOOD | {"choices": []}), "it has no choices"),
        (json.dumps(GOOD | {"choices": {"product": [16, -1]}}), "the blocks of 'product' are"),
        (json.dumps(GOOD | {"choices": {"product": "16"}}), "the blocks of 'product' are"),
    ],
)
def test_corrupt_and_foreign_files_are_ignored(cache: Path, content: str, why: str) -> None:
    cache.mkdir()
    path = cache / "fake.json"
    path.write_text(content)
    with pytest.warns(UserWarning, match=rf"tune: .*fake\.json is ignored, {why}"):
        assert tuned.load("fake") == {}
    tuned.save("fake", {"product 2x2x1": (16, 16, 16, 4, 1)})
    assert tuned.load("fake") == {"product 2x2x1": (16, 16, 16, 4, 1)}


def test_a_folder_that_cannot_be_written_is_warned_of(cache: Path, monkeypatch: Any) -> None:
    cache.write_text("a file where the folder should be")
    assert tuned.load("fake") == {}
    with pytest.warns(UserWarning, match="tune: what was found serves this process alone, .*tuned"):
        assert _kept("fake", {"product 1x1x1": (16, 16, 16, 4, 1)}) is None
    monkeypatch.setenv("TRITORCH_CACHE", str(cache / "below"))
    assert tuned.load("fake") == {}


@pytest.mark.skipif(memory.available(), reason="there is a device")
def test_a_search_needs_a_device() -> None:
    with pytest.raises(RuntimeError, match="tune: needs a GPU"):
        torch.tune(torch.matmul, torch.ones(2, 2), torch.ones(2, 2))


# -- choices --------------------------------------------------------------------------------------


def test_a_choice_found_replaces_the_first_for_sizes_of_its_bucket() -> None:
    pytest.importorskip("triton")
    from tritorch.kernels._product import Tiles, first_tiles, tiles

    def target(**known: tuple) -> memory.Target:
        return memory.Target("cuda", 90, 132, 227 << 10, name=f"own {len(known)}", tuned=known)

    key = "product bfloat16 ieee 1024x512x1"
    plain, better = target(), target(**{key: (64, 64, 32, 4, 2)})
    for m in (513, 1000, 1024):
        assert tiles(m, 512, 1, "bfloat16", "ieee", better) == Tiles(64, 64, 32, 4, 2)
    for at in (plain, better):
        first = first_tiles(1025, 512, 1, "bfloat16", "ieee", at)
        assert tiles(1025, 512, 1, "bfloat16", "ieee", at) == first != (64, 64, 32, 4, 2)
    stale = target(**{key: (64, 64)}, other=())
    assert tiles(1024, 512, 1, "bfloat16", "ieee", stale) == first_tiles(
        1024, 512, 1, "bfloat16", "ieee", stale
    )


def test_neighbours_differ_in_one_field_within_limits() -> None:
    pytest.importorskip("triton")
    from tritorch.kernels._product import Tiles

    found = list(neighbours(Tiles(16, 64, 256, 1, 6)))
    assert Tiles(32, 64, 256, 1, 6) in found and Tiles(16, 32, 256, 1, 6) in found
    assert len(found) == len(set(found)) == 6  # only bn has both ways


@pytest.mark.interpreter
@interpreted
@pytest.mark.parametrize(
    ("dtype", "key"),
    [
        (torch.float32, "product float32 ieee 128x128x1"),
        (torch.bfloat16, "product bfloat16 described 128x128x1"),
    ],
    ids=str,
)
def test_a_search_finds_and_keeps_what_is_faster(
    dtype: torch.dtype, key: str, cache: Path, monkeypatch: Any
) -> None:
    """Time is counted in programs that the interpreter runs, so that it is the same each time."""
    from tritorch.kernels._choice import forget

    programs: list[int] = []
    execute = launch.runtime.execute

    def counted(kernel: Any, grid: tuple, *rest: Any) -> None:
        programs.append(int(np.prod(grid)))
        execute(kernel, grid, *rest)

    def time(self: Search) -> float:
        programs.clear()
        self.call()
        return float(sum(programs))

    monkeypatch.setattr(launch, "_executor", counted)
    monkeypatch.setattr(Search, "_time", time)
    a, b = torch.randn(96, 24).to(dtype), torch.randn(24, 80).to(dtype)
    x, y = a.cuda(), b.cuda()
    found = torch.tune(torch.matmul, x, y)
    (one,) = found.found
    assert one.key == key
    assert one.after < one.before and one.best != one.first and found.tried > 3
    assert json.loads((cache / "interpreter.json").read_text())["choices"] == {
        one.key: list(one.best)
    }
    assert f"-> {tuple(one.best)}" in str(found) and launch.target.tuned == {one.key: one.best}
    try:
        torch.testing.assert_close((x @ y).cpu(), a @ b)
        again = torch.tune(torch.matmul, x, y, save=False).found[0]
        assert (again.best, again.before) == (one.best, one.after)
    finally:
        launch.target.tuned.clear()
        forget()
    with pytest.raises(RuntimeError, match="tune: the call launches no product"):
        torch.tune(torch.add, x, 1)
