"""Two runs, or two methods, against each other: paired differences of every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.cells import once
from bench.errors import BenchError
from bench.leaderboard import collect
from bench.leaderboard import read as board_rows
from bench.page.scores import AFTER, Scores
from bench.rereport import Kept, asked
from bench.rerun import read
from bench.row import Row, Value
from bench.stats import interval

Picture = tuple[str, str, int]  # channel, base prompt and seed: what a picture's noise is drawn from
Paired = dict[str, list[tuple[str, float, float]]]  # value name → (cluster, first, second) of every pair


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: what it is called.
        rows: its finished rows.
        run: its folder's store, where it is one run whose pictures were scored there.
    """

    name: str
    rows: list[Row]
    run: Kept | None = None


@dataclass(frozen=True)
class Difference:
    """One value of both; `bounds` of the difference, the first minus the second, where there are pairs to resample."""

    name: str
    of: Value
    first: float
    second: float
    pairs: int
    clusters: int
    bounds: tuple[float, float] | None

    @property
    def value(self) -> float:
        """The first minus the second."""
        return self.first - self.second

    @property
    def settled(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.bounds is not None and not self.bounds[0] <= 0 <= self.bounds[1]

    @property
    def better(self) -> int:
        """Which is better by the metric's own direction: 1, 2, or 0 where that is not settled."""
        if not self.settled:
            return 0
        gain = abs(self.second) - abs(self.first) if self.of.better == "zero" else self.value
        return 1 if (gain > 0) == (self.of.better != "lower") else 2

    @property
    def strength(self) -> tuple[bool, float, float]:
        """How far the two differ, for sorting: in units of the interval's half width."""
        if self.bounds is None:
            return False, abs(self.value), 0.0
        half = (self.bounds[1] - self.bounds[0]) / 2
        return True, abs(self.value) / max(half, 1e-9), abs(self.value)


def side(said: str, board: Path | None) -> Side:
    """Reads one of the two.

    Args:
        said: a run's folder, a row.json, a folder of runs, or with a board the name of a method on it.
        board: folder of a board.

    Raises:
        BenchError: it is none of these, or holds no row that finished.
    """
    if board:
        return _of_board(said, board)
    path = Path(said)
    if not path.exists():
        raise BenchError(f"{said}: no such run; a run's folder or row.json, or --board FOLDER with methods, is right")
    file = path / "row.json" if path.is_dir() else path
    if not file.is_file():
        rows = [r for r in collect([path]) if r.status == "ok"]
        if not rows:
            raise BenchError(f"{said}: no row.json that ended well under it; a folder of finished runs would be right")
        return Side(" and ".join(dict.fromkeys(r.method for r in rows)), rows)
    row = read(file)
    if row.status != "ok":
        raise BenchError(f"{file}: status {row.status}; a run that ended well would be right")
    store = Kept(file.resolve().parent.parent.parent)
    scored = store.path("score", row.fingerprints.get("score", "-")) / "scores.parquet"
    return Side(row.method, [row], store if scored.is_file() else None)


def _of_board(method: str, board: Path) -> Side:
    rows = board_rows(board)
    if not rows:
        raise BenchError(f"--board {board}: no rows; a folder of leaderboards/ would be right")
    own = [r for r in once(rows, []) if r.method == method and r.status == "ok"]
    if not own:
        known = ", ".join(sorted({r.method for r in rows}))
        raise BenchError(f"{method}: no such method on {board}; one of {known} would be right")
    return Side(method, own)


def differences(first: Side, second: Side) -> tuple[list[Difference], str]:
    """Returns every value that both have, where they differ most first, and what was paired.

    Raises:
        BenchError: the two have nothing in common.
    """
    by_picture = bool(first.run and second.run) and first.rows[0].concept == second.rows[0].concept
    common = _rows(first, second)
    if not common:
        raise BenchError(f"{first.name} and {second.name} have no dataset, model, protocol, concept and seed in common")
    paired, unit = _by_row(common), "concept, then training seed"
    if by_picture:
        paired, unit = paired | _by_picture(first, second), "prompt, then seed"
    known = {name: v for own, _ in common for name, v in own.measured.items()}
    found = [_difference(name, known[name], pairs) for name, pairs in paired.items() if name in known]
    return sorted(found, key=lambda d: d.strength, reverse=True), unit


def _difference(name: str, of: Value, pairs: Sequence[tuple[str, float, float]]) -> Difference:
    clusters = np.array([cluster for cluster, _, _ in pairs])
    first, second = (np.array([p[i] for p in pairs]) for i in (1, 2))
    bounds = interval(first - second, clusters)[1:] if len(pairs) > 1 else None
    return Difference(name, of, float(first.mean()), float(second.mean()), len(pairs), len(set(clusters)), bounds)


def _rows(first: Side, second: Side) -> list[tuple[Row, Row]]:
    """Returns pairs of rows of one concept and seed; two single runs of one concept are a pair whatever their seeds."""
    if len(first.rows) == len(second.rows) == 1:
        a, b = first.rows[0], second.rows[0]
        return [(a, b)] if (a.dataset, a.concept) == (b.dataset, b.concept) else []

    def at(row: Row) -> tuple[str, str, str, str, int]:
        return row.dataset, row.model, row.protocol, row.concept, row.seed

    others = {at(r): r for r in second.rows}
    return [(r, others[at(r)]) for r in sorted(first.rows, key=at) if at(r) in others]


def _by_row(common: Sequence[tuple[Row, Row]]) -> Paired:
    out: Paired = {}
    for a, b in common:
        for name in a.measured:
            if name in b.measured:
                out.setdefault(name, []).append((a.concept, a.measured[name].value, b.measured[name].value))
    return out


def _by_picture(first: Side, second: Side) -> Paired:
    """Returns pairs of pictures of one prompt and seed; what is no mean over pictures is not among them."""
    names = value_names(first.rows[0])
    one, other = (pictures(s) for s in (first, second))
    out: Paired = {}
    for (metric, picture), value in one.items():
        channel, prompt, _ = picture
        if (metric, picture) in other and (metric, channel) in names:
            pair = (f"{channel}|{prompt}", value, other[metric, picture])
            out.setdefault(names[metric, channel], []).append(pair)
    return out


def value_names(row: Row) -> dict[tuple[str, str], str]:
    """Returns (metric, channel) → the value's name in a row."""
    from bench.compose import compose
    from bench.metric import Metric, load_metrics
    from bench.rerun import overrides

    config, _ = compose(overrides(row, trust=False))
    metrics = [m for m in load_metrics(config["protocol"]["metrics"]) if isinstance(m, Metric)]
    return {(m.name, c): m.value_name(c) for m in metrics for c in m.channels}


def pictures(of: Side) -> Mapping[tuple[str, Picture], float]:
    """Returns (metric, picture) → score of a run's own pictures; attacks ask each method something else."""
    row, store = of.rows[0], of.run
    if store is None:
        return {}
    grid = asked(store.path("base", row.fingerprints.get("base", "-")))
    scores = Scores.read(store.path("score", row.fingerprints["score"]) / "scores.parquet")
    prompts = {(c.prompt.channel, c.prompt.index): c.prompt.base for c in grid.cells} if grid else {}
    return {
        (metric, (channel, prompts[channel, prompt], seed)): value
        for (source, metric, channel, prompt, seed), value in scores.values.items()
        if source == AFTER and (channel, prompt) in prompts
    }
