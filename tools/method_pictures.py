"""Draws docs/methods/METHOD.webp from finished runs: the untouched model above, the method below, same seeds.

python tools/method_pictures.py runs   (after the sweeps of leaderboards/FINDINGS.md)
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.compose import compose  # noqa: E402
from bench.plan import make  # noqa: E402
from bench.store import Store  # noqa: E402
from tools.methods_page import methods  # noqa: E402

CELL, GAP, LABEL = 80, 3, 84
CONCEPTS = {"subject": "whole_cat", "erase": "erase_cat"}
MODEL = "sticker-unet"


def strip(name: str, concept: str, root: Path) -> Image.Image | None:
    """Returns a method's picture: the first seed of every prompt of channel `concept`, and of one unrelated thing."""
    plan, store = (
        make(*compose([f"+method={name}", f"concept={concept}", f"model={MODEL}", f"root={root}"])),
        Store(root),
    )
    rows = {"untouched": store.path("base", plan.keys["base"]), name: store.path("generate", plan.keys["generate"])}
    if not all(store.has(s, plan.keys[s]) for s in ("base", "generate")):
        return None
    cells = [f"concept-{p:02d}-0" for p in range(6)] + ["neighbour-00-0", "unrelated-00-0"]
    width = LABEL + len(cells) * (CELL + GAP) + 4 * GAP
    figure = Image.new("RGB", (width, 2 * (CELL + GAP)), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(11)
    for r, (label, folder) in enumerate(rows.items()):
        draw.multiline_text((2, r * (CELL + GAP) + 26), label.replace("_", "_\n", 1), fill="black", font=font)
        for c, cell in enumerate(cells):
            x = LABEL + c * (CELL + GAP) + (4 * GAP if c > 5 else 0)
            image = Image.open(folder / f"{cell}.png").convert("RGB")
            figure.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (x, r * (CELL + GAP)))
    return figure


def main(root: Path) -> None:
    """Writes every method's picture."""
    out = ROOT / "docs" / "methods"
    out.mkdir(parents=True, exist_ok=True)
    for name, cls in methods().items():
        kind = next((k for k in CONCEPTS if k in cls.tasks), None)
        figure = strip(name, CONCEPTS[kind], root) if kind else None
        if figure:
            figure.save(out / f"{name}.webp", quality=82, method=6)
        else:
            sys.stdout.write(f"{name}: no finished run\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
