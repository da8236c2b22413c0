"""Run the conformance tools and fail where a count falls below the recorded one.

    python tests/conformance.py [TOOL ...]              run all tools, or these, and compare
    python tests/conformance.py --record TOOL [...]     run these, and write what they count

The tools compare tritorch with PyTorch, so both must be installed; they are in
../shared/conformance or in the folder that --tools names. tests/conformance.json holds the recorded
counts. A tool without a record is run and shown, and decides nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT.parent / "shared" / "conformance"
RECORD = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Count:
    """How many cases passed, of how many, and how many faults of the kind never accepted."""

    passed: int
    total: int
    faults: int = 0


@dataclass(frozen=True)
class Tool:
    """A script, its arguments, and how its count is read from (summary, printed text)."""

    arguments: str
    read: Callable[[Any, str], Count]

    @property
    def writes_json(self) -> bool:
        return "--json" in self.arguments


def statuses(*counts: dict[str, int]) -> Count:
    """The count of tables of verdicts; what PyTorch itself cannot run is left out."""
    total = sum(sum(c.values()) - c.get("unmeasured", 0) for c in counts)
    return Count(sum(c.get("pass", 0) for c in counts), total)


def programs(_: Any, text: str) -> Count:
    found = re.search(r"^(\d+) of (\d+) agree, (\d+) silent differences$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no line 'N of M agree, K silent differences'")
    return Count(*map(int, found.groups()))


def surface(summary: Any, _: str) -> Count:
    names = summary["all"]
    return Count(names["there"], names["n"], faults=len(summary["imports_of_torch"]))


DEV = "--split dev --totals --json {json}"
TABLE = {
    "programs": Tool("--n 2000", programs),
    "ops": Tool(DEV, lambda s, _: statuses(s["groups"]["all public"])),
    "modules": Tool(DEV, lambda s, _: statuses(s["status"])),
    "optimizers": Tool(DEV, lambda s, _: statuses(*(kind["status"] for kind in s.values()))),
    "errors": Tool(DEV, lambda s, _: Count(s["all"]["same"], s["all"]["n"])),
    "surface": Tool(DEV, surface),
}


def run(name: str, folder: Path, lib: str) -> Count | str:
    """The tool's count, or why there is none."""
    tool = TABLE[name]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out.json")
        arguments = [word.format(json=out) for word in tool.arguments.split()]
        command = [sys.executable, str(folder.resolve() / f"{name}.py"), "--lib", lib, *arguments]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": paths}
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
        if done.returncode:
            return f"exit code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        try:
            summary = json.loads(out.read_text())["summary"] if tool.writes_json else None
            return tool.read(summary, done.stdout)
        except (KeyError, OSError, ValueError) as error:
            return f"its result was not understood ({error!r}):\n{done.stdout[-2000:]}"


def verdict(count: Count | str, recorded: int | None) -> str:
    """What a count means beside the recorded one; a text with "FAILED" ends in an exit code."""
    if recorded is None:
        return "not recorded"
    if isinstance(count, str):
        return "FAILED: no count"
    if count.faults:
        return "FAILED: faults are never accepted"
    if count.passed < recorded:
        return f"FAILED: {recorded} recorded"
    return "ok" if count.passed == recorded else f"ok, more than the {recorded} recorded"


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="TOOL", help=", ".join(TABLE))
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="the folder of the tools")
    parser.add_argument("--lib", default="tritorch", help="the module to measure")
    chosen = parser.parse_args(argv)
    if unknown := set(chosen.names) - set(TABLE):
        parser.error(f"no tool {', '.join(sorted(unknown))}; there are: {', '.join(TABLE)}")
    if chosen.record and not chosen.names:
        parser.error("--record needs the names of the tools to record")
    if not chosen.tools.is_dir():
        parser.error(f"no conformance tools in {chosen.tools}")
    return chosen


def show(name: str, count: Count | str, seconds: float, judged: str) -> None:
    numbers = (count.passed, count.total, count.faults) if isinstance(count, Count) else "---"
    columns = "".join(f"{n:>8}" for n in numbers)
    print(f"{name:<12}{columns}{seconds:>9.0f}  {judged}", flush=True)
    if isinstance(count, str):
        print(f"  {name}: {count}", flush=True)


def main(argv: list[str] | None = None) -> int:
    chosen = options(argv)
    recorded: dict[str, int] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    failed = False
    print(f"{'tool':<12}{'pass':>8}{'of':>8}{'faults':>8}{'seconds':>9}  verdict", flush=True)
    for name in chosen.names or TABLE:
        start = time.monotonic()
        count = run(name, chosen.tools, chosen.lib)
        if chosen.record:
            recorded[name] = count.passed if isinstance(count, Count) else 0
        judged = verdict(count, recorded.get(name))
        failed |= "FAILED" in judged
        show(name, count, time.monotonic() - start, judged)
    if chosen.record and not failed:
        RECORD.write_text(json.dumps(dict(sorted(recorded.items())), indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
