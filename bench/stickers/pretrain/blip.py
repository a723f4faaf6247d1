"""The BLIP judges: a small BLIP-2 (ITC and ITM) and a small BLIP-1 (ITC), of transformers' own classes.

Both begin with the tower of `sight`, which knows what is in a picture; BLIP-2's stays frozen, as the paper has it.
ClassDiffusion's paper says BLIP-2 and its released code runs BLIP-1; both are here, under names of their own.
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
from bench.stickers.pretrain.clip import contrastive
from bench.stickers.pretrain.data import hard_batch, pictures
from bench.stickers.pretrain.loop import Recipe, fit, plain_attention
from bench.stickers.pretrain.sight import VISION
from bench.stickers.render import SIZE
from bench.stickers.world import loose_caption

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

BLIP2 = Recipe("blip2_judge", steps=2000, batch=64, lr=1e-3, decay=0.5, ema=0.995, seed=11, weight_decay=0.05)
BLIP1 = Recipe("blip1_judge", steps=1200, batch=64, lr=1e-3, decay=0.5, ema=0.995, seed=12, weight_decay=0.05)
WIDTH, HEADS, PROJECTION, QUERIES = 96, 4, 64, 8
TEXT: dict[str, Any] = {
    "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": HEADS,
    "encoder_hidden_size": VISION["hidden_size"],
    "max_position_embeddings": tok.MAX_LENGTH, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def build_blip2(tokenizer: CLIPTokenizer) -> nn.Module:
    """Returns the untrained BLIP-2, its Q-Former reading the picture in every layer."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval

    torch.manual_seed(BLIP2.seed)
    qformer = TEXT | {"num_hidden_layers": 3, "vocab_size": len(tokenizer), "cross_attention_frequency": 1,
                      "use_qformer_text_input": True, "pad_token_id": None}  # fmt: skip
    model = Blip2ForImageTextRetrieval(Blip2Config(
        vision_config=VISION, qformer_config=qformer, image_text_hidden_size=PROJECTION, num_query_tokens=QUERIES,
        image_token_index=None, text_config={"model_type": "opt", "num_hidden_layers": 0},
    ))  # fmt: skip
    nn.init.normal_(model.query_tokens, std=0.02)
    return model


def build_blip1(tokenizer: CLIPTokenizer) -> nn.Module:
    """Returns the untrained BLIP-1."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    torch.manual_seed(BLIP1.seed)
    text = TEXT | {"num_hidden_layers": 2, "vocab_size": len(tokenizer), "projection_dim": PROJECTION,
                   "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
                   "sep_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    config = BlipConfig(vision_config=VISION, text_config=text, image_text_hidden_size=PROJECTION)
    return BlipForImageTextRetrieval(config)


def contrast(similarity: Tensor, ids: Tensor, log_scale: Tensor) -> Tensor:
    """Returns the symmetric cross entropy of similarities (n, n); equal captions are not each other's negatives."""
    eye = torch.eye(len(ids))
    return contrastive(similarity, eye, ids, log_scale)


def blip2_loss(model: Any, log_scale: Tensor, x: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Returns ITC + ITM (Li et al. 2023, section 3.1); each picture's hard negative is its neighbour's caption."""
    with torch.no_grad():
        seen = model.vision_model(pixel_values=x).last_hidden_state
    queries = model.query_tokens.expand(len(x), -1, -1)
    picture = model.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
    words = model.qformer(query_embeds=model.embeddings(input_ids=ids), query_length=0, attention_mask=mask)
    image = F.normalize(model.vision_projection(picture).float(), dim=-1)
    text = F.normalize(model.text_projection(words.last_hidden_state[:, 0]).float(), dim=-1)
    itc = contrast(torch.einsum("iqd,jd->ijq", image, text).amax(-1), ids, log_scale)
    other = torch.arange(len(x)).view(-1, 2).flip(1).flatten()  # scenes come in pairs that differ in one thing
    pair_ids, pair_mask = torch.cat([ids, ids[other]]), torch.cat([mask, mask[other]])
    query_mask = torch.ones(2 * len(x), queries.shape[1], dtype=mask.dtype)
    both = model.qformer(
        query_embeds=model.embeddings(input_ids=pair_ids, query_embeds=queries.repeat(2, 1, 1)),
        query_length=queries.shape[1],
        attention_mask=torch.cat([query_mask, pair_mask], 1),
        encoder_hidden_states=seen.repeat(2, 1, 1),
    ).last_hidden_state[:, : queries.shape[1]]
    logits = model.itm_head(both).float().mean(1)
    truth = torch.cat([torch.ones(len(x)), (ids == ids[other]).all(-1).float()]).long()
    return itc + F.cross_entropy(logits, truth)


def blip1_loss(model: Any, log_scale: Tensor, x: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Returns ITC (Li et al. 2022, section 3.2)."""
    image = F.normalize(model.vision_proj(model.vision_model(pixel_values=x).last_hidden_state[:, 0]).float(), dim=-1)
    words = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    text = F.normalize(model.text_proj(words).float(), dim=-1)
    return contrast(image @ text.T, ids, log_scale)


def train(name: str, work: Path, tokenizer: CLIPTokenizer, sight: dict[str, Tensor]) -> tuple[nn.Module, float]:
    """Trains the judge `blip2` or `blip1`, its picture tower from `sight`. Returns it and its seconds."""
    build, step_loss, recipe = {"blip2": (build_blip2, blip2_loss, BLIP2), "blip1": (build_blip1, blip1_loss, BLIP1)}[
        name
    ]
    whole = nn.ModuleDict({"judge": build(tokenizer)})
    tower: Any = whole["judge"].vision_model
    tower.load_state_dict(sight)
    tower.requires_grad_(name == "blip1")
    whole.register_parameter("log_scale", nn.Parameter(torch.tensor(2.3)))

    def loss(step: int, rng: np.random.Generator) -> Tensor:
        scenes = hard_batch(rng, recipe.batch)
        words = [loose_caption(s, rng) for s in scenes]
        text = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            return step_loss(whole["judge"], whole.log_scale, pictures(scenes), text.input_ids, text.attention_mask)

    with mock.patch.object(F, "scaled_dot_product_attention", plain_attention):
        seconds = fit(whole, loss, recipe, work)
    return whole["judge"].eval(), seconds


def save(model: Any, folder: Path) -> None:
    """Writes the judge as a transformers folder, half precision, with its tokenizer and its preprocessing."""
    model.half().save_pretrained(folder)
    tok.train(folder)
    preprocess = {"image_processor_type": "BlipImageProcessor", "size": {"height": SIZE, "width": SIZE},
                  "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocess, indent=2) + "\n")
