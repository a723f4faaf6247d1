"""The picture tower of the BLIP judges: a ViT that is taught to name what is in a picture.

Contrastive training alone teaches a tower this small the scene and the colour, and hardly the subject.
BLIP-2 reads a picture encoder that was trained before it and stays frozen (Li et al. 2023, section 3);
this is ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.stickers.pretrain.data import labels, pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.render import SIZE
from bench.stickers.world import ATTRIBUTES, names, sample_scene

if TYPE_CHECKING:
    from transformers import Blip2VisionModel

RECIPE = Recipe("sight", steps=1500, batch=96, lr=1e-3, decay=0.6, ema=0.99, seed=13, weight_decay=0.05)
WIDTH = 144
VISION: dict[str, Any] = {
    "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4,
    "image_size": SIZE, "patch_size": 8, "hidden_act": "gelu",
}  # fmt: skip


class Heads(nn.Module):
    """One linear reader an attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of = nn.ModuleDict({a: nn.Linear(width, len(names(a))) for a in ATTRIBUTES})

    def loss(self, feature: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """Returns the summed cross entropy of features (n, width) against the attributes' indices (n,)."""
        parts = [F.cross_entropy(self.of[a](feature).float(), truth[a]) for a in ATTRIBUTES]
        return torch.stack(parts).sum()


def build() -> Blip2VisionModel:
    """Returns the untrained tower."""
    from transformers import Blip2VisionConfig, Blip2VisionModel

    torch.manual_seed(RECIPE.seed)
    tower = Blip2VisionModel(Blip2VisionConfig(**VISION, attention_dropout=0.0))
    for embedding in (tower.embeddings.class_embedding, tower.embeddings.position_embedding):
        nn.init.normal_(embedding, std=0.02)
    return tower


def train(work: Path) -> tuple[nn.Module, float]:
    """Trains the tower. Returns it and its seconds."""
    whole = nn.ModuleDict({"tower": build(), "heads": Heads(WIDTH)})

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = [sample_scene(rng) for _ in range(RECIPE.batch)]
        with torch.autocast("cpu", torch.bfloat16):
            feature = whole["tower"](pixel_values=pictures(scenes)).last_hidden_state[:, 0]
            return whole["heads"].loss(feature, labels(scenes))

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(whole, loss, RECIPE, work)
    return whole["tower"].eval(), seconds
