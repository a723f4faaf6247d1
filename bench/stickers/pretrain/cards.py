"""Writes a model card into every folder of weights: data, recipe, seconds, what it can and cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import paths
from bench.stickers.pretrain import clip, dino, flow, oracle, vae
from bench.stickers.pretrain.loop import Recipe

DATA = """## Data

Pictures of the embedded world, drawn by `bench/stickers/render.py` from the committed artwork, with exact captions.
Personal subjects, held-out art styles and the reference pictures of `datasets/stickers/concepts` were never seen."""


def _recipe(recipe: Recipe, module: str) -> str:
    shown = f"{recipe.steps:,} steps of batch {recipe.batch}, AdamW, peak rate {recipe.lr:g}, seed {recipe.seed}"
    average = f", averaged weights ({recipe.ema:g})" if recipe.ema else ""
    return f"`bench/stickers/pretrain/{module}.py`: {shown}{average}."


def _seconds(work: Path, *parts: str) -> str:
    path = work / "seconds.json"
    known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    spent = [f"{p} {known[p]:,} s" for p in parts if p in known]
    return ", ".join(spent) + " on two CPU cores shared with other work" if spent else "not recorded"


def _oracle_table(result: dict[str, Any]) -> str:
    lines = ["| attribute | drawn as asked | captions that ask | oracle on renderings |", "|---|---|---|---|"]
    for a, share in result["drawn"].items():
        lines.append(f"| {a} | {share:.1%} | {result['asked'][a]} | {result['oracle_on_renderings'][a]:.1%} |")
    return "\n".join(lines)


def _read(name: str) -> dict[str, Any]:
    path = paths.weights() / "checks" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def flow_card(work: Path) -> str:
    """Returns the card of the flow pipeline."""
    result = _read("sticker-flow")
    table = _oracle_table(result) if result else "Not measured yet."
    return f"""# sticker-flow

A small `StableDiffusion3Pipeline`: `SD3Transformer2DModel` (6 joint blocks, width 192, patch 2), `AutoencoderKL`
(64×64×3 → 16×16×8), two `CLIPTextModelWithProjection` towers, no T5. Float16 safetensors.

```python
from diffusers import StableDiffusion3Pipeline

pipe = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None).to(torch.float32)
pipe("a cartoon of a cat on the beach", max_sequence_length=0, num_inference_steps=20, guidance_scale=3.0)
```

`max_sequence_length=0` matters: without a T5 the pipeline would add that many empty tokens, which the model was not trained with.

{DATA}

## Recipe

1. Autoencoder, {_recipe(vae.RECIPE, "vae")} On 32×32 crops: L1, L1 of differences, a KL term.
2. Text towers, {_recipe(clip.PAIR, "clip")} Contrastive, every second picture a hard negative; then frozen.
3. Transformer, {_recipe(flow.RECIPE, "flow")} Flow matching, logit-normal times, {flow.UNCONDITIONAL:.0%} empty captions,
   on {flow.SCENES:,} encoded pictures.

Seconds of training: {_seconds(work, "vae", "clip", "flow")}.
Made again by `python -m bench pretrain vae clip flow`.

## What it can do

`python -m bench oracle sticker-flow` draws {result.get("captions", 500)} held-out captions (20 steps, guidance 3.0) and reads them with the oracle:

{table}

Held out is every caption whose content the transformer was not trained on: each asks for a colour, an accessory or
both, which is harder than the usual mix (`--usual`). `docs/sticker-flow.png` has the first 64 of them.

## What it cannot do

Draw subjects reliably in combinations it never saw (see the table): outlines are still soft, tinted subjects most of all.
Anything outside the world's words. Two subjects in one picture, counting and positions are not in its captions.
"""


def judge_card(work: Path, name: str) -> str:
    """Returns the card of a judge."""
    result = _read("judges")
    if name == "clip-judge":
        what = "An open_clip model (`open_clip.create_model('local-dir:…')`), trained contrastively; another size and seed than the pair that conditions generation."
        how, part = _recipe(clip.JUDGE, "clip"), "clip_judge"
        can = f"Finds the right caption among 100 for {result.get('clip_retrieval_of_100', 0):.1%} of held-out renderings (chance: 1 %)."
        cannot = f"It was not trained to tell artworks of one class apart: the same test as the DINO judge's gives an AUC of {result.get('clip_same_subject_auc', 0):.3f}."
    else:
        what = "A ViT (transformers `ViTModel`, patch 8) trained by self-distillation (DINO) with a contrastive term (MoCo v3), without labels or captions."
        how, part = _recipe(dino.RECIPE, "dino"), "dino_judge"
        can = f"Ranks pictures of a personal subject above other artwork of its class with AUC {result.get('dino_same_subject_auc', 0):.3f} (mean over 16 subjects never seen)."
        by = result.get("dino_same_subject_auc_by_subject", {})
        weak = sorted(by, key=lambda k: by[k])[:3]
        cannot = (
            "Its weakest subjects: " + ", ".join(f"{k} {by[k]:.3f}" for k in weak) + "."
            if weak
            else "Not measured yet."
        )
    return f"# sticker-{name}\n\n{what} Float16 safetensors.\n\n{DATA}\n\n## Recipe\n\n{how}\nSeconds of training: {_seconds(work, part)}.\n\n## What it can do\n\n{can}\n\n## What it cannot do\n\n{cannot}\n\nBoth figures: `python -m bench judges`.\n"


def oracle_card(work: Path) -> str:
    """Returns the card of the oracle."""
    result = _read("sticker-flow").get("oracle_on_renderings", {})
    seen = ", ".join(f"{a} {v:.1%}" for a, v in result.items()) or "not measured yet"
    return f"# oracle\n\nA small convolutional network with one head for each attribute, trained on labelled renderings, blurred and noised. It checks the models; it scores no method.\n\n{DATA}\n\n## Recipe\n\n{_recipe(oracle.RECIPE, 'oracle')}\nSeconds of training: {_seconds(work, 'oracle')}.\n\n## What it can do\n\nOn 500 held-out renderings: {seen}.\n\n## What it cannot do\n\nSay that a picture shows nothing it knows: it always names something.\n"


def write(work: Path) -> None:
    """Writes all cards."""
    weights = paths.weights()
    (weights / "sticker-flow" / "README.md").write_text(flow_card(work), encoding="utf-8")
    for name in ("clip-judge", "dino-judge"):
        (weights / name / "README.md").write_text(judge_card(work, name), encoding="utf-8")
    (weights / "oracle" / "README.md").write_text(oracle_card(work), encoding="utf-8")
