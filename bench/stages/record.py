"""The last stage: the pictures scored, and what came of them as a row."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.meaning import MEANINGLESS, RANDOM, caution
from bench.metric import load_metrics
from bench.plan import Plan
from bench.row import Row, Status
from bench.stages.provenance import provenance
from bench.stages.resident import judges_of
from bench.stages.training import load_adapter
from bench.store import Store

if TYPE_CHECKING:
    from bench.sides import Probe


def record(plan: Plan, store: Store, probes: Sequence[Probe]) -> Row:
    """Scores what is not scored yet. Returns the row; the first of the probes is the plan's own grid."""
    import pandas as pd

    from bench.judges.features import FeatureCache
    from bench.stages import score

    encoders = judges_of(plan)
    metrics = load_metrics(plan.config["protocol"]["metrics"])
    wanted = [m for m in metrics if any(m.serves(*p.concept.kinds) for p in probes)]

    def scored(folder: Path) -> None:
        cache = FeatureCache(store.root / "store" / "features.sqlite")
        real, captions = plan.concept.image_paths(), [r.base for r in plan.concept.references]
        own = [m for m in wanted if m.serves(*plan.concept.kinds)]
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
        return row_of(plan, "unmeasurable", reason=reason, anchors=anchors, unmeasured=unmeasured, cost=cost)
    return row_of(plan, "ok", measured=values["model"], anchors=anchors, unmeasured=unmeasured, cost=cost)


def row_of(plan: Plan, status: Status, **fields: Any) -> Row:
    """Returns a run's row: what was asked for, who made it and how, and the given fields."""
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
        fingerprints=fingerprints(plan),
        provenance=provenance(c["model"])
        | made
        | c.get("_made", {})
        | ({"caution": said} if (said := caution(c)) else {})
        | ({MEANINGLESS: RANDOM} if c["model"]["random"] else {}),
        **fields,
    )


def fingerprints(plan: Plan) -> dict[str, str]:
    """Returns the keys of a run's stages, and of its concept alone."""
    return plan.keys | {"concept_content": plan.concept.fingerprint()[:16]}


def _costs(plan: Plan, store: Store) -> dict[str, float]:
    """Returns what a run cost beside its training: drawing, the adapter's bytes, and the trials its values took."""
    kept = store.path("train", plan.keys["train"])
    found = {"adapter_bytes": float(sum(p.stat().st_size for p in kept.glob("*.safetensors")))}
    seconds = store.seconds("generate", plan.keys["generate"])
    found |= {} if seconds is None else {"generation_seconds": seconds}
    return found | {"tuning_trials": float(plan.trials)}
