"""Every metric against the truth: AUC, rank correlation, and how often it prefers the right picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metric import Bank, Features, Metric
from bench.stickers.judges import area
from bench.stickers.validity.broken import reads
from bench.stickers.validity.cases import FAILURES, LEVELS, WRONG, Item, group_of

Array = np.ndarray[Any, Any]
BATCH, DRAWS = 64, 400


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Validity:
    """What one metric is worth on one judge.

    Attributes:
        auc: right pictures above wrong ones.
        rank: Spearman's correlation with the truth's grade.
        prefers: failure → share of scenes in which the right picture scores better.
    """

    auc: Figure
    rank: Figure
    prefers: dict[str, Figure]


def _in_batches(call: Callable[..., Any], *columns: Sequence[Any]) -> Any:
    starts = range(0, len(columns[0]), BATCH)
    return np.concatenate([call(*(c[i : i + BATCH] for c in columns)) for i in starts])


class Looks:
    """What judges see of the cases, looked at once whatever number of metrics and variants asks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int, str], list[Features]] = {}
        self._around: dict[tuple[int, int], _Around] = {}

    def at(self, judge: Any, items: Sequence[Item], variant: str) -> list[Features]:
        """Returns a judge's features of one variant of every item."""
        key = (id(judge), id(items), variant)
        if key not in self._seen:
            self._seen[key] = self._look(judge, items, variant)
        return self._seen[key]

    def _look(self, judge: Any, items: Sequence[Item], variant: str) -> list[Features]:
        pictures = [i.pictures[variant] for i in items]
        none = np.zeros((len(items), 0), np.float32)
        if getattr(judge, "columns", ()):
            return [Features(none, none, None, none, _in_batches(judge.pairs, pictures, [i.text for i in items]))]
        key = (id(judge), id(items))
        if key not in self._around:
            self._around[key] = _around(judge, items)
        around, image = self._around[key], _in_batches(judge.images, pictures)
        text, base = around.text, image if around.base is None else around.base
        return [
            Features(
                image[rows],
                base[rows],
                None if text is None else text[rows],
                real,
                seeds=np.arange(len(rows)),
                bank=_bank(real, others),
                instead=None if text is None else text[rows],
            )
            for rows, real, others in around.concepts
        ] or [Features(image, base, text, none, instead=text)]


def _bank(real: Array, others: Array) -> Bank:
    """Returns what a detector is calibrated on, no picture of the same seed as another."""
    return Bank(real, others, -1 - np.arange(len(real)), -1 - len(real) - np.arange(len(others)))


@dataclass(frozen=True)
class _Around:
    """What a judge sees beside the variants: the texts, the untouched model's pictures, and of each concept which
    items are its own, its references and other artwork of its class.
    """

    text: Array | None
    base: Array | None
    concepts: list[tuple[list[int], Array, Array]]


def _around(judge: Any, items: Sequence[Item]) -> _Around:
    text = _in_batches(judge.texts, [i.text for i in items]) if reads(judge) else None
    base = _in_batches(judge.images, [i.base for i in items]) if items[0].base else None
    concepts = []
    for _, group in itertools.groupby(range(len(items)), key=lambda k: id(items[k].references)):
        rows = list(group)  # the items of a concept lie together
        if items[rows[0]].references:
            others = [items[i].pictures["other artwork"] for i in rows]
            concepts.append((rows, judge.images(items[rows[0]].references), judge.images(others)))
    return _Around(text, base, concepts)


def scores(metric: Metric, seen: Sequence[Features]) -> Array:
    """Returns the metric of one variant of every item, signed so that higher is better."""
    values = np.concatenate([metric.function(f) for f in seen]).astype(float)
    if metric.better == "neither" or group_of(metric) in ("detection", "likeness"):
        return values  # a find is right where the truth is, whatever it means
    return {"higher": values, "lower": -values, "zero": -np.abs(values)}[metric.better]


def _spearman(by_level: dict[int, Array]) -> float:
    from scipy.stats import spearmanr

    grades = np.concatenate([np.full(len(v), level) for level, v in by_level.items()])
    values = np.concatenate(list(by_level.values()))
    return float(spearmanr(grades, values).statistic) if np.ptp(values) > 0 else 0.0


def bootstrap(statistic: Callable[[Array], float], count: int) -> Figure:
    """Returns a statistic of the items with its interval, the items resampled."""
    rng = np.random.default_rng(0)
    everything = statistic(np.arange(count))
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(round(everything, 4), round(float(low), 4), round(float(high), 4))


def measure(metric: Metric, judge: Any, items: Sequence[Item], looks: Looks) -> tuple[Validity, dict[str, Array]]:
    """Measures one metric on one judge. Returns its validity, and the scores of every variant."""
    levels = LEVELS[group_of(metric)]
    variants = [v for v in dict.fromkeys([*levels, *FAILURES]) if v in items[0].pictures]
    found = {v: scores(metric, looks.at(judge, items, v)) for v in variants}

    def rank(pick: Array) -> float:
        return _spearman({level: found[v][pick] for v, level in levels.items()})

    def wins(variant: str) -> Figure:
        better = np.sign(found["right"] - found[variant]) / 2 + 0.5
        return bootstrap(lambda pick: float(better[pick].mean()), len(items))

    prefers = {v: wins(v) for v in FAILURES if v in found}
    return Validity(auc_of(found, group_of(metric)), bootstrap(rank, len(items)), prefers), found


def decisive(metric: Metric, judge: Any, items: Sequence[Item], looks: Looks) -> dict[str, Array]:
    """Returns the scores of the variants that AUC is made of, which is all that gives a broken judge away."""
    return {v: scores(metric, looks.at(judge, items, v)) for v in ("right", *WRONG[group_of(metric)])}


def _auc(found: dict[str, Array], group: str, pick: Array) -> float:
    return area(found["right"][pick], np.concatenate([found[w][pick] for w in WRONG[group]]))


def auc_of(found: dict[str, Array], group: str) -> Figure:
    """Returns how often a right picture scores above a wrong one."""
    return bootstrap(lambda pick: _auc(found, group, pick), len(found["right"]))


def worse_by(sound: dict[str, Array], broken: dict[str, Array], group: str) -> Figure:
    """Returns how much AUC a broken judge loses on the very same items."""

    def lost(pick: Array) -> float:
        return _auc(sound, group, pick) - _auc(broken, group, pick)

    return bootstrap(lost, len(sound["right"]))


def differs_by(sound: dict[str, Array], broken: dict[str, Array]) -> float:
    """Returns the mean change of a score on the same pictures, in standard deviations of the sound judge's."""
    a, b = (np.concatenate([f[v] for v in sorted(broken)]) for f in (sound, broken))
    return float(np.abs(a - b).mean() / (a.std() + 1e-12))
