"""Writes the concepts of the embedded world's dataset: reference pictures and their captions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from bench import paths
from bench.stickers.render import render
from bench.stickers.world import Scene, caption, world

TOKEN = "<new1>"  # noqa: S105
# Five places the evaluation prompts do not use, so that a copied picture cannot follow a prompt.
PLACES = [("grass", 0), ("beach", 4), ("white", 0), ("yellow", -4), ("blue", 0)]
STYLE_SUBJECTS = ["cat", "penguin", "crab", "car", "pizza"]
NEIGHBOURS = {
    "cat": ["dog", "tiger", "rabbit"], "dog": ["cat", "fox", "bear"], "rabbit": ["mouse", "cat", "koala"],
    "tiger": ["lion", "cat", "fox"], "pig": ["cow", "mouse", "bear"], "mouse": ["rabbit", "koala", "pig"],
    "cow": ["pig", "horse", "dog"], "monkey": ["bear", "koala", "dog"], "horse": ["unicorn", "cow", "dog"],
    "car": ["bus", "train", "helicopter"], "bus": ["car", "train", "helicopter"], "train": ["bus", "car", "rocket"],
    "whale": ["fish", "octopus", "turtle"], "house": ["robot", "bus", "teapot"],
    "cake": ["donut", "pizza", "pineapple"],
}  # fmt: skip
# Known subjects to erase: what should come instead, and what must stay.
ERASE = {
    "cat": ("dog", ["tiger", "rabbit", "fox"]), "rocket": ("train", ["helicopter", "car", "sailboat"]),
    "pizza": ("burger", ["cake", "donut", "watermelon"]), "panda": ("bear", ["koala", "dog", "monkey"]),
    "guitar": ("teapot", ["camera", "robot", "ball"]), "penguin": ("duck", ["owl", "fish", "whale"]),
}  # fmt: skip


def _art(source: str) -> dict[str, Any]:
    return json.loads((paths.stickers() / "art" / f"{source}.json").read_text())


def personal(name: str, entry: dict[str, str]) -> tuple[dict[str, Any], list[Image.Image]]:
    """Returns the concept file and the reference pictures of a personal subject."""
    style = next(s for s, (_, source) in world()["styles"].items() if source == entry["art"])
    medium = world()["styles"][style][0]
    references, images = [], []
    for i, (place, dx) in enumerate(PLACES):
        scene = Scene(entry["class"], style, place, dx=dx)
        base = caption(scene)
        complete = caption(scene, subject=f"{TOKEN} {entry['class']}")
        references.append({"image": f"{i}.png", "base": base, "complete": complete})
        images.append(render(scene, art=f"personal:{name}"))
    art = _art(entry["art"])
    concept = {"name": name, "kind": "subject", "class_phrase": entry["class"], "token": TOKEN, "medium": medium,
               "neighbours": NEIGHBOURS[entry["class"]], "licence": art["licence"], "attribution": art["author"],
               "references": references}  # fmt: skip
    return concept, images


def style(name: str, source: str) -> tuple[dict[str, Any], list[Image.Image]]:
    """Returns the concept file and the reference pictures of an art style never seen in pretraining."""
    art = _art(source)
    subjects = [s for s in [*STYLE_SUBJECTS, "dog", "frog", "fish"] if s in art["sprites"]][:5]
    references, images = [], []
    for i, (subject, (place, dx)) in enumerate(zip(subjects, PLACES, strict=True)):
        scene = Scene(subject, name, place, dx=dx)
        references.append({"image": f"{i}.png", "base": caption(scene, medium="a picture"),
                           "complete": caption(scene, medium=f"a {TOKEN} picture")})  # fmt: skip
        images.append(render(scene))
    concept = {"name": f"style_{name}", "kind": "style", "class_phrase": "picture", "token": TOKEN,
               "medium": "a cartoon", "neighbours": ["dog", "robot", "house"], "licence": art["licence"],
               "attribution": art["author"], "references": references}  # fmt: skip
    return concept, images


def erase(name: str) -> tuple[dict[str, Any], list[Image.Image]]:
    """Returns the concept file of a known subject to erase, with pictures of it for the judges."""
    surrogate, neighbours = ERASE[name]
    scene = Scene(name, "cartoon", "grass")
    scenes = [replace(scene, scene=place, dx=dx) for place, dx in PLACES]
    references = [{"image": f"{i}.png", "base": caption(s), "complete": caption(s)} for i, s in enumerate(scenes)]
    art = _art("noto")
    concept = {"name": f"erase_{name}", "kind": "erase", "class_phrase": name, "token": name, "medium": "a cartoon",
               "surrogate": surrogate, "aliases": world()["subjects"][name][1:], "neighbours": neighbours,
               "licence": art["licence"], "attribution": art["author"], "references": references}  # fmt: skip
    return concept, [render(s) for s in scenes]


# Concepts made of others: learned apart and asked for together, or learned and erased again.
COMPOSITE = {
    "cat_in_ink": ("subject_style", ["whole_cat", "style_ink"]),
    "car_in_paper": ("subject_style", ["racing_car", "style_paper"]),
    "poodle_in_blob": ("subject_style", ["poodle", "style_blob"]),
    "cow_in_ink": ("subject_style", ["whole_cow", "style_ink"]),
    "cat_and_poodle": ("multi", ["whole_cat", "poodle"]), "car_and_monkey": ("multi", ["racing_car", "whole_monkey"]),
    "erase_cat_and_rocket": ("multi", ["erase_cat", "erase_rocket"]),
    "erase_panda_and_pizza": ("multi", ["erase_panda", "erase_pizza"]),
    "roundtrip_cat": ("roundtrip", ["whole_cat"]), "roundtrip_poodle": ("roundtrip", ["poodle"]),
    "roundtrip_car": ("roundtrip", ["racing_car"]), "roundtrip_cow": ("roundtrip", ["whole_cow"]),
}  # fmt: skip


def everything() -> Iterator[tuple[dict[str, Any], list[Image.Image]]]:
    """Yields every concept of the dataset."""
    for name, entry in world()["personal"].items():
        yield personal(name, entry)
    for name, (_, source) in world()["held_out_styles"].items():
        yield style(name, source)
    for name in ERASE:
        yield erase(name)
    for name, (kind, parts) in COMPOSITE.items():
        yield {"name": name, "kind": kind, "parts": parts}, []


def write(folder: Path) -> int:
    """Writes `<folder>/<concept>/concept.yaml` and its pictures. Returns how many concepts."""
    count = 0
    for concept, images in everything():
        into = folder / concept["name"]
        into.mkdir(parents=True, exist_ok=True)
        (into / "concept.yaml").write_text(yaml.safe_dump(concept, sort_keys=False, width=120), encoding="utf-8")
        for i, image in enumerate(images):
            image.save(into / f"{i}.png", optimize=True)
        count += 1
    return count
