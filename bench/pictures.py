"""Pictures: files from outside, converted in a documented way or refused in one line, and what a judge sees of one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

LARGEST = 100_000_000  # pixels
SMALLEST = 8  # pixels a side
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow would hand a PostScript file to Ghostscript


def read_picture(path: Path) -> Image.Image:
    """Returns a picture as 8-bit RGB, upright.

    Grey, palette and CMYK pictures are converted; 16 bits a channel become 8; what is transparent lies on white;
    the camera's turn is undone; of a camera's MPO the first picture counts.

    Raises:
        BenchError: the file is no picture, truncated, animated, smaller than 8 pixels a side or larger than 100
            million pixels.
    """
    from PIL import Image, ImageOps

    if not path.is_file():
        raise BenchError(f"{path}: the picture is missing")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check(path, image)
                image.load()
                return _rgb(ImageOps.exif_transpose(image))
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"{path}: not a readable picture ({error}); PNG, JPEG or WebP would be right") from None


def _check(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise BenchError(f"{path}: {width}×{height} pixels; at most {LARGEST // 10**6} million would be right")
    if min(width, height) < SMALLEST:
        raise BenchError(f"{path}: {width}×{height} pixels; at least {SMALLEST} a side would be right")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # a camera's MPO begins with the picture itself
        raise BenchError(f"{path}: animated; a still picture would be right")


def _rgb(image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image, np.float64)
        if not np.isfinite(pixels).all():
            raise ValueError("a pixel is not a number")
        return Image.fromarray((pixels.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        flat = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(flat, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def as_trained(images: Sequence[Image.Image], folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns pictures as a judge was trained to see them, (n, 3, H, W), by its own `preprocessor_config.json`.

    Resized by Pillow, as the judges' original code does: transformers' processors resize tensors, whose values differ
    by several levels of 255. `size` is a height and a width, or a `shortest_edge` that keeps the shape; a number alone,
    as older files have it, is a square's side, or the shortest edge where a crop follows. `crop_size`, where it is
    named, cuts the middle.
    """
    import numpy as np
    from PIL import Image

    config = json.loads((folder / "preprocessor_config.json").read_text())
    resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
    wanted = config["size"]
    if isinstance(wanted, int) and not config.get("crop_size"):
        wanted = {"width": wanted, "height": wanted}

    def seen(image: Image.Image) -> np.ndarray[Any, Any]:
        resized = image.convert("RGB").resize(_size(wanted, image.size), resample)
        return np.asarray(_middle(resized, config.get("crop_size")), dtype=np.float32)

    x = np.stack([seen(i) for i in images]) / 255
    x = (x - np.array(config["image_mean"], np.float32)) / np.array(config["image_std"], np.float32)
    return x.transpose(0, 3, 1, 2).astype(np.float32)


def _size(wanted: Any, size: tuple[int, int]) -> tuple[int, int]:
    if isinstance(wanted, dict) and "width" in wanted:
        return wanted["width"], wanted["height"]
    edge = wanted["shortest_edge"] if isinstance(wanted, dict) else wanted
    width, height = size
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)


def _middle(image: Image.Image, wanted: Any) -> Image.Image:
    if not wanted:
        return image
    width, height = (wanted["width"], wanted["height"]) if isinstance(wanted, dict) else (wanted, wanted)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)  # as torchvision rounds
    return image.crop((left, top, left + width, top + height))
