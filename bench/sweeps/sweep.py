"""Many runs of one command: all are checked before the first starts, none stops another, one summary at the end."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.forecast.show import span
from bench.plan import Plan
from bench.row import Row
from bench.run import finished
from bench.sweeps.job import LOST, OK, Job, Outcome, jobs
from bench.sweeps.launch import Launcher
from bench.sweeps.show import results
from bench.trackers.follow import Follower, following
from bench.trackers.tracker import Tracker
from bench.words import counted

log = logging.getLogger("bench")


def sweep(planned: Sequence[Plan], launcher: Launcher, to: Tracker) -> int:
    """Runs plans through a launcher, logged with a tracker, and writes a summary to stdout. Returns the exit code."""
    expected_s, known = _expected(planned)
    paced = span(sum(expected_s)) + ("" if launcher.name == "basic" else " one after the other")
    takes = f"; about {paced}; Ctrl-C stops, and the same command goes on" if known else ""
    given = jobs([p.config["_given"] for p in planned])
    folders = {job: p.folder for job, p in zip(given, planned, strict=True)}
    rows = {job: row for job, p in zip(given, planned, strict=True) if (row := finished(p))}
    log.info("%s, %d of them there already%s", counted(len(planned), "run"), len(rows), takes)
    with following(to, planned) as follower:
        expected = dict(zip(given, expected_s, strict=True))
        outcomes = list(_told(_followed(_ended(given, rows, launcher), folders, follower), expected))
        roots = sorted({p.config["root"] for p in planned})
        follower.fronts(list(folders.values()), [Path(root) for root in roots])
        results(list(folders.values()))
        sys.stdout.write(summary(outcomes, roots))
    return 0 if all(o.status == OK for o in outcomes) else 1


def _ended(given: Sequence[Job], rows: Mapping[Job, Row], launcher: Launcher) -> Iterator[Outcome]:
    """Yields what jobs came to; of those whose rows were there before, no launcher is asked."""
    yield from (Outcome(job, row.status, row.reason, there=True) for job, row in rows.items())
    left = [job for job in given if job not in rows]
    if left:
        yield from (replace(o, there=False) for o in launcher.run(left))  # a job queued again finds its own rows


def _followed(outcomes: Iterator[Outcome], folders: dict[Job, Path], follower: Follower) -> Iterator[Outcome]:
    """Passes outcomes on, the runs that were made here logged; what was there before was logged then, or by `track`."""
    for outcome in outcomes:
        if not outcome.there and outcome.status != LOST:
            follower.finished(folders[outcome.job])
        yield outcome


def _expected(planned: Sequence[Plan]) -> tuple[list[float], bool]:
    """Returns about how long each run will take, what is there no time, and whether these are seconds.

    Where nothing is known of any stage that is left, they are numbers of stages.
    """
    from bench.forecast.past import Past
    from bench.forecast.steps import guess, steps

    pasts = {p.config["root"]: Past(Path(p.config["root"])) for p in planned}
    known: dict[tuple[object, ...], float | None] = {}
    seen: set[str] = set()

    def seconds(plan: Plan) -> list[float | None]:
        out: list[float | None] = []
        past = pasts[plan.config["root"]]
        for step in steps(plan):
            if step.key in seen or past.there(step.stage, step.key):
                continue
            seen.add(step.key)
            like = (step.stage, step.method, step.model, step.pictures, step.passes)
            if like not in known:
                known[like] = guess(step, plan, past).seconds
            out.append(known[like])
        return out

    each = [seconds(p) for p in planned]
    told = [s for some in each for s in some if s is not None]
    usual = sum(told) / len(told) if told else 1.0  # of a stage nothing is known of
    return [sum(usual if s is None else s for s in some) for some in each], bool(told)


def _told(outcomes: Iterator[Outcome], expected: dict[Job, float]) -> Iterator[Outcome]:
    """Passes outcomes on, each with a line that says how long the rest will take: as they were expected, at the pace
    there is.
    """
    begun, done, ahead = time.monotonic(), 0.0, sum(expected.values())
    for count, outcome in enumerate(outcomes, start=1):
        own = expected[outcome.job]
        done, ahead = done + own, ahead - own
        left = ahead * (time.monotonic() - begun) / done if done else ahead
        what = "there already" if outcome.there else f"{outcome.status} in {outcome.seconds:.0f} s"
        said = f"; about {span(left)} left" if count < len(expected) and left >= 1 else ""
        log.info("%d of %d: %s: %s%s", count, len(expected), outcome.job.name, what, said)
        yield outcome


def summary(outcomes: Sequence[Outcome], roots: Sequence[str]) -> str:
    """Returns what a sweep came to: counts, what did not end well and why, where the rows are, what comes next."""
    there = sum(o.there for o in outcomes)
    counts = {s: sum(o.status == s for o in outcomes) for s in (OK, "diverged", "failed", "unmeasurable", LOST)}
    said = [f"{n} {s}" for s, n in counts.items() if n or s in (OK, "diverged", "failed")]
    lines = [f"{counted(len(outcomes), 'run')}, {there} there before: {', '.join(said)}"]
    bad = sorted((o for o in outcomes if o.status != OK), key=lambda o: (o.status, o.job.name))
    lines += [f"  {o.status}: {o.job.name}: {(o.reason.splitlines() or ['no reason was kept'])[0]}" for o in bad]
    if counts["failed"] + counts[LOST]:
        lines.append("  the same command tries those again that failed or were lost")
    lines += [f"rows: {Path(root) / '*' / '*' / 'row.json'}" for root in roots]
    lines += [f"board: python -m bench leaderboard {shlex.join(roots)} --out boards"]
    return "\n".join(lines) + "\n"
