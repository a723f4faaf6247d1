"""A board's README: the table, differences to a baseline, ranks and fronts, in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

import numpy as np

from bench.boards.analysis import Board
from bench.boards.cells import NEARLY
from bench.boards.figures import LABELS, path_of
from bench.boards.resample import Array
from bench.show import ARROWS
from bench.words import brief, counted

HEAD = """# {task} on {dataset}, {model}

Written by `python -m bench leaderboard` from `rows/`; `index.html` has the same to sort, filter and look into. A value
is the mean over concepts of their training seeds' mean, with its 95 % interval (concepts resampled, then seeds); one
concept and seed is one run of protocol {protocols}. Anchors in italics. {runs} of {concepts}: {names}.

"""
ALONE = """One concept says nothing of how others would do: no interval, none of ranks, and no share of draws.

"""
SOME = """Who was not measured on every concept, or in fewer than nine of ten of the others' runs (a training seed is
missing, or diverged), stands below those who were and has no rank: beside the runs, on how many.

"""
BEYOND = """In no figure, for too few methods were measured on them: {names}.

"""
PARTLY = """A value with a count beside it, as (2 of 5), is a mean over that many of the method's concepts: it could not
be measured on the rest. With (5 of 15 runs) it is of so many only.

"""
DIFFERENCES = """
## Against {baseline}

What a method has more or less than {baseline} on the concepts and seeds both have, with its 95 % interval and the p of
a sign-flip test on the concepts' means, adjusted by Holm over the column: over the methods measured on every concept,
and over the others apart. Bold: p ≤ 0.05. {floor}

"""
RANKS = """
## Ranks

With 95 % intervals from the same draws of concepts and seeds for all; a method that lacks a concept, or more than one
of ten runs, has none.

"""
FRONTS = """
## Fronts

On a front is what no other method beats in both columns: in brackets the share of bootstrap draws in which it is there.
Who is no better than the model before it in `{first}`, does nothing, repeats another's values or was not measured on
every concept, and in nine of ten runs, enters none. Anchors are drawn, and never on it. The hypervolume is the area
between front and reference point.{few}

"""
FEW = 4  # concepts; of fewer, draws are nearly all alike


def render(board: Board) -> str:
    """Returns a board's README."""
    names, protocols = board.cells.concepts, sorted({r.protocol for r in board.rows})
    page = HEAD.format(task=_text(board.kind), dataset=_text(board.rows[0].dataset), model=_text(board.rows[0].model),
                       runs=counted(len(board.rows), "run"), concepts=counted(len(names), "concept"),
                       names=", ".join(map(_text, names)),
                       protocols=", ".join(protocols))  # fmt: skip
    page += ALONE if len(names) == 1 else ""
    page += BEYOND.format(names=", ".join(map(_text, board.cells.beyond))) if board.cells.beyond else ""
    page += "" if board.cells.whole.all() else SOME
    page += PARTLY if any(partly(board, c, i) for c in board.columns for i in range(len(board.cells.methods))) else ""
    page += _main(board)
    failed = [f"- {_code(r.method)} on {_text(r.concept)}, seed {r.seed}: {r.status}, {_text(r.reason)}"
              for r in board.rows if r.status != "ok"]  # fmt: skip
    page += "\nNot measured:\n\n" + "\n".join(failed) + "\n" if failed else ""
    return page + _differences(board) + _ranks(board) + _fronts(board)


def _main(board: Board) -> str:
    """Returns the anchors, then the methods by their first column, those measured on every concept first."""
    counts = runs(board)
    anchors = [[f"*{LABELS[a]}*", *(_cell(v[c], 0) if c in v else "" for c in board.columns),
                *[""] * (len(board.costs) + 1)] for a, v in board.anchors.items()]  # fmt: skip
    own = [[_code(m), *(_cell(board.values[c], i) + partly(board, c, i) for c in board.columns),
            *(number(board.values[c][0][i], 0) for c in board.costs),
            ", ".join(filter(None, (counts.get(m, ""), covered(board, i))))]
           for i, m in enumerate(board.cells.methods)]  # fmt: skip
    head = ["method", *headings(board), *board.costs.values(), "runs"]
    return _table(head, [*(a for a in anchors if any(a[1:])), *own])  # only costs are no anchor


def headings(board: Board) -> list[str]:
    """Returns the measured columns with their directions."""
    return [f"{c} {ARROWS[board.cells.better[c]]}" for c in board.columns]


def runs(board: Board) -> dict[str, str]:
    """Returns method → how many of its runs went well."""
    own: dict[str, list[bool]] = {}
    for row in board.rows:
        own.setdefault(row.method, []).append(row.status == "ok")
    return {method: f"{sum(well)}/{len(well)}" for method, well in own.items()}


