"""The parts of the embedded world in the order they are made, each resumable on its own.

A part's result lies in the work folder at full precision; `export` writes what ships, in half
precision, as ordinary diffusers, transformers and open_clip folders.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench import paths
from bench.stickers.pretrain import blip, cards, clip, dino, flow, oracle, sight, text, unet, vae
from bench.stickers.pretrain import tokenizer as tok
from bench.stickers.pretrain.loop import Recipe

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DiffusionPipeline
    from torch import nn

log = logging.getLogger("bench.pretrain")
SHIPPED = paths.weights() / "sticker-flow"


def note_seconds(work: Path, part: str, seconds: float) -> None:
    """Keeps what a part cost, for its model card."""
    path = work / "seconds.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {part: round(seconds)}, indent=1))


def make_vae(work: Path) -> None:
    """Trains the autoencoder."""
    model, seconds = vae.train(work)
    model.save_pretrained(work / "vae")
    note_seconds(work, "vae", seconds)


def load_vae(work: Path) -> AutoencoderKL:
    """Loads the trained autoencoder from the work folder, or the one that ships."""
    from diffusers import AutoencoderKL

    own = work / "vae"
    return AutoencoderKL.from_pretrained(own if own.exists() else SHIPPED / "vae").float().eval()


def make_text(work: Path) -> None:
    """Trains the text towers that condition generation."""
    towers, seconds = text.train(work, tok.train(work / "tokenizer"))
    torch.save(towers.state_dict(), work / "text.pt")
    note_seconds(work, "text", seconds)


def load_towers(work: Path) -> text.Towers:
    """Loads the trained text towers from the work folder, or the ones that ship."""
    from safetensors.torch import load_file

    tokenizer = tok.train(work / "tokenizer")
    towers = text.Towers(len(tokenizer), tokenizer.eos_token_id)
    if (work / "text.pt").exists():
        towers.load_state_dict(torch.load(work / "text.pt", weights_only=True))
    else:
        for part, folder in ((towers.text_1, "text_encoder"), (towers.text_2, "text_encoder_2")):
            shipped = load_file(SHIPPED / folder / "model.safetensors")
            part.load_state_dict({k: v.float() for k, v in shipped.items()})
    return towers.eval()


def make_flow(work: Path, recipe: Recipe = flow.RECIPE, start: Path | None = None) -> None:
    """Trains the flow transformer and assembles the pipeline that ships.

    Args:
        work: folder of checkpoints.
        recipe: how long and how fast.
        start: a transformer's folder to go on from; None starts from nothing.
    """
    towers, tokenizer = load_towers(work), tok.train(work / "tokenizer")
    data = flow.prepare(load_vae(work), towers, tokenizer, work)
    model, seconds = flow.train(work, data, recipe, start)
    note_seconds(work, recipe.name, seconds)
    export_flow(work, model)


def export_flow(work: Path, model: nn.Module) -> None:
    """Writes the StableDiffusion3Pipeline folder, half precision."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    towers, tokenizer = load_towers(work), tok.train(work / "tokenizer")
    pipeline = StableDiffusion3Pipeline(
        transformer=model, vae=load_vae(work), scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        text_encoder=towers.text_1, tokenizer=tokenizer, text_encoder_2=towers.text_2, tokenizer_2=tokenizer,
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    _export(pipeline, paths.weights() / "sticker-flow")


def make_unet(work: Path) -> None:
    """Trains the noise-predicting U-Net and assembles its pipeline."""
    towers, tokenizer, vae = load_towers(work), tok.train(work / "tokenizer"), load_vae(work)
    latents, prompts = unet.prepare(vae, towers, tokenizer, work)
    model = unet.build()
    note_seconds(work, "unet", unet.train(work, latents, prompts, model))
    export_unet(work, model, paths.weights() / "sticker-unet")


def make_unet_b(work: Path) -> None:
    """Fine-tunes the shipped U-Net onto another palette, and writes what changed as a LoRA file."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import get_peft_model_state_dict

    vae = load_vae(work)
    latents, prompts = unet.prepare_b(vae, load_towers(work), tok.train(work / "tokenizer"))
    shipped = paths.weights() / "sticker-unet" / "unet"
    model = unet.with_lora(UNet2DConditionModel.from_pretrained(shipped).float())
    note_seconds(work, "unet_b", unet.train(work, latents, prompts, model, unet.RECIPE_B))
    factors = {k: v.half() for k, v in get_peft_model_state_dict(model).items()}
    StableDiffusionPipeline.save_lora_weights(paths.weights() / "sticker-unet-b", unet_lora_layers=factors)


def export_unet(work: Path, model: nn.Module, folder: Path) -> None:
    """Writes the StableDiffusionPipeline folder, half precision."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    tokenizer = tok.train(work / "tokenizer")
    with tempfile.TemporaryDirectory() as there:  # the library translates its names of the weights between files
        load_towers(work).text_1.save_pretrained(there)
        plain = CLIPTextModel.from_pretrained(there).eval()
    pipeline = StableDiffusionPipeline(
        unet=model, vae=load_vae(work), scheduler=unet.scheduler(), text_encoder=plain, tokenizer=tokenizer,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    _export(pipeline, folder)


def _export(pipeline: DiffusionPipeline, folder: Path) -> None:
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    for name in (n for n in ("tokenizer", "tokenizer_2") if (folder / n).exists()):
        # The library's own tokenizer files are not readable by its earlier major version; ours are by both.
        for stale in (folder / name).glob("*"):
            stale.unlink()
        tok.train(folder / name)
    for path in folder.rglob("*.json"):  # where it was made is nobody's concern
        config = json.loads(path.read_text())
        if isinstance(config, dict) and config.pop("_name_or_path", None):
            path.write_text(json.dumps(config, indent=2) + "\n")


def make_clip_judge(work: Path) -> None:
    """Trains the CLIP judge."""
    tokenizer = tok.train(work / "tokenizer")
    model, seconds = clip.train_judge(work, tokenizer)
    clip.save_judge(model, tokenizer, paths.weights() / "clip-judge")
    note_seconds(work, "clip_judge", seconds)


def make_sight(work: Path) -> None:
    """Trains the picture tower of both BLIP judges; it ships as a part of them."""
    tower, seconds = sight.train(work)
    torch.save(tower.state_dict(), work / "sight.pt")
    note_seconds(work, "sight", seconds)


def make_blip_judge(name: str, work: Path) -> None:
    """Trains the judge `blip2` or `blip1`."""
    if not (work / "sight.pt").exists():
        make_sight(work)
    tower = torch.load(work / "sight.pt", weights_only=True)
    model, seconds = blip.train(name, work, tok.train(work / "tokenizer"), tower)
    blip.save(model, paths.weights() / f"{name}-judge")
    note_seconds(work, f"{name}_judge", seconds)


def make_dino_judge(work: Path) -> None:
    """Trains the DINO judge."""
    model, seconds = dino.train(work)
    model.half().save_pretrained(paths.weights() / "dino-judge")
    preprocess = {"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64},
                  "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}  # fmt: skip
    (paths.weights() / "dino-judge" / "preprocessor_config.json").write_text(json.dumps(preprocess, indent=2) + "\n")
    note_seconds(work, "dino_judge", seconds)


def make_oracle(work: Path) -> None:
    """Trains the oracle."""
    model, seconds = oracle.train(work)
    oracle.save(model, paths.weights() / "oracle")
    note_seconds(work, "oracle", seconds)


def continue_flow(work: Path) -> None:
    """Trains the shipped flow transformer further, with the text towers as they are now."""
    make_flow(work, flow.FURTHER, SHIPPED / "transformer")


PARTS: dict[str, Callable[[Path], None]] = {
    "vae": make_vae,
    "text": make_text,
    "oracle": make_oracle,
    "flow": make_flow,
    "flow-further": continue_flow,
    "unet": make_unet,
    "unet-b": make_unet_b,
    "clip-judge": make_clip_judge,
    "dino-judge": make_dino_judge,
    "sight": make_sight,
    "blip2-judge": functools.partial(make_blip_judge, "blip2"),
    "blip1-judge": functools.partial(make_blip_judge, "blip1"),
    "cards": cards.write,
}
