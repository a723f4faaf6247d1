"""The first stage of a run: the trainings its concept takes, and what they leave put together."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import first_error
from bench.errors import BenchError, Diverged, NotServed
from bench.names import resolve_name
from bench.pipelines import other_family
from bench.plan import Plan, Training
from bench.stages.imagined import Imagined
from bench.store import write_text

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.backbone.base import Backbone
    from bench.store import Store


def train(plan: Plan, store: Store, backbone: Callable[[], Backbone]) -> None:
    """Does the trainings that are missing, and merges them where the concept is made of several."""
    for training in plan.trainings:
        _train(plan, training, store, backbone)

    def merged(folder: Path) -> None:
        from bench.adapter import merge

        parts = [load_adapter(store, t.key) for t in plan.trainings]
        merge(parts, plan.concept.weights or [1.0] * len(parts)).save(folder)

    store.once("train", plan.keys["train"], {"merged": [t.concept.name for t in plan.trainings]}, merged)


def _train(plan: Plan, training: Training, store: Store, backbone: Callable[[], Backbone]) -> None:
    diverged = store.path("train", f"{training.key}.diverged.json")
    checkpoints = store.path("train", f"{training.key}.checkpoints")

    def trained(folder: Path) -> None:
        _raise_again(diverged)
        try:
            _made(plan, training, store, backbone, checkpoints).save(folder)
        except Diverged as error:  # kept while no other process trains it
            write_text(diverged, json.dumps({"reason": str(error), "curves": error.curves}))
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise

    about = {"method": training.target, "concept": training.concept.name}
    store.once("train", training.key, about, trained)
    shutil.rmtree(checkpoints, ignore_errors=True)  # the run is done


def _made(
    plan: Plan, training: Training, store: Store, backbone: Callable[[], Backbone], checkpoints: Path
) -> Adapter:  # fmt: skip
    """Trains, and returns what that leaves."""
    from bench.adapter import PEAK, Adapter
    from bench.checkpoint import Checkpoint
    from bench.memory import named_shortage, peak_memory
    from bench.workbench import Workbench

    method, concept = instantiate(plan, training), training.concept
    with beneath(training, store, backbone), named_shortage(f"training {training.method}", "method.batch_size"):
        seed, model = plan.config["seed"], plan.config["model"]
        imagined = Imagined(plan, training, store, backbone().device.type)
        bench = Workbench(backbone(), concept, seed, model, Checkpoint(checkpoints), imagined)
        try:
            with peak_memory(backbone().device.type) as peak:
                begun = time.monotonic()
                adapter = method.train(bench, concept)
                if not isinstance(adapter, Adapter):
                    raise BenchError(f"method {training.method}: train returns {type(adapter).__name__}; "
                                     "workbench.adapter(…) or an Adapter would be right")  # fmt: skip
                if adapter.cost.get("steps") == 0:  # worked out: only drawing had a clock
                    spent = time.monotonic() - begun - imagined.waited
                    adapter.cost["seconds"] = adapter.cost.get("seconds", 0.0) + spent
                adapter.cost[PEAK] = max(peak(), imagined.peak)
        finally:
            backbone().clear()
    return adapter


def _raise_again(diverged: Path) -> None:
    """Raises what a training that diverged before came to: made again, it would come to the same."""
    try:
        before = json.loads(diverged.read_text(encoding="utf-8"))
        error = Diverged(before["reason"], before["curves"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    raise error


def beneath(training: Training, store: Store, backbone: Callable[[], Backbone]) -> AbstractContextManager[None]:
    """Makes what a training stands on part of the model for a block; of most trainings that is nothing."""
    if not training.beneath:
        return nullcontext()
    from bench.backbone.standing import standing

    return standing(backbone(), load_adapter(store, training.beneath))


def load_adapter(store: Store, key: str) -> Adapter:
    """Loads what a training left behind."""
    from bench.adapter import Adapter

    return Adapter.load(store.path("train", key))


def instantiate(plan: Plan, training: Training) -> Any:
    """Builds a method from its fields and checks that it serves this task and model.

    Raises:
        BenchError: a field is wrong, or the method is not made for the concept's kind or the model's family.
    """
    from pydantic import TypeAdapter, ValidationError

    name, fields = training.method, training.fields
    cls = resolve_name(training.target, "method._target_")
    if not dataclasses.is_dataclass(cls) or not all(hasattr(cls, a) for a in ("train", "tasks", "families")):
        raise BenchError(
            f"method._target_={training.target}: a dataclass with train, tasks and families would be right"
        )
    known = [f.name for f in dataclasses.fields(cls)]
    unknown = [k for k in fields if k not in known]
    if unknown:
        raise BenchError(f"method {name} has no field {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    try:
        method = TypeAdapter(cls).validate_python(fields)
    except ValidationError as error:
        raise BenchError(f"method {name}: {first_error(error)}") from None
    model = plan.config["model"]
    if model["family"] not in method.families:
        why = getattr(cls, "not_for", {}).get(model["family"], "")
        raise other_family(name, method.families, model, why)
    composite = plan.concept.kind in ("multi", "subject_style")
    for concept in [training.concept, *([plan.concept] if composite else [])]:
        if concept.kind not in method.tasks:
            served = ", ".join(method.tasks)
            raise NotServed(f"method {name} serves {served}, and concept {concept.name} is of kind {concept.kind}")
    return method
