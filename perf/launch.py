"""Host time of a launch, from an operator's call to the driver's, where the driver does nothing.

    python perf/launch.py                 writes perf/results/cpu/launch.json
    python perf/launch.py --out FILE

The driver is `tests/fake_cuda.c`, so it needs no GPU, but a C compiler, triton and cuda-core; calls
take turns with Triton's own `kernel[grid](...)` of an elementwise sum; times are medians of many
turns. The exit code is 1 where an elementwise operator of two tensors takes over `LIMIT`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 6.0  # microseconds
CALLS, SECONDS = 20, 12.0


def calls() -> dict[str, Callable]:
    """What is measured, by name."""
    import triton
    import triton.language as tl

    import tritorch

    @triton.jit
    def add_kernel(p_out, p_x, p_y, n, BLOCK: tl.constexpr):  # all (n,)
        o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        total = tl.load(p_x + o, mask=o < n) + tl.load(p_y + o, mask=o < n)
        tl.store(p_out + o, total, mask=o < n)

    x, y, out = (tritorch.zeros(64, 64, device="cuda") for _ in range(3))
    w = tritorch.zeros(64, 64, device="cuda", requires_grad=True)
    arrays = [t._data for t in (out, x, y)]
    return {
        "x + y": lambda: x + y,
        "add(x, y, out=out)": lambda: tritorch.add(x, y, out=out),
        "x * 2": lambda: x * 2.0,
        "x + w, recorded": lambda: x + w,
        "exp": lambda: x.exp(),
        "softmax": lambda: tritorch.softmax(x, 1),
        "matmul": lambda: x @ y,
        "kernel[grid](...) of Triton": lambda: add_kernel[(4,)](*arrays, 4096, BLOCK=1024),
    }


def measure() -> dict[str, dict[str, float]]:
    """Median and fastest microseconds of each call; they take turns."""
    made = calls()
    seen: dict[str, list[float]] = {name: [] for name in made}
    for call in made.values():
        call()
        call()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for name, call in made.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            seen[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {
        name: {"median": round(statistics.median(t), 2), "fastest": round(min(t), 2)}
        for name, t in seen.items()
    }


def with_driver(out: Path) -> int:
    """Run this program again on the stand-in for the driver."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("perf/launch.py: needs a C compiler", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        source, library = str(ROOT / "tests" / "fake_cuda.c"), f"{folder}/libcuda.so.1"
        command = [compiler, "-O2", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"]
        subprocess.run(command, check=True)
        env = {**os.environ, "LD_LIBRARY_PATH": folder, "FAKE_CUDA_SILENT": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
        command = [sys.executable, __file__, "--measure", "--out", str(out)]
        return subprocess.run(command, env=env).returncode


def report(out: Path) -> int:
    from tritorch.perf.results import processor

    found = measure()
    triton = found["kernel[grid](...) of Triton"]["median"]
    print(f"{'':32s} {'median us':>10s} {'fastest':>10s} {'Triton / it':>12s}")
    for name, t in found.items():
        print(f"{name:32s} {t['median']:10.2f} {t['fastest']:10.2f} {triton / t['median']:12.2f}")
    within = found["x + y"]["fastest"] <= LIMIT
    figures: dict[str, dict] = {
        **found,
        "x + y": {**found["x + y"], "limit": LIMIT, "within": within},
    }
    machine = {
        "processor": processor(),
        "threads": os.cpu_count(),
        "python": platform.python_version(),
        "triton": version("triton"),
        "cuda-core": version("cuda-core"),
        "date": time.strftime("%Y-%m-%d"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    print(f"written to {out}")
    return 0 if within else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "perf/results/cpu/launch.json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    return report(options.out) if options.measure else with_driver(options.out)


if __name__ == "__main__":
    sys.exit(main())
