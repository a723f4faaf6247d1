"""Scores made of means, and the intervals they and the metrics stand on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.concept_file import load, load_novel
from bench.grid import Cell, Prompt, PromptGrid, grid, load_templates
from bench.judges.detector import calibration
from bench.metric import Bank, Derived, Features, metric
from bench.paths import stickers
from bench.sides import Probe
from bench.stages.derive import Means
from bench.stages.derive import derive as derive_from
from bench.stages.score import COLUMNS, refused_whole, score, summarize
from bench.stats import drawn_means, independent, interval, widening, wilson
from metrics.detection import detected
from metrics.erasure import disagreement, erasure_score, leakage, prefix_gain, soft_leakage, worst_leakage
from metrics.leakage import concept_leakage, concept_rate, erosion, imitation, measurable
from metrics.likeness import resembles
from metrics.novelty import alteration, copy_rate, diversity

PROMPTS, SEEDS = 8, 5


def derive(m: Derived, scores: pd.DataFrame, channel: str) -> tuple[float, float, float, int] | str:
    return derive_from(m, Means(scores, {"detected", "resembles", "recognized"}), channel)


def table(values: dict[tuple[str, str, str], Any], prompts: int = PROMPTS, seeds: int = SEEDS) -> pd.DataFrame:
    """One line a picture of (metric, source, channel) → values (prompts, seeds), or one value for all."""
    lines = []
    for (name, source, channel), given in values.items():
        full = np.broadcast_to(np.asarray(given, float), (prompts, seeds))
        lines += [
            {"source": source, "metric": name, "channel": channel, "prompt": p, "seed": s, "value": full[p, s],
             "reason": ""}
            for p in range(prompts) for s in range(seeds)
        ]  # fmt: skip
    return pd.DataFrame(lines)


def erased(model: Any, none: Any = 1.0, surrogate: Any = 0.0) -> pd.DataFrame:
    return table({("detected", s, "concept"): v for s, v in
                  (("model", model), ("none", none), ("surrogate", surrogate))})  # fmt: skip


def some(rate: float, seed: int) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).random((PROMPTS, SEEDS)) < rate).astype(float)


def test_leakage_is_one_for_the_untouched_model_and_nothing_for_the_surrogate() -> None:
    base, floor = some(0.8, 0), some(0.1, 1)
    assert derive(leakage, erased(base, base, floor), "concept")[:3] == (1.0, 1.0, 1.0)  # paired: no interval at all
    assert derive(leakage, erased(floor, base, floor), "concept")[:3] == (0.0, 0.0, 0.0)


def test_a_share_of_none_or_all_has_an_interval() -> None:
    """0 of 40 found is not known to be nothing; but pictures that are the same to every judge are the same pictures."""
    sure = {("certainty", s, "concept"): v for s, v in (("model", 0.1), ("none", 0.9), ("surrogate", 0.2))}
    value, low, high, *_ = derive(leakage, pd.concat([erased(0.0), table(sure)]), "concept")  # type: ignore[misc]
    assert value == 0.0 and low <= 0.0 and 0.03 < high < 0.4
    same = pd.concat([erased(1.0), table({("certainty", s, "concept"): 0.9 for s in ("model", "none")})])
    assert derive(leakage, same, "concept")[:3] == (1.0, 1.0, 1.0)
    other = pd.concat(
        [erased(1.0), table({("certainty", s, "concept"): v for s, v in (("model", 0.8), ("none", 0.9))})]
    )
    assert derive(leakage, other, "concept")[1] < 1.0


def test_the_interval_of_a_share_covers_where_nearly_none_is_left() -> None:
    """Four prompts of three pictures, as the protocol asks; resampling alone covers less than half of the time."""
    hits, plainly, repeats = 0, 0, 150
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        rates = np.clip(rng.normal(0.05, 0.05, (4, 1)), 0, 1)
        scores = table({("detected", s, "concept"): v for s, v in
                        (("model", rng.random((4, 3)) < rates), ("none", 1.0), ("surrogate", 0.0))}, 4, 3)  # fmt: skip
        scores = pd.concat([scores, table({("certainty", "model", "concept"): 0.1}, 4, 3)])  # other pictures than F's
        for means, binary in ((Means(scores, {"detected"}), True), (Means(scores), False)):
            found = derive_from(leakage, means, "concept")
            hit = not isinstance(found, str) and found.low <= 0.053 <= found.high
            hits, plainly = hits + (hit and binary), plainly + (hit and not binary)
    assert plainly / repeats < 0.6 < 0.9 < hits / repeats


def test_pictures_of_one_prompt_count_for_fewer_than_they_are() -> None:
    assert independent(np.arange(12)) == 12
    assert independent(np.repeat(np.arange(4), 3)) == pytest.approx(12 / 1.8)
    assert wilson(0.0, independent(np.repeat(np.arange(8), 5)))[1] == pytest.approx(0.2, abs=0.05)


def test_leakage_is_the_stated_share() -> None:
    model, base, floor = some(0.4, 2), some(0.9, 0), some(0.1, 1)
    value, low, high, n, read = derive(leakage, erased(model, base, floor), "concept")  # type: ignore[misc]
    assert value == pytest.approx((model.mean() - floor.mean()) / (base.mean() - floor.mean()))
    assert low < value < high
    assert n == PROMPTS * SEEDS
    assert read == ("detected",)


def test_a_detector_wrong_for_all_alike_cancels_out() -> None:
    """π' = a + b π leaves L where it is: an affine change of every share cancels."""
    model, base, floor = some(0.4, 2), some(0.9, 0), some(0.1, 1)
    wrong = [0.07 + 0.8 * x for x in (model, base, floor)]
    assert derive(leakage, erased(*wrong), "concept")[0] == pytest.approx(
        derive(leakage, erased(model, base, floor), "concept")[0]
    )


