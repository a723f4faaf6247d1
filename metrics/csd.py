"""CSD: likeness in style alone (Somepalli et al. 2024), for pictures of real size, through an optional judge."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import Features, metric


@metric(
    "style_csd",
    title="CSD",
    group="fidelity",
    better="higher",
    needs="csd",
    channels=("concept", "part"),
    plain="concept",
    kinds=("style", "subject_style"),
)
def style_csd(features: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns (n,) in [-1, 1]: the mean cosine of style features to all references. It is no calibrated scale."""
    return features.to_references(features.image)
