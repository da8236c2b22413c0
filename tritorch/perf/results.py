"""The JSON of a report: what it holds, where it lies, and how two of them compare.

    {"format": 1, "machine": {...}, "limits": {...}, "points": [...], "hosts": [...],
     "models": [...], "failed": {key: why}, "left": [keys that the time did not reach]}

A point has `key`, `family`, `operator`, `size`, `shapes`, `dtype`, `bytes`, `flops`, `times`
({library: {median, low, high, samples}}, microseconds), `ratio` ({library: its time over
tritorch's}), `noise` (half the spread of the middle half of tritorch's samples over their median)
and `ulps` ({library: ...}).
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import tritorch

from .peers import Peer

FORMAT = 1
NOISE = 0.05  # a change below this is never one


def processor() -> str:
    """The name of the processor as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(n.split(":")[1].strip() for n in lines if n.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(device: str, peers: Sequence[Peer]) -> dict[str, Any]:
    """What the figures were measured on, with what, when."""
    found = {
        "device": processor() if device == "cpu" else tritorch.cuda.get_device_name(),
        "kind": device,
        "threads": tritorch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {p.name: p.version for p in peers},
    }
    try:
        found["versions"]["triton"] = version("triton")
    except PackageNotFoundError:
        found["versions"]["triton"] = None
    if device == "cuda":
        found["clock MHz"] = (
            getattr(tritorch.cuda.get_device_properties(), "clock_rate", 0) / 1000 or None
        )
    return found


def slug(name: str) -> str:
    """A folder's name of a device's."""
    return re.sub(r"\W+", "-", name).strip("-").lower()


def write_text(path: Path, text: str) -> None:
    """All of it or nothing, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=path.name, delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def write(path: Path, results: dict[str, Any]) -> None:
    """One line a point, so that two files can be compared by eye."""
    lines = []
    for key, value in results.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n  ".join(json.dumps(v, separators=(",", ":")) for v in value)
            lines.append(f"{json.dumps(key)}: [\n  {inner}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    write_text(path, "{\n " + ",\n ".join(lines) + "\n}\n")


def read(path: Path) -> dict[str, Any]:
    """The results of a file. ValueError where it is not one of this format."""
    try:
        found = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a file of results: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path}: not results of format {FORMAT}; make them with tritorch.perf")
    return found


class Change(NamedTuple):
    """Of one point between two results; `factor` above 1 is slower, `noise` what is none."""

    key: str
    before: float
    after: float
    noise: float

    @property
    def factor(self) -> float:
        return self.after / self.before

    @property
    def slower(self) -> bool:
        return self.factor > 1 + self.noise

    @property
    def faster(self) -> bool:
        return 1 / self.factor > 1 + self.noise


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Of the points that both have, the slowest first.

    Where both were measured beside the same library, that library's own change is taken out: a
    machine that was busier is no change of ours. What counts as noise is three times what was
    measured in either, and at least a twentieth.
    """
    old = {p["key"]: p for p in before["points"] + before["models"]}
    found = []
    for new in after["points"] + after["models"]:
        was = old.get(new["key"])
        if was is None:
            continue
        drift = 1.0
        for name in ("torch", "numpy"):
            if name in was["times"] and name in new["times"]:
                drift = new["times"][name]["median"] / was["times"][name]["median"]
                break
        noise = max(NOISE, 3 * max(was["noise"], new["noise"]))
        times = was["times"]["tritorch"]["median"], new["times"]["tritorch"]["median"]
        found.append(Change(new["key"], times[0] * drift, times[1], noise))
    return sorted(found, key=lambda c: -c.factor)
