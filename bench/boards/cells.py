"""A board's rows as arrays: methods × concepts × seeds, a column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.boards.anchors import ANCHORS, anchor, values_of
from bench.boards.resample import Array, means
from bench.costs import settled
from bench.row import Row

SAME = 1e-3  # the last decimal of the tables: what differs by less has not moved


@dataclass(frozen=True)
class Cells:
    """The finished runs of a board.

    Attributes:
        methods: in the order of their first column, best first, those measured on every concept before the others;
            anchors are not among them.
        concepts: of all rows.
        seeds: of all rows.
        values: column → (methods, concepts, seeds), NaN where not measured.
        better: column → higher, lower or zero.
        anchors: anchor → column → (concepts,).
        idle: (methods,): whether no run differs from the model before it.
        copies: method → the method that had the same values before it.
        covered: (methods,): on how many of the shared concepts something was measured.
        every: how many concepts are shared.
    """

    methods: list[str]
    concepts: list[str]
    seeds: list[int]
    values: dict[str, Array]
    better: dict[str, str]
    anchors: dict[str, dict[str, Array]]
    idle: Array
    copies: dict[str, str]
    covered: Array
    every: int

    @property
    def whole(self) -> Array:
        """(methods,): whether they were measured on every concept; the means of the others are of fewer."""
        whole: Array = self.covered == self.every
        return whole

    @cached_property
    def on(self) -> dict[str, Array]:
        """Column → on how many concepts it was measured, (methods,)."""
        return {c: np.isfinite(v).any(-1).sum(-1) for c, v in self.values.items()}

    def score(self, column: str, values: Array) -> Array:
        """Returns values so that the higher is the better."""
        return oriented(values, self.better[column])


def oriented(values: Array, better: str) -> Array:
    """Returns values so that the higher is the better."""
    return values if better == "higher" else -values if better == "lower" else -np.abs(values)


def once(rows: Iterable[Row]) -> list[Row]:
    """Returns one row a method, concept and seed, the one finished last: a row that is there twice counts once."""
    found: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        key = (row.method, row.concept, row.seed)
        if key not in found or (finished(row), row.status) >= (finished(found[key]), found[key].status):
            found[key] = row
    return list(found.values())


def finished(row: Row) -> str:
    """Returns when a run ended, as it says."""
    return str(row.provenance.get("finished", ""))


def gather(rows: Sequence[Row], columns: Sequence[str], costs: Sequence[str]) -> Cells:
    """Returns the arrays of what went well; what is not a number is not measured.

    Args:
        rows: of one board, one a method, concept and seed.
        columns: what of `measured` is wanted.
        costs: what of `costs_of` is wanted; lower is better.
    """
    good = [r for r in rows if r.status == "ok"]
    own = [r for r in good if r.method not in ANCHORS]
    better = {c: next(r.measured[c].better for r in good if c in r.measured)
              for c in columns if any(c in r.measured for r in good)}  # fmt: skip
    directions: dict[str, str] = {**better, **dict.fromkeys(costs, "lower")}
    axes = sorted({r.method for r in own}), sorted({r.concept for r in rows}), sorted({r.seed for r in rows})
    at: list[dict[Any, int]] = [{name: i for i, name in enumerate(axis)} for axis in axes]
    values = {c: np.full([len(a) for a in axes], np.nan) for c in directions}
    for row in own:
        cell = at[0][row.method], at[1][row.concept], at[2][row.seed]
        for column, value in values_of(row, better, costs):
            values[column][cell] = value
    values |= {c: settled(c, values[c]) for c in costs}
    anchors = {a: anchor(good, a, directions, costs, at[1]) for a in ANCHORS}
    copies = _copies(axes[0], {c: values[c] for c in better}, own)
    covered, every = _covered([values[c] for c in better], len(axes[0]))
    order = _order(axes[0], values, directions, covered == every)
    methods = [axes[0][i] for i in order]
    idle = np.array([all(_unmoved(r) for r in own if r.method == m) for m in methods], bool)
    ordered = {c: v[order] for c, v in values.items()}
    return Cells(methods, *axes[1:], ordered, directions, anchors, idle, copies, covered[order], every)


def shared(measured: Array) -> Array:
    """Returns the concepts that methods are held to: those that a third of the methods have, and two at least.

    Else one method with a concept of its own would leave nothing to compare, and alone be whole.

    Args:
        measured: (methods, concepts) of bools.
    """
    count = int(measured.any(1).sum())
    return measured.sum(0) >= max(1, min(count, 2), count / 3)


def _covered(values: Sequence[Array], methods: int) -> tuple[Array, int]:
    """Returns on how many shared concepts each method was measured, and how many those are."""
    if not values:
        return np.zeros(methods, int), 0
    measured = np.isfinite(np.stack(values)).any((0, -1))  # (methods, concepts)
    held_to = shared(measured)
    return measured[:, held_to].sum(1), int(held_to.sum())


def _order(methods: Sequence[str], values: dict[str, Array], better: dict[str, str], whole: Array) -> list[int]:
    """Returns the methods' places: the best of the first column first, then those of few concepts, the unmeasured
    last; else few easy concepts would win.
    """
    indices = range(len(methods))
    if not values or not methods:
        return list(indices)
    first = next(iter(values))
    score = np.nan_to_num(oriented(means(values[first]), better[first]), nan=-np.inf)
    return sorted(indices, key=lambda i: (score[i] == -np.inf, not whole[i], -score[i], methods[i]))


def _unmoved(row: Row) -> bool:
    """Returns whether all that a run measured is what the model before it has: it did nothing."""
    before = row.anchors.get("learned") or row.anchors.get("none", {})
    shared = [abs(row.measured[c].value - v.value) for c, v in before.items() if c in row.measured]
    return bool(shared) and max(shared) < SAME


def _copies(methods: Sequence[str], values: dict[str, Array], rows: Sequence[Row]) -> dict[str, str]:
    """Returns method → the one that had all its values first."""
    first: dict[str, str] = {}
    for row in rows:
        first[row.method] = min(first.get(row.method, finished(row)), finished(row))
    seen: dict[bytes, str] = {}
    out = {}
    for method in sorted(methods, key=lambda m: (first[m], m)):
        own = np.stack([v[methods.index(method)] for v in values.values()]) if values else np.empty(0)
        if not np.isfinite(own).any():
            continue
        first_of = seen.setdefault((own + 0.0).tobytes(), method)  # -0.0 is 0.0
        if first_of != method:
            out[method] = first_of
    return out
