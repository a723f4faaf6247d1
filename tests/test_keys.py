"""What a stage's key is made of: whatever its output depends on, and nothing that it does not."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from bench.compose import compose
from bench.plan import Plan, make
from bench.words import quoted

PLAIN = ["+method=dreambooth", "model=sticker-unet", "concept=poodle"]


def plan(*overrides: str, train: str = "") -> Plan:
    return make(*compose(list(overrides)), train=train)


def key(*overrides: str) -> str:
    return plan(*overrides).keys["train"]


def test_a_training_is_another_where_what_it_imagines_is_drawn_in_another_way() -> None:
    """Prior and anchor pictures come of the model's sampler."""
    assert key(*PLAIN) == key(*PLAIN, "model.steps=25", "model.guidance_scale=3.0")  # as its configuration says
    assert len({key(*PLAIN), key(*PLAIN, "model.steps=4"), key(*PLAIN, "model.guidance_scale=1.0")}) == 3


def test_a_reward_is_part_of_what_learns_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_reward.py").write_text("def r(*_): return 0\n")
    args = ["+method=dpg", "model=sticker-unet", "concept=poodle"]
    first = key(*args, "method.reward=own_reward.r")
    (tmp_path / "own_reward.py").write_text("def r(*_): return 1\n")
    assert len({first, key(*args, "method.reward=own_reward.r"), key(*args)}) == 3


def test_a_method_of_another_package_is_all_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_method").mkdir()
    (tmp_path / "their_method" / "__init__.py").write_text("from their_method.impl import Theirs\n")
    impl = tmp_path / "their_method" / "impl.py"
    impl.write_text("from dataclasses import dataclass\n\n\n@dataclass\nclass Theirs:\n    lr: float = 1.0\n")
    args = ["method._target_=their_method.Theirs", "concept=poodle"]
    first = key(*args)
    assert first == key(*args)
    impl.write_text(impl.read_text() + "    # another step\n")
    assert key(*args) != first
    sys.modules.pop("their_method", None)


def test_an_adapter_from_elsewhere_is_scored_on_the_references_there_are(root: Path, tmp_path: Path) -> None:
    """Its key knows no concept: other references are another score of the same pictures."""
    data = tmp_path / "data"
    shutil.copytree(root / "datasets" / "stickers", data)
    args = ["+method=none", "concept=poodle", f"dataset.path={data}"]
    before = plan(*args, train="a" * 16)
    shutil.copy(data / "concepts" / "whole_cat" / "0.png", data / "concepts" / "poodle" / "0.png")
    after = plan(*args, train="a" * 16)
    assert before.keys["generate"] == after.keys["generate"]
    assert before.keys["score"] != after.keys["score"]


@pytest.mark.parametrize("name", ["2024", "cat (2)", "it's", "a\\'b", "end\\", "null", "x=y", "a,b", "1e5", "poodle"])
def test_a_concept_of_any_name_is_one_word_of_a_command(name: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    said = OverridesParser.create().parse_override(f"concept={quoted(name)}")
    assert str(said.value()) == name and not said.is_sweep_override()
    assert (quoted(name) == name) == (name == "poodle")


def test_folders_named_by_numbers_are_concepts(root: Path, tmp_path: Path) -> None:
    from bench.sweeps.requests import requests

    for name in ("2024", "cat (2)"):
        shutil.copytree(root / "tests" / "photos" / "dog3", tmp_path / name, ignore=shutil.ignore_patterns("*.json"))
    args = ["+method=dreambooth_lora", "dataset=folder", f"dataset.path={tmp_path}"]
    for request in requests([*args, "concept=all"]):
        again, _ = compose(request.config["_given"])
        assert again["concept"] == request.config["concept"]
    assert json.dumps(compose([*args, "concept=2024"])[0]["concept"]) == '"2024"'
