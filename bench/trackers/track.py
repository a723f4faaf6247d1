"""`python -m bench track`: finished runs logged again, or what was kept here sent."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from bench.compose import tracker_options
from bench.errors import BenchError
from bench.trackers.follow import Follower
from bench.trackers.known import tracker
from bench.words import counted

log = logging.getLogger("bench")


def track(words: list[str], sync: bool) -> int:
    """Logs finished runs, or sends what was logged; `words` are folders and `tracker.KEY=VALUE`. Returns the exit code.

    Raises:
        BenchError: there is no such tracker, folder or run.
    """
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
    roots = {root for f in folders if (root := f.absolute().parent.parent).joinpath("store").is_dir()}
    follower.fronts(folders, sorted(roots))
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
