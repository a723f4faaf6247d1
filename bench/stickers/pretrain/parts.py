"""The parts of the embedded world in the order they are made, each resumable on its own.

A part's result lies in the work folder at full precision; `export` writes what ships, in half
precision, as ordinary diffusers, transformers and open_clip folders.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench import paths
from bench.stickers.pretrain import cards, clip, dino, flow, oracle, vae
from bench.stickers.pretrain import tokenizer as tok

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
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


def make_clip(work: Path) -> None:
    """Trains the contrastive pair that conditions generation."""
    model, seconds = clip.train_pair(work, tok.train(work / "tokenizer"))
    torch.save(model.state_dict(), work / "pair.pt")
    note_seconds(work, "clip", seconds)
    export_vision(model)


def export_vision(pair: clip.Pair) -> None:
    """Writes the pair's image tower, which the pipeline itself has no use for."""
    folder = paths.weights() / "clip-pair-vision"
    copy.deepcopy(pair.vision).half().save_pretrained(folder)


def load_pair(work: Path) -> clip.Pair:
    """Loads the trained pair from the work folder, or the one that ships."""
    from safetensors.torch import load_file

    tokenizer = tok.train(work / "tokenizer")
    pair = clip.Pair(len(tokenizer), tokenizer.eos_token_id)
    if (work / "pair.pt").exists():
        pair.load_state_dict(torch.load(work / "pair.pt", weights_only=True))
    else:
        vision = paths.weights() / "clip-pair-vision"
        for part, folder in (
            (pair.text_1, SHIPPED / "text_encoder"),
            (pair.text_2, SHIPPED / "text_encoder_2"),
            (pair.vision, vision),
        ):
            part.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return pair.eval()


def make_flow(work: Path, start: Path | None = None) -> None:
    """Trains the flow transformer and assembles the pipeline that ships.

    Args:
        work: folder of checkpoints.
        start: a transformer's folder to go on from; None starts from nothing.
    """
    pair, tokenizer = load_pair(work), tok.train(work / "tokenizer")
    data = flow.prepare(load_vae(work), pair, tokenizer, work)
    model, seconds = flow.train(work, data, start)
    note_seconds(work, "flow", seconds)
    export_flow(work, model)


def export_flow(work: Path, model: nn.Module, folder: Path | None = None) -> None:
    """Writes the StableDiffusion3Pipeline folder, half precision."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    pair, tokenizer = load_pair(work), tok.train(work / "tokenizer")
    pipeline = StableDiffusion3Pipeline(
        transformer=model, vae=load_vae(work), scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        text_encoder=pair.text_1, tokenizer=tokenizer, text_encoder_2=pair.text_2, tokenizer_2=tokenizer,
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    folder = folder or paths.weights() / "sticker-flow"
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        # The library's own tokenizer files are not readable by its earlier major version; ours are by both.
        for stale in (folder / name).glob("*"):
            stale.unlink()
        tok.train(folder / name)


def make_clip_judge(work: Path) -> None:
    """Trains the CLIP judge."""
    tokenizer = tok.train(work / "tokenizer")
    model, seconds = clip.train_judge(work, tokenizer)
    clip.save_judge(model, tokenizer, paths.weights() / "clip-judge")
    note_seconds(work, "clip_judge", seconds)


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
    """Trains the shipped flow transformer further, by the same recipe from its first step."""
    make_flow(work, SHIPPED / "transformer")


PARTS: dict[str, Callable[[Path], None]] = {
    "vae": make_vae,
    "clip": make_clip,
    "oracle": make_oracle,
    "flow": make_flow,
    "flow-further": continue_flow,
    "clip-judge": make_clip_judge,
    "dino-judge": make_dino_judge,
    "cards": cards.write,
}
