"""Datasets in their three layouts: a file a concept, one list of them, anybody's photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from bench.data.concept_file import load
from bench.data.dataset import is_photos, names, templates
from bench.errors import BenchError
from bench.grid import grid

LIVE = {"cat", "cat2", "dog", "dog2", "dog3", "dog5", "dog6", "dog7", "dog8"}
SEEDS = {"concept": 4, "class": 1, "neighbour": 1, "unrelated": 1, "empty": 1}


@pytest.fixture
def dreambooth(root: Path) -> Path:
    return root / "datasets" / "dreambooth"


@pytest.fixture
def photos(root: Path) -> Path:
    """Two subjects of it, scaled (NOTICE)."""
    return root / "tests" / "photos"


def _asked(dreambooth: Path, name: str) -> list[str]:
    fields = yaml.safe_load((dreambooth / "concepts.yaml").read_text())["concepts"][name]
    asked = yaml.safe_load((dreambooth / "prompts.yaml").read_text())
    return asked[f"{fields['prompts']}.concept"]


def test_every_live_subject_of_dreambooth_is_asked_as_a_live_one(dreambooth: Path) -> None:
    """Nine of them: a rule that goes by the folder's name, `cat` or `dog`, finds two."""
    assert len(names(dreambooth)) == 30
    dressed = {n for n in names(dreambooth) if "a {noun} in a chef outfit" in _asked(dreambooth, n)}
    floating = {n for n in names(dreambooth) if "a {noun} floating in an ocean of milk" in _asked(dreambooth, n)}
    assert dressed == LIVE
    assert floating == set(names(dreambooth)) - LIVE


def test_dreambooth_asks_25_prompts_of_either_kind_35_in_all(dreambooth: Path) -> None:
    live, things = _asked(dreambooth, "dog"), _asked(dreambooth, "vase")
    assert len(live) == len(things) == 25
    assert len({*live, *things}) == 35
    assert all("{noun}" in p for p in live + things)


def test_a_photographed_subject_is_asked_with_its_token(dreambooth: Path, photos: Path) -> None:
    concept = load(dreambooth, "dog3", photos)
    assert [r.image for r in concept.references] == [f"0{k}.jpg" for k in range(6)]
    assert concept.references[0].complete == "a photo of a <new1> dog"
    assert concept.references[0].base == "a photo of a dog"
    cells = grid(concept, templates(dreambooth, "dog3", photos), SEEDS)
    asked = cells.prompts("concept")
    assert len(asked) == 25 and len([c for c in cells.cells if c.prompt.channel == "concept"]) == 100
    assert asked[10].complete == "a <new1> dog wearing a red hat" and asked[10].base == "a dog wearing a red hat"
    plush = load(dreambooth, "bear_plushie", photos)
    assert plush.target == "<new1> stuffed animal"
    other = grid(plush, templates(dreambooth, "bear_plushie", photos), SEEDS).prompts("concept")[10].complete
    assert other == "a <new1> stuffed animal with a wheat field in the background"


def test_what_a_concept_is_asked_does_not_change_its_training(dreambooth: Path, photos: Path) -> None:
    concept = load(dreambooth, "dog3", photos)
    assert concept.model_copy(update={"prompts": "object"}).fingerprint() == concept.fingerprint()
    assert concept.model_copy(update={"token": "<new2>"}).fingerprint() != concept.fingerprint()


def test_photos_that_are_not_there_are_named_with_what_gets_them(dreambooth: Path, tmp_path: Path) -> None:
    from bench.data.dataset import fetched

    with pytest.raises(BenchError, match="data fetch dreambooth") as caught:
        load(dreambooth, "dog", tmp_path, fetched("dreambooth"))
    assert str(tmp_path / "dog") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("dataset", "count"), [("unlearncanvas", 70), ("spm", 8), ("customconcept101", 101)])
def test_a_list_holds_what_its_source_has(root: Path, dataset: str, count: int) -> None:
    folder = root / "datasets" / dataset
    assert len(names(folder)) == count
    if dataset == "customconcept101":
        return  # its prompts come with the photos
    for name in names(folder):
        concept = load(folder, name)  # nothing is learned of them, so no picture is needed
        assert concept.kind == "erase" and not concept.references
        asked = grid(concept, templates(folder, name), {"concept": 1, "neighbour": 1})
        assert all(concept.class_phrase in p.complete for p in asked.prompts("concept"))
        assert all(concept.surrogate in p.surrogate for p in asked.prompts("concept"))
        assert not any(concept.class_phrase in p.base.split() for p in asked.prompts("neighbour"))


