"""Where a row stands: the board it belongs to and what its file is called there. No torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from bench import paths
from bench.row import Row

ROWS = "rows"  # a board's folder of them


@cache
def settings() -> dict[str, Any]:
    """Returns `conf/leaderboard.yaml`: which protocols have boards, and the columns and fronts of each task."""
    return yaml.safe_load((paths.shipped("conf") / "leaderboard.yaml").read_text(encoding="utf-8"))


def task(kind: str, erases: bool) -> str:
    """Returns what a table is of: a concept's kind, but for several at once, which are learned or erased."""
    return "multi_erase" if kind == "multi" and erases else kind


def task_of(row: Row) -> str:
    """Returns what a row's table is of."""
    return task(row.kind, any(name.partition("/")[0] == "leakage" for name in (*row.measured, *row.unmeasured)))


def board_of(row: Row) -> str:
    """Returns the board a row belongs to."""
    return board_name(row.dataset, row.model, task_of(row), row.protocol)


def board_name(dataset: str, model: str, task: str, protocol: str) -> str:
    """Returns what a board is called; what one protocol asks is not held against what another does."""
    plain = f"{dataset}-{model}-{task}"
    return plain if protocol == settings()["protocol"] else f"{plain}-{protocol}"


def stands(row: Row) -> bool:
    """Returns whether a board takes rows of its protocol."""
    return row.protocol not in settings()["left_out"]


def name_of(row: Row) -> str:
    """Returns what a row's file is called on its board."""
    return f"{row.method}-{row.concept}-seed{row.seed}-{row.protocol}.json"
