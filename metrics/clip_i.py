"""CLIP-I: mean cosine between a picture and every reference picture (Ruiz et al. 2023, section 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric


@metric(
    "clip_i",
    title="CLIP-I",
    group="fidelity",
    better="higher",
    needs="clip",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def clip_i(features: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns (n,) in [-1, 1]; the mean is over all references, whatever scene they show."""
    return features.to_references(features.image)
