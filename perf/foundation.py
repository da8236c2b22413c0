"""The figures the foundation is held to, measured in one run and written as JSON.

    python perf/foundation.py                 against NumPy, and against PyTorch where installed
    python perf/foundation.py --out FILE      default: perf/results/cpu/foundation.json

Times are the best of many runs, ours and the peer's interleaved. `limit` is the largest ratio, or
time, allowed; the exit code is 1 where one is passed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tritorch
from tritorch.perf.models import digits
from tritorch.perf.results import processor

if importlib.util.find_spec("torch"):
    import torch
else:
    torch = None


def best(*runs: Callable, seconds: float = 1.0) -> list[float]:
    """The shortest time of each, in seconds; they take turns."""
    found = [float("inf")] * len(runs)
    for run in runs:
        run()
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            for _ in range(10):
                run()
            found[i] = min(found[i], (time.perf_counter() - start) / 10)
    return found


def recorded_add() -> dict:
    """A recorded `a + b` of ten elements, over NumPy's own time."""
    a = tritorch.ones(10, requires_grad=True)
    b, x, y = tritorch.ones(10), np.ones(10, np.float32), np.ones(10, np.float32)
    ours, numpy = best(lambda: a + b, lambda: x + y)
    return {"microseconds over numpy": (ours - numpy) * 1e6, "limit": 2.0}


def tensors(lib: Any, *shapes: tuple) -> list:
    rng = np.random.default_rng(0)
    return [lib.from_numpy(rng.standard_normal(s).astype("f4") * 0.1) for s in shapes]


def mlp(lib: Any) -> Callable:
    """Forward and backward of two linear layers, batch 32, width 64."""
    x, *weights = tensors(lib, (32, 64), (64, 64), (64,), (10, 64), (10,))
    y = lib.from_numpy(np.arange(32) % 10)
    w1, b1, w2, b2 = [w.requires_grad_() for w in weights]
    functional = lib.nn.functional

    def run() -> None:
        hidden = functional.relu(functional.linear(x, w1, b1))
        functional.cross_entropy(functional.linear(hidden, w2, b2), y).backward()
        for w in weights:
            w.grad = None

    return run


def demo_step(lib: Any) -> Callable:
    """A training step of the demo's network on a batch of 64 of its images."""
    net = digits(lib)
    optimizer = lib.optim.AdamW(net.parameters(), lr=1e-3)
    (x,) = tensors(lib, (64, 1, 8, 8))
    y = lib.from_numpy(np.arange(64) % 10)

    def run() -> None:
        optimizer.zero_grad()
        lib.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return run


def against_torch(make: Callable, seconds: float = 2.0) -> dict:
    if torch is None:
        return {"skipped": "PyTorch is not installed"}
    ours, theirs = best(make(tritorch), make(torch), seconds=seconds)
    return {
        "microseconds": ours * 1e6,
        "torch": theirs * 1e6,
        "times torch": ours / theirs,
        "limit": 2.5,
    }


def import_time() -> dict:
    """`import tritorch` in a fresh process, and that it brings no triton."""
    code = (
        "import time; t = time.perf_counter(); import tritorch; t = time.perf_counter() - t; "
        "import sys; print(t, 'triton' in sys.modules)"
    )
    # without bytecode it would measure the compiler
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        seconds, triton = done.stdout.split()
        assert triton == "False"
        found.append(float(seconds))
    return {"seconds": min(found), "limit": 0.3}


def tape_memory() -> dict:
    """Bytes held after the tape of 100,000 operators is dropped."""
    x = tritorch.ones(4, requires_grad=True)

    def run(n: int) -> None:
        y = x
        for _ in range(n):
            y = y * 1.0

    tracemalloc.start()
    run(10_000)  # fills the lists of freed tuples that Python keeps, thousands of each length
    before = tracemalloc.get_traced_memory()[0]
    run(100_000)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"bytes": held, "limit": 100_000}


FIGURES: dict[str, Callable[[], dict]] = {
    "recorded add": recorded_add,
    "mlp forward and backward": lambda: against_torch(mlp),
    "demo training step": lambda: against_torch(demo_step, seconds=4.0),
    "import": import_time,
    "dropped tape": tape_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out or Path(__file__).parent / "results" / "cpu" / "foundation.json"
    rows = {name: run() for name, run in FIGURES.items()}
    passed = True
    for name, row in rows.items():
        measured = row.get("times torch", next(iter(row.values())))
        if "limit" in row:
            row["within"] = measured <= row["limit"]
            passed &= row["within"]
        print(
            f"{name:28s}",
            "  ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            ),
        )
    machine = {
        "processor": processor(),
        "threads": tritorch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": None if torch is None else torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
