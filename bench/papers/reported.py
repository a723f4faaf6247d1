"""A paper's figures beside what the same method has here, matched by their names or as the paper's file says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.boards.resample import mean_of
from bench.papers.files import Cell
from bench.papers.reproduce import Study
from bench.row import Row


@dataclass(frozen=True)
class Reported:
    """A figure of a paper, and what the same method has here, in the paper's scale.

    `here` is None where nothing here is of that name; `name` is empty then, else the runs were of another kind.
    """

    where: str
    label: str
    metric: str
    value: float
    here: float | None
    name: str


def reported(study: Study, rows: Sequence[Row]) -> list[Reported]:
    """Returns the paper's figures of the methods that are run here, matched by their names or as the table says."""
    methods = {_plain(m): m for ms in study.methods.values() for m in ms}
    out = []
    for table in study.paper.tables if study.paper else ():
        for label, cells in table.values.items():
            method = methods.get(_plain(table.here.get(label, label)), "")
            for column, cell in zip(table.columns, cells, strict=True):
                if method and cell is not None:
                    value = cell.value if isinstance(cell, Cell) else cell
                    name = _matching(column.here or column.metric, rows)
                    fit = [r for r in rows if r.method == method and table.kind in ("", r.kind)]
                    own = {(r.concept, r.seed): r.measured[name].value for r in fit if name in r.measured}
                    mean = factor(column.scale) * mean_of(own) if own else None
                    scale = f" ({column.scale})" if column.scale else ""
                    out.append(Reported(table.where, label, f"{column.metric}{scale}", value, mean, name))
    return out


def factor(scale: str) -> float:
    """Returns what a paper multiplied its values by, of a scale such as `×100`."""
    found = re.fullmatch(r"×\s*([\d.]+)", scale)
    return float(found.group(1)) if found else 1.0


def _plain(text: str) -> str:
    """Returns a name without what people write differently."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("δ", "delta"))


def _matching(metric: str, rows: Sequence[Row]) -> str:
    """Returns the value of rows that goes by a paper's name of a metric: where the concept is asked for, if there are
    several.
    """
    names = dict.fromkeys(n for r in rows for n in r.measured)
    fits = [
        n for n in names if _plain(n.partition("/")[0]) == _plain(metric) and n.partition("/")[2] in ("", "concept")
    ]
    return fits[0] if fits else ""
