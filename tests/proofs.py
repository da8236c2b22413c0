"""What test runs prove of the kernels, noted where TRITORCH_PROOFS names a folder.

`python tests/generate.py proofs` makes such runs and gathers their notes. A launch counts as proven
when the test that made it passes; what a compiler made of a kernel is a fact whatever comes of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tritorch.runtime import memory
from tritorch.runtime.aot import AotRuntime, Facts, as_row
from tritorch.runtime.array import Array
from tritorch.runtime.launch import current_operator, launch

FOLDER = os.environ.get("TRITORCH_PROOFS")
pending: list[dict] = []  # of the test that runs


def begin() -> None:
    """Note the launches of this process, on whatever they run."""
    if memory.available():
        launch._executor = _noting(launch._executor or launch._start())
    compile_it = AotRuntime.execute

    def execute(self: AotRuntime, *arguments: Any) -> None:
        compile_it(self, *arguments)
        compiled(self.facts[-1])

    AotRuntime.execute = execute  # type: ignore[method-assign]


def compiled(facts: Facts) -> None:
    """Note what a compiler made of a kernel."""
    if FOLDER:
        row = as_row(facts)
        del row["hash"], row["operator"]
        pending.append({"op": current_operator(), "kernel": facts.kernel, "facts": row})


def _noting(execute: Callable) -> Callable:
    device = launch.target.name

    def run(kernel: Any, grid: tuple, args: Sequence, *rest: Any) -> None:
        execute(kernel, grid, args, *rest)
        dtypes = sorted({a.dtype.name for a in args if isinstance(a, Array)})
        row = {"op": current_operator(), "kernel": kernel.__name__, "dtypes": dtypes}
        if {**row, "device": device} not in pending:
            pending.append({**row, "device": device})

    return run


def end_of_test(passed: bool) -> None:
    """Write the notes of a test."""
    kept = [n for n in pending if passed or "facts" in n]
    pending.clear()
    if kept:
        with (Path(FOLDER or "") / f"{os.getpid()}.jsonl").open("a") as file:
            file.writelines(json.dumps(n) + "\n" for n in kept)


def notes(folder: Path) -> list[dict]:
    """All notes of all processes."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
