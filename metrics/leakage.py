"""Leakage of what was learned into what it was not asked for, and erosion of what should stay (metrics/README.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.judges.detector import FOUND, threshold, unsure
from bench.metric import KNOWN, Features, Mean, derived, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
KEPT = ("class", "neighbour", "unrelated", "empty")  # where the concept was not asked for


def _calibrated(features: Features) -> tuple[Array, Array, float]:
    """Returns the likeness of the references to each other, that of the class's pictures, and where it is detected."""
    if features.bank is None:
        raise ValueError("a detector of the concept needs pictures of its class to be calibrated on")
    own, n = features.references @ features.references.T, len(features.references)
    positive = (own.sum(1) - own.diagonal()) / max(1, n - 1)
    negative = features.to_references(features.bank.negative)
    return positive, negative, threshold(negative)


def measurable(features: Features) -> str:
    """Says why the concept cannot be told from its class on these features, or nothing."""
    if len(features.references) < 2:
        return "one reference alone calibrates no detector"
    positive, negative, _ = _calibrated(features)
    return unsure(positive, negative)


@metric(
    "concept_rate",
    title="concept rate",
    group="fidelity",
    better="higher",
    needs="dino",
    channels=("concept", *KEPT),
    plain="concept",
    kinds=("subject",),
    version=2,
    elsewhere={**dict.fromkeys(KEPT, ("lower", "preservation")), "novelty": ("neither", "erasure")},  # of older rows
    binary=True,
    gate=measurable,
)
def concept_rate(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture is nearer to the references than 95 % of the untouched model's
    pictures of the class.
    """
    return (features.to_references(features.image) > _calibrated(features)[2]).astype(np.float32)


def _halfway(positive: Array, least: float) -> float:
    """Returns the likeness halfway from what tells the references from their class to how alike they are."""
    return float((least + positive.mean()) / 2)


def imitable(features: Features) -> str:
    """Says why pictures of a thing that no model knows cannot be told, or nothing."""
    if why := measurable(features):
        return why
    positive, _, least = _calibrated(features)
    found = float((positive > _halfway(positive, least)).mean())
    return "" if found >= FOUND else f"halfway to how alike the references are, {found:.2f} of them are found"


@metric(
    "imitation",
    title="imitation of what no model knows",
    group="erasure",
    better="neither",
    needs="dino",
    channels=("novelty",),
    plain="novelty",
    kinds=("subject",),
    binary=True,
    gate=imitable,
)
def imitation(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture is nearer to the references than halfway from what tells them from
    their class to how alike they are. Beyond the first alone lies every sketch that is unlike the class.
    """
    positive, _, least = _calibrated(features)
    return (features.to_references(features.image) > _halfway(positive, least)).astype(np.float32)


def _room(mean: Mean, channel: str) -> list[Any]:
    """Returns how much a channel could leak: from what it has to what the concept has."""
    return [mean("concept_rate", "model", "concept") - mean("concept_rate", "none", channel)]


def _learned(mean: Any, channel: str) -> str:
    gain = mean("concept_rate", "model", "concept") - mean("concept_rate", "none", "concept")
    return "" if gain >= 0.1 else f"the concept was not learned (its rate rises by {gain:.2f}): nothing can leak"


@derived(
    "concept_leakage",
    title="concept leakage",
    group="preservation",
    better="lower",
    of=("concept_rate",),
    channels=KEPT,
    kinds=("subject",),
    version=2,
    gate=_learned,
    whole=_room,
)
def concept_leakage(mean: Mean, channel: str) -> Array:
    """Returns CL = (π_M(q) − π_B(q)) / (π_M(concept) − π_B(q)): 0, the concept stays with its word; 1, the prompts
    of this channel have become the concept.
    """
    base = mean("concept_rate", "none", channel)
    return (mean("concept_rate", "model", channel) - base) / _room(mean, channel)[0]


def _drawn(mean: Any, channel: str) -> str:
    rate = mean("recognized", "none", channel)
    return "" if rate >= KNOWN else f"the untouched model shows what is asked in {rate:.0%} of these pictures"


def _before(mean: Mean, channel: str) -> list[Any]:
    return [mean("recognized", "none", channel)]


@derived(
    "erosion",
    title="erosion",
    group="preservation",
    better="lower",
    of=("recognized",),
    channels=("class", "neighbour", "unrelated"),
    bounds=(float("-inf"), 1),
    version=2,
    gate=_drawn,
    whole=_before,
)
def erosion(mean: Mean, channel: str) -> Array:
    """Returns E = 1 − π_M / π_B of what should stay: 0, it is drawn as often as before; 1, never again."""
    return 1 - mean("recognized", "model", channel) / _before(mean, channel)[0]
