"""Bootstrap of a board: concepts, then the seeds of training within them, the same draws for every method and column.

A draw is a row of counts over (concept, seed), so resampling many columns is one product of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def resampled(values: Array, draws: int = DRAWS) -> Array:
    """Returns bootstrap means of what is measured, (draws, n): concepts, then seeds within them; NaN where nothing is.

    Two with the same number of concepts get the same concepts in a draw; what is compared is so paired.

    Args:
        values: (n, concepts, seeds), NaN where not measured.
        draws: bootstrap draws.
    """
    concepts = np.isfinite(values).any(-1).sum(-1)
    out = np.full((draws, len(values)), np.nan)
    for count in np.unique(concepts[concepts > 0]):
        own = concepts == count
        parts = _parts(values[own], int(count))
        used = parts.any(0)  # of concepts with two of three seeds, say, there are often none
        out[:, own] = (parts[:, used] @ _picks(int(count), values.shape[2], draws)[used]).T
    return out


def _parts(values: Array, count: int) -> Array:
    """Returns what one pick of each cell gives to a mean, (n, cells), of values that have `count` concepts each.

    The cells are those of `_picks`: the concepts that are there, with as many seeds as are there, one after the other.
    """
    measured = np.isfinite(values)
    size = measured.sum(-1)
    which, concept, seed = np.nonzero(measured)
    place, seeds = (np.cumsum(size > 0, axis=1) - 1)[which, concept], size[which, concept]
    order = (np.cumsum(measured, axis=2) - 1)[which, concept, seed]
    out = np.zeros((len(values), count, _cells(values.shape[2])))
    out[which, place, _cells(seeds - 1) + order] = values[measured] / (seeds * count)
    return out.reshape(len(values), -1)


def _cells(seeds: Any) -> Any:
    """Returns how many cells a concept of up to so many seeds has: 1 of one seed, 2 more of two, and so on."""
    return seeds * (seeds + 1) // 2


@lru_cache(maxsize=32)  # all that have as many concepts share them, whichever these are
def _picks(concepts: int, seeds: int, draws: int) -> Array:
    """Returns how often each cell is picked in each draw, (concepts · cells, draws), a concept having as many seeds as
    its cell is of: a draw picks concepts, and for each as many of its seeds as it has.
    """
    at, which = _uniform(concepts, seeds, draws)
    start = (at * concepts).astype(np.intp) * _cells(seeds)
    picked = [
        start + _cells(size - 1) + (uniform * size).astype(np.intp)
        for size in range(1, seeds + 1)
        for uniform in which[:size]
    ]
    flat = (np.stack(picked) * draws + np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=concepts * _cells(seeds) * draws).reshape(-1, draws).astype(float)


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
    out = resampled(np.frombuffer(content).reshape(shape), draws)
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
