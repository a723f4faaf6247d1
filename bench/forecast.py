"""What runs would make, what of it is there already, and how long the rest would take. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench import paths
from bench.grid import surrogates
from bench.row import Row
from bench.store import DONE, Store, key_of

if TYPE_CHECKING:
    from bench.plan import Plan

BACKWARD = 3  # a forward pass with gradient takes about as long as three without
LOG = "log.jsonl"
TRAIN, BASE, OWN, ATTACK, SCORE = "train", "base", "generate", "attack", "score"
NAMES = {TRAIN: "trainings", BASE: "pictures of the untouched model", OWN: "pictures of the methods",
         ATTACK: "searches of attacks", SCORE: "judgings"}  # fmt: skip
# attack → what it searches for, and whose pictures of which channel it makes; as `bench.attacks.stage` does
SEARCHES = {"words": [("words-base", "words")], "prefix": [("prefix", "prefix")],
            "inversion": [(n, c) for c in ("inversion", "novelty") for n in ("inversion", "inversion-base")]}  # fmt: skip
SIDES = {
    "words": [("words", "words model"), ("words-base", "words none"), ("words-base", "words surrogate")],
    "prefix": [("prefix", "prefix model"), ("prefix", "prefix control"), ("prefix-base", "prefix none"),
               ("prefix-base", "prefix surrogate")],
    "inversion": [(n, f"{c} {s}") for c in ("inversion", "novelty")
                  for n, s in (("inversion", "model"), ("inversion-base", "none"), ("inversion-base", "plain"))],
}  # fmt: skip


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
    """

    stage: str
    key: str
    method: str
    model: str
    pictures: int = 0
    passes: int = 0
    trained: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)


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
    out = []
    for name in (n for n in SEARCHES if n in plan.keys):
        budget = budgets[name]
        passes = budget["steps"] * budget["batch_size"] * BACKWARD if name != "words" else 0
        for of, what in SEARCHES[name]:
            key = key_of({"attack": plan.keys[of], "of": what})
            out.append(Step(ATTACK, key, "" if of.endswith("-base") else plan.method, model, passes=passes))
        for of, what in SIDES[name]:
            ours, key = not of.endswith("-base"), key_of({"attack": plan.keys[of], "of": what})
            count = len(plan.attacked) * budget["seeds"]
            out.append(Step(OWN if ours else BASE, key, plan.method if ours else "", model, count))
    return out


class Past:
    """What finished runs took: rows and the store's log.

    Args:
        root: where runs are kept; where it has no row of a method, the committed boards' are asked.
    """

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def there(self, step: Step) -> bool:
        """Returns whether a stage is done; its files are not read."""
        return (self.store.path(step.stage, step.key) / DONE).is_file()

    @cached_property
    def rows(self) -> tuple[list[Row], list[Row]]:
        """The finished rows of the runs, and of the boards that are shipped."""
        boards = paths.shipped("leaderboards")
        return _rows(self.store.root.glob("*/*/row.json")), _rows(boards.glob("*/rows/*.json"))

    @cached_property
    def log(self) -> dict[tuple[str, str], float]:
        """(stage, key) → seconds, of every stage the log has."""
        path = self.store.root / "store" / LOG
        out = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                said = json.loads(line)
                out[str(said["stage"]), str(said["key"])] = float(said["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off says nothing
        return out

    def like(self, method: str, model: str) -> tuple[list[Row], str]:
        """Returns the finished rows of a method, of its model if there are some, and where they lie."""
        wheres = (str(self.store.root), "the boards that are shipped")
        for same in (True, False):
            for rows, where in zip(self.rows, wheres, strict=True):
                own = [r for r in rows if r.method == method and r.cost.get("seconds") is not None]
                found = [r for r in own if (r.model == model) == same]
                if found:
                    return found, where if same else f"{where}; another model, so a rough guess"
        return [], ""

    def training(self, method: str, model: str, fields: dict[str, Any]) -> tuple[float | None, str]:
        """Returns the seconds of a training, of rows with the same values where there are some, and its source."""
        rows, where = self.like(method, model)
        if not rows:
            return None, f"no finished row of {method} on {model}"
        same = [r for r in rows if r.hyperparameters == fields]
        spent = [r.cost["seconds"] for r in same or rows]
        values = "with these values" if same else "with other values"
        span = f"{min(spent):.0f} to {max(spent):.0f} s"
        models = " and ".join(dict.fromkeys(r.model for r in same or rows))
        return median(spent), f"{method}: {len(spent)} rows on {models} {values}, {span} ({where})"

    def picture(self, model: str, steps: int) -> tuple[float | None, str]:
        """Returns the seconds of one picture, and where that is from."""
        timed = [s / n for (stage, key), s in self.log.items() if stage in (BASE, OWN) and (n := self._drawn(key, model))]
        if timed:
            return median(timed), f"pictures: {len(timed)} timed stages of {model}"
        one, of = self.one_pass(model)
        return (one * 2 * steps, f"pictures: {2 * steps} forward passes each, timed by trainings on {of}") if one else (None, "")

    def _drawn(self, key: str, model: str) -> int:
        """Returns how many pictures of a model a stage made; 0 if it is none of it."""
        for stage in (BASE, OWN):
            path = self.store.path(stage, key) / DONE
            if path.is_file():
                said = json.loads(path.read_text(encoding="utf-8"))
                if said.get("about", {}).get("model") == model:
                    return sum(name.endswith(".png") for name in said.get("files", ()))
        return 0

    def one_pass(self, model: str) -> tuple[float | None, str]:
        """Returns the seconds of a forward pass of one picture, from what trainings took, and on which model."""
        every = [r for rows in self.rows for r in rows if r.cost.get("grad_forward_images")]
        own = [r for r in every if r.model == model]
        passes = [r.cost["seconds"] / (r.cost.get("forward_images", 0) + BACKWARD * r.cost["grad_forward_images"])
                  for r in own or every]  # fmt: skip
        return (median(passes) if passes else None), model if own else "another model"

    def judging(self) -> float | None:
        """Returns the seconds of judging a run, as the log has them."""
        spent = [seconds for (stage, _), seconds in self.log.items() if stage == SCORE]
        return median(spent) if spent else None


def _rows(files: Iterable[Path]) -> list[Row]:
    out = []
    for path in sorted(files):
        try:
            row = Row.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue  # it is asked for its cost alone
        out += [row] if row.status == "ok" else []
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
