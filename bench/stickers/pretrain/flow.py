"""The flow transformer, on precomputed latents and prompt embeddings (SD3Transformer2DModel).

The text towers are trained contrastively first and frozen: conditioning works within minutes,
where training them jointly with the denoiser had not in an hour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.progress import track
from bench.stickers.pretrain import tokenizer as tok
from bench.stickers.pretrain.clip import PROJECTION, Pair
from bench.stickers.pretrain.data import pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.world import Scene, loose_caption, sample_scene

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SD3Transformer2DModel
    from transformers import CLIPTokenizer

RECIPE = Recipe("flow", steps=10_800, batch=32, lr=1e-3, decay=0.25, ema=0.9995, seed=3)
SCENES = 40_000
CHUNK = 100  # scenes drawn from one seed
UNCONDITIONAL = 0.1


def build() -> SD3Transformer2DModel:
    """Returns the untrained transformer."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(RECIPE.seed)
    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=8,
        out_channels=8,
        num_layers=6,
        attention_head_dim=48,
        num_attention_heads=4,
        joint_attention_dim=320,
        caption_projection_dim=192,
        pooled_projection_dim=2 * PROJECTION,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )


@dataclass
class Data:
    """Everything the denoiser sees: latents (n, 8, 16, 16), prompts (n, 24, 320), pooled (n, 256);
    the last prompt is the empty one.
    """

    latents: Tensor
    prompts: Tensor
    pooled: Tensor


@torch.no_grad()
def embed(pair: Pair, tokenizer: CLIPTokenizer, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Returns what Stable Diffusion 3 takes from its two CLIP towers: the last but one layer's
    states side by side, (n, 24, 320), and the pooled embeddings, (n, 256).
    """
    ids = tokenizer(captions, padding="max_length", max_length=tok.MAX_LENGTH, truncation=True, return_tensors="pt")
    outs = [tower(ids.input_ids, output_hidden_states=True) for tower in (pair.text_1, pair.text_2)]
    return torch.cat([o.hidden_states[-2] for o in outs], -1), torch.cat([o.text_embeds for o in outs], -1)


def chunk(start: int) -> tuple[list[Scene], np.random.Generator]:
    """Returns one chunk of the training scenes, and the generator that words their captions."""
    rng = np.random.default_rng([RECIPE.seed, 1, start])
    return [sample_scene(rng) for _ in range(CHUNK)], rng


@torch.no_grad()
def prepare(vae: AutoencoderKL, pair: Pair, tokenizer: CLIPTokenizer, work: Path) -> Data:
    """Encodes the training set once; kept in `work` for the next session."""
    from safetensors.torch import load_file, save_file

    made_of = hashlib.sha256(f"{SCENES}-{RECIPE.seed}".encode())
    for weights in (*vae.state_dict().values(), *pair.state_dict().values()):
        made_of.update(weights.numpy().tobytes())
    path = work / f"flow_data-{made_of.hexdigest()[:12]}.safetensors"
    if path.exists():
        return Data(**load_file(path))
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in track(range(0, SCENES, CHUNK), "encoding", SCENES // CHUNK):
        scenes, rng = chunk(start)
        z = vae.encode(pictures(scenes)).latent_dist.mean
        z = (z - vae.config.shift_factor) * vae.config.scaling_factor
        prompts, pooled = embed(pair, tokenizer, [loose_caption(s, rng) for s in scenes])
        parts.append((z.half(), prompts.half(), pooled.half()))
    empty, empty_pooled = embed(pair, tokenizer, [""])
    data = {
        "latents": torch.cat([p[0] for p in parts]).contiguous(),
        "prompts": torch.cat([*(p[1] for p in parts), empty.half()]),
        "pooled": torch.cat([*(p[2] for p in parts), empty_pooled.half()]),
    }
    save_file(data, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)
    return Data(**data)


def train(work: Path, data: Data, start: Path | None = None) -> tuple[SD3Transformer2DModel, float]:
    """Trains the transformer by flow matching with logit-normal times, from `start` or from nothing.

    Returns:
        The transformer and its seconds.
    """
    model = build()
    if start is not None:
        model.load_state_dict(type(model).from_pretrained(start).float().state_dict())
    predict = torch.compile(model)

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        index = torch.from_numpy(rng.integers(len(data.latents), size=RECIPE.batch))
        words = torch.where(torch.rand(RECIPE.batch) < UNCONDITIONAL, torch.tensor(len(data.latents)), index)
        x_0 = data.latents[index].float()
        noise, sigma = torch.randn_like(x_0), torch.sigmoid(torch.randn(RECIPE.batch))
        x_t = torch.lerp(x_0, noise, sigma[:, None, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            v = predict(
                hidden_states=x_t, timestep=1000 * sigma, return_dict=False,
                encoder_hidden_states=data.prompts[words].float(), pooled_projections=data.pooled[words].float(),
            )[0]  # fmt: skip
        return F.mse_loss(v.float(), noise - x_0)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(model, loss, RECIPE, work)
    return model.eval(), seconds
