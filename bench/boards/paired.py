"""Methods against a baseline, on the concepts and seeds both have.

The p of a difference is that of an exact sign-flip test on the concepts' mean differences: under no difference each
could as well have had the other sign. It assumes nothing of their spread but symmetry, and so cannot be below
2 / 2^concepts: 0.125 with four; one concept alone has none. A bootstrap's p would promise more than so few concepts
hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.boards.resample import Array, concept_means, intervals

EXACT = 15  # concepts up to which all signs are tried; beyond, FLIPS draws of them
FLIPS = 9999


@dataclass(frozen=True)
class Differences:
    """What each method has more than the baseline, of one column.

    Attributes:
        value: mean over common concepts and seeds, (methods,); NaN where nothing is common.
        low: of its 95 % interval.
        high: of its 95 % interval.
        p: of the sign-flip test.
        adjusted: p after Holm, over the column's methods of one family.
    """

    value: Array
    low: Array
    high: Array
    p: Array
    adjusted: Array


def against(values: Array, baseline: int, whole: Array | None = None) -> Differences:
    """Compares methods with one of them.

    Args:
        values: (methods, concepts, seeds), NaN where not measured.
        baseline: index of a method.
        whole: (methods,): who was measured on every concept. They are a family of comparisons, the others another:
            what was tried on a few concepts, and can have no small p, makes nobody else's larger.
    """
    difference = values - values[baseline]
    difference[baseline] = np.nan
    value, low, high = intervals(difference)
    p = sign_flip(concept_means(difference))
    whole = np.ones(len(p), bool) if whole is None else whole
    adjusted = np.where(whole, holm(np.where(whole, p, np.nan)), holm(np.where(whole, np.nan, p)))
    return Differences(value, low, high, p, adjusted)


def sign_flip(values: Array) -> Array:
    """Returns the two-sided p of each mean being 0, (n,) of values (n, concepts); NaN where fewer than two are
    measured.
    """
    out = np.full(len(values), np.nan)
    for measured, own in _patterns(np.isfinite(values)):
        if measured.sum() > 1:
            part = values[own][:, measured]
            signs = _signs(part.shape[1])
            reach = np.abs(part.mean(1)) - 1e-9  # equal but for rounding is as far
            as_far = (np.abs(signs @ part.T) / part.shape[1] >= reach).mean(0)
            exact = part.shape[1] <= EXACT
            out[own] = as_far if exact else (as_far * FLIPS + 1) / (FLIPS + 1)
    return out


def _patterns(measured: Array) -> Iterator[tuple[Array, Array]]:
    """Yields each pattern of what is measured, and the indices of those that have it.

    Args:
        measured: (n, …) of bools.
    """
    found: dict[bytes, list[int]] = {}
    for index, row in enumerate(measured):
        found.setdefault(row.tobytes(), []).append(index)
    for own in found.values():
        yield measured[own[0]], np.array(own)


def _signs(count: int) -> Array:
    """Returns flips of signs, (flips, count): all of them up to a common sign, else drawn ones."""
    if count > EXACT:
        return np.random.default_rng(0).integers(0, 2, (FLIPS, count)) * 2.0 - 1.0
    bits = np.arange(2 ** (count - 1))[:, None] >> np.arange(count)
    return 1.0 - 2.0 * (bits & 1)


def holm(p: Array) -> Array:
    """Returns p adjusted for as many comparisons as are not NaN (Holm 1979)."""
    out = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]
    scaled = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return out
