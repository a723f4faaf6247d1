"""The oracle: a supervised reader of all five attributes, trained on renderings, that checks the models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.stickers.pretrain.data import labels, pictures
from bench.stickers.pretrain.loop import Recipe, fit
from bench.stickers.world import ATTRIBUTES, names, sample_scene

RECIPE = Recipe("oracle", steps=900, batch=64, lr=2e-3, decay=0.7, ema=0.99, seed=5)


class Oracle(nn.Module):
    """A small convolutional network with one head an attribute."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.GELU(),
                                 nn.Conv2d(b, b, 3, padding=1, groups=8), nn.GroupNorm(8, b), nn.GELU())  # fmt: skip

        self.body = nn.Sequential(block(3, 32), block(32, 64), block(64, 128), block(128, 192))
        self.heads = nn.ModuleDict({a: nn.Linear(192 * 16, len(names(a))) for a in ATTRIBUTES})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns logits for every attribute, (n, values), of pictures (n, 3, 64, 64) in [-1, 1]."""
        z = self.body(x).flatten(1)
        return {a: head(z) for a, head in self.heads.items()}


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Blurs and adds noise, so that the oracle reads generated pictures too."""
    if rng.random() < 0.5:
        small = F.interpolate(x, scale_factor=float(rng.uniform(0.4, 1.0)), mode="bilinear", antialias=True)
        x = F.interpolate(small, size=x.shape[-2:], mode="bilinear")
    return x + float(rng.uniform(0, 0.15)) * torch.randn_like(x)


def train(work: Path) -> tuple[Oracle, float]:
    """Trains the oracle. Returns it and its seconds."""
    torch.manual_seed(RECIPE.seed)
    oracle = Oracle()

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = [sample_scene(rng) for _ in range(RECIPE.batch)]
        truth = labels(scenes)
        logits = oracle(augment(pictures(scenes), rng))
        return sum((F.cross_entropy(logits[a], truth[a], label_smoothing=0.05) for a in ATTRIBUTES), torch.zeros(()))

    seconds = fit(oracle, loss, RECIPE, work)
    return oracle.eval(), seconds


def save(oracle: Oracle, folder: Path) -> None:
    """Writes the oracle's weights (half precision) and the order of its labels."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in oracle.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({a: names(a) for a in ATTRIBUTES}, indent=1) + "\n")


def load(folder: Path) -> Oracle:
    """Loads the oracle."""
    from safetensors.torch import load_file

    oracle = Oracle()
    oracle.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return oracle.eval()
