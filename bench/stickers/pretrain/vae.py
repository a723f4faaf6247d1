"""The autoencoder: 64×64 pictures to 16×16×8 latents (AutoencoderKL)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.stickers.pretrain.loop import Recipe, fit
from bench.stickers.render import SIZE, render
from bench.stickers.world import sample_scene

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

RECIPE = Recipe("vae", steps=4200, batch=16, lr=1.5e-3, decay=0.4, ema=0.998, weight_decay=0.0)
CROP = 32  # a 32×32 crop costs a quarter of a picture, and all crops show some of the subject
KL_WEIGHT = (3e-4, 3e-3)  # before and after step 2,600: outlines first, then a decoder that forgives noise


def build() -> AutoencoderKL:
    """Returns the untrained autoencoder."""
    from diffusers import AutoencoderKL

    torch.manual_seed(RECIPE.seed)
    return AutoencoderKL(
        block_out_channels=(16, 48, 96),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=8,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=SIZE,
    )


def crops(rng: np.random.Generator, count: int) -> Tensor:
    """Returns random crops in [-1, 1], (count, 3, 32, 32); a third have their colours shuffled,
    so that the autoencoder serves artwork it has never seen.
    """
    out = np.empty((count, CROP, CROP, 3), np.float32)
    for i in range(count):
        x, y = rng.integers(0, SIZE - CROP + 1, size=2)
        crop = np.asarray(render(sample_scene(rng)).crop((x, y, x + CROP, y + CROP)), np.float32) / 127.5 - 1
        if rng.random() < 1 / 3:
            crop = crop[..., rng.permutation(3)] * rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0)
        out[i] = crop
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def loss(vae: AutoencoderKL, x: Tensor, kl_weight: float) -> Tensor:
    """L1 on pixels and on their differences (outlines), and a small KL term."""
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    outlines = sum(F.l1_loss(y.diff(dim=d), x.diff(dim=d)) for d in (-1, -2))
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return F.l1_loss(y, x) + outlines + 0.5 * F.mse_loss(y, x) + kl_weight * kl


def train(work: Path) -> tuple[AutoencoderKL, float]:
    """Trains the autoencoder; its latents are scaled to unit variance by its config.

    Returns:
        The autoencoder and the seconds it took.
    """
    vae = build().to(memory_format=torch.channels_last)

    def step_loss(step: int, rng: np.random.Generator) -> Tensor:
        return loss(vae, crops(rng, RECIPE.batch), KL_WEIGHT[step >= 2600])

    seconds = fit(vae, step_loss, RECIPE, work)
    rng = np.random.default_rng(RECIPE.seed)
    with torch.no_grad():
        pictures = np.stack([np.asarray(render(sample_scene(rng))) for _ in range(256)])
        z = vae.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mean
    vae.register_to_config(scaling_factor=1 / z.std().item(), shift_factor=z.mean().item())
    return vae.eval(), seconds
