"""LAVIS's own BLIP-2 matching on weights and inputs from a file; runs in LAVIS's environment alone.

Reads `inputs.npz` (weights by transformers' names, sizes, pixels, token ids, masks) beside it in the folder
given, builds LAVIS's classes around them, and writes `lavis.npz` with `itm` logits and `itc` cosines.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from lavis.models.blip2_models.blip2_image_text_matching import Blip2ITM
from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
from lavis.models.eva_vit import VisionTransformer
from torch import nn

RENAMED = (
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
    ("vision_model.encoder.layers.", "visual_encoder.blocks."),
    ("vision_model.post_layernorm", "ln_vision"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn.qkv", "attn.qkv"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
    ("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm"),
    ("qformer.encoder", "Qformer.bert.encoder"),
    ("attention.attention", "attention.self"),
    ("crossattention.attention", "crossattention.self"),
    ("vision_projection", "vision_proj"),
    ("text_projection", "text_proj"),
)


def translated(weights: dict) -> dict:
    """Returns weights by LAVIS's names; one bias of queries, keys and values becomes two."""
    out = {}
    for name, value in weights.items():
        for ours, theirs in RENAMED:
            name = name.replace(ours, theirs)
        if name.startswith("embeddings."):
            name = "Qformer.bert." + name
        if name.endswith("attn.qkv.bias"):
            q, k, v = value.chunk(3)
            stem = name[: -len("qkv.bias")]
            out[stem + "q_bias"], out[stem + "v_bias"] = q, v
            if float(k.abs().max()) > 0:  # LAVIS's keys have none; softmax does not see a constant added to them
                sys.stderr.write(f"{name}: the keys' bias (largest {float(k.abs().max()):.4f}) is left out\n")
            continue
        out[name] = value
    return out


def build(sizes: dict) -> nn.Module:
    """Returns LAVIS's model of these sizes without its downloads."""
    model = Blip2ITM.__new__(Blip2ITM)
    nn.Module.__init__(model)
    width, text = sizes["width"], sizes["text_width"]
    model.visual_encoder = VisionTransformer(
        img_size=sizes["image"], patch_size=sizes["patch"], embed_dim=width, depth=sizes["vision_layers"],
        num_heads=sizes["heads"], mlp_ratio=4, qkv_bias=True, use_mean_pooling=False, drop_path_rate=0.0,
        norm_layer=lambda d: nn.LayerNorm(d, eps=1e-6),
    )  # fmt: skip
    model.ln_vision = nn.LayerNorm(width, eps=1e-6)
    config = BertConfig(
        vocab_size=sizes["vocabulary"], hidden_size=text, num_hidden_layers=sizes["text_layers"],
        num_attention_heads=sizes["text_heads"], intermediate_size=4 * text, max_position_embeddings=sizes["length"],
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-12,
    )  # fmt: skip
    config.encoder_width, config.add_cross_attention, config.cross_attention_freq = width, True, 1
    config.query_length = sizes["queries"]
    model.Qformer = BertLMHeadModel(config)
    model.query_tokens = nn.Parameter(torch.zeros(1, sizes["queries"], text))
    model.vision_proj, model.text_proj = (nn.Linear(text, sizes["projection"]) for _ in range(2))
    model.itm_head = nn.Linear(text, 2)
    model.max_txt_len = sizes["length"]
    return model


class Words(dict):
    """What LAVIS expects of a tokenizer's answer."""

    def to(self, device: object) -> SimpleNamespace:
        """Returns the fields as attributes."""
        return SimpleNamespace(**self)


def main(folder: Path) -> None:
    """Scores every pair with both heads."""
    stored = np.load(folder / "inputs.npz", allow_pickle=False)
    sizes = json.loads(str(stored["sizes"]))
    weights = {k[2:]: torch.from_numpy(stored[k]) for k in stored.files if k.startswith("w.")}
    model = build(sizes)
    missing, unexpected = model.load_state_dict(translated(weights), strict=False)
    missing = [m for m in missing if not m.startswith("Qformer.cls") and "position_ids" not in m]
    if missing or unexpected:
        raise SystemExit(f"the weights do not fit: missing {missing[:5]}, unexpected {list(unexpected)[:5]}")
    model = model.float().eval()
    pixels, ids, mask = (torch.from_numpy(stored[k]) for k in ("pixels", "ids", "mask"))
    itm, itc = [], []
    with torch.no_grad():
        for i in range(len(pixels)):
            length = int(mask[i].sum())  # LAVIS pads nothing
            words = Words(input_ids=ids[i : i + 1, :length], attention_mask=mask[i : i + 1, :length])
            model.tokenizer = lambda *args, answer=words, **options: answer
            sample = {"image": pixels[i : i + 1], "text_input": ["-"]}
            itm.append(model(sample, match_head="itm").numpy()[0])
            itc.append(model(sample, match_head="itc").numpy().reshape(-1)[0])
    np.savez(folder / "lavis.npz", itm=np.stack(itm), itc=np.array(itc))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
