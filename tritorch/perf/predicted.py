"""The rooflines of GPUs that need not be present, with the kernels that were compiled for them.

A roof is drawn from the figures of a data sheet (`static.SHEETS`), and a point stands on it where
its arithmetic a byte puts it: what the device allows, not what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from . import plots
from .static import SHEETS, Sheet

FEW = 0.25  # of a multiprocessor's warps are resident: with fewer a point is hollow
Facts = dict[str, Any]


def rooflines(kernels: Sequence[Facts]) -> Figure | None:
    """A panel for each target: operations a second that its roof allows, over operations a byte."""
    known = [facts for facts in kernels if points(facts)]
    if not known:
        return None
    families = list(dict.fromkeys(p["family"] for facts in known for p in points(facts)))
    looks = plots.looks(families)
    rows = -(-len(known) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(9, 2.9 * rows + 1.2), squeeze=False)
    for axis, facts in zip(axes.flat, known):
        draw(axis, facts, looks)
    for axis in axes.flat[len(known) :]:
        axis.axis("off")
    lines = plots.legend(figure, looks)
    machines = [facts["machine"] for facts in known]
    versions = " and ".join(sorted({m["triton"] for m in machines}))
    said = f"data sheets; kernels compiled by triton {versions}; {max(m['date'] for m in machines)}"
    return plots.framed(figure, "Predicted rooflines of GPUs", said, lines)


def points(facts: Facts) -> list[Facts]:
    """The points of a target that calculate, each once: with the least occupancy of its kernels."""
    found: dict[str, Facts] = {}
    for k in facts["kernels"]:
        if k["intensity"]:
            before = found.setdefault(k["point"], dict(k))
            before["occupancy"] = min(k["occupancy"], before["occupancy"])
    return list(found.values())


def rate(point: Facts, sheet: Sheet) -> float:
    """Operations a second that the roof allows."""
    if point["bound"] == "memory":
        return point["intensity"] * sheet.bytes
    return sheet.half if point["tensor cores"] else sheet.single


def draw(axis: Any, facts: Facts, looks: dict[str, dict[str, Any]]) -> None:
    machine, own = facts["machine"], points(facts)
    sheet = SHEETS[machine["target"]]
    intensities = [p["intensity"] for p in own]
    left = min(intensities, default=1.0) / 2
    right = 2 * max(*intensities, sheet.half / sheet.bytes)
    for name, peak in (("16-bit products", sheet.half), ("float32", sheet.single)):
        xs = (left, peak / sheet.bytes, right)
        ys = [min(x * sheet.bytes, peak) / 1e12 for x in xs]
        axis.plot(xs, ys, color="black", linewidth=1)
        axis.text(right, peak / 1e12 * 1.3, name, ha="right", va="bottom", fontsize=7)
    for p in own:
        look = looks[p["family"]]
        face = "white" if p["occupancy"] < FEW else look["color"]
        place = p["intensity"], rate(p, sheet) / 1e12
        axis.scatter(
            *place, s=22, zorder=3, marker=look["marker"], c=face, edgecolors=look["color"]
        )
    axis.set(xscale="log", yscale="log")
    axis.set_title(f"{machine['target']} ({machine['named']})", fontsize=9.5, loc="left")
    axis.set_xlabel("FLOP a byte", fontsize=8, labelpad=1)
    axis.set_ylabel("TFLOP/s", fontsize=8)
    axis.set_ylim(top=sheet.half / 1e12 * 4)
    axis.tick_params(labelsize=8)
    plots.plain(axis.xaxis, axis.yaxis)
