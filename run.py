"""Run tritorch from a checkout. All it needs is Python 3.11 or newer.

The first run makes a virtual environment, .venv beside this file, and installs what the command
needs (that takes a network); later runs find it ready. Commands run in this file's folder.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed-by-run.txt"
NO_TESTS = 5  # pytest's exit code where it collected none


def fingerprint() -> str:
    """What an environment depends on: the project file, the Python and the folder it stands in."""
    parts = (ROOT / "pyproject.toml").read_bytes(), sys.implementation.cache_tag, str(ROOT)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def prepare(extra: str) -> None:
    """Make sure that .venv holds the package with this extra.

    The stamp is a fingerprint and the extras installed so far. It says "unfinished" until pip is
    done, so an interrupted install is cleared away. An environment without a stamp is somebody
    else's: it is added to and never cleared.
    """
    mark, stamp = fingerprint(), STAMP.read_text().split() if STAMP.exists() else []
    ready = PYTHON.exists() and stamp[:1] == [mark]
    if ready and extra in stamp[1:]:
        return
    extras = sorted({extra, *stamp[1:]})
    print(f"Installing tritorch[{','.join(extras)}] into {VENV}: once, a minute or two", flush=True)
    if not ready:
        create(clear=bool(stamp))
    STAMP.write_text("unfinished")
    install([PYTHON, "-m", "pip"], "--editable", f".[{','.join(extras)}]")
    STAMP.write_text(" ".join([mark, *extras]))


def create(clear: bool) -> None:
    """Make .venv, also where the distribution packages Python without ensurepip."""
    if Path(sys.prefix).resolve() == VENV:
        sys.exit(f"run.py: cannot make {VENV} while running in it: start it with another python3")
    bare = importlib.util.find_spec("ensurepip") is None
    if bare and importlib.util.find_spec("pip") is None:
        sys.exit(
            f"run.py: {sys.executable} has neither ensurepip nor pip to make an environment with. "
            "Install one of them (Debian and Ubuntu: apt install python3-venv)."
        )
    flags = ["--clear"] * clear + ["--without-pip"] * bare
    if call([sys.executable, "-m", "venv", *flags, VENV]):
        sys.exit(f"run.py: could not make {VENV}: see the message above.")
    if bare:
        install([sys.executable, "-m", "pip", "--python", PYTHON], "pip")


def install(pip: Sequence[str | Path], *what: str) -> None:
    """pip install, or an exit that says what to do."""
    command = [*pip, "install", "--quiet", "--disable-pip-version-check", *what]
    if call(command, PYTHONWARNINGS="ignore"):  # the build backend's word on editable installs
        sys.exit(
            "run.py: pip could not install the package: see its message above. Is there a network, "
            "or a proxy to set? Then run the same command again."
        )


def call(command: Sequence[str | Path], **environment: str) -> int:
    """Exit code of a command that runs in the checkout with these variables added."""
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}).returncode


def demo(args: list[str]) -> int:
    return call([PYTHON, "-m", "tritorch.demo", *args])


def perf(args: list[str]) -> int:
    return call([PYTHON, "-m", "tritorch.perf", *args])


def test(args: list[str]) -> int:
    """The suite without slow tests (`-m slow` runs those) and those that need PyTorch, and in a
    process of its own the kernels in Triton's interpreter."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", default="not gpu and not slow and not oracle")
    options, rest = parser.parse_known_args(args)

    def pytest(marks: str, **environment: str) -> int:
        marks = f"({options.m}) and {marks}"
        return call([PYTHON, "-m", "pytest", "-n", "2", "-m", marks, *rest], **environment)

    codes = [pytest("not interpreter")]
    if has_triton():
        print("\nKernels in Triton's interpreter:", flush=True)
        codes += [pytest("interpreter", TRITON_INTERPRET="1", TRITORCH_EXECUTOR="interpreter")]
    else:
        print("\nNo Triton for this platform: its interpreter tests are skipped.", flush=True)
    return verdict(codes, filtered=bool(args))


def tutorials(args: list[str]) -> int:
    """Jupyter in their folder, or with --check a run of those named, or of all."""
    if "--check" in args:
        rest = [arg for arg in args if arg != "--check"]
        return call([PYTHON, "tutorials/check.py", *rest])
    prepare("tutorials")
    return call([PYTHON, "-m", "jupyterlab", "tutorials", *args])


def has_triton() -> bool:
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('triton') is None)"
    return call([PYTHON, "-c", look]) == 0


def verdict(codes: list[int], filtered: bool) -> int:
    """One exit code for several runs of pytest; a filter may leave some, not all, without tests."""
    ran = [code for code in codes if code != NO_TESTS]
    return next((code for code in (ran if filtered and ran else codes) if code), 0)


class Command(NamedTuple):
    summary: str
    extra: str
    run: Callable[[list[str]], int]


COMMANDS = {
    "demo": Command("train a small model", "demo", demo),
    "perf": Command("measure the operators; --help says what can be chosen", "perf", perf),
    "test": Command("run the tests (-m slow: the slow ones); arguments go to pytest", "dev", test),
    "tutorials": Command(
        "open the notebooks in Jupyter; --check [NAME ...] runs them", "notebooks", tutorials
    ),
}


def usage() -> str:
    rows = [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python3 run.py COMMAND [ARGUMENTS]", "", *rows, "", str(__doc__)])


def main(argv: list[str]) -> int:
    if sys.version_info < (3, 11):
        sys.exit(f"run.py: tritorch needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    name, args = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name not in COMMANDS:
        sys.exit(f"run.py: no command {name!r}; there are: {', '.join(COMMANDS)}")
    prepare(COMMANDS[name].extra)
    return COMMANDS[name].run(args)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
