"""The flow transformer, on precomputed latents and prompt embeddings (SD3Transformer2DModel).

The text towers are trained first and frozen: conditioning works within minutes, where training them
jointly with the denoiser had not in an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.progress import track
from bench.stickers.pretrain import encoded
from bench.stickers.pretrain import tokenizer as tok
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.pretrain.text import PROJECTION, Towers

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SD3Transformer2DModel
    from transformers import CLIPTokenizer

RECIPE = Recipe("flow", steps=10_800, batch=32, lr=1e-3, decay=0.25, ema=0.9995, seed=3)
FURTHER = Recipe("flow_further", steps=6_500, batch=32, lr=1e-3, decay=0.3, ema=0.9995, seed=4)
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
def embed(towers: Towers, tokenizer: CLIPTokenizer, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Returns what Stable Diffusion 3 takes from its two CLIP towers: the last but one layer's
    states side by side, (n, 24, 320), and the pooled embeddings, (n, 256).
    """
    ids = tokenizer(captions, padding="max_length", max_length=tok.MAX_LENGTH, truncation=True, return_tensors="pt")
    outs = [tower(ids.input_ids, output_hidden_states=True) for tower in (towers.text_1, towers.text_2)]
    return torch.cat([o.hidden_states[-2] for o in outs], -1), torch.cat([o.text_embeds for o in outs], -1)


def prepare(vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer, work: Path) -> Data:
    """Encodes the training set."""
    words, size = [*encoded.captions(), ""], 200
    batches = track(range(0, len(words), size), "encoding captions", -(-len(words) // size))
    parts = [[t.half() for t in embed(towers, tokenizer, words[i : i + size])] for i in batches]
    prompts, pooled = (torch.cat(column) for column in zip(*parts, strict=True))
    return Data(encoded.latents(vae, work), prompts, pooled)


def train(
    work: Path, data: Data, recipe: Recipe = RECIPE, start: Path | None = None
) -> tuple[SD3Transformer2DModel, float]:
    """Trains the transformer by flow matching with logit-normal times, from `start` or from nothing.

    Returns:
        The transformer and its seconds.
    """
    model = build()
    if start is not None:
        model.load_state_dict(type(model).from_pretrained(start).float().state_dict())
    predict = torch.compile(model)

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        index = torch.from_numpy(rng.integers(len(data.latents), size=recipe.batch))
        words = torch.where(torch.rand(recipe.batch) < UNCONDITIONAL, torch.tensor(len(data.latents)), index)
        x_0 = data.latents[index].float()
        noise, sigma = torch.randn_like(x_0), torch.sigmoid(torch.randn(recipe.batch))
        x_t = torch.lerp(x_0, noise, sigma[:, None, None, None])
        with torch.autocast("cpu", torch.bfloat16):
            v = predict(
                hidden_states=x_t, timestep=1000 * sigma, return_dict=False,
                encoder_hidden_states=data.prompts[words].float(), pooled_projections=data.pooled[words].float(),
            )[0]  # fmt: skip
        return F.mse_loss(v.float(), noise - x_0)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(model, loss, recipe, work)
    return model.eval(), seconds
