"""Many runs of one command: all are checked before the first starts, none stops another, one summary at the end."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from bench.compose import compose
from bench.concept import Concept
from bench.data import dataset
from bench.errors import BenchError, NotServed
from bench.forecast.show import span
from bench.plan import Plan, dataset_folder, make
from bench.progress import track
from bench.sweeps.job import LOST, OK, Job, Outcome, jobs
from bench.sweeps.launch import Launcher
from bench.sweeps.show import results
from bench.trackers.follow import Follower, following
from bench.trackers.tracker import Tracker
from bench.words import counted

log = logging.getLogger("bench")
ALL = "all"
KINDS: tuple[str, ...] = get_args(Concept.model_fields["kind"].annotation)


@dataclass(frozen=True)
class Request:
    """A composed run that has not been looked at yet; `asked` says whether it was named, or comes from `all`."""

    config: dict[str, Any]
    method: str
    asked: bool


def held_out(config: dict[str, Any], kind: str) -> list[str]:
    """Returns a dataset's concepts but for those that values are tuned on, and what holds one of these.

    Args:
        config: the composed configuration.
        kind: of which kind; any if empty.
    """
    tuned_on = {c for names in config["dataset"]["development"].values() for c in names}
    out = []
    folder = dataset_folder(config["dataset"]["path"], config["dataset"]["name"])
    for name in dataset.names(folder):
        try:
            said = dataset.said(folder, name)[0]
            parts = {name, *said.get("parts", [])}
            wanted = kind in ("", said["kind"]) and not parts & tuned_on
        except (BenchError, KeyError, TypeError):
            wanted = True  # planning says what is wrong with it
        out += [name] if wanted else []
    return out


def requests(overrides: list[str]) -> list[Request]:
    """Returns the runs of one list of overrides: several where its concept is `all` or `KIND:all`.

    Raises:
        BenchError: something in it is wrong, or there is no concept of the kind.
    """
    config, method = compose(overrides)
    kind, colon, every = config["concept"].rpartition(":")
    if every != ALL or (colon and not kind):
        return [Request(config, method, True)]
    if kind and kind not in KINDS:
        raise BenchError(f"concept={kind}:all: no kind {kind!r}; one of {', '.join(KINDS)} would be right")
    names = held_out(config, kind)
    if not names:
        raise BenchError(f"concept={config['concept']}: the dataset {config['dataset']['name']} holds none")
    rest = [o for o in config["_given"] if o.lstrip("+").split("=")[0] != "concept"]
    return [Request(config | {"concept": n, "_given": [*rest, f"concept={n}"]}, method, False) for n in names]


def plans(lists: Sequence[list[str]]) -> list[Plan]:
    """Plans every run and checks it; of `all`, what a method does not serve is left out with a line.

    Returns:
        The plans, none twice, those of one model together: it is loaded once.

    Raises:
        BenchError: a request cannot be met, or nothing is left.
    """
    from bench.run import preflight

    wanted = [r for overrides in lists for r in requests(overrides)]
    out: dict[Path, Plan] = {}
    left: dict[str, list[str]] = {}
    for request in track(wanted, "checking", len(wanted)) if len(wanted) > 20 else wanted:
        try:
            plan = make(request.config, request.method)
            preflight(plan)
        except NotServed as error:
            if request.asked:
                raise
            why = str(error).partition(", and concept ")[0]
            left.setdefault(why, []).append(request.config["concept"])
            continue
        out.setdefault(plan.folder, plan)
    for why, names in left.items():
        log.info("%s; left out: %s", why, ", ".join(dict.fromkeys(names)))
    if not out:
        raise BenchError("concept=all: no method that was named serves any concept; --help shows what there is")
    models = list(dict.fromkeys((p.model_folder, p.model_lora) for p in out.values()))
    return sorted(out.values(), key=lambda p: (not _there(p), models.index((p.model_folder, p.model_lora))))


def _there(plan: Plan) -> bool:
    """Whether a run is not made again: a failed one is."""
    try:
        return bool(json.loads((plan.folder / "row.json").read_text(encoding="utf-8"))["status"] != "failed")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def sweep(planned: Sequence[Plan], launcher: Launcher, to: Tracker) -> int:
    """Runs plans through a launcher, logged with a tracker, and writes a summary to stdout. Returns the exit code."""
    expected_s, known = _expected(planned)
    takes = f"; about {span(sum(expected_s))}; Ctrl-C stops, and the same command goes on" if known else ""
    log.info("%s, %d of them there already%s", counted(len(planned), "run"), sum(map(_there, planned)), takes)
    given = jobs([p.config["_given"] for p in planned])
    folders = {job: p.folder for job, p in zip(given, planned, strict=True)}
    with following(to, planned) as follower:
        expected = dict(zip(given, expected_s, strict=True))
        outcomes = list(_told(_followed(launcher.run(given), folders, follower), expected))
        follower.fronts(list(folders.values()))
        roots = sorted({p.config["root"] for p in planned})
        results(list(folders.values()))
        sys.stdout.write(summary(outcomes, roots))
    return 0 if all(o.status == OK for o in outcomes) else 1


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
    counts = {s: sum(o.status == s for o in outcomes) for s in (OK, "diverged", "failed", LOST)}
    said = [f"{n} {s}" for s, n in counts.items() if n or s != LOST]
    lines = [f"{counted(len(outcomes), 'run')}, {there} there before: {', '.join(said)}"]
    bad = sorted((o for o in outcomes if o.status != OK), key=lambda o: (o.status, o.job.name))
    lines += [f"  {o.status}: {o.job.name}: {o.reason or 'no reason was kept'}" for o in bad]
    if counts["failed"] + counts[LOST]:
        lines.append("  the same command tries those again that failed or were lost")
    lines += [f"rows: {Path(root) / '*' / '*' / 'row.json'}" for root in roots]
    lines += [f"board: python -m bench leaderboard {shlex.join(roots)} --out boards"]
    return "\n".join(lines) + "\n"