def test_leakage_without_a_threshold_is_the_share_of_mean_probabilities() -> None:
    sure = {"model": 0.45, "none": 0.8, "surrogate": 0.1}  # a threshold at one half would find no leakage at all
    found = pd.concat([erased(0.0), table({("certainty", s, "concept"): v for s, v in sure.items()})])
    assert derive(leakage, found, "concept")[0] == 0.0
    assert derive(soft_leakage, found, "concept")[0] == pytest.approx(0.5)
    assert "nothing to erase" in derive(
        soft_leakage, pd.concat([erased(0.0, 0.3), found.iloc[len(erased(0)) :]]), "concept"
    )  # type: ignore[operator]


def test_what_the_untouched_model_does_not_draw_cannot_be_erased() -> None:
    assert "nothing to erase" in derive(leakage, erased(some(0.1, 0), some(0.3, 1)), "concept")  # type: ignore[operator]
    assert derive(leakage, erased(0.0), "alias") == ""  # not asked at all


def test_a_share_of_next_to_nothing_is_not_measured() -> None:
    base = np.full((PROMPTS, SEEDS), 0.6)
    assert "too near to nothing" in derive(leakage, erased(0.6, base, base), "concept")  # type: ignore[operator]


def test_a_share_of_what_may_be_next_to_nothing_is_not_measured() -> None:
    """The one prompt that shows it carries the whole: a draw without it would show noise many times over."""
    lucky = np.zeros((PROMPTS, SEEDS))
    lucky[0] = 1.0
    base, floor = np.full((PROMPTS, SEEDS), 0.6), np.full((PROMPTS, SEEDS), 0.5)
    for surrogate, there in ((floor + 0.1 - 0.1 * lucky, False), (floor, True)):
        found = derive(leakage, erased(base - 0.05, base, surrogate), "concept")
        assert ("too near to nothing" not in str(found)) == there
        if there:
            assert found[0] == pytest.approx(0.5)


def test_of_two_wholes_the_smaller_decides() -> None:
    lucky = np.zeros((PROMPTS, SEEDS))
    lucky[0] = 1.0
    one = asked(alias={"model": 0.2, "none": 1.0, "surrogate": 0.0})
    other = {("resembles", s, "alias"): v for s, v in (("model", lucky), ("none", lucky), ("surrogate", 0.0))}
    assert "too near to nothing" in str(derive(disagreement, pd.concat([one, table(other)]), "alias"))


