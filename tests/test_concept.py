"""Concepts and prompt grids: what a picture depends on, and what a broken dataset is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.concept import fill
from bench.data.concept_file import load
from bench.errors import BenchError
from bench.grid import Cell, Prompt, grid, load_templates

SEEDS = {"concept": 2, "class": 1, "neighbour": 1, "unrelated": 1, "empty": 3}


@pytest.fixture
def copy(tmp_path: Path, dataset: Path) -> Path:
    """A dataset of one concept that a test may damage."""
    shutil.copytree(dataset / "concepts" / "whole_cat", tmp_path / "concepts" / "whole_cat")
    shutil.copy(dataset / "prompts.yaml", tmp_path)
    return tmp_path


def _change(dataset: Path, **fields: Any) -> Path:
    path = dataset / "concepts" / "whole_cat" / "concept.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))
    return path


def _cell(
    channel: str = "concept", index: int = 0, complete: str = "a <new1> cat", base: str = "a cat", seed: int = 0
) -> Cell:
    return Cell(prompt=Prompt(channel=channel, index=index, complete=complete, base=base), seed=seed)


def test_noise_depends_on_channel_base_prompt_and_seed_only() -> None:
    here = _cell().noise_seed()
    assert _cell(index=7).noise_seed() == here
    assert _cell(complete="anything else").noise_seed() == here
    others = [_cell(channel="class"), _cell(base="a dog"), _cell(seed=1), _cell(channel="concept|a", base="cat")]
    assert len({here, *(c.noise_seed() for c in others)}) == 5


def test_noise_seed_is_the_same_for_ever() -> None:
    assert _cell().noise_seed() == 54270230114027366  # sha256("concept|a cat|0"), 7 bytes: rows depend on it
    assert 0 <= _cell().noise_seed() < 2**63  # what a torch.Generator takes


def test_noise_does_not_depend_on_the_other_cells(dataset: Path) -> None:
    concept, templates = load(dataset, "whole_cat"), load_templates(dataset)
    few = {c.key: c.noise_seed() for c in grid(concept, templates, {"class": 2}).cells}
    many = {c.key: c.noise_seed() for c in grid(concept, templates, SEEDS | {"class": 9}).cells}
    assert few.items() <= many.items()
    assert len(set(many.values())) == len(many)


@pytest.mark.parametrize(
    ("template", "noun", "text"),
    [
        ("{medium} of a {noun} in the snow", "cat", "a sketch of a cat in the snow"),
        ("{medium} of a {noun} in the snow", "owl", "a sketch of an owl in the snow"),
        ("{medium} of a {noun}", "unicorn", "a sketch of a unicorn"),
        ("{medium} of a {noun}", "<new1> owl", "a sketch of a <new1> owl"),
        ("the {noun}", "owl", "the owl"),
        ("", "", ""),
    ],
)
def test_fill(template: str, noun: str, text: str) -> None:
    assert fill(template, noun, "a sketch") == text


def test_grid_is_prompts_times_seeds(dataset: Path) -> None:
    concept, templates = load(dataset, "whole_cat"), load_templates(dataset)
    cells = grid(concept, templates, SEEDS)
    assert cells.channels() == list(SEEDS)
    for channel, seeds in SEEDS.items():
        own = [c for c in cells.cells if c.prompt.channel == channel]
        assert len(own) == len(templates[channel]) * seeds
        assert [p.index for p in cells.prompts(channel)] == list(range(len(templates[channel])))
        assert {c.seed for c in own} == set(range(seeds))
    assert len({c.key for c in cells.cells}) == len(cells.cells)


def test_grid_asks_for_the_right_things(dataset: Path) -> None:
    concept, templates = load(dataset, "whole_cat"), load_templates(dataset)
    cells = grid(concept, templates, SEEDS)
    for prompt in cells.prompts("concept"):
        assert "a <new1> cat" in prompt.complete
        assert prompt.complete.replace("<new1> ", "") == prompt.base
    for channel in ("class", "neighbour", "unrelated", "empty"):
        assert all(p.base == p.complete and "<new1>" not in p.base for p in cells.prompts(channel))
    assert all(" cat " in p.base for p in cells.prompts("class"))
    assert [p.base.split(" of ")[1].split()[1] for p in cells.prompts("neighbour")] == ["dog", "tiger", "rabbit"]
    assert not [p for p in cells.prompts("unrelated") if any(f" {w} " in p.base for w in ["cat", *concept.neighbours])]
    assert [p.base for p in cells.prompts("empty")] == [""]


def test_a_style_is_asked_for_on_subjects_its_references_do_not_show(dataset: Path) -> None:
    style = load(dataset, "style_paper")
    cells = grid(style, load_templates(dataset), SEEDS)
    shown = {r.base.split(" of ")[1].split()[1] for r in style.references}
    for prompt in cells.prompts("concept"):
        assert prompt.complete.startswith("a <new1> picture of ")
        assert prompt.base == prompt.complete.replace("<new1> ", "")
        assert prompt.base.split(" of ")[1].split()[1] not in shown
    assert all("picture of a picture" not in c.prompt.complete for c in cells.cells)


def test_what_is_erased_is_asked_for_once(dataset: Path) -> None:
    concept = load(dataset, "erase_cat")
    assert concept.target == "cat"
    for prompt in grid(concept, load_templates(dataset), SEEDS).prompts("concept"):
        assert prompt.complete.split().count("cat") == 1


def test_unrelated_leaves_out_the_class_itself(dataset: Path) -> None:
    concept = load(dataset, "whole_cat").model_copy(update={"class_phrase": "pizza", "neighbours": ["guitar"]})
    templates = {"unrelated": ["a {noun}"] * 4, "unrelated_nouns": ["pizza", "guitar", "cactus"]}
    assert {p.base for p in grid(concept, templates, {"unrelated": 1}).prompts("unrelated")} == {"a cactus"}


def test_a_concept_without_neighbours_has_no_such_channel(dataset: Path) -> None:
    concept = load(dataset, "whole_cat").model_copy(update={"neighbours": []})
    cells = grid(concept, load_templates(dataset), SEEDS)
    assert cells.channels() == [c for c in SEEDS if c != "neighbour"]


def test_fingerprint_follows_text_and_pixels_and_not_the_folder(copy: Path, dataset: Path) -> None:
    original = load(dataset, "whole_cat").fingerprint()
    assert load(copy, "whole_cat").fingerprint() == original
    shutil.copy(dataset / "concepts" / "poodle" / "0.png", copy / "concepts" / "whole_cat" / "0.png")
    pixels = load(copy, "whole_cat").fingerprint()
    _change(copy, medium="a cartoon")
    assert len({original, pixels, load(copy, "whole_cat").fingerprint()}) == 3


def test_every_embedded_concept_loads(dataset: Path) -> None:
    for path in dataset.glob("concepts/*/concept.yaml"):
        concept = load(dataset, path.parent.name)
        assert concept.name == path.parent.name
        assert concept.licence
        assert concept.attribution


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "person"}, "kind"), ({"clas_phrase": "cat"}, "clas_phrase"), ({"licence": None}, "licence"),
        ({"references": [{"image": "0.png", "base": "a cat"}]}, "references.0.complete"),
        ({"references": []}, "references"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(copy: Path, fields: dict[str, Any], says: str) -> None:
    path = _change(copy, **fields)
    _refused(copy, str(path), says)


@pytest.mark.parametrize("content", [b"- a\n- list\n", b"", b"name: [unclosed", b"\xff\xfe\x00bad", b"1: 2\n"])
def test_a_file_that_is_no_mapping_is_named(copy: Path, content: bytes) -> None:
    path = copy / "concepts" / "whole_cat" / "concept.yaml"
    path.write_bytes(content)
    _refused(copy, str(path))


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "folder"])
def test_a_damaged_picture_is_named(copy: Path, damage: str) -> None:
    path = copy / "concepts" / "whole_cat" / "3.png"
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"hello"}[damage])
    _refused(copy, str(path))


def test_an_unknown_concept_lists_what_there_is(copy: Path) -> None:
    _refused(copy, "whole_kat", "whole_cat")


def _refused(dataset: Path, *says: str) -> None:
    with pytest.raises(BenchError) as caught:
        load(dataset, "whole_kat" if "whole_kat" in says else "whole_cat")
    assert all(s in str(caught.value) for s in says), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"- a list\n", b"concept: [unclosed", b"\xff\xfe"])
def test_damaged_prompts_are_named(copy: Path, content: bytes | None) -> None:
    path = copy / "prompts.yaml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        load_templates(copy)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_channel_the_dataset_does_not_have_is_named(dataset: Path) -> None:
    with pytest.raises(BenchError, match="attack"):
        grid(load(dataset, "whole_cat"), load_templates(dataset), {"attack": 1})
