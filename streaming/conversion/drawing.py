"""A graph of layers as a picture: data runs down, branches stand side by side.

Layers are ranked by their longest way from an input and ordered within a rank by the mean of their neighbours
(Sugiyama, Tagawa, Toda 1981); an edge that passes ranks keeps a lane of its own there. Needs matplotlib.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from streaming.errors import InputError

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 2.7, 0.74, 0.35, 0.42  # inches
_LANE = 0.35
_MAX_INCHES = 300.0
_PASSES, _SWEEPS = 8, 2000
_STRAIGHT = 8.0
_INK, _QUIET, _LINE = "#1d2733", "#5d6b7a", "#8a97a5"
# Colours of a kind of box, inside and around.
_COLOURS = {
    "input": ("#e3ecf7", "#5b83b5"),
    "output": ("#e3ecf7", "#5b83b5"),
    "state": ("#fdf0d9", "#cf9a35"),
    "weights": ("#e6f3e3", "#6a9f5e"),
    "plain": ("#f5f6f8", "#b3bcc6"),
    "delay": ("#f9e1dd", "#c7645a"),
    "encode": ("#ece6f5", "#8467ad"),
}
_LEGEND = (
    ("input", "input or output"),
    ("state", "has state"),
    ("delay", "holds a branch back"),
    ("plain", "no state"),
)
_ENCODED = ("encode", "computed once, by encode")


@dataclass
class Node:
    """A box of three lines; or a lane, without a kind, where an edge passes a rank.

    Args:
        kind: `input`, `output`, `state`, `weights`, `plain`, `delay` or `encode`, which gives the colour.
        lines: its name and what else is said of it.
        before, after: keys of its predecessors and of its successors.
    """

    kind: str = ""
    lines: tuple[str, ...] = ()
    rank: int = 0
    x: float = 0.0
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    @property
    def width(self) -> float:
        return _WIDTH if self.kind else _LANE


def draw_plan(description: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what `streaming.inspection.describe` found to a .png, .svg or .pdf; raises as `draw_graph`."""
    chunk, delay = description["chunk"], description["delay"]
    text = (
        f"{chunk} step{'s' * (chunk > 1)} a chunk · delay {delay} · state {description['state_bytes']:,} bytes a stream"
    )
    legend = (*_LEGEND, _ENCODED) if any(row.get("encoded") for row in description["plan"]) else _LEGEND
    draw_graph(_graph(description), path, str(description["source"].get("model", "model")), text, legend)


