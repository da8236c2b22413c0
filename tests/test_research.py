"""Research code in small: the same results from the same weights and data, beside PyTorch's."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritorch

HERE = Path(__file__).parent
FILES = sorted((HERE / "research").glob("*.py"))
NAMES = [n for f in FILES for n in re.findall(r"^@program\ndef (\w+)", f.read_text(), re.MULTILINE)]


@functools.cache
def results(lib: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "research_runner.py"), lib]
    root = str(Path(tritorch.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def numbers(x: Any) -> list[float]:
    """All numbers in a result."""
    if isinstance(x, dict | list):
        return [n for v in (x.values() if isinstance(x, dict) else x) for n in numbers(v)]
    return [x] if isinstance(x, float) else []


@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str) -> None:
    found = results("tritorch")[name]
    assert "error" not in found, found["error"]
    assert not any(map(math.isnan, numbers(found)))


def same(a: Any, b: Any, where: str) -> None:
    assert type(a) is type(b), f"{where}: {a!r} and {b!r}"
    if isinstance(a, dict) and set(a) == {"dtype", "values"}:
        assert a["dtype"] == b["dtype"], where
        loose = 1e-2 if a["dtype"] in ("bfloat16", "float16") else 2e-4
        np.testing.assert_allclose(a["values"], b["values"], rtol=loose, atol=1e-5, err_msg=where)
    elif isinstance(a, dict | list):
        assert len(a) == len(b), f"{where}: {a} and {b}"
        if isinstance(a, dict):
            assert list(a) == list(b), where
        for i, key in enumerate(a):
            same(
                a[key] if isinstance(a, dict) else key,
                b[key if isinstance(a, dict) else i],
                f"{where}.{i}",
            )
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-6), where
    else:
        assert a == b, where


@pytest.mark.oracle
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with torch")
@pytest.mark.parametrize("name", NAMES)
def test_results_are_pytorchs(name: str) -> None:
    theirs = results("torch")[name]
    assert "error" not in theirs, theirs["error"]
    same(json.loads(json.dumps(theirs)), results("tritorch")[name], name)
