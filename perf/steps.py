"""Training steps on the CPU beside PyTorch's: how long they take, and where the time goes.

    python perf/steps.py                   against PyTorch where it is installed
    python perf/steps.py --out FILE        default: perf/results/cpu/steps.json
    python perf/steps.py --seconds 20      for each step; longer where the machine is busy

The libraries take turns, one step each. `ratio` is our shortest step over PyTorch's shortest,
`median ratio` that of the medians, `limit` the largest ratio that is allowed: the exit code is 1
where one is passed. `where` lists the operators, forward and backward, by their own time in a step;
`families` what each kind of operator takes in both, under a profiler, and prints where PyTorch is
ahead: what would have to become faster, and by how much, to close the rest. PyTorch's recurrent
operators contain the products with the inputs, which are matrix products here.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tritorch
from tritorch.perf import models
from tritorch.perf.results import processor

LIMIT = 3.0
STEPS = [  # name, items of a batch, network with inputs and targets
    ("demo's CNN, 64 images", models.images(models.digits, 64, 1, 8, 10)),
    (
        "transformer, 4 layers of 256, 8 by 128 tokens",
        models.tokens(lambda lib: models.gpt2(lib, 4, 256, 4, 2048, 128), 8, 128, 2048),
    ),
    ("LSTM, 2 layers of 256, 16 by 64 tokens", models.tokens(models.lstm, 16, 64, 96)),
]

# Kinds of operators, by what their names contain here and in PyTorch; the first that fits counts.
FAMILIES = [
    ("optimizer", r"Optimizer|lerp_|addcmul_|addcdiv_|sqrt|_foreach"),
    ("convolution", r"conv"),
    ("recurrent", r"lstm|rnn|gru"),
    ("attention", r"attention"),
    ("matrix products", r"linear|matmul|mm$|mm_|AddmmBackward|MmBackward"),
    ("normalisation", r"norm"),
    ("pooling", r"pool"),
    ("embedding", r"embedding|index"),
    ("loss", r"cross_entropy|nll|softmax"),
    ("activations, dropout", r"relu|gelu|tanh|sigmoid|threshold|dropout|bernoulli"),
]


def step_of(lib: Any, make: Callable) -> Callable[[], Any]:
    lib.manual_seed(0)
    return models.training(lib, *make(lib, "cpu"))


def turns(steps: list[Callable], seconds: float) -> list[list[float]]:
    """Times of each in seconds; they take turns, after two runs that are not counted."""
    found: list[list[float]] = [[] for _ in steps]
    for step in steps * 2:
        step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found[0]) < 3:
        for times, step in zip(found, steps):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
    return found


def events(lib: Any, step: Callable, runs: int = 3) -> list[tuple[str, int, float]]:
    """Operators with their calls and their own milliseconds in a step, the longest first."""
    with lib.profiler.profile() as profile:
        for _ in range(runs):
            step()
    found = [
        (e.key, e.count // runs, e.self_cpu_time_total / runs / 1000)
        for e in profile.key_averages()
    ]
    return sorted(found, key=lambda e: -e[2])


def where(found: list[tuple[str, int, float]], rows: int = 8) -> list[dict]:
    """The operators that take longest themselves."""
    total = sum(ms for *_, ms in found)
    return [
        {"operator": name, "calls": calls, "ms": round(ms, 3), "share": round(ms / total, 3)}
        for name, calls, ms in found[:rows]
    ]


def by_family(found: list[tuple[str, int, float]]) -> dict[str, float]:
    """The milliseconds of each kind of operator."""
    sums: dict[str, float] = {}
    for name, _, ms in found:
        kind = next((k for k, pattern in FAMILIES if re.search(pattern, name)), "the rest")
        sums[kind] = sums.get(kind, 0.0) + ms
    return sums


def compared(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, dict]:
    """Both side by side, where PyTorch is most ahead first."""
    kinds = sorted({*ours, *theirs}, key=lambda k: theirs.get(k, 0.0) - ours.get(k, 0.0))
    return {
        k: {"tritorch ms": round(ours.get(k, 0.0), 3), "torch ms": round(theirs.get(k, 0.0), 3)}
        for k in kinds
    }


def note(row: dict) -> str:
    """What would close the rest."""
    behind = [
        f"{kind} {v['tritorch ms']:.1f} ms (PyTorch {v['torch ms']:.1f})"
        for kind, v in row["families"].items()
        if v["tritorch ms"] - v["torch ms"] > 0.02 * row["tritorch ms"]
    ]
    if not behind:
        return "nothing is behind PyTorch by 2% of the step"
    return "what would close the rest: " + ", ".join(behind)


def measure(make: Callable, peer: Any, seconds: float) -> dict:
    libs = [tritorch, *([peer] if peer else [])]
    steps = [step_of(lib, make) for lib in libs]
    times = turns(steps, seconds)
    row: dict[str, Any] = {"runs": len(times[0])}
    for lib, found in zip(libs, times):
        row[f"{lib.__name__} ms"] = round(min(found) * 1e3, 3)
        row[f"{lib.__name__} median ms"] = round(statistics.median(found) * 1e3, 3)
    if peer:
        row["ratio"] = round(min(times[0]) / min(times[1]), 3)
        row["median ratio"] = round(statistics.median(times[0]) / statistics.median(times[1]), 3)
        row["limit"] = LIMIT
    profiled = [events(lib, step) for lib, step in zip(libs, steps)]
    row["where"] = {lib.__name__: where(found) for lib, found in zip(libs, profiled)}
    if peer:
        row["families"] = compared(*map(by_family, profiled))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("perf/results/cpu/steps.json"))
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    peer = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
    if peer:
        peer.set_num_threads(tritorch.get_num_threads())
    rows = {}
    for name, make in STEPS:
        row = rows[name] = measure(make, peer, options.seconds)
        said = "".join(f", {k} {row[k]}" for k in ("ratio", "median ratio") if k in row)
        print(f"{name}: {row['tritorch ms']} ms{said}", flush=True)
        for part in row["where"]["tritorch"]:
            print(f"    {part['operator']:32} {part['calls']:4} x {part['ms']:9.3f} ms", flush=True)
        if "families" in row:
            print(f"  {note(row)}", flush=True)
    found = {
        "processor": processor(),
        "threads": tritorch.get_num_threads(),
        "versions": {
            "tritorch": tritorch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            **({"torch": peer.__version__} if peer else {}),
        },
        "steps": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(row.get("ratio", 0) > LIMIT for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
