"""Logging runs elsewhere, beside their rows: the interface of a tracker, and what it is given of a finished run."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt, PrivateAttr

from bench.errors import BenchError
from bench.optional import Choice, chosen
from bench.tracked import About, finished, fronts
from bench.tracked_pictures import Table
from bench.words import counted

log = logging.getLogger("bench")


class Tracker(Choice):
    """`conf/tracker`: where runs are logged. This one logs nothing.

    The verbs come in the order of the methods; `curves` any number of times. None is called by the process that
    trains (`bench.follow`), so each may raise, block or die.
    """

    folder: str = "runs/trackers"
    group: str | None = None
    pictures: PositiveInt = 4
    side: PositiveInt = 512
    wait: NonNegativeFloat = 120
    _current: str = PrivateAttr("")
    _logged: dict[str, int] = PrivateAttr(default_factory=dict)

    def begin(self, about: About) -> None:
        """Starts a run unless it is the current one, which goes on."""
        if self._current == about.id:
            return
        self.leave()
        self._logged = {}
        self.start(about if self.group is None else about.model_copy(update={"group": self.group}))
        self._current = about.id

    def grown(self, curves: dict[str, list[float]]) -> None:
        """Logs what is new of curves, `stage/name` → one value a step."""
        new = {name: values[self._logged.get(name, 0) :] for name, values in curves.items()}
        first = {name: self._logged.get(name, 0) for name in new}
        self.curves({name: values for name, values in new.items() if values}, first)
        self._logged |= {name: len(values) for name, values in curves.items()}

    def leave(self) -> None:
        """Ends the current run, if there is one, as not finished."""
        if self._current:
            self.end(False)

    def end(self, whole: bool) -> None:
        """Ends the current run; `whole` where it came to a finished row."""
        self._current = ""
        self.finish(whole)

    def start(self, about: About) -> None:
        """Opens a run; one that was logged before under this id is replaced."""

    def curves(self, values: dict[str, list[float]], first: dict[str, int]) -> None:
        """Logs values of consecutive steps by `stage/name`, beginning with that of step `first`."""

    def values(self, numbers: dict[str, float], facts: dict[str, Any], table: Table) -> None:
        """Logs final values with the bounds of their intervals: as numbers, as a table, and what is no number."""

    def images(self, table: Table) -> None:
        """Logs a table of pictures: a line a prompt and seed."""

    def front(self, table: Table, picture: Path) -> None:
        """Logs a front of a board: its points, and the figure."""

    def adapter(self, name: str, files: list[Path]) -> None:
        """Logs what training left behind."""

    def finish(self, whole: bool) -> None:
        """Closes the run."""

    def sync(self) -> str:
        """Sends what was kept here. Returns what came of it in a line.

        Raises:
            BenchError: there is nothing to send, or it was refused.
        """
        raise BenchError(f"tracker={self.name} keeps nothing back; there is nothing to send")


def tracker(said: dict[str, Any]) -> Tracker:
    """Builds a tracker from its configuration.

    Raises:
        BenchError: a field is wrong, or its package is not installed.
    """
    from bench.trackers import TRACKERS

    return chosen("tracker", said, TRACKERS)


def track(words: list[str], sync: bool) -> int:
    """Logs finished runs, or sends what was logged; `words` are folders and `tracker.KEY=VALUE`. Returns the exit code.

    Raises:
        BenchError: there is no such tracker, folder or run.
    """
    from bench.compose import tracker_options
    from bench.follow import Follower

    said, places = tracker_options(words if any(w.startswith("tracker=") for w in words) else ["tracker=wandb", *words])
    to = tracker(said)
    if to.name == "none":
        raise BenchError("tracker=none logs nothing; another of conf/tracker would be right")
    if sync:
        sys.stdout.write(f"{to.sync()}\n")
        return 0
    folders = runs(places)
    log.info("tracker %s: logging %s into %s", to.name, counted(len(folders), "run"), to.folder)
    follower = Follower(to)
    for folder in folders:
        follower.finished(folder)
    follower.fronts(folders)
    missed = follower.close(None)
    runs_ = counted(len(folders), "run")
    sys.stdout.write(f"{runs_} to {to.name} in {to.folder}; {missed or 'none'} not logged\n")
    return 1 if missed else 0


def runs(places: list[str]) -> list[Path]:
    """Returns the folders of finished runs at or under places.

    Raises:
        BenchError: a place does not exist, or holds none.
    """
    found = []
    for place in map(Path, places):
        own = sorted(p.parent for p in place.rglob("row.json")) if place.is_dir() else []
        if not own:
            raise BenchError(f"{place}: no finished run; a run's folder or one with runs in it would be right")
        found += own
    if not found:
        raise BenchError("track: the folder of a run, or one with runs in it, would be right")
    return list(dict.fromkeys(found))


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


def log_fronts(to: Tracker, folders: Iterable[Path]) -> None:
    """Logs the fronts of the boards that finished runs make, a run a board."""
    for board in fronts(folders):
        to.begin(board.about)
        with tempfile.TemporaryDirectory() as drawn:
            for table, picture in board.drawn(Path(drawn)):
                to.front(table, picture)
        to.end(True)
