"""What runs would make, what of it is there already, and how long the rest would take. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from bench.attack_keys import part_key
from bench.attacks.control import asked_of, budget_of, searched
from bench.costs import BACKWARD
from bench.forecast.past import BASE, OWN, SCORE, Past
from bench.grid import NOVELTY, surrogates

if TYPE_CHECKING:
    from bench.plan import Plan

TRAIN, ATTACK = "train", "attack"
NAMES = {TRAIN: "trainings", BASE: "pictures of the untouched model", OWN: "pictures of the methods",
         ATTACK: "searches of attacks", SCORE: "judgings"}  # fmt: skip
# attack → what it searches for, and whose pictures of which channel it makes; as `bench.attacks.stage` does
SEARCHES = {"words": ["words-base"], "prefix": ["prefix"], "inversion": ["inversion", "inversion-base"],
            NOVELTY: [NOVELTY, f"{NOVELTY}-base"]}  # fmt: skip
SIDES = {
    "words": [("words", "model"), ("words-base", "none"), ("words-base", "surrogate")],
    "prefix": [("prefix", "model"), ("prefix", "control"), ("prefix-base", "none"), ("prefix-base", "surrogate")],
    **{n: [(n, "model"), (f"{n}-base", "none"), (f"{n}-base", "plain")] for n in ("inversion", NOVELTY)},
}


@dataclass(frozen=True)
class Step:
    """One stage of a run.

    Attributes:
        stage: of the store.
        key: of its output.
        method: whose it is; none of the untouched model's.
        model: the name of its model's configuration.
        pictures: how many it makes.
        passes: of an attack's search, forward passes of one picture each.
        trained: of a training, the method's fields.
        attack: of an attack's stages, what it is called.
    """

    stage: str
    key: str
    method: str
    model: str
    pictures: int = 0
    passes: int = 0
    trained: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    attack: str = field(default="", compare=False)


def steps(plan: Plan) -> list[Step]:
    """Returns a run's stages, in order."""
    model, method, keys = plan.config["model"]["name"], plan.method, plan.keys
    cells = len(plan.grid.cells)
    out = [Step(TRAIN, t.key, t.method, model, trained=t.fields) for t in plan.trainings]
    out.append(Step(BASE, keys["base"], "", model, cells))
    if "surrogate" in keys:
        out.append(Step(BASE, keys["surrogate"], "", model, len(surrogates(plan.grid).cells)))
    if "learned" in keys:
        out.append(Step(OWN, keys["learned"], plan.trainings[0].method, model, cells))
    out.append(Step(OWN, keys["generate"], method, model, cells))
    return [*out, *_attacks(plan), Step(SCORE, keys["score"], method, model)]


def _attacks(plan: Plan) -> list[Step]:
    model, budgets = plan.config["model"]["name"], plan.config["protocol"]["attacks"] or {}
    novel = (plan.novel.apart or [plan.novel]) if plan.novel else []
    scenes, out = len(plan.attacked), []
    for name in (n for n in SEARCHES if n in plan.keys):
        budget = budget_of(name, budgets)
        things = novel if name == NOVELTY else [plan.concept]
        passes = budget["steps"] * budget["batch_size"] * BACKWARD if name != "words" else 0
        for of, what in product(SEARCHES[name], searched(name, things)):
            key, whose = part_key(plan.keys[of], what), "" if of.endswith("-base") else plan.method
            out.append(Step(ATTACK, key, whose, model, passes=passes, attack=name))
        asked = len(asked_of(len(things), scenes))
        for of, source in SIDES[name]:
            key = part_key(plan.keys[of], f"{name} {source}")
            count = (len(things) * scenes if source == "plain" else asked) * budget["seeds"]
            stage, whose = (BASE, "") if of.endswith("-base") else (OWN, plan.method)
            out.append(Step(stage, key, whose, model, count, attack=name))
    return out


@dataclass(frozen=True)
class Guess:
    """A time in seconds, None where nothing is known, and where it is from."""

    seconds: float | None
    source: str


def guess(step: Step, plan: Plan, past: Past) -> Guess:
    """Returns about how long a stage takes."""
    model = plan.config["model"]
    if step.stage == TRAIN:
        return Guess(*past.training(step.method, step.model, step.trained))
    if step.stage == OWN and past.idle(step.method):
        return Guess(0.0, "")
    if step.stage in (BASE, OWN):
        one, source = past.picture(step.model, model["steps"])
        return Guess(None if one is None else one * step.pictures, source)
    if step.stage == ATTACK:
        one, of = past.one_pass(step.model)
        return Guess(None if one is None else one * step.passes, f"attacks: their steps, timed by trainings on {of}")
    seconds = past.judging()
    return Guess(seconds, "judging: the runs judged before" if seconds is not None else "judging is not in it")


def unique(plans: Sequence[Plan]) -> dict[Step, Plan]:
    """Returns the stages of several runs, each once: what they share is made once."""
    out: dict[Step, Plan] = {}
    for plan in plans:
        for step in steps(plan):
            out.setdefault(step, plan)
    return out
