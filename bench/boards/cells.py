"""A board's rows as arrays: methods × concepts × seeds, a column at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.boards.anchors import ANCHORS, anchor, values_of
from bench.boards.resample import Array, means
from bench.costs import settled
from bench.row import Row
from bench.rows.alike import alike, by_method, unmoved


@dataclass(frozen=True)
class Cells:
    """The finished runs of a board.

    Attributes:
        methods: in the order of their first column, best first, those measured on every concept before the others;
            anchors are not among them.
        concepts: those that methods are held to (`shared`); what is said of a board is of these.
        beyond: other concepts of its rows, which too few methods were measured on.
        seeds: of all rows.
        values: column → (methods, concepts, seeds), NaN where not measured.
        better: column → higher, lower or zero.
        anchors: anchor → column → (concepts, seeds).
        idle: (methods,): whether no run differs from the model before it.
        copies: method → the method that had the same values before it.
        covered: (methods,): on how many of the concepts something was measured.
        whole: (methods,): whether they were measured on every concept, and in nearly all the runs the others have; the
            means of those who were not are of fewer.
    """

    methods: list[str]
    concepts: list[str]
    beyond: list[str]
    seeds: list[int]
    values: dict[str, Array]
    better: dict[str, str]
    anchors: dict[str, dict[str, Array]]
    idle: Array
    copies: dict[str, str]
    covered: Array
    whole: Array

    @cached_property
    def on(self) -> dict[str, Array]:
        """Column → on how many concepts it was measured, (methods,)."""
        return {c: np.isfinite(v).any(-1).sum(-1) for c, v in self.values.items()}

    @cached_property
    def runs(self) -> dict[str, Array]:
        """Column → in how many runs it was measured, (methods,)."""
        return {c: np.isfinite(v).sum((1, 2)) for c, v in self.values.items()}

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
        if key not in found or (row.finished, row.status) >= (found[key].finished, found[key].status):
            found[key] = row
    return list(found.values())


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
    anchors = {a: anchor(good, a, directions, costs, axes[1:]) for a in ANCHORS}
    copies = _copies(own, better)
    measured = np.zeros([len(a) for a in axes], bool)
    for column in better:
        measured |= np.isfinite(values[column])
    whole, runs = entrants(measured)
    held = np.where(runs.any(), runs.any(1), True)  # all, where nothing was measured
    covered = measured[:, held].any(-1).sum(1)
    concepts = [c for c, h in zip(axes[1], held, strict=True) if h]
    values = {c: v[:, held] for c, v in values.items()}
    anchors = {a: {c: v[held] for c, v in of.items() if np.isfinite(v[held]).any()} for a, of in anchors.items()}
    order = _order(axes[0], values, directions, whole)
    methods = [axes[0][i] for i in order]
    idle = np.array([all(unmoved(r) for r in own if r.method == m) for m in methods], bool)
    ordered = {c: v[order] for c, v in values.items()}
    beyond = [c for c in axes[1] if c not in concepts]
    return Cells(methods, concepts, beyond, axes[2], ordered, directions, anchors, idle, copies, covered[order],
                 whole[order])  # fmt: skip


NEARLY = 0.9  # of the runs that methods are held to: one of ten may have diverged


def shared(measured: Array) -> Array:
    """Returns what methods are held to, of concepts or runs: what half of them have, and two at least.

    Counted are methods with nearly as much as the third best has. So neither can a method or two with concepts of their
    own make everybody else lack some, nor can many that were tried on a few take the others' away. Of two methods alone
    one counts if it has more than half of what the other has.

    Args:
        measured: (methods, n) of bools.
    """
    had = measured.sum(1)
    if len(had) >= 3:
        counted = measured[(had > 0) & (had >= NEARLY * np.sort(had)[-3])]
    else:
        counted = measured[had > had.max(initial=0) / 2]
    held: Array = counted.sum(0) >= max(1, min(len(counted), 2), len(counted) / 2)
    return held


def entrants(measured: Array) -> tuple[Array, Array]:
    """Returns who can be held against the others, (methods,), and in which runs, (concepts, seeds): those that were
    measured on every concept of these, and in nearly all of them.

    A method that fails on the hard concepts, or with the unlucky seeds, must not win by the others.

    Args:
        measured: (methods, concepts, seeds) of bools.
    """
    runs: Array = shared(measured.reshape(len(measured), int(np.prod(measured.shape[1:])))).reshape(measured.shape[1:])
    own = np.where(runs, measured, False)
    concepts = own.any(2).sum(1)
    counts = own.sum((1, 2))
    who: Array = (concepts == runs.any(1).sum()) & (counts >= NEARLY * runs.sum()) & (counts > 0)
    return who, runs


def _order(methods: Sequence[str], values: dict[str, Array], better: dict[str, str], whole: Array) -> list[int]:
    """Returns the methods' places: the best of the first column first, then those of few concepts, the unmeasured
    last; else few easy concepts would win.
    """
    indices = range(len(methods))
    if not values or not methods:
        return list(indices)
    first = next(iter(values))
    score = np.nan_to_num(oriented(means(values[first]), better[first]), nan=-np.inf)
    whole = whole & entrants(np.isfinite(values[first]))[0]
    return sorted(indices, key=lambda i: (score[i] == -np.inf, not whole[i], -score[i], methods[i]))


def _copies(rows: Sequence[Row], columns: Collection[str]) -> dict[str, str]:
    """Returns method → the one that had all its values first."""
    own = by_method(rows, columns)
    first: dict[str, str] = {}
    for row in rows:
        first[row.method] = min(first.get(row.method, row.finished), row.finished)
    originals: list[str] = []
    out: dict[str, str] = {}
    for method in sorted(own, key=lambda m: (first[m], m)):
        of = next((o for o in originals if alike(own[o], own[method])), None)
        if of is None:
            originals.append(method)
        else:
            out[method] = of
    return out
