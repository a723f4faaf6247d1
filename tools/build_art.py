"""Builds the sprite atlases of the embedded world from the npm packages of four emoji sets.

Needs `npm` and the `art` extra (resvg-py). The atlases it writes are committed, so this is
run only to change the artwork:  python tools/build_art.py /some/scratch/folder
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import resvg_py
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
STICKERS = ROOT / "datasets" / "stickers"
CELL = 64
SOURCES = {
    "fluent-3d": ("@lobehub/fluent-emoji-3d@1.1.0", "MIT", "Microsoft Fluent Emoji, 3D"),
    "noto": ("@iconify-json/noto@1.2.9", "Apache-2.0", "Google Noto Emoji"),
    "twemoji": ("@iconify-json/twemoji@1.2.5", "CC-BY-4.0", "Twemoji, Twitter Inc. and contributors"),
    "fluent-high-contrast": ("@iconify-json/fluent-emoji-high-contrast@1.2.6", "MIT", "Microsoft Fluent Emoji"),
    "noto-v1": ("@iconify-json/noto-v1@1.2.5", "Apache-2.0", "Google Noto Emoji, first version"),
    "fxemoji": ("@iconify-json/fxemoji@1.2.2", "Apache-2.0", "Mozilla FxEmoji"),
    "fluent-flat": ("@iconify-json/fluent-emoji-flat@1.2.6", "MIT", "Microsoft Fluent Emoji, flat"),
}  # fmt: skip
# Names the two sets without a code point index use for what we draw.
OTHER_NAMES = {"ladybug": "lady-beetle", "ball": "soccer-ball", "burger": "hamburger", "cake": "birthday-cake",
               "car": "automobile", "donut": "doughnut", "headphones": "headphone", "gift": "wrapped-gift",
               "teddy": "teddy-bear", "train": "locomotive", "apple": "red-apple", "fish": "tropical-fish",
               "whale": "spouting-whale", "bus": "bus", "house": "house", "top hat": "top-hat"}  # fmt: skip


def unpack(package: str, scratch: Path) -> Path:
    """Fetches one npm package into `scratch` and returns its folder."""
    folder = scratch / re.sub(r"\W+", "-", package).strip("-")
    if not folder.exists():
        name = subprocess.run(["npm", "pack", "-s", package], cwd=scratch, check=True, capture_output=True, text=True)  # noqa: S603, S607
        with tarfile.open(scratch / name.stdout.strip()) as tar:
            tar.extractall(folder, filter="data")
    return folder / "package"


def svg_drawer(folder: Path) -> Callable[[str, str], Image.Image | None]:
    """Returns draw(code point, name) over one iconify set."""
    icons = json.loads((folder / "icons.json").read_text())
    chars = json.loads((folder / "chars.json").read_text()) if (folder / "chars.json").exists() else {}

    def draw(code: str, name: str) -> Image.Image | None:
        slug = chars.get(code) or chars.get(f"{code}-fe0f") or OTHER_NAMES.get(name, name.replace(" ", "-"))
        candidates = [slug, f"{name}-face", name, name.split()[0]]
        key = next((k for k in candidates if k in icons["icons"]), None)
        if key is None:
            return None
        icon = icons["icons"][key]
        w, h = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        body = icon["body"]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" color="#111">{body}</svg>'
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=4 * CELL, height=4 * CELL))
        return Image.open(io.BytesIO(png)).convert("RGBA")

    return draw


def bitmap_drawer(folder: Path) -> Callable[[str, str], Image.Image | None]:
    """Returns draw(code point, name) over the folder of 3D bitmaps."""

    def draw(code: str, name: str) -> Image.Image | None:
        for stem in (code, f"{code}-fe0f"):
            path = folder / "assets" / f"{stem}.webp"
            if path.exists():
                return Image.open(path).convert("RGBA")
        return None

    return draw


def cell(sprite: Image.Image) -> Image.Image:
    """Trims a sprite to its ink and centres it in one atlas cell."""
    sprite = sprite.crop(sprite.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox())
    sprite.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    out = Image.new("RGBA", (CELL, CELL))
    out.paste(sprite, ((CELL - sprite.width) // 2, (CELL - sprite.height) // 2))
    return out


def main(scratch: Path) -> None:
    """Writes one atlas (PNG) and one index (JSON) for every source."""
    world = yaml.safe_load((STICKERS / "world.yaml").read_text())
    wanted = {name: str(v[0]) for group in ("subjects", "accessories") for name, v in world[group].items()}
    personal = {f"personal:{name}": str(c["code"]) for name, c in world["personal"].items()}
    (STICKERS / "art").mkdir(parents=True, exist_ok=True)
    for source, (package, licence, author) in SOURCES.items():
        folder = unpack(package, scratch)
        draw = bitmap_drawer(folder) if source == "fluent-3d" else svg_drawer(folder)
        extra = personal if source in ("fluent-3d", "noto", "twemoji") else {}
        drawn = {n: s for n, code in {**wanted, **extra}.items() if (s := draw(code, n.split(":")[0])) is not None}
        columns = 10
        atlas = Image.new("RGBA", (columns * CELL, -(-len(drawn) // columns) * CELL))
        for i, sprite in enumerate(drawn.values()):
            atlas.paste(cell(sprite), (i % columns * CELL, i // columns * CELL))
        atlas.save(STICKERS / "art" / f"{source}.png", optimize=True)
        index = {
            "licence": licence,
            "author": author,
            "package": package,
            "cell": CELL,
            "columns": columns,
            "sprites": list(drawn),
        }
        (STICKERS / "art" / f"{source}.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
