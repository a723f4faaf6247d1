"""What a detector is calibrated on: pictures of the untouched model, of the thing and of what is near to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.grid import NOVELTY
from bench.judges.build import Judge, Matcher
from bench.judges.features import FeatureCache
from bench.metric import Bank

if TYPE_CHECKING:
    from bench.grid import Cell
    from bench.sides import Probe

    Array = np.ndarray[Any, np.dtype[np.float32]]

FALSE_POSITIVES, SURE, FOUND = 0.05, 0.95, 0.8  # a detector's calibration, and what it must reach
Found = list[tuple[Path, int]]


def threshold(negative: Array) -> float:
    """Returns the score that 5 % of what is near to the thing pass."""
    return float(np.quantile(negative, 1 - FALSE_POSITIVES))


def unsure(positive: Array, negative: Array) -> str:
    """Says why scores (n,) of the thing and (m,) of what is near to it make no detector, or nothing."""
    auc = float((positive[:, None] > negative[None]).mean())
    found = float((positive > threshold(negative)).mean())
    if auc >= SURE and found >= FOUND:
        return ""
    return f"the detector tells it from what is near to it with AUC {auc:.2f}, finding {found:.2f} of its pictures"


def calibration(encoder: Judge, probe: Probe, main: Probe, cache: FeatureCache, part: int | None = None) -> Bank | None:
    """Returns the pictures to calibrate on; none for a judge that needs no calibration.

    Of what is learned the references are the positives, and its class, in the concept's scenes and in every art
    style, the negatives. Of what was erased the untouched model's own pictures of it are the positives, and the
    negatives those of its surrogate, from the same noise, and of its neighbours. One of several that were erased
    is told by pictures of it alone; the neighbours are those of all. Of several things that no model knows each is
    told from its own class.
    """
    if isinstance(encoder, Matcher):
        return None
    if probe.concept.scored_as == "erase":
        named = "concept" if part is None else "part"
        positive = _of(main, "none", named, part=part)
        negative = _of(main, "surrogate", named, part=part) + _of(main, "none", "neighbour")
    else:
        plain = "plain" if "plain" in probe.folders else "none"
        positive, negative = [], _of(probe, plain, "concept", "class") + _of(probe, plain, NOVELTY, part=part)

    shown = (cache.images(encoder, [path for path, _ in found]) for found in (positive, negative))
    seeds = (np.array([seed for _, seed in found]) for found in (positive, negative))
    return Bank(*shown, *seeds)


def _of(probe: Probe, source: str, *channels: str, part: int | None = None) -> Found:
    """Returns a source's pictures of channels, with their seeds: of all that is asked for there, or of one part."""
    if source not in probe.folders:
        return []

    def there(cell: Cell) -> bool:
        asked = cell.prompt
        return asked.channel in channels and asked.part == part and (source != "surrogate" or bool(asked.surrogate))

    asked = probe.plain if source == "plain" and probe.plain else probe.grid
    return [(probe.folders[source] / f"{c.key}.png", c.seed) for c in asked.cells if there(c)]
