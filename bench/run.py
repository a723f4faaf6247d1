"""One run: train → generate → score → record."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import set_apart
from bench.errors import STOPPING, BenchError, Diverged, own_line
from bench.forecast.explain import Told
from bench.meaning import command_words
from bench.metric import Metric, load_metrics
from bench.plan import Plan
from bench.row import Row
from bench.stages import resident
from bench.stages.record import fingerprints, record, row_of
from bench.stages.shots import pictures
from bench.stages.training import instantiate, train
from bench.store import Store, write_text

if TYPE_CHECKING:
    from bench.sides import Probe

log = logging.getLogger("bench")


def run(plan: Plan, go_on: bool = False) -> tuple[Row, bool]:
    """Runs what is missing of a plan that passed `preflight`.

    Args:
        plan: the run.
        go_on: whether a request that cannot be met is a failed row as well, as in a sweep.

    Returns:
        The row, and whether it was there already.

    Raises:
        BenchError: the request cannot be met.
    """
    there = finished(plan)
    if there is not None:
        return there, True
    if go_on:  # a sweep has a line a run
        about = plan.config
        log.info("%s on %s, %s, seed %d", plan.method, plan.concept.name, about["model"]["name"], about["seed"])
    store = Store(Path(plan.config["root"])) if go_on else Told(plan)
    backbone = functools.cache(lambda: resident.backbone_of(plan))
    probes: list[Probe] = []
    try:
        train(plan, store, backbone)
        with _no_longer_training():
            probes = pictures(plan, store, backbone)
            row = record(plan, store, probes)
    except Diverged as error:
        row = row_of(plan, "diverged", reason=str(error), unmeasured=_lost(plan))
        write_text(plan.folder / "log.json", json.dumps(error.curves))
    except (Exception, SystemExit) as error:  # a run that fails, or calls exit(), is a row that says so
        if STOPPING.is_set() or (isinstance(error, BenchError) and not go_on):
            raise
        log.exception("the run failed")
        said = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}{_where(error, plan)}"
        row = row_of(plan, "failed", reason=said, unmeasured=_lost(plan))
        resident.forget()
    write_text(plan.folder / "row.json", row.model_dump_json(indent=1) + "\n")
    from bench.page.report import write_report

    write_report(plan, row, store, probes[1:])
    return row, False


@contextmanager
def _no_longer_training() -> Iterator[None]:
    """Says that what left the numbers in a block was not the method's training, so that the run is tried again."""
    try:
        yield
    except Diverged as error:
        raise ArithmeticError(f"what an attack or a metric was looking for left the numbers: {error}") from error


def _lost(plan: Plan) -> dict[str, str]:
    """Returns what tells the row of an erasing run that has no values from one of learning (`bench.rows.place`)."""
    return {"leakage": "the run has no pictures"} if plan.concept.scored_as == "erase" else {}


def _where(error: BaseException, plan: Plan) -> str:
    """Returns where in somebody's own code an error arose, and what would tell more of it."""
    line = own_line(error)
    if not line or not plan.trainings:
        return ""
    return f" (in {line}); python -m bench check {plan.method} looks for what is wrong with a method"


def preflight(plan: Plan) -> None:
    """Checks what planning alone cannot, before anything is loaded or written; a finished run needs none.

    Raises:
        BenchError: the method, a metric, a judge or the grid does not fit.
    """
    if finished(plan) is not None:
        return
    for training in plan.trainings:
        instantiate(plan, training)
    encoders = plan.config["dataset"]["encoders"]
    metrics = load_metrics(plan.config["protocol"]["metrics"])
    measured = {m.name for m in metrics}
    for m in metrics:
        absent = [] if isinstance(m, Metric) else [name for name in m.of if name not in measured]
        if absent:
            raise BenchError(f"protocol.metrics: {m.name} is made of {absent[0]}, which is not measured; name it too")
        if isinstance(m, Metric) and m.needs not in encoders:
            known = ", ".join(encoders)
            raise BenchError(f"dataset.encoders: metric {m.name} needs one named {m.needs}; there are {known}")
    if not any(m.serves(*plan.concept.kinds) for m in metrics):
        raise BenchError(f"protocol.metrics: none of them is for a concept of kind {plan.concept.kind}")
    if not plan.grid.cells:
        raise BenchError("protocol.seeds: no channel gets a picture; one at least would be right")
    root = plan.config["root"]
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise BenchError(f"root={root}: {error.strerror}; a folder that can be written would be right") from None


def finished(plan: Plan) -> Row | None:
    """Returns the row of this very run if it is there and readable; a failed run is tried again."""
    path = plan.folder / "row.json"
    if not path.is_file() or not (plan.folder / "report.html").is_file():
        return None
    try:
        row = Row.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError:
        log.warning("%s cannot be read; recording it again", path)
        return None
    if row.status == "failed" or row.fingerprints != fingerprints(plan):
        return None
    return None if _only_by_hand(row, plan) else row


def _only_by_hand(row: Row, plan: Plan) -> bool:
    """Whether a row's command set by hand what this one leaves as it is, to the same: no board would take the row."""
    try:
        said = command_words(row)
    except ValueError:
        return True
    return bool(set_apart(said)) and not set_apart(plan.config["_given"])
