"""What people prefer, as models trained on their choices say; for pictures of real size, through optional judges.

A dataset's config names them: slot `hps`, an open_clip folder of HPSv2.1 (Wu et al., arXiv 2306.09341), and slot
`pickscore`, a transformers folder of PickScore_v1 (Kirstain et al., arXiv 2305.01569). Both are cosines here, on one
scale with CLIP-T; HPSv2's code prints them times 100, PickScore's times its temperature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
CHANNELS = ("concept", "class", "neighbour", "unrelated")


def _preferred(features: Features) -> Array:
    if features.text is None:
        raise ValueError("a preference needs a judge of texts")
    return (features.image * features.text).sum(axis=1)


@metric(
    "hps",
    title="HPSv2.1",
    group="prompt following",
    better="higher",
    needs="hps",
    channels=CHANNELS,
    plain="concept",
    kinds=CUSTOMIZING,
)
def hps(features: Features) -> Array:
    """Returns (n,): the cosine of picture and prompt under HPSv2.1."""
    return _preferred(features)


@metric(
    "pickscore",
    title="PickScore",
    group="prompt following",
    better="higher",
    needs="pickscore",
    channels=CHANNELS,
    plain="concept",
    kinds=CUSTOMIZING,
)
def pickscore(features: Features) -> Array:
    """Returns (n,): the cosine of picture and prompt under PickScore."""
    return _preferred(features)
