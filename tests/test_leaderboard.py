"""Boards: the rows that count, what a cell says, and that the committed tables are of their rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.leaderboard import board, collect, read, render, summary, update
from bench.row import Row, Value


def _value(value: float, better: Any = "higher") -> Value:
    return Value(
        value=value, low=value, high=value, n=30, better=better, checkpoint="judge", version=1, group="fidelity"
    )


def make(method: str = "purecc", concept: str = "cat", seed: int = 0, dino: float = 0.5, **fields: Any) -> Row:
    given = {
        "status": "ok", "method": method, "model": "m", "dataset": "d", "concept": concept, "kind": "subject",
        "protocol": "quick", "seed": seed, "hyperparameters": {}, "tuned": False, "measured": {"dino": _value(dino)},
        "anchors": {"none": {"dino": _value(0.1)}, "references": {"dino": _value(0.9)}}, "cost": {"seconds": 12.4},
        "provenance": {"finished": "2026-11-22T10:00:00+0000"},
    }  # fmt: skip
    return Row(**(given | fields))


def _write(root: Path, row: Row, name: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "row.json").write_text(row.model_dump_json())


def test_the_best_stands_first_and_anchors_above_all() -> None:
    page = render([make("worse", dino=0.3), make("better", dino=0.8), make("none", dino=0.1)])
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "*untouched model*", "*the references*", "`better`", "`worse`"
    ]  # fmt: skip
    assert "| dino ↑ |" in lines[0]
    assert lines[4].startswith("| `better` | 0.800 [0.80, 0.80] | 12 | 1/1 |")


def test_what_lacks_the_first_column_stands_last() -> None:
    page = render([make("unmeasured", measured={"clip_t": _value(0.9)}), make("poor", dino=0.01)])
    assert page.index("`poor`") < page.index("`unmeasured`")


def test_lower_is_better_where_it_is() -> None:
    rows = [make(m, kind="erase", measured={"detected": _value(v, "lower")}) for m, v in (("a", 0.9), ("b", 0.1))]
    assert render(rows).index("`b`") < render(rows).index("`a`")


def test_a_cell_is_the_mean_over_concepts_and_seeds() -> None:
    values = [("cat", _value(0.2)), ("cat", _value(0.4)), ("dog", _value(0.9)), ("dog", _value(0.7))]
    mean, low, high = summary(values)
    assert mean == pytest.approx(0.55)
    assert low < 0.4 < 0.7 < high


def test_what_failed_is_listed_and_in_no_mean() -> None:
    page = render([make(dino=0.6), make(seed=1, status="diverged", reason="the loss of step 3 is nan", measured={})])
    assert "0.600 [0.60, 0.60]" in page
    assert "| 1/2 |" in page
    assert "- `purecc` on cat, seed 1: diverged, the loss of step 3 is nan" in page


def test_nan_is_no_value() -> None:
    with pytest.raises(ValidationError):
        _value(float("nan"))


def test_the_later_of_two_runs_counts_and_other_protocols_do_not(tmp_path: Path) -> None:
    _write(tmp_path / "runs", make(dino=0.2), "one")
    _write(tmp_path / "runs", make(dino=0.7, provenance={"finished": "2026-11-22T11:00:00+0000"}), "two")
    _write(tmp_path / "runs", make(dino=0.9, protocol="tune"), "three")
    by_hand = {"command": "python -m bench +method=purecc 'method.eta=3'", "finished": "2026-11-22T12:00:00+0000"}
    _write(tmp_path / "runs", make(dino=0.95, provenance=by_hand), "five")
    (tmp_path / "runs" / "four").mkdir()
    (tmp_path / "runs" / "four" / "row.json").write_text("{}")
    rows = collect([tmp_path / "runs"])
    folders = update(tmp_path / "boards", rows)
    assert [f.name for f in folders] == ["d-m-subject"]
    (row,) = read(folders[0])
    assert row.measured["dino"].value == 0.7
    assert update(tmp_path / "boards", []) == folders  # rendering alone keeps what is there
    assert board(row) == "d-m-subject"


def test_committed_boards_are_of_their_rows(root: Path) -> None:
    boards = [p.parent for p in (root / "leaderboards").glob("*/rows")]
    for folder in boards:
        assert (folder / "README.md").read_text(encoding="utf-8") == render(read(folder)), folder


def test_rendering_imports_no_torch(root: Path) -> None:
    code = "import sys, bench.leaderboard; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
