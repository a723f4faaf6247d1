"""What the key of each stage is made of: the same parts are the same outcome, found instead of made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from bench import hub
from bench.attack_keys import rounded
from bench.backbone.files import check_files, fingerprint, resolve
from bench.concept import Concept
from bench.errors import BenchError
from bench.grid import PromptGrid, surrogates
from bench.names import LOOKS, code_for, code_of, libraries, source_hash, world_key
from bench.paths import shipped
from bench.pipelines import sampler, square
from bench.store import key_of

# What scores depend on, beside the metrics' own files; in this order.
SCORES = (*LOOKS, "stages/score.py", "stages/derive.py", "metric.py", "stats.py", "row.py")


def train_parts(
    config: dict[str, Any], target: str, fields: dict[str, Any], weights: str, concept: Concept
) -> dict[str, Any]:
    """Returns what the key of a training is made of (docs/architecture.md)."""
    return {
        "code": code_for("trains", config["_pipeline"]),
        "libraries": libraries(),
        "method": fields,
        "target": target,
        "source": source_hash(target, "method._target_"),
        **_rewarded(fields),
        "model": weights,
        "max_sequence_length": config["model"]["max_sequence_length"],
        **square(config["model"]),
        **_imagined(config["model"]),
        "concept": concept.fingerprint(),
        "seed": config["seed"],
        "dtype": config["model"]["dtype"],
    }


def _rewarded(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what a training depends on that learns from a reward: the reward's code, and the judge it asks."""
    said = fields.get("reward")
    given = said if isinstance(said, dict) else {"_target_": said}
    target, judge = given.get("_target_"), given.get("path")
    if not (isinstance(target, str) and "." in target):
        return {}
    try:
        parts: dict[str, Any] = {
            "reward": source_hash(target, "method.reward"),
            "judges": code_of("rewards.py", "judges"),
        }
    except BenchError:
        return {}  # a word of a method's own, or what training will complain of
    return parts | {"judge": _judge({"path": judge}) if isinstance(judge, str) else ""}


def _imagined(model: dict[str, Any]) -> dict[str, Any]:
    """Returns how the model draws what a training starts from (the class's pictures, anchors), where that is not as
    the configuration of its name says.
    """
    path = shipped("conf") / "model" / f"{model['name']}.yaml"
    usual = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    drawn = {k: model[k] for k in ("steps", "guidance_scale")}
    return {} if all(usual.get(k) == v for k, v in drawn.items()) else {"imagined": drawn}


def imagined_parts(
    config: dict[str, Any], weights: str, beneath: str, stage: str, prompts: Sequence[str]
) -> dict[str, Any]:
    """Returns what the key of pictures is made of that trainings ask of the untouched model: no method, no concept."""
    model = config["model"]
    return {
        "code": code_for("trains", config["_pipeline"]),
        "libraries": libraries(),
        "model": weights,
        **({"beneath": beneath} if beneath else {}),
        **{k: model[k] for k in ("max_sequence_length", "dtype", "steps", "guidance_scale")},
        **square(model),
        "seed": config["seed"],
        "stage": stage,
        "prompts": list(prompts),
    }


def stage_parts(
    config: dict[str, Any], train: str, beneath: str, weights: str, cells: PromptGrid, attacks: dict[str, str],
    scored_on: str = "",
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Returns what the keys of the later stages are made of.

    Args:
        config: the composed configuration.
        train: key of the adapter.
        beneath: key of what it stands on, if anything.
        weights: fingerprint of the model.
        cells: what is drawn.
        attacks: their keys.
        scored_on: fingerprint of the concept, where the adapter's key does not hold it.
    """
    model = config["model"]
    drawn = sampler(model)
    prompts = [(c.prompt.channel, c.prompt.base, c.prompt.complete, c.seed) for c in cells.cells]
    plain = [(channel, base, seed) for channel, base, _, seed in prompts]
    drawing = {"code": code_for("draws", config["_pipeline"]), "libraries": libraries()}
    base = drawing | {"model": weights, "sampler": drawn, "grid": plain, "dtype": model["dtype"]}
    generate = drawing | {"train": train, "sampler": drawn, "grid": prompts, "gate": config["gate"]}
    generate |= rounded(model)
    encoders = {slot: _judge(e) for slot, e in hub.encoders(config["dataset"]["encoders"]).items()}
    metrics = {t: source_hash(t, "protocol.metrics") for t in config["protocol"]["metrics"]}
    score: dict[str, Any] = {
        "code": code_of(*SCORES),
        "libraries": libraries(),
        "world": world_key(),
        "named": [{k: v for k, v in config["dataset"].items() if k != "pictures"}, config["protocol"]["name"]],
        "images": key_of(generate),
        "base": key_of(base),
        "attacks": attacks,
        "encoders": encoders,
        "metrics": metrics,
        **({"concept": scored_on} if scored_on else {}),
    }
    instead = [(c.prompt.channel, c.prompt.base, c.prompt.complete, c.seed) for c in surrogates(cells).cells]
    surrogate = {"surrogate": base | {"grid": instead}} if instead else {}
    learned = {"learned": generate | {"train": beneath, "gate": "auto"}} if beneath else {}
    return {"base": base, **surrogate, **learned, "generate": generate, "score": score}


def _judge(spec: dict[str, str]) -> str:
    """Returns a judge's fingerprint, its files checked; pixels have none."""
    if not spec["path"]:
        return ""
    folder = resolve(spec["path"])
    check_files(folder)
    return fingerprint(folder)
