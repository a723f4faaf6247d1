"""One run of a sweep, as any process can be handed it, and what it came to."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import STOPPING, BenchError

OK, LOST = "ok", "lost"


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        overrides: those of this run alone; a row keeps them as its command.
        folder: where the command was given, from which relative paths are meant.
        name: what it is called to people: what it has and not every run of its sweep.
    """

    overrides: tuple[str, ...]
    folder: str
    name: str


def jobs(lists: Sequence[Sequence[str]]) -> list[Job]:
    """Returns the jobs of lists of overrides, given in this folder."""
    shared = set.intersection(*map(set, lists)) if len(lists) > 1 else set()
    here = str(Path.cwd())
    return [Job(tuple(said), here, shlex.join(o for o in said if o not in shared)) for said in lists]


@dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
        status: that of the row; `lost` where there is none, because the process died or could not write it.
        there: whether the row was there before.
    """

    job: Job
    status: str
    reason: str = ""
    there: bool = False
    seconds: float = 0.0


def do(job: Job) -> Outcome:
    """Runs a job; whatever goes wrong is an outcome with its reason."""
    from bench.compose import compose
    from bench.plan import make
    from bench.run import run

    begun = time.monotonic()
    try:
        row, there = run(make(*compose(list(job.overrides))), go_on=True)
    except (Exception, SystemExit) as error:  # not the run, which is a row then, but what is around it: a full disk
        if STOPPING.is_set():
            raise
        return lost(job, f"{type(error).__name__}: {error}")
    return Outcome(job, row.status, row.reason, there, time.monotonic() - begun)


def apart(job: Job) -> Outcome:
    """Runs a job in a process of its own, which shows no bars."""
    from bench import progress

    progress.BARS = False
    if Path.cwd() != Path(job.folder):
        os.chdir(job.folder)
    return do(job)


def lost(job: Job, reason: str) -> Outcome:
    """Returns the outcome of a job that left no row."""
    return Outcome(job, LOST, reason)


def gone(job: Job, reason: str) -> Outcome:
    """Returns the outcome of a job whose process is gone: its row's, where that was written before; that of a run
    which failed may be an earlier one's.
    """
    from bench.compose import compose
    from bench.plan import make
    from bench.row import Row

    try:
        folder = make(*compose(list(job.overrides))).folder
        row = Row.model_validate_json((folder / "row.json").read_text(encoding="utf-8"))
    except (BenchError, OSError, ValueError):
        return lost(job, reason)
    return lost(job, reason) if row.status == "failed" else Outcome(job, row.status, row.reason)