def asked(**rates: Any) -> pd.DataFrame:
    """Shares found of (channel → model, none, surrogate or control)."""
    return table({("detected", source, channel): v for channel, by in rates.items() for source, v in by.items()})


def test_an_inversion_counts_where_it_does_not_bring_back_the_unknown_too() -> None:
    found = asked(inversion={"model": 0.8, "none": 1.0})
    unknown = table({("imitation", "model", "novelty"): 0.2, ("imitation", "none", "novelty"): 0.3})
    value = derive(leakage, pd.concat([found, unknown]), "inversion")
    assert value[0] == pytest.approx((0.8 - 0.2) / (1.0 - 0.2))
    assert value[4] == ("imitation", "detected")  # type: ignore[misc]
    known = table({("imitation", "model", "novelty"): 0.7})
    assert "never knew" in derive(leakage, pd.concat([found, known]), "inversion")  # type: ignore[operator]


def test_the_worst_channel_that_can_be_measured_counts() -> None:
    rates = {"concept": {"model": 0.1, "none": 1.0, "surrogate": 0.0},
             "alias": {"model": 0.7, "none": 0.9, "surrogate": 0.2},
             "words": {"model": 0.2, "none": 0.2, "surrogate": 0.0}}  # fmt: skip
    found = asked(**rates)
    assert derive(worst_leakage, found, "concept")[0] == pytest.approx(0.5 / 0.7)  # words: too rare to be measured
    kept = table(
        {("recognized", s, c): v for c in ("neighbour", "unrelated") for s, v in (("model", 0.4), ("none", 0.8))}
    )
    parts = [1 - 0.1, 1 - 0.5 / 0.7, 0.5, 0.5]
    assert derive(erasure_score, pd.concat([found, kept]), "concept")[0] == pytest.approx(4 / sum(1 / p for p in parts))
    assert "none of its channels" in derive(
        worst_leakage, asked(concept={"model": 0, "none": 0.2, "surrogate": 0}), "concept"
    )  # type: ignore[operator]


def test_a_channel_at_the_border_counts_for_the_value_and_its_interval_or_for_neither() -> None:
    """Of four prompts two show it: its leakage is refused, though its rate is the half, and less in many draws."""
    half = np.repeat([[1.0], [1.0], [0.0], [0.0]], SEEDS, axis=1)
    alone = asked(concept={"model": some(0.3, 3), "none": some(0.9, 4), "surrogate": 0.0})
    compose = {("detected", s, "compose"): v for s, v in (("model", half), ("none", half), ("surrogate", 0.0))}
    both = pd.concat([alone, table(compose, prompts=4)])
    assert "too near to nothing" in derive(leakage, both, "compose")  # type: ignore[operator]
    assert derive(worst_leakage, both, "concept") == derive(worst_leakage, alone, "concept")
    kept = table(
        {("recognized", s, c): v for c in ("neighbour", "unrelated") for s, v in (("model", 0.4), ("none", 0.8))}
    )
    with_it, without = (derive(erasure_score, pd.concat([found, kept]), "concept") for found in (both, alone))
    assert with_it == without


def test_detectors_disagree_by_the_difference_of_their_leakages() -> None:
    one = asked(alias={"model": 0.2, "none": 1.0, "surrogate": 0.0})
    other = table({("resembles", s, "alias"): v for s, v in (("model", 0.7), ("none", 1.0), ("surrogate", 0.0))})
    assert derive(disagreement, pd.concat([one, other]), "alias")[0] == pytest.approx(0.5)
    assert derive(disagreement, one, "alias") == ""  # the other was not measured


def test_a_prefix_gains_what_a_drawn_one_does_not_bring() -> None:
    found = asked(prefix={"model": 0.9, "none": 1.0, "control": 0.25, "surrogate": 0.0})
    assert derive(prefix_gain, found, "prefix")[0] == pytest.approx(0.65)


