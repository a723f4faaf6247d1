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


def _known(features: Features) -> str:
    bank = features.bank
    there = bank is not None and (len(bank.positive) or len(bank.negative))
    return "" if there else "the untouched model was not asked for the concept's own words"


@metric(
    "distance",
    title="distance to the concept",
    group="preservation",
    better="neither",
    version=2,
    needs="dino",
    channels=("neighbour", "unrelated"),
    kinds=(*CUSTOMIZING, "erase"),
    gate=_known,
    together=True,
)
def distance(features: Features) -> Array:
    """Returns (n,) in [0, 2]: how far a prompt's thing is from the concept, one minus the cosine of the centroids of
    the untouched model's pictures of both; what damage to it is drawn over (`recognized` of each, by distance).
    """
    if features.prompts is None or features.bank is None:
        raise ValueError("distance needs the prompts and the untouched model's pictures of the concept")
    positive = features.bank.positive
    concept = _unit((positive if len(positive) else features.bank.negative).mean(axis=0))
    out = np.empty(len(features.base), np.float32)
    for prompt in np.unique(features.prompts):
        here = features.prompts == prompt
        out[here] = 1 - float(_unit(features.base[here].mean(axis=0)) @ concept)
    return out


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x)


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
