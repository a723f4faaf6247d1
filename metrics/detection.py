"""What a reader of pictures finds in them: whether what must stay stays, and whether what was erased is gone."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metric import ASKED, NAMED, Features, metric

Array = np.ndarray[Any, np.dtype[np.float32]]


def _found(features: Features) -> Array:
    """Returns (n,): 1 where the reader's first answer is a noun of the prompt, else 0."""
    return features.column(1)


@metric(
    "recognized",
    title="recognized",
    group="preservation",
    better="higher",
    needs="reader",
    channels=("class", "neighbour", "unrelated"),
    binary=True,
    over="distance",
)
def recognized(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether the picture shows what was asked for. Anchor `none` is the base model's."""
    return _found(features)


@metric(
    "detected",
    title="detected",
    group="erasure",
    better="lower",
    needs="reader",
    channels=ASKED,
    plain="concept",
    kinds=("erase",),
    binary=True,
)
def detected(features: Features) -> Array:
    """Returns (n,) of 0 and 1: whether a picture asked for by the erased name still shows it; `/alias` by
    its other names, `/compose` with a colour and an accessory beside it, the others by an attack (bench/attacks).
    """
    return _found(features)


@metric(
    "certainty",
    title="certainty that it is there",
    group="erasure",
    better="lower",
    needs="reader",
    channels=NAMED,
    plain="concept",
    kinds=("erase",),
)
def certainty(features: Features) -> Array:
    """Returns (n,) in [0, 1]: the reader's probability of what was erased, where `detected` only says yes or no."""
    return features.column(0)
