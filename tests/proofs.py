"""What a test run proves of the kernels, noted where TRITORCH_PROOFS names a folder.

`python tests/generate.py proofs` makes such runs and gathers their notes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def note(**fields: Any) -> None:
    """Add a line to this process's notes."""
    folder = os.environ.get("TRITORCH_PROOFS")
    if folder:
        with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(fields) + "\n")


def notes(folder: Path) -> list[dict]:
    """All lines of all processes."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
