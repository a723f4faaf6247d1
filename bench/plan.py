"""What a request amounts to: checked, and with the key of every stage, before anything heavy is imported."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import hub, paths
from bench.attack_keys import TEMPLATES, attack_keys
from bench.backbone.files import check_files, fingerprint, model_folders
from bench.concept import Concept
from bench.config import NAME
from bench.data.concept_file import load as load_concept
from bench.data.concept_file import load_novel
from bench.data.dataset import fetched
from bench.data.dataset import templates as templates_of
from bench.errors import BenchError
from bench.grid import PromptGrid, asked_with, grid
from bench.pipelines import check_family, check_guidance, class_of
from bench.stage_keys import stage_parts, train_parts
from bench.store import key_of
from bench.values import customizer, entry, method_of, tried
from bench.whole import check_parts


@dataclass(frozen=True)
class Training:
    """One training of a run.

    Attributes:
        concept: what is learned or erased.
        method: the name of the method's config.
        target: dotted name of its class.
        fields: its hyperparameters.
        key: of what it leaves behind.
        beneath: key of the adapter that is made part of the model first; none for the untouched model.
    """

    concept: Concept
    method: str
    target: str
    fields: dict[str, Any]
    key: str
    beneath: str = ""


@dataclass(frozen=True)
class Plan:
    """One run, resolved.

    Attributes:
        config: the composed configuration, plain containers.
        method: the name of the method's config, and of its gate where that is held (`NAME-gate-open`).
        target: dotted name of its class.
        hyperparameters: its fields, tuned values applied.
        tuned: whether values found for this model were applied.
        trials: how many sets of values were tried to find them; none where they were set by hand.
        trainings: in order; several for a composite concept.
        keys: stage → key.
        attacked: the templates that attacks fill.
        novel: the thing that no model knows, or several as one concept's parts; None where the dataset names none.
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
    trainings: tuple[Training, ...]
    keys: dict[str, str]
    trials: int = 0
    attacked: tuple[str, ...] = ()
    novel: Concept | None = None

    @property
    def folder(self) -> Path:
        """The run's own folder, for people: row, report, pictures."""
        c = self.config
        return (
            Path(c["root"])
            / self.method
            / f"{self.concept.name}-{c['model']['name']}-seed{c['seed']}-{self.keys['score'][:6]}"
        )

    @cached_property  # a sweep asks twice, of every run
    def there(self) -> bool:
        """Whether the run was there when it was planned, and is not made again; a failed one is."""
        try:
            return bool(json.loads((self.folder / "row.json").read_text(encoding="utf-8"))["status"] != "failed")
        except (OSError, ValueError, KeyError, TypeError):
            return False


def dataset_folder(path: str, name: str = "") -> Path:
    """Returns the folder of `embedded:NAME` (shipped data) or of a plain path; `name` is what the dataset is called.

    Raises:
        BenchError: there is no such folder.
    """
    folder = paths.embedded(path, paths.shipped("datasets"))
    if not folder.is_dir():
        raise BenchError(f"dataset.path={path}: no folder {folder}{fetched(name)}")
    return folder


def weights_of(folder: Path, lora: Path | None) -> str:
    """Returns the fingerprint of a model, and of the LoRA that is part of it."""
    return fingerprint(folder) + (fingerprint(lora) if lora else "")


def make(config: dict[str, Any], method: str, *, train: str = "", trigger: str | None = None) -> Plan:
    """Checks a composed configuration and works out its stages.

    Args:
        config: the composed configuration.
        method: the name of the method's config.
        train: key of an adapter that is there already, in place of the method's own.
        trigger: what stands for the concept's word in prompts; None keeps the word.

    Raises:
        BenchError: something in it cannot be met.
    """
    config = hub.read(config)
    name, target, fields, tuned = method_of(config, method, config["method"])
    model_folder, lora = model_folders(hub.model(config["model"]))
    check_files(model_folder)
    check_family(config["model"]["family"], model_folder)
    check_guidance(config["model"]["guidance_scale"], model_folder)
    check_parts(model_folder, f"model.path={config['model']['path']}")
    config = config | {"_pipeline": class_of(model_folder)}
    about = config["dataset"]
    dataset, how = dataset_folder(about["path"], about["name"]), fetched(about["name"])
    pictures = Path(about["pictures"]) if about["pictures"] else None
    concept = load_concept(dataset, str(config["concept"]), pictures, how)
    if not re.fullmatch(NAME, concept.name):
        said = ascii(concept.name)[:60]
        raise BenchError(f"concept={said}: it names a folder: letters, digits, '.', '_' and '-' would be right")
    templates, novel = templates_of(dataset, concept.name, pictures), about["novel"]
    cells = asked_with(grid(concept, templates, config["protocol"]["seeds"]), concept, trigger)
    attacked = concept.kind == "erase" and bool(config["protocol"]["attacks"])
    unknown = load_novel(dataset, novel, pictures, how) if novel and attacked else None
    weights = weights_of(model_folder, lora)
    trainings, own = _trainings(config, (name, target, fields), weights, concept)
    given, train = train, train or own
    attacks = attack_keys(config, concept, unknown, templates, weights, train)
    beneath = next((t.beneath for t in trainings if t.beneath), "")
    stages = stage_parts(config, train, beneath, weights, cells, attacks, concept.fingerprint() if given else "")
    keys = {stage: key_of(parts) for stage, parts in stages.items()} | {"train": train} | attacks
    return Plan(
        config, entry(name, config["gate"]), target, fields, tuned, concept, cells, model_folder, lora, trainings,
        keys,
        tried(name, config["method"], config["model"]["name"]) if tuned else 0,
        tuple(templates.get(TEMPLATES, [])), unknown,
    )  # fmt: skip


def _trainings(
    config: dict[str, Any], method: tuple[str, str, dict[str, Any]], weights: str, concept: Concept
) -> tuple[tuple[Training, ...], str]:
    """Returns what is trained, in order, and the key of what the run's pictures are made with."""

    def training(method: tuple[str, str, dict[str, Any]], concept: Concept, beneath: str = "") -> Training:
        name, target, fields = method
        parts = train_parts(config, target, fields, weights, concept) | ({"beneath": beneath} if beneath else {})
        return Training(concept, name, target, fields, key_of(parts), beneath)

    if concept.kind == "roundtrip":
        learned = training(customizer(config), concept.parts[0])
        erased = training(method, concept, beneath=learned.key)
        return (learned, erased), erased.key
    if not concept.parts:
        only = training(method, concept)
        return (only,), only.key
    apart = tuple(training(method, part) for part in concept.parts)
    return apart, key_of({"merged": [t.key for t in apart], "weights": concept.weights})
