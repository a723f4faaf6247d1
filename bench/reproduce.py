"""A paper's claims on this machine: what it reports beside what its method and the others do here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import paths
from bench.cells import ANCHORS
from bench.claims import Claim, Claims
from bench.compose import compose
from bench.errors import BenchError, NotServed
from bench.papers import Cell, Paper, read_file
from bench.plan import Plan, make
from bench.row import Row
from bench.served import check
from bench.sweep import held_out

CONCEPTS, QUICK = 4, 1  # of each kind: the fewest a verdict can rest on, and enough to see that it runs


@dataclass(frozen=True)
class Study:
    """What is looked at.

    Attributes:
        file: whose claims they are.
        claims: those of the method.
        paper: what it reports; None where no table of it is kept.
        model: what they are looked at on here.
        concepts: kind → the concepts.
        methods: kind → the methods that are run.
        left: what cannot be run, and why.
    """

    file: Claims
    claims: list[Claim]
    paper: Paper | None
    model: str
    concepts: dict[str, list[str]]
    methods: dict[str, list[str]]
    left: dict[str, str]


def studies(method: str, model: str, budget: int) -> list[Study]:
    """Returns what there is to look at of a method: a study for every file that claims something of it.

    Args:
        method: of `conf/method`.
        model: of `conf/model`; the first that a file names if empty.
        budget: concepts of each kind.

    Raises:
        BenchError: there is no such method, model or claim.
    """
    known = paths.choices("method")
    if method not in known:
        raise BenchError(f"{method}: no such method; one of {', '.join(known)} would be right")
    boards = paths.shipped("leaderboards")
    files = {p.stem: read_file(p, Claims) for p in sorted((boards / "claims").glob("*.yaml"))}
    own = {stem: [c for c in f.claims if c.method == method] for stem, f in files.items()}
    found = [_study(stem, files[stem], claims, model, budget) for stem, claims in own.items() if claims]
    if not found:
        claimed = ", ".join(sorted({c.method for f in files.values() for c in f.claims}))
        raise BenchError(f"{method}: leaderboards/claims has no claim of it; there are some of {claimed}")
    return found


def _study(stem: str, file: Claims, claims: list[Claim], model: str, budget: int) -> Study:
    paper = paths.shipped("leaderboards") / "papers" / f"{stem}.yaml"
    model = model or file.models[0]
    concepts: dict[str, list[str]] = {}
    methods: dict[str, list[str]] = {}
    left: dict[str, str] = {}
    for task in dict.fromkeys(c.task for c in claims):
        config, _ = compose([f"+method={claims[0].method}", f"model={model}"])
        concepts[task] = held_out(config, task)[:budget]
        asked = dict.fromkeys(m for c in claims if c.task == task for m in (c.method, c.against) if m not in ANCHORS)
        methods[task] = [m for m in asked if not _refused(m, model, concepts[task], left)]
    return Study(file, claims, read_file(paper, Paper) if paper.is_file() else None, model, concepts, methods, left)


def _refused(method: str, model: str, concepts: Sequence[str], left: dict[str, str]) -> bool:
    """Returns whether a method cannot be run on a model, and keeps why."""
    if method not in paths.choices("method"):
        left[method] = "not among the methods of this benchmark"
    elif not concepts:
        left[method] = "the dataset has no concept of the kind"
    else:
        config, name = compose([f"+method={method}", f"model={model}", f"concept={concepts[0]}"])
        try:
            check(make(config, name))
        except NotServed as error:
            left[method] = str(error)
    return method in left


def commands(study: Study, root: str, seeds: Sequence[int]) -> list[list[str]]:
    """Returns the overrides of every run."""
    return [
        [f"+method={m}", f"concept={c}", f"model={study.model}", f"seed={s}", f"root={root}"]
        for task, methods in study.methods.items()
        for c in study.concepts[task]
        for s in seeds
        for m in methods
    ]


def rows_of(planned: Sequence[Plan]) -> list[Row]:
    """Returns the rows that these runs left."""
    files = [p.folder / "row.json" for p in planned]
    return [Row.model_validate_json(f.read_text(encoding="utf-8")) for f in files if f.is_file()]


@dataclass(frozen=True)
class Reported:
    """A figure of a paper, and what the same method has here; None where nothing here is of that name."""

    where: str
    label: str
    metric: str
    value: float
    here: float | None
    name: str


def reported(study: Study, rows: Sequence[Row]) -> list[Reported]:
    """Returns the paper's figures of the methods that are run here, metrics matched by their names alone."""
    methods = {_plain(m): m for ms in study.methods.values() for m in ms}
    out = []
    for table in study.paper.tables if study.paper else ():
        for label, cells in table.values.items():
            method = methods.get(_plain(label), "")
            for column, cell in zip(table.columns, cells, strict=True):
                if method and cell is not None:
                    value = cell.value if isinstance(cell, Cell) else cell
                    name = _matching(column.metric, rows)
                    own = [r.measured[name].value for r in rows if r.method == method and name in r.measured]
                    mean = sum(own) / len(own) if own else None
                    scale = f" ({column.scale})" if column.scale else ""
                    out.append(Reported(table.where, label, f"{column.metric}{scale}", value, mean, name))
    return out


def _plain(text: str) -> str:
    """Returns a name without what people write differently."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("δ", "delta"))


def _matching(metric: str, rows: Sequence[Row]) -> str:
    """Returns the value of rows that goes by a paper's name of a metric: where the concept is asked for, if there are
    several.
    """
    names = dict.fromkeys(n for r in rows for n in r.measured)
    fits = [n for n in names if _plain(n.partition("/")[0]) == _plain(metric) and n.partition("/")[2] in ("", "concept")]
    return fits[0] if fits else ""
