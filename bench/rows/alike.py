"""What has the same values as something else. No torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bench.row import Row

SAME = 1e-3  # the last decimal of the tables: what differs by less has not moved


def unmoved(row: Row) -> bool:
    """Returns whether all that a run measured is what the model before it has: it did nothing."""
    before = row.anchors.get("learned") or row.anchors.get("none", {})
    shared = [abs(row.measured[c].value - v.value) for c, v in before.items() if c in row.measured]
    return bool(shared) and max(shared) < SAME


def by_method(rows: Iterable[Row], columns: Collection[str] | None = None) -> dict[str, dict[Any, float]]:
    """Returns method → (concept, seed, column) → what was measured there, as far as it is a number.

    Args:
        rows: of one board.
        columns: those that are wanted; all if left out.
    """
    out: dict[str, dict[Any, float]] = {}
    for row in rows:
        for column in row.measured if columns is None else columns:
            value = row.measured.get(column)
            if value is not None and math.isfinite(value.value):
                out.setdefault(row.method, {})[row.concept, row.seed, column] = value.value
    return out


def alike(one: Mapping[Any, float], other: Mapping[Any, float]) -> bool:
    """Returns whether values are the same wherever both have one, which is on half of what the smaller has or more.

    The same to the tables' last decimal: a copy with a little added is one.
    """
    small, large = sorted((one, other), key=len)
    both = 0
    for at, value in small.items():
        if at in large:
            if abs(value - large[at]) >= SAME:
                return False
            both += 1
    return bool(small) and 2 * both >= len(small)
