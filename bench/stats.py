"""Intervals by clustered bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np


def interval(
    values: np.ndarray[Any, Any], clusters: np.ndarray[Any, Any], draws: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Returns the mean and its percentile interval, resampling clusters and then values within them.

    The draws are seeded and the values sorted first, so the order of the rows changes nothing.

    Args:
        values: one a picture, (n,).
        clusters: the prompt each belongs to, (n,).
        draws: bootstrap draws.
        level: coverage of the interval.

    Returns:
        mean, low, high. With one cluster, its values alone are resampled.
    """
    rng = np.random.default_rng(0)
    order = np.lexsort((values, clusters))
    values, clusters = values[order], clusters[order]
    groups = [values[clusters == c] for c in dict.fromkeys(clusters.tolist())]
    drawn = np.stack([_resampled_means(g, draws, rng) for g in groups])  # (clusters, draws)
    sizes = np.array([len(g) for g in groups], float)
    pick = rng.integers(len(groups), size=(draws, len(groups)))
    weight = sizes[pick]
    means = (drawn[pick, np.arange(draws)[:, None]] * weight).sum(1) / weight.sum(1)
    tail = (1 - level) / 2
    mean, k = float(values.mean()), len(groups)
    few = np.sqrt(k / (k - 1)) if k > 1 else 1.0  # resampling k clusters sees only (k − 1) / k of their variance
    wide = mean + few * (np.quantile(means, [tail, 1 - tail]) - mean)
    low, high = np.clip(wide, values.min(), values.max())
    return mean, float(low), float(high)


def _resampled_means(group: np.ndarray[Any, Any], draws: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return group[rng.integers(len(group), size=(draws, len(group)))].mean(axis=1)
