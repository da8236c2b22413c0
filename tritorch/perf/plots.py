"""The pictures of a report, by matplotlib: each a function of results that returns a figure.

The colours are Okabe and Ito's, which people with any form of colour blindness tell apart ("Color
universal design", 2008); libraries also differ by marker.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from .results import Change, Row, uncertainty
from .sweeps import SWEEPS

COLOURS = {
    "tritorch": "#0072B2",
    "torch": "#D55E00",
    "numpy": "#009E73",
    "torch.compile": "#CC79A7",
}
MARKERS = {"tritorch": "o", "torch": "s", "numpy": "^", "torch.compile": "D"}
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000")
STYLE = {
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
UNITS = {"square": "rows and columns", "images": "images", "steps": "length of sequences"}
COUNTED = {s.operator: UNITS.get(s.sizes, "elements") for s in SWEEPS}
PANELS, ACROSS = 15, 3  # panels of a picture and of a row
BARS = 70  # of a picture
MOST = 40  # changes that are drawn
WORST = 1e6  # units in the last place, as which larger errors are drawn
DENSE = ("product", "convolution", "attention")  # families that arithmetic bounds


def caption(results: dict[str, Any]) -> str:
    """What was measured on, with what, when."""
    m = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items() if v)
    threads = f", {m['threads']} threads" if m["kind"] == "cpu" else ""
    return f"{m['device']}{threads}; {versions}; {m['date']}"


def styled() -> AbstractContextManager[None]:
    """A block in which matplotlib draws as these reports do."""
    return plt.rc_context(STYLE)  # type: ignore


class Picture(NamedTuple):
    """`inches` is the width at which its letters have the size of a book's."""

    png: bytes
    inches: float


def picture(figure: Figure) -> Picture:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png")
    plt.close(figure)
    return Picture(buffer.getvalue(), float(figure.get_figwidth()))


def decimal(x: float) -> str:
    """`0.001`, `50`, `100,000`, `4M`."""
    return f"{x / 1e6:,g}M" if x >= 1e6 else f"{x:,g}"


def plain(*axes: Any) -> None:
    """Decimal numbers along logarithmic axes, and on short ones more than the powers of ten."""
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        decades = math.log10(high / low)
        axis.set_major_formatter(lambda x, _: decimal(x))
        axis.set_minor_formatter(NullFormatter())
        if decades < 2:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades > 0.5 else range(1, 10)))


def finish(figure: Figure, title: str, results: dict[str, Any], legend: int = 0) -> Figure:
    """With a title, room for so many lines of a legend below, and the results' caption."""
    return framed(figure, title, caption(results), legend)


def framed(figure: Figure, title: str, said: str, legend: int = 0) -> Figure:
    """With a title above, and below it room for a legend and what is said in small letters."""
    width, height = figure.get_size_inches()
    size = 13 if width > 6 else 11
    figure.text(0.01, 1 - 0.08 / height, title, va="top", fontsize=size, weight="bold")
    lines = textwrap.wrap(said, int(width * 17))
    small: dict[str, Any] = {"fontsize": 7.5, "color": "#555555"}
    figure.text(0.01, 0.05 / height, "\n".join(lines), va="bottom", linespacing=1.2, **small)
    bottom = (0.13 * len(lines) + 0.08 + 0.19 * legend) / height
    figure.tight_layout(rect=(0, bottom, 1, 1 - (0.2 + 0.2 * len(title.split("\n"))) / height))
    return figure


def throughput(results: dict[str, Any]) -> dict[str, Figure]:
    """Rate against size for each sweep, the device's limit drawn in; `PANELS` of them a picture,
    which is what a printed page holds."""
    groups: dict[tuple, list] = {}
    for p in results["points"]:
        groups.setdefault((p["family"], p["operator"], p["dtype"]), []).append(p)
    swept = [(k, sorted(v, key=lambda p: p["size"])) for k, v in groups.items() if len(v) > 1]
    parts = [swept[start : start + PANELS] for start in range(0, len(swept), PANELS)]
    return numbered("throughput", [panels(results, part) for part in parts])


