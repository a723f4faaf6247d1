"""Plans of a command without loading a method: what one serves is read from its source, as long as it stands there."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, NotServed
from bench.names import source_file
from bench.pipelines import other_family
from bench.plan import Plan, make
from bench.progress import track
from bench.sweeps.requests import requests


@dataclass(frozen=True)
class Stated:
    """What a method's class states in its source; None is what is not written there, but worked out when it runs."""

    tasks: tuple[str, ...] | None
    families: tuple[str, ...] | None
    fields: tuple[str, ...] | None


def stated(target: str) -> Stated:
    """Reads a method's class without importing it.

    Raises:
        BenchError: there is no such module or class.
    """
    path, name = source_file(target, "method._target_"), target.rpartition(".")[2]
    try:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
    except SyntaxError as error:
        where = f"{path}, line {error.lineno}"
        raise BenchError(f"method._target_={target}: SyntaxError in {where}: {error.msg}") from None
    found = next((n for n in nodes if isinstance(n, ast.ClassDef) and n.name == name), None)
    if found is None:
        if not any(_names(n, name) for n in nodes):
            raise BenchError(f"method._target_={target}: {path} has no class {name!r}")
        return Stated(None, None, None)  # it is from another module
    own = {n.target.id: n for n in found.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    fields = tuple(k for k, n in own.items() if "ClassVar" not in ast.unparse(n.annotation))
    return Stated(_words(own.get("tasks")), _words(own.get("families")), None if found.bases else fields)


def _names(node: ast.stmt, name: str) -> bool:
    """Returns whether a statement of a module gives it a name other than by a class: an import, or what is assigned."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((a.asname or a.name) in (name, "*") for a in node.names)
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)


def _words(node: ast.AnnAssign | None) -> tuple[str, ...] | None:
    try:
        return tuple(ast.literal_eval(node.value)) if node is not None and node.value is not None else None
    except ValueError:
        return None


def check(plan: Plan) -> None:
    """Checks that every training's method has its fields, and serves the concept's kind and the model's family.

    Raises:
        BenchError: it has not.
        NotServed: it does not serve.
    """
    model = plan.config["model"]
    for training in plan.trainings:
        said, name = stated(training.target), training.method
        unknown = [f for f in training.fields if said.fields is not None and f not in said.fields]
        if unknown:
            raise BenchError(
                f"method {name} has no field {unknown[0]!r}; it has {', '.join(said.fields or ()) or 'none'}"
            )
        if said.families is not None and model["family"] not in said.families:
            raise other_family(name, said.families, model)
        composite = plan.concept.kind in ("multi", "subject_style")
        for concept in [training.concept, *([plan.concept] if composite else [])]:
            if said.tasks is not None and concept.kind not in said.tasks:
                served = ", ".join(said.tasks)
                raise NotServed(f"method {name} serves {served}, and concept {concept.name} is of kind {concept.kind}")


def plans(lists: Sequence[list[str]]) -> list[Plan]:
    """Plans every run of a command as a sweep would; of `all`, what a method does not serve is left out.

    Raises:
        BenchError: a request cannot be met, or nothing is left.
    """
    out: dict[Path, Plan] = {}
    wanted = [r for overrides in lists for r in requests(overrides)]
    for request in track(wanted, "planning", len(wanted)) if len(wanted) > 20 else wanted:
        plan = make(request.config, request.method)
        try:
            check(plan)
        except NotServed:
            if request.asked:
                raise
            continue
        out.setdefault(plan.folder, plan)
    if not out:
        raise BenchError("concept=all: no method that was named serves any concept; --help shows what there is")
    return list(out.values())
