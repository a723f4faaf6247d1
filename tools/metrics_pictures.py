"""Draws docs/metrics/NAME.webp: what a metric tells apart, in scenes of the embedded world's renderer.

python tools/metrics_pictures.py
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.stickers.render import render  # noqa: E402
from bench.stickers.world import Scene  # noqa: E402

CELL, GAP, HEAD = 96, 6, 38
CAT = Scene("cat", "cartoon", "grass")
ROCKET = Scene("rocket", "cartoon", "beach")
REFERENCE = ROOT / "datasets" / "stickers" / "concepts" / "whole_cat"
Shown = tuple[str, Image.Image]


def _reference(index: int) -> Image.Image:
    return Image.open(REFERENCE / f"{index}.png").convert("RGB")


def strips() -> dict[str, list[Shown]]:
    """Returns name → what stands side by side, each under its words."""
    plain, night = render(CAT), render(replace(CAT, scene="night"))
    return {
        "fidelity": [("reference", _reference(0)), ("in a new scene:\nhigh", _reference(2)),
                     ("another cat:\nlow", plain), ("a reference again:\ncopied", _reference(0))],
        "drift": [("untouched model", plain), ("same: drift 0", plain),
                  ("moved: a little", render(replace(CAT, dx=8))), ("other scene: more", night)],
        "leakage": [("asked: a cat;\nuntouched", plain), ("pure: 0", plain), ("leaked: 1", _reference(0))],
        "erosion": [("asked: a rocket;\nuntouched", render(ROCKET)), ("kept: 0", render(ROCKET)),
                    ("eroded: 1", render(replace(ROCKET, subject="house")))],
        "erasing": [("asked: a cat;\nnever erased: 1", plain),
                    ("asked for\nits surrogate: 0", render(replace(CAT, subject="dog"))),
                    ("erased well", render(replace(CAT, subject="dog", dx=4))), ("not erased", night)],
        "diversity": [("one prompt,\ntwo seeds", plain), ("diverse", render(replace(CAT, dx=-8, size=34, flip=True))),
                      ("one prompt,\ntwo seeds", plain), ("collapsed", plain)],
    }  # fmt: skip


def drawn(shown: list[Shown]) -> Image.Image:
    """Returns pictures side by side, their words above."""
    figure = Image.new("RGB", (len(shown) * (CELL + 4 * GAP), HEAD + CELL + GAP), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(11)
    for k, (words, image) in enumerate(shown):
        x = k * (CELL + 4 * GAP) + GAP
        draw.multiline_text((x, HEAD - 4), words, fill="black", font=font, anchor="ld")
        figure.paste(image.resize((CELL, CELL), Image.Resampling.NEAREST), (x, HEAD))
    return figure


if __name__ == "__main__":
    out = ROOT / "docs" / "metrics"
    out.mkdir(parents=True, exist_ok=True)
    for name, shown in strips().items():
        drawn(shown).save(out / f"{name}.webp", quality=85, method=6)
        sys.stdout.write(f"{out / name}.webp\n")
