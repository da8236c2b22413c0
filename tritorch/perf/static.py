"""What the compiler made of the kernels, for GPUs that need not be present.

    python -m tritorch.perf --targets sm_90 gfx942     writes perf/results/<target>/kernels.json

Each point of the sweeps is run at a GPU's size on arrays without memory; of every kernel that it
launches the registers, shared memory, instructions and occupancy are kept, with the time that the
roofline allows on the figures of the maker's data sheet: a prediction, where `points` of a device
are measurements.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import tritorch
from tritorch.runtime.aot import TARGETS, AotRuntime, Facts, instructions
from tritorch.runtime.launch import launch
from tritorch.runtime.memory import Memory
from tritorch.tensor import wrap

from . import results
from .progress import progress
from .specs import Bools, Distinct, Ints
from .sweeps import SWEEPS, Point


class Sheet(NamedTuple):
    """Of a device's data sheet: bytes/s, dense FLOP/s of 16-bit floats with float32 sums, of
    float32; and of its multiprocessors: registers, the most warps, bytes of shared memory."""

    bytes: float
    half: float
    single: float
    registers: int = 65536
    warps: int = 64
    shared: int = 228 * 1024


# NVIDIA's A100 80GB SXM, H200 SXM, B200 and RTX PRO 6000 Blackwell, AMD's MI300X data sheets;
# multiprocessors after the compute capability tables of the CUDA C++ programming guide, and
# AMD's CDNA 3 guide (512 vector registers of 4 bytes a lane and SIMD, four SIMDs).
SHEETS = {
    "sm_80": Sheet(2.039e12, 312e12, 19.5e12, shared=164 * 1024),
    "sm_90": Sheet(4.8e12, 989e12, 67e12),
    "sm_100": Sheet(8.0e12, 2250e12, 80e12),
    "sm_120": Sheet(1.792e12, 504e12, 126e12, warps=48, shared=100 * 1024),
    "gfx942": Sheet(5.3e12, 1307e12, 163e12, registers=4 * 512 * 64, warps=32, shared=64 * 1024),
}
GPU = tritorch.device("cuda", 0)
DTYPES: dict[type, Any] = {Ints: tritorch.int64, Distinct: tritorch.int64, Bools: tritorch.bool}


class Absent(AotRuntime):
    """A GPU that compiles; its arrays say that they are on "cuda:0"."""

    def allocate(self, nbytes: int, index: int | None = None) -> Memory:
        return Memory(0, nbytes, GPU)

    def execute(
        self, kernel: Any, grid: tuple, args: Any, constants: dict, warps: int, stages: int
    ) -> None:
        super().execute(kernel, grid, args, constants, warps, stages)
        self.grids.append(tuple(grid))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.grids: list[tuple] = []


class Counting(Absent):
    """Counts the instructions of each launch as well."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.instructions: list[int] = []

    def watch(self, compiled: Any) -> None:
        self.instructions.append(instructions(compiled))


def arrays(point: Point) -> list:
    """The inputs of a point as device arrays without memory."""
    made = []
    for spec in point.case.inputs:
        dtype: Any = getattr(tritorch, point.dtype)
        dtype = DTYPES.get(type(spec), dtype)
        made.append(wrap(launch.empty(spec.shape, dtype), dtype))
    return made


def occupancy(facts: Facts) -> float:
    """The part of a multiprocessor's warps that can be resident at once."""
    sheet, target = SHEETS[facts.target], TARGETS[facts.target]
    lanes = target.warp_size
    step = 8 if lanes == 32 else 16  # registers are given to warps in steps of
    each = -(-max(facts.registers, 1) // step) * step * lanes * facts.warps
    programs = min(
        sheet.registers // each,
        sheet.shared // max(facts.shared + 1024, 1),
        sheet.warps // facts.warps,
    )
    return max(programs, 0) * facts.warps / sheet.warps


def bound(point: Point, moved: int, target: str) -> dict[str, Any]:
    """Intensity (FLOP a byte), what bounds it, and the shortest time in microseconds."""
    sheet = SHEETS[target]
    half = point.dtype in ("bfloat16", "float16") and point.family in (
        *("product", "convolution", "attention"),
    )
    seconds = moved / sheet.bytes, point.flops / (sheet.half if half else sheet.single)
    return {
        "intensity": round(point.flops / max(moved, 1), 3),
        "bound": "memory" if seconds[0] >= seconds[1] else "arithmetic",
        "microseconds": round(max(seconds) * 1e6, 2),
    }


def facts_of(point: Point, target: str) -> list[dict[str, Any]]:
    """A row for every kernel that the point launches on the target."""
    with launch.using(Counting(target)) as runtime, tritorch.no_grad():
        inputs = arrays(point)
        out = point.case.call(tritorch, *inputs)
    outs = out if isinstance(out, tuple | list) else (out,)
    moved = sum(t.numel() * t.element_size() for t in (*inputs, *outs))
    rows = []
    launches = zip(runtime.facts, runtime.grids, runtime.instructions, strict=True)
    for found, grid, count in launches:
        rows.append(
            {
                "point": point.key,
                "family": point.family,
                "kernel": found.kernel,
                "grid": list(grid),
                "warps": found.warps,
                "stages": found.stages,
                "registers": found.registers,
                "shared": found.shared,
                "stack": found.stack,
                "instructions": count,
                "occupancy": round(occupancy(found), 3),
                "tensor cores": found.dots,
                "widest load": found.widest_load,
                "loads": sum(found.loads.values()) + found.bulk,
                "stores": sum(found.stores.values()),
                **bound(point, moved, target),
            }
        )
    return rows


def chosen() -> list[Point]:
    """The largest point of each sweep in bfloat16, of sums, sorts and indices in float32."""
    made = []
    for sweep in SWEEPS:
        dtype = "float32" if sweep.family in ("sorting", "scan", "random") else "bfloat16"
        made.append(list(sweep.points("cuda", [dtype]))[-1])
    return made


def report(target: str, points: Iterable[Point] | None = None) -> dict[str, Any]:
    """The facts of all points on a target, and which could not be compiled."""
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    given = list(points or chosen())
    for point in progress(given, target, [p.operator for p in given]):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # "it runs on the host"
                rows += facts_of(point, target)
        except Exception as error:  # the others are worth having
            failed[point.key] = f"{type(error).__name__}: {error}".splitlines()[0]
    machine = {
        "target": target,
        "named": TARGETS[target].name,
        "date": time.strftime("%Y-%m-%d"),
        "triton": version("triton"),
    }
    return {"format": results.FORMAT, "machine": machine, "kernels": rows, "failed": failed}


def write(folder: Path, targets: Iterable[str]) -> list[Path]:
    """Reports of these targets under `folder`; unknown ones are a ValueError."""
    paths = []
    for target in targets:
        if target not in SHEETS:
            raise ValueError(f"--targets: {target!r} is not one of {', '.join(SHEETS)}")
        path = folder / target / "kernels.json"
        print(f"compiling for {target}", file=sys.stderr)
        results.write(path, report(target))
        paths.append(path)
    return paths
