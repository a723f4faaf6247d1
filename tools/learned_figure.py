"""Draws docs/learned.png from finished runs: references, the untouched model, and what methods learned.

python tools/learned_figure.py runs whole_cat racing_car minibus …   (runs that are in the store)
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.compose import compose
from bench.plan import Plan, make
from bench.store import Store

CELL, GAP = 96, 4
METHODS = ("dreambooth_lora", "purecc")
PROMPTS = (0, 1, 2, 4)  # of channel `concept`


def column(plan: Plan, store: Store, stage: str) -> list[Image.Image]:
    """Returns a stage's first picture of every shown prompt."""
    folder = store.path(stage, plan.keys[stage])
    return [Image.open(folder / f"concept-{p:02d}-0.png").convert("RGB") for p in PROMPTS]


def main(root: Path, concepts: list[str]) -> None:
    """Writes the figure: a row a concept, a block of pictures for references, base model and each method."""
    store = Store(root)
    rows = []
    for name in concepts:
        plans = [make(*compose([f"+method={m}", f"concept={name}", f"root={root}"])) for m in METHODS]
        references = [Image.open(p).convert("RGB") for p in plans[0].concept.image_paths()[:3]]
        rows.append([references, column(plans[0], store, "base"), *(column(p, store, "generate") for p in plans)])
    labels = ("references", "untouched model", *METHODS)
    widths = [len(block) * (CELL + GAP) + 4 * GAP for block in rows[0]]
    figure = Image.new("RGB", (sum(widths) - 4 * GAP, 24 + len(rows) * (CELL + GAP)), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(15)
    for i, label in enumerate(labels):
        draw.text((sum(widths[:i]), 2), label, fill="black", font=font)
    for r, row in enumerate(rows):
        for i, block in enumerate(row):
            for j, image in enumerate(block):
                place = (sum(widths[:i]) + j * (CELL + GAP), 24 + r * (CELL + GAP))
                figure.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), place)
    figure.save("docs/learned.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
