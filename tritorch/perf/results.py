"""The JSON of a report: what it holds, where it lies, and how two of them compare.

    {"format": 1, "machine": {...}, "limits": {...}, "points": [...], "hosts": [...],
     "models": [...], "failed": {key: why}, "left": [keys that the time did not reach]}

A point has `key`, `family`, `operator`, `size`, `shapes`, `dtype`, `bytes`, `flops`, `times`
({library: {median, low, high, samples, visits}}, microseconds; the quartiles of all samples, and
the lower quartile in each visit), `ratio` ({library: its time over tritorch's}), `uncertainty`
({library: of its ratio, tritorch: of its time; relative, one standard deviation}), `noise` (half
the spread of the middle half of tritorch's samples over their median) and `ulps` ({library: ...}).
Ratios are of times where nothing disturbs (`estimate`), not of medians. A model has `items` of a
step, their `unit`, and `memory` ({library: the most bytes of a step above its weights}).
What fails of one library alone is under "<key>, <library>" in `failed`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import tritorch

from .estimate import estimate
from .peers import Peer

FORMAT = 1
NOISE = 0.05  # a change below this is never one
UNSURE = 0.1 / 2 / math.sqrt(2)  # two reports differ by more than 0.1 in one case of twenty
# Standard deviations that a change must pass. After three visits there are some that pass three:
# of 388 ratios in two reports of the same program 13 did, and 4 passed four.
SIGMAS = 4

Row = dict[str, Any]  # of a point, a host time or a model


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
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        made = Path(folder) / path.name
        made.write_text(text, encoding="utf-8")
        os.replace(made, path)


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


def parsed(path: Path) -> dict[str, Any]:
    """The JSON object of a file. ValueError where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a file of results: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a file of results: {type(found).__name__}")
    return found


def read(path: Path) -> dict[str, Any]:
    """The results of a file. ValueError where it is not one of this format."""
    found = parsed(path)
    if found.get("format") != FORMAT:
        raise ValueError(f"{path}: not results of format {FORMAT}; make them with tritorch.perf")
    return found


def report(path: Path) -> dict[str, Any]:
    """The results of a report. ValueError where a file is none, as that of compiled kernels."""
    found = read(path)
    for name in ("machine", "points", "models", "failed", "left"):
        if name not in found:
            raise ValueError(f"{path}: not a report of what was measured: it has no {name!r}")
    return found


def beside(
    folder: Path, name: str, read: Callable[[Path], dict[str, Any]] = read
) -> list[dict[str, Any]]:
    """The results of all devices that have a file of this name, by their folders in order."""
    found = []
    for path in sorted(folder.glob(f"*/{name}")):
        try:
            found.append(read(path))
        except ValueError:
            continue  # a file of another format stands beside ours
    return found


def measured_on_gpus(folder: Path) -> list[dict[str, Any]]:
    """Reports of GPUs, and the first looks that perf/gpu.py took at them."""
    found = [r for r in beside(folder, "report.json", report) if r["machine"]["kind"] == "cuda"]
    looks = beside(folder, "foundation.json", parsed)
    return found + [x for x in looks if "device" in x["machine"]]  # others are of processors


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


def pairs(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[Row, Row]]:
    """The rows of the points and models that both have, and of calls that the host makes."""
    old = {row["key"]: row for row in all_rows(before)}
    return ((old[row["key"]], row) for row in all_rows(after) if row["key"] in old)


def all_rows(found: dict[str, Any]) -> list[Row]:
    return [*found["points"], *found["models"], *found.get("hosts", ())]


def uncertainty(row: Row, name: str) -> float:
    """Of a ratio, or of tritorch's own time; older files know only how its samples spread."""
    return row.get("uncertainty", {}).get(name, row["noise"])


def own_time(row: Row) -> float:
    """Microseconds of tritorch where nothing disturbs it."""
    times = row["times"]["tritorch"]
    return estimate(times["visits"]).value if "visits" in times else times["median"]


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Of the points that both have, the slowest first.

    Where both were measured beside the same library, the change is that of the ratio: a machine
    that was busier is no change of ours. Noise is `SIGMAS` times the uncertainty of both together,
    which is one of logarithms, and at least a twentieth.
    """
    found = []
    for was, new in pairs(before, after):
        both = [n for n in ("torch", "numpy") if n in was["ratio"] and n in new["ratio"]]
        name = both[0] if both else "tritorch"
        noise = math.expm1(SIGMAS * math.hypot(uncertainty(was, name), uncertainty(new, name)))
        now = own_time(new)
        then = now * new["ratio"][name] / was["ratio"][name] if both else own_time(was)
        found.append(Change(new["key"], then, now, max(NOISE, noise)))
    return sorted(found, key=lambda c: -c.factor)


class Agreement(NamedTuple):
    """Of the ratios to a library in two results: how many there are in both, the part of them that
    are within a tenth of each other, and the median of their relative differences."""

    library: str
    count: int
    within: float
    median: float

    def __str__(self) -> str:
        return (
            f"ratios to {self.library}: {self.within:.0%} of {self.count} agree within 10%, "
            f"the median difference is {self.median:.1%}"
        )


def agreements(before: dict[str, Any], after: dict[str, Any]) -> list[Agreement]:
    """Of each library that both results compare with, torch first."""
    off: dict[str, list[float]] = {}
    for was, new in pairs(before, after):
        for name in was["ratio"].keys() & new["ratio"].keys():
            factor = new["ratio"][name] / was["ratio"][name]
            off.setdefault(name, []).append(max(factor, 1 / factor) - 1)
    return [
        Agreement(name, len(d), sum(x <= 0.1 for x in d) / len(d), statistics.median(d))
        for name, d in sorted(off.items(), reverse=True)
    ]


def unsure(found: dict[str, Any]) -> list[tuple[str, str, float]]:
    """(key, library, uncertainty) of the ratios that another report may well find to be a tenth
    larger or smaller, the least sure first."""
    rows = [
        (row["key"], name, uncertainty(row, name))
        for row in all_rows(found)
        for name in row["ratio"]
    ]
    return sorted((r for r in rows if r[2] > UNSURE), key=lambda r: -r[2])


def summary(found: dict[str, Any]) -> str:
    """One line: how much was measured, and how sure it is."""
    rows = all_rows(found)
    count, ratios = len(rows), sum(len(row["ratio"]) for row in rows)
    parts = [f"{count} figures", f"{len(found['failed'])} failed", f"{len(found['left'])} left"]
    return f"{', '.join(parts)}; of {ratios} ratios {len(unsure(found))} are unsure by over 10%"
