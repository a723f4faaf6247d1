"""Bootstrap of a board: concepts, then the seeds of training within them, the same draws for every method and column.

A draw is a row of weights over (concept, seed), so resampling any number of columns is one product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.stats import DRAWS

Array = np.ndarray[Any, Any]
DECIMALS = 9  # a product of matrices may differ in its last bits from one machine to another


def patterns(measured: Array) -> Iterator[tuple[Array, Array]]:
    """Yields each pattern of what is measured, and the indices of those that have it.

    Args:
        measured: (n, …) of bools.
    """
    flat = measured.reshape(len(measured), -1)
    found: dict[bytes, list[int]] = {}
    for index, row in enumerate(flat):
        found.setdefault(row.tobytes(), []).append(index)
    for own in found.values():
        yield measured[own[0]], np.array(own)


def concept_means(values: Array) -> Array:
    """Returns means over seeds, (…, concepts) from (…, concepts, seeds); NaN where no seed was measured."""
    measured = np.isfinite(values)
    count = measured.sum(-1)
    total = np.where(measured, values, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def means(values: Array) -> Array:
    """Returns means over concepts of their means over seeds, (…) from (…, concepts, seeds), of what is measured."""
    return np.round(concept_means(concept_means(values)), DECIMALS)


def weights(measured: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Returns the weights of bootstrap draws, (draws, concepts · seeds), each row of sum 1.

    Two patterns with the same number of concepts get the same concepts in a draw; what is compared is so paired.

    Args:
        measured: (concepts, seeds) of bools, at least one of them true.
        draws: bootstrap draws.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    count = measured.sum(1)
    there = np.flatnonzero(count)
    picked = there[(rng.random((draws, len(there))) * len(there)).astype(int)]
    size = count[picked][..., None]
    nth = (rng.random((draws, len(there), int(count.max()))) * size).astype(int)
    order = np.argsort(~measured, axis=1, kind="stable")  # the measured seeds of a concept first
    flat = np.arange(draws)[:, None, None] * measured.size
    flat = flat + picked[..., None] * measured.shape[1] + order[picked[..., None], nth]
    weight = (np.arange(nth.shape[2]) < size) / (size * len(there))
    return np.bincount(flat.ravel(), weight.ravel(), draws * measured.size).reshape(draws, measured.size)


def drawn(values: Array, draws: int = DRAWS) -> Array:
    """Returns bootstrap means, (draws, n) of values (n, concepts, seeds), widened for few concepts as all intervals
    here are; NaN where nothing was measured.
    """
    out = np.full((draws, len(values)), np.nan)
    for measured, own in patterns(np.isfinite(values)):
        if measured.any():
            resampled = weights(measured, draws) @ np.where(measured, values[own], 0.0).reshape(len(own), -1).T
            mean, concepts = means(values[own]), int(measured.any(1).sum())
            wider = np.sqrt(concepts / (concepts - 1)) if concepts > 1 else 1.0
            out[:, own] = mean + wider * (resampled - mean)
    return np.round(out, DECIMALS)


def intervals(values: Array, level: float = 0.95) -> tuple[Array, Array, Array]:
    """Returns mean, low and high of values (n, concepts, seeds), (n,) each; no bound lies outside the values."""
    there = np.isfinite(values)
    low, high = np.quantile(drawn(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    low = np.maximum(low, np.where(there, values, np.inf).min((1, 2)))
    high = np.minimum(high, np.where(there, values, -np.inf).max((1, 2)))
    empty = ~there.any((1, 2))
    return means(values), np.where(empty, np.nan, low), np.where(empty, np.nan, high)
