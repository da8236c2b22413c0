"""run.py: when it installs, how it makes an environment, and what it hands to pytest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent.parent / "run.py"


class Shell:
    """Stands for subprocess.run: notes each command, and fails those that contain `broken`."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.environments: list[dict[str, str]] = []
        self.broken = "never"
        self.on_call: Callable[[str], None] = lambda command: None

    def run(self, command: list, cwd: Path, env: dict) -> subprocess.CompletedProcess:
        self.commands.append(" ".join(map(str, command)))
        self.environments.append(env)
        self.on_call(self.commands[-1])
        return subprocess.CompletedProcess(command, int(self.broken in self.commands[-1]))


@pytest.fixture
def run(tmp_path: Path) -> ModuleType:
    """run.py as a module, from a checkout of its own."""
    path = tmp_path / "checkout" / "run.py"
    path.parent.mkdir()
    path.write_bytes(SOURCE.read_bytes())
    path.with_name("pyproject.toml").write_text("[project]\nname = 'tritorch'\n")
    spec = importlib.util.spec_from_file_location("run_under_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shell(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()

    def venv(command: str) -> None:
        if "-m venv" in command:
            run.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            run.PYTHON.touch()

    shell.on_call = venv
    monkeypatch.setattr(run.subprocess, "run", shell.run)
    return shell


@pytest.fixture
def lacking(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """lacking("pip", ...): a Python without these modules."""

    def hide(*names: str) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr(
            run.importlib.util, "find_spec", lambda name: None if name in names else found(name)
        )

    return hide


def test_stamp_is_fresh_only_for_the_same_project_python_and_folder(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.fingerprint()
    assert run.fingerprint() == first
    monkeypatch.setattr(run.sys.implementation, "cache_tag", "cpython-399")
    assert run.fingerprint() != first
    monkeypatch.undo()
    moved = run.ROOT.with_name("moved")
    run.ROOT.rename(moved)
    monkeypatch.setattr(run, "ROOT", moved)
    assert run.fingerprint() != first
    monkeypatch.setattr(run, "ROOT", moved.rename(run.ROOT.with_name("checkout")))
    assert run.fingerprint() == first
    (run.ROOT / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert run.fingerprint() != first


def test_second_preparation_installs_nothing(run: ModuleType, shell: Shell) -> None:
    run.prepare("dev")
    assert [c.split()[1:3] for c in shell.commands] == [["-m", "venv"], ["-m", "pip"]]
    assert shell.commands[1].endswith("--editable .[dev]")
    shell.commands.clear()
    run.prepare("dev")
    assert shell.commands == []


def test_another_extra_is_added_to_the_environment(run: ModuleType, shell: Shell) -> None:
    run.prepare("dev")
    shell.commands.clear()
    run.prepare("demo")
    assert [c.split()[2] for c in shell.commands] == ["pip"]
    assert shell.commands[0].endswith(".[demo,dev]")
    shell.commands.clear()
    run.prepare("dev")
    run.prepare("demo")
    assert shell.commands == []


def test_changed_project_clears_its_environment_and_keeps_the_extras(
    run: ModuleType, shell: Shell
) -> None:
    run.prepare("dev")
    shell.commands.clear()
    (run.ROOT / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    run.prepare("demo")
    assert "-m venv --clear" in shell.commands[0]
    assert shell.commands[1].endswith(".[demo,dev]")


def test_vanished_python_is_made_again(run: ModuleType, shell: Shell) -> None:
    run.prepare("dev")
    run.PYTHON.unlink()
    shell.commands.clear()
    run.prepare("dev")
    assert "-m venv --clear" in shell.commands[0]


def test_environment_of_somebody_else_is_not_cleared(run: ModuleType, shell: Shell) -> None:
    run.PYTHON.parent.mkdir(parents=True)
    run.PYTHON.touch()
    run.prepare("dev")
    assert "--clear" not in shell.commands[0]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_interrupted_install_leaves_no_valid_stamp(
    run: ModuleType, shell: Shell, interruption: type[BaseException]
) -> None:
    usual = shell.on_call

    def interrupt(command: str) -> None:
        usual(command)
        if "pip install" in command:
            raise interruption

    shell.on_call = interrupt
    with pytest.raises(interruption):
        run.prepare("dev")
    shell.on_call = usual
    shell.commands.clear()
    run.prepare("dev")
    assert "-m venv --clear" in shell.commands[0]
    assert len(shell.commands) == 2


def test_failed_install_says_what_to_do(run: ModuleType, shell: Shell) -> None:
    shell.broken = "pip install"
    with pytest.raises(SystemExit, match="Is there a network"):
        run.prepare("dev")


def test_failed_venv_stops(run: ModuleType, shell: Shell) -> None:
    shell.broken = "-m venv"
    with pytest.raises(SystemExit, match="could not make"):
        run.prepare("dev")
    assert len(shell.commands) == 1


def test_python_without_ensurepip_lends_its_pip(
    run: ModuleType, shell: Shell, lacking: Callable[..., None]
) -> None:
    lacking("ensurepip")
    run.prepare("dev")
    venv, bootstrap, install = shell.commands
    assert venv.endswith(f"-m venv --without-pip {run.VENV}")
    assert bootstrap.startswith(f"{sys.executable} -m pip --python {run.PYTHON} install")
    assert bootstrap.endswith(" pip")
    assert install.startswith(f"{run.PYTHON} -m pip install")


def test_python_without_any_pip_is_told_so(
    run: ModuleType, shell: Shell, lacking: Callable[..., None]
) -> None:
    lacking("ensurepip", "pip")
    with pytest.raises(SystemExit, match="neither ensurepip nor pip"):
        run.prepare("dev")
    assert shell.commands == []


def test_environment_is_not_made_from_within(
    run: ModuleType, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.sys, "prefix", str(run.VENV))
    with pytest.raises(SystemExit, match="another python3"):
        run.prepare("dev")
    assert shell.commands == []


def pytest_runs(shell: Shell) -> list[str]:
    return [c.split(" -m pytest ")[1] for c in shell.commands if " -m pytest " in c]


def test_tests_run_in_two_processes(run: ModuleType, shell: Shell) -> None:
    assert run.test([]) == 0
    assert pytest_runs(shell) == [
        "-n 2 -m (not gpu and not slow and not oracle) and not interpreter",
        "-n 2 -m (not gpu and not slow and not oracle) and interpreter",
    ]
    assert "TRITORCH_EXECUTOR" not in shell.environments[0]
    assert shell.environments[-1]["TRITON_INTERPRET"] == "1"
    assert shell.environments[-1]["TRITORCH_EXECUTOR"] == "interpreter"


def test_arguments_reach_both_and_marks_are_combined(run: ModuleType, shell: Shell) -> None:
    assert run.test(["tests/test_x.py", "-k", "foo", "-m", "slow or aot", "--maxfail=1"]) == 0
    rest = "tests/test_x.py -k foo --maxfail=1"
    assert pytest_runs(shell) == [
        f"-n 2 -m (slow or aot) and not interpreter {rest}",
        f"-n 2 -m (slow or aot) and interpreter {rest}",
    ]


def test_interpreter_is_skipped_aloud_without_triton(
    run: ModuleType, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.broken = "find_spec"
    assert run.test([]) == 0
    assert len(pytest_runs(shell)) == 1
    assert "interpreter tests are skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("codes", "filtered", "code"),
    [
        ([0, 0], False, 0),
        ([1, 0], False, 1),
        ([0, 2], False, 2),
        ([0, -11], True, -11),
        ([0, 5], False, 5),
        ([0, 5], True, 0),
        ([5, 0], True, 0),
        ([5, 1], True, 1),
        ([5, 5], True, 5),
        ([5], True, 5),
    ],
)
def test_verdict(run: ModuleType, codes: list[int], filtered: bool, code: int) -> None:
    assert run.verdict(codes, filtered) == code


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(
    run: ModuleType, shell: Shell, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert run.main(argv) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in run.COMMANDS)
    assert shell.commands == []


def test_unknown_command(run: ModuleType, shell: Shell) -> None:
    with pytest.raises(SystemExit, match="no command 'tset'; there are: demo, perf, test, tut"):
        run.main(["tset"])


def test_old_python_is_told_which_it_needs(
    run: ModuleType, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.sys, "version_info", (3, 10, 13))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11"):
        run.main(["test"])
    assert shell.commands == []


def test_main_prepares_and_returns_the_code_of_the_command(run: ModuleType, shell: Shell) -> None:
    shell.broken = "tritorch.demo"
    assert run.main(["demo", "--epochs", "3"]) == 1
    assert shell.commands[1].endswith(".[demo]")
    assert shell.commands[-1] == f"{run.PYTHON} -m tritorch.demo --epochs 3"


def test_tutorials_are_checked_or_opened(run: ModuleType, shell: Shell) -> None:
    assert run.main(["tutorials", "--check", "101", "--limit", "60"]) == 0
    assert shell.commands[1].endswith(".[notebooks]")
    assert shell.commands[-1] == f"{run.PYTHON} tutorials/check.py 101 --limit 60"
    assert run.main(["tutorials", "--no-browser"]) == 0
    assert shell.commands[-2].endswith(".[notebooks,tutorials]")
    assert shell.commands[-1] == f"{run.PYTHON} -m jupyterlab tutorials --no-browser"
