"""What a board's methods stand beside: the untouched model, the one that had learned, the references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bench.boards.resample import Array
from bench.costs import costs_of
from bench.row import Row

ANCHORS = ("none", "learned", "references")  # methods of these names are no competitors


def values_of(row: Row, columns: Iterable[str], costs: Iterable[str]) -> list[tuple[str, float]]:
    """Returns what a row has of some columns and costs, as far as it is a number."""
    found = [(c, row.measured[c].value) for c in columns if c in row.measured]
    spent = costs_of(row)
    found += [(c, float(spent[c])) for c in costs if c in spent]
    return [(c, v) for c, v in found if math.isfinite(v)]


def anchor(
    rows: Sequence[Row], name: str, columns: Iterable[str], costs: Sequence[str], at: dict[Any, int]
) -> dict[str, Array]:
    """Returns an anchor's values, one a concept: what most rows say of it, so that no single one moves it, else what
    the untouched model's runs measured.

    Runs of the references are no such source: the references stand there for pictures of every prompt.
    """
    beside: dict[tuple[str, str], list[float]] = {}
    alone: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        own = row.anchors.get(name, {})
        for column in columns if own else ():
            if column in own and math.isfinite(own[column].value):
                beside.setdefault((column, row.concept), []).append(own[column].value)
        for column, value in values_of(row, columns, costs) if row.method == name == ANCHORS[0] else []:
            alone.setdefault((column, row.concept), []).append(value)
    out = {c: np.full(len(at), np.nan) for c in columns}
    for (column, concept), values in (alone | beside).items():
        out[column][at[concept]] = Counter(values).most_common(1)[0][0]
    return {c: v for c, v in out.items() if np.isfinite(v).any()}
