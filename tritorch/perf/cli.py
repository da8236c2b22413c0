"""Measure the operators of this device, compare, and write a report.

    python -m tritorch.perf                                    all; a few minutes
    python -m tritorch.perf --family softmax product           some families
    python -m tritorch.perf --operator 'conv|matmul' --dtype float32
    python -m tritorch.perf --against torch torch.compile      beside NumPy and torch
    python -m tritorch.perf --compare A.json B.json            exit code 1 where B is slower
    python -m tritorch.perf --targets sm_90                    compile for a GPU, measure nothing
    python -m tritorch.perf --page results.json                draw the report of a file again

Results go to perf/results/<device>/: report.json, report.html and its pictures; the report that
was there is kept as earlier.json.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tritorch

from . import peers, results, session
from .sweeps import Point

DTYPES = {"cpu": ["float32"], "cuda": ["float32", "bfloat16"]}
FOLDER = Path("perf") / "results"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m tritorch.perf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--family", nargs="+", metavar="NAME", help="such as reduction or product")
    p.add_argument("--operator", metavar="REGEX", help="operators whose name this finds")
    p.add_argument("--dtype", nargs="+", choices=["float32", "float64", "float16", "bfloat16"])
    p.add_argument("--shapes", metavar="REGEX", help="inputs such as 1024x1024")
    p.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    p.add_argument("--against", nargs="*", metavar="LIBRARY", help=", ".join(peers.NAMES[1:]))
    p.add_argument("--seconds", type=float, default=0.2, help="most for a figure and library")
    p.add_argument("--budget", type=float, default=270, help="seconds for all figures")
    p.add_argument("--out", type=Path, help="folder; default: perf/results/<device>")
    p.add_argument("--no-models", action="store_true", help="operators only")
    p.add_argument("--compare", nargs=2, type=Path, metavar="FILE")
    p.add_argument("--targets", nargs="+", metavar="TARGET", help="such as sm_90")
    p.add_argument("--page", type=Path, metavar="FILE", help="results to draw again")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 1 where something failed or got slower, 2 for a wrong argument."""
    options = parser().parse_args(argv)
    try:
        if options.compare:
            return compare(*options.compare)
        if options.targets:
            from . import static

            for path in static.write(options.out or FOLDER, options.targets):
                print(f"written to {path}")
            return 0
        if options.page:
            return draw_again(options.page)
        return measure(options)
    except ValueError as error:
        print(f"tritorch.perf: {error}", file=sys.stderr)
        return 2


def compare(before: Path, after: Path) -> int:
    """Prints what changed beyond the noise, and how well ratios agree; 1 where one is slower."""
    both = results.read(before), results.read(after)
    found = results.changes(*both)
    for c in found:
        if c.slower or c.faster:
            word = "slower" if c.slower else "faster"
            factor = c.factor if c.slower else 1 / c.factor
            print(
                f"{word} {factor:5.2f}x  (noise {c.noise:.0%})  {c.key}: "
                f"{c.before:.1f} -> {c.after:.1f} us"
            )
    for agreement in results.agreements(*both):
        print(agreement)
    slower = sum(c.slower for c in found)
    print(f"{len(found)} figures in both, {slower} slower beyond the noise")
    return 1 if slower else 0


def wanted(options: argparse.Namespace, device: str) -> list[Point]:
    """The points that the filters leave; ValueError where none are."""
    points = session.all_points(device, options.dtype or DTYPES[device])
    families = sorted({p.family for p in points})
    for name in options.family or ():
        if name not in families:
            raise ValueError(f"--family: {name!r} is not one of {', '.join(families)}")
    points = [
        p
        for p in points
        if (not options.family or p.family in options.family)
        and (not options.operator or re.search(options.operator, p.operator))
        and (not options.dtype or p.dtype in options.dtype)
        and (not options.shapes or re.search(options.shapes, p.shapes))
    ]
    if not points:
        raise ValueError("no operator is left by --family, --operator, --dtype and --shapes")
    return points


def measure(options: argparse.Namespace) -> int:
    device = options.device or ("cuda" if tritorch.cuda.is_available() else "cpu")
    if device == "cuda" and not tritorch.cuda.is_available():
        raise ValueError("--device cuda: no GPU was found, or tritorch[cuda] is not installed")
    points = wanted(options, device)
    names = peers.available(device) if options.against is None else options.against
    used = peers.peers(names, device)
    folder = options.out or FOLDER / results.slug(results.machine(device, used)["device"])
    filtered = options.family or options.operator or options.shapes or options.dtype
    path = folder / ("filtered.json" if filtered and not options.out else "report.json")
    before = results.read(path) if path.exists() else None
    if before and path.name == "report.json":
        results.write(folder / "earlier.json", before)
    keep = lambda found: results.write(path, found)  # noqa: E731
    run = session.Session(device, used, options.seconds, options.budget, keep)
    interrupted = False
    try:
        run.run(points, with_models=not (options.no_models or filtered))
    except KeyboardInterrupt:
        interrupted = True
    keep(run.results)
    print(f"written to {path}: {results.summary(run.results)}")
    if interrupted:
        print("interrupted: the figures so far are kept", file=sys.stderr)
        return 130
    return draw(folder, run.results, before)


def draw_again(path: Path) -> int:
    """The page of a file, with what changed since the one before it."""
    earlier = path.with_name("earlier.json")
    before = results.read(earlier) if earlier.exists() and earlier != path else None
    return draw(path.parent, results.read(path), before)


def draw(folder: Path, found: dict[str, Any], before: dict[str, Any] | None) -> int:
    """The pictures and the page, and a word on what failed."""
    try:
        from . import page
    except ImportError:
        print("pictures need matplotlib: pip install 'tritorch[perf]'", file=sys.stderr)
        return 1
    changes = results.changes(before, found) if before else []
    others = [o for o in results.measured_on_gpus(folder.parent) if o != found]
    kernels = results.beside(folder.parent, "kernels.json")
    written = page.write(folder, found, changes, others, kernels)
    for key, why in found["failed"].items():
        print(f"failed: {key}: {why}", file=sys.stderr)
    print(f"report: {written}")
    return 1 if found["failed"] else 0
