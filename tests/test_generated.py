"""What tests/generate.py writes is current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import generate
import kernel_table
import operator_page
import pytest

WRITTEN = {**generate.stubs(), kernel_table.PAGE: kernel_table.page()}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: str(p.relative_to(generate.ROOT)))
def test_is_current(path: Path) -> None:
    assert path.read_text() == WRITTEN[path], "run: python tests/generate.py"


def test_the_page_of_operators_is_current() -> None:
    """In a process of its own: other tests register operators."""
    program = [sys.executable, operator_page.__file__]
    out = subprocess.run(program, capture_output=True, text=True, check=True)
    assert operator_page.PAGE.read_text() == out.stdout, "run: python tests/generate.py"
    assert "| `softmax` | x | yes |" in out.stdout and "| `add` | function, method, " in out.stdout
