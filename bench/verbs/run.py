"""Without a verb it runs: one composition, or every one of a sweep."""

from __future__ import annotations

import logging

from bench import found
from bench.compose import as_text, expand, launch_options, tracker_options
from bench.errors import BenchError

log = logging.getLogger("bench")


def run_command(args: list[str]) -> int:
    """Runs one composition, or every one of a sweep. Returns the exit code."""
    from bench.meaning import caution
    from bench.run import run
    from bench.show import show
    from bench.sweeps.launch import launcher
    from bench.sweeps.requests import plans
    from bench.sweeps.sweep import sweep
    from bench.trackers.follow import following
    from bench.trackers.known import tracker

    options, rest = launch_options(as_text(found.carried(args)))
    tracking, rest = tracker_options(rest)
    chosen, to = launcher(options), tracker(tracking)
    planned = plans(expand(rest))  # all are checked before the first starts
    if len(planned) > 1 and not {"-m", "--multirun"} & set(rest):
        concept = next(o for o in rest if o.lstrip("+").startswith("concept="))
        raise BenchError(f"{concept}: that is {len(planned)} runs; -m before it makes a sweep of them, and "
                         "`python -m bench plan` says what they cost")  # fmt: skip
    for said in dict.fromkeys(filter(None, (caution(p.config) for p in planned))):
        log.warning("%s", said)
    if len(planned) > 1 or chosen.name != "basic":
        return sweep(planned, chosen, to)
    with following(to, planned) as follower:
        row, there = run(planned[0])
        follower.finished(planned[0].folder)
        show(row, planned[0], there)
    return 0 if row.status == "ok" else 1
