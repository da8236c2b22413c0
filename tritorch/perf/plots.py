"""The pictures of a report, by matplotlib: each a function of results that returns a figure.

The colours are Okabe and Ito's, which people with any form of colour blindness tell apart ("Color
universal design", 2008); libraries also differ by marker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .results import Change, uncertainty
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
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
}
UNITS = {"square": "rows and columns", "images": "images", "steps": "length of sequences"}
COUNTED = {s.operator: UNITS.get(s.sizes, "elements") for s in SWEEPS}
PANELS = 20
DENSE = ("product", "convolution", "attention")  # families that arithmetic bounds


def caption(results: dict[str, Any]) -> str:
    """What was measured on, with what, when."""
    m = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items() if v)
    threads = f", {m['threads']} threads" if m["kind"] == "cpu" else ""
    return f"{m['device']}{threads}; {versions}; {m['date']}"


def plain(*axes: Any) -> None:
    """Decimal numbers along logarithmic axes, and on short ones more than the powers of ten."""
    for axis in axes:
        low, high = sorted(axis.get_view_interval())
        decades = math.log10(high / low)
        axis.set_major_formatter(lambda x, _: f"{x:,g}" if 1e-3 <= x < 1e5 else f"{x:.0e}")
        axis.set_minor_formatter(NullFormatter())
        if decades < 2:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades > 0.5 else range(1, 10)))


def finish(figure: Figure, title: str, results: dict[str, Any], bottom: float = 0.0) -> Figure:
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.text(0.01, 0.004, caption(results), fontsize=7.5, color="#555555")
    figure.tight_layout(rect=(0, 0.03 + bottom, 1, 0.98))
    return figure


def throughput(results: dict[str, Any]) -> dict[str, Figure]:
    """Rate against size for each sweep, the device's limit drawn in; `PANELS` of them a picture,
    which is what a printed page holds."""
    groups: dict[tuple, list] = {}
    for p in results["points"]:
        groups.setdefault((p["family"], p["operator"], p["dtype"]), []).append(p)
    swept = [(k, sorted(v, key=lambda p: p["size"])) for k, v in groups.items() if len(v) > 1]
    made = {}
    for part, start in enumerate(range(0, len(swept), PANELS), 1):
        name = "throughput" if part == 1 else f"throughput-{part}"
        made[name] = panels(results, swept[start : start + PANELS])
    return made


def panels(results: dict[str, Any], groups: list[tuple[tuple, list]]) -> Figure:
    rows = math.ceil(len(groups) / 4)
    figure, axes = plt.subplots(rows, 4, figsize=(13, 2.8 * rows + 0.7), squeeze=False)
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
    if limits:
        most = limits["flop/s"].get(dtype) if dense else limits["bytes/s"]
        if most:
            axis.axhline(most / 1e9, color="#000000", linewidth=0.9, linestyle=":")
            axis.text(
                *(0.98, most / 1e9, "limit"),
                transform=axis.get_yaxis_transform(),
                fontsize=7,
                ha="right",
                va="bottom",
            )
    axis.set(xscale="log", yscale="log")
    axis.set_title(f"{operator}, {dtype}", fontsize=9.5, loc="left")
    axis.set_ylabel("GFLOP/s" if dense else "GB/s", fontsize=8)
    axis.set_xlabel(COUNTED.get(operator, "elements"), fontsize=7.5, labelpad=1)
    plain(axis.yaxis)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8)


def roofline(results: dict[str, Any]) -> Figure | None:
    """Every kernel of tritorch's: arithmetic rate over intensity, under the measured roof."""
    limits = results["limits"]
    points = [p for p in results["points"] if p["flops"] and p["bytes"]]
    if not limits or not points:
        return None
    figure, axis = plt.subplots(figsize=(9, 5.6))
    band, peak = limits["bytes/s"], max(limits["flop/s"].values())
    lows = [p["flops"] / p["bytes"] for p in points]
    xs = [min(lows) / 2, *(rate / band for rate in limits["flop/s"].values()), max(lows) * 4]
    for dtype, rate in limits["flop/s"].items():
        line = [x for x in sorted(xs) if x <= rate / band] + [max(xs)]
        axis.plot(line, [min(x * band, rate) / 1e9 for x in line], color="black", linewidth=1.1)
        axis.text(max(xs), rate / 1e9, f"{dtype} ", ha="right", va="bottom", fontsize=8)
    axis.text(xs[0], xs[0] * 3 * band / 1e9, f"{band / 1e9:.0f} GB/s", fontsize=8)
    families = dict.fromkeys(p["family"] for p in points)
    for i, (colour, family) in enumerate(zip(PALETTE * 3, families)):
        marker = "osD^vP"[(i + i // len(PALETTE)) % 6]  # no family has both as another has
        own = [p for p in points if p["family"] == family]
        axis.scatter(
            [p["flops"] / p["bytes"] for p in own],
            [p["flops"] / p["times"]["tritorch"]["median"] / 1e3 for p in own],
            color=colour,
            marker=marker,
            s=22,
            alpha=0.8,
            label=family,
        )
    axis.set(xscale="log", yscale="log", xlabel="FLOP a byte", ylabel="GFLOP/s")
    axis.set_ylim(top=peak / 1e9 * 2.5)
    plain(axis.xaxis, axis.yaxis)
    axis.legend(fontsize=8, ncols=2, loc="lower right")
    return finish(figure, "Roofline: every operator under what the device can do", results)


def ratios(results: dict[str, Any], peer: str) -> Figure | None:
    """Bars of the peer's time over tritorch's, the largest point of each operator, sorted."""
    best: dict[str, dict] = {}
    for p in results["points"]:
        label = p["operator"] if p["dtype"] == "float32" else f"{p['operator']}, {p['dtype']}"
        if peer in p["ratio"] and p["size"] >= best.get(label, p)["size"]:  # type: ignore
            best[label] = p
    bars = [(label, p["ratio"][peer], uncertainty(p, peer)) for label, p in best.items()]
    bars.sort(key=lambda b: b[1])
    if not bars:
        return None
    columns = 1 if len(bars) <= 50 else 3
    per = math.ceil(len(bars) / columns)
    size = (4.6 * columns + 2, max(2.4, 0.19 * per + 1.2))
    figure, axes = plt.subplots(1, columns, figsize=size, squeeze=False, sharex=True)
    for i, axis in enumerate(axes.flat):
        draw_ratios(axis, bars[i * per : (i + 1) * per], peer)
    low, high = min(1.0, bars[0][1]), max(1.0, bars[-1][1])
    room = (high / low) ** 0.14 * 1.05
    axes.flat[0].set_xlim(low / room, high * room)
    plain(*(axis.xaxis for axis in axes.flat))
    mean = math.exp(sum(math.log(r) for _, r, _ in bars) / len(bars))
    title = f"Speed over {peer}'s: {len(bars)} operators, geometric mean {mean:.2f}"
    return finish(figure, title, results)


def draw_ratios(axis: Any, bars: list[tuple[str, float, float]], peer: str) -> None:
    values = [r for _, r, _ in bars]
    ends = [(r * math.exp(-2 * u), r * math.exp(2 * u)) for _, r, u in bars]
    colours = [COLOURS["tritorch"] if r >= 1 else COLOURS["torch"] for r in values]
    lefts, widths = [min(r, 1.0) for r in values], [abs(r - 1) for r in values]
    axis.barh(range(len(bars)), widths, left=lefts, color=colours, height=0.7)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.hlines(range(len(bars)), *zip(*ends), color="black", linewidth=0.9)
    axis.set_yticks(range(len(bars)), [label for label, _, _ in bars], fontsize=7.5)
    axis.set_xscale("log")
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_xlabel(f"{peer}'s time / tritorch's (right of 1: tritorch is faster)", fontsize=8)
    axis.grid(axis="y", visible=False)
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
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(rows) * len(names) + 1.6))
    height = 0.8 / len(names)
    for j, name in enumerate(names):
        places = [i + (j - (len(names) - 1) / 2) * height for i in range(len(rows))]
        values = [v.get(name, math.nan) for _, v in rows]
        axis.barh(places, values, height * 0.92, color=COLOURS[name], label=name)
        for y, x in zip(places, values):
            if x == x:
                text = f" {x:,.2f}" if x < 100 else f" {x:,.0f}"
                axis.text(x, y, text, va="center", fontsize=7.5)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8.5)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(unit)
    if log:
        axis.set_xscale("log")
        plain(axis.xaxis)
    axis.margins(x=0.12)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names))
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
        own = [p for p in points if name in p["ulps"] and math.isfinite(p["ulps"][name])]
        axis.scatter(
            [p["ratio"][peer] for p in own],
            [max(p["ulps"][name], 0.1) for p in own],
            color=COLOURS[name],
            marker=MARKERS[name],
            s=20,
            alpha=0.7,
            label=f"error of {name}",
        )
    worst = sorted(points, key=lambda p: -min(p["ulps"]["tritorch"], 1e9))[:4]
    for i, p in enumerate(worst):
        axis.annotate(
            p["operator"],
            (p["ratio"][peer], max(min(p["ulps"]["tritorch"], 1e9), 0.1)),
            fontsize=7.5,
            xytext=(4, 4 if i % 2 else -9),
            textcoords="offset points",
        )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel(f"{peer}'s time / tritorch's")
    axis.set_ylabel("largest error, units in the last place (0.1: none)")
    plain(axis.xaxis, axis.yaxis)
    axis.legend()
    return finish(figure, "Accuracy beside speed", results)


