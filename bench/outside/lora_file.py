"""A LoRA file made elsewhere: read, fitted to the model, and run as an adapter that was trained here would be."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.backbone.files import fingerprint, model_folders
from bench.errors import BenchError
from bench.names import code_of
from bench.outside.tensor_file import header
from bench.pipelines import class_of
from bench.plan import Plan, make
from bench.store import Store, key_of

if TYPE_CHECKING:
    from bench.adapter import Adapter

PREFIX = {"flow": "transformer", "epsilon": "unet", "v": "unet"}  # the denoiser's folder, and its name in LoRA files


def taken_in(config: dict[str, Any], path: Path, *, weight: float, trigger: str | None, name: str) -> Plan:
    """Takes a LoRA file into the store. Returns the plan of a run whose adapter it is.

    Args:
        config: the composed configuration of a run.
        path: the file, safetensors.
        weight: how strongly it acts.
        trigger: what stands for the concept's word in prompts; None keeps the word.
        name: what the row is to be called.

    Raises:
        BenchError: the file is no LoRA, or none of this model; nothing was written.
    """
    if not math.isfinite(weight):
        raise BenchError(f"--weight {weight}: a finite number would be right")
    adapter, layout = read(path, config["model"], weight)
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    folder, fused = model_folders(config["model"])
    weights = fingerprint(folder) + (fingerprint(fused) if fused else "")
    from bench.outside.lora_layout import config_of

    said = config_of(path, header(path).metadata, PREFIX[config["model"]["family"]])
    key = key_of(
        {
            "lora": content,
            **({"config": said} if said else {}),
            "weight": weight,
            "model": weights,
            "code": code_of("outside/lora_file.py", "outside/lora_layout.py"),
        }
    )
    made = config["_made"] | {"lora": {"file": path.name, "sha256": content, "layout": layout}}
    plan = make(config | {"_made": made}, name, train=key, trigger=trigger)
    Store(Path(config["root"])).once("train", key, {"method": name}, adapter.save)
    said = {"weight": weight} | ({} if trigger is None else {"trigger": trigger})
    return dataclasses.replace(plan, method=name, hyperparameters=said, tuned=False)


def read(path: Path, model: dict[str, Any], weight: float = 1.0) -> tuple[Adapter, str]:
    """Reads a LoRA file for a model of `conf/model`. Returns the adapter, and the layout the file has.

    Raises:
        BenchError: the file is no LoRA, or none of this model.
    """
    from safetensors import SafetensorError

    head, prefix = header(path), PREFIX[model["family"]]
    other = next(p for p in PREFIX.values() if p != prefix)
    if all(k.startswith(f"{other}.") for k in head.shapes):
        raise BenchError(f"{path}: a LoRA of a {other}, and {model['name']} has a {prefix}: another base model's")

    from safetensors.torch import load_file

    from bench.adapter import Adapter, Lora
    from bench.outside.lora_layout import config_of, factors

    try:
        named, layout = factors(
            load_file(path), config_of(path, head.metadata, prefix), modules(model), class_of(model_folders(model)[0])
        )
    except SafetensorError as error:
        raise BenchError(f"{path}: {error}") from None
    except BenchError as error:
        said = str(error)
        raise BenchError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    return Adapter([Lora(named, weight)], prefix=prefix, base=model["name"]), layout


def modules(model: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns module → shape of its weight, of a model's denoiser, from the headers of its files."""
    files = sorted((model_folders(model)[0] / PREFIX[model["family"]]).glob("*.safetensors"))
    shapes = {k: s for f in files for k, s in header(f, math.inf).shapes.items()}  # the model's own, of any size
    return {k.removesuffix(".weight"): s for k, s in shapes.items() if k.endswith(".weight") and len(s) in (2, 4)}
