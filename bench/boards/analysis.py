"""All that a board's pages say, computed once from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.boards.cells import Cells, gather, once
from bench.boards.paired import Differences, against
from bench.boards.pareto import Front, front
from bench.boards.ranks import ranks
from bench.boards.resample import Array, intervals
from bench.row import Row
from bench.rows.checks import ranges
from bench.rows.place import settings, task_of


@dataclass(frozen=True)
class Board:
    """A board: its rows, and per column what `Cells.methods` have, (methods,) each.

    Attributes:
        rows: one a method, concept and seed, those that failed too.
        cells: the finished ones as arrays.
        columns: what is measured, in the order of `conf/leaderboard.yaml`.
        costs: cost → its heading.
        values: column → mean, low, high.
        anchors: anchor → column → mean, low, high, (1,) each.
        baseline: what the differences are to; none where its rows are not there.
        differences: column → differences to the baseline.
        ranks: column → rank, low, high.
        fronts: those whose columns are measured.
    """

    rows: list[Row]
    cells: Cells
    columns: list[str]
    costs: dict[str, str]
    values: dict[str, tuple[Array, Array, Array]]
    anchors: dict[str, dict[str, tuple[Array, Array, Array]]]
    baseline: str | None
    differences: dict[str, Differences]
    ranks: dict[str, tuple[Array, Array, Array]]
    fronts: list[Front]

    @property
    def kind(self) -> str:
        """The task."""
        return task_of(self.rows[0])


def _bounds(column: str) -> tuple[float | None, float | None]:
    """Returns what a column's values can be at all; a cost is no less than nothing."""
    return ranges().get(column.partition("/")[0], (0, None) if column in settings()["costs"] else (None, None))


def analyse(rows: Sequence[Row]) -> Board:
    """Returns what is to be said of a board's rows.

    Args:
        rows: of one board, at least one.
    """
    config, kind = settings(), task_of(rows[0])
    counted = once(rows)
    cells = gather(counted, config["columns"].get(kind, []), list(config["costs"]))
    columns = [c for c in cells.values if c not in config["costs"]]
    baseline = config["baseline"].get(kind)
    at = cells.methods.index(baseline) if baseline in cells.methods else None
    pairs = config["fronts"].get(kind, {}) if columns else {}
    return Board(
        rows=counted,
        cells=cells,
        columns=columns,
        costs=config["costs"],
        values={c: intervals(v, bounds=_bounds(c)) for c, v in cells.values.items()},
        anchors={a: {c: intervals(v[None], bounds=_bounds(c)) for c, v in own.items()}
                 for a, own in cells.anchors.items()},
        baseline=None if at is None else baseline,
        differences={} if at is None else {c: against(cells.values[c], at, cells.whole) for c in columns},
        ranks={c: ranks(cells.values[c], cells.better[c], _bounds(c)) for c in columns},
        fronts=[front(cells, name, pair, columns[0], config["worst"])
                for name, pair in pairs.items() if set(pair) <= set(cells.values)],
    )  # fmt: skip
