"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import plots
from .predicted import rooflines
from .results import Row, agreements, changes, summary, uncertainty, unsure, write_text

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 68rem; padding: 1.2rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; margin: .2em 0 } h2 { font-size: 1.25rem; margin: 2em 0 .4em }
p { max-width: 46rem } .soft { color: var(--soft) }
img { width: calc(var(--inches) * 104px); max-width: 100%; height: auto; display: block;
  border: 1px solid var(--line); border-radius: 6px }
.row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start }
.scroll { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; font-size: .84rem; width: 100% }
th, td { text-align: right; padding: .22rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff }
details { margin: .6em 0 } summary { cursor: pointer; font-weight: 600 }
@media screen and (max-width: 44rem) { body { padding: .7rem }
  td:first-child { white-space: normal; min-width: 9rem }
  img { width: calc(var(--inches) * 76px); max-width: none } }
@media print { body { max-width: none; font-size: 10pt } h2, h2 + p, summary { break-after: avoid }
  img, tr { break-inside: avoid }
  img { width: calc(var(--inches) * 80px); max-height: 23cm; object-fit: contain; border: none }
  .row { gap: 0 } .row .scroll { width: 50% }
  .scroll { overflow: visible } table { font-size: 7pt } th, td { padding: 1pt 3pt }
  th, td { white-space: normal } }
"""
TITLES = {
    "models": "Whole models",
    "changes": "Changes",
    "hosts": "Host time of a call",
    "throughput": "Rate against size",
    "roofline": "Roofline",
    "accuracy": "Accuracy beside speed",
}
EXPLAINED = {
    "models": "Training steps (loss, gradients, AdamW) and inference, of the same networks on both "
    "libraries. Longer bars are faster.",
    "hosts": "What the host spends on a call whose arithmetic is nothing. Shorter bars are better.",
    "throughput": "Bytes that must be moved, or for products multiplications and additions, over "
    "the median time, against the number of elements, rows or images. The dotted line is what this "
    "device was measured to do at most; copies pass it whose arrays stay in the cache.",
    "roofline": "Every point measured; on the left, by bytes alone, those that only move or draw "
    "elements. Left of the bend memory is the limit, right of it arithmetic; a point on the line "
    "cannot be faster on this device. Arrays that stay in a processor's cache can lie above the "
    "slope.",
    "accuracy": "Largest difference from the result in float64, in units of the last place of a "
    "number of the exact result's size (at least its root mean square).",
    "changes": "Ratios that differ by more than four standard deviations of both. Longer bars to "
    "the right are faster now.",
}


def number(x: Any) -> str:
    if isinstance(x, float):
        return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"
    return f"{x:,}" if isinstance(x, int) else html.escape(str(x))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{number(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def image(picture: plots.Picture, title: str) -> str:
    data = base64.b64encode(picture.png).decode()
    shown = f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}" '
    return f'<div class="scroll">{shown}style="--inches:{picture.inches:g}"></div>'


def points_table(results: dict[str, Any]) -> str:
    names = [n for n in results["machine"]["versions"] if n not in ("triton", "tritorch")]
    head = [
        "operator",
        "dtype",
        "inputs",
        "us",
        "spread",
        *(f"x {n}" for n in names),
        "GB/s",
        "ulp",
    ]
    rows = []
    for p in sorted(results["points"], key=lambda p: (p["family"], p["operator"], p["size"])):
        ours = p["times"]["tritorch"]["median"]
        ratio = [ratio_cell(p, n) for n in names]
        rate = p["bytes"] / ours / 1e3
        spread = f"{p['noise']:.1%}"
        error = p["ulps"].get("tritorch", "")
        rows.append([p["operator"], p["dtype"], p["shapes"], ours, spread, *ratio, rate, error])
    return table(head, rows)


def ratio_cell(row: Row, name: str) -> str:
    """The ratio, and how far another report's may well be from it: two standard deviations."""
    if name not in row["ratio"]:
        return ""
    return f"{row['ratio'][name]:.2f} ±{2 * uncertainty(row, name):.0%}"


