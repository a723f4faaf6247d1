"""A run that says what it does: a line as every stage begins, on what, and about how long it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.forecast.past import BASE, OWN, Past
from bench.forecast.show import span
from bench.forecast.steps import ATTACK, TRAIN, Step, guess, steps
from bench.grid import NOVELTY
from bench.store import Store
from bench.words import counted

if TYPE_CHECKING:
    from bench.plan import Plan

log = logging.getLogger("bench")


class Told(Store):
    """A store that says what it is about to make; it makes the same."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(Path(plan.config["root"]))
        self.plan, self.past = plan, Past(self.root)
        self.steps = {(s.stage, s.key): s for s in steps(plan)}
        self._begin()

    def _begin(self) -> None:
        plan, c = self.plan, self.plan.config
        there = [s for s in self.steps.values() if self.past.there(s.stage, s.key)]
        self.made, self.left = 0, len(self.steps) - len(there)
        log.info("%s on %s (%s, seed %d): %s, %d of them there already", plan.method, plan.concept.name,
                 c["model"]["name"], c["seed"], counted(len(self.steps), "stage"), len(there))  # fmt: skip
        changed = {k: v for k, v in plan.hyperparameters.items() if v != c["method"].get(k, v)} if plan.tuned else {}
        if changed:
            log.info("values for %s in place of the method's own (tuned=none keeps those): %s", c["model"]["name"],
                     ", ".join(f"{k}={v}" for k, v in changed.items()))  # fmt: skip

    def once(self, stage: str, key: str, about: dict[str, Any], fill: Callable[[Path], object]) -> None:
        """Makes a stage unless it is there, with a line before and what it took after."""

        def told(folder: Path) -> None:
            step = self.steps.get((stage, key))
            if step is None:
                fill(folder)
                return
            seconds = guess(step, self.plan, self.past).seconds
            self.made += 1
            takes = f"; about {span(seconds)}" if seconds else ""
            log.info("%s%s (stage %d of %d)", says(step, self.plan), takes, self.made, max(self.made, self.left))
            begun = time.monotonic()
            fill(folder)
            log.info("  done in %s", span(time.monotonic() - begun))

        super().once(stage, key, about, told)


def says(step: Step, plan: Plan) -> str:
    """Returns what a stage does, and on what."""
    if step.stage == TRAIN:
        if not plan.concept.parts and step.key != plan.keys["train"]:
            return "train: nothing; what was made elsewhere is taken as it is"
        training = next(t for t in plan.trainings if t.key == step.key)
        of, model = training.concept, plan.config["model"]["name"]
        seen = counted(len(of.references), "reference picture")
        does = "erases" if of.kind in ("erase", "roundtrip") else "learns"
        return f"train: {step.method} {does} {of.name} on {model}, {seen}"
    if step.stage in (BASE, OWN):
        whose = step.method or "the untouched model"
        steps_ = plan.config["model"]["steps"]
        why = f" for the attack by {step.attack}" if step.attack else ""
        pictures = counted(step.pictures, "picture")
        return f"generate: {pictures} of {whose}{why}, {counted(steps_, 'denoising step')} each"
    if step.stage == ATTACK:
        whose = step.method or "the untouched model"
        sought = "a word for what no model knows" if step.attack == NOVELTY else f"what brings {plan.concept.name} back"
        return f"attack: {step.attack}, a search on {whose} for {sought}"
    return f"score: the judges look at every picture, {counted(len(plan.config['protocol']['metrics']), 'metric')}"
