"""Metrics: each against a naive double loop, on vectors where the answer is known, in any order and batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.concept import Concept, Reference
from bench.grid import Cell, Prompt, PromptGrid
from bench.judges.clip import OpenClip
from bench.judges.dino import Dino
from bench.judges.features import FeatureCache
from bench.metric import Features, Metric
from bench.sides import Probe
from bench.stages import score
from metrics.blip import blip1_itc, blip2_itc, blip2_itm
from metrics.clip_i import clip_i
from metrics.clip_t import clip_t
from metrics.clip_t_instead import clip_t_instead
from metrics.consistency import spatial_consistency
from metrics.csd import style_csd
from metrics.detection import certainty, detected, recognized
from metrics.dino import dino
from metrics.leakage import concept_rate, imitation
from metrics.likeness import resembles
from metrics.novelty import copy_rate, diversity
from metrics.preference import hps, pickscore
from metrics.preservation import delta_clip_t, distance, drift, restoration
from metrics.sets import cmmd, kid
from metrics.together import clip_i_style, dino_lesser, dino_subject
from tests import tiny

Array = np.ndarray[Any, np.dtype[np.float32]]
SEPARATE = {m.name: m for m in (clip_i, clip_t, dino, delta_clip_t, drift, restoration)}
ALL = SEPARATE | {m.name: m for m in (blip2_itm, blip2_itc, blip1_itc, recognized, detected, certainty)}

TOGETHER = (dino_subject, clip_i_style, dino_lesser)


def _cosine(a: Array, b: Array) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def _to_references(f: Features, i: int) -> float:
    return math.fsum(_cosine(f.image[i], r) for r in f.references) / len(f.references)


def _match(f: Features, i: int, column: int) -> float:
    assert f.match is not None
    return float(f.match[i][column])


def _text(f: Features, i: int) -> Array:
    assert f.text is not None
    return f.text[i]


NAIVE: dict[str, Callable[[Features, int], float]] = {
    "clip_i": _to_references,
    "dino": _to_references,
    "clip_t": lambda f, i: _cosine(f.image[i], _text(f, i)),
    "delta_clip_t": lambda f, i: _cosine(f.image[i], _text(f, i)) - _cosine(f.base[i], _text(f, i)),
    "drift": lambda f, i: 1 - _cosine(f.image[i], f.base[i]),
    "blip2_itm": lambda f, i: _match(f, i, 0),
    "blip2_itc": lambda f, i: _match(f, i, 1),
    "blip1_itc": lambda f, i: _match(f, i, 0),
    "recognized": lambda f, i: _match(f, i, 1),
    "detected": lambda f, i: _match(f, i, 1),
    "certainty": lambda f, i: _match(f, i, 0),
    "restoration": lambda f, i: 1 - _cosine(f.image[i], f.base[i]),
}
# Of the vectors in test_golden_values, by hand. delta of the second: 0.8 - (-0.6); its drift: 1 - (0.48 - 0.48).
GOLDEN = {
    "clip_i": [0.5, 0.7],
    "dino": [0.5, 0.7],
    "clip_t": [0.0, 0.8],
    "delta_clip_t": [-0.6, 1.4],
    "drift": [0.2, 1.0],
    "blip2_itm": [0.9, 0.1],
    "blip2_itc": [0.3, -0.2],
    "blip1_itc": [0.9, 0.1],
    "recognized": [0.3, -0.2],
    "detected": [0.3, -0.2],
    "certainty": [0.9, 0.1],
    "restoration": [0.2, 1.0],
}
DIRECTION = {"clip_i": "higher", "dino": "higher", "clip_t": "higher", "delta_clip_t": "zero", "drift": "lower",
             "blip2_itm": "higher", "blip2_itc": "higher", "blip1_itc": "higher", "recognized": "higher",
             "detected": "lower", "certainty": "lower", "restoration": "lower"}  # fmt: skip


def _units(rng: np.random.Generator, n: int, d: int = 16) -> Array:
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def features() -> Features:
    rng = np.random.default_rng(0)
    return Features(_units(rng, 23), _units(rng, 23), _units(rng, 23), _units(rng, 5), _units(rng, 23, 2))


def test_no_metric_is_left_out(root: Path) -> None:
    from importlib import import_module

    found = {}
    for path in (root / "metrics").glob("[!_]*.py"):
        found |= {m.name: m for m in vars(import_module(f"metrics.{path.stem}")).values() if isinstance(m, Metric)}
    elsewhere = (
        certainty,
        clip_t_instead,
        concept_rate,
        copy_rate,
        diversity,
        resembles,
        distance,
        imitation,
        spatial_consistency,
        cmmd,
        kid,
        hps,
        pickscore,
        style_csd,
        *TOGETHER,
    )
    assert found == ALL | {m.name: m for m in elsewhere}  # tests/test_derived.py, test_golden.py, test_sets.py


@pytest.mark.parametrize("name", ALL)
def test_equals_a_naive_loop(name: str, features: Features) -> None:
    values = ALL[name].function(features)
    assert values.shape == (23,)
    assert values == pytest.approx([NAIVE[name](features, i) for i in range(23)], abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_does_not_depend_on_batch_or_order(name: str, features: Features) -> None:
    function = ALL[name].function
    whole = function(features)

    def rows(index: np.ndarray) -> Features:
        assert features.text is not None
        assert features.match is not None
        return Features(
            features.image[index],
            features.base[index],
            features.text[index],
            features.references,
            features.match[index],
        )

    shuffled = np.random.default_rng(1).permutation(23)
    assert function(rows(shuffled)) == pytest.approx(whole[shuffled], abs=1e-6)
    pieces = [function(rows(np.arange(i, min(i + 4, 23)))) for i in range(0, 23, 4)]
    assert np.concatenate(pieces) == pytest.approx(whole, abs=1e-6)
    turned = replace(features, references=features.references[::-1])
    assert function(turned) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_golden_values(name: str) -> None:
    image, base = np.array([[1, 0], [0.6, 0.8]], np.float32), np.array([[0.8, 0.6], [0.8, -0.6]], np.float32)
    text, references = np.array([[0, 1], [0, 1]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    match = np.array([[0.9, 0.3], [0.1, -0.2]], np.float32)
    assert ALL[name].function(Features(image, base, text, references, match)) == pytest.approx(GOLDEN[name], abs=1e-6)


@pytest.mark.parametrize(
    ("m", "kinds"),
    [(dino_subject, "subject style"), (clip_i_style, "subject style"), (dino_lesser, "subject subject")],
)
def test_several_at_once_are_each_held_against_their_own(m: Metric, kinds: str, features: Features) -> None:
    one, two = [0, 2], [1, 3, 4]
    of_two = replace(features, parts=list(zip(kinds.split(), (one, two), strict=True)))
    own = [[math.fsum(_cosine(f, features.references[r]) for r in refs) / len(refs) for f in features.image]
           for refs in (one, two)]  # fmt: skip
    wanted = {"dino_subject": own[0], "clip_i_style": own[1], "dino_lesser": [min(v) for v in zip(*own, strict=True)]}
    values = m.function(of_two)
    assert values == pytest.approx(wanted[m.name], abs=1e-6)
    order = np.random.default_rng(1).permutation(23)
    assert m.function(replace(of_two, image=features.image[order])) == pytest.approx(values[order], abs=1e-6)
    assert m.function(replace(of_two, image=features.image[:4])) == pytest.approx(values[:4], abs=1e-6)
    golden = Features(np.array([[1, 0], [0.6, 0.8]], np.float32), features.base, None, np.eye(2, dtype=np.float32))
    golden = replace(golden, parts=list(zip(kinds.split(), ([0], [1]), strict=True)))
    by_hand = {"dino_subject": [1, 0.6], "clip_i_style": [0, 0.8], "dino_lesser": [0, 0.6]}[m.name]
    assert m.function(golden) == pytest.approx(by_hand, abs=1e-6)
    assert m.channels == ("concept",) and m.value_name("concept") == m.name and m.better == "higher"


def test_only_merges_and_pairs_that_are_learned_are_held_so(dataset: Path) -> None:
    served = {of: [m.name for m in TOGETHER if m.serves(*tiny.concept(dataset, of).kinds)]
              for of in ("cat_in_ink", "cat_and_poodle", "erase_cat_and_rocket", "whole_cat", "style_ink")}  # fmt: skip
    assert served == {"cat_in_ink": ["dino_subject", "clip_i_style"], "cat_and_poodle": ["dino_lesser"],
                      "erase_cat_and_rocket": [], "whole_cat": [], "style_ink": []}  # fmt: skip


def test_directions_and_channels() -> None:
    assert {m.name: m.better for m in ALL.values()} == DIRECTION
    assert {m.name: m.needs for m in ALL.values()} == dict.fromkeys(ALL, "clip") | {
        "dino": "dino", "drift": "dino", "restoration": "dino", "blip2_itm": "blip2", "blip2_itc": "blip2",
        "blip1_itc": "blip1", "recognized": "reader", "detected": "reader", "certainty": "reader",
    }  # fmt: skip
    assert "concept" not in drift.channels  # there the customized model is meant to leave the base model's picture
    for m in (clip_i, clip_t, dino, blip2_itm, blip2_itc, blip1_itc):
        assert m.channels == ("concept", "part")
        assert (m.value_name("concept"), m.value_name("part")) == (m.name, f"{m.name}/part")
        assert not m.serves("erase")  # there a fall is what is wanted
    assert detected.serves("erase")
    assert not detected.serves("subject")
    assert restoration.value_name("class") == "restoration/class"


def test_an_untouched_model_is_at_the_neutral_point(features: Features) -> None:
    same = replace(features, base=features.image)
    assert not delta_clip_t.function(same).any()
    assert drift.function(same) == pytest.approx(np.zeros(23), abs=1e-6)


def test_the_perfect_copy_is_at_the_top(features: Features) -> None:
    copy = replace(features, image=features.references, references=features.references[:1])
    for m in (clip_i, dino):
        assert m.function(copy).argmax() == 0
        assert m.function(copy)[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("metric", [clip_t, delta_clip_t], ids=lambda m: m.name)
def test_a_metric_of_texts_refuses_an_encoder_without_them(metric: Metric, features: Features) -> None:
    with pytest.raises(ValueError, match=metric.name):
        metric.function(replace(features, text=None))


@pytest.mark.parametrize("metric", [blip2_itm, blip2_itc, blip1_itc], ids=lambda m: m.name)
def test_a_metric_of_pairs_refuses_an_encoder_of_pictures(metric: Metric, features: Features) -> None:
    with pytest.raises(ValueError, match="pictures and texts together"):
        metric.function(replace(features, match=None))


def _unit(x: Array) -> Array:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class FakeDino(Dino):
    """A judge that sees a picture's mean colour, and counts what it is shown."""

    def __init__(self) -> None:
        self.name, self.fingerprint, self.seen = "fake-dino", "d", 0

    def images(self, images: Sequence[Image.Image]) -> Array:
        self.seen += len(images)
        return _unit(np.stack([np.asarray(i, np.float32).mean((0, 1)) + 1 for i in images]))


