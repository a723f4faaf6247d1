"""Picture files as people have them: converted as said, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.pictures import as_trained, read_picture


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


def test_a_postscript_file_is_handed_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: pytest.fail("it was run"))
    with pytest.raises(BenchError, match="not a readable picture"):
        read_picture(path)


@pytest.mark.parametrize(
    ("size", "crop", "seen"),
    [
        (32, None, (32, 32)),  # of a ViT, as older files have it: a square
        ({"height": 32, "width": 32}, None, (32, 32)),
        (32, {"height": 24, "width": 24}, (24, 24)),  # of a CLIP: the shortest edge, and a crop
        ({"shortest_edge": 32}, None, (32, 42)),
    ],
)
def test_a_judge_sees_a_wide_picture_as_its_processor_has_it(
    tmp_path: Path, size: Any, crop: Any, seen: tuple[int, int]
) -> None:
    config = {"size": size, "crop_size": crop, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    wide = Image.new("RGB", (40, 30), "red")
    assert as_trained([wide], tmp_path).shape == (1, 3, *seen)


def test_what_trains_is_what_is_judged(tmp_path: Path, dataset: Path) -> None:
    """A transparent cut-out and a 16-bit picture train as the judges see them, not as Pillow turns them over."""
    import tiny

    network = tiny.load_unet(tiny.unet_folder(tmp_path / "model"))
    cat = tiny.concept(dataset, "whole_cat")
    cut = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    cut.paste((200, 60, 20, 255), (16, 16, 48, 48))
    deep = Image.fromarray((np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16))
    for picture in (cut, deep):
        found = []
        for name, image in (("as it is", picture), ("as judged", read_picture(_save(tmp_path, picture)))):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            image.save(folder / "x.png")
            only = [cat.references[0].model_copy(update={"image": "x.png"})]
            own = cat.model_copy(update={"folder": folder, "references": only})
            found.append(tiny.bench_of(network, own, tmp_path).latents)
        assert np.array_equal(found[0].numpy(), found[1].numpy())
