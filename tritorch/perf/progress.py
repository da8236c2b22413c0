"""A bar that says how far a long job is, without a dependency."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

BAR = 30  # characters
SILENCE = 10  # seconds, the most without a word where there is no terminal


def progress(
    jobs: Sequence, what: str = "", names: Sequence[Any] = (), most: float = 0
) -> Iterator:
    """The jobs one after the other: on a terminal with a bar, elsewhere a line now and then.

    `names` are shown of the jobs, `most` are the seconds that all may take, where that is known.
    """
    terminal, start, last = sys.stderr.isatty(), time.perf_counter(), -math.inf
    for i, job in enumerate(jobs):
        now = time.perf_counter()
        if terminal or now - last >= SILENCE:
            last = now
            full = BAR * i // len(jobs)
            parts = [what, f"[{'#' * full}{'.' * (BAR - full)}] {i}/{len(jobs)}"]
            parts.append(f"{now - start:.0f} s" + f" of {most:.0f}" * bool(most))
            show("  ".join(p for p in (*parts, str(names[i]) if names else "") if p), terminal)
        yield job
    if terminal:
        show("", terminal)


def show(text: str, terminal: bool) -> None:
    """A line, on a terminal instead of the one before."""
    if not terminal:
        print(text, file=sys.stderr, flush=True)
        return
    width = shutil.get_terminal_size().columns - 1
    print(f"\r{text[:width]:<{width}}\r{text[:width]}", end="", file=sys.stderr, flush=True)
