"""Fronts: what no other method beats in both of two columns.

Who enters: a method measured in both columns on every concept of the front and in nearly all its runs, that is better
than the model before it in the task's first column, has moved at all, and is no copy of another, to the tables' last
decimal. So no missing value, do-nothing run or duplicate can enter a front, or push another from it. Which of two alike
is the copy, their own dates say; so `validate` refuses both until one is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.boards.anchors import LEARNED
from bench.boards.cells import Cells, entrants
from bench.boards.resample import Array, means, plainly_drawn
from bench.errors import BenchError
from bench.rows.alike import SAME

UNMEASURED = "not measured on every concept, or in too few runs"


@dataclass(frozen=True)
class Front:
    """A front of two columns.

    Attributes:
        name: as in `conf/leaderboard.yaml`.
        columns: horizontal, vertical.
        points: (methods, 2), means over the front's concepts; NaN where not measured on all of them.
        concepts: how many those are.
        on: (methods,) of bools.
        chance: (methods,), the share of bootstrap draws in which a method is on the front; NaN with one concept.
        why: (methods,), why a method does not enter; empty where it does.
        reference: the point that the hypervolume reaches from; NaN where unknown.
        hypervolume: the area between the front and the reference, in the product of the columns' units; NaN without it.
    """

    name: str
    columns: tuple[str, str]
    points: Array
    concepts: int
    on: Array
    chance: Array
    why: list[str]
    reference: Array
    hypervolume: float


def front(cells: Cells, name: str, columns: Sequence[str], first: str, worst: Mapping[str, float | str]) -> Front:
    """Returns a front.

    Args:
        cells: the board.
        name: of the front.
        columns: horizontal, vertical; both in the cells.
        first: the task's first column: what a method is for.
        worst: column → the reference point's value, or the anchor that has it.
    """
    values = np.stack([cells.values[c] for c in columns])  # (2, methods, concepts, seeds)
    entered, runs = entrants(np.isfinite(values).all(0))
    concepts = runs.any(1)
    part = np.where(runs, values, np.nan)[:, :, concepts]
    points = np.stack([np.where(entered, means(v), np.nan) for v in part], -1)
    gain, gains = _gain(cells, first, runs, worst)
    why = [_why(cells, m, bool(entered[i]), bool(gain[i])) for i, m in enumerate(cells.methods)]
    fit = np.array([not w for w in why], bool)
    scores = _scores(cells, columns, points)
    draws = [plainly_drawn(np.where(fit[:, None, None], v, np.nan)) for v in part]
    drawn_scores = _scores(cells, columns, np.stack(draws, -1))
    reference = np.array([_worst(cells, c, runs, worst) for c in columns])
    on = undominated(scores, fit)
    chance = undominated(drawn_scores, gains).mean(0) if concepts.sum() > 1 else np.full(len(on), np.nan)
    return Front(name, (columns[0], columns[1]), points, int(concepts.sum()), on, chance, why, reference,
                 hypervolume(scores[on], _scores(cells, columns, reference)))  # fmt: skip


def undominated(scores: Array, entered: Array) -> Array:
    """Returns who is on the front: entered, and no other that entered is as good in both columns and better in one.

    Args:
        scores: (…, methods, 2), the higher the better.
        entered: (…, methods) of bools; what is NaN does not enter either way.
    """
    entered = entered & np.isfinite(scores).all(-1)
    a, b = (np.where(entered, scores[..., i], -np.inf) for i in (0, 1))
    on = entered.copy()
    for index in range(scores.shape[-2]):
        other_a, other_b = a[..., index, None], b[..., index, None]
        on &= ~((other_a >= a) & (other_b >= b) & ((other_a > a) | (other_b > b)))
    return on


def hypervolume(scores: Array, reference: Array) -> float:
    """Returns the area that points dominate, above a reference point; what does not beat it in both adds nothing.

    Args:
        scores: (n, 2), the higher the better.
        reference: (2,); NaN gives NaN.
    """
    if not np.isfinite(reference).all():
        return float("nan")
    area, reached = 0.0, float(reference[1])
    for a, b in sorted(scores[(scores > reference).all(1)].tolist(), reverse=True):
        area += (a - float(reference[0])) * max(0.0, b - reached)
        reached = max(reached, b)
    return area


def _scores(cells: Cells, columns: Sequence[str], points: Array) -> Array:
    return np.stack([cells.score(c, points[..., i]) for i, c in enumerate(columns)], -1)


def _why(cells: Cells, method: str, entered: bool, gain: bool) -> str:
    index = cells.methods.index(method)
    if method in cells.copies:
        return f"the same values as {cells.copies[method]}"
    if cells.idle[index]:
        return "does nothing: the same values as the model before it"
    if not entered:
        return UNMEASURED
    return "" if gain else "no better than the model before it"


def _gain(cells: Cells, first: str, runs: Array, worst: Mapping[str, float | str]) -> tuple[Array, Array]:
    """Returns whether methods beat the model before them in the first column, where both are known: by their means,
    and in each draw. Where nothing is known of it nobody is held to it.
    """
    start = np.where(runs, _start(cells, first, worst), np.nan)
    known = np.isfinite(start).any(1)
    if not known.any():
        return np.ones(len(cells.methods), bool), np.ones(len(cells.methods), bool)
    start = start[known]
    values = np.where(np.isfinite(start), cells.values[first][:, known], np.nan)
    before = np.where(np.isfinite(values), start, np.nan)  # the same runs as the methods', in a draw too
    by_mean = cells.score(first, means(values)) - cells.score(first, means(before))
    return by_mean > SAME, cells.score(first, plainly_drawn(values)) - cells.score(first, plainly_drawn(before)) > SAME


def _start(cells: Cells, column: str, worst: Mapping[str, float | str]) -> Array:
    """Returns what a column has before training, (concepts, seeds); NaN where that is unknown."""
    given, shape = worst.get(column), (len(cells.concepts), len(cells.seeds))
    if isinstance(given, int | float):
        return np.full(shape, float(given))
    return cells.anchors[LEARNED].get(column, cells.anchors["none"].get(column, np.full(shape, np.nan)))


def _worst(cells: Cells, column: str, runs: Array, worst: Mapping[str, float | str]) -> float:
    """Returns a column's value of the reference point."""
    given = worst.get(column, np.nan)
    if isinstance(given, int | float):
        return float(given)
    if given != "before":
        raise BenchError(f"conf/leaderboard.yaml: worst.{column}={given!r}; a number or `before` would be right")
    return float(means(np.where(runs, _start(cells, column, worst), np.nan)))
