"""A board as one page that needs nothing else: a table to sort and filter, fronts to look into, and the pictures."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from bench.boards.analysis import Board
from bench.boards.figures import LABELS, describe
from bench.boards.pareto import UNMEASURED
from bench.boards.resample import Array
from bench.boards.strips import UNTOUCHED, embedded
from bench.boards.tables import covered, number, partly, runs, smallest_p
from bench.page.render import TEMPLATES
from bench.page.render import render as filled
from bench.show import ARROWS
from bench.words import brief

CHARTS = "chart.umd.min.js"  # Chart.js as its project publishes it


def render(board: Board, pictures: Path) -> str:
    """Returns the page.

    Args:
        board: what it says.
        pictures: folder that may hold a strip for each row (`bench.boards.strips`).

    Raises:
        BenchError: a picture is no WebP, or too large to be part of a page.
    """
    scripts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in (CHARTS, "board.js")]
    scripts = [s.split("//# sourceMappingURL")[0] for s in scripts]  # nothing is asked for, not by a debugger either
    styles = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("shared.css", "board.css")]
    return filled(
        "board.html", scripts=scripts, styles=styles, allowed=" ".join(map(_hash, scripts)), **_context(board, pictures)
    )


def _hash(script: str) -> str:
    """Returns a script as a page's policy names it: only these run, whatever a row may hold."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _context(board: Board, pictures: Path) -> dict[str, Any]:
    cells, counts, first = board.cells, runs(board), board.rows[0]
    columns = [_column(board, c) for c in cells.values]
    groups = list(dict.fromkeys(c["group"] for c in columns))
    for column in columns:
        column["group_index"] = groups.index(column["group"])
    order = [UNTOUCHED, *cells.methods, "references"]
    shown = embedded(board.rows, pictures)
    methods = [
        {"name": m, "runs": counts.get(m, ""), "whole": cells.whole[i], "notes": _notes(board, i),
         "picture": next(((c, own[m]) for c, own in shown.items() if m in own), None),
         "fronts": [f.name for f in board.fronts if f.on[i]], "cells": [_cell(board, c, i) for c in columns]}
        for i, m in enumerate(cells.methods)
    ]  # fmt: skip
    return {
        "links": _links(pictures.parent),
        "task": board.kind, "dataset": first.dataset, "model": first.model, "baseline": board.baseline,
        "facts": [("runs", len(board.rows)), ("methods", len(cells.methods)), ("concepts", len(cells.concepts)),
                  ("training seeds", len(cells.seeds)),
                  ("protocol", ", ".join(sorted({r.protocol for r in board.rows})))],
        "concepts": cells.concepts, "beyond": cells.beyond, "columns": columns, "methods": methods,
        "groups": groups, "strips": {c: [(m, own[m]) for m in order if m in own] for c, own in shown.items()},
        "anchors": [{"name": LABELS[a], "note": _partly(board, a),
                     "cells": [_plain(own.get(c["name"])) for c in columns]}
                    for a, own in board.anchors.items() if set(own) & set(board.columns)],
        "failed": [r for r in board.rows if r.status != "ok"], "floor": smallest_p(board),
        "fronts": [_front(board, f) for f in board.fronts],
        "data": {"fronts": [describe(board, f) for f in board.fronts], "first": board.columns[:1]},
    }  # fmt: skip


def _links(folder: Path) -> list[tuple[str, str]]:
    """Returns where else to look, as (address beside the page, what it is); what is there for all boards, if it is."""
    above = [("../FINDINGS.md", "what all boards found"), ("../CLAIMS.md", "what papers claim, measured here")]
    there = [(address, said) for address, said in above if (folder / address).is_file()]
    return [("README.md", "this board as text"), ("rows/", "its rows"), *there]


def _column(board: Board, name: str) -> dict[str, Any]:
    """Returns a column's heading, and the range its bars are drawn over."""
    found = next((r.measured[name] for r in board.rows if name in r.measured), None)
    found = found if name in board.columns else None
    bounds = np.concatenate(board.values[name])
    known = bounds[np.isfinite(bounds)]
    return {"name": name, "heading": board.costs.get(name, name), "title": found.title if found else name,
            "group": found.group if found else "cost", "checkpoint": found.checkpoint if found else "",
            "part": "/" in name and name.partition("/")[0] in board.columns,  # of a score that has a column itself
            "better": board.cells.better[name], "arrow": ARROWS[board.cells.better[name]],
            "best_first": _best_first(board.cells.better[name]),
            "range": (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)}  # fmt: skip


