"""Picture files as people have them: converted as said, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.pictures import read_picture


def _save(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)  # type: ignore[arg-type]
    return tmp_path / name


def test_plain_pictures_are_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    assert np.array_equal(np.asarray(read_picture(_save(tmp_path, Image.fromarray(pixels)))), pixels)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = _save(tmp_path, Image.new("RGB", (16, 16), "white").convert(mode), "x.tif")
    image = read_picture(path)
    assert image.mode == "RGB"
    assert np.asarray(image).min() >= 250


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = np.asarray(read_picture(_save(tmp_path, Image.fromarray(deep))))
    assert np.array_equal(image[..., 0], np.arange(256).reshape(16, 16))  # not all white, as a plain conversion has it


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert np.asarray(read_picture(_save(tmp_path, clear))).min() == 255


def test_the_cameras_turn_is_undone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(_save(tmp_path, Image.new("RGB", (32, 16)), "x.jpg", exif=exif)).size == (16, 32)


def _refused(path: Path, says: str) -> None:
    with pytest.raises(BenchError, match=says) as error:
        read_picture(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_still_picture_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "nothing.png", "missing")
    (tmp_path / "text.png").write_text("<html>")
    _refused(tmp_path / "text.png", "not a readable picture")
    _refused(_save(tmp_path, Image.new("RGB", (1, 1)), "one.png"), "at least 8 a side")
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "green", "blue")]
    _refused(_save(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:]), "animated")
    _refused(_save(tmp_path, Image.new("1", (10_001, 10_000)), "huge.png"), "at most 100 million")
    whole = _save(tmp_path, Image.effect_noise((64, 64), 50), "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    _refused(tmp_path / "cut.png", "not a readable picture")
    nan = np.full((16, 16), np.nan, np.float32)
    _refused(_save(tmp_path, Image.fromarray(nan), "nan.tif"), "not a number")