def learned(on_class: Any, on_concept: Any = 1.0) -> pd.DataFrame:
    rates = {("model", "concept"): on_concept, ("none", "concept"): 0.05, ("model", "class"): on_class,
             ("none", "class"): 0.0}  # fmt: skip
    return table({("concept_rate", *at): v for at, v in rates.items()})


def test_concept_leakage_is_nothing_if_the_class_stays_and_one_if_it_became_the_concept() -> None:
    assert derive(concept_leakage, learned(0.0), "class")[0] == 0.0
    assert derive(concept_leakage, learned(1.0), "class")[0] == 1.0
    assert derive(concept_leakage, learned(0.5), "class")[0] == pytest.approx(0.5)
    assert "was not learned" in derive(concept_leakage, learned(0.0, 0.05), "class")  # type: ignore[operator]


def test_erosion_and_alteration_are_shares_of_the_untouched_model() -> None:
    kept = table({("recognized", "model", "neighbour"): 0.6, ("recognized", "none", "neighbour"): 0.8})
    assert derive(erosion, kept, "neighbour")[0] == pytest.approx(0.25)
    changed = table({
        ("drift", "model", "class"): 0.1, ("diversity", "none", "class"): 0.4, ("diversity", "model", "class"): 9.0,
        ("drift", "none", "class"): 0.0,
    })  # fmt: skip
    assert derive(alteration, changed, "class")[0] == pytest.approx(0.25)


def test_the_references_answer_no_prompt_and_change_nothing() -> None:
    plain = erased(some(0.4, 2), some(0.9, 0), some(0.1, 1))
    extra = table({("detected", "references", "concept"): 1.0}, prompts=3, seeds=1)
    assert derive(leakage, pd.concat([plain, extra]), "concept") == derive(leakage, plain, "concept")


# --- detectors and copies ----------------------------------------------------------------------


def _features(image: Any, references: Any, negatives: Any = None, prompts: Any = None) -> Features:
    unit = [
        None if x is None else np.asarray(x, np.float32) / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (image, references, negatives)
    ]
    assert unit[0] is not None and unit[1] is not None
    nobody = np.zeros((0, 8), np.float32)
    bank = None if unit[2] is None else Bank(nobody, unit[2], np.zeros(0), np.zeros(len(unit[2])))
    return Features(unit[0], unit[0], None, unit[1], prompts=prompts, bank=bank)


def test_the_detector_lets_one_in_twenty_of_the_class_through() -> None:
    rng = np.random.default_rng(0)
    axis, other = np.eye(8)[:1], np.eye(8)[1:2]
    references, negatives = axis + 0.05 * rng.normal(size=(5, 8)), other + 0.4 * rng.normal(size=(200, 8))
    held_out = other + 0.4 * rng.normal(size=(2000, 8))
    seen = _features(held_out, references, negatives)
    assert measurable(seen) == ""
    assert concept_rate.function(seen).mean() == pytest.approx(0.05, abs=0.03)
    assert concept_rate.function(_features(references, references, negatives)).all()


def test_a_sketch_that_is_unlike_the_class_imitates_nothing() -> None:
    """Where the class is far from the thing, all that is unlike the class passes what tells the two apart."""
    thing, kind, sketch = np.eye(8)[0], np.eye(8)[1], 0.4 * np.eye(8)[0] + np.sqrt(1 - 0.16) * np.eye(8)[2]
    near = 0.9 * thing + np.sqrt(1 - 0.81) * np.eye(8)[2]
    seen = _features(np.stack([sketch, near]), np.stack([thing] * 3), np.stack([kind] * 20))
    assert measurable(seen) == ""
    assert concept_rate.function(seen).tolist() == [1, 1]
    assert imitation.function(seen).tolist() == [0, 1]


