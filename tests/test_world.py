"""The embedded world: what its captions say is what its pictures show, and held-out art stays held out."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.stickers import render as renderer
from bench.stickers.concepts import everything
from bench.stickers.render import render, sprite
from bench.stickers.world import Scene, caption, loose_caption, names, neighbour_scene, sample_scene, world

AN = {"octopus", "owl", "elephant", "apple", "umbrella"}  # every word of the world that begins with a vowel sound


def _alternatives(words: list[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


def _reader() -> re.Pattern[str]:
    """A reader of captions that shares nothing with the code that writes them but the word lists."""
    w = world()
    held = _alternatives([f"{prefix} {name}" for name, (_, prefix, _) in w["accessories"].items()])
    return re.compile(
        rf"(?P<style>{_alternatives([v[0] for v in w['styles'].values()])}) of (?P<article>an?) "
        rf"(?:(?P<colour>{_alternatives(list(w['colours']))}) )?(?P<subject>{_alternatives(list(w['subjects']))})"
        rf"(?: (?P<held>{held}))? (?P<scene>{_alternatives(list(w['scenes'].values()))})"
    )


def _concept_ids() -> list[str]:
    return [c["name"] for c, _ in everything()]


def test_there_is_enough_in_it() -> None:
    w = world()
    assert len(w["subjects"]) >= 48
    assert len(w["styles"]) >= 3
    assert len(w["held_out_styles"]) >= 4
    assert len(w["accessories"]) >= 8
    assert len(w["scenes"]) >= 10
    assert len(w["colours"]) >= 5
    assert len(w["personal"]) >= 12


def test_every_subject_has_an_alias_of_its_own() -> None:
    aliases = [a for words in world()["subjects"].values() for a in words[1:]]
    assert all(len(words) >= 2 for words in world()["subjects"].values())
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(world()["subjects"])


@pytest.mark.parametrize("style", names("style"))
def test_every_subject_and_accessory_is_drawn_in_every_style(style: str) -> None:
    source = world()["styles"][style][1]
    pictures = {}
    for name in names("subject") + names("accessory")[1:]:
        art = sprite(source, name)
        assert np.asarray(art)[..., 3].mean() > 25, f"{source}/{name} is nearly empty"
        pictures[art.tobytes()] = name
    assert len(pictures) == len(names("subject")) + len(names("accessory")) - 1, "two names share one drawing"


def test_a_seed_gives_one_picture_and_another_seed_another() -> None:
    def drawn(seed: int) -> list[bytes]:
        rng = np.random.default_rng(seed)
        return [render(sample_scene(rng)).tobytes() for _ in range(20)]

    assert drawn(3) == drawn(3)
    assert not set(drawn(3)) & set(drawn(4))


def test_pictures_are_64_pixel_rgb() -> None:
    rng = np.random.default_rng(0)
    assert {(i.size, i.mode) for i in (render(sample_scene(rng)) for _ in range(50))} == {((64, 64), "RGB")}


def test_the_pictures_the_models_were_trained_on_have_not_changed() -> None:
    """Exact, so without colours: `tint` rounds floating-point numbers. The references below are checked one by one."""
    digest = hashlib.sha256()
    everywhere = itertools.product(names("style"), names("accessory"), names("scene"))
    for i, (style, accessory, scene) in enumerate(everywhere):
        subject = names("subject")[i % len(names("subject"))]
        digest.update(
            render(Scene(subject, style, scene, accessory=accessory, dx=(i % 3 - 1) * 4, flip=i % 2 == 0)).tobytes()
        )
    assert digest.hexdigest()[:16] == "6519402eed38b6d2"


def test_captions_name_what_is_there_and_only_that() -> None:
    w, reader, seen = world(), _reader(), set()
    attributes = ("subject", "style", "colour", "accessory", "scene")
    for subject, style, colour, accessory, scene in itertools.product(*(names(a) for a in attributes)):
        text = caption(Scene(subject, style, scene, colour=colour, accessory=accessory))
        seen.add(text)
        read = reader.fullmatch(text)
        assert read, text
        held = None if accessory == "none" else f"{w['accessories'][accessory][1]} {accessory}"
        expected = (w["styles"][style][0], None if colour == "none" else colour, subject, held, w["scenes"][scene])
        assert read.group("style", "colour", "subject", "held", "scene") == expected
        first = subject if colour == "none" else colour
        assert read["article"] == ("an" if first in AN else "a"), text
    assert len(seen) == np.prod([len(names(a)) for a in attributes])  # no two contents share a caption


def test_accessories_have_the_right_article() -> None:
    for name, (_, prefix, _) in world()["accessories"].items():
        plural = name in ("sunglasses", "headphones")
        assert prefix.split()[1:] == ([] if plural else ["an" if name in AN else "a"]), name


def test_what_differs_in_the_caption_differs_in_the_picture() -> None:
    plain = Scene("cat", "cartoon", "grass")
    changed = [
        Scene("dog", "cartoon", "grass"), Scene("cat", "3d", "grass"), Scene("cat", "cartoon", "snow"),
        Scene("cat", "cartoon", "grass", colour="blue"), Scene("cat", "cartoon", "grass", accessory="crown"),
    ]  # fmt: skip
    pictures = {render(s).tobytes() for s in [plain, *changed]}
    assert len(pictures) == 6


def test_colours_are_the_colours_they_are_called() -> None:
    """The subject's pixels, found by what changes between two places, lie nearest to their own colour."""
    table = {k: np.array(v, float) for k, v in world()["colours"].items()}
    for colour in table:
        a, b = (np.asarray(render(Scene("cat", "cartoon", s, colour=colour)), float) for s in ("white", "pink"))
        body = a[(a == b).all(-1)]
        strong = body[body.max(1) - body.min(1) > 60].mean(0)
        direction = {k: strong @ v / np.linalg.norm(v) for k, v in table.items()}
        assert max(direction, key=lambda k: direction[k]) == colour


