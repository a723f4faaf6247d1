"""A paper's claims on this machine: what it reports beside what its method and the others do here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import paths
from bench.boards.anchors import ANCHORS
from bench.compose import compose
from bench.errors import BenchError, NotServed, near
from bench.papers.claims import Claim, Claims
from bench.papers.files import Paper, read_file
from bench.plan import Plan, make
from bench.row import Row
from bench.sweeps.requests import held_out
from bench.sweeps.served import check
from bench.values import HELD
from bench.words import quoted

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
        embedded: whether the model is shipped.
    """

    file: Claims
    claims: list[Claim]
    paper: Paper | None
    model: str
    concepts: dict[str, list[str]]
    methods: dict[str, list[str]]
    left: dict[str, str]
    embedded: bool


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
        raise BenchError(f"{method}: no such method{near(method, known)}; one of {', '.join(known)} would be right")
    boards = paths.shipped("leaderboards")
    files = {p.stem: read_file(p, Claims) for p in sorted((boards / "claims").glob("*.yaml"))}
    own = {stem: _of(method, f, model or f.models[0]) for stem, f in files.items()}
    found = [_study(stem, files[stem], claims, model, budget) for stem, claims in own.items() if claims]
    if not found:
        claimed = ", ".join(sorted({c.method for f in files.values() for c in f.claims}))
        raise BenchError(f"{method}: leaderboards/claims has no claim of it; there are some of {claimed}")
    return found


def _of(method: str, file: Claims, model: str) -> list[Claim]:
    """Returns a file's claims of a method that can be judged on a model; all, to be refused, where none can."""
    own = [c for c in file.claims if c.method == method]
    return [c for c in own if model in (c.models or [model]) or model not in file.models] or own


def _study(stem: str, file: Claims, claims: list[Claim], model: str, budget: int) -> Study:
    paper = paths.shipped("leaderboards") / "papers" / f"{stem}.yaml"
    model = model or file.models[0]
    concepts: dict[str, list[str]] = {}
    methods: dict[str, list[str]] = {}
    left: dict[str, str] = {}
    config, _ = compose([f"+method={claims[0].method}", f"model={model}"])
    for task in dict.fromkeys(c.task for c in claims):
        published = _published(f"{config['dataset']['name']}-{model}-{task}")
        found = sorted(held_out(config, task), key=lambda c: c not in published)[:budget]
        asked = dict.fromkeys(m for c in claims if c.task == task for m in (c.method, c.against) if m not in ANCHORS)
        refused = {m: why for m in asked if (why := _refused(m, model, found))}
        left |= refused
        if claims[0].method not in refused:
            concepts[task], methods[task] = found, [m for m in asked if m not in refused]
    if not methods:
        raise BenchError(left[claims[0].method])
    left = {m: why for m, why in left.items() if not any(m in ms for ms in methods.values())}
    embedded = str(config["model"]["path"]).startswith("embedded:")
    reports = read_file(paper, Paper) if paper.is_file() else None
    return Study(file, claims, reports, model, concepts, methods, left, embedded)


def _published(board: str) -> set[str]:
    """Returns the concepts of a board's rows: looked at first, they can be held against it."""
    files = (paths.shipped("leaderboards") / board / "rows").glob("*.json")
    return {Row.model_validate_json(f.read_bytes()).concept for f in files}


def _refused(method: str, model: str, concepts: Sequence[str]) -> str:
    """Returns why a method cannot be run on a model and concepts of a kind; nothing where it can."""
    if method.partition(HELD)[0] not in paths.choices("method"):
        return "not among the methods of this benchmark"
    if not concepts:
        return "the dataset has no concept of the kind"
    config, name = compose([*_asked(method), f"model={model}", f"concept={concepts[0]}"])
    try:
        check(make(config, name))
    except NotServed as error:
        return str(error)
    return ""


def _asked(method: str) -> list[str]:
    """Returns the overrides of what a board calls a method: `spm-gate-open` is `spm` with its gate held."""
    name, _, gate = method.partition(HELD)
    return [f"+method={name}", *([f"gate={gate}"] if gate else [])]


def commands(study: Study, root: str, seeds: Sequence[int]) -> list[list[str]]:
    """Returns the overrides of every run."""
    return [
        [*_asked(m), f"concept={c}", f"model={study.model}", f"seed={s}", f"root={quoted(root)}"]
        for task, methods in study.methods.items()
        for c in study.concepts[task]
        for s in seeds
        for m in methods
    ]


def rows_of(planned: Sequence[Plan]) -> list[Row]:
    """Returns the rows that these runs left."""
    files = [p.folder / "row.json" for p in planned]
    return [Row.model_validate_json(f.read_text(encoding="utf-8")) for f in files if f.is_file()]
