"""The fronts of a board as static figures; drawn again only where their content has changed."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.analysis import Board
from bench.boards.pareto import Front
from bench.show import ARROWS
from bench.store import write_text
from bench.words import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWING = 2  # counted up when the drawing itself changes
LABELS = {"none": "untouched model", "surrogate": "asked for the surrogate", "learned": "before erasing",
          "references": "the references"}  # fmt: skip
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "front", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#5c636b", "axes.labelcolor": "#1f2328",
    "xtick.color": "#5c636b", "ytick.color": "#5c636b", "savefig.facecolor": "#ffffff",
}  # fmt: skip
ON, OFF, ANCHOR = "#1c6e8c", "#5c636b", "#9a6b1f"


def path_of(name: str) -> str:
    """Returns where a front's figure lies in its board's folder."""
    return f"fronts/{slug(name)}.svg"


def describe(board: Board, front: Front) -> dict[str, Any]:
    """Returns what is drawn of a front, as numbers of four decimals and words.

    `points` are the methods measured in both columns: `at` and its intervals `low` and `high`, (horizontal, vertical)
    each, whether `on` the front, the `chance` of it, and `why` one does not enter. `anchors` are points that never
    enter; `line` are the front's corners.
    """
    columns, methods = front.columns, board.cells.methods
    points = [
        {"method": m, "at": _rounded(front.points[i]), "low": _bound(board, front, i, 1),
         "high": _bound(board, front, i, 2), "on": bool(front.on[i]),
         "chance": round(float(front.chance[i]), 3) if np.isfinite(front.chance[i]) else None,
         "why": front.why[i]}
        for i, m in enumerate(methods) if np.isfinite(front.points[i]).all()
    ]  # fmt: skip
    anchors = [{"label": LABELS[a], "at": _rounded([own[c][0][0] for c in columns])}
               for a, own in board.anchors.items() if all(c in own for c in columns)]  # fmt: skip
    return {
        "name": front.name, "columns": list(columns), "arrows": [ARROWS[board.cells.better[c]] for c in columns],
        "headings": [board.costs.get(c, c) for c in columns], "points": points, "anchors": anchors,
        "line": sorted(p["at"] for p in points if p["on"]), "concepts": front.concepts,
        "absent": [m for i, m in enumerate(methods) if not np.isfinite(front.points[i]).all()],
        "stepped": [board.cells.better[c] for c in columns],
    }  # fmt: skip


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 4) + 0.0 for v in values]


def _bound(board: Board, front: Front, index: int, which: int) -> list[float] | None:
    """Returns one end of both intervals; nothing where one concept is all there is."""
    bounds = [board.values[c][which][index] for c in front.columns]
    return _rounded(bounds) if np.isfinite(bounds).all() else None


def key(drawn: dict[str, Any]) -> str:
    """Returns a hash of what a figure shows."""
    return hashlib.sha256(json.dumps([DRAWING, drawn], sort_keys=True).encode()).hexdigest()[:16]


def write(board: Board, folder: Path) -> list[Path]:
    """Writes the figures that are missing or of other content, and takes away those of fronts that are no more.

    Returns:
        what was written.
    """
    written, wanted = [], {folder / path_of(f.name): describe(board, f) for f in board.fronts}
    for path, drawn in wanted.items():
        if not path.is_file() or f"<!-- {key(drawn)} -->" not in path.read_text(encoding="utf-8"):
            write_text(path, _svg(drawn))
            written.append(path)
    for path in set((folder / "fronts").glob("*.svg")) - set(wanted):
        path.unlink()
    return written


def save(drawn: dict[str, Any], out: Any, kind: str) -> None:
    """Writes a front's figure (`describe`) of a kind, `svg` or `png`, to a path or a stream."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        _draw(figure, figure.subplots(), drawn)
        dated = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=160, metadata=dated)


def _svg(drawn: dict[str, Any]) -> str:
    out = io.StringIO()
    save(drawn, out, "svg")
    head, _, rest = out.getvalue().partition("<svg ")
    return f"{head}<!-- {key(drawn)} -->\n<svg {rest}"


def _draw(figure: Figure, axes: Axes, drawn: dict[str, Any]) -> None:
    axes.set_title(drawn["name"], loc="left", fontsize=10)
    for name, heading, arrow in zip("xy", drawn["headings"], drawn["arrows"], strict=True):
        axes.set(**{f"{name}label": f"{heading} {arrow}".replace("$", r"\$")})
    if drawn["line"]:
        xs, ys = zip(*drawn["line"], strict=True)
        axes.step(
            xs,
            ys,
            where="post" if drawn["stepped"][0] == "lower" else "pre",
            color=ON,
            linewidth=1,
            alpha=0.6,
            zorder=1,
        )
    for point in drawn["points"]:
        _point(axes, point)
    for anchor in drawn["anchors"]:
        axes.plot(*anchor["at"], marker="D", markersize=5, color=ANCHOR, markerfacecolor="white", linestyle="")
    axes.margins(0.12)
    _labels(figure, axes, drawn)


def _point(axes: Axes, point: dict[str, Any]) -> None:
    x, y = point["at"]
    colour = ON if point["on"] else OFF
    bars: dict[str, Any] = {"color": colour, "linewidth": 0.8, "alpha": 0.35, "zorder": 2}
    if point["low"] and point["high"]:
        (left, low), (right, high) = point["low"], point["high"]
        axes.plot([left, right], [y, y], **bars)
        axes.plot([x, x], [low, high], **bars)
    axes.plot(x, y, "o", markersize=6 if point["on"] else 4.5, color=colour,
              markerfacecolor=colour if point["on"] else "white", zorder=3)  # fmt: skip


def _labels(figure: Figure, axes: Axes, drawn: dict[str, Any]) -> None:
    """Writes names where they meet no other: those on the front first, then anchors; who finds no room has none."""
    named = [(0.0 if p["on"] else 1.0, p["method"], p["at"], ON if p["on"] else OFF, "normal") for p in drawn["points"]]
    named += [(0.5, a["label"], a["at"], ANCHOR, "italic") for a in drawn["anchors"]]
    scale = 72 / figure.dpi
    figure.draw_without_rendering()  # so that places are known
    places = [axes.transData.transform(at) * scale for _, _, at, _, _ in named]
    edge = axes.get_window_extent().x0 * scale
    taken = [(0.0, 0.0, edge, np.inf)]  # by the axis's numbers
    taken += [(x - 3, y - 3, x + 3, y + 3) for x, y in places]
    for index in sorted(range(len(named)), key=lambda i: (named[i][0], named[i][1])):
        (_, text, at, colour, style), (x, y) = named[index], places[index]
        wide, tall = 4.2 * len(text), 8.0
        for dx, dy in ((5, 4), (5, -10), (-5 - wide, 4), (-5 - wide, -10), (-wide / 2, 7), (-wide / 2, -14)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + tall)
            if not any(box[0] < t[2] and box[2] > t[0] and box[1] < t[3] and box[3] > t[1] for t in taken):
                taken.append(box)
                axes.annotate(text.replace("$", r"\$"), (at[0], at[1]), xytext=(dx, dy), textcoords="offset points",
                              fontsize=7.5, color=colour, fontstyle=style)  # fmt: skip
                break
