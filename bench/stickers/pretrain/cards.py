"""Writes a model card into every folder of weights: data, recipe, seconds, what it can and cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import paths
from bench.stickers.pretrain import blip, clip, dino, encoded, flow, oracle, sight, text, unet, vae
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
    own = [k for k in ("oracle_on_renderings", "oracle_on_redrawn") if k in result]
    header = ["attribute", "drawn as asked", "captions that ask", *(k.replace("_", " ") for k in own)]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for a, share in result["drawn"].items():
        cells = [a, f"{share:.1%}", str(result["asked"][a]), *(f"{result[k][a]:.1%}" for k in own)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _read(name: str) -> dict[str, Any]:
    path = paths.weights() / "checks" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _generator_card(name: str, what: str, load: str, recipe: str, work: Path, parts: list[str]) -> str:
    """Returns the card of a pipeline."""
    result, usual = _read(name), _read(f"{name}-usual")
    table = _oracle_table(result) if result else "Not measured yet."
    common = _oracle_table(usual) if usual else "Not measured yet."
    return f"""# {name}

{what} Float16 safetensors.

```python
{load}
```

{DATA}

## Recipe

1. Autoencoder, {_recipe(vae.RECIPE, "vae")} On 32×32 crops: L1, L1 of differences, a KL term.
2. Text towers, {_recipe(text.RECIPE, "text")} Contrastive, every second scene a hard negative; then frozen.
3. {recipe}

Seconds of training: {_seconds(work, *parts)}.
Made again by `python -m bench pretrain {" ".join(p.replace("_", "-") for p in parts)}`.

## What it can do

`python -m bench oracle {name}` draws {result.get("captions", 500)} held-out captions and reads them with the oracle:

{table}

Held out is every caption whose content no generator was trained on: each asks for a colour, an accessory or
both, which is harder than the usual mix. `docs/{name}.png` has the first 64 of them. The usual mix (`--usual`):

{common}

## What it cannot do

Anything outside the world's words. Two subjects in one picture, counting and positions are not in its captions.
"""


def flow_card(work: Path) -> str:
    """Returns the card of the flow pipeline."""
    what = """A small `StableDiffusion3Pipeline`: `SD3Transformer2DModel` (6 joint blocks, width 192, patch 2), `AutoencoderKL`
(64×64×3 → 16×16×8), two `CLIPTextModelWithProjection` towers, no T5."""
    load = """from diffusers import StableDiffusion3Pipeline

pipe = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None).to(torch.float32)
# Without a T5 the pipeline would add empty tokens the model was not trained with: max_sequence_length=0.
pipe("a cartoon of a cat on the beach", max_sequence_length=0, num_inference_steps=20, guidance_scale=3.0)"""
    recipe = f"""Transformer, {_recipe(flow.RECIPE, "flow")} Flow matching, logit-normal times, {flow.UNCONDITIONAL:.0%} empty
   captions, on {encoded.SCENES:,} encoded pictures. The weights here had those steps with earlier text towers (trained
   against pictures, and blind to nouns behind a colour), then went on with the present ones: {_recipe(flow.FURTHER, "flow")}"""
    return _generator_card("sticker-flow", what, load, recipe, work, ["vae", "text", "flow", "flow_further"])


def unet_card(work: Path) -> str:
    """Returns the card of the U-Net pipeline."""
    what = """A small `StableDiffusionPipeline`: `UNet2DConditionModel` (64 and 112 channels, cross-attention at 8×8), the
autoencoder and the first text tower of `sticker-flow`; it predicts the noise."""
    load = """from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained(folder).to(torch.float32)
pipe("a cartoon of a cat on the beach", num_inference_steps=25, guidance_scale=3.0)"""
    recipe = f"""U-Net, {_recipe(unet.RECIPE, "unet")} Noise prediction with min-SNR weights, {unet.UNCONDITIONAL:.0%} empty captions,
   on {encoded.SCENES:,} encoded pictures."""
    return _generator_card("sticker-unet", what, load, recipe, work, ["vae", "text", "unet"])


def unet_b_card(work: Path) -> str:
    """Returns the card of the community checkpoint."""
    result = _read("sticker-unet-b")
    return f"""# sticker-unet-b

`sticker-unet` fine-tuned onto another palette, washed out and towards violet: a "community checkpoint", for adapters that
were trained on the first. What changed is a LoRA file (rank {unet.RANK_B}, float16) that is made part of the weights when the
model is loaded (`conf/model/sticker-unet-b.yaml`); stock diffusers loads it into `sticker-unet` with `load_lora_weights`.

{DATA} Here the first {unet.SCENES_B:,} of them, in the other palette.

## Recipe

{_recipe(unet.RECIPE_B, "unet")}
Seconds of training: {_seconds(work, "unet_b")}. Made again by `python -m bench pretrain unet-b`.

## What it can do

`python -m bench oracle sticker-unet-b`; the oracle was never shown this palette:

{_oracle_table(result) if result else "Not measured yet."}

## What it cannot do

