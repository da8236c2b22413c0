"""A dozen operators on a GPU, against PyTorch where it is installed: the first look at a device.

    python perf/gpu.py                  writes perf/results/<device>/foundation.json
    python perf/gpu.py --only matmul    those whose name contains this

Times are medians of CUDA events around single calls, ours and PyTorch's taking turns, with the
device's cache overwritten before each. Rates are bytes that must be read and written, or
multiplications and additions that must be done, over our time. Products of 16-bit floats are timed
in both forms too, where the device has both: blocks read by pointers, and by tensor descriptors.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tritorch
from tritorch.runtime import memory
from tritorch.runtime.launch import launch

if importlib.util.find_spec("torch"):
    import torch
else:
    torch = None

RESULTS = Path(__file__).parent / "results"
SECONDS = 3.0  # for one figure
FLUSH = 512 << 20  # bytes, more than the cache of any device


class Figure(NamedTuple):
    """What to run: `make(lib, tensors)` gives a call; `bytes` or `flops` are what it must do."""

    name: str
    shapes: list[tuple[int, ...]]
    make: Callable[[Any, list], Callable]
    bytes: int = 0
    flops: int = 0
    dtype: str = "float32"

    @property
    def forms(self) -> bool:
        """Whether pointers or descriptors may read it."""
        return self.dtype == "bfloat16" and self.name.startswith(("matmul", "linear"))


def elementwise(name: str, call: Callable[..., Any], count: int = 1) -> Figure:
    n = 1 << 26
    shapes = [(n,)] * count
    return Figure(name, shapes, lambda lib, xs: lambda: call(lib, *xs), 4 * n * (count + 1))


def rows(name: str, call: Callable[..., Any], vectors: int, moved: float) -> Figure:
    """Over (16384, 4096) in bfloat16; `moved` counts how often the array is read or written."""
    m, n = 16384, 4096
    return Figure(
        f"{name} bf16 {m}x{n}",
        [(m, n)] + [(n,)] * vectors,
        lambda lib, xs: lambda: call(lib, *xs),
        bytes=int(2 * m * n * moved),
        dtype="bfloat16",
    )


def product(m: int, n: int, k: int, dtype: str = "bfloat16") -> Figure:
    return Figure(
        f"matmul {dtype} {m}x{n}x{k}",
        [(m, k), (k, n)],
        lambda lib, xs: lambda: xs[0] @ xs[1],
        flops=2 * m * n * k,
        dtype=dtype,
    )


def linear(m: int, n: int, k: int) -> Figure:
    return Figure(
        f"linear bfloat16 {m}x{n}x{k} with a bias",
        [(m, k), (n, k), (n,)],
        lambda lib, xs: lambda: lib.nn.functional.linear(*xs),
        flops=2 * m * n * k,
        dtype="bfloat16",
    )


def convolution(n: int, c: int, size: int, k: int) -> Figure:
    def make(lib: Any, xs: list) -> Callable:
        x, w = (v.permute(0, 3, 1, 2) for v in xs)
        return lambda: lib.nn.functional.conv2d(x, w, padding=1)

    return Figure(
        f"conv2d bf16 ({n}, {c}, {size}, {size}) 3x3 to {k}, channels last",
        [(n, size, size, c), (k, 3, 3, c)],
        make,
        flops=2 * n * size * size * c * k * 9,
        dtype="bfloat16",
    )


FIGURES = [
    elementwise("add", lambda lib, x, y: x + y, 2),
    elementwise("exp", lambda lib, x: x.exp()),
    elementwise("copy of a transposed matrix", lambda lib, x: transposed(x).contiguous()),
    Figure("sum", [(1 << 26,)], lambda lib, xs: lambda: xs[0].sum(), 4 << 26),
    rows("sum of rows", lambda lib, x: x.sum(-1), 0, 1),
    rows("softmax", lambda lib, x: lib.nn.functional.softmax(x, -1), 0, 2),
    rows("layer_norm", lambda lib, x, w, b: lib.nn.functional.layer_norm(x, w.shape, w, b), 2, 2),
    product(4096, 4096, 4096),
    product(8192, 8192, 8192),
    product(65536, 1024, 1024),
    linear(8192, 8192, 2048),
    product(16, 4096, 4096),
    product(4096, 4096, 4096, "float32"),
    convolution(32, 64, 56, 64),
    convolution(32, 256, 14, 256),
]


def transposed(x: Any) -> Any:
    return x.reshape(8192, -1).t()


# -- measuring -------------------------------------------------------------------------------------


class Clock:
    """Times calls of one library on the device; between them a buffer passes through the cache."""

    def __init__(self, lib: Any) -> None:
        self.lib = lib
        self.start, self.end = (lib.cuda.Event(enable_timing=True) for _ in range(2))
        self.buffer = lib.empty(FLUSH, dtype=lib.uint8, device="cuda")

    def __call__(self, run: Callable) -> float:
        """Milliseconds of one call."""
        self.buffer.zero_()
        self.start.record()
        run()
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end)


def inputs(lib: Any, figure: Figure) -> list:
    rng = np.random.default_rng(0)
    made = [rng.standard_normal(s, dtype=np.float32) * 0.1 for s in figure.shapes]
    return [lib.from_numpy(x).to("cuda").to(getattr(lib, figure.dtype)) for x in made]


def measure(figure: Figure, clocks: list[Clock]) -> dict[str, Any]:
    """Medians in microseconds, the ratio and the rate; and the error against PyTorch's result."""
    runs = [figure.make(c.lib, inputs(c.lib, figure)) for c in clocks]
    results = [r().float().cpu().numpy() for r in runs]
    times: list[list[float]] = [[] for _ in runs]
    for clock, run in zip(clocks, runs):
        for _ in range(3):
            clock(run)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end and len(times[0]) < 200:
        for clock, run, seen in zip(clocks, runs, times):
            seen.append(clock(run))
    ours, *peer = (statistics.median(t) * 1e3 for t in times)
    row = {"microseconds": ours, "best": min(times[0]) * 1e3}
    if figure.bytes:
        row["GB/s"] = figure.bytes / ours / 1e3
    if figure.flops:
        row["TFLOP/s"] = figure.flops / ours / 1e6
    if peer:
        row |= {"torch": peer[0], "torch over ours": peer[0] / ours}
        scale = max(float(np.abs(results[1]).max()), 1e-30)
        row["difference"] = float(np.abs(results[0] - results[1]).max()) / scale
    return row