def models_table(results: dict[str, Any]) -> str:
    """Time, rate and memory of each library."""
    models = results["models"]
    names = list(dict.fromkeys(n for r in models for n in r["times"]))
    head = ["model", "items/s", *(f"{n}, ms" for n in names), *(f"{n}, MB" for n in names)]
    rows = []
    for r in models:
        ours = r["times"]["tritorch"]["median"]
        memory = r["memory"] if isinstance(r["memory"], dict) else {}  # once of tritorch alone
        times = [r["times"][n]["median"] / 1e3 if n in r["times"] else "" for n in names]
        most = [memory[n] / 1e6 if n in memory else "" for n in names]
        ratio = [ratio_cell(r, n) for n in names[1:]]
        rate = f"{r['items'] / ours * 1e6:,.0f} {r['unit']}"
        rows.append([r["key"], rate, *times, *most, *ratio])
    return table([*head, *(f"x {n}" for n in names[1:])], rows)


def kernels_table(facts: dict[str, Any]) -> str:
    head = ["point", "kernel", "warps", "registers", "shared", "occupancy", "instructions"]
    head += ["tensor cores", "loads", "stores", "FLOP/byte", "bound", "least us"]
    rows = [
        [
            *(k["point"], k["kernel"], k["warps"], k["registers"], k["shared"]),
            f"{k['occupancy']:.0%}",
            k.get("instructions", ""),
            ", ".join(f"{n} {name}" for name, n in k["tensor cores"].items()) or "-",
            *(k["loads"], k["stores"], k["intensity"], k["bound"], k["microseconds"]),
        ]
        for k in facts["kernels"]
    ]
    m = facts["machine"]
    title = f"{m['target']} ({m['named']}), triton {m['triton']}, compiled {m['date']}"
    failed = listed("Not compiled", facts["failed"])
    inside = table(head, rows) + failed
    return f"<details><summary>{html.escape(title)}</summary>{inside}</details>"


def listed(title: str, failed: dict[str, str]) -> str:
    if not failed:
        return ""
    return f"<h2>{html.escape(title)}</h2>" + table(["figure", "why"], failed.items())


def unsure_section(results: dict[str, Any]) -> str:
    """What this report knows least."""
    rows = [(key, name, f"±{2 * u:.0%}") for key, name, u in unsure(results)]
    if not rows:
        return ""
    title = f"{len(rows)} ratios that another report may well find to differ by over a tenth"
    inside = table(["figure", "ratio to", "two standard deviations"], rows)
    return f"<details><summary>{title}</summary>{inside}</details>"


def changes_section(results: dict[str, Any], before: dict[str, Any] | None) -> str:
    """What became of the figures since the report before."""
    if before is None:
        return "<p>No earlier results of this device to compare with.</p>"
    found = changes(before, results)
    slower, faster = sum(c.slower for c in found), sum(c.faster for c in found)
    said = [
        f"Since {plots.caption(before)}: of {len(found)} figures in both {slower} are slower and "
        f"{faster} faster beyond the noise",
        *map(str, agreements(before, results)),
    ]
    return f"<p>{html.escape('; '.join(said))}.</p>"


def gpu_section(others: Sequence[dict[str, Any]]) -> str:
    """The last results of GPUs, which these pages' device may not have."""
    parts = []
    for found in others:
        m = found["machine"]
        rows = device_rows(found)
        title = f"{m['device']}, measured {m['date']}: {len(rows)} figures"
        inside = table(["figure", "us", "x torch", "rate"], rows)
        parts.append(f"<details><summary>{html.escape(title)}</summary>{inside}</details>")
    return "".join(parts)


