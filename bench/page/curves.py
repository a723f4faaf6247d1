"""Training curves, thinned and smoothed for a page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

POINTS = 200  # of a curve


@dataclass(frozen=True)
class Curve:
    """One training curve, thinned (`rough`) and smoothed over that (`smooth`)."""

    stage: str
    name: str
    steps: int
    rough: list[float]
    smooth: list[float]


def read_curves(path: Path) -> list[Curve]:
    """Reads the training log: `stage/name` → one value a step; values that are not finite are left out."""
    if not path.is_file():
        return []
    log: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
    curves = []
    for name, values in log.items():
        rough = _thin([v for v in values if math.isfinite(v)])
        if rough:
            stage, _, short = name.rpartition("/")
            curves.append(Curve(stage, short, len(values), rough, _smooth(rough)))
    return curves


def _thin(values: list[float]) -> list[float]:
    """Returns at most `POINTS` means of neighbouring values."""
    size = -(-len(values) // POINTS) or 1
    return [sum(part) / len(part) for i in range(0, len(values), size) if (part := values[i : i + size])]


def _smooth(values: list[float]) -> list[float]:
    """Returns a centred moving mean over about a twentieth of the curve; its ends use what is there."""
    reach = len(values) // 40
    parts = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]
