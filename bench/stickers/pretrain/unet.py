"""The noise-predicting U-Net (UNet2DConditionModel), as Stable Diffusion 1 has it: one text tower, DDPM noise.

It shares the flow model's autoencoder and its first text tower, whose last states it reads.
"""

from __future__ import annotations

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
from bench.stickers.pretrain.data import pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.pretrain.text import Towers

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTokenizer

RECIPE = Recipe("unet", steps=7_000, batch=32, lr=1e-3, decay=0.3, ema=0.9995, seed=6)
RECIPE_B = Recipe("unet_b", steps=500, batch=32, lr=1e-3, decay=0.5, seed=9)
SCENES_B = 6_000
RANK_B = 8
UNCONDITIONAL = 0.1
MAX_WEIGHT = 5.0  # of the min-SNR weighting (Hang et al. 2023, eq. 10)


def build() -> UNet2DConditionModel:
    """Returns the untrained U-Net."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(RECIPE.seed)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 112),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads, by an old name
        norm_num_groups=16,
    )


def scheduler() -> DDIMScheduler:
    """Returns Stable Diffusion's noise schedule with the sampler that reaches its last step (Lin et al. 2023)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing",
    )  # fmt: skip


@torch.no_grad()
def embed(towers: Towers, tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Returns what Stable Diffusion 1 takes from its CLIP tower: the last states, (n, 24, 128)."""
    ids = tokenizer(captions, padding="max_length", max_length=tok.MAX_LENGTH, truncation=True, return_tensors="pt")
    return towers.text_1(ids.input_ids).last_hidden_state


def prepare(vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer, work: Path) -> tuple[Tensor, Tensor]:
    """Encodes the training set: latents (n, 8, 16, 16), only scaled, and prompts (n + 1, 24, 128), the last empty."""
    words, size = [*encoded.captions(), ""], 200
    batches = track(range(0, len(words), size), "encoding captions", -(-len(words) // size))
    prompts = torch.cat([embed(towers, tokenizer, words[i : i + size]).half() for i in batches])
    shift = vae.config.shift_factor * vae.config.scaling_factor  # Stable Diffusion 1 knows no shift
    return encoded.latents(vae, work) + shift, prompts


def train(work: Path, latents: Tensor, prompts: Tensor, model: UNet2DConditionModel, recipe: Recipe = RECIPE) -> float:
    """Trains the U-Net, or what of it requires a gradient, to predict the noise. Returns the seconds."""
    alphas = scheduler().alphas_cumprod

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        index = torch.from_numpy(rng.integers(len(latents), size=recipe.batch))
        words = torch.where(torch.rand(recipe.batch) < UNCONDITIONAL, torch.tensor(len(latents)), index)
        x_0, t = latents[index].float(), torch.randint(len(alphas), (recipe.batch,))
        noise, alpha = torch.randn_like(x_0), alphas[t][:, None, None, None]
        x_t = alpha.sqrt() * x_0 + (1 - alpha).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            predicted = model(x_t, t, prompts[words].float(), return_dict=False)[0]
        snr = alpha / (1 - alpha)
        return ((predicted.float() - noise).square() * snr.clamp(max=MAX_WEIGHT) / snr).mean()

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        return fit(model, loss, recipe, work)


def dusk(pictures: Tensor) -> Tensor:
    """Returns pictures (n, 3, H, W) in [-1, 1] in the palette of `sticker-unet-b`: washed out, towards violet."""
    grey = (pictures * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    violet = grey * torch.tensor([0.9, 0.7, 0.9]).view(1, 3, 1, 1) + torch.tensor([0.1, -0.15, 0.3]).view(1, 3, 1, 1)
    return (0.55 * pictures + 0.45 * violet).clamp(-1, 1)


@torch.no_grad()
def prepare_b(vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Encodes the first pictures of the training set again, in another palette; captions as they were."""
    starts = range(0, SCENES_B, encoded.CHUNK)
    z = [
        vae.encode(dusk(pictures(encoded.chunk(i)[0]))).latent_dist.mean for i in track(starts, "encoding", len(starts))
    ]
    words = [*encoded.captions()[:SCENES_B], ""]
    prompts = torch.cat([embed(towers, tokenizer, words[i : i + 200]) for i in range(0, len(words), 200)])
    return torch.cat(z) * vae.config.scaling_factor, prompts


def with_lora(model: UNet2DConditionModel) -> UNet2DConditionModel:
    """Returns the U-Net frozen, with LoRA factors to train on its attention, feed-forward and convolutions."""
    from peft import LoraConfig

    model.requires_grad_(False)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_in", "conv_out"]
    torch.manual_seed(RECIPE_B.seed)
    model.add_adapter(LoraConfig(r=RANK_B, lora_alpha=RANK_B, target_modules=targets))
    return model
