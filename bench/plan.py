"""What a request amounts to: checked, and with the key of every stage, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import paths
from bench.backbone.files import check_files, fingerprint, model_folders, resolve
from bench.concept import Concept, PromptGrid, grid, load_templates
from bench.concept import load as load_concept
from bench.errors import BenchError
from bench.names import code_of, libraries, source_hash
from bench.store import key_of

DTYPE = "float32"


@dataclass(frozen=True)
class Plan:
    """One run, resolved.

    Attributes:
        config: the composed configuration, plain containers.
        method: the name of the method's config (`purecc`).
        target: dotted name of its class.
        hyperparameters: its fields, tuned values applied.
        tuned: whether values found for this model were applied.
        keys: stage → key.
    """

    config: dict[str, Any]
    method: str
    target: str
    hyperparameters: dict[str, Any]
    tuned: bool
    concept: Concept
    grid: PromptGrid
    model_folder: Path
    model_lora: Path | None
    keys: dict[str, str]

    @property
    def folder(self) -> Path:
        """The run's own folder, for people: row, report, pictures."""
        c = self.config
        return (
            Path(c["root"])
            / self.method
            / f"{self.concept.name}-{c['model']['name']}-seed{c['seed']}-{self.keys['score'][:6]}"
        )


def dataset_folder(path: str) -> Path:
    """Returns the folder of `embedded:NAME` (shipped data) or of a plain path.

    Raises:
        BenchError: there is no such folder.
    """
    folder = paths.embedded(path, paths.shipped("datasets"))
    if not folder.is_dir():
        raise BenchError(f"dataset.path={path}: no folder {folder}")
    return folder


def make(config: dict[str, Any], method: str) -> Plan:
    """Checks a composed configuration and works out its stages.

    Raises:
        BenchError: something in it cannot be met.
    """
    fields = dict(config["method"])
    target, tuned_table = fields.pop("_target_", None), fields.pop("tuned", {}) or {}
    if not isinstance(target, str):
        raise BenchError("method._target_ is missing; the dotted name of a method's class would be right")
    method = method or target.rpartition(".")[2]
    model = config["model"]
    tuned = config["tuned"] != "none" and model["name"] in tuned_table
    if tuned:
        fields = _tuned(fields, tuned_table[model["name"]], config.get("_given", []))
    model_folder, lora = model_folders(model)
    check_files(model_folder)
    dataset = dataset_folder(config["dataset"]["path"])
    concept = load_concept(dataset, str(config["concept"]))
    cells = grid(concept, load_templates(dataset), config["protocol"]["seeds"])
    weights = fingerprint(model_folder) + (fingerprint(lora) if lora else "")
    stages = _stages(config, target, fields, weights, concept, cells)
    keys = {name: key_of(parts) for name, parts in stages.items()}
    return Plan(config, method, target, fields, tuned, concept, cells, model_folder, lora, keys)


def _tuned(fields: dict[str, Any], table: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Applies values tuned for the model, except to what the command line itself sets."""
    named = {g.lstrip("+").split("=")[0].removeprefix("method.") for g in given if g.lstrip("+").startswith("method.")}
    unknown = set(table) - set(fields)
    if unknown:
        raise BenchError(f"method.tuned: {sorted(unknown)[0]} is not a field of the method")
    return fields | {k: v for k, v in table.items() if k not in named}


def _judge(path: str) -> str:
    """Returns a judge's fingerprint, its files checked."""
    folder = resolve(path)
    check_files(folder)
    return fingerprint(folder)


def _stages(
    config: dict[str, Any], target: str, fields: dict[str, Any], weights: str, concept: Concept, cells: PromptGrid
) -> dict[str, dict[str, Any]]:
    """Returns what the key of each stage is made of (DESIGN section 1)."""
    model = config["model"]
    train = {
        "code": code_of("workbench.py", "loop.py", "adapter.py", "backbone"),
        "libraries": libraries(),
        "method": fields,
        "target": target,
        "source": source_hash(target, "method._target_"),
        "model": weights,
        "max_sequence_length": model["max_sequence_length"],
        "concept": concept.fingerprint(),
        "seed": config["seed"],
        "dtype": DTYPE,
    }
    sampler = {k: model[k] for k in ("steps", "guidance_scale", "max_sequence_length")}
    prompts = [(c.prompt.channel, c.prompt.base, c.prompt.complete, c.seed) for c in cells.cells]
    plain = [(channel, base, seed) for channel, base, _, seed in prompts]
    drawing = {"code": code_of("generate.py", "backbone"), "libraries": libraries()}
    base = drawing | {"model": weights, "sampler": sampler, "grid": plain, "dtype": DTYPE}
    generate = drawing | {"train": key_of(train), "sampler": sampler, "grid": prompts, "gate": config["gate"]}
    encoders = {slot: _judge(e["path"]) for slot, e in config["dataset"]["encoders"].items()}
    metrics = {t: source_hash(t, "protocol.metrics") for t in config["protocol"]["metrics"]}
    score = {
        "code": code_of("features.py", "matching.py", "score.py", "metric.py", "stats.py", "row.py"),
        "libraries": libraries(),
        "named": [config["dataset"], config["protocol"]["name"]],
        "images": key_of(generate),
        "base": key_of(base),
        "encoders": encoders,
        "metrics": metrics,
    }
    return {"train": train, "base": base, "generate": generate, "score": score}
