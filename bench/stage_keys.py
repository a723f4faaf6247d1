"""What the key of each stage is made of: the same parts are the same outcome, found instead of made again."""

from __future__ import annotations

from typing import Any

from bench import hub
from bench.attack_keys import rounded
from bench.backbone.files import check_files, fingerprint, resolve
from bench.concept import Concept
from bench.grid import PromptGrid, surrogates
from bench.names import code_for, code_of, libraries, source_hash
from bench.pipelines import sampler, square
from bench.store import key_of

# What scores depend on, beside the metrics' own files; in this order.
SCORES = ("judges", "pictures.py", "stages/score.py", "stages/derive.py", "metric.py", "stats.py", "row.py")


def train_parts(
    config: dict[str, Any], target: str, fields: dict[str, Any], weights: str, concept: Concept
) -> dict[str, Any]:
    """Returns what the key of a training is made of (DESIGN section 1)."""
    return {
        "code": code_for("trains", config["_pipeline"]),
        "libraries": libraries(),
        "method": fields,
        "target": target,
        "source": source_hash(target, "method._target_"),
        "model": weights,
        "max_sequence_length": config["model"]["max_sequence_length"],
        **square(config["model"]),
        "concept": concept.fingerprint(),
        "seed": config["seed"],
        "dtype": config["model"]["dtype"],
    }


def stage_parts(
    config: dict[str, Any], train: str, beneath: str, weights: str, cells: PromptGrid, attacks: dict[str, str]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Returns what the keys of the later stages are made of."""
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
    score = {
        "code": code_of(*SCORES),
        "libraries": libraries(),
        "named": [{k: v for k, v in config["dataset"].items() if k != "pictures"}, config["protocol"]["name"]],
        "images": key_of(generate),
        "base": key_of(base),
        "attacks": attacks,
        "encoders": encoders,
        "metrics": metrics,
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
