"""Scores made of means: of several sources or channels, resampled together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.metric import Derived
from bench.stats import drawn_means

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, Any]

LOST = 0.05  # share of draws that may have no value


class _Absent(Exception):
    """A mean that a score needs is not in the table."""


class Means:
    """The bootstrap means of a table: of one channel's pictures together, of channels each by themselves."""

    def __init__(self, table: pd.DataFrame) -> None:
        # the references answer no prompt of the grid
        self._table = table[(table["reason"] == "") & (table["source"] != "references")]
        self._drawn: dict[tuple[str, tuple[str, ...]], dict[Any, Array]] = {}
        self.clusters: list[int] = []

    def _wide(self, channel: str, metrics: tuple[str, ...]) -> pd.DataFrame:
        part = self._table[(self._table["channel"] == channel) & self._table["metric"].isin(metrics)]
        return part.pivot_table(index=["prompt", "seed"], columns=["metric", "source"], values="value")

    def point(self, metric: str, source: str, channel: str) -> float:
        """Returns a mean over pictures."""
        lines = self._table
        found = lines[(lines["metric"] == metric) & (lines["source"] == source) & (lines["channel"] == channel)]
        if found.empty:
            raise _Absent
        return float(found["value"].mean())

    def drawn(self, metrics: tuple[str, ...], metric: str, source: str, channel: str) -> Array:
        """Returns the mean in every bootstrap draw, (draws,)."""
        key = (channel, metrics)
        if key not in self._drawn:
            wide = self._wide(channel, metrics).dropna()
            if wide.empty:
                raise _Absent
            columns = {c: wide[c].to_numpy() for c in wide.columns}
            prompts = wide.index.get_level_values("prompt").to_numpy()
            self.clusters.append(len(set(prompts.tolist())))
            seed = sum(map(ord, channel))  # channels are drawn apart
            self._drawn[key] = drawn_means(columns, prompts, seed=seed)
        if (metric, source) not in self._drawn[key]:
            raise _Absent
        return self._drawn[key][metric, source]


def derive(m: Derived, table: pd.DataFrame, channel: str) -> tuple[float, float, float, int] | str:
    """Returns value, low, high and the number of pictures; or why there is none (nothing where it is not asked)."""
    means = Means(table)
    try:
        reason = m.gate(means.point, channel) if m.gate else ""
        if reason:
            return reason
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(m.function(lambda *at: np.array([means.point(*at)]), channel)[0])
            draws = m.function(lambda *at: means.drawn(m.of, *at), channel)
    except _Absent:
        return ""
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(draws) < (1 - LOST) * 2000:
        return "what it is a share of is too near to nothing"
    k = min(means.clusters)
    few = np.sqrt(k / (k - 1)) if k > 1 else 1.0
    low, high = value + few * (np.quantile(draws, [0.025, 0.975]) - value)
    here = table[(table["channel"] == channel) & (table["source"] == "model") & table["metric"].isin(m.of)]
    return value, min(float(low), value), max(float(high), value), len(here) // len(m.of)
