"""Every method on every family and task it claims: a row comes out, of random networks of the true classes.

The scores mean nothing and are looked at by nothing; that every path runs, saves, loads and draws is the test.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.row import Row
from tests import tiny
from tools.methods_page import methods

CONCEPTS = {"subject": "whole_cat", "style": "style_ink", "subject_style": "cat_in_ink", "multi": "cat_and_poodle",
            "erase": "erase_cat", "roundtrip": "roundtrip_cat"}  # fmt: skip
LITTLE = {"steps": 1, "extractor_steps": 1, "prior_images": 1, "anchor_images": 2, "denoise_steps": 2, "rank": 1}
FAMILIES = {"flow": tiny.flow_folder, "epsilon": tiny.unet_folder}
CASES = [
    (name, family, task)
    for family in FAMILIES  # outermost: a process keeps one model resident
    for name, cls in methods().items()
    for task in cls.tasks
    if family in cls.families
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@cache
def _folder(family: str, root: Path) -> Path:
    return FAMILIES[family](root / family)


def request(name: str, family: str, task: str, folder: Path, runs: Path) -> list[str]:
    """A run of next to nothing, on a random network."""
    cls = methods()[name]
    concept = CONCEPTS[task] if "erase" not in cls.tasks or task != "multi" else "erase_cat_and_rocket"
    known = {f.name for f in dataclasses.fields(cls)}
    given = [f"method.{k}={v}" for k, v in LITTLE.items() if k in known]
    return [
        f"+method={name}", f"concept={concept}", f"model=sticker-{'flow' if family == 'flow' else 'unet'}",
        f"model.path={folder}", "model.name=tiny", "model.steps=2", "tuned=none", "customizer=none",
        "protocol.seeds={concept: 1, part: 1, class: 1, unrelated: 1}",
        "protocol.metrics=[metrics.preservation.drift,metrics.preservation.restoration]",
        f"root={runs}", *given,
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "family", "task"), CASES)
def test_a_row_comes_out(name: str, family: str, task: str, root: Path) -> None:
    runs = root / "runs" / family
    asked = request(name, family, task, _folder(family, root), runs)
    assert main(asked) == 0
    (path,) = runs.glob(f"{name}/{asked[1].removeprefix('concept=')}-*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert (row.status, row.kind) == ("ok", task)
