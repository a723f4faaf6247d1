"""Draws a scene of the embedded world as a 64×64 picture."""

from __future__ import annotations

import functools
import json

import numpy as np
from PIL import Image, ImageDraw

from bench import paths
from bench.stickers.world import Scene, world

SIZE = 64
PLAIN = {
    "red": (219, 48, 48),
    "blue": (58, 92, 222),
    "yellow": (246, 214, 52),
    "pink": (246, 160, 196),
    "white": (255, 255, 255),
}


@functools.cache
def sprite(source: str, name: str) -> Image.Image:
    """Returns one sprite (RGBA, trimmed) of an atlas.

    Raises:
        KeyError: the atlas has no such drawing.
    """
    folder = paths.stickers() / "art"
    index = json.loads((folder / f"{source}.json").read_text())
    if name not in index["sprites"]:
        raise KeyError(f"{folder / source}.json has no sprite {name!r}")
    i, cell, columns = index["sprites"].index(name), index["cell"], index["columns"]
    box = (i % columns * cell, i // columns * cell, (i % columns + 1) * cell, (i // columns + 1) * cell)
    image = _atlas(source).crop(box)
    return image.crop(image.getchannel("A").getbbox())


@functools.cache
def _atlas(source: str) -> Image.Image:
    return Image.open(paths.stickers() / "art" / f"{source}.png").convert("RGBA")


def _ramp(top: tuple[int, ...], bottom: tuple[int, ...], height: int) -> Image.Image:
    """Returns a vertical gradient, `height` rows tall."""
    t = np.linspace(0.0, 1.0, height)[:, None, None]
    rows = (1 - t) * np.array(top, float) + t * np.array(bottom, float)
    return Image.fromarray(np.repeat(rows, SIZE, axis=1).round().astype(np.uint8))


@functools.cache
def background(scene: str) -> Image.Image:
    """Returns the picture of an empty scene (RGB)."""
    if scene in PLAIN:
        return Image.new("RGB", (SIZE, SIZE), PLAIN[scene])
    sky = {
        "beach": ((120, 200, 250), (160, 220, 255)), "grass": ((120, 200, 250), (190, 232, 255)),
        "snow": ((165, 185, 220), (205, 215, 235)), "night": ((8, 8, 30), (42, 42, 92)),
        "sunset": ((250, 120, 60), (255, 180, 95)), "floor": ((195, 195, 195), (220, 220, 220)),
    }[scene]  # fmt: skip
    image = _ramp(*sky, SIZE)
    draw = ImageDraw.Draw(image)
    if scene == "beach":
        draw.rectangle((0, 28, 63, 38), fill=(36, 110, 185))
        draw.rectangle((0, 39, 63, 63), fill=(242, 214, 150))
    if scene in ("grass", "snow", "sunset"):
        ground = {"grass": (92, 180, 72), "snow": (250, 250, 255), "sunset": (92, 50, 60)}[scene]
        draw.rectangle((0, 42, 63, 63), fill=ground)
    if scene == "floor":
        for i in range(8):
            for j in range(3):
                draw.rectangle(
                    (i * 8, 40 + j * 8, i * 8 + 7, 47 + j * 8), fill=(255, 255, 255) if (i + j) % 2 else (24, 24, 24)
                )
    if scene == "night":
        for k in range(14):
            x, y = (k * 37 + 11) % 64, (k * 23 + 5) % 60
            draw.rectangle((x, y, x + 1, y + 1), fill=(255, 255, 235))
    return image


def tint(image: Image.Image, colour: str) -> Image.Image:
    """Returns the sprite in one colour, its shading kept."""
    rgba = np.asarray(image, dtype=np.float32)
    luminance = rgba[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    target = np.array(world()["colours"][colour], np.float32)
    dark = np.clip(luminance / 0.6, 0, 1)[..., None] * target
    light = np.clip((luminance - 0.6) / 0.4, 0, 1)[..., None] * 0.65
    rgb = dark * (1 - light) + 255 * light
    return Image.fromarray(np.concatenate([rgb, rgba[..., 3:]], axis=-1).round().astype(np.uint8), "RGBA")


def _scaled(image: Image.Image, longest: int) -> Image.Image:
    ratio = longest / max(image.size)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _place_accessory(scene: Scene, source: str, body: tuple[int, int, int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Returns the accessory's sprite and where it goes, for a body at (left, top, right, bottom)."""
    left, top, right, _ = body
    centre = (left + right) // 2
    place = world()["accessories"][scene.accessory][2]
    longest = {"head": 23, "eyes": 28, "ears": 32, "side": 23}[place]
    art = _scaled(sprite(source, scene.accessory), longest)
    if place == "side":
        x = 2 if scene.flip else SIZE - 2 - art.width
        return art, (x, (8 if scene.accessory == "balloon" else SIZE - 2 - art.height))
    drop = {"head": 8 - art.height, "eyes": 11, "ears": -3}[place]
    return art, (centre - art.width // 2, max(0, top + drop))


def render(scene: Scene, art: str | Image.Image = "") -> Image.Image:
    """Draws a scene (RGB, 64×64). `art` is a sprite, or the name of one, to draw instead of the known subject."""
    styles = world()["styles"] | world()["held_out_styles"]
    source = styles[scene.style][1]
    image = background(scene.scene).copy()
    body = _scaled(art if isinstance(art, Image.Image) else sprite(source, art or scene.subject), scene.size)
    body = body.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if scene.flip else body
    body = body if scene.colour == "none" else tint(body, scene.colour)
    worn = scene.accessory != "none" and world()["accessories"][scene.accessory][2] == "head"
    x = (SIZE - body.width) // 2 + scene.dx
    y = (SIZE - body.height) // 2 + (8 if worn else 2)
    y = min(y, SIZE - body.height) if body.height < SIZE else 0
    image.paste(body, (x, y), body)
    if scene.accessory != "none":
        art_image, where = _place_accessory(scene, source, (x, y, x + body.width, y + body.height))
        image.paste(art_image, where, art_image)
    return image
