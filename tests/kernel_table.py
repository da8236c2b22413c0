"""`docs/kernels.md`: which kernel is proven how, from what test runs noted (`proofs.py`)."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from proofs import notes

from tritorch import dtypes
from tritorch.dtypes import DType
from tritorch.runtime.aot import TARGETS

DESCRIPTORS = ("matmul_persistent_kernel",)  # kernels of targets that have them
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "perf" / "results"
PROOFS = RESULTS / "proofs.json"
PAGE = ROOT / "docs" / "kernels.md"
RUNS = {
    "interpreter": {"TRITON_INTERPRET": "1", "TRITORCH_EXECUTOR": "interpreter"},
    "aot": {},
    "gpu": {"TRITORCH_POISON": "1"},
}
HEAD = """# The kernels and their proofs

Written by `python tests/generate.py` from `perf/results/proofs.json`; run
`python tests/generate.py proofs` after a change to the kernels.

- *Interpreter*: in Triton's interpreter it gives what NumPy gives, on contiguous, transposed and
  gapped arrays of these dtypes: the operators' samples, and the shapes of its own tests.
- *Compiled* ahead of time for five targets: the most registers and shared memory that a variant
  uses, the tensor-core instructions of the tiled products, and in brackets how many variants were
  compiled: all of the operators' samples, and of sizes of real networks. Spills fail a test; the
  stack of `flat_kernel` is a table of CUDA's sine. "Pointers": the target has no tensor
  descriptors, and runs the kernel of the same family that reads by pointers.
