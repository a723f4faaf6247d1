"""How the things that no model knows are asked for. Nothing heavy is imported: a forecast counts with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.grid import NOVELTY

if TYPE_CHECKING:
    from bench.concept import Concept


def budget_of(attack: str, budgets: dict[str, Any]) -> dict[str, Any]:
    """Returns what an attack may spend; the inversion's control spends what it does."""
    found: dict[str, Any] = budgets["inversion" if attack == NOVELTY else attack]
    return found


def searched(channel: str, things: Sequence[Concept]) -> list[str]:
    """Returns what an inversion's searches are called, one a thing."""
    return [f"{channel} {k + 1}" for k in range(len(things))] if len(things) > 1 else [channel]


def scenes_of(thing: int, things: int, scenes: int) -> list[int]:
    """Returns which scenes one of several things is asked for in. They differ more from each other than a thing's
    pictures do from scene to scene, so that each gets a share: all of them where it is alone, one where they are many.
    """
    return [s for s in range(scenes) if s % things == thing % scenes]


def asked_of(things: int, scenes: int) -> list[int]:
    """Returns which prompts of all things in all scenes are asked, by their index; the others calibrate."""
    return [k * scenes + s for k in range(things) for s in scenes_of(k, things, scenes)]
