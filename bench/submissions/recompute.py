"""A submission's values, found again from its scores; its concept and prompts, held against the dataset. No torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from bench import paths
from bench.config import ProtocolConfig, set_apart
from bench.errors import BenchError
from bench.row import Row, Value
from bench.rows.checks import PLAIN, words
from bench.rows.file import shown

if TYPE_CHECKING:
    import pandas as pd

    from bench.metric import Derived, Metric

COLUMNS = ["source", "metric", "channel", "prompt", "seed", "value", "reason"]
NEAR = 2e-6  # values of a row are rounded to 1e-6
LINES = 500_000
PICTURES = 20_000  # of one source, metric and channel: a bootstrap draws from them 2,000 times
GREATEST = 1e9


def table(text: str) -> pd.DataFrame:
    """Returns a table of scores from its CSV.

    Raises:
        BenchError: a line of it is not as it should be.
    """
    import pandas as pd

    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        if next(lines, None) != COLUMNS:
            raise BenchError(f"line 1: {','.join(COLUMNS)} would be right")
        rows = [_line(k, line) for k, line in enumerate(lines, start=2)]
    except csv.Error as error:
        raise BenchError(f"line {lines.line_num}: {error}") from None
    found = pd.DataFrame(rows, columns=COLUMNS)
    twice = found.duplicated(COLUMNS[:5])
    if twice.any():
        raise BenchError(f"line {int(twice.to_numpy().argmax()) + 2}: this picture has a score of this metric already")
    counts = found.value_counts(COLUMNS[:3])
    if many := counts.index[counts > PICTURES].tolist():
        said = ", ".join(many[0])
        raise BenchError(f"{said}: {counts[many[0]]} pictures; at most {PICTURES} would be right")
    return found


def _line(number: int, line: list[str]) -> list[Any]:
    """Returns one line's fields by their types."""
    if number > LINES:
        raise BenchError(f"line {number}: at most {LINES} lines would be right")
    if len(line) != len(COLUMNS):
        raise BenchError(f"line {number}: {len(line)} fields; {len(COLUMNS)} would be right")
    names, reason = line[:3], line[6]
    for name in names:
        if not PLAIN.fullmatch(name):
            raise BenchError(f"line {number}: {shown(name)}: letters, digits, '.', '_' and '-' would be right")
    try:
        prompt, seed, value = int(line[3]), int(line[4]), float(line[5])
    except ValueError:
        said = shown(",".join(line[3:6]))
        raise BenchError(f"line {number}: {said}: two integers and a number would be right") from None
    if len(reason) > 500 or (reason != "") == math.isfinite(value) or abs(value) > GREATEST:
        raise BenchError(f"line {number}: {shown(line[5])}: a finite number, or nan and a reason, would be right")
    return [*names, prompt, seed, value, reason]


def against_scores(row: Row, text: str, pictures: Sequence[str]) -> Iterator[str]:
    """Yields which of a row's values are not what its scores come to."""
    try:
        scores = table(text)
    except BenchError as error:
        yield f"scores.csv: {error}"
        return
    there = {p.removesuffix(".png") for p in pictures}
    channels = {p.partition("-")[0] for p in there}  # what attacks make is not sent
    own = scores[(scores["source"] == "model") & scores["channel"].isin(channels) & (scores["reason"] == "")]
    for c, p, s in own[["channel", "prompt", "seed"]].drop_duplicates().itertuples(index=False):
        if f"{c}-{p:02d}-{s}" not in there:
            yield f"scores.csv: a score of {c}-{p:02d}-{s}.png, a picture that pictures.json does not have"
            return
    try:
        found = _summary(scores)
    except (ValueError, ArithmeticError, LookupError) as error:
        yield f"scores.csv: nothing comes of it: {shown(str(error).splitlines()[0])}"
        return
    for where, values in {"measured": row.measured, **{f"anchors.{a}": v for a, v in row.anchors.items()}}.items():
        source = "model" if where == "measured" else where.removeprefix("anchors.")
        for name, value in values.items():
            yield from _same(f"row.json: {where}.{name}", name, value, found.get(source, {}).get(name))


