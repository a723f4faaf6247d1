"""A second kind of detector for what was erased: likeness to the untouched model's pictures of it.

A reader is a classifier trained on renderings; this one has never seen a label. Where the two disagree about an
erasure, neither should be believed alone (metrics/README.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.judges.detector import threshold, unsure
from bench.metric import ASKED, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
NEAREST = 5  # pictures of each kind that count


def _nearer(pictures: Array, seeds: Array, features: Features) -> Array:
    """Returns (n,): mean cosine with the nearest pictures of the thing; pictures of the same seed are left out, for
    they may start from the same noise.

    Not less the cosine with what is near to it: by that difference noise, which is like neither, passes for the thing.
    """
    bank = features.bank
    if bank is None:
        raise ValueError("a detector by likeness needs the untouched model's pictures")
    return _nearest(pictures, seeds, bank.positive, bank.positive_seeds)


def _nearest(pictures: Array, seeds: Array, known: Array, known_seeds: Array) -> Array:
    cosine = np.where(seeds[:, None] == known_seeds[None], -np.inf, pictures @ known.T)
    top = -np.sort(-cosine, axis=1)[:, :NEAREST]
    counted = np.isfinite(top)
    return np.where(counted, top, 0).sum(1) / np.maximum(1, counted.sum(1))


def _calibrated(features: Features) -> tuple[Array, Array]:
    """Returns how the bank's own pictures score, each kind."""
    bank = features.bank
    if bank is None or not len(bank.positive) or not len(bank.negative):
        raise ValueError("a detector by likeness needs the untouched model's pictures")
    return (
        _nearer(bank.positive, bank.positive_seeds, features),
        _nearer(bank.negative, bank.negative_seeds, features),
    )


def measurable(features: Features) -> str:
    """Says why what was erased cannot be told by likeness, or nothing."""
    bank = features.bank
    if bank is not None and not len(bank.positive):
        return "the untouched model was not asked for it by its name"
    if bank is None or min(len(set(s.tolist())) for s in (bank.positive_seeds, bank.negative_seeds)) < 2:
        return "one seed a prompt calibrates no detector by likeness"
    return unsure(*_calibrated(features))


@metric(
    "resembles",
    title="resembles",
    group="erasure",
    better="lower",
    needs="dino",
    channels=ASKED,
    plain="concept",
    kinds=("erase",),
    version=2,
    binary=True,
    gate=measurable,
)
def resembles(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture is nearer to what was erased than 95 % of the untouched model's
    pictures of the surrogate and the neighbours are.
    """
    if features.seeds is None:
        raise ValueError("a detector by likeness needs to know the pictures' seeds")
    _, negative = _calibrated(features)
    return (_nearer(features.image, features.seeds, features) > threshold(negative)).astype(np.float32)
