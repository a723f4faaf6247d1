"""Which attacks a run makes, and the keys of what they leave. Nothing heavy is imported."""

from __future__ import annotations

from typing import Any

from bench.concept import Concept
from bench.errors import BenchError
from bench.grid import NOVELTY
from bench.names import code_for, libraries
from bench.pipelines import sampler
from bench.store import key_of

TEMPLATES = "attack_templates"  # of the dataset


def rounded(model: dict[str, Any]) -> dict[str, str]:
    """Returns what a lower precision adds to a key; keys are older than the choice, and float32 adds nothing."""
    return {} if model["dtype"] == "float32" else {"dtype": model["dtype"]}


def part_key(key: str, of: str) -> str:
    """Returns the key of one thing an attack leaves: what it found, or a side's pictures."""
    return key_of({"attack": key, "of": of})


def attack_keys(
    config: dict[str, Any], concept: Concept, novel: Concept | None, templates: dict[str, Any], weights: str, train: str
) -> dict[str, str]:
    """Returns attack → key, and `ATTACK-base` → key of what it makes on the untouched model, for all runs.

    Only a concept that was erased by its name is attacked. The inversion has a control, `novelty`, of things that no
    model knows: the same for every concept, and on the untouched model for every run.

    Raises:
        BenchError: the dataset lacks what an attack needs.
    """
    wanted = config["protocol"]["attacks"] or {}
    if concept.kind != "erase" or not wanted:
        return {}
    if TEMPLATES not in templates:
        raise BenchError(f"protocol.attacks: the dataset's prompts.yaml has no {TEMPLATES!r}")
    if "inversion" in wanted and novel is None:
        raise BenchError("protocol.attacks.inversion: dataset.novel must name concepts that the model does not know")
    attacked = [(name, budget, concept) for name, budget in wanted.items()]
    if novel and "inversion" in wanted:
        attacked.append((NOVELTY, wanted["inversion"], novel))
    keys = {}
    for name, budget, of in attacked:
        shared = {
            "code": code_for("attacks", config["_pipeline"]),
            "libraries": libraries(),
            "attack": name,
            "budget": budget,
            "templates": templates[TEMPLATES],
            "concept": of.fingerprint(),
            "novel": "",  # the keys of words and prefixes are older than the control's own
            "model": weights,
            "sampler": sampler(config["model"]),
        } | rounded(config["model"])
        keys[f"{name}-base"] = key_of(shared)
        keys[name] = key_of(shared | {"train": train, "gate": config["gate"]})
    return keys
