"""Draws docs/inversion.webp from finished runs: what new words bring back of what was erased, and of what none knew.

python tools/inversion_figure.py runs erase_panda   (runs of every method on sticker-unet, in the store)
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.attack_keys import part_key
from bench.compose import compose
from bench.grid import NOVELTY
from bench.plan import Plan, make
from bench.store import Store

CELL, GAP, LABEL = 80, 4, 150
METHODS = ("none", "spm", "esd", "uce", "esd_u", "concept_ablation")


def drawn(plan: Plan, store: Store, channel: str) -> list[Path]:
    """Returns the first picture of every prompt that a word was found for on the erased model."""
    return sorted(store.path("generate", part_key(plan.keys[channel], f"{channel} model")).glob("*-0.png"))


def main(root: Path, concept: str) -> None:
    """Writes the figure: the references, then a row a method; the erased thing first, then the unknown ones."""
    store = Store(root)
    plans = [
        make(*compose([f"+method={m}", f"concept={concept}", "model=sticker-unet", f"root={root}"])) for m in METHODS
    ]
    novel = plans[0].novel
    if novel is None:
        sys.exit("the dataset names no thing that no model knows")
    things = [t.folder / t.references[0].image for t in novel.apart or [novel]]
    rows = [("looked for", plans[0].concept.image_paths()[:4], things)]
    for name, plan in zip(METHODS, plans, strict=True):
        rows.append(
            (
                name if name != "none" else "untouched model",
                drawn(plan, store, "inversion"),
                drawn(plan, store, NOVELTY),
            )
        )
    left = LABEL + 4 * (CELL + GAP) + 4 * GAP
    figure = Image.new("RGB", (left + len(things) * (CELL + GAP), len(rows) * (CELL + GAP) + 24), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(15)
    draw.text((LABEL, 2), f"erased: {plans[0].concept.class_phrase}", fill="black", font=font)
    draw.text((left, 2), "never known", fill="black", font=font)
    for r, (name, *blocks) in enumerate(rows):
        top = 24 + r * (CELL + GAP)
        draw.text((0, top + CELL // 2 - 10), name, fill="black", font=font)
        for start, block in zip((LABEL, left), blocks, strict=True):
            for k, path in enumerate(block):
                picture = Image.open(path).convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)
                figure.paste(picture, (start + k * (CELL + GAP), top))
    figure.save("docs/inversion.webp", quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
