"""The training set of both denoisers, encoded once: latents of 40,000 pictures, and their captions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.progress import track
from bench.stickers.pretrain.data import pictures
from bench.stickers.world import Scene, loose_caption, sample_scene

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

SCENES = 40_000
CHUNK = 100  # scenes drawn from one seed
SEED = 3


def chunk(start: int) -> tuple[list[Scene], np.random.Generator]:
    """Returns one chunk of the training scenes, and the generator that words their captions."""
    rng = np.random.default_rng([SEED, 1, start])
    return [sample_scene(rng) for _ in range(CHUNK)], rng


def captions() -> list[str]:
    """Returns the caption of every training picture, in order."""
    chunks = (chunk(start) for start in range(0, SCENES, CHUNK))
    return [loose_caption(s, rng) for scenes, rng in chunks for s in scenes]


@torch.no_grad()
def latents(vae: AutoencoderKL, work: Path) -> Tensor:
    """Returns the scaled latents of every training picture, (n, 8, 16, 16), half precision.

    Kept in `work` under the autoencoder's fingerprint, for the next model and the next session.
    """
    from safetensors.torch import load_file, save_file

    made_of = hashlib.sha256(f"{SCENES}-{SEED}".encode())
    for weights in vae.state_dict().values():
        made_of.update(weights.numpy().tobytes())
    path = work / f"latents-{made_of.hexdigest()[:12]}.safetensors"
    if not path.exists():
        parts = []
        for start in track(range(0, SCENES, CHUNK), "encoding pictures", SCENES // CHUNK):
            z = vae.encode(pictures(chunk(start)[0])).latent_dist.mean
            parts.append(((z - vae.config.shift_factor) * vae.config.scaling_factor).half())
        save_file({"latents": torch.cat(parts).contiguous()}, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)
    return load_file(path)["latents"]
