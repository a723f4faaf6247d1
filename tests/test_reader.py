"""The reader of pictures, and the rewards methods may learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.concept_file import load
from bench.errors import BenchError
from bench.judges.clip import OpenClip
from bench.judges.dino import Dino
from bench.judges.reader import Reader
from bench.rewards import Following, Likeness, to_images
from bench.stickers.pretrain.data import to_tensor
from bench.stickers.render import render
from bench.stickers.world import Scene
from methods.dpg import reward_of


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader("oracle", "embedded:oracle")


SUBJECTS = ["cat", "dog", "pizza", "rocket"]
PICTURES = [render(Scene(s, "cartoon", "snow")) for s in SUBJECTS]


def test_the_reader_finds_what_is_there_and_not_what_is_not(reader: Reader) -> None:
    right = reader.pairs(PICTURES, [f"a cartoon of a {s} in the snow" for s in SUBJECTS])
    wrong = reader.pairs(PICTURES, [f"a cartoon of a {s} in the snow" for s in [*SUBJECTS[1:], "cat"]])
    assert right[:, 1].tolist() == [1, 1, 1, 1]
    assert wrong[:, 1].tolist() == [0, 0, 0, 0]
    assert (right[:, 0] > 0.5).all()
    assert (wrong[:, 0] < 0.5).all()


def test_the_reader_does_not_depend_on_the_batch(reader: Reader) -> None:
    texts = [f"a {s}" for s in SUBJECTS]
    alone = np.concatenate([reader.pairs([p], [t]) for p, t in zip(PICTURES, texts, strict=True)])
    assert reader.pairs(PICTURES, texts) == pytest.approx(alone, abs=1e-5)


def test_the_reader_knows_its_own_words_alone(reader: Reader) -> None:
    assert reader.knows("a cartoon of a cat and a rocket at night")
    assert not reader.knows("")
    assert not reader.knows("a picture of a caterpillar")  # not a cat
    both = reader.pairs(PICTURES[:1], ["a cat and a rocket"])
    one = [reader.pairs(PICTURES[:1], [f"a {s}"])[0, 0] for s in ("cat", "rocket")]
    assert both[0, 0] == pytest.approx(sum(one), abs=1e-6)


def test_pictures_become_the_images_they_were() -> None:
    tensor = to_tensor(PICTURES)
    for image, picture in zip(to_images(tensor), PICTURES, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(picture))


def test_rewards_are_what_the_metrics_score(dataset: Path) -> None:
    concept = load(dataset, "whole_cat")
    tensor, captions = to_tensor(PICTURES), [f"a cartoon of a {s} in the snow" for s in SUBJECTS]
    dino, clip = Dino("d", "embedded:dino-judge"), OpenClip("c", "embedded:clip-judge")
    references = dino.images([Image.open(p).convert("RGB") for p in concept.image_paths()])
    likeness = Likeness("dino", "embedded:dino-judge")(tensor, captions, concept)
    assert likeness.tolist() == pytest.approx((dino.images(PICTURES) @ references.T).mean(1).tolist(), abs=1e-5)
    following = Following("open_clip", "embedded:clip-judge")(tensor, captions, concept)
    expected = (clip.images(PICTURES) * clip.texts(captions)).sum(1)
    assert following.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def brightness(pictures: torch.Tensor, captions: object, concept: object) -> torch.Tensor:
    return pictures.mean((1, 2, 3))


def test_a_reward_is_a_function_or_what_a_mapping_makes() -> None:
    assert reward_of(None) is None
    assert reward_of("tests.test_reader.brightness") is not None
    made = reward_of({"_target_": "bench.rewards.Likeness", "kind": "dino", "path": "embedded:dino-judge"})
    assert isinstance(made, Likeness)
    with pytest.raises(BenchError, match="_target_"):
        reward_of({"kind": "dino"})
    with pytest.raises(BenchError, match="no module 'nowhere'"):
        reward_of("nowhere.reward")
