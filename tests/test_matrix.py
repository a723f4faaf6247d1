"""Every method on every kind of model and task it claims: a row comes out, of random networks of the true classes.

The scores mean nothing and are looked at by nothing; that every path runs, saves, loads and draws is the test.

What a task asks of a model is the same whatever its pipeline class, so that not every class meets every task: on `flow`
(SD3) and `epsilon` (SD1) a method does all it claims, and on each of the others one of its tasks, in turn, so that all
tasks are met on each. An SDXL that predicts v is met in `test_families.py` alone. All of it is to stay under ten
minutes on two cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.pipelines import CLASSES, class_of
from bench.row import Row
from tests import tiny
from tools.methods_page import methods

CONCEPTS = {"subject": "whole_cat", "style": "style_ink", "subject_style": "cat_in_ink", "multi": "cat_and_poodle",
            "erase": "erase_cat", "roundtrip": "roundtrip_cat"}  # fmt: skip
LITTLE = {"steps": 1, "extractor_steps": 1, "prior_images": 1, "anchor_images": 2, "denoise_steps": 2, "rank": 1}


@dataclasses.dataclass(frozen=True)
class Network:
    """A kind of random network: what writes it, what it predicts, whether it meets every task, and its own settings."""

    write: Callable[[Path], Path]
    family: str
    whole: bool = False
    given: tuple[str, ...] = ()


T5 = ("model.max_sequence_length=20",)
NETWORKS = {
    "flow": Network(tiny.flow_folder, "flow", whole=True),
    "epsilon": Network(tiny.unet_folder, "epsilon", whole=True),
    "v": Network(lambda p: tiny.unet_folder(p, "v_prediction"), "v"),
    "sdxl": Network(tiny.sdxl_folder, "epsilon"),
    "sd35": Network(lambda p: tiny.flow_folder(p, t5=True), "flow", given=T5),
    "flux": Network(tiny.flux_folder, "flow", given=(*T5, "++model.resolution=64")),
}


def cases() -> list[tuple[str, str, str]]:
    """Returns (method, network, task), networks outermost: a process keeps one model resident."""
    out = []
    for turn, (key, network) in enumerate(NETWORKS.items()):
        served = [(n, c) for n, c in methods().items() if network.family in c.families]
        for k, (name, cls) in enumerate(served):
            tasks = cls.tasks if network.whole else [cls.tasks[(k + turn) % len(cls.tasks)]]
            out += [(name, key, task) for task in tasks]
    return out


CASES = cases()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@cache
def _folder(network: str, root: Path) -> Path:
    return NETWORKS[network].write(root / network)


def request(name: str, network: str, task: str, folder: Path, runs: Path) -> list[str]:
    """A run of next to nothing, on a random network."""
    cls, family = methods()[name], NETWORKS[network].family
    concept = CONCEPTS[task] if "erase" not in cls.tasks or task != "multi" else "erase_cat_and_rocket"
    known = {f.name for f in dataclasses.fields(cls)}
    given = [f"method.{k}={v}" for k, v in LITTLE.items() if k in known]
    return [
        f"+method={name}", f"concept={concept}", f"model=sticker-{'flow' if family == 'flow' else 'unet'}",
        f"model.path={folder}", f"model.family={family}", *NETWORKS[network].given,
        "model.name=tiny", "model.steps=2", "tuned=none", "customizer=none",
        "protocol.seeds={concept: 1, part: 1, class: 1, unrelated: 1}",
        "protocol.metrics=[metrics.preservation.drift,metrics.preservation.restoration]",
        "protocol.attacks.prefix.steps=2", "protocol.attacks.inversion.steps=2",
        f"root={runs}", *given,
    ]  # fmt: skip


def test_every_network_meets_every_task_and_every_method() -> None:
    for key, network in NETWORKS.items():
        served = {n: c for n, c in methods().items() if network.family in c.families}
        assert {n for n, k, _ in CASES if k == key} == set(served)
        assert {t for _, k, t in CASES if k == key} == set(CONCEPTS)


def test_every_pipeline_class_has_a_network(root: Path) -> None:
    assert {class_of(_folder(k, root)) for k in NETWORKS} == set(CLASSES)


@pytest.mark.parametrize(("name", "network", "task"), CASES)
def test_a_row_comes_out(name: str, network: str, task: str, root: Path) -> None:
    runs = root / "runs" / network
    asked = request(name, network, task, _folder(network, root), runs)
    assert main(asked) == 0
    (path,) = runs.glob(f"{name}/{asked[1].removeprefix('concept=')}-*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert (row.status, row.kind) == ("ok", task)