def device_rows(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Name, microseconds, torch's time over tritorch's and rate, of a report of this package or of
    the first look at a device that perf/gpu.py takes."""
    if "figures" in found:
        return [
            (
                name,
                f["microseconds"],
                f["torch"] / f["microseconds"] if "torch" in f else "",
                next((f"{f[unit]:,.0f} {unit}" for unit in ("GB/s", "TFLOP/s") if unit in f), ""),
            )
            for name, f in found["figures"].items()
        ]
    medians = [(p, p["times"]["tritorch"]["median"]) for p in found["points"]]
    return [
        (p["key"], us, ratio_cell(p, "torch"), f"{p['bytes'] / us / 1e3:,.0f} GB/s")
        for p, us in medians
    ]


def build(
    results: dict[str, Any],
    before: dict[str, Any] | None,
    pictures: dict[str, plots.Picture],
    others: Sequence[dict[str, Any]] = (),
    kernels: Sequence[dict[str, Any]] = (),
    predicted: plots.Picture | None = None,
) -> str:
    """The page of these results, with the pictures inside."""
    device = html.escape(results["machine"]["device"])
    parts = [f"<h1>tritorch on {device}</h1>"]
    parts.append(f'<p class="soft">{html.escape(plots.caption(results))}</p>')
    parts.append(f"<p>{summary(results)}.</p>{unsure_section(results)}{how(results['limits'])}")
    parts.append(changes_section(results, before))
    parts += sections(results, pictures)
    parts.append(listed("Failed", results["failed"]))
    parts.append(listed("Not reached in the time given", dict.fromkeys(results["left"], "")))
    if results["points"]:
        parts.append("<h2>All figures</h2><details open><summary>by family</summary>")
        parts.append(points_table(results) + "</details>")
    if others:
        parts.append(f"<h2>Measured on GPUs</h2><p>{GPUS}</p>{gpu_section(others)}")
    if kernels:
        parts.append(f"<h2>Kernels, compiled ahead of time</h2><p>{COMPILED}</p>")
        parts += [image(p, "Predicted rooflines") for p in [predicted] if p]
        parts += map(kernels_table, kernels)
    head = '<!doctype html><html lang="en"><meta charset="utf-8">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>tritorch on {device}</title><style>{STYLE}</style>"
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def how(limits: dict[str, Any]) -> str:
    """What the device can do, and how the figures were taken."""
    if not limits:
        return ""
    rates = ", ".join(f"{v / 1e9:,.0f} GFLOP/s in {k}" for k, v in limits["flop/s"].items())
    return (
        f"<p>This device was measured to copy {limits['bytes/s'] / 1e9:,.0f} GB/s and to "
        f"multiply matrices at {rates}. Libraries took turns in one process, on inputs that "
        "rotate through memory, in visits that lie far apart. Times are medians; ratios are "
        "those of lower quartiles, which neighbours disturb least, with two standard "
        "deviations of what visits tell.</p>"
    )


def sections(results: dict[str, Any], pictures: dict[str, plots.Picture]) -> Iterator[str]:
    """A heading, what to look for, and the pictures: those that go on with one stand beside it."""
    groups: dict[str, list[str]] = {}
    for name in pictures:
        groups.setdefault(re.sub(r"-\d+$", "", name), []).append(name)
    for first, names in groups.items():
        title = TITLES.get(first, first.replace("ratios-", "Against ").replace("-", "."))
        row = "".join(image(pictures[name], f"{title}, {name}") for name in names)
        yield f"<h2>{html.escape(title)}</h2><p>{EXPLAINED.get(first, EXPLAINED_RATIO)}</p>"
        yield f'<div class="row">{row}</div>' if len(names) > 1 else row
        if first == "models":
            yield f"<p>{MEMORY}</p>{models_table(results)}"


EXPLAINED_RATIO = (
    "The largest size of each operator, slowest first: the other library's time over tritorch's. "
    "Lines are two standard deviations long to either side."
)
MEMORY = "Memory is the most that a step takes above the weights and the optimizer's state."
GPUS = "The last results that each of these devices gave; this report did not measure them again."
COMPILED = (
    "What the compiler made of each kernel at a large size, without a device: a prediction of the "
    "roofline on the figures of the data sheet, not a measurement. In the picture are those that "
    "calculate, where their arithmetic a byte puts them; a hollow mark is of a kernel of which a "
    "multiprocessor holds less than a quarter of its warps."
)


def write(
    folder: Path,
    results: dict[str, Any],
    before: dict[str, Any] | None,
    others: Sequence[dict[str, Any]] = (),
    kernels: Sequence[dict[str, Any]] = (),
) -> Path:
    """Draws, and writes the pictures and `report.html`; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plots.pictures(results, changes(before, results) if before else [])
    with plots.styled():
        roofs = rooflines(kernels)
    predicted = plots.picture(roofs) if roofs else None
    drawn = pictures | ({"predicted": predicted} if predicted else {})
    for name, picture in drawn.items():
        (folder / f"{name}.png").write_bytes(picture.png)
    text = build(results, before, pictures, others, kernels, predicted)
    write_text(folder / "report.html", text)
    return folder / "report.html"
