"""Which pipeline a model folder holds, and which code serves it. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BenchError, NotServed
from bench.paths import shipped

# Pipeline class → the modules of bench/backbone that are made for it, its own first. What a class is trained and drawn
# with is known by these and by the files that all share: a new class, or a change to one, re-trains no other.
CLASSES = {
    "StableDiffusionPipeline": ("sd",),
    "StableDiffusionXLPipeline": ("sdxl", "sd"),
    "StableDiffusion3Pipeline": ("sd3", "flow"),
    "FluxPipeline": ("flux", "flow"),
    "Flux2KleinPipeline": ("flux2", "chat", "flow"),
}
FLOW = tuple(name for name, modules in CLASSES.items() if "flow" in modules)
PREDICTS = {"epsilon": "epsilon", "v_prediction": "v"}  # a scheduler's prediction_type → the family


def class_of(folder: Path) -> str:
    """Returns the pipeline class that a folder's `model_index.json` names.

    Raises:
        BenchError: there is none, or no backbone is made for it.
    """
    name = _read(folder / "model_index.json").get("_class_name")
    if name not in CLASSES:
        raise BenchError(f"{folder / 'model_index.json'}: _class_name={name}; {', '.join(CLASSES)} would be right")
    return name


# Samplers that training and sampling are made for: they add noise to clean latents by ᾱ, or by the straight line.
DISCRETE = tuple(
    f"{name}Scheduler" for name in (
        "DDIM", "DDPM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LCM",
        "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep",
    )
)  # fmt: skip
STRAIGHT = ("FlowMatchEulerDiscreteScheduler",)


def _check_served(folder: Path) -> None:
    """Checks that a pipeline's sampler and autoencoder are such as a backbone serves.

    Raises:
        BenchError: they are not.
    """
    index, served = _read(folder / "model_index.json"), STRAIGHT if class_of(folder) in FLOW else DISCRETE
    named = index.get("scheduler")
    name = named[-1] if isinstance(named, list) and named else named
    if name not in served:
        raise BenchError(f"{folder / 'model_index.json'}: scheduler={name}; {', '.join(served)} would be right")
    scaled = folder / "vae" / "config.json"
    if scaled.is_file() and _read(scaled).get("latents_mean"):
        raise BenchError(f"{scaled}: latents_mean: an autoencoder whose latents have one scale would be right")


def family_of(folder: Path) -> str:
    """Returns what a folder's network predicts: `flow`, `epsilon` or `v`.

    Raises:
        BenchError: it is of no class with a backbone, or predicts something else.
    """
    if class_of(folder) in FLOW:
        return "flow"
    path = folder / "scheduler" / "scheduler_config.json"
    predicts = _read(path).get("prediction_type", "epsilon")  # what diffusers takes where none is stated
    if predicts not in PREDICTS:
        raise BenchError(f"{path}: prediction_type={predicts}; {' or '.join(PREDICTS)} would be right")
    return PREDICTS[predicts]


def check_family(family: str, folder: Path) -> None:
    """Checks that a model's folder is of the family its config states.

    Raises:
        BenchError: it is not.
    """
    own = family_of(folder)
    _check_served(folder)
    if family != own:
        raise BenchError(f"model.family={family}: {folder} holds a {class_of(folder)} that predicts {own}; {own} would "
                         "be right")  # fmt: skip


def check_guidance(scale: float, folder: Path) -> None:
    """Checks that a step-distilled model, which takes no guidance, is given none.

    Raises:
        BenchError: it is, which would make keys of their own for the same pictures.
    """
    if scale > 1 and _read(folder / "model_index.json").get("is_distilled") is True:
        raise BenchError(
            f"model.guidance_scale={scale:g}: {folder} is step-distilled and takes no guidance; 1 would be right"
        )


def other_family(method: str, families: Sequence[str], model: dict[str, Any], why: str = "") -> NotServed:
    """Returns what is said of a method and a model it is not made for, with the models that come with the harness.

    Args:
        method: its name.
        families: those it is made for.
        model: the model's configuration.
        why: it is not made for this one.
    """
    every = (yaml.safe_load(p.read_text(encoding="utf-8")) for p in sorted((shipped("conf") / "model").glob("*.yaml")))
    own = [m["name"] for m in every if m["family"] in families and m["path"].startswith("embedded:")]
    here = f"; model={' or '.join(own)} would be right" if own else ""
    said = f"method {method} is made for {', '.join(families)} models, and {model['name']} is {model['family']}"
    return NotServed(f"{said}{': ' * bool(why)}{why}{here}")


def code(pipeline: str) -> tuple[str, ...]:
    """Returns the files of bench that serve a pipeline class: those all classes share, and its own."""
    root = Path(__file__).parent
    others = {f"{m}.py" for modules in CLASSES.values() for m in modules} - {f"{m}.py" for m in CLASSES[pipeline]}
    return tuple(f"backbone/{p.name}" for p in sorted((root / "backbone").glob("*.py")) if p.name not in others)


def square(model: dict[str, Any]) -> dict[str, Any]:
    """Returns what keys say of a model's resolution: nothing where it is the model's own square. At another one an
    autoencoder that works in tiles makes other pictures.
    """
    if not model["resolution"]:
        return {}
    tiled = (model.get("memory") or {}).get("vae_tiling")
    return {"resolution": model["resolution"]} | ({"vae_tiling": True} if tiled else {})


def sampler(model: dict[str, Any]) -> dict[str, Any]:
    """Returns what keys say of how a model is sampled."""
    return {k: model[k] for k in ("steps", "guidance_scale", "max_sequence_length")} | square(model)


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error)[:80]
        raise BenchError(f"{path}: {why}; a folder that diffusers saved a pipeline in would be right") from None
    return said if isinstance(said, dict) else {}
