"""What comes in place of what was erased: nothing at all would leak as little as the right thing."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import Features, metric


def _unsaid(features: Features) -> str:
    return "" if features.instead is not None else "the dataset says of nothing that should come instead"


@metric(
    "clip_t_instead",
    title="CLIP-T of what comes instead",
    group="prompt following",
    better="higher",
    needs="clip",
    channels=("concept", "part", "alias", "compose"),
    plain="concept",
    kinds=("erase",),
    gate=_unsaid,
)
def clip_t_instead(features: Features) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns (n,) in [-1, 1]: the cosine of a picture asked for by the erased name with the same prompt, the
    surrogate in the name's place. Anchor `surrogate` is the untouched model asked for just that.

    A method that is not told the surrogate cannot hit it, but still has the prompt's style and scene to follow; noise
    and grey have neither, and leak nothing.
    """
    if features.instead is None:
        raise ValueError("clip_t_instead needs prompts with a surrogate")
    return (features.image * features.instead).sum(axis=1)
