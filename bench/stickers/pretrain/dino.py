"""The self-supervised judge: a ViT trained by self-distillation (DINO, Caron et al. 2021).

It sees no caption and no label. Two views of a picture are two crops of it; in this world the
renderer can also re-compose the same artwork on another background, the background augmentation
of Ryali et al. 2021, so that features are about the subject and not about the scene.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor, nn
from torch.nn import functional as F

from bench.stickers.pretrain.data import to_tensor
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.render import SIZE, render
from bench.stickers.world import Scene, names, sample_scene

if TYPE_CHECKING:
    from transformers import ViTModel

RECIPE = Recipe("dino_judge", steps=800, batch=48, lr=8e-4, decay=0.6, seed=4, weight_decay=0.04)
PROTOTYPES, STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 1024, 0.1, 0.05


def build() -> ViTModel:
    """Returns the untrained transformer (patch 8, as DINO's ViT-S/8)."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(RECIPE.seed)
    config = ViTConfig(
        hidden_size=144, intermediate_size=576, num_hidden_layers=4, num_attention_heads=4,
        image_size=SIZE, patch_size=8, hidden_act="gelu",
    )  # fmt: skip
    return ViTModel(config, add_pooling_layer=False)


class Network(nn.Module):
    """The transformer and DINO's projection head, weight-normalized at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = build()
        self.head = nn.Sequential(nn.Linear(144, 512), nn.GELU(), nn.Linear(512, 128))
        self.prototypes = nn.Linear(128, PROTOTYPES, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns prototype logits (n, 1024) and class-token features (n, 144)."""
        feature = self.vit(pixel_values=x).last_hidden_state[:, 0]
        z = F.normalize(self.head(feature).float(), dim=-1)
        return (z @ F.normalize(self.prototypes.weight.float(), dim=-1).T).float(), feature


def view(scene: Scene, palette: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Returns one view: another background, place and accessory, a crop, a little colour jitter."""
    extra = str(rng.choice(names("accessory")[1:])) if rng.random() < 0.4 else "none"
    place = str(rng.choice(names("scene")))
    image = render(replace(scene, scene=place, accessory=extra, size=int(rng.integers(38, 50))).jittered(rng))
    image = Image.fromarray(np.asarray(image)[..., palette])
    if rng.random() < 0.7:
        side = int(rng.integers(46, SIZE + 1))
        x, y = rng.integers(0, SIZE - side + 1, size=2)
        image = image.crop((x, y, x + side, y + side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.85, 1.15))
    return ImageEnhance.Contrast(image).enhance(rng.uniform(0.85, 1.15))


def spread(features: Tensor) -> Tensor:
    """Returns the KoLeo regularizer (Sablayrolles et al. 2019): nearest features are pushed apart."""
    z = F.normalize(features.float(), dim=-1)
    distance = (z @ z.T).fill_diagonal_(-2).max(dim=1).values
    return -torch.log((2 - 2 * distance).clamp(min=1e-6).sqrt()).mean()


def train(work: Path) -> tuple[ViTModel, float]:
    """Trains the judge. Returns the teacher's transformer and the seconds."""
    student = Network()
    both = nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student)})
    both["teacher"].requires_grad_(False)
    both.register_buffer("centre", torch.zeros(PROTOTYPES))

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = [sample_scene(rng) for _ in range(RECIPE.batch)]
        palettes = [rng.permutation(3) if rng.random() < 0.5 else np.arange(3) for _ in scenes]
        views = [to_tensor([view(s, p, rng) for s, p in zip(scenes, palettes, strict=True)]) for _ in range(2)]
        x = torch.cat(views)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            target, _ = both["teacher"](x)
        with torch.autocast("cpu", torch.bfloat16):
            logits, feature = student(x)
        teach = F.softmax((target - both.centre) / TEACHER_TEMPERATURE, dim=-1)
        both.centre.lerp_(target.mean(dim=0), 0.1)
        told = F.log_softmax(logits / STUDENT_TEMPERATURE, dim=-1)
        swapped = torch.cat(teach.chunk(2)[::-1])
        return -(swapped * told).sum(-1).mean() + 0.1 * sum(spread(f) for f in feature.chunk(2)) / 2

    @torch.no_grad()
    def follow(step: int) -> None:
        keep = 1 - (1 - 0.99) * max(0.1, 1 - step / RECIPE.steps)
        for mean, new in zip(both["teacher"].parameters(), student.parameters(), strict=True):
            mean.lerp_(new, 1 - keep)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(both, loss, RECIPE, work, after_step=follow)
    return both["teacher"].vit.eval(), seconds
