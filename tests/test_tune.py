"""Tuning: what is tried, what counts, what is kept, and who shares it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.compose import compose
from bench.errors import BenchError
from bench.plan import make
from bench.row import Row, Value
from bench.sweeps import tune
from bench.values import tuned_values

FIELDS = {"model": "m", "dataset": "d", "concept": "c", "kind": "subject", "protocol": "tune", "seed": 0,
          "hyperparameters": {}, "tuned": False, "method": "x"}  # fmt: skip


def _row(status: str = "ok", **measured: float) -> Row:
    values = {
        k: Value(value=v, low=v, high=v, n=1, title=k, group="g", better="higher", checkpoint="j", version=1)
        for k, v in measured.items()
    }
    return Row(status=status, measured=values, **FIELDS)


def test_the_authors_guess_comes_first_and_nothing_twice() -> None:
    space = {"lr": [3, 1, 2], "steps": [10, 20]}
    tried = tune.candidates(space, 5)
    assert tried[0] == {"lr": 3, "steps": 10}
    assert len({tuple(t.items()) for t in tried}) == 5
    assert tried == tune.candidates(space, 5)
    assert len(tune.candidates(space, 99)) == 6


def test_a_models_own_space_stands_in_place_of_the_others() -> None:
    said = {"lr": [1, 2], "steps": [10], "m": {"lr": [5]}}
    assert tune.space_of(said, "m") == {"lr": [5], "steps": [10]}
    assert tune.space_of(said, "n") == {"lr": [1, 2], "steps": [10]}


def test_the_objective_is_the_weighted_sum_and_a_diverged_run_loses() -> None:
    assert tune.objective(_row(dino=0.5, drift=0.2), {"dino": 1.0, "drift": -0.5}) == pytest.approx(0.4)
    assert tune.objective(_row("diverged"), {"dino": 1.0}) < -1e6


def test_the_best_trial_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(plan: object) -> tuple[Row, bool]:
        fields = plan.hyperparameters  # type: ignore[attr-defined]
        return _row(detected=1.0 - fields["erase_scale"] / 1e4), False

    monkeypatch.setattr("bench.run.run", run)
    path = tune.tune("uce", "sticker-unet", 4, str(tmp_path / "runs"), tmp_path)
    said = yaml.safe_load(path.read_text())
    assert path == tmp_path / "sticker-unet" / "uce.yaml"
    assert said["found"]["trials"] == len(said["found"]["tried"]) == 4
    best = max(said["found"]["tried"], key=lambda t: t["score"])
    assert said["values"] == {k: v for k, v in best.items() if k not in ("score", "scores")}


def test_a_search_in_which_nothing_ended_well_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = _row("failed").model_copy(update={"reason": "no memory"})
    monkeypatch.setattr("bench.run.run", lambda plan: (failed, False))
    with pytest.raises(BenchError, match=r"tune uce: no trial's runs ended well .*no memory"):
        tune.tune("uce", "sticker-unet", 2, str(tmp_path / "runs"), tmp_path)
    assert not list(tmp_path.rglob("uce.yaml"))


def test_a_method_of_ones_own_is_tuned_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.__main__ import main

    monkeypatch.setattr("bench.run.run", lambda plan: (_row(dino=float(plan.hyperparameters["lr"])), False))
    assert main(["new-method", "tuned_here", "--out", str(tmp_path)]) == 0
    own = ["--config-dir", str(tmp_path), "--model", "sticker-unet"]
    assert main(["tune", "tuned_here", *own, "--trials", "2", "--root", str(tmp_path / "runs")]) == 0
    path = tmp_path / "values" / "sticker-unet" / "tuned_here.yaml"
    values = yaml.safe_load(path.read_text())["values"]
    config, name = compose([f"hydra.searchpath=[file://{tmp_path}]", "+method=tuned_here", "model=sticker-unet"])
    assert make(config, name).hyperparameters.items() >= values.items()
    assert make(config, name).tuned


def test_development_concepts_are_in_no_published_table() -> None:
    """The concepts values are tuned on are named in one place, and the figures leave them out."""
    config, _ = compose(["+method=none"])
    tuned_on = {c for names in config["dataset"]["development"].values() for c in names}
    assert tuned_on == {"whole_horse", "cupcake", "style_fx", "erase_guitar"}


def test_a_variant_takes_its_methods_values_but_for_what_makes_it_one() -> None:
    parent = {"lr": 1, "eta": 1.0, "tuned": {"m": {"lr": 5, "eta": 9.0}}}
    assert tuned_values("parent", parent, "m") == {"lr": 5, "eta": 9.0}
    assert tuned_values("parent", parent, "elsewhere") == {}
    variant = make(*compose(["+method=purecc_release", "model=sticker-flow"]))
    whole = make(*compose(["+method=purecc", "model=sticker-flow"]))
    assert variant.hyperparameters["lr"] == whole.hyperparameters["lr"] != 1e-4
    assert variant.hyperparameters["eta"] == 2.0
    assert variant.hyperparameters["steps"] == 800


def test_every_search_has_room_for_the_same_budget(root: Path) -> None:
    """The number of trials is a column: a space smaller than the default budget would be a smaller one."""
    searched = {}
    for path in (root / "conf" / "method").glob("*.yaml"):
        said = yaml.safe_load(path.read_text())
        if "search" in said:
            for model in ("sticker-unet", "sticker-flow"):
                space = tune.space_of(said["search"], model)
                searched[path.stem, model] = len(tune.candidates(space, 10_000))
                assert set(space) <= set(said), path
    assert len(searched) >= 2 * 14  # and those of a method that is being added
    assert {name: n for name, n in searched.items() if n < 5} == {}
