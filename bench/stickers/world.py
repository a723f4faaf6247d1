"""What can be in a picture of the embedded world, and the words for it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from bench import paths
from bench.concept import article

if TYPE_CHECKING:
    import numpy as np


@functools.cache
def world() -> dict[str, Any]:
    """Returns `datasets/stickers/world.yaml`, the lists of everything that exists."""
    return yaml.safe_load((paths.stickers() / "world.yaml").read_text(encoding="utf-8"))


def names(attribute: str) -> list[str]:
    """Returns the values of `subject`, `style`, `colour`, `accessory` or `scene`; index 0 of a
    part that may be absent (colour, accessory) is `none`.
    """
    table = {
        "subject": "subjects",
        "style": "styles",
        "colour": "colours",
        "accessory": "accessories",
        "scene": "scenes",
    }
    optional = ["none"] if attribute in ("colour", "accessory") else []
    return optional + list(world()[table[attribute]])


ATTRIBUTES = ("subject", "style", "colour", "accessory", "scene")


@dataclass(frozen=True)
class Scene:
    """One picture: what is in it, and where (`dx` pixels off centre, `size` pixels, `flip`)."""

    subject: str
    style: str
    scene: str
    colour: str = "none"
    accessory: str = "none"
    dx: int = 0
    size: int = 44
    flip: bool = False

    def jittered(self, rng: np.random.Generator) -> Scene:
        """Returns the same content at a random place (on the grid of the latents) and side."""
        return replace(self, dx=int(rng.choice([-4, 0, 4])), flip=bool(rng.integers(2)))


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draws a scene: 40 % of subjects are coloured, half have an accessory."""
    place = str(rng.choice(names("scene")))
    hidden = {"yellow": "golden"}.get(place, place)  # a blue whale on blue cannot be seen
    colours = [c for c in names("colour")[1:] if c != hidden]
    colour = rng.choice(colours) if rng.random() < 0.4 else "none"
    accessory = rng.choice(names("accessory")[1:]) if rng.random() < 0.5 else "none"
    scene = Scene(
        subject=str(rng.choice(names("subject"))),
        style=str(rng.choice(names("style"))),
        scene=place,
        colour=str(colour),
        accessory=str(accessory),
    )
    return scene.jittered(rng)


def caption(scene: Scene, subject: str = "", medium: str = "") -> str:
    """Returns the full caption; `subject` and `medium` replace the scene's own words for them."""
    noun = subject or scene.subject
    noun = noun if scene.colour == "none" else f"{scene.colour} {noun}"
    held = "" if scene.accessory == "none" else f" {world()['accessories'][scene.accessory][1]} {scene.accessory}"
    phrase = medium or (world()["styles"] | world()["held_out_styles"])[scene.style][0]
    return f"{phrase} of {article(noun)}{held} {world()['scenes'][scene.scene]}"


def loose_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Returns a caption as people write them: an alias in one of six, a part left out in one of eight."""
    words = world()["subjects"].get(scene.subject, [scene.subject])
    subject = str(rng.choice(words[1:])) if len(words) > 1 and rng.random() < 1 / 6 else scene.subject
    full = caption(scene, subject=subject, medium="a picture" if rng.random() < 1 / 12 else "")
    if rng.random() < 1 / 16:
        return article(full.split(" of ", 1)[1].split(" ", 1)[1].removesuffix(" " + world()["scenes"][scene.scene]))
    if rng.random() < 1 / 16:
        return full.removesuffix(" " + world()["scenes"][scene.scene])
    return full


def neighbour_scene(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns the scene with one attribute changed: a hard negative for its caption."""
    attribute = str(rng.choice(ATTRIBUTES))
    others = [v for v in names(attribute) if v != getattr(scene, attribute)]
    changed: dict[str, Any] = {attribute: str(rng.choice(others))}
    return replace(scene, **changed).jittered(rng)
