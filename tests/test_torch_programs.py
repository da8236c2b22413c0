"""Programs as people write them for PyTorch, run unchanged; beside torch where it is there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritorch

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.py"))
# Where rounding grows from step to step: a game of two networks, and line searches.
LOOSE = {"dcgan": 3e-3, "time_series": 1e-3, "pinn": 1e-3}
WHOLE = re.compile(r"loss ([-\d.e+]+)")


def losses(lib: str, program: Path) -> list[float]:
    """What the program prints as its losses; its other output is of no concern."""
    command = [sys.executable, str(HERE / "program_runner.py"), lib, str(program)]
    root = str(Path(tritorch.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-3000:]}"
    return [float(x) for x in WHOLE.findall(done.stdout)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_runs_and_learns(program: Path) -> None:
    found = losses("tritorch", program)
    assert len(found) >= 8 and np.isfinite(found).all()
    if program.stem not in ("dcgan", "actor_critic"):  # whose losses need not fall
        half = len(found) // 2
        assert np.mean(found[half:]) < np.mean(found[:half])


@pytest.mark.oracle
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with torch")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_losses_lie_on_torchs(program: Path) -> None:
    ours, theirs = losses("tritorch", program), losses("torch", program)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=LOOSE.get(program.stem, 2e-4), atol=1e-6)
