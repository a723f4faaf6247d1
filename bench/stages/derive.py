"""Scores made of means: of several sources or channels, resampled together."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.metric import Derived, Mean
from bench.stats import DRAWS, drawn_means, independent, percentiles, widening

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, Any]

LOST = 0.05  # share of draws that may have no value
LEAST = 1 / 3  # of itself: below, what a score is a share of counts as nothing in a draw


class Absent(LookupError):
    """A mean that a score needs is not in the table."""


class Means:
    """The bootstrap means of a table, each drawn once whatever number of scores asks: of one channel's pictures
    together, of channels each by themselves.

    Resampling draws a share of none, or of all, as itself each time, and knows nothing of what it may be: such a one is
    drawn from its posterior (Jeffreys' prior).
    """

    def __init__(self, table: pd.DataFrame, binary: Collection[str] = ()) -> None:
        self._binary = binary
        # the references answer no prompt of the grid
        self._table = table[(table["reason"] == "") & (table["source"] != "references")]
        self._drawn: dict[tuple[str, tuple[str, ...]], tuple[dict[Any, Array], dict[Any, Array], int]] = {}
        self._measured: dict[tuple[str, str], bool] = {}
        self._alike: dict[str, dict[str, str]] = {}

    def point(self, metric: str, source: str, channel: str) -> float:
        """Returns a mean over pictures."""
        lines = self._table
        found = lines[(lines["metric"] == metric) & (lines["source"] == source) & (lines["channel"] == channel)]
        if found.empty:
            raise Absent
        return float(found["value"].mean())

    def drawn(self, metrics: tuple[str, ...], metric: str, source: str, channel: str) -> tuple[Array, Array, int]:
        """Returns the mean in every bootstrap draw, (draws,), the same as plainly resampled, and how many prompts were
        drawn from.
        """
        key = (channel, metrics)
        if key not in self._drawn:
            self._drawn[key] = self._draw(channel, metrics)
        columns, plain, prompts = self._drawn[key]
        if (metric, source) not in columns:
            raise Absent
        return columns[metric, source], plain[metric, source], prompts

    def _draw(self, channel: str, metrics: tuple[str, ...]) -> tuple[dict[Any, Array], dict[Any, Array], int]:
        part = self._table[(self._table["channel"] == channel) & self._table["metric"].isin(metrics)]
        wide = part.pivot_table(index=["prompt", "seed"], columns=["metric", "source"], values="value").dropna()
        if wide.empty:
            raise Absent
        prompts = wide.index.get_level_values("prompt").to_numpy()
        count = len(set(prompts.tolist()))
        seed = sum(map(ord, channel))  # channels are drawn apart
        columns: dict[Any, Array] = {c: wide[c].to_numpy() for c in wide.columns}
        plain = drawn_means(columns, prompts, seed=seed)
        out = dict(plain)
        for column, values in columns.items():
            share = values.mean()
            if column[0] in self._binary and share in (0, 1):
                rng = np.random.default_rng(self._seed(column[0], column[1], channel))
                n = independent(prompts)
                drawn = rng.beta(n * share + 0.5, n * (1 - share) + 0.5, size=DRAWS)
                out[column] = share + (drawn - share) / widening(count)  # intervals are widened by this later
        return out, plain, count

    def _seed(self, metric: str, source: str, channel: str) -> int:
        """Returns a seed: the same of sources whose pictures are the same to every judge, so that they stay paired."""
        if channel not in self._alike:
            self._alike[channel] = self._firsts(channel)
        return zlib.crc32(f"{metric}|{channel}|{self._alike[channel][source]}".encode())

    def _firsts(self, channel: str) -> dict[str, str]:
        """Returns source → the first, by name, that every judge says the same of."""
        lines = self._table[self._table["channel"] == channel].sort_values(["source", "metric", "prompt", "seed"])
        of = {str(name): own["value"].to_numpy() for name, own in lines.groupby("source")}
        return {
            name: next(n for n, v in of.items() if v.shape == own.shape and np.allclose(v, own, rtol=0, atol=1e-6))
            for name, own in of.items()
        }

    def measured(self, score: Derived, channel: str) -> bool:
        """Returns whether a score can be measured on a channel."""
        key = score.name, channel
        if key not in self._measured:
            self._measured[key] = isinstance(derive(score, self, channel), Derivation)
        return self._measured[key]

    def pictures(self, metrics: tuple[str, ...], channel: str) -> int:
        """Returns how many of the model's pictures a score of these metrics is made of on a channel."""
        lines = self._table
        here = (lines["channel"] == channel) & (lines["source"] == "model") & lines["metric"].isin(metrics)
        return len(lines[here].drop_duplicates(["prompt", "seed"]))


class Reading(NamedTuple):
    """What a score's functions are handed: means, or their draws, of one table."""

    table: Means
    mean: Callable[[str, str, str], Any]

    def __call__(self, metric: str, source: str, channel: str, /) -> Any:
        """Returns a mean, or its draws."""
        return self.mean(metric, source, channel)

    def measured(self, score: Derived, channel: str, /) -> bool:
        """Returns whether another score can be measured on a channel."""
        return self.table.measured(score, channel)


class Derivation(NamedTuple):
    """A derived value, its interval, its number of pictures and the metrics it was read from."""

    value: float
    low: float
    high: float
    pictures: int
    read: tuple[str, ...]


def derive(m: Derived, means: Means, channel: str) -> Derivation | str:
    """Returns a score with its interval; or why there is none (nothing where it is not asked)."""
    clusters: list[int] = []
    read: dict[str, None] = {}

    def draw(*at: str) -> Array:
        draws, _, prompts = means.drawn(m.of, *at)
        clusters.append(prompts)
        read[at[0]] = None
        return draws

    points, drawn = Reading(means, lambda *at: np.array([means.point(*at)])), Reading(means, draw)
    plain = Reading(means, lambda *at: means.drawn(m.of, *at)[1])  # what cannot be measured, resampling alone decides
    try:
        reason = m.gate(Reading(means, means.point), channel) if m.gate else ""
        if reason:
            return reason
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(m.function(points, channel)[0])
            draws = m.function(drawn, channel)
            lost = ~np.isfinite(m.function(plain, channel))
            small = _small(m, points, plain, channel)
    except Absent:
        return ""
    draws = draws[np.isfinite(draws)]
    if small or not np.isfinite(value) or lost.sum() > LOST * DRAWS or not draws.size:
        return "what it is a share of is too near to nothing"
    low, high = np.clip(percentiles(value, draws, min(clusters)), *m.bounds)
    pictures = means.pictures(m.of, channel)
    return Derivation(value, min(float(low), value), max(float(high), value), pictures, tuple(read))


def _small(m: Derived, points: Mean, drawn: Mean, channel: str) -> bool:
    """Returns whether what a score is a share of shrinks to a part of itself in more draws than may be lost."""
    if m.whole is None:
        return False
    wholes = zip(m.whole(points, channel), m.whole(drawn, channel), strict=True)
    return any(bool((draws < LEAST * point).mean() > LOST) for point, draws in wholes)