- *GPU*: the same on a device.
"""


# -- gathering -------------------------------------------------------------------------------------


def prove(runs: Iterable[str]) -> int:
    """Make these test runs and keep what they noted; the last exit code that is not 0."""
    code = 0
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            env = {**os.environ, **RUNS[run], "TRITORCH_PROOFS": folder}
            workers = "0" if run == "gpu" else "2"
            command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-m", run, "tests"]
            code = subprocess.run(command, cwd=ROOT, env=env).returncode or code
            keep(run, notes(Path(folder)))
    return code


def keep(run: str, found: list[dict]) -> None:
    """Write what a run noted: of a GPU beside its other results, else into proofs.json."""
    ours = {name for names in kernels().values() for name in names}
    found = [n for n in found if n["kernel"] in ours]
    stamp = {"date": time.strftime("%Y-%m-%d"), "triton": version("triton")}
    if run == "aot":
        write(PROOFS, {**read(PROOFS), run: {**stamp, "kernels": compiled(found)}})
    elif run == "interpreter":
        launched = executed(n for n in found if "dtypes" in n)
        write(PROOFS, {**read(PROOFS), run: {**stamp, "kernels": launched}})
    else:
        for device in sorted({n["device"] for n in found if "device" in n}):
            own = executed(n for n in found if n.get("device") == device)
            folder = re.sub(r"\W+", "-", device).strip("-").lower()
            row = {"device": device, **stamp, "kernels": own}
            write(RESULTS / folder / "kernels.json", row)


def executed(found: Iterable[dict]) -> dict[str, dict[str, list[str]]]:
    """By kernel, the operators that ran it and the dtypes of its arrays."""
    out: dict[str, dict[str, list[str]]] = {}
    for n in found:
        seen = out.setdefault(n["kernel"], {}).setdefault(n["op"], [])
        seen += [name for name in n["dtypes"] if name not in seen]
    return {k: {op: sorted(v) for op, v in sorted(out[k].items())} for k in sorted(out)}


def compiled(found: Iterable[dict]) -> dict[str, dict[str, Any]]:
    """By kernel, the operators that launch it, and by target the most that a variant uses."""
    out: dict[str, dict[str, Any]] = {}
    for n in found:
        if "facts" not in n:
            continue
        f = n["facts"]
        kernel = out.setdefault(n["kernel"], {"operators": set(), "targets": {}})
        kernel["operators"].add(n["op"])
        most = kernel["targets"].setdefault(f["target"], {"variants": set(), "dots": set()})
        most["variants"].add(json.dumps(f, sort_keys=True))
        most["dots"] |= set(f["dots"])
        for name in ("registers", "stack", "spilled", "shared"):
            most[name] = max(most.get(name, 0), f[name])
    for kernel in out.values():
        kernel["operators"] = sorted(kernel["operators"])
        for most in kernel["targets"].values():
            most |= {"variants": len(most["variants"]), "dots": sorted(most["dots"])}
    return {k: out[k] for k in sorted(out)}


def read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


# -- rendering -------------------------------------------------------------------------------------


def kernels() -> dict[str, list[str]]:
    """The names of the kernels in each file of `tritorch/kernels`."""
    found = {}
    for path in sorted((ROOT / "tritorch" / "kernels").glob("*.py")):
        tree = ast.parse(path.read_text())
        names = [f.name for f in tree.body if isinstance(f, ast.FunctionDef) and is_kernel(f)]
        if names:
            found[path.name] = names
    return found


def is_kernel(f: ast.FunctionDef) -> bool:
    jitted = any(ast.unparse(d).startswith("triton.jit") for d in f.decorator_list)
    return jitted and f.name.endswith("_kernel")


def page() -> str:
    """The text of docs/kernels.md."""
    proofs = read(PROOFS)
    interpreted, aot = (proofs.get(k, {}) for k in ("interpreter", "aot"))
    found = [read(p) for p in sorted(RESULTS.glob("*/kernels.json"))]
    devices = [d for d in found if "device" in d]  # the others tell what compilers make of targets
    files = kernels()
    total = sum(map(len, files.values()))
    lines = [HEAD]
    for title, run in (("Interpreter", interpreted), ("Compiled", aot)):
        have = len(set(run.get("kernels", ())) & {k for names in files.values() for k in names})
        when = f", {run['date']} with Triton {run['triton']}" if run else ""
        lines.append(f"{title}: {have} of {total} kernels{when}.  ")
    lines.append(f"GPU: {', '.join(d['device'] for d in devices) or 'no device yet'}.")
    head = ["kernel", "operators", "interpreter", *TARGETS, "GPU"]
    for file, names in files.items():
        lines += [f"\n## {file}\n", row(head), row(["---"] * len(head))]
        for name in names:
            ran = interpreted.get("kernels", {}).get(name, {})
            made = aot.get("kernels", {}).get(name, {})
            operators = sorted({*ran, *made.get("operators", ())} - {""})
            targets = [target_cell(name, t, made.get("targets", {}).get(t)) for t in TARGETS]
            lines.append(
                row([f"`{name}`", few(operators), dtypes_cell(ran), *targets, gpu(devices, name)])
            )
    return "\n".join(lines) + "\n"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def few(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def dtypes_cell(ran: dict[str, list[str]]) -> str:
    """The dtypes in short, `bf16 f32 i64`."""
    found = {short(name) for names in ran.values() for name in names}
    return " ".join(sorted(found)) or "-"


def short(name: str) -> str:
    found = getattr(dtypes, name, None)
    return found.triton.replace("fp", "f") if isinstance(found, DType) else name


def target_cell(kernel: str, target: str, most: dict | None) -> str:
    """`96 reg, 48 KiB, HGMMA`."""
    if most is None:
        return "pointers" if kernel in DESCRIPTORS and not TARGETS[target].descriptors else "-"
    parts = [f"{most['registers']} reg"]
    if most["shared"]:
        parts.append(f"{-(-most['shared'] // 1024)} KiB")
    if most["stack"] or most["spilled"]:
        parts.append(f"stack {most['stack']} B")
    return f"{', '.join([*parts, *most['dots']])} ({most['variants']})"


def gpu(devices: list[dict], name: str) -> str:
    found = [f"{d['device']} {d['date']}" for d in devices if name in d["kernels"]]
    return ", ".join(found) or "no device yet"
