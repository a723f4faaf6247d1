"""Bootstrap of a board: concepts, then the seeds of training within them, the same draws for every method and column.

A draw is a row of counts over (concept, seed), so resampling many columns is one product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from bench.stats import DRAWS, widening

Array = np.ndarray[Any, Any]
Bounds = tuple[float | None, float | None]  # what a value can be at all: least, most
DECIMALS = 9  # a product of matrices may differ in its last bits from one machine to another


def pair_arrays(pairs: Mapping[tuple[str, int], tuple[float, float]]) -> tuple[Array, Array]:
    """Returns both sides of pairs by concept and seed, (1, concepts, seeds) each, NaN where there is none."""
    axes = [sorted({key[i] for key in pairs}, key=str) for i in (0, 1)]
    out = np.full((2, 1, *(len(a) for a in axes)), np.nan)
    for (concept, seed), values in pairs.items():
        out[:, 0, axes[0].index(concept), axes[1].index(seed)] = values
    return out[0], out[1]


def patterns(measured: Array) -> Iterator[tuple[Array, Array]]:
    """Yields each pattern of what is measured, and the indices of those that have it.

    Args:
        measured: (n, …) of bools.
    """
    found: dict[bytes, list[int]] = {}
    for index, row in enumerate(measured):
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


def mean_of(values: Mapping[tuple[str, int], float]) -> float:
    """Returns the mean over concepts of their seeds' mean, of values by concept and seed."""
    return float(means(pair_arrays({at: (v, v) for at, v in values.items()})[0])[0])


def resampled(values: Array, measured: Array, draws: int = DRAWS) -> Array:
    """Returns bootstrap means, (draws, n): concepts, then seeds within them.

    Two patterns with the same number of concepts get the same concepts in a draw; what is compared is so paired.

    Args:
        values: (n, concepts, seeds).
        measured: (concepts, seeds) of bools, at least one of them true; which of the values count.
        draws: bootstrap draws.
    """
    size = measured.sum(1, keepdims=True)
    share = 1.0 / (np.maximum(size, 1) * np.count_nonzero(size))  # of one pick of a concept's seeds
    parts = np.where(measured, values * share, 0.0).reshape(len(values), -1)
    return _counts(measured.tobytes(), measured.shape, draws) @ parts.T


@lru_cache(maxsize=128)  # the columns of a board share patterns of what is measured, many where many runs failed
def _counts(pattern: bytes, shape: tuple[int, int], draws: int) -> Array:
    """Returns how often each cell is picked in each draw, (draws, concepts · seeds)."""
    measured = np.frombuffer(pattern, dtype=bool).reshape(shape)
    count = measured.sum(1)
    there = np.flatnonzero(count)
    at, which = _uniform(len(there), int(count.max()), draws)
    concepts = there[(at * len(there)).astype(np.intp)]  # (draws, concepts that are there)
    size, first = count[concepts], concepts * shape[1]
    cells = np.argsort(~measured, axis=1, kind="stable")  # the measured seeds of a concept first
    cells = (cells + np.arange(shape[0])[:, None] * shape[1]).ravel()
    start = (np.arange(draws) * measured.size)[:, None]
    picks = []
    for seed, uniform in enumerate(which):
        picked = start + cells.take(first + (uniform * size).astype(np.intp))
        picks.append((picked if seed < count[there].min() else picked[seed < size]).ravel())
    counts = np.bincount(np.concatenate(picks), minlength=draws * measured.size)
    return counts.astype(np.min_scalar_type(int(counts.max()))).reshape(draws, -1)  # small, to be kept


@lru_cache(maxsize=4)
def _uniform(concepts: int, seeds: int, draws: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.random((draws, concepts)), rng.random((seeds, draws, concepts))


def drawn(values: Array, bounds: Bounds = (None, None), draws: int = DRAWS) -> Array:
    """Returns bootstrap means, (draws, n) of values (n, concepts, seeds), widened for few concepts as all intervals
    here are, and within what a mean can be at all; NaN where nothing was measured.
    """
    mean = means(values)
    by = np.array([widening(int(n)) for n in np.isfinite(values).any(-1).sum(-1)])
    return within(np.round(mean + by * (_drawn_of(values, draws) - mean), DECIMALS), bounds)


def plainly_drawn(values: Array, draws: int = DRAWS) -> Array:
    """Returns the same bootstrap means as they were drawn, not widened: what is counted over draws counts these.

    Widening moves each away from its method's own mean, and so puts the better of two that tie in a draw behind.
    """
    return np.round(_drawn_of(values, draws), DECIMALS)


def within(values: Array, bounds: Bounds) -> Array:
    """Returns values no less and no more than they can be; None is no bound."""
    return values if bounds == (None, None) else np.clip(values, *bounds)


def _drawn_of(values: Array, draws: int) -> Array:
    return _drawn(np.asarray(values, float).tobytes(), values.shape, draws)


@lru_cache(maxsize=32)  # a column's draws serve its intervals, ranks and fronts
def _drawn(content: bytes, shape: tuple[int, int, int], draws: int) -> Array:
    values = np.frombuffer(content).reshape(shape)
    out = np.full((draws, len(values)), np.nan)
    for measured, own in patterns(np.isfinite(values)):
        if measured.any():
            out[:, own] = resampled(values[own], measured, draws)
    out.flags.writeable = False  # it is shared
    return out


def intervals(values: Array, level: float = 0.95, bounds: Bounds = (None, None)) -> tuple[Array, Array, Array]:
    """Returns mean, low and high of values (n, concepts, seeds), (n,) each, within what a mean can be at all.

    One concept says nothing of how others would do: low and high are NaN there.
    """
    low, high = np.quantile(drawn(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    alone = np.isfinite(values).any(-1).sum(-1) < 2
    low, high = (np.where(alone, np.nan, within(b, bounds)) for b in (low, high))
    return means(values), low, high
