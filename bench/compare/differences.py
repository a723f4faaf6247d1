"""Two runs, or two methods, against each other: paired differences of every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.boards.resample import intervals, means, pair_arrays
from bench.compare.sides import Side, pictures, value_names
from bench.errors import BenchError
from bench.row import Row, Value
from bench.stats import interval

Pairs = dict[tuple[str, int], tuple[float, float]]  # (concept or prompt, seed) → first, second


@dataclass(frozen=True)
class Difference:
    """One value of both; `bounds` of the difference, the first minus the second, where there are pairs to resample."""

    name: str
    of: Value
    first: float
    second: float
    pairs: int
    clusters: int
    bounds: tuple[float, float] | None

    @property
    def value(self) -> float:
        """The first minus the second."""
        return self.first - self.second

    @property
    def settled(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.bounds is not None and not self.bounds[0] <= 0 <= self.bounds[1]

    @property
    def better(self) -> int:
        """Which is better by the metric's own direction: 1, 2, or 0 where that is not settled.

        Of two on either side of a best value of zero the difference may be clear and which is nearer not: there the
        distances must differ by more than the interval's half width.
        """
        if self.bounds is None or not self.settled or self.of.better == "neither":
            return 0
        if self.of.better != "zero":
            return 1 if (self.value > 0) == (self.of.better != "lower") else 2
        nearer = abs(self.second) - abs(self.first)
        if self.first * self.second < 0 and abs(nearer) <= (self.bounds[1] - self.bounds[0]) / 2:
            return 0
        return 1 if nearer > 0 else 2

    @property
    def strength(self) -> tuple[bool, float, float]:
        """How far the two differ, for sorting: in units of the interval's half width."""
        if self.bounds is None:
            return False, abs(self.value), 0.0
        half = (self.bounds[1] - self.bounds[0]) / 2
        return True, abs(self.value) / max(half, 1e-9), abs(self.value)


def differences(first: Side, second: Side) -> tuple[list[Difference], str]:
    """Returns every value that both have, where they differ most first, and what was paired.

    Raises:
        BenchError: the two have nothing in common.
    """
    for each in (first, second):
        _one(each)
    by_picture = bool(first.run and second.run) and first.rows[0].concept == second.rows[0].concept
    common = _rows(first, second)
    if len(first.rows) == len(second.rows) == 1 and common:
        _comparable(*common[0])
    if not common:
        raise BenchError(f"{first.name} and {second.name} have no dataset, model, protocol, concept and seed in common")
    paired, unit = _by_row(common), "concept, then training seed"
    if by_picture:
        paired, unit = paired | _by_picture(first, second), "prompt, then seed"
    known = {name: v for own, _ in common for name, v in own.measured.items()}
    differ = _by_pictures if by_picture else _by_concepts
    found = [differ(name, known[name], pairs) for name, pairs in paired.items() if name in known]
    return sorted(found, key=lambda d: d.strength, reverse=True), unit


def _one(of: Side) -> None:
    """Refuses a side of several methods, datasets, models or protocols: their means would be of one thing or another.

    Raises:
        BenchError: it has more than one.
    """
    for what in ("method", "dataset", "model", "protocol"):
        names = sorted({getattr(r, what) for r in of.rows})
        if len(names) > 1:
            raise BenchError(f"{of.name}: runs of {what} {' and '.join(names)}; those of one alone would be right")


def _comparable(a: Row, b: Row) -> None:
    """Refuses two runs whose pictures were asked for otherwise.

    Raises:
        BenchError: they are of two models or protocols.
    """
    for what in ("model", "protocol"):
        one, other = getattr(a, what), getattr(b, what)
        if one != other:
            raise BenchError(f"{a.method} is of {what} {one} and {b.method} of {other}: two of one would be right")


def _by_pictures(name: str, of: Value, pairs: Pairs) -> Difference:
    """Returns the difference of two runs: prompts are resampled, then seeds within them."""
    clusters = np.array([prompt for prompt, _ in pairs])
    first, second = np.array(list(pairs.values())).T
    bounds = interval(first - second, clusters)[1:] if len(pairs) > 1 else None
    return Difference(name, of, float(first.mean()), float(second.mean()), len(pairs), len(set(clusters)), bounds)


def _by_concepts(name: str, of: Value, pairs: Pairs) -> Difference:
    """Returns the difference of two methods as a board has it: concepts are resampled, then seeds, widened for few."""
    first, second = pair_arrays(pairs)
    _, low, high = intervals(first - second)
    bounds = (float(low[0]), float(high[0])) if np.isfinite(low[0]) else None
    sides = float(means(first)[0]), float(means(second)[0])
    return Difference(name, of, *sides, len(pairs), len({concept for concept, _ in pairs}), bounds)


def _rows(first: Side, second: Side) -> list[tuple[Row, Row]]:
    """Returns pairs of rows of one concept and seed; two single runs of one concept are a pair whatever their seeds."""
    if len(first.rows) == len(second.rows) == 1:
        a, b = first.rows[0], second.rows[0]
        return [(a, b)] if (a.dataset, a.concept) == (b.dataset, b.concept) else []

    def at(row: Row) -> tuple[str, str, str, str, int]:
        return row.dataset, row.model, row.protocol, row.concept, row.seed

    others = {at(r): r for r in second.rows}
    return [(r, others[at(r)]) for r in sorted(first.rows, key=at) if at(r) in others]


def _by_row(common: Sequence[tuple[Row, Row]]) -> dict[str, Pairs]:
    out: dict[str, Pairs] = {}
    for a, b in common:
        for name in a.measured:
            if name in b.measured:
                out.setdefault(name, {})[a.concept, a.seed] = (a.measured[name].value, b.measured[name].value)
    return out


def _by_picture(first: Side, second: Side) -> dict[str, Pairs]:
    """Returns pairs of pictures of one prompt and seed; what is no mean over pictures is not among them."""
    names = value_names(first.rows[0])
    one, other = (pictures(s) for s in (first, second))
    out: dict[str, Pairs] = {}
    for (metric, picture), value in one.items():
        channel, prompt, seed = picture
        if (metric, picture) in other and (metric, channel) in names:
            own = out.setdefault(names[metric, channel], {})
            own[f"{channel}|{prompt}", seed] = (value, other[metric, picture])
    return out
