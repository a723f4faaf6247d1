"""The memory of a GPU that a run takes, from a model folder's headers and configurations alone (docs/gpu.md).

Exact are the parts and, where a method trains a LoRA, its factors; activations are an estimate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench import hub, paths
from bench.backbone.files import resolve
from bench.errors import BenchError
from bench.forecast.past import Past
from bench.plan import Plan, Training

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TRAINED = 16  # bytes a trained number: itself, its gradient and the optimizer's two moments, all float32
LAYER = 17  # numbers a transformer block keeps for the backward pass, a token and channel; without attention maps
RESNET = 10  # and a residual block of a U-Net, a pixel and channel
TEXT = 77  # tokens of a CLIP, read beside the picture's
PIXEL = 3 * 128  # numbers an autoencoder holds a pixel while its last blocks decode
PACKED = 128  # latents a side where the denoiser's configuration states none, as FLUX's
UNREAD = ("safety_checker", "image_encoder")  # parts that no backbone loads
DENOISERS = ("transformer", "unet")
ATTENTION = re.compile(r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)\.weight$")
CROSSING = re.compile(r"attn[12]\.(to_q|to_k|to_v|to_out\.0)\.weight$")  # of a U-Net; SD3.5's `attn2` has no LoRA

# Of FLUX.2, whose single blocks have them in one matrix with the feed-forward layer; `attention` leaves the text's out.
FUSED = re.compile(r"attn\.(to_q|to_k|to_v|to_out\.0|to_qkv_mlp_proj|to_out)\.weight$")


@dataclass(frozen=True)
class Need:
    """Bytes on a GPU: the model's parts, what is trained, activations of a training step, and one picture's."""

    parts: float
    trained: float
    training: float
    picture: float

    @property
    def total(self) -> float:
        """While it trains or draws, whichever is more."""
        return self.parts + max(self.trained + self.training, self.picture)


@cache
def shapes(folder: Path) -> dict[str, list[int]]:
    """Returns the tensors' shapes in a folder's safetensors headers; planning has checked that they are whole."""
    out: dict[str, list[int]] = {}
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as f:
            said = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        out |= {f"{path.parent.name}/{n}": e["shape"] for n, e in said.items() if n != "__metadata__"}
    return out


def count(folder: Path) -> int:
    """Returns how many numbers a folder's weights are."""
    return sum(math.prod(s) for s in shapes(folder).values())


def need(plan: Plan, training: Training, past: Past) -> Need:
    """Returns what a training, and drawing with it, takes."""
    model, folder = plan.config["model"], plan.model_folder
    size, memory = BYTES[model["dtype"]], model["memory"]
    inner = denoiser(folder)
    about = json.loads((inner / "config.json").read_text(encoding="utf-8"))
    side = _latents(model, about, folder)
    kept, largest = activations(about, side, TEXT + model["max_sequence_length"])
    pictures = training.fields.get("batch_size", 1) * passes(plan, training, past)
    trains = trained(plan, training, past)
    step = size * pictures * (kept / LAYER + largest if memory["gradient_checkpointing"] else kept)
    tiled = _tile(folder) if memory["vae_tiling"] else math.inf
    picture = size * (2 * largest + PIXEL * min((side * scale(folder)) ** 2, tiled))
    parts, towers, autoencoder = _parts(folder, inner, size, memory)
    stay = towers if may_train_words(training) else 0
    drawing = max(picture + autoencoder, towers - stay)
    return Need(float(parts + stay), TRAINED * trains, step if trains else 0.0, drawing)


def denoiser(folder: Path) -> Path:
    """Returns the folder of a pipeline's denoiser."""
    return next(folder / n for n in DENOISERS if (folder / n).is_dir())


def _parts(folder: Path, inner: Path, size: int, memory: dict[str, bool]) -> tuple[int, int, int]:
    """Returns the bytes of what is on the device at all times, and of text encoders and autoencoder that visit it."""
    index = json.loads(
        (folder / "model_index.json").read_text(encoding="utf-8")
    )  # a download brings more than it loads
    others = [folder / n for n in index if n != inner.name and n not in UNREAD]
    rest = {p.name: size * count(p) for p in others if p.is_dir() and any(p.glob("*.safe*"))}
    towers = [n for n in rest if n.startswith("text_encoder")]
    away = list(rest) if memory["offload"] else towers if memory["drop_text_encoders"] else []
    still = size * count(inner) + sum(v for n, v in rest.items() if n not in away)
    return still, sum(rest[n] for n in towers if n in away), rest["vae"] if "vae" in away else 0


