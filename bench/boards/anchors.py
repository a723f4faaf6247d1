"""What methods stand beside: the untouched model, the same asked for a surrogate, what had learned, the references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from bench.boards.resample import Array
from bench.costs import costs_of
from bench.row import Row

LEARNED = "learned"
ANCHORS = ("none", "surrogate", LEARNED, "references")  # methods of these names are no competitors


def values_of(row: Row, columns: Iterable[str], costs: Iterable[str]) -> list[tuple[str, float]]:
    """Returns what a row has of some columns and costs, as far as it is a number."""
    found = [(c, row.measured[c].value) for c in columns if c in row.measured]
    spent = costs_of(row)
    found += [(c, float(spent[c])) for c in costs if c in spent]
    return [(c, v) for c, v in found if math.isfinite(v)]


def anchor(
    rows: Sequence[Row], name: str, columns: Iterable[str], costs: Sequence[str], axes: tuple[list[str], list[int]]
) -> dict[str, Array]:
    """Returns an anchor's values, (concepts, seeds) a column: what most rows say of it, so that no single one moves
    it, else what the untouched model's runs measured.

    The untouched model and the references are the same whatever the seed of a training; what had been learned before
    it was erased is a training of its own with each.

    Runs of the references are no such source: the references stand there for pictures of every prompt.

    Args:
        rows: those that went well.
        name: of the anchor.
        columns: what is wanted.
        costs: what of `costs_of` is wanted.
        axes: concepts, seeds.
    """
    beside: dict[tuple[str, str, int | None], list[float]] = {}
    alone: dict[tuple[str, str, int | None], list[float]] = {}
    for row in rows:
        own, seed = row.anchors.get(name, {}), row.seed if name == LEARNED else None
        for column in columns if own else ():
            if column in own and math.isfinite(own[column].value):
                beside.setdefault((column, row.concept, seed), []).append(own[column].value)
        for column, value in values_of(row, columns, costs) if row.method == name == ANCHORS[0] else []:
            alone.setdefault((column, row.concept, seed), []).append(value)
    concepts, seeds = axes
    out = {c: np.full((len(concepts), len(seeds)), np.nan) for c in columns}
    for (column, concept, seed), values in (alone | beside).items():
        at = slice(None) if seed is None else seeds.index(seed)
        out[column][concepts.index(concept), at] = most_common(values)
    return {c: v for c, v in out.items() if np.isfinite(v).any()}


def most_common(values: Sequence[float]) -> float:
    """Returns the value that is there most often, the least of several; in whatever order they come."""
    return min(Counter(values).items(), key=lambda found: (-found[1], found[0]))[0]
