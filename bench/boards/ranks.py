"""The rank of each method, with its bootstrap interval."""

from __future__ import annotations

import numpy as np

from bench.boards.cells import entrants, oriented
from bench.boards.resample import Array, Bounds, drawn, means, plainly_drawn


def ranks(values: Array, better: str, bounds: Bounds = (None, None)) -> tuple[Array, Array, Array]:
    """Returns rank, low and high of each method, (methods,); 1 is the best, equals share the better rank, NaN where
    a method lacks a shared concept or many of the shared runs. Low and high are NaN where one concept is all there is.

    Args:
        values: (methods, concepts, seeds).
        better: higher, lower or zero.
        bounds: of a mean; no draw beats the best there can be.
    """
    entered, runs = entrants(np.isfinite(values))
    concepts = runs.any(1)
    out = np.full((3, len(values)), np.nan)
    if entered.any():
        part = np.where(runs, values, np.nan)[entered][:, concepts]
        out[0, entered] = rank(oriented(means(part), better))
    if entered.any() and concepts.sum() > 1:
        of_draws = rank(oriented(drawn(part, bounds), better), oriented(plainly_drawn(part), better))
        out[1:, entered] = np.quantile(of_draws, [0.025, 0.975], axis=0, method="inverted_cdf")
        out[1, entered] = np.minimum(out[0, entered], out[1, entered])
        out[2, entered] = np.maximum(out[0, entered], out[2, entered])
    return out[0], out[1], out[2]


def rank(score: Array, plain: Array | None = None) -> Array:
    """Returns ranks along the last axis: one more than how many are better.

    Args:
        score: (…, methods), the higher the better.
        plain: the same before widening, where two that are equal stay equal.
    """
    plain = score if plain is None else plain
    out = np.ones(score.shape, int)
    for index in range(score.shape[-1]):
        out += (score[..., index, None] > score) & (plain[..., index, None] != plain)
    return out
