"""Hooks for all tests: with TRITORCH_PROOFS, what they prove of the kernels is noted.

`pytest -m gpu` fills fresh memory with NaN, and writes what a whole run proved to perf/results.
Tests of random cases take the same ones in each run; `--hypothesis-profile=default` takes new ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile("repeatable")


NOTES = pytest.StashKey[str]()  # the folder of notes of a whole run on a GPU


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run of the tests on a GPU alone imports no other files, which need more packages."""
    if config.option.markexpr != "gpu" or not collection_path.name.startswith("test_"):
        return None
    return "mark.gpu" not in collection_path.read_text() or None


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr == "gpu":
        os.environ.setdefault("TRITORCH_POISON", "1")
        whole = not config.option.keyword and all(Path(a).is_dir() for a in config.args)
        if whole and not noting():
            config.stash[NOTES] = os.environ["TRITORCH_PROOFS"] = tempfile.mkdtemp()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if NOTES in session.config.stash:
        import kernel_table
        import proofs

        kernel_table.keep("gpu", proofs.notes(Path(session.config.stash[NOTES])))
        shutil.rmtree(session.config.stash[NOTES])


def noting() -> bool:
    return bool(os.environ.get("TRITORCH_PROOFS"))


def pytest_sessionstart() -> None:
    if noting():
        import proofs

        proofs.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo) -> Generator[None, Any, Any]:
    report = yield
    if noting() and call.when == "call":
        import proofs

        proofs.end_of_test(report.passed)
    return report
