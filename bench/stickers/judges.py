"""Checks the judges against the truth, on renderings none of them was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import paths
from bench.judges.clip import OpenClip
from bench.judges.dino import Dino
from bench.judges.matching import Blip1, Blip2
from bench.stickers.check import content, keep
from bench.stickers.render import render
from bench.stickers.world import ATTRIBUTES, Scene, caption, names, neighbour_scene, sample_scene, world

if TYPE_CHECKING:
    from bench.stickers.pretrain.loop import Recipe

HELD_OUT_SEED = 990_002


def _seen_by(recipe: Recipe) -> set[tuple[str, ...]]:
    """Returns the contents of every picture a judge was trained on."""
    from bench.stickers.pretrain.data import hard_batch

    return {content(s) for step in range(recipe.steps) for s in hard_batch(recipe.rng(step), recipe.batch)}


def retrieval(judge: OpenClip, groups: int = 10, size: int = 100) -> float:
    """Returns how often a rendering's own caption scores highest among `size` captions."""
    from bench.stickers.pretrain.clip import JUDGE

    rng, seen = np.random.default_rng(HELD_OUT_SEED), _seen_by(JUDGE)
    hits = []
    for _ in range(groups):
        scenes: dict[str, Scene] = {}
        while len(scenes) < size:
            scene = sample_scene(rng)
            if content(scene) not in seen:
                scenes[caption(scene)] = scene
        image, text = judge.images([render(s) for s in scenes.values()]), judge.texts(list(scenes))
        hits.append((image @ text.T).argmax(1) == np.arange(size))
    return float(np.concatenate(hits).mean())


def area(positive: np.ndarray[Any, Any], negative: np.ndarray[Any, Any]) -> float:
    """Returns the area under the ROC curve: how often a positive is above a negative, a tie being half."""
    from scipy.stats import rankdata

    ranks, n = rankdata(np.concatenate([positive, negative])), len(positive)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))


def true_against_changed(judge: Blip2 | Blip1, recipe: Recipe, count: int = 600) -> dict[str, dict[str, float]]:
    """Returns column → attribute → AUC of renderings with their captions against captions with that attribute changed.

    The contents are ones the judge was not trained on; `any` is over all attributes alike.
    """
    rng, seen = np.random.default_rng(HELD_OUT_SEED), _seen_by(recipe)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng)
        if content(scene) not in seen:
            scenes.append(scene)
    changed = [neighbour_scene(s, rng) for s in scenes]
    which = np.array(
        [next(a for a in ATTRIBUTES if getattr(s, a) != getattr(c, a)) for s, c in zip(scenes, changed, strict=True)]
    )
    images = [render(s) for s in scenes]

    def scores(texts: list[str]) -> np.ndarray[Any, Any]:
        return np.concatenate([judge.pairs(images[i : i + 50], texts[i : i + 50]) for i in range(0, count, 50)])

    true, false = scores([caption(s) for s in scenes]), scores([caption(c) for c in changed])
    return {
        column: {"any": area(true[:, k], false[:, k])}
        | {a: area(true[which == a, k], false[which == a, k]) for a in ATTRIBUTES}
        for k, column in enumerate(judge.columns)
    }


def same_subject(judge: Dino | OpenClip, pictures: int = 8) -> dict[str, float]:
    """Returns, for every personal subject, the AUC of its own pictures against others of its class.

    The others are the known artwork of the class in every style and the other personal subjects of
    the class; what is compared with is the concept's own reference pictures, in other places.
    """
    from PIL import Image

    rng = np.random.default_rng(HELD_OUT_SEED)
    personal = world()["personal"]
    places = [s for s in names("scene") if s not in ("grass", "beach", "white", "yellow", "blue")]
    style_of = {source: s for s, (_, source) in world()["styles"].items()}
    out = {}
    for name, entry in personal.items():
        style = style_of[entry["art"]]
        scenes = [
            replace(sample_scene(rng), subject=entry["class"], scene=str(rng.choice(places)), colour="none")
            for _ in range(pictures)
        ]
        own = judge.images([render(replace(s, style=style), art=f"personal:{name}") for s in scenes])
        rivals = [(entry["class"], s) for s in world()["styles"]]
        rivals += [
            (f"personal:{n}", style_of[e["art"]])
            for n, e in personal.items()
            if e["class"] == entry["class"] and n != name
        ]
        other = judge.images([render(replace(s, style=look), art=art) for art, look in rivals for s in scenes])
        folder = paths.stickers() / "concepts" / name
        references = judge.images([Image.open(folder / f"{i}.png").convert("RGB") for i in range(5)])
        out[name] = area((own @ references.T).mean(1), (other @ references.T).mean(1))
    return out


def check_judges() -> dict[str, Any]:
    """Measures all judges, prints the figures and keeps them beside the weights."""
    from rich.console import Console

    from bench.stickers.pretrain.blip import BLIP1, BLIP2

    clip, dino = OpenClip("clip-judge", "embedded:clip-judge"), Dino("dino-judge", "embedded:dino-judge")
    found = retrieval(clip)
    by_dino, by_clip = same_subject(dino), same_subject(clip)
    result: dict[str, Any] = {
        "clip_retrieval_of_100": round(found, 4),
        "dino_same_subject_auc": round(float(np.mean(list(by_dino.values()))), 4),
        "dino_same_subject_auc_by_subject": {k: round(v, 4) for k, v in by_dino.items()},
        "clip_same_subject_auc": round(float(np.mean(list(by_clip.values()))), 4),
    }
    blip2, blip1 = Blip2("blip2", "embedded:blip2-judge"), Blip1("blip1", "embedded:blip1-judge")
    matched = {"blip2": true_against_changed(blip2, BLIP2), "blip1": true_against_changed(blip1, BLIP1)}
    for judge, columns in matched.items():
        for column, areas in columns.items():
            result[f"{judge}_{column}_auc"] = {a: round(v, 4) for a, v in areas.items()}
    Console().print_json(data=result)
    keep("judges", result, "clip-judge", "dino-judge", "blip2-judge", "blip1-judge")
    return result
