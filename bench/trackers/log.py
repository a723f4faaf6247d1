"""What a tracker is given of finished runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.trackers.tracked import finished, fronts
from bench.trackers.tracker import Tracker


def log_run(to: Tracker, folder: Path) -> None:
    """Logs a finished run from what it left on disk.

    Args:
        to: where.
        folder: the run's own, with its `row.json`.
    """
    run = finished(folder, to.pictures, to.side)
    to.begin(run.about)
    to.grown(run.curves)
    to.values(run.numbers, run.facts, run.values)
    for table in run.tables():
        to.images(table)
    if run.adapter:
        to.adapter(f"adapter-{run.about.id}", run.adapter)
    to.end(run.facts["status"] == "ok")


def log_fronts(to: Tracker, folders: Iterable[Path], roots: Sequence[Path] = ()) -> None:
    """Logs the fronts of the boards that finished runs make, a run a board; `roots` as in `fronts`."""
    for board in fronts(folders, roots):
        to.begin(board.about)
        with tempfile.TemporaryDirectory() as drawn:
            for table, picture in board.drawn(Path(drawn)):
                to.front(table, picture)
        to.end(True)