def _same(at: str, name: str, said: Value, found: Value | None) -> Iterator[str]:
    """Yields where a value is not the one found again; of a metric that is not of this harness, nothing is known."""
    if found is None:
        if name.partition("/")[0] in {m.name for m in _metrics()}:
            yield f"{at}: the scores do not hold it"
        return
    for field in ("value", "low", "high"):
        mine, theirs = getattr(found, field), getattr(said, field)
        if abs(mine - theirs) > NEAR:
            yield f"{at}.{field}={theirs}: {mine}, as its scores come to, would be right"
            return
    for field in ("n", "better", "version", "title", "group"):
        mine, theirs = getattr(found, field), getattr(said, field)
        if mine != theirs:
            yield f"{at}.{field}={shown(theirs)}: {shown(mine)} would be right"
            return


def _summary(scores: pd.DataFrame) -> dict[str, dict[str, Value]]:
    """Returns source → name → value, as a run would record them; judges have no name here."""
    from bench.metric import Metric
    from bench.stages.score import summarize

    held = set(scores["metric"])
    metrics = [m for m in _metrics() if not isinstance(m, Metric) or m.name in held]
    judges: Any = {m.needs: SimpleNamespace(name="") for m in metrics if isinstance(m, Metric)}
    return summarize(scores, metrics, judges)[0]


@cache
def _metrics() -> list[Metric | Derived]:
    """Returns every metric that a protocol of the harness names."""
    from bench.metric import load_metrics

    said = [_conf("protocol", name).get("metrics", []) for name in paths.choices("protocol")]
    return load_metrics(list(dict.fromkeys(t for names in said for t in names)))


def _by_hand(row: Row) -> Iterator[str]:
    """Yields what the command changes of a model, dataset or protocol that goes by the name the harness has for it;
    which pictures are asked for and what is measured of them, the rest of the checks see.
    """
    apart = [w for w in set_apart(words(row.provenance)) if not w.startswith(("protocol.metrics", "protocol.seeds"))]
    for group, name in (("model", row.model), ("dataset", row.dataset), ("protocol", row.protocol)):
        changes = [w for w in apart if w.startswith((f"{group}.", f"{group}={{"))]
        if changes and name in paths.choices(group):
            yield f"row.json: provenance.command: sets {shown(changes[0])}, and goes by the name of {name}"


def _conf(group: str, name: str) -> dict[str, Any]:
    path = paths.shipped("conf") / group / f"{name}.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    above = [d for d in said.pop("defaults", []) if isinstance(d, str) and d != "_self_"]
    return {k: v for a in above for k, v in _conf(group, a).items()} | said


def _here(world: dict[str, Any]) -> tuple[Path, Path | None] | None:
    """Returns the folders of a dataset and of its pictures, where both are on this machine."""
    if not world or not (folder := paths.embedded(str(world["path"]), paths.shipped("datasets"))).is_dir():
        return None
    pictures = Path(world["pictures"]) if world.get("pictures") else None
    return None if pictures and not pictures.is_dir() else (folder, pictures)


def against_world(row: Row, pictures: dict[str, str]) -> Iterator[str]:
    """Yields where concept and prompts are not those of the dataset and protocol, where the harness has these."""
    from bench.data.concept_file import load
    from bench.grid import grid, load_templates

    yield from _by_hand(row)
    protocol = _conf("protocol", row.protocol)
    if not (here := _here(_conf("dataset", row.dataset))):
        return
    try:
        concept = load(here[0], row.concept, here[1])
    except BenchError:
        yield f"row.json: concept={row.concept}: the dataset {row.dataset} has no such concept"
        return
    if concept.kind != row.kind:
        yield f"row.json: kind={row.kind}: {concept.kind}, as the dataset has it, would be right"
    key = concept.fingerprint()[:16]
    if row.fingerprints.get("concept_content") != key:
        yield f"row.json: fingerprints.concept_content={row.fingerprints.get('concept_content')}: {key} would be right"
        return
    if not protocol or row.status != "ok":
        return
    cells = grid(concept, load_templates(here[0]), ProtocolConfig.model_validate(protocol).seeds).cells
    wanted = {f"{c.key}.png" for c in cells}
    if odd := sorted(wanted ^ set(pictures)):
        what = "is missing" if odd[0] in wanted else "is not asked for"
        counts = f"protocol {row.protocol} has {len(wanted)} pictures, here are {len(pictures)}"
        yield f"pictures.json: {odd[0]} {what}: {counts}"
        return
    if "lora" not in row.provenance:  # there another word may stand for the concept; pictures alone state no prompt
        for c in cells:
            if pictures[f"{c.key}.png"] not in (c.prompt.complete, c.prompt.base, ""):
                yield f"pictures.json: {c.key}.png: the prompt {shown(c.prompt.complete)} would be right"
                return
