"""Pictures whose truth is known: the right one, and ways to be wrong, graded.

A case set is a list of items; an item holds one picture a variant, made from the same scene. `LEVELS`
says how good each variant is, in the terms of its group of metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import paths
from bench.grid import NOVELTY
from bench.stickers.render import SIZE, render
from bench.stickers.world import ATTRIBUTES, Scene, caption, names, sample_scene, world

if TYPE_CHECKING:
    from PIL import Image

    from bench.metric import Metric

SEED, KNOWN = 990_003, 10  # of the scenes; how many subjects are taken for erased ones
# Variant → its grade, the higher the better. AUC is of `right` against the variants in WRONG.
LEVELS: dict[str, dict[str, int]] = {
    "fidelity": {"right": 3, "wrong colour": 2, "other artwork": 1, "other class": 0},
    "prompt following": {"right": 5, "1 wrong": 4, "2 wrong": 3, "3 wrong": 2, "4 wrong": 1, "all wrong": 0},
    "preservation": {"right": 5, "1 wrong": 4, "2 wrong": 3, "3 wrong": 2, "4 wrong": 1, "all wrong": 0},
    "detection": {"right": 1, "wrong subject": 0},
    "copying": {"right": 1, "copied reference": 0},
    "likeness": {"right": 1, "wrong subject": 0},
}
WRONG = {
    "fidelity": ["other artwork", "other class"],
    "prompt following": ["1 wrong"],
    "preservation": ["1 wrong"],
    "detection": ["wrong subject"],
    "copying": ["copied reference"],
    "likeness": ["wrong subject"],
}
# Failures every metric is shown, whatever it grades; how often it prefers the right picture is the figure.
FAILURES = ["wrong subject", "wrong style", "wrong colour", "missing accessory", "wrong scene", "copied reference",
            "blank", "noise"]  # fmt: skip


@dataclass
class Item:
    """One scene in all its variants.

    Attributes:
        text: what was asked.
        pictures: variant → picture.
        references: the concept's reference pictures.
        base: what an untouched model makes of the prompt.
    """

    text: str
    pictures: dict[str, Image.Image]
    references: list[Image.Image] = field(default_factory=list)
    base: Image.Image | None = None


def _noise(rng: np.random.Generator) -> Image.Image:
    from PIL import Image

    return Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def _blank() -> Image.Image:
    from PIL import Image

    return Image.new("RGB", (SIZE, SIZE), "white")


def _other(value: str, attribute: str, rng: np.random.Generator) -> str:
    return str(rng.choice([v for v in names(attribute) if v != value and v != "none"]))


def spoiled(scene: Scene, count: int, rng: np.random.Generator) -> Scene:
    """Returns the scene with `count` of its attributes changed."""
    which = [str(a) for a in rng.permutation(ATTRIBUTES)[:count]]
    changed: dict[str, Any] = {a: _other(getattr(scene, a), a, rng) for a in which}
    return replace(scene, **changed)


def _full_scene(rng: np.random.Generator) -> Scene:
    """Returns a scene that asks for all five attributes."""
    while True:
        scene = sample_scene(rng)
        if scene.colour != "none" and scene.accessory != "none":
            return scene


def prompts(count: int) -> list[Item]:
    """Returns items for metrics of prompt following and preservation: known subjects, all attributes asked."""
    rng, items = np.random.default_rng(SEED), []
    for _ in range(count):
        scene = _full_scene(rng)
        # The right picture is another one of the same prompt: moved and mirrored.
        pictures = {"right": render(scene.jittered(rng))}
        for k, name in enumerate(["1 wrong", "2 wrong", "3 wrong", "4 wrong", "all wrong"], start=1):
            pictures[name] = render(spoiled(scene, k, rng).jittered(rng))
        for a in ("subject", "style", "colour", "scene"):
            wrong: dict[str, Any] = {a: _other(getattr(scene, a), a, rng)}
            pictures[f"wrong {a}"] = render(replace(scene, **wrong).jittered(rng))
        pictures["missing accessory"] = render(replace(scene, accessory="none").jittered(rng))
        pictures |= {"blank": _blank(), "noise": _noise(rng)}
        items.append(Item(caption(scene), pictures, base=render(scene)))
    return items


def concepts(count: int) -> list[Item]:
    """Returns items for metrics of fidelity: personal subjects no judge was trained on, `count` scenes of each."""
    from PIL import Image

    rng, items, personal = np.random.default_rng(SEED + 1), [], world()["personal"]
    style_of = {source: s for s, (_, source) in world()["styles"].items()}
    places = [s for s in names("scene") if s not in ("grass", "beach", "white", "yellow", "blue")]
    for name, entry in personal.items():
        folder = paths.stickers() / "concepts" / name
        references = [Image.open(folder / f"{i}.png").convert("RGB") for i in range(5)]
        own, style = f"personal:{name}", style_of[entry["art"]]
        for _ in range(count):
            plain = replace(sample_scene(rng), subject=entry["class"], style=style, colour="none")
            scene = replace(plain, scene=str(rng.choice(places)), accessory=str(rng.choice(names("accessory")[1:])))
            stranger = replace(scene, subject=_other(scene.subject, "subject", rng))
            items.append(Item(caption(scene), {
                "right": render(scene.jittered(rng), art=own),
                "wrong colour": render(replace(scene, colour=_other("none", "colour", rng)).jittered(rng), art=own),
                "other artwork": render(scene.jittered(rng)),
                "other class": render(stranger.jittered(rng)),
                "wrong subject": render(stranger.jittered(rng)),
                "wrong style": render(replace(scene, style=_other(style, "style", rng)).jittered(rng)),
                "missing accessory": render(replace(scene, accessory="none").jittered(rng), art=own),
                "wrong scene": render(replace(scene, scene=_other(scene.scene, "scene", rng)).jittered(rng), art=own),
                "copied reference": references[int(rng.integers(5))],
                "blank": _blank(),
                "noise": _noise(rng),
            }, references))  # fmt: skip
    return items


def erased(count: int) -> list[Item]:
    """Returns items for detectors of what was erased: known subjects, each beside the one that comes next to it;
    `references` show the subject, `other artwork` what is not it.
    """
    rng, items, subjects = np.random.default_rng(SEED + 2), [], names("subject")
    for subject in [str(s) for s in rng.choice(subjects, KNOWN, replace=False)]:
        stranger = _other(subject, "subject", rng)

        def scene_of(subject: str) -> Scene:
            return replace(sample_scene(rng), subject=subject, colour="none")  # a tint hides what artwork it is

        references = [render(scene_of(subject)) for _ in range(4 * KNOWN)]
        for _ in range(count):
            scene, apart = scene_of(subject), scene_of(stranger)
            other = replace(scene, subject=stranger)
            items.append(Item(caption(scene), {
                "right": render(scene.jittered(rng)),
                "wrong subject": render(other.jittered(rng)),
                "other artwork": render(apart.jittered(rng)),
                "blank": _blank(),
                "noise": _noise(rng),
            }, references))  # fmt: skip
    return items


def group_of(metric: Metric) -> str:
    """Returns which cases a metric is checked on: a reader's by what is in the picture, others by their group."""
    if metric.kinds == ("erase",) and metric.gate and metric.group == "erasure":
        return "likeness"
    if metric.plain == NOVELTY:
        return "fidelity"  # a thing that no judge knows, by its references
    if metric.needs in ("reader", "pixels"):
        return "detection" if metric.needs == "reader" else "copying"
    return "preservation" if metric.group == "erasure" else metric.group


def of_group(group: str, count: int) -> list[Item]:
    """Returns the items on which a group of metrics is checked, about `count` of them."""
    if group == "likeness":
        return erased(max(1, count // KNOWN))
    return concepts(max(1, count // len(world()["personal"]))) if group in ("fidelity", "copying") else prompts(count)
