"""BLIP2-T: how well a picture and its prompt match, as three metrics that never share a column.

ClassDiffusion's paper says BLIP-2; its released code runs BLIP-1's contrastive score, and its author
could not say which the table was made with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]


@metric(
    "blip2_itm",
    title="BLIP2-ITM",
    group="prompt following",
    better="higher",
    needs="blip2",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def blip2_itm(features: Features) -> Array:
    """Returns (n,) in [0, 1]: the probability of BLIP-2's matching head."""
    return features.column(0)


@metric(
    "blip2_itc",
    title="BLIP2-ITC",
    group="prompt following",
    better="higher",
    needs="blip2",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def blip2_itc(features: Features) -> Array:
    """Returns (n,) in [-1, 1]: BLIP-2's contrastive cosine, the largest over its queries (the paper's BLIP2-T)."""
    return features.column(1)


@metric(
    "blip1_itc",
    title="BLIP1-ITC",
    group="prompt following",
    better="higher",
    needs="blip1",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def blip1_itc(features: Features) -> Array:
    """Returns (n,) in [-1, 1]: BLIP-1's contrastive cosine (what the released code calls BLIP2-T)."""
    return features.column(0)