@contextmanager
def reading(descriptors: bool) -> Iterator[None]:
    """A block in which descriptors may read products, or pointers read all of them."""
    before = os.environ.get("TRITORCH_DESCRIPTORS")
    os.environ["TRITORCH_DESCRIPTORS"] = str(int(descriptors))
    _choose_anew()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRITORCH_DESCRIPTORS"]
        else:
            os.environ["TRITORCH_DESCRIPTORS"] = before
        _choose_anew()


def _choose_anew() -> None:
    from tritorch.kernels._choice import forget

    forget()
    launch.runtime.forget()


def compare_forms(figure: Figure, clock: Clock) -> dict[str, float]:
    """The median microseconds of a product in each form, whose turns change every 20 calls."""
    run = figure.make(clock.lib, inputs(clock.lib, figure))
    times: dict[str, list[float]] = {"pointers": [], "descriptors": []}
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or not times["descriptors"]:
        for name, seen in times.items():
            with reading(name == "descriptors"):
                run()  # what is recorded, and
                run()  # done again, takes its own time of the host
                seen += [clock(run) for _ in range(20)]
    return {name: statistics.median(seen) * 1e3 for name, seen in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cuda = tritorch.cuda
    if not cuda.is_available() or memory.interpreted():
        sys.exit("perf/gpu.py: needs a CUDA device and tritorch[cuda]; none was found here")
    name = cuda.get_device_name()
    clocks = [Clock(tritorch)]
    if torch is not None and torch.cuda.is_available():
        clocks.append(Clock(torch))
    rows: dict[str, dict] = {}
    for figure in FIGURES:
        if options.only not in figure.name:
            continue
        try:
            rows[figure.name] = measure(figure, clocks)
            if figure.forms and launch.target.descriptors:
                rows[figure.name] |= compare_forms(figure, clocks[0])
        except Exception as error:  # the others are worth having
            rows[figure.name] = {"failed": f"{type(error).__name__}: {error}"}
        print(f"{figure.name:60s}", shown(rows[figure.name]), flush=True)
    machine = {
        "device": name,
        "tritorch": tritorch.__version__,
        "triton": version("triton"),
        "torch": None if torch is None else torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "fallbacks": cuda.fallbacks(),
    }
    folder = re.sub(r"\W+", "-", name).strip("-").lower()
    out = options.out or RESULTS / folder / "foundation.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")
    print(f"written to {out}")
    sys.exit(any("failed" in row for row in rows.values()))


def shown(row: dict) -> str:
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


if __name__ == "__main__":
    main()
