"""Measurements side by side, in a table: what `torch.utils.benchmark.Compare` shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .benchmark import UNITS, Measurement

__all__ = ["Compare"]

GREEN, RED, END = "\033[92m\033[1m", "\033[2m\033[91m", "\033[0m\033[0m"


class Compare:
    """A table of measurements: a column for each description, a row for each label below it.

    One table for each label, with rows grouped by the number of threads; `colorize` marks the best
    and the worst, by column, or by row with `rowwise`.

    Example:
        >>> from tritorch.utils import benchmark
        >>> times = [benchmark.Measurement(1, [t * 1e-6], benchmark.TaskSpec("f()", "pass",
        ...          label="f", sub_label=s, description=d))
        ...          for s, d, t in [("small", "old", 4), ("small", "new", 2), ("large", "old", 9)]]
        >>> print(benchmark.Compare(times))
        [------- f --------]
                  | old  new
        1 threads: ---------
          small   |   4    2
          large   |   9
        <BLANKLINE>
        Times are in microseconds (us).
        <BLANKLINE>
    """

    def __init__(self, results: Iterable[Measurement]) -> None:
        self.results: list[Measurement] = []
        self.extend_results(results)
        self._trim, self._colors, self._rowwise, self._warns = False, False, False, False

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements; ValueError for anything else."""
        for result in results:
            if not isinstance(result, Measurement):
                raise ValueError(
                    f"Expected an instance of `Measurement`, got {type(result)} instead."
                )
            self.results.append(result)

    def trim_significant_figures(self) -> None:
        """Show no more digits than the spread of the times supports."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Mark the best and the worst of each column, or of each row."""
        self._colors, self._rowwise = True, rowwise

    def highlight_warnings(self) -> None:
        """Mark measurements whose times scatter widely."""
        self._warns = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def __str__(self) -> str:
        labels = dict.fromkeys(m.task_spec.label or m.task_spec.stmt for m in self.results)
        return "\n\n".join(self._table(label) for label in labels)

    def _table(self, label: str) -> str:
        own = [m for m in self.results if (m.task_spec.label or m.task_spec.stmt) == label]
        least = min(m.median for m in own)
        size, unit = next((u for u in UNITS if least >= u[0]), UNITS[-1])
        columns = list(dict.fromkeys(m.task_spec.description or "" for m in own))
        rows = list(dict.fromkeys((m.num_threads, m.as_row_name) for m in own))
        merged = {
            (m.num_threads, m.as_row_name, m.task_spec.description or ""): m
            for m in Measurement.merge(own)
        }
        grid = [[merged.get((*row, column)) for column in columns] for row in rows]
        cells = [[self._cell(m, size) for m in line] for line in grid]
        widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
        left = max(len(name) for _, name in rows) + 4
        whole = left + 1 + sum(w + 2 for w in widths)
        head = "  ".join(c.rjust(w) for c, w in zip(columns, widths))
        lines = [f"[{f' {label} '.center(whole - 2, '-')}]", f"{'':{left}} | {head}".rstrip()]
        threads = None
        for (n, name), line, found in zip(rows, cells, grid):
            if n != threads:
                threads = n
                lines.append(f"{n} threads: ".ljust(whole, "-"))
            shown = [
                self._marked(cell.rjust(w), m, found if self._rowwise else [r[i] for r in grid])
                for i, (cell, w, m) in enumerate(zip(line, widths, found))
            ]
            lines.append(f"  {name:{left - 2}} | {'  '.join(shown)}".rstrip())
        return "\n".join([*lines, "", f"Times are in {NAMES[unit]} ({unit}).", ""])

    def _cell(self, m: Measurement | None, size: float) -> str:
        if m is None:
            return ""
        digits = m.significant_figures if self._trim else 3
        text = f"{float(f'{m.median / size:.{digits}g}'):.{digits}g}"
        text = f"{float(text):g}" if "e" not in text else f"{float(text):.0f}"
        return (
            f"(! {m.iqr / m.median * 100:.0f}%) {text}" if self._warns and m.has_warnings else text
        )

    def _marked(self, text: str, m: Measurement | None, others: list[Any]) -> str:
        times = [o.median for o in others if o is not None]
        best = m is not None and m.median <= min(times) * 1.05
        worst = m is not None and m.median >= max(times) * 0.95
        if not self._colors or len(times) < 2 or not (best or worst):
            return text
        cell = text.lstrip()
        return f"{text[: -len(cell)]}{GREEN if best else RED}{cell}{END}"


NAMES = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
