"""Scores of single pictures, as a run's parquet table has them, for pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.metric import Metric

At = tuple[str, int]  # channel and prompt
Means = dict[At, dict[str, dict[str, float]]]  # → metric → source → mean over seeds
END = {"higher": 0.0, "lower": 1.0}  # of a metric of 0 and 1, the value nobody wants
MOST = 4  # pictures at each end
SAME = 1e-3  # the last decimal shown: what differs by less has no ends
BEFORE, AFTER = "none", "model"


@dataclass(frozen=True)
class Shot:
    """One picture's score, and that of the untouched model's from the same noise where there is one."""

    channel: str
    prompt: int
    seed: int
    value: float
    before: float | None


@dataclass(frozen=True)
class Extremes:
    """A metric's pictures at both ends; `best` is empty where the metric is 0 or 1."""

    metric: Metric
    worst: list[Shot]
    best: list[Shot]
    bad: int
    count: int


@dataclass(frozen=True)
class Points:
    """One metric drawn over another: a point a prompt, (x, after, before, prompt); `near` are those of the concept's
    own class, from which distances count.
    """

    name: str
    over: str
    points: list[tuple[float, float, float, str]]
    near: list[tuple[float, float, float, str]]


class Scores:
    """A table of scores.

    Args:
        values: (source, metric, channel, prompt, seed) → value.
    """

    def __init__(self, values: Mapping[tuple[str, str, str, int, int], float]) -> None:
        self.values = values

    @classmethod
    def read(cls, path: Path) -> Scores:
        """Reads `scores.parquet`; nothing where nothing was scored. What could not be measured is left out."""
        if not path.is_file():
            return cls({})
        import pandas as pd

        names = ["source", "metric", "channel", "prompt", "seed"]
        table = pd.read_parquet(path).dropna(subset=["value"])
        keys = table[names].itertuples(index=False, name=None)
        return cls(dict(zip(keys, table["value"].tolist(), strict=True)))

    @cached_property
    def means(self) -> Means:
        """The mean over seeds of every prompt."""
        kept: dict[tuple[str, int, str, str], list[float]] = {}
        for (source, metric, channel, prompt, _), value in self.values.items():
            kept.setdefault((channel, prompt, metric, source), []).append(value)
        out: Means = {}
        for (channel, prompt, metric, source), found in kept.items():
            out.setdefault((channel, prompt), {}).setdefault(metric, {})[source] = sum(found) / len(found)
        return out

    def of(self, metric: str) -> list[Shot]:
        """Returns a metric's score of every picture of the method's, in the table's order."""
        return [
            Shot(channel, prompt, seed, value, self.values.get((BEFORE, metric, channel, prompt, seed)))
            for (source, name, channel, prompt, seed), value in self.values.items()
            if (source, name) == (AFTER, metric)
        ]

    def single(self, source: str, channel: str, prompt: int, seed: int) -> dict[str, float]:
        """Returns metric → score of one picture."""
        return self._by_picture.get((source, channel, prompt, seed), {})

    @cached_property
    def _by_picture(self) -> dict[tuple[str, str, int, int], dict[str, float]]:
        out: dict[tuple[str, str, int, int], dict[str, float]] = {}
        for (source, metric, *picture), value in self.values.items():
            out.setdefault((source, *picture), {})[metric] = value  # type: ignore[arg-type]
        return out

    def marks(self, metrics: Iterable[Metric], channel: str, prompt: int, seed: int) -> list[str]:
        """Returns what is to be said beside a picture of the method's: of metrics that are 0 or 1, what went wrong.

        Where the method is asked for something, whatever nobody wants is said: on the metric's own channel, and of what
        was to be erased. Elsewhere only what the untouched model's picture of the same noise has not: it is no change.
        """
        own = self.single(AFTER, channel, prompt, seed)
        was = self.single(BEFORE, channel, prompt, seed)
        out = []
        for m in metrics:
            end = END.get(m.direction(channel))
            if m.binary and m.name in own and own[m.name] == end:
                asked = channel == m.plain or m.group_on(channel) == "erasure"
                changed = was.get(m.name, 0.0) != end  # nothing kept of it: a hit is new, a miss is not
                out += [f"{m.title} {own[m.name]:.0f}"] if asked or changed else []
        return out

    def tally(self, metrics: Sequence[Metric]) -> list[tuple[str, str, int, int]]:
        """Returns what `marks` says as (what, channel, in how many pictures, of how many)."""
        out = []
        for m in (m for m in metrics if m.binary):
            shots = self.of(m.name)
            asked = Counter(s.channel for s in shots)
            hits = Counter(s.channel for s in shots if self.marks([m], s.channel, s.prompt, s.seed))
            out += [(f"{m.title} {END[m.direction(c)]:.0f}", c, hits[c], n) for c, n in asked.items() if hits[c]]
        return out

    def extremes(self, metrics: Iterable[Metric], order: Sequence[str]) -> list[Extremes]:
        """Returns every metric's worst and best pictures, over all its channels.

        Args:
            metrics: of the run.
            order: groups, in which they come.
        """
        out = []
        for m in metrics:
            shots = [s for s in self.of(m.name) if m.direction(s.channel) != "neither"]
            if m.binary:
                ranked = _in_turn([s for s in shots if self.marks([m], s.channel, s.prompt, s.seed)])
            else:
                ranked = sorted(shots, key=lambda s: _badness(m, s), reverse=True)
            best = [] if m.binary else ranked[MOST:][::-1][:MOST]
            if ranked and (m.binary or abs(ranked[0].value - ranked[-1].value) > SAME):
                out.append(Extremes(m, ranked[:MOST], best, len(ranked), len(shots)))
        rank = {group: i for i, group in enumerate(order)}
        return sorted(out, key=lambda e: rank.get(e.metric.group, len(rank)))

    def drawn_over(self, metrics: Iterable[Metric], prompts: Mapping[At, str]) -> list[Points]:
        """Returns what is drawn over something else; nothing where either was not measured."""
        known = {m.name: m for m in metrics}
        out = []
        for m in (m for m in known.values() if m.over in known):
            both = {at: of for at, of in self.means.items() if {AFTER, BEFORE} <= of.get(m.name, {}).keys()}
            points, near = [], []
            for at, of in both.items():
                said = (of[m.name][AFTER], of[m.name][BEFORE], prompts.get(at, ""))
                if AFTER in of.get(m.over, {}):
                    points.append((of[m.over][AFTER], *said))
                elif at[0] == "class":
                    near.append((0.0, *said))
            out += [Points(m.title, known[m.over].title, sorted(points), sorted(near))] if points else []
        return out


def _in_turn(shots: Sequence[Shot]) -> list[Shot]:
    """Returns the first picture of every prompt, then every second one: none of equals is better than another."""
    seen: Counter[At] = Counter()
    turns = []
    for shot in shots:
        turns.append((seen[shot.channel, shot.prompt], shot))
        seen[shot.channel, shot.prompt] += 1
    return [shot for _, shot in sorted(turns, key=lambda t: t[0])]


def _badness(m: Metric, shot: Shot) -> float:
    """Returns how bad a score is; the higher the worse."""
    better = m.direction(shot.channel)
    return -shot.value if better == "higher" else shot.value if better == "lower" else abs(shot.value)
