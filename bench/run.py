"""One run: train → generate → score → record."""

from __future__ import annotations

import functools
import json
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import hub
from bench.backbone.files import fingerprint, resolve
from bench.errors import BenchError, Diverged
from bench.explain import Told
from bench.meaning import MEANINGLESS, RANDOM
from bench.metric import Metric, load_metrics
from bench.plan import Plan
from bench.provenance import provenance
from bench.row import Row, Status
from bench.shots import pictures
from bench.store import Store, write_text
from bench.training import instantiate, load_adapter, train

if TYPE_CHECKING:
    from bench import features
    from bench.backbone.base import Backbone
    from bench.backbone.place import Placement
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
    there = _finished(plan)
    if there is not None:
        return there, True
    store = Store(Path(plan.config["root"])) if go_on else Told(plan)  # a sweep has a line a run
    backbone = _Lazily(lambda: _load_backbone(plan))
    probes: list[Probe] = []
    try:
        train(plan, store, backbone)
        probes = pictures(plan, store, backbone)
        row = _record(plan, store, probes)
    except Diverged as error:
        row = _row(plan, "diverged", reason=str(error))
        write_text(plan.folder / "log.json", json.dumps(error.curves))
    except Exception as error:  # a run that fails is a row that says so; a sweep goes on
        if isinstance(error, BenchError) and not go_on:
            raise
        log.exception("the run failed")
        said = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        row = _row(plan, "failed", reason=said)
        _resident.cache_clear()  # it may have been left in the middle of something
    write_text(plan.folder / "row.json", row.model_dump_json(indent=1) + "\n")
    from bench.report import write_report

    write_report(plan, row, store, probes[1:])
    return row, False


def preflight(plan: Plan) -> None:
    """Checks what planning alone cannot, before anything is loaded or written; a finished run needs none.

    Raises:
        BenchError: the method, a metric, a judge or the grid does not fit.
    """
    if _finished(plan) is not None:
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
    if not any(m.serves(plan.concept.scored_as) for m in metrics):
        raise BenchError(f"protocol.metrics: none of them is for a concept of kind {plan.concept.kind}")
    if not plan.grid.cells:
        raise BenchError("protocol.seeds: no channel gets a picture; one at least would be right")
    root = plan.config["root"]
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"root={root}: {error.strerror}; a folder that can be written would be right") from None


def _finished(plan: Plan) -> Row | None:
    """Returns the row of this very run if it is there and readable; a failed run is tried again."""
    path = plan.folder / "row.json"
    if not path.is_file() or not (plan.folder / "report.html").is_file():
        return None
    try:
        row = Row.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError:
        log.warning("%s cannot be read; recording it again", path)
        return None
    return None if row.status == "failed" or row.fingerprints != _fingerprints(plan) else row


class _Lazily:
    """Makes a thing when it is first asked for."""

    def __init__(self, make: Callable[[], Backbone]) -> None:
        self._make = make
        self._made: Backbone | None = None

    def __call__(self) -> Backbone:
        if self._made is None:
            self._made = self._make()
        return self._made


def _load_backbone(plan: Plan) -> Backbone:
    model = plan.config["model"]
    folder, lora = plan.model_folder, plan.model_lora
    weights = fingerprint(folder) + (fingerprint(lora) if lora else "")
    from bench.backbone.place import Placement

    where, square = Placement.of(model), model["resolution"]
    return _resident(model["family"], folder, lora, model["max_sequence_length"], square, weights, where)


@functools.lru_cache(maxsize=1)  # the jobs of a sweep share one loaded model
def _resident(
    family: str,
    folder: Path,
    lora: Path | None,
    max_sequence_length: int,
    resolution: int,
    weights: str,
    where: Placement,
) -> Backbone:
    from bench import backbone

    log.info("loading %s", folder)
    return backbone.load(family, folder, max_sequence_length, lora, resolution).place(where)


@functools.lru_cache(maxsize=1)  # and the loaded judges; `fingerprints` are those of their files
def _judges(specs: str, fingerprints: str, device: str) -> dict[str, features.Judge]:
    from bench import features

    return {slot: features.build(spec, device) for slot, spec in json.loads(specs).items()}


def _record(plan: Plan, store: Store, probes: Sequence[Probe]) -> Row:
    import pandas as pd

    from bench import score
    from bench.backbone.place import chosen
    from bench.features import FeatureCache

    specs: dict[str, dict[str, str]] = hub.encoders(plan.config["dataset"]["encoders"])
    prints = [fingerprint(resolve(s["path"])) for s in specs.values() if s["path"]]
    encoders = _judges(json.dumps(specs), "".join(prints), chosen(plan.config["model"]["device"]))
    metrics = load_metrics(plan.config["protocol"]["metrics"])
    wanted = [m for m in metrics if any(m.serves(p.concept.scored_as) for p in probes)]

    def scored(folder: Path) -> None:
        cache = FeatureCache(store.root / "store" / "features.sqlite")
        real, captions = plan.concept.image_paths(), [r.base for r in plan.concept.references]
        own = [m for m in wanted if m.serves(plan.concept.scored_as)]
        tables = [score.score(probe, probes[0], encoders, wanted, cache) for probe in probes]
        table = pd.concat([*tables, score.score_references(real, captions, encoders, own, cache)])
        cache.close()
        table.to_parquet(folder / "scores.parquet", index=False)

    store.once("score", plan.keys["score"], {"method": plan.method}, scored)
    table = pd.read_parquet(store.path("score", plan.keys["score"]) / "scores.parquet")
    values, unmeasured = score.summarize(table, wanted, encoders)
    cost = load_adapter(store, plan.keys["train"]).cost | _costs(plan, store)
    anchors = {name: own for name, own in values.items() if name != "model"}
    if "model" not in values:
        reason = "; ".join(f"{name}: {why}" for name, why in unmeasured.items()) or "no metric is for these channels"
        return _row(plan, "unmeasurable", reason=reason, anchors=anchors, unmeasured=unmeasured, cost=cost)
    return _row(plan, "ok", measured=values["model"], anchors=anchors, unmeasured=unmeasured, cost=cost)


def _costs(plan: Plan, store: Store) -> dict[str, float]:
    """Returns what a run cost beside its training: drawing, the adapter's bytes, and the trials its values took."""
    kept = store.path("train", plan.keys["train"])
    found = {"adapter_bytes": float(sum(p.stat().st_size for p in kept.glob("*.safetensors")))}
    seconds = store.seconds("generate", plan.keys["generate"])
    found |= {} if seconds is None else {"generation_seconds": seconds}
    return found | {"tuning_trials": float(plan.trials)}


def _fingerprints(plan: Plan) -> dict[str, str]:
    return plan.keys | {"concept_content": plan.concept.fingerprint()[:16]}


def _row(plan: Plan, status: Status, **fields: Any) -> Row:
    c = plan.config
    made = {"command": f"python -m bench {shlex.join(c['_given'])}", "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    return Row(
        status=status,
        method=plan.method,
        model=c["model"]["name"],
        dataset=c["dataset"]["name"],
        concept=plan.concept.name,
        kind=plan.concept.kind,
        protocol=c["protocol"]["name"],
        seed=c["seed"],
        gate=str(c["gate"]),
        hyperparameters=plan.hyperparameters,
        tuned=plan.tuned,
        fingerprints=_fingerprints(plan),
        provenance=provenance(c["model"])
        | made
        | c.get("_made", {})
        | ({MEANINGLESS: RANDOM} if c["model"]["random"] else {}),
        **fields,
    )
