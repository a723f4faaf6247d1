"""Preservation: what customization did to everything else, same prompt and same seed as the base model."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]


def _moved(features: Features) -> Array:
    """Returns (n,): one minus the cosine of both models' pictures of one cell."""
    return 1 - (features.image * features.base).sum(axis=1)


@metric(
    "delta_clip_t",
    title="ΔCLIP-T",
    group="preservation",
    better="zero",
    needs="clip",
    channels=("concept", "class", "neighbour", "unrelated"),
    kinds=CUSTOMIZING,
)
def delta_clip_t(features: Features) -> Array:
    """Returns (n,): CLIP-T of the customized model's picture minus that of the base model's, on the base text.

    On channel `concept` this is the cell PureCC reports (Table 1: custom model on the complete text
    against the original on the base text); on the others, the cells it does not.
    """
    if features.text is None:
        raise ValueError("delta_clip_t needs an encoder of texts")
    return ((features.image - features.base) * features.text).sum(axis=1)


@metric(
    "drift",
    title="drift",
    group="preservation",
    better="lower",
    needs="dino",
    channels=("class", "neighbour", "unrelated", "empty"),
    kinds=(*CUSTOMIZING, "erase"),
)
def drift(features: Features) -> Array:
    """Returns (n,) in [0, 2]: one minus the cosine between the customized model's picture and the base
    model's of the same prompt and seed; 0 for an untouched model.
    """
    return _moved(features)


@metric(
    "restoration",
    title="restoration",
    group="erasure",
    better="lower",
    needs="dino",
    channels=("concept", "class", "neighbour", "unrelated"),
    kinds=("roundtrip",),
)
def restoration(features: Features) -> Array:
    """Returns (n,) in [0, 2]: one minus the cosine between a picture after learning and erasing and the
    untouched model's of the same seed, which is what erasing should bring back. Anchor `learned` is before erasing.
    """
    return _moved(features)
