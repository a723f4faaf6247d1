"""A run's page: what stands out is shown and marked, and the view changes without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, browser
from test_report import KEYS, fill_store, make_plan, make_row, report

from bench.metric import Metric, metric
from bench.page.report import write_report
from bench.page.scores import MOST, Scores
from bench.store import Store

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def _metric(name: str, better: Any, **more: Any) -> Metric:
    given: dict[str, Any] = {"title": name, "group": "fidelity", "needs": "clip", "channels": ("concept", "class")}
    return metric(name, better=better, **(given | more))(lambda features: features.image)


def _scores(values: dict[tuple[str, str, str, int, int], float]) -> Scores:
    return Scores(values)


def _table(name: str, values: list[float], source: str = "model", channel: str = "concept") -> dict[Any, float]:
    return {(source, name, channel, i // 2, i % 2): v for i, v in enumerate(values)}


@pytest.mark.parametrize(
    ("better", "worst", "best"), [("higher", -0.9, 0.8), ("lower", 0.8, -0.9), ("zero", -0.9, 0.0)]
)
def test_worst_and_best_are_the_metrics_own(better: str, worst: float, best: float) -> None:
    values = [0.1, 0.2, 0.3, -0.9, 0.8, 0.5, 0.0, 0.6, 0.7, 0.4]
    (found,) = _scores(_table("m", values)).extremes([_metric("m", better)], ["fidelity"])
    assert (found.worst[0].value, found.best[0].value) == (worst, best)
    assert len(found.worst) == len(found.best) == MOST and found.count == 10


def test_few_pictures_are_not_both_worst_and_best() -> None:
    (found,) = _scores(_table("m", [0.1, 0.2, 0.3, 0.4, 0.5])).extremes([_metric("m", "higher")], [])
    assert [s.value for s in found.worst] == [0.1, 0.2, 0.3, 0.4] and [s.value for s in found.best] == [0.5]


def test_what_is_the_same_everywhere_has_no_ends() -> None:
    assert _scores(_table("m", [0.1, 0.1004])).extremes([_metric("m", "higher")], []) == []
    assert _scores({}).extremes([_metric("m", "higher")], []) == []


def test_hits_nobody_wants_come_from_every_prompt_before_a_second_of_one() -> None:
    (found,) = _scores(_table("hit", [1, 1, 0, 1, 1, 0])).extremes([_metric("hit", "lower", binary=True)], [])
    assert [(s.prompt, s.seed) for s in found.worst] == [(0, 0), (1, 1), (2, 0), (0, 1)]
    assert found.best == [] and (found.bad, found.count) == (4, 6)


def test_marks_name_what_went_wrong() -> None:
    hit, miss = _metric("hit", "lower", binary=True), _metric("miss", "higher", binary=True, plain="concept")
    values = _table("hit", [1, 0]) | _table("miss", [0, 1]) | _table("miss", [0, 0], channel="class")
    values |= _table("miss", [1, 0], "none", "class")
    scores = _scores(values)
    assert scores.marks([hit, miss], "concept", 0, 0) == ["hit 1", "miss 0"]
    assert scores.marks([hit, miss], "concept", 0, 1) == []
    assert scores.marks([miss], "class", 0, 0) == ["miss 0"]  # the untouched model had it
    assert scores.marks([miss], "class", 0, 1) == []  # it had not
    assert scores.tally([hit, miss]) == [
        ("hit 1", "concept", 1, 2), ("miss 0", "concept", 1, 2), ("miss 0", "class", 1, 2)
    ]  # fmt: skip


def test_a_find_is_wanted_on_one_channel_and_a_fault_on_another() -> None:
    away: Any = {"class": ("lower", "preservation"), "novelty": ("neither", "erasure")}
    found = _metric("found", "higher", binary=True, plain="concept", elsewhere=away)
    values = {k: v for c in ("concept", *away) for k, v in _table("found", [1, 0], channel=c).items()}
    scores = _scores(values | _table("found", [0, 0], "none", "class"))
    marks = {(c, s): scores.marks([found], c, 0, s) for c in ("concept", *away) for s in (0, 1)}
    assert {at: said for at, said in marks.items() if said} == {("concept", 1): ["found 0"], ("class", 0): ["found 1"]}
    assert scores.tally([found]) == [("found 0", "concept", 1, 2), ("found 1", "class", 1, 2)]
    (ends,) = scores.extremes([found], [])
    assert {(s.channel, s.value) for s in ends.worst} == {("concept", 0.0), ("class", 1.0)} and ends.count == 4


def test_what_the_untouched_model_has_too_is_no_mark_unless_it_was_to_go() -> None:
    away: Any = {"unrelated": ("lower", "preservation")}
    rate = _metric("concept rate", "higher", binary=True, plain="concept", elsewhere=away)
    values = _table("concept rate", [1, 1, 1], channel="unrelated")
    scores = _scores(values | _table("concept rate", [1, 0], "none", "unrelated"))
    assert [scores.marks([rate], "unrelated", *at) for at in ((0, 0), (0, 1), (1, 0))] == [
        [], ["concept rate 1"], ["concept rate 1"]  # the last has no picture before it
    ]  # fmt: skip
    assert scores.tally([rate]) == [("concept rate 1", "unrelated", 2, 3)]
    erased = _metric("detected", "lower", binary=True, plain="concept", group="erasure")
    both = _scores(_table("detected", [1], channel="alias") | _table("detected", [1], "none", "alias"))
    assert both.marks([erased], "alias", 0, 0) == ["detected 1"]  # it should be gone


def test_what_is_neither_good_nor_bad_has_no_ends() -> None:
    assert _scores(_table("far", [0.1, 0.9])).extremes([_metric("far", "neither")], []) == []


def test_why_nothing_was_measured_is_on_the_page(tmp_path: Path) -> None:
    row = make_row(unmeasured={"fid": "two pictures <b>are</b> too few"})
    text, page = report(tmp_path, row)
    assert "two pictures <b>are</b> too few" in page.text and "<b>are" not in text
    assert "Not measured" in page.text
    assert "Not measured" not in report(tmp_path, make_row())[1].text


def test_every_link_of_the_page_leads_somewhere(tmp_path: Path) -> None:
    text, page = report(tmp_path)
    links = [x for x in page.loads if x.startswith("#")]
    assert len(links) > 5
    assert [x for x in links if f'id="{x[1:]}"' not in text] == []


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    assert report(tmp_path)[0] == report(tmp_path)[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    plan, store = make_plan(folder), Store(folder / "runs")
    fill_store(plan, store)
    long = {"a" * 200: "b" * 300}
    return write_report(plan, make_row(hyperparameters=long, fingerprints=KEYS, unmeasured=long), store)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as b:
        yield b


SHOWN = "[...document.querySelectorAll('.pictures .pic.{}')].some(e => e.offsetParent !== null)"


@needs_browser
@pytest.mark.parametrize("phone", [False, True])
def test_it_fits_asks_for_nothing_and_complains_of_nothing(window: Browser, page: Path, phone: bool) -> None:
    window.complaints.clear()
    for dark in (False, True):
        window.open(page, 360 if phone else 1280, 800, dark, phone)
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert window.requests[1:] == [] and window.complaints == []


@needs_browser
def test_the_view_changes_by_mouse_and_by_keyboard(window: Browser, page: Path) -> None:
    window.open(page)
    both = [SHOWN.format(role) for role in ("before", "after")]
    assert [window.evaluate(e) for e in both] == [True, True]
    window.click("label:has(#view-before)")
    assert [window.evaluate(e) for e in both] == [True, False]
    window.evaluate("document.getElementById('view-before').focus()")
    for kind in ("keyDown", "keyUp"):
        window.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    assert window.becomes("document.querySelector('.views :checked').id", "view-after")
    assert [window.evaluate(e) for e in both] == [False, True]


@needs_browser
@pytest.mark.parametrize("phone", [False, True])
def test_the_pictures_grow_all_of_them_and_the_page_does_not(window: Browser, page: Path, phone: bool) -> None:
    window.open(page, 360 if phone else 1280, 800, phone=phone)
    side = "document.querySelector('{} img').getBoundingClientRect().width"
    places = [side.format(at) for at in (".pictures .pic", ".references figure")]
    before = [window.evaluate(place) for place in places]
    window.click("label:has(#size-large)")
    assert all(window.evaluate(place) > 1.2 * was for place, was in zip(places, before, strict=True))
    assert window.evaluate(places[0]) == 256
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")


@needs_browser
def test_colours_are_colours(window: Browser, page: Path) -> None:
    """A variable of the sheet that two things share leaves one without its colour: the ring was a black dot."""
    window.open(page, dark=False)
    fill = "getComputedStyle(document.querySelector('.mark-base')).fill"
    assert window.evaluate(fill) == "rgb(255, 255, 255)"


@needs_browser
def test_what_does_not_scroll_is_no_stop_of_the_tab_key(window: Browser, page: Path) -> None:
    window.open(page)
    stops = "[...document.querySelectorAll('.prompt .scroll')].filter(e => e.tabIndex >= 0).length"
    assert window.evaluate(stops) == 0


@needs_browser
@pytest.mark.parametrize("phone", [False, True])
def test_flicker_lays_both_over_each_other_one_seen_at_a_time(window: Browser, page: Path, phone: bool) -> None:
    window.open(page, 360 if phone else 1280, 800, phone=phone)
    window.click("label:has(#view-flicker)")
    at = "(r => [r.left, r.top])(document.querySelector('.pictures .pic.{}').getBoundingClientRect())"
    before, after = window.evaluate(f"[{at.format('before')}, {at.format('after')}]")
    assert before == after
    label = "document.querySelector('.pictures .who.before').getBoundingClientRect().{}"
    apart = label.format("bottom"), label.format("right")
    assert window.evaluate(apart[0]) <= before[1] if phone else window.evaluate(apart[1]) <= before[0]
    seen = "['before', 'after'].map(c => getComputedStyle(document.querySelector('.pictures .pic.' + c)).opacity)"
    found = {
        tuple(window.evaluate(seen)) for _ in range(60) if not window.evaluate("new Promise(r => setTimeout(r, 50))")
    }
    assert found == {("1", "0"), ("0", "1")}
