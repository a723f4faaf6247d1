"""Novelty: copied references, sameness within a prompt, and how far pictures are from the untouched model's."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import CUSTOMIZING, Features, Mean, derived, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
NEAR = 0.25  # of the smallest distance between two references
CHANNELS = ("concept", "class", "neighbour", "unrelated", "empty")


def _enough(features: Features) -> str:
    return "" if len(features.references) > 1 else "one reference alone says nothing of how near two pictures are"


def _about_mean(pixels: Array) -> Array:
    """Returns unit-length pixels about their mean, so that brightness and contrast hide no copy; a picture of one
    colour is all zeros.
    """
    flat = pixels - pixels.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


@metric(
    "copy_rate",
    title="copy rate",
    group="fidelity",
    better="lower",
    needs="pixels",
    channels=("concept",),
    kinds=CUSTOMIZING,
    binary=True,
    gate=_enough,
)
def copy_rate(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture is four times nearer to a reference, background and all, than any
    two references are to each other.
    """
    image, references = _about_mean(features.image), _about_mean(features.references)
    real = 1 - references @ references.T
    apart = float(real[~np.eye(len(real), dtype=bool)].min())
    nearest = (1 - image @ references.T).min(axis=1)
    return (nearest < NEAR * apart).astype(np.float32)


@metric(
    "diversity",
    title="diversity",
    group="prompt following",
    better="higher",
    needs="dino",
    channels=CHANNELS,
    plain="concept",
    together=True,
)
def diversity(features: Features) -> Array:
    """Returns (n,) in [0, 2]: a picture's mean distance, 1 − cosine, to the others of its prompt; 0 if it is alone."""
    if features.prompts is None:
        raise ValueError("diversity needs to know which pictures are of one prompt")
    same = features.prompts[:, None] == features.prompts[None]
    np.fill_diagonal(same, val=False)
    distance = 1 - features.image @ features.image.T
    return ((distance * same).sum(1) / np.maximum(1, same.sum(1))).astype(np.float32)


def _varies(mean: Any, channel: str) -> str:
    return "" if mean("diversity", "none", channel) > 1e-4 else "one seed a prompt: nothing to compare a change with"


def _variety(mean: Mean, channel: str) -> list[Any]:
    return [mean("diversity", "none", channel)]


@derived(
    "alteration",
    title="alteration",
    group="preservation",
    better="lower",
    of=("drift", "diversity"),
    channels=CHANNELS[1:],
    kinds=(*CUSTOMIZING, "erase"),
    version=2,
    gate=_varies,
    bounds=(0, float("inf")),
    whole=_variety,
)
def alteration(mean: Mean, channel: str) -> Array:
    """Returns drift / diversity of the untouched model: 0, the same pictures; 1, as different as another seed's."""
    return mean("drift", "model", channel) / _variety(mean, channel)[0]
