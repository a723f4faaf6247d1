"""A tracker runs in a process of its own, so that nothing it does can stop, change or hold up a run.

The process is told, a line of JSON each: what a training's curves have come to (`about`, `curves`), that a run is
finished (`folder`), that a sweep is (`fronts`). It has no terminal, so it cannot ask anything; what goes wrong in it is
a line of warning. At the end of a command it is waited for, and killed when its time is over.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench import checkpoint
from bench.rows.place import task
from bench.trackers.tracked import about, one_line

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.trackers.tracker import Tracker

log = logging.getLogger("bench")


class Follower:
    """Our end of a tracker's process; none of its methods raises or waits, but for `close`."""

    def __init__(self, to: Tracker, plans: Sequence[Plan] = ()) -> None:
        self.to, self.count = to, 0
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._trainings: dict[str, tuple[Plan, str]] = {}
        for plan in plans:  # of several runs that share a training the first makes it
            for training, prefix in _shown(plan):
                self._trainings.setdefault(training.key, (plan, prefix))
        self._process = _process(to)
        if self._process and self._process.stdin:
            threading.Thread(target=_pass_on, args=(self._said, self._process.stdin), daemon=True).start()

    def curves(self, folder: Path, curves: dict[str, list[float]]) -> None:
        """Passes on what the curves of a training have come to, `<store>/train/<key>.checkpoints` being its folder."""
        plan, prefix = self._trainings.get(folder.name.partition(".")[0], (None, ""))
        if plan is not None:
            said = {f"{prefix}{name}": values for name, values in curves.items()}
            self._tell({"about": about(_fields(plan)).model_dump(), "curves": said})

    def finished(self, folder: Path) -> None:
        """Has a finished run logged from its folder."""
        self.count += 1
        self._tell({"folder": str(folder.absolute())})

    def fronts(self, folders: Sequence[Path], roots: Sequence[Path] = ()) -> None:
        """Has the fronts logged of the boards that runs make, with what else of these boards lies in roots."""
        self._tell({"fronts": [str(f.absolute()) for f in folders], "roots": [str(r.absolute()) for r in roots]})

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            if self._process:
                self._said.put(json.dumps(message).encode() + b"\n")
        except Exception as error:
            log.warning("tracker %s: %s; the run goes on", self.to.name, one_line(error))

    def close(self, wait: float | None) -> int:
        """Waits until all is logged, at most `wait` seconds. Returns how much was not logged."""
        if self._process is None:
            return self.count
        self._said.put(b"")
        try:
            return self._ended(wait)
        except subprocess.TimeoutExpired:
            log.warning("tracker %s: not done after %g s and stopped; `python -m bench track` logs finished runs again",
                        self.to.name, wait)  # fmt: skip
        finally:
            _kill(self._process)
        return self.count

    def _ended(self, wait: float | None) -> int:
        process = self._process
        assert process is not None  # noqa: S101
        if wait is None or wait > 3:
            with suppress(subprocess.TimeoutExpired):
                return self._verdict(process.wait(3))
            log.info("tracker %s: logging what is left", self.to.name)
        return self._verdict(process.wait(wait))

    def _verdict(self, code: int) -> int:
        if not FAILED <= code < FAILED + 100:
            log.warning("tracker %s: its process died (%d); the rows are not touched by that", self.to.name, code)
            return self.count
        return code - FAILED


FAILED = 10  # the exit code of a tracker's process is this and how much was not logged, up to 99


def _shown(plan: Plan) -> list[tuple[Any, str]]:
    """Returns the trainings whose curves a run's log holds, and what stands before their names there."""
    if plan.concept.kind == "roundtrip" or len(plan.trainings) == 1:
        return [(plan.trainings[-1], "")]
    return [(t, f"{i}/") for i, t in enumerate(plan.trainings)]


def _fields(plan: Plan) -> dict[str, Any]:
    c, keys = plan.config, plan.keys | {"concept_content": plan.concept.fingerprint()[:16]}
    named = {group: c[group]["name"] for group in ("model", "dataset", "protocol")}
    return named | {
        "task": task(plan.concept.kind, plan.concept.scored_as == "erase"),
        "method": plan.method, "concept": plan.concept.name, "kind": plan.concept.kind, "seed": c["seed"],
        "gate": str(c["gate"]), "tuned": plan.tuned, "hyperparameters": plan.hyperparameters, "fingerprints": keys,
    }  # fmt: skip


def _process(to: Tracker) -> subprocess.Popen[bytes] | None:
    """Starts a tracker's process in a session of its own; none for a tracker that logs nothing."""
    if to.name == "none":
        return None
    home = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join([p for p in (os.environ.get("PYTHONPATH"), home) if p])
    words = [sys.executable, "-m", "bench.trackers.follow", to.model_dump_json()]
    try:
        return subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True,  # noqa: S603
                                env=os.environ | {"PYTHONPATH": path})  # fmt: skip
    except OSError as error:
        log.warning("tracker %s: %s; the run goes on without it", to.name, one_line(error))
        return None


def _pass_on(said: queue.SimpleQueue[bytes], into: IO[bytes]) -> None:
    """Writes what is said until an empty line, or until nobody reads it any more."""
    with suppress(OSError, ValueError), into:
        while line := said.get():
            into.write(line)
            into.flush()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a tracker's process, and what it started with it, if it has not ended."""
    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def following(to: Tracker, plans: Sequence[Plan]) -> Iterator[Follower]:
    """Has a tracker follow the trainings of a block; what is still to be logged is waited for at its end."""
    follower = Follower(to, plans)
    checkpoint.LISTENERS.append(follower.curves)
    try:
        yield follower
    finally:
        checkpoint.LISTENERS.remove(follower.curves)
        follower.close(to.wait)


def serve(to: Tracker, lines: Iterator[str]) -> int:
    """Logs what is told, one line after the other. Returns how much was not logged."""
    failed: set[str] = set()
    for line in lines:
        said = json.loads(line)
        of = said["about"]["id"] if "about" in said else said.get("folder", "fronts")
        if of in failed:
            continue
        try:
            _do(to, said)
        except Exception as error:
            failed.add(of)
            log.warning("tracker %s: not logged: %s; rows are as they are", to.name, one_line(error))
            with suppress(Exception):
                to.leave()
    with suppress(Exception):
        to.leave()
    return len(failed)


def _do(to: Tracker, said: dict[str, Any]) -> None:
    from bench.trackers.log import log_fronts, log_run
    from bench.trackers.tracked import About

    if "folder" in said:
        log_run(to, Path(said["folder"]))
    elif "fronts" in said:
        log_fronts(to, [Path(f) for f in said["fronts"]], [Path(r) for r in said["roots"]])
    else:
        to.begin(About.model_validate(said["about"]))
        to.grown(said["curves"])


def main() -> int:
    """Serves the lines of stdin; packages that are logged with find no input and no output."""
    from bench.trackers.known import tracker

    lines, errors, nothing = os.fdopen(os.dup(0)), os.fdopen(os.dup(2), "w"), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=errors, force=True)
    code = serve(tracker(json.loads(sys.argv[1])), iter(lines))
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    return FAILED + min(code, 99)


if __name__ == "__main__":
    sys.exit(main())
