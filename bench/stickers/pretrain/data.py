"""Batches of the embedded world as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.stickers.render import render
from bench.stickers.world import ATTRIBUTES, Scene, names, neighbour_scene, sample_scene

if TYPE_CHECKING:
    from PIL import Image


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Returns pictures as (n, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures(scenes: list[Scene]) -> Tensor:
    """Returns the renderings of scenes, (n, 3, 64, 64) in [-1, 1]."""
    return to_tensor([render(s) for s in scenes])


def hard_batch(rng: np.random.Generator, count: int) -> list[Scene]:
    """Returns scenes of which every second one differs from the one before in a single attribute."""
    firsts = [sample_scene(rng) for _ in range(count // 2)]
    return [s for first in firsts for s in (first, neighbour_scene(first, rng))]


def labels(scenes: list[Scene]) -> dict[str, Tensor]:
    """Returns the index of every attribute's value, (n,) each."""
    return {a: torch.tensor([names(a).index(getattr(s, a)) for s in scenes]) for a in ATTRIBUTES}
