"""Distances between sets of pictures: how far all pictures of a channel went, seen together.

A distance between sets needs sets: where there are fewer than 24 pictures it is not measured. Both estimators are
unbiased at any number; a FID is not (Bińkowski et al., arXiv 1801.01401), and 800 pictures are far too few for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.metric import Features, metric

Array = np.ndarray[Any, np.dtype[Any]]
CHANNELS = ("class", "neighbour", "unrelated", "empty")
ENOUGH = 24  # pictures


def _enough(features: Features) -> str:
    n = len(features.image)
    return "" if n >= ENOUGH else f"a distance between sets needs {ENOUGH} pictures, and there are {n}"


@metric(
    "cmmd",
    title="CMMD",
    group="preservation",
    better="lower",
    needs="clip",
    channels=CHANNELS,
    gate=_enough,
    together=True,
)
def cmmd(features: Features) -> Array:
    """Returns (n,) whose mean is the unbiased squared MMD of both models' pictures, Gaussian kernel of σ = 10 on unit
    CLIP embeddings, times 1000 (Jayasumana et al., arXiv 2401.09603): how far the channel's pictures went as a set.

    A picture's share is its mean of h(i, j) = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(x_j, y_i) over the others
    (Gretton et al. 2012, lemma 6, for samples that come in pairs).
    """
    return 1000 * _shares(features.image, features.base, lambda a, b: np.exp(-_squared(a, b) / (2 * 10**2)))


@metric(
    "kid",
    title="kernel distance",
    group="preservation",
    better="lower",
    needs="dino",
    channels=CHANNELS,
    gate=_enough,
    together=True,
)
def kid(features: Features) -> Array:
    """Returns (n,) whose mean is the unbiased squared MMD with KID's kernel (x·y / d + 1)³ (Bińkowski et al., arXiv
    1801.01401) on DINO features scaled to length √d, in place of Inception's.
    """
    return _shares(features.image, features.base, lambda a, b: (a @ b.T + 1) ** 3)


def _shares(x: Array, y: Array, kernel: Callable[[Array, Array], Array]) -> Array:
    """Returns shares with the estimate's mean and twice its influence: h is of two pictures at a time, so that each
    moves it twice as much as its own mean does (Hájek's projection); else an interval would be half as wide.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    h = kernel(x, x) + kernel(y, y) - kernel(x, y) - kernel(x, y).T
    np.fill_diagonal(h, 0)
    own = h.sum(1) / max(1, len(x) - 1)
    return (2 * own - own.mean()).astype(np.float32)


def _squared(a: Array, b: Array) -> Array:
    return (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
