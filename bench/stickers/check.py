"""Checks a model of the embedded world against the truth: the oracle reads what it draws."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bench import paths
from bench.backbone.files import fingerprint, model_folders
from bench.errors import BenchError
from bench.progress import track
from bench.stickers.oracle import accuracy, read, redrawn
from bench.stickers.world import ATTRIBUTES, Scene, caption, sample_scene

if TYPE_CHECKING:
    from PIL import Image

    from bench.backbone.base import Backbone

log = logging.getLogger("bench")
HELD_OUT_SEED = 990_001  # no training stream starts from it


def content(scene: Scene) -> tuple[str, ...]:
    """Returns what a scene shows, its place and side left out."""
    return tuple(getattr(scene, a) for a in ATTRIBUTES)


@functools.cache
def seen_in_training() -> frozenset[tuple[str, ...]]:
    """Returns the contents of every scene the generators were trained on."""
    from bench.stickers.pretrain import encoded

    return frozenset(content(s) for start in range(0, encoded.SCENES, encoded.CHUNK) for s in encoded.chunk(start)[0])


def held_out_scenes(count: int) -> list[Scene]:
    """Returns distinct scenes whose full caption the generators never saw in training.

    Every subject, style, colour, accessory and scene is known, and every plain combination of subject,
    style and scene was seen: what is held out has a colour, an accessory or both.
    """
    rng, found = np.random.default_rng(HELD_OUT_SEED), dict[tuple[str, ...], Scene]()
    while len(found) < count:
        scene = sample_scene(rng)
        if content(scene) not in seen_in_training():
            found.setdefault(content(scene), scene)
    return list(found.values())


def usual_scenes(count: int) -> list[Scene]:
    """Returns scenes as training drew them, most of their captions seen."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    return [sample_scene(rng) for _ in range(count)]


@functools.lru_cache(maxsize=1)
def load(model: str) -> tuple[Backbone, dict[str, Any]]:
    """Returns a model of conf/model and its config."""
    from bench import backbone

    path = paths.shipped("conf") / "model" / f"{model}.yaml"
    if not path.is_file():
        raise BenchError(f"no model {model!r}; there are: {', '.join(p.stem for p in path.parent.glob('*.yaml'))}")
    config = yaml.safe_load(path.read_text())
    folder, lora = model_folders(config)
    loaded = (config.get("max_sequence_length", 0), lora, config.get("resolution", 0))
    return backbone.load(config["family"], folder, *loaded), config


def draw(model: str, scenes: list[Scene]) -> list[Image.Image]:
    """Draws each scene's caption with a model, each picture from its own seed."""
    network, config = load(model)
    images: list[Image.Image] = []
    size = config["batch_size"]
    for start in track(range(0, len(scenes), size), "drawing", -(-len(scenes) // size)):
        part = scenes[start : start + size]
        seeds = [HELD_OUT_SEED + start + i for i in range(len(part))]
        images += network.sample([caption(s) for s in part], seeds, config["steps"], config["guidance_scale"])
    return images


def keep(name: str, figures: dict[str, Any], *models: str) -> None:
    """Keeps figures for the model cards, with the weights they were measured on."""
    folder = paths.weights() / "checks"
    folder.mkdir(exist_ok=True)
    weights = {m: fingerprint(paths.weights() / m)[:16] for m in models}
    (folder / f"{name}.json").write_text(json.dumps(figures | {"weights": weights}, indent=1) + "\n")


def contact_sheet(images: list[Image.Image], columns: int = 8, cell: int = 128) -> Image.Image:
    """Returns the pictures in a grid."""
    from PIL import Image

    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (cell + 4) - 4, rows * (cell + 4) - 4), "white")
    for i, image in enumerate(images):
        place = (i % columns * (cell + 4), i // columns * (cell + 4))
        sheet.paste(image.resize((cell, cell), Image.Resampling.LANCZOS), place)
    return sheet


def check_model(model: str, count: int, sheet: Path | None, usual: bool = False) -> dict[str, Any]:
    """Measures how well a model follows its prompts, prints the table and keeps it for the model card.

    Args:
        model: name of a config in conf/model.
        count: how many captions; from 500 on the figures are kept.
        sheet: where to write a contact sheet of the first 64 pictures.
        usual: ask captions as training drew them instead of held-out ones.
    """
    from rich.console import Console
    from rich.table import Table

    from bench.stickers.render import render

    scenes = usual_scenes(count) if usual else held_out_scenes(count)
    images = draw(model, scenes)
    drawn = accuracy(scenes, read(images))
    own = {"oracle_on_renderings": accuracy(scenes, read([render(s) for s in scenes]))}
    if not usual:
        own["oracle_on_redrawn"] = accuracy(scenes, read(redrawn(*load(model), scenes)))
    table = Table(title=f"{model}: {count} {'usual' if usual else 'held-out'} captions, read by the oracle")
    for column in ("attribute", "drawn as asked", "asked", *(k.replace("_", " ") for k in own)):
        table.add_column(column)
    for a in ATTRIBUTES:
        table.add_row(a, f"{drawn[a][0]:.1%}", str(drawn[a][1]), *(f"{shares[a][0]:.1%}" for shares in own.values()))
    Console().print(table)
    result = {
        "captions": count,
        "drawn": {a: round(share, 4) for a, (share, _) in drawn.items()},
        "asked": {a: asked for a, (_, asked) in drawn.items()},
        **{k: {a: round(share, 4) for a, (share, _) in shares.items()} for k, shares in own.items()},
    }
    if count >= 500:
        keep(f"{model}-usual" if usual else model, result, model)
    if sheet:
        contact_sheet(images[:64]).save(sheet)
    return result