class FakeClip(OpenClip):
    """The same with texts: `R`, `G`, `B` are the pure colours."""

    def __init__(self) -> None:
        self.name, self.fingerprint = "fake-clip", "c"

    def images(self, images: Sequence[Image.Image]) -> Array:
        return FakeDino().images(images)

    def texts(self, texts: Sequence[str]) -> Array:
        return np.eye(3, dtype=np.float32)[["RGB".index(t) for t in texts]]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FeatureCache]:
    cache = FeatureCache(tmp_path / "features.sqlite")
    yield cache
    cache.close()


def _pictures(folder: Path, names: Sequence[str], seed: int) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name in names:
        Image.new("RGB", (8, 8), tuple(int(v) for v in rng.integers(256, size=3))).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in names]


def test_references_are_scored_against_the_others_only(tmp_path: Path, cache: FeatureCache) -> None:
    references = _pictures(tmp_path / "real", "abcd", 0)
    encoders = {"clip": FakeClip(), "dino": FakeDino()}
    captions = ["R", "G", "B", "R"]
    table = score.score_references(references, captions, encoders, list(SEPARATE.values()), cache)
    z, texts = cache.images(encoders["dino"], references), FakeClip().texts(captions)
    assert set(table["metric"]) == {"clip_i", "clip_t", "dino"}
    for i in range(4):
        own = table[table["prompt"] == i].set_index("metric")["value"]
        expected = sum(_cosine(z[i], z[j]) for j in range(4) if j != i) / 3
        assert own["dino"] == pytest.approx(expected, abs=1e-6)
        assert own["clip_i"] == pytest.approx(expected, abs=1e-6)
        assert own["clip_t"] == pytest.approx(_cosine(z[i], texts[i]), abs=1e-6)


