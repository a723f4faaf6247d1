"""The check of the metrics: it ranks what it knows, and no broken judge escapes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench import paths
from bench.judges.build import build
from bench.metric import Features, Metric, load_metrics, metric
from bench.stickers.judges import area
from bench.stickers.validity import run
from bench.stickers.validity.broken import faults
from bench.stickers.validity.cases import FAILURES, LEVELS, of_group
from bench.stickers.validity.measure import Looks, auc_of, decisive, differs_by, measure, worse_by
from bench.stickers.validity.page import page
from bench.stickers.validity.run import flagged


@pytest.mark.parametrize("group", LEVELS)
def test_cases_have_every_level_and_are_repeatable(group: str) -> None:
    items, again = of_group(group, 16), of_group(group, 16)
    assert all(set(LEVELS[group]) <= set(i.pictures) for i in items)
    for a, b in zip(items, again, strict=True):
        assert a.text == b.text
        assert all(np.array_equal(a.pictures[v], b.pictures[v]) for v in a.pictures)
        assert not np.array_equal(a.pictures["right"], a.pictures["blank"])


class Pixels:
    """A judge that sees the mean colour of a picture: enough for a scene, too little for a subject."""

    name, fingerprint, columns = "pixels", "", ()

    def images(self, images: list[Any]) -> Any:
        x = np.stack([np.asarray(i, np.float32).mean((0, 1)) - 120 for i in images])
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@metric("likeness", title="likeness", group="fidelity", better="higher", needs="pixels", channels=("concept",))
def likeness(seen: Features) -> Any:
    return (seen.image @ seen.references.T).mean(1)


def test_a_judge_of_colours_alone_is_found_out() -> None:
    validity, _ = measure(likeness, Pixels(), of_group("fidelity", 32), Looks())
    assert validity.auc.low < 0.8
    assert set(validity.prefers) <= set(FAILURES)
    assert validity.auc.low <= validity.auc.value <= validity.auc.high


def test_the_broken_judges_are_exposed_and_the_sound_ones_not() -> None:
    dino = build({"kind": "dino", "name": "d", "path": "embedded:dino-judge"})
    (m,) = load_metrics(["metrics.dino.dino"])
    items = of_group("fidelity", 48)
    sound, scores = measure(m, dino, items, Looks())
    assert sound.auc.value > 0.9
    assert flagged(sound.auc, worse_by(scores, scores, m.group), differs_by(scores, scores)) == []
    for fault, broken in faults(dino).items():
        if fault == "shuffled captions":
            continue
        found = decisive(m, broken, items, Looks())
        assert flagged(auc_of(found, m.group), worse_by(scores, found, m.group), differs_by(scores, found)), fault


def test_every_metric_of_the_protocol_that_there_are_cases_for_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = yaml.safe_load((paths.shipped("conf") / "protocol/quick.yaml").read_text())
    metrics = [m for m in load_metrics(protocol["metrics"]) if isinstance(m, Metric) and m.needs == "dino"]
    monkeypatch.setattr(run.faulty, "faults", lambda judge: {})
    found = run.check(metrics, {"dino": build({"kind": "dino", "name": "d", "path": "embedded:dino-judge"})}, 17)
    assert set(found) == {m.name for m in metrics} - {"dino_subject", "dino_lesser", "kid", "diversity", "distance"}
    assert found["imitation"]["auc"]["value"] > 0.9  # of things that the judge does not know either


def test_ties_count_half() -> None:
    assert area(np.ones(3), np.ones(4)) == 0.5
    assert area(np.array([2.0, 3.0]), np.array([1.0])) == 1.0


def test_the_page_is_of_the_committed_figures_and_of_these_judges(root: Path) -> None:
    folder = root / "leaderboards" / "validity"
    result = json.loads((folder / "validity.json").read_text())
    assert (folder / "README.md").read_text(encoding="utf-8") == page(result)
    from bench.backbone.files import fingerprint

    for name, weights in result["judges"].items():
        assert fingerprint(paths.weights() / name.removeprefix("sticker-"))[:16] == weights, "validate-metrics again"
    assert all(b["exposed_by"] for m in result["metrics"].values() for b in m["broken"].values())
