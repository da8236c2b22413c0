"""The notebooks: each is whole and on the map. That they run is tested by what is marked slow."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|work|usr|opt|Users|var)/|site-packages|0x[0-9a-f]{8}"
)
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """tutorials/check.py as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import check

    yield check
    sys.modules.pop("check", None)


def cells(path: Path, kind: str) -> list[dict]:
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def tagged(path: Path, tag: str) -> dict:
    found = [c for c in cells(path, "code") if tag in c["metadata"].get("tags", [])]
    assert len(found) == 1, f"one cell is tagged {tag!r}"
    return found[0]


def texts(cell: dict) -> list[str]:
    """What a cell printed and showed, but pictures."""
    found = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell["outputs"]
    ]
    return ["".join(text) for text in found]


def pictures(cell: dict) -> list[str]:
    return [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]


@each
def test_outputs_are_those_of_one_whole_run(path: Path) -> None:
    code = cells(path, "code")
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert all(o["output_type"] != "error" for o in cell["outputs"])
        assert all(o.get("name") != "stderr" for o in cell["outputs"]), texts(cell)
        for text in texts(cell):
            assert not MACHINE.search(text), text
    assert path.stat().st_size < 1_500_000, "smaller pictures, please"


@each
def test_starts_with_its_title_and_ends_with_an_exercise(path: Path) -> None:
    assert re.fullmatch(r"[1-7]\d\d_[a-z0-9_]+", path.stem)
    prose = ["".join(cell["source"]) for cell in cells(path, "markdown")]
    assert re.match(r"# \S.*\n\n\S", prose[0])
    assert any(re.search(r"^## Exercise", text, re.MULTILINE) for text in prose)


@each
def test_device_is_one_line_and_the_seed_is_fixed(path: Path) -> None:
    source = "\n".join("".join(cell["source"]) for cell in cells(path, "code"))
    assert len(re.findall(r'^device = "cpu"', source, re.MULTILINE)) == 1
    assert "torch.manual_seed(" in source


@each
def test_asserts_what_it_measured_and_says_it(path: Path) -> None:
    cell = tagged(path, "result")
    tree = ast.parse("".join(cell["source"]))
    asserts = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    names = {n for test in asserts for n in ast.walk(test) if isinstance(n, ast.Name)}
    assert names, "an assert on something measured"
    assert re.search(r"\d", texts(cell)[-1].strip().splitlines()[-1])


@each
def test_is_on_the_map(path: Path, check: Any) -> None:
    assert pictures(tagged(path, "cover")), "the cell tagged 'cover' draws a picture"
    assert (FOLDER / "pictures" / f"{path.stem}.png").stat().st_size < 80_000
    pytest.importorskip("nbformat")
    assert check.entry(path) in (FOLDER / "README.md").read_text().splitlines()


def test_no_picture_is_left_over() -> None:
    names = {path.stem for path in (FOLDER / "pictures").glob("*.png")}
    assert names <= {path.stem for path in NOTEBOOKS}


def notebook(*sources: str) -> Any:
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return book


def test_names_and_thirds_choose(check: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(check, "HERE", tmp_path)
    for name in ("101_a", "102_b", "201_c", "202_d"):
        (tmp_path / f"{name}.ipynb").touch()
    chosen = [p.stem for p in check.notebooks(["1", "202"])]
    assert chosen == ["101_a", "102_b", "202_d"]
    thirds = [[p.stem for p in check.notebooks([], third)] for third in (0, 1, 2)]
    assert thirds == [["101_a", "202_d"], ["102_b"], ["201_c"]]
    with pytest.raises(SystemExit, match="no notebook '3'"):
        check.notebooks(["3"])


def test_what_failed_is_named_at_the_end(
    check: Any, monkeypatch: Any, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.setattr(check, "run", lambda path, *_: "broke" * (path.stem == "102_b"))
    for name in ("101_a", "102_b"):
        (tmp_path / f"{name}.ipynb").touch()
    assert check.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "tutorials: 1 of 2 failed: 102_b"
    assert check.main(["101"]) == 0


def stream(text: str, name: str = "stdout") -> Any:
    return pytest.importorskip("nbformat").v4.new_output("stream", name=name, text=text)


def test_neighbouring_streams_become_one(check: Any) -> None:
    book = notebook("print(1)")
    picture = pytest.importorskip("nbformat").v4.new_output("display_data", {"text/plain": "x"})
    pieces = [stream("a"), stream("\n"), stream("!", "stderr"), picture, stream("b"), stream("c\n")]
    book.cells[0].outputs = pieces
    check.tidy(book)
    outputs = book.cells[0].outputs
    assert [o.get("text") for o in outputs] == ["a\n", "!", None, "bc\n"]
    assert [o.get("name") for o in outputs] == ["stdout", "stderr", None, "stdout"]


@pytest.mark.parametrize(
    ("pieces", "result"),
    [
        ([], ""),
        (["\n"], ""),
        (["loss 3\nright: 9", "8%", "\n"], "<br>*right: 98%*"),
        (["right: 98%\n", "\n"], "<br>*right: 98%*"),
    ],
)
def test_the_map_has_what_was_printed_last(
    check: Any, monkeypatch: Any, tmp_path: Path, pieces: list[str], result: str
) -> None:
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setattr(check, "HERE", tmp_path)
    book = notebook("print(1)")
    book.cells[0].metadata["tags"] = ["result"]
    book.cells[0].outputs = [stream(text) for text in pieces]
    book.cells.insert(0, nbformat.v4.new_markdown_cell("# Title\n\nFirst. Second."))
    nbformat.write(book, tmp_path / "101_a.ipynb")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- map: part 1 -->\nold\n<!-- end -->\n")
    check.draw_map(readme)
    row = readme.read_text().splitlines()[3]
    assert row.endswith(f"**[Title](101_a.ipynb)**<br>First.{result} |")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("source", "limit", "problem"),
    [("1 / 0", 60, "ZeroDivisionError"), ("while True: pass", 3, "took more than 3 s")],
)
def test_a_failure_is_reported(
    check: Any, monkeypatch: Any, tmp_path: Path, source: str, limit: float, problem: str
) -> None:
    import nbformat

    monkeypatch.setattr(check, "HERE", tmp_path)
    path = tmp_path / "101_fails.ipynb"
    nbformat.write(notebook("print(1)", source), path)
    before = path.read_text()
    said = check.run(path, limit, write=True)
    assert problem in said and "\x1b" not in said
    assert path.read_text() == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@each
def test_runs(path: Path, check: Any) -> None:
    assert check.run(path, 90, write=False) == ""
