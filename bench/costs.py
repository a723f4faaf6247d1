"""What a run cost, as boards compare it: not as the machine it ran on was busy with something else. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.row import Row

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PASSES = "passes"
BACKWARD = 3  # a pass with gradient is worth as many without
LEAST = ("seconds",)  # these hold what else the machine did meanwhile


def costs_of(row: Row) -> dict[str, float]:
    """Returns what a row says, and the passes of one picture through the model that its training is worth.

    One with gradient is worth three, as the backward pass is about two forward (Kaplan et al. 2020, section 2.1). What
    a method asks beside the model, of a critic or a reward, is not in it.
    """
    if "grad_forward_images" not in row.cost:
        return row.cost
    return row.cost | {PASSES: row.cost.get("forward_images", 0.0) + BACKWARD * row.cost["grad_forward_images"]}


def settled(cost: str, values: Array) -> Array:
    """Returns a cost, (methods, concepts, seeds), as a board has it: of seconds, those of a method's fastest run."""
    import numpy as np

    if cost not in LEAST or not values.size:
        return values
    there = np.isfinite(values)
    fastest = np.where(there, values, np.inf).min((1, 2), keepdims=True)
    return np.where(there, fastest, np.nan)
