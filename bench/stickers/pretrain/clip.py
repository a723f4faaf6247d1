"""The CLIP judge: an open_clip model trained contrastively on renderings and their captions.

It shares nothing with the text towers that condition generation: other sizes, another seed, another objective.
Contrast alone teaches a picture tower this small the scene and hardly the subject, so the embedding is asked
beside it to name what is in the picture.
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
from bench.stickers.pretrain.data import hard_batch, labels, pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.pretrain.sight import Heads
from bench.stickers.render import SIZE
from bench.stickers.world import loose_caption

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

JUDGE = Recipe("clip_judge", steps=1600, batch=64, lr=1.2e-3, decay=0.5, ema=0.995, seed=2, weight_decay=0.05)
NAMING = 0.5  # weight of naming what is in the picture
JUDGE_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIZE, "layers": 4, "width": 160, "head_width": 40, "patch_size": 8},
    "text_cfg": {"context_length": tok.MAX_LENGTH, "vocab_size": 1022, "width": 128, "heads": 4, "layers": 3,
                 "hf_tokenizer_name": "tokenizer", "pool_type": "argmax"},
}  # fmt: skip


def contrastive(image: Tensor, text: Tensor, ids: Tensor, log_scale: Tensor) -> Tensor:
    """Returns CLIP's symmetric cross entropy; equal captions in a batch are not each other's negatives."""
    logits = log_scale.exp().clamp(max=100) * image @ text.T
    same = (ids[:, None] == ids[None]).all(-1)
    logits = logits.masked_fill(same & ~torch.eye(len(ids), dtype=torch.bool), -1e4)
    target = torch.arange(len(ids))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_judge(work: Path, tokenizer: CLIPTokenizer) -> tuple[nn.Module, float]:
    """Trains the judge, an open_clip model. Returns it and its seconds."""
    import open_clip

    torch.manual_seed(JUDGE.seed)
    JUDGE_CONFIG["text_cfg"]["vocab_size"] = len(tokenizer)
    judge = open_clip.CLIP(
        **{**JUDGE_CONFIG, "text_cfg": {k: v for k, v in JUDGE_CONFIG["text_cfg"].items() if k != "hf_tokenizer_name"}}
    )
    whole = nn.ModuleDict({"judge": judge, "heads": Heads(JUDGE_CONFIG["embed_dim"])})

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = hard_batch(rng, JUDGE.batch)
        words = [loose_caption(s, rng) for s in scenes]
        ids = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16):
            image, text = judge.encode_image(pictures(scenes)), judge.encode_text(ids, normalize=True)
            named = whole["heads"].loss(image, labels(scenes))
        image = F.normalize(image.float(), dim=-1)
        return contrastive(image, text.float(), ids, judge.logit_scale) + NAMING * named

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(whole, loss, JUDGE, work)
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