What `sticker-unet` cannot.
"""


def blip_card(work: Path, name: str) -> str:
    """Returns the card of a BLIP judge."""
    result, recipe = _read("judges"), {"blip2-judge": blip.BLIP2, "blip1-judge": blip.BLIP1}[name]
    what = {
        "blip2-judge": "A small BLIP-2 (transformers `Blip2ForImageTextRetrieval`: ViT, Q-Former, ITC and ITM).",
        "blip1-judge": "A small BLIP-1 (transformers `BlipForImageTextRetrieval`). ITC alone is trained: its ITM head is not, and nothing reads it.",
    }[name]
    tower = {"blip2-judge": "The tower stays frozen.", "blip1-judge": "The tower goes on training."}[name]
    columns = [k for k in result if k.startswith(name.removesuffix("-judge")) and k.endswith("_auc")]
    lines = [
        "| score | any attribute | subject | style | colour | accessory | scene |",
        "|---|---|---|---|---|---|---|",
    ]
    for k in columns:
        cells = " | ".join(f"{result[k][a]:.3f}" for a in ("any", "subject", "style", "colour", "accessory", "scene"))
        lines.append(f"| {k.split('_')[1].upper()} | {cells} |")
    table = "\n".join(lines)
    return f"# sticker-{name}\n\n{what} Float16 safetensors.\n\n{DATA}\n\n## Recipe\n\n1. The picture tower, taught to name what is in a picture: {_recipe(sight.RECIPE, 'sight')}\n2. The judge on it: {_recipe(recipe, 'blip')} {tower}\n\nSeconds of training: {_seconds(work, 'sight', recipe.name)}. Made again by `python -m bench pretrain {name}`.\n\n## What it can do\n\nAUC of held-out renderings with their own captions against captions with one attribute changed:\n\n{table}\n\n## What it cannot do\n\nWhat its weakest column says. Words outside the world's.\n"


def judge_card(work: Path, name: str) -> str:
    """Returns the card of a judge."""
    result = _read("judges")
    if name == "clip-judge":
        what = "An open_clip model (`open_clip.create_model('local-dir:…')`), trained contrastively, and to name what is in the picture from the same embedding; it shares nothing with the towers that condition generation."
        how, part = _recipe(clip.JUDGE, "clip"), "clip_judge"
        can = f"Finds the right caption among 100 for {result.get('clip_retrieval_of_100', 0):.1%} of held-out renderings (chance: 1 %)."
        cannot = f"It was not trained to tell artworks of one class apart: the same test as the DINO judge's gives an AUC of {result.get('clip_same_subject_auc', 0):.3f}."
    else:
        what = "A ViT (transformers `ViTModel`, patch 8) trained by self-distillation (DINO) with a contrastive term (MoCo v3), without labels or captions."
        how, part = _recipe(dino.RECIPE, "dino"), "dino_judge"
        by = result.get("dino_same_subject_auc_by_subject", {})
        can = f"Ranks pictures of a personal subject above other artwork of its class with AUC {result.get('dino_same_subject_auc', 0):.3f} (mean over {len(by)} subjects never seen)."
        weak = sorted(by, key=lambda k: by[k])[:3]
        cannot = (
            "Its weakest subjects: " + ", ".join(f"{k} {by[k]:.3f}" for k in weak) + "."
            if weak
            else "Not measured yet."
        )
    return f"# sticker-{name}\n\n{what} Float16 safetensors.\n\n{DATA}\n\n## Recipe\n\n{how}\nSeconds of training: {_seconds(work, part)}.\n\n## What it can do\n\n{can}\n\n## What it cannot do\n\n{cannot}\n\nBoth figures: `python -m bench judges`.\n"


def oracle_card(work: Path) -> str:
    """Returns the card of the oracle."""
    rows = [
        f"| {how}, {model} | " + " | ".join(f"{v:.1%}" for v in _read(model)[key].values()) + " |"
        for model in ("sticker-flow", "sticker-unet")
        for how, key in (("renderings", "oracle_on_renderings"), ("renderings redrawn", "oracle_on_redrawn"))
        if _read(model)
    ]
    table = "\n".join(
        ["| pictures | subject | style | colour | accessory | scene |", "|---|---|---|---|---|---|", *rows]
    )
    return f"# oracle\n\nA small convolutional network with one head for each attribute, trained on labelled renderings, blurred and noised. It checks the models, and it is the reader that the metrics of detection ask.\n\n{DATA}\n\n## Recipe\n\n{_recipe(oracle.RECIPE, 'oracle')}\nSeconds of training: {_seconds(work, 'oracle')}.\n\n## What it can do\n\nRead pictures whose content is known: 500 held-out renderings, and the same redrawn by a model from partial noise without a prompt, so that they look generated:\n\n{table}\n\n## What it cannot do\n\nSay that a picture shows nothing it knows: it always names something.\n"


def write(work: Path) -> None:
    """Writes all cards."""
    weights = paths.weights()
    for card, name in ((flow_card, "sticker-flow"), (unet_card, "sticker-unet")):
        if (weights / name).exists():
            (weights / name / "README.md").write_text(card(work), encoding="utf-8")
    if (weights / "sticker-unet-b").exists():
        (weights / "sticker-unet-b" / "README.md").write_text(unet_b_card(work), encoding="utf-8")
    for name in (n for n in ("blip2-judge", "blip1-judge") if (weights / n).exists()):
        (weights / name / "README.md").write_text(blip_card(work, name), encoding="utf-8")
    for name in ("clip-judge", "dino-judge"):
        (weights / name / "README.md").write_text(judge_card(work, name), encoding="utf-8")
    (weights / "oracle" / "README.md").write_text(oracle_card(work), encoding="utf-8")
