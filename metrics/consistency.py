"""Spatial consistency: how much of a picture stays where it was when the concept comes into it.

PureCC (arXiv 2603.07561, Table 1) reports a "Seg-Cons" of non-target regions; its formula is not published. This is an
open definition in its place, which needs no segmentation: of the two pictures of one prompt and seed, with and without
the concept, the half of the picture that changed least is taken as what the concept does not cover.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
BLOCK, COVERED = 4, 0.5  # pixels a side of a block; share of blocks that may change freely


def _blocks(pictures: Array) -> Array:
    """Returns (n, blocks, values) of flat pictures (n, side · side · 3)."""
    side = round((pictures.shape[1] / 3) ** 0.5)
    count = side // BLOCK
    grid = pictures.reshape(-1, count, BLOCK, count, BLOCK, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(len(pictures), count * count, -1)


def _changed(one: Array, other: Array) -> Array:
    """Returns (n,): the mean distance over the half of the blocks in which two pictures are nearest."""
    apart = np.linalg.norm(_blocks(one) - _blocks(other), axis=2)
    return np.sort(apart, axis=1)[:, : int(apart.shape[1] * (1 - COVERED))].mean(axis=1)


def _pairs(features: Features) -> Any:
    """Returns the pairs of pictures of one prompt, (k, 2)."""
    if features.prompts is None:
        raise ValueError("consistency needs to know which pictures are of one prompt")
    same = features.prompts[:, None] == features.prompts[None]
    np.fill_diagonal(same, val=False)
    return np.argwhere(same)


def _seeds(features: Features) -> str:
    return "" if len(_pairs(features)) else "one seed a prompt does not say how much another seed changes"


@metric(
    "spatial_consistency",
    title="spatial consistency",
    group="preservation",
    better="higher",
    needs="pixels",
    channels=("concept", "class", "unrelated"),
    kinds=CUSTOMIZING,
    gate=_seeds,
    together=True,
)
def spatial_consistency(features: Features) -> Array:
    """Returns (n,) at most 1: one minus the change of the least changed half, in units of what another seed of the
    untouched model changes in it; 1, it is where it was; 0, as different as another seed's picture.
    """
    pairs = _pairs(features)
    between = float(_changed(features.base[pairs[:, 0]], features.base[pairs[:, 1]]).mean())
    return (1 - _changed(features.image, features.base) / max(between, 1e-6)).astype(np.float32)