def changed(results: dict[str, Any], changes: list[Change]) -> Figure | None:
    """What is beyond the noise since the last results of the device."""
    beyond = [c for c in changes if c.slower or c.faster][:40]
    if not beyond:
        return None
    figure, axis = plt.subplots(figsize=(9, 0.24 * len(beyond) + 1.6))
    factors = [1 / c.factor for c in beyond]
    colours = [COLOURS["torch"] if c.slower else COLOURS["tritorch"] for c in beyond]
    axis.barh(range(len(beyond)), [f - 1 for f in factors], left=1, color=colours, height=0.7)
    axis.set_yticks(range(len(beyond)), [c.key for c in beyond], fontsize=7.5)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_ylim(len(beyond) - 0.4, -0.6)
    axis.set_xscale("log")
    plain(axis.xaxis)
    axis.set_xlabel("speed now over before (right of 1: faster)")
    return finish(figure, "Changes beyond the noise", results)


def pictures(results: dict[str, Any], changes: list[Change]) -> dict[str, Figure]:
    """All that these results can be drawn as, by file name."""
    drawn: dict[str, Callable[[], Figure | None]] = {
        "models": lambda: models(results),
        "changes": lambda: changed(results, changes),
        "hosts": lambda: hosts(results),
        **{
            f"ratios-{peer.replace('.', '-')}": lambda peer=peer: ratios(results, peer)
            for peer in ("torch", "torch.compile", "numpy")
        },
        "roofline": lambda: roofline(results),
        "accuracy": lambda: accuracy(results),
    }
    with plt.rc_context(STYLE):  # type: ignore
        made = {name: draw() for name, draw in drawn.items()} | throughput(results)
    return {name: figure for name, figure in made.items() if figure is not None}