def _best_first(better: str) -> str:
    """Returns how a column's numbers run, the best first; of what is best near zero, the distances to it."""
    return "descending" if better == "higher" else "ascending"


def _cell(board: Board, column: dict[str, Any], index: int) -> dict[str, Any]:
    """Returns what a cell says in each of the table's three views, and by what it sorts."""
    name = column["name"]
    mean, low, high = (float(v[index]) for v in board.values[name])
    sort = number(float(board.cells.score(name, np.array(mean))), 6)
    if name not in board.columns:
        return {"value": number(mean, 0), "sort": sort, "few": False, "best": False}
    rank, best, worst = (float(r[index]) for r in board.ranks[name])
    few = not np.isfinite(rank) and len(board.cells.methods) > 1  # its mean is of fewer concepts or runs
    out = {"value": number(mean), "sort": sort, "few": few,
           "bounds": _bounds(low, high, 2) + partly(board, name, index), "best": _best(board, name, index),
           "bar": _bar((low, high, mean), column["range"]),
           "rank": number(rank, 0),
           "rank_bounds": _bounds(best, worst, 0), "difference": ""}  # fmt: skip
    if name in board.differences:
        d = board.differences[name]
        value, p = float(d.value[index]), float(d.adjusted[index])
        out["difference"] = f"{value:+.3f}" if np.isfinite(value) else ""
        out["difference_bounds"] = _bounds(float(d.low[index]), float(d.high[index]), 2)
        out |= {"p": number(p, 2), "settled": p <= 0.05}
    return out


def _best(board: Board, name: str, index: int) -> bool:
    """Returns whether a method's mean is the best of those measured on every concept; the only one is not."""
    cells = board.cells
    entered = cells.whole & np.isfinite(board.ranks[name][0])
    score = cells.score(name, board.values[name][0])
    return len(cells.methods) > 1 and bool(entered[index]) and bool(score[index] == score[entered].max())


def _bounds(low: float, high: float, decimals: int) -> str:
    return f"{number(low, decimals)} to {number(high, decimals)}" if np.isfinite(low) and np.isfinite(high) else ""


def _bar(values: tuple[float, float, float], span: tuple[float, float]) -> list[str] | None:
    """Returns where an interval starts, its width and its mean, in per cent of the column's range."""
    (low, high, mean), wide = values, span[1] - span[0]
    shares = [(low - span[0]) / wide, (high - low) / wide, (mean - span[0]) / wide] if wide > 0 else []
    return [f"{100 * s:.0f}" for s in shares] if shares and np.isfinite(shares).all() else None


def _plain(interval: tuple[Array, Array, Array] | None) -> dict[str, str]:
    mean, low, high = (float(v[0]) for v in interval) if interval else (np.nan,) * 3
    return {"value": number(mean), "bounds": _bounds(low, high, 2) if low != high else ""}


def _partly(board: Board, anchor: str) -> str:
    """Returns why the untouched model lacks some columns: these are found only where it is run itself."""
    run = any(r.method == UNTOUCHED for r in board.rows)
    lacks = anchor == UNTOUCHED and not run and set(board.columns) - set(board.anchors[anchor])
    return f"the other columns need a run of {UNTOUCHED}" if lacks else ""


def _notes(board: Board, index: int) -> list[str]:
    """Returns on how many concepts a method was measured, where not on all, and why it enters no front, where that is
    so of all.
    """
    reasons, some = {f.why[index] for f in board.fronts}, covered(board, index)
    why = reasons.pop() if len(reasons) == 1 else ""
    return [n for n in (some, "" if some and why == UNMEASURED else why) if n]


def _front(board: Board, front: Any) -> dict[str, Any]:
    order = sorted(np.flatnonzero(front.on), key=lambda i: -front.chance[i])
    known = bool(np.isfinite(front.hypervolume))
    return {
        "name": front.name, "concepts": front.concepts,
        "on": [(board.cells.methods[i], number(front.chance[i], 2)) for i in order],
        "hypervolume": brief(front.hypervolume) if known else "",
        "reference": ", ".join(brief(v) for v in front.reference) if known else "",
    }  # fmt: skip
