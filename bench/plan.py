"""What a request amounts to: checked, and with the key of every stage, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import hub, paths
from bench.attacks.keys import TEMPLATES, attack_keys, rounded
from bench.backbone.files import check_files, fingerprint, model_folders, resolve
from bench.concept import Concept
from bench.concept_file import load as load_concept
from bench.config import by_hand
from bench.dataset import fetched
from bench.dataset import templates as templates_of
from bench.errors import BenchError, near
from bench.found import config_of, names
from bench.grid import PromptGrid, asked_with, grid, surrogates
from bench.names import code_for, code_of, libraries, source_hash
from bench.pipelines import check_family, class_of, sampler, square
from bench.store import key_of


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
        novel: the concept that no model knows; None where the dataset names none.
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


def dataset_folder(path: str, name: str = "") -> Path:
    """Returns the folder of `embedded:NAME` (shipped data) or of a plain path; `name` is what the dataset is called.

    Raises:
        BenchError: there is no such folder.
    """
    folder = paths.embedded(path, paths.shipped("datasets"))
    if not folder.is_dir():
        raise BenchError(f"dataset.path={path}: no folder {folder}{fetched(name)}")
    return folder


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
    name, target, fields, tuned = _method(config, method, config["method"])
    model_folder, lora = model_folders(hub.model(config["model"]))
    check_files(model_folder)
    check_family(config["model"]["family"], model_folder)
    config = config | {"_pipeline": class_of(model_folder)}
    about = config["dataset"]
    dataset, how = dataset_folder(about["path"], about["name"]), fetched(about["name"])
    pictures = Path(about["pictures"]) if about["pictures"] else None
    concept = load_concept(dataset, str(config["concept"]), pictures, how)
    templates, novel = templates_of(dataset, concept.name, pictures), about["novel"]
    cells = asked_with(grid(concept, templates, config["protocol"]["seeds"]), concept, trigger)
    attacked = concept.kind == "erase" and bool(config["protocol"]["attacks"])
    unknown = load_concept(dataset, novel, pictures, how) if novel and attacked else None
    weights = fingerprint(model_folder) + (fingerprint(lora) if lora else "")
    trainings, own = _trainings(config, (name, target, fields), weights, concept)
    train = train or own
    attacks = attack_keys(config, concept, unknown, templates, weights, train)
    stages = _stages(config, train, trainings, weights, cells, attacks)
    keys = {stage: key_of(parts) for stage, parts in stages.items()} | {"train": train} | attacks
    return Plan(
        config, _entry(name, config["gate"]), target, fields, tuned, concept, cells, model_folder, lora, trainings,
        keys,
        tried(name, config["method"], config["model"]["name"]) if tuned else 0,
        tuple(templates.get(TEMPLATES, [])), unknown,
    )  # fmt: skip


def _entry(method: str, gate: str | float) -> str:
    """Returns what a run is called: with its gates held, it is another entry than its method."""
    return method if gate == "auto" else f"{method}-gate-{gate}"


def _method(config: dict[str, Any], name: str, said: dict[str, Any]) -> tuple[str, str, dict[str, Any], bool]:
    """Returns a method's name, class, fields and whether values for the model were applied to them."""
    fields = {k: v for k, v in said.items() if k not in ("_target_", "tuned", "tuned_as", "search")}
    target, model = said.get("_target_"), config["model"]["name"]
    if not isinstance(target, str):
        raise BenchError("method._target_ is missing; the dotted name of a method's class would be right")
    values = {} if config["tuned"] == "none" else tuned_values(name, said, model)
    if values:
        fields = _tuned(fields, values, config.get("_given", []))
    return name or target.rpartition(".")[2], target, fields, bool(values)