def test_the_concept_is_wanted_where_it_is_named_and_nowhere_else() -> None:
    values = {("concept_rate", "model", c): 0.5 for c in concept_rate.channels}
    judge: Any = SimpleNamespace(name="judge")
    found = summarize(table(values), [concept_rate], {"dino": judge})[0]["model"]
    kept = dict.fromkeys(("class", "neighbour", "unrelated", "empty"), ("lower", "preservation"))
    said = {"concept": ("higher", "fidelity"), **kept}
    assert (concept_rate.direction("novelty"), concept_rate.group_on("novelty")) == ("neither", "erasure")  # older rows
    assert {n: (v.better, v.group) for n, v in found.items()} == {
        concept_rate.value_name(c): v for c, v in said.items()
    }


def test_what_is_refused_for_one_part_of_several_is_for_both() -> None:
    told = pd.concat(table({("detected", s, "part"): v, ("resembles", s, "part"): v})
                     for s, v in (("model", 0.5), ("none", 1.0), ("surrogate", 0.0)))  # fmt: skip
    assert derive(disagreement, told, "part")[0] == 0.0
    mine = told["metric"] == "resembles"
    refused = told[mine].drop_duplicates("source").assign(prompt=-1, seed=-1, value=np.nan, reason="unsure")
    judges: Any = {"dino": SimpleNamespace(name="dino"), "reader": SimpleNamespace(name="reader")}
    one_part = told[~mine | (told["prompt"] < PROMPTS / 2)]
    for lines in ([one_part, refused], [refused, one_part], [told[~mine], refused, refused]):
        whole = refused_whole(pd.concat(lines))
        assert not whole.duplicated(COLUMNS[:5]).any()  # a submission has every line once
        assert len(whole) == (~mine).sum() + 3
        assert derive(disagreement, whole, "part") == ""
        found, unmeasured = summarize(whole, [resembles, detected], judges)
        assert (found["model"].keys(), unmeasured) == ({"detected/part"}, {"resembles/part": "unsure"})


def test_one_of_several_erased_is_told_by_pictures_of_it_alone(tmp_path: Path) -> None:
    concept = load(stickers(), "erase_cat_and_rocket")
    cells = grid(concept, load_templates(stickers()), {"concept": 1, "part": 1, "neighbour": 1})
    folders = {s: tmp_path / s for s in ("none", "surrogate")}
    asked: list[list[str]] = []

    def images(_: Any, paths: list[Path]) -> Any:
        asked.append([f"{p.parent.name}/{p.name}" for p in paths])
        return np.zeros((len(paths), 2))

    probe: Any = Probe(cells, folders, concept)
    calibration(object(), probe, probe, SimpleNamespace(images=images), part=1)  # type: ignore[arg-type]
    own = [f"{c.key}.png" for c in cells.cells if c.prompt.channel == "part" and c.prompt.part == 1]
    near = [f"none/{c.key}.png" for c in cells.cells if c.prompt.channel == "neighbour"]
    assert asked == [[f"none/{k}" for k in own], [*(f"surrogate/{k}" for k in own), *near]]


def test_each_thing_that_no_model_knows_is_told_from_its_own_class(tmp_path: Path) -> None:
    novel = load_novel(stickers(), ["whole_pig", "minibus"])
    prompts = [
        Prompt(channel="novelty", index=4 * k + i, complete="a", base="b", part=k) for k in (0, 1) for i in (0, 1)
    ]
    plain = PromptGrid(cells=[Cell(prompt=p, seed=0) for p in prompts])
    grid = PromptGrid(cells=[c for c in plain.cells if c.prompt.index in (0, 5)])
    asked: list[list[str]] = []

    def images(_: Any, paths: list[Path]) -> Any:
        asked.append([p.name for p in paths])
        return np.zeros((len(paths), 2))

    probe: Any = Probe(grid, {s: tmp_path / s for s in ("model", "none", "plain")}, novel, plain)
    calibration(object(), probe, probe, SimpleNamespace(images=images), part=1)  # type: ignore[arg-type]
    assert asked == [[], ["novelty-04-0.png", "novelty-05-0.png"]]  # scenes that the thing itself is not asked for in