def covered(board: Board, index: int) -> str:
    """Returns `1 of 6 concepts` for a method that was not measured on all of them, or that it has too few runs."""
    cells = board.cells
    if cells.whole[index]:
        return ""
    few = cells.covered[index] < len(cells.concepts)
    return f"{cells.covered[index]} of {counted(len(cells.concepts), 'concept')}" if few else "fewer runs than others"


def partly(board: Board, column: str, index: int) -> str:
    """Returns ` (2 of 5)` for a value of a method that was measured on fewer concepts than the method was, ` (5 of 15
    runs)` for one of as many, but of few of the runs.
    """
    on, most = board.cells.on[column][index], max(board.cells.on[c][index] for c in board.columns)
    if 0 < on < most:
        return f" ({on} of {most})"
    runs, all_ = board.cells.runs[column][index], max(board.cells.runs[c][index] for c in board.columns)
    return f" ({runs} of {all_} runs)" if 0 < runs < NEARLY * all_ else ""


def number(value: float, decimals: int = 3) -> str:
    """Returns a number, never a negative zero, and nothing for what was not measured."""
    return f"{value:z.{decimals}f}" if np.isfinite(value) else ""


def _cell(values: Sequence[Array], index: int) -> str:
    mean, low, high = (float(v[index]) for v in values)
    return f"{mean:z.3f}{span(low, high, 2)}" if np.isfinite(mean) else ""


def span(low: float, high: float, decimals: int) -> str:
    """Returns an interval in brackets, after a blank; nothing where there is none."""
    return f" [{low:z.{decimals}f}, {high:z.{decimals}f}]" if np.isfinite(low) and np.isfinite(high) else ""


def _differences(board: Board) -> str:
    if board.baseline is None or len(board.cells.methods) < 2:
        return ""
    baseline, floor = _code(board.baseline), smallest_p(board)
    page = DIFFERENCES.format(baseline=baseline, floor=floor)

    def cell(column: str, index: int) -> str:
        d = board.differences[column]
        if not np.isfinite(d.value[index]):
            return ""
        text = f"{d.value[index]:+.3f}{span(d.low[index], d.high[index], 2)}"
        text += f" p {d.adjusted[index]:.2f}" if np.isfinite(d.adjusted[index]) else ""
        return f"**{text}**" if d.adjusted[index] <= 0.05 else text

    return page + _by_method(board, cell, leave_out=board.baseline)


def smallest_p(board: Board) -> str:
    """Returns what the number of concepts allows, in a sentence."""
    count = len(board.cells.concepts)
    least = 2.0 ** (1 - count)
    if count == 1:
        return "One concept alone has no p."
    return f"With {count} concepts no p can be below {least:.3g}, unadjusted." if least > 0.001 else ""


def _ranks(board: Board) -> str:
    def cell(column: str, index: int) -> str:
        rank, low, high = (float(r[index]) for r in board.ranks[column])
        return f"{rank:.0f}{span(low, high, 0)}" if np.isfinite(rank) else ""

    return RANKS + _by_method(board, cell) if len(board.cells.methods) > 1 else ""


def _fronts(board: Board) -> str:
    if not board.fronts:
        return ""
    lines = []
    for front in board.fronts:
        order = sorted(np.flatnonzero(front.on), key=lambda i: -front.chance[i])
        on = ", ".join(f"{_code(board.cells.methods[i])}{_share(front.chance[i])}" for i in order)
        known = np.isfinite(front.hypervolume)
        reference = f"({brief(front.reference[0])}, {brief(front.reference[1])})" if known else ""
        volume = brief(front.hypervolume) if known else ""
        lines.append([f"[{front.name}]({path_of(front.name)})", " × ".join(front.columns), on, volume, reference])
    head = ["front", "columns", "on it", "hypervolume", "reference point"]
    pictures = "\n".join(f"![{f.name}]({path_of(f.name)})" for f in board.fronts)
    few = " Draws of so few concepts are nearly all alike: a share near 1 says little here."
    few = few if min(f.concepts for f in board.fronts) < FEW else ""
    return FRONTS.format(first=board.columns[0], few=few) + _table(head, lines) + f"\n{pictures}\n"


def _share(chance: float) -> str:
    return f" ({chance:.2f})" if np.isfinite(chance) else ""


def _by_method(board: Board, cell: Callable[[str, int], str], leave_out: str = "") -> str:
    lines = [[_code(m), *(cell(c, i) for c in board.columns)]
             for i, m in enumerate(board.cells.methods) if m != leave_out]  # fmt: skip
    return _table(["method", *headings(board)], lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "".join("| " + " | ".join(line) + " |\n" for line in (head, ["---"] * len(head), *lines))


def _text(text: str) -> str:
    """Returns a row's own words so that Markdown neither runs nor draws them."""
    return re.sub(r"([|`*\[\]\\])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _code(name: str) -> str:
    return f"`{name}`" if re.fullmatch(r"[\w.-]+", name) else _text(name)
