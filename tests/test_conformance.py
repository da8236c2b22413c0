"""conformance.py with tools that print what they are told to."""

from __future__ import annotations

import json
from pathlib import Path

import conformance
import pytest

SUMMARY = {"all": {"there": 7, "n": 9}, "imports_of_torch": []}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for tools, and a record beside it."""
    monkeypatch.setattr(conformance, "RECORD", tmp_path / "conformance.json")
    folder = tmp_path / "tools"
    folder.mkdir()
    write_programs(folder, "8 of 9 agree, 0 silent differences")
    return folder


def write_programs(folder: Path, line: str, code: int = 0) -> None:
    (folder / "programs.py").write_text(f"print('a line')\nprint({line!r})\nexit({code})")


def check(folder: Path, *arguments: str) -> int:
    return conformance.main(["--tools", str(folder), *arguments])


@pytest.mark.parametrize(
    ("line", "code", "verdict"),
    [
        ("8 of 9 agree, 0 silent differences", 0, "ok"),
        ("9 of 9 agree, 0 silent differences", 0, "ok, more than the 8 recorded"),
        ("7 of 9 agree, 0 silent differences", 0, "FAILED: 8 recorded"),
        ("9 of 9 agree, 1 silent differences", 0, "FAILED: faults are never accepted"),
        ("something else", 0, "FAILED: no count"),
        ("8 of 9 agree, 0 silent differences", 3, "FAILED: no count"),
    ],
)
def test_recorded_tool(
    tools: Path, capsys: pytest.CaptureFixture[str], line: str, code: int, verdict: str
) -> None:
    assert check(tools, "programs", "--record") == 0
    write_programs(tools, line, code)
    capsys.readouterr()
    assert check(tools, "programs") == verdict.startswith("FAILED")
    assert f"  {verdict}\n" in capsys.readouterr().out


def test_tool_without_a_record_decides_nothing(tools: Path) -> None:
    write_programs(tools, "no count")
    assert check(tools, "programs") == 0


def test_faults_are_not_recorded(tools: Path) -> None:
    write_programs(tools, "8 of 9 agree, 2 silent differences")
    assert check(tools, "programs", "--record") == 1
    assert not conformance.RECORD.exists()


def test_count_from_json(tools: Path) -> None:
    (tools / "surface.py").write_text(
        "import json, pathlib, sys\n"
        "path = sys.argv[sys.argv.index('--json') + 1]\n"
        f"pathlib.Path(path).write_text(json.dumps({{'summary': {SUMMARY!r}}}))\n"
    )
    assert check(tools, "surface", "--record") == 0
    assert json.loads(conformance.RECORD.read_text()) == {"surface": 7}


def test_statuses_leave_out_what_was_not_measured() -> None:
    counts = conformance.statuses({"pass": 3, "missing": 2, "unmeasured": 4}, {"pass": 1})
    assert counts == conformance.Count(passed=4, total=6)


def test_missing_tools_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        check(tmp_path / "nowhere")
