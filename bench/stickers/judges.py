"""Checks the judges against the truth, on renderings none of them was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bench import paths
from bench.features import Dino, OpenClip
from bench.stickers.check import content, keep
from bench.stickers.render import render
from bench.stickers.world import Scene, caption, names, sample_scene, world

HELD_OUT_SEED = 990_002


def _seen_by_clip() -> set[tuple[str, ...]]:
    """Returns the contents of every picture the CLIP judge was trained on."""
    from bench.stickers.pretrain.clip import JUDGE
    from bench.stickers.pretrain.data import hard_batch

    return {content(s) for step in range(JUDGE.steps) for s in hard_batch(JUDGE.rng(step), JUDGE.batch)}


def retrieval(judge: OpenClip, groups: int = 10, size: int = 100) -> float:
    """Returns how often a rendering's own caption scores highest among `size` captions."""
    rng, seen = np.random.default_rng(HELD_OUT_SEED), _seen_by_clip()
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
    """Returns the area under the ROC curve: how often a positive is above a negative."""
    ranks = np.concatenate([positive, negative]).argsort().argsort() + 1
    return float(
        (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))
    )


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
    """Measures both judges, prints the figures and keeps them beside the weights."""
    from rich.console import Console

    clip, dino = OpenClip("clip-judge", "embedded:clip-judge"), Dino("dino-judge", "embedded:dino-judge")
    found = retrieval(clip)
    by_dino, by_clip = same_subject(dino), same_subject(clip)
    result = {
        "clip_retrieval_of_100": round(found, 4),
        "dino_same_subject_auc": round(float(np.mean(list(by_dino.values()))), 4),
        "dino_same_subject_auc_by_subject": {k: round(v, 4) for k, v in by_dino.items()},
        "clip_same_subject_auc": round(float(np.mean(list(by_clip.values()))), 4),
    }
    Console().print_json(data=result)
    keep("judges", result, "clip-judge", "dino-judge")
    return result
