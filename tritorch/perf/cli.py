"""Measure the operators of this device, compare, and write a report.

    python -m tritorch.perf                                    all; a few minutes
    python -m tritorch.perf --family softmax product           some families
    python -m tritorch.perf --operator 'conv|matmul' --dtype float32
    python -m tritorch.perf --against torch torch.compile      beside these and no other
    python -m tritorch.perf --compare A.json B.json            exit code 1 where B is slower
    python -m tritorch.perf --targets sm_90                    compile for a GPU, measure nothing
    python -m tritorch.perf --page results.json                draw the report of a file again

Results go to perf/results/<device>/, of a choice of operators to filtered/ in it: report.json,
report.html and its pictures; the report that was there is kept as earlier.json. Until all is
measured the figures stand in unfinished.json, also where a run is interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import re
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tritorch

from . import peers, results, session
from .sweeps import Point

DTYPES = {"cpu": ["float32"], "cuda": ["float32", "bfloat16"]}
FOLDER = Path("perf") / "results"
CHECKOUT = Path(tritorch.__file__).resolve().parent.parent / FOLDER  # what the project has measured
INSTALL = "pip install 'tritorch[perf]'"


def pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m tritorch.perf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--family", nargs="+", metavar="NAME", help="such as reduction or product")
    p.add_argument("--operator", type=pattern, metavar="REGEX", help="whose name this finds")
    p.add_argument("--dtype", nargs="+", choices=["float32", "float64", "float16", "bfloat16"])
    p.add_argument("--shapes", type=pattern, metavar="REGEX", help="inputs such as 1024x1024")
    p.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    p.add_argument(
        "--against",
        nargs="*",
        metavar="LIBRARY",
        help=f"{', '.join(peers.NAMES[1:])}; default: those installed, but torch.compile",
    )
    p.add_argument("--seconds", type=duration, default=0.2, help="most for a figure and library")
    p.add_argument("--budget", type=duration, default=270, help="seconds for all figures")
    p.add_argument("--out", type=Path, help="folder; default: perf/results/<device>")
    p.add_argument("--no-models", action="store_true", help="operators only")
    p.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="show the page in a browser; default: where a terminal on a desktop asks",
    )
    p.add_argument("--compare", nargs=2, type=Path, metavar="FILE")
    p.add_argument("--targets", nargs="+", metavar="TARGET", help="such as sm_90")
    p.add_argument("--page", type=Path, metavar="FILE", help="results to draw again")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 1 where something failed or got slower, 2 for a wrong argument, 130 for an
    interrupt."""
    options = parser().parse_args(argv)
    try:
        if options.compare:
            return compare(*options.compare)
        if options.targets:
            return targets(options.out or FOLDER, options.targets)
        if options.page:
            return draw_again(options.page, options.open)
        return measure(options)
    except ValueError as error:
        print(f"tritorch.perf: {error}", file=sys.stderr)
    except OSError as error:
        print(f"tritorch.perf: cannot read or write: {error}", file=sys.stderr)
    return 2


def targets(folder: Path, names: Sequence[str]) -> int:
    """What the compiler makes of the kernels; 1 where one does not compile."""
    if importlib.util.find_spec("triton") is None:
        raise ValueError("--targets: Triton is not installed (it is made for Linux)")
    from . import static

    failed = 0
    for path in static.write(folder, names):
        found = results.read(path)
        failed += len(found["failed"])
        for key, why in found["failed"].items():
            print(f"failed: {key}: {why}", file=sys.stderr)
        print(f"written to {path}: {len(found['kernels'])} kernels")
    return 1 if failed else 0


