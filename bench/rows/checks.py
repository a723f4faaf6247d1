"""What a row's schema cannot say: names, statuses, ranges, and the name of its file. No torch."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench import paths
from bench.config import NAME, set_apart
from bench.meaning import meaningless
from bench.row import Row, Value
from bench.rows.file import place, shown
from bench.rows.place import board_of, name_of
from bench.values import entry

PLAIN = re.compile(NAME)  # a name becomes a file, a folder, a heading and a link
VALUE = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99})?")
TEXT = re.compile(r"[^<>|`\\\x00-\x1f\x7f]{0,200}")  # stands in tables and pages as it is
TIME = re.compile(r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d[+-]\d{4}")
KEY = re.compile(r"[0-9a-f]{16}")
NAMES = ("method", "model", "dataset", "concept", "kind", "protocol")
ROUNDED = 1e-5


def complaints(row: Row) -> Iterator[str]:
    """Yields what is wrong with a row, each as `field=value: what would be right`."""
    yield from _names(row)
    if row.seed < 0:
        yield f"seed={row.seed}: 0 or more would be right"
    yield from _status(row)
    yield from _values("measured", row.measured)
    for anchor, values in row.anchors.items():
        yield from _values(f"anchors.{place((anchor,))}", values)
    yield from _unmeasured(row)
    yield from _made(row)


def _names(row: Row) -> Iterator[str]:
    names = {field: str(getattr(row, field)) for field in NAMES} | {f"anchors.{place((a,))}": a for a in row.anchors}
    for field, name in names.items():
        if not PLAIN.fullmatch(name):
            yield f"{field}={shown(name)}: letters, digits, '.', '_' and '-', a letter or digit first, would be right"


def _unmeasured(row: Row) -> Iterator[str]:
    for name, why in row.unmeasured.items():
        if not VALUE.fullmatch(name):
            yield f"unmeasured.{place((name,))}: the name of a metric or metric/channel would be right"
        if name in row.measured:
            yield f"unmeasured.{place((name,))}: it is measured too; one of the two would be right"
        if not why.strip():
            yield f"unmeasured.{place((name,))}: a reason would be right, not nothing"


def _status(row: Row) -> Iterator[str]:
    if row.status == "ok":
        if not row.measured:
            yield "measured: a row that is ok has a value; without one another status would be right"
        if row.reason:
            yield f"reason={shown(row.reason)}: a row that is ok has none"
        return
    if row.measured:
        yield f"measured: a row that is {row.status} has no values, not {len(row.measured)}"
    if not row.reason.strip():
        yield f"reason: a row that is {row.status} says why"


def _values(where: str, values: Mapping[str, Value]) -> Iterator[str]:
    for name, value in values.items():
        at = f"{where}.{place((name,))}"
        if not VALUE.fullmatch(name):
            yield f"{at}: the name of a metric or metric/channel would be right"
            continue
        yield from (f"{at}.{said}" for said in _value(name, value))


def _value(name: str, value: Value) -> Iterator[str]:
    if not value.low <= value.value <= value.high:
        yield f"value={value.value}: between low={value.low} and high={value.high} would be right"
    low, high = ranges().get(name.partition("/")[0], (None, None))
    if (low is not None and value.value < low - ROUNDED) or (high is not None and value.value > high + ROUNDED):
        bounds = f"{'-∞' if low is None else low} and {'∞' if high is None else high}"
        yield f"value={value.value}: between {bounds}, the metric's range, would be right"
    if value.n < 1:
        yield f"n={value.n}: 1 picture or more would be right"
    if value.version < 1:
        yield f"version={value.version}: 1 or more would be right"
    for field in ("unit", "checkpoint", "title", "group"):
        text = getattr(value, field)
        if not TEXT.fullmatch(text):
            yield f"{field}={shown(text)}: one short line without < > | ` \\ would be right"
        if "reported" in text.lower():
            yield f"{field}={shown(text)}: what a paper reports stands in leaderboards/papers, not in a row"
    if not value.checkpoint.strip():
        yield "checkpoint: the judge's name, not nothing"


@functools.cache
def ranges() -> dict[str, tuple[float | None, float | None]]:
    """Returns `conf/ranges.yaml`: what a metric's value can be at all."""
    said = yaml.safe_load((paths.shipped("conf") / "ranges.yaml").read_text(encoding="utf-8"))
    return {name: (low, high) for name, (low, high) in said.items()}


def _made(row: Row) -> Iterator[str]:
    """Yields what is wrong with the costs and with what says how a row was made."""
    for name, cost in row.cost.items():
        if cost < 0:
            yield f"cost.{place((name,))}={cost}: 0 or more would be right"
    for name, key in row.fingerprints.items():
        if not KEY.fullmatch(key):
            yield f"fingerprints.{place((name,))}={shown(key)}: the 16 digits of a key would be right"
    ended = row.provenance.get("finished")
    if ended is not None and not (TIME.fullmatch(str(ended)) and row.finished):
        yield f"provenance.finished={shown(ended)}: when it ended, as 2026-11-22T10:00:00+0000, would be right"
    if row.status == "ok" and "score" not in row.fingerprints:
        yield "fingerprints.score: missing; the key its values were found under"
    try:
        words(row.provenance)
    except ValueError:
        said = shown(row.provenance.get("command"))
        yield f"provenance.command={said}: the one command `python -m bench …` that made the row would be right"


def words(provenance: Mapping[str, Any]) -> list[str]:
    """Returns the words of the command that made a row; it is read, never run.

    Raises:
        ValueError: there is none, it is another's, or a shell would make more of it than its words.
    """
    command = str(provenance.get("command"))
    found = shlex.split(command)
    if found[:3] != ["python", "-m", "bench"] or shlex.join(found) != command:
        raise ValueError("no command of the harness")
    return found


def misplaced(path: Path, row: Row) -> Iterator[str]:
    """Yields what is wrong with where a row of a board lies: its file's name, its board, and whose row it is."""
    if path.name != name_of(row):
        yield f"the file's name: {shown(name_of(row))} would be right, as its fields say"
    board, folder = board_of(row), path.absolute().parent
    if folder.name == "rows" and folder.parent.name != board:
        yield f"dataset, model, kind, protocol: they are of the board {shown(board)}, not {shown(folder.parent.name)}"
    said = words(row.provenance)
    yield from _otherwise(row, said)
    if why := meaningless(row):
        yield f"provenance.command: {why}; no board takes it"
    hand = set_apart(said)
    if hand:
        yield f"provenance.command: sets {shown(hand[0])} by hand; a row of a board is its method's and protocol's own"


def _otherwise(row: Row, command: list[str]) -> Iterator[str]:
    """Yields what a row's command asks for in other words than its fields."""
    said = dict(w.lstrip("+").split("=", 1) for w in command if "=" in w)
    method = row.method.removesuffix(entry("", row.gate))
    fields = {"method": method, "concept": row.concept, "seed": row.seed, "gate": row.gate}
    for name, value in fields.items():
        asked = said.get(name, {"gate": "auto", "seed": "0"}.get(name, str(value)))  # else what the harness takes
        if asked != str(value):
            yield f"provenance.command: asks for {name}={shown(asked)}, and the row is of {value}"
