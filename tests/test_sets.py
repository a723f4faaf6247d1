"""Metrics that look at several pictures together: against naive loops, and in order where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.judges.clip import OpenClip
from bench.judges.dino import Dino
from bench.judges.pixels import Pixels
from bench.metric import Bank, Features
from bench.stats import interval
from bench.stickers.render import render
from bench.stickers.validity.cases import spoiled
from bench.stickers.world import caption, sample_scene
from metrics.clip_t_instead import clip_t_instead
from metrics.consistency import spatial_consistency
from metrics.likeness import resembles
from metrics.preference import hps, pickscore
from metrics.preservation import distance
from metrics.sets import cmmd, kid

RNG = np.random.default_rng(0)


def units(n: int, d: int = 8) -> Any:
    x = RNG.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pair(n: int = 30) -> Features:
    return Features(units(n), units(n), None, units(3))


def kid_kernel(a: Any, b: Any) -> float:
    return float((a @ b + 1) ** 3)


def gauss(a: Any, b: Any) -> float:
    return float(np.exp(-((a - b) ** 2).sum() / 200))


@pytest.mark.parametrize(("metric", "kernel", "scale"), [(kid, kid_kernel, 1), (cmmd, gauss, 1000)])
def test_the_mean_is_the_unbiased_mmd(metric: Any, kernel: Any, scale: float) -> None:
    """Gretton et al. 2012, lemma 6: the mean of h(i, j) over i ≠ j, by a double loop."""
    seen = pair()
    x, y = seen.image.astype(float), seen.base.astype(float)
    n = len(x)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
    expected = scale * total / (n * (n - 1))
    assert metric.function(seen).mean() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    order = RNG.permutation(n)
    turned = replace(seen, image=seen.image[order], base=seen.base[order])
    assert metric.function(turned) == pytest.approx(metric.function(seen)[order], rel=1e-3, abs=1e-5)


def test_the_interval_of_a_set_covers() -> None:
    """Of two pictures at a time each moves the estimate twice: with shares of its own mean this covers in 63 of 100."""
    rng, repeats = np.random.default_rng(0), 200
    estimates, bounds = [], []
    for _ in range(repeats):
        x, y = rng.normal(size=(30, 8)).astype(np.float32), rng.normal(0.4, 1, size=(30, 8)).astype(np.float32)
        seen = Features(x / np.sqrt(8), y / np.sqrt(8), None, units(3))
        mean, low, high = interval(kid.function(seen).astype(float), np.arange(30), draws=300)
        estimates.append(mean)
        bounds.append((low, high))
    truth = float(np.mean(estimates))
    hits = sum(low <= truth <= high for low, high in bounds)
    assert 0.9 < hits / repeats < 0.99


def test_what_comes_instead_is_told_from_nothing() -> None:
    """Noise leaks nothing and is no dog: the surrogate, the erased thing in the same scene, noise; in this order."""
    judge, rng = OpenClip("c", "embedded:clip-judge"), np.random.default_rng(0)
    scenes = [replace(sample_scene(rng), subject="dog", accessory="none", colour="none") for _ in range(12)]
    texts = judge.texts([caption(s) for s in scenes])
    noise = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in scenes]
    dogs = [render(s.jittered(rng)) for s in scenes]
    cats = [render(replace(s, subject="cat").jittered(rng)) for s in scenes]
    found = []
    for pictures in (dogs, cats, noise):
        image = judge.images(pictures)
        seen = Features(image, image, None, units(3), instead=texts)
        assert clip_t_instead.function(seen) == pytest.approx(
            [float(a @ b) for a, b in zip(image, texts, strict=True)], abs=1e-6
        )
        found.append(float(clip_t_instead.function(seen).mean()))
    assert found[0] > found[1] + 0.05 > found[2] + 0.3
    assert (
        clip_t_instead.gate
        and clip_t_instead.gate(Features(image, image, None, units(3)))
        and not clip_t_instead.gate(seen)
    )


@pytest.mark.parametrize("metric", [kid, cmmd])
def test_one_set_twice_is_at_nothing_and_few_pictures_are_no_set(metric: Any) -> None:
    seen = pair()
    assert metric.function(replace(seen, base=seen.image)) == pytest.approx(np.zeros(30), abs=1e-4)
    assert metric.gate(seen) == ""
    assert "needs 24 pictures, and there are 12" in metric.gate(pair(12))


def test_kid_on_known_vectors() -> None:
    one, other = np.tile([[1.0, 0.0]], (24, 1)), np.tile([[0.0, 1.0]], (24, 1))
    seen = Features(one.astype(np.float32), other.astype(np.float32), None, units(2, 2))
    assert kid.function(seen) == pytest.approx(np.full(24, 8 + 8 - 1 - 1))  # (1 + 1)³ twice, less 1³ twice


@pytest.mark.parametrize(("metric", "judge"), [(kid, Dino("d", "embedded:dino-judge")),
                                               (cmmd, OpenClip("c", "embedded:clip-judge"))])  # fmt: skip
def test_the_more_is_wrong_with_a_set_the_farther_it_is(metric: Any, judge: Any) -> None:
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng) for _ in range(48)]
    base = judge.images([render(s) for s in scenes])
    far = []
    for wrong in (0, 2, 4):
        spoilt = [spoiled(s, wrong, rng).jittered(rng) for s in scenes]
        far.append(float(metric.function(Features(judge.images([render(s) for s in spoilt]), base, None, base)).mean()))
    assert far[0] < far[1] < far[2]


# --- spatial consistency -----------------------------------------------------------------------


def test_what_stands_behind_the_concept_stays_or_goes() -> None:
    """Another subject in the same place leaves the rest; another place does not."""
    from dataclasses import replace as other

    rng = np.random.default_rng(1)
    judge = Pixels("p", "")
    scenes = [other(sample_scene(rng), scene=place, colour="none") for place in ("snow", "grass") for _ in range(3)]
    prompts = np.repeat([0, 1], 3)
    base = judge.images([render(s) for s in scenes])
    stays = judge.images([render(other(s, subject="car")) for s in scenes])
    goes = judge.images([render(other(s, scene="night")) for s in scenes])

    def mean(image: Any) -> float:
        return float(spatial_consistency.function(Features(image, base, None, base, prompts=prompts)).mean())

    assert mean(base) == 1
    assert mean(stays) > 0.5 > mean(goes)


def test_consistency_is_in_units_of_another_seed() -> None:
    base = np.zeros((2, 8 * 8 * 3), np.float32)
    base[1] = 1.0  # two seeds of a prompt, one apart everywhere
    image = base.copy()
    image[:, : 4 * 8 * 3] += 5.0  # the upper half is covered by the concept
    seen = Features(image, base, None, base, prompts=np.zeros(2, int))
    assert spatial_consistency.function(seen) == pytest.approx([1, 1])
    half = Features(base + 0.25, base, None, base, prompts=np.zeros(2, int))
    assert spatial_consistency.function(half) == pytest.approx([0.75, 0.75])
    assert "one seed" in spatial_consistency.gate(replace(seen, prompts=np.arange(2)))  # type: ignore[misc]


# --- likeness ----------------------------------------------------------------------------------


def bank(spread: float = 0.3, n: int = 40) -> tuple[Bank, Any]:
    rng = np.random.default_rng(5)

    def around(axis: int) -> Any:
        x = np.eye(8)[axis] + spread * rng.normal(size=(n, 8))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    return Bank(around(0), around(1), np.arange(n) % 5, np.arange(n) % 5), around


def test_likeness_lets_one_in_twenty_of_what_is_near_through() -> None:
    known, around = bank()
    empty = np.zeros((0, 8), np.float32)

    def rate(axis: int) -> float:
        x = np.concatenate([around(axis) for _ in range(20)])
        seen = Features(x, x, None, empty, seeds=np.full(len(x), 9), bank=known)
        assert resembles.gate is not None
        assert resembles.gate(seen) == ""
        return float(resembles.function(seen).mean())

    assert rate(0) > 0.9
    assert rate(1) == pytest.approx(0.05, abs=0.04)


def test_likeness_says_where_it_cannot_tell() -> None:
    known, around = bank()
    blurred = Bank(known.negative, around(1), known.positive_seeds, known.negative_seeds)
    empty = np.zeros((0, 8), np.float32)
    assert resembles.gate is not None
    assert "AUC" in resembles.gate(Features(empty, empty, None, empty, seeds=np.zeros(0), bank=blurred))
    one = Bank(known.positive, known.negative, np.zeros(40), np.zeros(40))
    assert "one seed" in resembles.gate(Features(empty, empty, None, empty, seeds=np.zeros(0), bank=one))


def test_a_picture_of_the_same_seed_does_not_speak_for_it() -> None:
    """The untouched model's picture of one seed is the erased model's neighbour whatever it shows."""
    known, _ = bank()
    stranger = np.eye(8, dtype=np.float32)[[1]]
    twin = replace(known, positive=np.concatenate([known.positive[:-1], stranger]))
    empty = np.zeros((0, 8), np.float32)

    def near(seed: int) -> float:
        from metrics.likeness import _nearer

        return float(_nearer(stranger, np.array([seed]), Features(empty, empty, None, empty, bank=twin))[0])

    assert near(int(known.positive_seeds[-1])) < near(99)


def test_distance_is_that_of_the_centroids() -> None:
    base = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], np.float32)
    asked = np.array([[1, 0], [1, 0]], np.float32)
    empty, nothing = np.zeros((0, 2), np.float32), np.zeros(0)
    for known in (Bank(asked, base, nothing, nothing), Bank(empty, asked, nothing, nothing)):
        seen = Features(base, base, None, empty, prompts=np.array([0, 0, 1, 1]), bank=known)
        near = 1 - 1.6 / np.hypot(1.6, 0.8)
        assert distance.function(seen) == pytest.approx([near, near, 1, 1], abs=1e-6)
    assert "not asked" in distance.gate(Features(base, base, None, empty, bank=Bank(empty, empty, nothing, nothing)))  # type: ignore[misc]


# --- preferences -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [hps, pickscore])
def test_a_preference_is_the_cosine_with_the_prompt(metric: Any) -> None:
    seen = Features(units(5), units(5), units(5), units(2))
    assert seen.text is not None
    expected = [sum(a * b for a, b in zip(i, t, strict=True)) for i, t in zip(seen.image, seen.text, strict=True)]
    assert metric.function(seen) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="judge of texts"):
        metric.function(replace(seen, text=None))