def test_a_single_reference_has_no_anchor(tmp_path: Path, cache: FeatureCache) -> None:
    references = _pictures(tmp_path / "real", "a", 0)
    encoders = {"clip": FakeClip(), "dino": FakeDino()}
    table = score.score_references(references, ["R"], encoders, list(SEPARATE.values()), cache)
    assert table.empty


def _grid() -> PromptGrid:
    texts = [("concept", 0, "R"), ("concept", 1, "G"), ("class", 0, "B"), ("empty", 0, "R")]
    prompts = [Prompt(channel=c, index=i, complete=t, base=t) for c, i, t in texts]
    return PromptGrid(cells=[Cell(prompt=p, seed=s) for p in prompts for s in range(3)])


def test_scores_are_one_line_a_picture_and_metric(tmp_path: Path, cache: FeatureCache) -> None:
    grid = _grid()
    names = [c.key for c in grid.cells]
    _pictures(tmp_path / "made", names, 1)
    _pictures(tmp_path / "base", names, 2)
    real = _pictures(tmp_path / "real", "abc", 3)
    encoders = {"clip": FakeClip(), "dino": FakeDino()}
    references = [Reference(image=p.name, complete="R", base="R") for p in real]
    concept = Concept(
        name="c", kind="subject", class_phrase="cat", references=references, licence="MIT", folder=real[0].parent
    )
    folders = {"model": tmp_path / "made", "none": tmp_path / "base"}
    probe = Probe(grid, folders, concept)
    table = score.score(probe, probe, encoders, list(SEPARATE.values()), cache)
    counts = table[table["source"] == "model"].groupby(["metric", "channel"]).size().to_dict()
    on_concept = {
        (name, "concept"): 6 for name in ("clip_i", "dino", "clip_t", "delta_clip_t")
    }  # restoration is no subject's
    on_class = {(name, "class"): 3 for name in ("delta_clip_t", "drift")}
    assert counts == on_concept | on_class | {("drift", "empty"): 3}
    assert len(table) == 2 * sum(counts.values())
    base = table[(table["source"] == "none") & table["metric"].isin(["delta_clip_t", "drift", "restoration"])]
    assert base["value"].abs().max() < 1e-6
    line = table[
        (table["source"] == "model") & (table["metric"] == "clip_t") & (table["prompt"] == 1) & (table["seed"] == 2)
    ]
    picture = cache.images(encoders["clip"], [tmp_path / "made" / "concept-01-2.png"])[0]
    assert line["value"].tolist() == pytest.approx([float(picture[1])], abs=1e-6)

    values, unmeasured = score.summarize(table, list(ALL.values()), encoders)
    assert unmeasured == {}
    assert set(values["model"]) == {
        "clip_i",
        "dino",
        "clip_t",
        "delta_clip_t/concept",
        "delta_clip_t/class",
        "drift/class",
        "drift/empty",
    }
    for value in values["model"].values():
        assert value.low <= value.value <= value.high
    own = table[(table["source"] == "model") & (table["metric"] == "dino")]["value"]
    assert values["model"]["dino"].value == pytest.approx(own.mean(), abs=1e-5)
    assert values["model"]["dino"].n == 6
    assert values["model"]["dino"].checkpoint == "fake-dino"


def test_features_are_found_by_content_and_encoder(tmp_path: Path, cache: FeatureCache) -> None:
    paths = _pictures(tmp_path / "one", "abc", 0)
    encoder = FakeDino()
    first = cache.images(encoder, paths)
    again = _pictures(tmp_path / "two", "xyz", 0)  # the same pictures under other names
    assert np.array_equal(cache.images(encoder, again[::-1]), first[::-1])
    assert encoder.seen == 3
    other = FakeDino()
    other.fingerprint = "another"
    cache.images(other, paths)
    assert other.seen == 3
    cache._code = "that looks otherwise"
    cache.images(encoder, paths)
    assert encoder.seen == 6