def test_unlearncanvas_asks_an_object_in_every_style_and_a_style_of_every_object(root: Path) -> None:
    folder = root / "datasets" / "unlearncanvas"
    for name, count, first in (
        ("object_dogs", 50, "A Dogs image in Abstractionism style."),
        ("style_van_gogh", 20, "A Architectures image in Van Gogh style."),  # its grammar is the source's
    ):
        asked = grid(load(folder, name), templates(folder, name), {"concept": 1}).prompts("concept")
        assert (len(asked), asked[0].complete) == (count, first)


def test_spm_asks_80_templates(root: Path) -> None:
    folder = root / "datasets" / "spm"
    cells = grid(load(folder, "snoopy"), templates(folder, "snoopy"), {"concept": 10})
    assert len(cells.cells) == 800 and cells.cells[0].prompt.complete == "a bad photo of a Snoopy."


# --- anybody's photos --------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "red_mug"
    folder.mkdir(parents=True)
    for k in range(3):
        Image.new("RGB", (20 + k, 16), (60 * k, 0, 0)).save(folder / f"{k}.jpg")
    return folder.parent


def test_a_subfolder_is_a_concept_by_a_clear_default(mine: Path) -> None:
    assert is_photos(mine) and names(mine) == ["red_mug"]
    concept = load(mine, "red_mug")
    assert (concept.kind, concept.class_phrase, concept.token) == ("subject", "red mug", "<new1>")
    assert [r.complete for r in concept.references] == ["a photo of a <new1> red mug"] * 3
    assert [r.base for r in concept.references] == ["a photo of a red mug"] * 3
    asked = grid(concept, templates(mine, "red_mug"), SEEDS).prompts("concept")
    assert asked[0].complete == "a photo of a <new1> red mug in the snow"


def test_concept_yaml_captions_and_prompts_are_taken_where_they_are_there(mine: Path) -> None:
    (mine / "red_mug" / "concept.yaml").write_text("class_phrase: mug\nneighbours: [cup]\n")
    (mine / "red_mug" / "1.txt").write_text("my mug\n on the table")
    (mine / "red_mug" / "prompts.yaml").write_text("concept: ['a {noun} on the moon']\n")
    concept = load(mine, "red_mug")
    assert concept.neighbours == ["cup"]
    assert [r.complete for r in concept.references][1] == "my <new1> mug on the table"
    assert [r.base for r in concept.references] == ["a photo of a mug", "my mug on the table", "a photo of a mug"]
    asked = grid(concept, templates(mine, "red_mug"), SEEDS).prompts("concept")
    assert [p.complete for p in asked] == ["a <new1> mug on the moon"]


@pytest.mark.parametrize(
    ("words", "caption", "complete"),
    [
        ("car", "a person carrying my car to a cart", "a person carrying my <new1> car to a cart"),
        ("C++", "a C++-book, C", "a <new1> C++-book, C"),
        ("(old) mug", "my (old) mug's handle", "my <new1> (old) mug's handle"),
    ],
)
def test_a_caption_names_the_class_by_whole_words(mine: Path, words: str, caption: str, complete: str) -> None:
    (mine / "red_mug" / "concept.yaml").write_text(f"class_phrase: {words}\n")
    (mine / "red_mug" / "1.txt").write_text(caption)
    assert [(r.base, r.complete) for r in load(mine, "red_mug").references][1] == (caption, complete)


def test_a_class_inside_other_words_is_not_named(mine: Path) -> None:
    (mine / "red_mug" / "concept.yaml").write_text("class_phrase: car\n")
    (mine / "red_mug" / "1.txt").write_text("a person carrying my vehicle")
    _refused(mine, "1.txt", "names 'car' 0 times")


def _refused(mine: Path, *says: str) -> None:
    with pytest.raises(BenchError) as caught:
        load(mine, "red_mug")
    assert [s for s in says if s not in str(caught.value)] == [], str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "x.heif", "3.jpg"])
