"""The two sides of a comparison: finished rows, and the pictures' scores of a single run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.boards.cells import once
from bench.boards.leaderboard import collect
from bench.boards.leaderboard import read as board_rows
from bench.errors import BenchError
from bench.page.scores import AFTER, Scores
from bench.row import Row
from bench.sweeps.rereport import Kept, asked
from bench.sweeps.rerun import read

Picture = tuple[str, str, int]  # channel, base prompt and seed: what a picture's noise is drawn from


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
    below = [*path.glob("*/row.json"), *path.glob("*/*/row.json")]
    if not file.is_file() and len(below) == 1:  # a method's folder with one run in it
        (file,) = below
    if not file.is_file():
        rows = [r for r in collect([path]).values() if r.status == "ok"]
        if not rows:
            raise BenchError(f"{said}: no row.json that ended well under it; a folder of finished runs would be right")
        return Side(" and ".join(dict.fromkeys(r.method for r in rows)), rows)
    row = read(file)
    if row.status != "ok":
        raise BenchError(f"{file}: status {row.status}; a run that ended well would be right")
    store = Kept(file.resolve().parent.parent.parent)
    scored = store.path("score", row.fingerprints.get("score", "-")) / "scores.parquet"
    return Side(row.method, [row], store if scored.is_file() else None)


def told_apart(first: Side, second: Side) -> tuple[Side, Side]:
    """Returns both under names that differ: two runs of one method by their seeds, else by which was named first."""
    if first.name != second.name:
        return first, second
    seeds = [s.rows[0].seed for s in (first, second)]
    by = [f"seed {s}" for s in seeds] if first.run and second.run and seeds[0] != seeds[1] else ["first", "second"]
    one, other = (dataclasses.replace(s, name=f"{s.name} ({b})") for s, b in zip((first, second), by, strict=True))
    return one, other


def _of_board(method: str, board: Path) -> Side:
    rows = board_rows(board)
    if not rows:
        raise BenchError(f"--board {board}: no rows; a folder of leaderboards/ would be right")
    own = [r for r in once(rows) if r.method == method and r.status == "ok"]
    if not own:
        known = ", ".join(sorted({r.method for r in rows}))
        raise BenchError(f"{method}: no such method on {board}; one of {known} would be right")
    return Side(method, own)


def value_names(row: Row) -> dict[tuple[str, str], str]:
    """Returns (metric, channel) → the value's name in a row."""
    from bench.metric import Metric, load_metrics

    config = _composed(row, f"protocol={row.protocol}")
    metrics = [m for m in load_metrics(config["protocol"]["metrics"]) if isinstance(m, Metric)]
    return {(m.name, c): m.value_name(c) for m in metrics for c in m.channels}


def class_phrase(row: Row) -> str:
    """Returns the class of a row's concept in words, as its dataset says it; nothing where that is not at hand."""
    from bench.data.concept_file import load
    from bench.plan import dataset_folder

    try:
        about = _composed(row, f"dataset={row.dataset}")["dataset"]
        pictures = Path(about["pictures"]) if about["pictures"] else None
        return load(dataset_folder(about["path"], about["name"]), row.concept, pictures).class_phrase
    except BenchError:
        return ""


def _composed(row: Row, otherwise: str) -> dict[str, Any]:
    """Returns the configuration a row was made with; of one made with code of elsewhere, or scored only, which is not
    to be made again to be read, what one override says.
    """
    from bench.compose import compose
    from bench.sweeps.rerun import overrides

    try:
        return compose(overrides(row, trust=False))[0]
    except BenchError:
        return compose(["+method=none", otherwise])[0]


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
