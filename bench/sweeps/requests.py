"""What a command asks for: its runs, those of `concept=all` among them, all looked at before the first starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from bench.compose import compose
from bench.concept import Concept
from bench.data import dataset
from bench.errors import BenchError, NotServed
from bench.plan import Plan, dataset_folder, make
from bench.progress import track
from bench.words import quoted

log = logging.getLogger("bench")
ALL = "all"
KINDS: tuple[str, ...] = get_args(Concept.model_fields["kind"].annotation)


@dataclass(frozen=True)
class Request:
    """A composed run that has not been looked at yet; `asked` says whether it was named, or comes from `all`."""

    config: dict[str, Any]
    method: str
    asked: bool


def held_out(config: dict[str, Any], kind: str) -> list[str]:
    """Returns a dataset's concepts but for those that values are tuned on, and what holds one of these.

    Args:
        config: the composed configuration.
        kind: of which kind; any if empty.
    """
    tuned_on = {c for names in config["dataset"]["development"].values() for c in names}
    out = []
    folder = dataset_folder(config["dataset"]["path"], config["dataset"]["name"])
    for name in dataset.names(folder):
        try:
            said = dataset.said(folder, name)[0]
            parts = {name, *said.get("parts", [])}
            wanted = kind in ("", said["kind"]) and not parts & tuned_on
        except (BenchError, KeyError, TypeError):
            wanted = True  # planning says what is wrong with it
        out += [name] if wanted else []
    return out


def requests(overrides: list[str]) -> list[Request]:
    """Returns the runs of one list of overrides: several where its concept is `all` or `KIND:all`.

    Raises:
        BenchError: something in it is wrong, or there is no concept of the kind.
    """
    config, method = compose(overrides)
    kind, colon, every = config["concept"].rpartition(":")
    if every != ALL or (colon and not kind):
        return [Request(config, method, True)]
    if kind and kind not in KINDS:
        raise BenchError(f"concept={kind}:all: no kind {kind!r}; one of {', '.join(KINDS)} would be right")
    names = held_out(config, kind)
    if not names:
        raise BenchError(f"concept={config['concept']}: the dataset {config['dataset']['name']} holds none")
    rest = [o for o in config["_given"] if o.lstrip("+").split("=")[0] != "concept"]
    return [Request(config | {"concept": n, "_given": [*rest, f"concept={quoted(n)}"]}, method, False) for n in names]


def plans(lists: Sequence[list[str]]) -> list[Plan]:
    """Plans every run and checks it; of `all`, what a method does not serve is left out with a line.

    Returns:
        The plans, none twice, those of one model together: it is loaded once.

    Raises:
        BenchError: a request cannot be met, or nothing is left.
    """
    from bench.run import preflight

    wanted = [r for overrides in lists for r in requests(overrides)]
    out: dict[Path, Plan] = {}
    left: dict[str, list[str]] = {}
    for request in track(wanted, "checking", len(wanted)) if len(wanted) > 20 else wanted:
        try:
            plan = make(request.config, request.method)
            preflight(plan)
        except NotServed as error:
            if request.asked:
                raise
            why = str(error).partition(", and concept ")[0]
            left.setdefault(why, []).append(request.config["concept"])
            continue
        out.setdefault(plan.folder, plan)
    for why, names in left.items():
        log.info("%s; left out: %s", why, ", ".join(dict.fromkeys(names)))
    if not out:
        raise BenchError("concept=all: no method that was named serves any concept; --help shows what there is")
    models = list(dict.fromkeys((p.model_folder, p.model_lora) for p in out.values()))
    return sorted(out.values(), key=lambda p: (not p.there, models.index((p.model_folder, p.model_lora))))
