"""Two contrastive pairs: one whose text towers condition generation, and one that judges.

The first is transformers' CLIP with two text towers against one image tower, as Stable Diffusion 3
has two; the second is open_clip's, of another size and seed, and shares nothing with the first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.stickers.pretrain import tokenizer as tok
from bench.stickers.pretrain.data import hard_batch, pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.render import SIZE
from bench.stickers.world import loose_caption

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

PAIR = Recipe("clip_pair", steps=1000, batch=64, lr=1e-3, decay=0.5, ema=0.995, seed=1, weight_decay=0.05)
JUDGE = Recipe("clip_judge", steps=900, batch=64, lr=1.2e-3, decay=0.5, ema=0.995, seed=2, weight_decay=0.05)
PROJECTION = 128
JUDGE_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIZE, "layers": 4, "width": 160, "head_width": 40, "patch_size": 8},
    "text_cfg": {"context_length": tok.MAX_LENGTH, "vocab_size": 1022, "width": 128, "heads": 4, "layers": 3,
                 "hf_tokenizer_name": "tokenizer", "pool_type": "argmax"},
}  # fmt: skip


class Pair(nn.Module):
    """One image tower and two text towers, all projected into one space."""

    def __init__(self, vocabulary: int, eos: int) -> None:
        super().__init__()
        from transformers import (
            CLIPTextConfig,
            CLIPTextModelWithProjection,
            CLIPVisionConfig,
            CLIPVisionModelWithProjection,
        )

        def text(width: int) -> CLIPTextModelWithProjection:
            return CLIPTextModelWithProjection(CLIPTextConfig(
                vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=3,
                num_attention_heads=4, max_position_embeddings=tok.MAX_LENGTH, projection_dim=PROJECTION,
                bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos, hidden_act="gelu",
            ))  # fmt: skip

        self.text_1, self.text_2 = text(128), text(192)
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(
            hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
            image_size=SIZE, patch_size=8, projection_dim=PROJECTION, hidden_act="gelu",
        ))  # fmt: skip
        self.scale = nn.Parameter(torch.tensor(2.3))

    def loss(self, x: Tensor, ids: Tensor) -> Tensor:
        """Returns the symmetric contrastive loss of both text towers."""
        image = F.normalize(self.vision(x).image_embeds.float(), dim=-1)
        texts = [F.normalize(tower(ids).text_embeds.float(), dim=-1) for tower in (self.text_1, self.text_2)]
        return sum((contrastive(image, text, ids, self.scale) for text in texts), torch.zeros(())) / 2


def contrastive(image: Tensor, text: Tensor, ids: Tensor, log_scale: Tensor) -> Tensor:
    """Returns CLIP's symmetric cross entropy; equal captions in a batch are not each other's negatives."""
    logits = log_scale.exp().clamp(max=100) * image @ text.T
    same = (ids[:, None] == ids[None]).all(-1)
    logits = logits.masked_fill(same & ~torch.eye(len(ids), dtype=torch.bool), -1e4)
    target = torch.arange(len(ids))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def batch(rng: np.random.Generator, count: int, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Returns pictures (n, 3, 64, 64) and token ids (n, 24), every second one a hard negative."""
    scenes = hard_batch(rng, count)
    words = [loose_caption(s, rng) for s in scenes]
    ids = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return pictures(scenes), ids


def train_pair(work: Path, tokenizer: CLIPTokenizer) -> tuple[Pair, float]:
    """Trains the pair that conditions generation. Returns it and its seconds."""
    torch.manual_seed(PAIR.seed)
    pair = Pair(len(tokenizer), tokenizer.eos_token_id)

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        x, ids = batch(rng, PAIR.batch, tokenizer)
        with torch.autocast("cpu", torch.bfloat16):
            return pair.loss(x, ids)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(pair, loss, PAIR, work)
    return pair.eval(), seconds


def train_judge(work: Path, tokenizer: CLIPTokenizer) -> tuple[nn.Module, float]:
    """Trains the judge, an open_clip model. Returns it and its seconds."""
    import open_clip

    torch.manual_seed(JUDGE.seed)
    JUDGE_CONFIG["text_cfg"]["vocab_size"] = len(tokenizer)
    judge = open_clip.CLIP(
        **{**JUDGE_CONFIG, "text_cfg": {k: v for k, v in JUDGE_CONFIG["text_cfg"].items() if k != "hf_tokenizer_name"}}
    )

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        x, ids = batch(rng, JUDGE.batch, tokenizer)
        with torch.autocast("cpu", torch.bfloat16):
            image, text = judge.encode_image(x, normalize=True), judge.encode_text(ids, normalize=True)
        return contrastive(image.float(), text.float(), ids, judge.logit_scale)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(judge, loss, JUDGE, work)
    return judge.eval(), seconds


def save_judge(judge: nn.Module, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the judge as a folder that `open_clip.create_model('local-dir:…')` loads."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"size": SIZE, "mode": "RGB", "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic",
                  "resize_mode": "shortest", "fill_color": 0}  # fmt: skip
    config = {"model_cfg": JUDGE_CONFIG, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {k: v.half().contiguous() for k, v in judge.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    tok.train(folder)