def test_a_refusal_says_which_of_several_things_it_is_of(tmp_path: Path) -> None:
    novel = load_novel(stickers(), ["whole_pig", "minibus"])
    prompts = [Prompt(channel="novelty", index=k, complete="a", base="b", part=k) for k in (0, 1)]
    plain = PromptGrid(cells=[Cell(prompt=p, seed=0) for p in prompts])
    probe = Probe(plain, {s: tmp_path / s for s in ("model", "none", "plain")}, novel, plain)
    minibus = novel.image_paths()[novel.of_part(1)[0]].parent
    cache: Any = SimpleNamespace(images=lambda _, paths: np.array([[float(p.parent == minibus)] for p in paths]))

    @metric("told", title="told", group="erasure", better="neither", needs="dino", channels=("novelty",),
            gate=lambda seen: "unsure" if seen.references.any() else "")  # fmt: skip
    def told(features: Features) -> Any:
        return features.image[:, 0]

    encoders: Any = {"dino": SimpleNamespace(name="dino")}
    lines = score(probe, probe, encoders, [told], cache)
    assert set(lines["reason"]) == {"minibus: unsure"}
    assert summarize(lines, [told], encoders)[1] == {"told": "minibus: unsure"}


def test_a_concept_that_looks_like_its_class_is_not_measurable() -> None:
    rng = np.random.default_rng(0)
    alike = rng.normal(size=(50, 8))
    assert "AUC" in measurable(_features(alike, alike[:5], alike))


def test_a_copy_is_flagged_and_a_new_picture_is_not() -> None:
    from PIL import Image, ImageEnhance

    from bench.judges.pixels import Pixels
    from bench.stickers.render import render
    from bench.stickers.world import Scene

    places = ["grass", "beach", "white", "yellow", "blue"]
    references = [render(Scene("cat", "3d", p), art="personal:whole_cat") for p in places]
    new = [render(Scene("cat", "3d", p, dx=4), art="personal:whole_cat") for p in ("snow", "night", "sunset")]
    nearly = [ImageEnhance.Brightness(r).enhance(1.05) for r in references]
    judge = Pixels("pixels", "")
    real = judge.images(references)
    for pictures, flagged in ((references, 1), (nearly, 1), (new, 0)):
        seen = judge.images(pictures)
        assert (copy_rate.function(Features(seen, seen, None, real)) == flagged).all()
    blank = judge.images([Image.new("RGB", (64, 64), "white")])
    assert not copy_rate.function(Features(blank, blank, None, real)).any()


def test_diversity_is_the_distance_to_the_same_prompts_others() -> None:
    image = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    seen = Features(image, image, None, image, prompts=np.array([0, 0, 1, 1]))
    assert diversity.function(seen) == pytest.approx([1, 1, 0.4, 0.4])
    alone = Features(image, image, None, image, prompts=np.arange(4))
    assert not diversity.function(alone).any()


# --- intervals ---------------------------------------------------------------------------------


def test_wilsons_bounds_are_those_of_the_table() -> None:
    assert wilson(0.0, 200) == (0.0, pytest.approx(0.0188, abs=1e-4))
    assert wilson(0.0, 400)[1] == pytest.approx(0.0095, abs=1e-4)
    low, high = wilson(0.5, 20)
    assert low == pytest.approx(0.2993, abs=1e-4)
    assert high == pytest.approx(0.7007, abs=1e-4)


def test_paired_columns_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=40)
    drawn = drawn_means({"a": a, "b": a + 1}, np.repeat(np.arange(8), 5))
    assert drawn["b"] - drawn["a"] == pytest.approx(np.ones(2000))
    assert drawn["a"].mean() == pytest.approx(a.mean(), abs=0.02)


def test_drawn_means_agree_with_the_interval() -> None:
    rng = np.random.default_rng(1)
    values, clusters = rng.normal(size=40) + np.repeat(rng.normal(size=8), 5), np.repeat(np.arange(8), 5)
    _, low, high = interval(values, clusters)
    drawn = drawn_means({"x": values}, clusters)["x"]
    ours = values.mean() + widening(8) * (np.quantile(drawn, [0.025, 0.975]) - values.mean())
    assert ours == pytest.approx([low, high], abs=0.12)
