"""Rows → boards: one folder a dataset, model and task, with its rows and the table rendered from them. No torch."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench import paths
from bench.config import by_hand
from bench.row import Row, Value
from bench.stats import interval
from bench.store import write_text

log = logging.getLogger("bench")
ARROWS = {"higher": "↑", "lower": "↓", "zero": "→0"}
ANCHORS = {"none": "*untouched model*", "learned": "*before erasing*", "references": "*the references*"}
HEAD = """# {task} on {dataset}, {model}

Written by `python -m bench leaderboard`; the rows it is made of are in `rows/`. A value is the mean over concepts and
training seeds with its 95 % interval (concepts resampled, then seeds); one concept and seed is one run of protocol
{protocols}. Anchors in italics. {runs} runs of {concepts} concepts: {names}.

"""


def settings() -> dict[str, Any]:
    """Returns `conf/leaderboard.yaml`: which protocols count, and the columns of each task."""
    return yaml.safe_load((paths.shipped("conf") / "leaderboard.yaml").read_text(encoding="utf-8"))


def collect(folders: Iterable[Path]) -> list[Row]:
    """Reads every row under folders; of two of one method, concept and seed, the one finished later counts.

    A run whose hyperparameters were set by hand is not its method's: it is left out.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for path in sorted(p for folder in folders for p in folder.rglob("row.json")):
        try:
            row = Row.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError:
            log.warning("%s is not a row of this version; left out", path)
            continue
        if _by_hand(row):
            continue
        key = (board(row), row.protocol, row.method, row.concept, row.seed)
        if key not in found or _finished(row) >= _finished(found[key]):
            found[key] = row
    return list(found.values())


def _by_hand(row: Row) -> bool:
    return bool(by_hand(shlex.split(str(row.provenance.get("command", "")))))


def _finished(row: Row) -> str:
    return str(row.provenance.get("finished", ""))


def board(row: Row) -> str:
    """Returns the board a row belongs to."""
    return f"{row.dataset}-{row.model}-{row.kind}"


def update(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Adds rows to the boards under `out` and renders every board again. Returns the boards' folders."""
    allowed = settings()["protocols"]
    for row in rows:
        if row.protocol in allowed:
            name = f"{row.method}-{row.concept}-seed{row.seed}-{row.protocol}.json"
            write_text(out / board(row) / "rows" / name, row.model_dump_json(indent=1) + "\n")
    folders = sorted(p.parent for p in out.glob("*/rows"))
    for folder in folders:
        write_text(folder / "README.md", render(read(folder)))
    return folders


def read(folder: Path) -> list[Row]:
    """Returns the rows of a board."""
    return [Row.model_validate_json(p.read_text(encoding="utf-8")) for p in sorted((folder / "rows").glob("*.json"))]


def summary(values: Sequence[tuple[str, Value]]) -> tuple[float, float, float]:
    """Returns the mean of runs' values and its interval, concepts resampled; `values` are (concept, value)."""
    means = np.array([v.value for _, v in values])
    return interval(means, np.array([concept for concept, _ in values]))


def render(rows: Sequence[Row]) -> str:
    """Returns a board's page: the anchors, the methods by their first column, and what failed."""
    good, names = [r for r in rows if r.status == "ok"], sorted({r.concept for r in rows})
    kind, config = rows[0].kind, settings()
    columns = [c for c in config["columns"].get(kind, []) if any(c in r.measured for r in good)]
    better = {c: next(r.measured[c].better for r in good if c in r.measured) for c in columns}
    lines = [
        [f"`{method}`", *_cells([r for r in good if r.method == method], columns), *_costs(rows, method, config)]
        for method in _ordered(good, columns, better)
    ]
    anchors = [[label, *_anchor_cells(good, source, columns), "", ""] for source, label in ANCHORS.items()]
    head = ["method", *(f"{c} {ARROWS[better[c]]}" for c in columns), *config["costs"].values(), "runs"]
    table = [head, ["---"] * len(head), *(a for a in anchors if any(a[1:])), *lines]
    page = HEAD.format(task=kind, dataset=rows[0].dataset, model=rows[0].model, runs=len(rows), concepts=len(names),
                       names=", ".join(names), protocols=", ".join(sorted({r.protocol for r in rows})))  # fmt: skip
    failed = [f"- `{r.method}` on {r.concept}, seed {r.seed}: {r.status}, {r.reason}" for r in rows if r.status != "ok"]
    text = "\n".join("| " + " | ".join(line) + " |" for line in table)
    return page + text + "\n" + ("\nNot measured:\n\n" + "\n".join(failed) + "\n" if failed else "")


def _ordered(rows: Sequence[Row], columns: Sequence[str], better: Mapping[str, str]) -> list[str]:
    """Returns the methods, the best in the first column first."""
    methods = sorted({r.method for r in rows} - {"none", "references"})
    if not columns:
        return methods
    first, sign = columns[0], -1 if better[columns[0]] == "higher" else 1
    found = {m: [r.measured[first].value for r in rows if r.method == m and first in r.measured] for m in methods}
    return sorted(methods, key=lambda m: sign * float(np.mean(found[m])) if found[m] else np.inf)  # unmeasured: last


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    return [_cell([(r.concept, r.measured[c]) for r in rows if c in r.measured]) for c in columns]


def _anchor_cells(rows: Sequence[Row], source: str, columns: Sequence[str]) -> list[str]:
    """Returns an anchor's cells: one value a concept, the same for every method and seed."""
    out = []
    for column in columns:
        found = [(r.concept, v) for r in rows if (v := r.anchors.get(source, {}).get(column))]
        out.append(_cell(list(dict(reversed(found)).items())))  # the first of each concept
    return out


def _cell(values: Sequence[tuple[str, Value]]) -> str:
    if not values:
        return ""
    mean, low, high = summary(values)
    return f"{mean:z.3f} [{low:z.2f}, {high:z.2f}]"


def _costs(rows: Sequence[Row], method: str, config: dict[str, Any]) -> list[str]:
    own = [r for r in rows if r.method == method]
    costs = [f"{np.mean([r.cost.get(c, 0.0) for r in own if r.status == 'ok'] or [0.0]):.0f}" for c in config["costs"]]
    return [*costs, f"{sum(r.status == 'ok' for r in own)}/{len(own)}"]