def test_a_coloured_subject_never_stands_on_its_own_colour() -> None:
    rng = np.random.default_rng(1)
    hidden = {("red", "red"), ("blue", "blue"), ("golden", "yellow")}
    scenes = [sample_scene(rng) for _ in range(4000)]
    assert not {(s.colour, s.scene) for s in scenes} & hidden
    assert {s.colour for s in scenes} == set(names("colour"))


def test_neighbour_scene_changes_one_attribute() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        scene = sample_scene(rng)
        other = neighbour_scene(scene, rng)
        changed = [
            a for a in ("subject", "style", "colour", "accessory", "scene") if getattr(scene, a) != getattr(other, a)
        ]
        assert len(changed) == 1


def test_loose_captions_name_the_subject_or_its_alias() -> None:
    rng = np.random.default_rng(3)
    subjects = world()["subjects"]
    exact = 0
    for _ in range(2000):
        scene = sample_scene(rng)
        text = loose_caption(scene, rng)
        exact += text == caption(scene)
        own = [scene.subject, *subjects[scene.subject][1:]]
        assert any(re.search(rf"\b{re.escape(w)}\b", text) for w in own), (text, scene)
    assert 0.5 < exact / 2000 < 0.95


def test_sampled_scenes_never_reach_held_out_art(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[tuple[str, str]] = set()

    def recorded(source: str, name: str) -> Image.Image:
        used.add((source, name))
        return sprite(source, name)

    monkeypatch.setattr(renderer, "sprite", recorded)
    rng = np.random.default_rng(4)
    for _ in range(3000):
        render(sample_scene(rng))
    known = {v[1] for v in world()["styles"].values()}
    held_out = {v[1] for v in world()["held_out_styles"].values()}
    assert {source for source, _ in used} == known
    assert not known & held_out
    assert not [name for _, name in used if name.startswith("personal:")]
    assert len(used) > 0.9 * 3 * (len(names("subject")) + len(names("accessory")) - 1)  # nearly all else was reached


def test_personal_art_is_not_a_drawing_the_model_has_seen() -> None:
    for name, entry in world()["personal"].items():
        own = sprite(entry["art"], f"personal:{name}").tobytes()
        seen = {sprite(v[1], s).tobytes() for v in world()["styles"].values() for s in names("subject")}
        assert own not in seen, name


def test_the_committed_concepts_are_those_the_code_writes(dataset: Path) -> None:
    committed = {p.parent.name for p in dataset.glob("concepts/*/concept.yaml")}
    assert committed == set(_concept_ids())


@pytest.mark.parametrize(("concept", "images"), list(everything()), ids=_concept_ids())
def test_the_committed_pictures_and_captions_are_what_the_renderer_gives(
    dataset: Path, concept: dict[str, object], images: list[Image.Image]
) -> None:
    folder = dataset / "concepts" / str(concept["name"])
    assert yaml.safe_load((folder / "concept.yaml").read_text(encoding="utf-8")) == concept
    assert sorted(p.name for p in folder.glob("*.png")) == [f"{i}.png" for i in range(len(images))]
    for i, image in enumerate(images):
        with Image.open(folder / f"{i}.png") as committed:
            assert np.array_equal(np.asarray(committed.convert("RGB")), np.asarray(image)), f"{folder}/{i}.png"


def test_concepts_are_complete(dataset: Path) -> None:
    kinds: dict[str, int] = {}
    for concept, images in everything():
        kinds[concept["kind"]] = kinds.get(concept["kind"], 0) + 1
        if "parts" in concept:  # its pictures are those of its parts
            assert images == []
            continue
        assert len(images) == len(concept["references"]) == 5
        assert len({i.tobytes() for i in images}) == 5
        assert len(concept["neighbours"]) >= 3
        assert set(concept["neighbours"]) <= set(names("subject")) - {concept["class_phrase"]}
        if concept["kind"] == "erase":
            assert concept["surrogate"] in names("subject")
            assert concept["surrogate"] not in [concept["class_phrase"], *concept["neighbours"]]
            assert concept["aliases"] == world()["subjects"][concept["class_phrase"]][1:]
        else:
            for reference in concept["references"]:  # the token stands once, and nothing else differs
                complete, token = reference["complete"], concept["token"]
                assert complete.count(token) == 1
                assert complete.replace(f"{token} ", "") == reference["base"]
                assert token not in reference["base"]
    assert kinds["subject"] >= 12
    assert kinds["style"] >= 4
    assert kinds["erase"] >= 6


def test_prompts_of_channel_concept_are_not_the_references_places(dataset: Path) -> None:
    templates = yaml.safe_load((dataset / "prompts.yaml").read_text(encoding="utf-8"))
    places = list(world()["scenes"].values())
    shown = {next(p for p in places if r["base"].endswith(p)) for c, _ in everything() for r in c.get("references", [])}
    assert len(shown) == 5
    for channel in ("concept", "style.concept"):
        asked = {next(p for p in places if prompt.endswith(p)) for prompt in templates[channel]}
        assert len(asked) == len(templates[channel])
        assert not asked & shown
