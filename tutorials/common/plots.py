"""Pictures in one style. The colours, Okabe and Ito's, are told apart by colour-blind readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK, YELLOW)


def style() -> None:
    """Make this style matplotlib's default."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "figure.constrained_layout.use": True,
            "figure.dpi": 80,
            "figure.figsize": (7.5, 3.2),
            "font.size": 10,
            "grid.alpha": 0.3,
            "image.cmap": "gray_r",
            "image.interpolation": "nearest",
            "legend.frameon": False,
            "lines.linewidth": 1.6,
        }
    )


def array(values: Any) -> np.ndarray:
    """A tensor of any device, or anything like an array, as NumPy's float or integer array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def bare(axes: Any) -> None:
    """Axes for an image: without ticks and grid."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def images(
    batch: Any,
    titles: Sequence[Any] | None = None,
    *,
    columns: int = 10,
    size: float = 0.8,
    colours: Sequence[str] | None = None,
    title: str = "",
    **imshow: Any,
) -> Any:
    """A grid of images (N, H, W), (N, 1, H, W) or (N, 3, H, W) under their titles; the figure."""
    pictures = array(batch)
    if pictures.ndim == 4:
        pictures = pictures[:, 0] if pictures.shape[1] == 1 else pictures.transpose(0, 2, 3, 1)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = size + (0.25 if titles is not None else 0.04)
    figure, grid = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height + 0.35 * bool(title)), squeeze=False
    )
    for i, axes in enumerate(grid.flat):
        bare(axes)
        if i >= len(pictures):
            axes.axis("off")
            continue
        axes.imshow(pictures[i], **imshow)
        if titles is not None:
            axes.set_title(str(titles[i]), fontsize=8, color=colours[i] if colours else BLACK)
    figure.suptitle(title, fontsize=11)
    return figure


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """The running mean over `window` values, as long as the values are."""
    sums = np.cumsum(np.concatenate([np.zeros(1), np.asarray(values, dtype=float)]))
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def losses(axes: Any, values: Sequence[float], label: str = "", *, window: int = 0) -> None:
    """The loss of every step, pale, and its running mean."""
    window = window or max(len(values) // 40, 1)
    (line,) = axes.plot(smooth(values, window), label=label)
    axes.plot(values, color=line.get_color(), alpha=0.25, linewidth=0.7)
    axes.set(xlabel="step", ylabel="loss")
    if label:
        axes.legend()


def confusion(axes: Any, labels: Any, found: Any, names: Sequence[Any]) -> None:
    """How often each class (rows) was taken for each (columns)."""
    labels, found = array(labels), array(found)
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (labels, found), 1)
    axes.imshow(counts, cmap="Blues", norm="symlog")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = row == column
            axes.text(
                column, row, count, ha="center", va="center", color="w" if dark else "k", fontsize=8
            )
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="found", ylabel="is")
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    axes.grid(False)


def boxes(axes: Any, rectangles: Any, labels: Sequence[Any], colour: str = ORANGE) -> None:
    """Rectangles (x0, y0, x1, y1) in pixels over an image, each with its label."""
    for (x0, y0, x1, y1), label in zip(array(rectangles).tolist(), labels):
        axes.add_patch(
            plt.Rectangle(
                (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color=colour, linewidth=1.4
            )
        )
        if label != "":
            box = {"facecolor": colour, "edgecolor": colour, "pad": 0.8}
            axes.text(x0 - 0.5, y0 - 0.5, str(label), fontsize=7, va="bottom", bbox=box)


def graph(
    roots: Sequence[Any], parents: Callable[[Any], Sequence[Any]], label: Callable[[Any], str]
) -> Any:
    """A directed acyclic graph, the roots below and what they were made of above; the figure.

    `parents(node)` gives what a node was made of, `label(node)` its text. A node stands just
    above the first of its uses.
    """
    order = _from_leaves(roots, parents)
    above = dict.fromkeys(order, 0)  # the longest way down to a root
    for node in reversed(order):
        for parent in parents(node):
            above[parent] = max(above[parent], above[node] + 1)
    depth = {node: max(above.values()) - above[node] for node in order}
    place = _columns(order, depth, parents)
    width = max(sum(d == row for d in depth.values()) for row in depth.values())
    rows = max(depth.values()) + 1
    lines = {node: len(label(node).splitlines()) for node in order}
    inches = 0.46 + 0.16 * max(lines.values())  # from row to row
    figure, axes = plt.subplots(figsize=(max(1.55 * width, 4), inches * rows + 0.2))
    half = {node: (0.06 + 0.07 * lines[node]) / inches for node in order}
    for node in order:
        for parent in parents(node):
            axes.annotate(
                "",
                (place[node], -depth[node] + half[node]),
                (place[parent], -depth[parent] - half[parent]),
                arrowprops={"arrowstyle": "-|>", "color": "#777777", "shrinkA": 0, "shrinkB": 0},
            )
        leaf = not parents(node)
        face = "#DCEBF5" if leaf else "#FBEFD5"
        box = {"boxstyle": "round,pad=0.3", "fc": face, "ec": BLUE if leaf else ORANGE}
        axes.text(
            place[node], -depth[node], label(node), ha="center", va="center", fontsize=8.5, bbox=box
        )
    reach = max(abs(x) for x in place.values()) + 0.6
    axes.set(xlim=(-reach, reach), ylim=(-rows + 0.5, 0.5))
    axes.axis("off")
    return figure


def _from_leaves(roots: Sequence[Any], parents: Callable[[Any], Sequence[Any]]) -> list[Any]:
    """All nodes, each after its parents."""
    order: dict[Any, None] = {}

    def visit(node: Any) -> None:
        if node not in order:
            for parent in parents(node):
                visit(parent)
            order[node] = None

    for root in roots:
        visit(root)
    return list(order)


def _columns(
    order: list[Any], depth: dict[Any, int], parents: Callable[[Any], Sequence[Any]]
) -> dict[Any, float]:
    """Where a node stands in its row: rows are centred, and sorted to lie by what they touch."""
    rows: list[list[Any]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in order:
        rows[depth[node]].append(node)
    touches: dict[Any, list[Any]] = {node: list(parents(node)) for node in order}
    for node in order:
        for parent in parents(node):
            touches[parent].append(node)
    place: dict[Any, float] = {}
    for sweep in range(8):
        for row in rows if sweep % 2 == 0 else reversed(rows):

            def middle(node: Any) -> float:
                known = [place[t] for t in touches[node] if t in place]
                return sum(known) / len(known) if known else 0.0

            row.sort(key=middle)
            place.update({node: i - (len(row) - 1) / 2 for i, node in enumerate(row)})
    return place
