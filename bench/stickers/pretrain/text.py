"""The two text towers that condition generation, trained contrastively against what scenes are made of.

A picture tower as small as ours does not tell a blue cat from a blue dog, and a text tower trained
against it learns to forget the noun behind a colour: the generator then draws a blue nothing. So the
"image side" here is the truth the pictures are drawn from: one learned vector an attribute value, summed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.stickers.pretrain import tokenizer as tok
from bench.stickers.pretrain.clip import contrastive
from bench.stickers.pretrain.data import hard_batch, labels
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.world import ATTRIBUTES, loose_caption, names

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

RECIPE = Recipe("text", steps=2500, batch=128, lr=1e-3, decay=0.5, ema=0.995, seed=8, weight_decay=0.05)
PROJECTION = 128


class Towers(nn.Module):
    """Two text towers, as Stable Diffusion 3 has, and the vectors of the attributes they are trained against."""

    def __init__(self, vocabulary: int, eos: int) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        def text(width: int) -> CLIPTextModelWithProjection:
            return CLIPTextModelWithProjection(CLIPTextConfig(
                vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3,
                num_attention_heads=4, max_position_embeddings=tok.MAX_LENGTH, projection_dim=PROJECTION,
                bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos, hidden_act="gelu",
            ))  # fmt: skip

        self.text_1, self.text_2 = text(128), text(192)
        self.parts = nn.ModuleDict({a: nn.Embedding(len(names(a)), PROJECTION) for a in ATTRIBUTES})
        self.scale = nn.Parameter(torch.tensor(2.3))

    def code(self, truth: dict[str, Tensor]) -> Tensor:
        """Returns the unit vector of each scene, (n, projection), from its attributes' indices."""
        return F.normalize(torch.stack([self.parts[a](truth[a]) for a in ATTRIBUTES]).sum(0), dim=-1)

    def loss(self, truth: dict[str, Tensor], ids: Tensor) -> Tensor:
        """Returns the symmetric contrastive loss of both towers."""
        texts = [F.normalize(tower(ids).text_embeds.float(), dim=-1) for tower in (self.text_1, self.text_2)]
        return torch.stack([contrastive(self.code(truth), t, ids, self.scale) for t in texts]).mean()


def train(work: Path, tokenizer: CLIPTokenizer) -> tuple[Towers, float]:
    """Trains the towers. Returns them and their seconds."""
    torch.manual_seed(RECIPE.seed)
    towers = Towers(len(tokenizer), tokenizer.eos_token_id)

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = hard_batch(rng, RECIPE.batch)
        words = [loose_caption(s, rng) for s in scenes]
        ids = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16):
            return towers.loss(labels(scenes), ids)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(towers, loss, RECIPE, work)
    return towers.eval(), seconds
