"""Hooks for all tests: with TRITORCH_PROOFS, what they prove of the kernels is noted.

Tests of random cases take the same ones in each run; `--hypothesis-profile=default` takes new ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile("repeatable")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run of the tests on a GPU alone imports no other files, which need more packages."""
    if config.option.markexpr != "gpu" or not collection_path.name.startswith("test_"):
        return None
    return "mark.gpu" not in collection_path.read_text() or None


def noting() -> bool:
    import os

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
