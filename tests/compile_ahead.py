"""Compiles what the table over operators launches on a GPU, by all cores at once.

    python tests/compile_ahead.py sm_90 add softmax

Triton keeps the kernels on disk, where the process that launches them in turn finds them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence

import tritorch as torch
from tritorch.perf.explain import _present
from tritorch.perf.warm import Warming
from tritorch.runtime.launch import launch


def by_all_cores(operators: Iterable[str], target: str | None = None) -> None:
    """Compile the kernels of these operators for a target, that of the present device by default.

    What fails here fails again, and is told, where it is launched.
    """
    names, processes = list(operators), os.cpu_count() or 1
    parts = [part for i in range(processes) if (part := names[i::processes])]
    command = [sys.executable, __file__, target or _present()]
    for process in [subprocess.Popen([*command, *part]) for part in parts]:
        process.wait()


def main(target: str, operators: Sequence[str]) -> int:
    """Compile in this process; the number of kernels."""
    from test_device_table import calls, cases

    warnings.simplefilter("ignore")
    chosen = [case.values for case in cases if case.values[0].name in operators]
    with launch.using(Warming(target)) as runtime, torch.no_grad():
        for op, dtype, layout in chosen:
            try:
                for _, _, there, params in calls(op, dtype, layout):
                    op(*there, **params)
            except Exception as error:  # of a kernel, or of numbers that were never computed
                print(f"{op.name}: {type(error).__name__}: {error}"[:200], file=sys.stderr)
    return len(runtime.compiled)


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2:]), "kernels")
