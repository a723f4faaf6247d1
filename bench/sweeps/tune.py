"""Finds a method's values for a model: a stated number of trials on concepts that no table holds."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.errors import BenchError
from bench.found import home
from bench.store import write_text
from bench.words import quoted

if TYPE_CHECKING:
    from bench.row import Row

log = logging.getLogger("bench")
LOST = -1e9  # a run that did not end well
HEAD = "# Found by `{command}`.\n"


@dataclass(frozen=True)
class Trial:
    """One set of values tried, and what each development concept's run came to."""

    values: dict[str, Any]
    scores: list[float]

    @property
    def score(self) -> float:
        """The mean over concepts; a run that diverged or failed loses to any that did not."""
        return sum(self.scores) / len(self.scores)


def candidates(space: dict[str, list[Any]], trials: int, seed: int = 0) -> list[dict[str, Any]]:
    """Returns what is tried: the first value of every field, then random others, none twice."""
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    rest = every[1:]
    random.Random(seed).shuffle(rest)  # noqa: S311
    return [every[0], *rest][:trials]


def space_of(said: dict[str, Any], model: str) -> dict[str, list[Any]]:
    """Returns what a method's `search` says for a model: lists by field, and under a model's name its own instead."""
    plain = {k: v for k, v in said.items() if isinstance(v, list)}
    return plain | (said.get(model) or {})


def objective(row: Row, weights: dict[str, float]) -> float:
    """Returns the weighted sum of a row's values; a value the row lacks counts as nothing."""
    if row.status != "ok":
        return LOST
    return sum(w * row.measured[name].value for name, w in weights.items() if name in row.measured)


def tune(method: str, model: str, trials: int, root: str, out: Path | None = None, more: Sequence[str] = ()) -> Path:
    """Tries values of a method for a model and keeps the best in `values/<model>/<method>.yaml` of `conf`, or of the
    folder the method is from.

    The concepts are the dataset's `development` concepts of the first kind the method serves, the search space is
    the method's own `search`, and the objective the protocol's.

    Raises:
        BenchError: the method states no search space, or there is no concept or objective for it.
    """
    from bench.compose import compose
    from bench.names import resolve_name
    from bench.plan import make
    from bench.run import preflight, run

    given = [f"+method={method}", f"model={model}", "protocol=tune", f"root={quoted(root)}", "tuned=none", *more]
    config, _ = compose(given)
    space = space_of(config["method"].get("search") or {}, model)
    if not space:
        raise BenchError(f"method {method} states no search: a mapping of fields to lists of values would be right")
    kinds = resolve_name(config["method"]["_target_"], "method._target_").tasks
    kind = next((k for k in config["dataset"]["development"] if k in kinds), "")
    weights = config["protocol"]["objective"].get(kind)
    if not weights:
        raise BenchError(f"protocol.objective: nothing for {', '.join(kinds)}, which is what {method} serves")
    done, trained = [], 0.0
    tried = candidates(space, trials)
    for count, values in enumerate(tried, start=1):
        log.info("trial %d of %d: %s", count, len(tried), _said(values))
        scores = []
        for concept in config["dataset"]["development"][kind]:
            said = [f"method.{k}={v}" for k, v in values.items()]
            plan = make(*compose([*given, f"concept={concept}", *said]))
            preflight(plan)
            row, _ = run(plan)
            trained += row.cost.get("seconds", 0.0)
            scores.append(objective(row, weights))
        done.append(Trial(values, scores))
        log.info("trial %d of %d: score %.4f", count, len(tried), done[-1].score)
    best = max(done, key=lambda t: t.score)
    if LOST in best.scores:
        raise BenchError(f"tune {method}: no trial's runs ended well on every concept ({row.reason}); nothing was kept")
    found = {
        "trials": len(done), "training_seconds": round(trained), "objective": weights, "score": best.score,
        "concepts": config["dataset"]["development"][kind],
        "tried": [t.values | {"score": round(t.score, 4), "scores": [round(s, 4) for s in t.scores]} for t in done],
    }  # fmt: skip
    path = (out or home(method) / "values") / model / f"{method}.yaml"
    command = f"python -m bench tune {method} --model {model} --trials {trials}"
    text = yaml.safe_dump({"values": best.values, "found": found}, sort_keys=False, width=120)
    write_text(path, HEAD.format(command=command) + text)
    log.info("best: %s; runs of %s on %s take it from here on, but for tuned=none", _said(best.values), method, model)
    return path


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