def draw_graph(
    nodes: dict[str, Node], path: str | os.PathLike[str], title: str, text: str, legend: Sequence[tuple[str, str]]
) -> None:
    """Draw boxes and the edges between them.

    Args:
        nodes: by keys, each with the keys of its neighbours; ranks and lanes are added.
        path: a .png, .svg or .pdf.
        title, text: above the picture.
        legend: kinds of nodes, and what they mean.

    Raises:
        InputError: the file name has another ending, matplotlib is not installed, or the folder cannot be written.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"cannot draw to {path}; give a name that ends in .png, .svg or .pdf")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"drawing needs matplotlib ({error}); pip install 'rnnzoo[train]'") from error
    _rank(nodes)
    ranks = _order(nodes)
    _place(nodes, ranks)
    left = min(node.x - node.width / 2 for node in nodes.values()) - 0.3
    right = max(node.x + node.width / 2 for node in nodes.values()) + 0.3
    right = max(right, left + 6.6)
    height = len(ranks) * (_HEIGHT + _GAP_Y) + 0.85
    figure = Figure(figsize=(right - left, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(left, right)
    axes.set_ylim(height - 0.95, -0.95)
    axes.axis("off")
    _paint(axes, nodes)
    _head(axes, left + 0.3, title, text, legend)
    dpi = min(140.0, 140.0 * _MAX_INCHES / max(height, right - left, _MAX_INCHES), 30_000 / max(height, right - left))
    try:
        figure.savefig(path, dpi=dpi)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; give a path in a folder that exists") from error


def _graph(description: dict[str, Any]) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for info in description["inputs"]:
        form = "a row a step" if info["time"] else "whole"
        nodes["in:" + info["name"]] = Node("input", (info["name"], f"{info['dtype']} {_shape(info['shape'])}", form))
    for info in (description["encode"] or {}).get("inputs", ()):
        length = f"up to {description['encode']['max_length']}" if info["time"] else "whole"
        nodes["in:" + info["name"]] = Node("input", (info["name"], f"{info['dtype']} {_shape(info['shape'])}", length))
    rows = {row["name"]: row for row in description["plan"]}
    for name, row in rows.items():
        nodes[name] = Node(_kind(row), _lines(row))
    for name, row in rows.items():
        for source in row.get("inputs", []):
            key = source if source in rows and source != name else "in:" + source
            if key not in nodes:
                nodes[key] = Node("input", (source, "from encode", "whole"))
            nodes[key].after.append(name)
            nodes[name].before.append(key)
    for key, info in zip(_ends(nodes, rows, description["outputs"]), description["outputs"], strict=False):
        up, down = info["rate"]
        late = f"delay {-(-info['start'] * down // up)}"
        row = "running" if info["running"] else f"rate {up}/{down}" if down > 1 else f"rate {up}"
        nodes["out:" + info["name"]] = Node(
            "output", (info["name"], f"{info['dtype']} {_shape(info['shape'])}", f"{row} · {late}"), before=[key]
        )
        nodes[key].after.append("out:" + info["name"])
    return nodes


def _kind(row: dict[str, Any]) -> str:
    if row.get("encoded"):
        return "encode"
    return "delay" if row["kind"] == "Alignment" else "state" if row["states"] else "plain"


def _ends(nodes: dict[str, Node], rows: dict[str, Any], outputs: Sequence[dict[str, Any]]) -> list[str]:
    """The layers that make the outputs; in files that do not say so, the layers that feed no other."""
    last = [name for name in rows if not nodes[name].after]
    named = [next((n for n, row in rows.items() if o["name"] in row.get("outputs", [])), "") for o in outputs]
    if all(named):
        return named
    return last if len(last) >= len(outputs) else list(rows)[-len(outputs) :]


def _lines(row: dict[str, Any]) -> tuple[str, str, str]:
    text = "once" if row.get("encoded") else "whole" if row["rate"] == "static" else f"rate {row['rate']}"
    if row["running"]:
        text += " · running"
    if row.get("anew"):
        text += " · each window anew"
    if row["delay"]:
        text += f" · delay {row['delay']}"
    if row["states"]:
        values = sum(math.prod(shape) for shape in row["states"].values())
        text += f" · state {values:,}"
    return row["name"], f"{row['kind']}  {_shape(row['shape'])}", text


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _rank(nodes: dict[str, Node]) -> None:
    """Rank by the longest way, then give every edge that passes ranks a lane in each of them."""
    waiting = {key: len(node.before) for key, node in nodes.items()}
    ready = [key for key, count in waiting.items() if not count]
    for key in ready:
        for child in nodes[key].after:
            nodes[child].rank = max(nodes[child].rank, nodes[key].rank + 1)
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    for node in nodes.values():
        if node.kind == "input" and node.after:
            node.rank = min(nodes[child].rank for child in node.after) - 1
    for key, node in list(nodes.items()):
        for index, child in enumerate(node.after):
            previous, far = key, nodes[child]
            for rank in range(node.rank + 1, far.rank):
                lane = f"lane:{key}>{child}:{rank}"
                nodes[lane] = Node(rank=rank, before=[previous])
                if previous == key:
                    node.after[index] = lane
                else:
                    nodes[previous].after.append(lane)
                previous = lane
            if previous != key:
                nodes[previous].after.append(child)
                far.before[far.before.index(key)] = previous


def _order(nodes: dict[str, Node]) -> list[list[str]]:
    ranks: list[list[str]] = [[] for _ in range(max(node.rank for node in nodes.values()) + 1)]
    for key, node in nodes.items():
        ranks[node.rank].append(key)
    for turn in range(_PASSES):
        down = turn % 2 == 0
        place = {key: index / max(1, len(rank) - 1) for rank in ranks for index, key in enumerate(rank)}
        for rank in ranks if down else reversed(ranks):
            near = {key: (nodes[key].before if down else nodes[key].after) for key in rank}
            mean = {key: sum(place[n] for n in ns) / len(ns) if ns else place[key] for key, ns in near.items()}
            rank.sort(key=mean.__getitem__)
            place.update({key: index / max(1, len(rank) - 1) for index, key in enumerate(rank)})
    return ranks


def _place(nodes: dict[str, Node], ranks: list[list[str]]) -> None:
    """Side by side in their order, and as near to the mean of their neighbours as that allows."""
    for rank in ranks:
        total = sum(nodes[key].width + _GAP_X for key in rank) - _GAP_X
        x = -total / 2
        for key in rank:
            nodes[key].x = x + nodes[key].width / 2
            x += nodes[key].width + _GAP_X
    for turn in range(_SWEEPS):
        moved = 0.0
        for rank in ranks if turn % 2 == 0 else reversed(ranks):
            wanted = [_pull(nodes, key) for key in rank]
            for key, x in zip(rank, _spread([nodes[key].width for key in rank], wanted), strict=True):
                moved = max(moved, abs(nodes[key].x - x))
                nodes[key].x = x
        if moved < 1e-3:
            break


def _pull(nodes: dict[str, Node], key: str) -> tuple[float, float]:
    """Desired place of a node, the mean of its neighbours, and its weight: lanes are to be straight."""
    node = nodes[key]
    near = [(nodes[n].x, 1.0 if node.kind or nodes[n].kind else _STRAIGHT) for n in node.before + node.after]
    total = sum(weight for _, weight in near)
    return (sum(x * weight for x, weight in near) / total, total) if near else (node.x, 1.0)


def _spread(widths: list[float], wanted: list[tuple[float, float]]) -> list[float]:
    """Places in the given order that do not overlap, at the least squared distance from those wanted.

    Neighbours that would overlap move as one block, at the mean of what they want (pool adjacent violators).
    """
    offsets, total = [], 0.0
    for index, width in enumerate(widths):
        total += (widths[index - 1] + width) / 2 + _GAP_X if index else 0.0
        offsets.append(total)
    blocks: list[tuple[float, float, int]] = []
    for (x, weight), offset in zip(wanted, offsets, strict=True):
        mean, members = x - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, mass, count = blocks.pop()
            mean = (mean * weight + other * mass) / (weight + mass)
            weight, members = weight + mass, members + count
        blocks.append((mean, weight, members))
    bases = [mean for mean, _, members in blocks for _ in range(members)]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]


def _paint(axes: Any, nodes: dict[str, Node]) -> None:
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path

    def top(node: Node) -> float:
        return node.rank * (_HEIGHT + _GAP_Y)

    for node in nodes.values():
        begin = top(node) + _HEIGHT
        for child in (nodes[key] for key in node.after):
            end, bend = top(child), _GAP_Y * 0.55
            points = [(node.x, begin), (node.x, begin + bend), (child.x, end - bend), (child.x, end)]
            curve = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
            axes.add_patch(PathPatch(curve, fill=False, edgecolor=_LINE, linewidth=1.1, zorder=1))
            if child.kind:
                axes.plot([child.x], [end - 0.045], marker="v", markersize=4.5, color=_LINE, zorder=1)
        if not node.kind:
            axes.plot([node.x] * 2, [top(node), begin], color=_LINE, linewidth=1.1, zorder=1)
            continue
        corner = (node.x - _WIDTH / 2, top(node))
        fill, edge = _COLOURS[node.kind]
        style: dict[str, Any] = {"facecolor": fill, "edgecolor": edge, "linewidth": 1.1, "zorder": 2}
        axes.add_patch(FancyBboxPatch(corner, _WIDTH, _HEIGHT, "round,pad=0,rounding_size=0.08", **style))
        for text, y, size, weight, color in zip(
            node.lines,
            (0.17, 0.38, 0.58),
            (8.5, 7.5, 7.5),
            ("bold", "normal", "normal"),
            (_INK, _INK, _QUIET),
            strict=True,
        ):
            axes.text(
                node.x, top(node) + y, _short(text), ha="center", va="center", size=size, weight=weight, color=color
            )


def _head(axes: Any, x: float, title: str, text: str, legend: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Rectangle

    axes.text(x, -0.72, _short(title), size=11, weight="bold", color=_INK, va="center")
    axes.text(x, -0.5, text, size=8, color=_QUIET, va="center")
    for kind, label in legend:
        fill, edge = _COLOURS[kind]
        axes.add_patch(Rectangle((x, -0.33), 0.13, 0.13, facecolor=fill, edgecolor=edge, linewidth=0.9))
        axes.text(x + 0.2, -0.265, label, size=7, color=_QUIET, va="center")
        x += 0.42 + 0.055 * len(label)


def _short(text: str) -> str:
    # matplotlib would set what stands between two dollars as mathematics.
    clean = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return clean if len(clean) <= 46 else clean[:22] + "…" + clean[-23:]
