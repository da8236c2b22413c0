"""What tests/generate.py writes is current."""

from __future__ import annotations

from pathlib import Path

import generate
import kernel_table
import pytest

WRITTEN = {**generate.stubs(), kernel_table.PAGE: kernel_table.page()}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: str(p.relative_to(generate.ROOT)))
def test_is_current(path: Path) -> None:
    assert path.read_text() == WRITTEN[path], "run: python tests/generate.py"