def test_heic_is_refused_also_under_another_name(mine: Path, name: str) -> None:
    path = mine / "red_mug" / name
    path.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    _refused(mine, str(path), "convert it to JPEG")


def test_heic_that_a_concept_file_names_is_refused(mine: Path) -> None:
    (mine / "red_mug" / "9.heic").write_bytes(b"\x00\x00\x00\x18ftypheic")
    said: dict[str, Any] = {"references": [{"image": "9.heic", "base": "a mug", "complete": "a <new1> mug"}]}
    (mine / "red_mug" / "concept.yaml").write_text(yaml.safe_dump(said))
    _refused(mine, "9.heic", "convert it to JPEG")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("1.txt", "a cup on the table", "names 'red mug' 0 times"),
        ("1.txt", "a red mug and a red mug", "names 'red mug' 2 times"),
        ("concept.yaml", "- a list\n", "not a YAML mapping"),
        ("concept.yaml", "clas_phrase: mug\n", "clas_phrase"),
        ("concept.yaml", "references: []\n", "needs a picture"),
        ("concept.yaml", "name: cup\n", "'red_mug', would be right"),
        ("2.jpg", "<html>", "not a readable picture"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(mine: Path, name: str, content: str, says: str) -> None:
    (mine / "red_mug" / name).write_text(content)
    _refused(mine, str(mine / "red_mug" / name), says)


def test_a_folder_without_pictures_is_no_concept(mine: Path) -> None:
    (mine / "empty").mkdir()
    (mine / ".hidden").mkdir()
    Image.new("RGB", (16, 16)).save(mine / ".hidden" / "1.png")
    assert names(mine) == ["red_mug"]
    for name in ("empty", "..", "red_mug/../red_mug", ""):
        with pytest.raises(BenchError, match="there are: red_mug"):
            load(mine, name)


def test_a_concept_of_all_is_every_folder(mine: Path) -> None:
    from bench.sweeps.requests import requests

    Image.new("RGB", (16, 16)).save((mine / "red_mug").with_name("cup.png"))  # beside the folders: nothing
    (mine / "cup").mkdir()
    Image.new("RGB", (16, 16)).save(mine / "cup" / "1.png")
    given = ["+method=none", "dataset=folder", f"dataset.path={mine}"]
    assert [r.config["concept"] for r in requests([*given, "concept=all"])] == ["cup", "red_mug"]
    assert [r.config["concept"] for r in requests([*given, "concept=subject:all"])] == ["cup", "red_mug"]
    with pytest.raises(BenchError, match="holds none"):
        requests([*given, "concept=style:all"])


@pytest.mark.parametrize("text", ["concepts: 3\n", "things: {}\nconcepts: {}\n", "- 1\n"])
def test_a_wrong_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "concepts.yaml").write_text(text)
    with pytest.raises(BenchError, match=r"concepts\.yaml"):
        names(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("defaults: 3\nconcepts: {a: {}}\n", "defaults: a mapping"),
        ("concepts: {a: [1]}\n", r"concepts\.a: a mapping"),
        ("concepts: {a: {1: 2}}\n", r"concepts\.a: a mapping"),
        ("concepts: {7: {}}\n", "'7', would be right"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "concepts.yaml").write_text(text)
    with pytest.raises(BenchError, match=says):
        names(tmp_path)


def test_a_list_may_have_no_defaults_and_concepts_that_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "concepts.yaml").write_text("defaults:\nconcepts: {cup: , mug: {kind: erase}}\n")
    assert names(tmp_path) == ["cup", "mug"]
    with pytest.raises(BenchError, match=r"concepts\.yaml: class_phrase: Field required"):
        load(tmp_path, "mug")


def test_a_cameras_mpo_is_read_by_its_first_picture(mine: Path) -> None:
    """Eight subjects of DreamBooth are such files, by the name of .jpg."""
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    first.save(mine / "red_mug" / "0.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(mine / "red_mug" / "0.jpg") as image:
        assert image.format == "MPO"
    from bench.pictures import read_picture

    concept = load(mine, "red_mug")
    assert read_picture(concept.image_paths()[0]).getpixel((9, 9))[0] > 200  # type: ignore[index]