def numbered(name: str, figures: list[Figure]) -> dict[str, Figure]:
    """By the names `name`, `name-2`, `name-3` ..."""
    return {f"{name}-{i}" if i > 1 else name: f for i, f in enumerate(figures, 1)}


def panels(results: dict[str, Any], groups: list[tuple[tuple, list]]) -> Figure:
    rows = math.ceil(len(groups) / ACROSS)
    figure, axes = plt.subplots(rows, ACROSS, figsize=(9, 2.2 * rows + 0.6), squeeze=False)
    for axis, (key, points) in zip(axes.flat, groups):
        draw_throughput(axis, key, points, results["limits"])
    for axis in axes.flat[len(groups) :]:
        axis.axis("off")
    lines = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
    named = {name: lines[name] for name in COLOURS if name in lines}
    figure.legend(named.values(), named.keys(), loc="upper right", ncols=len(named))
    return finish(figure, "Rate against size", results)


def draw_throughput(axis: Any, key: tuple, points: list, limits: dict[str, Any]) -> None:
    family, operator, dtype = key
    dense = family in DENSE
    work = "flops" if dense else "bytes"
    for name in points[0]["times"]:
        seen = [p for p in points if name in p["times"]]
        rates = [p[work] / p["times"][name]["median"] / 1e3 for p in seen]
        axis.plot(
            [p["size"] for p in seen],
            rates,
            color=COLOURS[name],
            marker=MARKERS[name],
            markersize=4,
            label=name,
        )
    known = {"bytes/s": None, "flop/s": {}} | limits
    most = known["flop/s"].get(dtype) if dense else known["bytes/s"]
    if most:
        draw_limit(
            axis, most / 1e9, points[0][work] / points[0]["times"]["tritorch"]["median"] / 1e3
        )
    sizes = [p["size"] for p in points]
    axis.set(xscale="log", yscale="log")
    axis.set_title(f"{operator}, {dtype}", fontsize=9.5, loc="left")
    axis.set_ylabel("GFLOP/s" if dense else "GB/s", fontsize=8)
    axis.set_xlabel(COUNTED.get(operator, "elements"), fontsize=7.5, labelpad=1)
    plain(axis.yaxis)
    axis.set_xticks(sizes, [binary(n) for n in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=8)


def binary(n: int) -> str:
    """`64`, `16 Ki`, `4 Mi`."""
    for letter, unit in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if n >= unit and n % unit == 0:
            return f"{n // unit} {letter}"
    return str(n)


def draw_limit(axis: Any, most: float, first: float) -> None:
    """A line at the device's limit, named on the side away from where tritorch's curve begins."""
    axis.axhline(most, color="#000000", linewidth=0.9, linestyle=":")
    axis.text(
        *(0.02, most, "limit"),
        transform=axis.get_yaxis_transform(),
        fontsize=7,
        va="bottom" if first < most else "top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )


def roofline(results: dict[str, Any]) -> Figure | None:
    """Every operator of tritorch's: arithmetic rate over intensity, under the measured roof; beside
    it the bytes a second of those that only move elements."""
    limits, points = results["limits"], [p for p in results["points"] if p["bytes"]]
    if not limits or not points:
        return None
    counted = [p for p in points if p["flops"]]
    families = list(dict.fromkeys(p["family"] for p in points))
    width = [1, 5] if counted else [5, 1]
    figure, (moves, axis) = plt.subplots(1, 2, figsize=(9, 6.2), width_ratios=width)
    marks = looks(families)
    draw_moves(moves, [p for p in points if not p["flops"]], limits["bytes/s"], marks)
    draw_roof(axis, counted, limits, marks)
    lines = legend(figure, marks)
    return finish(figure, "Roofline: every operator beside what the device can do", results, lines)


def looks(families: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each: no family has both as another has."""
    return {
        family: {"color": colour, "marker": "osD^vP"[(i + 2 * (i // len(PALETTE))) % 6]}
        for i, (colour, family) in enumerate(zip(PALETTE * 3, families))
    }


def legend(figure: Figure, looks: dict[str, dict[str, Any]]) -> int:
    """Below the axes, six families a line; the number of lines."""
    dots = [plt.Line2D([], [], linestyle="", markersize=5, **look) for look in looks.values()]
    place = (0.5, 0.25 / figure.get_figheight())
    below: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": place, "ncols": 6}
    figure.legend(dots, list(looks), fontsize=8, handletextpad=0.1, columnspacing=1.2, **below)
    return math.ceil(len(looks) / 6)


def scattered(
    axis: Any, points: list[Row], looks: dict[str, dict[str, Any]], x: Any, y: Any
) -> None:
    for family, look in looks.items():
        own = [p for p in points if p["family"] == family]
        axis.scatter([x(p) for p in own], [y(p) for p in own], s=22, alpha=0.8, **look)


def draw_moves(axis: Any, points: list[Row], band: float, looks: dict[str, dict[str, Any]]) -> None:
    """Bytes a second, each family in a column of its own."""
    columns = {f: i for i, f in enumerate(dict.fromkeys(p["family"] for p in points))}
    rate = lambda p: p["bytes"] / p["times"]["tritorch"]["median"] / 1e3  # noqa: E731
    scattered(axis, points, looks, lambda p: columns[p["family"]], rate)
    axis.axhline(band / 1e9, color="black", linewidth=1.1)
    axis.set(yscale="log", ylabel="GB/s", xticks=[])
    axis.set_xlabel("no arithmetic counted", fontsize=8)
    axis.set_xlim(-0.8, max(len(columns) - 0.2, 0.8))
    plain(axis.yaxis)


def draw_roof(
    axis: Any, points: list[Row], limits: dict[str, Any], looks: dict[str, dict[str, Any]]
) -> None:
    band, peak = limits["bytes/s"], max(limits["flop/s"].values())
    lows = [p["flops"] / p["bytes"] for p in points] or [1.0]
    xs = [min(lows) / 2, *(rate / band for rate in limits["flop/s"].values()), max(lows) * 4]
    for dtype, rate in limits["flop/s"].items():
        line = [x for x in sorted(xs) if x <= rate / band] + [max(xs)]
        axis.plot(line, [min(x * band, rate) / 1e9 for x in line], color="black", linewidth=1.1)
        axis.text(max(xs), rate / 1e9, f"{dtype} ", ha="right", va="bottom", fontsize=8)
    axis.text(xs[0], xs[0] * 3 * band / 1e9, f"{band / 1e9:,.0f} GB/s", fontsize=8)
    rate = lambda p: p["flops"] / p["times"]["tritorch"]["median"] / 1e3  # noqa: E731
    scattered(axis, points, looks, lambda p: p["flops"] / p["bytes"], rate)
    axis.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="GFLOP/s")
    axis.set_ylim(top=peak / 1e9 * 2.5)
    plain(axis.xaxis, axis.yaxis)


def ratios(results: dict[str, Any], peer: str) -> dict[str, Figure]:
    """Bars of the peer's time over tritorch's, the largest point of each operator, sorted; `BARS`
    of them a picture, all on one scale."""
    best: dict[str, dict] = {}
    for p in results["points"]:
        label = p["operator"] if p["dtype"] == "float32" else f"{p['operator']}, {p['dtype']}"
        if peer in p["ratio"] and p["size"] >= best.get(label, p)["size"]:  # type: ignore
            best[label] = p
    bars = [(label, p["ratio"][peer], uncertainty(p, peer)) for label, p in best.items()]
    bars.sort(key=lambda b: b[1])
    if not bars:
        return {}
    per = math.ceil(len(bars) / math.ceil(len(bars) / BARS))
    mean = math.exp(sum(math.log(r) for _, r, _ in bars) / len(bars))
    low, high = min(1.0, bars[0][1]), max(1.0, bars[-1][1])
    room = (high / low) ** 0.2 * 1.1
    made = []
    for start in range(0, len(bars), per):
        some = bars[start : start + per]
        figure, axis = plt.subplots(figsize=(4.8, 0.155 * len(some) + 2.0))
        axis.set_xscale("log")
        axis.set_xlim(low / room, high * room)
        draw_ratios(axis, some, peer)
        part = f"{start + 1} to {start + len(some)} of {len(bars)} operators"
        title = f"Speed over {peer}'s: geometric mean {mean:.2f}\n{part}, slowest first"
        made.append(finish(figure, title, results))
    return numbered(f"ratios-{peer.replace('.', '-')}", made)


def draw_ratios(axis: Any, bars: list[tuple[str, float, float]], peer: str) -> None:
    """On the axis' limits, within which numbers and the lines of uncertainties stay."""
    left, right = axis.get_xlim()
    room = (right / left) ** 0.11
    within = lambda x: min(max(x, left * room), right / room)  # noqa: E731
    values = [r for _, r, _ in bars]
    ends = [(within(r * math.exp(-2 * u)), within(r * math.exp(2 * u))) for _, r, u in bars]
    colours = [COLOURS["tritorch"] if r >= 1 else COLOURS["torch"] for r in values]
    lefts, widths = [min(r, 1.0) for r in values], [abs(r - 1) for r in values]
    axis.barh(range(len(bars)), widths, left=lefts, color=colours, height=0.7)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.hlines(range(len(bars)), *zip(*ends), color="black", linewidth=0.9)
    axis.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=7.5)
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_xlabel(f"{peer}'s time / tritorch's (right of 1: tritorch is faster)", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="y", visible=False)
    plain(axis.xaxis)
    for i, r in enumerate(values):
        axis.annotate(
            f"{r:.2f}",
            (ends[i][1] if r >= 1 else ends[i][0], i),
            xytext=(3 if r >= 1 else -3, 0),
            textcoords="offset points",
            ha="left" if r >= 1 else "right",
            va="center",
            fontsize=6.5,
        )


def hosts(results: dict[str, Any]) -> Figure | None:
    """Host time of a call on 16 elements."""
    rows = results["hosts"]
    return grouped(
        results,
        [(r["key"], {n: t["median"] for n, t in r["times"].items()}) for r in rows],
        "Host time of a call, 16 elements",
        "microseconds",
    )


def models(results: dict[str, Any]) -> Figure | None:
    """Items a second of whole models."""
    rows = [
        (
            f"{r['key']} ({r['unit']})",
            {n: r["items"] / t["median"] * 1e6 for n, t in r["times"].items()},
        )
        for r in results["models"]
    ]
    return grouped(results, rows, "Whole models", "items a second", log=True)


def grouped(
    results: dict[str, Any], rows: list[tuple[str, dict]], title: str, unit: str, log: bool = False
) -> Figure | None:
    """Horizontal bars, one for each library, with their numbers."""
    if not rows:
        return None
    names = list(dict.fromkeys(n for _, values in rows for n in values))
    figure, axis = plt.subplots(figsize=(6.5, 0.26 * len(rows) * len(names) + 2.0))
    height = 0.8 / len(names)
    for j, name in enumerate(names):
        places = [i + (j - (len(names) - 1) / 2) * height for i in range(len(rows))]
        values = [v.get(name, math.nan) for _, v in rows]
        axis.barh(places, values, height * 0.92, color=COLOURS[name], label=name)
        for y, x in zip(places, values):
            if x == x:
                text = f" {x:,.2f}" if x < 100 else f" {x:,.0f}"
                axis.text(x, y, text, va="center", fontsize=7.5)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(unit)
    if log:
        axis.set_xscale("log")
        plain(axis.xaxis)
    axis.margins(x=0.12)
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(names))
    return finish(figure, title, results)


def accuracy(results: dict[str, Any]) -> Figure | None:
    """Largest error beside speed: a point right of 1 and low is both faster and exact."""
    points = [p for p in results["points"] if "tritorch" in p["ulps"]]
    peer = next((n for n in ("torch", "numpy") if any(n in p["ratio"] for p in points)), None)
    points = [p for p in points if peer in p["ratio"] and p["family"] != "random"]
    if peer is None or not points:
        return None
    figure, axis = plt.subplots(figsize=(9, 5.2))
    for name in ("tritorch", peer):
        own = [p for p in points if name in p["ulps"]]
        axis.scatter(
            [p["ratio"][peer] for p in own],
            [drawn_error(p, name) for p in own],
            color=COLOURS[name],
            marker=MARKERS[name],
            s=20,
            alpha=0.7,
            label=f"error of {name}",
        )
    worst = sorted(points, key=lambda p: -p["ulps"]["tritorch"])[:4]
    for i, p in enumerate(worst):
        axis.annotate(
            p["operator"],
            (p["ratio"][peer], drawn_error(p, "tritorch")),
            fontsize=7.5,
            xytext=(4, 4 if i % 2 else -9),
            textcoords="offset points",
        )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel(f"{peer}'s time / tritorch's (right of 1: tritorch is faster)")
    axis.set_ylabel("largest error, units in the last place (0.1: none, 1M: more)")
    plain(axis.xaxis, axis.yaxis)
    axis.legend()
    return finish(figure, "Accuracy beside speed", results)


def drawn_error(point: Row, name: str) -> float:
    return min(max(point["ulps"][name], 0.1), WORST)


def changed(results: dict[str, Any], changes: list[Change]) -> Figure | None:
    """What is beyond the noise since the last results of the device."""
    found = [c for c in changes if c.slower or c.faster]
    beyond = sorted(found, key=lambda c: -abs(math.log(c.factor)))[:MOST]
    beyond.sort(key=lambda c: -c.factor)
    if not beyond:
        return None
    figure, axis = plt.subplots(figsize=(6.5, 0.22 * len(beyond) + 1.8))
    factors = [1 / c.factor for c in beyond]
    colours = [COLOURS["torch"] if c.slower else COLOURS["tritorch"] for c in beyond]
    axis.barh(range(len(beyond)), [f - 1 for f in factors], left=1, color=colours, height=0.7)
    axis.set_yticks(range(len(beyond)), [c.key for c in beyond], fontsize=7.5)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_ylim(len(beyond) - 0.4, -0.6)
    axis.set_xscale("log")
    plain(axis.xaxis)
    axis.set_xlabel("speed now over before (right of 1: faster)")
    largest = f", the {MOST} largest of {len(found)}" if len(found) > MOST else ""
    return finish(figure, f"Changes beyond the noise{largest}", results)


def pictures(results: dict[str, Any], changes: list[Change]) -> dict[str, Picture]:
    """All that these results can be drawn as, by file name."""
    drawn: dict[str, Callable[[], Figure | dict[str, Figure] | None]] = {
        "models": lambda: models(results),
        "changes": lambda: changed(results, changes),
        "hosts": lambda: hosts(results),
        **{
            peer: lambda peer=peer: ratios(results, peer)
            for peer in ("torch", "torch.compile", "numpy")
        },
        "roofline": lambda: roofline(results),
        "accuracy": lambda: accuracy(results),
        "throughput": lambda: throughput(results),
    }
    made: dict[str, Picture] = {}
    for name, draw in drawn.items():
        with styled():
            found = draw()
        figures = found if isinstance(found, dict) else {name: found}
        made |= {name: picture(figure) for name, figure in figures.items() if figure is not None}
    return made