def compare(before: Path, after: Path) -> int:
    """Prints what changed beyond the noise, and how well ratios agree; 1 where one is slower, or
    was measured before and fails now."""
    old, new = results.report(before), results.report(after)
    devices = [f"{r['machine']['device']}, {r['machine']['threads']} threads" for r in (old, new)]
    if devices[0] != devices[1]:
        print(f"of different machines: {devices[0]}; {devices[1]}", file=sys.stderr)
    found = results.changes(old, new)
    for c in found:
        if c.slower or c.faster:
            word = "slower" if c.slower else "faster"
            factor = c.factor if c.slower else 1 / c.factor
            print(
                f"{word} {factor:5.2f}x  (noise {c.noise:.0%})  {c.key}: "
                f"{c.before:.1f} -> {c.after:.1f} us"
            )
    known = {row["key"] for row in results.all_rows(old)}
    lost = {key: why for key, why in new["failed"].items() if key in known}
    for key, why in lost.items():
        print(f"fails now  {key}: {why}")
    for agreement in results.agreements(old, new):
        print(agreement)
    slower = sum(c.slower for c in found)
    others = len(known) + len(results.all_rows(new)) - 2 * len(found)
    print(f"{len(found)} figures in both, {slower} slower beyond the noise, {others} in one only")
    return 1 if slower or lost else 0


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
        and (not options.operator or options.operator.search(p.operator))
        and (not options.dtype or p.dtype in options.dtype)
        and (not options.shapes or options.shapes.search(p.shapes))
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
    if importlib.util.find_spec("matplotlib") is None:
        print(f"no report will be drawn: matplotlib is missing: {INSTALL}", file=sys.stderr)
    filtered = options.family or options.operator or options.shapes or options.dtype
    folder = options.out or FOLDER / results.slug(results.machine(device, used)["device"])
    if filtered and not options.out:
        folder /= "filtered"
    report, unfinished = folder / "report.json", folder / "unfinished.json"
    before = earlier(report)
    keep = lambda found: results.write(unfinished, found)  # noqa: E731
    run = session.Session(device, used, options.seconds, options.budget, keep)
    try:
        run.run(points, with_models=not (options.no_models or filtered))
    except KeyboardInterrupt:
        keep(run.results)
        print(f"interrupted; so far, in {unfinished}: {results.summary(run.results)}")
        print(f"to draw them: --page {unfinished}", file=sys.stderr)
        return 130
    if before:
        os.replace(report, folder / "earlier.json")
    os.replace(unfinished, report)
    print(f"written to {report}: {results.summary(run.results)}")
    return draw(folder, run.results, before, options.open)


def earlier(path: Path) -> dict[str, Any] | None:
    """The report to compare with, where there is one that can be read."""
    try:
        return results.report(path) if path.exists() else None
    except ValueError as error:
        print(f"nothing is compared with the report before: {error}", file=sys.stderr)
        return None


def draw_again(path: Path, show: bool | None) -> int:
    """The page of a file, with what changed since the one before it."""
    found = results.report(path)
    last = path.with_name("report.json" if path.name == "unfinished.json" else "earlier.json")
    return draw(path.parent, found, None if last == path else earlier(last), show)


def draw(
    folder: Path, found: dict[str, Any], before: dict[str, Any] | None, show: bool | None
) -> int:
    """The pictures and the page, and a word on what failed."""
    try:
        from . import page
    except ImportError as error:
        print(f"no report without {error.name}: {INSTALL}, then --page FILE", file=sys.stderr)
        return 1
    written = page.write(folder, found, before, *known(found))
    for key, why in found["failed"].items():
        print(f"failed: {key}: {why}", file=sys.stderr)
    print(f"report: {written}")
    if show or (show is None and on_desktop()):
        webbrowser.open(written.resolve().as_uri())
    return 1 if found["failed"] else 0


def known(found: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Results of GPUs other than these, and the facts of compiled kernels: those made here, and of
    what was not made here the project's."""
    gpus, kernels = {}, {}
    for folder in (CHECKOUT, FOLDER):
        gpus |= {r["machine"]["device"]: r for r in results.measured_on_gpus(folder) if r != found}
        compiled = results.beside(folder, "kernels.json")
        kernels |= {r["machine"]["target"]: r for r in compiled}
    return list(gpus.values()), list(kernels.values())


def on_desktop() -> bool:
    """Whether somebody sits before a screen that can show a page."""
    screens = {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    return sys.stderr.isatty() and (sys.platform in ("darwin", "win32") or bool(screens))
