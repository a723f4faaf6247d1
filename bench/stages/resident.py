"""What the jobs of a process share: the loaded model and the loaded judges, one of each at a time."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bench import hub
from bench.backbone.files import fingerprint, resolve
from bench.plan import Plan, weights_of

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.backbone.place import Placement
    from bench.judges.build import Judge

log = logging.getLogger("bench")


def backbone_of(plan: Plan) -> Backbone:
    """Returns a plan's model where it is to run; the one that is loaded if it is the same."""
    model = plan.config["model"]
    folder, lora = plan.model_folder, plan.model_lora
    weights = weights_of(folder, lora)
    from bench.backbone.place import Placement

    where, square = Placement.of(model), model["resolution"]
    return _loaded(model["family"], folder, lora, model["max_sequence_length"], square, weights, where)


def judges_of(plan: Plan) -> dict[str, Judge]:
    """Returns slot → judge of a plan's dataset; those that are loaded if they are the same."""
    from bench.backbone.place import chosen

    specs = hub.encoders(plan.config["dataset"]["encoders"])
    prints = [fingerprint(resolve(s["path"])) for s in specs.values() if s["path"]]
    return _judges(json.dumps(specs), "".join(prints), chosen(plan.config["model"]["device"]))


def forget() -> None:
    """Drops the loaded model, as where a run that failed may have left it in the middle of something."""
    import gc

    import torch

    _loaded.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@functools.lru_cache(maxsize=1)  # the jobs of a sweep share one loaded model
def _loaded(
    family: str,
    folder: Path,
    lora: Path | None,
    max_sequence_length: int,
    resolution: int,
    weights: str,
    where: Placement,
) -> Backbone:
    from bench import backbone

    forget()  # the one before it makes room first
    log.info("loading %s", folder)
    return backbone.load(family, folder, max_sequence_length, lora, resolution, where)


@functools.lru_cache(maxsize=1)  # and the judges; `fingerprints` are those of their files
def _judges(specs: str, fingerprints: str, device: str) -> dict[str, Judge]:
    from bench.judges.build import build

    _judges.cache_clear()
    return {slot: build(spec, device) for slot, spec in json.loads(specs).items()}
