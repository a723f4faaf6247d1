"""Leakage: the concept where it was not asked for, and what was erased where it was.

Definitions: metrics/README.md. Both are anchored twice: by the untouched model, and by what would be there without
any concept, so that a detector that is wrong for all alike cancels out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import Features, Mean, derived, metric

Array = np.ndarray[Any, np.dtype[np.float32]]
FALSE_POSITIVES, SURE, FOUND = 0.05, 0.95, 0.8  # of the detector: its calibration, and what it must reach
KNOWN = 0.5  # the untouched model must draw what is asked in this share of pictures, or nothing can be lost


def _to_references(features: Features, pictures: Array) -> Array:
    return (pictures @ features.references.T).mean(axis=1)


def _calibrated(features: Features) -> tuple[Array, Array, float]:
    """Returns the likeness of the references to each other, that of the class's pictures, and the threshold."""
    if features.negatives is None:
        raise ValueError("a detector of the concept needs pictures of its class to be calibrated on")
    own, n = features.references @ features.references.T, len(features.references)
    positive = (own.sum(1) - own.diagonal()) / max(1, n - 1)
    negative = _to_references(features, features.negatives)
    return positive, negative, float(np.quantile(negative, 1 - FALSE_POSITIVES))


def measurable(features: Features) -> str:
    """Says why the concept cannot be told from its class on these features, or nothing."""
    if len(features.references) < 2:
        return "one reference alone calibrates no detector"
    positive, negative, threshold = _calibrated(features)
    auc, found = float((positive[:, None] > negative[None]).mean()), float((positive >= threshold).mean())
    if auc < SURE or found < FOUND:
        return f"the detector tells the references from their class with AUC {auc:.2f}, finding {found:.2f} of them"
    return ""


@metric(
    "concept_rate",
    title="concept rate",
    group="fidelity",
    better="higher",
    needs="dino",
    channels=("concept", "class", "neighbour", "unrelated", "empty"),
    plain="concept",
    kinds=("subject",),
    binary=True,
    gate=measurable,
)
def concept_rate(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture is nearer to the references than 95 % of the untouched model's
    pictures of the class.
    """
    _, _, threshold = _calibrated(features)
    return (_to_references(features, features.image) >= threshold).astype(np.float32)


def _learned(mean: Any, channel: str) -> str:
    gain = mean("concept_rate", "model", "concept") - mean("concept_rate", "none", "concept")
    return "" if gain >= 0.1 else f"the concept was not learned (its rate rises by {gain:.2f}): nothing can leak"


@derived(
    "concept_leakage",
    title="concept leakage",
    group="preservation",
    better="lower",
    of=("concept_rate",),
    channels=("class", "neighbour", "unrelated", "empty"),
    kinds=("subject",),
    gate=_learned,
)
def concept_leakage(mean: Mean, channel: str) -> Array:
    """Returns CL = (π_M(q) − π_B(q)) / (π_M(concept) − π_B(q)): 0, the concept stays with its word; 1, the prompts
    of this channel have become the concept.
    """
    base = mean("concept_rate", "none", channel)
    return (mean("concept_rate", "model", channel) - base) / (mean("concept_rate", "model", "concept") - base)


def _there(mean: Any, channel: str) -> str:
    rate = mean("detected", "none", channel)
    return "" if rate >= KNOWN else f"the untouched model shows it in {rate:.0%} of these pictures: nothing to erase"


@derived(
    "leakage",
    title="leakage",
    group="erasure",
    better="lower",
    of=("detected",),
    channels=("concept", "part", "alias", "compose"),
    plain="concept",
    kinds=("erase",),
    gate=_there,
)
def leakage(mean: Mean, channel: str) -> Array:
    """Returns L = (π_M − π_F) / (π_B − π_F), F the untouched model asked for the surrogate in the same prompt and
    seed: 1, nothing was erased; 0, as if it had never been asked for; below 0, more than erased.
    """
    floor = mean("detected", "surrogate", channel)
    return (mean("detected", "model", channel) - floor) / (mean("detected", "none", channel) - floor)


def _drawn(mean: Any, channel: str) -> str:
    rate = mean("recognized", "none", channel)
    return "" if rate >= KNOWN else f"the untouched model shows what is asked in {rate:.0%} of these pictures"


@derived(
    "erosion",
    title="erosion",
    group="preservation",
    better="lower",
    of=("recognized",),
    channels=("class", "neighbour", "unrelated"),
    gate=_drawn,
)
def erosion(mean: Mean, channel: str) -> Array:
    """Returns E = 1 − π_M / π_B of what should stay: 0, it is drawn as often as before; 1, never again."""
    return 1 - mean("recognized", "model", channel) / mean("recognized", "none", channel)
