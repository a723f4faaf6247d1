"""Pictures that are to show several concepts at once, held against each one's own references.

Against all of them together, a picture that shows one and leaves the other out may score as well as one of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]


def _own(features: Features, wanted: str) -> Array:
    """Returns (parts of a kind, n): the mean cosine of each picture with a part's references."""
    return np.stack([features.to_references(features.image, own) for kind, own in features.parts if kind == wanted])


@metric(
    "dino_subject",
    title="DINO to the subject",
    group="fidelity",
    better="higher",
    needs="dino",
    channels=("concept",),
    kinds=("subject_style",),
)
def dino_subject(features: Features) -> Array:
    """Returns (n,) in [-1, 1]: the mean over the references of the merge's subject alone."""
    return _own(features, "subject")[0]


@metric(
    "clip_i_style",
    title="CLIP-I to the style",
    group="fidelity",
    better="higher",
    needs="clip",
    channels=("concept",),
    kinds=("subject_style",),
)
def clip_i_style(features: Features) -> Array:
    """Returns (n,) in [-1, 1]: the mean over the references of the merge's style alone."""
    return _own(features, "style")[0]


@metric(
    "dino_lesser",
    title="DINO to the subject it shows least of",
    group="fidelity",
    better="higher",
    needs="dino",
    channels=("concept",),
    kinds=("multi_subject",),
)
def dino_lesser(features: Features) -> Array:
    """Returns (n,) in [-1, 1]: of the means over each subject's own references the least."""
    return _own(features, "subject").min(axis=0)
