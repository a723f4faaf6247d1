"""Pictures as part of a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from bench.pictures import FORMATS

SIDE = 256  # a larger picture is embedded at this size


@dataclass(frozen=True)
class Picture:
    """An embedded picture and the size it is shown at, in CSS pixels."""

    src: str
    width: int
    height: int


def picture(path: Path) -> Picture | None:
    """Embeds a picture: a small one as it is, at twice its size; a large one reduced. None where there is none."""
    from PIL import Image, ImageOps

    if not path.is_file():
        return None
    with Image.open(path, formats=FORMATS) as image:
        side = max(image.size)
        reduced = ImageOps.exif_transpose(image).convert("RGB")  # as the model sees it
    reduced.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    kind = "png" if side <= SIDE else "webp"
    reduced.save(data, kind)
    text = base64.b64encode(data.getvalue()).decode()
    width = min(2 * reduced.width, 160)
    return Picture(f"data:image/{kind};base64,{text}", width, round(width * reduced.height / reduced.width))
