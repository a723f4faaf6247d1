"""Fronts: who is on one, who can never enter or distort one, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.boards.analysis import analyse
from bench.boards.cells import gather
from bench.boards.pareto import Front, front, hypervolume, undominated
from bench.row import Row, Value

CONCEPTS = ["cat", "cow", "dog", "owl"]
WORST: dict[str, float | str] = {"gain": "before", "harm": 1.0, "seconds": 100.0}


def _value(value: float, better: Any) -> Value:
    return Value.model_construct(
        value=value, low=value, high=value, n=9, better=better, checkpoint="j", version=1, unit="", title="", group="g"
    )


def _row(method: str, concept: str, seed: int, gain: float, harm: float, **fields: Any) -> Row:
    before = {"gain": _value(0.2, "higher"), "harm": _value(0.0, "lower")}
    given = {
        "status": "ok", "method": method, "model": "m", "dataset": "d", "concept": concept, "kind": "subject",
        "protocol": "quick", "seed": seed, "hyperparameters": {}, "tuned": False,
        "measured": {"gain": _value(gain, "higher"), "harm": _value(harm, "lower")}, "anchors": {"none": before},
        "cost": {"seconds": 30.0}, "provenance": {"finished": f"2026-11-22T1{seed}"},
    }  # fmt: skip
    return Row.model_construct(**(given | fields))


def rows(methods: dict[str, tuple[float, float]], **fields: Any) -> list[Row]:
    """Rows of methods by their gain and harm, concepts and seeds apart by a little."""
    out = []
    for method, (gain, harm) in methods.items():
        for index, concept in enumerate(CONCEPTS):
            out += [_row(method, concept, s, gain + 0.01 * index, harm + 0.001 * s, **fields) for s in (0, 1)]
    return out


GOOD = {"careful": (0.5, 0.1), "strong": (0.8, 0.4), "beaten": (0.45, 0.3)}


def make(found: list[Row], columns: tuple[str, str] = ("gain", "harm")) -> tuple[Front, list[str]]:
    cells = gather(found, ["gain", "harm"], ["seconds"])
    return front(cells, "f", columns, "gain", WORST), cells.methods


def on(found: list[Row]) -> set[str]:
    made, methods = make(found)
    return {m for m, there in zip(methods, made.on, strict=True) if there}


def told(found: list[Row]) -> tuple[dict[str, float], float]:
    """Chance of each of the good methods, and the hypervolume."""
    made, methods = make(found)
    return {m: float(made.chance[methods.index(m)]) for m in GOOD}, made.hypervolume


def test_the_front_is_what_nothing_beats() -> None:
    made, methods = make(rows(GOOD))
    assert on(rows(GOOD)) == {"careful", "strong"}
    assert made.why == ["", "", ""]
    assert made.chance[methods.index("beaten")] == 0.0
    assert made.reference.tolist() == [pytest.approx(0.2), 1.0]
    # harm 0.1005 and 0.4005 on average, gain 0.515 and 0.815
    assert made.hypervolume == pytest.approx((0.515 - 0.2) * (1 - 0.1005) + (0.815 - 0.515) * (1 - 0.4005))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_neither_enters_nor_distorts(bad: float) -> None:
    nan = [_row("nan", c, s, gain, harm) for c in CONCEPTS for s in (0, 1) for gain, harm in [(0.99, bad)]]
    other = [_row("nan2", c, s, bad, 0.0) for c in CONCEPTS for s in (0, 1)]
    cells = gather(rows(GOOD) + nan + other, ["gain", "harm"], ["seconds"])
    assert not any(np.isinf(v).any() for v in cells.values.values())
    assert on(rows(GOOD) + nan + other) == on(rows(GOOD))
    assert told(rows(GOOD) + nan + other) == told(rows(GOOD))


def test_one_bad_concept_is_enough_to_stay_out() -> None:
    """A method that fails on the hard concept must not win by the easy ones."""
    most = [_row("lucky", c, s, 0.99, 0.0) for c in CONCEPTS[1:] for s in (0, 1)]
    made, methods = make(rows(GOOD) + most)
    assert made.why[methods.index("lucky")] == "not measured on every concept, or in too few runs"
    assert told(rows(GOOD) + most) == told(rows(GOOD))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_what_did_not_go_well_does_not_count(status: str) -> None:
    assert told(rows(GOOD) + rows({"gone": (0.99, 0.0)}, status=status)) == told(rows(GOOD))


def test_doing_nothing_neither_enters_nor_distorts() -> None:
    idle = [_row("idle", c, s, 0.2 + 1e-5 * s, 1e-6) for c in CONCEPTS for s in (0, 1)]
    made, methods = make(rows(GOOD) + idle)
    assert made.why[methods.index("idle")].startswith("does nothing")
    assert on(rows(GOOD) + idle) == on(rows(GOOD))
    assert told(rows(GOOD) + idle) == told(rows(GOOD))
    cost, methods = make(rows(GOOD) + idle, ("seconds", "harm"))  # where nothing would be the best of all
    assert not cost.on[methods.index("idle")]
    assert cost.chance[methods.index("idle")] == 0.0


def test_losing_without_moving_is_no_better_than_before() -> None:
    worse = [_row("worse", c, s, 0.15, 0.0) for c in CONCEPTS for s in (0, 1)]
    made, methods = make(rows(GOOD) + worse)
    assert made.why[methods.index("worse")] == "no better than the model before it"
    assert told(rows(GOOD) + worse) == told(rows(GOOD))


def test_a_method_that_leaves_all_else_alone_may_enter() -> None:
    """No harm at all is no proof of doing nothing: the gain decides."""
    word = [_row("word", c, s, 0.4, 0.0) for c in CONCEPTS for s in (0, 1)]
    assert on(rows(GOOD) + word) == {"careful", "strong", "word"}


def test_a_duplicate_neither_enters_nor_distorts() -> None:
    later = {"method": "a_copy", "provenance": {"finished": "2026-11-23"}, "cost": {"seconds": 1.0}}
    copies = [r.model_copy(update=later) for r in rows(GOOD) if r.method == "strong"]
    made, methods = make(rows(GOOD) + copies)
    assert made.why[methods.index("a_copy")] == "the same values as strong"
    assert on(rows(GOOD) + copies) == on(rows(GOOD))
    assert told(rows(GOOD) + copies) == told(rows(GOOD))
    twice = analyse(_renamed(rows(GOOD) * 2)).fronts[0]
    once = analyse(_renamed(rows(GOOD))).fronts[0]
    assert (twice.on == once.on).all()
    assert twice.chance.tolist() == once.chance.tolist()


@pytest.mark.parametrize("more", [1e-6, 5e-4])
def test_a_duplicate_with_a_little_added_is_one(more: float) -> None:
    """In the first column it would beat what it was copied from in every draw."""
    copies = [_row("zeal", r.concept, r.seed, r.measured["gain"].value + more, r.measured["harm"].value - more,
                   provenance={"finished": "2026-11-23T10:00:00+0000"})
              for r in rows(GOOD) if r.method == "strong"]  # fmt: skip
    made, methods = make(rows(GOOD) + copies)
    assert made.why[methods.index("zeal")] == "the same values as strong"
    assert told(rows(GOOD) + copies) == told(rows(GOOD))
    partly = [r.model_copy(update={"measured": {"gain": r.measured["gain"]}}) for r in copies]  # by leaving one out
    assert "zeal" in gather(rows(GOOD) + partly, ["gain", "harm"], []).copies


def test_one_concept_without_its_anchor_lets_nobody_in_that_is_no_better_than_before() -> None:
    worse = rows({"worse": (0.1, 0.0)})
    found = rows(GOOD) + worse
    lacking = [r.model_copy(update={"anchors": {}}) if r.concept == "owl" else r for r in found]
    made, methods = make(lacking)
    assert made.why[methods.index("worse")] == "no better than the model before it"
    assert on(lacking) == on(rows(GOOD))
    unknown, _ = make([r.model_copy(update={"anchors": {}}) for r in found])  # nobody is held to what nobody knows
    assert unknown.why == [""] * 4


def test_concepts_of_its_own_lift_no_method() -> None:
    """Not in the table, not in its order, and they make no other method lack any."""
    easy = [_row(m, f"{m}{k}", 0, 0.99, 0.0) for m in ("careful", "beaten") for k in range(20)]
    both = [_row(m, f"own{k}", 0, 0.99, 0.0) for m in ("careful", "beaten") for k in range(20)]
    for extra in (easy, both):
        more = {m: (0.3 + 0.01 * k, 0.3) for k, m in enumerate("abcde")}
        plain, lifted = (gather(rows(GOOD | more) + own, ["gain", "harm"], ["seconds"]) for own in ([], extra))
        assert lifted.concepts == CONCEPTS and len(lifted.beyond) == len({r.concept for r in extra})
        assert lifted.methods == plain.methods and lifted.whole.all()
        for column, values in plain.values.items():
            np.testing.assert_array_equal(lifted.values[column][:, :, :2], values)


def test_many_that_were_tried_on_few_concepts_take_no_concept_from_the_others() -> None:
    few = [_row(f"variant{k}", c, 0, 0.3 + 0.01 * k, 0.2) for k in range(12) for c in CONCEPTS[:2]]
    cells = gather(rows(GOOD) + few, ["gain", "harm"], ["seconds"])
    assert cells.concepts == CONCEPTS
    assert [m for m, whole in zip(cells.methods, cells.whole, strict=True) if whole] == ["strong", "careful", "beaten"]
    assert on(rows(GOOD) + few) == on(rows(GOOD))


def _renamed(found: list[Row]) -> list[Row]:
    """The same under names that a table of subjects has."""
    return [r.model_copy(update={"measured": {"dino": r.measured["gain"], "clip_t": r.measured["gain"]}, "anchors": {}})
            for r in found]  # fmt: skip


def test_anchors_are_never_on_a_front() -> None:
    anchors = rows({"none": (0.99, 0.0), "references": (0.99, 0.0)})
    assert make(rows(GOOD) + anchors)[1] == ["strong", "careful", "beaten"]
    assert on(rows(GOOD) + anchors) == on(rows(GOOD))


def test_the_chance_says_how_sure_it_is() -> None:
    rng = np.random.default_rng(0)
    noise = [_row(m, c, s, 0.5 + 0.05 * rng.standard_normal(), 0.1 + 0.05 * abs(rng.standard_normal()))
             for m in ("one", "two") for c in CONCEPTS for s in (0, 1)]  # fmt: skip
    made, _ = make(noise)
    assert ((made.chance > 0.05) & (made.chance < 1.0)).any()
    assert (made.chance.sum() >= 1.0 - 1e-9).all()  # somebody is on it in every draw
    sure, methods = make(rows(GOOD))
    assert sure.chance[methods.index("careful")] == 1.0


def test_what_another_ties_or_beats_on_every_concept_is_on_the_front_in_no_draw() -> None:
    """Widened draws put it there in a third of them: where both tie, the one with the worse mean came out ahead."""
    harm = {"ahead": (0, 0.175, 0.0135, 0), "behind": (0, 0.175, 0.027, 0.001)}
    found = [_row(m, c, 0, 0.5, h) for m, own in harm.items() for c, h in zip(CONCEPTS, own, strict=True)]
    made, methods = make(found)
    assert made.chance[methods.index("ahead")] == 1.0
    assert made.chance[methods.index("behind")] == pytest.approx((2 / 4) ** 4, abs=0.03)  # where both tie


def test_draws_are_paired() -> None:
    """Concepts differ far more than the methods: apart, each would beat the other in half of the draws."""
    spread = [0.3, 0.5, 0.7, 0.9]
    found = [_row(m, c, 0, v + more, 0.1) for m, more in (("more", 0.01), ("less", 0.0))
             for c, v in zip(CONCEPTS, spread, strict=True)]  # fmt: skip
    made, methods = make(found)
    assert made.chance[methods.index("more")] > 0.95  # a widened draw may be worse than the model before
    assert made.chance[methods.index("less")] == 0.0


def test_directions() -> None:
    scores = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [1.0, 1.0], [np.nan, 9.0]])
    everyone = np.ones(5, bool)
    assert undominated(scores, everyone).tolist() == [True, True, True, False, False]
    assert undominated(scores, np.array([False, True, False, True, True])).tolist() == [0, 1, 0, 0, 0]
    found = rows({"left": (0.5, -0.3), "right": (0.5, 0.1), "far": (0.5, 0.6)})
    for row in found:
        row.measured["harm"] = row.measured["harm"].model_copy(update={"better": "zero"})
    assert on(found) == {"right"}


def test_hypervolume() -> None:
    points = np.array([[2.0, 1.0], [1.0, 2.0], [0.5, 0.5], [3.0, -1.0]])
    assert hypervolume(points, np.zeros(2)) == pytest.approx(3.0)
    assert hypervolume(points, np.array([5.0, 5.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0.0
    assert np.isnan(hypervolume(points, np.array([np.nan, 0.0])))
