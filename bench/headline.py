"""What a run came to in one sentence: on its page, in the terminal and in comparisons alike."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from bench import paths
from bench.meaning import meaningless
from bench.rows.place import task_of

if TYPE_CHECKING:
    from bench.row import Row, Value

GROUPS = ("erasure", "fidelity", "prompt following", "preservation")  # the order of tables


def number(value: float) -> str:
    """Returns three decimals, and never a negative zero."""
    return f"{value:z.3f}"


def anchor(row: Row, source: str, name: str) -> Value | None:
    """Returns what an anchor (`none` or `references`) has for a metric, if anything."""
    return row.anchors.get(source, {}).get(name)


def before(row: Row) -> str:
    """Returns the anchor that a run started from: the untouched model, or the one that had learned the concept."""
    return "learned" if "learned" in row.anchors else "none"


@cache
def _settings() -> dict[str, Any]:
    """Returns `conf/headline.yaml`."""
    said: dict[str, Any] = yaml.safe_load((paths.shipped("conf") / "headline.yaml").read_text(encoding="utf-8"))
    return said


def verdict(row: Row, class_phrase: str = "") -> str:
    """Returns what a run came to, in one plain sentence without its full stop.

    Args:
        row: of any status.
        class_phrase: the concept's class in words; `class` where it is not known.
    """
    if row.status != "ok":
        what = {"diverged": "Training diverged", "unmeasurable": "Nothing could be measured"}
        return f"{what.get(row.status, 'The run failed')}: {row.reason or 'no reason was kept'}"
    parts = clauses(row, class_phrase) or ["nothing was measured"]
    said = "; ".join([*filter(None, [meaningless(row)]), *parts])
    return said[0].upper() + said[1:]


def clauses(row: Row, class_phrase: str = "") -> list[str]:
    """Returns the clauses of a task's headline, as `conf/headline.yaml` words them."""
    out, found = [], False
    for clause in _settings()["clauses"].get(task_of(row), []):
        there = [n for n in clause["of"] if n in row.measured]
        if clause.get("without") in row.measured or not (there or "absent" in clause):
            continue
        found |= bool(there)
        out.append(_said(row, clause, there, class_phrase) + _but(row, clause) if there else clause["absent"])
    return out if found else [_moved(row, name) for name in _first(row)]


def _first(row: Row) -> list[str]:
    """Returns the first value of each group; for a task without words of its own."""
    groups = dict.fromkeys([*GROUPS, *(v.group for v in row.measured.values())])
    every = [next((n for n, v in row.measured.items() if v.group == group), "") for group in groups]
    return [name for name in every if name]


def _said(row: Row, clause: dict[str, Any], there: list[str], class_phrase: str) -> str:
    name = max(there, key=lambda n: _lost(row, n))
    if "says" not in clause:
        return _moved(row, name)
    value, base = row.measured[name], anchor(row, before(row), name)
    channel = name.partition("/")[2] or "concept"
    where = _settings()["where"].get(channel, channel).replace("{class}", class_phrase or "class")
    now, then, ideal = value.value, base.value if base else None, anchor(row, "surrogate", name)
    said: str = clause["says"].format(
        value=number(now), share=f"{100 * now:.0f} %", where=where,
        before="unknown" if then is None else number(then), had="unknown" if then is None else f"{100 * then:.0f} %",
        ideal=number(ideal.value) if ideal else "unknown",
    )  # fmt: skip
    return said


def _but(row: Row, clause: dict[str, Any]) -> str:
    """Returns what takes a clause back, after a comma: copied references have the best of likenesses."""
    but = clause.get("but")
    value = row.measured.get(but["of"]) if but else None
    if but is None or value is None or value.value < but["least"]:
        return ""
    return ", " + str(but["says"]).format(share=f"{100 * value.value:.0f} %")


def _lost(row: Row, name: str) -> float:
    """Returns how much worse a value is than before, or how bad where that is unknown."""
    value, base = row.measured[name], anchor(row, before(row), name)
    sign = -1 if value.better == "higher" else 1
    return sign * (value.value - (base.value if base else 0.0))


def _moved(row: Row, name: str) -> str:
    """Says how a metric stands to the base model's, and whether that is toward what the references have."""
    value, base = row.measured[name], anchor(row, before(row), name)
    title = value.title or name
    if base is None:
        return f"{title} is {number(value.value)}"
    then, after = base.value, value.value
    if not _clearly(row, name, value, then):
        return f"{title} did not move clearly ({number(then)} before, {number(after)} after)"
    text = f"{title} {'rose' if after > then else 'fell'} from {number(then)} to {number(after)}"
    real = anchor(row, "references", name)
    if real is None or value.group != "fidelity":  # the references are no goal for prompt following
        return text
    past, nearer = (real.value - then) * (real.value - after) < 0, abs(real.value - after) < abs(real.value - then)
    return f"{text}, {'past' if past else 'toward' if nearer else 'away from'} the references' {number(real.value)}"


def _clearly(row: Row, name: str, value: Value, then: float) -> bool:
    """Returns whether the interval leaves out `no change`; the paired difference is asked where there is one."""
    paired = row.measured.get(f"delta_{name}/concept")
    return not (paired.low <= 0 <= paired.high) if paired else not (value.low <= then <= value.high)
