"""The self-supervised judge: a ViT trained by self-distillation (DINO, Caron et al. 2021).

It sees no caption and no label. The renderer re-composes the same artwork on another background for
the second view, the background augmentation of Ryali et al. 2021, so that features are about the
subject and not about the scene. A contrastive term keeps near artworks apart (MoCo v3); chimeras of
two sprites make artworks that no atlas holds, as the subjects it will judge are in none either.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
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
from bench.stickers.render import SIZE, render, sprite, tint
from bench.stickers.world import Scene, names, sample_scene, world

if TYPE_CHECKING:
    from transformers import ViTModel

RECIPE = Recipe("dino_judge", steps=1000, batch=40, lr=8e-4, decay=0.6, seed=4, weight_decay=0.04)
PROTOTYPES, STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, CONTRAST_TEMPERATURE = 1024, 0.1, 0.05, 0.1


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


@dataclass(frozen=True)
class Thing:
    """One artwork to recognize: a sprite in a palette, or a chimera of two, which no atlas holds."""

    scene: Scene
    body: Image.Image
    palette: tuple[int, ...]


def _cell(scene: Scene) -> Image.Image:
    """Returns the subject's sprite on a square cell, coloured as the scene says."""
    art = sprite(world()["styles"][scene.style][1], scene.subject)
    art = art if scene.colour == "none" else tint(art, scene.colour)
    cell = Image.new("RGBA", (SIZE, SIZE))
    cell.paste(art, ((SIZE - art.width) // 2, (SIZE - art.height) // 2))
    return cell


def chimera(first: Scene, second: Scene, rng: np.random.Generator) -> Image.Image:
    """Returns one sprite with a part of another pasted over: top or bottom, left or right."""
    cell, other = _cell(first), _cell(second)
    cut = int(rng.integers(24, 41))
    box = [(0, 0, SIZE, cut), (0, cut, SIZE, SIZE), (0, 0, cut, SIZE), (cut, 0, SIZE, SIZE)][int(rng.integers(4))]
    cell.paste(other.crop(box), box[:2])
    return cell


def things(rng: np.random.Generator, count: int) -> list[Thing]:
    """Returns artworks of which every second one is near to the one before: the same sprite with another
    part, in another art style or in another palette.
    """
    out: list[Thing] = []
    for _ in range(count // 2):
        first, second, third = (sample_scene(rng) for _ in range(3))
        plain = tuple(int(i) for i in (rng.permutation(3) if rng.random() < 0.5 else np.arange(3)))
        kind = rng.random()
        if kind < 0.4:
            pair = [Thing(first, chimera(first, s, rng), plain) for s in (second, third)]
        elif kind < 0.8:
            style = str(rng.choice([s for s in names("style") if s != first.style]))
            pair = [Thing(s, _cell(s), plain) for s in (first, replace(first, style=style))]
        else:
            pair = [Thing(first, _cell(first), plain), Thing(first, chimera(first, second, rng), plain)]
        out += pair
    return out


def view(thing: Thing, rng: np.random.Generator) -> Image.Image:
    """Returns one view: another background, place and accessory, a crop, a little colour jitter."""
    extra = str(rng.choice(names("accessory")[1:])) if rng.random() < 0.4 else "none"
    place, size = str(rng.choice(names("scene"))), int(rng.integers(40, 49))
    scene = replace(thing.scene, scene=place, accessory=extra, colour="none", size=size).jittered(rng)
    body = Image.fromarray(np.asarray(thing.body)[..., [*thing.palette, 3]])
    image = render(scene, art=body.crop(body.getchannel("A").getbbox()))
    if rng.random() < 0.5:
        side = int(rng.integers(52, SIZE + 1))
        x, y = rng.integers(0, SIZE - side + 1, size=2)
        image = image.crop((x, y, x + side, y + side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.9, 1.1))


def contrast(one: Tensor, two: Tensor) -> Tensor:
    """Returns the symmetric InfoNCE of two views' class tokens, as MoCo v3 (Chen et al. 2021) has it."""
    logits = F.normalize(one, dim=-1) @ F.normalize(two, dim=-1).T / CONTRAST_TEMPERATURE
    target = torch.arange(len(one))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train(work: Path) -> tuple[ViTModel, float]:
    """Trains the judge. Returns the teacher's transformer and the seconds."""
    student = Network()
    both = nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student)})
    both["teacher"].requires_grad_(False)
    both.register_buffer("centre", torch.zeros(PROTOTYPES))

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        batch = things(rng, RECIPE.batch)
        x = torch.cat([to_tensor([view(t, rng) for t in batch]) for _ in range(2)])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            target, _ = both["teacher"](x)
        with torch.autocast("cpu", torch.bfloat16):
            logits, feature = student(x)
        teach = F.softmax((target - both.centre) / TEACHER_TEMPERATURE, dim=-1)
        both.centre.lerp_(target.mean(dim=0), 0.1)
        told = F.log_softmax(logits / STUDENT_TEMPERATURE, dim=-1)
        swapped = torch.cat(teach.chunk(2)[::-1])
        distill = -(swapped * told).sum(-1).mean()
        return 0.5 * distill + contrast(*feature.float().chunk(2))

    @torch.no_grad()
    def follow(step: int) -> None:
        keep = 1 - (1 - 0.99) * max(0.1, 1 - step / RECIPE.steps)
        for mean, new in zip(both["teacher"].parameters(), student.parameters(), strict=True):
            mean.lerp_(new, 1 - keep)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(both, loss, RECIPE, work, after_step=follow)
    return both["teacher"].vit.eval(), seconds
