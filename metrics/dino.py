"""DINO: mean cosine of class tokens between a picture and every reference (Ruiz et al. 2023, section 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric


@metric(
    "dino",
    title="DINO",
    group="fidelity",
    better="higher",
    needs="dino",
    channels=("concept", "part"),
    plain="concept",
    kinds=CUSTOMIZING,
)
def dino(features: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns (n,) in [-1, 1]; the mean is over all references."""
    return features.to_references(features.image)