def may_train_words(training: Training) -> bool:
    """Whether a gradient may pass the text encoders, which then stay: a word's rate, or no LoRA to train instead."""
    fields = training.fields
    if training.concept.kind == "erase" or not any(name.endswith("lr") for name in fields):
        return False
    return bool(fields.get("learn_token", "token_lr" in fields or "rank" not in fields))


def passes(plan: Plan, training: Training, past: Past) -> int:
    """Returns how many pictures a step has under gradient for each of its batch, as the method's rows count them."""
    rows, _ = past.like(training.method, plan.config["model"]["name"])
    found = [r.cost["grad_forward_images"] / r.cost["steps"] / int(r.hyperparameters.get("batch_size", 1))
             for r in rows if r.cost.get("grad_forward_images") and r.cost.get("steps")]  # fmt: skip
    return math.ceil(max(found, default=1.0))


def trained(plan: Plan, training: Training, past: Past) -> float:
    """Returns about how many numbers a method trains on a model.

    Nothing where it has no learning rate; what its rows on this model say; a LoRA's factors on the attention; what its
    rows on another model say, in proportion to the denoisers; else, at most, every weight.
    """
    fields, inner = training.fields, denoiser(plan.model_folder)
    if not any(name.endswith("lr") for name in fields):
        return 0.0
    rows, where = past.like(training.method, plan.config["model"]["name"])
    counts = [r.cost["parameters"] for r in rows if "parameters" in r.cost]
    if counts and "another model" not in where:
        return max(counts)
    if "rank" in fields:
        every = shapes(inner)
        single = any("to_qkv_mlp_proj" in n for n in every)
        trains = CROSSING if inner.name == "unet" else FUSED if single else ATTENTION
        return float(fields["rank"] * sum(sum(s[:2]) for n, s in every.items() if trains.search(n)))
    scaled = [c for c in map(_on(inner), rows) if c]
    return max(scaled) if scaled else float(count(inner))


def _on(inner: Path) -> Any:
    """Returns what makes of a row on another model the numbers its method would train on this one."""

    def numbers(row: Any) -> float:
        path = paths.shipped("conf") / "model" / f"{row.model}.yaml"
        if not path.is_file() or "parameters" not in row.cost:
            return 0.0
        try:
            other = resolve(hub.model(yaml.safe_load(path.read_text(encoding="utf-8")))["path"])
        except BenchError:
            return 0.0
        return float(row.cost["parameters"]) * count(inner) / count(denoiser(other))

    return numbers


def scale(folder: Path) -> int:
    """Returns the pixels a side of one latent."""
    return int(2 ** (len(_autoencoder(folder)["block_out_channels"]) - 1))


def _autoencoder(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    return about


def _tile(folder: Path) -> float:
    """Returns the pixels that an autoencoder decodes at once where it tiles: pictures of its own size are one tile."""
    return float(_autoencoder(folder).get("sample_size", 512)) ** 2


def _latents(model: dict[str, Any], about: dict[str, Any], folder: Path) -> int:
    """Returns the latents a side: as asked for, the denoiser's own, or those of 1024 pixels."""
    asked = model.get("resolution") or 0
    return asked // scale(folder) or about.get("sample_size") or PACKED


def activations(about: dict[str, Any], side: int, text: int = TEXT) -> tuple[float, float]:
    """Returns the numbers one picture leaves for the backward pass: of all blocks, and of the largest."""
    every = list(_blocks(about, side, text))
    return float(sum(every)), float(max(every))


def _blocks(about: dict[str, Any], side: int, text: int) -> Iterator[float]:
    """Yields a denoiser's blocks' activations (Korthikanti et al. 2022, section 4.1, attention maps left out)."""
    if "block_out_channels" not in about:
        width = about["num_attention_heads"] * about["attention_head_dim"]
        patch = about["patch_size"] if about.get("sample_size") else 2  # FLUX packs squares of two before the network
        tokens = (side / patch) ** 2 + text
        for _ in range(about["num_layers"] + about.get("num_single_layers", 0)):
            yield LAYER * tokens * width
        return
    channels, each = about["block_out_channels"], about["layers_per_block"]
    depths, ways = about.get("transformer_layers_per_block", 1), about["down_block_types"]
    for level, (width, way) in enumerate(zip(channels, ways, strict=True)):
        tokens = (side / 2**level) ** 2
        depth = depths[level] if isinstance(depths, list) else depths
        for _ in range(2 * each + 1):
            yield tokens * width * (RESNET + (LAYER * depth if "CrossAttn" in way else 0))
