"""CLIP-T: cosine between a picture and its prompt, the concept's token replaced by its class word."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric


@metric(
    "clip_t",
    title="CLIP-T",
    group="prompt following",
    better="higher",
    needs="clip",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def clip_t(features: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns (n,) in [-1, 1]: the plain cosine, no weight and no cut at zero."""
    if features.text is None:
        raise ValueError("clip_t needs an encoder of texts")
    return (features.image * features.text).sum(axis=1)