def tuned_values(name: str, said: dict[str, Any], model: str) -> dict[str, Any]:
    """Returns a method's values for a model.

    They are those a search found (`conf/values`), else those its own config states under `tuned`. A variant
    (`tuned_as`) takes the values of the method it is one of, but for the fields that make it a variant.
    """
    if "tuned_as" in said:
        parent = _method_file(said["tuned_as"], "method.tuned_as")
        shared = tuned_values(said["tuned_as"], parent, model)
        return {k: v for k, v in shared.items() if said.get(k) == parent.get(k)}
    return _found(name, model).get("values") or (said.get("tuned") or {}).get(model, {})


def _found(name: str, model: str) -> dict[str, Any]:
    path = paths.shipped("conf") / "values" / model / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tried(name: str, said: dict[str, Any], model: str) -> int:
    """Returns how many sets of values a search tried for a method, or for the method it is a variant of."""
    return int(_found(said.get("tuned_as", name), model).get("found", {}).get("trials", 0))


def _method_file(name: str, field: str) -> dict[str, Any]:
    path = paths.shipped("conf") / "method" / f"{name}.yaml"
    if path.is_file():
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    said = config_of(name)
    if said is None:
        raise BenchError(
            f"{field}={name}: no such method{near(name, names())}; one of {', '.join(names())} would be right"
        )
    return said


def _customizer(config: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Returns the method that teaches a round trip its concept, with the values found for the model."""
    name = config["customizer"]
    return _method(config | {"_given": []}, name, _method_file(name, "customizer"))[:3]


def _trainings(
    config: dict[str, Any], method: tuple[str, str, dict[str, Any]], weights: str, concept: Concept
) -> tuple[tuple[Training, ...], str]:
    """Returns what is trained, in order, and the key of what the run's pictures are made with."""

    def training(method: tuple[str, str, dict[str, Any]], concept: Concept, beneath: str = "") -> Training:
        name, target, fields = method
        parts = _train_parts(config, target, fields, weights, concept) | ({"beneath": beneath} if beneath else {})
        return Training(concept, name, target, fields, key_of(parts), beneath)

    if concept.kind == "roundtrip":
        learned = training(_customizer(config), concept.parts[0])
        erased = training(method, concept, beneath=learned.key)
        return (learned, erased), erased.key
    if not concept.parts:
        only = training(method, concept)
        return (only,), only.key
    apart = tuple(training(method, part) for part in concept.parts)
    return apart, key_of({"merged": [t.key for t in apart], "weights": concept.weights})


def _tuned(fields: dict[str, Any], table: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Applies values tuned for the model, except to what the command line itself sets."""
    named = {o.split("=")[0].removeprefix("method.") for o in by_hand(given)}
    unknown = set(table) - set(fields)
    if unknown:
        raise BenchError(f"method.tuned: {sorted(unknown)[0]} is not a field of the method")
    return fields | {k: v for k, v in table.items() if k not in named}


def _judge(spec: dict[str, str]) -> str:
    """Returns a judge's fingerprint, its files checked; pixels have none."""
    if not spec["path"]:
        return ""
    folder = resolve(spec["path"])
    check_files(folder)
    return fingerprint(folder)


def _train_parts(
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


def _stages(
    config: dict[str, Any], train: str, trainings: tuple[Training, ...], weights: str, cells: PromptGrid,
    attacks: dict[str, str],
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
    beneath = [t.beneath for t in trainings if t.beneath]
    encoders = {slot: _judge(e) for slot, e in hub.encoders(config["dataset"]["encoders"]).items()}
    metrics = {t: source_hash(t, "protocol.metrics") for t in config["protocol"]["metrics"]}
    score = {
        "code": code_of(
            "features.py",
            "csd.py",
            "detector.py",
            "pictures.py",
            "matching.py",
            "reader.py",
            "score.py",
            "derive.py",
            "metric.py",
            "stats.py",
            "row.py",
        ),
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
    learned = {"learned": generate | {"train": beneath[0], "gate": "auto"}} if beneath else {}
    return {"base": base, **surrogate, **learned, "generate": generate, "score": score}
